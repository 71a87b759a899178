# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Lets a playbook run without a host: modules answer what facts.yml states, and the texts that they are given become files."""

DOCUMENTATION = """
name: sokuhai_examples
type: aggregate
short_description: Renders what a host would get, for docs/examples
description:
  - No module runs and no connection is opened. Each module is answered from facts.yml beside this file, by its name.
  - Every text with a path in a module's arguments, and those that facts.yml names, are written below C(SOKUHAI_EXAMPLES).
requirements:
  - enable in configuration
"""

import os
import pathlib

import yaml
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

FACTS = yaml.safe_load(pathlib.Path(__file__).with_name("facts.yml").read_text())


def texts(value):
    """Yield (path, text) of every mapping with both in the arguments of a module, at any depth."""
    if isinstance(value, dict):
        text = value.get("text", value.get("content"))
        if isinstance(value.get("path"), str) and isinstance(text, str):
            yield value["path"], text
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from texts(one)


def named(places, arguments):
    """Yield (path, text) of the arguments that facts.yml names; a/b is the key b of the argument a. A place that ends in / holds a list of {name, text}."""
    for argument, place in places.items():
        value = arguments
        for key in argument.split("/"):
            value = value[key]
        yield from ((place + one["name"], one["text"]) for one in value) if place.endswith("/") else [(place, value)]


def stated(action, module_name=None, module_args=None, **_ignored):
    """In place of ActionBase._execute_module: write the texts and answer from facts.yml."""
    arguments = action._task.args if module_args is None else module_args
    entry = FACTS.get((module_name or action._task.action).rpartition(".")[2], {})
    for path, text in filter(all, [*texts(arguments), *named(entry.get("files", {}), arguments)]):
        target = pathlib.Path(os.environ["SOKUHAI_EXAMPLES"]) / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return {"changed": False, **entry.get("answer", {})}


class CallbackModule(CallbackBase):
    """Loaded once, before the workers are forked, which is when the method has to be another."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sokuhai_examples"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        ActionBase._execute_module = stated
