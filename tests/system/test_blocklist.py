"""Role blocklist on a host whose pf.conf is somebody else's: the undo, what is listed and what passes, and the way back.

Packets are real: the clients' network connects over TCP, and what reports to the daemon hands over such a connection, as sshd and Postfix do."""

import difflib
import json
import subprocess
import types

import pytest
from practice import HERE, ROOT, applied_book, changed_lines, full_only, message, play_book, until

# every rule is quick, ssh is refused at first, and one macro comes from rc.conf
FLAGS = "-D desk=192.0.2.0/24 -q"
STRANGERS = """\
# of this house
mail = "{ 25 587 \\
    2525 }"
table <house> persist { $desk,
    203.0.113.99 }
set limit states 50000
set skip on lo0
scrub in all
# ssh from home only
ACTION in quick proto tcp from <house> to any port 22 flags S/SA keep state
pass in quick proto tcp from any to any port $mail keep state
pass out quick keep state
pass in quick proto udp keep state
pass in quick inet proto icmp icmp-type echoreq
block in quick proto tcp from any to any port 9999
pass all
"""
SERVICES = [
    {"name": "test", "port": 2525, "nfail": 3, "duration": "15s"},
    {"name": "smtp", "port": 25, "nfail": 10, "duration": "12h"},
    {"name": "ssh", "port": 22, "nfail": 5, "duration": "24h"},
]
UNDO = {"undo": True}
WANTED = {
    "sokuhai_blocklist": True,
    "blocklist_services": SERVICES,
    "blocklist_mynetworks": ["127.0.0.0/8", "[::1]/128"],
    "blocklist_rejects_count": 5,
    "blocklist_traps": ["trap@home.example"],
}

# accepts on a port and reports every client, as a daemon with blocklistd's library does
REPORTER = r"""
import array, os, pwd, socket, struct
listen = socket.create_server(("0.0.0.0", 2525))
if os.fork():
    os._exit(0)
os.setsid()
for fd in (0, 1, 2):
    os.dup2(os.open("/dev/null", os.O_RDWR), fd)
open("/var/run/reporter.pid", "w").write(str(os.getpid()))
# as smtpd is
owner = pwd.getpwnam("postfix")
os.setgroups([])
os.setgid(owner.pw_gid)
os.setuid(owner.pw_uid)
held = []
while True:
    client, peer = listen.accept()
    # the daemon asks the connection who is at its other end, so it has to last a while
    held = held[-200:] + [client]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.connect("/var/run/blocklistd.sock")
        daemon.sendmsg([struct.pack("=IIII", 148, 1, 1, 0) + bytes(128) + b"test"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [client.fileno()]))])
    client.sendall(b"220 test\r\n")
"""
REACH = r"""
import json, socket, sys
found = []
for pair in sys.argv[1:]:
    source, port = pair.split(":")
    s = socket.socket(); s.settimeout(2)
    try:
        s.bind((source, 0)); s.connect(("192.0.2.10", int(port))); found.append(True)
        if port == "2525": s.recv(100)
    except socket.timeout:
        found.append(None)
    except ConnectionRefusedError:
        # nobody listens, but pf let it through
        found.append(True)
    except OSError as problem:
        found.append(str(problem))
    s.close()
print(json.dumps(found))
"""


# an ssh connection that stands while something happens: says `open`, waits for a line, and says whether sshd still answers it
HOLD = r"""
import socket, sys
s = socket.create_connection(("192.0.2.10", 22), timeout=10)
s.recv(100); print("open", flush=True)
sys.stdin.readline()
s.sendall(b"SSH-2.0-test\r\n")
try:
    print("alive" if s.recv(100) else "closed")
except OSError as problem:
    print(problem)
"""


def reach(lab, *pairs, host="clients"):
    """Connect from each address to a port: True when pf lets it through, None when the SYN got no answer, else the error."""
    return json.loads(lab.sh("python3", "-", *pairs, host=host, stdin=REACH).stdout)


