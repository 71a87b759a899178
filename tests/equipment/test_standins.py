"""The stand-ins' own logic, without a host: refusals, login classes, order of rc.d scripts, pf's grammar."""

import json
import subprocess
import sys

import pytest
from standin_modules import LIB, ROOT, module

RUN = (
    "import sys, runpy; sys.path.insert(0, {lib!r}); sys.argv = {argv!r}; runpy.run_path({path!r}, run_name='__main__')"
)
PYTHON = sorted(
    str(p.relative_to(ROOT))
    for p in ROOT.rglob("*")
    if p.is_file() and not p.is_symlink() and p.read_bytes().startswith(b"#!/usr/libexec/standins/python3")
)


def call(path, *args):
    """A Python stand-in run here, as the commands of a host run there."""
    file = str(ROOT / path)
    code = RUN.format(lib=str(LIB), argv=[file, *args], path=file)
    return subprocess.run(
        [sys.executable, "-BIS", "-c", code], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/sockstat",
        "usr/bin/netstat",
        "usr/bin/fstat",
        "usr/bin/procstat",
        "usr/bin/kenv",
        "usr/bin/limits",
        "usr/bin/cap_mkdb",
        "usr/bin/stat",
        "usr/sbin/sysctl",
        "usr/sbin/sysrc",
        "usr/sbin/rcorder",
        "usr/sbin/sha256",
        "usr/sbin/syslogd",
        "usr/sbin/config",
        "usr/sbin/daemon",
    ],
)
def test_an_unknown_option_is_refused_by_name(path):
    answer = call(path, "-%")
    assert answer.returncode != 0, answer
    name = path.rpartition("/")[2]
    assert name in answer.stderr and "Traceback" not in answer.stderr, answer.stderr


@pytest.mark.parametrize("path", PYTHON)
def test_python_standins_start_bare(path):
    first = (ROOT / path).read_text().splitlines()[0]
    assert first == "#!/usr/libexec/standins/python3 -IS", "site and user paths cost time, and sitecustomize lies"


@pytest.mark.parametrize(
    "path",
    [p for p in ROOT.rglob("*") if p.is_file() and not p.is_symlink() and p.read_bytes()[:10].startswith(b"#!/bin/sh")],
    ids=lambda p: p.name,
)
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
    conf.write_text(
        "# c\ndefault:\\\n\t:openfiles=unlimited:\\\n\t:memorylocked=64K:\\\n\t:mail=/var/mail/$:\n\n"
        "daemon:\\\n\t:mail@:\\\n\t:memorylocked=128M:\\\n\t:tc=default:\n"
        "mail|other name:\\\n\t:openfiles=500:\\\n\t:tc=daemon:\nloop:\\\n\t:tc=loop:\n"
    )
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

    paths = [
        script("c", "c", "b", keyword="shutdown"),
        script("b", "b", "a"),
        script("a", "a"),
        script("z", "z", before="a"),
    ]
    answer = call("usr/sbin/rcorder", *paths)
    assert [line[-1] for line in answer.stdout.split()] == ["z", "a", "b", "c"]
    assert call("usr/sbin/rcorder", "-k", "shutdown", *paths).stdout.split() == [paths[0]]
    assert paths[0] not in call("usr/sbin/rcorder", "-s", "shutdown", *paths).stdout.split()


@pytest.mark.parametrize(
    "value, suffix, shown",
    [
        (None, "   ", "infinity     "),
        (8514, "   ", "8514     "),
        (117315, "   ", "117315     "),
        (34359738368, "B  ", "32768 MB  "),
        (536870912, "B  ", "524288 KB  "),
        (134217728, "B  ", "131072 KB  "),
        (65536, "B  ", "65536 B   "),
    ],
)
def test_procstat_numbers(monkeypatch, value, suffix, shown):
    assert module("usr/bin/procstat", monkeypatch).human(value, suffix) == shown


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


@pytest.fixture
def ruleset(monkeypatch, tmp_path):
    """ruleset(text): what a pf.conf of this text says."""
    rules = module("usr/sbin/pfctl", monkeypatch).pf_rules

    def read(text):
        made = rules.Ruleset({}, lambda line: None)
        made.read(text, "pf.conf")
        return made

    return read


