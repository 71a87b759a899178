# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Reports as tools/drift makes them, of hosts that do not exist: made by chance from a fixed seed, so that a test sees the same each time."""

import json
import math
import pathlib
import random

import pytest
from drift_report.findings import finding
from drift_report.page.alarms import ALARMS
from limits_chain import limits_chain

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOW = 1795824000  # 2026-11-28 00:00 UTC
SYSCTL = {
    "kern.maxfiles": 130352,
    "kern.maxfilesperproc": 117315,
    "kern.ipc.maxsockets": 130352,
    "kern.ipc.nmbclusters": 252212,
    "kern.maxproc": 9460,
    "kern.maxprocperuid": 8514,
    "kern.ipc.soacceptqueue": 500,
    "kern.ipc.maxsockbuf": 8388608,
    "net.inet.udp.recvspace": 262400,
    "net.inet.ip.portrange.hifirst": 21536,
    "net.inet.ip.portrange.hilast": 65535,
    "hw.physmem": 4271390720,
    "hw.ncpu": 2,
}
COLUMNS = (
    "time",
    "seconds",
    "queue_incoming",
    "queue_active",
    "queue_deferred",
    "queue_hold",
    "queue_maildrop",
    "age_incoming",
    "age_active",
    "age_deferred",
    "deferred_dns",
    "deferred_connect",
    "deferred_refused",
    "deferred_greylisted",
    "deferred_other",
    "mails_in",
    "mails_out",
    "mails_deferred",
    "mails_bounced",
    "mails_rejected",
    "mails_put_off",
    "named_sockets",
    "named_descriptors",
    "named_descriptors_limit",
    "named_recursive_clients",
    "named_recursive_clients_limit",
    "named_servfail",
    "named_queries",
    "warm_cached",
    "warm_total",
    "postfix_sockets",
    "postfix_descriptors",
    "postfix_descriptors_limit",
    "postfix_processes",
    "postfix_processes_limit",
    "files",
    "files_limit",
    "sockets",
    "sockets_limit",
    "memory_free",
    "memory_total",
    "swap_used",
    "swap_total",
    "queue_disk_used",
    "queue_disk_total",
    "queue_inodes_used",
    "queue_inodes_total",
    "log_disk_used",
    "log_disk_total",
    "log_inodes_used",
    "log_inodes_total",
    "certificate_days",
    "watch_starts",
    "greylist_hits",
    "dnsbl_hits",
    "postscreen_hits",
    "spf_fails",
    "sender_fails",
)


def chain(**changes):
    """A chain of limits by the project's own filter; changes are sysctls that the host has otherwise."""
    explicit = {name.replace("__", "."): value for name, value in changes.items()}
    measured = {
        "sysctl": {**SYSCTL, **explicit},
        "tunable": [],
        "writable": [*SYSCTL, *explicit],
        "classes": {"daemon": "infinity", "sokuhai": 65535},
        "pf": {"enabled": False},
        "running": {
            "named": {"pid": 812, "soft": 65535, "hard": 65535},
            "postfix": {"pid": 1944, "soft": 65535, "hard": 65535},
        },
        "named": {"version": "9.20.9", "knows_files": False},
        "jailed": False,
        "settings": [],
    }
    declared = {
        **{f"{role}_openfiles": 65535 for role in ("sokuhai", "bind", "postfix")},
        "sokuhai_process_limit": 500,
        "sokuhai_recursive_clients": 20000,
        "sokuhai_fd_setsize": 16384,
        "rebuild_enabled": False,
        "bind_tcp_listen_queue": 128,
        "bind_udp_receive_buffer": 1048576,
        "limits_sysctl": explicit,
        "limits_loader": {},
        "limits_login_class": "sokuhai",
    }
    found = limits_chain(measured, declared)
    return {"links": found["links"], "problems": [problem["message"] for problem in found["problems"]]}


