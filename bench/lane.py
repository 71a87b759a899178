# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How long an alert takes behind a mailing, and while strangers press on port 25, against the same on the idle host, with postfix_urgent and without, on a
practice host that is up and provisioned. It is left as site.yml makes it without a lane.

Both arms have the same Postfix; in one of them sender_dependent_default_transport_maps is left out.
"""

import contextlib
import json
import os
import pathlib
import statistics
import time
import uuid

from labkit.files import about, record
from labkit.internet import mail, servers
from labkit.internet.host import Host, HostError

from .rounds import declared, in_turn, options_of

#: smtp(8) of all other mail, and of the lane: a fifth of what is usual, as the mailing is a tenth.
PROCESSES = 100
DECLARED = {
    "postfix_urgent": {"senders": [mail.SENDER], "maxproc": PROCESSES},
    "postfix_master_cf": [{"name": "smtp", "type": "unix", "maxproc": PROCESSES}],
}
#: Seconds that a mail server takes for a message: of the mailing, and of the alert, which goes to other domains.
SLOW = {"d0[5-9]??.test": 5, "d0[0-4]??.test": 1}
ARMS = ("none", "lane")
#: Seconds after which a run ends, whatever is missing.
LIMIT = 240
# hands in the messages that stdin has as JSON, each a list of recipients, by eight connections
SEND = """
import json, smtplib, sys, threading
messages = json.load(sys.stdin)
def send(part):
    with smtplib.SMTP("127.0.0.1", 25, local_hostname="localhost", timeout=900) as server:
        for recipients in part:
            server.sendmail("abuse@home.example", recipients, "From: <abuse@home.example>\\r\\nSubject: Mailing\\r\\n\\r\\nNews.\\r\\n")
threads = [threading.Thread(target=send, args=(messages[n::8],)) for n in range(8)]
for one in threads: one.start()
for one in threads: one.join()
"""
# so many SMTP sessions, each begun anew a second after it has ended, from lines with dynamic names and from listed addresses, until stdin ends
PRESS = """
import asyncio, sys
sources = [f"203.0.113.{n}" for n in (*range(50, 65), *range(131, 140), *range(230, 240))]
begun = set()
async def session(number):
    reader, writer = await asyncio.open_connection("192.0.2.10", 25, local_addr=(sources[number % len(sources)], 0))
    begun.add(number)
    try:
        for line in (None, "EHLO spam.test", "MAIL FROM:<x@sender.test>", "RCPT TO:<postmaster@home.example>"):
            if line:
                writer.write(line.encode() + b"\\r\\n")
            while (await reader.readline())[3:4] == b"-":
                pass
    finally:
        writer.close()
async def press(number):
    while True:
        try:
            await session(number)
        except OSError:
            pass
        await asyncio.sleep(1)
async def main(count):
    tasks = [asyncio.ensure_future(press(number)) for number in range(count)]
    while len(begun) < count:
        await asyncio.sleep(0.1)
    print("pressing", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
asyncio.run(asyncio.wait_for(main(int(sys.argv[1])), 600))
"""


@contextlib.contextmanager
def pressed(instance, count):
    """*count* strangers hold SMTP sessions with the host, or try to, while this context lasts."""
    process = Host(instance, "clients").popen("python3", "-c", PRESS, str(count), stdin=-1, stdout=-1)
    try:
        if process.stdout.readline() != "pressing\n":
            raise HostError("the strangers did not come through")
        yield
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def sh(host, command):
    return host.run("sh", "-c", f"PATH=$PATH:/usr/local/sbin:/usr/local/bin; {command}")[1]


def alert(host, folder, count):
    """Seconds until 99 % of *count* people, 2 in a domain, have an alert; None where that was over LIMIT."""
    token = f"lab-{uuid.uuid4().hex[:16]}"
    recipients = [f"user{number % 2}@d{number // 2 % 400 + 1:04d}.test" for number in range(count)]
    tail, start = mail.Tail(folder / "sink.jsonl", token), time.time()
    text = f"From: <{mail.SENDER}>\nX-Lab-Token: {token}\nSubject: Alert\n\nThis is a practice alert.\n"
    # strangers can hold every smtpd(8) of port 25; not of a port of the lane's own, and this needs none
    host.run("/usr/local/sbin/sendmail", "-oi", "-f", mail.SENDER, *recipients, stdin=text)
    while time.time() < start + LIMIT:
        tail.read()
        if len(tail.copies) >= 0.99 * len(set(recipients)):
            return round(time.time() - start, 2)
        time.sleep(0.05)
    return None


def measured(host, folder, arm, options):
    """One run of an arm: {arm, idle, pressed, behind, waiting}; waiting: messages of the mailing that were in the queue when the alert was there."""
    name = "sender_dependent_default_transport_maps"
    change = (
        f"-X {name}" if arm == "none" else f"-e '{name}=$default_database_type:$config_directory/tables/urgent_senders'"
    )
    sh(host, f"postconf {change}; postfix stop; postsuper -d ALL; postfix start")
    count = options.alert
    alert(host, folder, count)  # names are known, and processes there
    idle = alert(host, folder, count)
    with pressed(options.instance, options.press):
        under = alert(host, folder, count)
    people = [[f"user{number // 500}@d{number % 500 + 501:04d}.test"] for number in range(options.mailing)]
    host.run("/usr/local/bin/python3", "-c", SEND, stdin=json.dumps(people))
    behind = alert(host, folder, count)
    return {
        "arm": arm,
        "idle": idle,
        "pressed": under,
        "behind": behind,
        "waiting": int(sh(host, "find /var/spool/postfix/active -type f | wc -l")),
    }


def judged(runs, when="behind"):
    """{arm: median ratio of behind, or pressed, to idle}; where an alert was over LIMIT, LIMIT counts."""
    return {
        arm: round(statistics.median((run[when] or LIMIT) / run["idle"] for run in runs if run["arm"] == arm), 2)
        for arm in ARMS
    }


def main():
    numbers = {
        "mailing": (1000, 500, 20000, "messages"),
        "alert": (200, 2, 800, "people"),
        "press": (500, 1, 1000, "strangers on port 25"),
    }
    options = options_of("lane", __doc__, numbers)
    folder, host, runs = pathlib.Path("/run/sokuhai-lab") / options.instance, Host(options.instance), []
    with declared(DECLARED):
        try:
            for domain, seconds in SLOW.items():
                servers.request(folder, "sink", {"op": "sink", "domain": domain, "values": {"slow": seconds}})
            for number in range(1, options.rounds + 1):
                for arm in in_turn(number, ARMS):
                    run = measured(host, folder, arm, options)
                    runs.append({"round": number, **run, "load": round(os.getloadavg()[0], 1)})
                    print(runs[-1], flush=True)
        finally:
            servers.request(folder, "sink", {"op": "reset"})
            with contextlib.suppress(OSError):
                sh(host, "postfix stop; postsuper -d ALL; postfix start")
    asked = {"processes": PROCESSES, **{name: getattr(options, name) for name in numbers}, "limit": LIMIT}
    record(options.json, {**about(), **asked, "runs": runs, "judged": judged(runs), "under": judged(runs, "pressed")})


if __name__ == "__main__":
    main()
