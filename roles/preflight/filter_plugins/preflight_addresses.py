# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Addresses that are declared as the host's own: those it must have."""

import ipaddress

#: Where smtp(8) sends from, in main.cf or of one service of master.cf.
BINDS = ("smtp_bind_address", "smtp_bind_address6")


def _address(value):
    """Return the text of an address, [brackets] taken off, or "" for what is none, or for an address of every host."""
    try:
        address = ipaddress.ip_address(str(value).strip().strip("[]"))
    except ValueError:
        return ""
    return "" if address.is_loopback or address.is_unspecified else str(address)


def _declared(declared):
    """Yield (role, variable, value) of each."""
    for name in ("bind_listen_on", "bind_listen_on_v6"):
        for value in declared[name]:
            yield "bind", name, value
    for value in declared["postfix_inet_interfaces"]:
        yield "postfix", "postfix_inet_interfaces", value
    for item in declared["postfix_main_cf"]:
        if item["name"] in BINDS and item.get("state") != "absent":
            yield "postfix", f"postfix_main_cf: {item['name']}", item.get("value")
    for service in declared["postfix_master_cf"]:
        for name, value in (service.get("options") or {}).items():
            if name in BINDS and service.get("state") != "absent":
                yield "postfix", f"postfix_master_cf: {service['name']}: {name}", value


def preflight_addresses(declared):
    """Return [{role, variable, address}] of the addresses that *declared*, {variable: typed value} of all roles, has as this host's; loopbacks left out."""
    found = ((role, variable, _address(value)) for role, variable, value in _declared(declared))
    return [{"role": role, "variable": variable, "address": address} for role, variable, address in found if address]


def preflight_not_here(probe, declared, serves):
    """Return a message for each of those addresses that the host has not. serves: the roles that are about to run."""
    return [
        f"{one['variable']}: {one['address']} is no address of this host: name one that it has, or give it to an interface first "
        "(ifconfig_IF_aliasN, rc.conf(5))"
        for one in preflight_addresses(declared)
        if one["role"] in serves and probe["bound"].get(one["address"]) != one["address"]
    ]


class FilterModule:
    def filters(self):
        return {"preflight_addresses": preflight_addresses, "preflight_not_here": preflight_not_here}
