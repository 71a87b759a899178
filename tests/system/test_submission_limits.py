"""How often somebody may try to log in, and to how many recipients an hour a user may send: what each sees, whom it leaves alone, and what is left
when the service that counts is not there."""

import importlib.util
import itertools
import json
import re

import pytest
from practice import FULL, HOST, ROOT, full_only, until

#: of lab/inventory: its hash, whose password is "practice"
HASH = "{SHA512-CRYPT}$6$practicesalt$rKtlW6WrjMnrHTTmIsMcIUEbj0j3z3b1aLxvmYze12tpPl.Kis1rnCMhxlTfvFNrpHLxBmWomz.gCEeLJGCcf."
USERS = [
    {"name": name, "password_hash": HASH, "addresses": ["postmaster@home.example"]}
    for name in ("alert@home.example", "alice", "bob")
]
USERS[0]["recipients_per_hour"] = 0
#: The lab's inventory limits no tries; what is declared here is the default, in profile current's unit of time.
DECLARED = {
    "sasl_recipients_per_hour": 10,
    "sasl_users": USERS,
    "postfix_rates_per_minute": {},
    "postfix_main_cf": [{"name": "anvil_rate_time_unit", "value": "60s"}],
}
#: Each session comes from an address of its own, lest the tries run out.
ADDRESSES = (f"203.0.113.{number}" for number in itertools.count(30))

# Logs in as the user, names as many recipients, and sends a mail where a subject is given; prints the replies, and the text of the last.
SEND = """
import json, smtplib, ssl, sys
user, number, domain, subject, client = sys.argv[1:6]
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
s = smtplib.SMTP(local_hostname='client.example', timeout=60, source_address=(client, 0))
s._host = 'mx.home.example'
s.connect('192.0.2.10', 587)
s.starttls(context=context); s.ehlo('client.example')
s.login(user, 'practice')
s.mail('postmaster@home.example')
replies = [s.rcpt('someone%d@%s' % (one, domain)) for one in range(int(number))]
if subject:
    assert s.data('Subject: %s\\r\\n\\r\\nx\\r\\n' % subject)[0] == 250
s.close()
print(json.dumps([[code for code, _text in replies], replies[-1][1].decode()]))
"""


def send(lab, user, number, domain="d0001.test", subject=""):
    words = (user, str(number), domain, subject, next(ADDRESSES))
    return json.loads(lab.sh("python3", "-", *words, host="clients", stdin=SEND).stdout)


@pytest.fixture(scope="module", autouse=True)
def limit(lab):
    lab.need("submission")
    lab.applied("site.yml", "--tags", "sasl,postfix", variables=DECLARED)
    assert lab.sh("postconf", "-h", "smtpd_client_auth_rate_limit").stdout.strip() == "10"
    yield
    lab.applied("site.yml", "--tags", "sasl,postfix")
    assert lab.sh("service", "sokuhai_postfwd", "status", check=False).returncode


def test_the_recipient_above_the_limit_is_deferred_and_nobody_elses(lab):
    codes, text = send(lab, "alice", 12)
    assert codes == [250] * 10 + [450] * 2 and "More than 10 recipients within an hour" in text
    # also at the next login, while who is declared without a limit and who has not come to his own go on
    assert send(lab, "alice", 1)[0] == [450]
    assert send(lab, "alert@home.example", 15)[0] == [250] * 15
    assert send(lab, "bob", 3)[0] == [250] * 3


def test_role_monitor_reads_in_the_log_who_is_near_and_over(lab):
    spec = importlib.util.spec_from_file_location(
        "maillog", ROOT / "roles/monitor/files/usr/local/libexec/sokuhai-monitor/maillog.py"
    )
    maillog = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maillog)
    counts = maillog.Counts()
    counts.add(lab.sh("cat", "/var/log/maillog").stdout.encode())
    assert counts.take_limits() == [("near", "alice", 10), ("over", "alice", 10)]


def test_a_users_queued_mail_is_held_and_freed_by_the_documented_commands(lab):
    text = (ROOT / "docs/operate.md").read_text().partition("## A stolen password")[2].partition("\n## ")[0]
    hold, free = (f"user=alert@home.example\n{line}" for line in re.findall(r"^    (postqueue -j .*)", text, re.M))
    assert lab.internet("ctl", "sink", "d0002.test", "reply=defer").returncode == 0
    try:
        for user in ("alert@home.example", "bob"):
            send(lab, user, 1, "d0002.test", f"queued by {user}")
        until(lambda: queue(lab) == ["deferred", "deferred"])
        lab.sh("sh", "-c", hold)
        assert queue(lab) == ["deferred", "hold"]
        lab.sh("sh", "-c", free)
        assert "hold" not in queue(lab)
    finally:
        lab.internet("ctl", "reset")
        lab.sh("postsuper", "-d", "ALL", check=False)


