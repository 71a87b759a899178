# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which addresses belong to a country? Tables for Postfix from the regional registries' statistics files.

The five registries publish every day what they have allocated and assigned: afrinic, apnic, arin, lacnic and ripencc, in the
"RIR statistics exchange format" (its description lies beside each file as RIR-Statistics-Exchange-Format.txt and in APNIC's
README). Both kinds are read: delegated (7 fields) and delegated-extended (an opaque-id more, and records of space that is
available or reserved, which belongs to no country). A file says at its head how many records of each type it holds; one that
holds another number is cut, and is refused.

    version|registry|serial|records|startdate|enddate|UTCoffset
    registry|*|type|*|count|summary
    registry|cc|type|start|value|date|status[|opaque-id...]

`value` of ipv4 is a number of addresses: no power of two (62.122.208.0 + 1280) and no aligned start is promised. `value`
of ipv6 is a prefix length. The files say where space was first delegated, not where it is used.

All is integer arithmetic; objects of module ipaddress would take a minute for the 770,000 records of all five.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import re
import socket
import struct
import zlib

from ansible.errors import AnsibleFilterError

REGISTRIES = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
ACTIONS = ("ease", "tarpit", "refuse")
TYPES = ("asn", "ipv4", "ipv6")
DELEGATED = frozenset(("allocated", "assigned"))
STATUSES = DELEGATED | {"available", "reserved"}
BITS = {4: 32, 6: 128}

# ISO 3166-1 alpha-2, and the two codes with which registries mark what belongs to no one country of their region.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG
    CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL
    GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA
    LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP
    NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
