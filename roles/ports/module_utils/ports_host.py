# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the modules of role ports share: what a port is to be, what it is, what is between; and the build itself.

Runs on the host: Python 3.9 or newer, standard library only. Everything is imported here at the top, because the build goes on in a
process of its own after Ansible has removed the module's files.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from ansible.module_utils.sokuhai import blocks, host
from ansible.module_utils.sokuhai.host import PATH, Refused, free_mib, read, service_pid, sha256, sysctl, write
from ansible.module_utils.sokuhai.limits import parse_swapinfo

#: Annotations (pkg-annotate(8)) that say how a package was built. They are part of its record in the package database, so a package that
#: replaces it does not have them.
TAGS = (
    "sokuhai_built",
    "sokuhai_fd_setsize",
    "sokuhai_header",
    "sokuhai_flag",
    "sokuhai_cflags",
    "sokuhai_options",
    "sokuhai_tree",
)
#: What a drift of this kind asks for: a new build, a smaller step, or only a word to the operator.
BUILDS = ("missing", "repository", "flavor", "options", "cflags", "header", "probe", "libraries", "interrupted")
MAKE_VARIABLES = (
    "PKGBASE",
    "PKGVERSION",
    "FLAVORS",
    "FLAVOR",
    "COMPLETE_OPTIONS_LIST",
    "PORT_OPTIONS",
    "CFLAGS",
    "CC",
    "PKGORIGIN",
    "STAGEDIR",
    "WRKDIR",
)
DEFINE = re.compile(r"^#[ \t]*define[ \t]+FD_SETSIZE[ \t]+([0-9]+)", re.M)

#: Says, in the object file itself, how large an fd_set is for whoever is compiled with these flags: read as bytes and never run, so that
#: it serves for any target. The last number is what -D gave, before the header had a word.
PROBE = r"""
#ifdef FD_SETSIZE
#define BY_FLAG FD_SETSIZE
#else
#define BY_FLAG 0
#endif
#include <sys/types.h>
#include <sys/select.h>
#define DIGIT(n, d) (char)('0' + (n) / (d) % 10)
#define DIGITS(n) DIGIT(n, 100000000), DIGIT(n, 10000000), DIGIT(n, 1000000), DIGIT(n, 100000), DIGIT(n, 10000), \
	DIGIT(n, 1000), DIGIT(n, 100), DIGIT(n, 10), DIGIT(n, 1)
extern const char sokuhai_probe[];
const char sokuhai_probe[] = { 's', 'o', 'k', 'u', 'h', 'a', 'i', ' ', 'p', 'r', 'o', 'b', 'e', ' ',
	DIGITS(sizeof(fd_set)), ' ', DIGITS(FD_SETSIZE), ' ', DIGITS(BY_FLAG), ';' };
"""
#: Has make(1) fail rather than build a dependency (Mk/Scripts/do-depends.sh).
PACKAGES_ONLY = "USE_PACKAGE_DEPENDS_ONLY=yes"
#: How it then names the first one that is not there: by the file in which its package would lie in PACKAGES.
LACKING = re.compile(r"depends on package: \S*/([^/\s]+)-[^-/\s]+\.[a-z]+ - not found")
PROBED = re.compile(rb"sokuhai probe ([0-9]{9}) ([0-9]{9}) ([0-9]{9});")


# ---- pure ----


def slug(item):
    """The port's name in file names: dns_bind920, mail_postfix@sasl."""
    return item["origin"].replace("/", "_") + ("@" + item["flavor"] if item["flavor"] else "")


def title(item):
    """The port's name in messages: dns/bind920, mail/postfix@sasl."""
    return item["origin"] + ("@" + item["flavor"] if item["flavor"] else "")


def sha(text, length=16):
    """The first hexadecimal digits of the SHA-256 of text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def hash_flags(flags):
    """A hash of compiler flags (str) that does not depend on white space."""
    return sha(" ".join(flags.split()))


def hash_options(options):
    """A hash of the options that are on (iterable of str)."""
    return sha(" ".join(sorted(options)))


def block_lines(item):
    """The lines for the port's block in make.conf (list of str); none when nothing is declared.

    The guard has no pattern behind the origin: */mail/postfix* would reach mail/postfix-policyd-spf-perl as well. A slave port such as
    dns/bind-tools has a .CURDIR of its own and is not reached.
    """
    lines = []
    if item["cflags"]:
        lines.append("CFLAGS+=\t" + " ".join(item["cflags"]))
    # saved option files (make config) beat OPTIONS_SET, the _FORCE forms beat them (Mk/bsd.options.mk)
    for variable, names in (("OPTIONS_SET_FORCE", item["options_set"]), ("OPTIONS_UNSET_FORCE", item["options_unset"])):
        if names:
            lines.append("%s+=\t%s" % (variable, " ".join(names)))
    lines += item["make_conf"]
    if not lines:
        return []
    return [".if ${.CURDIR:M*/%s}" % item["origin"]] + lines + [".endif"]


def mark(item):
    """The name of the port's block in make.conf."""
    return "sokuhai ports " + item["origin"]


def get_block(text, item, path):
    """The lines of the port's block in make.conf, as blocks.get_block gives them."""
    return blocks.get_block(text, mark(item), path)


def set_block(text, item, path, body):
    """make.conf's text with the lines body as the port's block, as blocks.set_block makes it."""
    return blocks.set_block(text, mark(item), path, body)


def parse_make(text):
    """{variable: value} of what make -V printed, one line for each of MAKE_VARIABLES."""
    lines = text.split("\n")
    return {name: lines[number].strip() if number < len(lines) else "" for number, name in enumerate(MAKE_VARIABLES)}


