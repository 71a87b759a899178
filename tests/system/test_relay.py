"""Relaying stays closed whatever a user makes of the lists: all of them emptied, or OK in every table. Real dialogues prove it."""

import pytest
import yaml
from dialogues import script, techniques
from dialogues.stage import ROWS, Stage, put_back
from practice import ROOT, full_only, sized, until

RELAY = [
    row
    for row in ROWS
    if row["phase"] == "normal" and row["id"].startswith("relay-") and str(row["expect"].get("code"))[0] in "45"
]
# so that nothing is proved about a host that did not take the change, or takes no mail at all
WITNESSES = {"local-delivery-1": None, "sender-refused-1": {"at": "end", "code": 250}}


ONE_EACH = "make test tries one hostile change in each profile"


def emptied(profile):
    """Changes that take every item out of every list and class of role access, and put a permit into each."""
    data = yaml.safe_load((ROOT / "roles" / "access" / "vars" / "main.yml").read_text())
    lists = {**data[f"__access_lists_{profile}"], **data[f"__access_classes_{profile}"]}
    changes = [{"list": name, "remove": item["name"]} for name, items in lists.items() for item in items]
    return {
        "access_changes": changes + [{"list": name, "insert": {"name": "anybody", "value": "permit"}} for name in lists]
    }


def yes_to_all(_profile):
    """OK for every client, HELO and sender of these dialogues in every table, and ahead of each list one that says OK to anybody."""
    domains = ("sender.test", "other.test", "isp.test", "abroad.test", "dynamic.test", "home.example")
    reason = {"reason": "a user who trusts everybody", "date": "2026-11-01"}
    return {
        "access_sender": [{"pattern": pattern, "action": "OK"} for pattern in (*domains, "<>")],
        "access_client": [
            {"pattern": pattern, "action": "OK", **reason}
            for pattern in (*domains, "203.0.113.0/24", "2001:db8:2::/48")
        ],
        "access_helo": [{"name": "anybody", "pattern": "/./", "action": "OK"}],
        "access_dynamic": [{"name": "anybody", "pattern": "/./", "action": "OK"}],
        "access_countries": {"JP": "ease", "XA": "ease", "XB": "ease"},
        "postfix_restrictions": {
            f"smtpd_{name}_restrictions": [{"name": "anybody", "value": "check_client_access static:OK", "weight": 1}]
            for name in ("client", "helo", "sender", "recipient", "data")
        },
    }


def as_it_is(_profile):
    """No hostile change at all."""
    return {}


def each(profile, hostile, *marks):
    return pytest.param((profile, hostile), marks=marks, id=f"{profile}-{hostile.__name__}")


@pytest.fixture(scope="module", autouse=True)
def as_before(lab):
    box = lab.mailbox()
    yield
    put_back(lab, box)


@pytest.fixture(
    scope="module",
    params=[
        each("article", yes_to_all),
        each("current", emptied),
        each("article", emptied, full_only(ONE_EACH)),
        each("current", yes_to_all, full_only(ONE_EACH)),
        each("article", as_it_is, full_only(ONE_EACH)),
        each("current", as_it_is, full_only(ONE_EACH)),
    ],
)
def stage(request, lab):
    profile, hostile = request.param
    stage = Stage(lab, profile)
    changes = hostile(profile)
    stage.configure(changes)
    stage.hostile = bool(changes)
    return stage


def test_relay_stays_closed(stage):
    witnesses = [{**row, "expect": WITNESSES[row["id"]] or row["expect"]} for row in ROWS if row["id"] in WITNESSES]
    replies = stage.speak(RELAY + witnesses)
    assert len(RELAY) >= 12 and len(witnesses) == len(WITNESSES)
    wrong = [
        f"{row['id']}: {problem}\n{script.show(replies[row['id']])}"
        for row in RELAY + witnesses
        for problem in script.judge(row, stage.profile, replies[row["id"]])
    ]
    assert not wrong, "\n".join(wrong)


def crosses(hostile):
    """(kinds of clients, wires) that every technique is tried from and over."""
    everybody, everywhere = tuple(techniques.CLIENTS), tuple(techniques.WIRES)
    honest = (techniques.HONEST,)
    many = [(honest, everywhere), (everybody[1:], ("25-v4",))]
    return sized([(honest, ("25-v4",))], many, many if hostile else [(everybody, everywhere)])


@pytest.mark.reliability("relay")
def test_no_technique_relays(stage, record_property):
    rows = [row for kinds, wires in crosses(stage.hostile) for row in techniques.rows(kinds, wires)]
    stays = {row["id"]: row for row in rows}
    witnesses = [
        techniques.row(techniques.WITNESS, techniques.HONEST, wire)
        for wire in ("25-v4", "25-v6", "25-tls-v4", "25-tls-v6")
    ]
    # so many at a time as a busy machine gets done within what lab.sh() waits
    replies, at_once = stage.speak(witnesses), 500
    for first in range(0, len(rows), at_once):
        replies |= stage.speak(rows[first : first + at_once], techniques.PARALLEL)
    wanted = {script.token(row, stage.run) for row in witnesses}
    until(lambda: wanted <= set(stage.delivered()))
    # what would leave the host leaves before the queue is empty of it
    until(lambda: not stage.queued())
    delivered, sunk = stage.delivered(), stage.sunk()
    relayed = {id: techniques.judge(row, stage.run, replies[id], delivered, sunk) for id, row in stays.items()}
    wrong = [f"{id}: {' '.join(said)}" for id, said in relayed.items() if said]
    refused = sum(
        any(reply["at"] == "rcpt" and "Relay access denied" in reply["text"] for reply in replies[id]) for id in stays
    )
    record_property("techniques", len(techniques.TECHNIQUES))
    record_property("dialogues", len(rows))
    record_property("refused as relaying", refused)
    record_property("relayed", len(wrong))
    assert not wrong, "\n".join(wrong)
    assert refused and [delivered[token] for token in wanted] == [1] * len(witnesses)
