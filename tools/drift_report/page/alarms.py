# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The sampler's alarms that are raised, in words: what is wrong, and what to do. One that is a link of the chain is shown with that."""

from ..samples import last_known
from .ceilings import CEILINGS
from .elements import el
from .language import say
from .pieces import code, command, moment, number, percent

DISK = ("df -hi /var/spool/postfix /var/log",)
# name of an alarm (roles/monitor/README.md): (words of it, words of what to do, commands, and what of the host it is about where that has a name of its own)
ALARMS = {
    "named_down": ("alarm_down", "do_down", ("tail -50 /var/log/messages", "service named start"), "named"),
    "postfix_down": ("alarm_down", "do_down", ("tail -50 /var/log/maillog", "service postfix start"), "master"),
    "greylist_down": (
        "alarm_down",
        "do_down",
        ("tail -50 /var/log/maillog", "service sokuhai_postgrey start"),
        "sokuhai_postgrey",
    ),
    "recipients_down": (
        "alarm_down",
        "do_down",
        ("tail -50 /var/log/maillog", "service sokuhai_postfwd start"),
        "sokuhai_postfwd",
    ),
    "dkim_down": (
        "alarm_down",
        "do_down",
        ("tail -50 /var/log/maillog", "service sokuhai_dkim start"),
        "sokuhai_dkim",
    ),
    "mta_sts_down": (
        "alarm_down",
        "do_down",
        ("tail -50 /var/log/messages", "service mta_sts start"),
        "mta-sts-daemon",
    ),
    "named_silent": ("alarm_silent", "do_down", ("tail -50 /var/log/messages", "service named restart"), "named"),
    "queue_disk_used": ("alarm_share", "do_room", DISK, None),
    "queue_inodes_used": ("alarm_share", "do_room", DISK, None),
    "log_disk_used": ("alarm_share", "do_room", DISK, None),
    "log_inodes_used": ("alarm_share", "do_room", DISK, None),
    "memory_free": ("alarm_share", "do_memory", ("top -b -o res 20",), None),
    "age_incoming": ("alarm_age", "do_age", ("tail -50 /var/log/maillog", "mailq | tail -20"), "incoming"),
    "age_deferred": ("alarm_age", "do_age", ("tail -50 /var/log/maillog", "mailq | tail -20"), "deferred"),
    "certificate_days": ("alarm_certificate", "do_certificate", ("postconf smtpd_tls_cert_file",), None),
}
#: Shown by judgement.py itself.
OTHERWISE = {"deferred_dns", *CEILINGS}


def raised(over):
    """[(name, since)] of those of *over*, {name: when it was raised}, that this module shows, in the table's order."""
    order = [*ALARMS, *sorted(set(over) - set(ALARMS) - OTHERWISE)]
    return [(name, over[name]) for name in order if name in over]


def share(columns, name):
    """Of a column and its total: what is in use now, or None."""
    used, total = (
        last_known(columns.get(name)),
        last_known(columns.get(name.replace("_used", "_total").replace("_free", "_total"))),
    )
    if used is None or not total:
        return None
    return (total - used if name.endswith("_free") else used) / total


def wrong(judged):
    """An element for each alarm, and one for what the watch has done."""
    columns, items = judged["columns"], []
    for name, since in judged["alarms"]:
        key, _do, _commands, what = ALARMS.get(name, ("alarm_other", None, (), name))
        value = last_known(columns.get(name))
        if key == "alarm_share":
            used = share(columns, name)
            given = {"what": say(name), "share": "–" if used is None else percent(used)}
        elif key == "alarm_age":
            given = {"what": code(what), "age": number(None if value is None else value // 60)}
        elif key == "alarm_certificate":
            given = {"days": number(value)}
        else:
            given = {"what": code(what)}
        items.append(el("b", say(key, when=moment(since), **given), cls="warn"))
    if judged["starts"]:
        number_, last = judged["starts"]
        items.append(el("b", say("watch_started", n=number_, when=moment(last)), cls="warn"))
    return items


def todo(judged):
    """What to do about each, once for those that need the same."""
    wanted = {}
    for name, _since in judged["alarms"]:
        if name in ALARMS:
            _key, do, commands, _what = ALARMS[name]
            wanted[do, commands] = [say(do), command(*commands)]
    if judged["starts"]:
        wanted["do_watch"] = [say("do_watch"), command("grep -E 'exited on signal|was killed' /var/log/messages")]
    return list(wanted.values())
