# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the modules of role ports are given: a port, and what all ports share; how a port is called."""

import os

from ansible.module_utils.sokuhai.job import Job

PORT = {
    "origin": {"type": "str", "required": True},
    "flavor": {"type": "str", "default": ""},
    "package": {"type": "str", "default": ""},
    "options_set": {"type": "list", "elements": "str", "default": []},
    "options_unset": {"type": "list", "elements": "str", "default": []},
    "cflags": {"type": "list", "elements": "str", "default": []},
    "service": {"type": "str", "default": ""},
    "program": {"type": "str", "default": ""},
    "listens": {"type": "list", "elements": "dict", "default": []},
    "proof": {"type": "list", "elements": "str", "default": []},
}
SETTINGS = {
    "method": {"type": "str", "choices": ["ports", "repository"], "default": "ports"},
    "repository": {"type": "str", "default": ""},
    "tree": {"type": "path", "default": "/usr/ports"},
    "branch": {"type": "str", "default": "auto"},
    "fetch": {"type": "str", "choices": ["none", "git"], "default": "none"},
    "make_conf_file": {"type": "path", "default": "/etc/make.conf"},
    "make_conf": {"type": "str", "default": ""},
    "probe": {"type": "str", "default": ""},
    "work_dir": {"type": "path", "default": "/usr/obj/ports"},
    "package_dir": {"type": "path", "default": "/var/db/sokuhai/packages"},
    "saved_dir": {"type": "path", "default": "/var/db/sokuhai/saved"},
    "state_dir": {"type": "path", "default": "/var/db/sokuhai/ports"},
    "log_dir": {"type": "path", "default": "/var/log"},
    "fd_setsize": {"type": "int", "default": 0},
    "header": {"type": "path", "default": ""},
    "lock": {"type": "bool", "default": True},
    "update": {"type": "bool", "default": False},
    "prove_programs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 14400},
    "answer_timeout": {"type": "int", "default": 60},
    "min_disk_mb": {"type": "int", "default": 2000},
    "min_memory_mb": {"type": "int", "default": 1000},
}


def title(item):
    """Return the port's name in messages: dns/bind920, mail/postfix@sasl."""
    return item["origin"] + ("@" + item["flavor"] if item["flavor"] else "")


def job_of(item, settings):
    """Return the Job that builds the port."""
    name = title(item).replace("/", "_")
    return Job(os.path.join(settings["state_dir"], name), "%s/sokuhai-ports-%s.log" % (settings["log_dir"], name))
