"""Every service of a practice host at its limit at the same moment, within as much memory as filter_plugins/sizing.py says that they need."""

import json
import subprocess
import time

import pytest
import sizing
from memory_group import ASKED, DECLARED, LIMIT, SUBMISSION, Group, Watch
from practice import ROOT, full_only

pytestmark = full_only("a host is filled with SOKUHAI_FULL=1 only")

# Holds sessions in the middle of DATA: each an smtpd and a cleanup, and a connection to the SPF agent; then those of users. Says when, and waits.
HOLD = """
import json, smtplib, ssl, sys
limit, submission = int(sys.argv[1]), int(sys.argv[2])
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
kept, said = [], {}
def session(port, helo, client, sender, recipient, user=None):
    kind, options = (smtplib.SMTP_SSL, {'context': context}) if port == 465 else (smtplib.SMTP, {})
    s = kind(local_hostname=helo, timeout=100, source_address=(client, 0), **options)
    s._host = 'mx.home.example'
    s.connect('192.0.2.10', port); s.ehlo(helo)
    if port != 465:
        s.starttls(context=context); s.ehlo(helo)
    if user:
        s.login(*user)
    s.mail(sender); code = s.rcpt(recipient)[0]
    if code == 250:
        code = s.docmd('DATA')[0]
        s.send('Subject: held\\r\\n\\r\\n')
    said.setdefault(port, []).append(code)
    kept.append(s)
for number in range(limit):
    client, helo = (('203.0.113.20', 'mail.sender.test'), ('203.0.113.21', 'mail.other.test'))[number % 2]
    session(25, helo, client, 'someone@spf-neutral.test', 'postmaster@home.example')
for number in range(2 * submission):
    session((465, 587)[number % 2], 'client.example', '203.0.113.78', 'postmaster@home.example', 'someone@d0001.test', ('alert@home.example', 'practice'))
print(json.dumps(said), flush=True)
sys.stdin.readline()
"""

# Asks named many questions that nobody answers, and prints how many it had in progress.
ASK = """
import os, re, socket, subprocess, sys, time
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[1])):
    labels = [b'q%d-%d' % (number, os.getpid()), b'broken', b'test', b'']
    name = b''.join(bytes([len(label)]) + label for label in labels)
    here.sendto(os.urandom(2) + bytes([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + name + bytes([0, 1, 0, 1]), ('127.0.0.1', 53))
    if number % 100 == 99:
        time.sleep(0.03)
print(re.search(r'recursive clients: (\\d+)/', subprocess.run(['rndc', 'status'], capture_output=True, text=True).stdout)[1])
"""


@pytest.fixture
def small(lab):
    lab.need("spf", "greylist", "submission")
    lab.applied(variables=DECLARED)
    yield lab
    lab.internet("ctl", "reset")
    lab.sh("sh", "-c", "postsuper -d ALL; rndc flush; service postfix restart </dev/null >/dev/null 2>&1")
    lab.applied()


def test_everything_at_its_limit_stays_below_the_sum(small):
    lab, allowed = small, sizing.sizes(ASKED).memory
    group = Group(lab, allowed)
    watch = Watch(lab, group)
    try:
        group.restart(lab)
        watch.start()
        assert lab.internet("ctl", "set", "broken.test", "loss=1").returncode == 0
        hold = [ROOT / "lab" / "lab", "sh", "clients", "--", "python3", "-c", HOLD, str(LIMIT), str(SUBMISSION)]
        with subprocess.Popen(hold, env=lab.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
            said = json.loads(held.stdout.readline())
            assert said == {"25": [354] * LIMIT, "465": [354] * SUBMISSION, "587": [354] * SUBMISSION}
            # each domain is a delivery of its own, and its smtp(8) waits for the DNS
            recipients = [f"someone@x{number}.broken.test" for number in range(LIMIT)]
            lab.sh("sendmail", "-f", "root@home.example", *recipients, stdin="Subject: x\n\nx\n")
            asked = int(lab.sh("python3", "-", str(sizing.outstanding(ASKED) - LIMIT), stdin=ASK).stdout)
            time.sleep(5)
            names = {name: len(sizes) for name, sizes in watch.then.items()}
            held.stdin.write("\n")
    finally:
        watch.over.set()
        watch.join()
        killed = group.killed()
        group.end()
    report = {name: (len(sizes), sum(sizes)) for name, sizes in sorted(watch.then.items())}
    print(f"{allowed >> 10} KiB allowed, {watch.peak} KiB of processes at most, {asked} queries: {report}")
    assert killed == 0, report
    assert (names["smtpd"], names["smtp"]) == (LIMIT + 2 * SUBMISSION, LIMIT) and names["cleanup"] >= LIMIT, report
    assert asked >= sizing.outstanding(ASKED) * 0.9
    kernel = sum(map(len, watch.then.values())) * sizing.KERNEL_PER_PROCESS
    assert watch.peak * 1024 + kernel <= allowed, report
