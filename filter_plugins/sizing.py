# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What everything that runs on the host comes to at its busiest: processes, files, sockets, buffers, pf states, memory, waits, kernel values.

One table of services, one of kernel values, and one place for their numbers. Who needs a sum asks here: the chain of limits, Dovecot's
client_limit, pf's states. What fits into memory: sizing_memory.py; the tarpit's waits: sizing_waits.py; how numbers are read: sizing_numbers.py.
What else counts is a row of SERVICES, or of KERNEL_VALUES.

Where the numbers of memory come from, and which are estimates: docs/memory.md. Pages that processes share are not counted again.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import sys
from collections.abc import Callable

# Ansible loads a plugin by its path
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_providers import provider_processes
from sizing_numbers import number, whole

KIB, MIB = 1 << 10, 1 << 20

#: Open files, and sockets among them, that a Postfix process adds of its own (what it inherits from master counts once for all).
POSTFIX_FILES, POSTFIX_SOCKETS = 15, 8
#: mbuf clusters of a Postfix process's connections.
POSTFIX_CLUSTERS = 4
#: What the kernel holds for a process (stack, page tables, descriptors, socket buffers, blocks of the queue file), bytes.
KERNEL_PER_PROCESS = 220 * KIB
#: smtpd(8) of the two submission services together, maxproc 50 each, that the kernel values have room for without counting them. What is declared
#: beyond is counted.
SUBMISSION = 100
#: The urgent lane: smtp(8) unless declared, and smtpd(8) of its port.
URGENT, URGENT_SUBMISSION = 100, 10
#: named's outstanding queries hold one socket each; a quarter more for listeners, TCP and prefetch.
NAMED_SPARE = 1.25
#: named 9.20 draws a port at random for each query and answers SERVFAIL when six draws are all in use (lib/dns/dispatch.c): with every query
#: outstanding that is 0.9 % at 2.2 ports a query, 26 % at 1.25 (computed; what was measured is in roles/bind/README.md).
PORTS_PER_QUERY = 2.2
PORT_LAST = 65535
PORT_FIRST = 1024  # IPPORT_RESERVED: in_pcb.c refuses a range below it
#: A query of a stub resolver: header, name, question, EDNS, and the sender's address in the socket buffer.
QUERY_BYTES = 128
MSIZE, MCLBYTES = 256, 2048


@dataclasses.dataclass(frozen=True)
class Asked:
    """The declared values that sizes follow from: the shared ones, named's tcp-listen-queue and its udp-receive-buffer (bytes).

    process_limit: 0 for a host without the mail service. submission: smtpd(8) of the submission services together. providers, urgent: smtp(8) of all providers together, and of the urgent lane. spf: the
    agent, python, perl or "". dkim: the signer, sign, dmarc or "". ahead: lookups ahead, open at a time. asked_by_others: somebody beside this host's
    own processes may ask named. cache_share (per cent of RAM), cache_floor, cache_ceiling (MiB): named's cache.
    """

    openfiles: int
    process_limit: int
    recursive_clients: int
    listen_queue: int = 0
    receive_buffer: int = 0
    submission: int = SUBMISSION
    providers: int = 0
    urgent: int = 0
    spf: str = ""
    ahead: int = 0
    greylist: bool = False
    dkim: str = ""
    mta_sts: bool = False
    sasl: bool = False
    recipients: bool = False
    monitor: bool = False
    asked_by_others: bool = False
    cache_share: int = 0
    cache_floor: int = 0
    cache_ceiling: int = 0


def none(_asked):
    return 0


def limit(asked):
    return asked.process_limit


def clients(asked):
    return asked.recursive_clients


def more_submission(asked):
    return max(0, asked.submission - SUBMISSION)


def urgent(asked):
    return asked.urgent


def named_sockets(asked):
    return math.ceil(asked.recursive_clients * NAMED_SPARE) + 1000


