#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The records that the DNS must hold for this host's mail, and what its name servers answer."""

DOCUMENTATION = r"""
module: accepted_records
short_description: Compare the DNS with what mail of this host needs
description:
  - Computes the wanted records from what is declared, the addresses by which the host sends and the certificates that it presents, and asks the name
    servers of each one's zone, or where these do not answer those of /etc/resolv.conf. Reads only, unless C(include) is set.
options:
  hostname: {description: Name of the host., type: str, required: true}
  inet_protocols: {description: "all, ipv4 or ipv6.", type: str, default: all}
  domains: {description: Domains that mail is sent from., type: list, elements: str, required: true}
  addresses: {description: Addresses from which others see the mail come; empty for the host's own., type: list, elements: str, default: []}
  spf: {description: Further mechanisms of the SPF policy., type: list, elements: str, default: []}
  spf_all: {description: How a new policy ends., type: str, default: "~all"}
  dkim:
    description: "Public keys, each domain, selector, value and, if known, bits and role (signing, next or former)."
    type: list
    elements: dict
    default: []
  dmarc: {description: Least strict policy., type: str, default: none}
  dmarc_reports: {description: Address for reports., type: str, default: ''}
  tls_reports: {description: Address for reports., type: str, default: ''}
  mta_sts: {description: "none, testing or enforce.", type: str, default: none}
  tlsa: {description: Whether a TLSA record must be there., type: bool, default: false}
  smarthost: {description: Host through which all mail leaves., type: str, default: ''}
  include: {description: Whether to write the records of zones that this host serves itself as files., type: bool, default: false}
  deadline: {description: Seconds in which the name servers have to answer., type: float, default: 15}
author: sokuhai
"""

RETURN = r"""
records:
  description: >-
    Wanted records, each use, name, type, value, need (required, advised, optional), line (of a zone file), state (fine, missing, different, twice, long,
    short, costly, broken, unknown), expected, found, and paste, the value to publish where it is not fine.
  type: list
  returned: success
addresses: {description: Addresses by which mail leaves., type: list, returned: success}
settings: {description: Postfix's parameters that decide it., type: dict, returned: success}
files: {description: Files for $INCLUDE by zone., type: dict, returned: success}
findings: {description: "One for each record that is wrong, id: TYPE NAME.", type: list, returned: success}
notes: {description: What could not be determined., type: list, returned: success}
"""

import concurrent.futures

from ansible.module_utils.accepted_compare import compare, counts
from ansible.module_utils.accepted_host import is_inside, key_digests, outgoing, settings
from ansible.module_utils.accepted_include import write
from ansible.module_utils.accepted_wanted import line, wanted
from ansible.module_utils.accepted_zones import Zones
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.postfix import certificates


def name_of(one):
    """What the finding of a record is called: a name has one policy, and may have many addresses."""
    return "%s %s%s" % (one["type"], one["name"], " " + one["value"] if one["use"] == "address" else "")


def findings_of(records):
    """Findings of compared records. A policy that goes by the host's name or by its MX is wrong where those are."""
    causes = [name_of(one) for one in records if one["use"] in ("address", "mx") and counts(one)]
    return [
        finding(
            name_of(one),
            "%s record %s" % (one["type"], one["name"]),
            one["expected"] if one["paste"] == one["value"] else one["paste"],
            "; ".join(filter(None, (one["found"], "" if one["state"] in ("missing", "different") else one["state"]))),
            because=causes if one["use"] in ("spf", "helo spf") and one["state"] == "different" else (),
            remedy="dns",
        )
        for one in records
        if counts(one)
    ]


def look(p, check_mode, resolver):
    said = settings()
    declared = p["addresses"]
    seen = declared or outgoing(said, p["inet_protocols"])
    addresses = [one for one in seen if declared or not is_inside(one)]
    notes = [
        "%s is an address that nobody outside sees: set accepted_addresses to those from which others see the mail come"
        % one
        for one in seen
        if one not in addresses
    ]
    if not seen:
        notes.append("the host has no route to the outside: set accepted_addresses to the addresses by which it sends")
    if p["smarthost"] and not p["spf"]:
        notes.append(
            "%s sends the mail on: set accepted_spf to what its provider wants in the SPF record" % p["smarthost"]
        )
    exchangers = {
        domain: [answer.split()[1] for answer in resolver.ask(domain, "MX") or () if len(answer.split()) > 1]
        for domain in (p["domains"] if p["mta_sts"] != "none" else ())
    }
    records = wanted(p, addresses, key_digests(certificates()), exchangers)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        records = list(pool.map(lambda one: compare(one, resolver.ask), records))
    unknown = ["%s %s" % (one["type"], one["name"]) for one in records if one["state"] == "unknown"]
    if unknown:
        servers = ", ".join(resolver.servers)
        notes.append(
            "no answer in the DNS (%s), or one that depends on the receiver: %s" % (servers, ", ".join(unknown))
        )
    if resolver.instead:
        notes.append(
            "no name server of its zone answered, so that what counts is a resolver's word (%s), which may be as old as the record's TTL: %s"
            % (
                ", ".join(resolver.servers),
                ", ".join("%s %s" % (kind, name) for name, kind in sorted(resolver.instead)),
            )
        )
    paths, diffs = write(records, check_mode) if p["include"] else ({}, [])
    for one in records:
        # what is right stays as it is
        kept = one["state"] == "fine" and one["type"] == "TXT"
        one["line"] = line(dict(one, value=one["found"] if kept else one["paste"]))
    return {
        "changed": bool(diffs),
        "diff": diffs,
        "records": records,
        "addresses": addresses,
        "settings": said,
        "files": paths,
        "findings": findings_of(records),
        "notes": notes,
    }


def main():
    texts = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "required": True},
            "inet_protocols": {"type": "str", "default": "all"},
            "domains": {**texts, "required": True},
            "addresses": {**texts, "default": []},
            "spf": {**texts, "default": []},
            "spf_all": {"type": "str", "default": "~all"},
            "dkim": {"type": "list", "elements": "dict", "default": []},
            "dmarc": {"type": "str", "default": "none"},
            "dmarc_reports": {"type": "str", "default": ""},
            "tls_reports": {"type": "str", "default": ""},
            "mta_sts": {"type": "str", "default": "none"},
            "tlsa": {"type": "bool", "default": False},
            "smarthost": {"type": "str", "default": ""},
            "include": {"type": "bool", "default": False},
            "deadline": {"type": "float", "default": 15.0},
        },
        supports_check_mode=True,
    )
    p = module.params
    zones = Zones(p["deadline"], [p["hostname"], *p["domains"]])
    host.answer(module, lambda: look(p, module.check_mode, zones))


if __name__ == "__main__":
    main()
