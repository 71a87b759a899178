# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How long an alert takes behind a mailing, against the same on the idle host, with postfix_urgent and without, on a practice host that is up and provisioned. It
is left as site.yml makes it without a lane.

Both arms have the same Postfix; in one of them sender_dependent_default_transport_maps is left out.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import time
import uuid

from labkit.files import record
from labkit.internet import mail, servers
from labkit.internet.host import Host

from .providers import ROOT, about, played

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


def sh(host, command):
    return host.run("sh", "-c", f"PATH=$PATH:/usr/local/sbin:/usr/local/bin; {command}")[1]


def alert(host, folder, count):
    """Seconds until 99 % of *count* people, 2 in a domain, have an alert; None where that was over LIMIT."""
    token = f"lab-{uuid.uuid4().hex[:16]}"
    recipients = [f"user{number % 2}@d{number // 2 % 400 + 1:04d}.test" for number in range(count)]
    tail, start = mail.Tail(folder / "sink.jsonl", token), time.time()
    host.ask("send", {"sender": mail.SENDER, "recipients": recipients, "token": token})
    while time.time() < start + LIMIT:
        tail.read()
        if len(tail.copies) >= 0.99 * len(set(recipients)):
            return round(time.time() - start, 2)
        time.sleep(0.05)
    return None


def measured(host, folder, arm, size, count):
    """One run of an arm: {arm, idle, behind, waiting}; waiting: messages of the mailing that were in the queue when the alert was there."""
    name = "sender_dependent_default_transport_maps"
    change = (
        f"-X {name}" if arm == "none" else f"-e '{name}=$default_database_type:$config_directory/tables/urgent_senders'"
    )
    sh(host, f"postconf {change}; postfix stop; postsuper -d ALL; postfix start")
    alert(host, folder, count)  # names are known, and processes there
    idle = alert(host, folder, count)
    people = [[f"user{number // 500}@d{number % 500 + 501:04d}.test"] for number in range(size)]
    host.run("/usr/local/bin/python3", "-c", SEND, stdin=json.dumps(people))
    behind = alert(host, folder, count)
    return {
        "arm": arm,
        "idle": idle,
        "behind": behind,
        "waiting": int(sh(host, "find /var/spool/postfix/active -type f | wc -l")),
    }


def judged(runs):
    """{arm: median ratio of behind to idle}; where an alert was over LIMIT, LIMIT counts."""
    return {
        arm: round(statistics.median((run["behind"] or LIMIT) / run["idle"] for run in runs if run["arm"] == arm), 2)
        for arm in ARMS
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.lane", description=__doc__)
    parser.add_argument("--instance", default=os.environ.get("SOKUHAI_LAB", "lab"))
    parser.add_argument("--mailing", type=int, default=1000, help="messages, 500 to 20000")
    parser.add_argument("--alert", type=int, default=200, help="people, 2 to 800")
    parser.add_argument("--rounds", type=int, default=3, help="1 to 5")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "tests/results/lane.json")
    options = parser.parse_args()
    if not 500 <= options.mailing <= 20000 or not 2 <= options.alert <= 800 or not 1 <= options.rounds <= 5:
        parser.error("--mailing: 500 to 20000; --alert: 2 to 800; --rounds: 1 to 5")
    os.environ["SOKUHAI_LAB"] = options.instance
    folder, host, runs = pathlib.Path("/run/sokuhai-lab") / options.instance, Host(options.instance), []
    played("-e", json.dumps(DECLARED))
    try:
        for domain, seconds in SLOW.items():
            servers.request(folder, "sink", {"op": "sink", "domain": domain, "values": {"slow": seconds}})
        for round_ in range(options.rounds):
            for arm in ARMS if round_ % 2 == 0 else reversed(ARMS):
                run = measured(host, folder, arm, options.mailing, options.alert)
                runs.append({"round": round_ + 1, **run, "load": round(os.getloadavg()[0], 1)})
                print(runs[-1], flush=True)
    finally:
        servers.request(folder, "sink", {"op": "reset"})
        with contextlib.suppress(OSError):
            sh(host, "postfix stop; postsuper -d ALL; postfix start")
        played()
    asked = {"processes": PROCESSES, "mailing": options.mailing, "alert": options.alert, "limit": LIMIT}
    record(options.json, {**about(), **asked, "runs": runs, "judged": judged(runs)})


if __name__ == "__main__":
    main()
