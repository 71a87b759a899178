# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""python -m bench: the arms in rounds on the practice host of a lab that is up and provisioned; what it finds goes into a JSON file."""

import argparse
import functools
import json
import os
import pathlib
import signal
import sys
import time

from . import judge, known, run
from .population import hurried, made

#: (recipients, domains) of a round, of the big round, and of the quick bench, which takes so many arms.
SIZE, BIG, QUICK = (2000, 400), (20000, 2000), (300, 80)
QUICK_ARMS = ("stock-free", "ours", "ceiling")
#: The quick bench shows that all of it works, and no figure: nobody needs to wait for its receivers, whose delays are this share of what they are.
QUICK_LATE = 0.2
#: Seconds that a run takes beside its delivery: for the plan alone.
AROUND = 12
#: Share of the processors in use by others above which nothing is measured.
BUSY = 0.25


def arguments():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--instance", default=os.environ.get("SOKUHAI_LAB") or "lab")
    parser.add_argument("--arms", default="", help="names, by spaces or commas; all where it is left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of three arms with few recipients")
    parser.add_argument("--no-big", action="store_true", help="leave the big round out")
    parser.add_argument("--minutes", type=float, default=80, help="no run begins that could end later")
    parser.add_argument("--anyway", action="store_true", help="on a busy machine, too")
    parser.add_argument("--into", type=pathlib.Path, required=True, help="JSON file; runs of other arms in it stay")
    parser.add_argument("--about", default="{}", help="JSON of what each result is to say: date, commit, machine")
    return parser.parse_args()


def chosen(names, quick):
    """The arms that are asked for. Raises ValueError with those that there are."""
    every = known()
    asked = names.replace(",", " ").split() or (QUICK_ARMS if quick else list(every))
    unknown = [name for name in asked if name not in every]
    if unknown:
        raise ValueError(f"no arm {', '.join(unknown)}; there are {', '.join(every)}")
    return [every[name] for name in asked]


def quiet(seconds=3, tries=20):
    """Share of the processors that others use now; a host that has just been provisioned may need a minute until it rests."""
    for _try in range(tries):
        busy = run.Busy()
        time.sleep(seconds)
        share = busy.share()
        if share <= BUSY:
            break
    return share


class Kept:
    """The JSON file: what it has of other arms and sizes stays, what this bench measures takes the place of what was there; written after each run.

    people: makes the Population of a size.
    """

    def __init__(self, path, about, people=made):
        self.path, self.about, self.people = path, about, people
        self.data = json.loads(path.read_text()) if path.exists() else {"arms": {}, "runs": []}
        self.new = set()

    def keep(self, arm, size, found):
        found = {**found, "recipients": size[0], "domains": size[1]}
        if (arm.name, size) not in self.new:
            self.new.add((arm.name, size))
            self.data["runs"] = [r for r in self.data["runs"] if (r["arm"], r["recipients"]) != (arm.name, size[0])]
        self.data["runs"].append(found)
        self.data["arms"][arm.name] = {"what": arm.what, "mta": arm.mta}
        self.write()

    def decided(self, arm, size):
        """Whether this bench has seen the arm not come to an end in two rounds: a third would change no median of three."""
        of = [one for one in self.data["runs"] if (one["arm"], one["recipients"]) == (arm.name, size[0])]
        return (arm.name, size) in self.new and sum(one.get("over", True) for one in of) >= 2

    def write(self):
        arms = self.data["arms"]
        runs = sorted(self.data["runs"], key=lambda r: (r["recipients"], list(arms).index(r["arm"]), r["round"]))
        judged = judge.judged(runs, {name: about["mta"] for name, about in arms.items()}, run.LIMIT)
        sums = judge.summed_up(runs)
        waits = {size: self.people(*map(int, size.split(" in "))).waits() for size in sums}
        floor = {size: run.reached(seconds, len(seconds)) for size, seconds in waits.items()}
        head = {**self.about, "limit": run.LIMIT, "floor": floor, "arms": arms, "judged": judged, "sums": sums}
        text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        lines = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in runs)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f'{text},\n "runs": [\n{lines}\n ]\n}}\n')


def round_of(arms, size, numbers, options, kept, until):
    """Rounds of one size. until: monotonic seconds at which a run that takes as long as it may must have ended."""
    bench = run.Bench(options.instance, kept.people(*size), lambda text: print(text, flush=True))
    with bench.internet():
        for n in numbers:
            print(f"round {n}: {size[0]} recipients in {size[1]} domains", flush=True)
            turned = arms[(n - 1) % len(arms) :] + arms[: (n - 1) % len(arms)]
            for arm in turned:
                if kept.decided(arm, size):
                    print(f"  {arm.name}: over {run.LIMIT} s twice, and so is its median", flush=True)
                    continue
                if time.monotonic() + AROUND + run.LIMIT > until:
                    print(f"  {arm.name}: the time is over", flush=True)
                    continue
                run.keep_one(bench, arm, n, lambda found, arm=arm: kept.keep(arm, size, found))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # by way of what puts everything back
    options = arguments()
    arms = chosen(options.arms, options.quick)
    size, count = (QUICK, 1) if options.quick else (SIZE, options.rounds)
    load = quiet(seconds=1, tries=1) if options.anyway else quiet()
    if load > BUSY and not options.anyway:
        sys.exit(
            f"bench: {load:.0%} of the processors are in use by others: no figure would mean anything. --anyway measures all the same"
        )
    print(
        f"bench: {count} rounds of {len(arms)} arms ({' '.join(arm.name for arm in arms)}), {size[0]} recipients in {size[1]} domains"
        + (
            ""
            if options.quick or options.no_big
            else f"; then one round of {BIG[0]} in {BIG[1]}: ours, the best of stock Postfix, the ceiling"
        )
        + f". A run ends at {run.LIMIT} s; all of it within {options.minutes:.0f} minutes. Others use {load:.0%} of {os.cpu_count()} processors.",
        flush=True,
    )
    people = functools.partial(made, data=hurried(QUICK_LATE)) if options.quick else made
    kept = Kept(options.into, {**json.loads(options.about), "load_before": load}, people)
    until = time.monotonic() + options.minutes * 60
    # the big one before the last round: if the time is over, it is that of a median's third value
    round_of(arms, size, range(1, max(2, count)), options, kept, until)
    if not options.quick and not options.no_big:
        named = {arm.name: arm for arm in arms}
        big = [judge.OURS, judge.best_stock(kept.data["runs"]), judge.CEILING]
        round_of([named[name] for name in big if name in named], BIG, [1], options, kept, until)
    if count > 1:
        round_of(arms, size, [count], options, kept, until)
    for goal in judge.judged(kept.data["runs"], {name: arm.mta for name, arm in known().items()}, run.LIMIT):
        print(f"  {'reached' if goal['met'] else 'MISSED '} {goal}")
    failed = [one for one in kept.data["runs"] if "failed" in one]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f"bench: {error}")
