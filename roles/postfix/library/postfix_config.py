#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Postfix's whole configuration as one transaction: stage, prove, swap, prove again, else return to what was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postfix_config
short_description: Stage, prove, swap and prove again a whole Postfix configuration
description:
  - Writes main.cf, master.cf and the declared tables as one set. The set is first built beside the running one and proven there;
    what Postfix would refuse, ignore, or answer with 451 never gets in.
  - C(postfix check) reads few parameters. Beyond it the module compares every yes/no and every number with the compiled
    defaults' kind, every restriction with the names smtpd knows, every C(private/X) with master.cf, opens every table, and
    starts smtpd(8) on the staged set once for each listener, then holds an RCPT dialogue with it as a stranger.
  - After the swap every listener is spoken to over the network. One that does not greet, or answers RCPT with 451 4.3.x, brings
    the previous set back, and the module fails.
  - What is running counts, not what this call changed. A stopped master, one started before the files were written, one with
    fewer descriptors than C(openfiles), a stale or missing database are mended, and show in check mode.
  - Killed between swap and proof, the next call finds C(.previous) in the configuration directory and proves first.
options:
  paths: {description: "config_directory, queue_directory, command_directory, daemon_directory, mail_owner.", type: dict, required: true}
  main_cf: {description: Whole text., type: str, required: true}
  master_cf: {description: Whole text., type: str, required: true}
  tables:
    description: Files of the directory tables below config_directory, which holds nothing else.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: File name., type: str, required: true}
      type: {description: Postfix's table type., type: str, required: true}
      text: {description: Whole text., type: str, required: true}
      aliases: {description: "Text is aliases(5), built by postalias.", type: bool, default: false}
      samples:
        description: "What the table must answer before it goes in: {keys: looked up in order, expect: the first answer or its first words, empty for none}."
        type: list
        elements: dict
        default: []
  watch: {description: "Other files that Postfix reads at start, like a certificate.", type: list, elements: path, default: []}
  hostname: {description: Name the probes greet with., type: str, required: true}
  domain: {description: "Probes speak of postmaster there.", type: str, required: true}
  service: {description: rc name., type: str, default: postfix}
  replaces: {description: "rc service that must not run beside it, stopped before Postfix starts.", type: str, default: sendmail}
  openfiles: {description: Descriptors that the running master must have., type: int, default: 0}
  external_sockets: {description: "Sockets below queue_directory that another program makes.", type: list, elements: str, default: []}
  maillog: {description: "Read for what was logged when a proof fails.", type: path, default: /var/log/maillog}
  probe_client: {description: Address the stranger of the staged dialogue comes from., type: str, default: 192.0.2.254}
  mailer_conf: {description: "mailer.conf(5) to point to this Postfix; empty leaves it alone.", type: str, default: ''}
  sendmail_path: {description: What mailer.conf names., type: str, default: ''}
  certificate_predicted:
    description: The certificate would be made by now were this not check mode.
    type: bool
    default: false
  predicted: {description: "Postfix is not installed; only allowed in check mode.", type: bool, default: false}
author: sokuhai
"""

RETURN = r"""
reasons: {description: What made the call act, in words., type: list, returned: always}
proofs: {description: What was proven., type: list, returned: always}
rolled_back: {description: Whether the previous set came back., type: bool, returned: on failure}
problems: {description: What is wrong, one sentence each., type: list, returned: on failure}
"""

import fcntl
import json
import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import difference, read, write
from ansible.module_utils.sokuhai.limits import parse_rlimits

INDEXED_SUFFIX = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb", "dbm": ".pag", "sdbm": ".pag"}
# Types that postmap can open here and now. Others (ldap, mysql, tcp, socketmap, memcache …) need their server.
OPENABLE = set(INDEXED_SUFFIX) | {
    "cidr",
    "regexp",
    "pcre",
    "texthash",
    "inline",
    "static",
    "randmap",
    "unionmap",
    "pipemap",
}
# A lone word:word that is no table: services, sockets, SMTP destinations.
NO_TABLE = {
    "inet",
    "unix",
    "pass",
    "smtp",
    "lmtp",
    "relay",
    "local",
    "virtual",
    "error",
    "retry",
    "discard",
    "fifo",
    "file",
}
KNOWN_TYPES = OPENABLE | {
    "ldap",
    "mysql",
    "pgsql",
    "sqlite",
    "mongodb",
    "memcache",
    "tcp",
    "socketmap",
    "environ",
    "fail",
    "internal",
    "proxy",
    "nis",
    "nisplus",
    "netinfo",
    "hesiod",
}

# The names that smtpd(8) knows in a restriction list, by what follows them. Source: generic_checks() of smtpd_check.c and
# mail_params.h, Postfix 3.7 to 3.12.
PLAIN = set(
    """
permit defer reject defer_if_permit defer_if_reject reject_unauth_pipelining reject_plaintext_session warn_if_reject
reject_unknown_client_hostname reject_unknown_client reject_unknown_reverse_client_hostname permit_inet_interfaces
permit_mynetworks reject_invalid_helo_hostname reject_invalid_hostname reject_unknown_helo_hostname reject_unknown_hostname
reject_non_fqdn_helo_hostname reject_non_fqdn_hostname reject_unknown_address reject_unknown_sender_domain
reject_unverified_sender reject_non_fqdn_sender reject_authenticated_sender_login_mismatch
reject_known_sender_login_mismatch reject_unauthenticated_sender_login_mismatch reject_sender_login_mismatch
reject_unlisted_sender permit_mx_backup permit_auth_destination reject_unauth_destination defer_unauth_destination
permit_sasl_authenticated permit_tls_all_clientcerts permit_tls_clientcerts reject_unknown_recipient_domain
reject_non_fqdn_recipient check_recipient_maps reject_unlisted_recipient reject_multi_recipient_bounce
reject_unverified_recipient
""".split()
)
WITH_TABLE = set(
    """
check_client_access check_reverse_client_hostname_access check_ccert_access check_sasl_access check_client_ns_access
check_client_mx_access check_client_a_access check_reverse_client_hostname_ns_access
check_reverse_client_hostname_mx_access check_reverse_client_hostname_a_access check_helo_access check_helo_ns_access
check_helo_mx_access check_helo_a_access check_sender_access check_sender_ns_access check_sender_mx_access
check_sender_a_access check_recipient_access check_recipient_ns_access check_recipient_mx_access
check_recipient_a_access check_etrn_access
""".split()
)
WITH_DOMAIN = set(
    """
reject_rbl_client reject_rbl reject_rhsbl_client reject_rhsbl_reverse_client reject_rhsbl_helo reject_rhsbl_sender
reject_rhsbl_recipient permit_dnswl_client permit_rhswl_client
""".split()
)
REMOVED_IN_3_9 = {"permit_naked_ip_address", "reject_maps_rbl", "check_relay_domains"}
LISTS = re.compile(r"^smtpd_(client|helo|sender|relay|recipient|etrn|data|end_of_data)_restrictions$")
NO_SHORTHAND = ("smtpd_data_restrictions", "smtpd_end_of_data_restrictions")

# yes or no by default, but not booleans.
NOT_BOOLEAN = {"html_directory", "readme_directory", "smtpd_forbid_bare_newline", "smtp_tls_enforce_sts_mx_patterns"}
NOT_NUMBER = {"compatibility_level"}
# Read by master(8) when it opens its sockets: a reload does not do.
AT_START = (
    "inet_interfaces",
    "inet_protocols",
    "default_process_limit",
    "queue_directory",
    "data_directory",
    "daemon_directory",
    "master_service_disable",
)


# --- pure parts -----------------------------------------------------------------------------------------------------------


def words(value):
    """Split like mystrtokq() of Postfix: commas and white space separate, except inside braces."""
    found, current, depth = [], "", 0
    for char in value:
        if char == "{":
            depth += 1
        elif char == "}":
            depth = max(0, depth - 1)
        if depth == 0 and char in ", \t\r\n":
            if current:
                found.append(current)
            current = ""
        else:
            current += char
    if current:
        found.append(current)
    return found


def parse_parameters(text):
    """name = value lines, as postconf(1) prints them, as a dict."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = value.strip()
    return found


def parse_services(text):
    """Services of postconf -M: list of {name, type, private, unpriv, chroot, wakeup, maxproc, command, args, options}."""
    services = []
    for line in text.splitlines():
        fields = line.split(None, 7)
        if len(fields) < 8:
            continue
        command, dummy, rest = fields[7].partition(" ")
        options, arguments, parts = {}, [], words(rest.replace(",", "\0"))
        parts = [part.replace("\0", ",") for part in parts]
        while parts:
            part = parts.pop(0)
            if part == "-o" and parts:
                pair = parts.pop(0)
                if pair.startswith("{"):
                    pair = pair.strip("{} \t")
                name, dummy, value = pair.partition("=")
                options[name.strip()] = value.strip()
            else:
                arguments.append(part)
        services.append(
            {
                "name": fields[0],
                "type": fields[1],
                "private": fields[2],
                "unpriv": fields[3],
                "chroot": fields[4],
                "wakeup": fields[5],
                "maxproc": fields[6],
                "command": command,
                "args": arguments,
                "options": options,
            }
        )
    return services


def parse_overrides(text):
    """service/type/parameter = value lines of postconf -P as [(where, parameter, value)]."""
    found = []
    for name, value in parse_parameters(text).items():
        service, slash, parameter = name.rpartition("/")
        if slash:
            found.append((service, parameter, value))
    return found


def kind_problems(values, defaults, overrides):
    """Values whose kind differs from their compiled default's: a yes/no that is neither, a number that is none.

    Neither postconf(1) nor postfix check reads these; the daemon that needs one dies at its start.
    """
    problems = []
    checked = [("main.cf", name, value) for name, value in values.items()] + list(overrides)
    for where, name, value in checked:
        default = defaults.get(name)
        if default is None or "$" in value:
            continue
        if default in ("yes", "no") and name not in NOT_BOOLEAN:
            if value.lower() not in ("yes", "no"):
                problems.append("%s: %s = %s: it is yes or no" % (where, name, value or "(empty)"))
        elif re.match(r"^\d+[smhdw]?$", default) and name not in NOT_NUMBER:
            if not re.match(r"^-?\d+\s*[smhdw]?$", value):
                problems.append(
                    "%s: %s = %s: a number%s is needed"
                    % (
                        where,
                        name,
                        value or "(empty)",
                        " with an optional unit s, m, h, d, w" if default[-1:].isalpha() else "",
                    )
                )
    return problems


def restriction_problems(where, name, value, classes, version=(3, 11)):
    """What smtpd would not understand in one restriction list (it would warn and answer 451 4.3.5)."""
    problems = []
    parts = words(value)
    say = problems.append
    place = 0
    while place < len(parts):
        part = parts[place]
        word = part.lower()
        following = parts[place + 1] if place + 1 < len(parts) else None
        place += 1
        label = "%s: %s" % (where, name)
        if ":" in part or part.startswith("{"):
            if name in NO_SHORTHAND:
                say("%s: %s needs a check_..._access before it in this list" % (label, part))
            continue
        if word in REMOVED_IN_3_9:
            if version >= (3, 9):
                say("%s: %s was removed in Postfix 3.9" % (label, part))
        elif word in WITH_TABLE:
            place += 1
            if following is None or ":" not in following:
                say("%s: %s must be followed by type:table, not %s" % (label, part, following or "nothing"))
        elif word == "check_policy_service":
            place += 1
            if following is None or ":" not in following:
                say(
                    "%s: %s must be followed by inet:host:port or unix:path, not %s"
                    % (label, part, following or "nothing")
                )
        elif word in WITH_DOMAIN:
            place += 1
            if following is None or "." not in following:
                say("%s: %s must be followed by a domain, not %s" % (label, part, following or "nothing"))
        elif word == "sleep":
            place += 1
            if following is None or not following.isdigit():
                say("%s: sleep must be followed by seconds, not %s" % (label, following or "nothing"))
        elif word in PLAIN or part in classes:
            continue
        else:
            say(
                "%s: %s is no restriction that smtpd knows, no class of smtpd_restriction_classes and no type:table"
                % (label, part)
            )
    return problems


def private_sockets(value):
    """The private/X and public/X sockets that a value names."""
    return re.findall(r"(?:^|[\s,:={])((?:private|public)/[A-Za-z0-9._-]+)", value)


def table_names(value, known):
    """The type:name tables in a value; braces (inline:{…}, pipemap:{…}) stay whole, proxy: is looked through."""
    found = []
    for part in words(value):
        if part.startswith("{"):
            found += table_names(part[1:].rstrip("}"), known)
            continue
        if "={" in part or part.startswith("!"):
            part = part.lstrip("!")
        if part.startswith("proxy:"):
            part = part[len("proxy:") :]
        match = re.match(r"^([a-z]+):(.+)$", part, re.S)
        if match and match.group(1) in known and match.group(1) not in NO_TABLE:
            found.append(part)
    return found


def bad_reply(reply):
    """Why a reply to RCPT shows a broken configuration, or None. 451 4.3.0 is a table that failed, 4.3.5 a rule that smtpd
    does not understand; 421 is an smtpd that gives up. Any other refusal is policy at work."""
    if re.match(r"^451[ -]4\.3\.", reply) or reply.startswith("421"):
        return reply
    return None


def parse_processes(text):
    """pid -> (ppid, start in epoch seconds, command) of ps -o pid= -o ppid= -o stat= -o lstart= -o comm=, the dead
    (zombies) left out."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"^\s*(\d+)\s+(\d+)\s+([^Z\s]\S*)\s+(\w+ \w+ +\d+ [\d:]+ \d+)\s+(.*)$", line)
        if match:
            started = time.mktime(time.strptime(" ".join(match.group(4).split()), "%a %b %d %H:%M:%S %Y"))
            found[int(match.group(1))] = (int(match.group(2)), started, os.path.basename(match.group(5).strip()))
    return found


def same_entries(text, dump, aliases):
    """Whether postmap -s (postalias -s) shows exactly the entries of the text that it was built from."""
    wanted = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key, dummy, value = line.partition(": ") if aliases else line.partition(" ")
        # The first of two equal keys counts, postmap warns of the second.
        wanted.setdefault(key.strip().lower(), " ".join(value.split()))
    have = {}
    for line in dump.splitlines():
        key, dummy, value = line.partition("\t")
        key = key.strip().rstrip(":") if aliases else key.strip()
        if aliases and (key == "@" or key.startswith("YP_")):
            continue
        have[key.lower()] = " ".join(value.split())
    return wanted == have


# --- the host -------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The set is not good; problems holds the sentences."""

    def __init__(self, problems):
        super().__init__("; ".join(problems))
        self.problems = problems


class Postfix:
    def __init__(self, module):
        self.module = module
        p = module.params
        self.p = p
        paths = p["paths"]
        self.config = paths["config_directory"]
        self.queue = paths["queue_directory"]
        self.commands = paths["command_directory"]
        self.daemons = paths["daemon_directory"]
        self.owner = paths["mail_owner"]
        self.previous = os.path.join(self.config, ".previous")
        self.tables = os.path.join(self.config, "tables")
        self.proofs = []
        self.warnings = []
        self.wanted = {"main.cf": p["main_cf"], "master.cf": p["master_cf"]}
        for table in p["tables"]:
            self.wanted["tables/" + table["name"]] = table["text"]

    # -- small things

    def run(self, command, **keywords):
        """(exit code, standard output, standard error); OSError when the program is not there."""
        return self.module.run_command(command, environ_update={"LC_ALL": "C"}, handle_exceptions=False, **keywords)

    def tool(self, name):
        return os.path.join(self.commands, name)

    def suffix(self, table):
        return INDEXED_SUFFIX.get(table["type"], "")

    def builder(self, table):
        return self.tool("postalias" if table["aliases"] else "postmap")

    # -- what is there

    def differences(self):
        """{relative path: (old text or None, new text or None)} of the files that are not as wanted."""
        found = {}
        for name, new in self.wanted.items():
            old = read(os.path.join(self.config, name))
            if old != new:
                found[name] = (old, new)
        for name in self.strangers():
            found["tables/" + name] = ("nothing declares it\n", None)
        return found

    def strangers(self):
        """Files in tables/ that nothing declares; what postmap builds from a declared one is not among them."""
        ours = set()
        for table in self.p["tables"]:
            ours.add(table["name"])
            if self.suffix(table):
                ours.add(table["name"] + self.suffix(table))
                if self.suffix(table) == ".pag":
                    ours.add(table["name"] + ".dir")
                if self.suffix(table) == ".lmdb":
                    ours.add(table["name"] + ".lmdb-lock")
        try:
            return sorted(name for name in os.listdir(self.tables) if name not in ours)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def stale(self):
        """{table name: why} of the databases that do not say what their text says."""
        found = {}
        for table in self.p["tables"]:
            if not self.suffix(table):
                continue
            source = os.path.join(self.tables, table["name"])
            base = source + self.suffix(table)
            if read(source) != table["text"]:
                continue  # built anew with its text
            if not os.path.exists(base):
                found[table["name"]] = "%s is missing" % base
            elif os.stat(base).st_mtime < os.stat(source).st_mtime:
                found[table["name"]] = "%s is older than its text" % base
            elif not self.database_holds(table, source):
                found[table["name"]] = "%s does not say what its text says" % base
        return found

    def database_holds(self, table, source):
        spec = "%s:%s" % (table["type"], source)
        code, out, err = self.run([self.builder(table), "-c", self.config, "-s", spec])
        if code == 0 and not err.strip():
            return same_entries(table["text"], out, table["aliases"])
        # cdb has no sequence: ask for every key instead.
        keys = [
            line.partition(": " if table["aliases"] else " ")[0].strip()
            for line in table["text"].splitlines()
            if line.strip() and not line.startswith("#")
        ]
        code, out, err = self.run(
            [self.builder(table), "-c", self.config, "-q", "-", spec], data="\n".join(keys) + "\n"
        )
        return not err.strip() and same_entries(table["text"], out, table["aliases"])

    def master(self):
        """The running master: {pid, loaded (epoch seconds of the last start or reload), openfiles} or None."""
        text = read(os.path.join(self.queue, "pid", "master.pid"))
        if not text or not text.strip().isdigit():
            return None
        pid = int(text)
        # Keywords one by one: a header's text would swallow what follows a comma.
        code, out, err = self.run(
            ["ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "lstart=", "-o", "comm="]
        )
        processes = parse_processes(out)
        if pid not in processes or processes[pid][2] != "master":
            return None
        # master starts a new qmgr at each reload and keeps no other trace of one.
        loaded = max(
            [start for ppid, start, command in processes.values() if ppid == pid and command in ("qmgr", "oqmgr")]
            or [processes[pid][1]]
        )
        return {"pid": pid, "loaded": loaded}

    def openfiles(self, pid):
        """The descriptors that a running process may have: the lower of soft and hard; None when unlimited."""
        code, out, err = self.run(["procstat", "rlimit", str(pid)])
        if pid not in parse_rlimits(out):
            raise Refused(["procstat rlimit %d shows no openfiles: %s" % (pid, (err or out).strip())])
        finite = [number for number in parse_rlimits(out)[pid] if number is not None]
        return min(finite) if finite else None

    def newest(self):
        paths = [os.path.join(self.config, name) for name in self.wanted if name in ("main.cf", "master.cf")]
        paths += [os.path.join(self.tables, table["name"]) for table in self.p["tables"] if not self.suffix(table)]
        times = [(os.stat(path).st_mtime, path) for path in paths + list(self.p["watch"]) if os.path.exists(path)]
        return max(times) if times else (0, "")

    # -- stage and prove

    def stage(self, directory):
        """Write the wanted set below directory; what else lies in the configuration directory is linked beside it."""
        os.makedirs(os.path.join(directory, "tables"), 0o755)
        os.chmod(directory, 0o755)
        for name, new in self.wanted.items():
            if name in ("main.cf", "master.cf"):
                # A table named by its full path must be the staged one, too.
                new = new.replace(self.tables + "/", os.path.join(directory, "tables") + "/")
            write(os.path.join(directory, name), new, 0o644)
        # A main.cf younger than two seconds is read again, and what was set before the first reading, the configuration
        # directory, is forgotten for the compiled one (dict_load_file_xt() of dict.c): $config_directory/tables would be the
        # tables in force, not the staged ones. What goes in is written anew by swap().
        past = time.time() - 60
        os.utime(os.path.join(directory, "main.cf"), (past, past))
        if os.path.isdir(self.config):
            for name in os.listdir(self.config):
                if name not in ("main.cf", "master.cf", "tables") and not name.startswith("."):
                    os.symlink(os.path.join(self.config, name), os.path.join(directory, name))

    def build(self, directory, names=None):
        problems = []
        for table in self.p["tables"]:
            if not self.suffix(table) or (names is not None and table["name"] not in names):
                continue
            spec = "%s:%s" % (table["type"], os.path.join(directory, "tables", table["name"]))
            code, out, err = self.run([self.builder(table), "-c", directory, spec])
            problems += [
                "postfix_tables: %s: %s" % (table["name"], line.split(": ", 1)[-1]) for line in err.splitlines()
            ]
            if code != 0 and not err.strip():
                problems.append("postfix_tables: %s: %s exits %d" % (table["name"], self.builder(table), code))
        return problems

    def postconf(self, directory, *arguments):
        code, out, err = self.run([self.tool("postconf"), "-c", directory, *arguments])
        notes = [
            re.sub(r"^\S*postconf: ", "", line).replace(directory, self.config)
            for line in err.splitlines()
            if line.strip()
        ]
        return code, out, notes

    def prove(self, directory, alive, check_queue=True):
        """Prove the set in directory; raises Refused with all that is wrong in it."""
        problems = self.build(directory)
        code, own, notes = self.postconf(directory, "-n")
        bad = [note for note in notes if "deprecat" not in note and "will be removed" not in note]
        self.warnings += [note for note in notes if note not in bad]
        for arguments in (["-M"], ["-P"]):
            for note in self.postconf(directory, *arguments)[2]:
                if note not in bad and "deprecat" not in note and "will be removed" not in note:
                    bad.append(note)
        problems += [re.sub(r"^warning: ", "", note) for note in bad]
        values = parse_parameters(self.postconf(directory, "-x")[1])
        explicit = {name: values.get(name, value) for name, value in parse_parameters(own).items()}
        defaults = parse_parameters(self.postconf(directory, "-d")[1])
        overrides = parse_overrides(self.postconf(directory, "-P")[1])
        services = parse_services(self.postconf(directory, "-M")[1])
        if code != 0 or not services:
            raise Refused(problems or ["postconf cannot read the staged set"])

        problems += kind_problems(explicit, defaults, overrides)
        version = tuple(int(part) for part in re.findall(r"\d+", values.get("mail_version", "3.11"))[:2])
        classes = words(values.get("smtpd_restriction_classes", ""))
        for name in classes:
            if not explicit.get(name):
                problems.append("main.cf: smtpd_restriction_classes: class %s is not defined" % name)
        for where, name, value in [("main.cf", n, v) for n, v in explicit.items()] + overrides:
            if LISTS.match(name) or name in classes:
                problems += restriction_problems(where, name, value, classes, version)
        problems += self.socket_problems(explicit, overrides, services)
        problems += self.table_problems(directory, explicit, overrides)
        problems += self.sample_problems(directory)
        for service in services:
            path = os.path.join(self.daemons, service["command"])
            if not os.access(path, os.X_OK):
                problems.append("master.cf: %s %s: there is no daemon %s" % (service["name"], service["type"], path))
        if problems:
            raise Refused(unique(problems))
        self.proofs.append("every parameter, restriction, socket and table of the staged set is known")
        self.certificate(explicit)

        if check_queue:
            code, out, err = self.run([self.tool("postfix"), "-c", directory, "check"])
            lines = [line.replace(directory, self.config) for line in (out + err).splitlines() if line.strip()]
            if code != 0:
                raise Refused(
                    ["postfix check: " + (line.split(": ", 1)[-1]) for line in lines]
                    or ["postfix check exits %d" % code]
                )
            # A link is writable for all by its nature; what lies beside the set is linked into the stage.
            self.warnings += [
                line
                for line in lines
                if "group or other writable: %s/./" % self.config not in line
                or not os.path.islink(os.path.join(directory, line.rpartition("/./")[2]))
            ]
            self.proofs.append("postfix check")
        for service in listeners(services):
            self.start_once(directory, service, explicit, values, alive)
        if alive:
            # What master(8) serves now is in the set it was loaded with; the file of a socket outlives its service.
            loaded = self.previous if os.path.isdir(self.previous) else self.config
            # One that the set changes is not what will be asked either, and the reason for the change may be that it answers no more.
            made = self.made_sockets(
                [service for service in parse_services(self.postconf(loaded, "-M")[1]) if service in services]
            )
            named = [value for where, name, value in [("main.cf", n, v) for n, v in explicit.items()] + overrides]
            awaited = any(wanted not in made for value in named for wanted in private_sockets(value))
            for service in listeners(services):
                self.stranger(directory, service, awaited)
        return services, values

    def certificate(self, explicit):
        """Key and certificate exist and belong together."""
        chain, key = explicit.get("smtpd_tls_cert_file"), explicit.get("smtpd_tls_key_file")
        if not chain or not key or self.p["certificate_predicted"]:
            return
        key = chain if key == "$smtpd_tls_cert_file" else key
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
        except OSError as error:  # ssl.SSLError is one
            raise Refused(
                ["main.cf: smtpd_tls_cert_file, smtpd_tls_key_file: %s, %s: %s" % (chain, key, error)]
            ) from error
        self.proofs.append("key and certificate belong together")

    def made_sockets(self, services):
        """private/X is the socket of the unix service X with private y (the default), public/X of one with n."""
        made = {
            ("public/" if service["private"] == "n" else "private/") + service["name"]
            for service in services
            if service["type"] in ("unix", "unix-dgram", "fifo", "pass")
        }
        return made | set(self.p["external_sockets"])

    def socket_problems(self, explicit, overrides, services):
        made = self.made_sockets(services)
        problems = []
        for where, name, value in [("main.cf", n, v) for n, v in explicit.items()] + overrides:
            for wanted in private_sockets(value):
                if wanted not in made:
                    problems.append(
                        "%s: %s names %s, but master.cf has no service %s of type unix"
                        % (where, name, wanted, wanted.partition("/")[2])
                    )
        return problems

    def table_problems(self, directory, explicit, overrides):
        types = set(self.run([self.tool("postconf"), "-m"])[1].split())
        problems, seen = [], set()
        declared = [
            (
                "postfix_tables",
                table["name"],
                "%s:%s" % (table["type"], os.path.join(directory, "tables", table["name"])),
            )
            for table in self.p["tables"]
        ]
        for where, name, value in declared + [("main.cf", n, v) for n, v in explicit.items()] + overrides:
            if name.endswith("_time_limit") or name in ("import_environment", "export_environment"):
                continue
            for table in table_names(value, KNOWN_TYPES | types):
                kind = table.partition(":")[0]
                if table in seen:
                    continue
                seen.add(table)
                if kind not in types:
                    problems.append(
                        "%s: %s: this Postfix has no tables of type %s (it has %s)"
                        % (where, name, kind, " ".join(sorted(types)))
                    )
                elif kind in OPENABLE:
                    err = self.run([self.tool("postmap"), "-c", directory, "-q", "sokuhai.invalid", table])[2]
                    for line in err.splitlines():
                        line = re.sub(r"^\S+: (warning|fatal|error): ", "", line).replace(directory, self.config)
                        problems.append("%s: %s: %s" % (where, name, line))
        return problems

    def sample_problems(self, directory):
        """Ask each staged table what it must know; one postmap(1) a table."""
        problems, asked = [], 0
        for table in self.p["tables"]:
            keys = unique(key for sample in table["samples"] for key in sample["keys"])
            if not keys:
                continue
            spec = "%s:%s" % (table["type"], os.path.join(directory, "tables", table["name"]))
            code, out, err = self.run(
                [self.tool("postmap"), "-c", directory, "-q", "-", spec], data="\n".join(keys) + "\n"
            )
            found = {}
            for line in out.splitlines():
                key, dummy, answer = line.partition("\t")
                found[key] = " ".join(answer.split())
            for sample in table["samples"]:
                got = next((found[key] for key in sample["keys"] if key in found), "")
                wanted = sample["expect"]
                asked += 1
                if got != wanted and not (wanted and got.startswith(wanted + " ")):
                    problems.append(
                        "table %s answers %s with %s, expected is %s"
                        % (table["name"], sample["keys"][0], got or "nothing", wanted or "nothing")
                    )
        if asked and not problems:
            self.proofs.append("%d samples are answered as expected" % asked)
        return problems

    def smtpd(self, directory, service, extra, say, user=None, limit=60):
        """Run smtpd(8) by hand on pipes: (its greeting and answers to the lines of say, what it logged). Its log goes to standard error by -V.

        As root it reads all its parameters and the TLS key but does not judge; as the mail owner it judges like under master.
        """
        command = [os.path.join(self.daemons, "smtpd"), "-S", "-V", "-n", service["name"]]
        options = dict(service["options"])
        options.update(extra)
        for name, value in options.items():
            command += ["-o", "%s=%s" % (name, value)]
        keywords = {}
        if user:
            entry = pwd.getpwnam(user)
            keywords = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.queue,
                env={"MAIL_CONFIG": directory, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                **keywords,
            )
            watch = threading.Timer(limit, child.kill)
            watch.start()
            answers = []
            try:
                # Line by line: smtpd(8) hangs up on a client that does not wait for its turn.
                talk = Talk(child.stdout, child.stdin)
                answers.append(talk.read())
                for command in say:
                    if not answers[-1]:
                        break
                    answers.append(talk.ask(command))
            except OSError:
                answers.append("")
            finally:
                for pipe in (child.stdin, child.stdout):
                    try:
                        pipe.close()
                    except OSError:
                        pass
                child.wait()
                late = not watch.is_alive()
                watch.cancel()
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").splitlines()
        if late:
            lines.append("smtpd: fatal: no answer in %d seconds" % limit)
        return answers, [line.strip().replace(directory, self.config) for line in lines]

    def start_once(self, directory, service, explicit, values, alive):
        """smtpd reads every one of its parameters at its start, and its key: a bad one is fatal there and nowhere before."""
        # Without a running master nobody answers proxymap(8); the tables themselves are opened directly instead.
        extra = {
            name: value.replace("proxy:", "")
            for name, value in values.items()
            if "proxy:" in value
            and name not in ("proxy_read_maps", "proxy_write_maps")
            and (name in explicit or name == "local_recipient_maps")
        }
        if not alive or self.p["certificate_predicted"]:
            # Nor does tlsmgr(8), without which smtpd takes no key; STARTTLS is proven over the network after the start.
            extra.update({"smtpd_tls_security_level": "none", "smtpd_tls_wrappermode": "no"})
        said, log = self.smtpd(directory, service, extra, ["QUIT"])
        label = "%s %s" % (service["name"], service["type"])
        wrong = [line for line in log if re.search(r": (fatal|panic|error|warning): ", line)]
        if not said[0].startswith("220"):
            wrong = wrong or ["smtpd: fatal: no greeting: %s" % " / ".join(said + log)]
        if wrong:
            raise Refused(["smtpd of %s: %s" % (label, re.sub(r"^\S+: ", "", line)) for line in unique(wrong)])
        self.proofs.append("smtpd of %s starts on the staged set" % label)

    def stranger(self, directory, service, awaited=False):
        """One RCPT as an unknown client: past permit_mynetworks, where a dialogue from the host itself would end.

        awaited: a private/X that the set names is yet to be made; policy services that do not answer are passed over.
        """
        domain, host = self.p["domain"], self.p["hostname"]
        # The key is root's, and the encryption is proven over the network afterwards.
        extra = {
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8, [::1]/128",
            "smtpd_tls_security_level": "none",
            "smtpd_tls_wrappermode": "no",
            "smtpd_tls_auth_only": "no",
            "smtpd_upstream_proxy_protocol": "",
        }
        if awaited:
            # A policy service that comes with this set has no socket before master(8) knows it; it is asked after the swap.
            extra.update(
                {
                    "smtpd_policy_service_default_action": "DUNNO",
                    "smtpd_policy_service_try_limit": "1",
                    "smtpd_policy_service_timeout": "10s",
                }
            )
        ask = [
            "EHLO " + host,
            "XCLIENT NAME=stranger.%s ADDR=%s" % (domain, self.p["probe_client"]),
            "EHLO stranger.%s" % domain,
            "MAIL FROM:<postmaster@%s>" % domain,
            "RCPT TO:<postmaster@%s>" % domain,
            "QUIT",
        ]
        said, log = self.smtpd(directory, service, extra, ask, user=self.owner, limit=180)
        bad = [line for line in said if bad_reply(line)]
        fatal = [line for line in log if re.search(r": (fatal|panic): ", line)]
        if len(said) == len(ask) + 1 and not said[2].startswith("220"):
            bad.append("XCLIENT: " + said[2])
        if bad or fatal or not said[-1].startswith("221"):
            logged = [line for line in log if re.search(r": (fatal|panic|error|warning): ", line)]
            raise Refused(
                [
                    "smtpd of %s %s answers a stranger's RCPT with %s; it logged: %s"
                    % (
                        service["name"],
                        service["type"],
                        " / ".join(bad) or said[-1] or "nothing",
                        " / ".join(unique(logged)) or "nothing",
                    )
                ]
            )
        self.proofs.append("a stranger's RCPT to %s %s is judged" % (service["name"], service["type"]))

    # -- swap

    def keep(self):
        """Copy the set in force to .previous. One that is there already is the last proven one (the call after it was killed
        before its proof) and stays."""
        if os.path.isdir(self.previous):
            return
        scratch = self.previous + ".new"
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch, 0o755)
        absent = []
        for name in ("main.cf", "master.cf"):
            path = os.path.join(self.config, name)
            if os.path.exists(path):
                shutil.copy2(path, os.path.join(scratch, name))
            else:
                absent.append(name)
        if os.path.isdir(self.tables):
            shutil.copytree(self.tables, os.path.join(scratch, "tables"))
        write(os.path.join(scratch, "absent.json"), json.dumps(absent), 0o644)
        os.rename(scratch, self.previous)

    def swap(self, directory):
        """Rename the staged files into place: tables before the files that name them, master.cf before main.cf."""
        os.makedirs(self.tables, 0o755, exist_ok=True)
        staged = os.path.join(directory, "tables")
        # A text before its database: an older database is what Postfix warns of.
        for name in sorted(os.listdir(staged), key=lambda entry: (entry.count("."), entry)):
            os.rename(os.path.join(staged, name), os.path.join(self.tables, name))
        for table in self.p["tables"]:
            base = os.path.join(self.tables, table["name"] + self.suffix(table))
            if self.suffix(table) and os.path.exists(base):
                os.utime(base)
        for name in ("master.cf", "main.cf"):
            path = os.path.join(directory, name)
            write(path, self.wanted[name], 0o644)
            os.rename(path, os.path.join(self.config, name))
        for name in self.strangers():
            os.unlink(os.path.join(self.tables, name))

    def restore(self):
        absent = json.loads(read(os.path.join(self.previous, "absent.json")) or "[]")
        shutil.rmtree(self.tables, ignore_errors=True)
        if os.path.isdir(os.path.join(self.previous, "tables")):
            shutil.copytree(os.path.join(self.previous, "tables"), self.tables)
        for name in ("master.cf", "main.cf"):
            path = os.path.join(self.config, name)
            if name in absent:
                if os.path.exists(path):
                    os.unlink(path)
            else:
                copy = path + ".returned"
                shutil.copyfile(os.path.join(self.previous, name), copy)
                os.chmod(copy, 0o644)
                os.rename(copy, path)
        shutil.rmtree(self.previous)

    # -- run

    def rc(self, verb):
        """service(8) with the one… verbs: a plain start of a service that is not enabled does nothing and exits 0."""
        code, out, err = self.run(["service", self.p["service"], "one" + verb])
        return code, (out + err).strip()

    def bring(self, verb):
        """start, restart or reload, and wait until master runs (with a new qmgr)."""
        before = self.master()
        asked = time.time()
        if verb == "start" and self.p["replaces"]:
            if self.run(["service", self.p["replaces"], "onestatus"])[0] == 0:
                self.run(["service", self.p["replaces"], "onestop"])
        code, said = self.rc(verb)
        # postfix start waits for master itself and exits non-zero without one; a reload never takes master away.
        deadline = time.time() + (3 if code != 0 else 30)
        gone = 0
        while time.time() < deadline and gone < 10:
            now = self.master()
            if now and verb == "reload" and before and now["loaded"] >= int(asked) - 1:
                return now
            if now and verb != "reload" and (not before or now["pid"] != before["pid"]):
                return now
            gone = gone + 1 if verb == "reload" and not now else 0
            time.sleep(0.3)
        raise Refused(
            [
                "service %s one%s: %s does not run (exit %d: %s)%s"
                % (
                    self.p["service"],
                    verb,
                    "master" if verb != "reload" else "a new qmgr",
                    code,
                    said or "silent",
                    self.logged(asked),
                )
            ]
        )

    def logged(self, since):
        """What Postfix logged since then that explains a failure: the last warnings and worse."""
        text = read(self.p["maillog"]) or ""
        lines = []
        for line in text.splitlines()[-400:]:
            if not re.search(r"postfix\S*: (warning|error|fatal|panic): ", line):
                continue
            stamp = re.match(r"^(\w{3} +\d+ [\d:]+) ", line)
            if stamp:
                try:
                    when = time.mktime(
                        time.strptime("%s %s" % (time.strftime("%Y"), stamp.group(1)), "%Y %b %d %H:%M:%S")
                    )
                except ValueError:
                    continue
                if when < int(since):
                    continue
            lines.append(re.sub(r"^.*?postfix/", "", line))
        return "; logged: " + " / ".join(unique(lines)[-6:]) if lines else ""

    def speak(self, services, values, fresh=True):
        """Over the network: every listener greets, takes TLS where it says so, and answers RCPT with anything but 451 4.3.x.

        fresh: something was changed or started by this call. Else a listener that only takes long is busy, which is no fault
        of the set: a warning.
        """
        since = time.time()
        problems = []
        addresses = [address.strip("[]") for address in words(values.get("inet_interfaces", "all"))]
        own = {"all": "::1" if values.get("inet_protocols") == "ipv6" else "127.0.0.1", "loopback-only": "127.0.0.1"}
        address = own.get(addresses[0], addresses[0])
        for service in services:
            if service["type"] != "inet" or service["command"] not in ("smtpd", "postscreen"):
                continue
            host, colon, port = service["name"].rpartition(":")
            target = host.strip("[]") if colon and host.strip("[]") not in ("", "0.0.0.0", "::") else address
            label = "listener %s port %s" % (target, port)
            try:
                number = int(port) if port.isdigit() else socket.getservbyname(port, "tcp")
                problem = self.dialogue(target, number, service)
            except socket.timeout:
                problem = "no answer in 60 seconds"
                if not fresh:
                    self.warnings.append("%s: %s, all its processes may be busy" % (label, problem))
                    continue
            except OSError as error:
                problem = str(error) or type(error).__name__
            if problem:
                problems.append("%s: %s" % (label, problem))
            else:
                self.proofs.append("%s answers" % label)
        if problems:
            raise Refused([problem + self.logged(since) for problem in problems])

    def dialogue(self, target, port, service):
        deadline = time.time() + 15
        while True:
            try:
                link = socket.create_connection((target, port), timeout=60)
                break
            except ConnectionRefusedError:
                if time.time() > deadline:
                    raise
                time.sleep(0.3)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with link:
            if service["options"].get("smtpd_tls_wrappermode", "").lower() == "yes":
                link = context.wrap_socket(link)
            talk = talk_over(link)
            greeting = talk.read()
            if not greeting.startswith("220"):
                return "greets with %s" % (greeting or "nothing")
            said = talk.ask("EHLO %s" % self.p["hostname"])
            if "STARTTLS" in said.upper():
                answer = talk.ask("STARTTLS")
                if not answer.startswith("220"):
                    return "STARTTLS is answered with %s" % answer
                talk = talk_over(context.wrap_socket(link))
                talk.ask("EHLO %s" % self.p["hostname"])
            for command in (
                "MAIL FROM:<postmaster@%s>" % self.p["domain"],
                "RCPT TO:<postmaster@%s>" % self.p["domain"],
            ):
                answer = talk.ask(command)
                if not answer or bad_reply(answer):
                    return "%s is answered with %s" % (command, answer or "nothing")
            talk.ask("QUIT")
        return None


class Talk:
    """Lines and replies over two binary files."""

    def __init__(self, replies, lines):
        self.replies = replies
        self.lines = lines

    def read(self):
        """One reply, its lines joined by line ends; empty when the other side hung up."""
        lines = []
        while True:
            line = self.replies.readline().decode("utf-8", "replace").rstrip("\r\n")
            lines.append(line)
            if not line or line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, line):
        self.lines.write(line.encode() + b"\r\n")
        self.lines.flush()
        return self.read()


