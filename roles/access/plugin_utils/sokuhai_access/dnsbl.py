# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_dnsbl: DNSBLs merged with the profile's, and what is wrong with them before any is queried."""

import collections

import access_codes

from .declared import is_domain, merged


def _merged(base, extra):
    """Return merged() of DNSBLs; a zone is the same one in capital letters, and with the dot at its end."""
    extra = [{**entry, "name": str(entry.get("name") or "").lower().rstrip(".")} for entry in extra or []]
    return merged(base, extra, "access_dnsbl")


def _filters(entry):
    """Return [{filter, weight}] of an entry of access_dnsbl, which has one of its own or a list."""
    return entry.get("filters") or [{"filter": entry.get("filter", ""), "weight": entry.get("weight", 1)}]


def lists(base, extra, fates):
    """Return [{name, filters: [{filter, weight}], reason, kind}]: *extra* merged into *base* by name, less the lists that are no more (*fates*, {name:
    what became of it}).

    kind: allow where every weight is below 0, else block, as module access_dnsbl_health wants it.
    """
    found = []
    for entry in _merged(base, extra)[0]:
        if entry["name"] not in (fates or {}):
            filters = [{"filter": one["filter"], "weight": int(one.get("weight", 1))} for one in _filters(entry)]
            kind = "allow" if all(one["weight"] < 0 for one in filters) else "block"
            found.append({"name": entry["name"], "filters": filters, "reason": entry.get("reason", ""), "kind": kind})
    return found


def problems(declared):
    """Return what is wrong with the declared lists: sentences that begin with access_dnsbl."""
    entries, found = _merged(declared["dnsbl_base"], declared["dnsbl"])
    for entry in entries:
        name = str(entry["name"])
        fate = declared["dnsbl_fates"].get(name)
        said = [f"must not be queried: {fate}"] if fate else [*_entry(name, entry, declared["profile"])]
        found += [f"access_dnsbl: {name}: {one}" for one in said]
    found += [
        f"access_dnsbl: {entry.get('name')}: filters have their own weights; filter and weight beside them would be lost"
        for entry in declared["dnsbl"]
        if entry.get("filters") and (entry.get("filter") or entry.get("weight") not in (None, 1))
    ]
    return found


def _entry(name, entry, profile):
    if not is_domain(name):
        yield "is not a zone like zen.spamhaus.org"
    filters = _filters(entry)
    for one in filters:
        yield from _filter(str(one.get("filter") or ""))
        yield from _weight(one.get("weight", 1), profile)
    count = collections.Counter(str(one.get("filter")) for one in filters)
    yield from (f"filter {pattern} is listed twice" for pattern, times in count.items() if times > 1)


def _filter(pattern):
    if not pattern:
        yield "has no filter; without one any answer counts, the list's own error codes included"
        return
    try:
        ranges = access_codes.ranges_of(pattern)
    except ValueError as problem:
        yield f"filter {problem}"
        return
    taken = [code for code in access_codes.REFUSALS if access_codes.takes(ranges, code)]
    if taken:
        yield f"filter {pattern} matches {taken[0]}, with which a list refuses a resolver"
    if not any(least <= 127 <= most for least, most in ranges[0]):
        yield f"filter {pattern} is not below 127, where lists answer (RFC 5782)"


def _weight(given, profile):
    try:
        weight = int(given)
    except (TypeError, ValueError):
        yield f"weight {given!r} is not a whole number"
        return
    if weight == 0:
        yield "weight 0 does nothing; state: absent removes a list"
    if weight < 0 and profile == "article":
        yield "a weight below 0 (an allow list) is for postscreen(8), profile current"
