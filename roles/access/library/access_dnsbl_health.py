#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Query the test entries of every DNSBL, all at the same time, through the resolver that Postfix uses."""

DOCUMENTATION = r"""
module: access_dnsbl_health
short_description: Tell healthy DNSBLs from unhealthy ones
description:
  - Reads only. Each list is asked for 127.0.0.2, which it must list, and 127.0.0.1, which it must not (RFC 5782, section 5),
    through the name servers of /etc/resolv.conf. All queries are in flight at the same time.
  - A dead list may be silent, may list every address, or its domain may belong to somebody else; a list that refuses this resolver
    answers with a code of its own. None of them may reject mail; the module warns of each.
  - Where no name server resolves anything, no list can be judged, and the module fails. In check mode it takes all for healthy then, since
    the host's own named may not be there yet.
options:
  zones:
    description: The lists.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Zone of the list, such as zen.spamhaus.org.
        type: str
        required: true
      filters:
        description: Answers that count.
        type: list
        elements: dict
        required: true
        suboptions:
          filter: {description: "In Postfix's syntax (reject_rbl_client), such as C(127.0.0.[2..11]).", type: str, required: true}
          weight: {description: Above 0 they count as listed., type: int, required: true}
      kind:
        description: allow is a list of good senders; its test entry need not have a grade that a filter matches.
        type: str
        choices: [block, allow]
        default: block
  addresses:
    description: Addresses of this host, which the healthy lists that reject are asked for at the same time.
    type: list
    elements: str
    default: []
  deadline:
    description: Seconds in which all have to answer.
    type: float
    default: 6
author: sokuhai
"""

RETURN = r"""
healthy: {description: Names of the lists that may be used., type: list, elements: str, returned: success}
findings: {description: "One for each list that may not, id: dnsbl NAME.", type: list, elements: dict, returned: success}
listed:
  description: >-
    What each list that rejects says of each address, each zone, address, state (listed, clean, or why it is not known, with the words of the list's
    finding) and found (the codes, or those words).
  type: list
  elements: dict
  returned: success
"""

import concurrent.futures
import ipaddress
import time

from ansible.module_utils.access_codes import REFUSALS, ranges_of, takes
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import dns, host
from ansible.module_utils.sokuhai.findings import finding

REFUSAL_BLOCK = ipaddress.ip_network("127.255.255.0/24")
#: dnswl.org's code for too many queries; in an allow list no sender can have it.
ALLOW_REFUSAL = "127.0.0.255"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
LISTED, UNLISTED = "127.0.0.2", "127.0.0.1"


def question_name(address, zone):
    """Return the name under which *zone* lists an *address* (RFC 5782, 2.1 and 2.4)."""
    labels = ipaddress.ip_address(address).reverse_pointer.rpartition(".")[0].rpartition(".")[0]
    return "%s.%s" % (labels, zone.strip("."))


def judge(zone, listed, unlisted):
    """Return (state, value): what a list's replies about its two test entries, each of dns.ask() or None, mean. state: ok, or why it may not be used."""
    for address in [address for reply in (listed, unlisted) if reply for address in reply["addresses"]]:
        if ipaddress.ip_address(address) in REFUSAL_BLOCK or (zone["kind"] == "allow" and address == ALLOW_REFUSAL):
            return "refused", address
        if ipaddress.ip_address(address) not in LOOPBACK:
            return "hijacked", address
    if unlisted and unlisted["addresses"]:
        return "world", UNLISTED
    for entry, reply in ((LISTED, listed), (UNLISTED, unlisted)):
        if reply is None:
            return "silent", entry
        if reply["rcode"] not in dns.ANSWERED:
            return "dead", reply["rcode"]
    if not listed["addresses"]:
        return "unlisted", LISTED
    counted = [ranges_of(one["filter"]) for one in zone["filters"] if one["weight"] > 0]
    if zone["kind"] == "block" and not any(takes(one, address) for one in counted for address in listed["addresses"]):
        return "mismatch", ", ".join(sorted(listed["addresses"]))
    return "ok", ""


