# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The proofs of a set: read and tried before it goes in, spoken to afterwards. Standard library only, Python 3.9 to 3.13."""

import os
import re
import socket
import ssl

from ansible.module_utils import postfix_family as family
from ansible.module_utils import postfix_judge as judge
from ansible.module_utils import postfix_smtp as smtp
from ansible.module_utils.postfix_files import SUFFIXES
from ansible.module_utils.postfix_host import Configuration
from ansible.module_utils.postfix_lookup import keys_of, lookup, wrong
from ansible.module_utils.postfix_text import parameters, sockets, tables, words
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused

# Types that postmap(1) can open here and now. Others (ldap, mysql, tcp, socketmap, memcache …) need their server.
OPENABLE = set(SUFFIXES) | set("cidr regexp pcre texthash inline static randmap unionmap pipemap".split())
KNOWN_TYPES = OPENABLE | set(
    "ldap mysql pgsql sqlite mongodb memcache tcp socketmap environ fail internal proxy nis nisplus netinfo hesiod".split()
)
# What these name, daemons of Postfix make themselves: tlsmgr(8), verify(8), postscreen(8).
MADE = {"address_verify_map", "postscreen_cache_map"} | {
    "%s_tls_session_cache_database" % one for one in ("smtp", "lmtp", "smtpd")
}
# For smtpd by hand: the key is root's, and the encryption is proved over the network.
NO_TLS = {"smtpd_tls_security_level": "none", "smtpd_tls_wrappermode": "no"}
# A reply of 451 4.3.5 would be mailed to postmaster.
QUIET = {"notify_classes": ""}
# Policy services that may not be there yet.
PASSED_OVER = {
    "smtpd_policy_service_default_action": "DUNNO",
    "smtpd_policy_service_try_limit": "1",
    "smtpd_policy_service_timeout": "10s",
}
SLEEP = re.compile(r"\bsleep([\s,]+)\d+")


