"""Stock named against the practice host's own configuration, under the same load in one run; with --mail also what mail sees of it.

Load on named: two private named processes in the practice host, one after the other, are asked for MX records of names that nobody
asked for before, every authoritative answer coming late. Each begins cold (it has met no server yet) and warm (it has queried the
same server a few dozen times, so that it knows its round trip). What is counted is printed; nothing is tuned to make either fail.

Mail (--mail): the same message to the same recipients through the provider's resolver, a stock named, and the host's own named.
"""

import contextlib
import functools
import json
import os
import pathlib
import re

from . import dnsload, servers
from .host import Host, HostError
from .mail import deliver, flush, late, recipients_of, write

CONF = "/usr/local/etc/namedb/named.conf"
PORT = 5399
OUTER, PROVIDER = "192.0.2.10", "198.51.100.153"
HEAD = f"  {'':16} {'in time':>8} {'SERVFAIL':>9} {'late':>7} {'never':>7} {'p50 ms':>8} {'sockets':>8} {'CPU s':>6} {'asked/s':>8}"
RATE, LATE, ZONE = 3000, 1000, "load.test"  # queries a second, milliseconds, the zone of every name
# where and as whom a named works: a private one has its own of these, whatever its options
PLACE = {
    "directory",
    "listen-on",
    "listen-on-v6",
    "pid-file",
    "session-keyfile",
    "session-keyname",
    "session-keyalg",
    "dump-file",
    "statistics-file",
    "recursing-file",
    "secroots-file",
    "memstatistics-file",
    "lock-file",
    "managed-keys-directory",
    "bindkeys-file",
    "key-directory",
    "new-zones-directory",
    "geoip-directory",
}


def statements(text):
    """The statements of a named.conf as named-checkconf -p prints it, one string each: comments and nested braces are kept whole."""
    found, depth, current, quoted = [], 0, "", False
    for char in text:
        current += char
        if char == '"':
            quoted = not quoted
        elif not quoted and char == "{":
            depth += 1
        elif not quoted and char == "}":
            depth -= 1
        elif not quoted and char == ";" and depth == 0:
            found.append(current.strip())
            current = ""
    if current.strip():
        raise ValueError(f"named.conf: not ended: {current.strip()[:60]}")
    return found


def body(statement):
    """What stands between the outer braces of a statement."""
    return statement[statement.index("{") + 1 : statement.rindex("}")]


def private(options, others, address, port):
    """named.conf of a private named: *options* statements, *others* top-level statements, and its own place."""
    lines = [
        'directory "@FOLDER@";',
        'pid-file "@FOLDER@/pid";',
        'session-keyfile "@FOLDER@/session.key";',
        'managed-keys-directory "@FOLDER@";',
        f"listen-on port {port} {{ {address}; }};",
        "listen-on-v6 { none; };",
        *options,
    ]
    return "\n".join(
        [
            "options {",
            *(f"\t{line}" for line in lines),
            "};",
            "controls { };",
            # what becomes of a query, for whoever loads it
            "statistics-channels { inet 127.0.0.1 port @STATISTICS@ allow { any; }; };",
            *others,
            'zone "." { type hint; file "@FOLDER@/hints"; };',
            'logging { channel own { file "@FOLDER@/named.log" size 4m; severity info; print-category yes; }; category default { own; }; '
            "category lame-servers { null; }; "
            # not a file, which is opened with the first message: without a free descriptor there would be none
            "channel errors { stderr; severity debug 2; }; category query-errors { errors; }; };",
            "",
        ]
    )


def stock(dns, address="127.0.0.1", port=PORT):
    """The configuration of a named that knows only which internet it is in."""
    options = ["dnssec-validation yes;", *(f'disable-empty-zone "{z}";' for z in dns["disable_empty_zones"])]
    anchors = ""
    for anchor in dns["trust_anchors"]:
        *numbers, key = anchor["value"].split(None, 3)
        anchors += f'"{anchor["name"]}" {anchor["type"]} {" ".join(numbers)} "{key}"; '
    return private(options, [f"trust-anchors {{ {anchors}}};"], address, port)


