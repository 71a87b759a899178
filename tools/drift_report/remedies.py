# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What puts a finding right: a word that a module gives as its `remedy`, the command it stands for, and words.py's sentence about it. Pure."""

from . import words

#: remedy -> command, None where there is none to type. "" is what site.yml puts back.
KNOWN = {
    "": "ansible-playbook playbooks/site.yml --limit {host}",
    "rebuild": "ansible-playbook playbooks/rebuild.yml --limit {host}",
    "reset": "ansible-playbook playbooks/rebuild.yml --limit {host}",
    "builder": "ansible-playbook playbooks/builder.yml --limit {host}",
    "refresh": "ansible-playbook playbooks/refresh.yml --limit {host}",
    "reboot": "shutdown -r now",
    "restart": "service {service} restart",
    "dns": "ansible-playbook playbooks/dns.yml --limit {host}",
    "setgid": "postfix set-permissions",
    "certificate": None,
    "header": None,
    "mode": None,
    "package": None,
    "upgrade": None,
    "successor": None,
    "refused": None,
}
#: Roles whose results rebuild.yml puts right
REBUILT = ("ports", "kernel", "fd_setsize")
#: Services of roles that are called otherwise
SERVICES = {"bind": "named"}


def of_role(role):
    """The remedy (str) of what a role's check mode would change."""
    return "rebuild" if role in REBUILT else ""


def tag(entry):
    """The tag (str) by which site.yml does no more than the role of a finding; "" where there is none."""
    return "" if entry["remedy"] or entry["role"] in ("", "preflight") else entry["role"]


def command(entry, tags=()):
    """The command (str) that puts a finding right, or None. tags: of all findings for which it is run at once."""
    text = KNOWN[entry["remedy"]]
    if text is None:
        return None
    text = text.format(host=entry["host"], service=SERVICES.get(entry["role"], entry["role"]))
    return text + (" --tags " + ",".join(tags) if tags and "" not in tags else "")


def sentence(entry):
    """(English, Japanese): what the command does or, without one, what is to be done."""
    return words.WORDS["remedy_" + (entry["remedy"] or "site")]


def advice(entry):
    """Command and sentence in one line (str), in English."""
    return " ".join(filter(None, (command(entry, [tag(entry)]), sentence(entry)[0])))


def steps(findings):
    """[(command or None, (English, Japanese), [findings])]: one step for all that the same remedy puts right, in the order in which they were found.

    Runs of site.yml on the same host become one, with the tags of all; a finding without a tag needs all of it. Findings of a report that was kept
    by an earlier version have no remedy: their advice stands for it.
    """
    groups = {}
    for entry in findings:
        if entry.get("remedy") in KNOWN:
            key = command(entry), *sentence(entry)
        else:
            key = None, entry["advice"], entry["advice"]
        groups.setdefault(key, []).append(entry)
    result = []
    for (text, *both), entries in groups.items():
        if text is not None:
            text = command(entries[0], list(dict.fromkeys(map(tag, entries))))
        result.append((text, tuple(both), entries))
    return result
