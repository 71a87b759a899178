# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_traps: addresses for which every restriction is evaluated and none decides: RESTRICTION_CLASS_README; generic_checks() of smtpd_check.c for warn_if_reject."""

import re

from .declared import DOMAIN, is_domain
from .tables import SAFE_YES

#: The lists that a recipient can be known in.
LISTS = ("client", "helo", "sender", "recipient")
#: Tables that lead into a class that waits; for a trap these stand instead.
INSTEAD = {"check_dynamic_client": "trap_dynamic", "country_tarpit": "trap_country"}
#: RFC 2142, and who runs the host.
READ = ("root", "postmaster", "abuse", "hostmaster", "mailer-daemon", "nobody")


def class_of(items, values, last):
    """Return a list's *items* as a class that only logs: every restriction is evaluated, none rejects, nothing sleeps, nothing is trained.

    values: function that gives an item's restrictions. last: how the class ends, permit or what is as safe.
    """
    rules = []
    for item in items:
        if item.get("sleep") or item.get("service") in ("ahead", "mild", "harsh"):
            continue
        if item.get("table") in INSTEAD:
            item = {**item, "table": INSTEAD[item["table"]]}
        rules += [
            value if value.startswith(("permit_", "warn_if_reject ")) else f"warn_if_reject {value}"
            for value in values(item)
            if value not in ("permit", SAFE_YES)
        ]
    return [*rules, last]


def delivered(destinations, hostname, domain):
    """Return the domains of mydestination in small letters, or None where one of its elements (a table, a file, another parameter, an
    exception) tells nothing without the host. An element that begins with a dot stands for all below it: match_list(3)."""
    found = []
    for element in destinations:
        for name, value in (("myhostname", hostname), ("mydomain", domain)):
            element = re.sub(rf"\$(?:{name}\b|\({name}\)|\{{{name}\}})", str(value), str(element))
        if not DOMAIN.fullmatch(element.removeprefix(".")):
            return None
        found.append(element.lower())
    return found


def problems(declared):
    """Return what is wrong with the declared traps: sentences that begin with access_traps."""
    found, seen = [], set()
    here = delivered(declared["destinations"], declared["hostname"], declared["domain"])
    for trap in map(str, declared["traps"]):
        local, _, domain = trap.lower().rpartition("@")
        if not re.fullmatch(r"[a-z0-9._+=-]+", local) or not is_domain(domain):
            found.append(f"access_traps: {trap!r} is not an address like catch@example.org")
            continue
        if here is not None and not any(
            domain == one or (one.startswith(".") and domain.endswith(one)) for one in here
        ):
            found.append(
                f"access_traps: {trap} would never count anything: {domain} is not delivered on this host ({', '.join(here)}; access_destinations), "
                "and a trap is an alias"
            )
        if local in READ:
            found.append(f"access_traps: {trap} must be read (RFC 2142) and cannot be a trap")
        if local in seen:
            found.append(
                f"access_traps: {trap}: another trap has the same local part, and an alias holds for every local domain"
            )
        seen.add(local)
    return found
