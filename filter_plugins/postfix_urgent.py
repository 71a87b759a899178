# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The urgent lane: senders whose mail goes through a transport of its own. What main.cf, master.cf and tables have of it, and what is declared wrongly.

Pure functions. Rules: postconf(5), SCHEDULER_README of Postfix 3.7 to 3.11; resolve.c of trivial-rewrite, qmgr.c, qmgr_message.c.
"""

import pathlib
import re
import sys

# Ansible loads each filter file by its path, without a package
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_items import domain_problem, flag
from postfix_providers import items_of
from sizing import URGENT, URGENT_SUBMISSION

#: The transport's name, and the beginning of what is called after it.
NAME = "urgent"
SENDERS, HERE, ELSEWHERE = (f"{NAME}_{what}" for what in ("senders", "only", "elsewhere"))
GROUP = {"group": "The urgent lane", "weight": 365}
MAPS = "sender_dependent_default_transport_maps"
LOOKUP = "$default_database_type:$config_directory/tables/"
#: What qmgr(8) may have in memory, messages and recipients each: above a mailing of 20,000, which is Postfix's own limit.
ACTIVE = 100000
#: How long its processes stay when they have nothing to do, 100 s by default: master(8) starts them one after the other, and alerts come in series.
IDLE = "1h"
TAKEN = {25: "smtpd", 465: "submission", 587: "submission"}
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?P<domain>[^@]+)")


def whole(urgent):
    """Return the lane {senders, port, maxproc} with every key, or {} for none."""
    given = {key: value for key, value in (urgent or {}).items() if value not in (None, "")}
    return {"senders": [], "port": 0, "maxproc": URGENT, **given} if given else {}


def senders_of(lane):
    """Return the senders as Postfix looks them up, each once."""
    return list(dict.fromkeys(str(sender).lower() for sender in lane["senders"]))


def postfix_urgent_items(urgent):
    """Return the items of main.cf for a lane {senders, port, maxproc}; [] for {}."""
    if not whole(urgent):
        return []
    items = [
        {
            "name": MAPS,
            "value": f"{LOOKUP}{SENDERS}",
            "comment": "whose mail to other hosts is urgent; relayhost, DANE and MTA-STS hold for it as well",
        },
        {
            "name": f"{NAME}_initial_destination_concurrency",
            "value": "$default_destination_concurrency_limit",
            "comment": "as many connections to a domain from the start as it may have at all (5 by default, and more by and by)",
        },
        {
            "name": "qmgr_message_active_limit",
            "value": ACTIVE,
            "comment": "what does not fit into the active queue hides what comes after it, urgent or not (20000 by default)",
        },
        {"name": "qmgr_message_recipient_limit", "value": ACTIVE},
    ]
    return [{**GROUP, **item} for item in items]


def postfix_urgent_tables(urgent):
    """Return the tables {name, entries} for a lane; [] for {}. Without a nexthop, relayhost or the recipient's domain stays the next one (resolve.c)."""
    lane = whole(urgent)
    if not lane:
        return []
    actions = {SENDERS: f"{NAME}:"}
    if lane["port"]:
        actions[HERE] = "OK"
        actions[ELSEWHERE] = f"REJECT mail of this sender is submitted on port {lane['port']}"
    return [
        {"name": name, "entries": [{"pattern": sender, "action": action} for sender in senders_of(lane)]}
        for name, action in actions.items()
    ]


def postfix_urgent_elsewhere(urgent):
    """Return the restrictions (list of str) with which the other submission services leave urgent senders to the lane's own port."""
    return [f"check_sender_access {LOOKUP}{ELSEWHERE}"] if whole(urgent).get("port") else []


def postfix_urgent_services(urgent, submission, logins):
    """Return the services of master.cf for a lane; [] for {}.

    submission: options of the submission services. logins: users' addresses are known (smtpd_sender_login_maps).
    """
    lane = whole(urgent)
    if not lane:
        return []
    services = [
        {
            "name": NAME,
            "chroot": "n",
            "maxproc": lane["maxproc"],
            "command": "smtp",
            "options": {"syslog_name": "postfix/$service_name", "max_idle": IDLE},
        }
    ]
    if lane["port"]:
        own = ["reject_authenticated_sender_login_mismatch"] if logins else []
        services.append(
            {
                "name": str(lane["port"]),
                "type": "inet",
                "private": "n",
                "chroot": "n",
                "maxproc": URGENT_SUBMISSION,
                "command": "smtpd",
                "weight": 20,
                "options": {
                    **submission,
                    "smtpd_sender_restrictions": [*own, f"check_sender_access {LOOKUP}{HERE}", "reject"],
                    "syslog_name": "postfix/urgent-submission",
                    "smtpd_tls_security_level": "encrypt",
                },
            }
        )
    return services


