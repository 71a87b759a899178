"""DKIM on the practice host: what leaves is signed and accepted by sinks that demand what Gmail does, also while keys are rotated and the signer is down."""

import json
import re
import time
import uuid

import pytest
from practice import FULL, HOST, changed, full_only, message, until
from stranger import talk

#: Whose mail server demands authentic mail here.
TO = "d0900.test"
MAIL = """
import smtplib, sys
sender, to, number, token = sys.argv[1:5]
for n in range(int(number)):
    with smtplib.SMTP('127.0.0.1', 25, local_hostname='localhost', timeout=120) as s:
        s.sendmail(sender, [to], f'From: <{sender}>\\r\\nTo: <{to}>\\r\\nSubject: {token}\\r\\nX-Lab-Token: {token}\\r\\nMessage-ID: <{token}.{n}@lab>\\r\\n'
                   'List-Unsubscribe: <https://home.example/leave>\\r\\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\\r\\n\\r\\nfor the test\\r\\n')
"""
#: Users' mails one after another until there is a file; prints how many were accepted. Any that is not ends it.
STREAM = """
import os, smtplib, sys, time
sender, to, end, token = sys.argv[1:5]
n = 0
while n < 2000 and not os.path.exists(end):
    with smtplib.SMTP('127.0.0.1', 25, local_hostname='localhost', timeout=120) as s:
        s.sendmail(sender, [to], f'From: <{sender}>\\r\\nTo: <{to}>\\r\\nSubject: {token}\\r\\nX-Lab-Token: {token}\\r\\nMessage-ID: <{token}.{n}@lab>\\r\\n\\r\\nx\\r\\n')
    n += 1
    time.sleep(0.2)
print(n)
"""
#: Whose mail server sends back what it made of a message.
ECHO = "d0902.test"
#: Certificates of this practice host that nobody known has signed.
OWN = ["certificate of port 465", "certificate of port 587"]
KEYS = "cd /var/db/sokuhai_dkim && find . -type f | sort | xargs sha256sum"


def token():
    return uuid.uuid4().hex[:12]


def strange(lab, author, token):
    """Send this host a stranger's mail, whose From is *author*; return the last reply to it, [code, text]."""
    text = f"From: <{author}>\r\nSubject: {token}\r\n\r\nfor the test\r\n"
    return talk(lab, "someone@sender.test", "postmaster@home.example", text=text)[-1]


def records(lab, tmp):
    """What the host says that the DNS must have, as playbooks/dkim.yml writes it."""
    lab.applied("dkim.yml", "-e", f"records_file={tmp}")
    return json.loads(tmp.read_text())


def publish(lab, tmp, found):
    tmp.write_text(json.dumps(found))
    done = lab.internet("ctl", "publish", str(tmp))
    assert done.returncode == 0, done.stderr
    # its own resolver may remember that a record was missing
    lab.sh("/usr/local/sbin/rndc", "flush")


def withdraw(lab, tmp, found):
    publish(lab, tmp, [{"name": one["name"], "type": "TXT", "values": []} for one in found])


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    return tmp_path_factory.mktemp("dkim") / "records.json"


@pytest.fixture(scope="module", autouse=True)
def published(lab, tmp):
    """Every record of the host is in the DNS, and the sinks demand authentic mail."""
    lab.need("dkim")
    publish(lab, tmp, records(lab, tmp))
    lab.internet("ctl", "sink", TO, "demand=authentic")
    lab.internet("ctl", "sink", ECHO, "answer=echo")
    yield
    lab.internet("ctl", "sink", ECHO, "answer=nothing")
    lab.internet("ctl", "sink", TO, "demand=nothing")


def send(lab, number=1, sender="postmaster@home.example", check=True):
    """Send messages over the host's loopback; return their token."""
    made = token()
    lab.sh("/usr/local/bin/python3", "-", sender, f"a@{TO}", str(number), made, stdin=MAIL, check=check)
    return made


def taken(lab, made):
    """What the sinks took with a token, a list of dicts."""
    lines = (lab.state / "sink.jsonl").read_text().splitlines()
    return [one for one in (json.loads(line) for line in lines if made in line) if one.get("token") == made]