def queue(lab):
    """The queues that mail waits in, one word a mail."""
    return sorted(json.loads(line)["queue_name"] for line in lab.sh("postqueue", "-j").stdout.splitlines())


def test_a_dead_service_stops_no_mail(lab):
    lab.sh("sh", "-c", "kill -9 $(cat /var/run/sokuhai_postfwd.pid)")
    assert send(lab, "alice", 3)[0] == [250] * 3


@full_only("site.yml runs twice for it, with SOKUHAI_FULL=1 only")
def test_the_next_run_starts_it_and_one_more_changes_nothing(lab):
    made = lab.applied("site.yml", "--tags", "sasl", variables=DECLARED)
    assert made.summary["hosts"][HOST]["changed"] == 1
    assert lab.sh("service", "sokuhai_postfwd", "status").stdout
    with lab.unchanged():
        made = lab.applied("site.yml", "--tags", "sasl,postfix", variables=DECLARED)
    assert made.summary["hosts"][HOST]["changed"] == 0


# From each address as many tries as the second argument says, several in a connection until it is ended; a password is of a list that the first begins, or
# the right one where that is empty. Prints {address: {reply: how often}}, what somebody at the third's address got meanwhile with the right one, and the seconds.
GUESS = """
import base64, collections, json, smtplib, ssl, sys, threading, time
word, count, honest, *clients = sys.argv[1:]
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
replies, entered, began = {client: collections.Counter() for client in clients}, [], time.monotonic()
def session(client):
    s = smtplib.SMTP_SSL(local_hostname='client.example', timeout=60, source_address=(client, 0), context=context)
    s._host = 'mx.home.example'
    s.connect('192.0.2.10', 465)
    s.ehlo('client.example')
    return s
def attempt(s, password):
    return s.docmd('AUTH', 'PLAIN ' + base64.b64encode(b'\\0bob\\0' + password.encode()).decode())[0]
def guess(client):
    s = None
    for number in range(int(count)):
        for _ in range(3):
            try:
                s = s or session(client)
                code = attempt(s, '%s-%s-%d' % (word, client, number) if word else 'practice')
                break
            except (smtplib.SMTPException, OSError):
                s, code = None, 'ended'
        replies[client][code] += 1
        if code == 235:
            s.close()
            s = None
threads = [threading.Thread(target=guess, args=(client,)) for client in clients]
for one in threads: one.start()
while word:
    s = session(honest)
    entered.append(attempt(s, 'practice'))
    s.close()
    if not any(one.is_alive() for one in threads) or len(entered) == 8: break
    time.sleep(1)
for one in threads: one.join()
print(json.dumps({'replies': replies, 'honest': entered, 'seconds': time.monotonic() - began}))
"""


def guess(lab, word, each, clients):
    words = (word, str(each), next(ADDRESSES), *clients)
    return json.loads(lab.sh("python3", "-", *words, host="clients", stdin=GUESS).stdout)


def test_a_dictionary_gets_ten_tries_a_minute_from_each_address_and_honest_users_log_in(lab, figures):
    """5,000 passwords from 50 addresses; 60 from 4 in make test."""
    addresses, each = (50, 100) if FULL else (4, 15)
    done = guess(lab, "word", each, [f"203.0.113.{number}" for number in range(100, 100 + addresses)])
    figures.append(f"a dictionary of {addresses * each} passwords from {addresses} addresses: {done['seconds']:.0f} s")
    tries = 10 * (1 + int(done["seconds"] // 60))
    for client, replies in done["replies"].items():
        # 535: a password was looked at; the others were not, and none was right
        assert 10 <= replies.get("535", 0) <= tries and set(replies) <= {"535", "450", "421", "ended"}, (
            client,
            replies,
        )
        assert sum(replies.values()) == each
    assert set(done["honest"]) == {235}, done["honest"]


def test_the_right_password_is_a_try_too_and_takes_none_from_another_address(lab):
    done = guess(lab, "", 14, ["203.0.113.200", "203.0.113.201"])
    tries = 10 * (1 + int(done["seconds"] // 60))
    for replies in done["replies"].values():
        # 421: a service that is busy ends a session at its first error (smtpd_hard_error_limit)
        assert 10 <= replies["235"] <= tries and set(replies) <= {"235", "450", "421", "ended"}
        assert sum(replies.values()) == 14
