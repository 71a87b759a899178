"""login.conf(5): parsing the source and reading the database that cap_mkdb(1) makes of it; and the limits that there are.

The database decides (login_cap(3) opens login.conf.db first): an edit without cap_mkdb is not seen.
"""

import json
import os
import re
import typing

CONF = "/etc/login.conf"
INFINITY = -1
SIZES = {"": 1, "b": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
UNITS = {
    "time": {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000},
    "size": SIZES,
    "bytes": SIZES,
    "number": {"": 1},
}


class Resource(typing.NamedTuple):
    """linux: its RLIMIT there, "" for none; proc: its name in /proc/PID/limits."""

    letter: str
    capability: str
    kind: str
    linux: str = ""
    proc: str = ""

    @property
    def shown(self):
        """What limits(1) and procstat(1) call it."""
        return {"maxproc": "maxprocesses", "pseudoterminals": "pseudo-terminals"}.get(self.capability, self.capability)


RESOURCES = [
    Resource("t", "cputime", "time", "CPU", "Max cpu time"),
    Resource("f", "filesize", "size", "FSIZE", "Max file size"),
    Resource("d", "datasize", "size", "DATA", "Max data size"),
    Resource("s", "stacksize", "size", "STACK", "Max stack size"),
    Resource("c", "coredumpsize", "size", "CORE", "Max core file size"),
    Resource("m", "memoryuse", "size", "RSS", "Max resident set"),
    Resource("l", "memorylocked", "size", "MEMLOCK", "Max locked memory"),
    Resource("u", "maxproc", "number", "NPROC", "Max processes"),
    Resource("n", "openfiles", "number", "NOFILE", "Max open files"),
    Resource("b", "sbsize", "bytes"),
    Resource("v", "vmemoryuse", "size", "AS", "Max address space"),
    Resource("p", "pseudoterminals", "number"),
    Resource("w", "swapuse", "size"),
    Resource("k", "kqueues", "number"),
    Resource("o", "umtxp", "number"),
    Resource("y", "pipebuf", "size"),
]


def number(text, kind):
    """A limit in its unit; INFINITY for unlimited; None for what is not one."""
    text, units = text.lower(), UNITS[kind]
    if text in ("inf", "infinity", "unlimit", "unlimited", "-1"):
        return INFINITY
    parts = re.findall(r"(\d+)([a-z]?)", text)
    if not re.fullmatch(r"(\d+[a-z]?)+", text) or any(unit not in units for _, unit in parts):
        return None
    return sum(int(digits) * units[unit] for digits, unit in parts)


def limit(capabilities, name, kind):
    """The limit that a class sets by a capability; None where it sets none."""
    text = capabilities.get(name)
    return number(text, kind) if isinstance(text, str) else None


def parse(path):
    """[(names, [field, …])] of a capability file; OSError when it cannot be read."""
    with open(path) as f:
        text = re.sub(r"\\\n\s*", "", f.read())
    records = []
    for line in text.splitlines():
        names, *fields = [field.strip() for field in line.split(":")]
        if names and not names.startswith("#"):
            records.append((names.split("|"), [field for field in fields if field]))
    return records


def resolve(records):
    """{name: {capability: text or True}} with every tc= followed."""
    by_name = {}
    for names, fields in records:
        for name in names:
            by_name.setdefault(name, fields)

    def caps(name, seen):
        result, cancelled = {}, set()
        for field in by_name.get(name, []):
            key, _, value = re.fullmatch(r"([^=#]*)([=#]?)(.*)", field).groups()
            if field.endswith("@"):
                cancelled.add(field[:-1])
            elif key != "tc":
                result.setdefault(key, value or True)
            elif value not in seen:
                inherited = caps(value, seen | {value})
                result = {**{k: v for k, v in inherited.items() if k not in cancelled}, **result}
        return result

    return {name: caps(name, {name}) for name in by_name}


def database():
    """Classes as the database has them, or the source where there is no database."""
    if not os.path.exists(CONF + ".db"):
        return resolve(parse(CONF))
    with open(CONF + ".db") as f:
        return json.load(f)
