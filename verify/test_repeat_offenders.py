"""Repeat offenders on the running host: what pf evaluates, what the daemon does with a report, and who is exempt."""

import ipaddress

import hostlib
import pytest


@pytest.fixture(autouse=True)
def declared_at_all(declared):
    if str(declared.get("blocklist_enabled", False)).lower() not in ("true", "yes"):
        pytest.skip("sokuhai_blocklist is false: no blocklist is declared")


@pytest.fixture(scope="module")
def name(host):
    """blocklistd, or blacklistd on FreeBSD 14."""
    found = [
        one
        for one in ("blocklistd", "blacklistd")
        if host.run(f"env {hostlib.PATH} sh -c %s", f"command -v {one}").rc == 0
    ]
    assert found, "neither blocklistd nor blacklistd"
    return found[0]


def test_pf_is_on_and_will_be_after_a_boot(host):
    assert "Enabled" in hostlib.output(host, "pfctl -s info")
    assert hostlib.rcvar(host, "pf_enable").upper() == "YES"


def test_the_daemon_runs_and_brings_its_list_back_after_a_boot(host, name):
    hostlib.output(host, f"service {name} status")
    pid = hostlib.output(host, f"cat /var/run/{name}.pid").strip()
    assert " -r" in hostlib.output(host, f"ps -o args= -p {pid}")
    assert hostlib.rcvar(host, f"{name}_enable").upper() == "YES"


def test_our_anchor_is_the_first_filter_rule_and_evaluates_the_daemons(host, name):
    rules = [line for line in hostlib.output(host, "pfctl -s rules").splitlines() if not line.startswith("scrub")]
    assert any(name in line for line in rules) or rules[0].startswith('anchor "sokuhai"'), rules[:3]
    inside = hostlib.output(host, "pfctl -a sokuhai -s rules")
    assert name in inside or any(name in line for line in rules), inside


def test_what_the_daemon_lists_is_in_pf_and_goes_again(host, declared, name):
    port = declared["blocklist_services"][0]["port"]
    helper, inside = f"/usr/libexec/{name}-helper", f"pfctl -q -a {name}/{port} -t port{port} -T test 198.51.100.255"
    hostlib.output(host, f"{helper} add {name} tcp 198.51.100.255 32 {port} && {inside}")
    hostlib.output(host, f"{helper} rem {name} tcp 198.51.100.255 32 {port}")
    assert host.run(f"env {hostlib.PATH} sh -c %s", inside).rc == 2


def test_the_declared_and_whoever_runs_this_are_exempt(host, declared, name):
    if "sokuhai_allow" not in host.run(f"env {hostlib.PATH} pfctl -a sokuhai -s Tables").stdout:
        # pf.conf's own anchor, and no count: the daemon's configuration alone exempts
        assert str(declared["blocklist_own_anchor"]).lower() in ("true", "yes") and not declared["blocklist_rejects"]
        remote = hostlib.output(host, f"cat /etc/{name}.conf").partition("[remote]")[2]
        assert all(f"{text}\t*" in remote for text in ("127.0.0.0/8", "[::1]/128")), remote
        return
    exempt = [
        ipaddress.ip_network(word) for word in hostlib.output(host, "pfctl -a sokuhai -t sokuhai_allow -T show").split()
    ]
    wanted = list(declared["blocklist_allow"]) + ["127.0.0.1", "::1"]
    connection = hostlib.output(host, "echo ${SSH_CONNECTION:-}").split()
    wanted += [connection[0].split("%")[0]] if connection else []
    for text in wanted:
        network = ipaddress.ip_network(text.replace("[", "").replace("]", ""))
        assert any(network.version == one.version and network.subnet_of(one) for one in exempt), (
            f"{network} is not in {exempt}"
        )


def test_the_count_of_refusals_runs(host, declared):
    if not declared["blocklist_rejects"]:
        pytest.skip("blocklist_rejects is false: refusals are not counted")
    hostlib.output(host, "/usr/local/libexec/sokuhai-blocklist /usr/local/etc/sokuhai-blocklist.json -v")
    rules = hostlib.output(host, "pfctl -a sokuhai -s rules")
    assert rules.count("block drop in quick proto tcp from <sokuhai_rejects> to any port = ") == len(
        declared["blocklist_rejects_ports"]
    )


def test_pf_has_room_for_named_and_smtp(host, declared):
    limit = next(
        int(line.split()[-1])
        for line in hostlib.output(host, "pfctl -s memory").splitlines()
        if line.startswith("states ")
    )
    assert limit >= int(declared["blocklist_states"]) or "keep state" not in hostlib.output(host, "pfctl -s rules")
