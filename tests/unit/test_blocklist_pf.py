# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role blocklist: what is refused of its variables, what the templates make of them, where the block goes in a stranger's pf.conf, and what is refused of one."""

import contextlib
import types

import pytest
from role_modules import load, rendered, util

pf = util("blocklist_pf")
filters = load("roles/blocklist/filter_plugins/blocklist.py")
Refused = pf.Refused
MINIMAL = rendered("blocklist", "etc/pf.conf.j2")
BLOCK = pf.marked(MINIMAL)
SERVICES = [
    {"name": "smtp", "port": 25, "nfail": 10, "duration": "12h"},
    {"name": "ssh", "port": 22, "nfail": 5, "duration": "24h"},
]
DECLARED = {
    "blocklist_services": SERVICES,
    "blocklist_mask_ipv4": 32,
    "blocklist_mask_ipv6": 64,
    "blocklist_allow": [],
    "blocklist_mynetworks": ["127.0.0.0/8", "[::1]/128"],
    "blocklist_rejects": True,
    "blocklist_rejects_count": 30,
    "blocklist_rejects_window": "10m",
    "blocklist_rejects_duration": "6h",
    "blocklist_rejects_ports": [25, 2525],
    "blocklist_traps": [],
    "blocklist_from_traps": False,
    "blocklist_confirm_seconds": 90,
}
SMTP = SERVICES[0]


# -- what is declared ---------------------------------------------------------------------------------------------------


def test_the_defaults_are_good():
    assert filters.problems(DECLARED) == []


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("blocklist_services", [], "sokuhai_blocklist"),
        ("blocklist_services", [dict(SMTP, nfail=1)], "mistypes"),
        ("blocklist_services", [dict(SMTP, port=70000)], "70000"),
        ("blocklist_services", [dict(SMTP, duration="soon")], "'soon'"),
        ("blocklist_services", [dict(SMTP, duration="0")], "at least 1"),
        ("blocklist_services", [SMTP, dict(SMTP, name="mail")], "is smtp already"),
        ("blocklist_services", [dict(SMTP, name="SMTP in")], "SMTP in"),
        ("blocklist_mask_ipv4", 8, "16 to 32"),
        ("blocklist_mask_ipv6", 129, "32 to 128"),
        ("blocklist_allow", ["192.0.2.10/24"], "192.0.2.0/24"),
        ("blocklist_allow", ["home.example"], "home.example"),
        ("blocklist_allow", ["::/0"], "everybody"),
        ("blocklist_mynetworks", ["[2001:db8::]/33x"], "2001:db8"),
        ("blocklist_rejects_count", 2, "mailing list"),
        ("blocklist_rejects_window", "30", "once a minute"),
        ("blocklist_rejects_ports", [], "no effect"),
        ("blocklist_traps", ["trap"], "'trap'"),
        ("blocklist_from_traps", True, "access_traps"),
        ("blocklist_confirm_seconds", 10, "45 to 600"),
    ],
)
def test_a_wrong_value_is_named(name, value, says):
    (problem,) = filters.problems({**DECLARED, name: value})
    assert problem.startswith(name) and says in problem


@pytest.mark.parametrize(
    "text, seconds",
    [("90", 90), ("90s", 90), ("10m", 600), ("12h", 43200), ("1d", 86400), ("1d12h30m", 131400), (60, 60)],
)
def test_durations_are_the_daemons(text, seconds):
    assert filters.seconds(text) == seconds


def template(path, exempt=(), daemon="blocklistd", own="", **variables):
    return rendered(
        "blocklist",
        path,
        **{**DECLARED, **variables},
        __blocklist_exempt=filters.networks(exempt),
        __blocklist_ready={"daemon": daemon, "own_anchor": own},
    )


# -- the daemon's configuration -----------------------------------------------------------------------------------------


def rows(text, part):
    """The columns of a part's lines."""
    local, _, remote = text.partition("[local]\n")[2].partition("[remote]\n")
    lines = {"local": local, "remote": remote}[part].splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def test_each_service_has_a_line_for_each_family_and_seven_columns():
    assert rows(template("etc/blocklistd.conf.j2"), "local") == [
        ["25", "stream", "tcp", "*", "*", "10", "12h"],
        ["25", "stream", "tcp6", "*", "*/64", "10", "12h"],
        ["22", "stream", "tcp", "*", "*", "5", "24h"],
        ["22", "stream", "tcp6", "*", "*/64", "5", "24h"],
    ]


def test_an_allowed_address_is_never_counted_to_the_end():
    text = template("etc/blocklistd.conf.j2", ["192.0.2.1", "198.51.100.0/24", "127.0.0.0/8"])
    assert rows(text, "remote") == [[place] + ["*"] * 6 for place in ("127.0.0.0/8", "192.0.2.1/32", "198.51.100.0/24")]


