# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""tools/drift: from what the callback recorded to findings, statuses, transitions and the report."""

import json
import os
import pathlib
import pwd
import subprocess
import sys

import pytest
from role_modules import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "mx.home.example"


drift = load("tools/drift")
PROBED = {"action": "drift_probe", "role": "drift", "told": {"findings": [], "notes": []}}
END = {"event": "end", "hosts": [HOST]}


def record(**more):
    return dict(
        {
            "event": "result",
            "host": HOST,
            "role": "postfix",
            "task": "T",
            "action": "postfix_config",
            "path": "/x/tasks/main.yml:1",
            "status": "ok",
            "changed": False,
            "item": "",
            "msg": "",
            "diff": [],
            "crashed": False,
            "given": {},
            "told": {},
        },
        **more,
    )


def judged(*records, end=True, probed=True):
    hosts, findings, errors = drift.digest([*records, *([record(**PROBED)] if probed else []), *([END] if end else [])])
    return (
        hosts[HOST]["status"] if hosts else None,
        {"%(role)s: %(thing)s" % entry: entry for entry in findings},
        errors,
        hosts,
    )


def test_a_run_that_ended_without_a_word_is_clean():
    assert judged()[:3] == ("clean", {}, [])


@pytest.mark.parametrize("options", [{"end": False}, {"probed": False}])
def test_a_run_that_did_not_come_to_its_end_is_never_clean(options):
    status, _, errors, hosts = judged(**options)
    assert status == "error" and drift.worst(hosts, errors) == "error"


def test_no_host_at_all_and_a_callback_that_broke_are_errors():
    assert drift.worst(*[drift.digest([dict(END, hosts=[])])[i] for i in (0, 2)]) == "error"
    assert (
        drift.worst(
            {HOST: {"status": "clean"}},
            drift.digest([{"event": "broken", "where": "f", "message": "m"}, END, record(**PROBED)])[2],
        )
        == "error"
    )


def test_a_set_of_postfix_is_told_by_parameter_and_service():
    diff = [
        {
            "before_header": "main.cf",
            "after_header": "main.cf",
            "before": "a = 1\nb = 2\n  3\n# c\n",
            "after": "a = 1\nb = 2\nd = 4\n",
        },
        {
            "before_header": "master.cf",
            "after_header": "master.cf",
            "before": "smtp inet n - n - - smtpd\n25x inet n - n - - smtpd\n",
            "after": "smtp  inet  n - n - 7 smtpd\n",
        },
    ]
    status, found, _, _ = judged(
        record(
            changed=True,
            diff=diff,
            told={"reasons": ["main.cf, master.cf not as declared", "master was loaded before /x/main.cf was written"]},
        )
    )
    assert status == "drift"
    assert set(found) == {
        "postfix: main.cf: b",
        "postfix: main.cf: d",
        "postfix: master.cf: smtp/inet",
        "postfix: master.cf: 25x/inet",
    }
    assert (found["postfix: main.cf: b"]["found"], found["postfix: main.cf: b"]["expected"]) == ("2 3", "2")


def test_what_runs_is_told_when_no_file_explains_it():
    reasons = [
        "master was loaded before /x/main.cf was written",
        "the running master may have 5 descriptors, 9 are guaranteed",
        "master does not run",
    ]
    found = judged(record(changed=True, told={"reasons": reasons}))[1]
    assert set(found) == {
        "postfix: process master: configuration",
        "postfix: process master: openfiles",
        "postfix: service postfix",
    }


def test_a_file_of_its_own_is_told_with_its_diff():
    found = judged(
        record(
            role="bind",
            action="bind_config",
            changed=True,
            told={"action": "reconfig", "reason": "the configuration changed"},
            diff=[{"before_header": "/n.conf", "after_header": "/n.conf", "before": "x\ny\n", "after": "x\nz\n"}],
        )
    )[1]
    assert set(found) == {"bind: /n.conf"} and "-y\n+z\n" in found["bind: /n.conf"]["diff"]


