#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""named.conf as one transaction: stage, check, swap, load, prove, or everything back as it was."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bind_config
short_description: Put named.conf in force on FreeBSD, or leave the old one in force
description:
  - Writes the text beside named.conf, has named-checkconf judge it, swaps it in, loads it (rndc reconfig, a restart where
    an option needs one), and asks named over UDP. When the new named does not answer, the previous file comes back and named
    runs with it.
  - Repairs what a killed run or an operator left behind. A named that is not running, that runs an older configuration
    than the file, that does not answer, or whose descriptor limit is below the floor is restarted.
options:
  content:
    description: The whole text of named.conf.
    type: str
    required: true
  openfiles:
    description: Soft descriptor limit the running named must have at least; 0 asks nothing.
    type: int
    default: 0
  servers:
    description: Addresses at which named must answer afterwards.
    type: list
    elements: str
    default: [127.0.0.1]
  probe_name:
    description: Domain whose NS records prove recursion.
    type: str
    default: .
  timeout:
    description: Seconds named has to answer after a start.
    type: int
    default: 20
  directories:
    description: Directories that named writes to; made for named's user where they are missing.
    type: list
    elements: str
    default: []
  files:
    description:
      - Further files that named.conf names (path, content), such as root hints; swapped and brought back together with it.
      - A change in one of them restarts named.
    type: list
    elements: dict
    default: []
  displaces:
    description: Services that hold port 53 of the loopback address; stopped right before named starts, started again when named
      cannot.
    type: list
    elements: str
    default: []
author: sokuhai
"""

EXAMPLES = r"""
- name: Put the configuration in force
  bind_config:
    content: "{{ lookup('ansible.builtin.template', 'named.conf.j2') }}"
    openfiles: 65535
"""

RETURN = r"""
action: {description: "What was done to the process, one of none, start, restart, reconfig", type: str, returned: always}
reason: {description: Why, type: str, returned: always}
openfiles_soft: {description: "Soft descriptor limit of the running named (-1 is infinity)", type: int, returned: success}
recurses: {description: Whether named resolves probe_name, type: bool, returned: success}
"""

import os
import pwd
import re
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bind_host import (
    answers,
    beside,
    loaded_at,
    openfiles,
    rc_variables,
    recurses,
    running_named,
    sysctl_int,
    wait_until,
)
from ansible.module_utils.sokuhai.host import difference, read, run, write

#: What a running named takes over from rndc reconfig whole (bin/named/server.c, load_configuration). Everything else restarts it: descriptors
#: are set before it gives up root, sockets are bound while it still may, and a cache filled under other trust anchors or root
#: servers would hide that the new ones do not work.
RELOADABLE = {
    "allow-query",
    "allow-query-cache",
    "allow-recursion",
    "allow-transfer",
    "allow-update",
    "clients-per-query",
    "fetches-per-server",
    "fetches-per-zone",
    "max-cache-size",
    "max-clients-per-query",
    "qname-minimization",
    "rate-limit",
    "recursive-clients",
    "resolver-query-timeout",
    "resolver-retry-interval",
    "tcp-clients",
    "version",
}
RELOADABLE_BLOCKS = {"acl", "logging", "statistics-channels", "zone"}


def split_statements(text):
    """The statements of one block level of named-checkconf -p's output, white space folded, without their semicolons."""
    found, depth, word, quoted = [], 0, "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        if not quoted:
            depth += {"{": 1, "}": -1}.get(char, 0)
        if char == ";" and not quoted and depth == 0:
            statement = " ".join(word.split())
            if statement:
                found.append(statement)
            word = ""
        else:
            word += char
    return found


def option_statements(text):
    """{keyword: [statements]} of the options block in named-checkconf -p's output."""
    found = {}
    for statement in split_statements(text):
        if statement.startswith("options {"):
            for inner in split_statements(statement[len("options {") : statement.rindex("}")]):
                found.setdefault(inner.split()[0], []).append(inner)
    return found


