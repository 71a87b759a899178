# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role postfix: what is asked of postmap(1) before anything changes, and what is made of its answers."""

import pytest
from postfix_tables import postfix_asked
from role_modules import load, util

module = load("roles/postfix/library/postfix_lookups.py")
host, postfix_lookup = util("sokuhai.host"), util("postfix_lookup")


def sample(*asked, expect="", **more):
    return {"origin": "access_samples[1]", "asked": [list(pair) for pair in asked], "expect": expect, **more}


NAMES, ADDRESSES = ("names", "mx.example"), ("names", "192.0.2.7")
EXCEPTED = ("addresses", "192.0.2.7")


@pytest.mark.parametrize(
    "answers, asked, wanted",
    [
        ({}, sample(NAMES), None),
        ({}, sample(NAMES, expect="OK"), "table names answers mx.example with nothing, expected is OK"),
        ({"names": {"mx.example": "REJECT no"}}, sample(NAMES, expect="REJECT"), None),
        ({"names": {"mx.example": "REJECTED"}}, sample(NAMES, expect="REJECT"), "with REJECTED, expected is REJECT"),
        ({"names": {"mx.example": "OK"}}, sample(NAMES), "with OK, expected is nothing"),
        ({"names": {"192.0.2.7": "OK"}}, sample(NAMES, ADDRESSES, expect="OK"), None),
        # the first answer counts
        (
            {"names": {"mx.example": "class", "192.0.2.7": "OK"}},
            sample(NAMES, ADDRESSES, expect="OK"),
            "answers mx.example, 192.0.2.7 with class",
        ),
        (
            {"addresses": {"192.0.2.7": "OK"}, "names": {"mx.example": "class"}},
            sample(EXCEPTED, NAMES, expect="OK"),
            None,
        ),
        (
            {"addresses": {"192.0.2.7": "on"}, "names": {"mx.example": "class"}},
            sample(EXCEPTED, NAMES, expect="class", past="on"),
            None,
        ),
        ({"addresses": {"192.0.2.7": "on"}}, sample(EXCEPTED, NAMES, past="on"), None),
    ],
)
def test_a_sample_is_answered_by_the_first_table_that_knows_it(answers, asked, wanted):
    found = postfix_lookup.wrong([asked], answers)
    assert found == [] if wanted is None else len(found) == 1 and found[0].startswith("access_samples[1]: "), found
    assert wanted is None or wanted in found[0]


@pytest.mark.parametrize(
    "complaint, said",
    [
        ("regexp map /tmp/x/t, line 2: Unmatched ( or \\(", "second: Unmatched ( or \\(; Postfix would skip the entry"),
        (
            "pcre map /tmp/x/t, line 1: error in regex at offset 5: no",
            "first: error in regex at offset 5: no; Postfix would skip",
        ),
        ("regexp map /tmp/x/t, line 7: what", "table t: regexp map"),
        ("unsupported dictionary type: pcre", "table t: unsupported dictionary type: pcre"),
    ],
)
def test_a_complaint_names_the_entry(complaint, said):
    assert postfix_lookup.named(complaint, "t", ["first", "second"]).startswith(said)


class Postmap:
    """Answers as postmap(1) -q - does: *answers* {type:name of the table: its output, its complaints}."""

    def __init__(self, answers, works=True):
        self.answers, self.works, self.texts = answers, works, {}

    def __call__(self, *arguments, text):
        if arguments == ("-q", "x", "static:y"):
            return (0, "y\n", "") if self.works else (1, "", "postmap: fatal: unknown group\n")
        kind, _, path = arguments[-1].partition(":")
        name = path.rpartition("/")[2]
        with open(path, encoding="utf-8") as file:
            self.texts[name] = file.read()
        return (0, *self.answers[f"{kind}:{name}"])


TABLES = [
    {"name": "t", "type": "regexp", "lines": ["/a/ OK", "/(/ OK"], "origins": ["access_helo: a", "access_helo: b"]}
]


def test_entries_that_postfix_would_skip_are_refused_before_samples():
    said = "postmap: warning: regexp map /tmp/t, line 2: Unmatched ( or \\(\n"
    postmap = Postmap({"regexp:t": ("a\tOK\n", said * 2)})
    with pytest.raises(host.Refused) as refused:
        module.judged(postmap, TABLES, [sample(("t", "a"), expect="REJECT")])
    assert refused.value.problems == ["access_helo: b: Unmatched ( or \\(; Postfix would skip the entry"]
    assert postmap.texts == {"t": "/a/ OK\n/(/ OK\n"}


def test_samples_are_answered_by_the_tables_as_they_would_be():
    postmap = Postmap({"regexp:t": ("a\tOK\n", "")})
    assert module.judged(postmap, TABLES, [sample(("t", "a"), expect="OK"), sample(("none", "a"))])
    with pytest.raises(host.Refused) as refused:
        module.judged(postmap, TABLES, [sample(("t", "a"))])
    assert "table t answers a with OK" in str(refused.value)


def test_a_postfix_that_cannot_read_its_own_main_cf_is_not_asked():
    assert not module.judged(Postmap({}, works=False), TABLES, [])


def test_what_is_asked_of_which_tables():
    given = [
        {
            "name": "helo",
            "type": "regexp",
            "entries": [{"pattern": "/x y/", "action": ["REJECT", "a"], "reason": "two\nlines"}],
        },
        {"name": "keys", "type": "pcre", "entries": [{"pattern": "/hunter2/"}]},
        {"name": "net", "type": "cidr", "entries": [{"pattern": "::/0", "action": "OK"}]},
    ]
    access = {
        "tables": [
            {"name": "reject_sender", "entries": [{"pattern": "a@b", "action": "OK", "origin": "access_sender: a@b"}]}
        ],
        "samples": [sample(NAMES)],
    }
    assert postfix_asked(given, ["keys"], access) == {
        "tables": [
            {"name": "reject_sender", "type": "texthash", "lines": ["a@b OK"], "origins": ["access_sender: a@b (a@b)"]},
            {
                "name": "helo",
                "type": "regexp",
                "lines": ["/x y/ REJECT, a"],
                "origins": ["postfix_tables (helo): entry 1 (/x y/)"],
            },
        ],
        "samples": [sample(NAMES)],
    }
    assert postfix_asked([], [], {}) == {"tables": [], "samples": []}
