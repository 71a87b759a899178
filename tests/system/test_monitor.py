"""The sampler on the practice host: its peaks are those of a delivery, a ceiling is one mail each way, and it comes back, gives way and goes."""

import json
import time
import uuid

import pytest
from practice import FULL, HOST, ROOT, applied_book, changed, full_only, until

DIRECTORY = "/var/db/sokuhai_monitor"
SERVICE = "sokuhai_monitor"
# what other tests deferred for DNS reasons on this host is no ceiling here
QUICK = {
    "monitor_busy_seconds": 2,
    "monitor_idle_seconds": 10,
    "monitor_alert_quiet": 5,
    "monitor_deferred_dns": 0,
    "monitor_down_seconds": 5,
    "monitor_textfile": f"{DIRECTORY}/state/sokuhai.prom",
}
# an alarm's way out that needs neither named nor Postfix: what it takes is in a file, its first line is its pid
HOOK = """
import http.server, os
kept = open("/var/tmp/hook.log", "w", buffering=1)
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        kept.write(self.headers["Host"] + " " + self.rfile.read(int(self.headers["Content-Length"])).decode() + "\\n")
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 8099), Hook)
print(os.getpid(), file=kept)
server.serve_forever()
"""
WEBHOOK = {"monitor_webhook_url": "http://alerts.example.org:8099/K3y", "monitor_webhook_address": "127.0.0.1"}
# as the process' own user: without CAP_SYS_RESOURCE even root may not touch another user's limits; 0 puts back what it had
LIMIT = """
import os, resource, subprocess, sys
pid = int(subprocess.check_output(["pgrep", "-xo", "named"]))
uid, gid = map(int, subprocess.check_output(["ps", "-o", "uid=", "-o", "gid=", "-p", str(pid)]).split())
held = len(os.listdir("/proc/%d/fd" % pid))
os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
resource.prlimit(pid, resource.RLIMIT_NOFILE, (held * 100 // int(sys.argv[1]) if int(sys.argv[1]) else hard, hard))
"""
# 50,000 messages of one recipient each, hashed as Postfix hashes them (hash_queue_names, hash_queue_depth)
MANY = """
import os, sys, time
top = "/var/spool/postfix/deferred"
for number in range(int(sys.argv[1])):
    name = "%05XF00D" % number
    os.makedirs(top + "/" + name[0], exist_ok=True)
    with open("%s/%s/%s" % (top, name[0], name), "wb") as file:
        file.write(b"C" + bytes([30]) + b" " * 30 + b"T\\x11%d 123456" % (time.time() - 7200))
"""
CPU = """
import os, sys
ticks = 0
for name in os.listdir("/proc"):
    try:
        if name.isdigit() and "sokuhai-monitor" in open("/proc/%s/cmdline" % name).read() and "daemon:" not in open("/proc/%s/cmdline" % name).read():
            fields = open("/proc/%s/stat" % name).read().rpartition(")")[2].split()
            # its own and its ended children's, so the commands that it runs are in it
            ticks += sum(map(int, fields[11:15])) if sys.argv[1] == "all" else sum(map(int, fields[11:13]))
    except OSError:
        pass
print(ticks / os.sysconf("SC_CLK_TCK"))
"""


def read(lab, since=3600, points=5000):
    """What module monitor_read answers on the host."""
    words = ("-i", ROOT / "lab" / "inventory", HOST, "-o", "-m", "monitor_read", "-a")
    environment = {"ANSIBLE_LIBRARY": str(ROOT / "roles/monitor/library"), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "0"}
    what = f"directory={DIRECTORY} since={since} points={points}"
    run = lab.run(ROOT / ".venv/bin/ansible", *words, what, timeout=120, **environment)
    assert run.returncode == 0 and "=> " in run.stdout, run.stdout + run.stderr
    return json.loads(run.stdout[run.stdout.index("=> ") + 3 :])


def over(lab):
    """{ceiling: since when} that the sampler has in mind; read(), asked until it changes, would start Ansible each time."""
    return json.loads(lab.sh("cat", f"{DIRECTORY}/state/state.json").stdout)["ceilings"].get("over") or {}


def rows(lab):
    """The samples as [{column: text}]."""
    lines = lab.sh("cat", f"{DIRECTORY}/samples.csv").stdout.splitlines()
    # empty for a moment after newsyslog turned it over
    names = lines[0].split(",") if lines else []
    return [
        dict(zip(names, line.split(",")))
        for line in lines[1:]
        if line.count(",") == len(names) - 1 and not line.startswith("time")
    ]


