# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role ports."""

from __future__ import annotations

import re

ORIGIN = re.compile(r"[a-z0-9][a-z0-9+._-]*/[A-Za-z0-9][A-Za-z0-9+._-]*\Z")
OPTION = re.compile(r"[A-Z0-9][A-Z0-9_+-]*\Z")
FLAVOR = re.compile(r"[a-z][a-z0-9_]*\Z")


#: What a port has where nothing is declared, beside its cflags.
EMPTY = {
    "flavor": "",
    "package": "",
    "options_set": [],
    "options_unset": [],
    "make_conf": [],
    "service": "",
    "program": "",
    "listens": [],
    "proof": [],
}


def ports_merge(known, extra, parts, cflags):
    """The ports of this host ([{origin, cflags, and the keys of EMPTY}]).

    known: {part: port} of the role. extra: ports_list, entries merged by origin over the known ones: lists of options are joined (one that
    is unset goes out of the set ones, and the other way round), other keys replaced; state absent takes one away. parts (list of str): which of
    the known ones. cflags (list of str): for a port that does not have its own.
    """
    chosen = {part: part in parts for part in known}
    found = {port["origin"]: dict(port) for part, port in known.items() if chosen[part]}
    others = {port["origin"] for part, port in known.items() if not chosen[part]}
    for entry in extra:
        origin = entry["origin"]
        if origin in others:
            continue
        port = {**EMPTY, **found.get(origin, {"origin": origin})}
        on, off = list(entry.get("options_set") or []), list(entry.get("options_unset") or [])
        found[origin] = {
            **port,
            **{key: value for key, value in entry.items() if value is not None},
            "options_set": [name for name in port["options_set"] if name not in on + off] + on,
            "options_unset": [name for name in port["options_unset"] if name not in on + off] + off,
        }
    return [
        {key: value for key, value in {**EMPTY, "cflags": cflags, **port}.items() if key != "state"}
        for port in found.values()
        if port.get("state", "present") == "present"
    ]


def ports_problems(ports, values):
    """What is wrong with the declared values; messages (list of str) that begin with the variable's name.

    ports: as ports_merge returns them. values: {method, repository_url, repository_pubkey, branch, tree_commit (str), fd_setsize (int)}.
    """
    found = []
    for port in ports:
        where = f"ports_list[{port['origin']}]"
        if not ORIGIN.match(port["origin"]):
            found.append(f"{where}: an origin is CATEGORY/DIRECTORY of the ports tree, such as dns/bind920")
        if port.get("flavor") and not FLAVOR.match(port["flavor"]):
            found.append(
                f"{where}.flavor = {port['flavor']!r}: lower-case letters, digits and _ are possible, such as sasl"
            )
        for key in ("options_set", "options_unset"):
            found += [
                f"{where}.{key}: {name!r} is not the name of an option, such as TLS"
                for name in port.get(key, [])
                if not OPTION.match(str(name))
            ]
        both = sorted(set(port.get("options_set", [])) & set(port.get("options_unset", [])))
        if both:
            found.append(f"{where}: {', '.join(both)} is both in options_set and in options_unset")
        for flag in port.get("cflags", []):
            if not re.fullmatch(r"-[A-Za-z0-9_=,+./-]+", str(flag)):
                found.append(
                    f"{where}.cflags (ports_cflags): {flag!r} is not a single compiler flag without blanks and quotes, such as -O2"
                )
        for line in port.get("make_conf", []):
            if "\n" in str(line) or re.match(r"\s*#\s*(BEGIN|END) sokuhai", str(line)):
                found.append(f"{where}.make_conf: {line!r} is not a single line of make.conf")
        sizes = [flag.partition("=")[2] for flag in port.get("cflags", []) if str(flag).startswith("-DFD_SETSIZE")]
        if values["fd_setsize"] and sizes and sizes != [str(values["fd_setsize"])]:
            found.append(
                f"{where}.cflags: FD_SETSIZE is {', '.join(sizes)} here and {values['fd_setsize']} in ports_fd_setsize; set it once, in sokuhai_fd_setsize"
            )
    if values["method"] == "repository":
        if not values["repository_url"]:
            found.append(
                "ports_repository_url: is empty; with ports_method: repository it is the URL of your own repository, such as "
                "pkg+https://pkg.example.org/packages/150amd64-quarterly"
            )
        if not values["repository_pubkey"]:
            found.append(
                "ports_repository_pubkey: is empty; it is the path on the host of the public key that your repository is signed with "
                "(poudriere.conf: PKG_REPO_SIGNING_KEY)"
            )
    if values["branch"] not in ("auto", "main", "quarterly") and not re.fullmatch(r"\d{4}Q[1-4]", values["branch"]):
        found.append(f"ports_branch = {values['branch']!r}: auto, main, quarterly, or a quarter such as 2026Q4")
    if values["tree_commit"] and not re.fullmatch(r"[0-9a-f]{40}", values["tree_commit"]):
        found.append(f"ports_tree_commit = {values['tree_commit']!r}: 40 hexadecimal digits are needed")
    return found


class FilterModule:
    """Filters of role ports."""

    def filters(self):
        return {"ports_merge": ports_merge, "ports_problems": ports_problems}
