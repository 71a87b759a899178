# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Would mail of this host be accepted? All that was looked at as items, and as text with the remedies."""

#: What puts an item right. {thing}, {expected}, {found}: its own.
REMEDIES = {
    "dns": "publish the record that playbooks/dns.yml prints",
    "reverse": "have the provider of the address set its reverse name to {expected}",
    "ipv6": (
        "put the records of the IPv6 address right; until then send by IPv4 to those who have both: postfix_main_cf: "
        "[{{name: smtp_address_preference, value: ipv4}}]"
    ),
    "helo": "remove smtp_helo_name from postfix_main_cf, or set sokuhai_hostname to the name of the address",
    "dnsbl": "look up at the list why, end the cause, and ask there for the removal",
    "clock": "sysrc ntpd_enable=YES ntpd_sync_on_start=YES, then service ntpd start",
    "certificate": "renew it, or name the right one: postfix_tls_cert, postfix_tls_key",
    "port25": (
        "the network between closes port 25, as Japanese providers do (OP25B): ask yours to open it for a fixed address, or send through its relay: "
        "sokuhai_smarthost"
    ),
    "test": "name an address of your own elsewhere: accepted_test_address",
    "queue": "see why it waits: mailq, and the mail log",
    "rejected": "the reply says why; the items that are not fine above are the likely cause",
    "spf": "the receiver saw another address, or another sender, than the SPF record has",
    "dkim": "see that this mail is signed and that the record of its selector is published",
    "dmarc": "the domain of From has to be that of SPF's sender or of the DKIM signature",
    "sign": "sign what is sent: Gmail, Yahoo and Microsoft refuse bulk mail without a DKIM signature: dkim_domains",
}
STATES = {"fine": "fine", "wrong": "NOT FINE", "unknown": "not known"}


def item(id, thing, state, found="", expected="", remedy=""):
    return {"id": id, "thing": thing, "state": state, "found": found, "expected": expected, "remedy": remedy}


def of_version(one, version):
    """Whether a compared record is about addresses of that version of IP alone."""
    if one["use"] == "address":
        return one["type"] == {4: "A", 6: "AAAA"}[version]
    if one["use"] == "reverse":
        return one["name"].endswith({4: ".in-addr.arpa", 6: ".ip6.arpa"}[version])
    lacking = one.get("lacking") or []
    return bool(lacking) and all((":" in address) == (version == 6) for address in lacking)


def record(one, spared):
    """The item of a compared record. spared: whether what is wrong with an IPv6 address does no harm."""
    id = " ".join([one["use"], one["name"]] + ([one["value"]] if one["use"] == "address" else []))
    thing = "%s %s" % (one["type"], one["name"])
    if one["state"] in ("fine", "unknown"):
        found = (
            "no answer in the DNS, or one that depends on the receiver" if one["state"] == "unknown" else one["found"]
        )
        return item(id, thing, one["state"], found, one["expected"])
    if one["state"] == "missing" and one["need"] != "required":
        return item(id, thing, "fine", "not published, and %s" % one["need"])
    if spared and of_version(one, 6):
        return item(id, thing, "fine", (one["found"] or "nothing") + ", and IPv4 is preferred")
    name = "" if one["state"] in ("missing", "different") else " (%s)" % one["state"]
    remedy = "reverse" if one["use"] == "reverse" else "dns"
    return item(id, thing, "wrong", (one["found"] or "nothing") + name, one["paste"], remedy)


def signature(domain, keys, milters):
    """The item of a domain's DKIM signature. keys: as accepted_dkim; milters: Postfix's smtpd_milters."""
    selectors = [
        key["selector"] for key in keys if key["domain"] == domain and (key.get("role") or "signing") == "signing"
    ]
    if selectors:
        return item("dkim %s" % domain, "DKIM signature of %s" % domain, "fine", ", ".join(selectors))
    if milters:
        return item(
            "dkim %s" % domain,
            "DKIM signature of %s" % domain,
            "unknown",
            "signed by nothing but, perhaps, %s" % milters,
        )
    return item("dkim %s" % domain, "DKIM signature of %s" % domain, "wrong", "not signed", "a signature", "sign")


def accepted_items(dns, probed, listed=(), domains=(), keys=()):
    """Return everything that was looked at, as items: {id, thing, state, found, expected, remedy}.

    dns: what module accepted_records returned. probed: items of module accepted_probe. listed: what module access_dnsbl_health says of the host's
    addresses. domains: those that mail is sent from. keys: as accepted_dkim.
    """
    six = [one for one in dns["addresses"] if ":" in one]
    four = [one for one in dns["addresses"] if ":" not in one]
    preferred = dns["settings"].get("smtp_address_preference", "") == "ipv4"
    spared = bool(preferred and four)
    found = [record(one, spared) for one in dns["records"]]
    wrong = [one["name"] for one in dns["records"] if of_version(one, 6) and one["state"] not in ("fine", "unknown")]
    if not six:
        found.append(
            item("ipv6", "IPv6", "fine", "not used" if dns["addresses"] else "no address of this host is known")
        )
    elif not wrong:
        found.append(item("ipv6", "IPv6", "fine", ", ".join(six)))
    elif spared:
        found.append(
            item("ipv6", "IPv6", "fine", "not right, so IPv4 is preferred; only hosts without IPv4 get mail by it")
        )
    else:
        found.append(
            item("ipv6", "IPv6", "wrong", "not right: %s" % ", ".join(wrong), "address, reverse name and SPF", "ipv6")
        )
    if not dns["addresses"]:
        found.append(item("addresses", "outgoing addresses", "unknown", "; ".join(dns["notes"]), "", ""))
    for one in listed:
        thing = "%s on %s" % (one["address"], one["zone"])
        state = {"clean": "fine", "listed": "wrong"}.get(one["state"], "unknown")
        found.append(
            item(
                "dnsbl %s %s" % (one["zone"], one["address"]),
                thing,
                state,
                one["found"] or "not listed",
                "not listed",
                "dnsbl" if state == "wrong" else "",
            )
        )
    if not listed and dns["addresses"]:
        found.append(item("dnsbl", "own addresses on DNSBLs", "unknown", "no DNSBL could be asked"))
    found += [signature(domain, keys, dns["settings"].get("smtpd_milters", "")) for domain in domains]
    return found + list(probed)


def accepted_report(items):
    """*items* as text (str), a line each, those that are not fine first, with what puts them right."""
    lines = []
    for state in ("wrong", "unknown", "fine"):
        for one in items:
            if one["state"] == state:
                expected = ", expected %s" % one["expected"] if one["expected"] and state != "fine" else ""
                lines.append("%s: %s: %s%s" % (STATES[state], one["thing"], one["found"] or "nothing", expected))
                if one["remedy"]:
                    lines.append("    " + REMEDIES[one["remedy"]].format(**one))
    return "\n".join(lines)


class FilterModule:
    def filters(self):
        return {"accepted_items": accepted_items, "accepted_report": accepted_report}
