# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_dnsbl: DNSBLs merged with the profile's, and what is wrong with them before any is queried."""

import access_codes

from .declared import is_domain, merged


def lists(base, extra, fates):
    """Return [{name, filter, weight, reason, kind}]: *extra* merged into *base* by name, less the lists that are no more (*fates*, {name: what became of it}).

    kind: allow where the weight is below 0, else block, as module access_dnsbl_health wants it.
    """
    found = []
    for entry in merged(base, extra, "access_dnsbl")[0]:
        if entry["name"] not in (fates or {}):
            weight = int(entry.get("weight", 1))
            kind = "allow" if weight < 0 else "block"
            given = {key: entry.get(key, "") for key in ("name", "filter", "reason")}
            found.append({**given, "weight": weight, "kind": kind})
    return found


def problems(declared):
    """Return what is wrong with the declared lists: sentences that begin with access_dnsbl."""
    entries, found = merged(declared["dnsbl_base"], declared["dnsbl"], "access_dnsbl")
    for entry in entries:
        name = str(entry["name"])
        fate = declared["dnsbl_fates"].get(name.lower().rstrip("."))
        said = (
            [f"must not be queried: {fate}"] if fate else [*_filter(name, entry), *_weight(entry, declared["profile"])]
        )
        found += [f"access_dnsbl: {name}: {one}" for one in said]
    return found


def _filter(name, entry):
    pattern = str(entry.get("filter") or "")
    if not is_domain(name):
        yield "is not a zone like zen.spamhaus.org"
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


def _weight(entry, profile):
    try:
        weight = int(entry.get("weight", 1))
    except (TypeError, ValueError):
        yield f"weight {entry.get('weight')!r} is not a whole number"
        return
    if weight == 0:
        yield "weight 0 does nothing; state: absent removes a list"
    if weight < 0 and profile == "article":
        yield "a weight below 0 (an allow list) is for postscreen(8), profile current"
