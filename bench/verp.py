# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What VERP costs: the same message with XVERP, a transaction for each recipient, and without, in rounds, on a practice host that is up and provisioned. It is
left as site.yml makes it without postfix_verp.

The receivers answer at once and names are known, so that transactions are what is left to see.
"""

import os
import pathlib
import statistics

from labkit.files import about, record
from labkit.internet import mail
from labkit.internet.host import Host

from .rounds import declared, in_turn, options_of

DECLARED = {"postfix_verp": ["127.0.0.1"]}
#: Domains that the recipients are spread over.
SPREAD = (40, 400)
ARMS = {"without": (), "with": ("XVERP",)}
#: Seconds after which a run ends, whatever is missing.
LIMIT = 240


def measured(host, folder, domains, arm, count):
    """One run: {domains, arm, seconds or None where that was over LIMIT, twice, deferred}."""
    recipients = mail.recipients_of(count, domains)
    found = mail.deliver(host, folder, recipients, timeout=LIMIT, clean=True, say=lambda _text: None, asked=ARMS[arm])
    return {
        "domains": domains,
        "arm": arm,
        "seconds": None if found["missing"] else found["seconds"],
        "twice": found["duplicates"],
        "deferred": found["deferred"],
    }


def judged(runs):
    """{domains: how many times as long it took with, by the medians}; where a run was over LIMIT, LIMIT counts."""
    found = {}
    for domains in sorted({run["domains"] for run in runs}):
        of = [run for run in runs if run["domains"] == domains]
        medians = [statistics.median(run["seconds"] or LIMIT for run in of if run["arm"] == arm) for arm in ARMS]
        found[str(domains)] = round(medians[1] / medians[0], 1)
    return found


def main():
    options = options_of("verp", __doc__, {"recipients": (2000, 400, 20000, "recipients of the message")})
    folder, host, runs = pathlib.Path("/run/sokuhai-lab") / options.instance, Host(options.instance), []
    with declared(DECLARED):
        measured(host, folder, SPREAD[-1], "without", options.recipients)  # names are known, and processes there
        for number in range(1, options.rounds + 1):
            for domains in SPREAD:
                for arm in in_turn(number, ARMS):
                    run = measured(host, folder, domains, arm, options.recipients)
                    runs.append({"round": number, **run, "load": round(os.getloadavg()[0], 1)})
                    print(runs[-1], flush=True)
    asked = {"recipients": options.recipients, "limit": LIMIT}
    record(options.json, {**about(), **asked, "runs": runs, "judged": judged(runs)})


if __name__ == "__main__":
    main()