""".split()
)
REGIONS = frozenset(("AP", "EU"))
OFTEN_MEANT = {
    "UK": "GB",
    "EN": "GB",
    "JA": "JP",
    "KO": "KR",
    "SU": "RU",
    "AN": "CW, SX or BQ",
    "YU": "RS or ME",
    "ZZ": "nothing: it marks space without a country",
}


class CountryError(AnsibleFilterError):
    """A statistics file that cannot be used, or a declaration that names no country. Its text is for the operator."""


class DamagedError(CountryError):
    """A download that is not what the registry published."""


def _whole(text, least, most):
    """Return *text* as an int in [least, most], or None. Digits only: int() would also take ' 1_0'."""
    if text.isascii() and text.isdigit():
        number = int(text)
        if least <= number <= most:
            return number
    return None


def _date(text):
    """Return the datetime.date of yyyymmdd, or None."""
    try:
        return datetime.datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 else None
    except ValueError:
        return None


def _ipv4(text):
    try:
        return struct.unpack("!I", socket.inet_pton(socket.AF_INET, text))[0]
    except (OSError, ValueError):
        return None


def _ipv6(text):
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, ValueError):
        return None


def parse_registry(text, name="registry file", wanted=None):
    """Read one statistics file.

    text: str, the whole file. name: str, what messages call it. wanted: countries whose addresses are kept (any
    container of codes), None for all.

    Returns {name, registry: str, version: str, serial: str, date: 'YYYY-MM-DD' (last day that the file covers), records: int,
    counts: {type: int}, ranges: {cc: ([(first, last)...] of IPv4, the same of IPv6)}} with addresses as ints, both ends
    inclusive, in the file's order. Raises CountryError, with the line, for what is no such file, is cut, or
    holds a record that cannot be.
    """

    def refuse(number, why):
        raise CountryError(f"{name}, line {number}: {why}")

    header = None
    summaries, seen, ranges = {}, dict.fromkeys(TYPES, 0), {}
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        fields = line.split("|")
        if len(fields) < 7 or fields[1] == "*" or header is None:
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            fields = [field.strip() for field in fields]
            if header is None:
                header = _header(fields, number, refuse)
                registry = header["registry"]
                continue
            if len(fields) == 6 and fields[5] == "summary":
                kind, count = fields[2], _whole(fields[4], 0, 10**9)
                if fields[0] != registry or kind not in seen or kind in summaries or count is None:
                    refuse(number, f"summary line {stripped!r} is none of {registry}'s three, or there twice")
                summaries[kind] = count
                continue
            if len(fields) < 7:
                refuse(
                    number,
                    f"{len(fields)} fields where a record has 7 or more: {stripped[:60]!r}; the file is cut or no statistics file",
                )
        source, country, kind, start, value, _day, status = fields[:7]
        if source != registry or kind not in seen or status not in STATUSES:
            # the format allows blanks around a field; no registry uses them, so the fast way does without
            source, country, kind, start, value, _day, status = (field.strip() for field in fields[:7])
            status = status.lower()
            if source != registry:
                refuse(number, f"a record of {source!r} in the file of {registry}")
            if kind not in seen:
                refuse(number, f"{kind!r} is none of {', '.join(TYPES)}")
            if status not in STATUSES:
                refuse(number, f"status {status!r} is none of {', '.join(sorted(STATUSES))}; the file may be cut")
        seen[kind] += 1
        if kind == "asn" or status not in DELEGATED or (wanted is not None and country not in wanted):
            continue
        if country not in ranges:
            if country and not (len(country) == 2 and country.isascii() and country.isalpha() and country.isupper()):
                refuse(number, f"{country!r} is no country code")
            ranges[country] = ([], [])
        if kind == "ipv4":
            first, count = _ipv4(start), _whole(value, 1, 2**32)
            if first is None or count is None or first + count > 2**32:
                refuse(number, f"{start} and {value} are no range of IPv4 addresses")
            ranges[country][0].append((first, first + count - 1))
        else:
            first, prefix = _ipv6(start), _whole(value, 1, 128)
            if first is None or prefix is None:
                refuse(number, f"{start}/{value} is no network of IPv6")
            size = 1 << (128 - prefix)
            if first & (size - 1):
                refuse(number, f"{start}/{value} has bits set behind its prefix")
            ranges[country][1].append((first, first + size - 1))
    if header is None:
        raise CountryError(f"{name}: no version line (such as 2|apnic|20170901|…); it is empty or no statistics file")
    _complete(name, header, summaries, seen)
    return {
        "name": name,
        "registry": registry,
        "version": header["version"],
        "serial": header["serial"],
        "date": header["date"].isoformat(),
        "records": sum(seen.values()),
        "counts": seen,
        "ranges": ranges,
    }


def _header(fields, number, refuse):
    """Return what the version line says; refuse what is none."""
    line = "|".join(fields)[:60]
    if len(fields) != 7 or not re.fullmatch(r"\d+(\.\d+)?", fields[0]):
        refuse(number, f"no version line: {line!r}; this is no statistics file")
    version, registry, serial, records, _start, end, _offset = fields
    if version.partition(".")[0] != "2":
        refuse(number, f"version {version} of the format is not known, 2 and 2.x are")
    if registry not in REGISTRIES:
        refuse(number, f"the file of {registry!r}; known are {', '.join(REGISTRIES)}")
    count, date = _whole(records, 0, 10**9), _date(end)
    if count is None or date is None:
        refuse(number, f"no number of records or no last day in the version line {line!r}")
    return {"version": version, "registry": registry, "serial": serial, "records": count, "date": date}


def _complete(name, header, summaries, seen):
    """Refuse a file whose records are not as many as its head says."""
    for kind in ("ipv4", "ipv6"):
        if kind not in summaries:
            raise CountryError(f"{name}: no summary line of {kind}; the file is cut")
    for kind in TYPES:
        if seen[kind] != summaries.get(kind, 0):
            raise CountryError(
                f"{name}: {seen[kind]} records of {kind}, but its summary line says {summaries.get(kind, 0)}; the file is cut or was changed"
            )
    if sum(seen.values()) != header["records"]:
        raise CountryError(
            f"{name}: {sum(seen.values())} records, but its version line says {header['records']}; the file is cut or was changed"
        )


def merge_ranges(ranges):
    """Return *ranges* ((first, last) ints, any order, overlapping or not) as the fewest, ascending and apart."""
    merged = []
    last_end = None
    for first, last in sorted(ranges):
        if last_end is not None and first <= last_end + 1:
            if last > last_end:
                last_end = merged[-1][1] = last
        else:
            merged.append([first, last])
            last_end = last
    return [(first, last) for first, last in merged]


def cover(ranges, bits):
    """Return the fewest networks that hold exactly the addresses of *ranges*.

    ranges: as merge_ranges gives them. bits: int, 32 or 128 (or less, of a smaller space).
    Returns [(first address, prefix length)], ascending. Each is the largest aligned block that begins where the
    one before ended and does not pass the range's end; no other choice needs fewer.
    """
    networks = []
    for first, last in ranges:
        while first <= last:
            size = 1 << ((last - first + 1).bit_length() - 1)
            if first:
                size = min(size, first & -first)
            networks.append((first, bits + 1 - size.bit_length()))
            first += size
    return networks


def _without(ranges, holes):
    """Return *ranges* less *holes*; both as merge_ranges gives them."""
    left, place = [], 0
    for first, last in ranges:
        while place < len(holes) and holes[place][1] < first:
            place += 1
        look = place
        while look < len(holes) and holes[look][0] <= last:
            if holes[look][0] > first:
                left.append((first, holes[look][0] - 1))
            first = max(first, holes[look][1] + 1)
            look += 1
        if first <= last:
            left.append((first, last))
    return left


def _addresses(ranges):
    return sum(last - first + 1 for first, last in ranges)


def network_text(first, prefix, family):
    """Return a network as Postfix's cidr table writes it. family: 4 or 6."""
    if family == 4:
        return f"{socket.inet_ntoa(struct.pack('!I', first))}/{prefix}"
    return f"{socket.inet_ntop(socket.AF_INET6, first.to_bytes(16, 'big'))}/{prefix}"


