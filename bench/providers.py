# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How long a receiver that limits connections has to be waited for, with postfix_providers and without: one message to three domains on one mail server, in
rounds, on a practice host that is up and provisioned. It is left as site.yml makes it without providers.

Both arms have the same Postfix; in one of them transport_maps is left out.
"""

import contextlib
import pathlib
import statistics

from labkit.files import about, record
from labkit.internet import mail, servers
from labkit.internet.host import Host

from .rounds import declared, in_turn, options_of

DOMAINS = ["d0001.test", "d0021.test", "d0041.test"]
SINK, CONNECTIONS, SLOW = "sink01*", 10, 1
DECLARED = {"postfix_providers": [{"name": "slow", "domains": DOMAINS, "concurrency": 5}]}
#: Seconds after which a run ends, whatever is missing.
LIMIT = 240
ARMS = ("none", "providers")


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
    options = options_of("providers", __doc__, {"recipients": (3000, 3, 20000, "recipients of the message")})
    folder, host, runs = pathlib.Path("/run/sokuhai-lab") / options.instance, Host(options.instance), []
    with declared(DECLARED), limited(folder):
        for number in range(1, options.rounds + 1):
            for arm in in_turn(number, ARMS):
                runs.append({"round": number, **measured(host, folder, arm, options.recipients)})
                print(runs[-1], flush=True)
    asked = {"recipients": options.recipients, "connections": CONNECTIONS, "limit": LIMIT}
    record(options.json, {**about(), **asked, "runs": runs, "judged": judged(runs)})


if __name__ == "__main__":
    main()
