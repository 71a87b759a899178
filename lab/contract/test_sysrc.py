"""sysrc(8): reading and editing rc.conf(5)."""

import pytest


@pytest.fixture
def conf(scratch):
    return f"{scratch}/rc.conf"


def test_a_set_variable(run):
    answer = run("sysrc sshd_enable")
    assert answer.rc == 0 and answer.out in ("sshd_enable: YES\n", "sshd_enable: NO\n")
    assert run("sysrc -n sshd_enable").out == answer.out.partition(": ")[2]


def test_a_default_is_a_value_too(run):
    assert run("sysrc -n syslogd_enable").out.strip() in ("YES", "NO")


def test_unknown_variable(run):
    answer = run("sysrc no_such_var")
    assert (answer.rc, answer.out, answer.err) == (1, "", "sysrc: unknown variable 'no_such_var'\n")
    quiet = run("sysrc -qn no_such_var")
    assert (quiet.rc, quiet.out, quiet.err) == (1, "", "")
    assert run("sysrc -i no_such_var").err == ""


def test_check_only(run):
    value = run("sysrc -n sshd_enable").out.strip()
    other = "NO" if value == "YES" else "YES"
    assert (run("sysrc -c sshd_enable=%s", value).rc, run("sysrc -c sshd_enable=%s", other).rc) == (0, 1)
    answer = run("sysrc -c sshd_enable=%s", other)
    assert answer.out == "" and answer.err == ""
    assert run("sysrc -c no_such_var=1").rc == 1


def test_set_append_remove_delete(run, conf):
    assert run("sysrc -f %s probe_var='a b'", conf).out == "probe_var:  -> a b\n"
    assert run("sysrc -f %s probe_var+=c", conf).out == "probe_var: a b -> a b c\n"
    assert run("sysrc -f %s probe_var+=c", conf).out == "probe_var: a b c -> a b c\n"
    assert run("sysrc -f %s probe_var-=b", conf).out == "probe_var: a b c -> a c\n"
    assert run("cat %s", conf).out == 'probe_var="a c"\n'
    gone = run("sysrc -f %s -x probe_var", conf)
    assert (gone.rc, gone.out, gone.err) == (0, "", "")
    again = run("sysrc -f %s -x probe_var", conf)
    assert (again.rc, again.err) == (1, "sysrc: unknown variable 'probe_var'\n")


def test_several_at_once_and_order_kept(run, conf):
    answer = run("sysrc -f %s one=1 two=2", conf)
    assert (answer.rc, answer.lines()) == (0, ["one:  -> 1", "two:  -> 2"])
    assert run("sysrc -f %s one=3", conf).out == "one: 1 -> 3\n"
    assert run("cat %s", conf).out == 'one="3"\ntwo="2"\n'


def test_comments_and_other_lines_survive(run, conf):
    run("printf '# first\\none=\"1\"\\t# why\\n\\nlast=x\\n' > %s", conf)
    assert run("sysrc -f %s one=2", conf).rc == 0
    assert run("cat %s", conf).out == '# first\none="2"\t# why\n\nlast=x\n'


def test_a_dotted_name_is_refused(run, conf):
    answer = run("sysrc -f %s kern.maxproc=9999", conf)
    assert (answer.rc, answer.out) == (1, "")
    assert answer.err == "sysrc: kern.maxproc: name contains characters not allowed in shell\n"
    assert run("test -e %s", conf).rc == 1


def test_all_with_equals_signs(run):
    answer = run("sysrc -e -a")
    assert answer.rc == 0
    lines = answer.lines()
    assert any(line.startswith("sshd_enable=") for line in lines)
    assert all("=" in line for line in lines) and lines == sorted(lines)
    assert not any(line.startswith("syslogd_program=") for line in lines), "defaults are not listed by -a"


def test_where_it_is_set(run):
    assert run("sysrc -n -F sshd_enable").out.strip().startswith("/etc/")
    assert run("sysrc -F syslogd_program").out == "syslogd_program: /etc/defaults/rc.conf\n"


def test_usage(run):
    answer = run("sysrc")
    assert answer.rc == 1 and answer.err.startswith("Usage: sysrc ")