def next_row(lab, seconds=90):
    """A sample that began after this call."""
    now = int(lab.sh("date", "+%s").stdout)

    def fresh():
        last = rows(lab)[-1:]
        return last and int(last[0]["time"]) > now and last[0]

    return until(fresh, seconds)


def used(lab, what):
    """Seconds of a processor that both processes have used ("own"), or with the commands that they ran ("all")."""
    return float(lab.sh("/usr/local/bin/python3", "-", what, stdin=CPU).stdout)


def child(lab):
    return lab.sh("cat", f"/var/run/{SERVICE}.child.pid").stdout.strip()


def sent(lab, to):
    """How many mails to this address have left the host."""
    return int(lab.sh("sh", "-c", f"grep -c 'to=<{to}>.*status=sent' /var/log/maillog || true").stdout)


def played(lab, **variables):
    return applied_book("monitor_only.yml", lab, **variables)


@pytest.fixture(scope="module")
def quick(lab):
    """Short intervals, and mail to somebody of the simulated internet; its address."""
    to = f"ops-{uuid.uuid4().hex[:8]}@d0001.test"
    played(lab, monitor_alert_to=to, **WEBHOOK, **QUICK)
    yield to
    played(lab)


def test_its_samples_are_what_the_lab_saw_at_the_same_time_during_a_delivery(lab, tmp_path, figures):
    # what was delivered before is in this one
    began = int(next_row(lab)["time"])
    recipients = 6000 if FULL else 3000
    report = tmp_path / "mail.json"
    before = used(lab, "own"), used(lab, "all"), time.monotonic()
    load = ("--recipients", recipients, "--domains", 300)
    result = lab.internet("mail", "--instance", lab.name, *load, "--json", report)
    assert result.returncode == 0, result.stdout + result.stderr
    mail = json.loads(report.read_text())
    next_row(lab)
    cost = [
        100 * (now - then) / (time.monotonic() - before[2])
        for now, then in zip((used(lab, "own"), used(lab, "all")), before)
    ]
    found = [row for row in rows(lab) if int(row["time"]) > began]
    peak = {
        name: max(int(row[name] or 0) for row in found)
        for name in ("named_sockets", "postfix_processes", "queue_active", "named_recursive_clients")
    }
    figures.append(
        f"monitor, {recipients} recipients in {mail['seconds']:.0f} s, {len(found)} samples: named's sockets {peak['named_sockets']} (lab {mail['named_sockets_peak']}), "
        f"smtp processes {peak['postfix_processes']} (lab {mail['smtp_processes_peak']}), mails out {sum(int(row['mails_out']) for row in found)}; {cost[0]:.1f} % of a processor, {cost[1]:.1f} % with its commands (stand-ins here)"
    )
    assert sum(int(row["mails_out"]) for row in found) == recipients, "the log's lines, none lost and none twice"
    # a sample is written with the second in which its processes had been counted; named's sockets come and go within seconds
    assert mail["named_sockets_peak"] > 50 and mail["smtp_processes_peak"] > 50, "there was a load to be seen"
    compared = 0
    for row in found:
        seen = [(sockets, smtp) for when, sockets, smtp in mail["course"] if -2.5 <= when - int(row["time"]) <= 1.5]
        if len(seen) < 3:
            continue  # before or after the delivery, when the lab did not look
        for column, values in zip(("named_sockets", "postfix_processes"), zip(*seen)):
            assert 0.7 * min(values) - 20 <= int(row[column]) <= 1.3 * max(values) + 20, (column, row[column], values)
        compared += 1
    assert compared, "no sample fell into the delivery"
    assert sum(1 for row in found if float(row["seconds"]) < 15) >= mail["seconds"] / 15, (
        "every few seconds while it lasts"
    )


def test_a_ceiling_that_is_crossed_is_one_mail_and_its_end_one_more(lab, quick):
    # told before by what ran on this host until now
    next_row(lab)
    until(lambda: over(lab) == {}, 120)
    time.sleep(5)

    def logged():
        """What syslog has of this ceiling: the sampler names value and limit."""
        log = lab.sh("grep", "sokuhai-monitor", "/var/log/messages", check=False).stdout.splitlines()
        return [line for line in log if "descriptors of named" in line]

    before, logged_before = sent(lab, quick), len(logged())

    def mailed():
        return sent(lab, quick) - before

    python = ("/usr/local/bin/python3", "-")
    lab.sh(*python, "90", stdin=LIMIT)
    try:
        until(lambda: mailed() == 1)
        for _ in range(3):
            near = next_row(lab)
        assert int(near["named_descriptors"]) >= 0.8 * int(near["named_descriptors_limit"])
        assert mailed() == 1, "once, however long it lasts"
        assert "named_descriptors" in read(lab)["over"]
        # a restart does not say it again
        lab.sh("service", SERVICE, "restart")
        next_row(lab)
        assert mailed() == 1
    finally:
        lab.sh(*python, "0", stdin=LIMIT)
    until(lambda: mailed() == 2)
    next_row(lab)
    assert mailed() == 2 and read(lab)["over"] == {}
    assert len(logged()) - logged_before == 2, logged()


