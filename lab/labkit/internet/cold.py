"""A resolver that knows nothing, asked many times a second while every answer comes late: what is offered as a cure, side by side.

Each arm is one resolver of its own in the practice host, fresh each time; the arms take turns, round after round, since the machine has other work: what counts
is the share that is answered in time, arm beside arm. See roles/bind/README.md for what came of it.
"""

import dataclasses
import functools
import json
import os
import pathlib
import statistics

from .. import others
from ..files import about, record
from ..paths import REPOSITORY
from . import servers
from .compare import CONF, HEAD, OUTER, PORT, ZONE, ours, row, run_named
from .host import Host
from .mail import late

RESULTS = REPOSITORY / "tests" / "results"
# ms. An answer that is later than the first wait, 800 ms, is not seen, so that its round trip is never learned; named waits 200 ms longer than the round trip
# that it knows (fctx_setretryinterval(), lib/dns/resolver.c), and follows a server that becomes slower by less than that
FIRST, STEP = 700, 150
TTL = 5  # s; what is to have expired is kept that long
STALE = ("stale-cache-enable yes;", "stale-answer-enable yes;", "stale-answer-client-timeout 0;")
# at which named listens for two views: it takes addresses of an interface alone, and lo0 has one
ADDRESSES = ("127.0.0.1", OUTER)
PATIENT = ("discard-timeout: 10000",)  # ms; by itself Unbound answers nobody after 1.9 s
UNBOUND_AT = "/opt/unbound"
# as https://unbound.docs.nlnetlabs.nl/ (performance) has it for a build with libevent; the lab's names are below test., of which it would say NXDOMAIN by itself
UNBOUND = """server:
	directory: "@FOLDER@"
	pidfile: "@FOLDER@/pid"
	chroot: ""
	username: ""
	do-daemonize: no
	use-syslog: no
	interface: 127.0.0.1@{port}
	root-hints: "@FOLDER@/hints"
	local-zone: "test." nodefault
	num-threads: 2
	outgoing-range: 8192
	num-queries-per-thread: 4096
	so-rcvbuf: 4m
	so-sndbuf: 4m
	so-reuseport: yes
	msg-cache-slabs: 2
	rrset-cache-slabs: 2
	infra-cache-slabs: 2
	key-cache-slabs: 2
	msg-cache-size: 50m
	rrset-cache-size: 100m
{more}"""


@dataclasses.dataclass
class Arm:
    """what: a line about it; known: it has met the server; options: statements of named's; views: of one named, with one cache; expired: it was asked before, and
    that has expired.

    unbound: lines of unbound.conf instead of a named, None for a named. taught: it has met the server when that was faster, see STEP; count: of named processes
    behind one address.
    """

    what: str
    known: bool = False
    options: tuple = ()
    views: bool = False
    expired: bool = False
    unbound: tuple = None
    taught: bool = False
    count: int = 1


ARMS = {
    "cold": Arm("ours, cold"),
    "prefetch": Arm("the same with `prefetch 10 19`", options=("prefetch 10 19;",)),
    "min-cache-ttl": Arm("the same with `min-cache-ttl 90`", options=("min-cache-ttl 90;",)),
    "stale": Arm("the same with serve-stale (below)", options=STALE),
    "views": Arm("two views, one cache (`attach-cache`), two addresses", views=True),
    "known": Arm("**ours, which has met the server** (40 queries before)", known=True),
    "expired": Arm("ours, names it knew, expired", known=True, expired=True, options=(f"max-cache-ttl {TTL};",)),
    "expired-stale": Arm(
        "**the same with serve-stale**", known=True, expired=True, options=(f"max-cache-ttl {TTL};", *STALE)
    ),
    "unbound": Arm("Unbound with the tuning of its documentation", unbound=()),
    "unbound-patient": Arm(
        "the same with `discard-timeout: 10000` and `unknown-server-time-limit: 2000`",
        unbound=(*PATIENT, "unknown-server-time-limit: 2000"),
    ),
    "unbound-known": Arm(
        "the same with `discard-timeout: 10000`, which has met the server", unbound=PATIENT, known=True
    ),
}


def viewed(text):
    """The private named.conf *text* with a view for each of ADDRESSES, and one cache for all of them."""
    hint = 'zone "." { type hint; file "@FOLDER@/hints"; };'
    views = "\n".join(
        f'view "v{number}" {{ match-destinations {{ {address}; }}; attach-cache "all"; {hint} }};'
        for number, address in enumerate(ADDRESSES)
    )
    text = text.replace(f"{{ {ADDRESSES[0]}; }}", "{ %s }" % " ".join(f"{address};" for address in ADDRESSES), 1)
    return text.replace(hint, views)


def unbound(dns, more):
    """The text of unbound.conf. more: lines of its server clause."""
    lines = list(more)
    for anchor in dns["trust_anchors"]:
        *numbers, key = anchor["value"].split(None, 3)
        kind = "DS" if anchor["type"].endswith("ds") else "DNSKEY"
        lines.append(f'trust-anchor: "{anchor["name"]} {kind} {" ".join(numbers)} {key.replace(" ", "")}"')
    return UNBOUND.format(port=PORT, more="".join(f"\t{line}\n" for line in lines))


def fetched_unbound(options, host):
    """Debian's Unbound, unpacked in the practice host; its name and version."""
    generation = json.loads((options.folder / "status.json").read_text())["generation"]
    unpack = ("sh", "-c", f"mkdir -p {UNBOUND_AT} && tar -C {UNBOUND_AT} -xf -")
    with (
        (others.fetched(generation) / "unbound.tar").open("rb") as packed,
        host.popen(*unpack, stdin=packed),
    ):
        pass
    return f"Unbound {host.run(*at_unbound('unbound', '-V'))[1].split()[1]}"


