# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""sshd(8), which reports failed logins only when its configuration says so: one marked line in sshd_config."""

import os
import re

from ansible.module_utils.blocklist_pf import BEGIN, BLOCK, without_block
from ansible.module_utils.sokuhai import host, process
from ansible.module_utils.sokuhai.host import Refused, run

CONFIG = "/etc/ssh/sshd_config"
PROGRAM = "/usr/sbin/sshd"


def with_keyword(text, keyword):
    """Return sshd_config *text* with our marked line at the top, where the first value wins and no Match is open yet; keyword '' takes it out."""
    rest = without_block(text, "sshd_config")
    return "%s\n%s yes\n# END %s\n%s" % (BEGIN, keyword, BLOCK, rest) if keyword else rest


class Sshd:
    """sshd of the base system: path, its configuration; old, that file's text, or None; new, the text it is to have."""

    def __init__(self, reports):
        """reports: whether failed logins are to be reported."""
        self.path = os.path.realpath(CONFIG)
        self.old = host.read(self.path)
        said = run([PROGRAM, "-T"])[1] if os.access(PROGRAM, os.X_OK) else ""
        # blacklist before FreeBSD 15; an sshd that knows neither cannot report
        known = re.search(r"^use(bloc|blac)klist ", said, re.MULTILINE)
        keyword = "Use%sklist" % known[1].capitalize() if known else ""
        pidfile = re.search(r"^pidfile (/\S+)", said, re.MULTILINE)
        self.pidfile = pidfile[1] if pidfile else "/var/run/sshd.pid"
        self.new = None if self.old is None else with_keyword(self.old, keyword if reports else "")

    def listener(self):
        """Return the Process that listens, or None.

        At SIGHUP sshd executes itself again and writes its pid file again (sighup_restart and main in crypto/openssh/sshd.c), so that file's time is that
        of its last reading.
        """
        return process.from_pidfile(self.pidfile)

    def is_stale(self):
        """Return whether sshd runs since before its configuration was written: a run that was killed in between wrote it and reloaded nothing."""
        now = self.listener()
        return now is not None and now.older_than(self.path) is not None

    def put(self):
        """Write the configuration, which sshd has read, and have the listener read it; sessions stay. Raises Refused."""
        if self.new != self.old:
            staged = self.path + ".staged"
            try:
                host.write(staged, self.new, os.stat(self.path).st_mode & 0o7777)
                status, out, err = run([PROGRAM, "-t", "-f", staged])
                if status:
                    raise Refused("blocklist_sshd: sshd refuses %s: %s" % (self.path, (err or out).strip()))
                os.rename(staged, self.path)
            finally:
                host.remove(staged)
        runs = self.listener() is not None
        status, printed = host.service("sshd", "reload")
        if not runs:
            return
        if status:
            raise Refused(
                "blocklist_sshd: %s is written, but sshd did not read it (service sshd reload: exit %d): %s"
                % (self.path, status, printed)
            )

        def has_read():
            # it removes its pid file, starts over under its old number, and writes the file last
            now = self.listener()
            return now is not None and now.older_than(self.path) is None

        if not host.wait_until(has_read, 10, 0.1):
            raise Refused(
                "blocklist_sshd: sshd has not read %s within 10 seconds of service sshd reload; see /var/log/auth.log"
                % self.path
            )
