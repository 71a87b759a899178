"""The tarpit under attack: what one client can take of smtpd's processes, and what happens when they are nearly all asleep."""

import json
import time

import pytest
from dialogues.stage import Stage, put_back

WAIT, LIMIT, CONNECTIONS = 30, 8, 3
# eight processes; what sleeps is bounded by the connections and by stress, which is what is to be seen, so the arithmetic is told that nobody comes
SMALL = {
    "sokuhai_process_limit": LIMIT,
    "access_client_connections": CONNECTIONS,
    "access_sleep_harsh": WAIT,
    "access_sleep_ease": WAIT,
    "access_rcpts_harsh": 1,
    "access_rcpts_ease": 1,
}

# [source, server, seconds to wait before, sender] each, all at once; [source, code, text, seconds] of the reply to RCPT or DATA, or of what ended it before
CLIENTS = r"""
import concurrent.futures, json, smtplib, sys, time
def say(client):
    source, server, pause, sender = client
    time.sleep(pause)
    began = time.monotonic()
    code, text = 0, b"nothing"
    try:
        s = smtplib.SMTP(timeout=120, local_hostname="client.test", source_address=(source, 0))
        code, text = s.connect(server, 25)
        if code == 220:
            s.ehlo("client.test")
            s.mail(sender)
            code, text = s.rcpt("hostmaster@home.example")
            if code == 250:
                code, text = s.data("Subject: tarpit\r\n\r\nurgent\r\n")
        s.close()
    except smtplib.SMTPConnectError as refused:
        code, text = refused.smtp_code, refused.smtp_error
    except (OSError, smtplib.SMTPException) as problem:
        text = repr(problem).encode()
    return [source, code, text.decode(), time.monotonic() - began]
clients = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
    print(json.dumps(list(pool.map(say, clients))))
"""
V4, V6 = "192.0.2.10", "2001:db8::10"


@pytest.fixture(scope="module")
def attacked(lab):
    """[source, code, text, seconds] of each client, and what ps and the log say: seven clients that have to wait, then four more."""
    box = lab.mailbox()
    try:
        stage = Stage(lab, "article")
        stage.configure(SMALL)
        sender = f"tarpit-{int(time.time())}@sender.test"
        mark = int(lab.sh("sh", "-c", "wc -c </var/log/maillog").stdout)
        waves = [
            *[["203.0.113.134", V4, 0]] * CONNECTIONS,
            *[[f"2001:db8:2:0:8000::{n}", V6, 0] for n in (132, 133, 134)],
            ["203.0.113.135", V4, 1],
            # the same client, and another address of the same /64
            ["203.0.113.134", V4, 8],
            ["2001:db8:2:0:8000::135", V6, 8],
            # more who would have to wait, and somebody honest
            ["203.0.113.136", V4, 9],
            ["203.0.113.136", V4, 11],
            ["203.0.113.20", V4, 12],
        ]
        clients = [
            [*client, f"{number}.{sender}" if client[0] != "203.0.113.20" else sender]
            for number, client in enumerate(waves)
        ]
        heard = json.loads(lab.sh("python3", "-c", CLIENTS, host="clients", stdin=json.dumps(clients)).stdout)
        yield {
            "clients": heard,
            "log": lab.sh("tail", "-c", f"+{mark + 1}", "/var/log/maillog").stdout,
            "ps": lab.sh("ps", "-axo", "args").stdout,
            "version": lab.sh("postconf", "-h", "mail_version").stdout.strip(),
        }
    finally:
        put_back(lab, box)


def test_who_has_to_wait_waits(attacked):
    for source, code, text, seconds in attacked["clients"][:7]:
        assert code == 450 and "Greylisted" in text and seconds >= WAIT, attacked["clients"]


def test_one_client_cannot_take_all_processes(attacked):
    source, code, text, seconds = attacked["clients"][7]
    assert code == 421 and "too many connections" in text and seconds < WAIT, attacked["clients"]


def test_nor_can_one_network_of_ipv6(attacked):
    if tuple(map(int, attacked["version"].split(".")[:2])) < (3, 8):
        pytest.skip(f"Postfix {attacked['version']} counts addresses only")
    source, code, text, seconds = attacked["clients"][8]
    assert code == 421 and "too many connections" in text and seconds < WAIT, attacked["clients"]


def test_the_last_processes_make_nobody_wait_and_honest_mail_comes_through(attacked):
    assert "-o stress=yes" in attacked["ps"], attacked["ps"]
    for source, code, text, seconds in attacked["clients"][9:11]:
        assert code == 450 and "Greylisted" in text and seconds < WAIT, attacked["clients"]
    source, code, text, seconds = attacked["clients"][11]
    assert code == 250 and seconds < WAIT, attacked["clients"]
