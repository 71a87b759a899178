# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Postfix's policy protocol (SMTPD_POLICY_README), by which a service is proved before Postfix asks it."""


def request(helo_name, sender, recipient, instance):
    """Return what smtpd(8) asks at RCPT, about a client that is nobody (RFC 5737)."""
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": "192.0.2.250",
        "client_name": "unknown",
        "helo_name": helo_name,
        "sender": sender,
        "recipient": recipient,
        "instance": instance,
        "etrn_domain": "",
    }
    return "".join("%s=%s\n" % item for item in attributes.items()) + "\n"
