# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The records that the DNS must hold so that mail of a host is accepted, as data. Pure."""

import hashlib
import ipaddress

#: Longest character string in a TXT record (RFC 1035, 3.3.14), longest name and longest RDATA.
STRING, NAME, RDATA = 255, 253, 65535


def record(use, name, kind, value, need="required", **more):
    """One wanted record. use: what it is for; need: required, advised (said where it is missing, but no finding) or optional (may be missing)."""
    return dict(more, use=use, name=name.lower(), type=kind, value=value, need=need)


def mechanisms(addresses):
    """The SPF mechanisms of some addresses (texts), or of a host by its name."""
    found = []
    for address in addresses:
        try:
            found.append("ip%d:%s" % (ipaddress.ip_address(address).version, address))
        except ValueError:  # the name of a smarthost
            found.append("a:%s" % address)
    return found


def spf(addresses, more, end):
    """A new SPF policy: addresses themselves, which cost no lookups."""
    return " ".join(["v=spf1", *mechanisms(addresses), *more, end])


def dmarc(policy, reports):
    return "v=DMARC1; p=%s" % policy + ("; rua=mailto:%s" % reports if reports else "")


def mta_sts(mode, exchangers):
    """The policy (RFC 8461, 3.2) that a web server has to serve at https://mta-sts.DOMAIN/.well-known/mta-sts.txt."""
    return "".join(
        line + "\r\n"
        for line in ["version: STSv1", "mode: %s" % mode, *("mx: %s" % name for name in exchangers), "max_age: 604800"]
    )


def wanted(p, addresses, certificates, exchangers):
    """Return the wanted records.

    p: the module's parameters. addresses: those from which others see mail come. certificates: SHA-256 digests of the public keys that smtpd presents, in
    hexadecimal digits. exchangers: {domain: [names of the MX hosts that it has now]}.
    """
    host, found = p["hostname"], []
    direct = not p["smarthost"]
    for address in addresses:
        kind = "AAAA" if ":" in address else "A"
        found.append(record("address", host, kind, address))
        # behind a smarthost nobody outside sees this host
        need = "required" if direct else "advised"
        found.append(
            record("reverse", ipaddress.ip_address(address).reverse_pointer, "PTR", host, need, address=address)
        )
    own = addresses if direct else []
    if direct:
        # of bounces, which have no sender, receivers look up the HELO name (RFC 7208, 2.4)
        found.append(record("helo spf", host, "TXT", "v=spf1 a -all", "advised", addresses=own, more=[]))
    # a first guess: the smarthost's provider says by which addresses it sends on
    relay = [p["smarthost"]] if p["smarthost"] and not p["spf"] else []
    for domain in p["domains"]:
        found.append(record("mx", domain, "MX", "10 %s" % host))
        found.append(
            record("spf", domain, "TXT", spf(own or relay, p["spf"], p["spf_all"]), addresses=own, more=list(p["spf"]))
        )
        found.append(record("dmarc", "_dmarc." + domain, "TXT", dmarc(p["dmarc"], p["dmarc_reports"]), domain=domain))
        found.append(
            record(
                "tlsrpt",
                "_smtp._tls." + domain,
                "TXT",
                "v=TLSRPTv1; rua=mailto:%s" % (p["tls_reports"] or "postmaster@" + domain),
                "required" if p["tls_reports"] else "optional",
            )
        )
        if p["mta_sts"] != "none":
            policy = mta_sts(p["mta_sts"], exchangers.get(domain) or [host])
            # it has to change whenever the policy does
            name = hashlib.sha256(policy.encode()).hexdigest()[:16]
            found.append(record("mta-sts", "_mta-sts." + domain, "TXT", "v=STSv1; id=%s" % name, policy=policy))
    for key in p["dkim"]:
        name = "%s._domainkey.%s" % (key["selector"], key["domain"])
        # one that waits may be published later; one that has signed is still looked up for mail on its way
        need = {"next": "advised", "former": "optional"}.get(key.get("role"), "required")
        found.append(record("dkim", name, "TXT", key["value"], need, bits=key.get("bits")))
    need = "required" if p["tlsa"] else "optional"
    found += [record("tlsa", "_25._tcp." + host, "TLSA", "3 1 1 %s" % one, need) for one in certificates]
    return found


def strings(text):
    """*text* in character strings of a TXT record, quoted as in a zone file (RFC 1035, 5.1)."""
    data = text.encode("utf-8")
    parts = [data[at : at + STRING] for at in range(0, len(data), STRING)] or [b""]
    # a zone file has a semicolon and everything that is not ASCII in quotes, or escaped
    return " ".join(
        '"%s"'
        % "".join("\\" + chr(one) if one in b'"\\' else chr(one) if 32 <= one < 127 else "\\%03d" % one for one in part)
        for part in parts
    )


def line(one, ttl=3600):
    """A record as a line of a zone file, with full names."""
    value = one["value"]
    if one["type"] == "TXT":
        value = strings(value)
    elif one["type"] in ("PTR", "MX"):
        value += "."
    return "%s. %d IN %s %s" % (one["name"], ttl, one["type"], value)