def talk_over(link):
    return Talk(link.makefile("rb"), link.makefile("wb"))


def listeners(services):
    """The services that are smtpd(8) towards a network, or a socket of ours."""
    return [service for service in services if service["command"] == "smtpd"]


def unique(lines):
    return list(dict.fromkeys(lines))


def must_restart(before, after):
    """Why a reload is not enough for a change of set, or None. before, after: (values, services)."""
    for name in AT_START:
        if before[0].get(name) != after[0].get(name):
            return "%s changes, which master reads only at its start" % name

    # The backlog of a listening socket is fixed when it is opened: the larger of maxproc and default_process_limit.
    old, new = (
        {(s["name"]): s["maxproc"] for s in services if s["type"] == "inet"} for dummy, services in (before, after)
    )
    changed = sorted(name for name in old if name in new and old[name] != new[name])
    if changed:
        return "maxproc of %s changes, and with it the backlog of its socket" % ", ".join(changed)
    return None


def diff_of(differences, stale):
    result = [difference(name, old, new) for name, (old, new) in sorted(differences.items())]
    if stale:
        result.append(
            difference(
                "databases",
                "".join("%s\n" % why for why in stale.values()),
                "".join("%s built\n" % name for name in stale),
            )
        )
    return result


def mailer_text(sendmail):
    names = ("sendmail", "send-mail", "mailq", "newaliases")
    return "# Postfix is this host's mailer, see mailer.conf(5).\n" + "".join(
        "%-15s %s\n" % (n, sendmail) for n in names
    )


