# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""DNS on the wire, as far as a module needs it to ask exactly one server, whatever resolv.conf says."""

from __future__ import annotations

import struct

#: Types and classes by name (RFC 1035, 3.2.2 to 3.2.5).
TYPES = {"A": 1, "NS": 2, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28}
CLASSES = {"IN": 1, "CH": 3}
#: What a reply says, by the number in its header (RFC 1035, 4.1.1).
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def question(ident, name, qtype, qclass="IN", recurse=True):
    """Return one question as bytes (RFC 1035, 4.1). ident: 16 bits; name: "." is the root; qtype, qclass: names.

    Raises UnicodeError for a name with a label that is too long.
    """
    labels = b"".join(
        struct.pack("B", len(label)) + label for label in name.strip(".").encode("idna").split(b".") if label
    )
    return (
        struct.pack("!6H", ident, 0x0100 if recurse else 0, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!2H", TYPES[qtype], CLASSES[qclass])
    )
