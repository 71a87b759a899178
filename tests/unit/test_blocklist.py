# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is refused of a declared blocklist, and what the program that counts refusals takes for one."""

import calendar
import json
import pathlib
import subprocess
import sys
import time

import pytest
from role_modules import load

ROOT = pathlib.Path(__file__).resolve().parents[2]
filters = load(ROOT / "roles/blocklist/filter_plugins/blocklist.py", "blocklist_filters")
PROGRAM = ROOT / "roles/blocklist/files/usr/local/libexec/sokuhai-blocklist.py"
rejects = load(PROGRAM, "blocklist_rejects")

GOOD = {
    "blocklist_services": [{"name": "smtp", "port": 25, "nfail": 10, "duration": "12h"}],
    "blocklist_mask_ipv4": 32,
    "blocklist_mask_ipv6": 64,
    "blocklist_allow": [],
    "blocklist_mynetworks": ["127.0.0.0/8", "[::1]/128"],
    "blocklist_rejects": True,
    "blocklist_rejects_count": 30,
    "blocklist_rejects_window": "10m",
    "blocklist_rejects_duration": "6h",
    "blocklist_rejects_ports": [25],
    "blocklist_traps": [],
    "blocklist_from_traps": False,
    "blocklist_confirm_seconds": 90,
}
SERVICE = GOOD["blocklist_services"][0]


def test_the_defaults_are_good():
    assert filters.problems(GOOD) == []


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("blocklist_services", [], "sokuhai_blocklist"),
        ("blocklist_services", [dict(SERVICE, nfail=1)], "mistypes"),
        ("blocklist_services", [dict(SERVICE, port=70000)], "70000"),
        ("blocklist_services", [dict(SERVICE, duration="soon")], "'soon'"),
        ("blocklist_services", [dict(SERVICE, duration="0")], "at least 1"),
        ("blocklist_services", [SERVICE, dict(SERVICE, name="mail")], "is smtp already"),
        ("blocklist_services", [dict(SERVICE, name="SMTP in")], "SMTP in"),
        ("blocklist_mask_ipv4", 8, "16 to 32"),
        ("blocklist_mask_ipv6", 129, "32 to 128"),
        ("blocklist_allow", ["192.0.2.10/24"], "192.0.2.0/24"),
        ("blocklist_allow", ["home.example"], "home.example"),
        ("blocklist_allow", ["::/0"], "everybody"),
        ("blocklist_mynetworks", ["[2001:db8::]/33x"], "2001:db8"),
        ("blocklist_rejects_count", 2, "mailing list"),
        ("blocklist_rejects_window", "30", "once a minute"),
        ("blocklist_rejects_ports", [], "no effect"),
        ("blocklist_traps", ["trap"], "'trap'"),
        ("blocklist_from_traps", True, "access_traps"),
        ("blocklist_confirm_seconds", 10, "45 to 600"),
    ],
)
def test_a_wrong_value_is_named(name, value, says):
    found = filters.problems(dict(GOOD, **{name: value}))
    assert len(found) == 1 and found[0].startswith(name) and says in found[0], found


def test_durations_are_the_daemons():
    assert [filters.seconds(text) for text in ("90", "90s", "10m", "12h", "1d", "1d12h30m", 60)] == [
        90,
        90,
        600,
        43200,
        86400,
        131400,
        60,
    ]


# -- the log ------------------------------------------------------------------------------------------------------------

SMTPD = "Nov 25 02:38:39 mx postfix/smtpd[123]: NOQUEUE: reject: RCPT from unknown[198.51.100.7]: "
TAIL = "; from=<a@b.example> to=<x@home.example> proto=ESMTP helo=<h>"
SCREEN = "Nov 25 02:38:39 mx postfix/postscreen[9]: "


