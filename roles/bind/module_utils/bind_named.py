# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""named.conf as one transaction: stage, check, swap, load, prove, or everything back as it was."""

import os
import pwd
import re
import stat
import tempfile
import time

from ansible.module_utils import bind_host
from ansible.module_utils.bind_statements import forwarders, needs_restart
from ansible.module_utils.sokuhai import before, foreign_named, host, limits, named, passwords, rc
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, read
from ansible.module_utils.sokuhai.named import option_statements

#: Where FreeBSD's stock syslog.conf puts daemon.notice and above.
MESSAGES = "/var/log/messages"
COMPLAINT = r"(?i) named\[\d+\]: (.*(?:error|fail|not found|no such file|denied|exiting|unable|could not|couldn't|cannot|refus).*)"
#: Seconds after its start in which named's pid file may still be missing.
GRACE = 3


class Named:
    """One host's named and the files it should run with.

    want: the parameters of module bind_config. outcome: what a failure leaves, as data: the step that failed ("checkconf", an action,
    "recursion", "zones", "openfiles") and whether the previous files are in force again.
    """

    def __init__(self, want, check_mode):
        self.want, self.check_mode, self.outcome = want, check_mode, {}
        self.rc = named.rc_variables()
        self.conf = self.rc["named_conf"]
        self.checkconf, rndc = (named.beside(self.rc["named_program"], name) for name in ("named-checkconf", "rndc"))
        # rndc(8) speaks to 127.0.0.1, which a host with IPv6 alone, or a jail, need not have
        own = [one for one in want["servers"] if one.startswith("127.") or one == "::1"]
        there = ["-s", own[0]] if own and "127.0.0.1" not in own else []
        self.rndc = [rndc, *there] if rndc else None
        # named.conf last, which names the others
        self.wanted = {item["path"]: item["content"] for item in want["files"]}
        self.wanted[self.conf] = want["content"]
        self.now = {path: read(path) for path in self.wanted}
        self.differs = [path for path, text in self.wanted.items() if self.now[path] != text]
        self.stopped, self.said, self.refused = [], "", False
        self.log_end = host.log_end(MESSAGES)

    # -- reading

    @property
    def installed(self):
        return self.checkconf is not None and os.access(self.rc["named_program"], os.X_OK)

    def process(self):
        return bind_host.running(self.rc, self.rndc)

    def older(self, process):
        """Return the file that *process* may not have read, or None: the very second of the file counts, since install() waits for the next."""
        return process.perhaps_older_than(*self.wanted)

    def answers(self):
        return all(bind_host.answers(server) for server in self.want["servers"])

    def holds(self, zones):
        """Return those of *zones* for which the running named is an authority."""
        return [zone for zone in zones if bind_host.authority(self.want["servers"][0], zone)]

    def recurses(self):
        return bind_host.recurses(self.want["servers"][0], self.want["probe_name"])

    def soft(self, process):
        """Return the descriptors (int) that *process* may open, 0 where they cannot be read; infinity is the kernel's maximum for a process."""
        soft = limits.descriptors(process.pid).get(process.pid, (0, 0))[0]
        return host.sysctl_int("kern.maxfilesperproc") or 2**31 if soft is None else soft

    def low(self, process):
        return self.soft(process) < self.want["openfiles"]

    def check(self, path, *flags):
        return named.check(self.rc, path, *flags)

    def printed(self, path):
        return named.printed(self.rc, path)

    def complaints(self):
        """Return what named wrote to syslog about itself since this module began: its start prints no reason on a terminal."""
        return "; ".join(host.logged(MESSAGES, self.log_end, COMPLAINT)[-4:])

    def chain(self, process):
        """Return what decides named's descriptor limit, for a message."""
        files = option_statements(self.printed(self.conf) or "").get("files", ["no files statement"])[0]
        hard = limits.descriptors(process.pid).get(process.pid, (0, 0))[1]
        return "; ".join(
            (
                "kern.maxfilesperproc = %s" % host.sysctl_int("kern.maxfilesperproc"),
                "login class %s: openfiles = %s"
                % (self.rc["named_login_class"], limits.Host().limit_of_class(self.rc["named_login_class"])),
                'named_limits = "%s"' % self.rc["named_limits"],
                "named.conf: %s" % files,
                "hard limit of the process = %s" % ("infinity" if hard is None else hard),
            )
        )

    # -- who may read it

    def write(self, path, text):
        """Write *text*, which root alone and named may read where the secret of a key is in it: named reads it again as its user."""
        group = self.group() if passwords.of_named(text) else None
        host.write(path, text, *((0o644,) if group is None else (0o640, (0, group))))

    def group(self):
        """Return the gid of named's user, None where there is none."""
        try:
            return pwd.getpwnam(self.rc["named_uid"]).pw_gid
        except KeyError:
            return None

    def loose(self):
        """Return {path: mode} of the files with a secret, those kept for a failure included, that others may read."""
        paths = [path + end for path in self.wanted for end in ("", ".previous")]
        texts = {path: read(path) or "" for path in paths if self.group() is not None}
        modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path, text in texts.items() if passwords.of_named(text)}
        return {path: mode for path, mode in modes.items() if mode & ~0o640}

    # -- before the swap

    def judge(self):
        """Raise Refused where a named.conf would go that nobody of us wrote."""
        refusal = "" if self.want["replace"] else foreign_named.refusal(self.rc)
        if refusal:
            raise Refused(refusal)

    def stage(self):
        """Have named-checkconf judge the text and its primary zones, in check mode outside the configuration's directory; return it as -p prints it.

        Raises Refused.
        """
        folder = None
        if self.check_mode:
            if not all(os.path.isdir(self.rc["named_chrootdir"] + path) for path in self.want["directories"]):
                return ""
            folder = tempfile.mkdtemp(prefix="sokuhai-bind-")
        staged = {
            path: os.path.join(folder, os.path.basename(path)) if folder else path + ".staged" for path in self.wanted
        }
        try:
            path, text = staged[self.conf], self.want["content"]
            self.write(path, text)
            status, out, err = self.check(path)
            printed = self.printed(path) or ""
            if status == 0 and "primary" in named.zones(printed).values():
                # -z reads the files that named.conf names
                for other in set(staged) - {self.conf}:
                    host.write(staged[other], self.wanted[other], 0o644)
                    text = text.replace('"%s"' % other, '"%s"' % staged[other])
                host.write(path, text, 0o644)
                status, out, err = self.check(path, "-z")
        finally:
            host.remove(*staged.values())
            if folder:
                os.rmdir(folder)
        if status:
            self.outcome.update(step="checkconf", restored=False)
            said = [line for line in (out + err).splitlines() if not re.search(r": loaded serial \d+", line)]
            raise Refused(
                "named-checkconf refuses the new named.conf, %s stays as it is: %s"
                % (self.conf, "\n".join(said).strip().replace(path, "named.conf"))
            )
        for found in forwarders(printed):
            raise Refused(
                "bind_extra_options, bind_extra_config: %s would make named query another resolver, whose query limits are what this role "
                'replaces: remove it, or forward single zones (zone "corp.example" { type forward; ... })' % found
            )
        return printed

    def keep(self):
        """Keep what nobody of us wrote, once and for ever."""
        if self.now[self.conf] is not None and not foreign_named.MARK.search(self.now[self.conf]):
            before.keep(self.conf)
            before.keep(rc.RC_CONF)

    def make_directories(self):
        """Make named's own directories and return those that were missing (the port makes them, a hand-built named does not)."""
        missing = [
            path
            for path in (self.rc["named_chrootdir"] + one for one in self.want["directories"])
            if not os.path.isdir(path)
        ]
        for path in missing if not self.check_mode else ():
            owner = pwd.getpwnam(self.rc["named_uid"])
            os.makedirs(path, mode=0o755)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        return missing

    def plan(self, process, printed):
        """Return (action, findings): what puts the wanted files in force, and what is wrong besides files that differ.

        printed: the staged named.conf as named-checkconf -p prints it.
        """
        servers = ", ".join(self.want["servers"])
        if process is None:
            return "start", [finding("service named", "service named", "running", "not running")]
        older = None if self.differs else self.older(process)
        if older:
            thing = "process named: configuration"
            return "restart", [finding(thing, thing, "read after %s was written" % older, "read before")]
        if self.low(process):
            thing = "process named: openfiles"
            return "restart", [finding(thing, thing, "at least %d" % self.want["openfiles"], self.soft(process))]
        if self.differs:
            before = self.printed(self.conf) if self.differs == [self.conf] else None
            return "restart" if before is None or needs_restart(before, printed) else "reconfig", []
        if not self.answers():
            return "restart", [finding("service named", "service named", "answers at %s" % servers, "no answer")]
        return "none", []

    # -- acting

    def service(self, verb, name="named"):
        self.said = host.service(name, verb)[1]

    def make_room(self):
        """Stop who holds named's port, right before named starts."""
        for name in self.want["displaces"]:
            if host.run(["service", name, "onestatus"])[0] == 0:
                self.service("onestop", name)
                self.stopped.append(name)

    def act(self, action):
        """Start, restart or reconfigure named; return whether named then runs with the files as they are now."""
        if action == "reconfig":
            status, out, err = host.run([*self.rndc, "reconfig"])
            self.said = (out + err).strip()
            if status:
                self.refused = True
                return False
        else:
            if action == "start":
                self.make_room()
            self.service(action)
        began = time.monotonic()

        def settled():
            process = self.process()
            if process is None:
                # named's start returns when it runs (or does not): no need to leave the host without DNS for the whole timeout
                return "gone" if time.monotonic() - began > GRACE else None
            return "up" if not self.older(process) and self.answers() else None

        return host.wait_until(settled, self.want["timeout"]) == "up"

    def install(self, texts):
        """Swap {path: text} in, named.conf last; return when a load that follows is surely younger than the files."""
        self.part(texts.get(self.conf))
        for path in sorted(texts, key=lambda name: name == self.conf):
            if read(path) != texts[path]:
                self.write(path, texts[path])
        second = int(time.time())
        while time.time() < second + 1:
            time.sleep(0.05)

    def part(self, text):
        """Stop a named that rc(8) would not find any more with *text* for named.conf, which names another pid file."""
        if text is not None and bind_host.pidfile_of(text) != bind_host.pidfile_of(read(self.conf)) and self.process():
            self.stop()

    def saved(self):
        """Return {path: text} that a failure returns to; only with a named.conf of its own."""
        texts = {path: read(path + ".previous") for path in self.wanted}
        return {path: text for path, text in texts.items() if text is not None} if texts[self.conf] is not None else {}

    def revert(self, old, step, why):
        """Bring back the files *old*, which worked, run named with them, and raise Refused saying what happened."""
        reported = "; ".join(text for text in (self.said, self.complaints()) if text)
        restored, end = False, "There is no previous configuration to return to; %s is left as written." % self.conf
        if old:
            self.install(old)
            restored = self.act("restart" if self.process() else "start")
            end = "The previous %s is back and named runs with it." % self.conf
            if not restored:
                end = "The previous %s is back, but named does not answer with it either: %s." % (self.conf, self.said)
        if not restored:
            for name in self.stopped:
                self.service("onestart", name)
        self.outcome.update(step=step, restored=restored)
        raise Refused("%s %s%s" % (why, end, " named reported: " + reported if reported else ""))

    # -- the transaction

    def put_in_force(self):
        """Return {changed, action, findings, diff, recurses}. Raises Refused, with `outcome`, after everything is back as it was."""
        missing = self.make_directories()
        printed = self.stage() if self.differs else ""
        process = self.process()
        sound = self.now[self.conf] is not None and process is not None and not self.older(process) and self.answers()
        recursed = sound and self.recurses()
        held = self.holds(named.zones(printed)) if sound else []
        action, findings = self.plan(process, printed)
        for path in missing:
            findings.append(finding("named: directories", "directory " + path, "there", "missing"))
        loose = self.loose()
        for path, mode in loose.items():
            findings.append(finding("mode of " + path, "mode of " + path, "0640", "%04o" % mode))
        result = {
            "changed": bool(missing or self.differs or loose or action != "none"),
            "action": action,
            "findings": findings,
            "diff": self.diff(),
        }
        if self.check_mode:
            return result
        for path in loose:
            os.chown(path, 0, self.group())
            os.chmod(path, 0o640)
        fallback = self.saved()
        if self.differs:
            # Only files that were seen to work may become those we return to; else the ones before them stay.
            if self.now[self.conf] is not None and (sound or not fallback):
                fallback = {path: text for path, text in self.now.items() if text is not None}
                for path, text in fallback.items():
                    self.write(path + ".previous", text)
            self.install(self.wanted)
        if all(self.wanted.get(path) == text for path, text in fallback.items()):
            fallback = {}
        if action != "none":
            result["action"], process = self.carry_out(action, fallback, recursed, held)
        if process is None:
            raise Refused("named stopped running: %s" % self.said)
        if self.low(process):
            self.outcome.update(step="openfiles", restored=False)
            raise Refused(
                "bind_openfiles: the running named (pid %d) may open %d files, not %d, and a restart did not change that. The chain: %s"
                % (process.pid, self.soft(process), self.want["openfiles"], self.chain(process))
            )
        return {**result, "recurses": self.recurses()}

    def carry_out(self, action, fallback, recursed, held):
        """Do *action* and prove named; return (what it came to, the process).

        recursed: whether named resolved the probe before. held: the zones that it still has, and served.
        """
        if not self.act(action):
            why = "named does not answer at %s after its %s with the new configuration."
            if self.refused:
                # named-checkconf, of the program that is installed, took the file
                why = "The running named (%s) refuses what named-checkconf accepts (rndc %s); one older than its program needs a restart."
            self.revert(fallback, action, why % (", ".join(self.want["servers"]), action))
        if recursed and not host.wait_until(self.recurses, self.want["timeout"]):
            self.said = ""
            self.revert(
                fallback,
                "recursion",
                'named resolved NS of "%s" before this change and no longer does.' % self.want["probe_name"],
            )
        if not host.wait_until(lambda: self.holds(held) == held, self.want["timeout"]):
            lost = ", ".join(zone for zone in held if zone not in self.holds(held))
            self.revert(fallback, "zones", "named was an authority for %s before this change and no longer is." % lost)
        process = self.process()
        if process is None or (self.low(process) and action == "reconfig"):
            if not self.act("restart"):
                self.revert(fallback, "restart", "named does not come back after a restart.")
            return "restart", self.process()
        return action, process

    def predicted(self):
        """Return as put_in_force() does for a host without named, in check mode."""
        return {
            "changed": True,
            "action": "start",
            "findings": self.plan(None, "")[1],
            "diff": self.diff(),
        }

    def stop(self):
        """End named, whatever rc.conf enables. Raises Refused."""
        self.service("onestop")
        if not host.wait_until(lambda: self.process() is None, self.want["timeout"]):
            raise Refused("service named onestop: named still runs: %s" % self.said)

    def diff(self):
        pairs = {path: (self.now[path], self.wanted[path]) for path in reversed(self.differs)}
        return [host.difference(path, *passwords.pair(*texts, passwords.of_named)) for path, texts in pairs.items()]
