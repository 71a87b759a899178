"""The sampler: that it runs as nobody special, writes the file, and that what it writes is what the host's own commands say."""

import json
import time

import hostlib
import pytest

SAMPLES = "/var/db/sokuhai_monitor/samples.csv"
NEWSYSLOG = "/usr/local/etc/newsyslog.conf.d/sokuhai_monitor.conf"
READ = """
import json, sys
lines = open(sys.argv[1]).read().splitlines()
names = [line.split(',') for line in lines if line.startswith('time,')][-1] if any(line.startswith('time,') for line in lines) else []
print(json.dumps([names, lines[-1].split(','), len(lines)]))
"""
ENABLED = """
import os, pwd, subprocess, sys
user = pwd.getpwnam(sys.argv[1])
os.setgroups([user.pw_gid])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
print(subprocess.run([*sys.argv[2:], "enabled"], stdout=subprocess.DEVNULL, check=False).returncode)
"""


@pytest.fixture(scope="module")
def monitor(declared):
    if not declared["monitor_enabled"]:
        pytest.skip("monitor_enabled is false: nothing is sampled")
    return declared


def last_sample(host, monitor):
    """The last sample as {column: text}."""
    names, fields, _number = json.loads(hostlib.python(host, READ, SAMPLES))
    assert names[:2] == ["time", "seconds"] and len(names) == len(fields)
    return dict(zip(names, fields))


@pytest.fixture(scope="module")
def sample(host, monitor):
    return last_sample(host, monitor)


def test_it_starts_at_boot_and_runs(host, monitor):
    assert hostlib.rcvar(host, "sokuhai_monitor_enable").upper() == "YES"
    assert "is running as pid" in hostlib.output(host, "service sokuhai_monitor status")


def test_what_reads_the_log_and_decides_is_nobody_special(host, monitor):
    lines = [line.split(None, 2) for line in hostlib.output(host, "ps -axww -o user= -o pid= -o command=").splitlines()]
    mine = {
        user
        for user, _pid, command in lines
        if command.startswith("/usr/local/bin/python3 -IB /usr/local/libexec/sokuhai-monitor")
    }
    # ps(1) cuts a long name
    assert (
        len(mine) == 2
        and "root" in mine
        and any(monitor["monitor_user"].startswith(user.rstrip("+")) for user in mine - {"root"})
    ), mine


def test_the_last_sample_is_of_now(host, monitor, sample):
    now = int(hostlib.output(host, "date +%s"))
    assert now - int(sample["time"]) <= 2 * int(monitor["monitor_idle_seconds"]) + 30


# default_process_limit, or what smtp has in its place, and what transports of their own have beside it
SMTP_LIMIT = (
    "postconf -M | awk -v smtp=$(postconf -h default_process_limit) '"
    '$2 == "unix" && $8 == "smtp" && $7 + 0 > 0 {if ($1 == "smtp") smtp = $7; else others += $7} '
    "END {print smtp + others}'"
)


def wrong(host, monitor, sample):
    """{column: (what the sample says, what the host's own commands say)} where the two differ."""
    expected = {
        "named_descriptors_limit": str(hostlib.openfiles(host, hostlib.pids(host, "named")[0]).soft),
        "named_recursive_clients_limit": str(monitor["bind_recursive_clients"]),
        "files_limit": str(hostlib.sysctl(host, "kern.maxfiles")),
        "sockets_limit": str(hostlib.sysctl(host, "kern.ipc.maxsockets")),
    }
    if monitor["sokuhai_mail"]:
        expected["postfix_processes_limit"] = hostlib.output(host, SMTP_LIMIT).strip()
    return {column: (sample[column], value) for column, value in expected.items() if sample[column] != value}


def missing(_host, monitor, sample):
    # a first sample has no counts of named's, and a queue may be empty
    may_miss = {"named_queries", "named_servfail", "age_active", "age_incoming", "age_deferred"}
    # the log may be in the queue's file system
    may_miss |= {name for name in sample if name.startswith("log_")}
    if not monitor["greylist_enabled"]:
        may_miss.add("greylist_running")
    if not monitor["monitor_restart"]:
        may_miss.add("watch_starts")
    if not monitor["sasl_recipients_limited"]:
        may_miss.add("recipients_running")
    if not monitor["dkim_enabled"]:
        may_miss.add("dkim_running")
    if not monitor["sokuhai_mail"]:
        may_miss |= {name for name in sample if name.startswith(("postfix_", "queue_", "age_"))} | {"certificate_days"}
    # before the first run by cron(8) as well
    may_miss |= {"warm_cached", "warm_total"}
    if not monitor["mta_sts_enabled"]:
        may_miss.add("mta_sts_running")
    if not int(monitor["bind_statistics_port"]):
        may_miss.add("named_recursive_clients")
    empty = {name for name, value in sample.items() if value == "" and name not in may_miss}
    if empty:
        return empty
    # of Postfix the sockets are all processes', the descriptors those of the one that is nearest its limit
    sound = {
        "named_sockets": 0 < int(sample["named_sockets"]) <= int(sample["named_descriptors"]),
        "named_running": sample["named_running"] == "1",
        "greylist_running": sample["greylist_running"] in ("1", ""),
        "recipients_running": sample["recipients_running"] in ("1", ""),
        "dkim_running": sample["dkim_running"] in ("1", ""),
        "mta_sts_running": sample["mta_sts_running"] in ("1", ""),
    }
    if monitor["sokuhai_mail"]:
        sound |= {
            "postfix_sockets": int(sample["postfix_sockets"]) > 0,
            "postfix_running": sample["postfix_running"] == "1",
            "queue_disk_used": 0 < int(sample["queue_disk_used"]) <= int(sample["queue_disk_total"]),
        }
    return {name for name in sound if not sound[name]}


def settled(host, monitor, sample, fault):
    """What *fault* finds: in the next sample, if it finds anything in this one, which may be older than a restart or a change."""
    found = fault(host, monitor, sample)
    if not found:
        return found
    asked = int(hostlib.output(host, "date +%s"))
    give_up = time.monotonic() + 2 * int(monitor["monitor_idle_seconds"]) + 30
    while int(sample["time"]) <= asked and time.monotonic() < give_up:
        time.sleep(2)
        sample = last_sample(host, monitor)
    assert int(sample["time"]) > asked, "no new sample"
    return fault(host, monitor, sample)


def test_the_limits_in_it_are_those_in_force(host, monitor, sample):
    assert settled(host, monitor, sample, wrong) == {}


def test_nothing_that_can_be_known_is_unknown(host, monitor, sample):
    assert settled(host, monitor, sample, missing) == set()


def test_its_user_may_ask_whether_rc_conf_enables_a_daemon(host, monitor):
    """Only what is enabled and does not run is down: without an answer there would be no alarm."""
    assert hostlib.python(host, ENABLED, monitor["monitor_user"], "service", "named").strip() == "0"


def test_newsyslog_knows_the_file(host, monitor):
    assert SAMPLES in hostlib.output(host, f"cat {NEWSYSLOG}")
    assert f"Processing {NEWSYSLOG}" in hostlib.output(host, "newsyslog -nv 2>&1")
