#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""FD_SETSIZE in FreeBSD's sys/select.h: raise it, know when an update took it back, put it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fd_setsize
short_description: Set FD_SETSIZE in sys/select.h, or put the original back
description:
  - Changes one number in a header and nothing else. The define must be there exactly once, behind its guard, else nothing is touched.
  - The original is kept with its SHA-256 outside the include tree, the change is one rename, owner and mode stay.
  - Tells an update that put the number back from a change of the declared value, and names the packages that were built on this host
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
      optional: {description: Whether a header that is not there is no error (no sources installed)., type: bool, default: false}
      installed: {description: "Whether compilers on this host read it (/usr/include), so that packages are judged by it.", type: bool, default: false}
  known_only:
    description: Whether only headers are judged that this module has raised before; then one that it cannot read is told and not refused.
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
headers:
  description: "One entry a header: path, present, value (now), original, was (before), changed, sha256."
  type: list
  returned: success
reset:
  description: Sentences about headers that something put back after they had been raised here.
  type: list
  returned: success
others:
  description: "Other packages built on this host while the installed header was raised: name, version, origin, installed (epoch)."
  type: list
  returned: success
worlds:
  description: Results of a buildworld that are newer than the raised source header.
  type: list
  returned: success
notes:
  description: Sentences about sources whose header is raised, which a buildworld must not meet.
  type: list
  returned: success
"""

import glob
import hashlib
import json
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sokuhai.host import Refused, difference, read, run, write

# sys/sys/select.h: `1024U` to 10.4, `1024` since; tabs; behind #ifndef in all of them.
ANY = re.compile(r"^[ \t]*#[ \t]*define[ \t]+FD_SETSIZE\b.*$", re.M)
GOOD = re.compile(r"^(#[ \t]*define[ \t]+FD_SETSIZE[ \t]+)([0-9]+)([uU]?)([ \t]*(?:/\*.*)?)$")
GUARD = re.compile(
    r"^[ \t]*#[ \t]*(?:ifndef[ \t]+FD_SETSIZE|if[ \t]+!defined[ \t]*\(?[ \t]*FD_SETSIZE[ \t]*\)?)[ \t]*(?:/\*.*)?$"
)
# What every release since 2.0 ships; used only when no original was kept.
STOCK = 1024


# ---- pure ----


def find(text, path):
    """(line number from 0, value, suffix) of the one define in a header's text. Raises Refused with what was found instead."""
    lines = text.split("\n")
    hits = [number for number, line in enumerate(lines) if ANY.match(line)]
    if len(hits) != 1:
        said = "; ".join("line %d: %s" % (n + 1, lines[n].strip()) for n in hits) or "none"
        raise Refused(
            "%s: exactly one `#define FD_SETSIZE NUMBER` is expected, found %d (%s)" % (path, len(hits), said)
        )
    match = GOOD.match(lines[hits[0]])
    if not match:
        raise Refused("%s: line %d is no `#define FD_SETSIZE NUMBER`: %s" % (path, hits[0] + 1, lines[hits[0]].strip()))
    above = next((line for line in reversed(lines[: hits[0]]) if line.strip()), "")
    if not GUARD.match(above):
        raise Refused(
            "%s: line %d stands behind no `#ifndef FD_SETSIZE` but behind: %s"
            % (path, hits[0] + 1, above.strip() or "nothing")
        )
    return hits[0], int(match.group(2)), match.group(3)


def replace(text, path, value):
    """text with the define's number replaced by value (int); suffix, white space and the rest as they were."""
    number = find(text, path)[0]
    lines = text.split("\n")
    lines[number] = GOOD.sub(lambda m: m.group(1) + str(value) + m.group(3) + m.group(4), lines[number])
    return "\n".join(lines)


def was_reset(entry, value):
    """True when something else than this module took the raised value away. entry: the header's record; value: what it says now."""
    return bool(entry) and not entry.get("restored_at") and not entry.get("pending") and value != entry["value"]


def close(periods, now):
    """periods ([[from, to or None]]) with the open one ended at now; seconds since the epoch."""
    return [[start, now if end is None else end] for start, end in periods]


