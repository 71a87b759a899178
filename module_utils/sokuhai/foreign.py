# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A configuration that none of our roles wrote: what of Postfix's would be lost, and the inventory lines that carry it over. Python 3.9."""

import json
import os
import pwd
import re

from ansible.module_utils.sokuhai import host

#: Every header that role postfix ever wrote.
POSTFIX_MARK = re.compile(r"^# Written whole by (?:sokuhai's|the toolkit's) role postfix;", re.M)
#: Parameters that are variables of their own in the inventory, and whether the variable is a list.
VARIABLES = {
    "myhostname": ("sokuhai_hostname", False),
    "mydomain": ("sokuhai_domain", False),
    "mydestination": ("postfix_destinations", True),
    "mynetworks": ("postfix_mynetworks", True),
    "inet_interfaces": ("postfix_inet_interfaces", True),
    "inet_protocols": ("postfix_inet_protocols", False),
    "smtpd_tls_cert_file": ("postfix_tls_cert", False),
    "smtpd_tls_key_file": ("postfix_tls_key", False),
    "default_process_limit": ("sokuhai_process_limit", False),
}
#: Parameters that are declared entry by entry: where.
ENTRIES = (
    (r"smtpd_\w+_restrictions$", "postfix_restrictions"),
    (r"alias_(maps|database)$", "postfix_aliases"),
    (r"smtpd_client_\w+_rate_limit$", "postfix_rates_per_minute"),
)
#: What the role takes from the main.cf in force.
TAKEN = re.compile(r"\w+_(directory|path)$|mail_owner$|setgid_group$")
#: Headings of what would be lost; the last one has the rest.
KINDS = (
    ("virtual domains", r"virtual_"),
    ("relaying", r"relay|transport_maps$|sender_dependent_|smtp_sasl_|smtp_fallback_relay$|default_transport$"),
    ("milters", r"\w*milter"),
    ("parameters", r""),
)
#: Entries of aliases(5) as FreeBSD ships them, by their left and right sides; an account of the system is one, too.
STOCK_NAMES = frozenset(
    "mailer-daemon postmaster _dhcp _pflogd auditdistd bin bind daemon games hast kmem mailnull man news nobody operator pop proxy smmsp sshd system "
    "toor tty usenet uucp xten www abuse security ftp ftp-bugs".split()
)
STOCK_VALUES = ("root", "postmaster", "news", "ftp")
FIELDS = ("private", "unpriv", "chroot", "wakeup", "maxproc")


def lines(text):
    """Return the logical lines of main.cf or master.cf: a line that begins with white space goes on with the one before."""
    found = []
    for line in (text or "").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and found:
            found[-1] += " " + line.strip()
        else:
            found.append(line.strip())
    return found


def parameters(text):
    """Return {name: value} of main.cf; the last of a name counts."""
    pairs = (line.partition("=") for line in lines(text))
    return {name.strip(): " ".join(value.split()) for name, _equals, value in pairs}


def services(text):
    """Return {(name, type): the other fields, the last one the command with its arguments} of master.cf."""
    fields = [line.split(None, 7) for line in lines(text)]
    return {(one[0], one[1]): [*one[2:7], " ".join(one[7].split())] for one in fields if len(one) == 8}


def postfix(directory):
    """Return ({parameter: value}, {service: fields}) that nobody of us wrote in *directory* and the package's samples have not."""
    found = []
    for name, parsed in (("main.cf", parameters), ("master.cf", services)):
        path = os.path.join(directory, name)
        text = host.read(path)
        own = {} if text is None or POSTFIX_MARK.search(text) else parsed(text)
        sample = parsed(host.read(path + ".sample"))
        found.append({key: value for key, value in own.items() if sample.get(key) != value})
    found[0] = {name: value for name, value in found[0].items() if not TAKEN.match(name)}
    return tuple(found)


def postfix_refusal(directory):
    """Return why *directory* is not taken over unasked, as text of several lines, or "" where nothing would be lost."""
    values, extra = postfix(directory)
    if not values and not extra:
        return ""
    lost, rest = [], dict(values)
    for kind, pattern in KINDS:
        names = [name for name in rest if re.match(pattern, name)]
        lost += ["%s: %s" % (kind, ", ".join(names))] if names else []
        for name in names:
            del rest[name]
    lost += ["services of master.cf: %s" % ", ".join("%s/%s" % key for key in extra)] if extra else []
    return "\n".join(
        (
            "postfix_replace_config: the main.cf or master.cf in %s was not written by this project, and its place would be taken. Lost would be"
            % directory,
            *lost,
            "What is to stay goes into the inventory:",
            *inventory(values, extra),
            "Then set postfix_replace_config: true. What is there now is kept beside it, as main.cf.before-sokuhai and master.cf.before-sokuhai.",
        )
    )


def aliases(directory):
    """Return {file: {name: value}} of aliases that are neither FreeBSD's nor of the Postfix in *directory* as ours: it would not read them any more."""
    text = host.read(os.path.join(directory, "main.cf")) or ""
    if POSTFIX_MARK.search(text):
        return {}
    values = parameters(text)
    named = re.findall(
        r"\w+:(/\S+?)(?:,|\s|$)", " ".join(values.get(name, "") for name in ("alias_maps", "alias_database"))
    )
    found, files = {}, {}
    for path in ["/etc/mail/aliases", *named]:
        files.setdefault(os.path.realpath(path), path)
    for path in files.values():
        entries = (line.partition(":") for line in lines(host.read(path)) if ":" in line)
        own = {name.strip().strip('"').lower(): " ".join(value.split()) for name, _colon, value in entries}
        found[path] = {name: value for name, value in own.items() if not stock(name, value)}
    return {path: own for path, own in found.items() if own}


def stock(name, value):
    """Return whether an entry of aliases(5) is FreeBSD's: it sends an account of the system to root."""
    if value.lower() not in STOCK_VALUES:
        return False
    try:
        return name in STOCK_NAMES or 0 < pwd.getpwnam(name).pw_uid < 1000
    except KeyError:
        return False


def inventory(values, extra):
    """Return the lines of an inventory that carry parameters and services over."""
    found, items = [], []
    for name, value in values.items():
        entry = next((variable for pattern, variable in ENTRIES if re.match(pattern, name)), None)
        if "password" in name and re.search(r"\b(static|inline):", value):
            entry, value = "postfix_main_cf, as a table with secret: true", "(not shown)"
        if entry:
            found.append("# %s = %s: entry by entry, %s" % (name, value, entry))
        elif name in VARIABLES:
            variable, many = VARIABLES[name]
            found.append("%s: %s" % (variable, json.dumps(re.split(r"[,\s]+", value) if many else value)))
        else:
            items.append("  - {name: %s, value: %s}" % (name, json.dumps(value)))
    found += ["postfix_main_cf:", *items] if items else []
    return found + (["postfix_master_cf:", *(service(*one) for one in extra.items())] if extra else [])


def service(key, fields):
    """Return the item of postfix_master_cf that is one service of master.cf."""
    command, _blank, arguments = fields[5].partition(" ")
    item = dict(zip(("name", "type"), key))
    item.update((field, value) for field, value in zip(FIELDS, fields) if value != "-")
    item["command"] = command
    options = re.findall(r"-o\s+([\w.:-]+)=(\S*)", arguments)
    if options and " ".join("-o %s=%s" % pair for pair in options) == arguments:
        item["options"] = dict(options)
    elif arguments:
        item["args"] = arguments
    return "  - " + json.dumps(item)
