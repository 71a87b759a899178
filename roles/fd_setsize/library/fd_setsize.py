#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FD_SETSIZE in FreeBSD's sys/select.h: raise it, know when an update took it back, put it back."""

DOCUMENTATION = r"""
module: fd_setsize
short_description: Set FD_SETSIZE in sys/select.h, or put the original back
description:
  - Changes one number in a header and nothing else. The define must be there exactly once, behind its guard, else nothing is touched.
  - The original is kept with its SHA-256 outside the include tree, the change is one rename, owner and mode stay.
  - Distinguishes an update that put the number back from a change of the declared value, and names the packages that were built on this host
    while the installed header was raised. fd_set is part of the ABI; they and the base system disagree about its size.
options:
  value: {description: "FD_SETSIZE to be, in descriptors.", type: int, required: true}
  headers:
    description: The headers, changed all or none.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: The header., type: path, required: true}
      state:
        description: raised, original, or as_it_is (judged, not changed).
        type: str
        choices: [raised, original, as_it_is]
        default: raised
      optional: {description: Whether a header that is not there is not an error (no sources installed)., type: bool, default: false}
      installed: {description: "Whether compilers on this host read it (/usr/include), so that packages are judged by it.", type: bool, default: false}
  known_only:
    description: Whether only headers are judged that this module has raised before; then one that it cannot read is a note and not refused.
    type: bool
    default: false
  keep: {description: Directory for the originals and the record., type: path, default: /var/db/sokuhai/fd_setsize}
  own_origins: {description: Origins of the ports that are to have the raised value., type: list, elements: str, default: []}
  obj: {description: Where make(1) builds the world., type: path, default: /usr/obj}
author: sokuhai
"""
EXAMPLES = r"""
- name: Raise FD_SETSIZE for what is compiled from now on
  fd_setsize:
    value: 16384
    headers:
      - {path: /usr/include/sys/select.h, installed: true}
      - {path: /usr/src/sys/sys/select.h, optional: true}
"""
RETURN = r"""
findings:
  description: >-
    What was built with the raised header and is not to be: other packages, and results of a buildworld. A header that an update put back, where this
    run leaves it so.
  type: list
  returned: success
reset:
  description: "Headers that something else put back after they had been raised: path, value (now), raised (to), when (s since 1970), package (its name, or empty)."
  type: list
  returned: success
others:
  description: "Other packages built on this host while the installed header was raised: name, version, origin, installed (s since 1970)."
  type: list
  returned: success
worlds: {description: Results of a buildworld that are newer than the raised source header., type: list, returned: success}
sources: {description: Headers of sources that are raised, which a buildworld must not read., type: list, returned: success}
notes: {description: What could not be read where known_only is set., type: list, returned: success}
"""

import glob
import hashlib
import json
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai import pkg, select_h
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused, difference, read, write

# ---- pure ----


def is_raised(entry):
    """Whether a header's record (dict or None) says that this module raised it and did not put it back."""
    return bool(entry) and not entry.get("restored_at")


def closed(periods, now):
    """Return periods ([[from, to or None]], s since 1970) with the open one ended at *now*."""
    return [[start, now if end is None else end] for start, end in periods]


def built_meanwhile(every, periods, own):
    """Return those of *every* (pkg.installed()) that came from a file or a port within one of *periods*, and are not of the origins *own*.

    pkg(8) records when a package was installed, not when it was built.
    """
    return [
        package
        for package in every
        if package["local"]
        and package["origin"] not in own
        and any(
            start <= package["installed"] and (end is None or package["installed"] <= end) for start, end in periods
        )
    ]


