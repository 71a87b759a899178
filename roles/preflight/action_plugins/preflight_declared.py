# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Judges, on the controller and for all roles at once, what the inventory declares, and hands on what it comes to.

    - name: Refuse what is declared wrongly
      preflight_declared:
      register: preflight_declared

Two steps, since a value of the wrong type cannot be judged any further. First the names (one that no role has, one that an earlier version had),
the types of meta/argument_specs.yml and role sokuhai's judgement of the shared variables. Then that of every other role: the list of messages
__ROLE_problems in its vars/main.yml, and of warnings __ROLE_warnings, for which `declared` is {variable: value of its type} of the role's own variables;
without sokuhai_mail not that of the roles of the mail service.

With `roles`, a list, only those roles judge; names and types are checked of all.

Fails with all messages of a step, a line each, which begin with the variable's name. Returns, also when it fails, `variables`: {variable: value}
of all roles, without what is secret in them.
"""

import difflib
import pathlib

from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import add_all_plugin_dirs

#: What Ansible would make of a string by cutting it to pieces, and no role does.
CONTAINERS = {"list": list, "dict": dict}
#: A type in words, one and many.
NEEDED = {
    "int": ("a whole number", "whole numbers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "truth values"),
    "str": ("a text", "texts"),
    "path": ("an absolute path", "paths"),
    "dict": ("a mapping", "mappings"),
    "raw": ("a value", "names or mappings"),
}


def options_of(specs):
    """Return {variable: option} of a role's first entry point. specs: what its meta/argument_specs.yml holds."""
    return next(iter(specs["argument_specs"].values()))["options"]


def secret(option):
    """Return whether *option*, or a key in it, holds what must not be shown."""
    return bool(option.get("no_log")) or any(map(secret, (option.get("options") or {}).values()))


def public(option, value):
    """Return *value* of *option* without the keys of its mappings that hold a secret."""
    options = option.get("options")
    if not options or not secret(option):
        return value
    if isinstance(value, list):
        return [public(option, one) for one in value]
    if not isinstance(value, dict):
        return None  # refused, and perhaps the secret itself
    return {key: public(options[key], one) for key, one in value.items() if not options[key].get("no_log")}


def name_problems(names, options, gone, facts):
    """Return messages for variables that no role has.

    names: what is in scope (str). options: {role: {variable: option}}. gone: {variable of an earlier version: its successor, or a sentence}.
    facts: names that roles set themselves.
    """
    known = {name for variables in options.values() for name in variables}
    prefixes = {role + "_": role for role in options} | {"rebuild_": "sokuhai"}
    messages = []
    for name in sorted(set(names) - known - set(facts)):
        role = next((role for prefix, role in prefixes.items() if name.startswith(prefix)), None)
        if name in gone:
            messages.append(f"{name} is gone: " + (f"use {gone[name]}" if gone[name] in known else gone[name]))
        elif role:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
            hint = f"did you mean {near[0]}?" if near else f"roles/{role}/README.md lists what there is"
            messages.append(f"{name} is not a variable of role {role}: {hint}")
    return messages


def needed(option):
    """Return in words what a value of *option* has to be."""
    kind, choices = option["type"], ", ".join(map(str, option.get("choices") or ()))
    if kind == "list":
        return "a list of " + (choices or NEEDED[option["elements"]][1])
    return f"one of {choices}" if choices else NEEDED[kind][0]


def quoted(choices, value):
    """Return how to write the choice that YAML reads as the truth value *value*, or nothing where there is none."""
    words = [word for word in (("yes", "on", "true") if value else ("no", "off", "false")) if word in choices]
    return "".join(f'; YAML reads {word} as {str(value).lower()}, write "{word}" in quotes' for word in words)


