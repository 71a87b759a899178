#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What decides, beside the DNS, whether mail of this host is accepted: its HELO name, its clock, its listeners' certificates and what the outside answers."""

DOCUMENTATION = r"""
module: accepted_probe
short_description: Ask the host, and the outside, whether its mail would be accepted
description:
  - Reads only, but for the test mail, which it sends where C(test_address) is given, not in check mode.
options:
  hostname: {description: Name of the host., type: str, required: true}
  addresses: {description: Addresses by which mail leaves., type: list, elements: str, required: true}
  certificate_days: {description: Days that a certificate must still be good for., type: int, default: 0}
  encrypted: {description: Whether others insist on a certificate of port 25 that somebody known has signed (MTA-STS)., type: bool, default: false}
  clock_seconds: {description: Seconds by which the clock may be wrong., type: int, default: 5}
  test_address: {description: "Address to which a test mail is sent, whose mail exchangers port 25 is tried at; empty for none.", type: str, default: ''}
  test_from: {description: Sender of the test mail., type: str, default: ''}
  test_mailbox: {description: Mailbox on the host in which the reply arrives; empty for none., type: str, default: ''}
  test_seconds: {description: Seconds to wait for the delivery and for the reply., type: int, default: 60}
  smarthost: {description: Host through which all mail leaves; port 25 to others does not count then., type: str, default: ''}
  maillog: {description: The mail log., type: str, default: /var/log/maillog}
author: sokuhai
"""

RETURN = r"""
items:
  description: >-
    What was looked at, each id, thing, state (fine, wrong or unknown), expected, found, and remedy, a word of filter accepted_report.
  type: list
  returned: success
"""

from ansible.module_utils import accepted_clock, accepted_outside, accepted_tls
from ansible.module_utils.accepted_host import Resolver, settings
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.postfix import postconf


def item(id, thing, state, found="", expected="", remedy=""):
    return {"id": id, "thing": thing, "state": state, "found": str(found), "expected": str(expected), "remedy": remedy}


def helo(said, p):
    """The name that smtp(8) says of itself; receivers look up whether it is that of the address."""
    name = said.get("smtp_helo_name", "")
    if not name:
        return item("helo", "HELO name", "unknown", "postconf does not answer", p["hostname"])
    same = name.lower() == p["hostname"].lower()
    return item("helo", "HELO name", "fine" if same else "wrong", name, p["hostname"], "" if same else "helo")


def clock(p, look=accepted_clock.look):
    daemon, wrong = look()
    expected = "at most %d s" % p["clock_seconds"]
    if not daemon:
        return item("clock", "clock", "unknown", "neither ntpd nor chronyd answers", expected, "clock")
    if wrong == "unsynchronized":
        return item("clock", "clock", "wrong", "%s is not synchronized" % daemon, expected, "clock")
    late = abs(wrong) > p["clock_seconds"]
    return item("clock", "clock", "wrong" if late else "fine", "%.3f s" % wrong, expected, "clock" if late else "")


def certificates(p, master, look=accepted_tls.look, loopbacks=("127.0.0.1", "::1")):
    """An item for each listener with TLS. A listener that does not listen on the loopback address is asked by the host's own addresses."""
    found = []
    for port in accepted_tls.ports(master):
        fault, value, days = "silent", "", None
        for address in [*loopbacks, *p["addresses"]]:
            fault, value, days = look(address, port, p["hostname"])
            if fault != "silent":
                break
        id, thing = "certificate %s" % port, "certificate of port %s" % port
        soon = days is not None and days < p["certificate_days"]
        if fault == "silent":
            found.append(item(id, thing, "unknown", value))
        elif fault == "unsigned" and port == "25" and not p["encrypted"] and not soon:
            # who delivers mail takes any certificate, unless a policy says otherwise (RFC 7435, 8461)
            found.append(item(id, thing, "fine", value))
        elif fault:
            expected = {"name": "names %s" % p["hostname"], "expired": "valid"}.get(
                fault, "signed by a known authority"
            )
            shown = {"name": "does not name %s", "expired": "expired %s"}.get(fault, "%s") % value
            found.append(item(id, thing, "wrong", shown, expected, "certificate"))
        elif soon:
            expected = "good for %d days" % p["certificate_days"]
            found.append(item(id, thing, "wrong", "good until %s" % value, expected, "certificate"))
        else:
            found.append(item(id, thing, "fine", "good until %s" % value))
    return found


