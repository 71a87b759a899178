# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Lets the plays of one run of the tests share what Ansible packs for a host: a module with all that it imports."""

DOCUMENTATION = """
name: kept_modules
type: aggregate
short_description: Keeps packed modules from one play to the next
description:
  - ansible-playbook reads and packs a module with some sixty files that it imports, each time that it is started. Hundreds of plays of the same tree need it once.
  - C(SOKUHAI_KEPT_MODULES) names the directory that takes the place of each play's own. Whoever sets it answers for that no module changes meanwhile.
"""

import os
import pathlib

from ansible import constants
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """When Ansible removes its directory for temporary files at the end, it removes of a link the link alone."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kept_modules"

    def __init__(self):
        super().__init__()
        pathlib.Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(os.environ["SOKUHAI_KEPT_MODULES"])
