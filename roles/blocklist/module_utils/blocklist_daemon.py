# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""blocklistd(8), which FreeBSD 14 calls blacklistd: its files, its reading of a configuration, its start, and the proof that what it lists is in pf."""

import os
import re
import socket
import subprocess
import tempfile
import time

from ansible.module_utils.sokuhai import host, process, rc
from ansible.module_utils.sokuhai.host import Refused, run

MARK = "Written by sokuhai's role blocklist"
# the same daemon: FreeBSD 15 renamed it and still has the old name beside the new one
NAMES = ("blocklistd", "blacklistd")
# lines of the configuration that the base system comes with (usr.sbin/blocklistd/blocklistd.conf)
STOCK = {
    "ssh stream * * * 3 24h",
    "ftp stream * * * 3 24h",
    "smtp stream * * * 3 24h",
    "submission stream * * * 3 24h",
    "* * * * * 3 60",
    "[local]",
    "[remote]",
}
POSTCONF = "/usr/local/sbin/postconf"
PROVED = "198.51.100.255"  # RFC 5737: nobody's address
PF_CONF = "/etc/pf.conf"


def installed():
    """Return the Daemon of this host, or None where the base system has none."""
    for name in NAMES:
        if os.access("/usr/sbin/%s" % name, os.X_OK) and os.access("/usr/libexec/%s-helper" % name, os.X_OK):
            return Daemon(name)
    return None


def find(known=None):
    """Return the Daemon of this host. Raises Refused where there is none, or where it is set up in a way that this role is not for.

    known: the record, None without one.
    """
    daemon = installed()
    if daemon is None:
        raise Refused(
            "sokuhai_blocklist: this base system has neither blocklistd nor blacklistd (built WITHOUT_BLOCKLIST?); set sokuhai_blocklist: false"
        )
    own = known.get("daemon") if is_ours(known) else None
    others = rc.read([name + "_enable" for name in NAMES if name not in (daemon.name, own)])
    for key in sorted(key for key, value in others.items() if rc.yes(value)):
        raise Refused(
            "sokuhai_blocklist: %s sets %s = %s, and that daemon is called %s on this release; move its settings and remove the line (sysrc -x %s)"
            % (rc.place(key), key, others[key], daemon.name, key)
        )
    ipfw = "/etc/ipfw-%s.rc" % daemon.name[:-1]
    if os.path.exists(ipfw):
        raise Refused(
            "sokuhai_blocklist: %s makes %s block with ipfw; this role is for pf. Remove the file, or set sokuhai_blocklist: false"
            % (ipfw, daemon.name)
        )
    return daemon


def is_ours(known):
    """Return whether nobody ran the daemon before this role came; else it is its owner's, settings and all. known: the record, None without one."""
    return known is not None and not rc.yes(known["daemon_enable"])


def former(known):
    """Return the Daemon of the record under the name that it had on an earlier release, or None. known: the record, None without one."""
    name, now = (known or {}).get("daemon"), installed()
    return Daemon(name) if name and now and name != now.name else None


def leave(daemon, known):
    """Take away what this role made of *daemon*, which has another name by now. Return what the record is to say instead (dict).

    What its owner set of it is gone from rc.conf(5) by now: find() asks for that.
    """
    if is_ours(known):
        host.service(daemon.name, "onestop")
        rc.apply(rc.compare({daemon.enable: known["daemon_enable"], daemon.flags: known["daemon_flags"]}))
    daemon.restore()
    if MARK in (host.read(daemon.config) or ""):
        host.remove(daemon.config)
    now = installed()
    said = rc.read([now.enable, now.flags])
    return {"daemon": now.name, "daemon_enable": said.get(now.enable, "NO"), "daemon_flags": said.get(now.flags, "")}


def is_foreign(text):
    """Return whether the configuration *text* (None for no file) is neither this role's nor the stock one."""
    if text is None or MARK in text:
        return False
    lines = {" ".join(line.split()) for line in text.splitlines() if not line.lstrip().startswith("#")}
    return bool(lines - STOCK - {""})


def postfix_reports():
    """Return whether smtpd reports failed AUTH and relay attempts: its port links it with the daemon's library then. None where that cannot be seen."""
    if not os.access(POSTCONF, os.X_OK):
        return None
    status, out, _err = run(["ldd", os.path.join(run([POSTCONF, "-h", "daemon_directory"])[1].strip(), "smtpd")])
    return None if status else re.search(r"\blib(block|black)list\.so", out) is not None


