# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Filters of role ports."""

import re

ORIGIN = re.compile(r"[a-z0-9][a-z0-9+._-]*/[A-Za-z0-9][A-Za-z0-9+._-]*\Z")
OPTION = re.compile(r"[A-Z0-9][A-Z0-9_+-]*\Z")
FLAVOR = re.compile(r"[a-z][a-z0-9_]*\Z")
FLAG = re.compile(r"-[A-Za-z0-9_=,+./-]+\Z")

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


def ports_twice(extra):
    """Return a message for each origin that is twice in ports_list: the second would be merged over the first."""
    origins = [entry["origin"] for entry in extra]
    return [
        f"ports_list: {origin} is listed twice; one entry has everything that is declared about it"
        for origin in dict.fromkeys(origins)
        if origins.count(origin) > 1
    ]


def ports_problems(ports, values):
    """What is wrong with the declared values; messages (list of str) that begin with the variable's name.

    ports: as ports_merge returns them. values: {method, repository_url, repository_pubkey, repository_key, branch, tree_commit (str), fd_setsize (int)}.
    """
    checks = [check for port in ports for check in _of_port(port, values["fd_setsize"])] + list(_of_all(values))
    return [message for wrong, message in checks if wrong]


def _of_port(port, fd_setsize):
    """Yield (whether it is wrong, message) of each thing to be looked at."""
    port = {**EMPTY, "cflags": [], **port}
    where, flavor = f"ports_list[{port['origin']}]", port["flavor"]
    known = ORIGIN.match(port["origin"])
    yield not known, f"{where}: an origin is CATEGORY/DIRECTORY of the ports tree, such as dns/bind920"
    yield (
        flavor and not FLAVOR.match(flavor),
        f"{where}.flavor = {flavor!r}: lower-case letters, digits and _ are possible, such as sasl",
    )
    for key in ("options_set", "options_unset"):
        for name in port[key]:
            yield not OPTION.match(str(name)), f"{where}.{key}: {name!r} is not the name of an option, such as TLS"
    both = sorted(set(port["options_set"]) & set(port["options_unset"]))
    yield both, f"{where}: {', '.join(both)} is both in options_set and in options_unset"
    for flag in port["cflags"]:
        yield (
            not FLAG.match(str(flag)),
            f"{where}.cflags (ports_cflags): {flag!r} is not a single compiler flag without blanks and quotes, such as -O2",
        )
    for line in port["make_conf"]:
        ours = re.match(r"\s*#\s*(BEGIN|END) sokuhai", str(line))
        yield "\n" in str(line) or ours, f"{where}.make_conf: {line!r} is not a single line of make.conf"
    sizes = [flag.partition("=")[2] for flag in port["cflags"] if str(flag).startswith("-DFD_SETSIZE")]
    yield (
        fd_setsize and sizes and sizes != [str(fd_setsize)],
        f"{where}.cflags: FD_SETSIZE is {', '.join(sizes)} here and {fd_setsize} in ports_fd_setsize; set it once, in sokuhai_fd_setsize",
    )


def _of_all(values):
    """Yield (whether it is wrong, message) of each thing to be looked at."""
    repository, branch, commit = values["method"] == "repository", values["branch"], values["tree_commit"]
    yield (
        repository and not values["repository_url"],
        "ports_repository_url: is empty; with ports_method: repository it is the URL of your own repository, such as "
        "pkg+https://pkg.example.org/packages/150amd64-quarterly",
    )
    yield (
        repository and not values["repository_pubkey"],
        "ports_repository_pubkey: is empty; it is the path on the host of the public key that your repository is signed with "
        "(poudriere.conf: PKG_REPO_SIGNING_KEY); or set ports_repository_key",
    )
    key = values.get("repository_key", "")
    pem = r"-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n?"
    yield (
        key and not re.fullmatch(pem, key),
        "ports_repository_key: is not a public key; it is what builder.yml prints, from -----BEGIN PUBLIC KEY----- to its end",
    )
    known = branch in ("auto", "main", "quarterly") or re.fullmatch(r"\d{4}Q[1-4]", branch)
    yield not known, f"ports_branch = {branch!r}: auto, main, quarterly, or a quarter such as 2026Q4"
    whole = not commit or re.fullmatch(r"[0-9a-f]{40}", commit)
    yield not whole, f"ports_tree_commit = {commit!r}: 40 hexadecimal digits are needed"


class FilterModule:
    def filters(self):
        return {"ports_merge": ports_merge, "ports_problems": ports_problems, "ports_twice": ports_twice}
