# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The regional registries' statistics files: what afrinic, apnic, arin, lacnic and ripencc publish every day of what they have allocated and assigned.

"RIR statistics exchange format": its description lies beside each file as RIR-Statistics-Exchange-Format.txt and in APNIC's README. Both
kinds are read: delegated (7 fields) and delegated-extended (an opaque-id more, and records of space that is available or reserved, which
belongs to no country). A file says at its head how many records of each type it holds; one that holds another number is cut, and refused.

    version|registry|serial|records|startdate|enddate|UTCoffset
    registry|*|type|*|count|summary
    registry|cc|type|start|value|date|status[|opaque-id...]

`value` of ipv4 is a number of addresses: no power of two (62.122.208.0 + 1280) and no aligned start is promised. `value` of ipv6 is a prefix
length. The format allows blanks around a field; no registry uses them. Where space was first delegated is what it says, not where it is used.
"""

import datetime
import re

from . import ranges
from .countries import CountryError

REGISTRIES = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
TYPES = ("asn", "ipv4", "ipv6")
DELEGATED = ("allocated", "assigned")
STATUSES = (*DELEGATED, "available", "reserved")


def parse(text, name, wanted):
    """Read one statistics file.

    text: str, the whole file. name: str, what messages call it. wanted: codes of the countries whose addresses are kept.

    Returns {name, registry: str, date: 'YYYY-MM-DD' (last day that the file covers), records: int, ranges: {cc: ([(first, last)...] of IPv4,
    the same of IPv6)}}, in the file's order. Raises CountryError, with the line, for what is no such file, is cut, or holds a record that
    cannot be.
    """
    header, summaries, seen, found = None, {}, dict.fromkeys(TYPES, 0), {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("|")
        try:
            if header and len(fields) > 6:
                seen[_record(fields, header["registry"], wanted, found)] += 1
            elif not line.strip() or line.startswith("#"):
                continue
            elif header is None:
                header = _header(fields)
            else:
                kind, count = _summary(fields, header["registry"])
                if kind in summaries:
                    raise ValueError(f"a second summary of {kind}")
                summaries[kind] = count
        except ValueError as problem:
            raise CountryError(f"{name}, line {number}: {problem}") from None
    if header is None:
        raise CountryError(f"{name}: no version line (such as 2|apnic|20170901|…); it is empty or no statistics file")
    records = sum(seen.values())
    told = [("its summary line", f"records of {kind}", summaries.get(kind, 0), seen[kind]) for kind in TYPES]
    told.append(("its version line", "records", header["records"], records))
    for line, what, said, counted in told:
        if said != counted:
            raise CountryError(f"{name}: {counted} {what}, {line} has {said}; the file is cut or was changed")
    missing = [kind for kind in ("ipv4", "ipv6") if kind not in summaries]
    if missing:
        raise CountryError(f"{name}: no summary line of {' and '.join(missing)}; the file is cut")
    return {"name": name, "registry": header["registry"], "date": header["date"], "records": records, "ranges": found}


def _header(fields):
    if len(fields) != 7 or not re.fullmatch(r"\d+(\.\d+)?", fields[0]):
        raise ValueError(f"{'|'.join(fields)[:60]!r} is not a version line; this is not a statistics file")
    version, registry, _serial, records, _start, end, _offset = fields
    if version.partition(".")[0] != "2":
        raise ValueError(f"version {version} of the format is not known, 2 and 2.x are")
    if registry not in REGISTRIES:
        raise ValueError(f"the file of {registry!r}; known are {', '.join(REGISTRIES)}")
    try:
        date = datetime.date.fromisoformat(end)
    except ValueError:
        raise ValueError(f"{end!r} is not a date, yyyymmdd") from None
    return {"registry": registry, "records": ranges.whole(records, 0, 10**9), "date": date.isoformat()}


def _summary(fields, registry):
    if len(fields) != 6 or fields[5] != "summary" or fields[0] != registry or fields[2] not in TYPES:
        raise ValueError(
            f"{'|'.join(fields)[:60]!r} is not a record of 7 fields or more, or a summary of {registry}; the file may be cut"
        )
    return fields[2], ranges.whole(fields[4], 0, 10**9)


def _record(fields, registry, wanted, found):
    """Keep the addresses of a record in *found*; return its type. Raises ValueError."""
    source, country, kind, start, value, _day, status = fields[:7]
    if source != registry:
        raise ValueError(f"a record of {source!r} in the file of {registry}")
    if kind not in TYPES:
        raise ValueError(f"{kind!r} is not one of {', '.join(TYPES)}")
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is not one of {', '.join(STATUSES)}; the file may be cut")
    if country in wanted and kind != "asn" and status in DELEGATED:
        four, six = found.setdefault(country, ([], []))
        if kind == "ipv6":
            six.append(ranges.network(start, value, 6))
        else:
            first = ranges.address(start, 4)
            last = first + ranges.whole(value, 1, 1 << 32) - 1
            if last >> 32:
                raise ValueError(f"{start} and {value} addresses pass the end of IPv4")
            four.append((first, last))
    return kind