def test_a_refusal_is_drift_and_does_not_hide_the_rest():
    status, found, _, _ = judged(
        record(
            role="preflight",
            task="Refuse what cannot work",
            action="ansible.builtin.fail",
            status="failed",
            msg="the chain is broken",
        ),
        record(
            role="limits", action="limits_apply", status="failed", msg="nothing was changed: the same in other words"
        ),
        record(
            role="bind", action="bind_config", changed=True, told={"action": "start", "reason": "named is not running"}
        ),
    )
    assert status == "drift" and set(found) == {"preflight: refused: Refuse what cannot work", "bind: service named"}
    assert found["preflight: refused: Refuse what cannot work"]["found"] == "the chain is broken"


def test_a_set_that_rests_on_a_refusal_is_not_judged():
    _, found, _, hosts = judged(
        record(role="access", action="ansible.builtin.set_fact", status="failed", msg="refused"),
        record(changed=True, diff=[{"after_header": "main.cf", "before": "a = 1\n", "after": ""}]),
    )
    assert set(found) == {"access: refused: T"} and "not judged" in hosts[HOST]["notes"][0]


@pytest.mark.parametrize(
    "broken",
    [
        {"crashed": True, "msg": "MODULE FAILURE"},
        {"msg": "Task failed: Finalization of task args for 'x' failed: 'y' is undefined"},
    ],
)
def test_what_breaks_down_is_an_error(broken):
    status, _, _, hosts = judged(record(status="failed", **broken))
    assert status == "error" and "T" in hosts[HOST]["messages"][0]


def test_a_wrong_inventory_is_an_error_and_nothing_else_is_said():
    status, found, _, hosts = judged(
        record(role="bind", status="failed", path="/r/roles/bind/tasks/validate.yml:3", msg="bind_timeout: too short"),
        record(changed=True, told={"reasons": ["master does not run"]}),
    )
    assert (status, found) == ("error", {}) and "bind_timeout" in hosts[HOST]["messages"][0]


def test_unreachable_beats_drift_and_error_beats_both():
    def of(*words):
        return drift.SEVERITY[drift.worst({str(n): {"status": word} for n, word in enumerate(words)}, [])]

    assert (of("clean"), of("clean", "drift"), of("drift", "unreachable"), of("unreachable", "error", "drift")) == (
        0,
        2,
        3,
        1,
    )
    assert (
        judged(
            record(changed=True, told={"reasons": ["master does not run"]}),
            record(status="unreachable", msg="no route"),
            probed=False,
        )[0]
        == "unreachable"
    )


def test_what_pf_and_its_daemon_do_otherwise_is_told_by_name():
    here = {"role": "blocklist", "action": "blocklist_host", "changed": True}
    off = {
        "differs": [
            {"thing": "pf", "expected": "enabled", "found": "disabled"},
            {"thing": "rc.conf: pf_enable", "expected": "YES", "found": "NO"},
        ]
    }
    old = {"differs": [{"thing": "process blocklistd", "expected": "started after", "found": "it was not"}]}
    assert set(
        judged(
            record(**here, told=off),
            record(**here, told={"differs": [{"thing": "service blocklistd", "expected": "running", "found": "not"}]}),
        )[1]
    ) == {"blocklist: pf", "blocklist: rc.conf: pf_enable", "blocklist: service blocklistd"}
    assert set(judged(record(**here, told=old))[1]) == {"blocklist: process blocklistd"}
    file = [
        {
            "before_header": "/etc/blocklistd.conf",
            "after_header": "/etc/blocklistd.conf",
            "before": "a\nb\n",
            "after": "a\nc\n",
        }
    ]
    assert set(judged(record(**here, diff=file, told={"differs": []}), record(**here, told=old))[1]) == {
        "blocklist: /etc/blocklistd.conf"
    }


def test_what_is_hidden_stays_hidden():
    found = judged(record(role="sasl", changed=True, hidden=True, task="Secret"))[1]
    assert "no_log" in found["sasl: Secret"]["found"]


