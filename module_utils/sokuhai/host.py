# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Commands and files of the host that a module runs on."""

import contextlib
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import subprocess
import tempfile
import time

#: Where FreeBSD and its packages have their commands. What becomes root by doas(1), or runs below cron(8), has a shorter one.
PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
#: How the caller reaches repositories, and pkg(8) its own.
FROM_CALLER = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "SSL_CA_CERT_FILE")
#: pkg(8) waits so many seconds for another one that is at work, periodic(8)'s or the owner's. By itself it gives up after 5 (pkg.conf(5)), and says
#: nothing of the packages it was asked about.
PATIENCE = {"LOCK_RETRIES": "100"}
#: The caller's environment, with that path and messages in English.
ENV = dict(os.environ, LC_ALL="C", PATH=PATH, **PATIENCE)


class Refused(Exception):
    """A state of the host in which nothing may be changed, or a proof that failed.

    problems: one sentence or a list of them, each saying what to do; the list stays in `problems`, and str() joins it.
    """

    def __init__(self, problems):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("; ".join(self.problems))


def answer(module, work, outcome=None, before=""):
    """End *module*, an AnsibleModule, with what work() returns, its answer; or with the refusal, or the fault of the system, that it raises.

    outcome: a dict in which work() leaves what a refusal means, as data; it is returned beside the message. before: how the message begins.
    """
    try:
        with at_work():
            done = work()
        module.exit_json(**done)
    except Refused as reason:
        module.fail_json(msg="%s%s" % (before, reason), problems=reason.problems, **(outcome or {}))
    except (OSError, KeyError, ValueError) as problem:
        module.fail_json(msg="%s%s: %s" % (before, type(problem).__name__, problem))


@contextlib.contextmanager
def at_work(path="/var/run/sokuhai.lock"):
    """Keep role monitor's watch from starting what this module may just have stopped. There is such a file where the watch is declared; it holds it for as
    long as a start takes. Work that goes on by itself (job.py) goes on holding it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def run(argv, timeout=120, env=None, cwd=None, text=None, output=None):
    """Run *argv* (list of str) without a terminal; return (exit status, standard output, standard error).

    timeout: seconds. env: the whole environment, ENV where it is None. cwd: the folder to run in. text: its standard input, /dev/null where it is
    None. output: an open file for all that it prints; both texts are empty then. Status 127 is a command that is not there and 126 one that cannot
    be run, as in sh(1); 124 is one that did not end in time, as in timeout(1), and was killed.
    """
    try:
        done = subprocess.run(
            argv,
            **({"stdin": subprocess.DEVNULL} if text is None else {"input": text.encode("utf-8", "surrogateescape")}),
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.PIPE,
            timeout=timeout,
            check=False,
            env=ENV if env is None else env,
            cwd=cwd,
        )
    except FileNotFoundError:
        return 127, "", "%s: not found" % argv[0]
    except subprocess.TimeoutExpired:
        return 124, "", "%s: still running after %d s" % (argv[0], timeout)
    except OSError as problem:
        return 126, "", "%s: %s" % (argv[0], problem.strerror)
    out, err = ((text or b"").decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return done.returncode, out, err


def environment(**more):
    """Return the whole environment (dict) of a command that depends on nobody's configuration, with *more* in it: the caller's proxies alone stay."""
    given = {name: os.environ[name] for name in FROM_CALLER if name in os.environ}
    return {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "ASSUME_ALWAYS_YES": "yes", **PATIENCE, **given, **more}


def last_lines(text, count):
    """Return the last *count* lines of *text* that are not empty, as one str."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def must(argv, timeout=None, what=None, env=None):
    """Return what the command *argv* (list of str) prints, without white space around it. Raises Refused with the end of what it said otherwise.

    timeout: seconds; None is no limit, since a repository may take its time. what: its name in the message, the whole of it where it is None.
    env: the whole environment, environment() where it is None.
    """
    status, out, err = run(argv, timeout, environment() if env is None else env)
    if status:
        said = last_lines(err or out, 5).replace("\n", " ")
        raise Refused("%s: %s" % (what or " ".join(argv), said or "exit status %d" % status))
    return out.strip()


def sysctl(name):
    """Return the kernel's value of *name* as text, or None where it does not know it."""
    status, out, _err = run(["sysctl", "-n", name])
    return out.rstrip("\n") if status == 0 else None


def sysctl_int(name):
    """Return the kernel's value of *name* as an int, or None where it does not know it or has no number."""
    value = (sysctl(name) or "").strip()
    return int(value) if value.isdigit() else None


def version_key(version):
    """Return a version of freebsd-version(1) as something that can be compared: 15.0-RELEASE-p3 -> (15, 0, 3); (0, 0, 0) for what is none."""
    match = re.match(r"(\d+)\.(\d+)-[A-Z0-9.]+(?:-p(\d+))?", version or "")
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)