def samples(seed, points=700, days=7, size=20000, dns=0, senders=0, gap=True, until=NOW, unknown=()):
    """A week with one mailing of *size* mails two thirds through it: columns as role monitor gives them, thinned to *points*."""
    chance = random.Random(seed)
    span = days * 86400 // points
    columns = {name: [] for name in COLUMNS}
    left = 0
    for number in range(points):
        at = until - (points - 1 - number) * span
        if gap and points // 3 < number < points // 3 + max(4, points // 60):
            continue
        start = points * 2 // 3
        burst = math.exp(-(((number - start) / (points / 200 + 1)) ** 2))
        day = 0.6 + 0.4 * math.sin(number * span / 86400 * 2 * math.pi)
        left = max(0, left * 0.9 + size * 0.08 * burst - 3)
        queries = int(60 * day * chance.random() + size * 0.72 * burst)
        row = dict.fromkeys(COLUMNS, 0)
        row.update(
            time=at,
            seconds=span,
            queue_incoming=int(size * 0.1 * burst),
            queue_active=int(size * 0.9 * burst + chance.randint(0, 3)),
            queue_deferred=int(left),
            queue_maildrop=int(size * 0.05 * burst),
            deferred_dns=int(left * 0.1) + (dns if number > points - 20 else 0),
            deferred_connect=int(left * 0.4),
            deferred_refused=int(left * 0.2),
            deferred_greylisted=int(left * 0.25),
            deferred_other=int(left * 0.05),
            mails_put_off=chance.randint(0, 2),
            mails_in=int(span * (0.02 * day + size / 600 * burst)),
            mails_out=int(span * (0.02 * day + size / 500 * burst)),
            mails_deferred=int(span * size / 9000 * burst),
            mails_bounced=int(span * size / 20000 * burst),
            mails_rejected=int(span * 0.05 * chance.random()),
            named_sockets=24 + queries,
            named_descriptors=60 + queries,
            named_descriptors_limit=65535,
            named_recursive_clients=queries,
            named_recursive_clients_limit=20000,
            named_queries=queries * span // 10,
            warm_cached=1930 - chance.randint(0, 160),
            warm_total=1930,
            postfix_sockets=40 + int(900 * burst),
            postfix_descriptors=44 + int(470 * burst),
            postfix_descriptors_limit=65535,
            postfix_processes=1 + int(size / 23000 * 380 * burst),
            postfix_processes_limit=500,
            files=2100 + int(21000 * burst),
            files_limit=130352,
            sockets=300 + queries + int(9000 * burst),
            sockets_limit=130352,
            memory_free=1_200_000_000,
            memory_total=4_271_390_720,
            swap_total=2_147_483_648,
            queue_disk_used=4_200_000_000 + 60_000 * int(left),
            queue_disk_total=20_000_000_000,
            queue_inodes_used=310_000 + 2 * int(left),
            queue_inodes_total=2_600_000,
            log_disk_used=700_000_000 + 2_000_000 * number,
            log_disk_total=4_000_000_000,
            log_inodes_used=900,
            log_inodes_total=520_000,
            certificate_days=60,
            greylist_hits=chance.randint(0, 3) * span // 60,
            dnsbl_hits=chance.randint(0, 8) * span // 60,
            postscreen_hits=chance.randint(0, 20) * span // 60,
            spf_fails=chance.randint(0, 2) * span // 60,
            sender_fails=senders if number > points - 20 else 0,
        )
        for name in unknown:
            row[name] = None
        for name in COLUMNS:
            columns[name].append(row[name])
    return {
        "columns": columns,
        "from": columns["time"][0],
        "to": columns["time"][-1],
        "rows_read": 10080,
        "broken": 0,
        "over": {"deferred_dns": until - 5400} if dns else {},
    }


def found(host, name, role="postfix", diff="", since="still", expected="500", got="100", **more):
    """A finding as the report has it; *more* is remedy, part, thing."""
    record = {"host": host, "role": role}
    return {**finding(record, name, expected=expected, found=got, diff=diff, **more), "since": since}


def report(hosts, findings=(), errors=(), code=2):
    return {
        "schema": 1,
        "started": "2026-11-28T00:01:00+00:00",
        "seconds": 41.7,
        "exit": code,
        "hosts": hosts,
        "findings": list(findings),
        "transitions": {
            "new": [entry["id"] for entry in findings if entry["since"] == "new"],
            "gone": [],
            "still": [],
            "hosts": [],
        },
        "errors": list(errors),
    }


