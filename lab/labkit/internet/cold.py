"""A resolver that knows nothing, asked thousands of times a second while every answer comes late: what is offered as a cure, side by side.

Each arm is one resolver of its own in the practice host, fresh each time; the arms take turns, round after round, since the machine has other work: what counts
is the share that is answered in time, arm beside arm. See roles/bind/README.md for what came of it.
"""

import dataclasses
import functools
import json
import pathlib
import statistics

from .compare import CONF, OUTER, PORT, ZONE, ours, row, run_named
from .host import Host
from .mail import late, write

TTL = 5  # s; what is to have expired is kept that long
STALE = ("stale-cache-enable yes;", "stale-answer-enable yes;", "stale-answer-client-timeout 0;")
# at which named listens for two views: it takes addresses of an interface alone, and lo0 has one
ADDRESSES = ("127.0.0.1", OUTER)
PATIENT = ("discard-timeout: 10000",)  # ms; by itself Unbound answers nobody after 1.9 s
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
    """known: it has met the server; options: statements of named's; views: of one named, with one cache; expired: it was asked before, and that has expired.

    unbound: lines of unbound.conf instead of a named, None for a named.
    """

    known: bool = False
    options: tuple = ()
    views: bool = False
    expired: bool = False
    unbound: tuple = None


ARMS = {
    "cold": Arm(),
    "prefetch": Arm(options=("prefetch 10 19;", "min-cache-ttl 90;")),
    "stale": Arm(options=STALE),
    "views": Arm(views=True),
    "known": Arm(known=True),
    "expired": Arm(known=True, expired=True, options=(f"max-cache-ttl {TTL};",)),
    "expired-stale": Arm(known=True, expired=True, options=(f"max-cache-ttl {TTL};", *STALE)),
    "unbound": Arm(unbound=()),
    "unbound-patient": Arm(unbound=(*PATIENT, "unknown-server-time-limit: 2000")),
    "unbound-known": Arm(unbound=PATIENT, known=True),
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


def run_arm(arm, options, host, dns, printed, first):
    """The counts of one arm. first: number of its first name; no two runs ask for the same."""
    load = {"rate": options.rate, "seconds": options.seconds, "zone": ZONE, "rdtype": "MX", "first": first}
    load |= {"timeout": options.timeout, "late": options.late / 1000 + 5}
    job = {}
    if arm.unbound is not None:
        conf, folder = unbound(dns, arm.unbound), pathlib.Path(options.unbound)
        libraries = f"LD_LIBRARY_PATH={folder}/usr/lib/x86_64-linux-gnu"
        job["check"] = ["env", libraries, f"{folder}/usr/sbin/unbound-checkconf", "@CONF@"]
        job["run"] = ["env", libraries, f"{folder}/usr/sbin/unbound", "-d", "-c", "@CONF@"]
    else:
        conf = ours(printed)
        conf = conf.replace("options {\n", "options {\n" + "".join(f"\t{one}\n" for one in arm.options), 1)
        conf = viewed(conf) if arm.views else conf
        job["address"] = ",".join(ADDRESSES) if arm.views else ADDRESSES[0]
    if arm.expired:
        job["earlier"] = {"load": load, "pause": TTL + 3}
    return run_named(host, conf, dns, load, arm.known, options.late, **job)


def arguments(parser):
    parser.add_argument("--arms", default=",".join(name for name, arm in ARMS.items() if arm.unbound is None))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3000, help="queries a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--late", type=int, default=1000, help="milliseconds that every answer about the names takes")
    parser.add_argument("--timeout", type=float, default=5, help="seconds after which an answer comes too late")
    parser.add_argument(
        "--unbound", default="/opt/unbound", help="where Unbound's packages are unpacked in the practice host"
    )
    parser.add_argument("--json", help="write the report to this file")


def main(options):
    host = Host(options.instance)
    dns = json.loads((options.folder / "dns.json").read_text())
    say = functools.partial(print, flush=True)
    names = options.arms.split(",")
    if set(names) - set(ARMS):
        raise ValueError(f"--arms: {', '.join(ARMS)}")
    printed = host.run("sh", "-c", f"/usr/local/bin/named-checkconf -p {CONF}")[1]
    found = {name: [] for name in names}
    say(f"{options.rate:.0f} queries a second for {options.seconds:.0f} s, every answer {options.late} ms late")
    say(
        f"  {'':12} {'in time':>8} {'SERVFAIL':>9} {'late':>7} {'never':>7} {'p50 ms':>8} {'sockets':>8} {'CPU s':>6} {'asked/s':>8}"
    )
    with late(options.folder, options.late, ZONE):
        for turn in range(options.rounds):
            for place, name in enumerate(names):
                first = (turn * len(names) + place + 1) << 20
                found[name].append(run_arm(ARMS[name], options, host, dns, printed, first))
                say(row(name, found[name][-1]))
    say("medians of the shares answered in time:")
    shares = {name: [one["noerror"] / one["sent"] for one in runs] for name, runs in found.items()}
    for name, values in shares.items():
        say(f"  {name:16} {statistics.median(values):6.1%}  ({', '.join(f'{value:.1%}' for value in values)})")
    write(options.json, {"rate": options.rate, "late_ms": options.late, "arms": found})
    return 0
