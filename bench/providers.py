# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How long a receiver that limits connections has to be waited for, with postfix_providers and without: one message to three domains on one mail server, in
rounds, on a practice host that is up and provisioned. It is left as site.yml makes it without providers.

Both arms have the same Postfix; in one of them transport_maps is left out.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

from labkit.files import about, record
from labkit.internet import mail, servers
from labkit.internet.host import Host, HostError

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOMAINS = ["d0001.test", "d0021.test", "d0041.test"]
SINK, CONNECTIONS, SLOW = "sink01*", 10, 1
DECLARED = {"postfix_providers": [{"name": "slow", "domains": DOMAINS, "concurrency": 5}]}
#: Seconds after which a run ends, whatever is missing.
LIMIT = 240
ARMS = ("none", "providers")


def played(*arguments):
    """Run site.yml for role postfix. Raises HostError."""
    words = [
        pathlib.Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        ROOT / "lab/inventory",
        ROOT / "playbooks/site.yml",
    ]
    done = subprocess.run(
        [*words, "--tags", "postfix", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise HostError(done.stdout[-2000:] + done.stderr[-500:])


@contextlib.contextmanager
def limited(folder):
    """The three domains are on a server that takes CONNECTIONS of a client, and SLOW seconds for a message."""
    rules = {SINK: {"connections": CONNECTIONS}, **{domain: {"slow": SLOW} for domain in DOMAINS}}
    for pattern, values in rules.items():
        servers.request(folder, "sink", {"op": "sink", "domain": pattern, "values": values})
    try:
        yield
    finally:
        servers.request(folder, "sink", {"op": "reset"})


def measured(host, folder, arm, count):
    """One run of an arm: {arm, seconds or None, delivered, deferred, over}."""
    change = ["-X"] if arm == "none" else ["-e"]
    name = "transport_maps" + ("" if arm == "none" else "=$default_database_type:$config_directory/tables/providers")
    host.run("sh", "-c", 'PATH=$PATH:/usr/local/sbin; postconf "$@" && postfix reload', "sh", *change, name)
    recipients = [f"user{number // len(DOMAINS):05d}@{DOMAINS[number % len(DOMAINS)]}" for number in range(count)]
    found = mail.deliver(host, folder, recipients, timeout=LIMIT, clean=True, say=lambda _text: None)
    over = found["missing"] > 0
    return {
        "arm": arm,
        "seconds": None if over else found["seconds"],
        "delivered": found["delivered"],
        "twice": found["duplicates"],
        "deferred": found["deferred"],
        "over": over,
    }


def judged(runs):
    """{arm: median seconds}, of a run that was over LIMIT, and how many times longer it took without; at least, where that was over."""
    medians = {}
    for arm in ARMS:
        seconds = sorted((run["seconds"] if run["seconds"] is not None else LIMIT) for run in runs if run["arm"] == arm)
        medians[arm] = statistics.median(seconds)
    over = any(run["over"] for run in runs if run["arm"] == "none")
    return {"seconds": medians, "ratio": round(medians["none"] / medians["providers"], 1), "at_least": over}


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.providers", description=__doc__)
    parser.add_argument("--instance", default=os.environ.get("SOKUHAI_LAB", "lab"))
    parser.add_argument("--recipients", type=int, default=3000, help="3 to 20000")
    parser.add_argument("--rounds", type=int, default=3, help="1 to 5")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "tests/results/providers.json")
    options = parser.parse_args()
    if not 3 <= options.recipients <= 20000 or not 1 <= options.rounds <= 5:
        parser.error("--recipients: 3 to 20000; --rounds: 1 to 5")
    os.environ["SOKUHAI_LAB"] = options.instance
    folder, host, runs = pathlib.Path("/run/sokuhai-lab") / options.instance, Host(options.instance), []
    played("-e", json.dumps(DECLARED))
    try:
        with limited(folder):
            for round_ in range(options.rounds):
                for arm in ARMS if round_ % 2 == 0 else reversed(ARMS):
                    runs.append({"round": round_ + 1, **measured(host, folder, arm, options.recipients)})
                    print(runs[-1], flush=True)
    finally:
        played()
    asked = {"recipients": options.recipients, "connections": CONNECTIONS, "limit": LIMIT}
    record(options.json, {**about(), **asked, "runs": runs, "judged": judged(runs)})


if __name__ == "__main__":
    main()
