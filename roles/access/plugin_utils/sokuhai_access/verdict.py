# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Whether the registries' files that were fetched may be believed, before anything is made of them."""

import datetime
import hashlib
import pathlib
import re

from sokuhai.findings import finding

from . import countries, ranges, statistics


class NotBelieved(Exception):
    """A file that may not be used: what was expected of it, what was found, and whether it is to be fetched again."""

    def __init__(self, expected, found, damaged=False):
        super().__init__(expected, found)
        self.expected, self.found, self.damaged = expected, found, damaged


def registry_downloads(registries, folder, results):
    """Return what registry_verdict wants: {name: {path, md5, error}}.

    registries: {name: URL}. folder: where delegated-NAME and delegated-NAME.md5 were put. results: what the loop of get_url over
    (registry, suffix) registered.
    """
    found = {
        name: {"path": f"{folder}/delegated-{name}", "md5": f"{folder}/delegated-{name}.md5", "error": ""}
        for name in registries
    }
    for result in results or []:
        if result.get("failed"):
            entry, suffix = result["item"]
            said = result.get("response") or result.get("msg") or "no reason given"
            found[entry["key"]]["error"] = f"{entry['value']}{suffix}: {said}"
    return found


def registry_verdict(downloads, codes, now, former, max_age, min_share, max_change):
    """Judge downloaded statistics files. Reads them, changes nothing.

    downloads: {registry: {path, md5 (path of the .md5 file), error (what the download said when it failed)}}. codes: the countries
    declared. now: seconds since 1970. former: str, the file of countries in force, '' for none. max_age: days since the last day that a file
    covers. min_share: percent of the former records that a file must have. max_change: percent by which a declared country's addresses, IPv4
    and IPv6 each, may differ from the former.

    Returns {ok: bool, findings: what is not believed (ids "registry NAME", "countries", "country CC: IPv4"), damaged: [path] to be fetched again,
    text: the new file of countries ('' unless ok), summary: [str]}.
    """
    findings, damaged, parsed = [], [], []
    today = datetime.datetime.fromtimestamp(float(now), datetime.timezone.utc).date()
    before = countries.parse(former or "", "the file of countries in force")
    for registry, got in sorted(downloads.items()):
        try:
            parsed.append(_believed(registry, got, frozenset(codes), today, max_age))
            _compare(parsed[-1], before["registries"].get(registry), min_share)
        except NotBelieved as doubt:
            findings.append(finding(f"registry {registry}", got["path"], doubt.expected, doubt.found))
            damaged += [got["path"]] if doubt.damaged else []
    made = {"text": "", "countries": {}, "disputed": []}
    if not findings:
        try:
            made = countries.compile_file(parsed, codes)
        except countries.CountryError as error:
            findings.append(finding("countries", "access_countries", "a record of each", error))
        else:
            findings = _changes(before["ranges"], countries.parse(made["text"], "")["ranges"], codes, max_change)
    summary = [f"{entry['registry']}: {entry['records']} records up to {entry['date']}" for entry in parsed]
    summary += [
        f"{code}: {one['networks4']} networks with {one['addresses4']} addresses of IPv4, {one['networks6']} networks of IPv6"
        for code, one in sorted(made["countries"].items())
    ]
    summary += [f"left out, claimed by two countries: {', '.join(made['disputed'])}"] if made["disputed"] else []
    text = "" if findings else made["text"]
    return {"ok": not findings, "findings": findings, "damaged": damaged, "text": text, "summary": summary}


def published_md5(text):
    """Return the MD5 digest (hexadecimal) that a registry's .md5 file publishes, or None.

    Four write BSD's `MD5 (file) = digest`, arin GNU's `digest  file`, naming the day's file, so the name proves nothing.
    """
    found = re.findall(r"\b[0-9a-fA-F]{32}\b", text)
    return found[0].lower() if len(found) == 1 else None


def _believed(registry, got, wanted, today, max_age):
    """Return what statistics.parse() gives for a download that is whole and of these days. Raises NotBelieved."""
    if got["error"]:
        raise NotBelieved("downloaded", got["error"])
    try:
        data, said = pathlib.Path(got["path"]).read_bytes(), pathlib.Path(got["md5"]).read_text("ascii", "replace")
    except OSError as error:
        raise NotBelieved("a file that can be read", error) from None
    digest, published = hashlib.md5(data, usedforsecurity=False).hexdigest(), published_md5(said)
    if published is None:
        raise NotBelieved(f"one MD5 digest in {got['md5']}", "none")
    if digest != published:
        # or the registry is changing the file just now: half an hour later the two agree
        raise NotBelieved(f"MD5 {published}", f"MD5 {digest}", damaged=True)
    try:
        parsed = statistics.parse(data.decode("ascii", "replace"), got["path"], wanted)
    except countries.CountryError as error:
        raise NotBelieved("a whole statistics file", error) from None
    if parsed["registry"] != registry:
        raise NotBelieved(f"of {registry}, whose URL access_registries has", f"of {parsed['registry']}")
    if not -2 <= (today - datetime.date.fromisoformat(parsed["date"])).days <= max_age:
        raise NotBelieved(f"{max_age} days old at most on {today} (access_registry_max_age)", f"up to {parsed['date']}")
    return parsed


def _compare(parsed, before, min_share):
    """Raise NotBelieved where a registry's file is older than the one in force, or has lost too much. before: {date, records} of that, or None."""
    if before and parsed["date"] < before["date"]:
        raise NotBelieved(f"up to {before['date']}, as the one in force", f"up to {parsed['date']}")
    if before and parsed["records"] * 100 < before["records"] * min_share:
        raise NotBelieved(
            f"{min_share} % (access_registry_min_share) of the former {before['records']} records",
            f"{parsed['records']}",
        )


def _changes(before, after, codes, max_change):
    """Return a finding for each country, IPv4 and IPv6, whose addresses have changed too much. before, after: as countries.parse() gives ranges."""
    findings = []
    for code in codes:
        for place, family in enumerate((4, 6)):
            old, new = (ranges.size(ranges.merge(one.get(code, ((), ()))[place])) for one in (before, after))
            if old and abs(new - old) * 100 > old * max_change:
                expected = f"{max_change} % of change at most (access_registry_max_change)"
                change = f"{(new - old) * 100 / old:+.0f} %"
                findings.append(
                    finding(f"country {code}: IPv{family}", f"addresses of {code}, IPv{family}", expected, change)
                )
    return findings
