"""login.conf(5): parsing the source and reading the database that cap_mkdb(1) makes of it.

The database decides (login_cap(3) opens login.conf.db first): an edit without cap_mkdb is not seen.
"""

import os

CONF = "/etc/login.conf"
# capability, RLIMIT name on Linux or None, kind: time, size or number
RESOURCES = [
    ("cputime", "CPU", "time"),
    ("filesize", "FSIZE", "size"),
    ("datasize", "DATA", "size"),
    ("stacksize", "STACK", "size"),
    ("coredumpsize", "CORE", "size"),
    ("memoryuse", "RSS", "size"),
    ("memorylocked", "MEMLOCK", "size"),
    ("maxproc", "NPROC", "number"),
    ("openfiles", "NOFILE", "number"),
    ("sbsize", None, "size"),
    ("vmemoryuse", "AS", "size"),
    ("pseudoterminals", None, "number"),
    ("swapuse", None, "size"),
    ("kqueues", None, "number"),
    ("umtxp", None, "number"),
    ("pipebuf", None, "size"),
]
INFINITY = -1


def number(text, kind):
    """A limit in its unit; INFINITY for unlimited; None for what is not one."""
    if text.lower() in ("inf", "infinity", "unlimit", "unlimited", "-1"):
        return INFINITY
    units = {
        "time": {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000},
        "size": {"b": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40},
        "number": {},
    }[kind]
    total, digits = 0, ""
    for char in text:
        if char.isdigit():
            digits += char
        elif digits and char.lower() in units:
            total += int(digits) * units[char.lower()]
            digits = ""
        else:
            return None
    return total + int(digits) if digits else (total if text else None)


def parse(path):
    """[(names, [field, …])] of a capability file; OSError when it cannot be read."""
    with open(path) as f:
        text = f.read()
    records, current = [], ""
    for line in text.split("\n"):
        if not current and (not line.strip() or line.lstrip().startswith("#")):
            continue
        if line.endswith("\\"):
            current += line[:-1].strip()
            continue
        current += line.strip()
        fields = [f.strip() for f in current.split(":")]
        current = ""
        if fields[0]:
            records.append((fields[0].split("|"), [f for f in fields[1:] if f]))
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
            if field.startswith("tc="):
                target = field[3:]
                if target not in seen:
                    for key, value in caps(target, seen | {target}).items():
                        if key not in cancelled:
                            result.setdefault(key, value)
            elif field.endswith("@"):
                cancelled.add(field[:-1])
            elif "=" in field:
                key, _, value = field.partition("=")
                result.setdefault(key, value)
            elif "#" in field:
                key, _, value = field.partition("#")
                result.setdefault(key, value)
            else:
                result.setdefault(field, True)
        return result

    return {name: caps(name, {name}) for name in by_name}


def database():
    """Classes as the database has them, or the source where there is no database."""
    if os.path.exists(CONF + ".db"):
        import json

        with open(CONF + ".db") as f:
            return json.load(f)
    try:
        return resolve(parse(CONF))
    except OSError:
        return {}
