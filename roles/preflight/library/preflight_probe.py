#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Ask a FreeBSD host, in one call and without changing anything, what role preflight judges and role limits decides by."""

DOCUMENTATION = r"""
module: preflight_probe
short_description: Read what the chain of limits and the other checks of preflight need
description:
  - Reads only; check mode is the same as a real run, but that O(installs) has pkg(8) fetch the catalogues
    in the latter. In a jail, a kernel value is set to what it is, which tells whether the jail may.
  - A tool that is missing answers null, never an error. Reading /boot/loader.conf needs no privilege, procstat and pfctl need root.
options:
  names: {description: Names of sysctls to read., type: list, elements: str, required: true}
  classes: {description: Login classes whose openfiles are asked for., type: list, elements: str, default: [daemon]}
  services: {description: Services whose running process is looked at., type: list, elements: str, default: [named, postfix]}
  addresses: {description: Addresses that the host is to have., type: list, elements: str, default: []}
  programs: {description: "Packages that a run may install, {name: {program, packages, role}}.", type: dict, default: {}}
  environment: {description: "Boot environment that is to be made before the first change, none where it is empty.", type: str, default: ""}
  installs: {description: "Roles whose packages are looked for in the repositories where they are not installed.", type: list, elements: str, default: []}
"""
RETURN = r"""
probe:
  description: >-
    system alone where that is not FreeBSD; else also sysctl, tunable, writable, settable, kenv, ours, settings, classes, login_conf_splits, running, named, pf,
    jailed, bound, release, disk, kept, pkg, packages, abis, owners, missing, unavailable, postfix, replaced, dovecot, aliases, mail, leftovers, environment
  type: dict
  returned: always
"""

import os
import re
import socket
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import environments, foreign, foreign_dovecot, foreign_named, host, leftovers, pkg
from ansible.module_utils.sokuhai.blocks import set_block
from ansible.module_utils.sokuhai.limits import MARK, Host, parse_values
from ansible.module_utils.sokuhai.named import rc_variables

#: Where the roles keep what they return to.
KEPT = "/var/db/sokuhai"


def program(*paths):
    """Return the first of *paths* that can be run, or None."""
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def named():
    """version, and whether this named's own checker accepts `files` (fatal from BIND 9.20 on)."""
    answer = {"version": None, "knows_files": None}
    binary = program("/usr/local/sbin/named", "/usr/sbin/named")
    if binary:
        match = re.search(r"BIND (\d+\.\d+\.\d+\S*)", host.run([binary, "-v"])[1])
        answer["version"] = match.group(1) if match else None
    checker = program("/usr/local/bin/named-checkconf", "/usr/local/sbin/named-checkconf", "/usr/bin/named-checkconf")
    if checker:
        with tempfile.NamedTemporaryFile("w", prefix="preflight-", suffix=".conf") as file:
            file.write('options { directory "/"; files 1024; };\n')
            file.flush()
            answer["knows_files"] = host.run([checker, file.name])[0] == 0
    return answer


def pf():
    status, out, _err = host.run(["pfctl", "-s", "info"])
    if status or not re.search(r"^Status:\s+Enabled", out, re.M):
        return {"there": status == 0, "enabled": False, "states": None}
    match = re.search(r"^states\s+hard limit\s+(\d+)", host.run(["pfctl", "-s", "memory"])[1], re.M)
    return {"there": True, "enabled": True, "states": int(match.group(1)) if match else None}


def owners(programs, packages):
    """Return {name: {program, package}} of the programs that are there without one of their packages; package is "" for none. programs: the option."""
    found = {}
    for name, wanted in programs.items():
        path = None if set(wanted["packages"]) & set(packages) else pkg.program(wanted["program"])
        if path:
            found[name] = {"program": path, "package": pkg.which(path)}
    return found


def unavailable(roles, programs, packages):
    """Return why those of *programs* (the option) that *roles* are to install cannot be, as pkg.unavailable(). packages: what is installed, None without pkg."""
    if packages is None:
        return {}
    wanted = dict.fromkeys(
        name
        for one in programs.values()
        if one["role"] in roles and not pkg.program(one["program"])
        for name in one["packages"]
        if name not in packages
    )
    return pkg.unavailable(list(wanted))


def postfix():
    """Return what the installed Postfix was built with, {types, server, client: lists of names}, or None where there is none."""
    if not pkg.program("postconf"):
        return None
    options = {"types": "-m", "server": "-a", "client": "-A"}
    return {what: host.run(["postconf", option])[1].split() for what, option in options.items()}


def serving():
    """Return what the host has of its own where a role takes a place.

    replaced: {role: why it does not do so unasked, "" where nothing would be lost}. aliases: {file: {name: value}} that Postfix would not read any more.
    dovecot: the configuration of a Dovecot of the owner's, "" for none. mail: what there is of a mail service of ours, a list of names. leftovers: {role: messages} of what the host was before, over which it would fall.
    """
    directory = host.run(["postconf", "-h", "config_directory"])[1].strip() or "/usr/local/etc/postfix"
    dovecot = foreign_dovecot.config()
    jailed = leftovers.jailed(["named", "postfix", "dovecot"])
    return {
        "replaced": {
            "bind": foreign_named.refusal(),
            "postfix": foreign.postfix_refusal(directory),
            "sasl": foreign_dovecot.refusal(dovecot),
        },
        "dovecot": dovecot if foreign_dovecot.owners(dovecot) else "",
        "aliases": foreign.aliases(directory),
        "mail": leftovers.mail(directory, dovecot),
        "leftovers": {
            "bind": leftovers.named(rc_variables()) + leftovers.disabled("named") + jailed.get("named", []),
            "postfix": leftovers.postfix(directory)
            + leftovers.mailer()
            + leftovers.disabled("postfix")
            + jailed.get("postfix", []),
            "sasl": leftovers.dovecot(dovecot) + leftovers.disabled("dovecot") + jailed.get("dovecot", []),
        },
    }


