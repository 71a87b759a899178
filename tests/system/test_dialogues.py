"""Dialogues with the door: every row of dialogues/rows, played from the clients' network against the running Postfix in both profiles.

One play of site.yml for each profile, then all rows of it at once; the tests only judge what came back, one test a row.
"""

import statistics
import time

import pytest
from dialogues import script
from dialogues.stage import ROWS, Stage, put_back
from practice import FIGURES, FULL, some

ALWAYS, FULL_ONLY = (
    ("normal", "policy-down", "policy-back", "dnsbl-broken"),
    ("dnsbl-silent", "spf-silent", "spf-refuse", "spf-defer", "spf-defer-back"),
)


def played(config, lab, profile, phases):
    """Return the Stage of the lab's host in one profile, the rows of the phases played; how long they took is shown at the end."""
    stage, took = Stage(lab, profile), {}
    for phase in ("configure", *phases):
        began = time.monotonic()
        getattr(stage, phase.replace("-", "_"))()
        took[phase] = time.monotonic() - began
    said = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in took.items())
    config.stash.setdefault(FIGURES, []).append(
        f"{lab.name}, profile {profile}: {len(stage.replies)} dialogues ({said})"
    )
    return stage


def judged(stage, row):
    """What is wrong with a row's dialogue: a list of sentences."""
    replies = stage.replies[row["id"]]
    problems = script.judge(row, stage.profile, replies) + script.judge_log(row, stage.lines)
    problems += script.judge_delivery(row, stage.profile, stage.run, stage.mails)
    return [*problems, script.show(replies)] if problems else []


@pytest.fixture(scope="module", params=script.PROFILES)
def stage(request, lab):
    return played(request.config, lab, request.param, (*ALWAYS, *(FULL_ONLY if FULL else ())))


@pytest.fixture(scope="module", autouse=True)
def as_before(lab):
    box = lab.mailbox()
    yield
    put_back(lab, box)


@pytest.mark.parametrize(
    "row",
    some(ROWS, lambda row: row["phase"] in ALWAYS, "its phase takes long: SOKUHAI_FULL=1"),
    ids=lambda row: row["id"],
)
def test_dialogue(stage, row):
    if stage.profile not in row["profiles"]:
        pytest.skip(f"says nothing about profile {stage.profile}")
    stage.lab.need(*script.needs(row, stage.profile))
    problems = judged(stage, row)
    assert not problems, "\n".join(problems)


# A second smtpd without any of the lists, for as long as the comparison takes.
PLAIN = "smtpd -o smtpd_client_restrictions= -o smtpd_helo_restrictions= -o smtpd_sender_restrictions= -o smtpd_recipient_restrictions="


def test_what_a_refused_connection_costs(stage, figures):
    """The lists against none, in turn on one host: the ratio is printed, and may not be absurd."""
    number = 120 if FULL else 30
    row = {
        **script.DEFAULTS,
        "client": "203.0.113.130",
        "name": "mail.abroad.test",
        "from": "someone@abroad.test",
        "to": "nobody.such@home.example",
        "expect": {"at": "rcpt", "code": 550, "text": "User unknown"},
    }
    rows = [
        {**row, "id": f"{kind}-{n}", "port": port}
        for n in range(number)
        for kind, port in (("plain", 2525), ("lists", 25))
    ]
    stage.lab.sh(
        "sh",
        "-c",
        'cd /usr/local/etc/postfix && cp -p master.cf master.cf.plain && postconf -M "$1" && postfix reload',
        "sh",
        f"2525/inet=2525 inet n - n - - {PLAIN}",
    )
    try:
        stage.speak(rows[:4], parallel=1)
        replies = stage.speak(rows, parallel=1)
    finally:
        stage.lab.sh(
            "sh",
            "-c",
            "cd /usr/local/etc/postfix && cat master.cf.plain >master.cf && rm master.cf.plain && postfix reload",
        )
    wrong = [script.show(replies[one["id"]]) for one in rows if script.judge(one, stage.profile, replies[one["id"]])]
    assert not wrong, wrong[0]
    cost = {
        kind: statistics.median(replies[f"{kind}-{n}"][-1]["seconds"] for n in range(number)) * 1000
        for kind in ("plain", "lists")
    }
    figures.append(
        f"a refused connection, median of {number}: {cost['plain']:.1f} ms without lists, {cost['lists']:.1f} ms with those of profile "
        f"{stage.profile} ({cost['lists'] / cost['plain']:.1f} times)"
    )
    assert cost["lists"] < 20 * cost["plain"]


LOOKUPS = """
import subprocess, sys, time
folder, number = sys.argv[1], int(sys.argv[2])
keys = {'check_dynamic_client': 'host-%d-113-0-203.abroad.test', 'reject_helo': 'mail%d.abroad.test',
        'check_client_country': '198.18.%d.7', 'client_country': '198.18.%d.7'}
for table, key in keys.items():
    kind = 'regexp' if table in ('check_dynamic_client', 'reject_helo') else 'cidr'
    text = ''.join((key % (n % 250)) + chr(10) for n in range(number))
    began = time.perf_counter()
    subprocess.run(['postmap', '-q', '-', f'{kind}:{folder}/tables/{table}'], input=text, text=True, capture_output=True)
    once = time.perf_counter()
    subprocess.run(['postmap', '-q', '-', f'{kind}:{folder}/tables/{table}'], input=key % 1 + chr(10), text=True, capture_output=True)
    print(table, max(0, (once - began) - (time.perf_counter() - once)) / number * 1e6)
"""


def test_what_a_lookup_costs(stage, figures):
    lines = stage.lab.sh("python3", "-", "/usr/local/etc/postfix", "50000", stdin=LOOKUPS).stdout.split()
    costs = dict(zip(lines[::2], map(float, lines[1::2]), strict=True))
    figures.append(
        f"profile {stage.profile}: a lookup in " + ", ".join(f"{table} {cost:.1f} µs" for table, cost in costs.items())
    )
    assert len(costs) == 4
