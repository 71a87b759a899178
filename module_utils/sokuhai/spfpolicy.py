# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A domain's SPF policy (RFC 7208): may these addresses send for it, and what does a receiver have to look up for that?

The services of role spf judge clients one by one as they come. This reads the whole of a policy, also what lies behind the mechanism that matches, since
the next sender comes from another address. Nothing here asks a name server itself.
"""

import ipaddress
import re

#: What a policy may cost (RFC 7208, 4.6.4), and how long it may be (3.4) to go into one datagram.
LOOKUPS, VOIDS, LENGTH = 10, 2, 450
QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
LOOKED_UP = ("include", "a", "mx", "ptr", "exists")
TERM = re.compile(
    r"(?P<qualifier>[+?~-]?)(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)(?P<rest>[:/].*)?\Z", re.IGNORECASE
)
MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9._-]*)=(?P<value>\S*)\Z")
PREFIX = re.compile(r"(?P<domain>[^/]*)(?:/(?P<four>\d+))?(?://(?P<six>\d+))?\Z")


def is_policy(text):
    """Return whether a TXT record is an SPF policy (RFC 7208, 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def term(text):
    """Return one term of a policy as (qualifier, name, value): value is a network for ip4 and ip6, a (domain, four, six) for a and mx, else a domain.

    A modifier has the qualifier "=". Raises ValueError, whose text is the term, for what is none.
    """
    found = TERM.match(text)
    if not found:
        modifier = MODIFIER.match(text)
        if not modifier:
            raise ValueError(text)
        return "=", modifier["name"].lower(), modifier["value"]
    name, rest = found["name"].lower(), found["rest"] or ""
    value = rest[1:] if rest.startswith(":") else rest
    if (
        name == "all"
        and rest
        or name in ("include", "exists", "ip4", "ip6")
        and not rest.startswith(":")
        or rest == ":"
    ):
        raise ValueError(text)
    if name in ("ip4", "ip6"):
        try:
            value = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(text) from None
        if "ip%d" % value.version != name:
            raise ValueError(text)
    elif name in ("a", "mx"):
        parts = PREFIX.match(value)
        four, six = (int(parts[key] or most) for key, most in (("four", 32), ("six", 128))) if parts else (99, 999)
        if four > 32 or six > 128:
            raise ValueError(text)
        value = parts["domain"], four, six
    return QUALIFIERS[found["qualifier"] or "+"], name, value


def terms(text):
    """Return the terms of the policy *text*. Raises ValueError, whose text is the first that is none."""
    return [term(word) for word in text.split()[1:]]


class Policy:
    """The policy of *domain* as seen by *addresses* (texts).

    ask: function (name, type) -> values, as dns.decode() has them, or None where the name servers do not answer.
    results: {address: pass, fail, softfail, neutral, none, permerror, temperror, or unknown where macros decide}. lookups, voids: what it costs at most.
    records: the policies found at the domain. bad: the term, or domain, because of which it is in error. names: domains that were looked up in it.
    """

    def __init__(self, domain, addresses, ask):
        self.ask, self.lookups, self.voids, self.bad, self.names = ask, 0, 0, "", []
        self.addresses = [ipaddress.ip_address(address) for address in addresses]
        self.records = [text for text in ask(domain, "TXT") or () if is_policy(text)]
        results = self.of(domain)
        # a receiver that reaches either number stops there (RFC 7208, 4.6.4)
        if self.lookups > LOOKUPS and not self.bad:
            self.bad = "%d lookups" % self.lookups
        elif self.voids > VOIDS and not self.bad:
            self.bad = "%d void lookups" % self.voids
        self.results = {str(address): result for address, result in results.items()}

    def every(self, result):
        return {address: result for address in self.addresses}

    def of(self, domain):
        """Return {address: result} of the policy at *domain*."""
        if domain in self.names or len(self.names) > 4 * LOOKUPS:
            self.bad = self.bad or domain
            return self.every("permerror")
        answers = self.ask(domain, "TXT")
        if answers is None:
            return self.every("temperror")
        found = [text for text in answers if is_policy(text)]
        if len(found) != 1:
            return self.every("permerror" if found else "none")
        try:
            listed = terms(found[0])
        except ValueError as problem:
            self.bad = self.bad or str(problem)
            return self.every("permerror")
        self.names.append(domain)
        try:
            return self.judged(domain, listed)
        finally:
            self.names.pop()

    def judged(self, domain, listed):
        results = {}
        for qualifier, name, value in listed:
            if qualifier == "=":
                continue
            for address, how in self.matches(domain, name, value).items():
                results.setdefault(address, qualifier if how is True else how)
        others = [address for address in self.addresses if address not in results]
        redirect = [value for qualifier, name, value in listed if (qualifier, name) == ("=", "redirect")]
        if redirect and "all" not in [name for _qualifier, name, _value in listed]:
            self.lookups += 1
            behind = self.every("unknown") if "%" in redirect[0] else self.of(redirect[0])
            results.update(
                (address, "permerror" if behind[address] == "none" else behind[address]) for address in others
            )
        return {**self.every("neutral"), **results}

    def matches(self, domain, name, value):
        """Return {address: True where the mechanism matches, or the result that ends it all}."""
        self.lookups += name in LOOKED_UP
        if name == "all":
            return self.every(True)
        if name in ("ip4", "ip6"):
            return {address: True for address in self.addresses if address in value}
        if name in ("ptr", "exists") or "%" in str(value):
            # decided by the client's name or by macros, which a host cannot know of its receivers
            return self.every("unknown")
        if name == "include":
            inner = self.of(value)
            if "none" in inner.values():
                self.bad = self.bad or value
            ends = {
                "pass": True,
                "none": "permerror",
                "permerror": "permerror",
                "temperror": "temperror",
                "unknown": "unknown",
            }
            return {address: ends[result] for address, result in inner.items() if result in ends}
        return self.hosts(value[0] or domain, value[1:], name)

    def hosts(self, domain, lengths, name):
        hosts = [domain]
        if name == "mx":
            answers = self.ask(domain, "MX")
            self.voids += answers == []
            hosts = [name for name in (one.partition(" ")[2] for one in answers or ()) if name][:LOOKUPS]
            if answers is None:
                return self.every("temperror")
        found = {}
        for version, kind, length in ((4, "A", lengths[0]), (6, "AAAA", lengths[1])):
            ours = [address for address in self.addresses if address.version == version]
            for host in hosts if ours else ():
                answers = self.ask(host, kind)
                if answers is None:
                    found.update((address, "temperror") for address in ours if address not in found)
                    continue
                self.voids += not answers and name == "a" and len({one.version for one in self.addresses}) == 1
                nets = [ipaddress.ip_network("%s/%d" % (one, length), strict=False) for one in answers]
                found.update((address, True) for address in ours if any(address in net for net in nets))
        return found
