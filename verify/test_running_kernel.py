"""The running kernel against what role kernel was to do: asked of the kernel, not of its files."""

import hostlib
import pytest


@pytest.fixture
def own(host, declared):
    """Name of the kernel that this host is to run: kept by role kernel."""
    if not declared["rebuild_enabled"] or "kernel" not in declared["rebuild_parts"]:
        pytest.skip("rebuild_enabled is off, or the kernel is not one of rebuild_parts")
    text = hostlib.output(host, "cat /boot/loader.conf.d/sokuhai-kernel.conf 2>/dev/null || :")
    if "kernel=" not in text:
        pytest.skip("no kernel has been kept: it waits for kernel_reboot, or failed its trial")
    return text.partition('kernel="')[2].partition('"')[0]


def test_the_kept_kernel_runs(host, own, declared):
    assert hostlib.output(host, "sysctl -n kern.bootfile").strip() == f"/boot/{own}/kernel"
    if declared["kernel_build"]:
        assert hostlib.output(host, "uname -i").strip() == declared["kernel_ident"]
        config = hostlib.output(host, "sysctl -n kern.conftxt")
        for line in [
            "options KDB_UNATTENDED",
            *[one for one in declared["kernel_options"] if one.startswith("options")],
        ]:
            assert line.split()[1] in config, f"{line} is not in the running kernel"


def test_no_trial_is_left(host, own):
    processes = hostlib.output(host, "ps -axo args")
    assert "sokuhai_trial" not in processes
    assert hostlib.output(host, "ls /etc/rc.d/sokuhai_trial /boot/nextboot.conf 2>/dev/null || :").strip() == ""


def test_the_running_kernel_is_as_patched_as_the_host(host, own):
    script = f"import json;print((json.load(open('/boot/{own}/sokuhai.json')).get('inputs') or {{}}).get('version',''))"
    built = hostlib.python(host, script).strip()
    if not built:
        pytest.skip("this kernel was not built by role kernel, which records the version of its sources")
    assert built == hostlib.output(host, "freebsd-version -u").strip(), (
        "freebsd-update patches only kernels that FreeBSD ships: rebuild it"
    )


def test_the_stock_kernel_is_still_there_to_return_to(host, own):
    assert hostlib.output(host, "ls /boot/kernel/kernel").strip() == "/boot/kernel/kernel"
