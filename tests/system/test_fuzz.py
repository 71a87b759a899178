"""Thousands of unfinished connections and messages that are none, all at the same time: Postfix and named stay up, within the memory that they were given, and serve."""

import json
import pathlib
import re
import subprocess
import time

import pytest
import sizing
from memory_group import ASKED, DECLARED, Group, Watch
from practice import HOST, ROOT, full_only, sized, until
from traffic import NOTHING, traffic

pytestmark = [pytest.mark.reliability("fuzz"), full_only("a host is worn for minutes: under SOKUHAI_FULL=1")]

PROGRAM = pathlib.Path(__file__).with_name("fuzz_client.py").read_text()
#: Connections, or messages, of each kind.
COUNT = sized(20, 60, 700)
#: Seconds that those stay which say nothing.
HOLD = 30
STRANGERS = [f"203.0.113.{n}" for n in range(200, 250)] + [f"2001:db8:2::{n:x}" for n in range(0x1000, 0x1032)]
SERVERS = {"server": "192.0.2.10", "server6": "2001:db8::10"}
OWN = {"server": "127.0.0.1", "server6": "::1", "sources": ["127.0.0.1", "::1"]}
#: What a process of Postfix that broke says.
BROKEN = r"(?:panic|fatal|warning: process \S+ pid \d+ (?:killed by signal|exit status)).*"
# a client's own end, or one that took too long
HARMLESS = r"fatal: (?:watchdog timeout|timeout|lost connection)"


def fuzz(lab, where, **order):
    python = "python3" if where == "clients" else "/usr/local/bin/python3"
    words = [ROOT / "lab" / "lab", "sh", where, "--", python, "-c", PROGRAM, json.dumps(order)]
    return subprocess.Popen(
        [str(word) for word in words], env=lab.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture(params=["article", "current"])
def small(request, lab):
    lab.need("spf", "greylist", "submission")
    box = lab.mailbox()
    lab.sh("rm", "-f", "/var/mail/root")
    lab.applied(variables={**DECLARED, "sokuhai_profile": request.param})
    yield lab
    lab.sh("sh", "-c", "postsuper -d ALL; rndc flush; service postfix restart </dev/null >/dev/null 2>&1")
    lab.sh("sh", "-c", "cat >/var/mail/root" if box else "rm -f /var/mail/root", stdin=box)
    lab.applied()


def daemons(lab):
    """{pid: name} of named and Postfix's master, which have no reason to end."""
    return {pid: name for pid, name in lab.processes().items() if name in ("named", "master")}


def test_postfix_and_named_serve_on(small, record_property):
    lab, allowed = small, sizing.sizes(ASKED).memory
    group = Group(lab, allowed)
    watch = Watch(lab, group)
    try:
        group.restart(lab)
        watch.start()
        before, mark = daemons(lab), int(lab.sh("sh", "-c", "wc -c </var/log/maillog").stdout)
        with traffic(lab, sized(5, 20, 300), pause=0.2) as sent:
            common = {"seed": 12, "count": COUNT, "hold": HOLD}
            running = [fuzz(lab, "clients", **common, **SERVERS, sources=STRANGERS, kinds=[])]
            # named recurses for the host alone
            dns = [name for name in re.findall(r"def (dns_\w+)", PROGRAM)]
            running.append(fuzz(lab, HOST, **common, **OWN, kinds=dns))
            answered = 0
            while any(process.poll() is None for process in running):
                answered += (
                    "mail.d0001.test" in lab.sh("dig", "+short", "@127.0.0.1", "d0001.test", "MX", check=False).stdout
                )
                time.sleep(2)
            said = [process.communicate() for process in running]
        until(
            lambda: "mail.d0001.test" in lab.sh("dig", "+short", "@127.0.0.1", "d0001.test", "MX", check=False).stdout
        )
        outcome = sent.judged()
    finally:
        watch.over.set()
        watch.join()
        killed = group.killed()
        group.end()
    assert all(process.returncode == 0 for process in running), [err[-2000:] for _out, err in said]
    told = [json.loads(out) for out, _err in said]
    begun = sum(kind[0] for one in told for kind in one.values())
    kernel = sum(map(len, watch.then.values())) * sizing.KERNEL_PER_PROCESS
    log = lab.sh("tail", "-c", f"+{mark + 1}", "/var/log/maillog").stdout
    broken = [line for line in re.findall(BROKEN, log) if not re.match(HARMLESS, line)]
    for name, figure in {
        "connections and messages": begun,
        "kinds": len({name for one in told for name in one}),
        "memory at most, MiB": (watch.peak * 1024 + kernel) >> 20,
        "of the sum, MiB": allowed >> 20,
        "named's answers meanwhile": answered,
        **sent.figures(),
        **{what: len(found) for what, found in outcome.items()},
    }.items():
        record_property(name, figure)
    assert killed == 0 and watch.peak * 1024 + kernel <= allowed, watch.then
    assert daemons(lab) == before
    assert not broken, broken[:20]
    assert answered
    assert outcome == NOTHING, dict(sent.again)