def country_actions(declared, variable="access_countries"):
    """Check what was declared about countries.

    declared: {code: action}, {code: {action: …, reason: …}} or {action: [code]}. Codes: ISO 3166-1 alpha-2 in capitals, XA to
    XZ, which ISO leaves to users, or the registries' AP and EU. Actions: ease, tarpit, refuse.
    Returns {code: action}. Raises CountryError that begins with *variable*.
    """
    if not isinstance(declared, dict):
        raise CountryError(f"{variable} is {declared!r}; actions by country are needed, such as {{JP: ease}}")
    pairs = []
    for key, value in declared.items():
        if key in ACTIONS:
            if not isinstance(value, (list, tuple)):
                raise CountryError(f"{variable}.{key} is {value!r}; a list of country codes is needed, such as [JP]")
            pairs += [(code, key) for code in value]
        else:
            pairs.append((key, value.get("action") if isinstance(value, dict) else value))
    found = {}
    for code, action in pairs:
        _check_code(code, variable)
        if action not in ACTIONS:
            raise CountryError(f"{variable}.{code}: {action!r} is no action; there are {', '.join(ACTIONS)}")
        if found.setdefault(code, action) != action:
            raise CountryError(f"{variable}: {code} is in {found[code]} and in {action}; one of them has to go")
    return found


def _check_code(code, variable):
    if code is False:
        raise CountryError(f'{variable}: YAML reads NO as "false"; write "NO" in quotes for Norway')
    if code in COUNTRIES or code in REGIONS or re.fullmatch("X[A-Z]", str(code)):
        return
    known = str(code).upper()
    hint = known if known != code and known in COUNTRIES else OFTEN_MEANT.get(known)
    raise CountryError(f"{variable}: {code!r} is no ISO 3166 code of a country{f'; {hint} is meant?' if hint else ''}")


def registry_countries(files, codes, variable="access_countries"):
    """Make the file of countries from statistics files.

    files: list of paths on the controller, plain or .gz, one of each registry. codes: the countries wanted.

    An address that two of them claim (a transfer that two registries have not booked on the same day) is left out.

    Returns {text: str, what is kept as the file of countries; countries: {code: {networks4, addresses4, networks6, addresses6}};
    registries: {name: {date, records}}; networks4, networks6: int; disputed: [network]}. The text has a line `NETWORK CC` for each network,
    the fewest that hold a country's addresses, behind `# registry NAME DATE RECORDS`. Raises CountryError naming file and line, or
    the country of which no file has a record.
    """
    wanted = frozenset(codes)
    return _countries([parse_registry(_text(path), str(path), wanted) for path in files], codes, variable)