class Plan:
    """What is not as it should be, why, and what has to be done about it."""

    def __init__(self, postfix):
        p = postfix.p
        self.reasons = []
        self.differences = postfix.differences()
        self.stale = postfix.stale()
        self.running = postfix.master()
        self.unproven = os.path.isdir(postfix.previous)
        self.verb = None
        self.mailer = None
        if self.differences:
            self.reasons.append("%s not as declared" % ", ".join(sorted(self.differences)))
        self.reasons += list(self.stale.values())
        if self.unproven:
            self.reasons.append("an earlier run was killed between swap and proof")
        if not self.running:
            self.want("start", "master does not run")
        else:
            have = postfix.openfiles(self.running["pid"])
            when, path = postfix.newest()
            if have is not None and have < p["openfiles"]:
                self.want(
                    "restart", "the running master may have %d descriptors, %d are guaranteed" % (have, p["openfiles"])
                )
            # Both clocks count whole seconds, and ps rounds.
            elif when > self.running["loaded"] + 2:
                self.want("reload", "master was loaded before %s was written" % path)
        if p["mailer_conf"]:
            have, wanted = read(p["mailer_conf"]), mailer_text(p["sendmail_path"])
            if have != wanted:
                self.mailer = (have or "", wanted)
                self.reasons.append("%s does not name this Postfix" % p["mailer_conf"])

    @property
    def new_set(self):
        """Whether a set is to be staged, proven and swapped in."""
        return bool(self.differences or self.stale or self.unproven)

    def want(self, verb, why=None):
        """Note how master is to be brought to it; a start stays a start, a restart is more than a reload."""
        order = (None, "reload", "restart", "start")
        self.verb = max(self.verb, verb, key=order.index)
        if why:
            self.reasons.append(why)

    def diff(self, p):
        shown = diff_of(self.differences, self.stale)
        if self.mailer:
            shown.append(difference(p["mailer_conf"], *self.mailer))
        return shown