def outstanding(asked):
    """How many queries named can have in progress: its limit, and no more than are asked of it.

    A process waits for one answer at a time; a stub resolver asks again after 5 s, and named gives up after 10.
    """
    others = 2 * asked.submission + asked.providers + asked.urgent + (asked.process_limit if asked.spf else 0) + 300
    own = 2 * (4 * asked.process_limit + others)
    return asked.recursive_clients if asked.asked_by_others else min(asked.recursive_clients, own + asked.ahead)


def spf_processes(asked):
    return asked.process_limit if asked.spf == "perl" else 0


def spf_memory(asked):
    if asked.spf == "perl":
        return asked.process_limit * SPF_PERL
    return one_for_all(asked.process_limit) if asked.spf else 0


def one_for_all(connections):
    """Bytes of a policy service whose *connections* one process answers, or as many as are needed."""
    return math.ceil(connections / SPF_CONNECTIONS) * SPF_SERVER + connections * SPF_CONNECTION + SPF_HELPERS


def ahead_memory(asked):
    return one_for_all(asked.process_limit + asked.submission) + asked.ahead * LOOKUP if asked.ahead else 0


@dataclasses.dataclass(frozen=True)
class Service:
    """What a service asks of the host at its busiest, in all: each a function of Asked. memory: bytes that it shares with nobody.

    lower: the variable with which its memory becomes less.
    """

    name: str
    user: str
    lower: str = ""
    processes: Callable = none
    files: Callable = none
    sockets: Callable = none
    clusters: Callable = none
    states: Callable = none
    memory: Callable = none


def postfix(name, processes, each=0, **more):
    """A Service of Postfix's own daemons, each of which holds *each* bytes."""
    return Service(
        name=name,
        user="postfix",
        processes=processes,
        files=lambda asked: processes(asked) * POSTFIX_FILES,
        sockets=lambda asked: processes(asked) * POSTFIX_SOCKETS,
        clusters=lambda asked: processes(asked) * POSTFIX_CLUSTERS,
        **{"memory": lambda asked: processes(asked) * each, **more},
    )


SMTPD, CLEANUP, SMTP = (kib * KIB + KERNEL_PER_PROCESS for kib in (1620, 1410, 1430))
#: named without queries, and for each in progress; postgrey, each of two; what Dovecot's few processes take, and for each connection of an smtpd.
NAMED, QUERY, POSTGREY, DOVECOT, AUTH = 12 * MIB, 27 * KIB, 18 * MIB, 8 * MIB, 10 * KIB
#: postfwd: two processes, and a few hundred bytes for each user within the hour.
POSTFWD = 30 * MIB
#: roles/dkim/README.md: rspamd's three processes, what each connection of an smtpd takes, and all public suffixes, which DMARC needs.
DKIM, DKIM_CONNECTION, DKIM_SUFFIXES = 70 * MIB, 40 * KIB, 200 * MIB
MTA_STS = 60 * MIB
MONITOR, BASE = 20 * MIB, 40 * MIB
#: roles/spf/README.md: how many connections a process of the Python agent serves; the process, each connection, and the five that pass one on.
SPF_CONNECTIONS, SPF_SERVER, SPF_CONNECTION, SPF_HELPERS = 400, 14 * MIB, 154 * KIB, 5 * 7 * MIB
#: A lookup of role ahead that waits for its answer.
LOOKUP = 8 * KIB
#: An interpreter and its spawn(8) for each smtpd.
SPF_PERL = 9 * MIB + 2 * KERNEL_PER_PROCESS

