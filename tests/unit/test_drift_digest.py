# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""tools/drift: from what the callback recorded to findings and the status of each host."""

import ast
import json
import pathlib

import pytest
from drift_records import END, HOST, found, judged, probed, record, text
from drift_report import command, digest, remedies
from role_modules import ROOT


def test_a_run_that_ended_without_a_word_is_clean():
    assert judged()[:3] == ("clean", {}, [])


@pytest.mark.parametrize("options", [{"end": False}, {"looked": False}])
def test_a_run_that_did_not_come_to_its_end_is_never_clean(options):
    status, _, errors, hosts = judged(**options)
    assert status == "error" and digest.worst(hosts, errors) == "error"


@pytest.mark.parametrize(
    "records", [[dict(END, hosts=[])], [{"event": "broken", "where": "f", "message": "m"}, probed(), END]]
)
def test_no_host_at_all_and_a_callback_that_broke_are_errors(records):
    hosts, _, errors = digest.digest(records)
    assert digest.worst(hosts, errors) == "error"


@pytest.mark.parametrize(
    "words, status",
    [
        (["clean"], 0),
        (["clean", "drift"], 2),
        (["drift", "unreachable"], 3),
        (["unreachable", "error", "drift"], 1),
    ],
)
def test_the_worst_of_all_hosts_counts(words, status):
    hosts = {str(number): {"status": word} for number, word in enumerate(words)}
    assert command.EXIT[digest.worst(hosts, [])] == status


def test_a_host_that_goes_away_during_the_run_is_unreachable():
    away = record(status="unreachable", msg="no route")
    status, _, _, hosts = judged(record(changed=True, findings=[found("a")]), away, looked=False)
    assert status == "unreachable" and hosts[HOST]["messages"] == ["no route"]


# ---- what differs ----


def named(*findings, role="postfix", diff=()):
    return record(role=role, changed=True, findings=list(findings), diff=list(diff))


def test_a_set_of_postfix_is_reported_by_parameter_and_service():
    diff = [
        text("main.cf", "a = 1\nb = 2\n  3\n# c\n", "a = 1\nb = 2\nd = 4\n"),
        text("master.cf", "smtp inet n - n - - smtpd\n25x inet n - n - - smtpd\n", "smtp  inet  n - n - 7 smtpd\n"),
    ]
    status, differs, _, _ = judged(record(changed=True, diff=diff, findings=[]))
    assert status == "drift"
    assert set(differs) == {
        "postfix: main.cf: b",
        "postfix: main.cf: d",
        "postfix: master.cf: smtp/inet",
        "postfix: master.cf: 25x/inet",
    }
    assert (differs["postfix: main.cf: b"]["found"], differs["postfix: main.cf: b"]["expected"]) == ("2 3", "2")