def arrived(lab, made, number=1):
    return until(lambda: found if len(found := taken(lab, made)) >= number else None)


def signers(found):
    return {tuple(one) for each in found for one in each["verdict"]["signatures"]}


def speaks(lab):
    return lab.sh("test", "-S", "/var/run/sokuhai_dkim/milter.sock", check=False).returncode == 0


def refused(lab):
    return json.loads(lab.internet("ctl", "show").stdout)["sink"]["unauthentic"]


def waiting(lab):
    return lab.sh("sh", "-c", "ls /var/spool/postfix/maildrop | wc -l").stdout.strip()


def test_whatever_is_ours_is_signed_and_accepted(lab):
    before = len(refused(lab))
    by_smtp, by_sendmail = send(lab), token()
    text = f"From: postmaster@home.example\nTo: a@{TO}\nSubject: x\nX-Lab-Token: {by_sendmail}\n\nfor the test\n.\n"
    lab.sh("/usr/local/sbin/sendmail", "-i", "-f", "postmaster@home.example", f"a@{TO}", stdin=text)
    for made in (by_smtp, by_sendmail):
        (one,) = arrived(lab, made)
        assert one["verdict"] | {"spf": "pass", "dkim": "pass", "dmarc": "pass", "problem": None} == one["verdict"]
        assert {(domain, name) for domain, _selector, name, _good in signers([one])} == {
            ("home.example", "rsa-sha256"),
            ("home.example", "ed25519-sha256"),
        }
    assert len(refused(lab)) == before


def not_fine(lab, **variables):
    """{state: things} of deliverability.yml, whose test mail's results come back, of what is not a certificate of the practice host's own."""
    declared = {"accepted_test_address": f"me@{ECHO}", "accepted_test_mailbox": "/var/mail/root"}
    done = lab.play("deliverability.yml", variables={**declared, "accepted_test_seconds": 300, **variables})
    lines = re.findall(r"^\s*(NOT FINE|not known|fine): (Authentication-Results: \w+|[^:]+): ", done.stdout, re.M)
    found = {state: sorted(thing for one, thing in lines if one == state and thing not in OWN) for state, _ in lines}
    assert found.get("fine"), done.stdout[-4000:] + done.stderr
    return found


@full_only("one more run of deliverability.yml")
def test_the_results_of_the_test_mail_come_back(lab):
    found = not_fine(lab)
    assert "NOT FINE" not in found or found["NOT FINE"] == [], found
    results = [f"Authentication-Results: {method}" for method in ("spf", "dkim", "dmarc")]
    assert set(found["fine"]) >= {*results, "DKIM signature of home.example"}


def test_a_wrong_record_is_named_and_so_is_what_a_receiver_made_of_it(lab, tmp):
    found = records(lab, tmp)
    waits = {one["type"]: one["value"] for one in found if one["role"] == "next"}
    wrong = [{**one, "value": waits[one["type"]]} for one in found if one["role"] == "signing"]
    publish(lab, tmp, wrong)
    try:
        judged = not_fine(lab)
    finally:
        publish(lab, tmp, found)
    assert judged["NOT FINE"] == ["Authentication-Results: dkim", *sorted(f"TXT {one['name']}" for one in wrong)]
    # by SPF alone
    assert {"Authentication-Results: spf", "Authentication-Results: dmarc"} <= set(judged["fine"])


def test_a_record_that_vanished_shows_at_the_receiver(lab, tmp):
    found = records(lab, tmp)
    withdraw(lab, tmp, [one for one in found if one["role"] == "signing"])
    try:
        made = send(lab)
        until(
            lambda: [
                one for one in refused(lab) if one.get("token") == made and one["verdict"]["problem"] == "DKIM fails"
            ]
        )
        assert taken(lab, made) == []
    finally:
        publish(lab, tmp, found)


