"""The stand-ins' own logic, without a host: refusals, login classes, order of rc.d scripts, pf's grammar, versions."""
import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2] / "molecule/default/standins/root"
LIB = ROOT / "usr/libexec/standins/lib"
RUN = ("import sys, runpy; sys.path.insert(0, {lib!r}); sys.argv = {argv!r}; "
       "runpy.run_path({path!r}, run_name='__main__')")
PYTHON = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not p.is_symlink()
                and p.read_bytes().startswith(b"#!/usr/libexec/standins/python3"))


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch):
    """root/ is copied into hosts as it is: nothing generated may lie in it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def call(path, *args):
    """A Python stand-in run here, as the commands of a host run there."""
    file = str(ROOT / path)
    code = RUN.format(lib=str(LIB), argv=[file, *args], path=file)
    return subprocess.run([sys.executable, "-BIS", "-c", code], capture_output=True, text=True, timeout=30, check=False)


def module(path, monkeypatch):
    """A stand-in's functions, its main program left alone."""
    monkeypatch.syspath_prepend(str(LIB))
    source = (ROOT / path).read_text()
    head = source.rsplit("\n\n\n", 1)[0]
    loader = importlib.machinery.SourceFileLoader("standin", str(ROOT / path))
    spec = importlib.util.spec_from_loader("standin", loader)
    made = importlib.util.module_from_spec(spec)
    exec(compile(head, str(ROOT / path), "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("path", ["usr/bin/sockstat", "usr/bin/netstat", "usr/bin/fstat", "usr/bin/procstat", "usr/bin/kenv",
                                  "usr/bin/limits", "usr/bin/cap_mkdb", "usr/bin/stat", "usr/sbin/sysctl", "usr/sbin/sysrc",
                                  "usr/sbin/rcorder", "usr/sbin/sha256", "usr/sbin/syslogd"])
def test_an_unknown_option_is_refused_by_name(path):
    answer = call(path, "-%")
    assert answer.returncode != 0, answer
    name = path.rpartition("/")[2]
    assert name in answer.stderr and "Traceback" not in answer.stderr, answer.stderr


@pytest.mark.parametrize("path", PYTHON)
def test_python_standins_start_bare(path):
    first = (ROOT / path).read_text().splitlines()[0]
    assert first == "#!/usr/libexec/standins/python3 -IS", "site and user paths cost time, and sitecustomize lies"


@pytest.mark.parametrize("path", [p for p in ROOT.rglob("*") if p.is_file() and not p.is_symlink()
                                  and p.read_bytes()[:10].startswith(b"#!/bin/sh")], ids=lambda p: p.name)
def test_shell_parses(path):
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert path.stat().st_mode & 0o111, f"{path} is not executable"


def test_setup_parses():
    assert subprocess.run(["sh", "-n", ROOT.parent / "setup.sh"], check=False).returncode == 0


def test_login_values(monkeypatch):
    monkeypatch.syspath_prepend(str(LIB))
    import login
    assert login.number("64K", "size") == 65536
    assert login.number("128M", "size") == 128 << 20
    assert login.number("1h30m", "time") == 5400
    assert login.number("65535", "number") == 65535
    assert login.number("unlimited", "number") == login.INFINITY
    assert login.number("64K", "number") is None and login.number("", "size") is None


def test_login_classes_follow_tc(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(LIB))
    import login
    conf = tmp_path / "login.conf"
    conf.write_text("# c\ndefault:\\\n\t:openfiles=unlimited:\\\n\t:memorylocked=64K:\\\n\t:mail=/var/mail/$:\n\n"
                    "daemon:\\\n\t:mail@:\\\n\t:memorylocked=128M:\\\n\t:tc=default:\n"
                    "mail|other name:\\\n\t:openfiles=500:\\\n\t:tc=daemon:\nloop:\\\n\t:tc=loop:\n")
    classes = login.resolve(login.parse(conf))
    assert classes["mail"] == {"openfiles": "500", "memorylocked": "128M"} == classes["other name"]
    assert classes["default"]["mail"] == "/var/mail/$" and "mail" not in classes["daemon"]
    assert classes["loop"] == {}


def test_cap_mkdb_writes_what_the_database_reader_reads(tmp_path):
    conf = tmp_path / "x.conf"
    conf.write_text("a:\\\n\t:openfiles=5:\n")
    assert call("usr/bin/cap_mkdb", str(conf)).returncode == 0
    assert json.loads((tmp_path / "x.conf.db").read_text()) == {"a": {"openfiles": "5"}}


def test_rcorder(tmp_path):
    def script(name, provide, require="", before="", keyword=""):
        lines = ["#!/bin/sh", f"# PROVIDE: {provide}"]
        lines += [f"# REQUIRE: {require}"] * bool(require) + [f"# BEFORE: {before}"] * bool(before)
        lines += [f"# KEYWORD: {keyword}"] * bool(keyword)
        (tmp_path / name).write_text("\n".join(lines) + "\n. /etc/rc.subr\n# REQUIRE: never\n")
        return str(tmp_path / name)

    paths = [script("c", "c", "b", keyword="shutdown"), script("b", "b", "a"), script("a", "a"), script("z", "z", before="a")]
    answer = call("usr/sbin/rcorder", *paths)
    assert [line[-1] for line in answer.stdout.split()] == ["z", "a", "b", "c"]
    assert call("usr/sbin/rcorder", "-k", "shutdown", *paths).stdout.split() == [paths[0]]
    assert paths[0] not in call("usr/sbin/rcorder", "-s", "shutdown", *paths).stdout.split()


@pytest.mark.parametrize("value, suffix, shown", [
    (None, "   ", "infinity     "), (8514, "   ", "8514     "), (117315, "   ", "117315     "),
    (34359738368, "B  ", "32768 MB  "), (536870912, "B  ", "524288 KB  "), (134217728, "B  ", "131072 KB  "),
    (65536, "B  ", "65536 B   ")])
