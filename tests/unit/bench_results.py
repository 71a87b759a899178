# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Results of a bench as bench/README.md describes them, of arms that need so many seconds for all of their recipients."""

ARMS = {
    "stock-provider": ("Postfix", 400),
    "stock-free": ("Postfix", 40),
    "article": ("Postfix", 20),
    "ours": ("Postfix", 9),
    "ceiling": ("Postfix", 8),
    "exim": ("Exim", 25),
    "<b>odd</b>": ("Odd", 30),
}
COUNT, LIMIT = 900, 240


def run(arm, number, seconds):
    """One RUN in which the recipients are served evenly until *seconds*; later rounds are slower."""
    seconds *= 1 + number / 10
    served = [[round(seconds * n / COUNT, 2), n] for n in range(1, COUNT + 1) if seconds * n / COUNT <= LIMIT]
    times = {str(p): round(seconds * p / 100, 2) if seconds * p / 100 <= LIMIT else None for p in (50, 95, 99, 100)}
    return {
        "arm": arm,
        "round": number,
        "recipients": 1000,
        "domains": 200,
        "kinds": {"accepting": COUNT, "limited": 0, "greylisted": 60, "dead": 40},
        "served": {"accepting": len(served), "limited": 0, "greylisted": 0, "dead": 0},
        "seconds": times,
        "over": times["100"] is None,
        "curves": {"accepting": served[::9] + served[-1:], "limited": [], "greylisted": []},
        "tried": [[2.0, 60]],
        "dead_tried": None,
    }


def results():
    """The whole of it: three rounds of each arm, one of which failed."""
    runs = [run(arm, number, seconds) for arm, (_mta, seconds) in ARMS.items() for number in (1, 2, 3)]
    runs.append({"arm": "exim", "round": 4, "recipients": 1000, "domains": 200, "failed": "did <not> start"})
    sums = {
        arm: {
            "runs": 3,
            "over": 3 * (seconds > LIMIT),
            "accepting": COUNT,
            "served": 900,
            "seconds": run(arm, 2, seconds)["seconds"],
            "handed_in": 1.5,
            "deferred_dns": 0 if mta == "Postfix" else None,
            "cpu": {"host": 10.0},
            "per_cpu": 90.0,
        }
        for arm, (mta, seconds) in ARMS.items()
    }
    goal = {"size": "1000 in 200", "how": "at least", "fast": "ours"}
    return {
        "date": "2026-11-30",
        "commit": "0123456",
        "machine": "2 CPUs",
        "limit": LIMIT,
        "arms": {arm: {"what": f"{arm} & what it is", "mta": mta} for arm, (mta, _seconds) in ARMS.items()},
        "judged": [
            {**goal, "slow": "stock-provider", "times": 5.0, "found": 26.7, "more": True, "met": True},
            {**goal, "slow": "stock-free", "times": 5.0, "found": 4.4, "more": False, "met": False},
            {"size": "1000 in 200", "deferred_dns": "ours", "found": 0, "met": True},
        ],
        "sums": {"1000 in 200": sums},
        "runs": runs,
    }
