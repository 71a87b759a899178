"""What the scenario's inventory makes of a machine: slow or fast, with or without packages, alone or in the simulated internet."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from vm_modules import VM

ASKED = (
    "bind_timeout",
    "kernel_trial_seconds",
    "bind_install",
    "postfix_install",
    "sokuhai_submission",
    "sokuhai_greylist",
    "sokuhai_spf",
    "bind_require_recursion",
    "bind_root_hints",
    "bind_dnssec_validation",
    "bind_disable_empty_zones",
    "access_countries",
    "access_country_file",
    "access_dnsbl",
    "sasl_users",
    "preflight_min_disk_mb",
)
MACHINE = {
    "port": 22,
    "user": "root",
    "key": "/k",
    "public_key": "ssh-ed25519 A",
    "accelerator": "kvm",
    "offline": False,
    "boot_seconds": 600,
}
HAS = {"pkg": True, "named": "", "dovecot": False, "spf": False, "postgrey": False}
ANSIBLE = pathlib.Path(sys.executable).parent / "ansible"


@pytest.fixture
def values(tmp_path):
    """{variable: value} for a machine that differs from a fast one with packages by so much."""
    if not (ANSIBLE.exists() or shutil.which("ansible")):
        pytest.skip("ansible is not here")

    def ask(machine=(), has=()):
        (tmp_path / "machine.json").write_text(json.dumps({**MACHINE, **dict(machine)}))
        (tmp_path / "probe.json").write_text(json.dumps({**HAS, **dict(has)}))
        asked = "{{ {" + ", ".join(f"'{name}': {name}" for name in ASKED) + "} | to_json }}"
        done = subprocess.run(
            [
                str(ANSIBLE if ANSIBLE.exists() else "ansible"),
                "-i",
                str(VM / "inventory"),
                "mx.home.example",
                "-m",
                "debug",
                "-a",
                json.dumps({"msg": asked}),
            ],
            env={
                **os.environ,
                "SOKUHAI_VM_STATE": str(tmp_path),
                "ANSIBLE_STDOUT_CALLBACK": "oneline",
                "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
                "ANSIBLE_NOCOLOR": "1",
            },
            cwd=VM.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])["msg"])

    return ask


def test_a_fast_machine_with_packages_is_a_host_like_any_other(values):
    found = values()
    assert (
        found["bind_timeout"] == 20
        and found["bind_install"]
        and found["sokuhai_greylist"]
        and found["sokuhai_spf"] == "mark"
    )
    assert (
        found["bind_require_recursion"] is True
        and found["bind_root_hints"] == []
        and found["bind_dnssec_validation"] == "auto"
    )
    assert found["sasl_users"] == [] and found["access_countries"] == {}, (
        "alone, nobody logs in with a password that is no secret"
    )


def test_a_slow_machine_without_packages_and_network(values):
    found = values({"accelerator": "tcg", "offline": True}, {"pkg": False, "named": "9.18.49"})
    assert found["bind_timeout"] == 120 and found["kernel_trial_seconds"] == 1800
    assert (
        not found["bind_install"]
        and not found["postfix_install"]
        and not found["sokuhai_submission"]
        and found["sokuhai_spf"] == "none"
    )
    assert found["bind_require_recursion"] is False and {entry["state"] for entry in found["access_dnsbl"]} == {
        "absent"
    }
    assert max(found["preflight_min_disk_mb"].values()) <= 200, (
        "an image whose disk is nearly full is provisioned all the same"
    )


@pytest.mark.skipif(
    os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="a lab's folder is in /run and root's"
)
def test_in_the_simulated_internet_it_is_told_what_a_practice_host_is_told(values):
    lab = pathlib.Path(f"/run/sokuhai-lab/vmunit-{os.getpid()}")
    lab.mkdir(parents=True)
    try:
        (lab / "dns.json").write_text(
            json.dumps(
                {"root_hints": [{"name": "a.root.test."}], "trust_anchors": [], "disable_empty_zones": ["x.arpa"]}
            )
        )
        found = values({"offline": True, "joined": lab.name}, {"pkg": True, "named": "9.18.49", "dovecot": True})
    finally:
        (lab / "dns.json").unlink()
        lab.rmdir()
        with contextlib.suppress(OSError):
            lab.parent.rmdir()
    assert found["bind_root_hints"] == [{"name": "a.root.test."}] and found["bind_disable_empty_zones"] == ["x.arpa"]
    assert (
        found["bind_dnssec_validation"] == "yes"
        and found["bind_require_recursion"] is True
        and found["access_dnsbl"] == []
    )
    assert found["access_countries"]["XB"] == "tarpit" and pathlib.Path(found["access_country_file"]).exists()
    assert not found["bind_install"] and not found["postfix_install"], "no package can be fetched there"
    assert (
        found["sokuhai_submission"]
        and found["sokuhai_greylist"]
        and found["sasl_users"][0]["name"] == "alert@home.example"
    )
