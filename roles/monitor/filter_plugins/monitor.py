# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be said about the declared sampler without asking the host."""

import ipaddress
import re
import urllib.parse

#: (least, most, why) of each number
RANGES = {
    "monitor_busy_seconds": (2, 60, "seconds; a sample runs five small commands"),
    "monitor_idle_seconds": (10, 3600, "seconds"),
    "monitor_ceiling_percent": (20, 99, "per cent of a limit; back to normal 10 points lower"),
    "monitor_down_seconds": (0, 86400, "seconds, 0 for never"),
    "monitor_disk_percent": (0, 99, "per cent, 0 for never"),
    "monitor_memory_percent": (0, 99, "per cent, 0 for never"),
    "monitor_incoming_seconds": (0, 31622400, "seconds, 0 for never"),
    "monitor_deferred_seconds": (0, 31622400, "seconds, 0 for never"),
    "monitor_certificate_days": (0, 365, "days, 0 for never"),
    "monitor_deferred_dns": (0, 1000000, "attempts in ten minutes, 0 for never"),
    "monitor_alert_quiet": (0, 86400, "seconds"),
    "monitor_file_kilobytes": (
        64,
        4096,
        "kilobytes; at 8192 the sampler takes newsyslog for dead and starts the file over",
    ),
    "monitor_files_kept": (1, 100, "files"),
    "monitor_read_since": (60, 31622400, "seconds back from now"),
    "monitor_read_points": (1, 20160, "rows; two weeks by the minute"),
}

#: (what matches, what it must be) of each text: pw(8) takes a name, sendmail(1) an argument that is a header, too
PATTERNS = {
    "monitor_user": (r"[a-z_][a-z0-9_-]{0,30}", "small letters, digits, _ and -, up to 31"),
    "monitor_textfile": (
        r"(/[\w.,:+-]+)+\.prom|",
        "an absolute path like /var/db/sokuhai_monitor/state/sokuhai.prom, or empty",
    ),
    "monitor_alert_to": (
        r"[A-Za-z0-9_][^\s@<>,;:\"()\\]*(@[A-Za-z0-9.-]+)?",
        "an address like admin@example.org, or a local name",
    ),
}


def problems(declared):
    """Return what is wrong with *declared* ({variable: value}), one message each, beginning with the variable's name."""
    return [f"{name}: {message}" for name, wrong, message in _checks(declared) if wrong]


def _checks(declared):
    """Yield (variable, whether it is wrong, message) of each thing to be looked at."""
    for name, (least, most, meaning) in RANGES.items():
        value = declared[name]
        yield name, not least <= value <= most, f"{value} is outside {least} to {most} ({meaning})"
    for name, (pattern, meaning) in PATTERNS.items():
        for text in declared[name] if name == "monitor_alert_to" else [declared[name]]:
            yield name, not re.fullmatch(pattern, str(text)), f"{text!r} must be {meaning}"
    for name in ("monitor_disk_percent", "monitor_memory_percent"):
        low = f"{declared[name]} could never be back to normal, 10 points lower; at least 20, like 90, or 0 for never"
        yield name, 0 < declared[name] < 20, low
    for name in ("monitor_incoming_seconds", "monitor_deferred_seconds"):
        often = f"{declared[name]} s is less than a message may need; at least 60, like 1800, or 0 for never"
        yield name, 0 < declared[name] < 60, often
    yield from _webhook(declared["monitor_webhook_url"], declared["monitor_webhook_address"])
    yield from _relay(*(declared["monitor_relay" + part] for part in ("", "_name", "_to")))
    named = declared["monitor_named"]
    yield "monitor_named", named and not _literal(named), f"{named!r} must be an address like 127.0.0.1, or empty"
    idle, busy, user = (declared["monitor_" + name] for name in ("idle_seconds", "busy_seconds", "user"))
    yield "monitor_idle_seconds", idle < busy, f"{idle} is less than monitor_busy_seconds, {busy}"
    privileged = user in ("root", "toor", "postfix", "bind")
    yield "monitor_user", privileged, f"{user} has rights that the sampler must not have; name a user of its own"
    size, kept = declared["monitor_file_kilobytes"], declared["monitor_files_kept"]
    much = f"{kept} files of {size} kilobytes could take more than a gigabyte before they are compressed"
    yield "monitor_files_kept", size * (1 + kept) > 1048576, much


def _literal(text):
    """Return whether *text* is an address of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def webhook(url, address):
    """Return where the sampler sends alarms: {url, address}, or None."""
    return {"url": url, "address": address or urllib.parse.urlsplit(url).hostname} if url else None


def _webhook(url, address):
    """The same as _checks(), without the URL in a message: it may hold a secret."""
    if not url:
        yield "monitor_webhook_address", bool(address), f"{address} is of no use without monitor_webhook_url"
        return
    try:
        parts = urllib.parse.urlsplit(url)
        name, port, path = parts.hostname or "", parts.port or 1, parts.path + parts.query
    except ValueError:
        name, port, path = "", 0, ""
    good = name and port and parts.scheme in ("http", "https") and not parts.username and re.fullmatch(r"[!-~]*", path)
    form = "must be like https://alerts.example.org/hook, in ASCII and without a user"
    yield "monitor_webhook_url", not good, form
    example = f"{address!r} must be the address of {name} like 192.0.2.25, since no name is resolved"
    yield "monitor_webhook_address", good and not _literal(address or name), example


def relay(text, name, to):
    """Return which relay the sampler sends alarms to: {address, port, name, to}, or None."""
    found = re.fullmatch(r"\[(?P<six>[^]]+)\](?::(\d+))?|(?P<four>[\d.]+)(?::(\d+))?|(?P<bare>.*)", text)
    address, port = found["six"] or found["four"] or found["bare"], int(found[2] or found[4] or 25)
    return {"address": address, "port": port, "name": name, "to": to} if text else None


def _relay(text, name, to):
    if not text:
        yield "monitor_relay_to", bool(to), "is of no use without monitor_relay, an address like 192.0.2.25"
        yield "monitor_relay_name", bool(name), f"{name} is of no use without monitor_relay, an address like 192.0.2.25"
        return
    found = relay(text, name, to)
    form = (
        f"{text!r} must be an address, since no name is resolved, like 192.0.2.25, 192.0.2.25:587 or [2001:db8::25]:587"
    )
    yield "monitor_relay", not _literal(found["address"]) or not 0 < found["port"] < 65536, form
    yield "monitor_relay_to", not to, "is empty; monitor_relay delivers to addresses like admin@example.org"
    for one in to:
        far = f"{one!r} must be an address like admin@example.org: the relay has other local names"
        yield "monitor_relay_to", not re.fullmatch(PATTERNS["monitor_alert_to"][0], one) or "@" not in one, far
    yield "monitor_relay_name", not re.fullmatch(r"[A-Za-z0-9.-]*", name), f"{name!r} must be a host name, or empty"


class FilterModule:
    def filters(self):
        return {"monitor_problems": problems, "monitor_relay_way": relay, "monitor_webhook_way": webhook}
