# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""postgrey's arguments from declared values, and what cannot be right in them and in its allow lists. postgrey(1), version 1.37."""

import ipaddress
import re

# Exim retries after 15 minutes, Postfix after 5 (minimal_backoff_time): a longer delay costs most senders one more round.
LONG_DELAY = 300  # s

LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
# The text stands in single quotes within double quotes in rc.conf, where the shell reads it twice, and goes into an SMTP reply.
TEXT = re.compile(r"[A-Za-z0-9 .,:;/()=+@_%-]*")
# (least, most, unit). postgrey takes 0 for "not set" where the least is 1: a delay of 300 s, and its own prefixes.
BOUNDS = {
    "mild_port": (1024, 65535, ""),
    "harsh_port": (1024, 65535, ""),
    "mild_delay": (1, 86400, " s"),
    "harsh_delay": (1, 86400, " s"),
    "retry_window": (1, 24 * 31, " hours"),
    "max_age": (1, 3650, " days"),
    "auto_whitelist": (0, 1000000, " mails"),
    "ipv4_prefix": (1, 32, " bits"),
    "ipv6_prefix": (1, 128, " bits"),
}
NOBODY = "to greylist nobody, set sokuhai_greylist: false"


def place(address, port):
    """Return *address* and *port* as postgrey and Postfix read them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def flags(service, options):
    """Return postgrey's arguments for an instance as a list; *service*: port, delay; *options*: see instances()."""
    made = [
        f"--inet={place(options['address'], service['port'])}",
        f"--user={options['user']}",
        f"--group={options['user']}",
        f"--delay={service['delay']}",
        f"--max-age={options['max_age']}",
        f"--retry-window={options['retry_window']}h",
        f"--auto-whitelist-clients={options['auto_whitelist']}",
        f"--ipv4cidr={options['ipv4_prefix']}",
        f"--ipv6cidr={options['ipv6_prefix']}",
    ]
    made += [f"--whitelist-clients={path}" for path in options["lists"]["clients"]]
    made += [f"--whitelist-recipients={path}" for path in options["lists"]["recipients"]]
    made += ["--privacy"] if options["privacy"] else []
    return [*made, f"--greylist-text={options['text']}"]


def instances(services, options):
    """Return what runs, as a list of {name, port, database, run_directory, flags (a list), rc (the flags as one shell word list)}.

    *services*: {name: {port, delay in seconds}}; *options*: address, database, run_directory, user, max_age (days), retry_window (hours), auto_whitelist,
    ipv4_prefix, ipv6_prefix, privacy (bool), text, lists ({clients: paths, recipients: paths}).
    """
    made = []
    for name, service in services.items():
        arguments = flags(service, options)
        made.append(
            {
                "name": name,
                "port": int(service["port"]),
                "database": f"{options['database']}/{name}",
                "run_directory": options["run_directory"],
                "flags": arguments,
                "rc": " ".join(re.sub(r"=(.*[ \[].*)", r"='\1'", word) for word in arguments),
            }
        )
    return made


def pattern_problem(entry):
    """Return what is wrong with *entry*, a regular expression between slashes, or None. Whether it compiles, only the host's perl can tell."""
    if len(entry) < 3 or not entry.endswith("/"):
        return "a regular expression ends with a slash, as in /^mail[0-9]+\\./"
    if re.search(r"[\s#]", entry):
        return "postgrey accepts no white space and no # in a regular expression; write \\s and \\x23"
    try:
        pattern = re.compile(entry[1:-1], re.IGNORECASE)
    except re.error:
        return None
    if pattern.search("") or all(map(pattern.search, ("a", "unknown", "mx.example.org", "203.0.113.1"))):
        return f"matches everybody; {NOBODY}"
    return None


def client_problem(entry):
    """Return what is wrong with a client's *entry* (str), or None. Rules: read_clients_whitelists() of postgrey 1.37."""
    if entry.startswith("/"):
        return pattern_problem(entry)
    if re.fullmatch(r"[0-9./]+", entry) or ":" in entry:
        return _network_problem(entry)
    if not DOMAIN.fullmatch(entry):
        return "not a domain (with what is below it), an address, a network or a /regexp/"
    if "." not in entry:
        return f"would free every client below .{entry}"
    return None


