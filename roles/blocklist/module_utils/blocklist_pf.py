# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""pf(4): what a pf.conf says, where our lines may stand in it, and what pf makes of it before anything is replaced."""

import getopt
import ipaddress
import os
import re
import tempfile

from ansible.module_utils.sokuhai import rc
from ansible.module_utils.sokuhai.blocks import get_block, set_block
from ansible.module_utils.sokuhai.host import Refused, run, write

ANCHOR = "sokuhai"
ANCHOR_FILE = "/etc/pf.sokuhai.conf"
BLOCK = "sokuhai blocklist"
BEGIN = "# BEGIN " + BLOCK
# what starts a filter rule in pf.conf(5); translation and normalization come before, by pf's own order
FILTERS = ("block", "pass", "match", "anchor", "antispoof")
TRANSLATIONS = ("scrub", "nat", "rdr", "binat", "nat-anchor", "rdr-anchor", "binat-anchor")
# options of pfctl(8) that may stand in pf_flags, as getopt(3) has them: of those that bear on what is loaded, and of those that only print, or
# enable pf, which is done here by itself
LOADING, PRINTING = "D:o:m", "qvgrPe"


# ---- the text of a pf.conf ----


def without_block(text, name="pf.conf"):
    """Return *text* without our marked lines. Raises Refused for a block without its end: what stands behind it is not ours. name: the file's."""
    return set_block(text, BLOCK, name, [])


def without_loads(text):
    """Return the pf.conf *text* without our lines and without what loads an anchor."""
    return re.sub(r"(?m)^\s*load\s+anchor\b.*$", "", without_block(text))


def marked(text):
    """Return our lines in *text*, their marks included (list of str); [] where there are none."""
    inside = get_block(text, BLOCK, "pf.conf")
    return [] if inside is None else [BEGIN, *inside, "# END " + BLOCK]


def place_of(text):
    """Return the number of the line, from 0, at which our block begins in *text*, or None."""
    lines = [line.strip() for line in text.splitlines()]
    return lines.index(BEGIN) if BEGIN in lines else None


def statements(text):
    """Yield (number of its first line from 0, first word) of each statement of a pf.conf: continued lines and braces are one statement."""
    depth, start, word = 0, None, ""
    for number, line in enumerate(text.splitlines()):
        bare = re.sub(r'("[^"]*")|#.*', lambda match: match[1] or "", line)
        if start is None:
            if not bare.strip():
                continue
            start, word = number, bare.split()[0]
        depth += bare.count("{") - bare.count("}")
        if bare.rstrip().endswith("\\") or depth > 0:
            continue
        yield start, word
        depth, start = 0, None
    if start is not None:
        yield start, word


def places(text):
    """Return the line numbers before which our block may stand in the pf.conf *text*, best first.

    Before the first filter rule, so that no `quick` of the user's comes earlier; an include or a macro in a rule's place may hold the first one.
    """
    found = list(statements(text))
    first = next((number for number, word in found if word in FILTERS), len(text.splitlines()))
    return [first] + [n for n, word in found if n < first and (word == "include" or word.startswith("$"))]


def with_block(text, number, lines):
    """Return *text* with *lines* before its line *number*."""
    old = text.splitlines(keepends=True)
    if old and number == len(old) and not old[-1].endswith("\n"):
        old[-1] += "\n"
    return "".join(old[:number] + [line + "\n" for line in lines] + old[number:])


def own_anchor(text, daemon):
    """Return the line by which the pf.conf *text*, or what pfctl printed of one, evaluates the daemon's anchor itself; '' where it does not."""
    found = re.search(r'^[ \t]*(anchor\s+"?/?%s(/\*)?"?(\s.*)?)$' % daemon, without_block(text), re.MULTILINE)
    return found[1].strip() if found else ""


def load_options(flags):
    """Return the options of rc.conf's pf_flags (text) that belong to every reading of pf.conf, a list of words.

    rc.d/pf hands them to pfctl(8) unquoted, so white space parts them and nothing else does. Raises Refused for one by which pfctl loads less than
    the whole file, or does something else.
    """
    try:
        found, rest = getopt.getopt(flags.split(), LOADING + PRINTING)
    except getopt.GetoptError as problem:
        found, rest = [], [problem.msg]
    if rest:
        raise Refused(
            "pf: pf_flags of rc.conf is %r: %s. Only -D, -o and -m, and what prints (-%s), make `service pf start` load the whole of pf.conf; with "
            "another, this role's part would not be in force after a boot. Remove it" % (flags, rest[0], PRINTING)
        )
    return [word for option, value in found if option[1] not in PRINTING for word in (option, value) if word]


