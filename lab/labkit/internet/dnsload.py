"""Ask a resolver for names at a steady rate, whether it answers or not, and count what comes back.

Stands alone on the standard library: the tools also send this file into a practice host, which has no more than that.
"""

import argparse
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time

TYPES = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "PTR": 12, "NS": 2}
RCODES = {0: "noerror", 2: "servfail", 3: "nxdomain", 5: "refused"}
SOCKETS = 4
TICKS = os.sysconf("SC_CLK_TCK")


def sockets_of(pid):
    """(descriptors, sockets) a process holds now; Linux's /proc. (0, 0) when it is gone or not ours to see."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return 0, 0
    found = 0
    for name in names:
        try:
            found += os.readlink(f"{folder}/{name}").startswith("socket:")
        except OSError:
            pass
    return len(names), found


def cpu_of(pid):
    """Seconds of CPU a process has used."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except OSError:
        return 0.0


def machine():
    """(busy, all) CPU ticks of the machine."""
    with open("/proc/stat") as stat:
        values = [int(v) for v in stat.readline().split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


class Sampler:
    """Peak of the descriptors and sockets of some processes together, by a process of its own: the generator must not stop to count."""

    def __init__(self, pids, every=0.5):
        self.read, write = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                os.close(self.read)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                parent = os.getppid()
                while os.getppid() == parent:
                    os.write(write, struct.pack("!II", *map(sum, zip(*map(sockets_of, pids)))))
                    time.sleep(every)
            except OSError:
                pass
            finally:
                os._exit(0)
        os.close(write)
        os.set_blocking(self.read, False)
        self.peak = [0, 0]
        self.samples = 0

    def collect(self):
        while True:
            try:
                data = os.read(self.read, 8)
            except BlockingIOError:
                return
            if len(data) < 8:
                return
            self.samples += 1
            self.peak = [max(a, b) for a, b in zip(self.peak, struct.unpack("!II", data))]

    def end(self):
        self.collect()
        os.kill(self.child, signal.SIGTERM)
        os.waitpid(self.child, 0)
        self.collect()
        os.close(self.read)


def percentile(ordered, share):
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else None


def load(
    server,
    port=53,
    rate=3000,
    seconds=10,
    zone="load.test",
    rdtype="MX",
    timeout=5.0,
    late=5.0,
    pids=(),
    first=None,
    sockets=SOCKETS,
):
    """Send rate * seconds queries, each name once; returns the counts as a dictionary.

    server: its address, or several with commas between, which are asked in turn. rate: queries a second. timeout: seconds after which an answer is late. late: seconds waited for late ones.
    pids: processes whose sockets are sampled. first: number of the first name (default: by chance). sockets: of its own; several servers behind one address share them by chance.
    """
    first = random.randrange(1 << 30) if first is None else first
    tail = (
        b"".join(bytes([len(part)]) + part.encode() for part in zone.strip(".").split("."))
        + b"\x00"
        + struct.pack("!HH", TYPES[rdtype.upper()], 1)
    )
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    socks = []
    places = server.split(",")
    for number in range(sockets):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        sock.connect((places[number % len(places)], port))
        socks.append(sock)
    poll = select.poll()
    by_fd = {}
    for sock in socks:
        poll.register(sock, select.POLLIN)
        by_fd[sock.fileno()] = (sock, {})
    waiting = [by_fd[s.fileno()][1] for s in socks]
    counts = dict.fromkeys((*RCODES.values(), "other", "late"), 0)
    late_rcodes, latencies = {}, []
    total, sent, unsent = int(rate * seconds), 0, 0
    sampler = Sampler(pids) if pids else None
    cpu, (busy, ticks) = sum(map(cpu_of, pids)), machine()
    clock = time.monotonic
    start = clock()
    last_sent = start
    worst_lag = 0.0
    while True:
        now = clock()
        if sent < total:
            due = min(total, int((now - start) * rate) + 1)
            if due > sent:
                worst_lag = max(worst_lag, now - start - sent / rate)
            for n in range(sent, min(due, sent + 50)):
                number, label = (n // sockets) & 0xFFFF, b"q%d" % (first + n)
                now = clock()
                try:
                    socks[n % sockets].send(
                        struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + bytes([len(label)]) + label + tail
                    )
                    waiting[n % sockets][number] = now
                except OSError:
                    unsent += 1
                sent = n + 1
                last_sent = now
        elif not any(waiting) or now - last_sent > timeout + late:
            break
        pause = max(0.0, start + sent / rate - clock()) if sent < total else 0.05
        for fd, _event in poll.poll(pause * 1000):
            sock, table = by_fd[fd]
            for _ in range(200):
                try:
                    answer = sock.recv(4096)
                except OSError:  # nothing more, or an ICMP error of a query, which then stays unanswered
                    break
                now = clock()
                asked = table.pop(answer[0] << 8 | answer[1], None) if len(answer) >= 12 else None
                if asked is None:
                    continue
                what = RCODES.get(answer[3] & 15, "other")
                if now - asked > timeout:
                    counts["late"] += 1
                    late_rcodes[what] = late_rcodes.get(what, 0) + 1
                else:
                    counts[what] += 1
                    if what == "noerror":
                        latencies.append(now - asked)
        if sampler:
            sampler.collect()
    took = clock() - start
    busy_end, ticks_end = machine()
    if sampler:
        cpu = sum(map(cpu_of, pids)) - cpu
        sampler.end()
    for sock in socks:
        sock.close()
    latencies.sort()
    achieved = (sent - 1) / (last_sent - start) if last_sent > start else 0.0
    result = {
        "server": server,
        "port": port,
        "zone": zone,
        "type": rdtype,
        "rate": rate,
        "sent": sent - unsent,
        "unsent": unsent,
        "achieved": round(achieved, 1),
        "on_rate": achieved >= 0.98 * rate and not unsent,
        "worst_lag_ms": round(worst_lag * 1000, 1),
        **counts,
        "late_rcodes": late_rcodes,
        "timeout": sum(map(len, waiting)),
        "answered_share": round(counts["noerror"] / max(1, sent - unsent), 4),
        "servfail_share": round(counts["servfail"] / max(1, sent - unsent), 4),
        "latency_ms": {
            "p50": percentile(latencies, 0.5),
            "p90": percentile(latencies, 0.9),
            "p99": percentile(latencies, 0.99),
        },
        "seconds": round(took, 2),
        "machine_busy": round((busy_end - busy) / max(1, ticks_end - ticks), 3),
    }
    if sampler:
        result.update(descriptors_peak=sampler.peak[0], sockets_peak=sampler.peak[1], cpu_seconds=round(cpu, 2))
    return result


def arguments(parser):
    parser.add_argument("--server", required=True, help="address of the resolver")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--rate", type=float, default=3000, help="queries a second (default 3000)")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--zone", default="load.test")
    parser.add_argument("--type", default="MX", choices=sorted(TYPES))
    parser.add_argument("--timeout", type=float, default=5, help="seconds after which an answer is late (default 5)")
    parser.add_argument("--pid", type=int, help="sample this process's sockets")
    parser.add_argument("--json", help="write the result to this file instead of to stdout")


def main(options):
    result = load(
        options.server,
        options.port,
        options.rate,
        options.seconds,
        options.zone,
        options.type,
        options.timeout,
        pids=[options.pid] if options.pid else [],
    )
    if not result["on_rate"]:
        print(
            f"dnsload: this generator reached {result['achieved']:.0f} of {options.rate:.0f} queries a second: the machine is too busy for it",
            file=sys.stderr,
        )
    text = json.dumps(result, indent=1)
    if options.json:
        with open(options.json, "w") as out:
            out.write(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    sys.exit(main(parser.parse_args()))