def built_meanwhile(packages, periods, own):
    """The packages of unknown repository, not of the origins in own, that were installed within a period.

    packages: [{name, version, origin, repository, installed (epoch)}]. pkg(8) records when a package was installed, not when it was
    built; one from a local file looks the same as one built here (pkg-query(8), %R, %t).
    """
    return [
        package
        for package in packages
        if package["repository"] == "unknown-repository"
        and package["origin"] not in own
        and any(
            start <= package["installed"] and (end is None or package["installed"] <= end) for start, end in periods
        )
    ]


def parse_packages(text):
    """What `pkg query -a '%n|%v|%o|%R|%t'` printed, as [{name, version, origin, repository, installed}]."""
    found = []
    for line in text.splitlines():
        words = line.split("|")
        if len(words) == 5 and words[4].isdigit():
            found.append(dict(zip(("name", "version", "origin", "repository"), words), installed=int(words[4])))
    return found


def digest(text):
    """The sha256 of a file whose text, as read() gives it, is *text*."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


# ---- the host ----


class Headers:
    """The headers, the record of what was done to them, and what was built meanwhile."""

    def __init__(self, params, check_mode, now):
        self.want, self.check_mode, self.now = params, check_mode, now
        self.record_file = os.path.join(params["keep"], "record.json")
        text = read(self.record_file)
        try:
            self.record = json.loads(text) if text else {}
        except ValueError:
            raise Refused(
                "%s is no JSON; the originals beside it are whole: repair it, or remove it and the headers' 1024 is assumed"
                % self.record_file
            ) from None
        self.before = json.dumps(self.record, sort_keys=True)
        self.diff, self.result, self.resets, self.todo = [], [], [], []

    def kept(self, path):
        return os.path.join(self.want["keep"], path.strip("/").replace("/", "_"))

    def prepare(self):
        """Judge every header and decide, before the first write. Raises Refused."""
        problems = []
        known = self.want.get("known_only")
        for header in self.want["headers"]:
            if known and header["path"] not in self.record:
                continue
            try:
                self.judge(header)
            except Refused as reason:
                (self.resets if known else problems).append(str(reason))
        if problems:
            raise Refused("; ".join(problems))

    def judge(self, header):
        path = header["path"]
        text = read(path)
        if text is None:
            if not header["optional"] and header["state"] == "raised":
                raise Refused("%s is not there" % path)
            self.result.append(
                {
                    "path": path,
                    "present": False,
                    "value": None,
                    "was": None,
                    "original": None,
                    "changed": False,
                    "sha256": None,
                }
            )
            return
        dummy, value, suffix = find(text, path)
        entry = self.record.get(path)
        reset = was_reset(entry, value)
        if reset:
            self.resets.append(
                "%s says %d again, %d was put there on %s: %s did it"
                % (
                    path,
                    value,
                    entry["value"],
                    time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["raised_at"])),
                    self.culprit(path),
                )
            )
        after = text
        if header["state"] == "raised":
            after = replace(text, path, self.want["value"])
        elif header["state"] == "original":
            after = self.original(path, text, value, entry)
        changed = after != text
        original = value
        if entry and value == entry["value"]:
            original = entry["original"]
        elif value == self.want["value"]:
            original = STOCK
        self.result.append(
            {
                "path": path,
                "present": True,
                "value": find(after, path)[1],
                "was": value,
                "original": original,
                "changed": changed,
                "sha256": digest(after),
            }
        )
        self.todo.append((header, text, after, value, original, reset))
        if changed:
            self.diff.append(difference(path, text, after))

    def original(self, path, text, value, entry):
        """The header's text as it was: the kept copy where the file is still exactly ours, else the number alone put back."""
        if entry and value == entry["value"] and not entry.get("restored_at"):
            kept = read(self.kept(path))
            if digest(text) == entry["raised_sha256"] and kept is not None and digest(kept) == entry["original_sha256"]:
                return kept
            return replace(text, path, entry["original"])
        if value == self.want["value"]:
            return replace(text, path, STOCK)
        return text

    def culprit(self, path):
        """What can have written the header anew."""
        status, out, _err = run(["pkg", "which", "-q", path])
        if status == 0 and out.strip():
            return "an upgrade of package %s" % out.strip()
        return "freebsd-update or installworld"

    def execute(self):
        for header, text, after, value, original, reset in self.todo:
            path = header["path"]
            entry = self.record.get(path)
            now_says = find(after, path)[1]
            periods = (entry or {}).get("periods", [])
            if reset:
                # when is not known: the file's own time is the nearest there is
                periods = close(periods, int(os.stat(path).st_mtime))
            if header["state"] == "raised":
                if (
                    not entry
                    or entry.get("restored_at")
                    or entry.get("pending")
                    or digest(after) != entry["raised_sha256"]
                ):
                    # raised already, by hand or by us to another value: the number before is the kept one, else FreeBSD's
                    kept = text if value == original else replace(text, path, original)
                    if not periods or periods[-1][1] is not None:
                        periods = periods + [[self.now, None]]
                    entry = {
                        "original": original,
                        "original_sha256": digest(kept),
                        "value": now_says,
                        "raised_sha256": digest(after),
                        "raised_at": self.now,
                        "restored_at": None,
                        "pending": after != text,
                    }
                    write(self.kept(path), kept, 0o444)
            elif entry and not entry.get("restored_at") and now_says != entry["value"]:
                periods = close(periods, self.now)
                entry = dict(entry, restored_at=self.now)
            if entry:
                # recorded before the header changes, as pending: a run killed in between is not taken for an update
                self.record[path] = dict(entry, periods=periods)
                self.save()
            if after != text:
                write(path, after)
            if entry and entry.get("pending"):
                self.record[path]["pending"] = False
                self.save()

    def save(self):
        text = json.dumps(self.record, sort_keys=True)
        if text != self.before:
            write(self.record_file, json.dumps(self.record, indent=1, sort_keys=True) + "\n", 0o644)
            self.before = text

    def periods(self):
        """When the installed header was raised, what this run begins or ends included."""
        found = []
        for header in self.want["headers"]:
            if header["installed"]:
                found += self.record.get(header["path"], {}).get("periods", [])
        return found

    def worlds(self):
        """Results of a buildworld newer than the raised source header: libc as its dynamic or static library."""
        found = []
        for header in self.want["headers"]:
            entry = self.record.get(header["path"])
            tree = re.match(r"(.*)/sys/sys/select\.h$", header["path"])
            if header["installed"] or not tree or not entry or entry.get("restored_at"):
                continue
            for path in sorted(glob.glob("%s%s/*/lib/libc/libc.*" % (self.want["obj"], tree.group(1)))):
                if re.search(r"/libc\.(so\.[0-9]+|a)$", path) and os.stat(path).st_mtime > entry["raised_at"]:
                    found.append(path)
        return found

    def notes(self):
        """What has to be known before a buildworld: sources whose header stays raised."""
        sources = {header["path"] for header in self.want["headers"] if not header["installed"]}
        return [
            "%s says FD_SETSIZE %d: a world built from these sources would have another fd_set than every package. Before a buildworld put it "
            "back: playbooks/rollback.yml --tags headers" % (entry["path"], entry["value"])
            for entry in self.result
            if entry["path"] in sources and entry["present"] and entry["value"] != entry["original"]
        ]


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
        work = Headers(module.params, module.check_mode, int(time.time()))
        work.prepare()
        if not module.check_mode:
            if not os.path.isdir(module.params["keep"]):
                os.makedirs(module.params["keep"], 0o755)
            work.execute()
    except Refused as reason:
        module.fail_json(msg="nothing was changed: %s" % reason)
    except (IOError, OSError) as error:
        module.fail_json(msg="%s: the headers are whole, old or new; run again" % error)
    packages = parse_packages(run(["pkg", "query", "-a", "%n|%v|%o|%R|%t"])[1]) if work.periods() else []
    module.exit_json(
        changed=bool(work.diff),
        diff=work.diff,
        headers=work.result,
        reset=work.resets,
        others=built_meanwhile(packages, work.periods(), module.params["own_origins"]),
        worlds=work.worlds(),
        notes=work.notes(),
    )


if __name__ == "__main__":
    main()
