"""The load tools: what they count, and the configurations they compare. No lab is needed."""

import ast
import contextlib
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import types

import dns.message
import pytest
from labkit.internet import ceiling, cold, compare, dnsload, hostagent, hostnamed

DNS = {
    "root_hints": [{"name": "a.root.test.", "addresses": ["198.51.100.2", "2001:db8:1::2"]}],
    "trust_anchors": [{"name": ".", "type": "static-key", "value": "257 3 13 S2V5"}],
    "disable_empty_zones": ["2.0.192.in-addr.arpa"],
}


class Puppet:
    """A DNS server on the loopback that answers its nth query as how(n) says: (rcode, seconds to wait first), or None for no answer."""

    def __init__(self, how):
        self.how, self.names, self.timers = how, [], []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                self.answer(*self.sock.recvfrom(4096))

    def answer(self, data, peer):
        query = dns.message.from_wire(data)
        self.names.append(query.question[0].name.to_text())
        what = self.how(len(self.names) - 1)
        if what:
            reply = dns.message.make_response(query)
            reply.set_rcode(what[0])
            if what[1]:
                self.timers.append(threading.Timer(what[1], self.sock.sendto, (reply.to_wire(), peer)))
                self.timers[-1].start()
            else:
                self.sock.sendto(reply.to_wire(), peer)

    def close(self):
        for timer in self.timers:
            timer.join()
        self.sock.close()


@pytest.fixture
def puppet():
    with contextlib.ExitStack() as made:

        def make(how):
            return made.enter_context(contextlib.closing(Puppet(how)))

        yield make


def test_every_query_is_counted_once_as_what_became_of_it(puppet):
    kinds = [(0, 0), (2, 0), (3, 0), (5, 0), (4, 0), None, (0, 0.7), (0, 0)]
    server = puppet(lambda n: kinds[n % 8])
    found = dnsload.load("127.0.0.1", server.port, rate=200, seconds=0.4, timeout=0.4, late=0.8)
    assert found["sent"] == 80 and len(set(server.names)) == 80 == len(server.names), "each name once"
    assert {k: found[k] for k in ("noerror", "servfail", "nxdomain", "refused", "other", "timeout", "late")} == {
        "noerror": 20,
        "servfail": 10,
        "nxdomain": 10,
        "refused": 10,
        "other": 10,
        "timeout": 10,
        "late": 10,
    }
    assert found["late_rcodes"] == {"noerror": 10}
    assert found["answered_share"] == 0.25 and found["servfail_share"] == 0.125
    assert all(name.startswith("q") and name.endswith(".load.test.") for name in server.names)


def test_latency_is_what_the_server_takes(puppet):
    server = puppet(lambda n: (0, 0.2))
    found = dnsload.load("127.0.0.1", server.port, rate=50, seconds=0.4)
    assert found["noerror"] == 20 and found["latency_ms"]["p50"] >= 200


def test_the_generator_does_not_wait_for_answers(puppet):
    server = puppet(lambda n: None)
    found = dnsload.load("127.0.0.1", server.port, rate=500, seconds=1, timeout=0.2, late=0.1)
    assert found["sent"] == 500 and found["timeout"] == 500


def test_a_rate_that_was_not_reached_is_reported(puppet):
    server = puppet(lambda n: (0, 0))
    options = f"--server 127.0.0.1 --port {server.port} --rate 3000000 --seconds 0.01 --timeout 0.2".split()
    done = subprocess.run(
        [sys.executable, dnsload.__file__, *options], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert "the machine is too busy" in done.stderr and not found["on_rate"] and found["achieved"] < 3_000_000


def test_sockets_of_a_process_are_sampled(puppet):
    server = puppet(lambda n: (0, 0))
    with contextlib.ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.socket())
        for _ in range(7):
            held.enter_context(open(os.devnull))
        found = dnsload.load("127.0.0.1", server.port, rate=100, seconds=0.3, pids=[os.getpid()])
    assert found["sockets_peak"] >= 40 and found["descriptors_peak"] >= found["sockets_peak"] + 7


def test_percentile():
    assert dnsload.percentile([], 0.5) is None
    assert dnsload.percentile([n / 1000 for n in range(100)], 0.9) == 90


PROCSTAT = """\
 1793 named              text v r r-------   -       - -   /usr/local/sbin/named
 1793 named                 0 v c rw------   7       0 -   /dev/null
 1793 named                 5 k - rw------   1       0 -   -
 1793 named                 6 s - rw---n--   1       0 UDP 192.0.2.10:53 0.0.0.0:0
 1793 named                 7 s - rw---n--   1       0 TCP 127.0.0.1:53 0.0.0.0:0
"""