def test_an_allowed_address_is_as_wide_as_an_offender():
    """The daemon masks the offender before it looks for an exception: a narrower exception would never be found."""
    text = template(
        "etc/blocklistd.conf.j2", ["192.0.2.77", "2001:db8:1::5", "2001:db8::/32", "::1"], blocklist_mask_ipv4=24
    )
    assert [row[0] for row in rows(text, "remote")] == ["192.0.2.0/24", "[::]/64", "[2001:db8::]/32"]


def test_networks_within_others_are_left_out():
    given = ["10.0.0.5", "10.0.0.0/8", "[::1]", "10.0.0.5/32", "192.0.2.0/24"]
    assert filters.networks(given) == ["10.0.0.0/8", "192.0.2.0/24", "::1/128"]


# -- pf's anchor ------------------------------------------------------------------------------------------------------


def test_the_anchor_lets_the_allowed_by_and_closes_the_ports_to_the_refused():
    exempt = ["192.0.2.1", "::1/128", "10.0.0.0/8", "2001:db8::/32"]
    text = template("etc/pf.sokuhai.conf.j2", exempt, "blacklistd")
    assert text.splitlines()[1:] == [
        "table <sokuhai_allow> persist { 10.0.0.0/8 192.0.2.1 ::1 2001:db8::/32 }",
        "table <sokuhai_rejects> persist",
        'anchor "/blacklistd/*" in from ! <sokuhai_allow> to any',
        "block drop in quick proto tcp from <sokuhai_rejects> to any port { 25 2525 }",
    ]
    assert {name: set(map(str, inside)) for name, inside in pf.lists(text).items()} == {
        "sokuhai_allow": {"10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32"}
    }


@pytest.mark.parametrize(
    "line, is_one",
    [
        ('anchor "blocklistd/*" in', True),
        ("anchor blocklistd", True),
        ('  anchor "/blocklistd/*" in on em0', True),
        ('anchor "blocklistd" all', True),
        ('# anchor "blocklistd/*"', False),
        ('anchor "blocklistd2"', False),
        ('pass in # anchor "blocklistd"', False),
        ('anchor "blacklistd/*"', False),
    ],
)
def test_a_line_that_evaluates_the_daemons_anchor_is_known(line, is_one):
    assert pf.own_anchor(f"pass all\n{line}\n", "blocklistd") == (line.strip() if is_one else "")


def test_the_daemons_anchor_is_not_evaluated_twice():
    assert "blocklistd" not in template("etc/pf.sokuhai.conf.j2", ["::1"], own='anchor "blocklistd/*" in')


@pytest.mark.parametrize(
    "flags, options",
    [
        ("", []),
        ("-D ext_if=em0", ["-D", "ext_if=em0"]),
        ("-Dext_if=em0  -D lan=10.0.0.0/8", ["-D", "ext_if=em0", "-D", "lan=10.0.0.0/8"]),
        # what only prints, or enables pf, changes nothing of what is loaded
        ("-qvmo none", ["-m", "-o", "none"]),
        ("-e -vv", []),
        ("-qDa=-n", ["-D", "a=-n"]),
    ],
)
def test_pf_flags_that_belong_to_the_rules_are_told_from_others(flags, options):
    assert pf.load_options(flags) == options


@pytest.mark.parametrize("flags", ["-n", "-qN", "-D", "ext_if=em0", "-f /etc/other", "-a x", "-q -- -n"])
def test_pf_flags_by_which_pf_conf_would_not_be_loaded_whole_are_refused(flags):
    with pytest.raises(Refused, match="pf_flags"):
        pf.load_options(flags)


# -- a stranger's pf.conf -----------------------------------------------------------------------------------------------

RULES = """\
# mine
ext_if = "em0"
ports = "{ 22 25 \\
   587 }"
table <friends> persist { 192.0.2.0/24,
   198.51.100.1 } # block nobody
set skip on lo0
scrub in all
nat on $ext_if from 10.0.0.0/8 to any -> ($ext_if)
rdr pass on $ext_if proto tcp to port 80 -> 10.0.0.2
load anchor "x" from "/etc/x"

antispoof quick for $ext_if
block in quick from any to any port 22
anchor "x"
pass all"""


def placed(text):
    return pf.with_block(text, pf.places(text)[0], BLOCK)


def test_the_block_stands_before_the_first_filter_rule_and_nothing_else_is_touched():
    text = placed(RULES)
    assert text.splitlines()[pf.place_of(text) + len(BLOCK)] == "antispoof quick for $ext_if"
    assert pf.without_block(text) == RULES and pf.marked(text) == BLOCK and pf.place_of(RULES) is None