#: What a state means, for people; %s is its value.
MEANING = {
    "refused": "%s: refuses this resolver",
    "hijacked": "%s, outside 127.0.0.0/8: the domain is used for something else now",
    "world": "%s listed: lists every address",
    "silent": "no answer about %s",
    "dead": "%s",
    "unlisted": "%s not listed: closed, or for registered users only",
    "mismatch": "%s for the test entry, which no filter matches",
}


def judge_own(state, value, reply):
    """Return (state, found) of one address on a list whose health is (state, value): listed, clean, or the list's own fault."""
    if state != "ok":
        return state, words(state, value)
    if reply is None or reply["rcode"] not in dns.ANSWERED:
        return "silent", reply["rcode"] if reply else "no answer"
    refused = [code for code in reply["addresses"] if ipaddress.ip_address(code) in REFUSAL_BLOCK]
    if refused:
        return "refused", words("refused", refused[0])
    return ("listed" if reply["addresses"] else "clean"), ", ".join(sorted(reply["addresses"]))


def words(state, value):
    """Return what a list's state means, for people."""
    said = REFUSALS.get(value) if state == "refused" else None
    return "%s: %s" % (value, said) if said else MEANING[state] % value


def check(zones, servers, deadline, port=53, addresses=(), listed=None):
    """Ask the name servers about all *zones*; return {name: (state, value)}, or None where they resolve nothing.

    addresses: this host's, for which lists that reject are asked as well; what they say is appended to *listed* (a list).
    """
    end = time.monotonic() + deadline
    names = {
        (zone["name"], entry): (question_name(entry, zone["name"]), "A")
        for zone in zones
        for entry in (LISTED, UNLISTED)
    }
    own = [(zone["name"], address) for zone in zones if zone["kind"] == "block" for address in addresses]
    names.update((key, (question_name(key[1], key[0]), "A")) for key in own)
    # the root's name servers are in the resolver's cache: an answer tells a resolver that works from lists that do not
    names["control"] = (".", "NS")
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        replies = dict(
            zip(names, pool.map(lambda question: dns.resolve(servers, *question, end, port), names.values()))
        )
    if not any(reply and reply["rcode"] in dns.ANSWERED for reply in replies.values()):
        return None
    found = {
        zone["name"]: judge(zone, *(replies[zone["name"], entry] for entry in (LISTED, UNLISTED))) for zone in zones
    }
    for name, address in own:
        state, what = judge_own(*found[name], replies[name, address])
        listed.append({"zone": name, "address": address, "state": state, "found": what})
    return found


def health(zones, deadline, check_mode, warn, addresses=()):
    """Return the module's answer. zones, addresses: as its options; warn: function that takes a sentence. Raises Refused where nothing is resolved."""
    servers = dns.name_servers(host.read("/etc/resolv.conf"))
    listed = []
    found = check(zones, servers, deadline, addresses=addresses, listed=listed)
    if found is None and not check_mode:
        raise host.Refused(
            "no name server of this host resolves names (%s), so no DNSBL can be judged; nothing is changed. For a host "
            "without DNSBLs, remove them in access_dnsbl (state: absent)" % ", ".join(servers)
        )
    healthy, findings = [], []
    for zone in zones:
        state, value = (found or {}).get(zone["name"], ("ok", ""))
        if state == "ok":
            healthy.append(zone["name"])
            continue
        text = words(state, value)
        findings.append(finding("dnsbl %s" % zone["name"], zone["name"], "healthy", text, remedy="refresh"))
        warn("DNSBL %s is left out: %s" % (zone["name"], text))
    return {"healthy": healthy, "findings": findings, "listed": listed}


def main():
    module = AnsibleModule(
        argument_spec={
            "zones": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "filters": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "filter": {"type": "str", "required": True},
                            "weight": {"type": "int", "required": True},
                        },
                    },
                    "kind": {"type": "str", "choices": ["block", "allow"], "default": "block"},
                },
            },
            "addresses": {"type": "list", "elements": "str", "default": []},
            "deadline": {"type": "float", "default": 6.0},
        },
        supports_check_mode=True,
    )
    p = module.params
    host.answer(module, lambda: health(p["zones"], p["deadline"], module.check_mode, module.warn, p["addresses"]))


if __name__ == "__main__":
    main()