def test_freebsd_is_asked_by_its_own_commands(monkeypatch):
    said = {"/bin/pgrep": "1793\n", "/usr/bin/procstat": PROCSTAT}
    monkeypatch.setattr(hostagent, "LINUX", False)
    monkeypatch.setattr(hostagent, "printed", lambda *command: said[command[0]].splitlines())
    assert hostagent.pids("named") == [1793]
    assert hostagent.sockets(1793) == (4, 2), "a program's own file is no descriptor"
    said["/usr/bin/procstat"] = ""
    assert hostagent.sockets(1793) == (0, 0), "it may have ended meanwhile"


LOG = """\
Nov 25 00:00:01 mx postfix/smtp[1]: AAAA: to=<a@d0001.test>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.3, status=deferred (Host or domain name not found. Name service error for name=d0001.test type=MX: Host not found, try again)
Nov 25 00:00:02 mx postfix/smtp[1]: AAAA: to=<b@d0002.test>, relay=mail.d0002.test[198.51.100.202]:25, delay=1, delays=0/0/1/0, dsn=4.3.0, status=deferred (host mail.d0002.test[198.51.100.202] said: 451 4.3.0 Try again later (in reply to RCPT TO command))
Nov 25 00:00:03 mx postfix/smtp[1]: BBBB: to=<x@d0003.test>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.3, status=deferred (Host or domain name not found)
Nov 25 00:00:04 mx postfix/smtp[1]: AAAA: to=<c@d0004.test>, relay=none, delay=1, delays=0/0/1/0, dsn=5.4.4, status=bounced (Host or domain name not found. Name service error for name=d0004.test type=A: Host not found)
Nov 25 00:00:05 mx postfix/smtp[1]: AAAA: to=<a@d0001.test>, relay=mail.d0001.test[198.51.100.201]:25, delay=9, delays=0/0/1/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: taken)
Nov 25 00:00:06 mx postfix/smtp[1]: AAAA: to=<e@d0005.test>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (connect to mail.d0005.test[198.51.100.205]:25: Connection timed out)
"""


def test_reasons_of_the_maillog(tmp_path, monkeypatch, capsys):
    path = tmp_path / "maillog"
    path.write_text("before\n" + LOG)
    monkeypatch.setattr(hostagent, "MAILLOG", str(path))
    hostagent.log({"id": "AAAA", "offset": 7})
    found = json.loads(capsys.readouterr().out)
    assert found["deferred"] == {"a@d0001.test": 1, "b@d0002.test": 1, "e@d0005.test": 1}, (
        "of this message only, and also when it was sent later"
    )
    assert [*found["deferred_dns"]] == ["a@d0001.test"] and [*found["bounced"]] == ["c@d0004.test"]
    assert sum(found["reasons"].values()) == 4 and not any("d000" in reason for reason in found["reasons"])
    hostagent.log({"id": "AAAA", "offset": path.stat().st_size})
    assert json.loads(capsys.readouterr().out)["deferred"] == {}
    hostagent.log({"ids": ["AAAA", "BBBB"], "offset": 7})
    assert [*json.loads(capsys.readouterr().out)["deferred_dns"]] == ["a@d0001.test", "x@d0003.test"]


@pytest.mark.parametrize(
    "answer, queue_id",
    [
        (b"2.0.0 Ok: queued as 4b8Zr33Sk1zQ", "4b8Zr33Sk1zQ"),
        (b"OK id=1qPvjE-0000Vc-1p", "1qPvjE-0000Vc-1p"),
        (b"2.0.0 3f1a09bc Message accepted for delivery", "3f1a09bc"),
    ],
)
def test_queue_ids_of_three_mtas(answer, queue_id):
    assert [one.decode() for one in hostagent.QUEUED.search(answer).groups() if one] == [queue_id]