RC = text("rc.conf", 'a_enable="NO"\nold_flags="x"\n', 'a_enable="YES"\nnew_class="y"\n')
ANSIBLES = {"before": "", "after_header": "/tmp/ansible-x", "after": "a\nb\n"}
SILENT = record(role="sasl", action="sasl_dovecot", changed=True)
INSTALL = record(role="sasl", action="community.general.pkgng", changed=True, given={"name": ["a", "b"]})
YOUNG = found("process master: configuration", because=["main.cf", "tables/x"])
MASTER = text("master.cf", "25x inet n - n - - smtpd\nsmtp inet n - n - - smtpd\n", "smtp inet n - n - - smtpd\n")
DEAF = found("listener 25x", because=["master.cf: 25x/inet"], role="postfix")
A = text("main.cf", "a = 1\nb\n", "a = 2\nb\n")
CASES = {
    "keys of rc.conf, removed ones too": (
        [named(diff=[RC])],
        ["postfix: rc.conf: a_enable", "postfix: rc.conf: new_class", "postfix: rc.conf: old_flags"],
    ),
    "lines without a file": (
        [record(role="bind", changed=True, diff={"before": "", "after": 'b="1"\n'})],
        ["bind: rc.conf: b"],
    ),
    "a file of Ansible's own modules, by where it goes": (
        [record(changed=True, diff=ANSIBLES, given={"dest": "/etc/x"})],
        ["postfix: /etc/x"],
    ),
    "a finding and a diff of one thing": ([named(found("/a"), diff=[text("/a", "x\n", "y\n")])], ["postfix: /a"]),
    "a task that names nothing, by its arguments": (
        [INSTALL, named(found("x"), role="sasl")],
        ["sasl: package a b", "sasl: x"],
    ),
    "a task that names nothing at all": ([SILENT], ["sasl: sasl_dovecot"]),
    "a task that names nothing where its role has a finding": (
        [SILENT, probed(found("mode of /x", role="sasl"))],
        ["sasl: mode of /x"],
    ),
    # what follows from what
    "a consequence alone": ([named(YOUNG)], ["postfix: process master: configuration"]),
    "a consequence of a parameter": ([named(YOUNG, diff=[A])], ["postfix: main.cf: a"]),
    "a consequence of a table": ([named(YOUNG, diff=[text("tables/x", "a\n", "b\n")])], ["postfix: tables/x"]),
    "a cause in another role": (
        [named(YOUNG), named(role="bind", diff=[text("main.cf", "a\n", "b\n")])],
        ["bind: main.cf", "postfix: process master: configuration"],
    ),
    "a consequence of a consequence": (
        [named(found("c", because=["b"]), found("b", because=["a"]), found("a"))],
        ["postfix: a"],
    ),
    "a circle does not hide itself": (
        [named(found("a", because=["b"]), found("b", because=["a"]), found("c", because=["c"]))],
        ["postfix: a", "postfix: b", "postfix: c"],
    ),
    "a listener that does not belong there": ([named(diff=[MASTER]), probed(DEAF)], ["postfix: master.cf: 25x/inet"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_reported_by_name_and_with_its_cause_alone(case):
    records, names = CASES[case]
    assert sorted(judged(*records)[1]) == names


def test_a_task_that_names_nothing_is_called_by_its_own_name():
    for task in (SILENT, INSTALL):
        (entry,) = judged({**task, "task": "Configure"})[1].values()
        assert (entry["role"], entry["thing"]) == ("sasl", "Configure")


def test_a_finding_and_a_diff_of_the_same_thing_keep_what_each_has():
    differs = judged(record(changed=True, findings=[found("/a", "1", "2")], diff=[text("/a", "x\ny\n", "x\nz\n")]))[1]
    assert differs["postfix: /a"]["found"] == "2" and "-y\n+z\n" in differs["postfix: /a"]["diff"]


def test_what_a_module_names_has_its_values_and_belongs_to_its_role():
    named = found("service named", "running", "not running", thing="the resolver")
    entry = judged(record(role="bind", changed=True, findings=[named]))[1]["bind: service named"]
    assert entry["id"] == HOST + "/bind/service named" and entry["thing"] == "the resolver"
    assert (entry["expected"], entry["found"], entry["part"], entry["remedy"]) == (
        "running",
        "not running",
        "configuration",
        "",
    )
    assert entry["advice"].startswith("ansible-playbook playbooks/site.yml --limit %s --tags bind " % HOST)
    entry = judged(probed(found("mode of /x", role="spf", remedy="mode")), looked=False)[1]["spf: mode of /x"]
    assert entry["part"] == "state" and "/x" not in entry["advice"]


@pytest.mark.parametrize(
    "answer",
    [None, "text", 7, [1, None, {"thing": "no id"}], [{"id": "a", "because": 5, "remedy": ["x"]}], [{"id": ["a"]}]],
)
def test_whatever_a_host_answers_for_findings_is_a_report_or_left_out(answer):
    status, differs, errors, _ = judged(probed(), record(findings=answer))
    assert not errors and status in ("clean", "drift")
    json.dumps(list(differs.values()))


def test_what_is_hidden_stays_hidden():
    (entry,) = judged(record(role="sasl", changed=True, hidden=True, task="Secret"))[1].values()
    assert "no_log" in entry["found"]


# ---- what is refused or breaks down ----


def test_a_refusal_is_drift_and_does_not_hide_the_rest():
    chain = record(
        role="preflight",
        task="Refuse what cannot work",
        action="ansible.builtin.fail",
        status="failed",
        msg="the chain is broken",
    )
    limits = record(role="limits", status="failed", msg="the same in other words")
    status, differs, _, _ = judged(chain, limits, named(found("service named"), role="bind"))
    assert status == "drift" and set(differs) == {"preflight: refused", "bind: service named"}
    refused = differs["preflight: refused"]
    assert refused["found"] == "the chain is broken" and refused["remedy"] == "refused"
    assert refused["thing"] == "refused: Refuse what cannot work"


def test_a_set_that_rests_on_a_refusal_is_not_judged():
    refused = record(role="access", status="failed", msg="refused")
    _, differs, _, hosts = judged(refused, named(diff=[text("main.cf", "a = 1\n", "")]))
    assert set(differs) == {"access: refused"} and "not judged" in hosts[HOST]["notes"][0]


def test_what_breaks_down_is_an_error():
    status, _, _, hosts = judged(record(status="failed", broken=True, msg="m"))
    assert status == "error" and "T" in hosts[HOST]["messages"][0]


def test_a_wrong_inventory_is_an_error_and_nothing_else_is_said():
    wrong = record(role="preflight", status="failed", action="preflight_declared", msg="bind_timeout: too short")
    status, differs, _, hosts = judged(wrong, named(found("service postfix")))
    assert (status, differs) == ("error", {}) and "bind_timeout" in hosts[HOST]["messages"][0]


# ---- what puts it right ----


@pytest.mark.parametrize("remedy", remedies.KNOWN)
def test_every_remedy_has_its_sentence_in_both_languages(remedy):
    english, japanese = remedies.sentence({"remedy": remedy})
    assert english and japanese and english != japanese


def test_every_remedy_that_a_module_gives_is_known():
    given = {
        word.value.value
        for folder in ("library", "module_utils")
        for path in ROOT.glob(f"roles/*/{folder}/*.py")
        for word in ast.walk(ast.parse(path.read_text()))
        if isinstance(word, ast.keyword) and word.arg == "remedy" and isinstance(word.value, ast.Constant)
    }
    assert {"restart", "mode", "reboot", "dns"} <= given <= set(remedies.KNOWN)


def test_the_reports_schema_knows_every_remedy():
    schema = json.loads((ROOT / "docs/drift.schema.json").read_text())
    (known,) = [one["remedy"]["enum"] for one in properties(schema) if "remedy" in one]
    assert sorted(known) == sorted(remedies.KNOWN)


def properties(schema):
    """Every "properties" in a JSON schema."""
    for key, value in schema.items() if isinstance(schema, dict) else ():
        if key == "properties":
            yield value
        yield from properties(value)


def test_what_the_plays_of_the_builder_find_is_put_right_by_its_playbook():
    tree = record(role="ports", action="ports_tree", changed=True, given={"name": "t"}, remedy="builder")
    served = record(role="builder", changed=True, findings=[found("a")], diff=[text("/b", "", "c\n")], remedy="builder")
    looked = probed(found("mode of /x", remedy="mode", role="builder"))
    differs = judged(tree, served, looked)[1]
    assert {name: entry["remedy"] for name, entry in differs.items()} == {
        "ports: ports_tree t": "builder",
        "builder: a": "builder",
        "builder: /b": "builder",
        "builder: mode of /x": "mode",
    }
    assert differs["builder: a"]["advice"].startswith("ansible-playbook playbooks/builder.yml --limit " + HOST)


def test_one_step_for_all_that_one_remedy_puts_right():
    findings = list(
        judged(
            named(found("a"), found("b")),
            named(found("c"), role="bind"),
            probed(found("d", remedy="reboot", role="limits"), found("e", remedy="restart", role="bind")),
        )[1].values()
    )
    steps = [
        (line, [entry["id"].rpartition("/")[2] for entry in entries]) for line, _, entries in remedies.steps(findings)
    ]
    assert steps == [
        ("ansible-playbook playbooks/site.yml --limit %s --tags postfix,bind" % HOST, ["a", "b", "c"]),
        ("shutdown -r now", ["d"]),
        ("service named restart", ["e"]),
    ]
    whole = named(found("f"), role="")
    (step,) = remedies.steps([*findings[:3], *judged(whole)[1].values()])
    assert step[0] == "ansible-playbook playbooks/site.yml --limit " + HOST, "what has no tag needs all of it"
    assert remedies.steps([{"advice": "an older report's"}])[0][:2] == (None, ("an older report's",) * 2)


# ---- sentences ----


def reworded(value, key=""):
    """Recorded results with every sentence in other words: messages, names of tasks, what a person reads of a finding."""
    if isinstance(value, dict):
        return {name: reworded(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [reworded(inner, key) for inner in value]
    return "blah blah" if key in ("msg", "task", "thing", "notes", "item") else value


def test_rewording_every_sentence_changes_no_report():
    """What was recorded on a host with most of drift_tamperings.yml at once, and a role that refuses."""
    path = pathlib.Path(__file__).parent / "data" / "drift_records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    hosts, findings, errors = digest.digest(records)
    others = digest.digest(reworded(records))
    assert len(findings) > 30 and {"refused", "reboot", "mode", "restart", ""} <= {one["remedy"] for one in findings}

    def report(hosts, findings, errors):
        data = [
            {key: one[key] for key in ("id", "part", "role", "remedy", "because", "advice", "diff")} for one in findings
        ]
        steps = [(line, [one["id"] for one in entries]) for line, _, entries in remedies.steps(findings)]
        return {name: host["status"] for name, host in hosts.items()}, data, steps, errors

    assert report(hosts, findings, errors) == report(*others)
