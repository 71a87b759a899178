#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FreeBSD's blocklistd (blacklistd on 14) and pf as one transaction on the host, with an undo that waits for a new connection."""

DOCUMENTATION = r"""
module: blocklist_host
short_description: Cut repeat offenders off by FreeBSD's own daemon and pf
description:
  - With O(state=present), writes the daemon's configuration, pf's anchor file, one marked block in pf.conf and what counts refusals in the log. pf reads all of it
    before anything is replaced. When the ruleset changes or pf is to be enabled, that is done by a process of its own, started by daemon(8), which takes it all
    back unless O(state=confirmed) comes in time.
  - With O(state=confirmed), asks whether this call came in over an ssh connection that is younger than the change, calls the undo off, and sets pf_enable.
  - With O(state=running), starts the daemon, or restarts it when it is older than its configuration, has sshd report to it, and proves that what is listed is in pf.
  - With O(state=absent), takes everything back to what was before the first O(state=present).
options:
  state: {type: str, choices: [present, confirmed, running, absent], default: present}
  services: {type: list, elements: dict, default: [], description: "Lines of the daemon's configuration: name, port, nfail, duration."}
  mask_ipv4: {type: int, default: 32, description: Length of the network that one IPv4 offender stands for.}
  mask_ipv6: {type: int, default: 64, description: The same for IPv6.}
  allow: {type: list, elements: str, default: [], description: Networks that are never cut off. The address this call comes from is added, and those of the last ones are kept.}
  rejects: {type: dict, default: {}, description: "What counts refusals in the log: log, count, window, duration, ports, traps, from_traps. Empty for none."}
  reporter: {type: str, default: '', description: Text of the program that counts.}
  states: {type: int, default: 0, description: States that pf has to have room for.}
  sshd: {type: bool, default: true, description: Have sshd report failed logins.}
  confirm_seconds: {type: int, default: 90, description: Seconds after which an unconfirmed change is taken back.}
  replace: {type: bool, default: false, description: Replace a configuration of the daemon that is neither this role's nor the stock one.}
  own_anchor: {type: bool, default: false, description: Leave it to pf.conf to evaluate the daemon's rules where it does so already, though pf then exempts nobody.}
  token: {type: str, default: '', description: Names the change to be confirmed.}
  prove: {type: bool, default: false, description: "state=running also lists a documentation address and takes it out again."}
"""

RETURN = r"""
daemon: {description: The daemon's name on this host., type: str, returned: always}
predicted: {description: "Check mode on a host without pf's module: pf could not be asked.", type: bool, returned: state=present}
token: {description: "Names the change that waits for state=confirmed, or empty.", type: str, returned: state=present}
operator: {description: "Address this call comes from, or empty.", type: str, returned: always}
differs: {description: "What runs otherwise than declared, or starts otherwise at boot, which no diff shows: thing, expected, found.", type: list, returned: state=present or running}
postfix_reports: {description: "Whether smtpd is linked with the daemon's library, by which it reports; null where there is none to look at.", type: bool, returned: state=running}
"""

import glob
import ipaddress
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.blocks import set_block
from ansible.module_utils.sokuhai.host import Refused, difference, read, remove, write

MARK = "# Written by sokuhai's role blocklist"
BLOCK = "sokuhai blocklist"
BEGIN, END = "# BEGIN " + BLOCK, "# END " + BLOCK
# the same daemon: FreeBSD 15 renamed it and still has the old name beside the new one
NAMES = ("blocklistd", "blacklistd")
ANCHOR, ALLOW, REJECTS = "sokuhai", "sokuhai_allow", "sokuhai_rejects"
LOOPBACK = ("127.0.0.0/8", "::1/128")
# what starts a filter rule in pf.conf(5); translation and normalization come before, by pf's own order
FILTERS = ("block", "pass", "match", "anchor", "antispoof")
TRANSLATIONS = ("scrub", "nat", "rdr", "binat", "nat-anchor", "rdr-anchor", "binat-anchor")
# lines of the configuration that the base system comes with (usr.sbin/blocklistd/blocklistd.conf)
STOCK = {
    "ssh stream * * * 3 24h",
    "ftp stream * * * 3 24h",
    "smtp stream * * * 3 24h",
    "submission stream * * * 3 24h",
    "* * * * * 3 60",
    "[local]",
    "[remote]",
}
OPERATORS = 3  # addresses of plays that are let by: a controller at home, one at work, and one more
PROVED = "198.51.100.255"  # RFC 5737: nobody's address


def mode_of(path):
    """Return the permission bits of *path*; 0644 where there is no such file."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        return 0o644


# -- what is written: pure functions ----------------------------------------------------------------------------------


def covering(networks):
    """Return *networks* (strings) as ipaddress networks, sorted, without those that another of them holds."""
    kept = []
    for network in sorted(
        {ipaddress.ip_network(text, strict=False) for text in networks}, key=lambda n: (n.version, n.prefixlen, n)
    ):
        if not any(network.version == wider.version and network.subnet_of(wider) for wider in kept):
            kept.append(network)
    return sorted(kept, key=lambda n: (n.version, n))


def daemon_config(services, masks, allow):
    """Return the text of blocklistd.conf(5).

    services: [{name, port, nfail, duration}]. masks: {4: bits, 6: bits}, what one offender stands for. allow: networks as strings.
    The daemon cuts an address to its mask before it looks at [remote] (conf_find in contrib/blocklist/bin/conf.c), so a narrower allowed
    network has to be written as the network of that mask, or it would never match.
    """
    lines = [
        MARK + "; blocklistd.conf(5) explains the columns.",
        "[local]",
        "# port\ttype\tproto\towner\tname\tnfail\tduration",
    ]
    for one in services:
        lines.append("# %s" % one["name"])
        for proto, version, whole in (("tcp", 4, 32), ("tcp6", 6, 128)):
            name = "*" if masks[version] == whole else "*/%d" % masks[version]
            lines.append("%d\tstream\t%s\t*\t%s\t%d\t%s" % (one["port"], proto, name, one["nfail"], one["duration"]))
    lines += ["[remote]", "# never"]
    wide = covering(
        str(n if n.prefixlen <= masks[n.version] else n.supernet(new_prefix=masks[n.version])) for n in covering(allow)
    )
    for network in wide:
        place = "%s/%d" if network.version == 4 else "[%s]/%d"
        lines.append(place % (network.network_address, network.prefixlen) + "\t*\t*\t*\t*\t*\t*")
    return "\n".join(lines) + "\n"


def anchor_rules(daemon, allow, ports, own):
    """Return the text of pf's anchor file: daemon (name), allow (networks), ports (TCP ports closed to who was refused too often), own (pf.conf
    evaluates the daemon's anchor already)."""
    inside = " ".join(str(n.network_address) if n.prefixlen == n.max_prefixlen else str(n) for n in covering(allow))
    lines = [
        MARK + ". Loaded by pf.conf; `pfctl -a %s -sr` shows it." % ANCHOR,
        "table <%s> persist { %s }" % (ALLOW, inside),
        "table <%s> persist" % REJECTS,
    ]
    if not own:
        lines.append('anchor "/%s/*" in from ! <%s> to any' % (daemon, ALLOW))
    if ports:
        lines.append(
            "block drop in quick proto tcp from <%s> to any port { %s }"
            % (REJECTS, " ".join(str(port) for port in ports))
        )
    return "\n".join(lines) + "\n"