def test_the_rebuild_is_told_by_kind():
    found = judged(
        record(
            role="ports",
            action="ports_plan",
            told={
                "drift": [
                    {"kind": "lock", "port": "dns/bind920", "message": "unlocked"},
                    {"kind": "vulnerable", "message": "dns/bind920: bind920-9 has a known vulnerability"},
                ]
            },
        ),
        record(role="ports", action="ports_port", changed=True),
        record(
            role="kernel",
            action="kernel_beside",
            told={"plan": {"name": "SOKUHAI", "behind": True, "trial": False, "armed": False, "reason": ""}},
        ),
        record(
            role="fd_setsize",
            action="fd_setsize",
            changed=True,
            told={"reset": ["x"], "others": [{"name": "nginx", "version": "1"}], "worlds": []},
            diff=[
                {
                    "before_header": "/usr/include/sys/select.h",
                    "after_header": "/usr/include/sys/select.h",
                    "before": "a\nb\n",
                    "after": "a\nc\n",
                }
            ],
        ),
    )[1]
    assert set(found) == {
        "ports: port dns/bind920: lock",
        "ports: port dns/bind920: vulnerable",
        "kernel: kernel SOKUHAI: behind",
        "fd_setsize: built with the raised header: nginx",
        "fd_setsize: /usr/include/sys/select.h",
    }


def test_a_daemon_older_than_its_built_program_is_told_once():
    ports = record(
        role="ports",
        action="ports_plan",
        told={"drift": [{"kind": "process", "message": "mail/postfix: the running postfix is older"}]},
    )
    probe = dict(
        record(**PROBED),
        told={
            "notes": [],
            "findings": [
                {"role": role, "thing": "process %s: program" % name, "expected": "", "found": "", "advice": ""}
                for role, name in (("postfix", "postfix"), ("bind", "named"))
            ],
        },
    )
    assert set(judged(ports, probe, probed=False)[1]) == {
        "ports: port mail/postfix: process",
        "bind: process named: program",
    }


@pytest.mark.parametrize(
    "plan, kinds",
    [
        ({"behind": True, "build": True, "trial": True}, {"behind"}),
        ({"build": True, "trial": True}, {"build"}),
        ({"trial": True}, {"trial"}),
        ({"armed": True}, {"armed"}),
        ({"reason": "it panicked"}, {"failed"}),
        ({}, set()),
    ],
)
def test_a_kernel_that_is_not_there_does_not_wait_for_its_trial(plan, kinds):
    found = judged(
        record(role="kernel", action="kernel_beside", told={"plan": dict(plan, name="SOKUHAI", running="kernel")})
    )[1]
    assert set(found) == {"kernel: kernel SOKUHAI: %s" % kind for kind in kinds}
    assert not kinds & {"build", "trial"} or "kernel runs" in next(iter(found.values()))["found"]


def test_a_sick_list_is_told_unless_nothing_at_all_is_resolved():
    zones = {"zen.example": {"healthy": False, "reason": "refuses"}, "good.example": {"healthy": True}}
    ask = {"role": "access", "action": "access_dnsbl_health"}
    assert set(judged(record(**ask, told={"zones": zones, "resolver": {"answers": True}}))[1]) == {
        "access: dnsbl zen.example"
    }
    assert judged(record(**ask, told={"zones": zones, "resolver": {"answers": False}}))[1] == {}


def test_nothing_that_would_be_changed_is_passed_over():
    assert set(judged(record(role="sasl", action="sasl_dovecot", changed=True, task="Configure"))[1]) == {
        "sasl: Configure"
    }


def item(thing, host=HOST):
    return drift.finding(host, "state", "postfix", thing)


def test_transitions_know_new_still_and_gone():
    hosts = {HOST: {"status": "drift", "messages": [], "notes": []}}
    first, state = drift.transitions({}, hosts, [item("a"), item("b")], True)
    assert [e["thing"] for e in first["new"]] == ["a", "b"] and first["hosts"] == [
        {"host": HOST, "from": "clean", "to": "drift"}
    ]
    second, state = drift.transitions(state, hosts, [item("b"), item("c")], True)
    assert [[e["thing"] for e in second[key]] for key in ("new", "still", "gone")] == [["c"], ["b"], ["a"]] and second[
        "hosts"
    ] == []
    report = {
        "errors": [],
        "hosts": hosts,
        "transitions": drift.transitions(state, hosts, [item("b"), item("c")], True)[0],
    }
    assert list(drift.changes(report, False)) == [], "nothing changed, nothing printed"


