# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be wrong with what is declared for named, beyond its types and without the host."""

import ipaddress
import re

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
    "bind_stale_seconds": (0, 86400, "seconds beyond its TTL that an answer is given; 0 is never"),
    "bind_udp_receive_buffer": (4096, 67108864, "bytes of socket buffer for queries"),
    "bind_cache_share": (1, 80, "per cent of RAM"),
    "bind_cache_floor_mib": (2, 1048576, "MiB; named's own minimum is 2"),
    "bind_cache_ceiling_mib": (2, 1048576, "MiB"),
    "bind_rate_limit": (0, 1000, "answers a second to one stranger; 0 disables the limit"),
    "bind_statistics_port": (0, 65535, "a port of the loopback above 1023, or 0 for none"),
    "bind_timeout": (5, 300, "seconds named has to answer after a start"),
}


#: What bind_allow_query may name besides networks (BIND ARM, address match lists).
BUILT_IN = ("any", "none", "localhost", "localnets")
#: What named.conf takes for a comment, and text in quotes, which has none.
COMMENT = re.compile(r'"[^"]*"|/\*.*?\*/|(?://|#)[^\n]*', re.S)
#: Options that role bind writes itself, or that would undo what it is for.
EXTRA = {
    "forwarders": "would make named query another resolver, whose query limits are what this role replaces",
    "forward": "would make named query another resolver, whose query limits are what this role replaces",
    "files": "is written from bind_openfiles, and only for a named that knows it",
}


def domain_problem(name):
    """Return what is wrong with a domain name, or ""; "." is the root."""
    labels = [] if name == "." else str(name).rstrip(".").split(".")
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
    """Return what is wrong with an address or CIDR, or ""."""
    try:
        ipaddress.ip_network(str(entry), strict=True)
    except ValueError as error:
        if "host bits" in str(error):
            return "has host bits set; the network is %s" % ipaddress.ip_network(str(entry), strict=False)
        return "is not an address or network"
    return ""


def version_of(entry):
    """Return the IP version (4 or 6) of a plain address, or None where it is not one."""
    try:
        return ipaddress.ip_address(str(entry)).version
    except ValueError:
        return None


def bind_problems(declared):
    """Return what is wrong with *declared*, {variable: value of its type}, one message each, beginning with the variable's name."""
    checks = (_numbers, _listening, _host, _clients, _zones, _anchors, _extra)
    return ["%s: %s" % (name, message) for check in checks for name, wrong, message in check(declared) if wrong]


# Each yields (variable, whether it is wrong, message).


def _numbers(declared):
    package = declared["bind_package"]
    good = re.match(r"^bind9(\d{2}|-devel)$", package)
    yield "bind_package", not good, '"%s" is not the name of a BIND port; dns/bind920 is bind920' % package
    for name, (least, most, meaning) in RANGES.items():
        value = declared[name]
        yield name, not least <= value <= most, "%d is outside %d to %d (%s)" % (value, least, most, meaning)
    port, files, tcp = (declared["bind_" + name] for name in ("statistics_port", "openfiles", "tcp_clients"))
    # named opens it after it has given up root
    yield (
        "bind_statistics_port",
        0 < port < 1024,
        "%d is below 1024, where only root may listen; 8053, or 0 for none" % port,
    )
    message = "%d is not more than bind_tcp_clients (%d), each of which holds a descriptor" % (files, tcp)
    yield "bind_openfiles", files <= tcp, message
    clients, most = declared["bind_clients_per_query"], declared["bind_max_clients_per_query"]
    message = "%d is below bind_clients_per_query (%s); named would raise it by itself. Write at least as much" % (
        most,
        clients or "0 = no limit",
    )
    yield "bind_max_clients_per_query", clients > most or (most and not clients), message
    floor, ceiling = declared["bind_cache_floor_mib"], declared["bind_cache_ceiling_mib"]
    yield "bind_cache_floor_mib", floor > ceiling, "%d is above bind_cache_ceiling_mib (%d)" % (floor, ceiling)