def nearest(name, known):
    """` (did you mean X?)`, or nothing."""
    near = difflib.get_close_matches(name.upper(), [k.upper() for k in known], n=1, cutoff=0.6)
    found = [k for k in known if near and k.upper() == near[0]]
    return " (did you mean %s?)" % found[0] if found else ""


def problems_of_names(item, tree):
    """Declared options that the port does not know, or that its groups do not let be. item: the port; tree: parse_make's answer."""
    known, on, found = tree["COMPLETE_OPTIONS_LIST"].split(), tree["PORT_OPTIONS"].split(), []
    for variable in ("options_set", "options_unset"):
        for name in item[variable]:
            if name not in known:
                found.append(
                    "%s of %s: the port has no option %s%s; it has %s"
                    % (variable, title(item), name, nearest(name, known), " ".join(sorted(known)) or "none")
                )
    for name in item["options_set"]:
        if name in known and name not in on:
            found.append(
                "options_set of %s: %s stays off; another line of make.conf, or a group of which only one may be on, is against it"
                % (title(item), name)
            )
    for name in item["options_unset"]:
        if name in known and name in on:
            found.append(
                "options_unset of %s: %s stays on; another line of make.conf is against it" % (title(item), name)
            )
    return found


def parse_pairs(text):
    """{key: value} of lines key=value."""
    return dict((line.split("=", 1)) for line in text.splitlines() if "=" in line)


def parse_packages(text):
    """[{name, version, origin, repository, locked, installed}] of `pkg query -a '%n|%v|%o|%R|%k|%t'`."""
    found = []
    for line in text.splitlines():
        words = line.split("|")
        if len(words) == 6:
            found.append(
                {
                    "name": words[0],
                    "version": words[1],
                    "origin": words[2],
                    "repository": words[3],
                    "locked": words[4] == "1",
                    "installed": int(words[5]) if words[5].isdigit() else 0,
                }
            )
    return found


def parse_repositories(text):
    """{name: url} of the enabled repositories in what `pkg -vv` printed."""
    found, name, url, enabled = {}, None, None, True
    for line in text.splitlines():
        opened = re.match(r"^\s+([A-Za-z0-9_.-]+): \{\s*$", line)
        if opened:
            name, url, enabled = opened.group(1), None, True
            continue
        if name is None:
            continue
        value = re.match(r'^\s+(url|enabled)\s*:\s*"?([^",]*)"?', line)
        if value and value.group(1) == "url":
            url = value.group(2)
        elif value:
            enabled = value.group(2).strip() in ("yes", "true")
        if re.match(r"^\s*\}", line):
            if url and enabled:
                found[name] = url
            name = None
    return found


def wanted_branch(repositories):
    """quarterly, main or None: the branch of the ports tree that the host's packages are built from.

    repositories: {name: url}. pkg.FreeBSD.org has one directory for each: quarterly, and latest, built from main (etc/pkg/FreeBSD.conf).
    """
    for url in repositories.values():
        match = re.search(r"[Ff]ree[Bb][Ss][Dd]\.org/.*/(quarterly|latest|release_\d+)\s*/?$", url)
        if match:
            return {"latest": "main"}.get(
                match.group(1), "quarterly" if match.group(1) == "quarterly" else None
            ) or None
    return None


