#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One port in its declared state: built as a package, proven, swapped in, locked, recorded; or left as it was."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ports_port
short_description: Bring one port to a declared state on FreeBSD
description:
  - Builds only where something differs that a build can mend; `behind the ports tree` counts with update.
  - The build runs detached from the connection. The action plugin of the same name follows it and shows how far it is; a run that was broken
    off is taken up by the next one, which follows the build that still runs or goes on with the package that is ready.
  - The package is complete and proven before anything of the installed one is touched. When the daemon does not answer on the new one, the former
    package comes back.
  - Dependencies are installed from packages, never built.
options:
  origin: {description: "Category and directory, as dns/bind920.", type: str, required: true}
  flavor: {description: Flavor; the port's first one where empty., type: str, default: ''}
  package: {description: Name of the package where method is repository and it is not that of the origin., type: str, default: ''}
  options_set: {description: Options to be on., type: list, elements: str, default: []}
  options_unset: {description: Options to be off., type: list, elements: str, default: []}
  cflags: {description: Compiler flags added to CFLAGS for this port alone., type: list, elements: str, default: []}
  make_conf: {description: Further lines for the port's block in make.conf., type: list, elements: str, default: []}
  service: {description: rc script of the daemon that runs from this port., type: str, default: ''}
  program: {description: Program file of that daemon's main process., type: str, default: ''}
  listens:
    description: "Ports ({port, greeting}) on the loopback address that must answer after a restart if they did before."
    type: list
    elements: dict
    default: []
  proof: {description: Files of the port that must hold cflags as text., type: list, elements: str, default: []}
  settings: {description: "What all ports share; see the role's variables ports_*.", type: dict, required: true}
  step:
    description: apply does it, follow tells how far a build is, undo returns to the repository's package.
    type: str
    choices: [apply, follow, undo]
    default: apply
author: sokuhai
"""
RETURN = r"""
finished: {description: False while a build runs., type: bool, returned: always}
drift: {description: "What differed, {kind, message}.", type: list, returned: apply}
phase: {description: What the build is doing., type: str, returned: follow}
elapsed: {description: Seconds since the build began., type: int, returned: follow}
last: {description: Last line of the log., type: str, returned: follow}
log: {description: Path of the log on the host., type: str, returned: always}
recorded: {description: What is recorded of the build., type: dict, returned: when finished}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ports_host import (
    PORT_OPTIONS,
    SETTINGS,
    TAGS,
    Failed,
    Job,
    Port,
    Worker,
    detach,
    get_block,
    header_value,
    installed,
    last_lines,
    packages,
    parse_pairs,
    put_make_conf,
    restart_due,
    run,
    running_program,
    set_block,
    tail,
    title,
)
from ansible.module_utils.sokuhai.host import Refused, difference, read, sha256


def must(argv, what=None):
    status, out, err = run(argv, timeout=900)
    if status:
        raise Failed("%s ended with status %d: %s" % (what or " ".join(argv), status, last_lines(err or out, 5)))


def follow(item, settings):
    """How far the build of this port is. A worker that ended without a word (killed, or the host went down) is told as lost."""
    job = Job(item, settings)
    running = job.running()
    state = job.read() or {}
    running = running and state.get("phase") not in ("done", "failed")
    answer = {
        "changed": False,
        "log": job.log,
        "phase": state.get("phase", "none"),
        "elapsed": int(time.time() - state.get("since", time.time())),
        "last": last_lines(tail(job.log, 4096), 1)[:160],
        "finished": not running,
        "lost": False,
    }
    if not running and state.get("phase") not in ("done", "failed"):
        answer["lost"] = True
    return answer, state


def outcome(module, item, state, log):
    """Ends the module with what a finished build left."""
    if state.get("phase") == "failed":
        module.fail_json(
            msg="%s: %s (in phase %s, after %d s). The installed package: %s.\nThe end of %s:\n%s"
            % (
                title(item),
                state.get("message"),
                state.get("failed_in"),
                state.get("finished", 0) - state.get("since", 0),
                state.get("installed"),
                log,
                last_lines(tail(log), 30),
            ),
            finished=True,
            log=log,
        )
    module.exit_json(
        changed=True,
        finished=True,
        log=log,
        recorded=state.get("notes", {}),
        elapsed=state["finished"] - state["since"],
        package=os.path.basename(state.get("package", "")),
        phase="done",
    )


def begin(port, job, state):
    """What the worker is to start from: a package that is ready by the same declaration is not built again."""
    new = {"phase": "begin", "key": port.key(), "since": int(time.time()), "tree": port.tree, "commit": port.commit}
    if not state or state.get("key") != new["key"]:
        return new
    # a package whose installation failed is built anew: what was wrong with it may be gone
    usable = state.get("phase") in ("packaged", "swap", "record", "restart")
    package = state.get("package")
    if usable and package and os.path.exists(package) and sha256(package) == state.get("package_sha256"):
        return dict(state, since=int(time.time()), resumed_from=state["phase"])
    return new


def apply(module, item, settings):
    port = Port(item, settings)
    job = port.job
    if job.running() and (job.read() or {}).get("phase") not in ("done", "failed"):
        module.exit_json(changed=True, finished=False, attached=True, log=job.log, drift=[])
    if (
        module.check_mode
        and settings["fetch"] != "none"
        and not os.path.exists(os.path.join(settings["tree"], "Mk/bsd.port.mk"))
    ):
        module.exit_json(
            changed=True,
            finished=True,
            log=job.log,
            build=True,
            drift=[{"kind": "missing", "message": "%s: predicted: built once the ports tree is fetched" % title(item)}],
        )
    try:
        port.look()
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    problems = port.problems()
    if problems:
        module.fail_json(msg="nothing was changed: %s" % "; ".join(problems))
    kinds = {d["kind"] for d in port.drift}
    lesser = kinds & {"make_conf", "unlocked", "process"}
    result = {
        "drift": port.drift,
        "diff": port.diff + differences(port),
        "finished": True,
        "log": job.log,
        "recorded": port.summary()["recorded"],
        "build": port.to_build,
        "changed": port.to_build or bool(lesser),
    }
    if module.check_mode or not result["changed"]:
        module.exit_json(**result)
    try:
        if port.make_conf_wanted != port.make_conf:
            put_make_conf(settings, port.make_conf_wanted)
        if not port.to_build:
            if "unlocked" in kinds:
                must(["pkg", "lock", "-yq", port.package["name"]])
            if "process" in kinds:
                must(["service", item["service"], "onerestart"])
            module.exit_json(**result)
        if settings["method"] == "repository":
            from_repository(port)
            module.exit_json(**result)
    except (Failed, OSError) as reason:
        module.fail_json(msg="%s: %s" % (title(item), reason))
    if settings["header"] and header_value(settings["header"]) != settings["fd_setsize"]:
        module.fail_json(
            msg="%s: %s says FD_SETSIZE %s, %d is declared: role fd_setsize has to come first (fd_setsize_needed)"
            % (title(item), settings["header"], header_value(settings["header"]), settings["fd_setsize"])
        )
    descriptor = job.lock()
    if descriptor is None:
        module.exit_json(**dict(result, finished=False, attached=True))
    job.write(begin(port, job, job.read()))
    detach(lambda: Worker(item, settings, job, descriptor).work())
    os.close(descriptor)
    module.exit_json(**dict(result, finished=False, attached=False))


def differences(port):
    """The state before and after, for --diff."""
    if not port.drift:
        return []
    package = port.package
    before = "%s %s\n" % (
        title(port.item),
        "%s-%s" % (package["name"], package["version"]) if package else "not installed",
    )
    after = "%s %s\n" % (
        title(port.item),
        "%s-%s" % (port.tree["PKGBASE"], port.tree["PKGVERSION"])
        if port.to_build and port.tree["PKGVERSION"]
        else before.split(" ", 1)[1].strip(),
    )
    before += "".join("%s: %s\n" % (d["kind"], d["message"]) for d in port.drift)
    return [difference(title(port.item), before, after)]


def from_repository(port):
    """The package of one's own repository in the place of what is there."""
    name, before = port.tree["PKGBASE"], running_program(port.item)
    for package in port.every:
        if package["origin"] == port.item["origin"]:
            if package["locked"]:
                must(["pkg", "unlock", "-yq", package["name"]])
            if package["name"] != name:
                must(["pkg", "delete", "-fy", package["name"]])
    must(["pkg", "install", "-fy", "-r", port.settings["repository"], name])
    if restart_due(port.item, before):
        must(["service", port.item["service"], "onerestart"])


def undo(module, item, settings):
    """The repository's package again, unlocked, nothing of ours left. Every step is decided by what is there."""
    changes, diff = [], []
    job = Job(item, settings)
    if job.running():
        module.fail_json(msg="%s: a build is running (%s): wait for it, or end it, first" % (title(item), job.log))
    text = read(settings["make_conf_file"]) or ""
    try:
        had = get_block(text, item, settings["make_conf_file"])
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    mine = [p for p in packages() if p["origin"] == item["origin"]]
    package = installed(item, item["package"] or (mine[0]["name"] if mine else ""), mine)
    own = package and package["repository"] in ("unknown-repository", settings["repository"] or "unknown-repository")
    ours = package and (own or any(tag in package["annotations"] for tag in TAGS))
    left = ours and not own
    if had is not None:
        changes.append("its block in %s is removed" % settings["make_conf_file"])
        diff.append(difference(settings["make_conf_file"], text, set_block(text, item, settings["make_conf_file"], [])))
    if ours:
        changes.append(
            "%s-%s gives way to the repository's package" % (package["name"], package["version"])
            if not left
            else "annotations of %s are removed" % package["name"]
        )
    due = restart_due(item)
    if due and not ours:
        changes.append(due)
    if os.path.exists(job.file):
        changes.append("the record of its build is removed")
    result = {"changed": bool(changes), "finished": True, "changes": changes, "diff": diff, "log": job.log}
    if module.check_mode or not changes:
        module.exit_json(**result)
    before = running_program(item)
    try:
        if ours:
            name = package["name"]
            if package["locked"]:
                must(["pkg", "unlock", "-yq", name])
            if not left:
                try:
                    must(["pkg", "install", "-fy", name])
                    # pkg install says 0 also when it left the package as it was
                    if any(p["name"] == name and p["repository"] == "unknown-repository" for p in packages()):
                        raise Failed(
                            "pkg install -f %s left the package that was built here: no repository has taken its place"
                            % name
                        )
                except Failed:
                    if package["locked"]:
                        must(["pkg", "lock", "-yq", name])
                    raise
            notes = parse_pairs(run(["pkg", "query", "%At=%Av", name])[1])
            for tag in TAGS:
                if tag in notes:
                    must(["pkg", "annotate", "-qyD", name, tag])
        if had is not None:
            put_make_conf(settings, set_block(text, item, settings["make_conf_file"], []))
        if restart_due(item, before):
            must(["service", item["service"], "onerestart"])
        if os.path.exists(job.file):
            os.unlink(job.file)
    except (Failed, OSError) as reason:
        module.fail_json(msg="%s: %s" % (title(item), reason))
    module.exit_json(**result)


def main():
    options = dict(
        PORT_OPTIONS,
        settings={"type": "dict", "required": True, "options": SETTINGS},
        step={"type": "str", "choices": ["apply", "follow", "undo"], "default": "apply"},
    )
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    item = {name: module.params[name] for name in PORT_OPTIONS}
    settings = module.params["settings"]
    if module.params["step"] == "follow":
        answer, state = follow(item, settings)
        if answer["finished"] and not answer["lost"]:
            outcome(module, item, state, answer["log"])
        module.exit_json(**answer)
    if module.params["step"] == "undo":
        undo(module, item, settings)
    apply(module, item, settings)


if __name__ == "__main__":
    main()
