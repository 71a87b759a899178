# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role blocklist and pf: where the block goes in a stranger's pf.conf, what is refused of one, and what the templates say."""

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
    "blocklist_rejects": True,
    "blocklist_rejects_ports": [25, 2525],
}


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
    section, found = "local", []
    for line in text.splitlines():
        if line in ("[local]", "[remote]"):
            section = line[1:-1]
        elif line and not line.startswith("#") and section == part:
            found.append(line.split("\t"))
    return found


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


def test_the_daemons_anchor_is_not_evaluated_twice():
    assert "blocklistd" not in template("etc/pf.sokuhai.conf.j2", ["::1"], own='anchor "blocklistd/*" in')
    for line in (
        'anchor "blocklistd/*" in',
        "anchor blocklistd",
        '  anchor "/blocklistd/*" in on em0',
        'anchor "blocklistd" all',
    ):
        assert pf.own_anchor("pass all\n" + line + "\n", "blocklistd") == line.strip(), line
    for line in (
        '# anchor "blocklistd/*"',
        'anchor "blocklistd2"',
        'pass in # anchor "blocklistd"',
        'anchor "blacklistd/*"',
    ):
        assert pf.own_anchor(line + "\n", "blocklistd") == "", line


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
    lines = text.splitlines()
    assert pf.place_of(text) + len(BLOCK) == lines.index("antispoof quick for $ext_if")
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


def test_only_an_anchor_that_comes_first_is_good():
    options = 'ext_if = "em0"\nset skip on { lo }\nscrub in all fragment reassemble\nnat on em0 inet from 10.9.0.0/24 to any -> (em0) round-robin\n'
    assert pf.comes_first(options + 'anchor "sokuhai" all\nblock drop all\n')
    assert not pf.comes_first(options + 'block drop all\nanchor "sokuhai" all\n')
    assert not pf.comes_first(options + 'anchor "other" all\nanchor "sokuhai" all\n')
    assert not pf.comes_first(options)


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


def test_too_few_states_are_refused_only_where_states_are_kept(made):
    made.pf().refuse_few_states('set limit states 100\nanchor "sokuhai" all\n', 21000)
    made.pf().refuse_few_states("set limit states 30000\n" + KEEPS, 21000)
    with pytest.raises(Refused, match="set limit states 21000"):
        made.pf().refuse_few_states("set limit states 10000\n" + KEEPS, 21000)
    made.said = {"-s memory": "states        hard limit     9000\n"}
    with pytest.raises(Refused, match=r"\b9000\b.*set limit states 21000"):
        made.pf().refuse_few_states(KEEPS, 21000)


def test_an_anchor_in_an_included_file_is_seen_by_pf_alone(made):
    line = 'anchor "blocklistd/*" in on $ext_if'
    one = made.pf()
    assert one.find_own_anchor("pass all\n%s\n" % line, "blocklistd") == line
    assert one.find_own_anchor(None, "blocklistd") == one.find_own_anchor("pass all\n", "blocklistd") == ""
    made.said = {"-nvf": 'block drop all\n  anchor "blocklistd/*" in on em0 all\n'}
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == 'anchor "blocklistd/*" in on em0 all'
    made.said["kldstat"] = None
    assert one.find_own_anchor('include "/etc/more"\n', "blocklistd") == ""


def test_a_ruleset_that_evaluates_our_anchor_is_known(made):
    made.said = {"-s rules": 'anchor "sokuhai" all\n'}
    assert made.pf().evaluates_anchor()
    made.said = {"-s rules": 'anchor "blocklistd/*" in all\nanchor "sokuhai2" all\n'}
    assert not made.pf().evaluates_anchor()


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
    if good:
        one.refuse_unread(load + "pass all\n", "")
    else:
        with pytest.raises(Refused, match="service pf reload"):
            one.refuse_unread(load + "pass all\n", "")


def test_the_anchor_is_compared_by_its_rules_and_by_its_lists(made):
    text = template("etc/pf.sokuhai.conf.j2", ["192.0.2.1", "::1"])
    rules = 'anchor "/blocklistd/*" in from ! <sokuhai_allow> to any\n'
    made.said = {"-nvf": "table <sokuhai_allow> persist\n" + rules, "-s rules": rules, "-T show": " ::1\n 192.0.2.1\n"}
    assert not made.pf().anchor_differs(text)
    for words, other in (("-s rules", rules + "pass all\n"), ("-T show", " ::1\n"), ("-T show", None)):
        had, made.said[words] = made.said[words], other
        assert made.pf().anchor_differs(text), (words, other)
        made.said[words] = had


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
