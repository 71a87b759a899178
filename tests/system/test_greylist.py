"""The greylisting services on the practice host: they wait, remember, come back, and nobody's mail is lost while they are away."""

import time
import uuid

import pytest
from practice import changed, full_only, message, until
from stranger import talk


@pytest.fixture(scope="module", autouse=True)
def services(lab):
    lab.need("greylist")


MILD, HARSH = 10027, 10028
RC = "sokuhai_postgrey"

ASK = """
import json, socket, sys
port, sender = int(sys.argv[1]), sys.argv[2]
request = {'request': 'smtpd_access_policy', 'protocol_state': 'RCPT', 'protocol_name': 'ESMTP', 'client_address': '203.0.113.77', 'client_name': 'unknown',
           'helo_name': 'test.invalid', 'sender': sender, 'recipient': 'root@home.example', 'instance': sender, 'etrn_domain': ''}
s = socket.create_connection(('127.0.0.1', port), timeout=20)
s.sendall((''.join('%s=%s\\n' % item for item in request.items()) + '\\n').encode())
print(s.recv(4096).decode().strip().partition('action=')[2])
"""


def ask(lab, port, sender):
    return lab.sh("/usr/local/bin/python3", "-", str(port), sender, stdin=ASK).stdout.strip()


def pid(lab, name):
    return lab.sh("cat", f"/var/run/postgrey/{RC}.{name}.pid").stdout.strip()


@pytest.fixture(scope="module")
def remembered(lab):
    """A sender whom both services have put off, and when; what has to wait for its delay waits while other tests run."""
    sender = f"{uuid.uuid4().hex}@sender.test"
    asked = time.monotonic()
    answers = {port: ask(lab, port, sender) for port in (MILD, HARSH)}
    return sender, asked, answers


def test_a_first_attempt_is_put_off_by_both(remembered):
    sender, asked, answers = remembered
    for port, answer in answers.items():
        assert answer.startswith("DEFER_IF_PERMIT 4.2.0 Greylisted, please try again in "), (port, answer)
    assert "in 15 seconds" in answers[MILD] and "in 125 seconds" in answers[HARSH]


def test_one_service_is_restarted_without_the_other(lab, remembered):
    before = pid(lab, "mild"), pid(lab, "harsh")
    lab.sh("service", RC, "restart", "mild")
    assert pid(lab, "mild") != before[0] and pid(lab, "harsh") == before[1]


def test_the_rc_script_speaks_of_all_and_of_one(lab):
    assert lab.sh("service", RC, "status").stdout.count("is running as pid") == 2
    assert lab.sh("service", RC, "status", "harsh").stdout.count("is running as pid") == 1
    other = lab.sh("service", RC, "status", "soft", check=False)
    assert other.returncode == 1 and "no instance soft" in other.stderr
    assert f'{RC}_enable="YES"' in lab.sh("service", RC, "rcvar").stdout
    assert lab.sh("service", RC, "start", check=False).returncode == 1, "already running"


def test_while_a_service_is_down_mail_waits_at_the_sender(lab):
    lab.sh("service", RC, "stop")
    try:
        assert lab.sh("service", RC, "status", check=False).returncode == 1
        # a client whose reverse name is one of changing addresses is asked about there
        answer = talk(lab, "someone@sender.test", "root@home.example", client=("203.0.113.63", "pc.invalid"))[2]
        assert answer[0] == 451 and answer[1].startswith("4.3.5 "), answer
    finally:
        lab.sh("service", RC, "start")


def test_a_killed_and_a_hanging_service_are_mended_by_the_next_run(lab):
    hanging = pid(lab, "mild")
    lab.sh("kill", "-STOP", hanging)
    lab.sh("kill", "-9", pid(lab, "harsh"))
    result = lab.applied("site.yml", "--tags", "greylist", "-v")
    said = " ".join(result.stdout.split())
    for found, name in (("not running", "harsh"), ("no answer", "mild")):
        assert f"found: {found} id: service postgrey {name} " in said, result.stdout[-3000:]
    assert pid(lab, "mild") != hanging
    assert ask(lab, HARSH, f"{uuid.uuid4().hex}@sender.test").startswith("DEFER_IF_PERMIT")


def test_what_was_remembered_outlives_a_restart_and_a_kill(lab, remembered):
    sender, asked, answers = remembered
    time.sleep(max(0, 16 - (time.monotonic() - asked)))
    answer = ask(lab, MILD, sender)
    assert answer.startswith("PREPEND X-Greylist: delayed "), answer
    # the harsh one was killed without a word; it knows when the first attempt was
    left = ask(lab, HARSH, sender)
    assert left.startswith(("DEFER_IF_PERMIT", "PREPEND X-Greylist")), left
    assert "in 125 seconds" not in left, "it would have forgotten"


@full_only("greylisting is turned off and on with SOKUHAI_FULL=1 only")
def test_off_and_on_again(lab):
    try:
        lab.applied("site.yml", "--tags", "postfix", variables={"sokuhai_greylist": False})
        assert "1002" not in lab.sh("postconf", "-n").stdout
        listening = lab.sh("sockstat", "-4l").stdout
        assert f":{MILD} " not in listening and f":{HARSH} " not in listening
        assert RC not in lab.sh("cat", "/etc/rc.conf").stdout
        assert lab.sh("service", RC, "status", check=False).returncode == 1
        assert lab.sh("ls", "/var/db/postgrey").stdout.split() == ["harsh", "mild"]
        again = lab.play("site.yml", "--tags", "postfix", variables={"sokuhai_greylist": False})
        assert changed(again) == 0, again.stdout[-3000:]
    finally:
        lab.applied("site.yml", "--tags", "postfix")


@full_only("the host boots with SOKUHAI_FULL=1 only")
def test_a_boot_brings_both_back_before_postfix(lab):
    lab.command("reboot", "mx.home.example")
    until(lambda: lab.sh("service", "postfix", "status", check=False).returncode == 0)
    assert lab.sh("service", RC, "status").stdout.count("is running as pid") == 2
    code = f"import os; print(*(os.stat(p).st_mtime for p in ('/var/run/postgrey/{RC}.harsh.pid', '/var/spool/postfix/pid/master.pid')))"
    greylisting, postfix = map(float, lab.sh("/usr/local/bin/python3", "-c", code).stdout.split())
    assert greylisting < postfix


@full_only("a failing start is tried with SOKUHAI_FULL=1 only")
def test_a_setting_that_does_not_start_goes_back(lab):
    # who cannot read the databases
    result = lab.play("site.yml", "--tags", "greylist", variables={"greylist_user": "nobody"})
    assert result.returncode == 2 and "postgrey mild" in message(result), result.stdout[-3000:]
    assert lab.sh("service", RC, "status").stdout.count("is running as pid") == 2
    assert "127.0.0.1:10027" in lab.sh("ps", "-axww", "-o", "command=").stdout
    lab.applied("site.yml", "--tags", "greylist")