def quarter(now):
    """Name of the quarterly branch at the time now (epoch seconds): 2026Q4."""
    day = time.gmtime(now)
    return "%dQ%d" % (day.tm_year, (day.tm_mon - 1) // 3 + 1)


def branch_problem(branch, wanted, now):
    """(problem or None, note or None): the tree's branch (None where unknown) against the packages'.

    Mixing the two gives programs whose libraries are of another age (handbook, ports). The branch of a past quarter gets no more
    security fixes.
    """
    if wanted is None:
        return (
            None,
            "the repositories of pkg are not FreeBSD's own: whether the ports tree is of their branch is not known",
        )
    if branch is None:
        return (
            None,
            "the ports tree is no git checkout: whether it is of branch %s, as the packages are, is not known" % wanted,
        )
    quarterly = re.match(r"\d{4}Q[1-4]$", branch)
    if wanted == "main" and branch != "main" or wanted == "quarterly" and not quarterly:
        return "the ports tree is of branch %s, the host's packages are of %s" % (
            branch,
            quarter(now) if wanted == "quarterly" else "main",
        ), None
    if quarterly and branch < quarter(now):
        return None, "the ports tree is of %s, which ended: %s is the present one" % (branch, quarter(now))
    return None, None


def judge(item, tree, package, order, libraries, vulnerable, job, settings):
    """What lies between the port that is there and the declared one, as [{kind, message}].

    tree: parse_make's answer. package: None, or an entry of parse_packages with annotations, options ({name: on|off}). order: -1 where its
    version is below the tree's, 0, 1. libraries: names of missing ones. vulnerable: bool. job: the record of
    the last build, or None. settings: fd_setsize, header (bool), lock.
    """
    found, name = [], title(item)

    def say(kind, text):
        found.append({"kind": kind, "message": "%s: %s" % (name, text)})

    if job and job.get("phase") in ("swap", "record", "restart"):
        say("interrupted", "an installation that began at %s did not end" % clock(job.get("since")))
    if package is None:
        say("missing", "not installed")
        return found
    full = "%s-%s" % (package["name"], package["version"])
    notes = package["annotations"]
    built = notes.get("sokuhai_built", "")
    if package["repository"] != "unknown-repository" or not built.isdigit():
        say(
            "repository",
            "%s is %s"
            % (
                full,
                "the package of repository %s" % package["repository"]
                if package["repository"] != "unknown-repository"
                else "from a file or a port, without a record of how it was built",
            ),
        )
    else:
        flavor = notes.get("flavor", "")
        if tree["FLAVOR"] and flavor != tree["FLAVOR"]:
            say("flavor", "%s is flavor %s, %s is declared" % (full, flavor or "(none)", tree["FLAVOR"]))
        on = set(tree["PORT_OPTIONS"].split())
        # the default of an option may have changed since; that is part of being behind
        asked = set(
            tree["COMPLETE_OPTIONS_LIST"].split() if order == 0 else item["options_set"] + item["options_unset"]
        )
        differ = sorted(
            option
            for option in asked & set(package["options"])
            if (package["options"][option] == "on") != (option in on)
        )
        if differ:
            say(
                "options",
                "%s was built with %s"
                % (
                    full,
                    ", ".join(
                        "%s %s, declared %s" % (o, package["options"][o], "on" if o in on else "off") for o in differ
                    ),
                ),
            )
        if notes.get("sokuhai_cflags") != hash_flags(tree["CFLAGS"]):
            say("cflags", "%s was built before CFLAGS became %s" % (full, tree["CFLAGS"]))
        if settings["header"] and number(notes.get("sokuhai_header")) != settings["fd_setsize"]:
            say(
                "header",
                "%s was built while sys/select.h said %s, not %d"
                % (full, notes.get("sokuhai_header", "nothing known"), settings["fd_setsize"]),
            )
        if settings["fd_setsize"] and number(notes.get("sokuhai_fd_setsize")) != settings["fd_setsize"]:
            say(
                "probe",
                "the probe of %s's build says FD_SETSIZE %s, declared is %d"
                % (full, notes.get("sokuhai_fd_setsize", "unknown"), settings["fd_setsize"]),
            )
    # what its own build left lacking the next would, too
    lacks = job.get("lacks", []) if job and job.get("phase") == "done" else []
    fresh = [library for library in libraries if library not in lacks]
    if fresh:
        say("libraries", "%s lacks %s: what it was linked with was replaced" % (full, ", ".join(fresh)))
    elif libraries:
        say(
            "lacking",
            "%s lacks %s, and did so as soon as it was built here: look at `pkg check -d %s`"
            % (full, ", ".join(libraries), package["name"]),
        )
    if order < 0:
        say("behind", "%s is behind the ports tree, which has %s" % (full, tree["PKGVERSION"]))
    if vulnerable:
        say(
            "vulnerable",
            "%s has a known vulnerability (pkg audit)%s"
            % (
                full,
                ", and its lock keeps pkg upgrade from mending it: bring the ports tree up to date and run with ports_update: true"
                if package["locked"]
                else "",
            ),
        )
    if settings["lock"] and not package["locked"] and not any(d["kind"] in BUILDS for d in found):
        say("unlocked", "%s is not locked: the next pkg upgrade replaces it" % full)
    return found


def builds(drift, update):
    """Whether this drift asks for a build. update (bool): whether one that is only behind does."""
    return any(d["kind"] in BUILDS or (update and d["kind"] == "behind") for d in drift)


def number(text):
    return int(text) if text is not None and str(text).isdigit() else None


def clock(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "an unknown time"


def last_lines(text, count):
    """The last lines of a log that say something, one string."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def lacking(text):
    """Name of the package that `make depends` with PACKAGES_ONLY failed for, by what it printed; None where it failed for something else."""
    found = LACKING.findall(text)
    return found[-1] if found else None


def probe_result(data):
    """(bits of an fd_set, FD_SETSIZE, what -D gave or 0) from the bytes of the probe's object file, or None."""
    match = PROBED.search(data)
    return (int(match.group(1)) * 8, int(match.group(2)), int(match.group(3))) if match else None


# ---- the host ----


def tail(path, size=65536):
    """The last bytes of a file as text; empty where there is none."""
    try:
        with open(path, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - size))
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def put_make_conf(settings, text):
    """Write make.conf (str), and remember where there was none, so that none is left when the last block goes. Returns nothing."""
    path, made = settings["make_conf_file"], os.path.join(settings["state_dir"], "make_conf_made")
    if text or not os.path.exists(made):
        if not os.path.exists(path):
            # first: a run that is killed in between leaves a mark for a file that the next one writes
            os.makedirs(settings["state_dir"], 0o755, exist_ok=True)
            write(made, "")
        write(path, text)
        return
    os.unlink(path)
    os.unlink(made)


def environment(item=None):
    """Environment of every command: nothing of the caller's but what it takes to be found; the flavor as the ports tree wants it."""
    env = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "BATCH": "yes", "ASSUME_ALWAYS_YES": "yes"}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "SSL_CA_CERT_FILE"):
        if name in os.environ:
            env[name] = os.environ[name]
    if item and item["flavor"]:
        env["FLAVOR"] = item["flavor"]
    return env


def run(argv, item=None, timeout=300):
    """(exit status, stdout, stderr) of a short command; 127 when it is not there."""
    return host.run(argv, timeout, environment(item))


def make_argv(item, settings, *words):
    """make(1) in the port's directory; the port's own work and packages go where the role says."""
    return [
        "make",
        "-C",
        os.path.join(settings["tree"], item["origin"]),
        "PORTSDIR=" + settings["tree"],
        "WRKDIRPREFIX=" + settings["work_dir"],
        "PACKAGES=" + settings["package_dir"],
        "BATCH=yes",
    ] + list(words)