@pytest.mark.parametrize(
    "text, after",
    [
        ("pass all\n", 0),
        ("\n\n# words: pass all\nset skip on lo\n", 4),
        ("", 0),
        ("set skip on lo0", 1),
        ("match in all scrub (no-df)\n", 0),
        ('anchor "a" {\n pass\n}\nblock\n', 0),
        ("table <t> {\n 10.0.0.1 }\nset limit states 9\n  pass in\n", 3),
    ],
)
def test_places(text, after):
    assert pf.places(text)[0] == after
    assert pf.without_block(placed(text)).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "text", ["# BEGIN sokuhai blocklist\nnat on em0 -> em1\npass\n", "pass\n# END sokuhai blocklist\n"]
)
def test_a_block_without_its_end_takes_no_rule_with_it(text):
    with pytest.raises(Refused, match="^pf.conf: "):
        pf.without_block(text)


def test_what_may_hide_the_first_rule_is_the_second_choice():
    text = 'include "/etc/a"\n$rule\nset skip on lo\npass all\ninclude "/etc/b"\n'
    assert pf.places(text) == [3, 0, 1]


@pytest.mark.parametrize(
    "rules, good",
    [
        ('anchor "sokuhai" all\nblock drop all\n', True),
        ('block drop all\nanchor "sokuhai" all\n', False),
        ('anchor "other" all\nanchor "sokuhai" all\n', False),
        ("", False),
    ],
)
def test_only_an_anchor_that_comes_first_is_good(rules, good):
    options = 'ext_if = "em0"\nset skip on { lo }\nscrub in all fragment reassemble\nnat on em0 inet from 10.9.0.0/24 to any -> (em0) round-robin\n'
    assert pf.comes_first(options + rules) is good


def test_the_minimal_file_holds_our_block_and_lets_everything_pass():
    assert {word for number, word in pf.statements(MINIMAL)} == {"set", "anchor", "load"}
    assert 'load anchor "%s" from "%s"' % (pf.ANCHOR, pf.ANCHOR_FILE) in BLOCK


# -- on a host ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """A Pf whose commands answer as .said says, {words of the command: what it prints}; None is a command that fails. .calls has what was asked."""

    def run(argv, **options):
        made.calls.append(" ".join(argv))
        found = next((text for words, text in made.said.items() if words in made.calls[-1]), "")
        return (1, "", "") if found is None else (0, found, "")

    made = types.SimpleNamespace(calls=[], said={}, rc={}, pf=lambda: pf.Pf())
    monkeypatch.setattr(pf, "run", run)
    monkeypatch.setattr(pf.rc, "read", lambda names: made.rc)
    return made


KEEPS = "pass all flags S/SA keep state\n"


@pytest.mark.parametrize(
    "limit, rules, refused",
    [
        ("set limit states 100\n", 'anchor "sokuhai" all\n', None),
        ("set limit states 30000\n", KEEPS, None),
        ("set limit states 10000\n", KEEPS, r"\b10000\b.*set limit states 21000"),
        # where the file sets none, pf's own
        ("", KEEPS, r"\b9000\b.*set limit states 21000"),
    ],
)
def test_too_few_states_are_refused_only_where_states_are_kept(made, limit, rules, refused):
    made.said = {"-s memory": "states        hard limit     9000\n"}
    with pytest.raises(Refused, match=refused) if refused else contextlib.nullcontext():
        made.pf().refuse_few_states(limit + rules, 21000)


def test_an_anchor_in_an_included_file_is_seen_by_pf_alone(made):
    line = 'anchor "blocklistd/*" in on $ext_if'
    one = made.pf()
    assert one.find_own_anchor("pass all\n%s\n" % line, "blocklistd") == line
    assert one.find_own_anchor(None, "blocklistd") == one.find_own_anchor("pass all\n", "blocklistd") == ""
    made.said = {"-nvf": 'block drop all\n  anchor "blocklistd/*" in on em0 all\n'}
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == 'anchor "blocklistd/*" in on em0 all'
    made.said["kldstat"] = None
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == ""


@pytest.mark.parametrize(
    "rules, evaluates",
    [('anchor "sokuhai" all\n', True), ('anchor "blocklistd/*" in all\nanchor "sokuhai2" all\n', False)],
)
def test_a_ruleset_that_evaluates_our_anchor_is_known(made, rules, evaluates):
    made.said = {"-s rules": rules}
    assert made.pf().evaluates_anchor() is evaluates


