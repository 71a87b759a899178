# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role builder."""

import ipaddress
import re

#: What the role itself says in poudriere.conf, and is refused in builder_conf.
OURS = (
    "ATOMIC_PACKAGE_REPOSITORY",
    "BASEFS",
    "COMMIT_PACKAGES_ON_FAILURE",
    "DELETE_UNQUEUED_PACKAGES",
    "IMMUTABLE_BASE",
    "NO_ZFS",
    "PACKAGE_FETCH_BLACKLIST",
    "PKG_REPO_SIGNING_KEY",
    "POUDRIERE_DATA",
    "ZPOOL",
    "ZROOTFS",
)


def builder_problems(declared):
    """Return what is wrong with the declared values, a list of sentences that begin with the variable's name."""
    return [message for wrong, message in _checks(declared) if wrong]


def _checks(declared):
    """Yield (whether it is wrong, message) of each thing to be looked at."""
    release, base, zpool = (declared["builder_" + name] for name in ("release", "base", "zpool"))
    yield (
        release != "auto" and not re.fullmatch(r"\d+\.\d+-(RELEASE|BETA\d+|RC\d+)", release),
        f"builder_release = {release!r}: auto, or a release without its patch level, such as 15.0-RELEASE",
    )
    yield (
        not _address(declared["builder_listen"]),
        f"builder_listen = {declared['builder_listen']!r}: one address of the builder is needed, such as 192.0.2.20",
    )
    for name, least, most in (
        ("builder_port", 1024, 65535),
        ("builder_timeout", 60, 604800),
        ("builder_min_disk_mb", 1, 10000000),
    ):
        yield not least <= declared[name] <= most, f"{name} = {declared[name]}: {least} to {most} is possible"
    # poudriere.conf is read by sh(1), and a mount point of a jail has no colon
    yield (
        not re.fullmatch(r"(/[A-Za-z0-9._-]+){2,}", base),
        f"builder_base = {base!r}: a directory of its own is needed, without blanks, such as /usr/local/sokuhai-builder",
    )
    yield (
        zpool and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", zpool),
        f"builder_zpool = {zpool!r}: the name of a pool is needed, such as zroot",
    )
    for line in declared["builder_conf"]:
        name = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=[^\n]*\Z", line)
        yield not name, f"builder_conf: {line!r} is not a line NAME=VALUE of poudriere.conf, such as PARALLEL_JOBS=2"
        yield name and name[1] in OURS, f"builder_conf: {name and name[1]} is set by the role; leave it out"


def _address(text):
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def builder_origins(ports):
    """Return the lines for poudriere bulk -f of *ports*, [{origin, flavor}]: ORIGIN, or ORIGIN@FLAVOR."""
    return [port["origin"] + ("@" + port["flavor"] if port.get("flavor") else "") for port in ports]


def builder_own(ports):
    """Return the names of packages that are built and never fetched, as poudriere's patterns: what is declared of *ports* would be lost in FreeBSD's own."""
    names = [port["origin"].rpartition("/")[2] + ("-" + port["flavor"] if port.get("flavor") else "") for port in ports]
    named = [port.get("package") for port in ports]
    return sorted({name for name in names + named if name})


def builder_url(listen, port):
    """Return the repository's URL."""
    return f"http://[{listen}]:{port}/" if ":" in listen else f"http://{listen}:{port}/"


class FilterModule:
    def filters(self):
        return {
            "builder_problems": builder_problems,
            "builder_origins": builder_origins,
            "builder_own": builder_own,
            "builder_url": builder_url,
        }