@pytest.mark.parametrize(
    "line, client",
    [
        (
            SMTPD
            + "550 5.1.1 <x@home.example>: Recipient address rejected: User unknown in local recipient table"
            + TAIL,
            "198.51.100.7",
        ),
        (
            SMTPD.replace("NOQUEUE", "4YxS3c0Q1Kz5")
            + "554 5.7.1 <x>: Client host rejected: bad (reject_client)"
            + TAIL,
            "198.51.100.7",
        ),
        (
            SMTPD.replace("unknown[198.51.100.7]", "a-b.example[2001:db8::7]")
            + "504 5.5.2 <h>: Helo command rejected: need fully-qualified hostname"
            + TAIL,
            "2001:db8::7",
        ),
        (
            SMTPD.replace("postfix/smtpd", "postfix/submission/smtpd") + "554 5.7.1 <x>: Relay access denied" + TAIL,
            "198.51.100.7",
        ),
        (
            SCREEN
            + "NOQUEUE: reject: RCPT from [198.51.100.7]:4711: 550 5.7.1 Service unavailable; client [198.51.100.7] blocked using z"
            + TAIL,
            "198.51.100.7",
        ),
        (SCREEN + "PREGREET 11 after 0.08 from [198.51.100.7]:4711: EHLO x\\r\\n", "198.51.100.7"),
        # not final, or no refusal
        (SMTPD + "450 4.2.0 <x@home.example>: Recipient address rejected: Greylisted" + TAIL, None),
        (
            SCREEN + "NOQUEUE: reject: RCPT from [198.51.100.7]:4711: 450 4.3.2 Service currently unavailable" + TAIL,
            None,
        ),
        (SCREEN + "NOQUEUE: reject: CONNECT from [198.51.100.7]:4711: all server ports busy", None),
        (SMTPD.replace("reject:", "reject_warning:") + "550 5.7.1 <x>: Helo command rejected" + TAIL, None),
        ("Nov 25 02:38:39 mx postfix/smtpd[1]: connect from unknown[198.51.100.7]", None),
        ("Nov 25 02:38:39 mx postfix/smtpd[1]: 4YxS3c0Q1Kz5: client=mail.example[198.51.100.7]", None),
        # another program's words, and an address in what the client may choose
        ("Nov 25 02:38:39 mx someone[1]: NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 550 5.1.1 x", None),
        (
            SMTPD
            + "450 4.7.1 <postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 x>: Helo command rejected"
            + TAIL,
            None,
        ),
    ],
)
def test_what_counts(line, client):
    assert rejects.offence(line, set(), False) == ((client, False) if client else None)


def test_a_trap_counts_only_by_the_operators_word_and_then_at_once():
    line = (
        SMTPD.replace("reject:", "reject_warning:")
        + "550 5.7.1 <h>: Helo command rejected (trap_helo)"
        + TAIL.replace("x@home", "Trap@Home")
    )
    refused = SMTPD + "550 5.1.1 x" + TAIL.replace("x@home", "trap@home")
    for one in (line, refused):
        assert rejects.offence(one, {"trap@home.example"}, False) is None
        assert rejects.offence(one, {"trap@home.example"}, True) == ("198.51.100.7", True)


def test_the_time_is_the_lines():
    now = calendar.timegm((2026, 1, 1, 0, 5, 0, 0, 0, 0))
    assert rejects.when("2025-12-31T23:59:30.123456+01:00 mx x", now) == calendar.timegm(
        (2025, 12, 31, 22, 59, 30, 0, 0, 0)
    )
    assert rejects.when("<22>1 2025-12-31T23:59:30Z mx x", now) == calendar.timegm((2025, 12, 31, 23, 59, 30, 0, 0, 0))
    local = time.mktime((2026, 1, 1, 0, 5, 0, 0, 0, -1))
    assert rejects.when("Dec 31 23:59:30 mx x", local) == local - 330
    assert rejects.when("Jan  1 00:04:59 mx x", local) == local - 1
    assert rejects.when("nonsense", now) == now


SETTINGS = {
    "count": 5,
    "window": 600,
    "duration": 3600,
    "mask_ipv4": 32,
    "mask_ipv6": 64,
    "allow": ["127.0.0.0/8", "192.0.2.0/24"],
    "traps": [],
    "from_traps": False,
}


def refused(client, number, now):
    stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now))
    return [f"{stamp} mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[{client}]: 550 5.1.1 x{TAIL}"] * number


def test_so_many_within_the_window_and_no_fewer():
    now, state = int(time.time()), {}
    assert rejects.count(refused("198.51.100.7", 4, now), SETTINGS, state, now) == []
    assert rejects.count(refused("198.51.100.7", 1, now), SETTINGS, state, now) == [("198.51.100.7/32", 5)]
    assert state["listed"] == {"198.51.100.7/32": now + 3600}
    # four, and four again when the first are too old
    state = {}
    rejects.count(refused("198.51.100.8", 4, now), SETTINGS, state, now)
    assert rejects.count(refused("198.51.100.8", 4, now + 601), SETTINGS, state, now + 601) == []


def test_lines_from_before_the_window_do_not_count():
    now = int(time.time())
    assert rejects.count(refused("198.51.100.7", 50, now - 700), SETTINGS, {}, now) == []


def test_a_network_of_ipv6_is_one_client():
    now, state = int(time.time()), {}
    lines = [line for host in range(5) for line in refused(f"2001:db8:1::{host}", 1, now)]
    assert rejects.count(lines, SETTINGS, state, now) == [("2001:db8:1::/64", 5)]


def test_the_allowed_are_never_listed_and_leave_the_list():
    now, state = int(time.time()), {}
    assert rejects.count(refused("192.0.2.77", 50, now), SETTINGS, state, now) == [] and state["listed"] == {}
    state = {"listed": {"192.0.2.78/32": now + 100, "198.51.100.9/32": now + 100}}
    rejects.count([], SETTINGS, state, now)
    assert list(state["listed"]) == ["198.51.100.9/32"]
    # an allowed host within a network that one offender stands for
    wide = dict(SETTINGS, mask_ipv4=24, allow=["198.51.100.5/32"])
    assert rejects.count(refused("198.51.100.7", 50, now), wide, {}, now) == []


