# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the bench computes: who the recipients are, what the times of a run come to, and which goals are reached."""

import collections
import json
import time

import performance
import pytest
from labkit.internet.zones import Internet, described, wire

from bench import __main__ as command
from bench import judge, known, own, run
from bench.population import KINDS, hurried, made
from bench.run import curve, reached, told, used


@pytest.fixture(scope="module")
def people():
    return made(2000, 400)


def test_the_same_people_come_each_time(people):
    assert made(2000, 400) == people
    assert len(set(people.recipients)) == 2000 and len(people.kind) == len(people.server) == 400
    assert {one.partition("@")[2] for one in people.recipients} == set(people.kind)


def test_half_of_them_are_with_providers_and_every_kind_is_there(people):
    of = collections.Counter(one.partition("@")[2] for one in people.recipients)
    assert sum(count for domain, count in of.most_common(8)) == pytest.approx(1000, rel=0.02)
    counts = {kind: len(people.of(kind)) for kind in KINDS}
    assert min(counts.values()) > 0 and sum(counts.values()) == 2000 and counts["accepting"] > 1500
    servers = people.more["receivers"]
    assert {"greeting", "rcpt", "dot"} == {reply for one in servers for reply in one.get("late", {})}
    assert {one.get("dead") for one in servers} == {None, "refused", "silent"}
    assert 0 < sum(one.get("starttls") is False for one in servers) < len(servers) / 2


@pytest.mark.parametrize("size", [command.SIZE, command.BIG, command.QUICK])
def test_the_internet_has_them_and_the_lab_their_addresses(size):
    people, data = made(*size), described()
    data["servers"] |= people.more["servers"]
    data["zones"] += people.more["zones"]
    internet = Internet(data)
    assert {wire(domain) for domain in people.kind} <= internet.zones.keys()
    from labkit import net

    there = {address for one in net.load()["internet"] for address in one["addresses"]}
    named = {a for one in people.more["servers"].values() for a in one["addresses"]}
    assert {one["address"] for one in people.more["receivers"]} | named <= there


def test_the_quick_bench_has_the_same_people_and_does_not_wait_for_their_servers():
    as_they_are, quick = made(*command.QUICK), made(*command.QUICK, data=hurried(command.QUICK_LATE))
    assert (quick.recipients, quick.kind, quick.server) == (
        as_they_are.recipients,
        as_they_are.kind,
        as_they_are.server,
    )
    assert max(quick.waits()) <= command.QUICK_LATE * max(as_they_are.waits()) + 0.1 and min(quick.waits()) >= 0
    delays = [
        max(zone["behaviour"]["delay"] for zone in people.more["zones"] if "behaviour" in zone)
        for people in (as_they_are, quick)
    ]
    assert delays[1] == command.QUICK_LATE * delays[0] > 0


def test_more_domains_than_recipients_are_refused():
    with pytest.raises(ValueError, match="9 to 58"):
        made(100, 90)


def test_a_curve_is_thin_and_ends_with_the_last():
    found = curve([n / 100 for n in range(1, 5001)])
    assert len(found) <= 121 and found[0] == [0.01, 1] and found[-1] == [50.0, 5000]
    assert curve([1, 1, 1, 2]) == [[1, 3], [2, 4]] and curve([]) == []


def test_cpu_of_a_process_that_ended_counts_once():
    # what smtp has spent is master's when it has waited for it
    before, after = {"smtp": 3.0, "master": 1.0}, {"master": 4.5, "named": 0.25}
    cpu, by = used((before, {"sinks": 1.0, "names": 1.0}), (after, {"sinks": 1.5, "names": 1.0}))
    assert cpu == {"host": 0.75, "sinks": 0.5, "names": 0.0} and by == {"master": 3.5, "named": 0.25, "smtp": -3.0}


def test_percentages_are_of_all_that_were_to_be_served():
    assert reached([4, 1, 2, 3], 4) == {"50": 2, "95": 4, "99": 4, "100": 4}
    assert reached(range(1, 97), 100) == {"50": 50, "95": 95, "99": None, "100": None}


def test_only_accepting_receivers_are_judged(people):
    times = dict.fromkeys(people.of("accepting"), 2.0) | dict.fromkeys(people.of("limited"), 90.0)
    found = told(people, times)
    assert found["seconds"]["100"] == 2.0 and found["served"]["greylisted"] == 0
    assert found["curves"]["limited"] == [[90.0, len(people.of("limited"))]]


def a_run(arm, seconds, number=1, deferred=0):
    over = seconds is None
    return {
        "arm": arm,
        "round": number,
        "recipients": 2000,
        "domains": 400,
        "kinds": {"accepting": 100},
        "served": {"accepting": 40 if over else 100},
        "twice": 0,
        "over": over,
        "seconds": dict.fromkeys(("50", "95", "99", "100"), seconds),
        "handed_in": 1.0,
        "deferred_dns": deferred,
        "cpu": {"host": 1.0, "sinks": 1.0, "names": 1.0},
        "per_cpu": 100.0,
        "busy": 0.5,
    }


def goals(*runs):
    mtas = {run["arm"]: "Exim" if run["arm"] == "exim" else "Postfix" for run in runs}
    found = judge.judged(runs, mtas, 240)
    return {goal.get("deferred_dns") or (goal["slow"], goal["fast"]): (goal["found"], goal["met"]) for goal in found}


