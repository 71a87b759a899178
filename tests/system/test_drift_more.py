"""tools/drift on a host of which more is declared: blocklist, DNS lists and a limit of users' recipients, and the rebuild. Each tampering alone; nothing is said of the rest."""

import contextlib
import json

import pytest
from practice import HOST, applied_book, full_only, until
from test_drift import EVERY, Drift, try_out
from test_kernel_beside import STOCK, mail_flows, running

pytestmark = full_only("builds, plays and runs of its own: under SOKUHAI_FULL=1")

GROUPS = {
    "guarded": {
        "sokuhai_blocklist": True,
        "access_dnsbl": [{"name": "dnsbl.test", "filter": "127.0.0.2", "reason": "a test"}],
        "sasl_recipients_per_hour": 100,
    },
    "rebuilt": {
        "rebuild_enabled": True,
        "rebuild_parts": ["bind", "postfix", "kernel"],
        "ports_min_disk_mb": 50,
        "ports_min_memory_mb": 100,
        "ports_poll": 1,
        "kernel_reboot": True,
        "kernel_console_access": True,
        "kernel_trial_seconds": 60,
        "kernel_check_seconds": 40,
        "kernel_boot_seconds": 120,
    },
}


@contextlib.contextmanager
def guarded(lab):
    had = lab.sh("sh", "-c", "ls /etc/pf.conf", check=False).returncode == 0
    try:
        lab.applied("site.yml", "--tags", "sasl,postfix,blocklist", variables=GROUPS["guarded"])
        yield
    finally:
        applied_book("blocklist_only.yml", lab, blocklist_steps=[{"undo": True}])
        if not had:
            lab.sh("sh", "-c", "rm -f /etc/pf.conf; pfctl -q -d; pfctl -q -F all; true", check=False)
        lab.applied("site.yml", "--tags", "sasl,postfix")


@contextlib.contextmanager
def rebuilt(lab):
    if lab.sh("test", "-d", "/usr/ports/dns/bind920", check=False).returncode:
        pytest.skip("this generation's ports tree has no dns/bind920")
    try:
        lab.applied("rebuild.yml", variables=GROUPS["rebuilt"], timeout=900)
        yield
    finally:
        applied_book(
            "ports_undo.yml",
            lab,
            **{key: value for key, value in GROUPS["rebuilt"].items() if key.startswith("ports_")},
        )
        lab.applied("rollback.yml", "--tags", "kernel,headers")
        if running(lab) != STOCK:
            lab.command("reboot", HOST)
            lab.applied("rollback.yml", "--tags", "kernel")
        assert running(lab) == STOCK
        until(lambda: mail_flows(lab))


@pytest.fixture(scope="module")
def declared(request, lab, tmp_path_factory):
    """tools/drift with the variables of a group, on a host that has been brought to them; one group is taken back before the next begins."""
    with {"guarded": guarded, "rebuilt": rebuilt}[request.param](lab):
        folder = tmp_path_factory.mktemp(request.param)
        path = folder / "variables.json"
        path.write_text(json.dumps(GROUPS[request.param]))
        yield Drift(lab, folder, "-e", f"@{path}")


@pytest.mark.parametrize("declared", GROUPS, indirect=True, scope="module")
def test_a_clean_host_has_nothing_to_say(declared):
    done = declared.run()
    assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("declared", "entry"),
    [
        pytest.param(group, entry, id=f"{group}-{entry['name']}")
        for group in GROUPS
        for entry in EVERY
        if entry.get("needs") == group
    ],
    indirect=["declared"],
    scope="module",
)
def test_one_by_one(lab, declared, entry):
    try_out(lab, declared, [entry])
