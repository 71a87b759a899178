"""The stand-in of pkg(8), without a host: versions, audit, what is installed, removed, locked and asked for."""

import pytest
from standin_modules import module


@pytest.mark.parametrize(
    "left, right, order",
    [
        ("9.18.49", "9.20.1", -1),
        ("3.10.13,1", "3.11.5", 1),
        ("3.11.5_1,1", "3.11.5,1", 1),
        ("1.2", "1.2", 0),
        ("1.10", "1.9", 1),
    ],
)
def test_pkg_versions(monkeypatch, left, right, order):
    assert module("usr/libexec/standins/pkg", monkeypatch).compare(left, right) == order


VUXML = """<vuxml xmlns="http://www.vuxml.org/apps/vuxml-1"><vuln vid="a-b"><topic> two ranges </topic><affects><package>
<name>postfix</name><name>postfix-sasl</name><range><ge>3.9</ge><lt>3.10.14,1</lt></range><range><eq>4.0</eq></range></package></affects></vuln></vuxml>"""


@pytest.mark.parametrize(
    "package, rc",
    [
        ("postfix-3.10.13,1", 1),
        ("postfix-sasl-3.10.13,1", 1),
        ("postfix-3.10.14,1", 0),
        ("postfix-3.8", 0),
        ("postfix-4.0", 1),
        ("bind920-3.10", 0),
    ],
)
def test_pkg_audit_by_ranges(monkeypatch, tmp_path, package, rc):
    pkg = module("usr/libexec/standins/pkg", monkeypatch)
    (tmp_path / "vuln.xml").write_text(VUXML)
    assert pkg.audit(None, {"q": "", "f": tmp_path / "vuln.xml"}, [package]) == rc


def test_pkg_audit_without_and_with_a_broken_file(monkeypatch, tmp_path):
    pkg = module("usr/libexec/standins/pkg", monkeypatch)
    (tmp_path / "bad").write_text("<vuxml>")
    for name, complaint in (("none", "Try running 'pkg audit -F' first"), ("bad", "cannot process vulnxml")):
        with pytest.raises(pkg.Refused, match=complaint):
            pkg.audit(None, {"f": tmp_path / name}, ["x-1"])


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """packages(command, …): exit status of pkg on a host of its own; .offer() puts a package into its repository, which has three: b needs a, c has a file of b's."""
    pkg = module("usr/libexec/standins/pkg", monkeypatch)
    offers = {}
    monkeypatch.setattr(pkg.packages, "DB", str(tmp_path / "db/local.sqlite"))
    monkeypatch.setattr(pkg.repository, "PORTS", str(tmp_path / "ports"))
    monkeypatch.setattr(pkg.repository, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pkg.repository, "catalogue", lambda: offers)

    def offer(name, version="1", needs=(), file=None):
        """file: below tmp_path, where it is installed; the package's name and version are its content."""
        path = tmp_path / "ports" / name / str(tmp_path).lstrip("/") / (file or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}-{version}")
        offers[name] = pkg.repository.Offer(name, version, f"x/{name}", name.upper(), name, needs)

    def perform(name, *args):
        return pkg.perform(name, list(args))

    def have():
        """name-version of what is installed."""
        return [pkg.title(package) for package in pkg.packages.Database().installed()]

    offer("a")
    offer("b", "2", ["a"])
    offer("c", file="b")
    perform.offer, perform.have = offer, have
    return perform


def test_pkg_installs_what_is_needed_first_and_removes_what_needs_it(packages, tmp_path, capsys):
    assert packages("install", "-yU", "b") == 0 and (tmp_path / "b").read_text() == "b-2"
    capsys.readouterr()
    packages("query", "-a", "%n %R %a")
    assert capsys.readouterr().out == "a FreeBSD-ports 1\nb FreeBSD-ports 0\n"
    assert packages("delete", "-y", "a") == 0 and packages.have() == [] and not (tmp_path / "b").exists()
    assert "\tb: 2" in capsys.readouterr().out


