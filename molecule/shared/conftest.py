"""The host under test, for the verify tests and the contract tests alike.

SOKUHAI_SSH holds what testinfra's command line cannot say (JSON: hostspec, ssh_extra_args, ssh_identity_file); without it
testinfra's own --hosts decides.
"""

import json
import os
import pathlib
import sys

import pytest
import testinfra

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

if os.environ.get("SOKUHAI_SSH"):

    @pytest.fixture(scope="session")
    def host():
        given = json.loads(os.environ["SOKUHAI_SSH"])
        return testinfra.get_host(given.pop("hostspec"), **{key: value for key, value in given.items() if value})
