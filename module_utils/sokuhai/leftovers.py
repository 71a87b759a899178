# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host was before: lines of rc.conf(5) and a running mailer over which a run would fall late, or past which it would serve, and a mail service
that these roles set up and that is not wanted any more. Python 3.9.

Each function returns messages with file and line, and what to do.
"""

import getopt
import os
import pwd
import re
import shlex

from ansible.module_utils.sokuhai import foreign, foreign_dovecot, host, rc
from ansible.module_utils.sokuhai.named import RC_DEFAULTS

#: named(8)'s options, as getopt(3) has them, and those that do not go with its rc script (which adds -u and -c, and -t for named_chrootdir) or role bind.
OPTIONS = "46A:c:Cd:D:E:fFgHL:M:m:n:N:p:sS:t:T:U:u:vVx:X:"
FLAGS = {
    "-c": "names another configuration: set named_conf",
    "-t": "changes the root without the rc script: set named_chrootdir",
    "-p": "is another port than 53, at which nobody asks: remove it",
    **dict.fromkeys(("-f", "-g"), "keeps named in the foreground, and the rc script waits for it for ever: remove it"),
    **dict.fromkeys(("-C", "-H", "-v", "-V"), "prints something and runs no named: remove it"),
}
#: What is there as long as a role's service of the mail service is.
SERVICES = {
    "/usr/local/etc/rc.d/sokuhai_postfwd": "postfwd",
    "/usr/local/etc/rc.d/sokuhai_postgrey": "greylisting",
    "/usr/local/etc/rc.d/sokuhai_dkim": "the signer",
    "/var/db/sokuhai/mta_sts": "MTA-STS policies",
    "/usr/local/etc/cron.d/sokuhai-warm": "sokuhai-warm",
}
#: Who may hold port 25 before Postfix: itself, and the base system's sendmail, which role postfix stops.
MAILERS = ("master", "sendmail")


def named(variables):
    """variables: of rc_variables() of sokuhai.named. FreeBSD's own /usr/sbin/named went with 10.0 (its release notes)."""
    return ["%s sets %s = %s, %s" % (rc.place(name), name, variables[name], why) for name, why in _named(variables)]


def _named(variables):
    """Yield (variable, what is wrong with its value and what to do)."""
    program, chroot = variables["named_program"], variables["named_chrootdir"]
    if program != RC_DEFAULTS["named_program"] and not os.access(program, os.X_OK):
        yield (
            "named_program",
            "which is not there and which no package installs: remove the line (sysrc -x named_program), or set it to %s"
            % RC_DEFAULTS["named_program"],
        )
    if chroot and not os.path.isdir(chroot):
        yield (
            "named_chrootdir",
            "which is no directory, and without it the rc script starts no named: make it, or remove the line (sysrc -x named_chrootdir)",
        )
    try:
        pwd.getpwnam(variables["named_uid"])
    except KeyError:
        yield "named_uid", "and there is no such user: add it, or remove the line (sysrc -x named_uid)"
    try:
        given = getopt.getopt(shlex.split(variables["named_flags"]), OPTIONS)[0]
    except (getopt.GetoptError, ValueError) as problem:
        yield "named_flags", "which named(8) does not take (%s): mend the line" % problem
        return
    for option, _value in given:
        if option in FLAGS:
            yield "named_flags", "where %s %s" % (option, FLAGS[option])


def postfix(directory, service="postfix"):
    """directory: the one that is configured. postfix(1) would start another instance, and every proof would be one of that."""
    name = service + "_flags"
    flags = rc.read([name]).get(name, "")
    other = re.search(r"(?:^|\s)-[vD]*c\s*(\S+)", flags)
    if not other or os.path.realpath(other[1]) == os.path.realpath(directory):
        return []
    return [
        "%s sets %s = %s, which starts the Postfix of %s, not that of %s: remove the line (sysrc -x %s)"
        % (rc.place(name), name, flags, other[1], directory, name)
    ]


def dovecot(config):
    """config: the file that is written."""
    declared = rc.read(["dovecot_config"]).get("dovecot_config", "").split()
    if not declared or config in declared:
        return []
    return [
        "%s sets dovecot_config = %s, and Dovecot would be started without %s: remove the line (sysrc -x dovecot_config), or add that file to it"
        % (rc.place("dovecot_config"), " ".join(declared), config)
    ]


def disabled(service):
    """A line of rc.conf.d that keeps *service* off, whatever rc.conf says: service(8) would start nothing and exit 0, and so would the next boot."""
    name = service + "_enable"
    if rc.overriding(name):
        try:
            rc.compare({name: "YES"})
        except host.Refused as refused:
            return refused.problems
    return []


def jailed(services):
    """Return {service: [message]} of those of *services* that rc.subr(8) of FreeBSD 15 would start in a jail without a network.

    run_rc_command() makes a jail where NAME_svcj is yes, and gives it what NAME_svcj_options names, in rc.conf(5) or in the rc script: that of dns/bind920
    has net_basic, that of mail/postfix nothing. svcj_all_enable, which rc.conf(5) has for all services, puts none into a jail by itself (15.0 to main of
    2026): it is read into a variable that nothing asks, and checkyesno says that NAME_svcj is not set properly.
    """
    if "svcj" not in (host.read("/etc/rc.subr") or ""):
        return {}
    names = [service + end for service in services for end in ("_svcj", "_svcj_options")]
    said, found = rc.read(names), {}
    for service in services:
        name = service + "_svcj"
        asks = said.get(service + "_svcj_options") or "svcj_options" in (
            host.read("/usr/local/etc/rc.d/" + service) or ""
        )
        if rc.yes(said.get(name)) and not asks:
            found[service] = [
                "%s sets %s = %s, and %s would start in a jail without a network, since its rc script asks for none: sysrc %s=NO"
                % (rc.place(name), name, said[name], service, name)
            ]
    return found


def mailer():
    """A program that listens on port 25 at every address, where Postfix is to: its start would fail, or half of the mail would go past it."""
    rows = [line.split() for line in host.run(["sockstat", "-46l", "-P", "tcp", "-p", "25"])[1].splitlines()[1:]]
    rows = [row for row in rows if len(row) > 5 and row[5] == "*:25"]
    # smtpd is Postfix's as well as OpenSMTPD's, and has master's socket
    own = any(row[1] in MAILERS for row in rows)
    found = {row[1]: row[2] for row in rows if not own and row[0] != "postfix"}
    return [
        "port 25: %s (pid %s) listens there, and Postfix could not: stop it, and take it out of the next boot (%s: %s_enable)"
        % (command, pid, rc.place(command + "_enable"), command)
        for command, pid in found.items()
    ]


def mail(directory, dovecot):
    """Return what of the mail service these roles set up on this host, and has not been switched off, as a list of names.

    directory: Postfix's configuration. dovecot: the file of Dovecot's.
    """
    found = []
    enabled = rc.yes(rc.read(["postfix_enable"]).get("postfix_enable"))
    if enabled and foreign.POSTFIX_MARK.search(host.read(os.path.join(directory, "main.cf")) or ""):
        found.append("Postfix")
    if foreign_dovecot.MARK in (host.read(dovecot) or "") or foreign_dovecot.present(dovecot):
        found.append("Dovecot")
    return found + [name for path, name in SERVICES.items() if os.path.exists(path)]