def test_a_listing_ends():
    now, state = int(time.time()), {}
    rejects.count(refused("198.51.100.7", 5, now), SETTINGS, state, now)
    rejects.count([], SETTINGS, state, now + 3599)
    assert state["listed"]
    rejects.count([], SETTINGS, state, now + 3600)
    assert not state["listed"] and not state["seen"]


def repeated(number, now, form="{stamp} mx syslogd: "):
    stamp, utc = (
        time.strftime("%b %e %H:%M:%S", time.localtime(now)),
        time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(now)),
    )
    return form.format(stamp=stamp, utc=utc) + f"last message repeated {number} times"


@pytest.mark.parametrize(
    "form",
    [
        "{stamp} mx syslogd: ",
        "{stamp} mx ",
        "{stamp} <2.6> mx syslogd: ",
        "{stamp} <mail.info> mx syslogd: ",
        "<22>1 {utc} mx syslogd - - - ",
    ],
)
def test_what_syslogd_folded_counts_as_often_as_it_came(form):
    now, state = int(time.time()), {}
    assert rejects.count(refused("198.51.100.7", 1, now) + [repeated(3, now, form)], SETTINGS, state, now) == []
    # the fold goes on in the next reading, after the state was in its file
    state = json.loads(json.dumps(state))
    assert rejects.count([repeated(1, now, form)], SETTINGS, state, now) == [("198.51.100.7/32", 5)]


def test_a_fold_of_anything_else_counts_for_nobody():
    now = int(time.time())
    one, other = (
        refused("198.51.100.7", 1, now),
        [
            f"{time.strftime('%b %e %H:%M:%S', time.localtime(now))} mx postfix/smtpd[1]: connect from unknown[198.51.100.7]"
        ],
    )
    for lines in (
        one + other + [repeated(50, now)],
        [repeated(50, now)],
        refused("192.0.2.77", 1, now) + [repeated(50, now)],
        # too old, and not syslogd's own words
        one + [repeated(50, now - 700)],
        one + [other[0] + " last message repeated 50 times"],
    ):
        state = {}
        assert rejects.count(lines, SETTINGS, state, now) == [] and not state["listed"], lines
    # a number that nobody can have reached is not a list of that length
    state = {}
    rejects.count(one + [repeated(10**9, now)], SETTINGS, state, now)
    assert list(state["listed"]) == ["198.51.100.7/32"]


def test_a_log_is_read_once_from_where_it_was_left_and_anew_when_turned_over(tmp_path):
    log, state = tmp_path / "maillog", {}
    log.write_text("old\n")
    assert list(rejects.new_lines(log, state)) == []
    with open(log, "a") as file:
        file.write("one\ntwo\nhal")
    assert list(rejects.new_lines(log, state)) == ["one", "two"]
    with open(log, "a") as file:
        file.write("f\n")
    assert list(rejects.new_lines(log, state)) == ["half"]
    log.rename(tmp_path / "maillog.0")
    log.write_text("new\n")
    assert list(rejects.new_lines(log, state)) == ["new"]


def test_the_program_writes_the_whole_table_each_time(tmp_path):
    pf = tmp_path / "pfctl"
    pf.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/log\ncat >> {tmp_path}/log\n')
    pf.chmod(0o755)
    text = PROGRAM.read_text().replace("/sbin/pfctl", str(pf))
    program = tmp_path / "rejects.py"
    program.write_text(text)
    (tmp_path / "maillog").write_text("")
    settings = dict(
        SETTINGS,
        log=str(tmp_path / "maillog"),
        anchor="sokuhai",
        table="sokuhai_rejects",
        state=str(tmp_path / "state"),
    )
    (tmp_path / "settings").write_text(json.dumps(settings))

    def run():
        done = subprocess.run([sys.executable, program, tmp_path / "settings", "-v"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    run()
    (tmp_path / "maillog").write_text("\n".join(refused("198.51.100.7", 9, time.time())) + "\n")
    run()
    run()
    call = "-q -a sokuhai -t sokuhai_rejects -T replace -f -"
    assert (tmp_path / "log").read_text().splitlines() == [call, call, "198.51.100.7/32", call, "198.51.100.7/32"]
    # a log that is not there is for who asked by hand; cron comes again in a minute
    (tmp_path / "maillog").rename(tmp_path / "maillog.0")
    done = subprocess.run([sys.executable, program, tmp_path / "settings"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([sys.executable, program, tmp_path / "settings", "-v"], capture_output=True, text=True)
    assert done.returncode == 1 and "maillog: there is no such log" in done.stderr
    (tmp_path / "maillog").write_text("")
    pf.write_text("#!/bin/sh\necho 'pfctl: Table does not exist.' >&2; exit 255\n")
    done = subprocess.run([sys.executable, program, tmp_path / "settings"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, ""), "cron would mail this every minute"