def test_goals_are_judged_by_the_median_of_the_rounds():
    rounds = [a_run("ours", at, n) for n, at in enumerate((10.0, 90.0, 12.0), 1)]
    found = goals(*rounds, a_run("stock-provider", 61.0), a_run("ceiling", 9.0), a_run("exim", 11.0))
    assert found == {
        ("stock-provider", "ours"): (5.08, True),
        ("ours", "ceiling"): (1.33, False),
        ("exim", "ours"): (0.92, False),
        "ours": (0, True),
    }


def test_an_arm_that_never_came_there_counts_with_the_limit():
    found = goals(a_run("ours", 20.0), a_run("stock-provider", None), a_run("stock-free", 10.0))
    assert found[("stock-provider", "ours")] == (12.0, True) and found[("stock-free", "ours")] == (0.5, False)
    found = goals(a_run("ours", None), a_run("ceiling", 239.0), a_run("stock-free", 10.0))
    assert found[("ours", "ceiling")] == (1.0, False) and found[("stock-free", "ours")] == (None, False)


def test_one_mail_deferred_for_a_dns_reason_misses_the_goal():
    assert goals(a_run("ours", 1.0), a_run("ours", 1.0, 2, deferred=1))["ours"] == (1, False)


def test_the_best_of_stock_is_the_fastest_that_came_there():
    runs = [a_run("stock-provider", None), a_run("stock-free", 30.0), a_run("stock-named", 20.0), a_run("ours", 1.0)]
    assert judge.best_stock(runs) == "stock-named" and judge.best_stock(runs[:1]) == "stock-provider"


def test_results_of_other_arms_stay(tmp_path):
    arms = known()
    for date, names in (("yesterday", ("ours", "ceiling")), ("today", ("ours",))):
        kept = command.Kept(tmp_path / "bench.json", {"date": date, "commit": "c", "machine": "m", "load_before": 0.1})
        for name in names:
            for number in (1, 2):
                kept.keep(arms[name], (2000, 400), a_run(name, 1.0 if date == "today" else 3.0, number))
    data = json.loads((tmp_path / "bench.json").read_text())
    assert [(run["arm"], run["seconds"]["99"]) for run in data["runs"]] == [("ours", 1.0)] * 2 + [("ceiling", 3.0)] * 2
    assert data["floor"]["2000 in 400"]["100"] == max(made(2000, 400).waits()) > 5
    # and the page says of each what was found
    text = "\n".join(performance.arms(data) + performance.goals(data))
    assert "`ceiling`" in text and "takes at most 1.25 times as long" in text and "reached" in text


def test_a_run_does_not_wait_for_second_attempts(monkeypatch):
    class Tail:
        copies, last = dict.fromkeys(range(99)), 0.0

        def read(self):
            pass

    monkeypatch.setattr(run.time, "sleep", lambda _seconds: None)
    assert run.followed(Tail(), set(range(99)), time.time() + 60), "all of them"
    assert run.followed(Tail(), set(range(100)), time.time() + 60), "99 %, and nobody for long"
    Tail.last = time.time() + 60
    assert not run.followed(Tail(), set(range(100)), time.time() + 0.1)
    Tail.last = 0.0
    assert not run.followed(Tail(), set(range(110)), time.time() + 0.1)


def test_an_arm_that_was_over_twice_is_not_taken_again(tmp_path):
    arm = known()["ours"]
    kept = command.Kept(tmp_path / "bench.json", {"date": "", "commit": "", "machine": "", "load_before": 0.1})
    for number, seconds, decided in ((1, None, False), (2, 7.0, False), (3, None, True)):
        kept.keep(arm, (2000, 400), a_run("ours", seconds, number))
        assert kept.decided(arm, (2000, 400)) == decided
    again = command.Kept(tmp_path / "bench.json", kept.about)
    assert not again.decided(arm, (2000, 400))


def test_an_arm_that_there_is_not_is_refused_by_name():
    with pytest.raises(ValueError, match="no arm nobody; there are stock-provider"):
        command.chosen("ours,nobody", False)
    assert [arm.name for arm in command.chosen("", True)] == list(command.QUICK_ARMS)


class Names:
    """A resolver that knows what it is given: {(name, type): [addresses or MX hosts]}."""

    def __init__(self, known):
        self.known = known

    def resolve(self, name, kind):
        import dns.resolver

        if (str(name), kind) not in self.known:
            raise dns.resolver.NoAnswer
        return [type("Record", (), {"exchange": one, "address": one}) for one in self.known[str(name), kind]]


@pytest.mark.parametrize(
    "known, foreign",
    [
        ({("d.test", "MX"): ["mx.test"], ("mx.test", "A"): ["127.0.0.1"]}, None),
        ({("d.test", "A"): ["127.0.0.1"]}, None),
        ({("d.test", "MX"): ["mx.test"], ("mx.test", "A"): ["127.0.0.1", "192.0.2.77"]}, "192.0.2.77"),
        (
            {
                ("d.test", "MX"): ["mx.test", "b.test"],
                ("mx.test", "A"): ["127.0.0.1"],
                ("b.test", "AAAA"): ["2001:db8::77"],
            },
            "2001:db8::77",
        ),
        ({}, "nobody"),
    ],
)
def test_nothing_is_sent_to_a_server_that_is_not_this_machine(known, foreign):
    if foreign is None:
        own.proved(["d.test"], Names(known))
    else:
        with pytest.raises(own.Refused, match=foreign):
            own.proved(["d.test"], Names(known))