def test_what_was_known_of_a_host_that_is_away_is_neither_gone_nor_new_when_it_returns():
    well, away = (
        {HOST: {"status": "drift", "messages": [], "notes": []}},
        {HOST: {"status": "unreachable", "messages": ["no route"], "notes": []}},
    )
    _, state = drift.transitions({}, well, [item("a")], True)
    moved, state = drift.transitions(state, away, [], True)
    assert moved["gone"] == [] and moved["hosts"] == [{"host": HOST, "from": "drift", "to": "unreachable"}]
    moved, state = drift.transitions(state, well, [item("a")], True)
    assert (moved["new"], moved["gone"]) == ([], [])


def test_a_limited_run_keeps_what_is_known_of_the_others():
    hosts = {name: {"status": "drift", "messages": [], "notes": []} for name in ("a.example", "b.example")}
    _, state = drift.transitions({}, hosts, [item("x", "a.example"), item("x", "b.example")], True)
    moved, state = drift.transitions(state, {"a.example": {"status": "clean", "messages": [], "notes": []}}, [], False)
    assert [e["host"] for e in moved["gone"]] == ["a.example"] and set(state["hosts"]["b.example"]["findings"]) == {
        "b.example/postfix/x"
    }


def test_ten_clean_hosts_are_one_line():
    hosts = {"mx%d.example" % n: {"status": "clean", "messages": [], "notes": []} for n in range(10)}
    assert list(drift.table({"errors": [], "hosts": hosts, "findings": [], "seconds": 40}, False)) == [
        "as declared: 10 of 10 host(s), 40 s"
    ]


FAKE = """#!%s
import json, os, sys
with open(os.environ["SOKUHAI_DRIFT"], "a") as out:
    for line in json.loads(os.environ["FAKE_RECORDS"]):
        out.write(json.dumps(line) + "\\n")
sys.exit(int(os.environ["FAKE_STATUS"]))
"""