def needs_restart(old, new):
    """Name of the first statement whose change a running named does not take over whole, or "".

    old and new are named-checkconf -p outputs; old is None when it could not be read, which is a reason by itself.
    """
    if old is None:
        return "the previous file"
    before, after = option_statements(old), option_statements(new)
    for keyword in sorted(set(before) | set(after)):
        if before.get(keyword) != after.get(keyword) and keyword not in RELOADABLE:
            return keyword
    blocks = [{one for one in split_statements(text) if not one.startswith("options ")} for text in (old, new)]
    for statement in sorted(blocks[0] ^ blocks[1]):
        keyword = statement.split()[0]
        if keyword not in RELOADABLE_BLOCKS or statement.startswith('zone "."'):
            return keyword
    return ""


#: Where FreeBSD's stock syslog.conf puts daemon.notice and above.
MESSAGES = "/var/log/messages"
COMPLAINT = re.compile(r"error|fail|not found|no such file|denied|exiting|unable|could not|couldn't|cannot|refus", re.I)
#: Seconds after its start in which named's pid file may still be missing.
GRACE = 3


class Transaction:
    """One host's named and the file it should run with."""

    def __init__(self, module):
        self.module = module
        self.want = module.params
        self.rc = rc_variables()
        self.conf = self.rc["named_conf"]
        self.checkconf = beside(self.rc["named_program"], "named-checkconf")
        self.rndc = beside(self.rc["named_program"], "rndc")
        self.stopped = []
        self.output = ""
        self.refused = False
        self.logged = os.path.getsize(MESSAGES) if os.path.exists(MESSAGES) else 0

    # -- reading

    def process(self):
        return running_named(read(self.conf), self.rc["named_chrootdir"])

    def paths(self):
        return [self.conf] + [item["path"] for item in self.want["files"]]

    def stale(self, process):
        # The file's second itself counts as older: after a swap we wait for the next second before we load.
        newest = max([int(os.stat(path).st_mtime) for path in self.paths() if os.path.exists(path)] or [0])
        return newest >= loaded_at(self.rndc, process["started"])

    def answers(self):
        return all(answers(server) for server in self.want["servers"])

    def soft(self, process):
        """The running named's soft limit as a number that can be compared."""
        limit = openfiles(process["pid"])
        if limit is None:
            return None
        return (sysctl_int("kern.maxfilesperproc") or 2**31) if limit[0] is None else limit[0]

    def low(self, process):
        if not self.want["openfiles"]:
            return False
        soft = self.soft(process)
        return soft is None or soft < self.want["openfiles"]

    def checker(self, path, *flags):
        argv = [self.checkconf] + list(flags)
        chroot = self.rc["named_chrootdir"]
        if chroot and os.path.realpath(path).startswith(os.path.realpath(chroot) + "/"):
            argv += ["-t", chroot]
        return run(argv + [path])

    def printed(self, path):
        status, out, _err = self.checker(path, "-p")
        return out if status == 0 else None

    def complaints(self):
        """What named wrote to syslog about itself since this module began: its start says no reason on a terminal."""
        try:
            with open(MESSAGES, "rb") as handle:
                if os.path.getsize(MESSAGES) >= self.logged:
                    handle.seek(self.logged)
                lines = handle.read(1 << 20).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        lines = [line.partition("]: ")[2] for line in lines if " named[" in line and COMPLAINT.search(line)]
        return "; ".join(lines[-4:])

    # -- acting

    def service(self, verb, name="named"):
        status, out, err = run(["service", name, verb], timeout=120)
        self.output = " ".join((out + err).split())
        return status

    def act(self, action):
        """Start, restart or reconfigure named; True when named then runs with the file as it is now."""
        if action in ("start", "restart"):
            if action == "start":
                for name in self.want["displaces"]:
                    if run(["service", name, "onestatus"])[0] == 0:
                        self.service("onestop", name)
                        self.stopped.append(name)
            self.service(action)
        elif action == "reconfig":
            status, out, err = run([self.rndc, "reconfig"])
            self.output = (out + err).strip()
            if status != 0:
                self.refused = True
                return False

        began = time.monotonic()

        def settled():
            process = self.process()
            if process is None:
                # named's start returns when it runs (or does not): no need to leave the host without DNS for the whole timeout
                return "gone" if time.monotonic() - began > GRACE else None
            return "up" if not self.stale(process) and self.answers() else None

        return wait_until(settled, self.want["timeout"]) == "up"

    def install(self, texts):
        """Swap {path: text} in, named.conf last; returns when a load that follows is surely younger than the files."""
        for path in sorted(texts, key=lambda name: name == self.conf):
            if read(path) != texts[path]:
                write(path, texts[path], 0o644)
        second = int(time.time())
        while time.time() < second + 1:
            time.sleep(0.05)

    def save(self, texts):
        """Keep {path: text} as what a later failure returns to."""
        for path, text in texts.items():
            write(path + ".previous", text, 0o644)

    def saved(self):
        """{path: text} to return to; only with a named.conf of its own."""
        texts = {path: read(path + ".previous") for path in self.paths()}
        texts = {path: text for path, text in texts.items() if text is not None}
        return texts if self.conf in texts else {}

    def revert(self, old, why):
        """Bring back a file that worked, run named with it, and fail saying what happened."""
        told = "; ".join(text for text in (self.output, self.complaints()) if text)
        if not old:
            for name in self.stopped:
                self.service("onestart", name)
            self.module.fail_json(
                msg="%s There is no previous configuration to return to; %s is left as written.%s"
                % (why, self.conf, " named said: " + told if told else "")
            )
        self.install(old)
        back = self.act("restart" if self.process() else "start")
        if not back:
            for name in self.stopped:
                self.service("onestart", name)
        self.module.fail_json(
            msg="%s The previous %s is back and named %s.%s"
            % (
                why,
                self.conf,
                "runs with it" if back else "does not answer with it either: " + self.output,
                " named said: " + told if told else "",
            )
        )

    def links(self, process):
        """What decides named's descriptor limit, one clause each, for the message."""
        rc = self.rc
        parts = ["kern.maxfilesperproc = %s" % sysctl_int("kern.maxfilesperproc")]
        out = run(["limits", "-C", rc["named_login_class"], "-n"])[1]
        numbers = [word for word in out.split() if word.isdigit() or word.startswith("infinity")]
        parts.append(
            "login class %s: openfiles = %s" % (rc["named_login_class"], numbers[0] if numbers else "not known")
        )
        parts.append('named_limits = "%s"' % rc["named_limits"])
        files = option_statements(self.printed(self.conf) or "").get("files")
        parts.append("named.conf: %s" % (files[0] if files else "no files statement"))
        limit = openfiles(process["pid"])
        parts.append(
            "hard limit of the process = %s" % ("infinity" if limit and limit[1] is None else limit and limit[1])
        )
        return "; ".join(parts)


