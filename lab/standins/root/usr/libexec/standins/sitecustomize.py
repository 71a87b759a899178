"""Python's view of the host: what it asks the C library for is FreeBSD's answer.

Loaded by every Python that processes site, so by Ansible's modules; the stand-ins
themselves run with -S and see the machine as it is.
"""

import os
import sys

_linux = os.uname


def uname():
    """The kernel's name as uname(1) of this host gives it; the node name is the real one."""
    said = {"osrelease": "15.0-RELEASE", "version": "FreeBSD 15.0-RELEASE GENERIC"}
    try:
        with open("/var/db/standins/booted") as f:
            for line in f:
                name, _, value = line.rstrip("\n").partition("=")
                if name in said:
                    said[name] = value.strip("'")
    except OSError:
        pass
    return os.uname_result(("FreeBSD", _linux().nodename, said["osrelease"], said["version"], "amd64"))


os.uname = uname
sys.platform = "freebsd15"
try:
    import posix

    posix.uname = uname
except ImportError:
    pass
