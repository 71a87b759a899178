# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Whose users log in: those of the inventory, or those of a Dovecot that was on the host before."""


def preflight_dovecot(probe, declared, with_hash):
    """Return what is wrong between the declared users and the Dovecot of the host, a list of messages.

    declared: {variable: typed value} of all roles, without secrets. with_hash: names of the users that have one.
    """
    users = declared["sasl_users"]
    if not probe["dovecot"] or declared["sasl_replace_config"]:
        without = [user["name"] for user in users if user["name"] not in with_hash]
        return [
            f"sasl_users: {name} has no password_hash, and this host has no Dovecot of its owner's that would know one; make one with: "
            "doveadm pw -s SHA512-CRYPT"
            for name in without
        ]
    problems = []
    if with_hash:
        problems.append(
            f"sasl_users: password_hash of {', '.join(with_hash)}: AUTH is had of the Dovecot of {probe['dovecot']}, which its owner set up, and passwords are "
            "those it has. Leave password_hash out, or the user, or set sasl_replace_config: true"
        )
    if declared["sasl_sender_check"] == "reject" and not users:
        problems.append(
            f"sasl_sender_check: reject would reject all that the users of {probe['dovecot']} send, since none is declared: list them in sasl_users, each with "
            "name and addresses, without password_hash; or set sasl_sender_check: warn"
        )
    return problems


class FilterModule:
    def filters(self):
        return {"preflight_dovecot": preflight_dovecot}
