# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is wrong with the declared values, and the records as a person pastes them. Ansible loads this file by its path, without a package."""

import ipaddress
import pathlib
import re
import sys

# what all roles share
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "module_utils"))

from sokuhai import spfpolicy

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
#: In names of records a label may begin with an underscore (RFC 8552).
UNDERSCORED = re.compile(r"_?[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\Z")
NAME = 253
#: What a DMARC or TLSRPT record separates addresses by, and white space.
ADDRESS = re.compile(r"[^\s@;,!<>\"]+@([^\s@;,!<>\"]+)\Z")


def name_problem(name, label=LABEL):
    """Why *name* cannot be a domain name of several labels, or ""."""
    if len(name) > NAME:
        return f"is {len(name)} characters long, and a name has {NAME} at most"
    labels = name.split(".")
    wrong = next((one for one in labels if len(one) > 63 or not label.match(one)), None)
    if wrong is not None:
        return f"has the label {wrong!r}: letters, digits and hyphens, 63 at most, are needed, as in example.org"
    return "" if len(labels) > 1 else "needs at least two labels, as example.org"


def own_problems(declared):
    """Messages about names and addresses of *declared* ({variable: value})."""
    for domain in declared["accepted_domains"]:
        # the longest of the names that a domain gets a record at
        why = name_problem(domain) or name_problem("_smtp._tls." + domain, UNDERSCORED)
        if why:
            yield f"accepted_domains: {domain!r} {why}"
    why = name_problem(declared["accepted_hostname"]) or name_problem(
        "_25._tcp." + declared["accepted_hostname"], UNDERSCORED
    )
    if why:
        yield f"accepted_hostname = {declared['accepted_hostname']!r} {why}"
    for text in declared["accepted_addresses"]:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            yield f"accepted_addresses: {text!r} is no address, like 203.0.113.5 or 2001:db8::5"
            continue
        family = "ipv%d" % address.version
        if declared["accepted_inet_protocols"] not in ("all", family):
            yield f"accepted_addresses: {text!r} is not of the family by which mail leaves, {declared['accepted_inet_protocols']}: remove it, or set all"
    for name in ("dmarc_reports", "tls_reports", "test_address", "test_from"):
        value = declared["accepted_" + name]
        found = ADDRESS.match(value)
        if value and not (found and not name_problem(found[1])):
            yield f"accepted_{name} = {value!r} is no address such as postmaster@example.org"


def spf_problems(declared):
    """Messages about the SPF policy that *declared* comes to."""
    words, looked_up = declared["accepted_spf"], 0
    for word in words:
        try:
            qualifier, name, _value = spfpolicy.term(word)
        except ValueError:
            yield f"accepted_spf: {word!r} is no mechanism, like include:_spf.example.net or ip4:203.0.113.0/24"
            continue
        if qualifier == "=" or name == "all":
            yield f"accepted_spf: {word!r} would end the policy: accepted_spf_all does, with ~all or -all; list the mechanisms alone"
        looked_up += name in spfpolicy.LOOKED_UP
    if looked_up > spfpolicy.LOOKUPS:
        yield (
            f"accepted_spf: {looked_up} of its mechanisms need a lookup, and receivers stop after {spfpolicy.LOOKUPS} (RFC 7208 4.6.4): "
            "write networks as ip4: and ip6:"
        )
    # two addresses of the host itself come before them
    length = len(
        " ".join(["v=spf1", "ip4:255.255.255.255", "ip6:" + "ffff:" * 7 + "ffff", *words, declared["accepted_spf_all"]])
    )
    if length > spfpolicy.LENGTH:
        yield (
            f"accepted_spf: the policy would have {length} characters and fit into no single datagram: at most {spfpolicy.LENGTH}; "
            "move some into a policy of their own and include:_spf.example.org"
        )


def dkim_problems(declared):
    """Messages about the public keys that are to be published."""
    for key in declared["accepted_dkim"]:
        name = "%s._domainkey.%s" % (key["selector"], key["domain"])
        why = name_problem(name, UNDERSCORED)
        if why:
            yield f"accepted_dkim: {name!r} {why}"


def accepted_problems(declared):
    """What is wrong with this role's variables, one message each. declared: {variable: value of its type}."""
    mailbox, address = declared["accepted_test_mailbox"], declared["accepted_test_address"]
    found = [*own_problems(declared), *spf_problems(declared), *dkim_problems(declared)]
    if mailbox and not (mailbox.startswith("/") and address):
        found.append(
            f"accepted_test_mailbox = {mailbox!r}: an absolute path, like /var/mail/root, and accepted_test_address are needed"
        )
    for name in ("clock_seconds", "test_seconds"):
        if declared["accepted_" + name] < 1:
            found.append(f"accepted_{name} = {declared['accepted_' + name]}: 1 or more is needed")
    return found


#: What became of a record, in words. {found}, {expected}: values of it.
STATES = {
    "fine": "right",
    "missing": "missing",
    "different": "different: {found}",
    "twice": "there is more than one: {found}",
    "long": "too long: {found}, expected {expected}",
    "short": "key too short: {found}, declared {expected}",
    "costly": "too many lookups: {found}, expected {expected}",
    "broken": "not valid: {found}",
    "unknown": "not known: no answer in the DNS, or one that depends on the receiver",
}
NEEDS = {"required": "", "advised": " (advised)", "optional": " (optional)"}


def accepted_lines(records):
    """The *records* of module accepted_records as the text of a zone file (str): each with a comment that says what the DNS has now."""
    lines = []
    for one in records:
        said = STATES[one["state"]].format(**one)
        lines += ["; %s%s: %s" % (one["use"].upper(), NEEDS[one["need"]], said), one["line"]]
        if one.get("policy"):
            domain = one["name"].partition(".")[2]
            lines.append(f"; https://mta-sts.{domain}/.well-known/mta-sts.txt has to be:")
            lines += ["; " + line for line in one["policy"].split("\r\n") if line]
    return "\n".join(lines) + "\n"


class FilterModule:
    def filters(self):
        return {"accepted_problems": accepted_problems, "accepted_lines": accepted_lines}