# ---- what pfctl(8) prints ----


def comes_first(verbose):
    """Return whether our anchor is the first filter rule in what `pfctl -nvf` printed."""
    rules = (line.split() for line in verbose.splitlines())
    first = next((words for words in rules if words and words[0] in FILTERS), [])
    return first[:2] == ["anchor", '"%s"' % ANCHOR]


def top_rules(printed):
    """Return the rules of the main ruleset in what pfctl printed (-nvf, or -s nat and -s rules), sorted, without ours and without what is inside an anchor."""
    found = []
    for line in printed.splitlines():
        words = line.split()
        if not words or line[0].isspace() or words[:2] == ["anchor", '"%s"' % ANCHOR]:
            continue
        if words[0] in FILTERS + TRANSLATIONS:
            # the optimizer names its tables by chance
            found.append(re.sub(r"<__automatic_\w+>", "<__automatic>", line.rstrip(" {")))
    return sorted(found)


def lists(text):
    """Return {table: set of networks} of the tables of the anchor *text* that have a list."""
    found = re.findall(r"^table <(\w+)> persist \{ (.*) \}$", text, re.MULTILINE)
    return {name: set(map(ipaddress.ip_network, inside.split())) for name, inside in found}


# ---- pf on this host ----


def pfctl(*words):
    """Run pfctl(8). Raises Refused where it fails."""
    status, out, err = run(["pfctl", *words])
    if status:
        raise Refused("pfctl %s: exit %d: %s" % (" ".join(words), status, (err or out).strip()))
    return out


