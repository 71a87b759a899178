"""How the host under test is reached, for what verify.yml runs and for the contract tests alike."""

import json
import os

import testinfra


def from_environment():
    """Return testinfra's host that SOKUHAI_SSH names, which holds what testinfra's command line cannot say; None without it.

    SOKUHAI_SSH is JSON: hostspec, ssh_extra_args, ssh_identity_file.
    """
    given = json.loads(os.environ.get("SOKUHAI_SSH") or "{}")
    return reach(**given) if given else None


def reach(hostspec, **options):
    """Return testinfra's host of *hostspec* (ssh://user@address:port); options: testinfra's, empty ones left out."""
    return testinfra.get_host(hostspec, **{name: value for name, value in options.items() if value})