def validate(report):
    """Fail where *report* is not of the form of docs/drift.schema.json."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed beside molecule")
    schema = json.loads((ROOT / "docs" / "drift.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(report)


DIFF = """--- found: /usr/local/etc/namedb/named.conf
+++ declared: /usr/local/etc/namedb/named.conf
@@ -12,3 +12,3 @@
 options {
-    recursive-clients 1000;
+    recursive-clients 20000;
     listen-on { 127.0.0.1; };
"""
TRAPS = {
    "traps": {
        "catch-me@home.example": {"taken": 214, "refused": 11, "rules": {}},
        "old.name@home.example": {"taken": 3, "refused": 0, "rules": {}},
    },
    "rules": {
        "dnsbl: zen.spamhaus.org": 171,
        "check_dynamic_client: number_twice": 88,
        "reject_unknown_reverse_client_hostname": 35,
        "spf": 9,
    },
    "clients": {"203.0.113.77": 120, "2001:db8::25": 12},
    "missing": [],
}


def mailing(name, recipients, at, deferred=(), bounced=(), groups=(), **more):
    """What became of a message to *recipients* people: deferred and bounced as {reason: number}, groups as {name: recipients}."""
    deferred, bounced = dict(deferred), dict(bounced)
    lost = sum(deferred.values()) + sum(bounced.values())
    delivered = recipients - lost - more.get("unattempted", 0)

    def after(share):
        return (
            round(4 + 0.3 * share + max(0, share - 90) ** 2 / 2, 1) if share * recipients <= 100 * delivered else None
        )

    def summary(number, served):
        return {
            "recipients": number,
            "delivered": served,
            "at_the_first_attempt": served * 9 // 10,
            "seconds": {str(share): after(share) if served == number else None for share in (50, 95, 99, 100)},
        }

    return {
        "name": name,
        "at": at,
        "senders": ["alert@home.example"],
        "messages": 1,
        "size": 1480,
        "in_queue": int(bool(deferred)),
        "unattempted": 0,
        **summary(recipients, delivered),
        "seconds": {str(share): after(share) for share in (50, 95, 99, 100)},
        "deferred": sum(deferred.values()),
        "bounced": sum(bounced.values()),
        "dead": bounced.get("dead", 0),
        "curve": [4.0, *(after(share) for share in range(5, 101, 5))],
        "spent": {"before": 0.4, "queue": 3.2, "connection": 1.15, "sending": 0.31},
        "deferred_by": deferred,
        "bounced_by": bounced,
        "providers": [one for one in dict(groups) if "." not in one],
        "groups": {
            one: {**summary(number, number - (index == 1)), "deferred": int(index == 1), "bounced": 0, "dead": 0}
            for index, (one, number) in enumerate(dict(groups).items())
        },
        "other_groups": 0,
        **more,
    }


MAILINGS = {
    "mailings": [
        mailing(
            "<20261128.alert@home.example>",
            20000,
            NOW - 5400,
            {"dns": 34, "greylisted": 310, "connect": 21},
            {"dead": 118, "policy": 3, "full": 9, "size": 1, "expired": 2, "bounced": 4},
            {"docomo": 5210, "au": 3102, "gmail": 2904, "softbank": 1800, "town.example": 812, "school.example": 402},
            other_groups=1630,
        ),
        mailing("<20261126.test@home.example>", 500, NOW - 2 * 86400, groups={"docomo": 300, "town.example": 200}),
        mailing("4F2A1C0B", 2000, NOW - 3 * 86400, unattempted=1500, spent=None),
    ],
    "left_out": ["/var/log/maillog.5.bz2"],
}


def host(status="drift", messages=(), notes=(), **more):
    return {"status": status, "messages": list(messages), "notes": list(notes), **more}


def one():
    """A host in the middle of trouble: drift, a ceiling that came near, mails that wait for DNS, traps."""
    name = "mx.home.example"
    findings = [
        found(name, "main.cf: default_process_limit", since="new"),
        found(name, "/usr/local/etc/namedb/named.conf", "bind", DIFF, "new", "the text as declared", "another text"),
        found(name, "process named: openfiles", "bind", part="state", expected="65535", got="1024"),
        found(name, "master.cf: 2525/inet", expected="(not set)", got="2525 inet n - n - - smtpd"),
        found(
            name,
            "reboot pending: kern.maxproc",
            "limits",
            expected="9460",
            got="4000",
            part="state",
            remedy="reboot",
        ),
        *[found(name, "main.cf: parameter_%d" % number) for number in range(9)],
    ]
    return report(
        {
            name: host(
                chain=chain(),
                samples=samples(1, size=23000, dns=34, unknown=("named_servfail", "swap_used")),
                traps=TRAPS,
                mailings=MAILINGS,
                notes=["known vulnerabilities: pkg audit -F has not fetched the list"],
            )
        },
        findings,
    )


def ten():
    """Ten hosts, most of them well; one is away, one broke off, one has no monitor, one a broken chain."""
    hosts, findings = {}, []
    for number in range(1, 11):
        name = "mx%02d.home.example" % number
        hosts[name] = host("clean", chain=chain(), samples=samples(number, size=4000 + 500 * number))
    hosts["mx03.home.example"] = host(
        "unreachable",
        ["Failed to connect to the host via ssh: connect to host 192.0.2.13 port 22: Operation timed out"],
    )
    hosts["mx05.home.example"]["status"] = "drift"
    findings += [
        found("mx05.home.example", "main.cf: default_process_limit", since="new"),
        found("mx05.home.example", "service named", "bind", part="state", expected="running", got="not running"),
    ]
    hosts["mx06.home.example"] = host(
        "error", ["postfix, Write the set: 'dict object' has no attribute 'zones'"], chain=chain()
    )
    hosts["mx07.home.example"] = host("clean", chain=chain())
    hosts["mx08.home.example"]["samples"] = samples(88, size=26000)
    broken = chain(kern__maxfilesperproc=20000)
    hosts["mx09.home.example"].update(status="drift", chain=broken)
    findings.append(
        found(
            "mx09.home.example",
            "refused",
            "preflight",
            expected="accepted",
            got=broken["problems"][0],
            thing="refused: Refuse what cannot work",
            remedy="refused",
        )
    )
    return report(hosts, findings, code=3)


def alarmed():
    """A host as it is declared, with every alarm of role monitor raised, and one of a later version."""
    taken = samples(4, size=3000)
    columns = taken["columns"]
    columns["log_disk_used"][-1] = 3_720_000_000
    columns["queue_inodes_used"][-1] = 2_500_000
    columns["memory_free"][-1] = 120_000_000
    columns["age_incoming"][-1] = 5400
    columns["certificate_days"][-1] = 6
    columns["watch_starts"][-40] = columns["watch_starts"][-9] = 1
    taken["over"] = {name: NOW - 60 * minutes for minutes, name in enumerate([*ALARMS, "of_a_later_version"], 3)}
    return report({"mx.home.example": host("clean", chain=chain(), samples=taken)}, code=0)


def well():
    """One host with nothing to say."""
    return report({"mx.home.example": host("clean", chain=chain(), samples=samples(3, size=3000))}, code=0)


EVIL = "</script><script>document.title='broken in'</script><img src=x onerror=\"document.title='broken in'\"><!--<style>*{display:none}</style>]]>\u202egnp.exe\x1b[31m\x00\ud800\u2028'\"`"


def hostile():
    """Everything a host or an inventory can say, as somebody who means harm would say it."""
    name = "mx" + EVIL
    bad = found(
        name, "main.cf: " + EVIL, EVIL, "--- found: %s\n+++ x\n-%s\n+%s\n" % (EVIL, EVIL, EVIL), "new", EVIL, EVIL
    )
    # as a report of an earlier version has it
    old = {**found(name, "x", EVIL), "advice": EVIL}
    del old["remedy"], old["because"]
    links = chain()
    links["links"][0].update(name="kern.maxfiles " + EVIL, because=EVIL)
    links["links"][1].update(ok=False, mend=EVIL)
    odd = samples(5)
    odd["columns"]["queue_active"][3] = None
    odd["columns"]["evil" + EVIL] = [None] * len(odd["columns"]["time"])
    return report(
        {
            name: host(
                "error",
                [EVIL],
                [EVIL],
                chain=links,
                samples=odd,
                traps={
                    "traps": {EVIL: {"taken": 1, "refused": 0}},
                    "rules": {EVIL: 4},
                    "clients": {EVIL: 2},
                    "missing": [EVIL],
                },
                mailings={
                    "mailings": [
                        mailing(
                            EVIL, 2, NOW, {EVIL: 1}, {EVIL: 1, "dead": 1}, {EVIL: 2}, senders=[EVIL], providers=[EVIL]
                        )
                    ],
                    "left_out": [EVIL],
                },
            ),
            "second": host(
                "unreachable", [EVIL], samples={"error": EVIL}, traps={"error": EVIL}, mailings={"error": EVIL}
            ),
        },
        [bad, old],
        [EVIL],
        1,
    )