LISTED = "pfctl -a blocklistd/2525 -t port2525 -T show"


def shell(lab, text, check=True):
    return lab.sh("sh", "-c", text, check=check).stdout


# what the role may change, on the host as it is
STATE = (
    "pfctl -s Running; pfctl -s rules 2>&1; cat /etc/pf.conf /etc/blocklistd.conf /etc/ssh/sshd_config; sysrc -n pf_enable blocklistd_enable blocklistd_flags;"
    "service blocklistd status; find /etc/pf* /etc/blocklistd* /usr/local/etc/cron.d /usr/local/libexec /var/db/sokuhai -maxdepth 1 -type f 2>/dev/null | sort"
)


def state(lab):
    return shell(lab, STATE, check=False)


def steps(lab, *wanted, **variables):
    """Take each step (blocklist_only.yml says what one is) in one play; return how many changes each made, and what looked(number) sees.

    A step that ends in a look has its output kept on the host: {"look": command} is a step's sh whose output looked(number) returns.
    """
    kept = [
        dict(step, sh=f"{{ {step['look']}; }} > /root/look.{number} 2>&1; {step.get('sh', 'true')}")
        if "look" in step
        else step
        for number, step in enumerate(wanted)
    ]
    result = applied_book("blocklist_only.yml", lab, blocklist_steps=kept, **{**WANTED, **variables})
    parts = result.stdout.split("TASK [Step ")[1:]
    assert len(parts) == len(kept), result.stdout[-3000:]
    looks = {
        number: shell(lab, f"cat /root/look.{number}; rm /root/look.{number}")
        for number, step in enumerate(wanted)
        if "look" in step
    }
    return [len(changed_lines(types.SimpleNamespace(stdout="TASK [Step " + part))) for part in parts], looks


def put(lab, action):
    lab.sh("sh", "-c", "cat > /etc/pf.conf", stdin=STRANGERS.replace("ACTION", action))


@pytest.fixture(scope="module")
def bare(lab):
    """The host without the role, with a pf.conf of its own that is not in force; after the tests it is as it was."""
    there = "pf.sokuhai.conf" in shell(lab, "ls /etc").split()
    if there:
        steps(lab, UNDO)
    had = shell(lab, "cat /etc/pf.conf 2>/dev/null", check=False)
    shell(lab, f"sysrc pf_flags='{FLAGS}'")
    yield lab
    shell(lab, "sysrc -x pf_flags")
    if shell(lab, "ls /etc/pf.sokuhai.conf /var/db/sokuhai/blocklist.json 2>/dev/null", check=False):
        steps(lab, UNDO)
    lab.sh("sh", "-c", "rm -f /etc/pf.conf; pfctl -q -d; pfctl -q -F all; true", check=False)
    if had:
        lab.sh("sh", "-c", "cat > /etc/pf.conf", stdin=had)
    if there:
        applied_book("blocklist_only.yml", lab)


@pytest.fixture(scope="module")
def in_force(bare):
    """The role applied over the stranger's pf.conf, which lets ssh in."""
    put(bare, "pass")
    # what the refused change left of itself is no state to come back to
    bare.before = steps(bare, UNDO, {"look": STATE})[1][1]
    bare.sh("python3", "-", stdin=REPORTER)
    yield bare
    shell(bare, "kill $(cat /var/run/reporter.pid); rm -f /var/run/reporter.pid")


def test_rules_that_lock_the_play_out_are_taken_back(bare):
    put(bare, "block")
    pf_enable = shell(bare, "sysrc -n pf_enable")
    result = play_book("blocklist_only.yml", bare, blocklist_confirm_seconds=9, **WANTED)
    assert result.returncode != 0 and "takes the change of pf's rules back" in message(result), result.stdout[-3000:]
    assert state(bare).startswith("Disabled\n") and "/etc/pf.sokuhai.conf" not in state(bare)
    assert shell(bare, "cat /etc/pf.conf; sysrc -n pf_enable") == STRANGERS.replace("ACTION", "block") + pf_enable
    assert "no new ssh connection confirmed" in shell(
        bare, "cat /var/log/messages /var/log/daemon.log 2>/dev/null", check=False
    )