def stage(module, host):
    """Have named-checkconf judge the text; in check mode outside the configuration's directory."""
    content = module.params["content"]
    if module.check_mode:
        if not all(os.path.isdir(host.rc["named_chrootdir"] + d) for d in module.params["directories"]):
            return None
        with tempfile.TemporaryDirectory(prefix="sokuhai-bind-") as folder:
            path = os.path.join(folder, "named.conf")
            write(path, content, 0o644)
            status, out, err = run([host.checkconf, path])
            printed = run([host.checkconf, "-p", path])[1]
    else:
        path = host.conf + ".staged"
        write(path, content, 0o644)
        status, out, err = host.checker(path)
        printed = host.printed(path)
        os.unlink(path)
    if status != 0:
        module.fail_json(
            msg="named-checkconf refuses the new named.conf, %s stays as it is: %s"
            % (host.conf, (out + err).strip().replace(path, "named.conf"))
        )
    return printed or ""


def make_directories(host):
    """Make named's own directories; True when one was missing (the port makes them, a hand-built named does not)."""
    changed = False
    for path in host.want["directories"]:
        path = host.rc["named_chrootdir"] + path
        if os.path.isdir(path):
            continue
        changed = True
        if not host.module.check_mode:
            owner = pwd.getpwnam(host.rc["named_uid"])
            os.makedirs(path, mode=0o755)
            os.chown(path, owner.pw_uid, owner.pw_gid)
    return changed


