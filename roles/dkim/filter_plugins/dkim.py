# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role dkim's declared values come to: networks, Postfix's part, and what cannot be right in them."""

import ipaddress
import re

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
#: postconf(1) knows a parameter that another one names; no line of main.cf needs it otherwise.
INBOUND, CLIENTS = "sokuhai_inbound_milters", "sokuhai_inbound_milter_maps"


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


def nets(entries):
    """Return the networks of *entries*, as networks() reads them, without what is wrong with others: a list of str."""
    return networks(entries)[0]


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
            {"name": CLIENTS, "value": "cidr:$config_directory/tables/dkim_clients", **group},
        ],
        "master_cf": [
            {
                "name": "smtp",
                "type": "inet",
                "options": {
                    "smtpd_milters": f"${INBOUND}",
                    "smtpd_milter_maps": f"${CLIENTS}",
                },
            }
        ],
        "tables": [{"name": "dkim_clients", "type": "cidr", "entries": own}],
    }


# ---- what is wrong ----


def problems(declared, socket):
    """Return what is wrong with the *declared* values, {variable: value of its type}, one message each. socket: the signer's."""
    found = [*_domains(declared), *_inbound(declared)]
    if declared["dkim_enabled"]:
        found += [*networks(declared["dkim_networks"])[1], *_beside(declared, socket)]
        if not (declared["dkim_domains"] or declared["dkim_verify"]):
            found.append("dkim_enabled: true, and there is nothing to do: set dkim_domains, or dkim_verify: true")
    elif declared["dkim_domains"]:
        found.append(
            "dkim_enabled: false, and dkim_domains has domains whose mail is to be signed; leave dkim_enabled out, or set dkim_domains: []"
        )
    return found


def _beside(declared, socket):
    """Yield what is wrong with milters of the inventory's own: they take the place of the signer where it is not among them."""
    for item in declared["dkim_beside"]:
        name, value = item.get("name"), " ".join(map(str, _list(item.get("value"))))
        if (
            name in ("smtpd_milters", "non_smtpd_milters")
            and item.get("state", "present") == "present"
            and socket not in value
        ):
            ours = milter(socket, declared["dkim_down"])
            own = "Postfix would ask it in the signer's place, and mail would leave unsigned"
            yield f"dkim_domains: {name} is {value or 'nothing'} in postfix_main_cf or postfix_master_cf: {own}; write {f'{value}, {ours}'.lstrip(', ')}"
        if name == "smtpd_milter_maps":
            yield f"dkim_domains: {name} is {value} in postfix_main_cf or postfix_master_cf; the signer's own table of clients is there (dkim_clients)"
        if (
            name == "smtpd_sasl_auth_enable"
            and value.lower() in ("true", "yes")
            and not (declared["dkim_verify"] and declared["dkim_inbound_down"] == "defer")
        ):
            yield (
                "dkim_inbound_down: users log in on port 25 (smtpd_sasl_auth_enable), and their mail is to be signed or to wait like that of 587: set "
                "dkim_verify: true and dkim_inbound_down: defer"
            )


def _list(value):
    return value if isinstance(value, list) else [] if value is None else [value]


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


def lines(records):
    """Return *records*, as module dkim_signer returns them, as lines of a zone file; a string of a TXT record holds 255 bytes."""
    found = []
    for one in records:
        text = one["value"]
        parts = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
        found += [f"; {one['role']}: {one['type']}, {one['bits']} bits", f"{one['name']}. 3600 IN TXT ( {parts} )"]
    return found


class FilterModule:
    def filters(self):
        return {
            "dkim_lines": lines,
            "dkim_nets": nets,
            "dkim_parts": postfix,
            "dkim_problems": problems,
        }