def ours(printed, address="127.0.0.1", port=PORT):
    """A configuration as named-checkconf -p printed it, moved to a private place: its options, acls, anchors and servers."""
    # named-checkconf writes its warnings to stdout as well, "file:line: text"
    printed = re.sub(r"(?m)^/\S+:\d+: .*\n", "", printed)
    options, others = [], []
    for statement in statements(printed):
        word = statement.split(None, 1)[0]
        if word == "options":
            options += [s for s in statements(body(statement)) if re.split(r"[\s{;]", s, maxsplit=1)[0] not in PLACE]
        elif word in ("acl", "trust-anchors", "managed-keys", "trusted-keys", "server"):
            others.append(statement)
    return private(options, others, address, port)


def hints(dns):
    return "".join(
        f". 3600000 NS {h['name']}\n"
        + "".join(f"{h['name']} 3600000 {'AAAA' if ':' in a else 'A'} {a}\n" for a in h["addresses"])
        for h in dns["root_hints"]
    )


def run_named(host, conf, dns, load, warm=None, late_ms=LATE, slower=None, **job):
    """The counts of one load on one fresh named. Raises HostError with what it said where it was not measured.

    warm: what differs in the smaller load by which it meets the server before, None for a cold one; slower: called with the milliseconds of each of the job's
    steps; job: more of what hostnamed.py takes.
    """
    job = {
        "conf": conf,
        "hints": hints(dns),
        "source": pathlib.Path(dnsload.__file__).read_text(),
        "address": "127.0.0.1",
        "port": PORT,
        "load": load,
        "warm": {"rate": 20, "seconds": 2, "zone": load["zone"], "rdtype": load["rdtype"], **warm}
        if warm is not None
        else None,
        "warm_ms": late_ms * 1.2 + 50,
        **job,
    }
    with host.popen(*host.python("hostnamed.py"), stdin=-1, stdout=-1, stderr=-1) as process:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        report = None
        for line in process.stdout:
            report = json.loads(line)
            if set(report) == {"late"}:
                slower(report["late"])
                process.stdin.write("\n")
                process.stdin.flush()
        problem = process.stderr.read()
    if process.returncode or not report or "sent" not in report:
        raise HostError(f"the private named was not measured: {problem.strip()[-500:]}")
    return {**report, "answered": report["noerror"]}


@contextlib.contextmanager
def held_named(host, dns, address):
    """A stock named on port 53 of the practice host's outer address while this context lasts: its own listens on the loopback."""
    job = {"conf": stock(dns, address, 53), "hints": hints(dns), "address": address, "port": 53}
    with host.popen(*host.python("hostnamed.py"), stdin=-1, stdout=-1, stderr=-1) as process:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        if "ready" not in process.stdout.readline():
            raise HostError(f"no stock named on {address}: {process.stderr.read()[-500:]}")
        yield


@contextlib.contextmanager
def resolver(host, address):
    """The practice host's programs use another resolver while this context lasts."""
    put = ("sh", "-c", "cat > /etc/resolv.conf && PATH=$PATH:/usr/local/sbin && postfix reload")
    before = host.run("cat", "/etc/resolv.conf")[1]
    host.run(*put, stdin=f"nameserver {address}\n")
    try:
        yield
    finally:
        host.run(*put, stdin=before)