def block(anchor_file):
    """Return our lines of pf.conf, a list."""
    return [BEGIN, 'anchor "%s"' % ANCHOR, 'load anchor "%s" from "%s"' % (ANCHOR, anchor_file), END]


def without_block(text, name="pf.conf"):
    """Return *text* without our marked lines. Raises Refused for a block without its end: what stands behind it is not ours. name: the file's."""
    return set_block(text, BLOCK, name, [])


def without_loads(text):
    """Return the pf.conf *text* without our lines and without what loads an anchor."""
    return re.sub(r"(?m)^\s*load\s+anchor\b.*$", "", without_block(text))


def statements(text):
    """Yield (number of its first line from 0, first word) of each statement of a pf.conf: continued lines and braces are one statement."""
    depth, start, pending = 0, None, ""
    for number, line in enumerate(text.splitlines()):
        bare = re.sub(r'("[^"]*")|#.*', lambda match: match[1] or "", line)
        if start is None:
            if not bare.strip():
                continue
            start, pending = number, bare
        depth += bare.count("{") - bare.count("}")
        if bare.rstrip().endswith("\\") or depth > 0:
            continue
        yield start, pending.split()[0]
        depth, start = 0, None
    if start is not None:
        yield start, pending.split()[0]


def places(text):
    """Return the line numbers before which our block may stand in the pf.conf *text*, best first.

    Before the first filter rule, so that no `quick` of the user's comes earlier; an include or a macro in a rule's place may hold the first one.
    """
    end = len(text.splitlines())
    first = next((number for number, word in statements(text) if word in FILTERS), end)
    hidden = [
        number for number, word in statements(text) if number < first and (word == "include" or word.startswith("$"))
    ]
    return [first] + hidden


def with_block(text, number, lines):
    """Return *text* with *lines* before its line *number*."""
    old = text.splitlines(keepends=True)
    if old and number == len(old) and not old[-1].endswith("\n"):
        old[-1] += "\n"
    return "".join(old[:number] + [line + "\n" for line in lines] + old[number:])


def comes_first(verbose):
    """Tell whether our anchor is the first filter rule in what `pfctl -nvf` printed."""
    for line in verbose.splitlines():
        words = line.split()
        if words and words[0] in FILTERS:
            return words[:2] == ["anchor", '"%s"' % ANCHOR]
    return False


def own_anchor(text, daemon):
    """Return the line by which the pf.conf *text*, or what pfctl printed of one, evaluates the daemon's anchor itself; '' where it does not."""
    found = re.search(r'^[ \t]*(anchor\s+"?/?%s(/\*)?"?(\s.*)?)$' % daemon, without_block(text), re.MULTILINE)
    return found[1].strip() if found else ""


# pfctl(8), of what may stand in pf_flags: with a value and without, for what is loaded; and what only prints, or enables pf, which is done here by itself
LOADING, PRINTING = ("D", "o", "m"), ("q", "v", "g", "r", "P", "e")


def load_options(flags):
    """Return the options of rc.conf's pf_flags (text) that belong to every reading of pf.conf, a list of words.

    rc.d/pf hands them to pfctl unquoted, so white space parts them and nothing else does. Raises Refused for one by which pfctl loads less than the
    whole file, or does something else.
    """
    words, kept = flags.split(), []
    while words:
        word = words.pop(0)
        if not re.match(r"-\w", word):
            raise Refused("pf: pf_flags of rc.conf has %r, which is no option of pfctl" % word)
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in ("D", "o"):
                value = letters or (words.pop(0) if words else "")
                if not value:
                    raise Refused("pf: pf_flags of rc.conf ends in -%s, which wants a value" % letter)
                kept += ["-" + letter, value]
                letters = ""
            elif letter in LOADING:
                kept.append("-" + letter)
            elif letter not in PRINTING:
                raise Refused(
                    "pf: pf_flags of rc.conf has -%s, with which `service pf start` does not load the whole of pf.conf, so what this role puts there would not "
                    "be in force after a boot. Take it out" % letter
                )
    return kept


def minimal(lines):
    """Return a pf.conf for a host without one: our block, and everything passes without a state, as if pf were not there."""
    return (
        "\n".join(
            [
                MARK + ", because there was none. Yours from now on: only the block between the marks is kept up.",
                "set skip on lo0",
            ]
            + lines
        )
        + "\n"
    )


def ssh_config(text, keyword):
    """Return sshd_config *text* with our marked line at the top, where the first value wins and no Match is open yet; keyword '' takes it out."""
    rest = without_block(text, "sshd_config")
    return "\n".join([BEGIN, "%s yes" % keyword, END]) + "\n" + rest if keyword else rest


def top_rules(printed):
    """Return the rules of the main ruleset in what pfctl printed (-nvf, or -s nat and -s rules), without ours and without what is inside an anchor."""
    found = []
    for line in printed.splitlines():
        words = line.split()
        if (
            not words
            or line[0].isspace()
            or words[0] not in FILTERS + TRANSLATIONS
            or words[:2] == ["anchor", '"%s"' % ANCHOR]
        ):
            continue
        # the optimizer names its tables by chance
        found.append(re.sub(r"<__automatic_\w+>", "<__automatic>", line.rstrip(" {")))
    return found


