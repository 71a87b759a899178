# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Medians and ratios of runs, and whether the goals are reached. Pure functions of what README.md describes."""

#: (arm that is slower, arm that is faster, how, so many times): the time to 99 % of one in the other's. Another MTA's arm is slower "at least" 1 time.
GOALS = (
    ("stock-provider", "ours", "at least", 5.0),
    ("stock-free", "ours", "at least", 3.0),
    ("ours", "ceiling", "at most", 1.25),
    ("ours-warm", "ceiling", "at most", 1.1),
)
#: Arms of which nothing may be deferred for a DNS reason.
UNDEFERRED = ("ours", "ours-warm")
#: Arms of which the best is sent the big message as well.
STOCKS = ("stock-provider", "stock-free", "stock-named")
OURS, CEILING = "ours", "ceiling"


def middle(values):
    """The median, to the hundredth; None of none, and where half of them are None, which is longer than any."""
    values = sorted(values, key=lambda value: (value is None, value))
    if not values or values[len(values) // 2] is None:
        return None
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return round((low + high) / 2, 2)


def size_of(run):
    return f"{run['recipients']} in {run['domains']}"


def summed_up(runs):
    """{size: {arm: what its runs come to}}: medians, of `seconds` by percentage. Runs that failed are left out."""
    found = {}
    for run in runs:
        if "failed" not in run:
            found.setdefault(size_of(run), {}).setdefault(run["arm"], []).append(run)
    return {size: {arm: one(of) for arm, of in arms.items()} for size, arms in found.items()}


def one(runs):
    """What the runs of an arm come to."""
    deferred = [run["deferred_dns"] for run in runs if run["deferred_dns"] is not None]
    return {
        "runs": len(runs),
        "over": sum(run["over"] for run in runs),
        "accepting": runs[0]["kinds"]["accepting"],
        "served": middle([run["served"]["accepting"] for run in runs]),
        "twice": sum(run["twice"] for run in runs),
        "seconds": {key: middle([run["seconds"][key] for run in runs]) for key in runs[0]["seconds"]},
        "spread": [
            min_or_none([run["seconds"]["99"] for run in runs]),
            max_or_none([run["seconds"]["99"] for run in runs]),
        ],
        "handed_in": middle([run["handed_in"] for run in runs]),
        "deferred_dns": max(deferred) if deferred else None,
        "cpu": {key: middle([run["cpu"][key] for run in runs]) for key in runs[0]["cpu"]},
        "per_cpu": middle([run["per_cpu"] for run in runs]),
        "busy": middle([run["busy"] for run in runs]),
    }


def min_or_none(values):
    return min((value for value in values if value is not None), default=None)


def max_or_none(values):
    return None if None in values else max(values)


def ratio(slow, fast, limit):
    """(how many times longer *slow* took to 99 % than *fast*, whether it is more than that). Of an arm that never came there the limit counts."""
    if fast is None:
        return None, False
    return round((limit if slow is None else slow) / fast, 2), slow is None


def judged(runs, mtas, limit):
    """Each goal with what was found, as a list of dictionaries. mtas: {arm: whose program delivers}; limit: seconds after which a run ends."""
    found = []
    for size, arms in summed_up(runs).items():
        others = [(arm, OURS, "at least", 1.0) for arm in arms if mtas.get(arm, "Postfix") != "Postfix"]
        for slow, fast, how, times in (*GOALS, *others):
            if slow not in arms or fast not in arms:
                continue
            value, more = ratio(arms[slow]["seconds"]["99"], arms[fast]["seconds"]["99"], limit)
            met = value is not None and (value >= times if how == "at least" else value <= times and not more)
            goal = {"slow": slow, "fast": fast, "how": how, "times": times}
            found.append({"size": size, **goal, "found": value, "more": more, "met": met})
        for arm in UNDEFERRED:
            if arm in arms:
                value = arms[arm]["deferred_dns"]
                found.append({"size": size, "deferred_dns": arm, "found": value, "met": value == 0})
    return found


def best_stock(runs):
    """The arm of STOCKS that took least to 99 %, or the first of those there are."""
    arms = next(iter(summed_up(runs).values()), {})
    there = [arm for arm in STOCKS if arm in arms]
    return min(there, key=lambda arm: arms[arm]["seconds"]["99"] or float("inf"), default=None)
