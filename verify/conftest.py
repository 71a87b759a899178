"""What the inventory declares, passed in by playbooks/verify.yml, which also knows the roles' defaults."""

import json
import os
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parent))
import remote


@pytest.fixture(scope="session")
def host():
    return remote.from_environment()


@pytest.fixture(scope="session")
def declared():
    """Every variable of the roles and every shared one, by name; never a password hash."""
    path = os.environ.get("SOKUHAI_DECLARED")
    if not path:
        pytest.exit("run these tests by: ansible-playbook -i INVENTORY playbooks/verify.yml", returncode=2)
    with open(path) as file:
        return json.load(file)


@pytest.fixture(scope="session")
def mail(declared):
    """For a test of the mail service, which not every host has."""
    if not declared["sokuhai_mail"]:
        pytest.skip("sokuhai_mail is false: this host is a resolver alone")