def test_what_strangers_send_is_not_signed_and_does_not_wait_for_the_signer(lab):
    lab.sh("service", "sokuhai_dkim", "stop")
    try:
        made = token()
        said = strange(lab, "postmaster@home.example", made)
        assert said[0] == 250, said
        # ours waits: at the client, and for sendmail(1) in maildrop
        assert lab.sh(
            "/usr/local/bin/python3", "-", "postmaster@home.example", f"a@{TO}", "1", token(), stdin=MAIL, check=False
        ).returncode
        waits = token()
        text = f"From: postmaster@home.example\nTo: a@{TO}\nSubject: x\nX-Lab-Token: {waits}\n\nfor the test\n"
        lab.sh("/usr/local/sbin/sendmail", "-i", "-f", "postmaster@home.example", f"a@{TO}", stdin=text)
        time.sleep(2)
        assert waiting(lab) != "0" and taken(lab, waits) == []
    finally:
        lab.sh("service", "sokuhai_dkim", "start")
    (mail,) = lab.mailed(lambda text: made in text)
    assert "DKIM-Signature" not in mail
    # pickup(8) looks once a minute
    lab.sh("/usr/local/sbin/postkick", "public", "pickup", "W")
    (one,) = arrived(lab, waits)
    assert one["verdict"]["problem"] is None


def test_a_message_that_could_not_be_signed_waits(lab):
    key = f"/var/db/sokuhai_dkim/keys/home.example/{signing(lab)}.key"
    lab.sh("mv", key, key + ".away")
    lab.sh("service", "sokuhai_dkim", "restart")
    try:
        until(lambda: speaks(lab))
        made = token()
        done = lab.sh(
            "/usr/local/bin/python3", "-", "postmaster@home.example", f"a@{TO}", "1", made, stdin=MAIL, check=False
        )
        assert done.returncode and "45" in done.stderr and taken(lab, made) == [], done.stderr[-500:]
        # and a run says so, and makes no other
        said = message(lab.play("site.yml", "--tags", "dkim"))
        assert "dkim_domains" in said and key in said and "restore it" in said
    finally:
        lab.sh("mv", key + ".away", key)
        lab.sh("service", "sokuhai_dkim", "restart")
    until(lambda: speaks(lab))
    arrived(lab, send(lab))


def signing(lab):
    return json.loads(lab.sh("cat", "/var/db/sokuhai_dkim/keys/home.example/selectors.json").stdout)["signing"]


def test_rotation_under_load_loses_and_mis_signs_nothing(lab, tmp):
    found, first = records(lab, tmp), signing(lab)
    following = next(one["selector"] for one in found if one["role"] == "next")
    rotate = ["-e", json.dumps({"dkim_rotate": ["home.example"]})]
    withdraw(lab, tmp, [one for one in found if one["role"] == "next"])
    said = message(lab.play("dkim.yml", *rotate))
    assert "dkim_rotate" in said and f"{following}._domainkey.home.example" in said and signing(lab) == first
    publish(lab, tmp, found)
    number, made = (2000 if FULL else 100), token()
    load = lab.started(MAIL, "postmaster@home.example", f"a@{TO}", number, made)
    until(lambda: len(taken(lab, made)) > 3)
    lab.applied("dkim.yml", *rotate, "-e", f"records_file={tmp}")
    assert signing(lab) == following
    after = json.loads(tmp.read_text())
    assert load.wait(600) == 0, load.stderr.read()
    mails = arrived(lab, made, number)
    assert len(mails) == number and {one["verdict"]["problem"] for one in mails} == {None}
    assert {good for *_about, good in signers(mails)} == {True}
    # whatever is signed now is signed by the key that waited
    (one,) = arrived(lab, send(lab))
    assert {selector for _domain, selector, _name, _good in signers([one])} == {following, following + "e"}
    # the former key is kept until its record is gone; then it may be dropped, and only then is there another rotation
    drop = ["-e", json.dumps({"dkim_drop": ["home.example"]})]
    assert "dkim_drop" in message(lab.play("dkim.yml", *drop))
    withdraw(lab, tmp, [one for one in after if one["role"] == "former"])
    lab.applied("dkim.yml", *drop, "-e", f"records_file={tmp}")
    publish(lab, tmp, json.loads(tmp.read_text()))
    assert not lab.sh("test", "-e", f"/var/db/sokuhai_dkim/keys/home.example/{first}.key", check=False).returncode == 0


