"""An alert passes a mailing that holds every process of smtp: by a transport of its own, and by nothing else."""

import json
import uuid

import pytest
from outward import arrived, logged
from outward import log_end as end_of_log
from practice import HOST, full_only, sized, until

PORT = 2587
#: An address of the lab's user alert@home.example.
ALERT = "postmaster@home.example"
#: smtp(8) of all other mail; the mailing has many times as many domains.
PROCESSES, DOMAINS = 5, 30
DECLARED = {
    "postfix_urgent": {"senders": [ALERT], "port": PORT, "maxproc": 20},
    "postfix_master_cf": [{"name": "smtp", "type": "unix", "maxproc": PROCESSES}],
}
MAILING = [f"someone@d{number:04d}.test" for number in range(900, 900 + DOMAINS)]

# logs in as alert@home.example and offers a mail; prints the replies to MAIL and RCPT, where nothing was sent
OFFER = """
import json, smtplib, ssl, sys
port, sender = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
s = smtplib.SMTP('192.0.2.10', port, local_hostname='client.example', timeout=600)
s.ehlo()
offered = s.has_extn('auth')
s.starttls(context=context); s.ehlo()
s.login('alert@home.example', 'practice')
replies = [s.mail(sender), s.rcpt('someone@d0001.test')]
s.close()
print(json.dumps([offered, replies[-1][0], replies[-1][1].decode()]))
"""


def people(number):
    return [f"user{one // 100}@d{one % 100 + 1:04d}.test" for one in range(number)]


def submit(lab, sender, recipients):
    """Give the host a message; return its token."""
    token = uuid.uuid4().hex
    text = f"From: {sender}\nSubject: x\nX-Lab-Token: {token}\n\nhi\n"
    lab.sh(
        "sh",
        "-c",
        f'xargs -0 sh -c \'printf %s "$0" | sendmail -f {sender} "$@"\'',
        stdin="\0".join((text, *recipients)),
    )
    return token


def waiting(lab):
    """{sender: recipients that still wait} of all messages in the queue."""
    found = {}
    for line in lab.sh("postqueue", "-j").stdout.splitlines():
        message = json.loads(line)
        found[message["sender"]] = found.get(message["sender"], 0) + len(message["recipients"])
    return found


def processes(lab):
    """How many processes the transport smtp has."""
    return lab.sh("sh", "-c", "ps -axo args | grep -c '[s]mtp -t unix'", check=False).stdout.strip()


@pytest.fixture(scope="module")
def lane(lab):
    lab.need("submission")
    lab.applied("site.yml", "--tags", "postfix", variables=DECLARED)
    yield lab
    lab.internet("ctl", "reset")
    lab.sh("sh", "-c", "postsuper -d ALL && service postfix restart")
    lab.applied("site.yml", "--tags", "postfix")
    left = lab.sh("sh", "-c", "postconf -n; postconf -M; ls /usr/local/etc/postfix/tables").stdout
    assert "urgent" not in left


def test_an_alert_passes_a_mailing_that_holds_every_process(lane):
    since = end_of_log(lane)
    steered = lane.internet("ctl", "sink", "d09??.test", "slow=3600")
    assert steered.returncode == 0, steered.stderr
    mailing = submit(lane, "news@home.example", MAILING)
    until(lambda: processes(lane) == str(PROCESSES))
    alert = people(sized(60, 1000, 1000))
    # the same to the same people, before it, by who is not urgent
    ordinary = submit(lane, "someone@home.example", alert)
    until(lambda: waiting(lane).get("someone@home.example") == len(alert))

    urgent = submit(lane, ALERT, alert)
    until(lambda: len(arrived(lane, urgent)) >= len(alert))
    assert sorted(one["recipient"] for one in arrived(lane, urgent)) == sorted(alert), "each has it, once"
    assert arrived(lane, mailing) == arrived(lane, ordinary) == []
    left = waiting(lane)
    assert (left["news@home.example"], left["someone@home.example"]) == (
        DOMAINS,
        len(alert),
    ) and ALERT not in left
    assert logged(lane, since, "/urgent/smtp[") and processes(lane) == str(PROCESSES)

    # what waited had nothing else to wait for
    lane.sh(
        "sh",
        "-c",
        'postqueue -j | grep news@home.example | sed \'s/.*"queue_id": "\\([^"]*\\)".*/\\1/\' | postsuper -d -; service postfix restart',
    )
    until(lambda: len(arrived(lane, ordinary)) >= len(alert))


@pytest.mark.parametrize(
    "port, sender, code, words",
    [
        (PORT, ALERT, 250, ""),
        (PORT, "abuse@home.example", 553, "not owned by user"),
        (PORT, "alert@home.example", 554, "Access denied"),
        (587, ALERT, 554, f"submitted on port {PORT}"),
        (587, "abuse@home.example", 250, ""),
    ],
)
def test_its_port_is_for_its_senders_and_the_others_leave_them_to_it(lane, port, sender, code, words):
    offered, reply, text = json.loads(lane.sh("python3", "-", str(port), sender, host="clients", stdin=OFFER).stdout)
    assert not offered, "a password crosses the network under TLS alone"
    assert reply == code and words in text, text


def test_strangers_cannot_use_its_port(lane):
    refused = lane.sh(
        "python3",
        "-c",
        f"import smtplib; s = smtplib.SMTP('192.0.2.10', {PORT}, timeout=600); s.ehlo(); print(s.mail('{ALERT}')[0]); s.close()",
        host="clients",
    )
    assert refused.stdout.strip() == "530"  # must issue STARTTLS first


@full_only("a run that is refused after Postfix was tried with it")
def test_a_port_that_another_program_holds_is_refused_and_nothing_changes(lane):
    listen = "import socket, time; s = socket.create_server(('0.0.0.0', 2588)); time.sleep(3600)"
    lane.sh("sh", "-c", f'daemon -f -p /var/run/holds.pid /usr/local/bin/python3 -c "{listen}"', host=HOST)
    try:
        until(lambda: "2588" in lane.sh("sockstat", "-4l").stdout)
        wanted = {**DECLARED, "postfix_urgent": {**DECLARED["postfix_urgent"], "port": 2588}}
        result = lane.play("site.yml", "--tags", "postfix", variables=wanted)
        assert result.returncode and "2588" in result.stdout
        assert lane.sh("postconf", "-M", f"{PORT}/inet").stdout.strip()
    finally:
        lane.sh("sh", "-c", "kill $(cat /var/run/holds.pid)")
