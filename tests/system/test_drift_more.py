"""tools/drift on a host of which more is declared: blocklist and DNS lists, and the rebuild. Each tampering alone; nothing is said of the rest."""
import json

import pytest
from conftest import HOST, applied_book, message
from test_drift import EVERY, Drift, try_out
from test_kernel import mail_flows, running, wait_for

GROUPS = {
    "guarded": {"sokuhai_blocklist": True, "access_dnsbl": [{"name": "dnsbl.test", "filter": "127.0.0.2", "reason": "a test"}]},
    "rebuilt": {"rebuild_enabled": True, "rebuild_parts": ["bind", "postfix", "kernel"], "ports_min_disk_mb": 50, "ports_min_memory_mb": 100, "ports_poll": 1,
                "kernel_reboot": True, "kernel_console_access": True, "kernel_trial_seconds": 60, "kernel_check_seconds": 40, "kernel_boot_seconds": 120},
}


def of(group):
    return [entry for entry in EVERY if entry.get("needs") == group]


def command(lab, folder, group):
    path = folder / f"{group}.json"
    path.write_text(json.dumps(GROUPS[group]))
    return Drift(lab, folder, "-e", f"@{path}")


def played(lab, *arguments, **options):
    result = lab.play(*arguments, **options)
    assert result.returncode == 0, message(result)


@pytest.fixture(scope="module")
def guarded(lab, full, tmp_path_factory):
    if not full:
        pytest.skip("plays and runs of its own: under SOKUHAI_FULL=1")
    had = lab.sh("sh", "-c", "ls /etc/pf.conf", check=False).returncode == 0
    try:
        played(lab, "site.yml", "--tags", "postfix,blocklist", variables=GROUPS["guarded"])
        yield command(lab, tmp_path_factory.mktemp("guarded"), "guarded")
    finally:
        applied_book("blocklist_only.yml", lab, blocklist_undo=True)
        if not had:
            lab.sh("sh", "-c", "rm -f /etc/pf.conf; pfctl -q -d; pfctl -q -F all; true", check=False)
        played(lab, "site.yml", "--tags", "postfix")


@pytest.fixture(scope="module")
def rebuilt(lab, full, tmp_path_factory):
    if not full:
        pytest.skip("builds two ports and a kernel first: under SOKUHAI_FULL=1")
    if lab.sh("test", "-d", "/usr/ports/dns/bind920", check=False).returncode:
        pytest.skip("this generation's ports tree has no dns/bind920")
    try:
        played(lab, "rebuild.yml", variables=GROUPS["rebuilt"], timeout=900)
        yield command(lab, tmp_path_factory.mktemp("rebuilt"), "rebuilt")
    finally:
        applied_book("ports_undo.yml", lab, **{key: value for key, value in GROUPS["rebuilt"].items() if key.startswith("ports_")})
        played(lab, "rollback.yml", "--tags", "kernel,headers")
        if running(lab) != "/boot/kernel/kernel":
            lab.command("reboot", HOST)
            played(lab, "rollback.yml", "--tags", "kernel")
        assert running(lab) == "/boot/kernel/kernel" and wait_for(lab, mail_flows)


def clean(drift):
    done = drift.run()
    assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr


def test_with_blocklist_and_dns_lists_a_clean_host_has_nothing_to_say(guarded):
    clean(guarded)


@pytest.mark.parametrize("entry", of("guarded"), ids=lambda entry: entry["name"])
def test_guarded_one_by_one(lab, guarded, entry):
    try_out(lab, guarded, [entry])


def test_with_everything_rebuilt_a_clean_host_has_nothing_to_say(rebuilt):
    clean(rebuilt)


@pytest.mark.parametrize("entry", of("rebuilt"), ids=lambda entry: entry["name"])
def test_rebuilt_one_by_one(lab, rebuilt, entry):
    try_out(lab, rebuilt, [entry])