class Pf:
    """pf as rc.conf sets it up: conf, the file of its rules; flags, the options that file is read with; at_boot, pf_enable."""

    def __init__(self):
        found = rc.read(["pf_rules", "pf_flags", "pf_enable"])
        # a symbolic link stays one, and what it leads to is written
        self.conf = os.path.realpath(found.get("pf_rules") or "/etc/pf.conf")
        self.flags = load_options(found.get("pf_flags", ""))
        self.at_boot = found.get("pf_enable", "NO")

    @staticmethod
    def loaded(load=False):
        """Return whether the kernel has pf. load: load its module where it has not. Raises Refused where that cannot be done."""
        if run(["kldstat", "-qm", "pf"])[0] == 0:
            return True
        status, _out, err = run(["kldload", "-n", "pf"]) if load else (0, "", "")
        if status:
            raise Refused(
                "sokuhai_blocklist: this kernel cannot load pf (%s); in a jail, the host has to" % err.strip()
            )
        return load

    @staticmethod
    def enabled():
        return run(["pfctl", "-s", "Running"])[0] == 0

    @staticmethod
    def rules():
        """Return what pf holds, be it on or off: its rules as pfctl prints them, '' where there are none or pf is not there."""
        status, out, _err = run(["pfctl", "-s", "rules"])
        return out.strip() if status == 0 else ""

    def evaluates_anchor(self):
        return re.search(r'^anchor "%s"( |$)' % ANCHOR, self.rules(), re.MULTILINE) is not None

    def reload(self):
        pfctl("-q", "-f", self.conf, *self.flags)

    def try_rules(self, text, anchor):
        """Have pf read *text* as pf.conf with *anchor* as our anchor's file; return (whether it took them, what it printed, its complaint)."""
        # not beside the real ones: this is done in check mode too
        with tempfile.TemporaryDirectory(prefix="sokuhai-") as folder:
            staged, staged_anchor = folder + "/pf.conf", folder + "/anchor"
            write(staged_anchor, anchor or "", 0o600)
            write(staged, text.replace('from "%s"' % ANCHOR_FILE, 'from "%s"' % staged_anchor), 0o600)
            # where pf.conf lies, so that an include by a relative name is found
            status, out, err = run(["pfctl", "-nvf", staged, *self.flags], cwd=os.path.dirname(self.conf))
        return status == 0, out, err.replace(staged_anchor, ANCHOR_FILE).replace(staged, self.conf).strip()

    def find_own_anchor(self, text, daemon):
        """Return the line by which the pf.conf *text* (None for no file), or what it includes, evaluates the daemon's anchor; '' for none."""
        found = own_anchor(text or "", daemon)
        if not found and text is not None and self.loaded():
            # without `load anchor`: what that brings belongs to no rule of this file
            found = own_anchor(self.try_rules(without_loads(text), "")[1], daemon)
        return found

    def place(self, old, minimal, anchor, states):
        """Return pf.conf's new text, which pf has read; our anchor, where there is anything in it, is evaluated before every other filter rule.

        old: the text that is there, None for no file. minimal: a whole pf.conf with our marked lines, for a host without one. anchor: the text of our
        anchor's file, None where we have nothing to put into it. states: as many pf has to have room for. Where the kernel has no pf to ask, the
        text is the one that pf would probably take. Raises Refused.
        """
        lines, complaints, moved = marked(minimal), [], old is not None and place_of(old) is not None
        if old is None:
            candidates = [minimal]
        elif not anchor:
            candidates = [without_block(old)]
        elif moved:
            # where the user moved it, it stays
            candidates = [with_block(without_block(old), place_of(old), lines)]
        else:
            candidates = [with_block(old, number, lines) for number in places(old)]
        if not self.loaded():
            return candidates[0]
        if old is not None and anchor and not moved:
            good, _printed, err = self.try_rules(old, anchor)
            if not good:
                raise Refused("%s: pf rejects it as it is, nothing was changed: %s" % (self.conf, err))
        for text in candidates:
            good, printed, err = self.try_rules(text, anchor)
            if good and (moved or not anchor or comes_first(printed)):
                self.refuse_few_states(printed, states)
                return text
            complaints.append(err or "another filter rule would come before it")
        raise Refused(
            "%s: there is no line before which pf accepts our anchor as the first filter rule (%s). Put this before your first filter rule yourself: %s"
            % (self.conf, "; ".join(complaints), " | ".join(lines))
        )

    def refuse_unread(self, old, anchor):
        """Refuse a pf.conf that pf, being on, has not read: to load it for our block's sake would put the rest into force, and what runs now is in no file."""
        # what `load anchor` brings is printed after the main ruleset, and is not part of it
        printed = self.try_rules(without_loads(old), anchor)[1]
        if top_rules(printed) != top_rules(pfctl("-s", "nat") + pfctl("-s", "rules")):
            raise Refused(
                "pf: the running rules are not those of %s, so loading it would change more than intended and could not be reverted. Load it yourself "
                "(service pf reload), check that you can still log in, and run this again" % self.conf
            )

    def refuse_few_states(self, verbose, states):
        """Refuse rules that keep states without room for so many. verbose: what `pfctl -nvf` printed of them."""
        found = re.search(r"^set limit states (\d+)", verbose, re.MULTILINE)
        if not found:
            found = re.search(r"^states\s+hard limit\s+(\d+)", run(["pfctl", "-s", "memory"])[1], re.MULTILINE)
        if found and int(found[1]) < states and (" keep state" in verbose or " modulate state" in verbose):
            raise Refused(
                "pf: %s has room for %s states, below %d (named's queries and the SMTP connections): put `set limit states %d` into it"
                % (self.conf, found[1], states, states)
            )

    @staticmethod
    def anchor_differs(text):
        """Return whether what pf has in our anchor is not *text*: its printed rules are compared with what pfctl prints of the file, and the tables that have a list."""
        with tempfile.NamedTemporaryFile("w", prefix="sokuhai-") as staged:
            staged.write(text)
            staged.flush()
            printed = pfctl("-a", ANCHOR, "-nvf", staged.name)
        wanted = [line for line in printed.splitlines() if line.strip() and not line.startswith("table ")]
        if [line for line in run(["pfctl", "-a", ANCHOR, "-s", "rules"])[1].splitlines() if line.strip()] != wanted:
            return True
        for name, networks in lists(text).items():
            status, out, _err = run(["pfctl", "-a", ANCHOR, "-t", name, "-T", "show"])
            if status or set(map(ipaddress.ip_network, out.split())) != networks:
                return True
        return False

    @staticmethod
    def put_anchor(text):
        """Load our anchor alone, '' for nothing in it: nothing of the user's is read again, and tables without a list keep what they hold."""
        if text:
            write(ANCHOR_FILE, text, 0o644)
            pfctl("-q", "-a", ANCHOR, "-f", ANCHOR_FILE)
        else:
            os.unlink(ANCHOR_FILE)
            run(["pfctl", "-q", "-a", ANCHOR, "-F", "all"])