def hold(postfix):
    """One at a time: a play that was killed may have left its module running on the host; it ends first."""
    lock = os.open(postfix.config, os.O_RDONLY)
    deadline = time.time() + 600
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.time() > deadline:
                raise Refused(["another run has been at work on %s for 10 minutes" % postfix.config]) from None
            time.sleep(0.5)


def stage_and_prove(postfix, plan, directory):
    """Stage the set below directory and prove it; returns its (services, values) and completes the plan."""
    postfix.stage(directory)
    alive = bool(plan.running) and os.path.exists(os.path.join(postfix.queue, "private", "rewrite"))
    # postfix check makes missing queue directories: not in check mode on a host that never ran it.
    services, values = postfix.prove(directory, alive, not postfix.module.check_mode or bool(plan.running))
    if plan.running:
        plan.want("reload")
        # After a run that was killed, master may still run with the set before the swap.
        before = postfix.previous if plan.unproven else postfix.config
        why = must_restart(
            (parse_parameters(postfix.postconf(before, "-x")[1]), parse_services(postfix.postconf(before, "-M")[1])),
            (values, services),
        )
        if why:
            plan.want("restart", why)
    return services, values


def carry_out(postfix, plan, directory, services, values):
    """Swap, bring master to it, and prove again; raises Refused."""
    if directory:
        postfix.swap(directory)
    if plan.verb:
        plan.running = postfix.bring(plan.verb)
    if services is None:
        values = parse_parameters(postfix.postconf(postfix.config, "-x")[1])
        services = parse_services(postfix.postconf(postfix.config, "-M")[1])
    postfix.speak(services, values, bool(directory or plan.verb))
    if directory:
        for service in listeners(services):
            postfix.stranger(postfix.config, service)