def test_pf_reads_pf_conf_with_the_flags_that_it_has_at_boot(made, tmp_path):
    (tmp_path / "real").write_text("pass all\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    made.rc = {"pf_flags": "-D ext_if=em0 -q", "pf_rules": str(tmp_path / "link")}
    one = made.pf()
    assert one.conf == str(tmp_path / "real"), "a link stays one"
    one.try_rules("pass on $ext_if\n", "")
    one.reload()
    assert made.calls[0].startswith("pfctl -nvf ") and made.calls[0].endswith("/pf.conf -D ext_if=em0")
    assert made.calls[1] == f"pfctl -q -f {tmp_path}/real -D ext_if=em0"


NAT = "nat on em0 inet from 10.0.0.0/8 to any -> (em0) round-robin\n"
RUNS = 'scrub in all fragment reassemble\nblock drop all\nanchor "sokuhai" all\npass in from <__automatic_1f_0> to any flags S/SA keep state\n'
FILE = "set skip on { lo0 }\n" + NAT + RUNS.replace("_1f_0", "_2e_0")


@pytest.mark.parametrize(
    "file, rules, nat, load, good",
    [
        (FILE, RUNS, NAT, "", True),
        (FILE, RUNS, "", "", False),
        (FILE, RUNS.replace("block drop all", "pass all flags S/SA keep state"), NAT, "", False),
        (RUNS + "block drop in proto tcp from any to any port = ssh\n", RUNS, "", "", False),
        (RUNS, RUNS, "", 'load anchor "x" from "/etc/x"\n', True),
        (RUNS, RUNS + KEEPS, "", "", False),
    ],
)
def test_a_file_that_pf_has_not_read_is_left_alone(made, monkeypatch, file, rules, nat, load, good):
    """pf is on; the file on the disk and the rules in the kernel have to be the same, or loading the file would change more than our block."""
    one = made.pf()
    # what a loaded anchor brings would be printed too
    monkeypatch.setattr(
        one, "try_rules", lambda text, anchor: (True, file + ("pass in all\n" if "load anchor" in text else ""), "")
    )
    made.said = {"-s nat": nat, "-s rules": rules}
    with contextlib.nullcontext() if good else pytest.raises(Refused, match="service pf reload"):
        one.refuse_unread(load + "pass all\n", "")


INSIDE = 'anchor "/blocklistd/*" in from ! <sokuhai_allow> to any\n'


@pytest.mark.parametrize(
    "other, differs",
    [
        ({}, False),
        ({"-s rules": INSIDE + "pass all\n"}, True),
        ({"-T show": " ::1\n"}, True),
        ({"-T show": None}, True),
    ],
)
def test_the_anchor_is_compared_by_its_rules_and_by_its_lists(made, other, differs):
    read = {"-nvf": "table <sokuhai_allow> persist\n" + INSIDE}
    made.said = {**read, "-s rules": INSIDE, "-T show": " ::1\n 192.0.2.1\n", **other}
    assert made.pf().anchor_differs(template("etc/pf.sokuhai.conf.j2", ["192.0.2.1", "::1"])) is differs


def test_the_block_is_tried_where_it_may_stand_and_pf_has_the_last_word(made, monkeypatch):
    """An include that holds a filter rule: before the first rule of pf.conf itself our anchor would come second."""
    text = 'set skip on lo0\ninclude "/etc/rules"\npass all\n'

    def reads(rules, anchor):
        lines = rules.replace('include "/etc/rules"', "block drop all").replace(
            'anchor "sokuhai"', 'anchor "sokuhai" all'
        )
        return "refuse" not in rules, lines, "line 1: syntax error"

    one = made.pf()
    monkeypatch.setattr(one, "try_rules", reads)
    assert pf.place_of(one.place(text, MINIMAL, "anchor", 0)) == 1
    # where the user moved it, it stays, and new lines come in
    moved = pf.with_block(text, 3, [BLOCK[0], "anchor old", BLOCK[-1]])
    assert one.place(moved, MINIMAL, "anchor", 0) == pf.with_block(text, 3, BLOCK)
    assert one.place(moved, MINIMAL, None, 0) == text
    assert one.place(None, MINIMAL, "anchor", 0) == MINIMAL
    with pytest.raises(Refused, match="syntax error"):
        one.place("refuse\n", MINIMAL, "anchor", 0)
    monkeypatch.setattr(one, "try_rules", lambda rules, anchor: (True, "block drop all\n", ""))
    with pytest.raises(Refused, match='anchor "sokuhai"'):
        one.place(text, MINIMAL, "anchor", 0)
    # without pf's module nobody can be asked
    made.said = {"kldstat": None}
    assert pf.place_of(one.place(text, MINIMAL, "anchor", 0)) == 2
