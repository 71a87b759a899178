# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""postgrey's arguments from declared values, and what cannot be right in them and in its white lists. postgrey(1), version 1.37."""

import ipaddress
import re

# Exim comes again after 15 minutes, Postfix after 5 (minimal_backoff_time): a longer delay costs most senders a further round.
LONG_DELAY = 300

PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+")
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
DOMAIN = re.compile(r"%s(\.%s)*" % (LABEL, LABEL))
# The text stands in single quotes within double quotes in rc.conf, where the shell reads it twice, and goes into an SMTP reply.
TEXT = re.compile(r"[A-Za-z0-9 .,:;/()=+@_%-]*")


def flags(name, service, options):
    """Return postgrey's arguments for the instance *name* as a list; *service*: port, delay; *options*: see instances()."""
    made = [
        "--inet=%s:%s" % (options["address"], service["port"]),
        "--user=%s" % options["user"],
        "--group=%s" % options["user"],
        "--delay=%s" % service["delay"],
        "--max-age=%s" % options["max_age"],
        "--retry-window=%sh" % options["retry_window"],
        "--auto-whitelist-clients=%s" % options["auto_whitelist"],
        "--ipv4cidr=%s" % options["ipv4_prefix"],
        "--ipv6cidr=%s" % options["ipv6_prefix"],
    ]
    made += ["--whitelist-clients=%s" % path for path in options["lists"]["clients"]]
    made += ["--whitelist-recipients=%s" % path for path in options["lists"]["recipients"]]
    if options["privacy"]:
        made.append("--privacy")
    made.append("--greylist-text=%s" % options["text"])
    return made


def instances(services, options):
    """Return what runs, as a list of {name, port, database, pidfile, flags (a list), rc (the flags as one shell word list)}.

    *services*: {name: {port, delay in seconds}}; *options*: address, database, run_directory, user, max_age (days), retry_window (hours), auto_whitelist,
    ipv4_prefix, ipv6_prefix, privacy (bool), text, lists ({clients: paths, recipients: paths}).
    """
    made = []
    for name, service in services.items():
        arguments = flags(name, service, options)
        made.append(
            {
                "name": name,
                "port": int(service["port"]),
                "database": "%s/%s" % (options["database"], name),
                "run_directory": options["run_directory"],
                "flags": arguments,
                "rc": " ".join(
                    word if " " not in word else "%s='%s'" % tuple(word.split("=", 1)) for word in arguments
                ),
            }
        )
    return made


def pattern_problem(entry):
    """Return what is wrong with *entry* as a regular expression between slashes, or None where it is none or is right."""
    if not entry.startswith("/"):
        return None
    if len(entry) < 3 or not entry.endswith("/"):
        return "a regular expression ends with a slash, as /^mail[0-9]+\\./"
    if re.search(r"[\s#]", entry):
        return "postgrey takes no white space and no # in a regular expression; write \\s and \\x23"
    try:
        pattern = re.compile(entry[1:-1], re.IGNORECASE)
    except re.error as problem:
        return "this regular expression does not compile: %s" % problem
    if pattern.search("") or all(
        pattern.search(sample) for sample in ("a", "unknown", "mx.example.org", "203.0.113.1")
    ):
        return "this matches everybody; to put nobody off, say sokuhai_greylist: false"
    return None


def client_problem(entry):
    """Return what is wrong with a client's *entry* (str), or None. Rules: read_clients_whitelists() of postgrey 1.37."""
    if entry.startswith("/"):
        return pattern_problem(entry)
    if re.fullmatch(r"[0-9./]+", entry) or ":" in entry:
        try:
            if ipaddress.ip_network(entry).prefixlen == 0:
                return "this is everybody; to put nobody off, say sokuhai_greylist: false"
            return None
        except ValueError:
            pass
        try:
            return "host bits are set; write %s" % ipaddress.ip_network(entry, strict=False)
        except ValueError:
            if re.fullmatch(r"\d{1,3}(\.\d{1,3}){1,2}", entry):
                # 1.37 takes a.b for a.b.0.0/24
                return "a part of an address does not mean what it seems to; write a network, as %s/%d" % (
                    ".".join((entry.split(".") + ["0", "0"])[:4]),
                    8 * len(entry.split(".")),
                )
            return "this is no address and no network"
    if not DOMAIN.fullmatch(entry):
        return "this is no domain (with what is below it), no address, no network and no /regexp/"
    if "." not in entry:
        return "this would free every client below .%s" % entry
    return None


