"""A resolver, a receiver, a sender and a host that is all of it, by the group_vars of inventory/rack.example: provisioned batch by batch and proved, mail
from one to the other, who is rejected where, and what becomes of a host that changes its kind.

The addresses of that example's network are the lab's. They are in a lab of their own, which is taken down afterwards.
"""

import json
import uuid

import pytest
import yaml
from practice import HOST, PLAYBOOK, ROOT, full_only, until
from stranger import talk
from test_many_hosts import Many, brought_up

RESOLVER, SENDER, ALL = "mx12.home.example", "mx13.home.example", "mx14.home.example"
KINDS = {"receivers": HOST, "resolvers": RESOLVER, "senders": SENDER, "all_in_one": ALL}
HOSTS = list(KINDS.values())

pytestmark = full_only("four hosts are provisioned for it, which takes minutes: under SOKUHAI_FULL=1")

# argv: server, name; prints the response code of a query for its A records, and how many there are
QUERY = """
import socket, struct, sys
name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[2].split("."))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[3] if len(sys.argv) > 3 else "", 0)); s.settimeout(30)
s.sendto(struct.pack(">HHHHHH", 77, 0x0100, 1, 0, 0, 0) + name + b"\\0" + struct.pack(">HH", 1, 1), (sys.argv[1], 53))
a = s.recv(4096); print(a[3] & 15, struct.unpack(">H", a[6:8])[0])
"""


class Rack(Many):
    """The four, by two inventories: the lab's, and the groups with the example's own files for them."""

    hosts = HOSTS

    def __init__(self, lab, folder):
        super().__init__(lab, folder)
        self.kinds = folder / "kinds"
        (self.kinds / "group_vars").mkdir(parents=True)
        for kind in KINDS:
            name = f"group_vars/{kind}.yml"
            (self.kinds / name).symlink_to(ROOT / "inventory/rack.example" / name)
        groups = {kind: {"hosts": {host: None}} for kind, host in KINDS.items()}
        (self.kinds / "hosts.yml").write_text(yaml.safe_dump({"mailhosts": {"children": groups}}))

    def run(self, command, *options):
        return super().run(command, "-i", self.kinds, *options)

    def sh(self, host, *words, **more):
        return self.lab.sh(*words, host=host, **more)

    def mailed(self, host, token):
        """Wait for *token* in root's mailbox of *host*."""
        return until(lambda: token in self.sh(host, "sh", "-c", "cat /var/mail/root 2>/dev/null || true").stdout)


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    with brought_up("test-rack", Rack, tmp_path_factory.mktemp("rack")) as made:
        made.rolled = made.play("rolling.yml", "-e", json.dumps({"rolling_serial": [1, 3]}))
        yield made


def test_each_kind_is_provisioned_and_proved_and_the_next_run_changes_nothing(rack):
    assert rack.rolled.stdout.count(" failed=0 ") == len(HOSTS)
    again = rack.play("site.yml")
    assert again.stdout.count(" changed=0 ") == len(HOSTS), again.stdout[-6000:]


def test_a_resolver_has_named_and_nothing_of_the_mail_service(rack):
    there = rack.sh(RESOLVER, "sh", "-c", "pkg query %n; ls /usr/local/etc/rc.d; sockstat -46l").stdout
    assert "bind920" in there and "sokuhai_monitor" in there
    for one in ("postfix", "dovecot", "postgrey", "spf-engine", "rspamd", ":25 ", ":587 "):
        assert one not in there, there


def test_the_others_may_ask_the_resolver_and_strangers_may_not(rack):
    def answered():
        # a lost packet, or a named that knows nothing yet on a busy machine, is asked again
        said = rack.sh(host, "/usr/local/bin/python3", "-", "192.0.2.12", "d0001.test", stdin=QUERY, check=False).stdout
        return said.split()[:1] == ["0"] and int(said.split()[1]) > 0

    for host in (HOST, SENDER, ALL):
        until(answered)
    stranger = rack.sh("clients", "python3", "-", "192.0.2.12", "d0001.test", "203.0.113.77", stdin=QUERY)
    assert stranger.stdout.split() == ["5", "0"]  # REFUSED


def test_mail_goes_from_the_sender_to_the_receiver_and_so_does_a_bounce(rack):
    token, lost = uuid.uuid4().hex, uuid.uuid4().hex
    for to, subject in (("root@home.example", token), ("nobody-there@home.example", lost)):
        mail = f"From: postmaster@home.example\nTo: {to}\nSubject: {subject}\n\nFrom the sender.\n"
        rack.sh(SENDER, "/usr/local/sbin/sendmail", "-f", "postmaster@home.example", to, stdin=mail)
    rack.mailed(HOST, token)
    # its own domain is not the sender's: what it bounces leaves for the MX host as well
    rack.mailed(HOST, lost)


def test_a_stranger_gets_554_on_the_senders_port_25_and_250_on_the_receivers(rack):
    def rcpt(address, recipient):
        return talk(rack.lab, "someone@sender.test", recipient, where=address)[2][0]

    assert rcpt("192.0.2.10", "root@home.example") == 250
    for recipient in ("root@home.example", f"root@{SENDER}", "someone@d0001.test"):
        assert rcpt("192.0.2.13", recipient) == 554
    machine = talk(rack.lab, "", "someone@d0001.test", client=("", ALL), where="192.0.2.13", host=ALL)
    assert machine[2][0] == 250, "what mynetworks has may send"
    closed = rack.sh(HOST, "sockstat", "-46l").stdout
    assert ":587 " not in closed and ":465 " not in closed, "a receiver takes no submissions"


def test_each_is_as_declared(rack):
    done = rack.drift()
    assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr
    assert f"as declared: {len(HOSTS)} of {len(HOSTS)}" in done.stdout


def test_a_host_with_mail_is_no_resolver_until_its_mail_service_is_taken_away_by_name(rack):
    few = ("--limit", ALL, "-e", json.dumps({"sokuhai_mail": False}))

    def processes():
        return rack.sh(ALL, "ps", "-axo", "command").stdout

    refused = rack.run([PLAYBOOK, ROOT / "playbooks" / "site.yml"], *few)
    said = " ".join(refused.stdout.split())
    assert refused.returncode != 0 and "sokuhai_mail: false" in said, refused.stdout[-6000:]
    assert "rollback.yml --tags postfix,sasl" in said and "Postfix, Dovecot, greylisting" in said
    assert f"changed: [{ALL}]" not in refused.stdout and "postgrey" in processes()

    rack.play("rollback.yml", *few, "--tags", "postfix,sasl")
    assert not {"master", "dovecot", "postgrey", "rspamd"} & {
        word.rpartition("/")[2] for line in processes().splitlines() for word in line.split()
    }
    rack.play("site.yml", *few)
    again = rack.play("site.yml", *few)
    assert again.stdout.count(" changed=0 ") == 1, again.stdout[-6000:]
    rack.play("verify.yml", *few)

    # and back: what it was before is what the inventory says
    back = rack.play("site.yml", "--limit", ALL)
    assert f"changed: [{ALL}]" in back.stdout
    rack.play("verify.yml", "--limit", ALL)