def _twice(name, entries):
    for entry in sorted({str(entry) for entry in entries if entries.count(entry) > 1}):
        yield name, True, "%s is listed twice" % entry


def _listening(declared):
    for name, version, example in (("bind_listen_on", 4, "127.0.0.1"), ("bind_listen_on_v6", 6, "::1")):
        for entry in declared[name]:
            message = "%s is not an IPv%d address; write one such as %s" % (entry, version, example)
            yield name, version_of(entry) != version, message
        yield from _twice(name, declared[name])
    nowhere = not declared["bind_listen_on"] + declared["bind_listen_on_v6"]
    message = "empty, and bind_listen_on_v6 too; named needs at least one address, for instance 127.0.0.1"
    yield "bind_listen_on", nowhere, message


def _host(declared):
    if not declared["bind_use_for_host"]:
        return
    name, servers = "bind_host_name_servers", declared["bind_host_name_servers"]
    listening = [str(entry) for entry in declared["bind_listen_on"] + declared["bind_listen_on_v6"]]
    yield name, not servers, "empty while bind_use_for_host is true; write 127.0.0.1"
    for entry in servers:
        if version_of(entry) is None:
            yield name, True, "%s is not an address" % entry
        elif not ipaddress.ip_address(str(entry)).is_loopback:
            # Only what matches resolvconf's local_nameservers makes it drop the lease's name servers.
            message = "%s is not a loopback address; the name servers of a lease would be listed beside it" % entry
            yield name, True, message
        else:
            message = (
                "lacks %s, which bind_host_name_servers gives to the host; add it or set bind_use_for_host: false"
                % entry
            )
            yield "bind_listen_on", str(entry) not in listening, message


def _clients(declared):
    for name, words in (("bind_recursion_for", ()), ("bind_allow_query", BUILT_IN)):
        for entry in declared[name]:
            problem = "" if entry in words else network_problem(entry)
            yield name, problem, "%s %s" % (entry, problem)
        yield from _twice(name, declared[name])
    for entry in declared["bind_recursion_for"]:
        everybody = not network_problem(entry) and ipaddress.ip_network(str(entry)).prefixlen == 0
        message = "%s is the whole internet, and this host an open resolver; name your own networks" % entry
        yield "bind_recursion_for", everybody, message


def _zones(declared):
    names = [("bind_probe_name", declared["bind_probe_name"])]
    names += [("bind_disable_empty_zones", zone) for zone in declared["bind_disable_empty_zones"]]
    names += [(name, entry["name"]) for name in ("bind_root_hints", "bind_trust_anchors") for entry in declared[name]]
    for name, domain in names:
        problem = domain_problem(domain)
        yield name, problem, "%s %s" % (domain, problem)
    for entry in declared["bind_root_hints"]:
        yield "bind_root_hints", not entry["addresses"], "%s has no addresses" % entry["name"]
        for address in entry["addresses"]:
            yield "bind_root_hints", not version_of(address), "%s of %s is not an address" % (address, entry["name"])


def _anchors(declared):
    for entry in declared["bind_trust_anchors"]:
        kind = entry.get("type") or "static-ds"
        message = "the value of %s is not three numbers and the %s of a %s" % (
            entry["name"],
            "digest in hex" if kind.endswith("ds") else "key in base64",
            kind,
        )
        yield "bind_trust_anchors", kind in ANCHOR and not ANCHOR[kind].match(entry["value"]), message
        twice = entry["name"] == "." and declared["bind_dnssec_validation"] == "auto"
        message = '"auto" uses the built-in root anchor; with an anchor for . in bind_trust_anchors set "yes"'
        yield "bind_dnssec_validation", twice, message


def _extra(declared):
    for statement in declared["bind_extra_options"]:
        bare = COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else " ", statement).strip()
        word = (bare.split() or [""])[0]
        yield "bind_extra_options", not bare.endswith(";"), '"%s" does not end with ;' % statement
        yield "bind_extra_options", word in EXTRA, "%s %s" % (word, EXTRA.get(word, ""))


class FilterModule:
    def filters(self):
        return {"bind_problems": bind_problems}