def _network_problem(entry):
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        parts = entry.split(".")
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){1,2}", entry):
            return "not an address or a network"
        # 1.37 takes a.b for a.b.0.0/24
        return f"postgrey reads a part of an address in its own way; write a network, as in {'.'.join([*parts, '0', '0'][:4])}/{8 * len(parts)}"
    if ipaddress.ip_interface(entry).ip != network.network_address:
        return f"has host bits set; write {network}"
    return f"matches everybody; {NOBODY}" if network.prefixlen == 0 else None


def recipient_problem(entry):
    """Return what is wrong with a recipient's *entry* (str), or None. Rules: read_recipients_whitelists() of postgrey 1.37."""
    if entry.startswith("/"):
        return pattern_problem(entry)
    user, at, domain = entry.partition("@")
    if re.search(r"[\s#]", entry) or (at and not user) or "@" in domain:
        return "not user@domain, user@, a domain or a /regexp/"
    domain = domain if at else user
    return f"{domain!r} is not a domain" if domain and not DOMAIN.fullmatch(domain) else None


def problems(declared):
    """Return what is wrong with the *declared* values, {variable, with or without the role's prefix: value}, one message each."""
    declared = {name.removeprefix("greylist_"): value for name, value in declared.items()}
    wrong = {
        name: f"greylist_{name}: {declared[name]} is not within {least} to {most}{unit}"
        for name, (least, most, unit) in BOUNDS.items()
        if not least <= declared[name] <= most
    }
    return [
        *wrong.values(),
        # of a number that is out of its bounds nothing else is said
        *(said for said, names in _delays(declared) if not wrong.keys() & set(names)),
        *_words(declared),
        *_lists(declared),
    ]


def _delays(declared):
    """Yield (message, numbers that it is about)."""
    mild, harsh, window = (declared[name] for name in ("mild_delay", "harsh_delay", "retry_window"))
    if declared["mild_port"] == declared["harsh_port"]:
        said = f"greylist_harsh_port: {declared['harsh_port']} is the mild service's port too; the article's are 10027 and 10028"
        yield said, ["mild_port", "harsh_port"]
    for name, delay in (("mild_delay", mild), ("harsh_delay", harsh)):
        if delay >= window * 3600:
            said = f"greylist_{name}: {delay} s is not less than greylist_retry_window, {window} hours, so nobody could ever pass"
            yield said, [name, "retry_window"]
        elif delay > LONG_DELAY and not declared["delay_reason"].strip():
            said = (
                f"greylist_{name}: {delay} s is more than the {LONG_DELAY} s after which most mail servers retry; set greylist_delay_reason, or the "
                "article's 15 and 125"
            )
            yield said, [name]
    if mild > harsh:
        yield f"greylist_mild_delay: {mild} s is more than the harsh service's {harsh} s", ["mild_delay", "harsh_delay"]


def _words(declared):
    address, text, user = (declared[name] for name in ("address", "text", "user"))
    own = {"ipv4": "127.0.0.1", "ipv6": "::1"}
    protocols = declared["inet_protocols"]
    try:
        loopback = ipaddress.ip_address(address)
    except ValueError:
        loopback = None
    if not (loopback and loopback.is_loopback):
        wanted = own.get(protocols, "127.0.0.1 or ::1")
        yield f"greylist_address: {address} is not a loopback address, and the services answer whoever reaches them; set {wanted}"
    elif protocols in own and protocols != f"ipv{loopback.version}":
        yield f"greylist_address: {address} is out of reach of Postfix, whose postfix_inet_protocols is {protocols}; set {own[protocols]}, or nothing"
    if not TEXT.fullmatch(text) or not text.strip():
        yield f"greylist_text: {text!r} is not made of letters, digits, spaces and . , : ; / ( ) = + @ _ % - alone"
    elif re.search(r"%(?![sr])", text):
        yield f"greylist_text: postgrey fills in %s (seconds left) and %r (the recipient's domain), and {text!r} has another %"
    if user == "root" or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user):
        yield f"greylist_user: {user!r} is not the name of an unprivileged user"


def _lists(declared):
    for name, check in (("clients", client_problem), ("recipients", recipient_problem)):
        seen = set()
        for position, item in enumerate(declared[name]):
            entry = str(item.get("entry", ""))
            problem = (check(entry) if entry else "is empty") or (
                "is declared twice" if entry.lower() in seen else None
            )
            seen.add(entry.lower())
            if problem:
                yield f"greylist_{name}[{position}]: {entry!r}: {problem}"


class FilterModule:
    def filters(self):
        return {"greylist_instances": instances, "greylist_place": place, "greylist_problems": problems}
