"""Relaying stays closed whatever a user makes of the lists: all of them emptied, or OK in every table. Real dialogues prove it."""

import pytest
import yaml
from dialogues import script
from dialogues.stage import ROWS, Stage, put_back
from practice import ROOT, full_only

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


@pytest.fixture(scope="module", autouse=True)
def as_before(lab):
    box = lab.mailbox()
    yield
    put_back(lab, box)


@pytest.mark.parametrize(
    "profile, hostile",
    [
        ("article", yes_to_all),
        ("current", emptied),
        pytest.param("article", emptied, marks=full_only(ONE_EACH)),
        pytest.param("current", yes_to_all, marks=full_only(ONE_EACH)),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_relay_stays_closed(lab, profile, hostile):
    stage = Stage(lab, profile)
    stage.configure(hostile(profile))
    witnesses = [{**row, "expect": WITNESSES[row["id"]] or row["expect"]} for row in ROWS if row["id"] in WITNESSES]
    replies = stage.speak(RELAY + witnesses)
    assert len(RELAY) >= 12 and len(witnesses) == len(WITNESSES)
    wrong = [
        f"{row['id']}: {problem}\n{script.show(replies[row['id']])}"
        for row in RELAY + witnesses
        for problem in script.judge(row, profile, replies[row["id"]])
    ]
    assert not wrong, "\n".join(wrong)