def plan(host, differs, other, old_printed, new_printed):
    """(action, reason) that puts the wanted file in force."""
    process = host.process()
    if process is None:
        return "start", "named is not running"
    if not differs and host.stale(process):
        return "restart", "named runs an older configuration than %s" % host.conf
    if host.low(process):
        return "restart", "openfiles of the running named is %s, wanted %d" % (
            host.soft(process),
            host.want["openfiles"],
        )
    if differs:
        keyword = other[0] if other else needs_restart(old_printed, new_printed)
        if keyword:
            return "restart", "%s changed, which a running named does not take over whole" % keyword
        return "reconfig", "the configuration changed"
    if not host.answers():
        return "restart", "named runs but does not answer at %s" % ", ".join(host.want["servers"])
    return "none", "named runs this configuration"


def main():
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "required": True},
            "openfiles": {"type": "int", "default": 0},
            "servers": {"type": "list", "elements": "str", "default": ["127.0.0.1"]},
            "probe_name": {"type": "str", "default": "."},
            "timeout": {"type": "int", "default": 20},
            "directories": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "displaces": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = Transaction(module)
    content = module.params["content"]
    current = read(host.conf)
    wanted = {item["path"]: item["content"] for item in module.params["files"]}
    other = [path for path, text in wanted.items() if read(path) != text]
    wanted[host.conf] = content
    differs = current != content or bool(other)
    result = {
        "changed": False,
        "path": host.conf,
        "action": "none",
        "reason": "",
        "diff": [difference(path, read(path), wanted[path]) for path in [host.conf] + other],
    }
    if host.checkconf is None or not os.access(host.rc["named_program"], os.X_OK):
        if module.check_mode:
            module.exit_json(
                **dict(result, changed=True, action="start", reason="named is not installed yet (predicted)")
            )
        module.fail_json(msg="no named at %s: nothing to configure" % host.rc["named_program"])

    result["changed"] = make_directories(host)
    new_printed = stage(module, host) if differs else None
    process = host.process()
    sound = current is not None and process is not None and not host.stale(process) and host.answers()
    recursed = sound and recurses(host.want["servers"][0], host.want["probe_name"])
    old_printed = host.printed(host.conf) if differs and current is not None else None
    result["action"], result["reason"] = plan(host, differs, other, old_printed, new_printed or "")
    result["changed"] = result["changed"] or differs or result["action"] != "none"
    if module.check_mode:
        module.exit_json(**result)

    fallback = host.saved()
    if differs:
        # Only files that were seen to work may become those we return to; else the ones before them stay.
        if current is not None and (sound or not fallback):
            fallback = {path: read(path) for path in wanted if read(path) is not None}
            host.save(fallback)
        host.install(wanted)
    if all(wanted.get(path) == text for path, text in fallback.items()):
        fallback = {}
    if result["action"] != "none":
        if not host.act(result["action"]):
            host.revert(
                fallback,
                "named refuses the new configuration."
                if host.refused
                else (
                    "named does not answer at %s after its %s with the new configuration."
                    % (", ".join(host.want["servers"]), result["action"])
                ),
            )
        if recursed and not wait_until(
            lambda: recurses(host.want["servers"][0], host.want["probe_name"]), host.want["timeout"]
        ):
            host.output = ""
            host.revert(
                fallback,
                'named resolved NS of "%s" before this change and does not any more.' % host.want["probe_name"],
            )
        process = host.process()
        if process is None or (host.low(process) and result["action"] == "reconfig"):
            result["action"] = "restart"
            if not host.act("restart"):
                host.revert(fallback, "named does not come back after a restart.")
            process = host.process()
    if process is None:
        module.fail_json(msg="named stopped running: %s" % host.output)
    if host.low(process):
        module.fail_json(
            msg="bind_openfiles: the running named (pid %d) has openfiles = %s, %d was asked for, and a restart did not mend it."
            " The links: %s" % (process["pid"], host.soft(process), host.want["openfiles"], host.links(process))
        )
    result["pid"] = process["pid"]
    result["openfiles_soft"] = host.soft(process) or 0
    result["recurses"] = recurses(host.want["servers"][0], host.want["probe_name"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
