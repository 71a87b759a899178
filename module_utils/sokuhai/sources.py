# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FreeBSD's sources on a host: which release and patch level they are."""

import os
import re

from ansible.module_utils.sokuhai import host


def release(directory):
    """Return the release of the sources in *directory* as freebsd-version(1) writes one, 15.0-RELEASE-p1, or None where there are none.

    REVISION and BRANCH of sys/conf/newvers.sh; freebsd-update(8) and releng's commits change BRANCH with each patch level.
    """
    text = host.read(os.path.join(directory, "sys/conf/newvers.sh")) or ""
    found = [re.search(r'^%s="([^"]+)"' % name, text, re.M) for name in ("REVISION", "BRANCH")]
    return "-".join(match.group(1) for match in found) if all(found) else None