def _countries(parsed, codes, variable):
    """As registry_countries, from what parse_registry gave for each file."""
    ranges, registries = {}, {}
    for entry in parsed:
        if entry["registry"] in registries:
            raise CountryError(
                f"{entry['name']}: is of {entry['registry']}, as {registries[entry['registry']]['name']} is; one file of each registry is wanted"
            )
        registries[entry["registry"]] = entry
        for code, (four, six) in entry["ranges"].items():
            mine = ranges.setdefault(code, ([], []))
            mine[0].extend(four)
            mine[1].extend(six)
    for code in codes:
        if not any(ranges.get(code, ())):
            raise CountryError(
                f"{variable}: no record of {code} in the files of {', '.join(sorted(registries)) or 'no registry'}; "
                "is a registry missing, or another code meant?"
            )
    disputed, countries, rows = [], {code: {} for code in codes}, []
    for place, family in enumerate((4, 6)):
        merged = {code: merge_ranges(ranges[code][place]) for code in codes}
        claimed = _claimed_twice(merged)
        disputed += [network_text(first, prefix, family) for first, prefix in cover(claimed, BITS[family])]
        networks = []
        for code in codes:
            mine = _without(merged[code], claimed)
            own = cover(mine, BITS[family])
            countries[code] |= {f"networks{family}": len(own), f"addresses{family}": _addresses(mine)}
            networks += [(first, prefix, code) for first, prefix in own]
        rows += [f"{network_text(first, prefix, family)} {code}" for first, prefix, code in sorted(networks)]
    head = [
        "# Written by playbooks/refresh.yml from the registries' statistics; where space was first delegated, not where it is used."
    ]
    head += [f"# registry {name} {entry['date']} {entry['records']}" for name, entry in sorted(registries.items())]
    return {
        "text": "\n".join(head + rows) + "\n",
        "countries": countries,
        "registries": {name: {key: entry[key] for key in ("date", "records")} for name, entry in registries.items()},
        "networks4": sum(c["networks4"] for c in countries.values()),
        "networks6": sum(c["networks6"] for c in countries.values()),
        "disputed": disputed,
    }


def _claimed_twice(merged):
    """Return the ranges that are in more than one of *merged* ({code: ranges as merge_ranges gives them})."""
    twice, last_end = [], -1
    for first, last in sorted(pair for ranges in merged.values() for pair in ranges):
        if first <= last_end:
            twice.append((first, min(last, last_end)))
        last_end = max(last_end, last)
    return merge_ranges(twice)


