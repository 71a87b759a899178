# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is wrong with the declared lists and tables, before any host is asked. Each sentence begins with its variable and says what would be right."""

import datetime
import re

from . import changes, countries, dnsbl, samples, tables, traps
from .declared import DOMAIN, is_domain, near
from .lists import service_of

#: access(5): actions whose text may hold a colon.
WITH_TEXT = ("REJECT", "DEFER", "DEFER_IF_PERMIT", "WARN", "INFO", "PREPEND", "HOLD", "REDIRECT", "BCC", "FILTER")
SERVICES = ("ahead", "spf", "mild", "harsh")


def problems(declared):
    """Return what is wrong with *declared* (see lists.access_set, and dnsbl, dnsbl_base, dnsbl_fates, samples) as a list of sentences."""
    lists = {**declared["lists"], **declared["classes"]}
    return [
        *changes.changed(lists, declared["changes"])[1],
        *(
            f"access_sender[{number}] ({entry.get('pattern')}): {said}"
            for number, entry in enumerate(declared["sender"], 1)
            for said in _sender(entry)
        ),
        *(
            f"access_client[{number}] ({entry.get('pattern')}): {said}"
            for number, entry in enumerate(declared["client"], 1)
            for said in _client(entry)
        ),
        *tables.entries(declared)[1],
        *dnsbl.problems(declared),
        *_services(declared["services"] or {}),
        *traps.problems(declared),
        *_countries(declared),
        *samples.problems(declared),
    ]


def _sender(entry):
    pattern, action = str(entry.get("pattern") or ""), str(entry.get("action") or "REJECT")
    local, at, domain = pattern.rpartition("@")
    word = action.split()[0].upper()
    if pattern == "<>":
        if word not in ("DUNNO", *map(str.upper, tables.YES)):
            yield "to reject <> is to reject every bounce"
    elif pattern.startswith("."):
        yield "write it without the leading dot; a domain matches what is below it as well"
    # as people write it, a domain is beside its A-label, and judged by that
    elif (
        not pattern
        or re.search(r"\s", pattern)
        or (at and not local)
        or (domain.isascii() and domain and not DOMAIN.fullmatch(domain))
    ):
        yield "is not an address, a domain or user@"
    if ":" in action and word not in WITH_TEXT and not word[:3].isdigit():
        yield f"a table cannot name another table ({action}), Postfix would reply 451; a class can"


def _client(entry):
    pattern = str(entry.get("pattern") or "")
    if tables.is_network(pattern):
        yield from tables.network_problems(pattern)
    elif pattern.startswith("."):
        yield "write it without the leading dot; a domain matches what is below it as well"
    elif not is_domain(pattern):
        yield "is not a domain or a network"
    if not str(entry.get("reason") or "").strip():
        yield "needs a reason; in a year nobody knows why it is rejected"
    if not isinstance(entry.get("date"), datetime.date):
        try:
            datetime.date.fromisoformat(str(entry.get("date") or ""))
        except ValueError:
            yield f"needs a date like 2026-11-25, not {entry.get('date')!r}"


def _services(services):
    for name in services:
        service = service_of(services, name)
        if name not in SERVICES:
            yield f"access_services: {name!r} is unknown{near(name, SERVICES)}"
        if service and not re.search(r"(^|\s)(inet:\S+:\d+|unix:\S+|\{.*\})", service):
            yield f"access_services: {name}: {service!r} is not inet:host:port or unix:path"


def _countries(declared):
    try:
        countries.declared_networks(declared)
    except countries.CountryError as error:
        yield str(error)
