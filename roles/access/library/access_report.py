#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the traps have caught, by restriction, read from the mail log."""

DOCUMENTATION = r"""
module: access_report
short_description: Count what each rule would have done with the mail to trap addresses
description:
  - Reads the mail log. A rule's line for a trap is a reject_warning of smtpd(8) (the rule was asked and did not decide) or a reject (of
    postscreen(8), which knows no traps, or of the relay list).
  - Only counts. Changes nothing, blocks nobody; works in check mode.
options:
  traps: {description: Addresses., type: list, elements: str, required: true}
  logs:
    description: Files to read, older ones first. Compressed ones end in .bz2, .gz or .xz; one that is missing is skipped and named.
    type: list
    elements: path
    default: [/var/log/maillog]
  rotated:
    description: Of each log also the so many youngest that newsyslog(8) has rotated, maillog.0.bz2 and so on.
    type: int
    default: 0
author: sokuhai
"""

RETURN = r"""
traps: {description: "By address: taken (mails thrown away), refused (by postscreen(8) or the relay list), rules (by rule: count).", type: dict, returned: always}
rules: {description: "By rule: count, over all traps, most first.", type: dict, returned: always}
clients: {description: "By client address: RCPTs to traps that a rule had something to say about.", type: dict, returned: always}
missing: {description: "Logs that are not there, or packed as Python cannot unpack (zstd).", type: list, returned: always}
"""

import bz2
import collections
import glob
import gzip
import lzma
import os
import re

from ansible.module_utils.basic import AnsibleModule

SMTPD = re.compile(
    r"postfix\S*/(?:smtpd|postscreen)\[\d+\]: (?:\S+: )?(?P<what>reject|reject_warning): RCPT from "
    r".*?\[(?P<client>[0-9A-Fa-f:.]+)\]\S*: (?P<text>.*); from=<(?P<sender>[^>]*)>,? to=<(?P<to>[^>]*)>"
)
LOCAL = re.compile(
    r"postfix/local\[\d+\]: \S+: to=<(?P<to>[^>]*)>(?:, orig_to=<(?P<orig>[^>]*)>)?,.* status=sent \(delivered to file: /dev/null\)"
)

READERS = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open}

# What smtpd says, and the rule that says so. Our own tables say their name at the end.
TEXTS = (
    (r"\(((?:reject_|check_|client_|country_|trap_)\w*(?:: [^()]+)?)\)$", r"\1"),
    (r"blocked using ([A-Za-z0-9.-]+)", r"dnsbl: \1"),
    (r"Client host rejected: cannot find your hostname", "reject_unknown_client_hostname"),
    (r"Client host rejected: cannot find your reverse hostname", "reject_unknown_reverse_client_hostname"),
    (r"Helo command rejected: Invalid name", "reject_invalid_helo_hostname"),
    (r"Helo command rejected: need fully-qualified hostname", "reject_non_fqdn_helo_hostname"),
    (r"Helo command rejected: Host not found", "reject_unknown_helo_hostname"),
    (r"Sender address rejected: (?:Domain not found|Malformed DNS)", "reject_unknown_sender_domain"),
    (r"Sender address rejected: need fully-qualified address", "reject_non_fqdn_sender"),
    (r"Sender address rejected: .*(?:User unknown|undeliverable)", "reject_unlisted_sender"),
    (r"Recipient address rejected: need fully-qualified address", "reject_non_fqdn_recipient"),
    (r"Recipient address rejected: .*User unknown", "reject_unlisted_recipient"),
    (r"Relay access denied", "reject_unauth_destination"),
    (r"(?i)spf", "spf"),
    (r"(?i)greylist", "greylist"),
    (r"Protocol error", "postscreen: pregreet"),
    (r"Improper use of SMTP command pipelining", "reject_unauth_pipelining"),
)


def rule_of(text):
    """The name of the rule that gave a reply."""
    for pattern, name in TEXTS:
        match = re.search(pattern, text)
        if match:
            return match.expand(name)
    return "other"


def counts(lines, traps):
    """{traps, rules, clients} of the lines of a mail log."""
    known = {trap.lower(): {"taken": 0, "refused": 0, "rules": collections.Counter()} for trap in traps}
    rules, clients = collections.Counter(), collections.Counter()
    for line in lines:
        judged, delivered = SMTPD.search(line), LOCAL.search(line)
        if judged and judged["to"].lower() in known:
            trap, rule = known[judged["to"].lower()], rule_of(judged["text"])
            trap["rules"][rule] += 1
            trap["refused"] += judged["what"] == "reject"
            rules[rule] += 1
            clients[judged["client"]] += 1
        elif delivered:
            to = (delivered["orig"] or delivered["to"]).lower()
            if to in known:
                known[to]["taken"] += 1
    return {"traps": known, "rules": most_first(rules), "clients": most_first(clients)}


def most_first(counter):
    return dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))


def rotated(path, number):
    """The *number* youngest rotated logs of *path*, oldest first; newsyslog(8) counts them from 0 on, and packs them or not."""
    found = []
    for name in glob.glob(glob.escape(path) + ".*"):
        match = re.fullmatch(re.escape(path) + r"\.(\d+)(?:\.(?:bz2|gz|xz|zst))?", name)
        if match and int(match.group(1)) < number:
            found.append((-int(match.group(1)), name))
    return [name for _, name in sorted(found)]


def read(paths, missing):
    """Yield the lines of *paths*; note in *missing* those that are not there or cannot be unpacked."""
    for path in paths:
        ending = os.path.splitext(path)[1]
        if ending == ".zst":
            missing.append(path)
            continue
        try:
            with READERS.get(ending, open)(path, "rt", encoding="utf-8", errors="replace") as handle:
                yield from handle
        except FileNotFoundError:
            missing.append(path)


def main():
    module = AnsibleModule(
        argument_spec={
            "traps": {"type": "list", "elements": "str", "required": True},
            "logs": {"type": "list", "elements": "path", "default": ["/var/log/maillog"]},
            "rotated": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    missing = []
    try:
        logs = [name for path in module.params["logs"] for name in rotated(path, module.params["rotated"]) + [path]]
        found = counts(read(logs, missing), module.params["traps"])
    except (OSError, EOFError) as error:
        module.fail_json(msg="sokuhai_maillog: %s" % error)
    module.exit_json(changed=False, missing=missing, **found)


if __name__ == "__main__":
    main()