def _bytes(path):
    """Return what a file on the controller holds, unpacked when its name ends in .gz."""
    try:
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as handle:
            return handle.read()
    except (OSError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CountryError(f"{path}: cannot be read: {error}") from None


def _text(path):
    return _bytes(path).decode("ascii", "replace")


def parse_countries(text, name="file of countries"):
    """Read a file of countries.

    text: str, lines `NETWORK CC`, `#` begins a comment, `# registry NAME DATE RECORDS` is kept. name: str, for messages.
    Returns {ranges: {cc: (IPv4 ranges, IPv6 ranges)}, registries: {name: {date, records}}}. Raises CountryError naming the line.
    """
    ranges, registries = {}, {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            if words[:2] == ["#", "registry"] and len(words) == 5 and words[4].isdigit():
                registries[words[2]] = {"date": words[3], "records": int(words[4])}
            continue
        address, slash, length = words[0].partition("/")
        six = ":" in address
        bits = BITS[6 if six else 4]
        first = (_ipv6 if six else _ipv4)(address)
        prefix = _whole(length, 0, bits) if slash else bits
        if len(words) != 2 or first is None or prefix is None:
            raise CountryError(
                f"{name}, line {number}: {line.strip()[:60]!r} is no network and country, such as 1.0.16.0/20 JP"
            )
        if first & ((1 << (bits - prefix)) - 1):
            raise CountryError(
                f"{name}, line {number}: {words[0]} has bits set behind its prefix; Postfix would skip it"
            )
        _check_code(words[1], f"{name}, line {number}")
        ranges.setdefault(words[1], ([], []))[six].append((first, first + (1 << (bits - prefix)) - 1))
    return {"ranges": ranges, "registries": registries}


def country_table(text, results, name="access_country_file", variable="access_countries"):
    """Make a table for Postfix's cidr: from a file of countries.

    text: str, the file of countries. results: {code: what the table answers}, an access(5) action or a restriction class.
    name, variable: str, what messages call the file and the declaration.

    Returns {text: str (no date in it: an unchanged table stays the same), networks4, networks6, addresses4, addresses6: int}.
    Networks of countries with the same result are merged; no address is in two, so the order of lines means nothing.
    Raises CountryError when the file has no network of a country, or gives an address to two countries with different results.
    """
    ranges = parse_countries(text, name)["ranges"]
    for code, answer in results.items():
        if not isinstance(answer, str) or not answer.strip() or "\n" in answer:
            raise CountryError(f"{variable}: the result of {code} is {answer!r}; a table cannot answer that")
        if code not in ranges:
            raise CountryError(
                f"{variable}: {name} holds no network of {code}; run playbooks/refresh.yml, which fetches them"
            )
    answers = {}
    for code in sorted(results):
        answers.setdefault(results[code].strip(), []).append(code)
    lines = [f"# {answer}: {' '.join(codes)}" for answer, codes in answers.items()]
    totals = {}
    for place, family in enumerate((4, 6)):
        merged = {
            answer: merge_ranges(pair for code in codes for pair in ranges[code][place])
            for answer, codes in answers.items()
        }
        twice = _claimed_twice(merged)
        if twice:
            network = network_text(*cover(twice, BITS[family])[0], family)
            raise CountryError(f"{name}: {network} is in countries with different results; only one can be meant")
        networks = sorted(
            (first, prefix, answer) for answer, own in merged.items() for first, prefix in cover(own, BITS[family])
        )
        lines += [f"{network_text(first, prefix, family)}\t{answer}" for first, prefix, answer in networks]
        totals |= {
            f"networks{family}": len(networks),
            f"addresses{family}": sum(_addresses(own) for own in merged.values()),
        }
    return {"text": "\n".join(lines) + "\n" if lines else "", **totals}


def published_md5(text):
    """Return the MD5 digest (hexadecimal) that a registry's .md5 file publishes, or None.

    Four write BSD's `MD5 (file) = digest`, arin GNU's `digest  file`, naming the day's file, so the name proves nothing.
    """
    found = re.findall(r"\b[0-9a-fA-F]{32}\b", text)
    return found[0].lower() if len(found) == 1 else None


def registry_downloads(registries, folder, results):
    """Say where each registry's download lies, and which failed.

    registries: {name: URL}. folder: str, where delegated-NAME and delegated-NAME.md5 were put. results: what the loop of
    get_url over (registry, suffix) registered. Returns what registry_verdict wants.
    """
    found = {
        name: {"path": f"{folder}/delegated-{name}", "md5": f"{folder}/delegated-{name}.md5", "error": ""}
        for name in registries
    }
    for result in results or []:
        if result.get("failed"):
            entry, suffix = result["item"]
            found[entry["key"]]["error"] = (
                f"{entry['value']}{suffix}: {result.get('response') or result.get('msg') or 'no reason given'}"
            )
    return found


def registry_verdict(
    downloads, codes, now, former=None, max_age=14, min_share=50, max_change=25, variable="access_countries"
):
    """Judge downloaded statistics files before anything is made of them.

    downloads: {registry: {path: str, md5: str (path of the .md5 file), error: str (what the download said when it failed)}}.
    codes: the countries declared. now: int or float, seconds since 1970. former: str, the file of countries in force; None or '': none.
    max_age: days since the last day that a file covers. min_share: percent of the former records a file must have.
    max_change: percent by which a declared country's addresses, IPv4 and IPv6 each, may differ from the former.

    Returns {ok: bool, reasons: [str] why not, damaged: [path] whose digest differs (to be fetched anew), text: str, the new file of
    countries ('' when refused), changed: bool, summary: [str], countries, registries: as registry_countries gives them}. Reads the files, changes nothing.
    """
    reasons, damaged, parsed, wanted = [], [], [], frozenset(codes)
    today = datetime.datetime.fromtimestamp(float(now), datetime.timezone.utc).date()
    before = parse_countries(former, "the file of countries in force") if former else {"ranges": {}, "registries": {}}
    for registry, got in sorted(downloads.items()):
        try:
            parsed.append(_judged(registry, got, wanted, today, before["registries"].get(registry), max_age, min_share))
        except CountryError as error:
            reasons.append(str(error))
            damaged += [got["path"]] if isinstance(error, DamagedError) else []
    made = None
    if not reasons:
        try:
            made = _countries(parsed, codes, variable)
            reasons += _changes(made["text"], before["ranges"], codes, max_change, variable)
        except CountryError as error:
            reasons.append(str(error))
    made = made or {"text": "", "countries": {}, "registries": {}, "disputed": []}
    summary = [
        f"{name}: {entry['records']} records up to {entry['date']}"
        for name, entry in sorted(made["registries"].items())
    ]
    summary += [
        f"{code}: {entry['networks4']} networks with {entry['addresses4']} addresses of IPv4, {entry['networks6']} networks of IPv6"
        for code, entry in sorted(made["countries"].items())
    ]
    summary += [f"left out, claimed by two countries: {', '.join(made['disputed'])}"] if made["disputed"] else []
    return {
        "ok": not reasons,
        "reasons": reasons,
        "damaged": damaged,
        "text": "" if reasons else made["text"],
        "changed": not reasons and made["text"] != (former or ""),
        "summary": summary,
        "countries": made["countries"],
        "registries": made["registries"],
    }


def _judged(registry, got, wanted, today, before, max_age, min_share):
    """Return what parse_registry gives for a download that may be used; raise CountryError for one that may not."""
    path = got["path"]
    if got.get("error"):
        raise CountryError(f"{registry}: not downloaded: {got['error']}")
    data = _bytes(path)
    published = published_md5(_text(got["md5"]))
    if published is None:
        raise CountryError(f"{got['md5']}: holds no MD5 digest")
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if digest != published:
        raise DamagedError(
            f"{path}: MD5 is {digest}, the registry publishes {published}: the download is damaged, "
            "or the registry is changing the file just now; try again in half an hour"
        )
    parsed = parse_registry(data.decode("ascii", "replace"), path, wanted)
    if parsed["registry"] != registry:
        raise CountryError(
            f"{path}: is the file of {parsed['registry']}; access_registries gives its URL to {registry}"
        )
    age = (today - datetime.date.fromisoformat(parsed["date"])).days
    if age > max_age:
        raise CountryError(
            f"{path}: covers up to {parsed['date']}, {age} days ago; more than {max_age} (access_registry_max_age) are not trusted"
        )
    if age < -2:
        raise CountryError(
            f"{path}: covers up to {parsed['date']}, which is still to come; is this machine's clock right?"
        )
    if before:
        if parsed["date"] < before["date"]:
            raise CountryError(
                f"{path}: covers up to {parsed['date']}, the table in force comes from one up to {before['date']}"
            )
        if parsed["records"] * 100 < before["records"] * min_share:
            raise CountryError(
                f"{path}: {parsed['records']} records, {before['records']} in the former file; "
                f"less than {min_share} % (access_registry_min_share) is not trusted"
            )
    return parsed


def _changes(text, before, codes, max_change, variable):
    """Return why the new addresses of the countries cannot be believed, as sentences."""
    after, reasons = parse_countries(text)["ranges"], []
    for code in codes:
        for place, family in enumerate((4, 6)):
            old = _addresses(merge_ranges(before.get(code, ((), ()))[place]))
            new = _addresses(merge_ranges(after.get(code, ((), ()))[place]))
            if old and abs(new - old) * 100 > old * max_change:
                reasons.append(
                    f"{variable}: {code} would change by {(new - old) * 100 / old:+.0f} % of its IPv{family} addresses; "
                    f"more than {max_change} % (access_registry_max_change) is not believed"
                )
    return reasons


class FilterModule:
    def filters(self):
        return {
            "country_actions": country_actions,
            "country_table": country_table,
            "registry_countries": registry_countries,
            "registry_downloads": registry_downloads,
            "registry_verdict": registry_verdict,
        }