def compare_named(options, host, dns, say):
    printed = host.run("sh", "-c", f"/usr/local/bin/named-checkconf -p {CONF}")[1]
    confs = {"stock": stock(dns), "ours": ours(printed)}
    load = {"rate": RATE, "seconds": options.seconds, "zone": ZONE, "rdtype": "MX"}
    report = {}
    say(
        f"named asked {RATE} times a second for {options.seconds:.0f} s, every answer about {ZONE} {LATE} ms late; "
        f"{os.cpu_count()} CPUs"
    )
    say(HEAD)
    with late(options.folder, LATE, ZONE):
        for phase in ("cold", "warm"):
            for name, conf in confs.items():
                found = report.setdefault(phase, {})[name] = run_named(
                    host, conf, dns, load, {} if phase == "warm" else None
                )
                say(row(f"{name}, {phase}", found))
    best = report["warm"]
    ratio = best["ours"]["answered"] / max(1, best["stock"]["answered"])
    for name, count in best["stock"]["log"].items():
        say(f"  stock named's log: {name} ({count} lines)")
    say(f"  answered in time, ours to stock: {best['ours']['answered']} to {best['stock']['answered']} (x {ratio:.1f})")
    return {
        **best,
        "phases": report,
        "ratio": round(ratio, 2),
        "rate": RATE,
        "late_ms": LATE,
        "generator_kept_up": all(f["on_rate"] for p in report.values() for f in p.values()),
        "machine_busy_peak": max(f["machine_busy"] for p in report.values() for f in p.values()),
    }


def row(name, found):
    sent = found["sent"]
    return (
        f"  {name:16} {found['answered'] / sent:8.1%} {found['servfail'] / sent:9.1%} {found['late'] / sent:7.1%} "
        f"{found['timeout'] / sent:7.1%} {found['latency_ms']['p50'] or 0:8.0f} {found['sockets_peak']:8} {found['cpu_seconds']:6.1f} "
        f"{found['achieved']:8.0f}{'' if found['on_rate'] else '  (the generator did not keep up)'}"
        f"{'  (the machine had no CPU left)' if found['machine_busy'] > 0.97 else ''}"
        f"{'  (did not get warm)' if found.get('warm') is False else ''}"
    )


def compare_mail(options, host, dns, say):
    domains = min(options.domains, options.recipients)
    recipients = recipients_of(options.recipients, domains)
    report = {"recipients": len(recipients), "domains": domains, "late_ms": LATE}
    limits = servers.request(options.folder, "dns", {"op": "resolver", "values": {}})

    def run(name):
        def named(text):
            say(f"  {name}: {text.strip()}")

        report[name] = deliver(host, options.folder, recipients, timeout=90, settle=True, clean=True, say=named)

    with late(options.folder, LATE):
        servers.request(options.folder, "dns", {"op": "forget"})
        with resolver(host, PROVIDER):
            run("provider")
        after = servers.request(options.folder, "dns", {"op": "resolver", "values": {}})
        counted = {name: after[name] - limits[name] for name in ("queries", "over_limit")}
        report["provider"]["resolver"] = {**limits, **counted}
        with held_named(host, dns, OUTER), resolver(host, OUTER):
            run("stock")
        flush(host)
        run("ours")
    say(
        f"mail to {len(recipients)} recipients in {domains} domains, answers about them {LATE} ms late; the provider's "
        f"resolver answers a client {limits['rate']:.0f} times a second, {limits['burst']:.0f} at the same time"
    )
    say(f"  {'resolver':12} {'delivered':>10} {'deferred':>9} {'for DNS':>8} {'seconds':>8}")
    for name in ("provider", "stock", "ours"):
        found = report[name]
        say(
            f"  {name:12} {found['delivered']:10} {found['deferred']:9} {found['deferred_dns']:8} {found['seconds']:8.1f}"
        )
    if not report["stock"]["deferred_dns"]:
        say("  a stock named deferred nothing for a DNS reason at this load")
    return report


def arguments(parser):
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--mail", action="store_true", help="compare the delivery of mail")
    parser.add_argument("--no-named", action="store_true", help="leave the load on named out")
    parser.add_argument("--recipients", type=int, default=500)
    parser.add_argument("--domains", type=int, default=100)
    parser.add_argument("--json", help="write the report to this file")


def main(options):
    host = Host(options.instance)
    dns = json.loads((options.folder / "dns.json").read_text())
    say = functools.partial(print, flush=True)
    report = {}
    if not options.no_named:
        report.update(compare_named(options, host, dns, say))
    if options.mail:
        report["mail"] = compare_mail(options, host, dns, say)
    write(options.json, report)
    return 0