def packages():
    """Return (names and origins, list of str; {name or origin: ABI such as FreeBSD:15:amd64}) of what is installed, or (None, {}) where there is no pkg.

    Asked then, pkg(7) would be fetched.
    """
    if host.run(["pkg", "-N"])[0]:
        return None, {}
    rows = [line.split() for line in host.run(["pkg", "query", "%n %o %q"])[1].splitlines()]
    rows = [row for row in rows if len(row) == 3]
    abis = {word: row[2] for row in rows for word in row[:2]}
    return sorted(abis), abis


def missing(programs, packages, found):
    """Return the packages (list of str) that are to be installed and that no repository has, by the catalogues that are here. pkg(8) without any knows of none.

    programs: the option. found: of owners().
    """
    wanted = [one for name, each in programs.items() if name not in found for one in each["packages"]]
    wanted = [name for name in wanted if name not in packages]
    offered = host.run(["pkg", "rquery", "-U", "%n", *wanted])[1].split() if wanted else []
    return [name for name in wanted if name not in offered]


def bound(address):
    """Return the address (str) of this host that a socket has which is bound to *address*, or "" where it cannot be bound.

    A jail that shares its host's addresses and has no loopback among them gets its first address instead (prison_local_ip4() of sys/netinet/in_jail.c).
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            return sock.getsockname()[0]
    except OSError:
        return ""


def kernel(own, names, jailed=False):
    """The kernel's values and their flags, the loader's environment, and what sets values at boot: ours, and others' lines.

    settable: of a jail, those that it may set: which flag they have (CTLFLAG_VNET, CTLFLAG_PRISON; sysctl_root() of sys/kern/kern_sysctl.c) changes with the
    releases and sysctl(8) does not print, so each is set to the value that it has.
    """
    values = own.sysctls(names)
    writable = own.flagged("W", names, values)
    return {
        "sysctl": values,
        "tunable": own.flagged("T", names, values),
        "writable": writable,
        "jailed": jailed,
        "settable": [name for name in writable if not own.run(["sysctl", "%s=%s" % (name, values[name])])[0]]
        if jailed
        else [],
        "kenv": parse_values(own.run(["kenv"])[1].splitlines()),
        "ours": own.ours(),
        "settings": own.foreign(),
    }


def logins(own, classes):
    """The descriptors of login classes, and whether a class outside our block sets them as openfiles-cur and -max, which win over openfiles."""
    path = "/etc/login.conf"
    outside = set_block(own.read(path) or "", MARK, path, [])
    return {
        "classes": {name: own.limit_of_class(name) for name in classes},
        "login_conf_splits": bool(re.search(r":openfiles-(cur|max)=", outside)),
    }


def probe(params):
    system = os.uname().sysname
    if system != "FreeBSD":
        return {"system": system}
    own = Host()
    installed, abis = packages()
    # asked without pkg, pkg(7) would fetch it
    owned = {} if installed is None else owners(params["programs"], installed)
    jailed = host.sysctl("security.jail.jailed") == "1"
    # not -k: a jail has no kernel, and freebsd-version(1) ends where it misses it
    release = host.run(["freebsd-version", "-ru"])[1].split()
    return {
        "system": system,
        **kernel(own, params["names"], jailed),
        **logins(own, params["classes"]),
        "running": {name: own.running(name) for name in params["services"] if own.rc_script(name)},
        "named": named(),
        "pf": pf(),
        "bound": {address: bound(address) for address in params["addresses"]},
        "release": dict(zip(("running", "userland"), release)),
        "disk": {path: host.free_mib(path) for path in ("/", "/usr", "/var")},
        "kept": sorted(os.listdir(KEPT)) if os.path.isdir(KEPT) else [],
        "pkg": installed is not None,
        "packages": installed or [],
        "abis": abis,
        "owners": owned,
        "missing": [] if installed is None else missing(params["programs"], installed, owned),
        "unavailable": unavailable(params["installs"], params["programs"], installed),
        "postfix": postfix(),
        "environment": environments.refusal(params["environment"]) if params["environment"] else "",
        **serving(),
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            names=dict(type="list", elements="str", required=True),
            classes=dict(type="list", elements="str", default=["daemon"]),
            services=dict(type="list", elements="str", default=["named", "postfix"]),
            programs=dict(type="dict", default={}),
            installs=dict(type="list", elements="str", default=[]),
            environment=dict(type="str", default=""),
            addresses=dict(type="list", elements="str", default=[]),
        ),
        supports_check_mode=True,
    )
    # a check run leaves the catalogues as they are
    params = {**module.params, "installs": [] if module.check_mode else module.params["installs"]}
    host.answer(module, lambda: {"changed": False, "probe": probe(params)})


if __name__ == "__main__":
    main()