def test_a_pf_conf_that_pf_has_not_read_yet_is_not_put_into_force(bare):
    """Somebody's pf is on, and the file says more than pf does: to load it for our block's sake would load the rest, with no way back to what ran."""
    put(bare, "block")
    try:
        shell(bare, "echo 'pass all' | pfctl -q -f - && pfctl -q -e")
        result = play_book("blocklist_only.yml", bare, **WANTED)
        assert result.returncode != 0 and "service pf reload" in message(result), result.stdout[-3000:]
        assert (
            shell(bare, "cat /etc/pf.conf; pfctl -s rules")
            == STRANGERS.replace("ACTION", "block") + "pass all flags S/SA keep state\n"
        )
    finally:
        shell(bare, "pfctl -q -d; pfctl -q -F all")


def test_check_mode_says_it_and_changes_nothing(bare):
    put(bare, "pass")
    before = state(bare)
    result = play_book("blocklist_only.yml", bare, "--check", "--diff", **WANTED)
    assert result.returncode == 0 and changed_lines(result) and 'anchor "sokuhai"' in result.stdout, result.stdout[
        -3000:
    ]
    assert state(bare) == before


def test_a_strangers_rules_are_kept_and_ours_come_first(lab, in_force):
    text = shell(lab, "cat /etc/pf.conf").splitlines(keepends=True)
    begin, end = (
        next(n for n, line in enumerate(text) if line.startswith(mark + " sokuhai")) for mark in ("# BEGIN", "# END")
    )
    assert "".join(text[:begin] + text[end + 1 :]) == STRANGERS.replace("ACTION", "pass")
    rules = [line for line in shell(lab, "pfctl -s rules").splitlines() if not line.startswith("scrub")]
    assert rules[0] == 'anchor "sokuhai" all' and len(rules) == 10
    assert shell(lab, "sysrc -n pf_enable").strip() == "YES" and "192.0.2.2" in shell(
        lab, "pfctl -a sokuhai -t sokuhai_allow -T show"
    )


def test_a_second_run_changes_nothing_in_two_commands(lab, in_force):
    result = applied_book("blocklist_only.yml", lab, **WANTED)
    assert not changed_lines(result) and result.summary["remote_commands"] <= 6, result.summary
    # Debian's Postfix is not linked with the daemon's library, and the run says so
    assert "built without BLOCKLISTD and reports nothing to blocklistd" in " ".join(result.stdout.split())


def test_a_repeat_offender_is_cut_off_from_the_port_and_others_are_not(lab, in_force):
    assert reach(lab, "203.0.113.77:2525", "203.0.113.77:2525", "203.0.113.78:2525") == [True] * 3
    assert reach(lab, "203.0.113.77:2525") == [True]
    until(lambda: "203.0.113.77" in shell(lab, LISTED, check=False))
    assert reach(lab, "203.0.113.77:2525", "203.0.113.78:2525", "203.0.113.77:25") == [None, True, True]
    assert "203.0.113.77/32:2525\tOK\t3/3" in shell(lab, "blocklistctl dump -bnr")
    # a reload of pf and a restart of the daemon leave it listed
    shell(lab, "service pf reload && service blocklistd restart")
    assert reach(lab, "203.0.113.77:2525") == [None]
    until(lambda: "203.0.113.77" not in shell(lab, LISTED))
    assert reach(lab, "203.0.113.77:2525") == [True]