def work(module, postfix):
    p = module.params
    if p["predicted"]:
        if not module.check_mode:
            module.fail_json(msg="predicted is for check mode: without an installed Postfix nothing can be proven")
        module.exit_json(
            changed=True,
            predicted=True,
            reasons=["predicted: Postfix is not installed"],
            proofs=[],
            diff=diff_of({name: (None, new) for name, new in postfix.wanted.items()}, {}),
        )
    hold(postfix)
    if not module.check_mode:
        for name in os.listdir(postfix.config):
            if name.startswith(".stage-"):
                shutil.rmtree(os.path.join(postfix.config, name))
    plan = Plan(postfix)
    ran = bool(plan.running)
    stage = directory = services = values = None
    try:
        if plan.new_set:
            stage = tempfile.mkdtemp(
                prefix=".stage-", dir=tempfile.gettempdir() if module.check_mode else postfix.config
            )
            os.chmod(stage, 0o755)
            directory = os.path.join(stage, "set")
            try:
                services, values = stage_and_prove(postfix, plan, directory)
            except Refused as refused:
                module.fail_json(
                    msg="The staged configuration is refused, nothing was changed: %s" % "; ".join(refused.problems),
                    problems=refused.problems,
                    proofs=postfix.proofs,
                    rolled_back=False,
                )
        if module.check_mode:
            finish(module, postfix, plan)
        if directory:
            postfix.keep()
        try:
            carry_out(postfix, plan, directory, services, values)
        except (Refused, OSError) as error:
            problems = getattr(error, "problems", None) or [str(error)]
            if not directory:
                module.fail_json(
                    msg="Postfix does not work with the set in force: %s" % "; ".join(problems),
                    problems=problems,
                    proofs=postfix.proofs,
                    rolled_back=False,
                )
            back = give_back(postfix, ran)
            module.fail_json(
                msg="The new configuration did not prove itself after the swap, %s: %s" % (back, "; ".join(problems)),
                problems=problems,
                proofs=postfix.proofs,
                rolled_back=True,
            )
        if directory:
            shutil.rmtree(postfix.previous)
    finally:
        if stage:
            shutil.rmtree(stage, ignore_errors=True)

    have = postfix.openfiles(plan.running["pid"])
    if have is not None and have < p["openfiles"]:
        # The set is good and stays; what is too low is what the rc script hands on.
        raise Refused(
            [
                "postfix_openfiles: master was started anew and still may have only %d descriptors, %d are guaranteed: "
                "see role limits and /etc/rc.conf.d/%s" % (have, p["openfiles"], p["service"])
            ]
        )
    if plan.mailer:
        os.makedirs(os.path.dirname(p["mailer_conf"]), 0o755, exist_ok=True)
        write(p["mailer_conf"] + ".new", plan.mailer[1], 0o644)
        os.rename(p["mailer_conf"] + ".new", p["mailer_conf"])
    finish(module, postfix, plan)


