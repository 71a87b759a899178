# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role ports."""

from __future__ import annotations

import re

ORIGIN = re.compile(r"[a-z0-9][a-z0-9+._-]*/[A-Za-z0-9][A-Za-z0-9+._-]*\Z")
OPTION = re.compile(r"[A-Z0-9][A-Z0-9_+-]*\Z")
FLAVOR = re.compile(r"[a-z][a-z0-9_]*\Z")


def ports_merge(known, extra, parts, cflags):
    """The ports of this host, as module ports_port takes them.

    known: {part: port} of the role. extra: ports_list, entries merged by origin over the known ones: lists of options are joined (one that
    is unset goes out of the set ones, and the other way round), other keys replaced; state absent takes one away. parts (list of str): which of
    the known ones. cflags (list of str): for a port that does not say its own.
    """
    found = {port["origin"]: dict(port) for part, port in known.items() if part in parts}
    others = {port["origin"]: dict(port) for part, port in known.items() if part not in parts}
    for entry in extra:
        origin = entry["origin"]
        if origin in others:
            continue
        port = found.setdefault(origin, {"origin": origin})
        on, off = list(entry.get("options_set") or []), list(entry.get("options_unset") or [])
        before_on, before_off = port.get("options_set") or [], port.get("options_unset") or []
        port.update({key: value for key, value in entry.items() if value is not None})
        port["options_set"] = [o for o in before_on if o not in off and o not in on] + on
        port["options_unset"] = [o for o in before_off if o not in on and o not in off] + off
    return [
        {key: value for key, value in {"cflags": cflags, **port}.items() if key != "state"}
        for port in found.values()
        if port.get("state", "present") == "present"
    ]


def ports_problems(ports, values):
    """What is wrong with the declared values; a list of sentences that begin with the variable's name.

    ports: as ports_merge returns them. values: method, parts, fd_setsize, header, cflags, repository, repository_url,
    repository_pubkey, branch, tree_commit.
    """
    found = []
    for port in ports:
        where = f"ports_list[{port['origin']}]"
        if not ORIGIN.match(port["origin"]):
            found.append(f"{where}: an origin is CATEGORY/DIRECTORY of the ports tree, as dns/bind920")
        if port.get("flavor") and not FLAVOR.match(port["flavor"]):
            found.append(f"{where}.flavor = {port['flavor']!r}: lower-case letters, digits and _ are possible, as sasl")
        for key in ("options_set", "options_unset"):
            found += [
                f"{where}.{key}: {name!r} is no name of an option, as TLS"
                for name in port.get(key, [])
                if not OPTION.match(str(name))
            ]
        both = sorted(set(port.get("options_set", [])) & set(port.get("options_unset", [])))
        if both:
            found.append(f"{where}: {', '.join(both)} is both in options_set and in options_unset")
        for flag in port.get("cflags", []):
            if not re.fullmatch(r"-[A-Za-z0-9_=,+./-]+", str(flag)):
                found.append(
                    f"{where}.cflags (ports_cflags): {flag!r} is no single compiler flag without blanks and quotes, as -O2"
                )
        for line in port.get("make_conf", []):
            if "\n" in str(line) or re.match(r"\s*#\s*(BEGIN|END) sokuhai", str(line)):
                found.append(f"{where}.make_conf: {line!r} is no single line of make.conf")
        sizes = [flag.partition("=")[2] for flag in port.get("cflags", []) if str(flag).startswith("-DFD_SETSIZE")]
        if values["fd_setsize"] and sizes and sizes != [str(values["fd_setsize"])]:
            found.append(
                f"{where}.cflags: FD_SETSIZE is {', '.join(sizes)} here and {values['fd_setsize']} in ports_fd_setsize; say it once, in sokuhai_fd_setsize"
            )
    if values["fd_setsize"] and (values["fd_setsize"] < 1024 or values["fd_setsize"] % 64):
        found.append(
            f"ports_fd_setsize = {values['fd_setsize']}: a multiple of 64 from 1024 on, or 0 for no requirement"
        )
    if values["method"] == "repository":
        if not values["repository_url"]:
            found.append(
                "ports_repository_url: is empty; with ports_method: repository it is the URL of your own repository, as "
                "pkg+https://pkg.example.org/packages/150amd64-quarterly"
            )
        if not values["repository_pubkey"]:
            found.append(
                "ports_repository_pubkey: is empty; it is the path on the host of the public key that your repository is signed with "
                "(poudriere.conf: PKG_REPO_SIGNING_KEY)"
            )
    if values["branch"] not in ("auto", "main", "quarterly") and not re.fullmatch(r"\d{4}Q[1-4]", values["branch"]):
        found.append(f"ports_branch = {values['branch']!r}: auto, main, quarterly, or a quarter as 2026Q4")
    if values["tree_commit"] and not re.fullmatch(r"[0-9a-f]{40}", values["tree_commit"]):
        found.append(f"ports_tree_commit = {values['tree_commit']!r}: 40 hexadecimal digits are needed")
    return found


class FilterModule:
    """Filters of role ports."""

    def filters(self):
        return {"ports_merge": ports_merge, "ports_problems": ports_problems}