def outside(p, ask, tried=accepted_outside.port25):
    """Port 25 of the hosts that the test address' mail goes to."""
    if p["smarthost"]:
        return [item("port 25", "port 25 to the outside", "fine", "mail leaves through %s" % p["smarthost"])]
    if not p["test_address"]:
        return [item("port 25", "port 25 to the outside", "unknown", "no accepted_test_address", "", "test")]
    domain = p["test_address"].rpartition("@")[2]
    targets = accepted_outside.exchangers(domain, ask)
    if not targets:
        why = "no answer in the DNS about %s" % domain if targets is None else "%s has no address" % domain
        return [item("port 25", "port 25 to the outside", "unknown", why)]
    found = []
    for family, fault, value in tried(targets, p["addresses"]):
        id, thing = "port 25 %s" % family, "port 25 to the outside, %s" % family
        if fault == "nobody":
            found.append(item(id, thing, "unknown", "%s has no such address" % domain))
        else:
            found.append(item(id, thing, "wrong" if fault else "fine", value, "a greeting", "port25" if fault else ""))
    return found


def judged(fate, answers, p):
    """Items of the test mail. fate: (status, dsn, text) or None; answers: {method: result} of its Authentication-Results, or None."""
    thing = "test mail to %s" % p["test_address"]
    if fate is None:
        why = "not delivered within %d s" % p["test_seconds"]
        return [item("test mail", thing, "unknown", why, "accepted", "queue")]
    status, dsn, text = fate
    if status != "sent":
        state = "wrong" if status in ("bounced", "expired") else "unknown"
        return [item("test mail", thing, state, "%s %s: %s" % (status, dsn, text), "accepted", "rejected")]
    found = [item("test mail", thing, "fine", text, "accepted")]
    if answers is None:
        why = (
            "no reply in %s" % p["test_mailbox"]
            if p["test_mailbox"]
            else "look into the mailbox of %s" % p["test_address"]
        )
        return [*found, item("authentication", "Authentication-Results", "unknown", why, "spf, dkim and dmarc pass")]
    for method in accepted_outside.METHODS:
        result = answers.get(method, "none")
        state = "fine" if result == "pass" else "unknown" if result == "temperror" else "wrong"
        remedy = "" if state == "fine" else method
        found.append(
            item("authentication %s" % method, "Authentication-Results: %s" % method, state, result, "pass", remedy)
        )
    return found


def test_mail(p):
    if not p["test_address"]:
        return [item("test mail", "test mail", "unknown", "no accepted_test_address", "", "test")]
    token, since = accepted_outside.send(p, p["hostname"])

    def end():
        fate = accepted_outside.fate(p["maillog"], since, token, p["hostname"])
        return fate if fate and fate[0] != "deferred" else None

    fate = host.wait_until(end, p["test_seconds"], 0.5)
    fate = fate or accepted_outside.fate(p["maillog"], since, token, p["hostname"])
    answers = None
    if fate and fate[0] == "sent" and p["test_mailbox"]:
        answers = host.wait_until(
            lambda: accepted_outside.results(host.read(p["test_mailbox"]) or "", token), p["test_seconds"], 0.5
        )
    return judged(fate, answers or None, p)


def look(p, check_mode):
    items = [helo(settings(), p), clock(p), *certificates(p, postconf("-M")), *outside(p, Resolver(15).ask)]
    return {"changed": False, "items": items + ([] if check_mode else test_mail(p))}


def main():
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "certificate_days": {"type": "int", "default": 0},
            "encrypted": {"type": "bool", "default": False},
            "clock_seconds": {"type": "int", "default": 5},
            "test_address": {"type": "str", "default": ""},
            "test_from": {"type": "str", "default": ""},
            "test_mailbox": {"type": "str", "default": ""},
            "test_seconds": {"type": "int", "default": 60},
            "smarthost": {"type": "str", "default": ""},
            "maillog": {"type": "str", "default": "/var/log/maillog"},
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: look(module.params, module.check_mode))


if __name__ == "__main__":
    main()