CHANGE = r"""#!/bin/sh
# @MARK@: puts pf's new rules into force, and takes them back unless a new ssh connection confirms them.
# change.sh SECONDS, or change.sh undo
PATH=/sbin:/bin:/usr/sbin:/usr/bin
here=@HERE@ pfconf=@PFCONF@ anchor=@ANCHORFILE@ was=@WAS@
# pf.conf is read with rc.conf's pf_flags, as at boot
load() {
	pfctl -q -f "$pfconf" @FLAGS@
}

BROKEN_OFF="a change of pf's rules that was broken off is taken back"

put() {
	if [ -e "$here/$1.new" ]; then
		cp -p "$here/$1.new" "$2.new" && mv "$2.new" "$2"
	else
		rm -f "$2"
	fi
}

put_back() {
	if [ -e "$here/$1.before" ]; then
		cp -p "$here/$1.before" "$2.undo" && mv "$2.undo" "$2"
	elif [ -e "$here/$1.none" ]; then
		rm -f "$2"
	fi
}

undo() {
	# a file that is not here need not mean that there was none: somebody may have taken this folder away, and the change with it
	for name in pf.conf anchor; do
		if [ ! -e "$here/$name.before" ] && [ ! -e "$here/$name.none" ]; then
			logger -t sokuhai-blocklist -p daemon.notice "$here does not say what $name was: nothing is taken back"
			exit 1
		fi
	done
	put_back pf.conf "$pfconf"
	put_back anchor "$anchor"
	if [ "$was" = enabled ]; then
		load
	else
		pfctl -q -d
		pfctl -q -a @ANCHOR@ -F all
		[ "$was" = loaded ] && [ -e "$pfconf" ] && load || pfctl -q -F rules
	fi
	logger -t sokuhai-blocklist -p daemon.notice "$1"
	true > "$here/finished"
	exit 0
}

[ "$1" != undo ] || undo "$BROKEN_OFF"

echo $$ > "$here/pid"
# the call that started this is still on its way back through a connection that pf does not know
sleep 2
[ -e "$here/armed" ] || exit 0
if put anchor "$anchor" && put pf.conf "$pfconf" &&
    load && { pfctl -s Running >/dev/null || pfctl -q -e; }; then
	# true and not `:`, a special built-in: sh(1) would end where the folder has just been taken away
	true > "$here/applied"
	left=$1
	while [ "$left" -gt 0 ] && [ -e "$here/armed" ]; do
		sleep 1
		left=$((left - 1))
	done
	why="no new ssh connection confirmed pf's rules within $1 seconds: they are taken back"
else
	why="pf did not take its new rules: they are taken back"
fi 2> "$here/errors"
# who renames it has decided: this, the confirmation, or a later run that wants what there was. That one waits for this undo, for the new rules may have come
# into force after it had renamed it.
if ! mv "$here/armed" "$here/undone" 2>/dev/null; then
	[ ! -e "$here/confirmed" ] || exit 0
	why=$BROKEN_OFF
fi
undo "$why"
"""


