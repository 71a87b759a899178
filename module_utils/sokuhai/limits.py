# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a FreeBSD host grants: kernel values and what may set them, login classes, the descriptor limits of what runs."""

import os
import re

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.blocks import get_block

#: The name of the marked blocks that role limits keeps, and its own file for the loader.
MARK = "sokuhai limits"
LOADER_FILE = "/boot/loader.conf.d/sokuhai.conf"
#: What sets kernel values at boot, in the order in which it is read: by rc.d/sysctl, which has the last word, and by the loader.
SYSCTL_FILES = ("/etc/sysctl.conf", "/etc/sysctl.conf.local")
LOADER_FILES = ("/boot/loader.conf", "/boot/loader.conf.local")
LOADER_FOLDER = "/boot/loader.conf.d"
RC_FOLDERS = ("/etc/rc.d", "/usr/local/etc/rc.d")
#: name=value with # comments, quoted or not: sysctl.conf(5) (sbin/sysctl/sysctl.c takes a colon too) and loader.conf(5).
SETTING = re.compile(r'^\s*([A-Za-z0-9_.%-]+)\s*[=:]\s*("[^"]*"|[^#]*)')


# ---- what FreeBSD prints and reads ----


def parse_values(lines):
    """Return {name: value} (str) of the lines of a sysctl.conf, a loader.conf, or what kenv(1) prints; None is no lines."""
    values = {}
    for line in lines or []:
        match = SETTING.match(line)
        if match:
            values[match.group(1)] = match.group(2).strip().strip('"')
    return values


def parse_settings(path, text):
    """Return [{file, line, name, value}] of the kernel values that the file *path* sets, without what stands between our marks.

    Only a name with a dot is one; the other names of a loader.conf are the loader's own.
    """
    found, ours = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() in ("# BEGIN " + MARK, "# END " + MARK):
            ours = "BEGIN" in line
        elif not ours:
            for name, value in parse_values([line]).items():
                if "." in name:
                    found.append({"file": path, "line": number, "name": name, "value": value})
    return found


def parse_class(text, name="openfiles"):
    """Return the row *name* of what limits(1) prints of a login class, an int or "infinity"; None where it is missing."""
    found = re.search(r"^ *%s +(\d+|infinity)" % name, text, re.M)
    return found and (found.group(1) if found.group(1) == "infinity" else int(found.group(1)))


def parse_rlimits(text, name="openfiles"):
    """Return {pid: (soft, hard)} of the rows *name* of `procstat rlimit pid ...`; None stands for infinity."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[0].isdigit() and fields[2] == name:
            found[int(fields[0])] = tuple(
                None if number.startswith("infinity") else int(number) for number in fields[3:5]
            )
    return found


def parse_swapinfo(text):
    """Return the MiB (int) of swap that `swapinfo -k` lists. With more than one device a line of their total follows, which is not counted again."""
    rows = (line.split() for line in text.splitlines())
    return (
        sum(int(words[1]) for words in rows if len(words) > 1 and words[0].startswith("/dev/") and words[1].isdigit())
        >> 10
    )


# ---- asking ----


def descriptors(*pids):
    """Return {pid: (soft, hard)} of how many descriptors the running processes *pids* (int) may have; None stands for infinity."""
    return parse_rlimits(host.run(["procstat", "rlimit"] + [str(pid) for pid in pids])[1])


def memory():
    """Return the MiB (int) of RAM and of swap."""
    return (host.sysctl_int("hw.physmem") or 0) >> 20, parse_swapinfo(host.run(["swapinfo", "-k"])[1])


class Host:
    """Files and commands of a host. root: a directory in front of every path (tests)."""

    def __init__(self, root=""):
        self.root = root

    def path(self, name):
        return self.root + name

    def run(self, argv):
        return host.run(argv)

    def read(self, name):
        return host.read(self.path(name))

    def is_dir(self, name):
        return os.path.isdir(self.path(name))

    def sysctls(self, names):
        """Return {name: value} (str) of the kernel values *names* (a list); what the kernel does not know is left out."""
        # -i passes over what is unknown, without a word and with status 0 (parse() of sbin/sysctl/sysctl.c)
        pairs = (line.partition("=") for line in self.run(["sysctl", "-ie", *names])[1].splitlines())
        return {name: value.strip() for name, equal, value in pairs if equal and name in names}

    def flagged(self, option, names, known):
        """Return those of *names* that sysctl(8) lists with *option*: T, tunables of the loader; W, writable in the running kernel.

        known: names that answer. One that is hidden from -a (CTLFLAG_SKIP) still does when it is named.
        """
        listed = set(self.run(["sysctl", "-aN" + option])[1].split())
        return [
            n for n in names if n in listed or (n in known and self.run(["sysctl", "-N" + option, n])[1].strip() == n)
        ]

    def foreign(self):
        """Return [{file, line, name, value}] of the lines that set kernel values and are not ours, sysctl.conf first."""
        paths = list(SYSCTL_FILES + LOADER_FILES)
        if self.is_dir(LOADER_FOLDER):
            paths += sorted(
                "%s/%s" % (LOADER_FOLDER, name)
                for name in os.listdir(self.path(LOADER_FOLDER))
                if name.endswith(".conf")
            )
        return [entry for path in paths if path != LOADER_FILE for entry in parse_settings(path, self.read(path) or "")]

    def ours(self):
        """Return {sysctl, loader: {name: value}}: what our block of sysctl.conf and our file for the loader say. Raises Refused for a damaged block."""
        path = SYSCTL_FILES[0]
        return {
            "sysctl": parse_values(get_block(self.read(path) or "", MARK, path)),
            "loader": parse_values((self.read(LOADER_FILE) or "").splitlines()),
        }

    def limit_of_class(self, name):
        """Return openfiles of a login class as the system sees it, an int or "infinity", or None where there is no such class.

        limits(1) answers for default then, with status 0.
        """
        status, out, err = self.run(["limits", "-C", name, "-n"])
        if status or "non-existent" in err:
            return None
        return parse_class(out)

    def rc_script(self, service):
        """Return {path, start_cmd} of the rc script that service(8) takes, or None. start_cmd: it starts past the limits(1) of rc.subr."""
        for folder in RC_FOLDERS:
            path = "%s/%s" % (folder, service)
            if os.access(self.path(path), os.X_OK):
                return {"path": path, "start_cmd": bool(re.search(r"^\s*start_cmd=", self.read(path) or "", re.M))}
        return None

    def running(self, service):
        """Return {pid, soft, hard} of a service's main process, its limits of descriptors each an int or "infinity", or None where it does not run."""
        match = re.search(r"as pid (\d+)", self.run(["service", service, "onestatus"])[1])
        if not match:
            return None
        pid = int(match.group(1))
        soft, hard = parse_rlimits(self.run(["procstat", "rlimit", str(pid)])[1]).get(pid, (0, 0))
        return {"pid": pid, "soft": "infinity" if soft is None else soft, "hard": "infinity" if hard is None else hard}
