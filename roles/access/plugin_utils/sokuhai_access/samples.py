# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_samples: what a table must answer, looked up as smtpd(8) does, as far as that is known without Postfix."""

import ipaddress
import re

from .declared import near, network
from .tables import EXCEPTED, NAMED, SAFE_YES, TYPES, YES

SAMPLED = tuple(name for name in TYPES if not name.startswith("trap_"))
CLASSES = {"digit": "0-9", "alpha": "A-Za-z", "alnum": "A-Za-z0-9", "space": r"\s", "xdigit": "0-9A-Fa-f"}


def keys_of(table, key, name=""):
    """Return the keys that smtpd(8) looks up for *key*, in its order: access(5), check_namadr_access() of smtpd_check.c.

    It looks for parts of a name or an address in indexed tables only, and for a client's name, which may be "unknown", before its address. A cidr
    table knows no names. name: of the client at the address *key*.
    """
    key = str(key)
    if table == "reject_sender" and "@" in key:
        local, _, domain = key.lower().rpartition("@")
        return [key.lower(), *_parents(domain), f"{local}@"]
    if table == "reject_sender":
        return [key.lower()]
    if table not in ("reject_client", "check_dynamic_client"):
        return [key]
    parts = _parents if table == "reject_client" else lambda domain: [domain]
    if not _is_address(key):
        return parts(key.lower())
    return [*parts((name or "unknown").lower()), *(_shortened(key) if table == "reject_client" else [key])]


def _is_address(key):
    held = network(key)
    return held is not None and "/" not in key


def _shortened(address):
    delimiter = ":" if ":" in address else "."
    parts = address.split(delimiter)
    return [delimiter.join(parts[:last]) for last in range(len(parts), 0, -1)]


def _parents(domain):
    labels = domain.split(".")
    return [".".join(labels[first:]) for first in range(len(labels))]


def lookup(table, entries, keys):
    """Return what a table answers to the first key it knows: text, '' for nothing, None where only Postfix itself can tell."""
    holds = {"cidr": _in_network, "regexp": _matches, "": _is}[TYPES.get(table, "")]
    for key in keys:
        for entry in entries:
            held = holds(str(entry["pattern"]), key)
            if held is None:
                return None
            if held:
                return entry["action"]
    return ""


def _is(pattern, key):
    return pattern.lower() == key.lower()


def _in_network(pattern, key):
    try:
        address = ipaddress.ip_address(key)
    except ValueError:
        return False
    held = network(pattern)
    return None if held is None else address.version == held.version and address in held


def _matches(pattern, key):
    """Return whether an expression of regexp_table(5) takes *key*, or None where Python's differ too much to tell."""
    negated, bare = pattern.startswith("!"), pattern.removeprefix("!")
    if not bare.startswith("/"):
        return None
    body, _, flags = bare[1:].rpartition("/")
    for name, members in CLASSES.items():
        body = body.replace(f"[:{name}:]", members)
    if "[:" in body or flags.strip("imx"):
        return None
    try:
        # without flags regexp tables are case-insensitive; i turns that off
        return bool(re.search(body, key, 0 if "i" in flags else re.IGNORECASE)) != negated
    except re.error:
        return None


def expected(sample):
    """Return what a sample's `expect` is in the table: text, '' for nothing."""
    said = str(sample.get("expect") or "")
    return SAFE_YES if said.lower() in YES else said


def _place(sample, tables):
    """Return (table, keys): where *sample* is answered. An address that is excepted by itself never comes as far as check_dynamic_client."""
    table, key = sample["table"], sample["key"]
    if table == "check_dynamic_client":
        answer = lookup(EXCEPTED, tables.get(EXCEPTED, []), [str(key)])
        if answer and answer != NAMED:
            table = EXCEPTED
    return table, keys_of(table, key, sample.get("name"))


def _answer(sample, tables):
    table, keys = _place(sample, tables)
    return lookup(table, tables.get(table, []), keys)


def holds(sample, tables):
    """Return whether a table answers a sample as expected (it may go on with a text), or None where only Postfix itself can tell."""
    got = _answer(sample, tables)
    want = expected(sample)
    return None if got is None else got == want or (want != "" and got.startswith(want + " "))


def of_table(declared, tables, table):
    """Return [{keys, expect}] of *table*, for postmap -q: the inventory's samples, and those of the role that its entries have not made untrue."""
    own = [
        sample
        for sample in declared["own_samples"]
        if _place(sample, tables)[0] == table and holds(sample, tables) is not False
    ]
    given = [sample for sample in declared["samples"] if sample.get("table") and _place(sample, tables)[0] == table]
    return [{"keys": _place(sample, tables)[1], "expect": expected(sample)} for sample in own + given]


def problems(declared, tables):
    """Return the samples that *tables*, of which the countries' are not known yet, do not answer as expected: sentences that begin with access_samples."""
    found = []
    for number, sample in enumerate(declared["samples"], 1):
        table, key = sample.get("table"), sample.get("key")
        if table not in SAMPLED:
            found.append(f"access_samples[{number}]: no table {table!r}{near(table, SAMPLED)}")
        elif table in tables and holds(sample, tables) is False:
            got, client = _answer(sample, tables), ", ".join(_place(sample, tables)[1][:2])
            found.append(
                f"access_samples[{number}]: {table} answers {client if table == 'check_dynamic_client' else key} with {got or 'nothing'}, expected is {sample.get('expect') or 'nothing'}"
            )
    return found
