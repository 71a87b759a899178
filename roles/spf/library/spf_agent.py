#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Configure an SPF policy agent and prove what it does with each result, before Postfix sends it anything."""

DOCUMENTATION = r"""
module: spf_agent
short_description: An SPF policy agent of Postfix, proved by running it
description:
  - Runs the installed agent, as its future user and with its future configuration, once for each SPF result, for HELO and for the sender, with the
    lookup replaced by that result, and compares its answers with what is declared. No name is looked up.
  - Only when they agree is the configuration written. Its name holds a digest of its text, so that a service of Postfix that names another one keeps it.
  - With O(server), that program is written as well, with the directory of its sockets. It starts the agent when it is needed.
  - The package is installed first where it is missing. Agents that were started before the program was last installed are ended; Postfix starts new ones.
options:
  agent: {type: str, choices: [python, perl], required: true}
  program: {type: path, required: true}
  config: {type: str, default: '', description: "Path of the configuration; empty where the agent has none."}
  text: {type: str, default: '', description: Its text.}
  server: {type: path, default: '', description: "Path of the program that passes connections to one agent for all; empty where each has its own."}
  server_text: {type: str, default: '', description: "Its text, Python; what sh(1) makes of it stands before."}
  directory: {type: path, default: /var/db/sokuhai_spf, description: "Directory of that program's sockets, the user's own."}
  probe: {type: str, required: true, description: "Program in the agent's language that runs the agent with the lookup replaced: files/probe.*."}
  results: {type: dict, required: true, description: "What is declared, result: mark, refuse or defer."}
  helo: {type: str, choices: [same, mark], default: same}
  user: {type: str, required: true, description: The user that the agent runs as.}
  service: {type: str, required: true, description: Name of the service in master.cf.}
  packages: {type: list, elements: str, default: [], description: Packages that are installed where they are missing.}
author: sokuhai
"""

RETURN = r"""
predicted: {description: The agent is not installed yet., type: bool, returned: success}
answers: {description: "What the agent answered about the sender, by result.", type: dict, returned: when the agent is installed}
findings: {description: "package NAME; mode of the configuration; process spf: program.", type: list, elements: dict, returned: success}
"""

import contextlib
import glob
import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import host, pkg, policy, policyd, process
from ansible.module_utils.sokuhai.files import File
from ansible.module_utils.sokuhai.findings import finding

RESULTS = ("fail", "softfail", "neutral", "permerror", "temperror", "none", "pass")
#: Parameters, a file's path and its text, and its mode.
FILES = (("config", "text", 0o644), ("server", "server_text", 0o755))
#: What the Perl agent's port is built with, by result.
KNOBS = {"fail": "SPF_FAIL", "temperror": "SPF_TEMPERROR"}
#: What Postfix does with an answer, and how that begins: access(5).
ACTIONS = {
    "refuse": r"(reject|5\d\d)\b",
    "defer": r"(defer|defer_if_permit|defer_if_reject|4\d\d)\b",
    # without a header's name Postfix logs "bad header text" and adds nothing
    "mark": r"prepend\s+[!-9;-~]+:",
}
TIMEOUT = 300  # s, for all requests of a proof: an emulated processor takes more than 60 to import the agent


def interpreter(program):
    """Return the words of the first line of *program* that name its interpreter, as a list."""
    with open(program, "rb") as source:
        first = source.readline(200).decode(errors="replace").strip()
    found = re.match(r"#!\s*(?:\S*/env\s+)?(\S.*)", first)
    if not found:
        raise host.Refused("%s is not a script: its first line is %r" % (program, first))
    return found[1].split()


def action(answer):
    """Return what Postfix does with *answer*: a key of ACTIONS, or pass where nothing comes of it."""
    return next((what for what, pattern in ACTIONS.items() if re.match(pattern, answer, re.IGNORECASE)), "pass")


def request(result, scope):
    """Return a policy request whose SPF result will be *result*, for *scope* helo (with the null sender) or mfrom."""
    if scope == "helo":
        helo_name, sender = "%s.invalid" % result, ""
    else:
        helo_name, sender = "none.invalid", "%s@probe.invalid" % result
    return policy.request(helo_name, sender, "probe@probe.invalid", "probe.%s.%s" % (scope, result))


