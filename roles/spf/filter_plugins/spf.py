# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What becomes of SPF's results, by mode and by exception, and what the agents cannot do."""

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

# postconf(5): smtpd_policy_service_timeout and smtpd_policy_service_max_ttl, whose defaults no role changes.
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
    found = []
    actions = results(declared["mode"], declared["results"], declared["agent"])
    python = declared["agent"] == "python"
    wanted = refused(actions)
    if python and wanted not in LEVELS:
        found.append(
            "spf_results: the Python agent refuses softfail only together with fail, and neutral only together with both; declared is refuse for %s"
            % " and ".join(wanted)
        )
    if python and not wanted:
        for name in ("permerror", "temperror"):
            if actions[name] != "mark":
                found.append(
                    "spf_results: %s: %s takes effect in the Python agent only where fail is refused; say spf_mode: refuse, or %s: mark"
                    % (name, actions[name], name)
                )
    if not python:
        if declared["mode"] == "mark" and declared["install"]:
            found.append(
                "spf_agent: the package of the Perl agent refuses mail whose SPF result is fail and has no setting for that. To mark, take spf_agent: python; or build "
                "mail/postfix-policyd-spf-perl with SPF_FAIL='PREPEND X-SPF-Result: fail' and SPF_TEMPERROR='PREPEND X-SPF-Result: temperror', and say spf_install: false"
            )
        if declared["exempt"]:
            found.append(
                "spf_exempt: the Perl agent of the ports has no list of exempt addresses; take spf_agent: python"
            )
        if declared["helo"] != "same":
            found.append(
                "spf_helo: the Perl agent does the same with HELO's result as with the sender's; say spf_helo: same, or take spf_agent: python"
            )
    for entry in declared["exempt"]:
        try:
            network = ipaddress.ip_network(str(entry))
        except ValueError:
            try:
                right = "; write %s" % ipaddress.ip_network(str(entry), strict=False)
            except ValueError:
                right = ""
            found.append("spf_exempt: %r is no address and no network%s" % (entry, right))
            continue
        if network.prefixlen == 0:
            found.append("spf_exempt: %s exempts everybody; say spf_mode: none to have no SPF" % entry)
    if not 1 <= int(declared["lookup_time"]) <= SERVICE_TIMEOUT // 2 - 5:
        found.append(
            "spf_lookup_time: %s seconds for HELO and as many for the sender do not fit into Postfix's smtpd_policy_service_timeout of %d s; at most %d"
            % (declared["lookup_time"], SERVICE_TIMEOUT, SERVICE_TIMEOUT // 2 - 5)
        )
    if int(declared["time_limit"]) <= SERVICE_TTL:
        found.append(
            "spf_time_limit: %s seconds are not more than smtpd_policy_service_max_ttl (%d s), so spawn would end agents that Postfix still asks; 3600 is Postfix's advice"
            % (declared["time_limit"], SERVICE_TTL)
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", declared["service"]):
        found.append(
            "spf_service: %r can be no name of a parameter, and it is part of one (NAME_time_limit): letters, digits and _"
            % declared["service"]
        )
    if declared["user"] in ("root", "postfix", "toor"):
        found.append("spf_user: spawn(8) refuses %s; take an unprivileged user such as nobody" % declared["user"])
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", declared["user"]):
        found.append("spf_user: %r is no name of a user" % declared["user"])
    for name in ("config_directory", "prefix"):
        if not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", declared[name]):
            found.append(
                "spf_%s: %r is no absolute path of plain characters; it becomes part of a line of master.cf"
                % (name, declared[name])
            )
    return found


class FilterModule:
    def filters(self):
        return {"spf_results": results, "spf_level": level, "spf_problems": problems}