def clock(seconds):
    """Return *seconds* since 1970 as the date and time of this host (str)."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def wait_until(check, seconds, pause=0.25):
    """Call check() until it gives something true, and return that; what it gave last (false) once *seconds* are over."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() >= end:
            return found
        time.sleep(pause)


def retry(attempt, seconds, error=OSError, pause=0.25):
    """Return attempt(), called again while it raises *error*, which it may once *seconds* are over."""
    end = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except error:
            if time.monotonic() >= end:
                raise
        time.sleep(pause)


def hold(path, seconds=0):
    """Take the lock of *path*, a folder or a file (made where it is missing): one run at a time.

    Return the descriptor that holds it until it is closed or the process ends, its children's copies included (flock(2)); None where somebody
    else still has it after *seconds*. A play that was killed may have left its module running on the host, so waiting is worth it.
    """
    flags = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o644)

    def taken():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if wait_until(taken, seconds, 0.5):
        return descriptor
    os.close(descriptor)
    return None


def service(name, verb, *more):
    """Have service(8) do *verb*; return (exit status, all that it printed, on one line).

    Its output goes to a file, not to a pipe: what a daemon keeps open for its life, as Dovecot does, would hold run() until its time is over.
    """
    with tempfile.TemporaryFile() as printed:
        status, out, err = run(["service", name, verb, *more], output=printed)
        printed.seek(0)
        return status, " ".join((printed.read().decode("utf-8", "replace") + out + err).split())


def service_pid(name):
    """Return the pid (int) of a service's main process as its own rc script knows it, or None where it does not run."""
    match = re.search(r"as pid (\d+)", run(["service", name, "onestatus"])[1])
    return int(match.group(1)) if match else None


def read(path):
    """Return the text of *path*, ends of lines and bytes that are no UTF-8 as they are, or None where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as source:
            return source.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def log_end(path):
    """Return where the log *path* ends now, for logged(); 0 where there is none yet."""
    return os.path.getsize(path) if os.path.exists(path) else 0


def logged(path, since, pattern):
    """Return what re.findall() finds of *pattern* in what the log *path* got after log_end() was *since*, each once; of a rotated one from its start."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as log:
        log.seek(since if since <= log_end(path) else 0)
        return list(dict.fromkeys(re.findall(pattern, log.read())))


def load(path):
    """Return the dict in the JSON file *path*; {} where there is none, or one that a kill or a full disk cut short."""
    try:
        return json.loads(read(path) or "{}")
    except ValueError:
        return {}


def write(path, text, mode=None, owner=None):
    """Replace *path* by *text* in one rename: a reader sees the old file or the new one, never a half. A symbolic link stays one.

    mode: permission bits. Where it is None, mode and owner of the file that is there stay, and a new one gets 0644 and the caller's.
    owner: (uid, gid) for a file whose mode is said; the caller's where it is None.
    The file is written beside under a name that no program takes for its own: it begins with a dot, which sh(1) leaves out of `*`, and ends
    otherwise than in .conf, which the loader looks for (loader.conf(5)). What a killed run left there is replaced by the next one.
    """
    path = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(path), ".%s.sokuhai-new" % os.path.basename(path))
    remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as target:
            if mode is None:
                mode = 0o644
                if os.path.exists(path):
                    former = os.stat(path)
                    mode, owner = former.st_mode & 0o7777, (former.st_uid, former.st_gid)
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            target.write(text)
            target.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def flush(path):
    """Have on disk what others wrote into *path*, a file or a directory: after a loss of power a rename may be there, and what was renamed be empty."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(*paths):
    """Remove files; one that is not there is fine. Return whether one was there."""
    found = False
    for path in paths:
        try:
            os.unlink(path)
            found = True
        except FileNotFoundError:
            pass
    return found


def rights(mode, uid, gid):
    """Return mode bits and owner (ids) as a person writes them: "0640 root:dovecot"."""
    names = []
    for lookup, number in ((pwd.getpwuid, uid), (grp.getgrgid, gid)):
        try:
            names.append(lookup(number)[0])
        except KeyError:
            names.append(str(number))
    return "%04o %s:%s" % (mode, *names)


def sha256(path):
    """Return the sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        for part in iter(lambda: source.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def free_mib(path):
    """Return the MiB (int) that are free where *path* is, or will be."""
    path = os.path.abspath(path)  # the way up from a relative one has no end
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return free_bytes(path) >> 20


def free_bytes(path):
    """Return the bytes (int) that are free, for who is not root, where *path* is.

    Where root has begun what a file system keeps for it, that number is negative, and FreeBSD's statvfs(3) passes it on without a sign.
    """
    room = os.statvfs(path)
    return 0 if room.f_bavail >= 2**63 else room.f_bavail * room.f_frsize


def difference(path, before, after):
    """Return an entry of a module's diff: the texts of *path*, None for no file.

    A file that is not UTF-8 is compared byte by byte, but can only be shown without its odd bytes.
    """
    shown = [(text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in (before, after)]
    return {"before_header": path, "after_header": path, "before": shown[0], "after": shown[1]}
