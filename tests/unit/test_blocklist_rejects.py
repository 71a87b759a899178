# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The program that counts rejects in the maillog: what it takes for one, whom it lists, and for how long."""

import calendar
import json
import subprocess
import sys
import time

import pytest
from fake_host import FakeHost
from role_modules import ROOT, load

PROGRAM = ROOT / "roles/blocklist/files/usr/local/libexec/sokuhai-blocklist.py"
rejects = load(PROGRAM, "blocklist_rejects")

# -- what counts --------------------------------------------------------------------------------------------------------

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
        # not final, or no reject
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


TO_TRAP = TAIL.replace("x@home", "Trap@Home")


@pytest.mark.parametrize(
    "line",
    [
        SMTPD.replace("reject:", "reject_warning:") + "550 5.7.1 <h>: Helo command rejected (trap_helo)" + TO_TRAP,
        SMTPD + "550 5.1.1 x" + TO_TRAP,
    ],
)
def test_a_trap_counts_only_where_the_operator_says_so_and_then_immediately(line):
    traps = {"trap@home.example"}
    assert rejects.offence(line, traps, False) is None
    assert rejects.offence(line, traps, True) == ("198.51.100.7", True)


UTC, LOCAL = calendar.timegm((2026, 1, 1, 0, 5, 0)), time.mktime((2026, 1, 1, 0, 5, 0, 0, 0, -1))


@pytest.mark.parametrize(
    "line, now, stamp",
    [
        ("2025-12-31T23:59:30.123456+01:00 mx x", UTC, UTC - 3930),
        ("<22>1 2025-12-31T23:59:30Z mx x", UTC, UTC - 330),
        ("Dec 31 23:59:30 mx x", LOCAL, LOCAL - 330),
        ("Jan  1 00:04:59 mx x", LOCAL, LOCAL - 1),
        ("nonsense", UTC, UTC),
    ],
)
def test_the_time_is_the_lines(line, now, stamp):
    assert rejects.when(line, now) == stamp


# -- whom it lists ------------------------------------------------------------------------------------------------------

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
NOW = int(time.time())
ONE, ITS = "198.51.100.7", "198.51.100.7/32"


def stamp(at=0):
    """The time *at* seconds from NOW, as syslogd writes it."""
    return time.strftime("%b %e %H:%M:%S", time.localtime(NOW + at))


def rejected(client, number, at=0):
    return [
        f"{stamp(at)} mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[{client}]: 550 5.1.1 x{TAIL}"
    ] * number


SYSLOGD = f"{stamp()} mx syslogd: "


def repeated(number, before=SYSLOGD):
    return [f"{before}last message repeated {number} times"]


CONNECT = [f"{stamp()} mx postfix/smtpd[1]: connect from unknown[{ONE}]"]
UTC_STAMP = time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(NOW))
# what is read each time, seconds from NOW; the networks that each reading lists anew
CASES = {
    "one too few": ([(rejected(ONE, 4), 0)], [[]]),
    "enough in two readings": ([(rejected(ONE, 4), 0), (rejected(ONE, 1), 0)], [[], [ITS]]),
    "again when the first are too old": ([(rejected(ONE, 4), 0), (rejected(ONE, 4, 601), 601)], [[], []]),
    "from before the window": ([(rejected(ONE, 50, -700), 0)], [[]]),
    "a network of IPv6 is one client": (
        [(sum([rejected(f"2001:db8:1::{host}", 1) for host in range(5)], []), 0)],
        [["2001:db8:1::/64"]],
    ),
    "an allowed client": ([(rejected("192.0.2.77", 50), 0)], [[]]),
    # syslogd folds what repeats, into a later reading, too
    **{
        f"folded, {form}": (
            [(rejected(ONE, 1) + repeated(3, before), 0), (repeated(1, before), 0)],
            [[], [ITS]],
        )
        for form, before in {
            "plain": SYSLOGD,
            "without a name": f"{stamp()} mx ",
            "-v": f"{stamp()} <2.6> mx syslogd: ",
            "-vv": f"{stamp()} <mail.info> mx syslogd: ",
            "RFC 5424": f"<22>1 {UTC_STAMP} mx syslogd - - - ",
        }.items()
    },
    "a fold of another line": ([(rejected(ONE, 1) + CONNECT + repeated(50), 0)], [[]]),
    "a fold of nothing": ([(repeated(50), 0)], [[]]),
    "a fold of an allowed client's": ([(rejected("192.0.2.77", 1) + repeated(50), 0)], [[]]),
    "a fold that is too old": ([(rejected(ONE, 1) + repeated(50, f"{stamp(-700)} mx syslogd: "), 0)], [[]]),
    "not syslogd's own words": ([(rejected(ONE, 1) + repeated(50, CONNECT[0] + " "), 0)], [[]]),
    "a number that nobody can have reached": ([(rejected(ONE, 1) + repeated(10**9), 0)], [[ITS]]),
}