def typed(name, option, value):
    """Return (value, messages): a scalar has the type of *option*; a list or mapping stays as declared, without what a validator adds to it."""
    result = ArgumentSpecValidator({name: option}).validate({name: value}, validate_role_argument_spec=True)
    # the validator makes a word of it, but what the role writes is what is declared
    if isinstance(value, bool) and option["type"] == "str" and option.get("choices"):
        return value, [f"{name} = {value!r}: {needed(option)} is needed{quoted(option['choices'], value)}"]
    container = CONTAINERS.get(option["type"])
    whole = container is None or value is None or isinstance(value, container)
    if whole and not result.error_messages:
        return value if container else result.validated_parameters[name], []
    if whole and option.get("options"):
        return value, [f"{name}: {text}" for text in result.error_messages]
    shown = "" if secret(option) else f" = {value!r}"
    near = difflib.get_close_matches(str(value), map(str, option.get("choices") or ()), n=1)
    return value, [f"{name}{shown}: {needed(option)} is needed" + (f"; did you mean {near[0]}?" if near else "")]


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"roles"})

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        # 200 values are of no use on a terminal
        result["_ansible_verbose_override"] = True
        roles = {path.name: path for path in sorted(pathlib.Path(self._task._role._role_path).parent.iterdir())}
        self.options = {name: options_of(self.read(path / "meta/argument_specs.yml")) for name, path in roles.items()}
        self.defaults, own = {}, {}
        for path in roles.values():
            self.defaults |= self.read(path / "defaults/main.yml")
            own |= self.read(path / "vars/main.yml")
            add_all_plugin_dirs(str(path))
        self.scope = self.defaults | task_vars | own

        gone = self.read(roles["preflight"] / "vars/gone.yml")["__preflight_gone"]
        problems = name_problems(task_vars, self.options, gone, own["__preflight_facts"])
        # a host that is no mail host owes none of what one must declare
        asked = set(self._task.args.get("roles") or roles)
        values = {}
        for role in roles:
            values[role], wrong = self.values(role, task_vars)
            problems += wrong
            if role == "sokuhai" and role in asked and not wrong:
                problems += self.judgement(role, values[role])
        if not problems:
            idle = [] if values["sokuhai"]["sokuhai_mail"] else own["__preflight_mail"]
            for role in asked - {"sokuhai", *idle}:
                problems += self.judgement(role, values[role])
                result.setdefault("warnings", []).extend(self.judgement(role, values[role], "warnings"))
        result["variables"] = {
            name: public(self.options[role][name], value)
            for role, found in values.items()
            for name, value in found.items()
            if not self.options[role][name].get("no_log")
        }
        if problems:
            result.update(failed=True, msg="\n".join(sorted(problems)))
        return result

    def read(self, path):
        """Return the mapping in the YAML file *path*, {} where there is none."""
        if not path.exists():
            return {}
        # unsafe: without a deep copy, since nothing here changes it
        return self._loader.load_from_file(str(path), cache="none", unsafe=True, trusted_as_template=True) or {}

    def resolve(self, name, **more):
        """Return the value of the variable *name*, as a task of the role that has it would see it."""
        scope = self.scope | more if more else self.scope
        # the value, and not the expression that its name is: that would be compiled for each
        return self._templar.copy_with_new_env(available_variables=scope).template(scope[name])

    def values(self, role, given):
        """Return ({variable: typed value}, messages). Only what somebody has *given* ({name: value}) can be wrong by itself."""
        values, messages = {}, []
        for name, option in self.options[role].items():
            try:
                values[name], wrong = typed(name, option, self.resolve(name))
            except AnsibleError as problem:
                wrong = [f"{name}: {problem}"]
            if name in given and given[name] != self.defaults[name]:
                messages += wrong
        return values, messages

    def judgement(self, role, declared, what="problems"):
        """Return what *role* says is wrong with the values *declared* for it."""
        name = f"__{role}_{what}"
        if name not in self.scope:
            return []
        try:
            return self.resolve(name, declared=declared)
        except AnsibleError as problem:
            cause = problem
            while cause.__cause__:
                cause = cause.__cause__
            # what a filter of ours refuses is a message; anything else is a fault of the filter
            return [str(cause) if isinstance(cause, AnsibleFilterError) else f"{role}: {problem}"]
