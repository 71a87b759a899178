# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor. Run by daemon(8) from its rc script: python3 -IB sokuhai-monitor SETTINGS
# and by /usr/local/bin/sokuhai-report:                                  python3 -IB sokuhai-monitor report MESSAGE
"""Write a line of measurements of the mail host every few seconds while mail is delivered, every minute otherwise, and mail when a ceiling is near.

Two processes. The first stays root, since Postfix's queue directories are Postfix's (0700), the mail log is root's (0640), and where
security.bsd.see_other_uids is 0 nobody else sees named's descriptors. It reads fixed places, takes no order but when, and passes on numbers
and the log's new bytes (look.py). The second is nobody special: it reads those bytes, asks named, writes the file, decides and mails (sampler.py).
It runs with the host's Python, 3.9 or newer, and its standard library.
"""

import json
import os
import pwd
import signal
import socket
import sys
import syslog

import report
from look import Look
from sampler import Sampler


def sample(settings, user, channel):
    """Be the second process, until the first one ends; return the exit status."""
    os.chdir("/")
    os.setgroups([user.pw_gid])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    syslog.openlog("sokuhai-monitor", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        Sampler(settings, channel).run()
    except Exception as problem:
        # nobody sees its standard error; the one that is root ends as well, and daemon(8) restarts both
        where = problem.__traceback__
        while where.tb_next:
            where = where.tb_next
        place = "%s, line %d" % (os.path.basename(where.tb_frame.f_code.co_filename), where.tb_lineno)
        syslog.syslog(syslog.LOG_ERR, "%s: %s (%s)" % (type(problem).__name__, problem, place))
        return 1
    return 0


def main():
    if sys.argv[1] == "report":
        return report.main(sys.argv[2:])
    with open(sys.argv[1], encoding="utf-8") as source:
        settings = json.load(source)
    user = pwd.getpwnam(settings["user"])
    os.nice(5)
    os.umask(0o022)
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        os._exit(sample(settings, user, there))
    there.close()

    def end(_number, _frame):
        try:
            os.kill(child, signal.SIGTERM)
        except OSError:
            pass
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        Look(settings).serve(here)
    except OSError:
        pass
    here.close()
    # daemon(8) restarts both
    return 0 if os.waitpid(child, 0)[1] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
