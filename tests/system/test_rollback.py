"""rollback.yml: back to stock, part by part, with mail flowing; and site.yml brings everything again."""

import pytest
from practice import FULL, changed, full_only, until
from test_kernel_beside import mail_flows

HEADERS = ["/usr/include/sys/select.h", "/usr/src/sys/sys/select.h"]


def numbers(lab):
    """FD_SETSIZE of both headers."""
    text = lab.sh("grep", "-h", "define.*FD_SETSIZE", *HEADERS).stdout
    return [line.split()[-1] for line in text.splitlines()]


def configuration(lab):
    """The host's configuration; of rc.conf only which lines there are, since a key that went and came again stands last."""
    found = lab.fingerprint()
    found["/etc/rc.conf"] = sorted(lab.sh("cat", "/etc/rc.conf").stdout.splitlines())
    return found


def played(lab, *arguments, **options):
    """Run a playbook that must succeed; return the finished process and what it printed, on one line."""
    result = lab.applied(*arguments, **options)
    return result, " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def rebuilt(lab):
    """The host as site.yml made it, and then a rebuild that got as far as the headers and a kernel beside, without a boot; all of it, with a port."""
    assert "sokuhai limits" in lab.sh("cat", "/etc/sysctl.conf").stdout, "role limits had nothing to do on this host"
    before = configuration(lab)
    lab.sh("/bin/sh", "-c", "rm -rf /boot/kernel.trial; cp -Rp /boot/kernel /boot/kernel.trial")
    parts = "kernel,postfix" if FULL else "kernel"
    declared = {"kernel_build": False, "kernel_name": "kernel.trial"}
    played(lab, "rebuild.yml", "--tags", parts, variables=declared, timeout=900)
    yield
    lab.sh("/bin/sh", "-c", "rm -rf /boot/kernel.trial")
    _result, said = played(lab, "site.yml")
    assert "buildworld" not in said, "a header is still raised"
    assert configuration(lab) == before
    until(lambda: mail_flows(lab))


def test_a_run_that_rebuilds_nothing_says_what_the_raised_header_means(lab, rebuilt):
    assert numbers(lab) == ["16384", "16384"]
    result, said = played(lab, "site.yml", "--tags", "rebuild")
    assert changed(result) == 0 and "rebuild_enabled" in said and "buildworld" in said, result.stdout


@full_only("one more run, in check mode, and a port built: in make test-full")
def test_it_is_predicted_and_nothing_changes(lab, rebuilt):
    assert lab.sh("pkg", "query", "%R %k", "postfix").stdout.split() == ["unknown-repository", "1"]
    before = configuration(lab)
    result, _ = played(lab, "rollback.yml", "--check")
    assert changed(result) > 0 and configuration(lab) == before and numbers(lab) == ["16384", "16384"]


def test_everything_but_the_mail_service_goes_back_to_stock(lab, rebuilt):
    result, said = played(lab, "rollback.yml", timeout=900)
    assert numbers(lab) == ["1024", "1024"]
    for path, mark in (
        ("/etc/sysctl.conf", "sokuhai"),
        ("/etc/login.conf", "sokuhai"),
        ("/etc/rc.conf", "named_login_class"),
        ("/etc/rc.conf.d/postfix", "sokuhai"),
        ("/etc/make.conf", "sokuhai"),
    ):
        assert mark not in lab.sh("cat", path, check=False).stdout, path
    assert lab.sh("ls", "/etc/make.conf", check=False).returncode != 0, "there was no make.conf before"
    assert lab.sh("ls", "/boot/loader.conf.d").stdout.split() == []
    assert "non-existent" in lab.sh("/bin/sh", "-c", "limits -C sokuhai -n 2>&1").stdout, (
        "the class is still compiled in"
    )
    repository, locked = lab.sh("pkg", "query", "%R %k", "postfix").stdout.split()
    assert repository != "unknown-repository" and locked == "0"
    assert "until its next boot" in said, "what a boot gives back is not said"
    until(lambda: mail_flows(lab))  # the mail service was not asked to go
    again, _ = played(lab, "rollback.yml")
    assert changed(again) == 0, again.stdout


@full_only("switches the mail service off and on again: in make test-full")
def test_the_mail_service_goes_by_name_only(lab, rebuilt):
    played(lab, "rollback.yml", "--tags", "postfix,sasl,bind")
    sockets = lab.sh("sockstat", "-46l").stdout
    assert not [line for line in sockets.splitlines() if ":25 " in line or ":53 " in line or ":587 " in line], sockets
    assert lab.sh("ls", "/usr/local/etc/mail/mailer.conf", check=False).returncode != 0
    assert "sokuhai" not in lab.sh("cat", "/etc/resolvconf.conf", check=False).stdout
    assert "127.0.0.1" not in lab.sh("cat", "/etc/resolv.conf").stdout
    again, _ = played(lab, "rollback.yml", "--tags", "postfix,sasl,bind")
    assert changed(again) == 0, again.stdout
