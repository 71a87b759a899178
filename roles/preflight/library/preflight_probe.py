#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask a FreeBSD host, in one call and without changing anything, what role preflight judges."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: preflight_probe
short_description: Read what the chain of limits and the other checks of preflight need
description:
  - Reads only; check mode is the same as a real run.
  - A tool that is missing answers null, never an error. Reading /boot/loader.conf needs no privilege, procstat and pfctl need root.
options:
  names: {description: Names of sysctls to read., type: list, elements: str, required: true}
  classes: {description: Login classes whose openfiles are asked for., type: list, elements: str, default: [daemon]}
  services: {description: Services whose running process is looked at., type: list, elements: str, default: [named, postfix]}
  marker: {description: The name in our marked blocks., type: str, default: sokuhai limits}
  loader_file: {description: Our own loader file, which is not foreign., type: str, default: /boot/loader.conf.d/sokuhai.conf}
"""
RETURN = r"""
probe:
  description: sysctl, unknown, tunable, writable, classes, running, rc, named, postfix, pf, jailed, settings, release, disk, pkg, modules, ident
  type: dict
  returned: always
"""

import glob
import os
import re
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule

ENV = dict(os.environ, LC_ALL="C", PATH="/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
LOADER_FILES = ("/boot/loader.conf", "/boot/loader.conf.local")
SYSCTL_FILES = ("/etc/sysctl.conf", "/etc/sysctl.conf.local")
ALIASES = {"kern.ipc.somaxconn": "kern.ipc.soacceptqueue"}  # one value, two names (sys/kern/uipc_socket.c)
RC_DIRS = ("/etc/rc.d", "/usr/local/etc/rc.d")


def run(argv):
    """(exit status, stdout, stderr); status 127 when the program is not there."""
    try:
        done = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=ENV)
    except OSError as error:
        return 127, "", str(error)
    out, err = done.communicate()
    return done.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def read(path):
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return None


def parse_pairs(text, separator="="):
    """{name: value} of lines name=value, quotes removed."""
    pairs = {}
    for line in text.splitlines():
        name, found, value = line.partition(separator)
        if found:
            pairs[name.strip()] = value.strip().strip('"')
    return pairs


def parse_settings(path, text, marker):
    """[{file, line, name, value}] of a sysctl.conf or loader.conf, without what stands between our markers.

    Both formats are name=value with # comments (sbin/sysctl/sysctl.c, stand/lua); only names with a dot are sysctls.
    """
    found, ours = [], False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line == "# BEGIN " + marker:
            ours = True
        elif line == "# END " + marker:
            ours = False
        elif not ours:
            match = re.match(r'^([A-Za-z0-9_.%-]+)\s*[=:]\s*("[^"]*"|[^#]*)', line)
            if match and "." in match.group(1):
                name = ALIASES.get(match.group(1), match.group(1))
                found.append({"file": path, "line": number, "name": name, "value": match.group(2).strip().strip('"')})
    return found


def parse_limit(text, name="openfiles"):
    """The value in the output of limits(1) or procstat rlimit: ints, or 'infinity'; None when the row is missing."""
    for line in text.splitlines():
        words = line.split()
        if name in words:
            numbers = [w if w == "infinity" else int(w) for w in words[words.index(name) + 1:] if w == "infinity" or w.isdigit()]
            return numbers or None
    return None


def limit_of_class(name):
    """openfiles of a login class; None when login.conf.db does not know it (limits(1) then answers for default, exit 0)."""
    status, out, err = run(["limits", "-C", name, "-n"])
    if status or "non-existent" in err:
        return None
    numbers = parse_limit(out)
    return numbers[0] if numbers else None


def rc_script(service):
    """{path, start_cmd} of the rc script service(8) would take, or None."""
    for directory in RC_DIRS:
        path = os.path.join(directory, service)
        if os.access(path, os.X_OK):
            return {"path": path, "start_cmd": bool(re.search(r"^\s*start_cmd=", read(path) or "", re.M))}
    return None


def running(service):
    """{pid, soft, hard} of a service's main process, or None."""
    match = re.search(r"as pid (\d+)", run(["service", service, "onestatus"])[1])
    if not match:
        return None
    numbers = parse_limit(run(["procstat", "rlimit", match.group(1)])[1]) or [None, None]
    return {"pid": int(match.group(1)), "soft": numbers[0], "hard": numbers[-1]}


