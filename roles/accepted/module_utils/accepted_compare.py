# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A wanted record against what the name servers answer. Pure but for the function that it asks through."""

import base64
import binascii
import ipaddress
import re

from ansible.module_utils.accepted_wanted import mechanisms
from ansible.module_utils.sokuhai import spfpolicy

STRICTNESS = ("none", "quarantine", "reject")
#: DER: object identifier of an RSA key (RFC 8017, A.1).
RSA = bytes.fromhex("2a864886f70d010101")


def tags(text):
    """The tags of a DKIM, DMARC, TLSRPT or MTA-STS record: {name: value without white space} (RFC 6376, 3.2)."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): re.sub(r"\s+", "", value) for name, found, value in pairs if found}


def _der(data, at=0):
    """(begin, end) of the content of the DER value at *at*."""
    length, at = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at : at + count], "big"), at + count
    return at, at + length


def key_bits(text):
    """Return the length in bits of a DKIM record's public key, 0 where it is none."""
    found = tags(text)
    try:
        data = base64.b64decode(found.get("p", ""), validate=True)
        if found.get("k", "rsa") != "rsa":
            return 8 * len(data)
        # SubjectPublicKeyInfo, or the key alone as RFC 6376 had it
        at, end = _der(data)
        if RSA in data[at : at + 32]:
            at = _der(data, at)[1]
            at = _der(data, _der(data, at)[0] + 1)[0]
        begin, end = _der(data, at)
        return int.from_bytes(data[begin:end], "big").bit_length() if end <= len(data) else 0
    except (IndexError, binascii.Error):
        return 0


def state(one, how, found="", expected=None, paste=None):
    """*one* with what became of it: state fine, missing, different, twice, long, short, costly, broken or unknown; found, expected: values."""
    return dict(
        one,
        state=how,
        found=found,
        expected=one["value"] if expected is None else expected,
        paste=paste or one["value"],
    )


def compare(one, ask):
    """Return the wanted record *one* with its state. ask: function (name, type) -> values, or None where nobody answers."""
    answers = ask(one["name"], one["type"])
    if answers is None:
        return state(one, "unknown")
    return COMPARE[one["use"]](one, answers, ask)


def _address(one, answers, _ask):
    same = [ipaddress.ip_address(answer) for answer in answers]
    if ipaddress.ip_address(one["value"]) in same:
        return state(one, "fine", one["value"])
    return state(one, "different" if answers else "missing", ", ".join(answers))


def _reverse(one, answers, _ask):
    if one["value"].lower() in answers:
        return state(one, "fine", ", ".join(answers))
    return state(one, "different" if answers else "missing", ", ".join(answers))


def _mx(one, answers, _ask):
    """Answers to mail must arrive somewhere; which host that is, is the operator's matter."""
    if not answers:
        return state(one, "missing")
    null = [answer.split()[1:] for answer in answers] == [[]]
    return state(one, "different" if null else "fine", ", ".join(answers))


def _spf(one, answers, ask):
    policy = spfpolicy.Policy(one["name"], one["addresses"], ask)
    if not policy.records:
        return state(one, "missing")
    now = policy.records[0]
    if len(policy.records) > 1:
        return state(one, "twice", " | ".join(policy.records), "one SPF record")
    if len(now) > spfpolicy.LENGTH:
        return state(one, "long", "%d characters" % len(now), "at most %d characters" % spfpolicy.LENGTH)
    if policy.bad:
        costly = policy.bad.endswith("lookups")
        most = "at most %d lookups, %d of them void" % (spfpolicy.LOOKUPS, spfpolicy.VOIDS)
        return state(one, "costly" if costly else "broken", policy.bad, most if costly else "an SPF policy")
    lacking = [address for address, result in policy.results.items() if result not in ("pass", "temperror", "unknown")]
    words = [word for word in one["more"] if word.lower() not in now.lower().split()]
    if lacking or words:
        extra = mechanisms(lacking) + words
        text = " ".join([now.split()[0], *extra, *now.split()[1:]])
        return dict(state(one, "different", now, paste=text), lacking=[] if words else lacking)
    unsure = [result for result in policy.results.values() if result != "pass"]
    return state(one, "unknown" if unsure else "fine", now)


def _one(one, answers, version):
    """(record, None) of the only answer that begins with *version*, or (None, state)."""
    found = [answer for answer in answers if answer.replace(" ", "").lower().startswith(version.lower())]
    if not found:
        return None, state(one, "missing")
    if len(found) > 1:
        return None, state(one, "twice", " | ".join(found), "one record")
    return found[0], None


def _dmarc(one, answers, ask):
    # what a domain does not say its parents say (RFC 7489, 6.6.3)
    labels, name = one["domain"].split("."), ""
    for at in range(len(labels) - 1):
        name = "_dmarc." + ".".join(labels[at:])
        now = ask(name, "TXT") if at else answers
        if now is None:
            return state(one, "unknown")
        record, problem = _one(one, now, "v=DMARC1")
        if record or problem["state"] == "twice":
            break
    else:
        return state(one, "missing")
    if problem:
        return problem
    there, mine = tags(record), tags(one["value"])
    policy = there.get("sp", there.get("p", "")) if at else there.get("p", "")
    if policy.lower() not in STRICTNESS:
        return state(one, "broken", record)
    weak = STRICTNESS.index(policy.lower()) < STRICTNESS.index(mine["p"])
    unheard = mine.get("rua", "").lower() not in there.get("rua", "").lower()
    return state(one, "different" if weak or unheard else "fine", record)


def _tagged(version, tag):
    def judge(one, answers, _ask):
        record, problem = _one(one, answers, version)
        if problem:
            return problem
        there, mine = tags(record), tags(one["value"])
        same = mine[tag].lower() in there.get(tag, "").lower() or one["need"] == "optional" and there.get(tag)
        return state(one, "fine" if same else "different", record)

    return judge


def _dkim(one, answers, _ask):
    found = [answer for answer in answers if "p" in tags(answer)]
    if not found:
        return state(one, "missing")
    if len(found) > 1:
        return state(one, "twice", " | ".join(found), "one record")
    there, mine = tags(found[0]), tags(one["value"])
    if (there["p"], there.get("k", "rsa")) == (mine["p"], mine.get("k", "rsa")):
        bits = key_bits(found[0])
        if one["bits"] and bits < one["bits"]:
            return state(one, "short", "%d bits" % bits, "%d bits" % one["bits"])
        return state(one, "fine", found[0])
    if there["p"] and mine["p"].startswith(there["p"]):
        length = len(found[0])
        return state(one, "long", "cut after %d characters" % length, "%d characters" % len(one["value"]))
    return state(one, "different", found[0])


def _tlsa(one, answers, _ask):
    if one["value"] in answers:
        return state(one, "fine", one["value"])
    return state(one, "different" if answers else "missing", ", ".join(answers))


COMPARE = {
    "address": _address,
    "reverse": _reverse,
    "helo spf": _spf,
    "spf": _spf,
    "mx": _mx,
    "dmarc": _dmarc,
    "tlsrpt": _tagged("v=TLSRPTv1", "rua"),
    "mta-sts": _tagged("v=STSv1", "id"),
    "dkim": _dkim,
    "tlsa": _tlsa,
}


def counts(one):
    """Whether a compared record is a finding: anything wrong is, and what is missing where it is required."""
    return one["state"] not in ("fine", "unknown") and (one["state"] != "missing" or one["need"] == "required")
