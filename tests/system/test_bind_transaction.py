"""Role bind's transaction on the practice host: what is broken never gets in, what got in and fails goes out, DNS stays."""

import functools
import json
import re
import time

import pytest
from practice import FULL, ROOT, applied_book, changed_lines, full_only, message, play_book, until

CONFIG = "/usr/local/etc/namedb/named.conf"
PID = "$(cat /var/run/named/pid)"
# The checker takes it, since it does not load the driver; named itself ends over it.
NO_DRIVER = {"bind_extra_config": 'dyndb "x" "/nonexistent.so" { };'}
WRONG_ANCHOR = {"bind_trust_anchors": [{"name": ".", "type": "static-ds", "value": "12345 13 2 " + "AB" * 32}]}


play = functools.partial(play_book, "bind_only.yml")
applied = functools.partial(applied_book, "bind_only.yml")


def shell(lab, text, **options):
    return lab.sh("sh", "-c", text, **options).stdout


def pid(lab):
    return int(shell(lab, "cat /var/run/named/pid"))


def soft_limit(lab):
    line = next(one for one in shell(lab, f"procstat rlimit {PID}").splitlines() if " openfiles " in one)
    return int(line.split()[3])


def name_servers(lab):
    return re.findall(r"^nameserver (\S+)", shell(lab, "cat /etc/resolv.conf"), re.M)


def resolves(lab, name="d0001.test"):
    """Whether the host finds a mail server's name by the resolver its resolv.conf names."""
    return "mail is handled by" in lab.sh("host", "-t", "mx", name, check=False).stdout


@pytest.fixture(autouse=True, scope="module")
def provisioned(lab):
    """As declared before the first and after the last test."""
    applied(lab)
    yield
    applied(lab)


def test_what_the_checker_refuses_changes_nothing(lab):
    wrong = {"bind_extra_options": ["no-such-option yes;"]}
    with lab.unchanged():
        result = play(lab, **wrong)
        assert result.returncode != 0
        assert "step: checkconf" in message(result) and "no-such-option" in message(result)
        assert play(lab, "--check", **wrong).returncode != 0


@pytest.mark.parametrize(
    "variables, words",
    [
        (NO_DRIVER, ["step: restart", "nonexistent.so"]),
        (WRONG_ANCHOR, ["step: recursion"]),
    ],
    ids=["a named that does not start", "a named that resolves no more"],
)
def test_a_configuration_that_fails_gives_way_to_the_previous_one(lab, variables, words):
    before = shell(lab, f"cat {CONFIG}")
    result = play(lab, bind_timeout=5, **variables)
    assert result.returncode != 0
    for word in (*words, "restored: true"):
        assert word in message(result)
    assert shell(lab, f"cat {CONFIG}") == before
    assert resolves(lab)


def test_a_ceiling_changes_without_a_restart_and_a_listener_with_one(lab):
    before = pid(lab)
    applied(lab, bind_recursive_clients=15000)
    assert re.search(r"^recursive clients: \d+/14900/15000$", shell(lab, "rndc status"), re.M)
    assert pid(lab) == before
    applied(lab, bind_tcp_listen_queue=64)
    assert pid(lab) != before
    assert re.search(r"^recursive clients: \d+/19900/20000$", shell(lab, "rndc status"), re.M)
    assert changed_lines(applied(lab))


LOWER = """import os, pwd, resource
pid, user = int(open("/var/run/named/pid").read()), pwd.getpwnam("bind")
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
resource.prlimit(pid, resource.RLIMIT_NOFILE, (2000, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
"""

# what goes wrong, and what a run with -v --diff prints of it
HEALED = {
    "a named that is gone and not enabled": (
        "service named stop; sysrc named_enable=NO",
        ["id: service named", "+named_enable"],
    ),
    "a named older than its file": (f"sleep 1; touch {CONFIG}", ["id: 'process named: configuration'"]),
    "a file changed by hand": (
        f"sed -i 's/recursive-clients .*/recursive-clients 500;/' {CONFIG} && rndc reconfig",
        [f"--- before: {CONFIG}"],
    ),
    "a limit lowered on the running named": (
        f"/usr/local/bin/python3 -c '{LOWER}'",
        ["id: 'process named: openfiles'"],
    ),
    "a resolv.conf that names another": (
        "printf 'nameserver 198.51.100.153\\n' > /etc/resolv.conf",
        ["--- before: /etc/resolv.conf"],
    ),
    "a block taken out of resolvconf.conf": (
        "sed -i '/BEGIN sokuhai bind/,/END sokuhai bind/d' /etc/resolvconf.conf && resolvconf -u",
        ["--- before: /etc/resolvconf.conf"],
    ),
    "root hints of somebody else": (
        "printf '.\\t3600000\\tNS\\tnone.test.\\n' > /usr/local/etc/namedb/sokuhai.hints",
        ["--- before: /usr/local/etc/namedb/sokuhai.hints"],
    ),
}
#: In make test two runs find and heal what does not hide what else there is; one by one in make test-full.
TOGETHER = [
    ["a file changed by hand", "root hints of somebody else", "a block taken out of resolvconf.conf"],
    ["a limit lowered on the running named", "a resolv.conf that names another"],
]


@pytest.mark.parametrize("cases", [[case] for case in HEALED] if FULL else TOGETHER, ids=" and ".join)
def test_what_went_wrong_shows_in_check_mode_and_heals(lab, cases):
    declared = lab.fingerprint()
    for case in cases:
        shell(lab, HEALED[case][0])
    with lab.unchanged():
        predicted = applied(lab, "--check", "-v", "--diff").stdout
    healed = applied(lab, "-v", "--diff").stdout
    for text in (predicted, healed):
        assert [word for case in cases for word in HEALED[case][1] if word not in text] == []
    assert {k: v for k, v in lab.fingerprint().items() if not k.endswith(".previous")} == {
        k: v for k, v in declared.items() if not k.endswith(".previous")
    }
    assert soft_limit(lab) >= 2001 and name_servers(lab) == ["127.0.0.1"] and resolves(lab)