def own_address(address):
    """Return whether *address* is one of this host's."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
        with socket.socket(socket.AF_INET if number.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as here:
            here.bind((str(number), 0))
        return True
    except (OSError, ValueError):
        return False


def elsewhere(text):
    """Return the name server to which a resolv.conf sends the agent's queries, or None where that is this host's own."""
    servers = re.findall(r"^nameserver\s+(\S+)", text or "", re.MULTILINE)
    return servers[0] if servers and not own_address(servers[0]) else None


def postconf(*arguments):
    """Return what postconf(1) prints, or '' where there is none or it fails."""
    status, out, _err = host.run(["postconf", *arguments])
    return out.strip() if status == 0 else ""


class Agent:
    """The agent that the module's parameters *p* declare."""

    def __init__(self, p):
        self.p = p

    # -- the proof --------------------------------------------------------------------------------------------------

    def run(self, folder, config, entry):
        """Run the agent once over all requests as *entry*'s user; return (answers by (scope, result), what it printed on stderr)."""
        cases = [(scope, result) for result in RESULTS for scope in ("mfrom", "helo")]
        probe = os.path.join(folder, "probe")
        host.write(probe, self.p["probe"], 0o644)
        command = interpreter(self.p["program"]) + (["-B"] if self.p["agent"] == "python" else [])
        try:
            done = subprocess.run(
                [*command, probe, self.p["program"], *([config] if config else [])],
                input="".join(request(result, scope) for scope, result in cases),
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                env={"PATH": host.PATH, "LC_ALL": "C"},
                timeout=TIMEOUT,
                check=False,
                **policyd.as_user(entry),
            )
        except subprocess.TimeoutExpired:
            raise host.Refused("%s did not answer within %d s" % (self.p["program"], TIMEOUT)) from None
        answers = re.findall(r"^action=(.*)\n\n", done.stdout, re.MULTILINE)
        if done.returncode or len(answers) != len(cases):
            raise host.Refused(
                "%s cannot be run as %s (exit %d, %d answers of %d): %s"
                % (
                    self.p["program"],
                    entry.pw_name,
                    done.returncode,
                    len(answers),
                    len(cases),
                    " ".join(done.stderr.split()[-60:]) or "it printed nothing",
                )
            )
        return dict(zip(cases, answers)), done.stderr

    def prove(self, entry):
        """Refuse an agent that does otherwise than declared; return {result: its answer about the sender}.

        The configuration may not be there yet: then its text is laid where only this proof looks for it.
        """
        folder, config = tempfile.mkdtemp(prefix="sokuhai-spf-"), self.p["config"]
        try:
            os.chmod(folder, 0o755)  # for the agent's user
            if config and host.read(config) != self.p["text"]:
                config = os.path.join(folder, "policyd-spf.conf")
                host.write(config, self.p["text"], 0o644)
            answers, printed = self.run(folder, config, entry)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        complaints = [
            line.strip() for line in printed.splitlines() if re.match(r"(ERROR|WARNING|Configuration item)", line)
        ]
        if complaints:
            raise host.Refused(
                ["%s does not read its configuration: %s" % (self.p["program"], one) for one in complaints]
            )
        for (scope, result), answer in answers.items():
            wanted = "mark" if scope == "helo" and self.p["helo"] == "mark" else self.p["results"].get(result, "mark")
            if action(answer) != wanted:
                raise host.Refused(self.otherwise(scope, result, answer, wanted))
        return {result: answer for (scope, result), answer in answers.items() if scope == "mfrom"}

    def otherwise(self, scope, result, answer, wanted):
        """Return what to say of an *answer* that does not do what is *wanted*: the difference, and where it can be removed."""
        difference = "%s answers a result of %s%s with %r, but %s is declared" % (
            self.p["program"],
            result,
            " for HELO" if scope == "helo" else "",
            answer.strip(),
            wanted,
        )
        if self.p["agent"] == "python":
            return "spf_results: %s" % difference
        if result not in KNOBS:
            return "spf_results: %s; the Perl agent has no setting for %s" % (difference, result)
        knob = KNOBS[result]
        if wanted == "mark":
            return (
                "spf_agent: %s. What it does is fixed when the port is built: build mail/postfix-policyd-spf-perl with %s='PREPEND X-SPF-Result: %s' and set "
                "spf_install: false, or spf_agent: python" % (difference, knob, result)
            )
        return (
            "spf_agent: %s. Build mail/postfix-policyd-spf-perl with the port's own %s, or set spf_results: {%s: %s}"
            % (difference, knob, result, action(answer))
        )

    # -- the change -------------------------------------------------------------------------------------------------

    def outlived(self, entry):
        """Return the agents' processes that may be older than the program.

        Postfix sends requests to an agent that runs for up to smtpd_policy_service_max_ttl, a former program's too. A former configuration ends
        by itself: a new one changes master.cf.
        """
        return [
            one
            for _pid, one in sorted(process.table().items())
            if one.uid == entry.pw_uid
            and self.p["program"] in one.command.split()
            and one.perhaps_older_than(program=self.p["program"])
        ]

    def present(self, check, warn):
        """Prove, then write what differs unless *check*; return the module's answer. warn: function that takes a sentence."""
        missing = pkg.missing(self.p["packages"], self.p["program"])
        # the Perl agent has none
        texts = {"text": self.p["text"], "server_text": policyd.HEAD + self.p["server_text"]}
        files = [File(self.p[path], texts[text], mode) for path, text, mode in FILES if self.p[path]]
        if self.p["server"]:
            policyd.refuse_foreign("spf_agent", self.p["server"])
        findings = pkg.findings(missing)
        if not check:
            pkg.install(missing)
        if not os.access(self.p["program"], os.X_OK):
            if not (check and missing):
                raise host.Refused(
                    "spf_install: there is no %s; set spf_install: true, or install the agent" % self.p["program"]
                )
            diff = [entry for file in files for entry in file.diff()]
            return {"predicted": True, "changed": True, "findings": findings, "diff": diff}
        server = elsewhere(host.read("/etc/resolv.conf"))
        if server:
            warn("spf: /etc/resolv.conf sends the agent's queries to %s, not to this host's own named" % server)
        entry = policyd.account("spf_user", self.p["user"])
        answers = self.prove(entry)
        due = [file for file in files if file.differs or file.findings()]
        findings += [one for file in due for one in file.findings()]
        diff = [host.difference(file.path, self.shown(file.former), file.text) for file in due if file.differs]
        folder = policyd.folder(self.p["directory"], entry) if self.p["server"] else []
        findings += folder
        old = self.outlived(entry)
        if old:
            pids = ", ".join(str(one.pid) for one in old)
            findings.append(finding("process spf: program", "SPF agents", "younger than %s" % self.p["program"], pids))
        if not check:
            if folder:
                policyd.make_folder(self.p["directory"], entry)
            for file in due:
                file.put()
                # once more, where Postfix will find it: a directory closed to the user would show only now
                self.prove(entry)
                self.forget()
            if self.p["server"]:
                asked = policy.request("probe.invalid", "probe@probe.invalid", "probe@probe.invalid", "probe.server")
                policyd.prove("spf_agent", [self.p["server"], self.p["program"], self.p["config"]], entry, asked)
            # with the one that the proof started right after the installation, which the next run could not tell from an older one
            for one in self.outlived(entry):
                # smtpd queries the next one: smtpd_policy_service_try_limit
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGTERM)
        return {
            "predicted": False,
            "changed": bool(due or findings),
            "answers": answers,
            "findings": findings,
            "diff": diff,
        }

    def shown(self, former):
        """Return the text that a diff begins with: the configuration that Postfix names now, where this one is new."""
        if former is not None:
            return former
        named = re.search(r"\s(/\S*/sokuhai-[0-9a-f]+\.conf)", postconf("-M", "%s/unix" % self.p["service"]))
        return (host.read(named[1]) or "") if named else ""

    def forget(self):
        """Remove configurations that neither this run nor master.cf names."""
        named = postconf("-M", "%s/unix" % self.p["service"])
        for path in glob.glob(os.path.join(glob.escape(os.path.dirname(self.p["config"])), "sokuhai-*.conf")):
            if path != self.p["config"] and path not in named:
                os.unlink(path)


def main():
    module = AnsibleModule(
        argument_spec={
            "agent": {"type": "str", "choices": ["python", "perl"], "required": True},
            "program": {"type": "path", "required": True},
            "config": {"type": "str", "default": ""},
            "text": {"type": "str", "default": ""},
            "server": {"type": "path", "default": ""},
            "server_text": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/var/db/sokuhai_spf"},
            "probe": {"type": "str", "required": True},
            "results": {"type": "dict", "required": True},
            "helo": {"type": "str", "choices": ["same", "mark"], "default": "same"},
            "user": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host.answer(module, lambda: Agent(module.params).present(module.check_mode, module.warn))


if __name__ == "__main__":
    main()