class Host:
    def __init__(self, module):
        self.module = module
        self.p = module.params
        self.root = ""  # the tests put a folder here
        self.pf_conf = None
        self.flags = []
        self.anchor_file = "/etc/pf.sokuhai.conf"
        self.run_dir = "/var/run/sokuhai-blocklist"
        self.state_dir = "/var/db/sokuhai"
        self.record = self.state_dir + "/blocklist.json"
        self.reporter = "/usr/local/libexec/sokuhai-blocklist"
        self.settings = "/usr/local/etc/sokuhai-blocklist.json"
        self.cron = "/usr/local/etc/cron.d/sokuhai-blocklist"
        self.sshd_config = "/etc/ssh/sshd_config"
        self.sshd = "/usr/sbin/sshd"
        self.postconf = "/usr/local/sbin/postconf"

    def run(self, *argv, **options):
        return self.module.run_command(list(argv), errors="surrogateescape", **options)

    def must(self, *argv, **options):
        rc, out, err = self.run(*argv, **options)
        if rc:
            raise Refused("%s: exit %d: %s" % (" ".join(argv), rc, (err or out).strip()))
        return out

    def sysrc(self, name, default=""):
        rc, out, err = self.run("sysrc", "-n", name)
        return out.strip() if rc == 0 else default

    # -- asking -----------------------------------------------------------------------------------------------------

    def installed(self):
        """Return the daemon's name on this host, or None where the base system has none."""
        for name in NAMES:
            if os.access("/usr/sbin/%s" % name, os.X_OK) and os.access("/usr/libexec/%s-helper" % name, os.X_OK):
                return name
        return None

    def name(self):
        """Return the daemon's name on this host."""
        found = self.installed()
        if found:
            return found
        raise Refused(
            "sokuhai_blocklist: this base system has neither blocklistd nor blacklistd (built WITHOUT_BLOCKLIST?); say sokuhai_blocklist: false"
        )

    def paths(self, daemon):
        """Return what belongs to *daemon*: config, helper, socket, pidfile."""
        return {
            "config": "/etc/%s.conf" % daemon,
            "helper": "/usr/libexec/%s-helper" % daemon,
            "socket": "/var/run/%s.sock" % daemon,
            "pidfile": "/var/run/%s.pid" % daemon,
        }

    def ancestors(self):
        """Return [(pid, ppid, seconds it runs, command)] from this process upwards."""
        table = {}
        for line in self.must("ps", "-axo", "pid,ppid,etimes,comm").splitlines()[1:]:
            fields = line.split(None, 3)
            if len(fields) == 4 and fields[0].isdigit() and fields[1].isdigit() and fields[2].isdigit():
                table[int(fields[0])] = (int(fields[0]), int(fields[1]), int(fields[2]), fields[3].strip())
        chain, pid = [], os.getpid()
        while pid in table and len(chain) < 64:
            chain.append(table[pid])
            pid = table[pid][1]
        return chain

    def connection(self):
        """Return (address, port, seconds it stands) of the ssh connection this call came in by, or None.

        doas(1) and su(1) do not hand SSH_CONNECTION on, so without it the socket of the sshd among our ancestors is looked for.
        """
        chain = self.ancestors()
        sessions = [row for row in chain if row[3].startswith("sshd") and row[1] != 1]
        if not sessions:
            return None
        age = max(row[2] for row in sessions)
        words = os.environ.get("SSH_CONNECTION", "").split()
        if len(words) == 4:
            return words[0].split("%")[0], words[1], age
        pids = {str(row[0]) for row in sessions}
        found = []
        for line in self.must("sockstat", "-46c", "-P", "tcp").splitlines()[1:]:
            fields = line.split()
            if len(fields) >= 7 and fields[2] in pids and fields[3].isdigit():
                address, _, port = fields[6].rpartition(":")
                found.append((int(fields[3]), address.split("%")[0], port))
        if not found:
            return None
        # the connection was there before anything that is forwarded through it
        return min(found)[1:] + (age,)

    def operator(self):
        """Return the connection, or None when there is none and blocklist_allow says who is to be let in."""
        found = self.connection()
        if found is None and not self.p["allow"]:
            raise Refused(
                "blocklist_allow: this play does not come in by ssh, so it cannot be seen from where you log in; name your address there"
            )
        return found

    def operators(self):
        """Return the addresses plays came from that are to be written, as strings.

        Those on record, so that another controller or another day is no drift; today's takes the place of the oldest when nothing covers it. What a check would
        write is what is there.
        """
        kept = list(json.loads(read(self.record) or "{}").get("operators", []))
        found = self.operator()
        if found is None or (kept and self.module.check_mode):
            return kept
        today = ipaddress.ip_network(found[0])
        if any(
            today.version == one.version and today.subnet_of(one)
            for one in covering(list(LOOPBACK) + list(self.p["allow"]) + kept)
        ):
            return kept
        return (kept + [found[0]])[-OPERATORS:]

    def allowed(self):
        return list(LOOPBACK) + list(self.p["allow"]) + self.operators()

    def find_pf_conf(self):
        """Return the path of pf's rules; a symbolic link stays one, and what it leads to is written. Sets the options it is read with."""
        self.flags = load_options(self.sysrc("pf_flags"))
        return os.path.realpath(self.sysrc("pf_rules", "/etc/pf.conf") or "/etc/pf.conf")

    def pf_loaded(self):
        return self.run("kldstat", "-qm", "pf")[0] == 0

    def pf_enabled(self):
        return self.run("pfctl", "-s", "Running")[0] == 0

    def pf_has_rules(self):
        """Tell whether pf holds rules, be it on or off."""
        rc, out, err = self.run("pfctl", "-s", "rules")
        return rc == 0 and bool(out.strip())

    def main_is_right(self, own):
        """Tell whether pf's main ruleset evaluates our anchor, or does not where there is no need."""
        rc, out, err = self.run("pfctl", "-s", "rules")
        return (re.search(r'^anchor "%s" ' % ANCHOR, out, re.MULTILINE) is not None) == self.wants_block(own)

    def wants_block(self, own):
        """Tell whether there is anything to put into our anchor: the daemon's rules, where *own* is '' (pf.conf does not evaluate them), or the count's."""
        return not own or bool(self.p["rejects"])

    def find_own_anchor(self, text, daemon):
        """Return the line by which the pf.conf *text* (or None), or what it includes, evaluates the daemon's anchor; '' for none."""
        found = own_anchor(text or "", daemon)
        if not found and text is not None and self.pf_loaded():
            # without `load anchor`: what that brings belongs to no rule of this file
            found = own_anchor(self.check_rules(without_loads(text), "")[1], daemon)
        return found

    def refuse_own_anchor(self, own, daemon):
        if own and not self.p["own_anchor"]:
            raise Refused(
                "blocklist_own_anchor: %s has %s's rules evaluated by a line of its own (%s), and pf would ask them about those too who are never to be cut off: "
                "blocklist_allow, mynetworks and you. Take that line out, the role's anchor evaluates them before your first rule; or say "
                "blocklist_own_anchor: true to keep it as it is" % (self.pf_conf, daemon, own)
            )

    def anchor_differs(self, text):
        """Tell whether what pf has in our anchor is not *text*: its printed rules are compared with what pfctl prints of the file."""
        with_file = self.must("pfctl", "-a", ANCHOR, "-nvf", "-", data=text)
        wanted = [line for line in with_file.splitlines() if line.strip() and not line.startswith("table ")]
        rc, out, err = self.run("pfctl", "-a", ANCHOR, "-s", "rules")
        if [line for line in out.splitlines() if line.strip()] != wanted:
            return True
        rc, out, err = self.run("pfctl", "-a", ANCHOR, "-t", ALLOW, "-T", "show")
        return rc != 0 or covering(out.split()) != covering(self.allowed())

    # -- refusing ---------------------------------------------------------------------------------------------------

    def refuse_other_ways(self, daemon):
        for other in NAMES:
            if other != daemon and self.sysrc(other + "_enable", "NO").upper() == "YES":
                raise Refused(
                    "sokuhai_blocklist: rc.conf enables %s, which is called %s on this release; move its settings and say sysrc -x %s_enable"
                    % (other, daemon, other)
                )
        for path in ("/etc/ipfw-%s.rc" % daemon[:-1],):
            if os.path.exists(path):
                raise Refused(
                    "sokuhai_blocklist: %s has %s block by ipfw; this role is for pf. Remove the file, or say sokuhai_blocklist: false"
                    % (path, daemon)
                )

    def refuse_foreign(self, path, old):
        if old is None or MARK in old or self.p["replace"]:
            return
        lines = {
            " ".join(line.split()) for line in old.splitlines() if line.strip() and not line.lstrip().startswith("#")
        }
        if lines - STOCK:
            raise Refused(
                "blocklist_replace_config: %s was written by somebody else. Say blocklist_replace_config: true to have it replaced (a copy stays beside it)"
                % path
            )

    def check_daemon_config(self, daemon, text):
        """Have the daemon itself read *text*, in the foreground, with a database and a socket of its own, and list what it understood."""
        with tempfile.TemporaryDirectory(prefix="sokuhai-") as folder:
            write(folder + "/conf", text, 0o644)
            script = (
                '"$0" -d -c "$1/conf" -D "$1/db" -s "$1/sock" -C /usr/bin/true > "$1/out" 2>&1 & pid=$!; left=50; '
                'while [ $left -gt 0 ] && kill -0 $pid 2>/dev/null; do grep -q "^\\[remote\\]" "$1/out" && break; sleep 0.2; left=$((left - 1)); done; '
                'sleep 0.2; kill $pid 2>/dev/null; wait $pid 2>/dev/null; cat "$1/out"'
            )
            out = self.must("/bin/sh", "-c", script, "/usr/sbin/%s" % daemon, folder)
        wanted = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "["))] + [
            line for line in text.splitlines() if re.match(r"\[[0-9a-f:]+\]", line)
        ]
        listed = [line for line in out.splitlines() if line.count("\t") == 6 and "nfail" not in line]
        complaints = [
            line for line in out.splitlines() if line.startswith("conf_") and "conf_gethostport: host" not in line
        ]
        if complaints or len(listed) != len(wanted):
            raise Refused(
                "blocklist_services: %s understood %d of %d lines, the old configuration stays: %s"
                % (daemon, len(listed), len(wanted), "; ".join(complaints) or out.strip()[-300:])
            )

    def check_rules(self, text, anchor_text):
        """Have pf read the staged pf.conf *text* with the staged anchor file; return what it printed."""
        # not beside the real one: this is done in check mode too
        with tempfile.TemporaryDirectory(prefix="sokuhai-") as folder:
            staged, staged_anchor = folder + "/pf.conf", folder + "/anchor"
            write(staged_anchor, anchor_text or "", 0o600)
            write(staged, text.replace('from "%s"' % self.anchor_file, 'from "%s"' % staged_anchor), 0o600)
            # where pf.conf lies, so that an include by a relative name is found
            rc, out, err = self.run("pfctl", "-nvf", staged, *self.flags, cwd=os.path.dirname(self.pf_conf))
        return rc, out, err.replace(staged_anchor, self.anchor_file).replace(staged, self.pf_conf).strip()

    def place_block(self, old, anchor_text, own):
        """Return pf.conf's new text; pf has read it, and our anchor, where there is one, is evaluated before every other filter rule."""
        lines = block(self.anchor_file)
        if old is None:
            candidates = [minimal(lines)]
        elif not self.wants_block(own):
            candidates = [without_block(old)]
        elif BEGIN in [line.strip() for line in old.splitlines()]:
            # where the user moved it, it stays
            number = [line.strip() for line in old.splitlines()].index(BEGIN)
            candidates = [with_block(without_block(old), number, lines)]
        else:
            rc, out, err = self.check_rules(old, anchor_text)
            if rc:
                raise Refused("%s: pf refuses it as it stands, nothing was changed: %s" % (self.pf_conf, err))
            candidates = [with_block(old, number, lines) for number in places(old)]
        tried = []
        for text in candidates:
            rc, out, err = self.check_rules(text, anchor_text)
            moved = old is not None and BEGIN in old
            if rc == 0 and (moved or not self.wants_block(own) or comes_first(out)):
                self.refuse_few_states(out)
                return text
            tried.append(err or "another filter rule would come before it")
        raise Refused(
            "%s: there is no line before which pf takes our anchor as the first filter rule (%s). Put this before your first filter rule yourself: %s"
            % (self.pf_conf, "; ".join(tried), " | ".join(lines))
        )

    def refuse_unread(self, old, anchor_text):
        """Refuse a pf.conf that pf, being on, has not read: to load it for our block's sake would put the rest into force, and what runs now is in no file."""
        # what `load anchor` brings is printed after the main ruleset, and is no part of it
        rc, out, err = self.check_rules(without_loads(old), anchor_text)
        # sorted: translation is asked for apart from the rules
        if sorted(top_rules(out)) == sorted(
            top_rules("".join(self.must("pfctl", "-s", kind) for kind in ("nat", "rules")))
        ):
            return
        raise Refused(
            "pf: what it runs is not what %s says, so loading that would change more than is meant and could not be taken back. Load it yourself "
            "(service pf reload), see that you still come in, and run this again" % self.pf_conf
        )

    def refuse_few_states(self, verbose):
        found = re.search(r"^set limit states (\d+)", verbose, re.MULTILINE)
        if found:
            limit = int(found[1])
        else:
            found = re.search(r"^states\s+hard limit\s+(\d+)", self.run("pfctl", "-s", "memory")[1], re.MULTILINE)
            limit = int(found[1]) if found else None
        if limit is not None and limit < self.p["states"] and not self.stateless(verbose):
            raise Refused(
                "pf: %s gives room for %d states, below %d (named's questions and the SMTP connections): put `set limit states %d` into it"
                % (self.pf_conf, limit, self.p["states"], self.p["states"])
            )

    def stateless(self, verbose):
        return " keep state" not in verbose and " modulate state" not in verbose

    # -- state=present ----------------------------------------------------------------------------------------------

    def present(self):
        daemon = self.name()
        where = self.paths(daemon)
        self.refuse_other_ways(daemon)
        operator = self.operator()
        self.pf_conf = self.find_pf_conf()
        self.take_back_pending()
        result = {
            "daemon": daemon,
            "operator": operator[0] if operator else "",
            "token": "",
            "predicted": False,
            "diff": [],
            "differs": [],
            "changed": False,
        }

        config = daemon_config(self.p["services"], {4: self.p["mask_ipv4"], 6: self.p["mask_ipv6"]}, self.allowed())
        old_config = read(where["config"])
        self.refuse_foreign(where["config"], old_config)
        old_pf = read(self.pf_conf)
        if not self.pf_loaded():
            if self.module.check_mode:
                result["predicted"] = True
            else:
                self.load_pf()
        own = self.find_own_anchor(old_pf, daemon)
        self.refuse_own_anchor(own, daemon)
        anchor_text = (
            anchor_rules(daemon, self.allowed(), self.p["rejects"].get("ports", []), own)
            if self.wants_block(own)
            else None
        )
        if result["predicted"]:
            # pf's own reading is not to be had without its module
            number = places(old_pf)[0] if old_pf is not None else 0
            new_pf = (
                minimal(block(self.anchor_file))
                if old_pf is None
                else old_pf
                if BEGIN in old_pf or not self.wants_block(own)
                else with_block(old_pf, number, block(self.anchor_file))
            )
            enabled = False
        else:
            new_pf = self.place_block(old_pf, anchor_text, own)
            enabled = self.pf_enabled()

        if config != old_config and not self.module.check_mode:
            self.check_daemon_config(daemon, config)
        self.remember(daemon, old_pf, enabled, old_config)
        self.remember_operators()
        self.put(result, where["config"], old_config, config, keep=old_config is not None and MARK not in old_config)

        old_anchor = read(self.anchor_file)
        if enabled and old_pf is not None and (own or new_pf != old_pf or not self.main_is_right(own)):
            self.refuse_unread(old_pf, anchor_text)
        at_boot, right = self.sysrc("pf_enable", "NO"), self.main_is_right(own)
        if not enabled or new_pf != old_pf or at_boot.upper() != "YES" or not right:
            result["changed"] = True
            for thing, wanted, found, wrong in (
                ("pf", "enabled", "disabled", not enabled),
                ("rc.conf: pf_enable", "YES", at_boot, at_boot.upper() != "YES"),
                (
                    "running pf: anchor",
                    "its rules evaluate anchor %s" % ANCHOR if self.wants_block(own) else "no anchor of this role",
                    "they do not" if self.wants_block(own) else "there is one",
                    not right and new_pf == old_pf,
                ),
            ):
                if wrong:
                    self.tell(result, thing, wanted, found)
            for path, before, after in ((self.pf_conf, old_pf, new_pf), (self.anchor_file, old_anchor, anchor_text)):
                if before != after:
                    result["diff"].append(self.diff(path, before, after))
            if not self.module.check_mode:
                result["token"] = self.arm(operator, new_pf, old_pf, anchor_text, old_anchor, enabled)
        elif old_anchor != anchor_text or anchor_text is not None and self.anchor_differs(anchor_text):
            result["changed"] = True
            if old_anchor != anchor_text:
                result["diff"].append(self.diff(self.anchor_file, old_anchor, anchor_text))
            else:
                self.tell(result, "running pf: rules of anchor %s" % ANCHOR, "those of %s" % self.anchor_file, "others")
            if not self.module.check_mode:
                # the anchor alone: nothing of the user's is read again, and tables without a list keep what they hold
                if anchor_text is None:
                    remove(self.anchor_file)
                    self.run("pfctl", "-q", "-a", ANCHOR, "-F", "all")
                else:
                    write(self.anchor_file, anchor_text, 0o644)
                    self.must("pfctl", "-q", "-a", ANCHOR, "-f", self.anchor_file)
        return result

    @staticmethod
    def tell(result, thing, expected, found):
        result.setdefault("differs", []).append({"thing": thing, "expected": expected, "found": found})

    def load_pf(self):
        rc, out, err = self.run("kldload", "-n", "pf")
        if rc:
            raise Refused(
                "sokuhai_blocklist: this kernel cannot load pf (%s); in a jail it is the host's part" % err.strip()
            )

    def remember(self, daemon, old_pf, enabled, old_config):
        """Write down, once, what there was before this role: state=absent goes back to it."""
        if self.module.check_mode or os.path.exists(self.record):
            return
        os.makedirs(self.state_dir, 0o755, exist_ok=True)
        before = {
            "pf_enable": self.sysrc("pf_enable", "NO"),
            "pf_was_on": enabled,
            "pf_had_rules": self.pf_has_rules(),
            "pf_conf": old_pf is not None and MARK not in old_pf,
            "daemon": daemon,
            "daemon_enable": self.sysrc(daemon + "_enable", "NO"),
            "daemon_flags": self.sysrc(daemon + "_flags", ""),
        }
        write(self.record, json.dumps(before, indent=1, sort_keys=True) + "\n", 0o600)

    def remember_operators(self):
        """Write down whom this run lets by, before it is written anywhere else: a run that is killed writes the same the next time."""
        record, operators = json.loads(read(self.record) or "{}"), self.operators()
        if not self.module.check_mode and record.get("operators") != operators:
            write(self.record, json.dumps(dict(record, operators=operators), indent=1, sort_keys=True) + "\n", 0o600)

    def put(self, result, path, old, new, mode=0o644, keep=False):
        """Write *new* to *path* unless it is *old*; keep tells to leave a copy of a file that is not this role's."""
        if old == new:
            if not self.module.check_mode and (os.stat(path).st_mode & 0o7777) != mode:
                os.chmod(path, mode)
                result["changed"] = True
            return
        result["changed"] = True
        # a program's text is no news to whoever reads the diff
        result["diff"].append(
            self.diff(path, old and "%d bytes\n" % len(old), "%d bytes\n" % len(new))
            if path == self.reporter
            else self.diff(path, old, new)
        )
        if not self.module.check_mode:
            if keep:
                write(path + ".previous", old, 0o600)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            write(path, new, mode)

    def put_reporter(self, result, daemon):
        counted = "* * * * *\troot\t%s %s\n" % (self.reporter, self.settings) if self.p["rejects"] else ""
        # a daemon that keeps every report's descriptor (15.0 does) runs out of them one day; -r puts back what it had listed
        nightly = (
            "23 4 * * *\troot\t/usr/sbin/service %s status >/dev/null 2>&1 && /usr/sbin/service %s restart >/dev/null 2>&1\n"
            % (daemon, daemon)
        )
        self.put(result, self.cron, read(self.cron), "%s; crontab(5).\n%s%s" % (MARK, counted, nightly))
        if not self.p["rejects"]:
            gone = [path for path in (self.reporter, self.settings) if os.path.exists(path)]
            if gone:
                result["changed"] = True
                if not self.module.check_mode:
                    remove(*gone)
                    self.run("pfctl", "-q", "-a", ANCHOR, "-t", REJECTS, "-T", "flush")
            return
        settings = dict(
            self.p["rejects"],
            allow=[str(n) for n in covering(self.allowed())],
            anchor=ANCHOR,
            table=REJECTS,
            mask_ipv4=self.p["mask_ipv4"],
            mask_ipv6=self.p["mask_ipv6"],
            state=self.state_dir + "/blocklist-rejects.json",
        )
        for path, text, mode in (
            (self.settings, json.dumps(settings, indent=1, sort_keys=True) + "\n", 0o644),
            (self.reporter, self.p["reporter"], 0o755),
        ):
            self.put(result, path, read(path), text, mode)

    def diff(self, path, old, new):
        return difference(path, old, new)

    # -- the change that waits --------------------------------------------------------------------------------------

    def take_back_pending(self):
        """A change that an earlier run left unconfirmed is taken back first, so that what we find is what there was."""
        for folder in sorted(glob.glob(self.run_dir + "/*/")):
            waits = os.path.exists(folder + "armed")
            # its own undo may be on its way, or have been killed there
            if not waits and not (
                os.path.exists(folder + "undone")
                and os.path.exists(folder + "pid")
                and not os.path.exists(folder + "finished")
            ):
                continue
            if self.module.check_mode:
                raise Refused(
                    "pf: a change of an earlier run still waits to be confirmed or taken back; try again in %d seconds"
                    % self.p["confirm_seconds"]
                )
            try:
                os.rename(folder + "armed", folder + "undone")
            except FileNotFoundError:
                pass  # its own undo was quicker, or the confirmation
            deadline = time.monotonic() + 60
            while os.path.exists(folder + "undone") and not os.path.exists(folder + "finished"):
                if not self.lives(folder + "pid") or time.monotonic() > deadline:
                    self.must("/bin/sh", folder + "change.sh", "undo")
                    break
                time.sleep(0.1)

    def lives(self, pid_file):
        """Tell whether the process whose number is in *pid_file* is there; it is not when the file is not."""
        try:
            os.kill(int(read(pid_file) or ""), 0)
        except (OSError, ValueError):
            return False
        return True

    def forget_changes(self):
        """Remove what earlier changes left, all at once: an undo that still looks must find everything or nothing."""
        old = "%s.%s" % (self.run_dir, secrets.token_hex(4))
        try:
            os.rename(self.run_dir, old)
        except FileNotFoundError:
            return
        shutil.rmtree(old, ignore_errors=True)

    def arm(self, operator, new_pf, old_pf, anchor_text, old_anchor, enabled):
        """Start the process that makes the change and takes it back unless it is confirmed. Return the change's token."""
        self.forget_changes()
        token = secrets.token_hex(8)
        here = os.path.join(self.run_dir, token)
        os.makedirs(here, 0o700)
        for name, path, old, new in (
            ("pf.conf", self.pf_conf, old_pf, new_pf),
            ("anchor", self.anchor_file, old_anchor, anchor_text),
        ):
            mode = mode_of(path)
            if new is not None:
                write(os.path.join(here, name + ".new"), new, mode)
            if old is None:
                write(os.path.join(here, name + ".none"), "", 0o644)
            else:
                write(os.path.join(here, name + ".before"), old, mode)
        write(here + "/connection", json.dumps(list(operator[:2]) if operator else None), 0o644)
        script = CHANGE
        for key, value in (
            ("MARK", MARK[2:]),
            ("HERE", here),
            ("PFCONF", self.pf_conf),
            ("ANCHORFILE", self.anchor_file),
            ("ANCHOR", ANCHOR),
            ("FLAGS", " ".join(shlex.quote(word) for word in self.flags)),
            ("WAS", "enabled" if enabled else "loaded" if self.pf_has_rules() else "disabled"),
        ):
            script = script.replace("@%s@" % key, value)
        write(here + "/change.sh", script, 0o700)
        write(here + "/armed", "", 0o644)
        self.must("/usr/sbin/daemon", "-f", "/bin/sh", here + "/change.sh", str(self.p["confirm_seconds"]))
        return token

    def confirmed(self):
        here = os.path.join(self.run_dir, os.path.basename(self.p["token"]))
        deadline = time.monotonic() + 20
        while not os.path.exists(here + "/applied"):
            if os.path.exists(here + "/undone") or not os.path.isdir(here):
                raise Refused("pf: %s" % (self.why_undone(here)))
            if time.monotonic() > deadline:
                raise Refused("pf: the change was not made within 20 seconds; it will be taken back")
            time.sleep(0.2)
        if os.path.exists(here + "/undone"):
            raise Refused("pf: %s" % self.why_undone(here))
        applied = time.time() - os.stat(here + "/applied").st_mtime
        before = json.loads(read(here + "/connection"))
        now = self.connection()
        if before is not None:
            if now is None or list(now[:2]) == before:
                raise Refused(
                    "pf: this is still the connection from before the change (%s port %s), which proves nothing; the change will be taken back"
                    % tuple(before)
                )
            if now[2] > applied + 1:
                raise Refused(
                    "pf: this connection was there %d seconds before the change; it will be taken back"
                    % (now[2] - applied)
                )
        if not self.pf_enabled():
            raise Refused("pf: it is not enabled; the change will be taken back")
        try:
            os.rename(here + "/armed", here + "/confirmed")
        except FileNotFoundError:
            raise Refused("pf: %s" % self.why_undone(here)) from None
        self.pf_conf = self.find_pf_conf()
        former = read(here + "/pf.conf.before")
        if former is not None and BEGIN not in former and MARK not in former:
            write(self.pf_conf + ".previous", former, 0o600)
        if self.sysrc("pf_enable", "NO").upper() != "YES":
            self.must("sysrc", "pf_enable=YES")
        return {"changed": True, "daemon": self.name(), "operator": now[0] if now else ""}

    def why_undone(self, here):
        errors = (read(here + "/errors") or "").strip()
        return (
            errors
            or "the change was taken back before it was confirmed; blocklist_confirm_seconds may be too few for this host"
        )

    # -- state=running ----------------------------------------------------------------------------------------------

    def master(self, where, daemon):
        """Return (pid, when it wrote its pid file), or None where the daemon does not run."""
        try:
            pid = int(read(where["pidfile"]) or "")
            os.kill(pid, 0)
            rc, out, err = self.run("ps", "-p", str(pid), "-o", "comm=", "-o", "args=")
            if rc or daemon not in out:
                return None
            return pid, os.stat(where["pidfile"]).st_mtime, out
        except (OSError, ValueError):
            return None

    def postfix_reports(self):
        """Tell whether smtpd reports failed AUTH and relay attempts: its port links it with the daemon's library then. None where that cannot be seen."""
        if not os.access(self.postconf, os.X_OK):
            return None
        smtpd = os.path.join(self.run(self.postconf, "-h", "daemon_directory")[1].strip(), "smtpd")
        rc, out, err = self.run("ldd", smtpd)
        return None if rc else re.search(r"\blib(block|black)list\.so", out) is not None

    def running(self):
        daemon = self.name()
        where = self.paths(daemon)
        result = {
            "changed": False,
            "daemon": daemon,
            "operator": "",
            "diff": [],
            "differs": [],
            "postfix_reports": self.postfix_reports(),
        }
        # only now: without pf's part it would complain once a minute
        self.put_reporter(result, daemon)
        self.tell_sshd(result)
        flags = self.sysrc(daemon + "_flags", "")
        wanted = flags if re.search(r"(^|\s)-[A-Za-z]*r", flags) else (flags + " -r").strip()
        master = self.master(where, daemon)
        stale = master is not None and (
            master[1] < os.stat(where["config"]).st_mtime if os.path.exists(where["config"]) else False
        )
        # without -r it would not put back after a boot what it had listed
        stale = stale or (master is not None and not re.search(r"\s-[A-Za-z]*r", master[2]))
        enable = self.sysrc(daemon + "_enable", "NO").upper() != "YES"
        for thing, declared, found, wrong in (
            ("rc.conf: %s_enable" % daemon, "YES", "NO", enable),
            ("rc.conf: %s_flags" % daemon, wanted, flags, wanted != flags),
            ("service %s" % daemon, "running", "not running", master is None),
            ("process %s" % daemon, "started with -r, after its configuration was written", "it was not", stale),
        ):
            if wrong:
                result["changed"] = True
                self.tell(result, thing, declared, found)
        if self.module.check_mode:
            return result
        if enable or wanted != flags:
            self.must("sysrc", "%s_enable=YES" % daemon, "%s_flags=%s" % (daemon, wanted))
        if master is None or stale:
            rc, out, err = self.run("service", daemon, "restart" if master else "start")
            self.wait_for_daemon(daemon, where, out + err)
        if self.p["rejects"]:
            rc, out, err = self.run(self.reporter, self.settings, "-v")
            if rc:
                raise Refused("blocklist_rejects: %s exits %d: %s" % (self.reporter, rc, (err or out).strip()[-500:]))
        if self.p["prove"] or result["changed"]:
            self.prove(daemon, where)
        return result

    def wait_for_daemon(self, daemon, where, said):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.master(where, daemon):
                try:
                    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                        client.connect(where["socket"])
                    return
                except OSError:
                    pass
            time.sleep(0.2)
        raise Refused("%s does not run: %s; see /var/log/messages" % (daemon, said.strip()))

    def prove(self, daemon, where):
        """List an address that nobody has by the daemon's own helper, find it in pf, and take it out."""
        port = str(self.p["services"][0]["port"])
        inside = ("pfctl", "-q", "-a", "%s/%s" % (daemon, port), "-t", "port" + port, "-T", "test", PROVED)
        rc, out, err = self.run(where["helper"], "add", daemon, "tcp", PROVED, "32", port, "")
        if rc or self.run(*inside)[0]:
            raise Refused("%s did not put an address into pf: exit %d, %s" % (where["helper"], rc, (out + err).strip()))
        self.run(where["helper"], "rem", daemon, "tcp", PROVED, "32", port, "")
        if self.run(*inside)[0] == 0:
            raise Refused("%s does not take an address out of pf again" % where["helper"])

    def tell_sshd(self, result):
        """sshd reports failed logins only when it is told to (UseBlocklist, UseBlacklist before FreeBSD 15; `no` by default)."""
        path = os.path.realpath(self.sshd_config)
        old = read(path)
        if old is None:
            return
        out = self.run(self.sshd, "-T")[1] if os.access(self.sshd, os.X_OK) else ""
        known = re.search(r"^(useblocklist|useblacklist) ", out, re.MULTILINE)
        keyword = (
            {"useblocklist": "UseBlocklist", "useblacklist": "UseBlacklist"}[known[1]]
            if known and self.p["sshd"]
            else ""
        )
        pid_file = re.search(r"^pidfile (/\S+)", out, re.MULTILINE)
        pid_file = pid_file[1] if pid_file else "/var/run/sshd.pid"
        new = ssh_config(old, keyword)
        if new != old:
            result["diff"].append(self.diff(path, old, new))
        elif not self.sshd_is_older(pid_file, path):
            return
        else:
            self.tell(result, "process sshd: configuration", "read after it was written", "older")
        result["changed"] = True
        if self.module.check_mode:
            return
        if new != old:
            staged = path + ".staged"
            try:
                write(staged, new, mode_of(path))
                self.must(self.sshd, "-t", "-f", staged)
                os.rename(staged, path)
            finally:
                remove(staged)
        # sessions stay; only the listener reads again
        runs = self.lives(pid_file)
        rc, out, err = self.run("service", "sshd", "reload")
        if rc and runs:
            raise Refused(
                "blocklist_sshd: %s is written, but sshd did not read it (service sshd reload: exit %d): %s"
                % (path, rc, (err or out).strip())
            )
        # the listener removes its pid file, begins anew under its old number, and writes the file last
        deadline = time.monotonic() + 10
        while runs and (not self.lives(pid_file) or self.sshd_is_older(pid_file, path)):
            if time.monotonic() > deadline:
                raise Refused(
                    "blocklist_sshd: sshd has not read %s within 10 seconds of service sshd reload; see /var/log/auth.log"
                    % path
                )
            time.sleep(0.1)

    def sshd_is_older(self, pid_file, path):
        """Tell whether sshd runs since before its configuration *path* was written: a run that was killed in between wrote it and told nobody.

        At SIGHUP sshd executes itself anew and writes its pid file again (sighup_restart and main in crypto/openssh/sshd.c), so that file's time is that of its
        last reading. A configuration from the future (a clock that was set) tells nothing.
        """
        try:
            return self.lives(pid_file) and os.stat(pid_file).st_mtime < os.stat(path).st_mtime <= time.time()
        except FileNotFoundError:
            return False  # it has just begun anew

    # -- state=absent -----------------------------------------------------------------------------------------------

    def absent(self):
        self.pf_conf = self.find_pf_conf()
        before = json.loads(read(self.record) or "null")
        # a base system may have lost it since
        daemon = self.installed() or (before or {}).get("daemon") or NAMES[0]
        where = self.paths(daemon)
        result = {"changed": False, "daemon": daemon, "operator": "", "diff": []}
        text = read(self.pf_conf)
        ours = text is not None and BEGIN in text
        if before is None and not ours and not os.path.exists(self.anchor_file):
            return result
        before = before or {
            "pf_enable": "YES",
            "pf_was_on": True,
            "pf_conf": True,
            "daemon_enable": "NO",
            "daemon_flags": "",
        }
        result["changed"] = True
        rest = without_block(text) if text is not None else None
        whole = rest is not None and rest == without_block(minimal(block(self.anchor_file)))
        if ours:
            result["diff"].append(self.diff(self.pf_conf, text, "" if whole else rest))
        if self.module.check_mode:
            return result
        self.take_back_pending()
        # the counter first, then the daemon: neither may list anybody while pf's part goes
        remove(
            self.cron,
            self.reporter,
            self.settings,
            self.state_dir + "/blocklist-rejects.json",
            self.state_dir + "/blocklist-rejects.json.lock",
        )
        self.p["sshd"] = False
        self.tell_sshd(result)
        if before["daemon_enable"].upper() != "YES" and self.master(where, daemon):
            self.run("service", daemon, "onestop")
        self.must(
            "sysrc",
            "%s_enable=%s" % (daemon, before["daemon_enable"]),
            "%s_flags=%s" % (daemon, before["daemon_flags"]),
        )
        previous = read(where["config"] + ".previous")
        if previous is not None and MARK in (read(where["config"]) or ""):
            write(where["config"], previous, 0o644)
        if before["daemon_enable"].upper() == "YES" and self.installed():
            self.run("service", daemon, "restart")
        loaded = self.pf_loaded()
        if loaded and os.access(where["helper"], os.X_OK):
            self.run(where["helper"], "flush", daemon)
        if whole and not before["pf_conf"]:
            remove(self.pf_conf)
        elif ours:
            write(self.pf_conf, rest, mode_of(self.pf_conf))
        if loaded and not before["pf_was_on"]:
            if self.pf_enabled():
                self.must("pfctl", "-q", "-d")
            # what pf held while it was off came from this file, or from nowhere
            if (
                not before.get("pf_had_rules")
                or not os.path.exists(self.pf_conf)
                or self.run("pfctl", "-q", "-f", self.pf_conf, *self.flags)[0]
            ):
                self.run("pfctl", "-q", "-F", "rules")
        elif loaded and ours:
            self.must("pfctl", "-q", "-f", self.pf_conf, *self.flags)
        if loaded:
            self.run("pfctl", "-q", "-a", ANCHOR, "-F", "all")
        if self.sysrc("pf_enable", "NO") != before["pf_enable"]:
            self.must("sysrc", "pf_enable=%s" % before["pf_enable"])
        remove(self.anchor_file, where["config"] + ".previous", self.pf_conf + ".previous", self.record)
        self.forget_changes()
        try:
            os.rmdir(self.state_dir)
        except OSError:
            pass  # another role's
        return result


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "confirmed", "running", "absent"], "default": "present"},
            "services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "nfail": {"type": "int", "required": True},
                    "duration": {"type": "str", "required": True},
                },
            },
            "mask_ipv4": {"type": "int", "default": 32},
            "mask_ipv6": {"type": "int", "default": 64},
            "allow": {"type": "list", "elements": "str", "default": []},
            "rejects": {"type": "dict", "default": {}},
            "reporter": {"type": "str", "default": ""},
            "states": {"type": "int", "default": 0},
            "sshd": {"type": "bool", "default": True},
            "confirm_seconds": {"type": "int", "default": 90},
            "replace": {"type": "bool", "default": False},
            "own_anchor": {"type": "bool", "default": False},
            "token": {"type": "str", "default": "", "no_log": False},
            "prove": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    try:
        result = getattr(host, module.params["state"])()
    except Refused as reason:
        module.fail_json(msg=str(reason))
    except (OSError, KeyError, ValueError) as problem:
        module.fail_json(msg="blocklist: %s: %s" % (type(problem).__name__, problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
