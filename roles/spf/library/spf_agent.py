#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Configure an SPF policy agent and prove what it does with each result, before Postfix asks it anything."""

DOCUMENTATION = r"""
module: spf_agent
short_description: An SPF policy agent of Postfix, proved by running it
description:
  - Runs the installed agent, as the user it will have and with the configuration it will have, with SPF's result put into its mouth, once for each result and
    for HELO and sender, and compares what it answers with what is declared. No name is looked up.
  - Only when that agrees is the configuration written. Its name holds a digest of its text, so that a service of Postfix that names another one keeps it.
options:
  agent: {type: str, choices: [python, perl], required: true}
  program: {type: path, required: true}
  config: {type: str, default: '', description: "Path of the configuration; empty where the agent has none."}
  text: {type: str, default: '', description: Its text.}
  results: {type: dict, required: true, description: "What is declared, result: mark, refuse or defer."}
  helo: {type: str, choices: [same, mark], default: same}
  user: {type: str, required: true, description: Whom the agent runs as.}
  service: {type: str, required: true, description: Name of the service in master.cf.}
  install: {type: bool, default: true, description: "The package is installed by the role: in check mode its absence is no error."}
"""

RETURN = r"""
predicted: {description: The agent is not installed yet., type: bool, returned: always}
answers: {description: "What the agent answered, by result.", type: dict, returned: when the agent is installed}
resolvers: {description: "Whom the agent asks: the name servers of resolv.conf.", type: list, returned: always}
summary: {description: One sentence of it., type: str, returned: always}
"""

import glob
import ipaddress
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import Refused, difference, read, write

RESULTS = ("fail", "softfail", "neutral", "permerror", "temperror", "none", "pass")

# The result is the sender's local part, and for HELO the first label of its name. Only the lookup is replaced: the agent's
# own libraries are loaded and its own code decides.
PROBES = {
    "python": r"""
import runpy, sys, syslog
import spf

def say(*words):
    print(words[-1], file=sys.stderr)

def check(self, *_):
    local = self.s.partition("@")[0]
    return (self.h.partition(".")[0] if local == "postmaster" else local), 550, "probe"

syslog.syslog, syslog.openlog, spf.query.check = say, lambda *_, **__: None, check
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
""",
    "perl": r"""
use strict;
use warnings;
use Mail::SPF;
use Sys::Syslog qw(:DEFAULT setlogsock);
no warnings qw(redefine once);
sub Probe::expand { 'probe' }
*Mail::SPF::Server::process = sub {
    my ($server, $request) = @_;
    my $name = $request->scope eq 'helo' ? $request->identity : $request->localpart;
    $name =~ s/\..*//;
    $request->state('authority_explanation', bless({}, 'Probe'));
    return $server->result_class($name)->new($server, $request, 'probe');
};
*Sys::Syslog::syslog = sub { shift; printf STDERR @_; print STDERR "\n" };
*Sys::Syslog::openlog = *Sys::Syslog::setlogsock = sub { 1 };
my $agent = shift;
$0 = $agent;
do $agent;
die $@ if $@;
""",
}


def interpreter(program):
    """Return the words of the first line of *program* that name its interpreter, as a list."""
    with open(program, "rb") as source:
        first = source.readline(200).decode(errors="replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
    if not words:
        raise Refused("%s is no script: its first line is %r" % (program, first))
    return words


def action(answer):
    """Return what Postfix does with *answer*: mark, refuse, defer, or pass where nothing comes of it. access(5)."""
    word = answer.lower()
    if re.match(r"(reject|5\d\d)\b", word):
        return "refuse"
    if re.match(r"(defer|defer_if_permit|defer_if_reject|4\d\d)\b", word):
        return "defer"
    # without a header's name Postfix logs "bad header text" and adds nothing
    if re.match(r"prepend\s+[!-9;-~]+:", word):
        return "mark"
    return "pass"


def request(result, scope):
    """Return a policy request whose SPF result will be *result*, for *scope* helo (with the null sender) or mfrom. SMTPD_POLICY_README."""
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": "192.0.2.250",
        "client_name": "unknown",
        "helo_name": "%s.invalid" % (result if scope == "helo" else "none"),
        "sender": "" if scope == "helo" else "%s@probe.invalid" % result,
        "recipient": "probe@probe.invalid",
        "instance": "probe.%s.%s" % (scope, result),
    }
    return "".join("%s=%s\n" % item for item in attributes.items()) + "\n"