def digest(text):
    """Return the sha256 of a file whose text, as read() gives it, is *text*."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


# ---- the host ----


class Headers:
    """The headers, the record of what was done to them, and what was built meanwhile. want: the module's parameters; now: s since 1970."""

    def __init__(self, want, now):
        self.want, self.now = want, now
        self.record_file = os.path.join(want["keep"], "record.json")
        try:
            self.record = json.loads(read(self.record_file) or "{}")
        except ValueError:
            raise Refused(
                "%s is not JSON; the originals beside it are whole: repair it, or remove it and the headers' 1024 is assumed"
                % self.record_file
            ) from None
        self.saved = json.dumps(self.record, sort_keys=True)
        self.diff, self.reset, self.notes, self.sources, self.todo = [], [], [], [], []

    def kept(self, path):
        return os.path.join(self.want["keep"], path.strip("/").replace("/", "_"))

    def prepare(self):
        """Judge every header and decide, before the first write. Raises Refused."""
        problems = []
        for header in self.want["headers"]:
            if self.want["known_only"] and header["path"] not in self.record:
                continue
            try:
                self.judge(header)
            except Refused as reason:
                (self.notes if self.want["known_only"] else problems).append(str(reason))
        if problems:
            raise Refused(problems)

    def judge(self, header):
        path, text = header["path"], read(header["path"])
        if text is None:
            if not header["optional"] and header["state"] == "raised":
                bring = ": pkg install -r FreeBSD-base FreeBSD-set-devel brings it" if pkg.base_packages() else ""
                raise Refused("%s does not exist%s" % (path, bring))
            return
        now, entry, wanted = select_h.value(text, path), self.record.get(path), self.want["value"]
        was_reset = is_raised(entry) and not entry.get("pending") and now != entry["value"]
        if was_reset:
            self.reset.append(
                {
                    "path": path,
                    "value": now,
                    "raised": entry["value"],
                    "when": entry["raised_at"],
                    "package": pkg.which(path),
                }
            )
        after = text
        if header["state"] == "raised":
            after = select_h.replace(text, path, wanted)
        elif header["state"] == "original":
            after = self.original(path, text, now, entry)
        original = now
        # raised already, by us to another value or by hand: the number before is the kept one, else FreeBSD's
        if entry and now == entry["value"]:
            original = entry["original"]
        elif now == wanted:
            original = select_h.STOCK
        if not header["installed"] and select_h.value(after, path) != original:
            self.sources.append(path)
        self.todo.append((header, text, after, original, was_reset))
        if after != text:
            self.diff.append(difference(path, text, after))

    def original(self, path, text, now, entry):
        """Return the header's text as it was: the kept copy where the file is still exactly ours, else the number alone put back."""
        if is_raised(entry) and now == entry["value"]:
            kept = read(self.kept(path))
            if digest(text) == entry["raised_sha256"] and kept is not None and digest(kept) == entry["original_sha256"]:
                return kept
            return select_h.replace(text, path, entry["original"])
        return select_h.replace(text, path, select_h.STOCK) if now == self.want["value"] else text

    def execute(self):
        """Write what prepare() decided; the record first, as pending, so that a run killed in between is not taken for an update."""
        os.makedirs(self.want["keep"], 0o755, exist_ok=True)
        for header, text, after, original, was_reset in self.todo:
            path, entry = header["path"], self.record.get(header["path"])
            periods = (entry or {}).get("periods", [])
            if was_reset:
                # when is not known: the file's own time is the nearest there is
                periods = closed(periods, int(os.stat(path).st_mtime))
            value = select_h.value(after, path)
            if header["state"] == "raised":
                if not is_raised(entry) or entry.get("pending") or digest(after) != entry["raised_sha256"]:
                    if not periods or periods[-1][1] is not None:
                        periods = periods + [[self.now, None]]
                    entry = self.keep(path, text, after, original)
            elif is_raised(entry) and value != entry["value"]:
                periods = closed(periods, self.now)
                entry = dict(entry, restored_at=self.now)
            if entry:
                self.record[path] = dict(entry, periods=periods)
                self.save()
            if after != text:
                write(path, after)
            if entry and entry.get("pending"):
                self.record[path]["pending"] = False
                self.save()

    def keep(self, path, text, after, original):
        """Keep the header as it was before it is raised; return its new entry of the record."""
        kept = select_h.replace(text, path, original)
        write(self.kept(path), kept, 0o444)
        return {
            "original": original,
            "original_sha256": digest(kept),
            "value": select_h.value(after, path),
            "raised_sha256": digest(after),
            "raised_at": self.now,
            "restored_at": None,
            "pending": after != text,
        }

    def save(self):
        text = json.dumps(self.record, sort_keys=True)
        if text != self.saved:
            write(self.record_file, json.dumps(self.record, indent=1, sort_keys=True) + "\n", 0o644)
            self.saved = text

    def periods(self):
        """Return when the installed header was raised, what this run begins or ends included."""
        installed = [header["path"] for header in self.want["headers"] if header["installed"]]
        return [period for path in installed for period in self.record.get(path, {}).get("periods", [])]

    def worlds(self):
        """Return results of a buildworld newer than the raised source header: libc as its dynamic or static library."""
        found = []
        for header in self.want["headers"]:
            entry, tree = self.record.get(header["path"]), re.match(r"(.*)/sys/sys/select\.h$", header["path"])
            if not header["installed"] and tree and is_raised(entry):
                found += [
                    path
                    for path in sorted(glob.glob("%s%s/*/lib/libc/libc.*" % (self.want["obj"], tree.group(1))))
                    if re.search(r"/libc\.(so\.[0-9]+|a)$", path) and os.stat(path).st_mtime > entry["raised_at"]
                ]
        return found

    def result(self):
        """Return what the module answers beside `changed`."""
        periods, worlds = self.periods(), self.worlds()
        others = built_meanwhile(pkg.installed(), periods, self.want["own_origins"]) if periods else []
        things = [(other["name"], "%(name)s-%(version)s" % other) for other in others] + [
            (path, path) for path in worlds
        ]
        changing = {header["path"] for header, text, after, *_rest in self.todo if after != text}
        left = [one for one in self.reset if one["path"] not in changing]
        return {
            "diff": self.diff,
            "reset": self.reset,
            "others": others,
            "worlds": worlds,
            "sources": self.sources,
            "notes": self.notes,
            "findings": [
                finding(
                    one["path"],
                    "FD_SETSIZE in " + one["path"],
                    one["raised"],
                    "%d of %s" % (one["value"], one["package"] or "freebsd-update or installworld"),
                    remedy="reset",
                )
                for one in left
            ]
            + [
                finding(
                    "built with the raised header: " + name,
                    thing + " built with the raised header",
                    "FD_SETSIZE %d" % select_h.STOCK,
                    "FD_SETSIZE %d" % self.want["value"],
                    remedy="header",
                )
                for name, thing in things
            ],
        }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            value=dict(type="int", required=True),
            headers=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    path=dict(type="path", required=True),
                    state=dict(type="str", choices=["raised", "original", "as_it_is"], default="raised"),
                    optional=dict(type="bool", default=False),
                    installed=dict(type="bool", default=False),
                ),
            ),
            known_only=dict(type="bool", default=False),
            keep=dict(type="path", default="/var/db/sokuhai/fd_setsize"),
            own_origins=dict(type="list", elements="str", default=[]),
            obj=dict(type="path", default="/usr/obj"),
        ),
        supports_check_mode=True,
    )
    try:
        work = Headers(module.params, int(time.time()))
        work.prepare()
        if not module.check_mode:
            work.execute()
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    except OSError as error:
        module.fail_json(msg="%s: the headers are whole, old or new; run again" % error)
    module.exit_json(changed=bool(work.diff), **work.result())


if __name__ == "__main__":
    main()
