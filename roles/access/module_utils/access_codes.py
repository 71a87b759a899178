# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a DNSBL answers: the return-code filters of postconf(5) reject_rbl_client, read on the controller and on the host alike."""

import re

#: How lists refuse a resolver. Spamhaus publishes these three codes; others use the same block.
REFUSALS = {
    "127.255.255.252": "the zone's name is wrong",
    "127.255.255.254": "it does not serve public resolvers: this host has to use its own resolver, without forwarders",
    "127.255.255.255": "this resolver sends too many queries",
}


def ranges_of(text):
    """Return a return-code filter, d.d.d.d where d is a number or [n;n..n], as four lists of (least, most).

    Raises ValueError, whose text begins with the filter, for what is none.
    """
    octets = re.findall(r"\[[^\[\]]*\]|\d+", text)
    # what is found is put together again, so that nothing is overlooked
    if len(octets) != 4 or ".".join(octets) != text:
        raise ValueError("%r is not a filter such as 127.0.0.[2..11] or 127.0.0.2" % text)
    return [[_range(part, text) for part in octet.strip("[]").split(";")] for octet in octets]


def _range(part, text):
    match = re.match(r"\s*(\d{1,3})\s*(?:\.\.\s*(\d{1,3})\s*)?$", part)
    least, most = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
    if not least <= most <= 255:
        raise ValueError("%r: %r is not a number or range from 0 to 255" % (text, part))
    return least, most


def takes(ranges, address):
    """Return whether what ranges_of() gave takes an IPv4 *address* (text)."""
    return all(
        any(least <= int(octet) <= most for least, most in octets) for octets, octet in zip(ranges, address.split("."))
    )