def give_back(postfix, was_running):
    """Return to the set before the swap; says how that went."""
    postfix.restore()
    try:
        if was_running:
            postfix.bring("restart" if postfix.master() else "start")
            services = parse_services(postfix.postconf(postfix.config, "-M")[1])
            values = parse_parameters(postfix.postconf(postfix.config, "-x")[1])
            postfix.speak(services, values)
            return "the previous set is back and answers"
        postfix.rc("stop")
        return "the previous set is back and Postfix stopped, as before"
    except Refused as refused:
        return "the previous set is back but does not answer either (%s)" % "; ".join(refused.problems)


def finish(module, postfix, plan):
    for warning in unique(postfix.warnings):
        module.warn(warning)
    module.exit_json(
        changed=bool(plan.reasons),
        reasons=plan.reasons,
        proofs=postfix.proofs,
        diff=plan.diff(module.params),
        verb=plan.verb or "none",
    )


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "dict", "required": True},
            "main_cf": {"type": "str", "required": True},
            "master_cf": {"type": "str", "required": True},
            "tables": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "text": {"type": "str", "required": True},
                    "aliases": {"type": "bool", "default": False},
                    "samples": {"type": "list", "elements": "dict", "default": []},
                },
            },
            "watch": {"type": "list", "elements": "path", "default": []},
            "hostname": {"type": "str", "required": True},
            "domain": {"type": "str", "required": True},
            "service": {"type": "str", "default": "postfix"},
            "replaces": {"type": "str", "default": "sendmail"},
            "openfiles": {"type": "int", "default": 0},
            "external_sockets": {"type": "list", "elements": "str", "default": []},
            "maillog": {"type": "path", "default": "/var/log/maillog"},
            "probe_client": {"type": "str", "default": "192.0.2.254"},
            "mailer_conf": {"type": "str", "default": ""},
            "sendmail_path": {"type": "str", "default": ""},
            "certificate_predicted": {"type": "bool", "default": False},
            "predicted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    # Postfix's daemons read these files after they have given up root.
    os.umask(0o022)
    postfix = Postfix(module)
    try:
        work(module, postfix)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error), problems=getattr(error, "problems", [str(error)]), proofs=postfix.proofs)


if __name__ == "__main__":
    main()
