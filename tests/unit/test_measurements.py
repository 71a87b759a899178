"""tools/measurements.py: what the roles' pages say of measurements, and bench/verp.py: what is judged of its runs."""

import measurements

from bench.verp import LIMIT, judged

RUN = {
    "arm": "cold",
    "round": 1,
    "sent": 200,
    "noerror": 25,
    "servfail": 2,
    "late": 170,
    "timeout": 3,
    "p50_ms": 1821.4,
    "rate": 300,
    "seconds": 8,
    "late_ms": 1000,
    "timeout_s": 5,
    "load": 8.2,
    "date": "2026-11-30",
    "commit": "abc",
    "descriptor_limit": 20000,
    "ports": 44000,
    "failed_for": {"timed out": 3},
    "counters": {"RecursHighwater": 17600, "Requestv4": 190, "QueryTimeout": 12, "QrySERVFAIL": 3},
}
DATA = {"cpus": 2, "versions": ["BIND 9.20", "Unbound 1.22"], "arms": {"cold": "ours, cold", "known": "not measured"}}


def test_a_cold_resolver_is_a_row_with_a_value_for_each_round():
    again = {**RUN, "round": 2, "noerror": 200, "servfail": 0, "late": 0, "timeout": 0, "p50_ms": 0.4, "load": 39.7}
    said, _, *rows = measurements.cold({**DATA, "runs": [RUN, again]})
    assert "300 queries a second for 8 s" in said and "1,000 ms late; in time is within 5 s" in said
    assert "abc, 2 CPUs with a load of 8 to 40; BIND 9.20, Unbound 1.22." in said
    assert rows[2:] == ["| ours, cold | 12.5 %, 100.0 % | 86.5 %, 0.0 % | 1.0 %, 0.0 % | 1,821, below 1 |"]


def test_a_resolver_that_answered_nothing_in_time_has_no_median():
    (*_, last) = measurements.cold({**DATA, "runs": [{**RUN, "p50_ms": None}]})
    assert last.endswith("| none |")


def test_a_ceiling_is_a_row_with_why_named_failed():
    none = {
        **RUN,
        "rate": 8000,
        "counters": {"RecursHighwater": 17600, "Requestv4": 200},
        "noerror": 200,
        "failed_for": {},
    }
    rows = measurements.ceiling({**DATA, "runs": [RUN, none]})[4:]
    assert rows == [
        "| ours, cold | 8,000 | 1,000 | 20,000 | 44,000 | 17,600 | 100.0 % | 0 | 0 | 0 | 8 |",
        "| ours, cold | 300 | 1,000 | 20,000 | 44,000 | 17,600 | 12.5 % | 3 (timed out: 3) | 10 | 12 | 8 |",
    ]


RUNS = [
    {"round": number, "domains": domains, "arm": arm, "seconds": seconds, "load": 3.0}
    for domains, arm, *times in (
        (40, "without", 4.0, 0.8, 0.8),
        (40, "with", 6.4, None, 4.0),
        (400, "without", 2.0),
        (400, "with", 5.0),
    )
    for number, seconds in enumerate(times, 1)
]


def test_verp_is_judged_by_medians_and_a_run_that_never_ended_as_the_limit():
    assert judged(RUNS) == {"40": 8.0, "400": 2.5}
    assert (
        judged([{**run, "seconds": run["seconds"] if run["arm"] == "without" else None} for run in RUNS])["400"]
        == LIMIT / 2
    )


def test_verp_is_a_row_for_each_spread():
    data = {
        "runs": RUNS,
        "judged": judged(RUNS),
        "recipients": 2000,
        "limit": LIMIT,
        "date": "2026-11-30",
        "commit": "abc",
    }
    said, _, *rows = measurements.verp(data)
    assert said == "2,000 recipients, 2026-11-30, commit abc, a load of 3 to 3:"
    assert rows[2:] == [
        "| 40 domains, 50 recipients in each (40 transactions, or 2,000) | 4.0, 0.8, 0.8 | 6.4, over 240, 4.0 | 8 times |",
        "| 400 domains, 5 recipients in each (400 transactions, or 2,000) | 2.0 | 5.0 | 2.5 times |",
    ]


def test_a_role_without_measurements_has_no_part_and_each_table_has_its_place():
    assert measurements.parts("sokuhai") == {} and [*measurements.parts("bind")] == ["cold", "ceiling"]