def test_more_descriptors_than_there_are_names_the_links(lab):
    result = play(lab, bind_openfiles=soft_limit(lab) + 1)
    assert result.returncode != 0
    # 9.18 is told the number in named.conf and the kernel cuts it; 9.20 takes what the login class gives
    for word in (
        "step: openfiles",
        "bind_openfiles: ",
        "kern.maxfilesperproc = ",
        "login class ",
        "named.conf: ",
        "hard limit of the process = ",
    ):
        assert word in message(result)
    assert resolves(lab)
    # nor is anything left of all this
    assert not changed_lines(applied(lab))


def test_a_renewed_lease_changes_nothing(lab):
    before = shell(lab, "cat /etc/resolv.conf")
    shell(lab, "printf 'nameserver 198.51.100.153\\n' | resolvconf -a vtnet0")
    assert shell(lab, "cat /etc/resolv.conf") == before
    assert name_servers(lab) == ["127.0.0.1"]


def test_the_host_can_go_back_to_its_providers_resolver(lab):
    applied(lab, bind_use_for_host=False)
    assert name_servers(lab) == ["198.51.100.153"] and resolves(lab)
    assert not changed_lines(applied(lab, bind_use_for_host=False))
    applied(lab)
    assert name_servers(lab) == ["127.0.0.1"]


def test_a_resolvconf_that_would_undo_it_is_refused_with_its_line(lab):
    shell(lab, "cp /etc/resolvconf.conf /tmp/kept && printf 'resolv_conf_local_only=NO\\n' >> /etc/resolvconf.conf")
    try:
        result = play(lab)
        assert result.returncode != 0
        assert re.search(r'/etc/resolvconf.conf line \d+ sets resolv_conf_local_only="NO"', message(result))
    finally:
        shell(lab, "cp /tmp/kept /etc/resolvconf.conf")


def test_the_prediction_was_right(lab):
    """What check mode says of the package before it is there, against the named that came of it."""
    generation = json.loads(lab.command("status", "--json").stdout)["generation"]
    package = {"bookworm": "bind918", "trixie": "bind920"}[generation]
    series = re.search(r"BIND (9\.\d+)", shell(lab, "named -v"))[1]
    knows = {
        name: lab.sh(
            "sh", "-c", f"echo 'options {{ {text}; }};' > /tmp/probe.conf; named-checkconf /tmp/probe.conf", check=False
        ).returncode
        == 0
        for name, text in {"files": "files 1024", "resolver_retry_interval": "resolver-retry-interval 2000"}.items()
    }
    predicted = lab.play(str(ROOT / "tests" / "system" / "bind_predict.yml"), variables={"predict_package": package})
    found = json.loads(
        re.search(r"PREDICTED (\{.*?\}\}) END", " ".join(predicted.stdout.split()).replace('\\"', '"'))[1]
    )
    assert found == {"version": series, "knows": knows}


def test_strangers_get_no_recursion_even_where_named_listens_to_them(lab):
    address = "192.0.2.10"
    applied(lab, bind_listen_on=["127.0.0.1", address])
    ask = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)\n"
        f"s.sendto(struct.pack('!6H', 7, 256, 1, 0, 0, 0) + b'\\x05d0001\\x04test\\0\\0\\x0f\\0\\x01', ('{address}', 53))\n"
        "print(struct.unpack('!4H', s.recv(4096)[:8])[1:])"
    )
    try:
        flags, _questions, answers = eval(lab.sh("python3", "-c", ask, host="operator").stdout)
        assert (flags & 15, answers) == (5, 0), "REFUSED, and no answer"
        applied(lab, bind_listen_on=["127.0.0.1", address], bind_recursion_for=["192.0.2.0/24"])
        flags, _questions, answers = eval(lab.sh("python3", "-c", ask, host="operator").stdout)
        assert flags & 15 == 0 and answers == 1, "served by name of its network"
    finally:
        applied(lab)


@full_only("an answer that outlives its TTL")
def test_what_has_expired_is_still_answered_where_that_is_declared(lab, tmp_path):
    name, zone = "stale.d0460.test", "d0460.test"
    records = tmp_path / "records.json"
    records.write_text(json.dumps([{"name": name, "type": "MX", "values": [f"10 mail.{zone}."], "ttl": 1}]))
    assert lab.internet("ctl", "publish", records).returncode == 0
    asked = f"/usr/local/bin/dig +tries=1 +time=20 @127.0.0.1 {name} MX"
    applied(lab, bind_stale_seconds=600)
    try:
        assert f"mail.{zone}." in shell(lab, asked)
        assert lab.internet("ctl", "set", zone, "answer=servfail").returncode == 0
        # RFC 8914 4.4: the answer says itself that it is stale
        found = until(lambda: text if "EDE: 3 " in (text := shell(lab, asked)) else None)
        assert f"mail.{zone}." in found
    finally:
        lab.internet("ctl", "set", zone, "answer=normal")
        records.write_text(json.dumps([{"name": name, "type": "MX", "values": []}]))
        lab.internet("ctl", "publish", records)


def test_after_a_boot_it_is_all_there(lab):
    time.sleep(1)
    assert lab.command("reboot", "mx.home.example").returncode == 0
    assert soft_limit(lab) >= 2001 and name_servers(lab) == ["127.0.0.1"]
    until(lambda: resolves(lab))
    assert not changed_lines(applied(lab))
