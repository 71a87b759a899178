# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Pure functions of role bind: what a declared port's named will be, sizes from RAM, and what is wrong with declared values."""

from __future__ import annotations

import ipaddress
import re

MIB = 1024 * 1024
#: A label of a domain name as named.conf may carry it: letters, digits, hyphen and underscore (RFC 1035 2.3.1, RFC 8552).
LABEL = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$")
ANCHOR = {
    "static-ds": re.compile(r"^\d{1,5} \d{1,3} \d{1,3} [0-9A-Fa-f ]+$"),
    "initial-ds": re.compile(r"^\d{1,5} \d{1,3} \d{1,3} [0-9A-Fa-f ]+$"),
    "static-key": re.compile(r"^\d{1,5} \d{1,3} \d{1,3} [A-Za-z0-9+/= ]+$"),
    "initial-key": re.compile(r"^\d{1,5} \d{1,3} \d{1,3} [A-Za-z0-9+/= ]+$"),
}
#: Range of each number: (least, most, why). Least and most are named's own (BIND ARM, lib/isccfg and bin/named/config.c) or
#: what a mail host cannot work without.
RANGES = {
    "bind_openfiles": (1024, 10000000, "descriptors; named 9.20 and Postfix need more than the 1024 of old"),
    "bind_recursive_clients": (
        200,
        1000000,
        "recursive clients; from 1001 on named keeps 100 of them as a margin",
    ),
    "bind_tcp_clients": (10, 100000, "TCP connections"),
    "bind_tcp_listen_queue": (10, 65535, "connections waiting for accept; named raises anything lower to 10"),
    "bind_clients_per_query": (0, 1000000, "clients that wait for the same query; 0 is no limit"),
    "bind_max_clients_per_query": (0, 1000000, "what named may raise bind_clients_per_query to"),
    "bind_fetches_per_server": (0, 1000000, "queries in progress to one server; 0 is no limit"),
    "bind_fetches_per_zone": (0, 1000000, "queries in progress for one zone; 0 is no limit"),
    "bind_resolver_query_timeout": (301, 30000, "milliseconds; named takes 300 and less for seconds"),
    "bind_resolver_retry_interval": (100, 2000, "milliseconds; named 9.18 lowers anything higher to 2000"),
    "bind_udp_receive_buffer": (4096, 67108864, "bytes of socket buffer for queries"),
    "bind_cache_share": (1, 80, "per cent of RAM"),
    "bind_cache_floor_mib": (2, 1048576, "MiB; named's own minimum is 2"),
    "bind_cache_ceiling_mib": (2, 1048576, "MiB"),
    "bind_rate_limit": (0, 1000, "answers a second to one stranger; 0 disables the limit"),
    "bind_statistics_port": (0, 65535, "a port of the loopback above 1023, or 0 for none"),
    "bind_timeout": (5, 300, "seconds named has to answer after a start"),
}


def bind_predict(package):
    """What the named of a port will be, before it is installed.

    package: name such as "bind920"; "bind9-devel" is the development line. Returns {"version" (series, str), "knows"
    ({statement: bool})}. `files` and `resolver-retry-interval` are fatal from 9.20 on (lib/isccfg/namedconf.c of both
    branches); the run-time question is put to named-checkconf once there is one.
    """
    match = re.match(r"^bind9(\d{2})$", str(package))
    if not match:
        return {"version": "9.21", "knows": {"files": False, "resolver_retry_interval": False}}
    older = int(match.group(1)) < 20
    return {"version": "9.%d" % int(match.group(1)), "knows": {"files": older, "resolver_retry_interval": older}}


