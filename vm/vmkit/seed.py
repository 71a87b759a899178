"""The NoCloud seed: a small ISO 9660 image labelled cidata, from which FreeBSD's nuageinit(7) takes a name, a key and a user.

Written here, since no tool for it is everywhere. Names are Joliet's, which keep `user-data` as it is. There are no Rock Ridge
attributes on purpose: without them cd9660 shows every file as executable, and nuageinit of FreeBSD 14 runs user-data from where it lies.
"""

import datetime
import shlex
import struct

SECTOR = 2048
LABEL = "cidata"


def both16(number):
    return struct.pack("<H", number) + struct.pack(">H", number)


def both32(number):
    return struct.pack("<I", number) + struct.pack(">I", number)


def record(name, extent, size, directory, when):
    """One directory record (ECMA-119 9.1). name: bytes."""
    length = 33 + len(name)
    length += length % 2
    stamp = bytes([when.year - 1900, when.month, when.day, when.hour, when.minute, when.second, 0])
    data = (
        bytes([length, 0])
        + both32(extent)
        + both32(size)
        + stamp
        + bytes([2 if directory else 0, 0, 0])
        + both16(1)
        + bytes([len(name)])
        + name
    )
    return data.ljust(length, b"\0")


def directory(entries, extent, when):
    """One directory in one sector. entries: list of (name as bytes, extent, size)."""
    data = record(b"\0", extent, SECTOR, True, when) + record(b"\1", extent, SECTOR, True, when)
    data += b"".join(record(name, start, size, False, when) for name, start, size in sorted(entries))
    if len(data) > SECTOR:
        raise ValueError("too many files for one sector")
    return data.ljust(SECTOR, b"\0")


def descriptor(kind, label, blocks, root, table, when):
    """A volume descriptor (ECMA-119 8.4 and 8.5). kind: 1 primary, 2 supplementary (Joliet, UCS-2 level 1)."""
    wide = kind == 2

    def text(value, length):
        if wide:
            return (value.encode("utf-16-be") + b"\0 " * length)[: length // 2 * 2].ljust(length, b"\0")
        return value.encode("ascii").ljust(length, b" ")

    stamp = when.strftime("%Y%m%d%H%M%S00").encode() + b"\0"
    never = b"0" * 16 + b"\0"
    data = bytes([kind]) + b"CD001" + b"\1\0" + text("", 32) + text(label, 32) + bytes(8)
    data += both32(blocks) + (b"%/@".ljust(32, b"\0") if wide else bytes(32)) + both16(1) + both16(1) + both16(SECTOR)
    data += both32(10) + struct.pack("<I", table[0]) + bytes(4) + struct.pack(">I", table[1]) + bytes(4)
    data += record(b"\0", root, SECTOR, True, when)
    data += text("", 128) * 4 + text("", 37) * 3 + stamp * 2 + never + stamp + b"\1"
    return data.ljust(SECTOR, b"\0")


def image(files, label=LABEL, when=None):
    """The bytes of the image. files: {name: text or bytes}, in the root, each name plain ASCII."""
    when = when or datetime.datetime.now(datetime.timezone.utc)
    contents = {name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()}
    root, wide_root, tables = 23, 24, (19, 20, 21, 22)
    place, places = 25, {}
    for name, data in contents.items():
        places[name] = (place, len(data))
        place += max(1, -(-len(data) // SECTOR))
    short = {name: f"FILE{number}.;1".encode() for number, name in enumerate(contents, 1)}
    plain = [(short[name], *places[name]) for name in contents]
    wide = [(name.encode("utf-16-be"), *places[name]) for name in contents]

    def path_table(extent, form):
        return (b"\1\0" + struct.pack(form + "I", extent) + struct.pack(form + "H", 1) + b"\0\0").ljust(SECTOR, b"\0")

    sectors = [bytes(SECTOR)] * 16
    sectors.append(descriptor(1, label, place, root, tables[:2], when))
    sectors.append(descriptor(2, label, place, wide_root, tables[2:], when))
    sectors.append((b"\xffCD001\1").ljust(SECTOR, b"\0"))
    sectors += [path_table(root, "<"), path_table(root, ">"), path_table(wide_root, "<"), path_table(wide_root, ">")]
    sectors += [directory(plain, root, when), directory(wide, wide_root, when)]
    for data in contents.values():
        sectors.append(data.ljust(max(1, -(-len(data) // SECTOR)) * SECTOR, b"\0"))
    return b"".join(sectors)


def user_data(user, key):
    """The script that lets *user* in with *key*. FreeBSD 14 runs it before the network is up, 15 at the end of the boot.

    A script and no #cloud-config: what the latter may hold differs between the releases, and none of it opens root's login.
    """
    quoted_user, quoted_key = shlex.quote(user), shlex.quote(key.strip())
    lines = [
        "#!/bin/sh",
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin; export PATH",
        f"user={quoted_user}",
        f"key={quoted_key}",
        'pw usershow -n "$user" >/dev/null 2>&1 || pw useradd -n "$user" -m -G wheel -s /bin/sh',
        'home=$(pw usershow -n "$user" | cut -d: -f9)',
        'mkdir -p "$home/.ssh"',
        'touch "$home/.ssh/authorized_keys"',
        'grep -qxF "$key" "$home/.ssh/authorized_keys" || printf "%s\\n" "$key" >> "$home/.ssh/authorized_keys"',
        'chmod 700 "$home/.ssh"; chmod 600 "$home/.ssh/authorized_keys"; chown -R "$user" "$home/.ssh"',
    ]
    if user == "root":
        # the first line that names an option decides
        lines += [
            "config=/etc/ssh/sshd_config",
            'if [ "$(head -n 1 $config)" != "PermitRootLogin prohibit-password" ]; then',
            '    { echo "PermitRootLogin prohibit-password"; cat $config; } > $config.new && cat $config.new > $config; rm -f $config.new',
            "    if service sshd onestatus >/dev/null 2>&1; then service sshd onereload; fi",
            "fi",
        ]
    # nuageinit of FreeBSD 14 takes the script's status for its own
    lines.append("exit 0")
    return "\n".join(lines) + "\n"


def nocloud(hostname, user, key, instance="sokuhai"):
    """The seed's files: {name: text}."""
    return {"meta-data": f"instance-id: {instance}\nlocal-hostname: {hostname}\n", "user-data": user_data(user, key)}