@pytest.mark.parametrize(
    "records, status, code",
    [
        ([record(**PROBED), END], 0, 0),
        ([record(changed=True, told={"reasons": ["master does not run"]}), record(**PROBED), END], 0, 2),
        ([record(status="unreachable", msg="no route"), END], 4, 3),
        ([record(**PROBED)], 137, 1),
        ([record(**PROBED), END], 250, 1),
    ],
)
def test_the_command_ends_with_the_documented_status_and_writes_what_the_schema_says(
    tmp_path, monkeypatch, capsys, records, status, code
):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed beside molecule")
    fake = tmp_path / "ansible-playbook"
    fake.write_text(FAKE % sys.executable)
    fake.chmod(0o755)
    monkeypatch.setattr(drift, "ansible_playbook", lambda: str(fake))
    monkeypatch.setenv("FAKE_RECORDS", json.dumps(records))
    monkeypatch.setenv("FAKE_STATUS", str(status))
    assert drift.main(["--state", str(tmp_path / "state"), "--json", str(tmp_path / "report")]) == code
    report = json.loads((tmp_path / "report").read_text())
    schema = json.loads((ROOT / "docs" / "drift.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)
    assert report["exit"] == code and capsys.readouterr().out
    assert (tmp_path / "state" / "last.json").exists() == (not report["errors"]), "a broken run is no last run"


@pytest.mark.parametrize(
    "words",
    [
        ["--skip-tags", "bind"],
        ["--tags=bind"],
        ["-t", "bind"],
        ["--start-at-task", "x"],
        ["--list-tasks"],
        ["--syntax-check"],
    ],
)
def test_an_option_that_would_leave_something_out_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        drift.arguments(words)
    assert end.value.code == 1 and "half a run" in capsys.readouterr().err


def test_what_is_ansibles_is_handed_on_in_its_order(tmp_path):
    options = drift.arguments(
        ["-i", "here", "-e", "a=1", "--ask-vault-pass", "-u", "ops", "--limit", "x", "--vault-password-file", "f"]
    )
    assert options.ansible == ["-e", "a=1", "--ask-vault-pass", "-u", "ops", "--vault-password-file", "f"] and (
        options.inventory,
        options.limit,
    ) == (["here"], "x")


def test_the_callback_refuses_a_run_that_would_change_something(tmp_path):
    book = tmp_path / "book.yml"
    book.write_text("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n")
    run = subprocess.run(
        [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", book],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACKS_ENABLED": "sokuhai_drift",
            "SOKUHAI_DRIFT": str(tmp_path / "records"),
        },
    )
    assert run.returncode != 0 and "no check run" in run.stdout + run.stderr, run.stdout + run.stderr


# ---- the module's pure part

probe = load("roles/drift/library/drift_probe.py")


def test_descendants_of_a_process_at_any_depth():
    processes = probe.parse_processes(
        "  1  0 90 init\n 10  1 80 master\n 11 10 80 qmgr\n 12 11 1 x\n 20  1  3 named\nno line\n"
    )
    assert probe.descendants(processes, 10) == [11, 12] and processes[20] == (1, 3, "named")


def test_rows_of_procstat_for_several_processes():
    text = "  PID COMM RLIMIT SOFT HARD\n  10 master openfiles 20000 infinity\n  11 qmgr openfiles 100 20000\n  11 qmgr sbsize infinity infinity\n"
    limits = probe.parse_rlimits(text)
    assert limits == {10: (20000, None), 11: (100, 20000)}
    assert not probe.low(limits[10], 20000) and probe.low(limits[11], 20000)


def test_inet_services_of_a_master_cf():
    assert probe.listeners(
        "smtp       inet  n - n - - smtpd -o x=y\n127.0.0.1:10025 inet n - n - - smtpd\npickup unix n - n 60 1 pickup\n"
    ) == {"smtp": "smtpd", "10025": "smtpd"}


@pytest.mark.parametrize(
    "mode, at_most, told",
    [(0o644, False, False), (0o600, False, True), (0o600, True, False), (0o666, True, True), (0o4644, True, True)],
)
def test_a_mode_is_exact_or_an_upper_bound(tmp_path, mode, at_most, told):
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(mode)
    owner = pwd.getpwuid(os.stat(path).st_uid).pw_name
    host = probe.Host.__new__(probe.Host)
    host.findings = []
    host.mode({"role": "limits", "mode": "0644", "owner": owner, "group": "", "at_most": at_most}, str(path))
    assert [entry["thing"] for entry in host.findings] == (["mode of %s" % path] if told else [])
    host.findings = []
    host.mode({"role": "limits", "mode": "0644", "owner": "nobody-such", "group": "", "at_most": True}, str(path))
    assert len(host.findings) == 1, "another owner is always told"


@pytest.mark.parametrize(
    "record, rebuilt, stock, things",
    [
        (
            {"built": True, "inputs": {"version": "15.0-RELEASE"}},
            False,
            "15.0-RELEASE-p4",
            ["kernel kernel.SOKUHAI-1: behind"],
        ),
        ({"built": True, "inputs": {"version": "15.0-RELEASE-p4"}}, False, "15.0-RELEASE", []),
        ({"built": True, "inputs": {"version": "15.0-RELEASE"}}, True, "15.0-RELEASE", []),
        (None, False, "15.0-RELEASE-p4", ["reboot pending: kernel"]),
        (None, False, "15.0-RELEASE", []),
    ],
)
def test_a_kernel_of_ones_own_is_compared_with_the_world_and_not_with_the_stock_one(
    tmp_path, monkeypatch, record, rebuilt, stock, things
):
    """The world is 15.0-RELEASE-p4, the kernel that runs says 15.0-RELEASE."""
    folder = tmp_path / "kernel.SOKUHAI-1"
    folder.mkdir()
    if record:
        (folder / "sokuhai.json").write_text(json.dumps(record))
    said = {"-kr": stock + "\n15.0-RELEASE\n", "-u": "15.0-RELEASE-p4\n"}
    monkeypatch.setattr(probe, "run", lambda argv: (0, said[argv[1]], ""))
    monkeypatch.setattr(probe, "sysctl", lambda name: str(folder / "kernel"))
    host = probe.Host.__new__(probe.Host)
    host.findings, host.p = [], {"rebuilt_kernel": rebuilt}
    host.kernel()
    assert [entry["thing"] for entry in host.findings] == things


@pytest.mark.parametrize("text", ["{", "[]", "null", "7"])
def test_a_state_that_is_none_makes_everything_new_and_says_so(tmp_path, capsys, text):
    (tmp_path / "last.json").write_text(text)
    assert drift.read_state(tmp_path / "last.json") == {}
    assert "last.json cannot be read" in capsys.readouterr().err
