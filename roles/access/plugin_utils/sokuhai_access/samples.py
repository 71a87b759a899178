# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""access_samples: what a table must answer, as questions that the host's own postmap(1) answers, in the order in which smtpd(8) asks."""

from .declared import near, network
from .tables import EXCEPTED, NAMED, SAFE_YES, TYPES, YES

SAMPLED = tuple(name for name in TYPES if not name.startswith("trap_"))
#: What of the inventory goes into a table that the role has samples of.
DECLARED_IN = {"reject_helo": ("helo",), "check_dynamic_client": ("dynamic", "dynamic_exceptions")}


def _keys(table, key, name, expect):
    """Return the keys that smtpd(8) looks up for *key*, in its order: access(5), check_namadr_access() of smtpd_check.c.

    It looks for parts of a name or an address in indexed tables only, and for a client's name, which may be "unknown", before its address. A cidr
    table knows no names. name: of the client at the address *key*; a sample without one that expects no answer is of the address alone.
    """
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
    name = (name or ("unknown" if expect else "")).lower()
    return [*(parts(name) if name else []), *(_shortened(key) if table == "reject_client" else [key])]


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


def _question(sample, origin):
    """Return what postmap(1) is asked for *sample*, see questions()."""
    table, key, expect = sample["table"], str(sample["key"]), str(sample.get("expect") or "")
    asked = [[table, one] for one in _keys(table, key, sample.get("name"), expect)]
    question = {"origin": origin, "asked": asked, "expect": SAFE_YES if expect.lower() in YES else expect}
    if table == "check_dynamic_client" and _is_address(key):
        # an address that is excepted by itself never comes as far as the names
        question["asked"].insert(0, [EXCEPTED, key])
        question["past"] = NAMED
    return question


def given(declared):
    """Return the questions of the inventory's samples: see questions()."""
    return [
        _question(sample, f"access_samples[{number}]")
        for number, sample in enumerate(declared["samples"], 1)
        if sample.get("table") in SAMPLED
    ]


def questions(declared):
    """Return [{origin, asked: [[table, key], …], past, expect}] for postmap(1): the inventory's samples, and the role's of each table that the
    inventory leaves as it is.

    The first answer that is not *past* counts, and may go on behind *expect*; '' is none. origin: what a sentence about it begins with.
    """
    own = [
        _question(sample, "access (a sample of the role)")
        for sample in declared["own_samples"]
        if not any(declared[variable] for variable in DECLARED_IN[sample["table"]])
    ]
    return own + given(declared)


def problems(declared):
    """Return the samples of tables that there are not: sentences that begin with access_samples."""
    return [
        f"access_samples[{number}]: no table {sample.get('table')!r}{near(sample.get('table'), SAMPLED)}"
        for number, sample in enumerate(declared["samples"], 1)
        if sample.get("table") not in SAMPLED
    ]