def program(*paths):
    for path in paths:
        if os.access(path, os.X_OK):
            return path
    return None


def named():
    """version, and whether this named's own checker accepts `files` (fatal from BIND 9.20 on)."""
    answer = {"version": None, "knows_files": None}
    binary = program("/usr/local/sbin/named", "/usr/sbin/named")
    if binary:
        match = re.search(r"BIND (\d+\.\d+\.\d+\S*)", run([binary, "-v"])[1])
        answer["version"] = match.group(1) if match else None
    checker = program("/usr/local/bin/named-checkconf", "/usr/local/sbin/named-checkconf", "/usr/bin/named-checkconf")
    if checker:
        handle, path = tempfile.mkstemp(prefix="preflight-", suffix=".conf")
        try:
            os.write(handle, b'options { directory "/"; files 1024; };\n')
            os.close(handle)
            answer["knows_files"] = run([checker, path])[0] == 0
        finally:
            os.unlink(path)
    return answer


def pf():
    answer = {"enabled": False, "states": None}
    status, out, dummy = run(["pfctl", "-s", "info"])
    if status == 0 and re.search(r"^Status:\s+Enabled", out, re.M):
        answer["enabled"] = True
        match = re.search(r"^states\s+hard limit\s+(\d+)", run(["pfctl", "-s", "memory"])[1], re.M)
        answer["states"] = int(match.group(1)) if match else None
    return answer


def disk(path):
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize // 2 ** 20


def sysctls(names):
    """Values and flags of names: sysctl, unknown, tunable, writable."""
    status, out, dummy = run(["sysctl", "-ie"] + list(names))
    values = {name: value for name, value in parse_pairs(out).items() if name in names} if status == 0 else {}
    for name in names:
        if name not in values:  # -i leaves out what is unknown; ask once more, so that a refused option is not taken for it
            one = run(["sysctl", "-n", name])
            if one[0] == 0:
                values[name] = one[1].strip()
    flags = {}
    for key, option in (("tunable", "-aNT"), ("writable", "-aNW")):
        listed = set(run(["sysctl", option])[1].split())
        # a name hidden from -a (CTLFLAG_SKIP) still answers when it is named
        flags[key] = sorted(n for n in names if n in listed or (n in values and run(["sysctl", option.replace("a", ""), n])[1].strip() == n))
    return {"sysctl": values, "unknown": sorted(n for n in names if n not in values), "tunable": flags["tunable"],
            "writable": flags["writable"]}


def settings(names, marker, loader_file):
    """Foreign lines that set one of names, in the order in which the system reads them."""
    found = []
    for path in SYSCTL_FILES + LOADER_FILES + tuple(sorted(glob.glob("/boot/loader.conf.d/*.conf"))):
        text = read(path) if path != loader_file else None
        if text:
            found += [entry for entry in parse_settings(path, text, marker) if entry["name"] in names]
    return found


def main():
    module = AnsibleModule(
        argument_spec=dict(
            names=dict(type="list", elements="str", required=True),
            classes=dict(type="list", elements="str", default=["daemon"]),
            services=dict(type="list", elements="str", default=["named", "postfix"]),
            marker=dict(type="str", default="sokuhai limits"),
            loader_file=dict(type="str", default="/boot/loader.conf.d/sokuhai.conf"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    probe = sysctls(params["names"])
    release = run(["freebsd-version", "-kru"])[1].split()
    status, out, dummy = run(["postconf", "-h", "mail_version"])
    probe.update(
        classes={name: limit_of_class(name) for name in params["classes"]},
        rc={name: rc_script(name) for name in params["services"]},
        running={name: running(name) for name in params["services"] if rc_script(name)},
        named=named(),
        postfix={"version": out.strip() if status == 0 else None},
        pf=pf(),
        jailed=run(["sysctl", "-n", "security.jail.jailed"])[1].strip() == "1",
        settings=settings(params["names"], params["marker"], params["loader_file"]),
        release=dict(zip(("kernel", "running", "userland"), release)),
        ident=run(["uname", "-i"])[1].strip(),
        disk={path: disk(path) for path in ("/", "/usr", "/var")},
        pkg=run(["pkg", "-N"])[0] == 0,
        modules=[line.split()[-1] for line in run(["kldstat"])[1].splitlines()[1:] if line.split()],
    )
    module.exit_json(changed=False, probe=probe)


if __name__ == "__main__":
    main()
