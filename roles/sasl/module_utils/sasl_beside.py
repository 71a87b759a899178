# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""AUTH of a Dovecot that serves its owner's users: one listener more, in one file that his configuration includes."""

import grp
import os
import pwd
import re
import stat

from ansible.module_utils.sasl_socket import prove
from ansible.module_utils.sokuhai import foreign_dovecot, host, leftovers
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused

#: default_client_limit of Dovecot 2.3 and 2.4, which service auth has unless something else is declared.
CLIENT_LIMIT = 1000
#: Seconds that a reload may take until the socket answers.
PATIENCE = 15


def auth_service(printed):
    """Return what is in the blocks `service auth` of what doveconf(1) *printed*, "" for none."""
    return "".join(re.findall(r"^service auth \{\n(.*?)^\}", printed, re.M | re.S))


def client_limit(printed):
    """Return how many connections service auth may have by what doveconf -n *printed*."""
    found = re.findall(r"^  client_limit = (\d+)", auth_service(printed), re.M)
    found = found or re.findall(r"^default_client_limit = (\d+)", printed, re.M)
    return int(found[-1]) if found else CLIENT_LIMIT


class Beside:
    """dovecot: the module's Dovecot, whose config is the owner's."""

    def __init__(self, dovecot):
        self.dovecot, self.config, self.p = dovecot, dovecot.config, dovecot.p
        self.socket = self.p["socket"]

    def refuse_what_is_there(self):
        refusal = foreign_dovecot.refusal(self.config, self.dovecot.program)
        wrong = ([refusal] if refusal else []) + leftovers.dovecot(self.config)
        if any(user["password_hash"] for user in self.p["users"]):
            wrong.append("sasl_users: the passwords are those that %s has: leave password_hash out" % self.config)
        if wrong:
            raise Refused(wrong)

    def declared(self):
        """Return the File that is added, proved by doveconf together with the rest where it is another than before. Raises Refused."""
        alone = self.dovecot.check_staged(
            foreign_dovecot.together(self.config, ""), "%s as its owner has it; nothing was changed" % self.config, True
        )
        limit = client_limit(alone) + self.p["client_limit"]
        text = self.p["listener"].replace("CLIENT_LIMIT", str(limit))
        file = File(foreign_dovecot.added(self.config), text, 0o644, (0, 0))
        if file.differs:
            printed = self.dovecot.check_staged(
                foreign_dovecot.together(self.config, text), "%s together with %s" % (self.config, file.path), True
            )
            if "unix_listener %s {" % self.socket not in auth_service(printed):
                raise Refused(
                    "%s includes %s, and yet doveconf -n does not show its listener in service auth: include it outside of all blocks"
                    % (self.config, file.path)
                )
        return file

    def wrong_socket(self):
        """Return the finding of a socket that is not there, or not Postfix's alone; [] for none."""
        wanted = host.rights(0o660, *self.owner())
        try:
            now = os.stat(self.socket)
            found = host.rights(stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
        except FileNotFoundError:
            found = "not there"
        thing = "socket " + self.socket
        return [] if found == wanted else [finding(thing, thing, wanted, found)]

    def owner(self):
        return pwd.getpwnam(self.p["socket_owner"]).pw_uid, grp.getgrnam(self.p["socket_group"]).gr_gid

    def wrong_service(self, file):
        """Return the finding of a master that does not run, or else of the socket, unless *file*, a File, is still to make it."""
        if self.dovecot.master() is None:
            thing = "service dovecot"
            return [finding(thing, thing, "running", "not running", because=["rc.conf: dovecot_enable"])]
        return [] if file.differs else self.wrong_socket()

    def present(self):
        self.refuse_what_is_there()
        # check mode, and Postfix is still to come with its user
        predicted = self.dovecot.check_mode and not os.path.isdir(os.path.dirname(self.socket))
        if not predicted:
            self.dovecot.refuse_missing_postfix()
        file = self.declared()
        others = [File(one, None) for one in foreign_dovecot.present(self.config) if one != file.path]
        wrong = [] if predicted else self.wrong_service(file)
        findings = file.findings() + wrong
        diff = [one for each in (file, *others) for one in each.diff()]
        if not self.dovecot.check_mode:
            for one in (*others, file):
                one.put()
            self.run(file, bool(wrong))
        return {
            "changed": bool(findings or diff),
            "version": self.dovecot.version(),
            "predicted": False,
            "findings": findings,
            "diff": diff,
        }

    def run(self, file, wrong):
        """Have the master listen, and prove it; else bring *file* back as it was. A reload, which leaves those alone who are logged in, where it does.

        wrong: the socket is, which no reload puts right, since it keeps a listener as it is. Raises Refused.
        """
        if self.dovecot.master() is None:
            verbs = ["start"]
        else:
            verbs = (["reload"] if file.differs else []) + (["restart"] if file.differs or wrong else [])
        printed, reason = "", self.unproved() if not verbs else None
        for verb in verbs:
            printed = host.service("dovecot", verb)[1]
            reason = self.unproved()
            if reason is None:
                return
        if reason is not None:
            back = ""
            if file.differs:
                file.restore()
                host.service("dovecot", "restart")
                back = " %s is as it was before." % file.path
            self.dovecot.outcome.update(step="socket", restored=bool(back))
            raise Refused("sasl: %s. service dovecot printed: %s.%s" % (reason.rstrip("."), printed or "nothing", back))

    def unproved(self):
        """Return why the socket does not serve Postfix, or None."""
        where = (self.socket, self.p["socket_owner"], self.p["socket_group"])
        try:
            host.retry(lambda: prove(*where, None, False), PATIENCE)
        except Refused as refused:
            return str(refused)
        except OSError as problem:
            return "Dovecot's socket %s does not answer: %s. See its log (doveadm log find)" % (self.socket, problem)
        return None

    def absent(self):
        """Take the added file away. Emptied first: where this is broken off, it is still there, and the next run goes on."""
        files = [File(path, None) for path in foreign_dovecot.present(self.config)]
        if files and not self.dovecot.check_mode:
            for file in files:
                host.write(file.path, foreign_dovecot.MARK + "\n", 0o644, (0, 0))
            if self.dovecot.master() is not None:
                host.service("dovecot", "reload")
            for file in files:
                file.put()
        return {"changed": bool(files), "findings": [], "diff": [one for file in files for one in file.diff()]}
