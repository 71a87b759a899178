# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role dkim's declared values come to: networks, Postfix's part, and what cannot be right in them."""

import ipaddress
import re

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
#: postconf(1) knows a parameter that another one names; no line of main.cf needs it otherwise.
INBOUND = "sokuhai_inbound_milters"
SETS = ("smtpd_milters", "non_smtpd_milters", "smtpd_milter_maps", "milter_default_action")


def networks(entries):
    """Return (list of networks, list of messages about entries of which it cannot be made) of *entries*, as in Postfix's mynetworks.

    The first entry that matches decides there, and one with ! excludes.
    """
    kept, excluded, wrong = [], [], []
    for entry in map(str, entries):
        text = entry.strip()
        negated, text = text.startswith("!"), text.lstrip("! ")
        try:
            network = ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            wrong.append(
                f"dkim_networks: {entry!r} is not an address or a network, and only Postfix can read a file or a table; list what is in it in dkim_networks"
            )
            continue
        if negated:
            excluded.append(network)
        else:
            kept += _without(network, excluded)
    return list(map(str, kept)), wrong


def _without(network, excluded):
    """Return *network* without the networks *excluded*, as a list."""
    parts = [network]
    for other in excluded:
        parts = [
            left
            for part in parts
            for left in (
                [part]
                if part.version != other.version or not part.overlaps(other)
                else []
                if part.subnet_of(other)
                else part.address_exclude(other)
            )
        ]
    return parts


def wanted(domains, verify):
    """Return whether there is anything for a signer to do."""
    return bool(domains or verify)


def milter(socket, down):
    """Return Postfix's name of the milter, with what becomes of mail while it does not answer. down: defer or accept."""
    return f"{{ unix:{socket}, default_action={'tempfail' if down == 'defer' else 'accept'} }}"


def postfix(declared, socket):
    """Return role postfix's part, {main_cf, master_cf, tables}. declared: {variable: value} of the role.

    Whatever listens asks the signer, and lets mail wait while it is down; port 25, where strangers come, asks it about them only where they are checked.
    """
    outgoing = milter(socket, declared["dkim_down"])
    own = [{"pattern": network, "action": outgoing} for network in networks(declared["dkim_networks"])[0]]
    group = {"group": "DKIM", "weight": 370}
    return {
        "main_cf": [
            {"name": "smtpd_milters", "value": outgoing, "comment": "signs what users send", **group},
            {"name": "non_smtpd_milters", "value": outgoing, **group},
            {
                "name": "internal_mail_filter_classes",
                "value": "bounce",
                "comment": "signed as well: what could not be delivered is reported under our name",
                **group,
            },
            {
                "name": INBOUND,
                "value": milter(socket, declared["dkim_inbound_down"]) if declared["dkim_verify"] else "",
                "comment": "port 25, for those who are not in dkim_clients",
                **group,
            },
        ],
        "master_cf": [
            {
                "name": "smtp",
                "type": "inet",
                "options": {
                    "smtpd_milters": f"${INBOUND}",
                    "smtpd_milter_maps": "cidr:$config_directory/tables/dkim_clients",
                },
            }
        ],
        "tables": [{"name": "dkim_clients", "type": "cidr", "entries": own}],
    }


# ---- what is wrong ----


def problems(declared, postfix_items=(), postfix_services=(), socket=""):
    """Return what is wrong with the *declared* values, {variable: value of its type}, one message each."""
    found = [*_domains(declared), *_inbound(declared)]
    if wanted(declared["dkim_domains"], declared["dkim_verify"]):
        found += networks(declared["dkim_networks"])[1]
    return found


def domain_problem(name):
    """Return what is wrong with the domain *name*, or None."""
    try:
        ascii_name = name.encode("idna").decode().lower()
    except UnicodeError:
        return "is not a domain"
    if ascii_name != name:
        return f"is written as mail has it: {ascii_name}"
    if len(name) > 200 or "." not in name or not all(LABEL.fullmatch(label) for label in name.split(".")):
        return "is not a domain, such as example.org"
    return None


def selector_problem(selector):
    """Return what is wrong with *selector*, or None: labels with dots between them (RFC 6376, 3.1)."""
    if all(LABEL.fullmatch(label) and len(label) <= 63 for label in selector.split(".")):
        return None
    return "is no label of the DNS: small letters, digits and - alone, at most 63, such as mx"


def _domains(declared):
    names = [one["name"] for one in declared["dkim_domains"]]
    prefix = selector_problem(declared["dkim_selector"]) if names else None
    if prefix or len(declared["dkim_selector"]) > 50:
        yield f"dkim_selector: {declared['dkim_selector']!r} {prefix or 'is longer than 50 characters; mx would do'}"
    for number, one in enumerate(declared["dkim_domains"]):
        where = f"dkim_domains[{number}]"
        wrong = domain_problem(one["name"])
        if wrong:
            yield f"{where}: {one['name']!r} {wrong}"
        elif one["name"] in names[:number]:
            yield f"{where}: {one['name']} is declared twice"
        selector, key = one.get("selector") or "", one.get("key") or ""
        if bool(selector) != bool(key):
            yield f"{where}: selector and key go together: the key that {one['name']} signs with today, a path on the host, and its selector"
        if selector and selector_problem(selector):
            yield f"{where}: selector {selector!r} {selector_problem(selector)}"
        if key and not key.startswith("/"):
            yield f"{where}: key {key!r} is not a path on the host: keys are made and kept there, and none comes from the controller"
        elif "PRIVATE KEY" in key:
            yield f"{where}: key holds a key itself; a key is never on the controller: name its path on the host"
    for variable in ("dkim_rotate", "dkim_drop"):
        for name in declared[variable]:
            if name not in names:
                yield f"{variable}: {name} is not one of dkim_domains ({', '.join(names) or 'none is declared'})"


def _inbound(declared):
    dmarc, spf = declared["dkim_dmarc"], declared["dkim_spf_mode"]
    if dmarc != "none" and not declared["dkim_verify"]:
        yield f"dkim_dmarc: {dmarc} needs DKIM's result; set dkim_verify: true, or dkim_dmarc: none"
    if dmarc != "none" and spf == "none":
        yield f"dkim_dmarc: {dmarc} needs SPF's result, and spf_mode is none; set sokuhai_spf: mark, or dkim_dmarc: none"
    for entry in map(str, declared["dkim_exempt"]):
        try:
            if ipaddress.ip_network(entry, strict=False).prefixlen == 0:
                yield f"dkim_exempt: {entry} exempts everybody; dkim_dmarc: mark rejects nothing"
        except ValueError:
            yield f"dkim_exempt: {entry!r} is not an address or a network"


class FilterModule:
    def filters(self):
        return {
            "dkim_networks": lambda entries: networks(entries)[0],
            "dkim_postfix": postfix,
            "dkim_problems": problems,
            "dkim_wanted": wanted,
        }
