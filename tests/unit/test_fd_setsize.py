# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Module fd_setsize on headers of every shape that FreeBSD 10 to 15 has, and what compilers for FreeBSD make of the edited one."""

import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import sys

import fd_setsize_bounds
import pytest
import role_modules

ROOT = pathlib.Path(__file__).resolve().parents[2]
module = role_modules.load("roles/fd_setsize/library/fd_setsize.py")
select_h = role_modules.util("sokuhai.select_h")
probe = role_modules.util("ports_probe")
words = role_modules.load("roles/fd_setsize/filter_plugins/fd_setsize_words.py")

# The lines around the define as the releases have them (sys/sys/select.h).
OLD = "/*\n * FD_SETSIZE may be defined by the user, but the default here should\n */\n#ifndef\tFD_SETSIZE\n#define\tFD_SETSIZE\t1024U\n#endif\n\nint x;\n"
NEW = OLD.replace("1024U", "1024")
SHAPES = {
    "10.4": OLD,
    "15.0": NEW,
    "spaces": NEW.replace("\t", " "),
    "comment behind": NEW.replace("1024\n", "1024\t/* bits */\n"),
    "no line end": NEW.rstrip("\n"),
    "another guard": NEW.replace("#ifndef\tFD_SETSIZE", "#if !defined(FD_SETSIZE)"),
    "latin-1 text": NEW + "/* \xe9 */\n",
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_number_changes_and_nothing_else(shape):
    before = SHAPES[shape]
    after = select_h.replace(before, "x", 16384)
    assert after == before.replace("1024", "16384") and select_h.value(after, "x") == 16384
    assert select_h.replace(after, "x", 1024) == before


PATH = "/usr/include/sys/select.h"
REFUSED = {
    "none": (NEW.replace("FD_SETSIZE", "OTHER"), ["found 0"]),
    "two": (NEW + "#define FD_SETSIZE 99\n", ["found 2", "line 5", "line 9"]),
    "an expression": (NEW.replace("1024\n", "(4 * 256)\n"), ["line 5", "(4 * 256)"]),
    "another suffix": (NEW.replace("1024\n", "1024UL\n"), ["line 5", "1024UL"]),
    "no guard": (NEW.replace("#ifndef\tFD_SETSIZE", "#ifdef\tOTHER"), ["#ifndef FD_SETSIZE", "#ifdef\tOTHER"]),
}


@pytest.mark.parametrize("ask", [select_h.value, lambda *given: select_h.replace(*given, 16384)])
@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_not_exactly_one_guarded_number_is_refused_with_what_was_found(case, ask):
    text, found = REFUSED[case]
    with pytest.raises(module.Refused) as caught:
        ask(text, PATH)
    assert [word for word in [PATH, *found] if word not in str(caught.value)] == []


class Host:
    """A host's two headers and the module's record, below a directory."""

    def __init__(self, folder):
        self.include, self.source = folder / "include/sys/select.h", folder / "src/sys/sys/select.h"
        self.keep, self.obj = folder / "keep", folder / "obj"
        for path in (self.include, self.source):
            path.parent.mkdir(parents=True)
            path.write_text(NEW)
            path.chmod(0o444)
        self.keep.mkdir()
        self.now = 1_800_000_000

    def run(self, include="raised", source="raised", value=16384, check=False, known_only=False):
        self.now += 1000
        work = module.Headers(
            {
                "value": value,
                "keep": str(self.keep),
                "obj": str(self.obj),
                "known_only": known_only,
                "own_origins": ["dns/bind920"],
                "headers": [
                    {"path": str(self.include), "state": include, "optional": False, "installed": True},
                    {"path": str(self.source), "state": source, "optional": True, "installed": False},
                ],
            },
            self.now,
        )
        work.prepare()
        if not check:
            work.execute()
        return work

    def back(self, **options):
        """A run that brings both back as they were."""
        return self.run("original", "original", **options)

    def texts(self):
        return self.include.read_text(), self.source.read_text()

    def values(self):
        return tuple(select_h.value(text, "x") for text in self.texts())


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(
        role_modules.util("sokuhai.host"),
        "run",
        lambda argv, *_: (1, "%s was not found in the database\n" % argv[-1], ""),
    )
    return Host(tmp_path)


@pytest.fixture
def raised(host):
    """A host whose headers are both raised."""
    host.run()
    return host


def test_raises_both_once_keeps_the_originals_and_mode(host):
    assert len(host.run().diff) == 2
    assert host.values() == (16384, 16384) and host.include.stat().st_mode & 0o777 == 0o444
    kept = [path.read_text() for path in host.keep.iterdir() if path.name != "record.json"]
    assert kept == [NEW, NEW]
    record = json.loads((host.keep / "record.json").read_text())
    assert record[str(host.include)]["original_sha256"] == module.digest(NEW)
    again = host.run()
    assert again.diff == again.reset == []


def test_check_mode_shows_the_change_and_makes_none(host):
    assert [d["after"].count("16384") for d in host.run(check=True).diff] == [1, 1]
    assert host.texts() == (NEW, NEW) and list(host.keep.iterdir()) == []


def test_one_bad_header_leaves_both(host):
    update(host.source, NEW + "#define FD_SETSIZE 5\n")
    with pytest.raises(module.Refused):
        host.run()
    assert host.include.read_text() == NEW


def test_sources_may_be_missing_and_the_installed_header_may_not(host):
    host.source.unlink()
    assert [entry["before_header"] for entry in host.run().diff] == [str(host.include)]
    host.include.unlink()
    with pytest.raises(module.Refused, match=str(host.include)) as refused:
        host.run()
    assert "pkg install" not in str(refused.value)


def test_headers_that_base_packages_have_not_brought_are_named_by_their_set(host, monkeypatch):
    host.include.unlink()
    monkeypatch.setattr(role_modules.util("sokuhai.host"), "run", lambda *_: (0, "", ""))
    with pytest.raises(module.Refused, match="pkg install -r FreeBSD-base FreeBSD-set-devel"):
        host.run()


def update(path, text=NEW):
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(0o444)


def test_an_update_that_put_1024_back_is_named_once(raised):
    newer = NEW + "/* a security fix */\n"
    update(raised.include, newer)
    (found,) = raised.run().reset
    assert (found["path"], found["value"], found["raised"], found["package"]) == (str(raised.include), 1024, 16384, "")
    assert raised.values() == (16384, 16384) and raised.run().reset == []
    raised.back()
    assert raised.include.read_text() == newer


def test_a_pkgbase_upgrade_is_named_by_its_package(raised, monkeypatch):
    update(raised.include)
    monkeypatch.setattr(
        role_modules.util("sokuhai.host"), "run", lambda argv, *_: (0, "FreeBSD-clibs-dev-15.0p1\n", "")
    )
    # nothing is rebuilt here: it is left, and a finding of drift
    looked = raised.run("as_it_is", "as_it_is", check=True, known_only=True)
    (found,) = [one for one in looked.result()["findings"] if one["id"] == str(raised.include)]
    assert (found["expected"], found["found"], found["remedy"]) == (
        "16384",
        "1024 of FreeBSD-clibs-dev-15.0p1",
        "reset",
    )
    # put back here, it is in the diff
    assert raised.include.read_text() == NEW and raised.run().reset[0]["package"] == "FreeBSD-clibs-dev-15.0p1"
    assert raised.values() == (16384, 16384)


def test_another_declared_value_is_no_update(raised):
    assert raised.run(value=32768).reset == [] and raised.values() == (32768, 32768)
    raised.back(value=32768)
    assert raised.texts() == (NEW, NEW)


def test_put_back_is_byte_for_byte_and_twice_is_no_change(raised):
    assert len(raised.back().diff) == 2 and raised.texts() == (NEW, NEW)
    assert raised.back().diff == []
    # and what we put back ourselves is no update's work
    assert raised.run().reset == []


def test_a_header_that_somebody_changed_besides_gets_only_its_number_back(raised):
    update(raised.include, raised.include.read_text() + "/* mine */\n")
    raised.back()
    assert raised.include.read_text() == NEW + "/* mine */\n"


def test_a_header_raised_by_hand_is_adopted_and_goes_back_to_freebsds_number(host):
    update(host.include, NEW.replace("1024", "16384"))
    assert len(host.run().diff) == 1
    host.back()
    assert host.include.read_text() == NEW


def test_the_record_may_be_lost(raised):
    for path in raised.keep.iterdir():
        path.unlink()
    raised.back()
    assert raised.values() == (1024, 1024)


class Killed(BaseException):
    """The run ends here, as by kill -9."""


@pytest.mark.parametrize("point", range(1, 7))
def test_killed_at_any_write_the_next_run_ends_the_same_and_blames_nobody(host, monkeypatch, point):
    real, writes = module.write, itertools.count(1)

    def write(*args, **kwargs):
        if next(writes) == point:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as killing, contextlib.suppress(Killed):
        killing.setattr(module, "write", write)
        host.run()
    assert host.run().reset == [] and host.values() == (16384, 16384)
    host.back()
    assert host.texts() == (NEW, NEW)


def test_contained_the_installed_header_is_raised_for_the_build_alone(host):
    assert host.run("as_it_is").diff[0]["before_header"] == str(host.source) and host.values() == (1024, 16384)
    host.run("raised")
    assert host.values() == (16384, 16384)
    host.run("original", "as_it_is")
    assert host.values() == (1024, 16384)
    idle = host.run("as_it_is")
    ((_began, ended),) = idle.periods()
    assert idle.diff == [] and ended is not None


@pytest.mark.parametrize("mark", ["unknown-repository", ""], ids=["pkg to 2.8.4", "pkg since"])
def test_packages_built_while_it_was_raised_are_named_and_no_others(raised, monkeypatch, mark):
    raised.now = 1_800_010_000
    raised.back()
    lines = [
        f"old|1|a/old|{mark}|0|1800000999",
        f"mine|2|a/mine|{mark}|0|1800001000",
        "repo|1|a/repo|FreeBSD-ports|0|1800001000",
        f"bind920|9|dns/bind920|{mark}|1|1800001000",
        f"after|1|a/after|{mark}|0|1800011001",
    ]
    monkeypatch.setattr(role_modules.util("sokuhai.host"), "run", lambda *given: (0, "\n".join(lines), ""))
    answer = raised.run("as_it_is", "as_it_is").result()
    assert [(one["id"], one["expected"], one["found"], one["remedy"]) for one in answer["findings"]] == [
        ("built with the raised header: mine", "FD_SETSIZE 1024", "FD_SETSIZE 16384", "header")
    ]
    assert "mine-2" in words.fd_setsize_warnings(answer, 16384)[0]


def test_a_world_built_from_the_raised_sources_is_named(raised):
    libc = pathlib.Path(f"{raised.obj}{raised.source.parents[2]}/amd64.amd64/lib/libc/libc.so.7")
    libc.parent.mkdir(parents=True)
    libc.touch()
    os.utime(libc, (raised.now - 10_000,) * 2)
    assert raised.run().worlds() == []
    os.utime(libc, (raised.now + 10_000,) * 2)
    answer = raised.run().result()
    assert answer["worlds"] == [str(libc)]
    assert [one["id"] for one in answer["findings"]] == [f"built with the raised header: {libc}"]
    assert str(libc) in words.fd_setsize_warnings(answer, 16384)[0]


def test_sources_that_stay_raised_are_named_before_a_world_is_built_from_them(host):
    assert host.run("as_it_is", "as_it_is").sources == []
    answer = host.run().result()
    assert answer["sources"] == [str(host.source)] and answer["findings"] == []
    (warning,) = words.fd_setsize_warnings(answer, 16384)
    assert str(host.source) in warning and "rollback.yml" in warning
    assert host.run("original", "as_it_is").sources == [str(host.source)]
    assert host.back().sources == []


def looks(host):
    """A run that rebuilds nothing."""
    return host.run("as_it_is", "as_it_is", check=True, known_only=True)


def test_a_run_that_rebuilds_nothing_does_not_look_at_headers_that_were_never_raised(host):
    update(host.source, "no define at all\n")
    seen = looks(host)
    assert seen.todo == seen.reset == seen.sources == seen.notes == []


def test_a_run_that_rebuilds_nothing_only_looks_at_headers_raised_before(raised):
    kept = {path: path.read_text() for path in raised.keep.iterdir()}
    seen = looks(raised)
    assert len(seen.todo) == 2 and seen.sources == [str(raised.source)] and not seen.diff
    update(raised.include)
    assert [one["path"] for one in looks(raised).reset] == [str(raised.include)]
    # what cannot be read is a note, since nobody declared a change
    update(raised.include, "no define at all\n")
    seen = looks(raised)
    assert str(raised.include) in seen.notes[0] and seen.reset == []
    assert {path: path.read_text() for path in raised.keep.iterdir()} == kept


@pytest.mark.parametrize(
    "value, zero, mends",
    [
        (1000, False, "1024"),
        (16385, False, "16448"),
        (2_000_000, False, "1048576"),
        (0, False, "1024"),
        (1000, True, "0"),
        (0, True, None),
        (16384, False, None),
    ],
)
def test_declared_values(value, zero, mends):
    found = "\n".join(fd_setsize_bounds.fd_setsize_problems(value, "x_fd_setsize", zero))
    assert found.count("x_fd_setsize = ") == (mends is not None) and (mends or "") in found


@pytest.fixture(scope="module")
def zig(tmp_path_factory):
    """A compiler for FreeBSD with FreeBSD's own headers; returns compile(include folder, flags, target) -> the object's bytes."""
    ziglang = pytest.importorskip(
        "ziglang", reason="ziglang, which carries FreeBSD's headers, is not installed (requirements.txt)"
    )
    cache = tmp_path_factory.mktemp("zig")
    source = cache / "probe.c"
    source.write_text((ROOT / "roles/ports/files/fd_set_probe.c").read_text())
    stock = pathlib.Path(ziglang.__file__).parent / "lib/libc/include/generic-freebsd/sys/select.h"

    def compile_(value, flags, target):
        include = cache / str(value) / "sys"
        include.mkdir(parents=True, exist_ok=True)
        (include / "select.h").write_text(select_h.replace(stock.read_text(), "select.h", value))
        output = cache / "probe.o"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ziglang",
                "cc",
                "-target",
                target,
                "-I",
                include.parent,
                *flags,
                "-c",
                "-o",
                output,
                source,
            ],
            capture_output=True,
            text=True,
            timeout=300,
            env=dict(os.environ, ZIG_GLOBAL_CACHE_DIR=str(cache), ZIG_LOCAL_CACHE_DIR=str(cache)),
        )
        assert done.returncode == 0, done.stderr
        return output.read_bytes()

    return compile_


@pytest.mark.parametrize("target, machine", [("x86_64-freebsd", 62), ("aarch64-freebsd", 183)])
def test_sizeof_fd_set_as_freebsds_compiler_has_it(zig, target, machine):
    """The probe of role ports, compiled for FreeBSD with the header as the module edits it: (bits of fd_set, FD_SETSIZE, -D)."""
    said = {}
    for name, value, flags in (
        ("stock", 1024, []),
        ("header alone", 16384, []),
        ("flag alone", 1024, ["-DFD_SETSIZE=16384"]),
        ("both", 16384, ["-O2", "-DFD_SETSIZE=16384"]),
        ("the flag removed", 16384, ["-DFD_SETSIZE=16384", "-UFD_SETSIZE"]),
    ):
        data = zig(value, flags, target)
        assert data[:4] == b"\x7fELF" and int.from_bytes(data[18:20], "little") == machine
        said[name] = probe.result(data)
    assert said == {
        "stock": (1024, 1024, 0),
        "header alone": (16384, 16384, 0),
        "flag alone": (16384, 16384, 16384),
        "both": (16384, 16384, 16384),
        "the flag removed": (16384, 16384, 0),
    }
