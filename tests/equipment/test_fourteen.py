"""A practice host as FreeBSD 14: what of the stand-ins is another there."""

import os
import shutil
import subprocess

import pytest
from standin_modules import ROOT


@pytest.fixture
def fourteen(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT.parents[1]))
    from labkit import fourteen

    return fourteen


@pytest.fixture
def root(tmp_path):
    """A host's root with what is laid over it, less what needs a daemon's version."""
    # by whatever name the practice host goes
    root = tmp_path / "test-blocklist"
    shutil.copytree(ROOT, root, symlinks=True)
    shutil.copytree(ROOT.parent / "src", root / "usr/src")
    (root / "usr/include").mkdir()
    (root / "usr/include/osreldate.h").write_text("#define __FreeBSD_version 1500068\n")
    return root


def test_nothing_of_the_other_release_is_left(fourteen, root):
    fourteen.lay(str(root))
    left = "15[.]0-RELEASE|1500068|FreeBSD:15|FreeBSD-ports|freebsd15|blocklistd"
    found = subprocess.run(["grep", "-rlE", left, str(root)], capture_output=True, text=True, check=False)
    assert [os.path.relpath(path, root) for path in found.stdout.split()] == []
    assert sorted(path.name for path in root.rglob("*b?[ao]cklist*")) == sorted(
        ["blacklistd.conf", "blacklistd", "blacklistd-helper", "blacklist.py", "blacklistctl", "blacklistd"]
    )
    assert os.access(root / "usr/sbin/blacklistd", os.X_OK) and os.access(
        root / "usr/libexec/blacklistd-helper", os.X_OK
    )
    assert (root / "usr/include/osreldate.h").read_text() == "#define __FreeBSD_version 1404000\n"


def test_it_is_laid_over_a_host_in_use_and_a_stand_in_that_changed_is_an_error(fourteen, root):
    fourteen.lay(str(root))
    (root / "usr/sbin/blocklistd").write_text("import blocklist\n")
    fourteen.lay(str(root), again=True)
    assert (root / "usr/sbin/blacklistd").read_text() == "import blacklist\n"
    with pytest.raises(fourteen.LabError, match="fourteen.py"):
        fourteen.lay(str(root))


def test_its_kernel_says_so_too(fourteen, root):
    (root / "boot/kernel").mkdir()
    kernel = root / "boot/kernel/kernel"
    kernel.write_bytes(b"\x7fELF@(#)FreeBSD 15.0-RELEASE GENERIC\0" + (1500068).to_bytes(4, "little"))
    fourteen.kernel(str(root))
    assert kernel.read_bytes() == b"\x7fELF@(#)FreeBSD 14.4-RELEASE GENERIC\0" + (1404000).to_bytes(4, "little")
