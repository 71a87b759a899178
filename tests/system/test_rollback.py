"""rollback.yml: back to stock, part by part, with mail flowing; and site.yml brings everything again."""

import pytest
from practice import changed, full_only, message
from test_kernel import mail_flows, wait_for

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


@pytest.fixture
def provisioned(lab):
    """The host as site.yml made it, before and after."""
    before = configuration(lab)
    yield lab
    lab.sh("/bin/sh", "-c", "rm -rf /boot/kernel.trial")
    result = lab.play("site.yml")
    assert result.returncode == 0, message(result)
    assert configuration(lab) == before
    assert wait_for(lab, mail_flows)


def test_everything_but_the_mail_service_goes_back_to_stock(provisioned, full):
    lab = provisioned
    assert "sokuhai limits" in lab.sh("cat", "/etc/sysctl.conf").stdout, "role limits had nothing to do on this host"
    # a rebuild that got as far as the headers and a kernel beside, without a boot
    lab.sh("/bin/sh", "-c", "rm -rf /boot/kernel.trial; cp -Rp /boot/kernel /boot/kernel.trial")
    result = lab.play(
        "rebuild.yml", "--tags", "kernel", variables={"kernel_build": False, "kernel_name": "kernel.trial"}
    )
    assert result.returncode == 0 and numbers(lab) == ["16384", "16384"], message(result)

    # a run that rebuilds nothing says what the raised header means
    seen = lab.play("site.yml", "--tags", "rebuild")
    assert seen.returncode == 0 and changed(seen) == 0, message(seen)
    assert "rebuild_enabled is false" in seen.stdout and "Before a buildworld" in " ".join(seen.stdout.split()), (
        seen.stdout
    )

    if full:
        predicted = lab.play("rollback.yml", "--check")
        assert predicted.returncode == 0 and changed(predicted) > 0 and numbers(lab) == ["16384", "16384"]
    result = lab.play("rollback.yml")
    assert result.returncode == 0, message(result)
    assert numbers(lab) == ["1024", "1024"]
    for path, mark in (
        ("/etc/sysctl.conf", "sokuhai"),
        ("/etc/login.conf", "sokuhai"),
        ("/etc/rc.conf", "named_login_class"),
        ("/etc/rc.conf.d/postfix", "sokuhai"),
        ("/etc/make.conf", "sokuhai"),
    ):
        assert mark not in lab.sh("cat", path, check=False).stdout, path
    assert lab.sh("ls", "/boot/loader.conf.d").stdout.split() == []
    assert "non-existent" in lab.sh("/bin/sh", "-c", "limits -C sokuhai -n 2>&1").stdout, (
        "the class is still compiled in"
    )
    assert "until its next boot" in " ".join(result.stdout.split()), "what a boot gives back is not said"
    assert mail_flows(lab), "the mail service was not asked to go"

    again = lab.play("rollback.yml")
    assert again.returncode == 0 and changed(again) == 0, again.stdout
    assert "Before a buildworld" not in " ".join(lab.play("site.yml", "--tags", "rebuild").stdout.split())


@full_only("switches the mail service off and on again: in make test-full")
def test_the_mail_service_goes_by_name_only(provisioned):
    lab = provisioned
    result = lab.play("rollback.yml", "--tags", "postfix,sasl,bind")
    assert result.returncode == 0, message(result)
    sockets = lab.sh("sockstat", "-46l").stdout
    assert not [line for line in sockets.splitlines() if ":25 " in line or ":53 " in line or ":587 " in line], sockets
    assert lab.sh("ls", "/usr/local/etc/mail/mailer.conf", check=False).returncode != 0
    assert "sokuhai" not in lab.sh("cat", "/etc/resolvconf.conf", check=False).stdout
    assert "127.0.0.1" not in lab.sh("cat", "/etc/resolv.conf").stdout
    again = lab.play("rollback.yml", "--tags", "postfix,sasl,bind")
    assert again.returncode == 0 and changed(again) == 0, again.stdout


@full_only("builds a port and installs the package over it: in make test-full")
def test_ports_go_back_to_packages(provisioned):
    lab = provisioned
    result = lab.play("rebuild.yml", "--tags", "postfix", timeout=900)
    assert result.returncode == 0, message(result)
    assert lab.sh("pkg", "query", "%R %k", "postfix").stdout.split() == ["unknown-repository", "1"]
    result = lab.play("rollback.yml", "--tags", "ports,headers", timeout=900)
    assert result.returncode == 0, message(result)
    repository, locked = lab.sh("pkg", "query", "%R %k", "postfix").stdout.split()
    assert repository != "unknown-repository" and locked == "0"
    assert lab.sh("ls", "/etc/make.conf", check=False).returncode != 0, "there was no make.conf before"
    assert wait_for(lab, mail_flows)
    again = lab.play("rollback.yml", "--tags", "ports,headers")
    assert again.returncode == 0 and changed(again) == 0, again.stdout