def test_a_signer_that_has_seen_a_message_ends_when_it_is_stopped(lab):
    # rspamd would wait for twice this, an hour
    conf = "/usr/local/etc/sokuhai-dkim/rspamd.conf"
    changed_to = f"sed -i.bak 's/task_timeout = %s/task_timeout = %s/' {conf} && rm {conf}.bak"
    lab.sh("sh", "-c", changed_to % ("30s", "1800s"))
    try:
        lab.sh("service", "sokuhai_dkim", "restart")
        until(lambda: speaks(lab))
        arrived(lab, send(lab))
        assert "Stopping sokuhai_dkim" in lab.sh("service", "sokuhai_dkim", "stop").stdout
        assert lab.sh("service", "sokuhai_dkim", "onestatus", check=False).returncode
        assert not lab.sh("pgrep", "-f", "^/usr/local/bin/rspamd -c|^rspamd: ", check=False).stdout
    finally:
        lab.sh("sh", "-c", changed_to % ("1800s", "30s"))
        lab.sh("service", "sokuhai_dkim", "restart")
        until(lambda: speaks(lab))


def test_mail_leaves_while_it_is_switched_off_and_on_again(lab):
    """Nothing waits for a signer that is gone, what the role wrote is gone, and the keys are not."""
    keys, end, made = lab.sh("sh", "-c", KEYS).stdout, "/var/tmp/dkim-stream-ends", token()
    stream = lab.started(STREAM, "postmaster@home.example", "a@d0901.test", end, made)
    try:
        until(lambda: taken(lab, made))
        off = {"dkim_domains": []}
        try:
            lab.applied("site.yml", "--tags", "postfix", variables=off)
            assert lab.sh("postconf", "-h", "smtpd_milters", "non_smtpd_milters").stdout.split() == []
            gone = (
                "/usr/local/etc/sokuhai-dkim",
                "/usr/local/etc/rc.d/sokuhai_dkim",
                "/var/db/sokuhai_dkim/signing.conf",
            )
            assert [path for path in gone if not lab.sh("test", "-e", path, check=False).returncode] == []
            assert "sokuhai_dkim_enable" not in lab.sh("cat", "/etc/rc.conf").stdout
            assert not lab.sh("pgrep", "-f", "^/usr/local/bin/rspamd -c|^rspamd: ", check=False).stdout
            judged = not_fine(lab, **off)
            if FULL:
                assert changed(lab.applied("site.yml", "--tags", "postfix", variables=off)) == 0
        finally:
            lab.applied("site.yml", "--tags", "postfix")
        if FULL:
            # though workers that were replaced are still there
            assert changed(lab.applied("site.yml", "--tags", "postfix")) == 0
    finally:
        lab.sh("touch", end)
        stream.wait(600)
        lab.sh("rm", "-f", end)
    printed = stream.stdout.read()
    assert stream.returncode == 0, stream.stderr.read()
    assert judged["NOT FINE"] == ["Authentication-Results: dkim", "DKIM signature of home.example"]
    assert len(arrived(lab, made, int(printed))) == int(printed) > 1
    kept = [line for line in lab.sh("sh", "-c", KEYS).stdout.splitlines() if "/keys/" in line]
    assert kept == [line for line in keys.splitlines() if "/keys/" in line]
    arrived(lab, send(lab))


# ---- figures of docs/measured.md

#: Messages of 4 KB in ten sessions; prints the seconds until all are accepted. argv: sender, recipient, number, token
MANY = """
import concurrent.futures, smtplib, sys, time
sender, to, number, token = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
head = f'From: <{sender}>\\r\\nTo: <{to}>\\r\\nSubject: {token}\\r\\nX-Lab-Token: {token}\\r\\n'
def session(which):
    with smtplib.SMTP('127.0.0.1', 25, local_hostname='localhost', timeout=600) as s:
        for n in range(which, number, 10):
            s.sendmail(sender, [to], f'{head}Message-ID: <{token}.{n}@lab>\\r\\n\\r\\n' + ('x' * 70 + '\\r\\n') * 55)
begun = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(10) as pool:
    list(pool.map(session, range(10)))
print(time.monotonic() - begun)
"""
#: CPU time, in seconds, of the signer's processes.
CPU = """
import glob, os
used = 0
for path in glob.glob('/proc/[0-9]*/stat'):
    try:
        name, _, rest = open(path).read().partition(' (')[2].rpartition(') ')
    except OSError:
        continue
    if name.startswith('rspamd'):
        used += sum(map(int, rest.split()[11:13]))
print(used / os.sysconf('SC_CLK_TCK'))
"""