def test_queue_and_named_are_counted_from_the_system(tmp_path):
    for name in ("active/1", "deferred/A/2", "deferred/B/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert hostagent.queue(str(tmp_path)) == {"maildrop": 0, "incoming": 0, "active": 1, "deferred": 2, "hold": 0}
    me = pathlib.Path("/proc/self/comm").read_text().strip()
    assert os.getpid() in hostagent.pids(me)
    assert hostagent.sockets(1 << 30) == (0, 0)


def test_scripts_for_the_host_stand_alone():
    """They are sent as text to whatever Python the host has, so that nothing of this package may be imported."""
    for module in (dnsload, hostagent, hostnamed):
        text = pathlib.Path(module.__file__).read_text()
        nodes = list(ast.walk(ast.parse(text)))
        names = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert names <= sys.stdlib_module_names and not any(isinstance(node, ast.ImportFrom) for node in nodes)
        assert len(text.encode()) < 100_000, "one argument of a command holds 128 KiB"


PRINTED = """acl "sokuhai_clients" {
\t"localhost";
};
controls {
\tinet 127.0.0.1 port 953 allow { 127.0.0.1/32; };
};
logging {
\tcategory "lame-servers" {
\t\t"null";
\t};
};
options {
\tdirectory "/usr/local/etc/namedb/working";
\tlisten-on {
\t\t127.0.0.1/32;
\t};
\tlisten-on-v6 {
\t\t::1/128;
\t};
\tpid-file "/var/run/named/pid";
\trecursive-clients 20000;
\tallow-recursion {
\t\t"sokuhai_clients";
\t};
\tversion none;
};
trust-anchors {
\t"." static-key 257 3 13 "S2V5; }";
};
zone "." {
\ttype hint;
\tfile "/usr/local/etc/namedb/root.hints";
};
"""


def test_the_hosts_configuration_moves_to_a_private_place():
    conf = compare.ours("/usr/local/etc/namedb/named.conf:31: option 'files' is deprecated; \n" + PRINTED)
    for kept in ("recursive-clients 20000;", "version none;", 'acl "sokuhai_clients"', "S2V5; }"):
        assert kept in conf
    for gone in ("deprecated", "/usr/local", "/var/run", "port 953", "::1", "listen-on {"):
        assert gone not in conf
    assert conf.count("listen-on port 5399 { 127.0.0.1; };") == 1 and conf.count('zone "."') == 1
    assert len(compare.statements(conf)) == len([s for s in compare.statements(conf) if s.endswith(";")])


def test_two_views_have_one_cache_and_an_address_each():
    conf = cold.viewed(compare.ours(PRINTED))
    own = compare.body(next(s for s in compare.statements(conf) if s.startswith("options")))
    assert "listen-on port 5399 { 127.0.0.1; 192.0.2.10; };" in own
    views = [s for s in compare.statements(conf) if s.startswith("view ")]
    assert len(views) == 2 and all('attach-cache "all"' in view and 'zone "."' in view for view in views)
    assert [s for s in compare.statements(conf) if s.startswith("zone ")] == [], "named takes none beside views"


def test_another_resolver_is_told_the_same_internet():
    lines = cold.unbound(DNS, ("discard-timeout: 10000",)).splitlines()
    assert '\ttrust-anchor: ". DNSKEY 257 3 13 S2V5"' in lines and "\tdiscard-timeout: 10000" in lines
    assert "\tinterface: 127.0.0.1@5399" in lines and '\troot-hints: "@FOLDER@/hints"' in lines


def test_a_load_goes_to_several_addresses_in_turn(puppet):
    first = puppet(lambda n: (0, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
        second.bind(("127.0.0.2", first.port))
        dnsload.load("127.0.0.1,127.0.0.2", first.port, rate=200, seconds=0.1, timeout=0.2, late=0.1)
        second.settimeout(30)
        assert len(first.names) == 10 and len([second.recv(512) for _ in range(10)]) == 10


def test_stock_knows_only_which_internet_it_is_in():
    conf = compare.stock(DNS)
    own = compare.body(next(s for s in compare.statements(conf) if s.startswith("options")))
    words = {s.split(None, 1)[0] for s in compare.statements(own)}
    assert words <= compare.PLACE | {"dnssec-validation", "disable-empty-zone"}
    assert '"." static-key 257 3 13 "S2V5"; ' in conf
    assert compare.hints(DNS).splitlines() == [
        ". 3600000 NS a.root.test.",
        "a.root.test. 3600000 A 198.51.100.2",
        "a.root.test. 3600000 AAAA 2001:db8:1::2",
    ]


def test_a_statement_without_its_end_is_refused():
    with pytest.raises(ValueError, match="not ended"):
        compare.statements("options { recursion yes; ")


def test_messages_of_named_about_limits(tmp_path):
    log = tmp_path / "named.log"
    log.write_text(
        "client: warning: client @0x1 127.0.0.1#1 (q1.load.test): recursive-clients soft limit exceeded (901/900/1000), aborting oldest query\n"
        "general: info: running\nclient: warning: recursive-clients soft limit exceeded (905/900/1000), aborting oldest query\n"
        "client: warning: no more recursive clients (1000/900/1000)\n"
    )
    assert hostnamed.seen_in(log) == {"recursive-clients soft limit exceeded": 2, "no more recursive clients": 1}


def test_why_named_answered_servfail(tmp_path):
    log = tmp_path / "stderr"
    assert hostnamed.failures(log) == {}
    log.write_text(
        "fetch completed for q1.load.test/MX in 10.000: timed out/success [domain:load.test,referral:0,restart:5,qrysent:5]\n"
        "fetch completed for q2.load.test/MX in 0.001: failure/success [domain:load.test,referral:0,restart:1,qrysent:0]\n"
        "client @0x1 127.0.0.1#1 (q1.load.test): query failed (timed out) for q1.load.test/IN/MX at query.c:7836\n"
        "client @0x1 127.0.0.1#1 (q3.load.test): query failed (operation canceled) for q3.load.test/IN/MX at query.c:7836\n"
    )
    assert hostnamed.failures(log) == {"timed out": 1, "operation canceled": 1}


STATISTICS = {
    "nsstats": {"Requestv4": 7, "RecursHighwater": 5},
    "views": {
        "v0": {"resolver": {"stats": {"Queryv4": 2}}},
        "v1": {"resolver": {"stats": {"Queryv4": 3}}},
        "_bind": {"resolver": {"stats": {"Queryv4": 100}}},
    },
}


def test_nameds_own_counters_are_those_of_all_its_views(monkeypatch):
    monkeypatch.setattr(hostnamed.urllib.request, "urlopen", lambda *_, **__: io.StringIO(json.dumps(STATISTICS)))
    assert hostnamed.counters(5400) == {"Requestv4": 7, "RecursHighwater": 5, "Queryv4": 5}


def test_a_named_without_a_statistics_channel_has_no_counters():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert hostnamed.counters(closed.getsockname()[1]) == {}


def test_a_server_becomes_slower_step_by_step_and_is_asked_at_each(puppet, monkeypatch, capsys):
    server, said = puppet(lambda n: (0, 0)), []
    monkeypatch.setattr(hostnamed.sys, "stdin", types.SimpleNamespace(readline=lambda: said.append("\n")))
    job = {"steps": [700, 850], "address": "127.0.0.1", "port": server.port, "warm": {"rate": 20, "seconds": 0.2}}
    # eight names, and more where a machine that is busy answered some of them later than that
    assert hostnamed.learn(job, dnsload) and len(said) == 2 and len(server.names) >= 8
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"late": 700}, {"late": 850}]


def test_a_query_that_is_given_up_is_not_learned(puppet, monkeypatch):
    server = puppet(lambda n: None)
    monkeypatch.setattr(hostnamed.sys, "stdin", types.SimpleNamespace(readline=str))
    warm = {"rate": 20, "seconds": 0.1, "timeout": 0.1, "late": 0.1}
    job = {"steps": [700], "address": "127.0.0.1", "port": server.port, "warm": warm}
    tried, load = [], dnsload.load
    monkeypatch.setattr(dnsload, "load", lambda *words, **more: tried.append(load(*words, **more)) or tried[-1])
    assert not hostnamed.learn(job, dnsload) and [one["sent"] for one in tried] == [2, 2, 2], "it is tried three times"


def test_a_measurement_replaces_its_like_in_the_file_of_results_and_no_other(tmp_path, monkeypatch, capsys):
    def run(rate, **more):
        return {
            "arm": "one",
            "rate": rate,
            "late_ms": 2200,
            "descriptor_limit": 20000,
            "ports": 44000,
            "failed_for": {},
            **more,
        }

    counted = {"sent": 9, "counters": {"RecursHighwater": 4, "Requestv4": 7}}
    found = {"runs": [run(8000, **counted)]}
    monkeypatch.setattr(ceiling, "measure", lambda options, arms: json.loads(json.dumps(found)))
    path = tmp_path / "ceiling.json"
    path.write_text(json.dumps({"runs": [run(4000), run(8000, old=True)]}))
    assert ceiling.main(types.SimpleNamespace(json=path)) == 0
    assert json.loads(path.read_text())["runs"] == [run(4000), *found["runs"]]
    assert "one: 4 open, 2 lost before named; SERVFAIL for no query" in capsys.readouterr().out


def test_a_held_socket_without_named_is_no_answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        assert not hostnamed.answers("127.0.0.1", quiet.getsockname()[1])