def test_what_is_killed_comes_back(lab, quick):
    before = child(lab)
    lab.sh("kill", "-9", before)
    until(lambda: child(lab) not in (before, ""))
    next_row(lab)
    inner = lab.sh(
        "sh", "-c", f"ps -axww -o pid= -o ppid= | awk '$2 == {child(lab)} {{ print $1; exit }}'"
    ).stdout.strip()
    before = child(lab)
    lab.sh("kill", "-9", inner)
    until(lambda: child(lab) not in (before, ""))
    next_row(lab)
    assert (
        lab.sh(
            "sh",
            "-c",
            "ps -axww -o command= | grep -c '^/usr/local/bin/python3 -IB /usr/local/libexec/sokuhai-monitor'",
        ).stdout.strip()
        == "2"
    )


def test_turned_over_it_writes_a_header_anew_and_nothing_is_lost(lab, quick):
    last = next_row(lab)["time"]
    lab.sh("newsyslog", "-F", f"{DIRECTORY}/samples.csv")
    fresh = next_row(lab)
    text = lab.sh("cat", f"{DIRECTORY}/samples.csv").stdout
    assert text.startswith("time,seconds,") and "turned over" not in text
    assert lab.sh("ls", "-l", f"{DIRECTORY}/samples.csv").stdout.split()[2] == SERVICE
    assert 'sokuhai_service_running{service="named"} 1' in lab.sh("cat", QUICK["monitor_textfile"]).stdout.splitlines()
    found = read(lab)
    assert {int(last), int(fresh["time"])} <= set(found["columns"]["time"]) and found["broken"] == 0
    assert "samples.csv.0.bz2" in lab.sh("ls", DIRECTORY).stdout


def test_daemons_that_are_stopped_or_silent_leave_their_fields_empty_and_are_an_alarm(lab, quick):
    until(lambda: over(lab) == {}, 120)
    before = sent(lab, quick)
    lab.sh("sh", "-c", "cat > /var/tmp/hook.py", stdin=HOOK)
    lab.sh("sh", "-c", "nohup /usr/local/bin/python3 /var/tmp/hook.py > /dev/null 2>&1 < /dev/null &")

    def log():
        return lab.sh("cat", "/var/tmp/hook.log", check=False).stdout.splitlines()

    def taken(state):
        """The alarms that came by the webhook in one state; one whose answer came too late may be there twice."""
        assert all(line.startswith("alerts.example.org:8099 {") for line in log()[1:])
        found = [json.loads(line.partition(" ")[2]) for line in log()[1:]]
        return {alarm["alarm"] for alarm in found if alarm["state"] == state}

    pid = until(log)[0]
    # no mail leaves while named answers nothing
    lab.sh("sh", "-c", "service postfix stop; kill -STOP $(pgrep -xo named)")
    try:
        until(lambda: "named_silent" in over(lab), 120)
        lab.sh("sh", "-c", "kill -CONT $(pgrep -xo named); service named stop")
        next_row(lab)
        row = next_row(lab)
        running = ("named_running", "postfix_running")
        empty = {row[name] for name in row if name.startswith(("named_", "postfix_")) and name not in running}
        assert empty == {""} and [row[name] for name in running] == ["0", "0"], row
        assert row["files"] and row["queue_deferred"]
        until(lambda: set(over(lab)) == {"named_silent", "named_down", "postfix_down"}, 120)
        # the mails wait in the queue; this way needs neither of the two
        until(lambda: taken("raised") >= {"named_silent", "named_down", "postfix_down"}, 600)
    finally:
        lab.sh(
            "sh",
            "-c",
            "kill -CONT $(pgrep -xo named) 2> /dev/null; { service named start; service postfix start; } > /dev/null 2>&1 < /dev/null",
        )
    until(lambda: next_row(lab)["named_queries"] != "")
    until(lambda: over(lab) == {}, 120)
    # raised while both were stopped, they waited in the queue
    until(lambda: sent(lab, quick) - before == 6, 600)
    until(lambda: taken("ended") >= {"named_silent", "named_down", "postfix_down"}, 600)
    lab.sh("kill", pid)
    assert lab.sh("stat", "-f", "%Sp", "/usr/local/etc/sokuhai-monitor.json").stdout.strip() == "-rw-------"