# default_process_limit counts per service, not for all of Postfix (TUNING_README): smtpd, cleanup, smtp and local can each reach it in one burst.
SERVICES = (
    postfix("smtpd", limit, SMTPD, states=limit, lower="sokuhai_process_limit"),
    postfix("cleanup", limit, CLEANUP, lower="sokuhai_process_limit"),
    postfix("smtp", limit, SMTP, states=limit, lower="sokuhai_process_limit"),
    # not in pf's states: recursive clients alone never come to their limit
    postfix("smtp for providers", lambda asked: asked.providers, SMTP, lower="concurrency in postfix_providers"),
    postfix("the urgent lane", urgent, SMTP, lower="postfix_urgent.maxproc"),
    postfix("local", limit),
    # qmgr, anvil, trivial-rewrite, proxymap, tlsmgr and the like serve many clients by one process
    postfix(
        "the rest of Postfix",
        lambda asked: 50 if asked.process_limit else 0,
        memory=lambda asked: 64 * MIB if asked.process_limit else 0,
    ),
    postfix(
        "submission",
        more_submission,
        memory=lambda asked: asked.submission * (SMTPD + CLEANUP),
        states=more_submission,
        lower="postfix_submission_maxproc",
    ),
    # threads of one process
    Service(
        "named",
        "bind",
        files=named_sockets,
        sockets=named_sockets,
        # a query and its answer
        clusters=lambda asked: 2 * asked.recursive_clients,
        states=clients,
        memory=lambda asked: NAMED + outstanding(asked) * QUERY,
        lower="sokuhai_recursive_clients",
    ),
    Service(
        "SPF", "nobody", processes=spf_processes, memory=spf_memory, lower="sokuhai_spf: none, or sokuhai_process_limit"
    ),
    Service("lookups ahead", "nobody", memory=ahead_memory, lower="sokuhai_ahead: false, or ahead_questions"),
    Service(
        "DKIM",
        "rspamd",
        memory=lambda asked: (
            (DKIM + asked.process_limit * DKIM_CONNECTION + (asked.dkim == "dmarc") * DKIM_SUFFIXES)
            if asked.dkim
            else 0
        ),
        lower="dkim_dmarc: none, or dkim_domains: []",
    ),
    Service(
        "MTA-STS policies", "mta-sts-daemon", memory=lambda asked: MTA_STS * asked.mta_sts, lower="sokuhai_mta_sts"
    ),
    Service("greylisting", "postgrey", memory=lambda asked: 2 * POSTGREY * asked.greylist, lower="sokuhai_greylist"),
    Service(
        "Dovecot",
        "dovecot",
        memory=lambda asked: DOVECOT + auth_clients(asked.process_limit) * AUTH if asked.sasl else 0,
        lower="sokuhai_submission",
    ),
    Service(
        "postfwd",
        "nobody",
        memory=lambda asked: POSTFWD * asked.recipients,
        lower="sasl_recipients_per_hour: 0, and no recipients_per_hour of a user",
    ),
    Service("the monitor", "sokuhai_monitor", memory=lambda asked: MONITOR * asked.monitor, lower="sokuhai_monitor"),
    # base daemons, log files, an operator's session
    Service(
        "the base system",
        "root",
        processes=lambda _asked: 250,
        files=lambda _asked: 2000,
        memory=lambda _asked: BASE,
    ),
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sums over SERVICES, and what is of one service alone.

    postfix: processes of Postfix's user. memory: bytes. ports: UDP source ports of named. queries: bytes of queries that may reach named at the same moment. buffer: bytes of the largest UDP receive buffer.
    """

    asked: Asked
    processes: int
    postfix: int
    files: int
    sockets: int
    clusters: int
    states: int
    memory: int
    named_sockets: int
    ports: int
    queries: int
    buffer: int


def sizes(asked):
    """Return the Sizes of what is *asked*."""

    def total(what, services=SERVICES):
        return sum(getattr(service, what)(asked) for service in services)

    postfix = total("processes", [service for service in SERVICES if service.user == "postfix"])
    return Sizes(
        asked=asked,
        postfix=postfix,
        named_sockets=named_sockets(asked),
        ports=math.ceil(asked.recursive_clients * PORTS_PER_QUERY),
        queries=postfix * QUERY_BYTES,
        buffer=max(postfix * QUERY_BYTES, asked.receive_buffer),
        **{what: total(what) for what in ("processes", "files", "sockets", "clusters", "states", "memory")},
    )


def dkim_of(declared):
    """Return what the signer is for: "" where there is none, dmarc where it holds all public suffixes, else sign."""
    if not declared.get("dkim_enabled"):
        return ""
    return "sign" if declared.get("dkim_dmarc", "none") == "none" else "dmarc"


def submitted(declared):
    """Return {submission, urgent}, fields of Asked, of *declared*, {variable: value}."""
    lane = declared.get("postfix_urgent") or {}
    given = lane.get("maxproc")
    each = 2 * declared["postfix_submission_maxproc"] if declared.get("postfix_submission") else 0
    return {
        "submission": each + (URGENT_SUBMISSION if lane.get("port") else 0),
        "urgent": whole("postfix_urgent.maxproc", URGENT if given in (None, "") else given, 0) if lane else 0,
    }


def asked_of(declared):
    """Return Asked of *declared*, {variable: value} with the shared variables. Raises AnsibleFilterError for one that is not a number."""
    shared = ("openfiles", "process_limit", "recursive_clients")
    given = {field: whole(f"sokuhai_{field}", declared[f"sokuhai_{field}"], 1) for field in shared}
    if not declared.get("sokuhai_mail", True):
        given["process_limit"] = 0
        declared = {**declared, "postfix_providers": [], "postfix_urgent": {}}
    return Asked(
        **given,
        listen_queue=declared.get("bind_tcp_listen_queue", 0),
        receive_buffer=declared.get("bind_udp_receive_buffer", 0),
        providers=provider_processes(declared.get("postfix_providers")),
        **submitted(declared),
        spf=declared["spf_agent"] if declared.get("spf_mode", "none") != "none" else "",
        ahead=declared["ahead_questions"] if declared.get("ahead_enabled") else 0,
        greylist=declared.get("greylist_enabled", False),
        dkim=dkim_of(declared),
        mta_sts=declared.get("mta_sts_enabled", False),
        sasl=declared.get("sasl_enabled", False),
        recipients=declared.get("sasl_recipients_limited", False),
        monitor=declared.get("monitor_enabled", False),
        asked_by_others=bool(declared.get("bind_recursion_for")),
        cache_share=declared.get("bind_cache_share", 0),
        cache_floor=declared.get("bind_cache_floor_mib", 0),
        cache_ceiling=declared.get("bind_cache_ceiling_mib", 0),
    )


def submission_problems(declared):
    """Return what is wrong with how many processes the submission services may have, a list of messages. declared: {variable: value} of role postfix."""
    number = declared["postfix_submission_maxproc"]
    if number > 0:
        return []
    return [
        f"postfix_submission_maxproc = {number}: 1 or more is needed, 50 unless declared; 0 is no limit to master(8), and no memory holds "
        "processes without a limit"
    ]


def largest(fits, most):
    """Return the largest int from 1 to *most* for which fits(number) holds, or 0; it must hold for all below one for which it does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# ---- kernel values ----


def maxfiles(size):
    # kern_descrip.c keeps a twentieth of kern.maxfiles for root; named and Postfix's daemons are not root
    return math.ceil(max(size.asked.openfiles, size.files) * 20 / 19)


def with_overhead(payload):
    """Return the kern.ipc.maxsockbuf that lets a socket hold *payload* bytes (uipc_sockbuf.c)."""
    return math.ceil(payload * (MSIZE + MCLBYTES) / MCLBYTES)


@dataclasses.dataclass(frozen=True)
class KernelValue:
    """A sysctl that the chain guarantees: what Sizes need of it, in the sysctl's own unit, and why (a format of asked and size).

    at_most: the guarantee is that it is no more than that, as for the lower end of a range. loader: only the loader sets it.
    """

    name: str
    need: Callable
    why: str
    at_most: bool = False
    loader: bool = False

    def because(self, size):
        return self.why.format(asked=size.asked, size=size)

    def holds(self, value, floor):
        """Return whether *value* keeps the guarantee *floor*."""
        return value <= floor if self.at_most else value >= floor


# In the order in which they are set: kern.ipc.maxsockets is refused above kern.maxfiles (uipc_socket.c), and a UDP socket cannot be opened at
# all while net.inet.udp.recvspace is above what kern.ipc.maxsockbuf allows (uipc_sockbuf.c).
KERNEL_VALUES = (
    KernelValue(
        "kern.maxfiles",
        maxfiles,
        "sokuhai_openfiles = {asked.openfiles} for one process, about {size.files} open in all (named's {size.named_sockets}, {size.postfix} "
        "Postfix processes); a twentieth is kept for root",
    ),
    KernelValue(
        "kern.maxfilesperproc",
        lambda size: size.asked.openfiles,
        "sokuhai_openfiles = {asked.openfiles} (named, Postfix)",
    ),
    KernelValue(
        "kern.ipc.maxsockets",
        lambda size: max(size.asked.openfiles, size.sockets),
        "named's {size.named_sockets} for sokuhai_recursive_clients = {asked.recursive_clients}, {size.postfix} Postfix processes; at the least "
        "one process full of sockets (sokuhai_openfiles = {asked.openfiles})",
    ),
    KernelValue(
        "kern.ipc.nmbclusters",
        lambda size: size.clusters,
        "a query and an answer for each of sokuhai_recursive_clients = {asked.recursive_clients}, buffers of {size.postfix} processes",
    ),
    KernelValue(
        "kern.maxproc",
        lambda size: size.processes,
        "sokuhai_process_limit = {asked.process_limit} in each of 4 services, and the system",
        loader=True,
    ),
    KernelValue(
        "kern.maxprocperuid",
        lambda size: size.postfix,
        "sokuhai_process_limit = {asked.process_limit}: the daemons all run as one user",
    ),
    KernelValue(
        "kern.ipc.soacceptqueue",
        lambda size: max(size.asked.process_limit, size.asked.listen_queue),
        "the listen backlog of master (sokuhai_process_limit = {asked.process_limit}) and of named's TCP listeners",
    ),
    KernelValue(
        "kern.ipc.maxsockbuf",
        lambda size: with_overhead(size.buffer),
        "a UDP receive buffer of {size.buffer} bytes (net.inet.udp.recvspace, named's udp-receive-buffer) and the kernel's own overhead in it",
    ),
    KernelValue(
        "net.inet.udp.recvspace",
        lambda size: size.queries,
        "{size.postfix} Postfix processes may ask named at the same moment; a query that finds the buffer full is lost",
    ),
    KernelValue("net.inet.ip.portrange.hilast", lambda _size: PORT_LAST, "the upper end of named's UDP source ports"),
    KernelValue(
        "net.inet.ip.portrange.hifirst",
        lambda size: PORT_LAST - size.ports + 1,
        "{size.ports} UDP source ports for sokuhai_recursive_clients = {asked.recursive_clients} outstanding queries",
        at_most=True,
    ),
)
BY_NAME = {value.name: value for value in KERNEL_VALUES}


def in_order(names):
    """Return *names* as they are set: those of KERNEL_VALUES first, in its order, the rest by name."""
    return [name for name in BY_NAME if name in names] + sorted(set(names) - set(BY_NAME))


def holds(name, value, floor):
    """Return whether *value* keeps the guarantee *floor* of the sysctl *name*; values as sysctl prints them."""
    value, floor = number(value), number(floor)
    return None not in (value, floor) and BY_NAME[name].holds(value, floor)


# ---- for the defaults of roles ----


def auth_clients(process_limit):
    """Return how many connections Dovecot's auth service may get (client_limit) with that default_process_limit.

    Each smtpd that offers AUTH keeps one: three services at the limit (submission, submissions, and port 25 for whoever opens AUTH there), and some
    to spare.
    """
    return 3 * whole("sokuhai_process_limit", process_limit, 1) + 100


def pf_states(recursive_clients, process_limit):
    """Return how many states pf has to have room for: named's questions, and the SMTP connections both ways."""
    clients = whole("sokuhai_recursive_clients", recursive_clients, 1)
    return sizes(Asked(1, whole("sokuhai_process_limit", process_limit, 1), clients)).states


def client_connections(process_limit, share):
    """Return how many connections one client may hold: a tenth of the processes that may sleep, within 10 and 50 (Postfix's own default)."""
    return min(max(int(whole("access_process_limit", process_limit, 1) * float(share) / 10), 10), 50)


class FilterModule:
    def filters(self):
        return {
            "sizing_auth_clients": auth_clients,
            "sizing_pf_states": pf_states,
            "sizing_client_connections": client_connections,
            "sizing_submission_problems": submission_problems,
        }
