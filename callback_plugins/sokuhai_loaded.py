# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Loads once what the process of each task would load: filters and tests, which were a third of a run's CPU time on the controller."""

DOCUMENTATION = """
name: sokuhai_loaded
type: aggregate
short_description: Loads filters and tests before the first task
description:
  - Ansible runs each task in a fork of itself, and loads all Jinja filters and tests when the first template needs one, which is in the fork.
    Loaded here, they are there in every fork.
"""

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader


class CallbackModule(CallbackBase):
    """Before each task, since a role that is included brings more filters, and Ansible forgets what it has loaded; otherwise it costs nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sokuhai_loaded"

    def v2_playbook_on_task_start(self, task, is_conditional):
        # any name has the loader load them all
        filter_loader.get("bool")
        test_loader.get("defined")