def bind_cache_mib(physmem, share, floor, ceiling):
    """max-cache-size in MiB: `share` percent of physmem (bytes), held between floor and ceiling (MiB).

    named's own default is 90 % of RAM in each view, which on a mail host is Postfix's memory.
    """
    return max(int(floor), min(int(ceiling), int(physmem) * int(share) // 100 // MIB))


def domain_problem(name):
    """What is wrong with a domain name, or ""; "." is the root."""
    if name == ".":
        return ""
    labels = str(name).rstrip(".").split(".")
    if len(str(name)) > 254:
        return "is longer than 253 characters"
    for label in labels:
        if not LABEL.match(label):
            return (
                'has the label "%s", which is empty, too long or has characters other than letters, digits, - and _'
                % label
            )
    return ""


def network_problem(entry):
    """What is wrong with an address or CIDR, or ""."""
    try:
        ipaddress.ip_network(str(entry), strict=True)
    except ValueError as error:
        if "host bits" in str(error):
            return "has host bits set; the network is %s" % ipaddress.ip_network(str(entry), strict=False)
        return "is not an address or network"
    return ""


def address_problem(entry, version):
    """What is wrong with a plain address of IP version 4 or 6, or ""."""
    try:
        address = ipaddress.ip_address(str(entry))
    except ValueError:
        return "is not an IPv%d address" % version
    return "" if address.version == version else "is not an IPv%d address" % version


def repeated(entries):
    """The entries that stand more than once."""
    return sorted({str(entry) for entry in entries if list(entries).count(entry) > 1})


def bind_problems(declared):
    """Everything wrong with role bind's declared values, each a sentence that starts with the variable's name.

    declared: dict of the role's variables (argument_specs has checked their types). Needs no host.
    """
    found = []
    say = found.append

    if not re.match(r"^bind9(\d{2}|-devel)$", declared["bind_package"]):
        say('bind_package: "%s" is not the name of a BIND port; dns/bind920 is bind920' % declared["bind_package"])
    for name, (least, most, meaning) in RANGES.items():
        if not least <= declared[name] <= most:
            say("%s: %d is outside %d to %d (%s)" % (name, declared[name], least, most, meaning))
    for name, version in (("bind_listen_on", 4), ("bind_listen_on_v6", 6)):
        for entry in declared[name]:
            problem = address_problem(entry, version)
            if problem:
                say("%s: %s %s; write one such as %s" % (name, entry, problem, "127.0.0.1" if version == 4 else "::1"))
        for entry in repeated(declared[name]):
            say("%s: %s is listed twice" % (name, entry))
    if 0 < declared["bind_statistics_port"] < 1024:
        # named opens it after it has given up root
        say(
            "bind_statistics_port: %d is below 1024, where only root may listen; 8053, or 0 for none"
            % declared["bind_statistics_port"]
        )
    listening = [str(entry) for entry in declared["bind_listen_on"] + declared["bind_listen_on_v6"]]
    if not listening:
        say(
            "bind_listen_on: empty, and bind_listen_on_v6 too; named needs at least one address, for instance 127.0.0.1"
        )
    if declared["bind_use_for_host"]:
        for entry in declared["bind_host_name_servers"]:
            if address_problem(entry, 4) and address_problem(entry, 6):
                say("bind_host_name_servers: %s is not an address" % entry)
            elif not ipaddress.ip_address(str(entry)).is_loopback:
                # Only what matches resolvconf's local_nameservers makes it drop the lease's name servers.
                say(
                    "bind_host_name_servers: %s is not a loopback address; the name servers of a lease would be listed beside it"
                    % entry
                )
            elif str(entry) not in listening:
                say(
                    "bind_listen_on: lacks %s, which bind_host_name_servers gives to the host; add it or set bind_use_for_host: "
                    "false" % entry
                )
        if not declared["bind_host_name_servers"]:
            say("bind_host_name_servers: empty while bind_use_for_host is true; write 127.0.0.1")
    for name in ("bind_recursion_for", "bind_allow_query"):
        for entry in declared[name]:
            problem = (
                ""
                if name == "bind_allow_query" and entry in ("any", "none", "localhost", "localnets")
                else network_problem(entry)
            )
            if problem:
                say("%s: %s %s" % (name, entry, problem))
            elif "/" in str(entry) and ipaddress.ip_network(str(entry)).prefixlen == 0 and name == "bind_recursion_for":
                say(
                    "bind_recursion_for: %s is the whole internet, and this host an open resolver; name your own networks"
                    % entry
                )
        for entry in repeated(declared[name]):
            say("%s: %s is listed twice" % (name, entry))

    if declared["bind_openfiles"] <= declared["bind_tcp_clients"]:
        say(
            "bind_openfiles: %d is not more than bind_tcp_clients (%d), each of which holds a descriptor"
            % (declared["bind_openfiles"], declared["bind_tcp_clients"])
        )
    clients, most = declared["bind_clients_per_query"], declared["bind_max_clients_per_query"]
    if clients > most or (most and not clients):
        say(
            "bind_max_clients_per_query: %d is below bind_clients_per_query (%s); named would raise it by itself. Write at least as much"
            % (most, clients or "0 = no limit")
        )
    if declared["bind_cache_floor_mib"] > declared["bind_cache_ceiling_mib"]:
        say(
            "bind_cache_floor_mib: %d is above bind_cache_ceiling_mib (%d)"
            % (declared["bind_cache_floor_mib"], declared["bind_cache_ceiling_mib"])
        )

    problem = domain_problem(declared["bind_probe_name"])
    if problem:
        say("bind_probe_name: %s %s" % (declared["bind_probe_name"], problem))
    for entry in declared["bind_disable_empty_zones"]:
        problem = domain_problem(entry)
        if problem:
            say("bind_disable_empty_zones: %s %s" % (entry, problem))
    for entry in declared["bind_root_hints"]:
        problem = domain_problem(entry["name"])
        if problem:
            say("bind_root_hints: %s %s" % (entry["name"], problem))
        if not entry["addresses"]:
            say("bind_root_hints: %s has no addresses" % entry["name"])
        for address in entry["addresses"]:
            if address_problem(address, 4) and address_problem(address, 6):
                say("bind_root_hints: %s of %s is not an address" % (address, entry["name"]))
    for entry in declared["bind_trust_anchors"]:
        problem = domain_problem(entry["name"])
        if problem:
            say("bind_trust_anchors: %s %s" % (entry["name"], problem))
        kind = entry.get("type") or "static-ds"
        if kind in ANCHOR and not ANCHOR[kind].match(entry["value"]):
            say(
                "bind_trust_anchors: the value of %s is not three numbers and the %s of a %s"
                % (entry["name"], "digest in hex" if kind.endswith("ds") else "key in base64", kind)
            )
        if entry["name"] == "." and declared["bind_dnssec_validation"] == "auto":
            say(
                'bind_dnssec_validation: "auto" uses the built-in root anchor; with an anchor for . in bind_trust_anchors set "yes"'
            )
    for statement in declared["bind_extra_options"]:
        word = (statement.split() or [""])[0]
        if not statement.rstrip().endswith(";"):
            say('bind_extra_options: "%s" does not end with ;' % statement)
        if word in ("forwarders", "forward"):
            say(
                "bind_extra_options: %s would make named query another resolver, whose query limits are what this role replaces"
                % word
            )
        if word == "files":
            say("bind_extra_options: files is written from bind_openfiles, and only for a named that knows it")
    return found


def bind_anchor(entry):
    """One line of trust-anchors for {"name", "type", "value"}: the last field is quoted, as named.conf wants it."""
    fields = entry["value"].split()
    return '"%s" %s %s "%s";' % (
        entry["name"],
        entry.get("type") or "static-ds",
        " ".join(fields[:3]),
        "".join(fields[3:]),
    )


class FilterModule:
    """Filters of role bind."""

    def filters(self):
        return {
            "bind_predict": bind_predict,
            "bind_cache_mib": bind_cache_mib,
            "bind_problems": bind_problems,
            "bind_anchor": bind_anchor,
        }
