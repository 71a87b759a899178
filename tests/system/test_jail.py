"""The practice host as a jail that shares its host's kernel: done is what a jail can do, and the rest is said with what the jail's host must set."""

import pytest
from practice import changed, message

SET = "/var/db/standins/sysctl"
LOADER = "/boot/loader.conf.d/sokuhai.conf"


@pytest.fixture
def jail(lab):
    """It has no kernel of its own, either, so freebsd-version -k fails there."""
    lab.sh("sh", "-c", f"mv /boot/kernel /boot/elsewhere; echo security.jail.jailed=1 >> {SET}")
    try:
        yield lab
    finally:
        lab.sh("sh", "-c", f"mv /boot/elsewhere /boot/kernel; sed -i -e /security.jail/d {SET}")
        lab.applied("site.yml", "--tags", "limits")


def test_it_is_done_as_far_as_a_jail_can(jail):
    """Its host gives what is needed: nothing is left for sysctl.conf, which its boot could not set, or for a loader, which it has not."""
    jail.applied("site.yml", "--tags", "limits")
    assert "sokuhai" not in jail.sh("cat", "/etc/sysctl.conf").stdout
    assert jail.sh("test", "-e", LOADER, check=False).returncode
    assert "sokuhai:" in jail.sh("cat", "/etc/login.conf").stdout
    name = "net.inet.udp.recvspace"
    given = jail.sh("sysctl", "-n", name).stdout.strip()
    jail.sh("sed", "-i", "-e", f"/^{name}=/d", SET)
    try:
        with jail.unchanged():
            result = jail.play("site.yml", "--tags", "limits")
        assert result.returncode and not changed(result)
        for word in (
            "is a jail",
            f"{name} (here 42080)",
            f"in /etc/sysctl.conf: {name}={given}",
        ):
            assert word in message(result)
    finally:
        jail.sh("sh", "-c", f"echo {name}={given} >> {SET}")
