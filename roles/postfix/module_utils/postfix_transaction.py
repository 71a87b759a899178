# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Stage, prove, swap, prove again, return: a host's Postfix on its way to the declared one. Standard library only, Python 3.9 to 3.13."""

import os
import shutil
import tempfile

from ansible.module_utils.postfix_certificate import Certificate
from ansible.module_utils.postfix_files import Files
from ansible.module_utils.postfix_host import Configuration, Postfix
from ansible.module_utils.postfix_left import Left
from ansible.module_utils.postfix_plan import Plan
from ansible.module_utils.postfix_proof import Proof
from ansible.module_utils.sokuhai import foreign, host, leftovers, rc
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.host import Refused


class Beside:
    """What lies beside the set: the self-signed certificate, mailer.conf and variables of rc.conf. p: the options of postfix_config."""

    def __init__(self, p):
        self.certificate = p["self_signed"] and Certificate(
            p["certificate"], p["key"], p["hostname"], **p["self_signed"]
        )
        self.files = [File(p["mailer_conf"]["path"], p["mailer_conf"]["text"])] if p["mailer_conf"] else []
        wanted = {}
        for item in p["rc_conf"]:
            wanted.setdefault(item["file"], {})[item["key"]] = item["value"]
        self.rc = {file: rc.compare(values, file) for file, values in wanted.items()}

    def findings(self):
        certificate = self.certificate.findings() if self.certificate else []
        return certificate + [one for file in self.files for one in file.findings()]

    def diff(self):
        shown = [rc.difference(changes, file) for file, changes in self.rc.items() if changes]
        return shown + [entry for file in self.files for entry in file.diff()]

    def paths(self):
        """Return the paths of files that are written, but for the certificate's and rc.conf."""
        return [file.path for file in self.files] + [path for path in self.rc if path]

    def write(self):
        """Write what differs, but for the certificate. Raises Refused."""
        for file in self.files:
            file.put()
        for file, changes in self.rc.items():
            if changes:
                rc.apply(changes, file)


class Transaction:
    """p: the options of postfix_config. warn: takes what is no reason to refuse.

    outcome: what a refusal means. previous_set is kept (nothing was swapped), replaced, answers or stopped (it is back, as it was), or silent (it is
    back and does not answer); proofs: what was proved before.
    """

    def __init__(self, p, check_mode, warn):
        self.p = p
        self.warn = warn
        self.check_mode = check_mode
        self.postfix = Postfix(p["paths"], p["service"], p["maillog"])
        self.files = Files(self.postfix, p["main_cf"], p["master_cf"], p["tables"])
        self.proof = Proof(self.postfix, self.files, p)
        self.outcome = {"previous_set": "kept", "proofs": self.proof.proofs}

    def run(self):
        """Do all of it, in check mode up to the proof of the staged set; return what postfix_config returns. Raises Refused."""
        refusal = "" if self.p["replace"] else foreign.postfix_refusal(self.postfix.config)
        if refusal:
            raise Refused(refusal)
        wrong = leftovers.postfix(self.postfix.config, self.p["service"])
        if wrong:
            raise Refused(wrong)
        beside = Beside(self.p)
        left = Left(self.postfix, beside.files[0] if beside.files else None)
        findings, diff = beside.findings() + left.findings(), beside.diff()
        if self.p["installed"]:
            plan = self.carry_out(beside)
            self.proof.warnings += [] if self.check_mode else left.hand_over()
            findings, diff, verb = findings + plan.findings, plan.diff() + diff, plan.verb
        elif self.check_mode:
            diff, verb = [self.files.shown(name, None, new) for name, new in self.files.wanted.items()] + diff, "start"
        else:
            raise Refused("Postfix is not installed")
        for warning in dict.fromkeys(self.proof.warnings):
            self.warn(warning)
        return {
            "changed": bool(findings or diff),
            "findings": findings,
            "diff": diff,
            "verb": verb,
            "proofs": self.proof.proofs,
        }

    def carry_out(self, beside):
        """Bring the installed Postfix to the declared set; return the Plan."""
        if host.hold(self.postfix.config, 600) is None:
            raise Refused("another run has been at work on %s for 10 minutes" % self.postfix.config)
        predicted = self.check_mode and beside.certificate and beside.certificate.fault
        if not self.check_mode:
            for name in os.listdir(self.postfix.config):
                if name.startswith(".stage-"):
                    shutil.rmtree(os.path.join(self.postfix.config, name))
            if beside.certificate:
                beside.certificate.repair()
        plan = Plan(self.postfix, self.files, self.p)
        if not self.check_mode:
            self.files.tighten()
        running = plan.running
        if plan.new_set:
            where = tempfile.gettempdir() if self.check_mode else self.postfix.config
            stage = tempfile.mkdtemp(prefix=".stage-", dir=where)
            try:
                os.chmod(stage, 0o755)
                running = self.replace(plan, os.path.join(stage, "set"), not predicted, beside.paths())
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        elif not self.check_mode:
            running = self.serve(plan.verb) or running
        if not self.check_mode:
            self.enough(running)
            beside.write()
        return plan

    def replace(self, plan, directory, certificate, beside):
        """Stage the set in *directory*, prove it, swap it in, prove it again; return the Master then.

        certificate: it is there. beside: paths of other files that are written.
        """
        ran = bool(plan.running)
        self.files.stage(directory)
        alive = ran and os.path.exists(os.path.join(self.postfix.queue, "private", "rewrite"))
        # postfix check makes missing queue directories: not in check mode on a host that never ran it
        found = self.proof.prove(directory, alive, not self.check_mode or ran, certificate)
        # after a run that was killed, master may still run with the set before the swap
        before = self.files.previous if plan.unproved else self.postfix.config
        plan.replaces(Configuration(self.postfix, before), found)
        if self.check_mode:
            return plan.running
        self.files.keep(beside)
        try:
            self.files.swap(directory)
            running = self.serve(plan.verb)
            self.proof.strangers(self.postfix.config, found)
        except (Refused, OSError) as error:
            self.give_back(ran)
            raise Refused(getattr(error, "problems", str(error))) from error
        self.outcome["previous_set"] = "replaced"
        self.files.proved()
        return running

    def serve(self, verb):
        """Bring master(8) to the set in force by *verb*, where there is one, and speak to its listeners; return the Master that was brought."""
        since = self.postfix.log_end()
        brought = self.postfix.bring(verb) if verb else None
        self.proof.listens(Configuration(self.postfix, self.postfix.config), since, bool(verb))
        return brought

    def give_back(self, ran):
        """Return to the set before the swap. ran: master ran with it."""
        self.outcome["previous_set"] = "silent"
        self.files.restore()
        if not ran:
            self.postfix.rc("stop")
            self.outcome["previous_set"] = "stopped"
            return
        try:
            self.serve("restart" if self.postfix.running() else "start")
            self.outcome["previous_set"] = "answers"
        except Refused as refused:
            self.outcome["previous_set_problems"] = refused.problems

    def enough(self, running):
        """The set is good and stays; what is too low after a start is what the rc script hands on."""
        have = self.postfix.openfiles(running.pid)
        if have is not None and have < self.p["openfiles"]:
            raise Refused(
                "postfix_openfiles: master was restarted and still may have only %d descriptors, %d are guaranteed: see role limits and "
                "/etc/rc.conf.d/%s" % (have, self.p["openfiles"], self.p["service"])
            )