def own_address(address):
    """Tell whether *address* is one of this host's."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
        with socket.socket(socket.AF_INET if number.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as here:
            here.bind((str(number), 0))
        return True
    except (OSError, ValueError):
        return False


class Agent:
    def __init__(self, module):
        self.module = module
        self.p = module.params

    # -- asking -----------------------------------------------------------------------------------------------------

    def account(self):
        """Return the passwd entry of the agent's user; spawn(8) refuses root and Postfix's own user."""
        try:
            entry = pwd.getpwnam(self.p["user"])
        except KeyError:
            raise Refused("spf_user: this host has no user %s" % self.p["user"]) from None
        owner = self.postconf("-h", "mail_owner")
        if entry.pw_uid == 0 or entry.pw_name == owner:
            raise Refused("spf_user: spawn(8) refuses %s; take an unprivileged user such as nobody" % self.p["user"])
        return entry

    def postconf(self, *arguments):
        """Return what postconf(1) says, or '' where there is none or it fails."""
        if not shutil.which("postconf"):
            return ""
        rc, out, err = self.module.run_command(["postconf", *arguments])
        return out.strip() if rc == 0 else ""

    def resolvers(self):
        return re.findall(r"^nameserver\s+(\S+)", read("/etc/resolv.conf") or "", re.MULTILINE)

    def outlived(self, entry):
        """Return the ids of agents that were started before the program was installed, or in the same second or two, which ps(1) cannot tell apart.

        Postfix asks an agent it has for up to smtpd_policy_service_max_ttl, a former program's too. A former configuration ends by itself: it changes master.cf.
        """
        rc, out, err = self.module.run_command(
            ["ps", "-axww", "-o", "pid=", "-o", "uid=", "-o", "etimes=", "-o", "command="]
        )
        # the package keeps the build's mtime
        installed = time.time() - os.stat(self.p["program"]).st_ctime
        found = []
        for line in out.splitlines() if rc == 0 else []:
            fields = line.split(None, 3)
            if (
                len(fields) == 4
                and int(fields[1]) == entry.pw_uid
                and self.p["program"] in fields[3].split()
                and int(fields[2]) + 1 > installed
            ):
                found.append(int(fields[0]))
        return found

    # -- the proof --------------------------------------------------------------------------------------------------

    def run(self, folder, config, text, entry):
        """Run the agent once over all requests as *entry*'s user; return (answers by (scope, result), what it said on stderr)."""
        cases = [(scope, result) for result in RESULTS for scope in ("mfrom", "helo")]
        probe = os.path.join(folder, "probe")
        with open(probe, "w") as target:
            os.fchmod(target.fileno(), 0o644)
            target.write(PROBES[self.p["agent"]])
        identity = {}
        if entry.pw_uid != os.geteuid():
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        command = [
            *interpreter(self.p["program"]),
            *(["-B"] if self.p["agent"] == "python" else []),
            probe,
            self.p["program"],
            *([config] if config else []),
        ]
        try:
            done = subprocess.run(
                command,
                input="".join(request(result, scope) for scope, result in cases),
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                env={"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"},
                timeout=60,
                check=False,
                **identity,
            )
        except subprocess.TimeoutExpired:
            raise Refused("%s did not answer within 60 s" % self.p["program"]) from None
        answers = re.findall(r"^action=(.*)\n\n", done.stdout, re.MULTILINE)
        if done.returncode or len(answers) != len(cases):
            raise Refused(
                "%s cannot be run as %s (exit %d, %d answers of %d): %s"
                % (
                    self.p["program"],
                    entry.pw_name,
                    done.returncode,
                    len(answers),
                    len(cases),
                    " ".join(done.stderr.split()[-60:]) or "it said nothing",
                )
            )
        return dict(zip(cases, answers)), done.stderr

    def prove(self, config, text, entry):
        """Compare what the agent does, with *config*, with what is declared; return {result: answer to the sender's}.

        *config* may not exist yet: then its *text* is laid where only this proof looks for it.
        """
        folder = tempfile.mkdtemp(prefix="sokuhai-spf-")
        try:
            # the agent's user has to get in
            os.chmod(folder, 0o755)
            if config and read(config) != text:
                config = os.path.join(folder, "policyd-spf.conf")
                write(config, text, 0o644)
            answers, said = self.run(folder, config, text, entry)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        complaints = [
            line.strip() for line in said.splitlines() if re.match(r"(ERROR|WARNING|Configuration item)", line)
        ]
        if complaints:
            raise Refused("%s does not take the configuration: %s" % (self.p["program"], "; ".join(complaints)))
        for (scope, result), answer in answers.items():
            wanted = self.p["results"].get(result, "mark")
            if scope == "helo" and self.p["helo"] == "mark":
                wanted = "mark"
            if action(answer) != wanted:
                raise Refused(self.complaint(scope, result, answer, wanted))
        return {result: answer for (scope, result), answer in answers.items() if scope == "mfrom"}

    def complaint(self, scope, result, answer, wanted):
        what = "%s answers a result of %s%s with “%s”, but %s is declared" % (
            self.p["program"],
            result,
            " for HELO" if scope == "helo" else "",
            answer.strip(),
            wanted,
        )
        if self.p["agent"] == "python":
            return "spf_results: %s" % what
        knob = {"fail": "SPF_FAIL", "temperror": "SPF_TEMPERROR"}.get(result)
        if knob is None:
            return "spf_results: %s; the Perl agent has no setting for %s" % (what, result)
        if wanted == "mark":
            return (
                "spf_agent: %s. What it does is fixed when the port is built: build mail/postfix-policyd-spf-perl with %s='PREPEND X-SPF-Result: %s' and say "
                "spf_install: false, or take spf_agent: python" % (what, knob, result)
            )
        return (
            "spf_agent: %s. Build mail/postfix-policyd-spf-perl with the port's own %s, or say so by spf_results: {%s: %s}"
            % (what, knob, result, action(answer))
        )

    # -- the change -------------------------------------------------------------------------------------------------

    def present(self):
        check = self.module.check_mode
        resolvers = self.resolvers()
        base = {"resolvers": resolvers, "predicted": False}
        if not os.access(self.p["program"], os.X_OK):
            if not (check and self.p["install"]):
                raise Refused(
                    "spf_install: there is no %s; say spf_install: true, or install the agent under spf_prefix"
                    % self.p["program"]
                )
            return dict(
                base,
                predicted=True,
                changed=True,
                diff=self.diff("", self.p["text"]),
                summary="predicted: the agent is not installed yet, so what it does with each result is proved in the run itself",
            )
        entry = self.account()
        config, text = self.p["config"], self.p["text"]
        answers = self.prove(config, text, entry)
        former = read(config) if config else text
        mode = config and former == text and stat.S_IMODE(os.stat(config).st_mode) != 0o644
        old = self.outlived(entry)
        if (former != text or mode) and not check:
            os.makedirs(os.path.dirname(config), exist_ok=True)
            write(config, text, 0o644)
            # once more, where Postfix will find it: a folder closed to the user would show only now
            self.prove(config, text, entry)
            self.forget()
        for pid in [] if check else old:
            # smtpd asks the next one: smtpd_policy_service_try_limit
            self.end(pid)
        changed = former != text or bool(mode) or bool(old)
        if resolvers and not own_address(resolvers[0]):
            self.module.warn(
                "spf: /etc/resolv.conf sends the agent's questions to %s, not to this host's own named" % resolvers[0]
            )
        summary = "%s as %s: %s" % (
            self.p["program"],
            entry.pw_name,
            ", ".join("%s %s" % (result, self.p["results"].get(result, "mark")) for result in RESULTS[:5]),
        )
        return dict(
            base,
            changed=changed,
            answers=answers,
            summary=summary,
            diff=self.diff(self.shown(former), text) if changed else [],
        )

    @staticmethod
    def end(pid):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def shown(self, former):
        """Return the text a diff begins with: the configuration that Postfix names now, where this one is new."""
        if former is not None:
            return former
        named = re.search(r"\s(/\S*/sokuhai-[0-9a-f]+\.conf)", self.postconf("-M", "%s/unix" % self.p["service"]))
        return (read(named[1]) or "") if named else ""

    def diff(self, before, after):
        return [difference(self.p["config"], before, after)] if self.p["config"] else []

    def forget(self):
        """Remove configurations that neither this run nor master.cf names."""
        named = self.postconf("-M", "%s/unix" % self.p["service"])
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
            "results": {"type": "dict", "required": True},
            "helo": {"type": "str", "choices": ["same", "mark"], "default": "same"},
            "user": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "install": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        result = Agent(module).present()
    except Refused as reason:
        module.fail_json(msg=str(reason))
    except OSError as problem:
        module.fail_json(msg="spf: %s" % problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