class Proof:
    """Proves sets of files (postfix_files.Files). p: the options of postfix_config.

    proofs: what was proved; warnings: what is no reason to refuse. Methods that prove raise Refused.
    """

    def __init__(self, postfix, files, p):
        self.postfix = postfix
        self.files = files
        self.p = p
        self.proofs = []
        self.warnings = []

    # ---- before the swap

    def prove(self, directory, alive, check_queue=True, certificate=True):
        """Prove the set in *directory*; return its Configuration. Raises Refused with all that is wrong in it.

        alive: a Postfix runs that can be asked for addresses. check_queue: postfix check may make missing directories of the queue. certificate:
        it is there; check mode does not make one.
        """
        problems = self.files.build(directory)
        found = Configuration(self.postfix, directory)
        self.warnings += found.deprecated
        problems += found.problems
        if found.status or not found.services:
            raise Refused(problems or "postconf cannot read the staged set")
        # postconf -m alone reads the parameters as a daemon does when it starts: it dies of a group or an address that is not there
        status, types, said = self.postfix.postconf(directory, "-m")
        if status:
            fatal = [line.partition("fatal: ")[2] for line in said if line.startswith("fatal: ")]
            raise Refused(problems + (fatal or said or ["postconf -m: exit status %d" % status]))

        problems += judge.kinds(found.settings, parameters(self.postfix.postconf(directory, "-d")[1]))
        problems += judge.undefined_classes(found.own)
        problems += self.restrictions(directory, found)
        provided = judge.provided_sockets(found.services, self.p["external_sockets"])
        problems += judge.missing_sockets(found.settings, provided)
        problems += self.tables(directory, found.settings, set(types.split()))
        problems += self.samples(directory)
        for service in found.services:
            path = os.path.join(self.postfix.paths["daemon_directory"], service["command"])
            if not os.access(path, os.X_OK):
                problems.append("master.cf: %s %s: there is no daemon %s" % (service["name"], service["type"], path))
        if problems:
            raise Refused(dict.fromkeys(problems))
        self.proofs.append("every parameter, restriction, socket and table of the staged set is known")

        if certificate:
            self.certificate(found.own)
        if check_queue:
            self.check(directory)
        for service in found.smtpds():
            self.starts(directory, service, found, alive and certificate)
        if alive:
            self.strangers(directory, found, self.awaited(found))
        return found

    def restrictions(self, directory, found):
        """Return the problems of the restriction lists and classes of *found* (Configuration), the staged set in *directory*."""
        problems, unknown = [], []
        classes = words(found.values.get("smtpd_restriction_classes", ""))
        version = tuple(int(part) for part in re.findall(r"\d+", found.values.get("mail_version", "3.11"))[:2])
        for setting in found.settings:
            if judge.LISTS.match(setting[1]) or setting[1] in classes:
                more = judge.restrictions(setting, classes, version)
                problems += more[0]
                unknown += more[1]
        return problems + self.unknown_words(directory, unknown)

    def unknown_words(self, directory, unknown):
        """Return the problems of restrictions that only smtpd can judge. unknown: as judge.restrictions() gives it."""
        problems, argument = [], None
        for label, word, following in unknown:
            if (label, word) == argument:
                argument = None
                continue
            rejected, warned = self.tried(directory, word)
            if (rejected or warned) and following and self.tried(directory, word, following) == (False, False):
                argument = (label, following)
            elif rejected:
                problems.append(
                    "%s: %s is not a restriction that this smtpd knows, not a class of smtpd_restriction_classes and not a type:table"
                    % (label, word)
                )
        return problems

    def tried(self, directory, *restriction):
        """Try one restriction, with or without its argument, alone in a list; return (whether smtpd replies 451 4.3.5, whether it warns of it).

        In a set of its own, the bare paths, whatever else is wrong in the staged one; at EHLO, so that no other daemon is needed.
        """
        alone = os.path.join(directory, ".word")
        os.makedirs(alone, 0o755, exist_ok=True)
        paths = ["%s = %s\n" % item for item in self.postfix.paths.items() if item[0] != "config_directory"]
        host.write(os.path.join(alone, "main.cf"), "".join(paths), 0o644)
        options = {
            "smtpd_helo_restrictions": " ".join(restriction),
            "smtpd_delay_reject": "no",
            "smtpd_relay_restrictions": "reject",  # smtpd insists on a guard
            "alias_maps": "",
            "local_recipient_maps": "",
            **NO_TLS,
            **QUIET,
        }
        replies, log = smtp.smtpd(
            self.postfix,
            alone,
            {"name": "word", "options": {}},
            options,
            ["EHLO " + self.p["hostname"], "QUIT"],
            user=self.postfix.paths["mail_owner"],
        )
        if len(replies) < 2:
            raise Refused(
                "smtpd does not start to try %s: %s" % (restriction[0], " / ".join(smtp.severe(log)) or "silent")
            )
        code, text = replies[1]
        warnings = [line for line in smtp.severe(log) if restriction[0].lower() in line.lower()]
        return code == 451 and text.startswith("4.3.5"), bool(warnings)

    def tables(self, directory, settings, types):
        """Open every table that the staged set declares or names. types: the types of tables that this Postfix has."""
        problems, seen = [], set()
        declared = [("postfix_tables", table["name"], _spec(directory, table)) for table in self.p["tables"]]
        for where, name, value in declared + settings:
            if name.endswith("_time_limit") or name in ("import_environment", "export_environment"):
                continue
            for table in tables(value, KNOWN_TYPES | types):
                kind = table.partition(":")[0]
                if table in seen:
                    continue
                seen.add(table)
                said = []
                if kind not in types:
                    said = ["this Postfix has no tables of type %s (it has %s)" % (kind, " ".join(sorted(types)))]
                elif kind in OPENABLE and name not in MADE:
                    err = self.postfix.tool("postmap", "-c", directory, "-q", "sokuhai.invalid", table)[2]
                    said = [re.sub(r"^\S+: (warning|fatal|error): ", "", line) for line in err.splitlines()]
                problems += [
                    "%s: %s: %s" % (where, name, line.replace(directory, self.postfix.config)) for line in said
                ]
        return problems

    def samples(self, directory):
        """Look up in the staged tables what they must know; one postmap(1) a table."""
        keys, answers = keys_of(self.p["samples"]), {}

        def postmap(*arguments, text):
            return self.postfix.tool("postmap", "-c", directory, *arguments, text=text)

        for table in self.p["tables"]:
            if table["name"] in keys:
                answers[table["name"]], _said = lookup(postmap, _spec(directory, table), keys[table["name"]])
        problems = wrong(self.p["samples"], answers)
        if self.p["samples"] and not problems:
            self.proofs.append("%d samples are answered as expected" % len(self.p["samples"]))
        return problems

    def certificate(self, values):
        """Key and certificate exist and belong together."""
        chain, key = values.get("smtpd_tls_cert_file"), values.get("smtpd_tls_key_file")
        if chain and key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
            except OSError as error:  # ssl.SSLError is one
                raise Refused(
                    "main.cf: smtpd_tls_cert_file, smtpd_tls_key_file: %s, %s: %s" % (chain, key, error)
                ) from error
            self.proofs.append("key and certificate belong together")

    def check(self, directory):
        status, out, err = self.postfix.tool("postfix", "-c", directory, "check")
        lines = [line.replace(directory, self.postfix.config) for line in (out + err).splitlines() if line.strip()]
        if status:
            raise Refused(
                ["postfix check: " + line.split(": ", 1)[-1] for line in lines] or "postfix check exits %d" % status
            )
        # A link is writable for all by its nature; what lies beside the set is linked into the stage.
        self.warnings += [
            line
            for line in lines
            if "group or other writable: %s/./" % self.postfix.config not in line
            or not os.path.islink(os.path.join(directory, line.rpartition("/./")[2]))
        ]
        self.proofs.append("postfix check")

    def starts(self, directory, service, found, tls):
        """smtpd reads every one of its parameters at its start, and its key: a bad one is fatal there and nowhere before.

        tls: with its key. Without tlsmgr(8) smtpd takes none; STARTTLS is proved over the network after the start.
        """
        # Without a running master nobody answers proxymap(8); the tables themselves are opened directly instead.
        options = {
            name: value.replace("proxy:", "")
            for name, value in found.values.items()
            if "proxy:" in value
            and name not in ("proxy_read_maps", "proxy_write_maps")
            and (name in found.own or name == "local_recipient_maps")
        }
        replies, log = smtp.smtpd(self.postfix, directory, service, {**options, **({} if tls else NO_TLS)}, ["QUIT"])
        wrong = smtp.severe(log)
        if not replies or replies[0][0] != 220:
            wrong = wrong or ["fatal: no greeting: %s" % " / ".join([smtp.shown(*reply) for reply in replies] + log)]
        if wrong:
            raise Refused("smtpd of %s: %s" % (_label(service), line) for line in wrong)
        self.proofs.append("smtpd of %s starts on the staged set" % _label(service))

    def awaited(self, found):
        """Whether *found* (Configuration) names a private/X that master(8) does not serve yet: the file of a socket outlives its service."""
        # What master(8) serves now is in the set it was loaded with.
        loaded = self.files.previous if os.path.isdir(self.files.previous) else self.postfix.config
        # One that the set changes is not what will be asked either, and the reason for the change may be that it answers no more.
        same = [one for one in Configuration(self.postfix, loaded).services if one in found.services]
        provided = judge.provided_sockets(same, self.p["external_sockets"])
        return any(name not in provided for _where, _name, value in found.settings for name in sockets(value))

    def strangers(self, directory, found, awaited=False):
        """Be a stranger to every smtpd(8) of *found* (Configuration), the set in *directory*, and ask each policy service, whatever class it stands in.

        awaited: a private/X that the set names is yet to be made; policy services that do not answer are passed over, and asked after the swap.
        """
        client, domain = family.stranger(found.values, self.p["probe_client"]), self.p["domain"]
        # named as a mail server, and as a dynamic line, of which other lists and classes may be asked
        names = ["stranger.%s" % domain, "dhcp-%s.stranger.%s" % (re.sub("[.:]+", "-", client), domain)]
        for service in found.smtpds():
            # a wait for doubtful clients is no part of the proof
            options = {
                name: SLEEP.sub(r"sleep\g<1>0", value)
                for name, value in {**found.own, **service["options"]}.items()
                if SLEEP.search(value)
            }
            for name in names:
                fault = self.stranger(
                    directory, service, (name, client), {**options, **(PASSED_OVER if awaited else {})}
                )
                if fault:
                    raise Refused("smtpd of %s answers a stranger's RCPT (%s) with %s" % (_label(service), name, fault))
            self.proofs.append("a stranger's RCPT to %s is judged" % _label(service))
        if not awaited:
            self.policy_services(directory, found, (names[0], client))

    def policy_services(self, directory, found, client):
        """Have each policy service asked once, by an smtpd(8) that asks nothing else. client: (name, address). Raises Refused."""
        problems = []
        service = {"name": "policy", "type": "inet", "options": {}}
        for place in judge.policy_services(found.settings):
            lists = dict.fromkeys(("smtpd_%s_restrictions" % at for at in ("client", "helo", "sender")), "")
            lists["smtpd_relay_restrictions"] = "reject_unauth_destination"
            lists["smtpd_recipient_restrictions"] = "check_policy_service %s, reject" % place
            fault = self.stranger(directory, service, client, lists)
            if fault:
                problems.append("check_policy_service %s: smtpd answers with %s" % (place, fault))
        if problems:
            raise Refused(problems)

    def stranger(self, directory, service, client, more):
        """One RCPT as an unknown client: past permit_mynetworks, where a dialogue from the host itself would end.

        client: (name, address). more: options of smtpd(8). Return what is wrong with its replies, "" for nothing.
        """
        (name, address), domain = client, self.p["domain"]
        options = {
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8, [::1]/128",
            "smtpd_tls_auth_only": "no",
            "smtpd_upstream_proxy_protocol": "",
            **NO_TLS,
            **QUIET,
            **more,
        }
        commands = [
            "EHLO " + self.p["hostname"],
            "XCLIENT NAME=%s ADDR=%s" % (name, family.literal(address)),
            "EHLO " + name,
            "MAIL FROM:<postmaster@%s>" % domain,
            "RCPT TO:<postmaster@%s>" % domain,
            "QUIT",
        ]
        replies, log = smtp.smtpd(
            self.postfix, directory, service, options, commands, user=self.postfix.paths["mail_owner"], seconds=180
        )
        bad = [reply for reply in replies if smtp.fault(*reply)]
        # 5.5.x is about XCLIENT itself; where nothing is delayed, what smtpd has against such a client is its reply to it
        bad += [reply for reply in replies[2:3] if reply[1].startswith("5.5.")]
        last = replies[-1] if replies else (0, "")
        if not bad and not smtp.severe(log, "fatal|panic") and last[0] == 221:
            return ""
        return "%s; it logged: %s" % (
            " / ".join(smtp.shown(*reply) for reply in bad or [last]),
            " / ".join(smtp.severe(log)) or "nothing",
        )

    # ---- after it

    def listens(self, found, since, fresh=True):
        """Over the network: every listener greets, takes TLS where it offers it, and answers RCPT with anything but 451 4.3.x.

        since: log_end() of the time before. fresh: something was changed or started by this call. Else a listener that only takes long is busy, which
        is no fault of the set: a warning.
        """
        problems = []
        for service in found.services:
            if service["type"] != "inet" or service["command"] not in ("smtpd", "postscreen"):
                continue
            address, port = family.reached(service["name"], found.values)
            label = "listener %s port %s" % (address, port)
            wrapped = service["options"].get("smtpd_tls_wrappermode", "").lower() == "yes"
            try:
                number = int(port) if port.isdigit() else socket.getservbyname(port, "tcp")
                problem = smtp.listener(address, number, wrapped, self.p["hostname"], self.p["domain"])
            except OSError as error:
                problem = str(error) or type(error).__name__
                if smtp.timed_out(error):
                    problem = "no answer in %d seconds" % smtp.PATIENCE
                    if not fresh:
                        self.warnings.append("%s: %s, all its processes may be busy" % (label, problem))
                        continue
            if problem:
                problems.append("%s: %s%s" % (label, problem, self.postfix.logged(since)))
            else:
                self.proofs.append("%s answers" % label)
        if problems:
            raise Refused(problems)


def _spec(directory, table):
    return "%s:%s" % (table["type"], os.path.join(directory, "tables", table["name"]))


def _label(service):
    return "%s %s" % (service["name"], service["type"])
