"""DKIM on the practice host: what leaves is signed and accepted by sinks that demand what Gmail does, also while keys are rotated and the signer is down."""

import json
import subprocess
import time
import uuid

import pytest
from practice import FULL, HOST, ROOT, full_only, message, until

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
#: A stranger's mail to this host; prints the reply to the end of data.
STRANGE = """
import smtplib, sys
sender, token = sys.argv[1:3]
s = smtplib.SMTP(local_hostname='mail.sender.test', timeout=60, source_address=('203.0.113.20', 0))
s.connect('192.0.2.10', 25); s.ehlo('mail.sender.test'); s.mail(sys.argv[3]); s.rcpt('postmaster@home.example')
print(*s.data(f'From: <{sender}>\\r\\nSubject: {token}\\r\\n\\r\\nfor the test\\r\\n'))
s.quit()
"""


def token():
    return uuid.uuid4().hex[:12]


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
    yield
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
        said = lab.sh(
            "python3", "-", "postmaster@home.example", made, "someone@sender.test", host="clients", stdin=STRANGE
        ).stdout
        assert said.startswith("250 "), said
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
        until(lambda: lab.sh("test", "-S", "/var/run/sokuhai_dkim/milter.sock", check=False).returncode == 0)
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
    until(lambda: lab.sh("test", "-S", "/var/run/sokuhai_dkim/milter.sock", check=False).returncode == 0)
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
    command = ["/usr/local/bin/python3", "-", "postmaster@home.example", f"a@{TO}", str(number), made]
    load = subprocess.Popen(
        [ROOT / "lab" / "lab", "sh", HOST, "--", *command],
        env=lab.env,
        stdin=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
    )
    load.stdin.write(MAIL)
    load.stdin.close()
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

        def strange(sender, envelope, made):
            return lab.sh("python3", "-", sender, made, envelope, host="clients", stdin=STRANGE).stdout

        fine, forged = token(), token()
        assert strange("someone@sender.test", "someone@sender.test", fine).startswith("250 ")
        (mail,) = lab.mailed(lambda text: fine in text)
        header = mail.partition("\n\n")[0]
        assert "Authentication-Results: mx.home.example" in header and "spf=pass" in header and "dkim=none" in header
        said = strange("postmaster@home.example", "someone@sender.test", forged)
        assert said.startswith("55") and "DMARC" in said, said
        # ours is signed as ever
        arrived(lab, send(lab))
    finally:
        policy("none")
        lab.applied("site.yml", "--tags", "dkim")