def test_the_operator_is_never_cut_off(lab, in_force):
    assert reach(lab, *["192.0.2.2:2525"] * 6, host="operator") == [True] * 6, "counted"
    session = subprocess.Popen(
        [ROOT / "lab/lab", "sh", "operator", "--", "python3", "-c", HOLD],
        env=lab.env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert session.stdout.readline() == "open\n"
        # and not even when somebody lists the address by hand
        shell(
            lab,
            "/usr/libexec/blocklistd-helper add blocklistd tcp 192.0.2.2 32 22; /usr/libexec/blocklistd-helper add blocklistd tcp 203.0.113.99 32 22",
        )
        assert reach(lab, "192.0.2.2:22", host="operator") == [True]
        assert reach(lab, "203.0.113.99:22") == [None]
        # nor is the session cut that is in use meanwhile
        assert session.communicate("go\n", timeout=60)[0] == "alive\n"
    finally:
        session.kill()
        session.wait()
        shell(
            lab, "for a in 192.0.2.2 203.0.113.99; do /usr/libexec/blocklistd-helper rem blocklistd tcp $a 32 22; done"
        )
    assert reach(lab, "203.0.113.99:22") == [True]


LINE = "NOQUEUE: {what}: RCPT from unknown[{client}]: {code} <{to}>: refused; from=<a@d0002.test> to=<{to}> proto=ESMTP helo=<x>"


def test_who_is_refused_too_often_loses_port_25_and_no_other(lab, in_force):
    program = "/usr/local/libexec/sokuhai-blocklist /usr/local/etc/sokuhai-blocklist.json -v"
    assert program.removesuffix(" -v") in shell(lab, "cat /usr/local/etc/cron.d/sokuhai-blocklist")
    lines = [LINE.format(what="reject", client="203.0.113.79", code="550 5.1.1", to="nobody@home.example")] * 5
    lines += [LINE.format(what="reject", client="203.0.113.80", code="450 4.2.0", to="nobody@home.example")] * 9
    lines += [LINE.format(what="reject_warning", client="203.0.113.81", code="550 5.7.1", to="trap@home.example")] * 9
    lines += [LINE.format(what="reject", client="192.0.2.2", code="550 5.7.1", to="nobody@home.example")] * 9
    lab.sh(
        "sh",
        "-c",
        "while read -r line; do logger -t 'postfix/smtpd[77]' -p mail.info \"$line\"; done; sleep 0.5",
        stdin="".join(line + "\n" for line in lines),
    )
    shell(lab, program)
    assert shell(lab, "pfctl -a sokuhai -t sokuhai_rejects -T show").split() == ["203.0.113.79"]
    assert reach(lab, "203.0.113.79:25", "203.0.113.79:587", "203.0.113.80:25", "203.0.113.81:25") == [
        None,
        True,
        True,
        True,
    ]
    # what a boot empties is filled again, and what is over is let in
    shell(lab, "pfctl -q -a sokuhai -t sokuhai_rejects -T flush; " + program)
    assert reach(lab, "203.0.113.79:25") == [None]
    shell(
        lab,
        'sed -i.bak \'s/"203.0.113.79.32": [0-9.]*/"203.0.113.79\\/32": 1/\' /var/db/sokuhai/blocklist-rejects.json; rm /var/db/sokuhai/*.bak; '
        + program,
    )
    assert reach(lab, "203.0.113.79:25") == [True]


@full_only(
    "two plays and a wait; SOKUHAI_FULL=1 runs it, and tests/unit has the same without a host",
)
def test_a_play_that_dies_before_the_confirmation_is_mended_by_the_next(lab, in_force):
    """The rules change, and the play ends before it has come in again: what waits is taken back first, then the change is made again."""
    shell(lab, "sed -i.bak '/BEGIN sokuhai/,/END sokuhai/d' /etc/pf.conf; rm /etc/pf.conf.bak")
    to_the_confirmation = ["TASK [", "Connect again"]
    lab.play_killed(to_the_confirmation, book=HERE / "blocklist_only.yml", variables=WANTED, pause=0)
    assert shell(lab, "ls /var/run/sokuhai-blocklist/*/armed")
    applied_book("blocklist_only.yml", lab, **WANTED)
    assert shell(lab, "ls /var/run/sokuhai-blocklist/*/confirmed") and 'anchor "sokuhai"' in shell(
        lab, "pfctl -s rules"
    )


@full_only(
    "two plays; SOKUHAI_FULL=1 runs it, and tests/unit has the same without a host",
)
def test_an_sshd_that_was_never_told_is_told_by_the_next_run(lab, in_force):
    """As after a play that was killed between the rename of sshd_config and the reload: the file is right, and sshd is older than it."""
    pid = shell(lab, "cat /var/run/sshd.pid; touch -t 202601010000 /var/run/sshd.pid")
    result = play_book("blocklist_only.yml", lab, "--check", **WANTED)
    assert result.returncode == 0 and changed_lines(result), result.stdout[-3000:]
    newer = "cat /var/run/sshd.pid; test /var/run/sshd.pid -nt /etc/ssh/sshd_config && echo newer"
    changes, looks = steps(lab, {}, {"look": newer})
    assert changes[0] and not changes[1] and looks[1] == pid + "newer\n"


def test_undo_leaves_what_there_was(lab, in_force):
    changes, _looks = steps(lab, UNDO, UNDO)
    after = state(lab)
    assert after == in_force.before, "\n".join(
        difflib.unified_diff(in_force.before.splitlines(), after.splitlines(), "before", "after", n=0)
    )
    assert changes[0] and not changes[1]


# the daemon's anchor as FreeBSD's handbook has it
OWN = STRANGERS.replace("ACTION", "pass").replace("# ssh from home", 'anchor "blocklistd/*" in\n# ssh from home')


def test_an_anchor_of_ones_own_that_exempts_nobody_is_refused(bare):
    bare.sh("sh", "-c", "cat > /etc/pf.conf", stdin=OWN)
    result = play_book("blocklist_only.yml", bare, **WANTED)
    assert (
        result.returncode != 0
        and "blocklist_own_anchor: /etc/pf.conf" in message(result)
        and 'anchor "blocklistd/*" in' in message(result)
    ), result.stdout[-3000:]
    assert (
        state(bare).startswith("Disabled\n")
        and "/etc/pf.sokuhai.conf" not in state(bare)
        and "sokuhai" not in shell(bare, "cat /etc/pf.conf /etc/blocklistd.conf")
    )


@full_only(
    "four plays; SOKUHAI_FULL=1 runs it, and tests/unit has the same without a host",
)
def test_an_anchor_of_ones_own_is_left_alone_when_asked_for(lab, in_force):
    """Nothing of ours is in pf then, and a boot leaves nothing to be done; the count brings our anchor, and goes with it."""
    kept, counted = {"rejects": False, "own_anchor": True}, {"own_anchor": True}
    look, inside = "pfctl -s Running; pfctl -s rules; cat /etc/pf.conf; ls /etc", "; pfctl -a sokuhai -s rules"
    steps(lab, UNDO)
    lab.sh("sh", "-c", "cat > /etc/pf.conf", stdin=OWN)
    try:
        changes, looks = steps(
            lab, kept, {**kept, "look": look, "sh": "service pf restart && service blocklistd restart"}, kept
        )
        assert changes[0] and not changes[2], changes
        assert looks[1].startswith("Enabled\n") and "sokuhai" not in looks[1]
        assert reach(lab, *["192.0.2.2:2525"] * 6, host="operator") == [True] * 6, "counted"
        changes, looks = steps(lab, counted, {**counted, "look": look + inside}, kept, {**kept, "look": look})
        assert changes[0] and not changes[1] and changes[2] and not changes[3], changes
        assert looks[1].count('anchor "sokuhai" all\n') == 1 and looks[1].endswith("port = smtp\n"), looks[1]
        assert "sokuhai" not in looks[3]
    finally:
        steps(lab, UNDO)