@pytest.mark.parametrize("case", CASES)
def test_so_many_within_the_window_and_no_fewer(case):
    state, listed = {}, []
    for lines, at in CASES[case][0]:
        listed.append([network for network, _number in rejects.count(lines, SETTINGS, state, NOW + at)])
        # it lies in a file between two readings
        state = json.loads(json.dumps(state))
    assert listed == CASES[case][1] and list(state["listed"]) == sum(listed, [])


def test_a_listing_ends():
    state = {}
    assert rejects.count(rejected(ONE, 5), SETTINGS, state, NOW) == [(ITS, 5)]
    rejects.count([], SETTINGS, state, NOW + 3599)
    assert state["listed"] == {ITS: NOW + 3600}
    rejects.count([], SETTINGS, state, NOW + 3600)
    assert not state["listed"] and not state["seen"]


def test_who_is_allowed_now_leaves_the_list_and_protects_the_network_around():
    state = {"listed": {"192.0.2.78/32": NOW + 100, "198.51.100.9/32": NOW + 100}}
    rejects.count([], SETTINGS, state, NOW)
    assert list(state["listed"]) == ["198.51.100.9/32"]
    # an allowed host within the network that one offender stands for
    wide = {**SETTINGS, "mask_ipv4": 24, "allow": ["198.51.100.5/32"]}
    assert rejects.count(rejected(ONE, 50), wide, {}, NOW) == []


# -- the log and pf -----------------------------------------------------------------------------------------------------


def test_a_log_is_read_once_from_where_it_was_left_and_from_its_start_when_rotated(tmp_path):
    log, state = tmp_path / "maillog", {}

    def read(added):
        with open(log, "a") as file:
            file.write(added)
        return list(rejects.new_lines(log, state))

    assert [read(text) for text in ("old\n", "one\ntwo\nhal", "f\n")] == [[], ["one", "two"], ["half"]]
    log.rename(tmp_path / "maillog.0")
    assert read("new\n") == ["new"]


def test_the_program_writes_the_whole_table_each_time(tmp_path, monkeypatch):
    host, log = FakeHost(tmp_path, monkeypatch), tmp_path / "maillog"
    program = tmp_path / "rejects.py"
    program.write_text(PROGRAM.read_text().replace("/sbin/pfctl", host.program("pfctl", f"cat >> {tmp_path}/log")))
    settings = {
        **SETTINGS,
        "log": str(log),
        "anchor": "sokuhai",
        "table": "sokuhai_rejects",
        "state": str(tmp_path / "state"),
    }

    def run(*options):
        argv = [sys.executable, program, host.file("settings", json.dumps(settings)), *options]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    for lines in ([], rejected(ONE, 9, time.time() - NOW), []):
        with open(log, "a") as file:
            file.writelines(line + "\n" for line in lines)
        assert run("-v") == (0, "")
    call = "pfctl -q -a sokuhai -t sokuhai_rejects -T replace -f -"
    assert host.log() == [call, call, ITS, call, ITS]
    # a log that is not there is for who asked by hand; cron comes again in a minute
    log.unlink()
    assert run() == (0, "")
    status, said = run("-v")
    assert status == 1 and "maillog: there is no such log" in said
    log.write_text("")
    host.program("pfctl", "echo 'pfctl: Table does not exist.' >&2; exit 255")
    assert run() == (1, ""), "cron would mail this every minute"