def postfix_urgent_problems(declared):
    """Return what is wrong with postfix_urgent, a list of sentences. declared: the role's variables, each of its type."""
    lane = whole(declared["postfix_urgent"])
    if not lane:
        return []
    return [*_sender_problems(lane), *_number_problems(lane), *_port_problems(lane, declared), *_twice(declared)]


def _sender_problems(lane):
    if not lane["senders"]:
        yield "postfix_urgent.senders: empty: Postfix chooses a transport by the envelope sender; at least one address is needed, like alert@example.org"
    for sender in map(str, lane["senders"]):
        match = ADDRESS.fullmatch(sender)
        if not match:
            yield f"postfix_urgent.senders: {sender!r} is not an address, like alert@example.org"
        elif domain_problem(match["domain"]):
            yield f"postfix_urgent.senders: the domain of {sender} {domain_problem(match['domain'])}"


def _number_problems(lane):
    if int(lane["maxproc"]) < 1:
        yield (
            f"postfix_urgent.maxproc = {lane['maxproc']}: 1 or more is needed, {URGENT} unless declared; 0 is no limit to master(8), and no memory holds "
            "processes without a limit"
        )
    if not 0 <= int(lane["port"]) <= 65535:
        yield f"postfix_urgent.port = {lane['port']}: 1 to 65535, such as 2587, or leave it out"


def _port_problems(lane, declared):
    port = int(lane["port"])
    if not port:
        return
    if port in TAKEN:
        yield f"postfix_urgent.port = {port} is that of {TAKEN[port]}: a free one is needed, such as 2587"
    if not declared["postfix_submission"]:
        yield "postfix_urgent.port needs AUTH: set sokuhai_submission: true, or leave port out"
    names = [
        str(item["name"])
        for item in declared["postfix_master_cf"]
        if item.get("type") == "inet" and item.get("command")
    ]
    others = [str(declared["postfix_recipients_service"]), f":{declared['postfix_mta_sts'].get('port', '')}"]
    for name in [name for name in names if name.rpartition(":")[2] == str(port)]:
        yield f"postfix_urgent.port = {port} is that of postfix_master_cf: {name} inet: a free one is needed"
    if any(other.rpartition(":")[2] == str(port) for other in others):
        yield f"postfix_urgent.port = {port} is that of a policy service of this host: a free one is needed"


def _twice(declared):
    for item in declared["postfix_main_cf"]:
        if item["name"] == MAPS:
            yield f"postfix_main_cf: {MAPS} is written by postfix_urgent: leave one of the two out"
    for item in items_of(declared["postfix_providers"]):
        if isinstance(item, dict) and item.get("name") == NAME:
            yield f"postfix_providers ({NAME}): postfix_urgent has a transport of this name; take another, such as {NAME}_mail"
    for table in declared["postfix_tables"]:
        if table["name"] in (SENDERS, HERE, ELSEWHERE):
            yield f"postfix_tables: {table['name']} is written by postfix_urgent: take another name"
    for item in declared["postfix_master_cf"]:
        if item["name"] == NAME and item.get("type", "unix") == "unix":
            if item.get("state") == "absent":
                yield f"postfix_master_cf: without {NAME} unix urgent mail would wait for it: leave postfix_urgent out instead"
            elif flag(item.get("maxproc")) != "-":
                yield f"postfix_master_cf: maxproc of {NAME} unix is postfix_urgent.maxproc, where it is counted"


class FilterModule:
    def filters(self):
        return {
            "postfix_urgent_items": postfix_urgent_items,
            "postfix_urgent_tables": postfix_urgent_tables,
            "postfix_urgent_elsewhere": postfix_urgent_elsewhere,
            "postfix_urgent_services": postfix_urgent_services,
            "postfix_urgent_problems": postfix_urgent_problems,
        }