def ask_tree(item, settings, make_conf=None):
    """The port's variables as make(1) sees them with the make.conf to be (path). Raises Refused with make's own words."""
    words = (["__MAKE_CONF=" + make_conf] if make_conf else []) + [w for name in MAKE_VARIABLES for w in ("-V", name)]
    status, out, err = run(make_argv(item, settings, *words), item)
    if status:
        raise Refused("%s: make says %s" % (title(item), last_lines(err or out, 5)))
    tree = parse_make(out)
    # make -V answers for a flavor that there is not; only a build fails (IGNORE)
    if item["flavor"] and item["flavor"] not in tree["FLAVORS"].split():
        raise Refused(
            "flavor of %s: the port has no flavor %s%s; it has %s"
            % (
                item["origin"],
                item["flavor"],
                nearest(item["flavor"], tree["FLAVORS"].split()),
                tree["FLAVORS"] or "none",
            )
        )
    return tree


def check_groups(item, settings, make_conf=None):
    """Refused where the port's groups of options (one of, at most one of) do not let the declared ones be, in the port's own words."""
    words = (["__MAKE_CONF=" + make_conf] if make_conf else []) + ["check-config"]
    status, out, err = run(make_argv(item, settings, *words), item)
    if status:
        said = [line.replace("====>", "").strip() for line in (out + err).splitlines() if line.startswith("====>")]
        raise Refused(
            "options_set, options_unset of %s: %s" % (title(item), "; ".join(said) or last_lines(out + err, 4))
        )


def packages():
    return parse_packages(run(["pkg", "query", "-a", "%n|%v|%o|%R|%k|%t"])[1])


def installed(item, name, every):
    """The package of this port that is there, with annotations and options, or None. every: what packages() gave."""
    mine = [p for p in every if p["origin"] == item["origin"]]
    mine.sort(key=lambda p: p["name"] != name)
    if not mine:
        return None
    package = dict(mine[0])
    package["annotations"] = parse_pairs(run(["pkg", "query", "%At=%Av", package["name"]])[1])
    package["options"] = parse_pairs(run(["pkg", "query", "%Ok=%Ov", package["name"]])[1])
    return package


def compare_versions(left, right):
    """-1, 0 or 1: how pkg itself orders two versions."""
    return {"<": -1, "=": 0, ">": 1}.get(run(["pkg", "version", "-t", left, right])[1].strip(), 0)


def missing_libraries(name):
    """Libraries and dependencies that pkg check -d finds missing; its status says nothing about libraries (src/check.c)."""
    lines = run(["pkg", "check", "-dnq", name])[1].splitlines()
    return [line.split("\t")[1] for line in lines if line.count("\t") == 1]


def vulnerable(full):
    """Whether pkg audit knows this name-version; None when it has no database yet (pkg audit -F, which periodic(8) runs daily)."""
    status, out, err = run(["pkg", "audit", "-q", full])
    if status and not out.strip():
        return None
    return bool(out.strip())


def tree_head(tree):
    """(branch, commit) of a git checkout without git; (None, None) where it is none."""
    head = (read(os.path.join(tree, ".git/HEAD")) or "").strip()
    match = re.match(r"ref: refs/heads/(\S+)$", head)
    if not match:
        return None, head if re.match(r"[0-9a-f]{40}$", head) else None
    commit = (read(os.path.join(tree, ".git", head[5:])) or "").strip()
    if not commit:
        packed = re.search(
            r"^([0-9a-f]{40}) " + re.escape(head[5:]) + "$", read(os.path.join(tree, ".git/packed-refs")) or "", re.M
        )
        commit = packed.group(1) if packed else None
    return match.group(1), commit or None


def memory_mb():
    """Memory and swap in megabytes."""
    return ((number((sysctl("hw.physmem") or "").strip()) or 0) >> 20) + parse_swapinfo(run(["swapinfo", "-k"])[1])


def running_program(item):
    """(pid, inode, change time) of a port's daemon and its program file, or None when it does not run."""
    pid = service_pid(item["service"]) if item["service"] and item["program"] else None
    if pid is None or not os.path.exists(item["program"]):
        return None
    found = os.stat(item["program"])
    return pid, found.st_ino, found.st_ctime_ns


def restart_due(item, before=None):
    """Why the running daemon is not the installed one, or None: its program file was put there after it started.

    before: running_program() of before the caller put the program there himself; then it is known exactly. Else the file's change time tells, because a
    package sets the time of modification. One second, since ps(1) knows seconds only: it never restarts a daemon in vain, and does not see one that was
    started in the second or two before.
    """
    now = running_program(item)
    if now is None:
        return None
    replaced = before is not None and now[0] == before[0] and now != before
    if not replaced:
        elapsed = run(["ps", "-o", "etimes=", "-p", str(now[0])])[1].strip()
        if not elapsed.isdigit() or os.stat(item["program"]).st_ctime <= time.time() - int(elapsed) + 1:
            return None
    return "%s: the running %s (pid %d) was started before %s was installed" % (
        title(item),
        item["service"],
        now[0],
        item["program"],
    )


def answers(listen):
    """Whether something accepts on this port of the loopback address, and greets as it should. listen: {port, greeting}."""
    try:
        with socket.create_connection(("127.0.0.1", int(listen["port"])), timeout=10) as connection:
            if not listen.get("greeting"):
                return True
            connection.settimeout(20)
            return connection.recv(200).decode("utf-8", "replace").startswith(listen["greeting"])
    except OSError:
        return False


