# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The job of the builder: jail, trees, probe, list. What is served changes in its last step alone, by poudriere, and only when no port failed."""

import os

from ansible.module_utils import builder_state as state
from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.host import Refused

#: The phase in which a jail is made.
NEW = "new jail"


def build(p, work):
    """Carry it out; return what goes into the record. Raises Refused. work: the job's process."""
    jail, tree, served = p["jail"], p["tree"], "what is served is as it was"

    logs = "%s/data/logs/bulk/%s-%s/latest/logs/errors" % (p["base"], jail["name"], tree["name"])

    def poudriere(*words, what):
        try:
            work.command(["poudriere", "-e", p["etc"], *words], what, hold=True)
        except Refused as reason:
            raise Refused("%s; %s. The logs of ports that failed: %s" % (reason, served, logs)) from reason

    work.phase("jail")
    broken = work.record.get("broken", "")
    # jail_start() refuses to build in one that runs (jail_runs() asks jls(8)); who is at it himself after a good build is not disturbed
    if broken and not host.run(["jls", "-j", "%s-%s" % (jail["name"], tree["name"])])[0]:
        poudriere("jail", "-k", "-j", jail["name"], "-p", tree["name"], what="poudriere jail -k")
    version, wanted = state.attribute(p, "jails", jail["name"], "version"), state.release(p)
    # freebsd-update(8) leads to newer releases only; what create_jail() writes of a jail before it has fetched it stays where it was killed
    if version and (broken == NEW or host.version_key(version)[:2] > host.version_key(wanted)[:2]):
        poudriere("jail", "-d", "-y", "-j", jail["name"], what="poudriere jail -d")
        version = ""
    if not version:
        work.phase(NEW)
        poudriere("jail", "-c", "-j", jail["name"], "-v", wanted, what="poudriere jail -c")
        work.phase("jail")
    elif version.split("-p")[0] != wanted:
        poudriere("jail", "-u", "-j", jail["name"], "-t", wanted, what="poudriere jail -u -t %s" % wanted)
    elif jail["update"]:
        poudriere("jail", "-u", "-j", jail["name"], what="poudriere jail -u")
    for name, path in ((tree["name"], tree["path"]), (p["overlay"], os.path.join(p["etc"], state.OVERLAY))):
        had = state.attribute(p, "ports", name, "mnt")
        if had and had != path:
            poudriere("ports", "-d", "-k", "-p", name, what="poudriere ports -d")
        if had != path:
            poudriere("ports", "-c", "-p", name, "-m", "null", "-M", path, what="poudriere ports -c")
    # after poudriere has made its file systems, which on ZFS cover what was there (get_data_dir); before a build, which refuses without it
    os.makedirs(os.path.join(p["base"], "distfiles"), 0o755, exist_ok=True)
    bulk = ["bulk", "-j", jail["name"], "-p", tree["name"]]
    if p["probe"]:
        # before what takes hours; nothing of it is published (-NN)
        work.phase("probe")
        poudriere(*bulk, "-O", p["overlay"], "-C", "-NN", p["probe"], what="the probe package, %s" % p["probe"])
    work.phase("building")
    # neither flags nor a header are what poudriere builds a package again for
    again = ["-C"] if work.record.get("flags") else []
    fetch = ["-b", p["fetch"]] if p["fetch"] else []
    poudriere(*bulk, *again, *fetch, "-f", os.path.join(p["etc"], "list"), what="poudriere bulk")
    parts = state.parts(p)
    return {"parts": parts, "built_flags": parts["flags"]}
