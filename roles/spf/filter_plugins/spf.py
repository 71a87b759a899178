# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What happens with SPF's results, by mode and by exception, and what the agents cannot do."""

import ipaddress
import re

# RFC 7208 section 2.6 names the results; pass and none are never an offence.
MODES = {
    "mark": {"fail": "mark", "softfail": "mark", "neutral": "mark", "permerror": "mark", "temperror": "mark"},
    "refuse": {"fail": "refuse", "softfail": "mark", "neutral": "mark", "permerror": "mark", "temperror": "mark"},
}

# The agent knows no other combinations: policyd-spf.conf(5), Mail_From_reject.
LEVELS = {
    (): "False",
    ("fail",): "Fail",
    ("fail", "softfail"): "Softfail",
    ("fail", "softfail", "neutral"): "SPF_Not_Pass",
}

# postconf(5): smtpd_policy_service_timeout and smtpd_policy_service_max_ttl, s, whose defaults no role changes.
SERVICE_TIMEOUT, SERVICE_TTL = 100, 1000


def results(mode, exceptions, agent="python"):
    """Return {result: action} for *mode* (mark or refuse; none is as mark) with *exceptions* (dict result: action) on top.

    *agent* perl: the port's own build defers temperror where it refuses fail (SPF_TEMPERROR of mail/postfix-policyd-spf-perl).
    """
    actions = dict(MODES.get(mode, MODES["mark"]))
    if agent == "perl" and mode == "refuse":
        actions["temperror"] = "defer"
    return {**actions, **(exceptions or {})}


def refused(actions):
    """Return the results of *actions* that Mail_From_reject is about and that are refused, in the order of their strength, as a tuple."""
    return tuple(name for name in ("fail", "softfail", "neutral") if actions[name] == "refuse")


def level(actions):
    """Return the word of policyd-spf.conf(5) for what *actions* ({result: action}) reject."""
    # what it cannot express is refused by problems()
    return LEVELS.get(refused(actions), "Fail")


def problems(declared):
    """Return what is wrong with the *declared* values, {variable, with or without the role's prefix: value}, one message each."""
    declared = {name.removeprefix("spf_"): value for name, value in declared.items()}
    actions = results(declared["mode"], declared["results"], declared["agent"])
    of_agent = _python(actions) if declared["agent"] == "python" else _perl(declared)
    return [*of_agent, *_exempt(declared["exempt"]), *_service(declared)]


def _python(actions):
    rejected = refused(actions)
    if rejected not in LEVELS:
        yield (
            "spf_results: the Python agent rejects softfail only together with fail, and neutral only together with both, not "
            f"{' and '.join(rejected)} alone"
        )
    for name in () if rejected else ("permerror", "temperror"):
        if actions[name] != "mark":
            yield (
                f"spf_results: the Python agent does {name}: {actions[name]} only where it rejects fail; set spf_mode: refuse, or {name}: mark"
            )


def _perl(declared):
    if declared["mode"] == "mark" and declared["install"]:
        yield (
            "spf_agent: the package of the Perl agent rejects mail whose SPF result is fail and has no setting for that. To mark, set spf_agent: python; or "
            "build mail/postfix-policyd-spf-perl with SPF_FAIL='PREPEND X-SPF-Result: fail' and SPF_TEMPERROR='PREPEND X-SPF-Result: temperror', and set "
            "spf_install: false"
        )
    if declared["exempt"]:
        yield "spf_exempt: the Perl agent of the ports has no list of exempt addresses; set spf_agent: python"
    if declared["helo"] != "same":
        yield (
            "spf_helo: the Perl agent treats HELO's result as the sender's; set spf_helo: same, or spf_agent: python"
        )


def _exempt(entries):
    for entry in map(str, entries):
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            yield f"spf_exempt: {entry!r} is not an address or a network"
            continue
        if "/" in entry and ipaddress.ip_interface(entry).ip != network.network_address:
            yield f"spf_exempt: {entry!r} has host bits set; write {network}"
        elif network.prefixlen == 0:
            yield f"spf_exempt: {entry} exempts everybody; spf_mode: none disables SPF"


def _service(declared):
    most = SERVICE_TIMEOUT // 2 - 5
    if not 1 <= int(declared["lookup_time"]) <= most:
        yield (
            f"spf_lookup_time: {declared['lookup_time']} s for HELO and the same for the sender do not fit into Postfix's smtpd_policy_service_timeout, "
            f"{SERVICE_TIMEOUT} s; 1 to {most}"
        )
    if int(declared["time_limit"]) <= SERVICE_TTL:
        yield (
            f"spf_time_limit: {declared['time_limit']} s are not more than smtpd_policy_service_max_ttl, {SERVICE_TTL} s, so spawn(8) would end agents that "
            "Postfix still queries; Postfix's SMTPD_POLICY_README has 3600"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", declared["service"]):
        yield f"spf_service: {declared['service']!r} becomes part of a parameter's name (NAME_time_limit): letters, digits and _ only"
    if declared["user"] in ("root", "postfix", "toor"):
        yield f"spf_user: spawn(8) refuses {declared['user']}; an unprivileged user such as nobody works"
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", declared["user"]):
        yield f"spf_user: {declared['user']!r} is not a user's name"


class FilterModule:
    def filters(self):
        return {"spf_actions": results, "spf_level": level, "spf_problems": problems}