def test_pkg_force_removes_one_alone_and_check_finds_the_gap(packages, capsys):
    packages("install", "-yU", "b")
    assert packages("delete", "-fy", "a") == 0
    capsys.readouterr()
    assert packages("check", "-dnq", "b") == 0 and capsys.readouterr().out == "b\ta\n"


def test_pkg_lock_holds_against_delete_install_and_conflict_but_not_against_a_file(packages, tmp_path, capsys):
    """As pkg 2.8.4 has it, which the roles reckon with."""
    packages("install", "-yU", "b")
    packages("create", "-o", str(tmp_path / "saved"), "b")
    packages("lock", "-yq", "b")
    assert packages("delete", "-fy", "b") == 7
    packages.offer("b", "3", ["a"])
    for words, status, said in (
        (["-fyU", "b"], 1, "b-2 is locked and may not be modified"),
        (["-yU", "b"], 1, "b-2 is locked and may not be modified"),
        (["-yU", "c"], 3, "c-1 conflicts with b-2 (installs files into the same place)"),
    ):
        assert packages("install", *words) == status
        assert said in capsys.readouterr().err
    assert packages.have() == ["a-1", "b-2"]
    assert packages("install", "-fyU", str(tmp_path / "saved/b-2.pkg")) == 0
    capsys.readouterr()
    packages("query", "%n-%v:%k", "b")
    assert capsys.readouterr().out == "b-2:0\n"
    assert packages("install", "-yU", "b") == 0 and packages.have() == ["a-1", "b-3"]
    assert packages("install", "-yU", "c") == 0 and packages.have() == ["a-1", "c-1"]


def test_pkg_knows_a_conflict_once_the_package_was_fetched(packages, tmp_path, capsys):
    """As libpkg's pkg_jobs_solve has it: the files of a package that is not here are unknown."""
    packages("install", "-yU", "b")
    for words, status, gone in ((["-nU"], 1, False), (["-yFU"], 0, False), (["-nU"], 1, True), (["-nyU"], 0, True)):
        capsys.readouterr()
        assert packages("install", *words, "c") == status and packages.have() == ["a-1", "b-2"]
        out = capsys.readouterr().out
        assert ("Installed packages to be REMOVED:\n\tb: 2\n\nNew packages to be INSTALLED:\n" in out) == gone
        assert (f"  - c-1 [FreeBSD-ports] conflicts with b-2 [installed] on {tmp_path}/b\n" in out) == gone


def test_pkg_removes_without_a_question_what_is_in_the_way(packages, capsys):
    packages("install", "-yU", "b")
    capsys.readouterr()
    assert packages("install", "-yU", "c") == 0 and packages.have() == ["a-1", "c-1"]
    assert "One more solver iteration is needed to resolve them." in capsys.readouterr().out


def test_pkg_query_has_a_line_for_each_of_a_list(packages, capsys):
    packages("install", "-yU", "b")
    packages("annotate", "-yq", "-A", "b", "one", "1")
    capsys.readouterr()
    for form, lines in (
        ("%n %?r", ["a 1", "b 0"]),
        ("%n %dn", ["a ", "b a"]),
        ("%dn", ["a"]),
        ("%n %Ok=%Ov", ["a =", "b ="]),
    ):
        assert packages("query", "-a", form) == 0
        assert capsys.readouterr().out.splitlines() == lines
    packages("query", "%At=%Av", "b")
    assert "one=1" in capsys.readouterr().out.splitlines()


def test_pkg_configuration_file_follows_its_sample_until_it_is_ones_own(packages, tmp_path):
    mine, sample = tmp_path / "x.conf", tmp_path / "x.conf.sample"
    for number, content, expected in (("1", None, "x-1"), ("2", None, "x-2"), ("3", "my own", "my own")):
        if content:
            mine.write_text(content)
        packages.offer("x", number, file=sample.name)
        packages("install", "-yU", "x")
        assert (mine.read_text(), sample.read_text()) == (expected, f"x-{number}")