class Daemon:
    """The daemon by the name it has on this host."""

    def __init__(self, name):
        self.name = name
        self.program = "/usr/sbin/" + name
        self.helper = "/usr/libexec/%s-helper" % name
        self.config = "/etc/%s.conf" % name
        self.socket = "/var/run/%s.sock" % name
        self.pidfile = "/var/run/%s.pid" % name
        self.enable, self.flags = name + "_enable", name + "_flags"

    def refuse_unseen(self, rules):
        """Raise Refused where the helper would not see that pf is the packet filter here. rules: the path of pf's rules.

        FreeBSD 14's takes pf where there is a pf.conf in /etc, later ones where rc.d/pf says that it runs (contrib/blocklist/libexec).
        """
        if rules != PF_CONF and not os.path.exists(PF_CONF) and "/etc/rc.d/" not in (host.read(self.helper) or ""):
            raise Refused(
                "sokuhai_blocklist: pf's rules are in %s (pf_rules of rc.conf), and %s of this release takes pf only where there is %s: ln -s %s %s"
                % (rules, self.helper, PF_CONF, rules, PF_CONF)
            )

    def restore(self):
        """Put the configuration back that was there before this role's and lies beside it since."""
        previous = host.read(self.config + ".previous")
        if previous is not None and MARK in (host.read(self.config) or ""):
            host.write(self.config, previous, 0o644)
        host.remove(self.config + ".previous")

    def process(self):
        """Return the daemon's Process, or None. It writes its pid file once, when it starts."""
        return process.from_pidfile(self.pidfile, self.name)

    @staticmethod
    def keeps_list(words):
        """Return whether *words*, flags or a command line, have -r, by which the daemon puts back after a boot what it had listed."""
        return re.search(r"(^|\s)-[A-Za-z]*r", words) is not None

    def wanted_flags(self, flags):
        """Return rc.conf's flags (text) with -r."""
        return flags if self.keeps_list(flags) else (flags + " -r").strip()

    def check(self, text):
        """Have the daemon itself read *text*, in the foreground, with a database and a socket of its own, and list what it understood. Raises Refused."""
        with tempfile.TemporaryDirectory(prefix="sokuhai-") as folder:
            host.write(folder + "/conf", text, 0o644)
            argv = [self.program, "-d", "-c", folder + "/conf", "-D", folder + "/db", "-s", folder + "/sock"]
            with open(folder + "/out", "w", encoding="utf-8") as out:
                reader = subprocess.Popen(
                    argv + ["-C", "/usr/bin/true"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=host.ENV
                )

                def done():
                    return reader.poll() is not None or "\n[remote]" in host.read(folder + "/out")

                try:
                    host.wait_until(done, 10, 0.1)
                    time.sleep(0.2)  # the lines below [remote]
                    reader.terminate()
                    reader.wait(5)
                finally:
                    reader.kill()
                    reader.wait()
            said = host.read(folder + "/out").splitlines()
        wanted = [line for line in text.splitlines() if line.count("\t") == 6 and not line.startswith("#")]
        listed = [line for line in said if line.count("\t") == 6 and "nfail" not in line]
        complaints = [line for line in said if line.startswith("conf_") and "conf_gethostport: host" not in line]
        if complaints or len(listed) != len(wanted):
            raise Refused(
                "blocklist_services: %s understood %d of %d lines, the old configuration stays: %s"
                % (self.name, len(listed), len(wanted), "; ".join(complaints or said[-5:]))
            )

    def start(self):
        """Start the daemon, or restart one that runs, and wait until its socket answers. Raises Refused."""
        _status, printed = host.service(self.name, "restart" if self.process() else "start")
        if not host.wait_until(lambda: self.process() and self.answers(), 20, 0.2):
            raise Refused("%s is not running: %s; see /var/log/messages" % (self.name, printed))

    def answers(self):
        """Return whether somebody listens on the daemon's socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            return client.connect_ex(self.socket) == 0

    def prove(self, port):
        """List an address that nobody has by the daemon's own helper, find it in pf, and take it out. port: one of its services. Raises Refused."""
        where = [self.name, "tcp", PROVED, "32", str(port)]
        inside = ["pfctl", "-q", "-a", "%s/%d" % (self.name, port), "-t", "port%d" % port, "-T", "test", PROVED]
        status, out, err = run([self.helper, "add", *where, ""])
        if status or run(inside)[0]:
            raise Refused("%s did not put an address into pf: exit %d, %s" % (self.helper, status, (out + err).strip()))
        run([self.helper, "rem", *where, ""])
        if run(inside)[0] == 0:
            raise Refused("%s does not remove an address from pf again" % self.helper)
