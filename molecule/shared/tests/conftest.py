"""What the inventory declares, handed over by playbooks/verify.yml, which also knows the roles' defaults."""

import json
import os

import pytest


@pytest.fixture(scope="session")
def declared():
    """Every variable of the roles and every shared one, by name; never a password hash."""
    path = os.environ.get("SOKUHAI_DECLARED")
    if not path:
        pytest.exit("run these tests by: ansible-playbook -i INVENTORY playbooks/verify.yml", returncode=2)
    with open(path) as file:
        return json.load(file)