def signing_cpu(lab):
    return float(lab.sh("/usr/local/bin/python3", "-", stdin=CPU).stdout)


@full_only("measured: 10,000 messages twice, and one to 10,000")
def test_what_signing_costs(lab, figures):
    if lab.outside:
        pytest.skip("goes by the practice host's own /proc")
    number = 10000
    # the second domain is nobody's here: the same way through the signer, without a signature
    for title, sender in (("signed", "postmaster@home.example"), ("not signed", "someone@sender.test")):
        made, before = token(), signing_cpu(lab)
        words = ("/usr/local/bin/python3", "-", sender, "a@d0903.test", str(number), made)
        done = lab.command("sh", HOST, "--", *words, stdin=MANY, timeout=1500)
        assert done.returncode == 0, done.stderr[-1000:]
        used = signing_cpu(lab) - before
        arrived(lab, made, number)
        figures.append(
            f"{title}: {number} messages accepted in {float(done.stdout):.0f} s, signer's CPU {used:.1f} s, "
            f"{1000 * used / number:.2f} ms a message"
        )
    before = signing_cpu(lab)
    done = lab.internet("mail", "--recipients", "10000", "--domains", "200")
    assert done.returncode == 0, done.stdout + done.stderr
    figures.append(
        f"signed: one message to 10,000 recipients, signer's CPU {1000 * (signing_cpu(lab) - before):.0f} ms"
    )


@full_only("what is refused is refused after two minutes of asking again")
def test_a_signer_that_does_not_do_as_declared_gives_way_to_the_former_one(lab):
    """A module of rspamd that passes the check and rejects everything: what was there goes on, and mail leaves signed."""
    module = "/usr/local/share/rspamd/plugins/spf.lua"
    lab.sh("cp", "-p", module, module + ".kept")
    text = "rspamd_config:register_symbol({name = 'NO', type = 'prefilter', callback = function(task) task:set_pre_result('reject', 'no') end})\n"
    before = lab.fingerprint(), lab.sh("sh", "-c", KEYS).stdout
    try:
        lab.sh("sh", "-c", f"cat > {module}", stdin=text)
        result = lab.play("site.yml", "--tags", "dkim", variables={"dkim_verify": True}, timeout=900)
    finally:
        lab.sh("mv", module + ".kept", module)
    said = message(result)
    assert result.returncode and "The previous configuration is back in force" in said and "signed by nobody" in said, (
        said
    )
    assert (lab.fingerprint(), lab.sh("sh", "-c", KEYS).stdout) == before
    made = send(lab)
    assert arrived(lab, made)[0]["verdict"]["problem"] is None
    assert changed(lab.applied("site.yml", "--tags", "dkim")) == 0


@full_only("two plays, one of them with all public suffixes")
def test_strangers_mail_is_marked_and_what_dmarc_rejects_is_refused(lab):
    lab.applied(
        "site.yml",
        "--tags",
        "dkim",
        variables={"dkim_verify": True, "dkim_dmarc": "refuse", "dkim_domains": [{"name": "home.example"}]},
    )

    def policy(what):
        done = lab.internet("ctl", "record", "home.example", "_dmarc", "TXT", f'"v=DMARC1; p={what}"')
        assert done.returncode == 0, done.stdout + done.stderr
        lab.sh("/usr/local/sbin/rndc", "flush")

    policy("reject")
    try:
        fine, forged = token(), token()
        assert strange(lab, "someone@sender.test", fine)[0] == 250
        (mail,) = lab.mailed(lambda text: fine in text)
        header = mail.partition("\n\n")[0]
        assert "Authentication-Results: mx.home.example" in header and "spf=pass" in header and "dkim=none" in header
        code, said = strange(lab, "postmaster@home.example", forged)
        assert 550 <= code < 560 and "DMARC" in said, said
        # ours is signed as ever
        arrived(lab, send(lab))
    finally:
        policy("none")
        lab.applied("site.yml", "--tags", "dkim")
