"""What can be known of a kernel by looking into its file: an ELF executable with the symbols and the section that a FreeBSD kernel has."""

import os
import struct

FATES = ("good", "panic", "hang", "nonetwork", "stuck")


def look(path):
    """{version, ident, osrelease, osreldate, config} of a kernel file; None when a loader could not load it.

    config is "" where the kernel was made without INCLUDE_CONFIG_FILE.
    """
    try:
        with open(path, "rb") as f:
            data = f.read()
        if data[:4] != b"\x7fELF" or data[4:6] != b"\x02\x01":
            return None
        kind, machine = struct.unpack_from("<HH", data, 16)
        if kind != 2 or machine != 62:
            return None
        (offset,) = struct.unpack_from("<Q", data, 40)
        size, count, names_index = struct.unpack_from("<HHH", data, 58)
        sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
        names = sections[names_index]

        def text(base, at):
            return data[base + at : data.index(b"\0", base + at)].decode()

        titles = [text(names[4], s[0]) for s in sections]
        table = sections[titles.index(".symtab")]
        strings = sections[table[6]]
        symbols = {}
        for at in range(table[4], table[4] + table[5], 24):
            name, _, _, index, value, length = struct.unpack_from("<IBBHQQ", data, at)
            if 0 < index < count:
                home = sections[index]
                start = home[4] + value - home[3]
                symbols[text(strings[4], name)] = data[start : start + length]
        config = b""
        if "kern_conf" in titles:
            home = sections[titles.index("kern_conf")]
            config = data[home[4] : home[4] + home[5]]

        def string(name):
            return symbols[name].split(b"\0")[0].decode().rstrip("\n")

        return {
            "version": string("version"),
            "ident": string("kern_ident"),
            "osrelease": string("osrelease"),
            "osreldate": struct.unpack("<i", symbols["osreldate"])[0],
            "config": config.split(b"\0")[0].decode(),
        }
    except (OSError, struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError):
        return None


def starts_with(path, text):
    """Whether a file begins with these bytes."""
    try:
        with open(path, "rb") as f:
            return f.read(len(text)) == text
    except OSError:
        return False


def fate(directory):
    """What the lab makes of a kernel: the word in its directory's file labfate, which only a test puts there; else good."""
    try:
        with open(os.path.join(directory, "labfate")) as f:
            word = f.read().strip()
    except OSError:
        return "good"
    if word not in FATES:
        raise ValueError(f"{directory}/labfate says {word!r}; it can be one of {', '.join(FATES)}")
    return word
