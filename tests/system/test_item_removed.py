"""Whether the rows would notice: every item that has rows is taken out of the running configuration, and one of them has to fail then."""

import time

import pytest
from dialogues import script
from dialogues.stage import ROWS, Stage, put_back
from practice import full_only

# what postscreen has let pass it would let pass again
FORGET = "rm -f /var/db/postfix/postscreen_cache.*"
LISTS = [
    *(f"smtpd_{name}_restrictions" for name in ("relay", "client", "helo", "sender", "recipient", "data")),
    "check_dynamic_client",
    "check_client_ease",
    "check_client_na",
    "postscreen_dnsbl_sites",
]


@pytest.fixture(scope="module")
def as_before(lab):
    box = lab.mailbox()
    yield
    put_back(lab, box)


def without(lists):
    """(parameter, value without one element, that element) for every element that can be taken out."""
    for name, elements in lists.items():
        for place, element in enumerate(elements):
            rest = elements[:place] + elements[place + 1 :]
            # smtpd does not run without a guard of the relay, and a class needs something
            if rest and not (name == "smtpd_relay_restrictions" and element.startswith("reject")):
                yield name, ", ".join(rest), element


@full_only("some twenty changes of the configuration: SOKUHAI_FULL=1")
@pytest.mark.parametrize("profile", script.PROFILES)
def test_rows_notice_when_an_item_is_missing(lab, request, profile):
    request.getfixturevalue("as_before")
    stage, unnoticed, tried = Stage(lab, profile), [], 0
    stage.configure()
    waived = script.waived()[profile]
    lists = {
        name: value.strip().split(", ")
        for name, _, value in (line.partition(" =") for line in lab.sh("postconf", *LISTS).stdout.splitlines())
        if value.strip()
    }
    rows = [row for row in ROWS if row["phase"] == "normal" and profile in row["profiles"]]
    whole = stage.speak(rows)
    failing = [row["id"] for row in rows if script.judge(row, profile, whole[row["id"]])]
    assert not failing, failing
    lab.sh("sh", "-c", "cd /usr/local/etc/postfix && cp -p main.cf main.cf.whole")
    try:
        for name, rest, element in without(lists):
            item = script.item_of(name, element)
            mine = [
                row
                for row in rows
                if item in script.proves(row, profile, "refuses") | script.proves(row, profile, "passes")
            ]
            if not mine or item in waived["refuses"] or item in waived["removed"]:
                continue
            # not reload: an smtpd of before may answer the first clients after one
            lab.sh(
                "sh", "-c", f'postconf -e "$1" && postfix stop && {FORGET} && postfix start', "sh", f"{name} = {rest}"
            )
            # what greylisting remembers is by sender, and senders are by run
            tried += 1
            stage.run = f"{profile}without{tried}x{int(time.time())}"
            replies = stage.speak(mine)
            if not any(script.judge(row, profile, replies[row["id"]]) for row in mine):
                unnoticed.append(f"{item}: {', '.join(row['id'] for row in mine)}")
            lab.sh("sh", "-c", "cd /usr/local/etc/postfix && cat main.cf.whole >main.cf")
    finally:
        lab.sh(
            "sh",
            "-c",
            f"cd /usr/local/etc/postfix && cat main.cf.whole >main.cf && rm -f main.cf.whole && {FORGET} && postfix reload",
        )
    assert tried >= 10
    assert not unnoticed, "\n".join(unnoticed)