def test_pf_grammar(ruleset):
    made = ruleset(GOOD)
    # one for each of a list's words, in the words of FreeBSD 15's pfctl -sr
    assert [rule.text() for rule in made.rules] == [
        'anchor "sokuhai" all',
        "block drop in log quick on vtnet0 inet proto tcp from <bad> to any port = smtp",
        "block drop in log quick on vtnet0 inet proto tcp from <bad> to any port = submission",
        "pass in from 192.0.2.0/24 to any flags S/SA keep state",
        "pass in from 2001:db8::/64 to any flags S/SA keep state",
        "block return out proto udp from any port = domain to ! 192.0.2.53",
        "pass all flags S/SA keep state",
    ]
    assert made.limits["states"] == 50000 and made.skip == ["lo0"] and made.errors == 0
    assert made.tables == {"bad": ["203.0.113.8"]}


def test_pf_evaluates_anchors_by_their_names(monkeypatch):
    evaluated = module("usr/sbin/pfctl", monkeypatch).pf_kernel.evaluated
    names = ("", "sokuhai", "d", "d/25", "d/25/x", "d/22", "sokuhai/d", "dd/1")
    assert evaluated("/d/*", "sokuhai", names) == ["d/22", "d/25"]
    assert evaluated("d", "sokuhai", names) == ["sokuhai/d"] and evaluated("d", "", names) == ["d"]
    assert evaluated("nothing", "", names) == []


def test_pf_includes(ruleset, tmp_path):
    (tmp_path / "more").write_text("pass in proto tcp to port $p\n")
    made = ruleset(f'p = "22"\ninclude "{tmp_path}/more"\nblock all\n')
    assert made.errors == 0 and [rule.action for rule in made.rules] == ["pass", "block"]


@pytest.mark.parametrize(
    "line",
    [
        "blok in",
        "block in from 192.0.2.300",
        "pass in port 25",
        "table bad persist",
        "set limit { x 1 }",
        "pass in from $nothing",
        "block in quick from <x> bogus",
        "nat on em0 from any to any -> (em0)",
    ],
)
def test_pf_refuses(ruleset, line, capsys):
    assert ruleset("pass all\n" + line + "\n").errors == 1
    assert capsys.readouterr().err.startswith("pf.conf:2: ")


def test_sysctl_table_is_sound(monkeypatch):
    monkeypatch.syspath_prepend(str(LIB))
    import oid

    kinds = {
        "integer",
        "unsigned integer",
        "long integer",
        "unsigned long",
        "string",
        "opaque",
        "uint8_t",
        "int64_t",
        "uint64_t",
    }
    assert len(oid.OIDS) == len(oid._ROWS), "a name twice"
    for name, kind, mode, value, setter, _ in oid._ROWS:
        assert kind in kinds and mode in ("r", "w", "rt", "wt"), name
        assert setter is None or "w" in mode, name
        assert callable(value) or isinstance(value, str if kind == "string" else int), name
    # what no stand-in may remember: it has to be asked every time
    for name in ("kern.openfiles", "kern.ipc.numopensockets", "hw.physmem", "hw.ncpu"):
        assert callable(oid.OIDS[name][3]) and oid.OIDS[name][2] == "r"


# --- config(8)


@pytest.fixture
def configuration(monkeypatch, tmp_path):
    """configuration(text) -> what config(8) made of a kernel configuration beside the tree's GENERIC; (object, exit status)."""
    config = module("usr/sbin/config", monkeypatch)
    conf = ROOT.parent / "src/sys/amd64/conf"

    def read(text):
        (tmp_path / "MINE").write_text(text)
        made = config.Configuration(str(ROOT.parent / "src/sys"), [str(tmp_path), str(conf)])
        made.read(str(conf / "DEFAULTS"))
        made.read(str(tmp_path / "MINE"))
        return made

    read.module = config
    return read


