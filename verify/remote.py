"""How the host under test is reached, for what verify.yml runs and for the contract tests alike.

SOKUHAI_SSH holds what testinfra's command line cannot say (JSON: hostspec, ssh_extra_args, ssh_identity_file); without it
testinfra's own --hosts decides.
"""

import json
import os

import pytest
import testinfra

if os.environ.get("SOKUHAI_SSH"):

    @pytest.fixture(scope="session")
    def host():
        given = json.loads(os.environ["SOKUHAI_SSH"])
        return testinfra.get_host(given.pop("hostspec"), **{key: value for key, value in given.items() if value})