class Job:
    """The record of one port's build: what is being done, by which process, since when; and the lock that says whether it still is."""

    def __init__(self, item, settings):
        self.folder = os.path.join(settings["state_dir"], slug(item))
        self.file, self.lock_file = os.path.join(self.folder, "job.json"), os.path.join(self.folder, "lock")
        self.log = os.path.join(settings["log_dir"], "sokuhai-ports-%s.log" % slug(item))

    def read(self):
        try:
            return json.loads(read(self.file) or "null")
        except ValueError:
            return None

    def write(self, job):
        write(self.file, json.dumps(job, indent=1, sort_keys=True) + "\n")

    def lock(self):
        """A descriptor that holds the lock, or None when a build (or what is left of one) has it."""
        os.makedirs(self.folder, 0o755, exist_ok=True)
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def running(self):
        if not os.path.exists(self.lock_file):
            return False
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False


class Failed(Exception):
    """A step that did not succeed; the message is the operator's."""


class Worker:
    """Builds the package, and only then swaps it in. Runs detached from the connection that asked for it."""

    def __init__(self, item, settings, job, descriptor):
        self.item, self.settings, self.job, self.descriptor = item, settings, job, descriptor
        self.state = job.read() or {}
        self.deadline = time.monotonic() + settings["timeout"]
        self.log = None

    # -- steps --

    def phase(self, name, **more):
        self.state.update(more, phase=name, phase_since=int(time.time()))
        self.job.write(self.state)
        self.say("=> sokuhai: %s" % name)

    def say(self, text):
        self.log.write((text + "\n").encode("utf-8", "replace"))
        self.log.flush()

    def command(self, argv, what=None, hold=False):
        """Run a command with its output in the log. Raises Failed.

        hold: its descendants hold the lock, too, so that a second build never begins beside what a killed worker left of the first. Not for what
        starts a daemon, which would hold it for ever.
        """
        self.say("=> " + " ".join(argv))
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment(self.item),
            start_new_session=True,
            pass_fds=(self.descriptor,) if hold else (),
        )
        try:
            status = process.wait(timeout=max(1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failed(
                "%s did not end within ports_timeout = %d s" % (what or " ".join(argv), self.settings["timeout"])
            ) from None
        if status:
            raise Failed("%s ended with status %d" % (what or " ".join(argv), status))

    def make(self, *words):
        self.command(make_argv(self.item, self.settings, *words), "make %s" % " ".join(words), hold=True)

    def dependencies(self):
        """What the port itself needs comes as packages: built here, it would be compiled with the raised header, too.

        make says which pattern (file, library, version) nothing satisfies, one at a time; pkg brings that package and what it needs to run. Not
        by `make missing` and install-missing-packages: they go down into what would be needed to build a missing dependency, and to test it
        (Mk/Scripts/depends-list.sh -m with _UNIFIED_DEPENDS), and hand all of it to one pkg install, which one unknown name fails.
        """
        tried = []
        while True:
            status, out, err = run(make_argv(self.item, self.settings, "depends", PACKAGES_ONLY), self.item, 1800)
            self.say((out + err).rstrip())
            if not status:
                return
            name = lacking(out + err)
            # once more for a pkg(8) that first brought itself up to date
            if name is None or tried.count(name) > 1:
                raise Failed(
                    "make depends: %s%s"
                    % (last_lines(err or out, 3), ". pkg install %s did not change that" % name if name else "")
                )
            tried.append(name)
            there = any(package["name"] == name for package in packages())
            try:
                # what is there already, too old, stays the operator's own
                self.command(["pkg", "install", "-y" if there else "-yA", name])
            except Failed as reason:
                raise Failed(
                    "%s needs %s, which no repository gives (%s), and it would be compiled with the raised sys/select.h if it were built "
                    "here. Install it, or switch off the option that asks for it" % (title(self.item), name, reason)
                ) from reason

    def clean(self):
        """Remove the port's work directory, whose name is make's own answer. Not by `make clean`, which needs space for its start."""
        folder, top = os.path.realpath(self.state["tree"]["WRKDIR"]), os.path.realpath(self.settings["work_dir"])
        if top.strip("/") and folder.startswith(top + "/"):
            shutil.rmtree(folder, ignore_errors=True)

    def probe(self):
        """Compile the probe as the port compiles, once more with what -D said taken away. Raises Failed unless both say what is wanted."""
        tree, folder = self.state["tree"], tempfile.mkdtemp(prefix="sokuhai-probe-")
        try:
            source = os.path.join(folder, "probe.c")
            write(source, PROBE)
            seen = []
            for number_, more in enumerate((["-fno-lto"], ["-fno-lto", "-UFD_SETSIZE"])):
                output = os.path.join(folder, "probe%d.o" % number_)
                # through sh, as the port's own configure and make do
                self.command(
                    [
                        "sh",
                        "-c",
                        "exec %s %s %s -c -o %s %s" % (tree["CC"], tree["CFLAGS"], " ".join(more), output, source),
                    ],
                    "compiling the probe",
                )
                with open(output, "rb") as handle:
                    found = probe_result(handle.read())
                if found is None:
                    raise Failed("the probe's object file says nothing")
                seen.append(found)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        (bits, dummy, flag), (header_bits, header, dummy2) = seen
        self.say("=> fd_set has %d bits, %d by the header alone, -D gave %d" % (bits, header_bits, flag))
        wanted = self.settings["fd_setsize"]
        if wanted and bits != wanted:
            raise Failed(
                "the probe, compiled as the port is, has an fd_set of %d, not %d: CFLAGS are %s, sys/select.h says %d"
                % (bits, wanted, tree["CFLAGS"], header)
            )
        if self.settings["header"] and header_bits != wanted:
            raise Failed(
                "sys/select.h gives the compiler an fd_set of %d, not %d: role fd_setsize has to come first"
                % (header_bits, wanted)
            )
        return {"sokuhai_fd_setsize": bits, "sokuhai_header": header_bits, "sokuhai_flag": flag}

    def prove_programs(self):
        """The flags as the built programs themselves tell them, before anything is installed."""
        if not self.settings["prove_programs"]:
            return
        for path in self.item["proof"]:
            staged = self.state["tree"]["STAGEDIR"] + path
            try:
                with open(staged, "rb") as handle:
                    data = handle.read()
            except OSError as error:
                raise Failed("no proof that the flags arrived: %s" % error) from error
            absent = [flag for flag in self.item["cflags"] if flag.encode() not in data]
            if absent:
                raise Failed(
                    "%s was built without %s: something between make.conf and the compiler drops it"
                    % (path, " ".join(absent))
                )

    def build(self):
        tree = self.state["tree"]
        self.phase("dependencies")
        self.dependencies()
        self.clean()
        self.phase("fetch")
        self.make("checksum", PACKAGES_ONLY)
        self.phase("build")
        try:
            self.make("package", PACKAGES_ONLY)
            package = os.path.join(
                self.settings["package_dir"], "All", "%s-%s.pkg" % (tree["PKGBASE"], tree["PKGVERSION"])
            )
            if not os.path.exists(package):
                raise Failed("make package left no %s" % package)
            self.phase("probe")
            notes = self.probe()
            self.prove_programs()
        finally:
            self.clean()
        notes.update(
            {
                "sokuhai_built": int(time.time()),
                "sokuhai_cflags": hash_flags(tree["CFLAGS"]),
                "sokuhai_options": hash_options(tree["PORT_OPTIONS"].split()),
                "sokuhai_tree": self.state["commit"] or "unknown",
            }
        )
        self.phase("packaged", package=package, notes=notes, package_sha256=sha256(package))

    def save(self):
        """Keep what is installed as a package of its own: the way back."""
        saved = []
        mine = [p for p in packages() if p["origin"] == self.item["origin"]]
        if mine:
            os.makedirs(self.settings["saved_dir"], 0o755, exist_ok=True)
        for package in mine:
            self.command(
                ["pkg", "create", "-o", self.settings["saved_dir"], package["name"]],
                "pkg create of the installed %s-%s" % (package["name"], package["version"]),
            )
            path = os.path.join(self.settings["saved_dir"], "%s-%s.pkg" % (package["name"], package["version"]))
            if not os.path.exists(path):
                raise Failed("pkg create left no %s" % path)
            saved.append(
                {
                    "name": package["name"],
                    "path": path,
                    "locked": package["locked"],
                    "annotations": {
                        tag: value
                        for tag, value in parse_pairs(run(["pkg", "query", "%At=%Av", package["name"]])[1]).items()
                        if tag in TAGS
                    },
                }
            )
        listens = [listen for listen in self.item["listens"] if answers(listen)]
        return {
            "saved": saved,
            "listens": listens,
            "served": bool(self.item["service"]) and service_pid(self.item["service"]) is not None,
        }

    def install(self, path, name):
        """Put the package of a file in the place of whatever this port had."""
        for package in packages():
            if package["origin"] == self.item["origin"]:
                if package["locked"]:
                    self.command(["pkg", "unlock", "-yq", package["name"]])
                if package["name"] != name:
                    self.command(["pkg", "delete", "-fy", package["name"]])
        # not pkg add -f: that leaves behind the files which only the former version had
        self.command(["pkg", "install", "-fyU", path])
        # pkg install says 0 also when it left a locked package as it was
        if not any("%s-%s.pkg" % (p["name"], p["version"]) == os.path.basename(path) for p in packages()):
            raise Failed("pkg install of %s left no such package" % path)

    def record(self, name, notes):
        have = parse_pairs(run(["pkg", "query", "%At=%Av", name])[1])
        for tag, value in sorted(notes.items()):
            if have.get(tag) != str(value):
                self.command(["pkg", "annotate", "-qy" + ("M" if tag in have else "A"), name, tag, str(value)])

    def serve(self):
        """Restart the daemon on what is installed now. Raises Failed unless everything that answered before answers again."""
        if not self.state["served"]:
            return
        # "one": a daemon that runs without its X_enable is restarted, too
        self.command(["service", self.item["service"], "onerestart"])
        end = time.monotonic() + self.settings["answer_timeout"]
        silent = list(self.state["listens"])
        while time.monotonic() < end:
            silent = [listen for listen in silent if not answers(listen)]
            if not silent and service_pid(self.item["service"]) is not None:
                return
            time.sleep(0.5)
        raise Failed(
            "%s does not run, or does not answer on port %s, %d s after its restart"
            % (
                self.item["service"],
                ", ".join(str(listen["port"]) for listen in silent) or "(any)",
                self.settings["answer_timeout"],
            )
        )

    def swap(self):
        """From the proven package to the running daemon; every step may be done twice."""
        name, state = self.state["tree"]["PKGBASE"], self.state
        try:
            self.install(state["package"], name)
            self.phase("record")
            self.record(name, state["notes"])
            if self.settings["lock"]:
                self.command(["pkg", "lock", "-yq", name])
            self.phase("restart")
            self.serve()
        except Failed as reason:
            raise Failed("%s. %s" % (reason, self.put_back(name))) from reason

    def put_back(self, name):
        """Return to the saved package; a sentence about how that went."""
        if not self.state["saved"]:
            return "Nothing of this port was installed before, so there is nothing to go back to"
        try:
            self.deadline = max(self.deadline, time.monotonic() + 600)
            for package in packages():
                if package["origin"] == self.item["origin"] and package["locked"]:
                    self.command(["pkg", "unlock", "-yq", package["name"]])
            for saved in self.state["saved"]:
                self.install(saved["path"], saved["name"])
                self.record(saved["name"], saved["annotations"])
                if saved["locked"]:
                    self.command(["pkg", "lock", "-yq", saved["name"]])
            self.serve()
        except Failed as reason:
            return "Going back to %s failed, too: %s" % (", ".join(s["path"] for s in self.state["saved"]), reason)
        return "%s is back" % ", ".join(os.path.basename(s["path"])[:-4] for s in self.state["saved"])

    # -- all of it --

    def work(self):
        os.makedirs(os.path.dirname(self.job.log), exist_ok=True)
        fresh = self.state["phase"] == "begin"
        if fresh and os.path.exists(self.job.log):
            os.replace(self.job.log, self.job.log + ".0")
        with open(self.job.log, "ab") as self.log:
            self.say("=> sokuhai: %s, %s" % (title(self.item), clock(time.time())))
            try:
                for folder in (self.settings["work_dir"], os.path.join(self.settings["package_dir"], "All")):
                    os.makedirs(folder, 0o755, exist_ok=True)
                if self.state["phase"] == "begin":
                    self.build()
                if self.state["phase"] == "packaged":
                    self.phase("swap", **self.save())
                self.swap()
                self.phase("done", finished=int(time.time()), lacks=missing_libraries(self.state["tree"]["PKGBASE"]))
            except Exception as reason:  # whatever it is, the operator has to read it
                failed_in = self.state["phase"]
                where = (
                    "it is as it was"
                    if failed_in in ("begin", "dependencies", "fetch", "build", "probe", "packaged")
                    else "see above"
                )
                self.say("=> sokuhai: failed: %s" % reason)
                self.state.update(
                    phase="failed",
                    failed_in=failed_in,
                    message=str(reason) if isinstance(reason, Failed) else repr(reason),
                    installed=where,
                    finished=int(time.time()),
                )
                self.job.write(self.state)


def detach(function):
    """Run function() in a process of its own that outlives this one, its connection and its terminal."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.chdir("/")
        os.umask(0o022)
        function()
    finally:
        os._exit(0)


# ---- arguments that both modules take ----

PORT_OPTIONS = {
    "origin": {"type": "str", "required": True},
    "flavor": {"type": "str", "default": ""},
    "package": {"type": "str", "default": ""},
    "options_set": {"type": "list", "elements": "str", "default": []},
    "options_unset": {"type": "list", "elements": "str", "default": []},
    "cflags": {"type": "list", "elements": "str", "default": []},
    "make_conf": {"type": "list", "elements": "str", "default": []},
    "service": {"type": "str", "default": ""},
    "program": {"type": "str", "default": ""},
    "listens": {"type": "list", "elements": "dict", "default": []},
    "proof": {"type": "list", "elements": "str", "default": []},
}
SETTINGS = {
    "method": {"type": "str", "choices": ["ports", "repository"], "default": "ports"},
    "repository": {"type": "str", "default": ""},
    "tree": {"type": "path", "default": "/usr/ports"},
    "branch": {"type": "str", "default": "auto"},
    "fetch": {"type": "str", "choices": ["none", "git"], "default": "none"},
    "make_conf_file": {"type": "path", "default": "/etc/make.conf"},
    "work_dir": {"type": "path", "default": "/usr/obj/ports"},
    "package_dir": {"type": "path", "default": "/var/db/sokuhai/packages"},
    "saved_dir": {"type": "path", "default": "/var/db/sokuhai/saved"},
    "state_dir": {"type": "path", "default": "/var/db/sokuhai/ports"},
    "log_dir": {"type": "path", "default": "/var/log"},
    "fd_setsize": {"type": "int", "default": 0},
    "header": {"type": "path", "default": ""},
    "lock": {"type": "bool", "default": True},
    "update": {"type": "bool", "default": False},
    "prove_programs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 14400},
    "answer_timeout": {"type": "int", "default": 60},
    "min_disk_mb": {"type": "int", "default": 2000},
    "min_memory_mb": {"type": "int", "default": 1000},
}


def header_value(path):
    """FD_SETSIZE in the header, or None."""
    match = DEFINE.search(read(path) or "")
    return int(match.group(1)) if match else None


class Port:
    """One port on this host: its declaration, what is there, and what is to be done."""

    def __init__(self, item, settings, every=None):
        self.item, self.settings = item, settings
        self.job = Job(item, settings)
        self.every = every if every is not None else packages()
        self.package, self.drift, self.tree, self.diff = None, [], {}, []
        self.make_conf = self.make_conf_wanted = ""
        self.order = 0
        self.branch, self.commit = tree_head(settings["tree"]) if settings["method"] == "ports" else (None, None)

    def look(self):
        """Read everything; changes nothing. Raises Refused for a declaration that the port does not know."""
        if self.settings["method"] == "repository":
            self.look_at_repository()
        else:
            self.look_at_tree()
        due = restart_due(self.item)
        if due:
            self.drift.append({"kind": "process", "message": due})

    def look_at_repository(self):
        name = self.item["package"] or os.path.basename(self.item["origin"]) + (
            "-" + self.item["flavor"] if self.item["flavor"] else ""
        )
        self.tree = dict.fromkeys(MAKE_VARIABLES, "")
        self.tree["PKGBASE"] = name
        self.package = package = installed(self.item, name, self.every)
        label = title(self.item)
        if package is None:
            self.drift.append({"kind": "missing", "message": "%s: not installed" % label})
            return
        full = "%s-%s" % (package["name"], package["version"])
        if package["repository"] != self.settings["repository"] or package["name"] != name:
            self.drift.append(
                {
                    "kind": "repository",
                    "message": "%s: %s is of repository %s, %s of %s is declared"
                    % (label, full, package["repository"], name, self.settings["repository"]),
                }
            )
        wrong = [o for o in self.item["options_set"] if package["options"].get(o, "off") != "on"]
        wrong += [o for o in self.item["options_unset"] if package["options"].get(o, "off") == "on"]
        if wrong:
            self.drift.append(
                {
                    "kind": "options",
                    "message": "%s: %s was built with other options than declared (%s); set them in the "
                    "options of the repository's builder" % (label, full, " ".join(wrong)),
                }
            )
        self.common(package, full)

    def common(self, package, full):
        libraries = missing_libraries(package["name"])
        if libraries:
            self.drift.append(
                {"kind": "libraries", "message": "%s: %s lacks %s" % (title(self.item), full, ", ".join(libraries))}
            )
        if vulnerable(full):
            self.drift.append(
                {
                    "kind": "vulnerable",
                    "message": "%s: %s has a known vulnerability (pkg audit)" % (title(self.item), full),
                }
            )

    def look_at_tree(self):
        item, settings = self.item, self.settings
        place = os.path.join(settings["tree"], item["origin"])
        if not os.path.exists(os.path.join(place, "Makefile")):
            raise Refused("%s: %s/Makefile is not there" % (title(item), place))
        self.make_conf = read(settings["make_conf_file"]) or ""
        body = block_lines(item)
        self.make_conf_wanted = set_block(self.make_conf, item, settings["make_conf_file"], body)
        staged = None
        if self.make_conf_wanted != self.make_conf:
            had = get_block(self.make_conf, item, settings["make_conf_file"])
            self.drift.append(
                {
                    "kind": "make_conf",
                    "message": "%s: its block in %s is %s"
                    % (title(item), settings["make_conf_file"], "missing" if had is None else "not as declared"),
                }
            )
            self.diff.append(
                {
                    "before": self.make_conf,
                    "after": self.make_conf_wanted,
                    "before_header": settings["make_conf_file"],
                    "after_header": settings["make_conf_file"],
                }
            )
            descriptor, staged = tempfile.mkstemp(prefix="sokuhai-make.conf-")
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as handle:
                handle.write(self.make_conf_wanted)
        try:
            self.tree = ask_tree(item, settings, staged)
            wrong = problems_of_names(item, self.tree)
            if wrong:
                raise Refused("; ".join(wrong))
            self.compare()
            if self.to_build:
                check_groups(item, settings, staged)
        finally:
            if staged:
                os.unlink(staged)

    def compare(self):
        """What is there against what the tree would give."""
        item, settings = self.item, self.settings
        self.package = package = installed(item, self.tree["PKGBASE"], self.every)
        full = "%s-%s" % (package["name"], package["version"]) if package else ""
        self.order = compare_versions(package["version"], self.tree["PKGVERSION"]) if package else 0
        self.drift += judge(
            item,
            self.tree,
            package,
            self.order,
            missing_libraries(package["name"]) if package else [],
            vulnerable(full) if package else False,
            self.job.read(),
            {"fd_setsize": settings["fd_setsize"], "header": bool(settings["header"]), "lock": settings["lock"]},
        )

    @property
    def to_build(self):
        if self.settings["method"] == "repository":
            # other options, or other libraries, are the builder's to give; the same package again would not mend them
            return any(d["kind"] in ("missing", "repository") for d in self.drift)
        return builds(self.drift, self.settings["update"])

    def key(self):
        """What the result of a build depends on: a package that was built by the same is taken, not built again."""
        return sha(
            json.dumps(
                [
                    self.item["origin"],
                    self.item["flavor"],
                    self.tree["PKGBASE"],
                    self.tree["PKGVERSION"],
                    self.tree["CFLAGS"].split(),
                    sorted(self.tree["PORT_OPTIONS"].split()),
                    self.settings["fd_setsize"],
                    bool(self.settings["header"]),
                    self.commit,
                    self.settings["method"],
                ]
            ),
            32,
        )

    def problems(self):
        """What keeps a build from beginning; asked only where one is needed."""
        settings, found = self.settings, []
        if settings["method"] == "repository" or not self.to_build:
            return found
        free = free_mib(settings["work_dir"])
        if free < settings["min_disk_mb"]:
            found.append(
                "ports_min_disk_mb: %d MB free where %s is, %d are needed to build %s"
                % (free, settings["work_dir"], settings["min_disk_mb"], title(self.item))
            )
        memory = memory_mb()
        if memory < settings["min_memory_mb"]:
            found.append(
                "ports_min_memory_mb: %d MB of memory and swap, %d are needed to build %s: add swap"
                % (memory, settings["min_memory_mb"], title(self.item))
            )
        package = self.package
        if self.order > 0:
            found.append(
                "%s: the ports tree has %s, %s-%s is installed; bring the tree up to date (git -C %s pull --ff-only)"
                % (title(self.item), self.tree["PKGVERSION"], package["name"], package["version"], settings["tree"])
            )
        return found

    def summary(self):
        package = self.package
        return {
            "origin": self.item["origin"],
            "flavor": self.item["flavor"],
            "name": self.tree["PKGBASE"],
            "version": self.tree["PKGVERSION"],
            "installed": "%s-%s" % (package["name"], package["version"]) if package else "",
            "build": self.to_build,
            "drift": self.drift,
            "recorded": {k: v for k, v in package["annotations"].items() if k in TAGS} if package else {},
            "locked": bool(package and package["locked"]),
            "running": self.job.running(),
        }