def test_config_takes_a_generic_with_ones_own_changes(configuration):
    made = configuration(
        'include GENERIC\nident MINE # name\noptions \t KDB_UNATTENDED\nnooptions INET6\nnodevice vt\noptions "MAXFILES=9"\n'
        "nomakeoptions DEBUG\n"
    )
    lines = made.text().splitlines()
    assert lines[:4] == ["options\tCONFIG_AUTOGENERATED", "ident\tMINE", "machine\tamd64", "cpu\tHAMMER"]
    assert {
        "options\tKDB_UNATTENDED",
        "options\tINET",
        "options\tMAXFILES=9",
        "options\tINCLUDE_CONFIG_FILE",
        "device\tvtnet",
    } <= set(lines)
    assert not {"options\tINET6", "device\tvt", "makeoptions\tDEBUG=-g"} & set(lines)
    known = configuration.module.known_options(str(ROOT.parent / "src/sys"))
    assert set(made.options) <= known and "NO_SUCH" not in known


@pytest.mark.parametrize(
    "text, said",
    [
        ("include NONE\n", "MINE:1: cannot open included file"),
        ("include MINE\n", "includes itself"),
        ("ident A\nfrobnicate x\n", "MINE:2: syntax error"),
        ("options\n", "MINE:1: syntax error"),
    ],
)
def test_config_names_the_line_it_does_not_take(configuration, capsys, text, said):
    with pytest.raises(SystemExit) as end:
        configuration(text)
    assert end.value.code == 1 and said in capsys.readouterr().err


# --- kernels


def test_a_file_that_is_no_kernel_cannot_be_loaded(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(LIB))
    import kernel

    assert kernel.look(str(tmp_path / "none")) is None
    for content in (b"", b"made without a compiler\n", b"\x7fELF\x02\x01" + bytes(200), bytes(range(256)) * 9):
        (tmp_path / "kernel").write_bytes(content)
        assert kernel.look(str(tmp_path / "kernel")) is None
    assert kernel.fate(str(tmp_path)) == "good"
    (tmp_path / "labfate").write_text("panic\n")
    assert kernel.fate(str(tmp_path)) == "panic"
    (tmp_path / "labfate").write_text("explode\n")
    with pytest.raises(ValueError, match="explode"):
        kernel.fate(str(tmp_path))


# --- the tree of ports and sources


@pytest.fixture
def freebsd(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT.parents[1]))
    from labkit import freebsd

    return freebsd


def test_ports_tree_is_of_the_daemons_versions(freebsd, tmp_path):
    import hashlib

    versions = tmp_path / "usr/share/standins/ports/versions"
    versions.parent.mkdir(parents=True)
    versions.write_text("bind 9.18.49\npostfix 3.7.11,1\npcre2 10.42\npolicyd-spf-perl 2.011\nperl 5.36.0\n")
    freebsd.lay(str(tmp_path))
    tree = tmp_path / "usr/ports"
    assert sorted(p.name for p in (tree / "dns").iterdir()) == ["bind-tools", "bind918"]
    assert "DISTVERSION=\t9.18.49\n" in (tree / "dns/bind918/Makefile").read_text()
    assert "../bind918\n" in (tree / "dns/bind-tools/Makefile").read_text()
    assert "@" not in "".join(
        line for p in tree.rglob("Makefile") for line in p.read_text().splitlines(True) if "DISTVERSION" in line
    )
    word = (tree / "mail/postfix/distinfo").read_text().split()
    archive = tmp_path / "usr/share/standins/distfiles/postfix-3.7.11.tar.gz"
    assert word[:4] == [
        "SHA256",
        "(postfix/postfix-3.7.11.tar.gz)",
        "=",
        hashlib.sha256(archive.read_bytes()).hexdigest(),
    ]
    assert (tree / ".git/HEAD").read_text() == f"ref: refs/heads/{freebsd.BRANCH}\n"
    assert 'REVISION="15.0"' in (tmp_path / "usr/src/sys/conf/newvers.sh").read_text()


def test_the_number_of_the_release_goes_back_into_the_header(freebsd, tmp_path):
    header = tmp_path / "param.h"
    header.write_text("a\n/* zig patch: __FreeBSD_version is defined by the compiler */\nb\n")
    for _ in range(2):
        freebsd.version(header)
        assert header.read_text() == f"a\n#undef __FreeBSD_version\n#define __FreeBSD_version {freebsd.OSVERSION}\nb\n"
    header.write_text("nothing of the kind\n")
    with pytest.raises(freebsd.LabError):
        freebsd.version(header)
