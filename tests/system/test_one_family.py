"""A host with one address family: provisioned from bare, asked by strangers and by dynamic-looking clients, and verified."""

import json
import subprocess

import pytest
from practice import PLAYBOOK, ROOT, SLOW, Lab, full_only
from stranger import talk

#: {families: (name, its address, a client's address for each of its reverse names)}
HOSTS = {
    "ipv6": ("mx6.home.example", "2001:db8::31", ("2001:db8:2::20", "2001:db8:2::60")),
    "ipv4": ("mx4.home.example", "192.0.2.31", ("203.0.113.20", "203.0.113.60")),
}
COUNTERS = """
import json, sys
sys.path.insert(0, '/usr/local/libexec/sokuhai-monitor')
import freebsd
settings = json.load(open('/usr/local/etc/sokuhai-monitor.json'))
print(freebsd.ask_named(settings['statistics_address'], settings['statistics_port']))
"""


class Alone:
    """A practice host with the families *protocols* alone, in a lab of its own."""

    def __init__(self, lab, folder, protocols):
        self.lab, self.inventory = lab, folder / "inventory"
        self.name, self.address, self.clients = HOSTS[protocols]
        self.inventory.mkdir()
        (self.inventory / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
        own = {"ansible_host": self.address, "sokuhai_inet_protocols": protocols}
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        groups = {"all": {"hosts": {"localhost": local}}, "mailhosts": {"hosts": {self.name: own}}}
        (self.inventory / "hosts.json").write_text(json.dumps(groups))

    def play(self, book, *options):
        done = subprocess.run(
            [str(word) for word in (PLAYBOOK, "-i", self.inventory, ROOT / "playbooks" / book, *options)],
            cwd=ROOT,
            env=self.lab.env,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600 * SLOW,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        return done

    def sh(self, *command, **options):
        return self.lab.sh(*command, host=self.name, **options).stdout


@pytest.fixture(
    scope="module",
    params=["ipv6", pytest.param("ipv4", marks=full_only("another host is provisioned from bare for it"))],
)
def alone(request, tmp_path_factory):
    lab = Lab(f"test-{request.param}")
    lab.command("down")
    try:
        up = lab.command("up", "--host", HOSTS[request.param][0], timeout=1500)
        assert up.returncode == 0, up.stdout + up.stderr
        made = Alone(lab, tmp_path_factory.mktemp("alone"), request.param)
        made.play("bootstrap.yml")
        made.play("site.yml", "-e", "access_sleep_ease=0", "-e", "access_sleep_harsh=0")
        yield made
    finally:
        lab.command("down")


def test_it_is_served_over_the_family_that_is_there(alone):
    six = ":" in alone.address
    rows = [line.split() for line in alone.sh("sockstat", "-46l").splitlines()[1:]]
    served = {(row[1], row[5]) for row in rows}
    loopback = "::1" if six else "127.0.0.1"
    assert {("named", f"{loopback}:{port}") for port in (53, 8053)} | {("master", "*:25")} <= served
    assert {("perl", f"{loopback}:{port}") for port in (10027, 10028)} <= served
    other = {(row[1], row[5]) for row in rows if row[4].endswith("4" if six else "6") and row[1] != "sshd"}
    # rndc's channel: named opens it on both
    assert {place for place in other if not place[1].endswith(":953")} == set()


def test_strangers_are_answered_and_dynamic_looking_ones_greylisted(alone):
    stranger, dynamic = (
        talk(
            alone.lab,
            "someone@sender.test",
            "root@home.example",
            client=(client, "mail.sender.test"),
            where=alone.address,
        )[2]
        for client in alone.clients
    )
    assert stranger[0] == 250, stranger
    assert dynamic[0] == 450 and "Greylisted" in dynamic[1], dynamic


@full_only("a second run and all of verify.yml")
def test_the_next_run_changes_nothing_and_it_is_what_is_declared(alone):
    again = alone.play("site.yml", "-e", "access_sleep_ease=0", "-e", "access_sleep_harsh=0")
    assert " changed=0 " in again.stdout, again.stdout[-6000:]
    alone.play("verify.yml")


def test_its_named_reports_its_counters_to_the_sampler(alone):
    assert "'queries': " in alone.sh("/usr/local/bin/python3", "-c", COUNTERS)