def at_unbound(program, *words):
    return ["env", f"LD_LIBRARY_PATH={UNBOUND_AT}/usr/lib/x86_64-linux-gnu", f"{UNBOUND_AT}/usr/sbin/{program}", *words]


def run_arm(arm, options, host, dns, printed, first):
    """The counts of one arm. first: number of its first name; no two runs ask for the same."""
    load = {"rate": options.rate, "seconds": options.seconds, "zone": ZONE, "rdtype": "MX", "first": first}
    load |= {"timeout": options.timeout, "late": options.late / 1000 + 5}
    job, warm = {"count": arm.count, "descriptors": options.descriptors}, {} if arm.known else None
    if arm.unbound is not None:
        conf = unbound(dns, arm.unbound)
        job["check"] = at_unbound("unbound-checkconf", "@CONF@")
        job["run"] = at_unbound("unbound", "-d", "-c", "@CONF@")
    else:
        conf = ours(printed)
        conf = conf.replace("options {\n", "options {\n" + "".join(f"\t{one}\n" for one in arm.options), 1)
        conf = viewed(conf) if arm.views else conf
        job["address"] = ",".join(ADDRESSES) if arm.views else ADDRESSES[0]
    if arm.taught:
        # as bind_ipv6_transport: false does: of a server's two addresses, only the one that is asked is learned
        conf += "server ::/0 { bogus yes; };\n"
        job["steps"] = [*range(FIRST, options.late, STEP), options.late]
        load["sockets"] = 64  # which the kernel shares out among several
        warm = {"rate": 10 * arm.count, "seconds": 1, "timeout": options.late / 1000 + 1, "sockets": 64}
    if arm.expired:
        job["earlier"] = {"load": load, "pause": TTL + 3}

    def slower(milliseconds):
        servers.request(options.folder, "dns", {"op": "set", "zone": ZONE, "values": {"delay": milliseconds}})

    slower(options.late)
    return run_named(host, conf, dns, load, warm, options.late, slower, **job)


def arguments(parser):
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300, help="queries a second")
    parser.add_argument("--seconds", type=float, default=8)
    common(parser, 1000, 5)
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "cold.json", help="file of results")


def common(parser, late_ms, timeout):
    """Options of every load of these arms."""
    parser.add_argument(
        "--late", type=int, default=late_ms, help=f"milliseconds that every answer about the names takes ({late_ms})"
    )
    parser.add_argument(
        "--timeout", type=float, default=timeout, help=f"seconds after which an answer comes too late ({timeout})"
    )
    parser.add_argument("--descriptors", type=int, help="limit of each resolver (default: as it is on the host)")


def kept(found, number, options):
    """What the file of results has of one run."""
    names = ("sent", "noerror", "servfail", "late", "timeout", "sockets_peak", "descriptor_limit", "cpu_seconds")
    names += ("machine_busy", "on_rate", "ports", "failed_for", "log", "counters")
    run = {"round": number, **{name: found[name] for name in names}, "p50_ms": found["latency_ms"]["p50"]}
    run |= {"rate": options.rate, "seconds": options.seconds, "late_ms": options.late, "timeout_s": options.timeout}
    return {**run, "warm": found.get("warm"), "load": round(os.getloadavg()[0], 1), **about()}


def rounds(options, arms, host, keep):
    """Run each of *arms*, {name: Arm}, in turn, options.rounds times. keep: called with each name and its counts."""
    dns = json.loads((options.folder / "dns.json").read_text())
    printed = host.run("sh", "-c", f"/usr/local/bin/named-checkconf -p {CONF}")[1]
    with late(options.folder, options.late, ZONE):
        for turn in range(options.rounds):
            for place, (name, arm) in enumerate(arms.items()):
                first = (turn * len(arms) + place + 1) << 20
                keep(name, run_arm(arm, options, host, dns, printed, first), turn + 1)


def measure(options, known):
    """Measure the arms of *known* that options.arms names; what the file of results has: {cpus, versions, arms, runs}."""
    names = options.arms.split(",")
    if set(names) - set(known):
        raise ValueError(f"--arms: {', '.join(known)}")
    host, say = Host(options.instance), functools.partial(print, flush=True)
    say(f"{options.rate:.0f} queries a second for {options.seconds:.0f} s, every answer {options.late} ms late")
    say(HEAD)
    versions = [" ".join(host.run("/usr/local/sbin/named", "-v")[1].split()[:2])]
    if any(known[name].unbound is not None for name in names):
        versions.append(fetched_unbound(options, host))
    runs = []

    def keep(name, found, number):
        say(row(name, found))
        runs.append({"arm": name, **kept(found, number, options)})

    rounds(options, {name: known[name] for name in names}, host, keep)
    arms = {name: arm.what for name, arm in known.items()}
    return {"cpus": os.cpu_count(), "versions": versions, "arms": arms, "runs": runs}


def main(options):
    found = measure(options, ARMS)
    print("medians of the shares answered in time:")
    for name in options.arms.split(","):
        shares = [run["noerror"] / run["sent"] for run in found["runs"] if run["arm"] == name]
        print(f"  {name:16} {statistics.median(shares):6.1%}  ({', '.join(f'{share:.1%}' for share in shares)})")
    record(options.json, found)
    return 0
