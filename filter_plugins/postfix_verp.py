# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""VERP: a bounce that names its recipient. What main.cf has of it, and what is declared wrongly.

Pure functions. Rules: VERP_README, postconf(5) of Postfix 3.7 to 3.11.
"""

import pathlib
import sys

# Ansible loads each filter file by its path, without a package
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_tables import network_problem

GROUP = {"group": "VERP", "weight": 375}
CLIENTS = "smtpd_authorized_verp_clients"
#: Postfix's defaults: alert+user=domain@example.org.
DELIMITERS = "+="
#: verp_delimiter_filter
POSSIBLE = "-=+"
NETWORKS = "$mynetworks"


def client(value):
    """Return one client as Postfix's list has it: IPv6 in brackets, since a colon would make it type:table (match_list(3))."""
    address, slash, length = str(value).strip().partition("/")
    return f"[{address}]{slash}{length}" if ":" in address and not address.startswith("[") else str(value).strip()


def postfix_verp_items(clients):
    """Return the items of main.cf for those who may ask for VERP; [] for none."""
    if not clients:
        return []
    return [
        {
            **GROUP,
            "name": CLIENTS,
            "value": [client(value) for value in clients],
            "comment": "who may ask for VERP with XVERP; sendmail -XV on this host always may",
        },
        {
            **GROUP,
            "name": "recipient_delimiter",
            "value": DELIMITERS[0],
            "comment": "so that a bounce to alert+user=domain comes to alert",
        },
    ]


def postfix_verp_problems(declared):
    """Return what is wrong with postfix_verp, a list of sentences. declared: the role's variables, each of its type."""
    clients = declared["postfix_verp"]
    problems = [network_problem(value) for value in clients if value != NETWORKS]
    found = [f"postfix_verp: {problem}, nor {NETWORKS}" for problem in problems if problem]
    found += [
        f"postfix_verp: {value!r} is the whole internet; whoever sends to the list is a client like 127.0.0.1, or {NETWORKS}"
        for value in clients
        if str(value).endswith("/0")
    ]
    if not clients:
        return found
    given = {
        item["name"]: str(item.get("value") or "")
        for item in declared["postfix_main_cf"]
        if item.get("state") != "absent"
    }
    if CLIENTS in given:
        found.append(f"postfix_main_cf: {CLIENTS} is written by postfix_verp: leave one of the two out")
    first = given.get("default_verp_delimiters", DELIMITERS)[:1]
    possible = given.get("recipient_delimiter", DELIMITERS[0])
    if first not in possible or first not in POSSIBLE:
        fits = next((one for one in possible if one in POSSIBLE and one != "="), DELIMITERS[0])
        found.append(
            f"postfix_main_cf: with recipient_delimiter {possible!r} a bounce to alert{first}user=domain comes to nobody, as postfix_verp needs it: set "
            f"default_verp_delimiters to {fits}= or recipient_delimiter to {DELIMITERS[0]}"
        )
    return found


class FilterModule:
    def filters(self):
        return {"postfix_verp_items": postfix_verp_items, "postfix_verp_problems": postfix_verp_problems}
