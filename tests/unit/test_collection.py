# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The archive that tools/build_collection makes, installed where nothing of the checkout is in sight."""

import os
import pathlib
import subprocess
import sys

import pytest
from role_modules import ROOT

BIN = pathlib.Path(sys.executable).parent
MODULES = {path.stem for path in ROOT.glob("roles/*/library/*.py")}


class Installed:
    """A directory with the installed collection."""

    def __init__(self, folder):
        self.folder = folder
        # what the caller's shell sets would lead back to the checkout
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        paths = os.pathsep.join([str(folder / "collections"), str(ROOT / ".venv/collections")])
        self.env = clean | {
            "ANSIBLE_CONFIG": str(folder / "none.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": paths,
            "ANSIBLE_NOCOLOR": "1",
        }

    def run(self, program, *words):
        """Return the finished process of *program*, one of Ansible's or of this checkout."""
        return subprocess.run(
            [str(word) for word in (program, *words)], cwd=self.folder, env=self.env, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    one = Installed(tmp_path_factory.mktemp("installed"))
    done = one.run(sys.executable, ROOT / "tools/build_collection", one.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    archive = next(one.folder.glob("sokuhai-mail-*.tar.gz"))
    words = ("collection", "install", "--offline", "--no-deps", "-p", one.folder / "collections", archive)
    done = one.run(BIN / "ansible-galaxy", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return one


def test_ansible_doc_knows_every_module(installed):
    listed = installed.run(BIN / "ansible-doc", "-l", "-t", "module", "sokuhai.mail").stdout.splitlines()
    assert {line.split()[0] for line in listed if line} == {"sokuhai.mail." + name for name in MODULES}


@pytest.mark.parametrize("book", ["site", "rebuild"])
def test_a_playbook_of_it_finds_its_roles(installed, book):
    done = installed.run(BIN / "ansible-playbook", "--syntax-check", "-i", "mx.home.example,", "sokuhai.mail." + book)
    assert done.returncode == 0, done.stdout + done.stderr


HOSTS = """[mailhosts]
mx.home.example ansible_connection=local ansible_python_interpreter=%s sokuhai_domain=home.example
[mailhosts:vars]
sokuhai_hostname=mx.home.example
"""


@pytest.mark.parametrize(
    "declared, said",
    [
        # by all roles' filters, on the controller
        ("sokuhai_process_limit=100", "access_sleep_harsh: waiting clients would hold "),
        # by a module, which has come with what it imports: this machine is no FreeBSD
        ("sokuhai_process_limit=500", "only FreeBSD is supported, nothing was changed"),
    ],
)
def test_its_preflight_refuses_what_a_checkouts_does(installed, declared, said):
    (installed.folder / "hosts").write_text(HOSTS % sys.executable)
    words = ("-i", installed.folder / "hosts", "-e", declared, "sokuhai.mail.preflight")
    done = installed.run(BIN / "ansible-playbook", *words)
    assert done.returncode == 2 and said in " ".join(done.stdout.split()), done.stdout[-3000:] + done.stderr
