"""Contract of FreeBSD 15's commands as this project uses them: the form of what they print, and their exit status.

The tests run unchanged on a practice host and on a real FreeBSD host:

    pytest lab/contract --hosts=ssh://mx.home.example --ssh-config=…

They leave nothing behind.  What a host does not have (a package, a loaded module) is skipped, with the reason.
Numbers are never compared, only their form and how they hang together.
"""

import pathlib
import shlex
import sys
import uuid

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "verify"))
import remote

PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


@pytest.fixture(scope="session")
def host(request):
    """What SOKUHAI_SSH names, or testinfra's --hosts; without both a practice host, brought up for the tests."""
    given, options = remote.from_environment(), request.config.option
    if given:
        return given
    if options.hosts:
        names = ("ssh_config", "ssh_identity_file", "ssh_extra_args")
        return remote.reach(options.hosts, **{name: getattr(options, name) for name in names})
    from practice import provisioned  # a real host needs no lab

    return remote.reach(**provisioned().ssh())


def pytest_sessionfinish():
    if "practice" in sys.modules:
        sys.modules["practice"].down_all()


class Answer:
    """What one command said: rc, out and err, with lines() of out."""

    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    def lines(self):
        return self.out.splitlines()

    def __repr__(self):
        return f"rc={self.rc} out={self.out!r} err={self.err!r}"


@pytest.fixture(scope="module")
def run(host):
    """A command of sh(1), run as root in a clean shell; arguments beyond the first are quoted into its %s."""

    def runner(command, *args):
        if args:
            command = command % tuple(shlex.quote(str(a)) for a in args)
        # the status is printed: ssh(1) has a use of its own for 255
        result = host.run(f"env PATH={PATH} sh -c {shlex.quote(command)}; printf 'rc=%d' $?")
        out, _, status = result.stdout.rpartition("rc=")
        return Answer(int(status), out, result.stderr)

    if runner("id -u").out.strip() != "0":
        pytest.skip("the contract is one for root, and this login is not root's")
    if runner("uname").out.strip() != "FreeBSD":
        pytest.fail("this host does not say that it is FreeBSD")
    return runner


@pytest.fixture
def scratch(run):
    """A directory of the host that is gone after the test."""
    path = f"/tmp/contract.{uuid.uuid4().hex[:8]}"
    run("mkdir -m 700 %s", path)
    yield path
    run("rm -rf %s", path)


@pytest.fixture
def keep(run, scratch):
    """keep(path): that file is after the test what it was before."""
    kept = []

    def keeper(path):
        copy = f"{scratch}/{len(kept)}"
        had = run("test -e %s && cp -p %s %s", path, path, copy).rc == 0
        kept.append((path, copy, had))

    yield keeper
    for path, copy, had in reversed(kept):
        if had:
            run("cp -p %s %s", copy, path)
        else:
            run("rm -f %s", path)


@pytest.fixture(scope="module")
def needs(run):
    """needs('postfix', …): skips where a command of a package is not there."""

    def check(*commands):
        for command in commands:
            if run("command -v %s", command).rc:
                pytest.skip(f"{command} is not installed on this host")

    return check
