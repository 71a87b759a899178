"""The contract of the stand-ins on a real FreeBSD, where there are an image and KVM; emulated it takes an hour, so `make vm` does that."""

import os
import pathlib
import subprocess

import pytest

VM = pathlib.Path(__file__).resolve().parents[2] / "vm" / "vm"
ENVIRONMENT = {**os.environ, "SOKUHAI_VM": "test"}


def vm(*words):
    return subprocess.run(
        [VM, *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3000
    )


def why_not(image, accelerator):
    """Why no machine is booted here, or "". image: FREEBSD_IMAGE's value; accelerator: a function that returns what `vm accel` prints."""
    if not image:
        return "no image: set FREEBSD_IMAGE, or run make vm"
    if not pathlib.Path(image).exists():
        return f"FREEBSD_IMAGE: there is no {image}"
    name, _, why = accelerator().strip().partition(": ")
    return "" if name == "kvm" else f"no KVM: {why}; make vm runs it emulated"


@pytest.mark.parametrize(
    ("image", "accelerator", "why"),
    [
        (None, "kvm: works", "no image"),
        ("/nowhere", "kvm: works", "no /nowhere"),
        (__file__, "tcg: there is no /dev/kvm", "no KVM: there is no /dev/kvm"),
        (__file__, "kvm: /dev/kvm works", ""),
    ],
)
def test_it_says_why_it_boots_no_machine(image, accelerator, why):
    said = why_not(image, lambda: accelerator)
    assert why in said and bool(why) == bool(said)


def test_the_contract_holds_on_freebsd():
    why = why_not(os.environ.get("FREEBSD_IMAGE"), lambda: vm("accel").stdout)
    if why:
        pytest.skip(why)
    try:
        up = vm("up", "--offline", "--alone")
        assert up.returncode == 0, up.stdout + up.stderr
        done = vm("test", "contract")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        vm("down")
