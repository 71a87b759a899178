# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is to be said of pkg(8)'s repositories, by a module of what it was to install and by preflight of what others are to. Pure. Python 3.9."""


def trouble(lost, unsigned):
    """Return what is wrong with the repositories: the end of a message, or "". lost: names (str) out of reach; unsigned: whether a signature is not valid."""
    if not lost:
        return "; pkg update: a repository's signature is not valid" if unsigned else ""
    return (
        "; out of reach: %s, enabled in pkg's configuration (pkg -vv). A repository that this host is not to have is disabled by `%s: { enabled: no }` "
        "in /usr/local/etc/pkg/repos/FreeBSD.conf" % (", ".join(lost), lost[0])
    )
