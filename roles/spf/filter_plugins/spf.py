# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What SPF's results come to: by mode and by exception, as the Python agent's configuration, and what cannot be had."""

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

HEADER = """\
# Written by sokuhai's role spf; a change made here is gone at the next run. policyd-spf.conf(5)
"""


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


def config(actions, options):
    """Return policyd-spf.conf for *actions* ({result: action}) as text.

    *options*: helo (same or mark), exempt (list of networks), lookup_time (seconds).
    Every value that matters is written, whatever the agent's release has for a default: HELO_reject's differ between releases.
    """
    level = LEVELS.get(refused(actions), "Fail")
    lines = [
        # 1: a line in the log for each answer
        ("debugLevel", 1),
        # 0 would log refusals and send none
        ("TestOnly", 1),
        ("HELO_reject", level if options["helo"] == "same" else "False"),
        ("Mail_From_reject", level),
        ("PermError_reject", actions["permerror"] == "refuse"),
        ("TempError_Defer", actions["temperror"] == "defer"),
        ("skip_addresses", "127.0.0.0/8,::ffff:127.0.0.0/104,::1"),
        ("Whitelist", ",".join(options["exempt"])),
        ("Header_Type", "SPF"),
        # a recipient's name in a header would be seen by the other recipients
        ("Hide_Receiver", "Yes"),
        ("SPF_Enhanced_Status_Codes", "Yes"),
        ("Lookup_Time", options["lookup_time"]),
        # the stock text sends people to a site that is no more
        ("Reason_Message", "Message {rejectdefer} due to: {spf}"),
    ]
    return HEADER + "".join("%s = %s\n" % line for line in lines if line[1] != "")


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
        return {"spf_results": results, "spf_config": config, "spf_problems": problems}