def recipient_problem(entry):
    """Return what is wrong with a recipient's *entry* (str), or None. Rules: read_recipients_whitelists() of postgrey 1.37."""
    if entry.startswith("/"):
        return pattern_problem(entry)
    user, at, domain = entry.partition("@")
    if re.search(r"[\s#]", entry) or (at and not user) or "@" in domain:
        return "this is none of user@domain, user@, domain and /regexp/"
    if (domain or not at) and not DOMAIN.fullmatch(domain if at else user):
        return "%r is no domain" % (domain if at else user)
    return None


def problems(declared):
    """Return what is wrong with the *declared* values, {variable, with or without the role's prefix: value}, one message each."""
    declared = {name.removeprefix("greylist_"): value for name, value in declared.items()}
    found = []

    def number(name, low, high, unit):
        try:
            value = int(declared[name])
        except (TypeError, ValueError):
            found.append("greylist_%s: %r is no number" % (name, declared[name]))
            return None
        if not low <= value <= high:
            found.append("greylist_%s: %d %s; possible are %d to %d" % (name, value, unit, low, high))
            return None
        return value

    try:
        if not ipaddress.IPv4Address(declared["address"]).is_loopback:
            found.append(
                "greylist_address: %s can be reached from outside, and these services ask nobody who he is; take 127.0.0.1"
                % declared["address"]
            )
    except ValueError:
        found.append("greylist_address: %r is no IPv4 address; take 127.0.0.1" % declared["address"])
    ports = [number(name, 1024, 65535, "is no port for it") for name in ("mild_port", "harsh_port")]
    if ports[0] is not None and ports[0] == ports[1]:
        found.append(
            "greylist_harsh_port: %d is the mild service's port too; the article's are 10027 and 10028" % ports[0]
        )
    window = number("retry_window", 1, 24 * 31, "hours")
    # postgrey takes 0 for "not said", which is 300
    delays = [number(name, 1, 86400, "seconds") for name in ("mild_delay", "harsh_delay")]
    for name, delay in zip(("mild_delay", "harsh_delay"), delays):
        if delay is None:
            continue
        if window is not None and delay >= window * 3600:
            found.append(
                "greylist_%s: %d s is not less than greylist_retry_window, %d hours, so nobody could ever pass"
                % (name, delay, window)
            )
        elif delay > LONG_DELAY and not str(declared["delay_reason"]).strip():
            found.append(
                "greylist_%s: %d s is more than five minutes, after which most mail servers come again; give a greylist_delay_reason, or take the article's 15 and 125"
                % (name, delay)
            )
    if None not in delays and delays[0] > delays[1]:
        found.append("greylist_mild_delay: %d s is more than the harsh service's %d s" % tuple(delays))
    number("max_age", 1, 3650, "days")
    number("auto_whitelist", 0, 1000000, "mails")
    # 0 means "not said" to postgrey
    number("ipv4_prefix", 1, 32, "bits")
    number("ipv6_prefix", 1, 128, "bits")
    if not TEXT.fullmatch(declared["text"]) or not declared["text"].strip():
        found.append(
            "greylist_text: %r has something else than letters, digits, spaces and . , : ; / ( ) = + @ _ %% - in it"
            % declared["text"]
        )
    elif re.search(r"%(?![sr])", declared["text"]):
        found.append(
            "greylist_text: only %%s (seconds left) and %%r (recipient's domain) are filled in, and %r has another"
            % declared["text"]
        )
    for name, check in (("clients", client_problem), ("recipients", recipient_problem)):
        seen = set()
        for position, item in enumerate(declared[name]):
            entry = str(item.get("entry", ""))
            problem = check(entry) if entry else "is empty"
            if not problem and entry.lower() in seen:
                problem = "is declared twice"
            seen.add(entry.lower())
            if problem:
                found.append("greylist_%s[%d]: %r: %s" % (name, position, entry, problem))
    if declared["user"] == "root" or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", declared["user"]):
        found.append("greylist_user: %r is no unprivileged user" % declared["user"])
    for name in ("database", "run_directory", "list_directory", "prefix"):
        if not PATH.fullmatch(declared[name]):
            found.append("greylist_%s: %r is no absolute path of plain characters" % (name, declared[name]))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", declared["service"]) or declared["service"] == "postgrey":
        found.append(
            "greylist_service: %r cannot be the name of the rc script: small letters, digits and _, and not the port's own postgrey"
            % declared["service"]
        )
    return found


class FilterModule:
    def filters(self):
        return {"greylist_instances": instances, "greylist_problems": problems}