def test_procstat_numbers(monkeypatch, value, suffix, shown):
    assert module("usr/bin/procstat", monkeypatch).human(value, suffix) == shown


@pytest.mark.parametrize("left, right, order", [
    ("9.18.49", "9.20.1", -1), ("3.10.13,1", "3.11.5", 1), ("3.11.5_1,1", "3.11.5,1", 1), ("1.2", "1.2", 0), ("1.10", "1.9", 1)])
def test_pkg_versions(monkeypatch, left, right, order):
    assert module("usr/libexec/standins/pkg", monkeypatch).compare(left, right) == order


GOOD = """\
# a comment
ext = "vtnet0"
lan = "{ 192.0.2.0/24, 2001:db8::/64 }"
set limit { states 50000, frags 2000 }
set skip on lo0
table <bad> persist { 203.0.113.8 }
anchor "sokuhai"
block in log quick on $ext inet proto tcp from <bad> to any \\
    port { 25, 587 }
pass in from $lan to any keep state
block return out proto udp from any port 53 to !192.0.2.53
pass all
"""


def test_pf_grammar(monkeypatch, tmp_path):
    pf = module("usr/sbin/pfctl", monkeypatch)
    conf = tmp_path / "pf.conf"
    conf.write_text(GOOD)
    state = {"rulesets": {}, "tables": {}, "limits": {}, "skip": [], "policy": "drop"}
    assert pf.parse(str(conf), "", state) == 0
    rules = state["rulesets"][""]
    # one for each of a list's words, in the words of FreeBSD 15's pfctl -sr
    assert [r["text"] for r in rules] == [
        'anchor "sokuhai" all',
        "block drop in log quick on vtnet0 inet proto tcp from <bad> to any port = smtp",
        "block drop in log quick on vtnet0 inet proto tcp from <bad> to any port = submission",
        "pass in from 192.0.2.0/24 to any flags S/SA keep state",
        "pass in from 2001:db8::/64 to any flags S/SA keep state",
        "block return out proto udp from any port = domain to ! 192.0.2.53",
        "pass all flags S/SA keep state"]
    assert rules[1]["quick"] and rules[1]["iface"] == ["vtnet0"] and rules[1]["to"][2] == ["25"]
    assert rules[5]["to"] == (True, ["192.0.2.53"], []) and rules[5]["reply"] == "return"
    assert state["limits"]["states"] == 50000 and state["skip"] == ["lo0"]
    assert state["tables"] == {"\0bad": ["203.0.113.8"]}


def test_pf_evaluates_anchors_by_their_names(monkeypatch):
    pf = module("usr/sbin/pfctl", monkeypatch)
    state = {"rulesets": {name: [] for name in ("", "sokuhai", "d", "d/25", "d/25/x", "d/22", "sokuhai/d", "dd/1")}}
    assert pf.evaluated("/d/*", "sokuhai", state) == ["d/22", "d/25"]
    assert pf.evaluated("d", "sokuhai", state) == ["sokuhai/d"] and pf.evaluated("d", "", state) == ["d"]
    assert pf.evaluated("nothing", "", state) == []


def test_pf_order_and_includes(monkeypatch, tmp_path, capsys):
    pf = module("usr/sbin/pfctl", monkeypatch)
    conf, more = tmp_path / "pf.conf", tmp_path / "more"
    state = {"rulesets": {}, "tables": {}, "limits": {}, "skip": [], "policy": "drop"}
    more.write_text("pass in proto tcp to port $p\n")
    conf.write_text(f'p = "22"\ninclude "{more}"\nblock all\n')
    assert pf.parse(str(conf), "", state) == 0 and [r["action"] for r in state["rulesets"][""]] == ["pass", "block"]
    conf.write_text("anchor \"x\"\nscrub in all\n")
    assert pf.parse(str(conf), "", state) == 1
    assert capsys.readouterr().err == f"{conf}:2: Rules must be in order: options, ethernet, normalization, queueing, translation, filtering\n"


@pytest.mark.parametrize("line", ["blok in", "block in from 192.0.2.300", "pass in port 25", "table bad persist", "set limit { x 1 }",
                                  "pass in from $nothing", "block in quick from <x> bogus", "nat on em0 from any to any -> (em0)"])
def test_pf_refuses(monkeypatch, tmp_path, line, capsys):
    pf = module("usr/sbin/pfctl", monkeypatch)
    conf = tmp_path / "pf.conf"
    conf.write_text("pass all\n" + line + "\n")
    state = {"rulesets": {}, "tables": {}, "limits": {}, "skip": [], "policy": "drop"}
    assert pf.parse(str(conf), "", state) == 1
    assert capsys.readouterr().err.startswith(f"{conf}:2: ")


def test_sysctl_table_is_sound(monkeypatch):
    monkeypatch.syspath_prepend(str(LIB))
    import oid
    kinds = {"integer", "unsigned integer", "long integer", "unsigned long", "string", "opaque", "uint8_t", "int64_t", "uint64_t"}
    assert len(oid.OIDS) == len(oid._ROWS), "a name twice"
    for name, kind, mode, value, setter, _ in oid._ROWS:
        assert kind in kinds and mode in ("r", "w", "rt", "wt"), name
        assert setter is None or "w" in mode, name
        assert callable(value) or isinstance(value, str if kind == "string" else int), name
    # what no stand-in may remember: it has to be asked every time
    for name in ("kern.openfiles", "kern.ipc.numopensockets", "hw.physmem", "hw.ncpu"):
        assert callable(oid.OIDS[name][3]) and oid.OIDS[name][2] == "r"