def test_it_reads_the_queue_directories_and_the_log_as_they_are(lab, quick):
    lab.sh(
        "sh",
        "-c",
        "postconf -e 'defer_transports = smtp' && postfix reload && echo x | sendmail -f root nobody@d0002.test",
    )
    try:
        row = until(lambda: (lambda found: found if found["queue_deferred"] == "1" else None)(next_row(lab)))
        time.sleep(3)
        assert 0 <= int(row["age_deferred"]) <= int(next_row(lab)["age_deferred"]) < 600
        assert sum(int(entry["deferred_other"] or 0) for entry in rows(lab)[-20:]) >= 1
    finally:
        lab.sh("sh", "-c", "postconf -X defer_transports; postfix reload; postsuper -d ALL")


@full_only("two more runs of the role: under SOKUHAI_FULL=1; tests/unit/test_monitor_watch.py has its steps")
def test_the_watch_starts_a_named_that_was_killed_and_leaves_one_alone_that_is_disabled(lab):
    def named():
        return lab.sh("pgrep", "-xo", "named", check=False).stdout.strip()

    def started():
        return lab.sh("sh", "-c", "grep -c 'named was down and was started' /var/log/messages || true").stdout.strip()

    played(lab, monitor_restart=["named"], **QUICK)
    try:
        before = started()
        lab.sh("kill", "-9", named())
        until(named, 120)
        until(lambda: started() == str(int(before) + 1))
        lab.sh("sysrc", "named_enable=NO")
        lab.sh("kill", "-9", named())
        until(lambda: next_row(lab)["named_running"] == "")
        for _ in range(3):
            next_row(lab)
        assert named() == ""
    finally:
        lab.sh("sh", "-c", "{ sysrc named_enable=YES; service named start; } > /dev/null 2>&1 < /dev/null")
        played(lab)


@full_only("50,000 files in the queue: under SOKUHAI_FULL=1")
def test_fifty_thousand_deferred_messages_do_not_make_it_expensive(lab, figures):
    lab.sh("service", "postfix", "stop")
    try:
        lab.sh("/usr/local/bin/python3", "-", "50000", stdin=MANY)
        until(lambda: next_row(lab)["queue_deferred"] == "50000", 400)
        before = used(lab, "own"), used(lab, "all")
        time.sleep(120)
        own, everything = used(lab, "own") - before[0], used(lab, "all") - before[1]
        memory = lab.sh(
            "sh",
            "-c",
            "ps -axww -o rss= -o command= | awk '/python3 -IB .*sokuhai-monitor/ && !/daemon:/ { sum += $1 } END { print sum }'",
        ).stdout.strip()
        figures.append(
            f"monitor, 50,000 deferred messages, idle: {own / 1.2:.1f} % of a processor, {everything / 1.2:.1f} % with its commands (stand-ins here), {int(memory) / 1024:.0f} MB"
        )
        assert own < 0.05 * 120
    finally:
        lab.sh(
            "sh",
            "-c",
            "find /var/spool/postfix/deferred -name '*F00D' -delete; service postfix start > /dev/null 2>&1 < /dev/null",
        )


@full_only("turned off and on with SOKUHAI_FULL=1 only; tests/unit/test_monitor_host.py has the steps")
def test_off_removes_all_but_the_samples_and_on_goes_on_with_them(lab):
    before = len(rows(lab))
    try:
        off = played(lab, sokuhai_monitor=False)
        assert changed(off) == 1
        assert lab.sh("sh", "-c", "ps -axww -o command= | grep -c '[s]okuhai-monitor' || true").stdout.strip() == "0"
        for path in (
            "/usr/local/libexec/sokuhai-monitor",
            "/usr/local/etc/sokuhai-monitor.json",
            f"/usr/local/etc/rc.d/{SERVICE}",
            "/usr/local/etc/newsyslog.conf.d/sokuhai_monitor.conf",
        ):
            assert lab.sh("test", "-e", path, check=False).returncode == 1, path
        assert SERVICE not in lab.sh("cat", "/etc/rc.conf", "/etc/passwd").stdout
        assert changed(played(lab, sokuhai_monitor=False)) == 0
    finally:
        played(lab)
    next_row(lab)
    assert len(rows(lab)) > before
    assert changed(played(lab)) == 0


@full_only("under SOKUHAI_FULL=1: the same module as the one before")
def test_rollback_by_name_removes_it_too(lab):
    try:
        lab.applied("rollback.yml", "--tags", "monitor")
        assert lab.sh("service", SERVICE, "status", check=False).returncode != 0
    finally:
        played(lab)
