# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What else a user could install: Exim and OpenSMTPD as Debian packages them, Haraka as npm has it, each tuned as its own documentation says.

They run on the practice host, with its named and its addresses, beside its files (beside.py). Where a value is not the default, the comment
names the documentation: Exim's is spec.txt 4.98 (https://www.exim.org/exim-html-current/doc/html/spec_html/), chapter 14 unless said.
"""

import json
import pathlib

from labkit import others
from labkit.internet.host import HostError

from .arms import Arm, arm

HERE = pathlib.Path(__file__).parent
PLACE = "/var/tmp/sokuhai-bench-{}.tar"

# As Debian: opportunistic TLS, MX by DNS, IPv6 and IPv4 (spec.txt, 7 "The default configuration file").
EXIM = """\
primary_hostname = mx.home.example
local_interfaces = 127.0.0.1
# anybody on the loopback may send: nobody else comes here
acl_smtp_rcpt = accept
tls_advertise_hosts =
keep_environment =
notifier_socket =
# for long queues: 62 directories instead of one
split_spool_directory = true
# deliveries of one message at the same time, by default 4. As many as role postfix has processes
remote_max_parallel = 500
# All domains of a message are looked up, one after the other, before its first delivery starts: with answers 0.3 s late, one message to 400
# domains sent nothing in 240 s. So many small messages are better: what is over this gets 452 and comes in a transaction of its own.
# Seconds to 99 %, with 5, 10, 20 and 100 a message: 37, 23, 28, 101
recipients_max = RECIPIENTS
# as for large systems: by default deliveries start immediately for 10 messages of a connection only
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
# runners for what was deferred, by default 5
queue_run_max = 50
log_file_path = /var/spool/exim4/%slog
begin routers
dnslookup:
  driver = dnslookup
  transport = remote_smtp
begin transports
remote_smtp:
  driver = smtp
  # Exim sends QUIT behind the final dot and ends its side of TLS: the lab's servers, in Python's asyncio, cannot answer such a client later.
  # Nothing is lost by it here, where an answer's way takes no time
  hosts_avoid_pipelining = *
begin retry
* * F,1h,1m; G,16h,1h,1.5; F,4d,6h
"""

# The keys of "mta limit" and "scheduler limit" are in usr.sbin/smtpd/limit.c and parse.y, with their defaults; smtpd.conf(5) has the rest.
OPENSMTPD = """\
listen on 127.0.0.1 port 25 hostname mx.home.example
# by default 1,000 recipients a transaction
smtp limit max-rcpt 30000
# Whoever meets a limit waits 5 s (DELAY_CHECK_LIMIT in mta.c), so none may be met. Connections from one address of this host: by default 100
# for all destinations together
mta limit max-conn-per-source 10000
# for a source and a destination: by default 20
mta limit max-conn-per-connector 1000
# a second connection to a relay 2 s after the first by default, to a route 5 s
mta limit conn-delay-relay 0
mta limit conn-delay-route 0
# nor a connection to a mail server 3 s after another to it has ended
mta limit reconn-delay-route 0
# connections to one mail server, for all the domains that it serves: by default 10, and 5 from one address
mta limit max-conn-per-host 1000
mta limit max-conn-per-route 1000
# an idle connection is kept for 10 s by default, and counts
mta limit session-keepalive 1
action "relay" relay helo mx.home.example
match from any for any action "relay"
"""


class Beside(Arm):
    """A mailer of an archive that labkit.others fetches. archive: its name there; users: those that its package makes; command: in the foreground."""

    log = None
    archive, users, command = "", (), ()

    def conf(self):
        """{path: text} of its configuration."""
        raise NotImplementedError

    def prepare(self, bench):
        generation = json.loads((bench.folder / "status.json").read_text())["generation"]
        path = others.fetched(generation) / f"{self.archive}.tar"
        if not path.exists():
            raise HostError(f"{self.name}: {path} is missing, since this machine has no npm")
        with (
            path.open("rb") as packed,
            bench.host.popen("sh", "-c", f"cat > {PLACE.format(self.archive)}", stdin=packed),
        ):
            pass

    def job(self, bench):
        return {
            "stop": ["postfix"],
            "files": {
                "beside": (HERE / "beside.py").read_text(),
                **{f"conf{path}": text for path, text in self.conf().items()},
            },
            "start": [["@FOLDER@/beside", "@FOLDER@", PLACE.format(self.archive), *self.users, "--", *self.command]],
            "end": [["sh", "-c", "kill -KILL $(cat @FOLDER@/pid) 2>/dev/null || true"]],
        }


@arm
class Exim(Beside):
    name = "exim"
    what = (
        "Exim 4.98 of Debian, tuned: 500 deliveries of a message at the same time, 10 recipients a message; own named"
    )
    mta = "Exim"
    spool = "/var/tmp/sokuhai-bench/spool"
    process = "exim4"
    archive, users = "exim", ("Debian-exim",)
    # its spool must be its user's before it starts
    command = (
        "/bin/sh",
        "-c",
        "mkdir /var/spool/exim4 && chown Debian-exim: /var/spool/exim4 && exec /usr/sbin/exim4 -bdf -q1m",
    )
    recipients = 10

    def conf(self):
        return {"/etc/exim4/exim4.conf": EXIM.replace("RECIPIENTS", str(self.recipients))}


@arm
class Opensmtpd(Beside):
    name = "opensmtpd"
    what = "OpenSMTPD 7.6 of Debian, tuned: as many connections as there is mail for, none delayed; own named"
    mta = "OpenSMTPD"
    spool = "/var/tmp/sokuhai-bench/spool"
    process = "smtpd"
    archive, users = "opensmtpd", ("opensmtpd", "opensmtpq")
    command = ("/usr/sbin/smtpd", "-d")

    def conf(self):
        return {"/etc/smtpd.conf": OPENSMTPD}


# https://haraka.github.io/core/Outbound/: concurrency_max is 10,000 by default, and is left at that. Second attempts come after a minute
# by default: 3 % of the recipients whose servers accept the first one waited for it here. 5 s is the least that is allowed
HARAKA = {
    "me": "mx.home.example\n",
    "plugins": "open_relay\n",
    "smtp.ini": "listen=127.0.0.1:25\nnodes=cpus\n",
    "outbound.ini": "temp_fail_intervals=10s*6, 1m*10, 5m*100\n",
    "log.ini": "[main]\nlevel=warn\n",
}
# A plugin of one's own is the way to accept for everywhere: docs/Outbound.md, "connection.relaying".
OPEN_RELAY = """\
exports.hook_rcpt = function (next, connection) {
    connection.relaying = true
    next(OK)
}
"""


@arm
class Haraka(Beside):
    name = "haraka"
    what = "Haraka 3.3 of npm on Node.js 20 of Debian, tuned: a process for each CPU; own named"
    mta = "Haraka"
    process = "node"
    archive = "haraka"
    # as haraka -i would: what is not ours is the package's
    command = (
        "/bin/sh",
        "-c",
        "cd /opt/haraka && cp -n node_modules/Haraka/config/connection.ini home/config/ && exec node node_modules/Haraka/bin/haraka -c home",
    )

    def conf(self):
        home = "/opt/haraka/home"
        return {f"{home}/config/{name}": text for name, text in HARAKA.items()} | {
            f"{home}/plugins/open_relay.js": OPEN_RELAY
        }
