# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A port as make(1) sees it: its variables, its options, its block in make.conf."""

import difflib
import os
import re

from ansible.module_utils.ports_options import title
from ansible.module_utils.sokuhai import blocks, host
from ansible.module_utils.sokuhai.host import Refused

VARIABLES = (
    "PKGBASE",
    "PKGVERSION",
    "FLAVORS",
    "FLAVOR",
    "COMPLETE_OPTIONS_LIST",
    "PORT_OPTIONS",
    "CFLAGS",
    "CC",
    "PKGORIGIN",
    "STAGEDIR",
    "WRKDIR",
)
#: Has make(1) fail rather than build a dependency (Mk/Scripts/do-depends.sh).
PACKAGES_ONLY = "USE_PACKAGE_DEPENDS_ONLY=yes"
#: How it then names the first one that is missing: by the file in which its package would lie in PACKAGES.
_LACKING = re.compile(r"depends on package: \S*/([^/\s]+)-[^-/\s]+\.[a-z]+ - not found")


# ---- make.conf ----


def mark(item):
    """Return the name of the port's block in make.conf."""
    return "sokuhai ports " + item["origin"]


def block(item, settings):
    """Return the lines that are declared for the port's block (list of str); [] for no block."""
    return blocks.get_block(settings["make_conf"], mark(item), "templates/etc/make.conf.j2") or []


def put_make_conf(settings, text):
    """Write make.conf (str), and remember where there was none, so that none is left when the last block goes."""
    path, made = settings["make_conf_file"], os.path.join(settings["state_dir"], "make_conf_made")
    if not text and os.path.exists(made):
        host.remove(path, made)
        return
    if not os.path.exists(path):
        # first: a run that is killed in between leaves a mark for a file that the next one writes
        os.makedirs(settings["state_dir"], 0o755, exist_ok=True)
        host.write(made, "")
    host.write(path, text)


# ---- make(1) ----


def environment(item):
    """Return the environment (dict) of make(1) for this port."""
    return host.environment(BATCH="yes", **({"FLAVOR": item["flavor"]} if item["flavor"] else {}))


def argv(item, settings, *words):
    """Return make(1) in the port's directory; its work and its packages go where the role says."""
    return [
        "make",
        "-C",
        os.path.join(settings["tree"], item["origin"]),
        "PORTSDIR=" + settings["tree"],
        "WRKDIRPREFIX=" + settings["work_dir"],
        "PACKAGES=" + settings["package_dir"],
        "BATCH=yes",
    ] + list(words)


def run(item, settings, *words, make_conf=None, timeout=300):
    """Return (exit status, standard output, standard error) of make(1). make_conf: path of the file that is read in its place."""
    words = (["__MAKE_CONF=" + make_conf] if make_conf else []) + list(words)
    return host.run(argv(item, settings, *words), timeout, environment(item))


def ask(item, settings, make_conf=None):
    """Return {variable: value} of VARIABLES. Raises Refused in make's own words, and for a flavor or options that the port does not have."""
    status, out, err = run(item, settings, *(word for name in VARIABLES for word in ("-V", name)), make_conf=make_conf)
    if status:
        raise Refused("%s: make says %s" % (title(item), host.last_lines(err or out, 5)))
    lines = out.split("\n") + [""] * len(VARIABLES)
    tree = {name: line.strip() for name, line in zip(VARIABLES, lines)}
    # make -V answers for a flavor that does not exist; only a build fails (IGNORE)
    flavors = tree["FLAVORS"].split()
    if item["flavor"] and item["flavor"] not in flavors:
        raise Refused(
            "flavor of %s: the port has no flavor %s%s; it has %s"
            % (item["origin"], item["flavor"], nearest(item["flavor"], flavors), tree["FLAVORS"] or "none")
        )
    wrong = problems_of_options(item, tree)
    if wrong:
        raise Refused(wrong)
    return tree


def nearest(name, known):
    """Return ` (did you mean X?)`, or nothing."""
    by_upper = {one.upper(): one for one in known}
    near = difflib.get_close_matches(name.upper(), by_upper, n=1, cutoff=0.6)
    return " (did you mean %s?)" % by_upper[near[0]] if near else ""


def problems_of_options(item, tree):
    """Return messages about declared options that the port does not know, or that stay otherwise than declared. tree: ask()'s answer."""
    known, on, found = tree["COMPLETE_OPTIONS_LIST"].split(), tree["PORT_OPTIONS"].split(), []
    for variable, wanted, stays, against in (
        (
            "options_set",
            True,
            "off",
            "another line of make.conf, or a group of which only one may be on, is against it",
        ),
        ("options_unset", False, "on", "another line of make.conf is against it"),
    ):
        for name in item[variable]:
            if name not in known:
                found.append(
                    "%s of %s: the port has no option %s%s; it has %s"
                    % (variable, title(item), name, nearest(name, known), " ".join(sorted(known)) or "none")
                )
            elif (name in on) != wanted:
                found.append("%s of %s: %s stays %s; %s" % (variable, title(item), name, stays, against))
    return found


def check_groups(item, settings, make_conf=None):
    """Raise Refused, in the port's own words, where its groups of options (one of, at most one of) do not allow the declared ones."""
    status, out, err = run(item, settings, "check-config", make_conf=make_conf)
    if status:
        said = [line.replace("====>", "").strip() for line in (out + err).splitlines() if line.startswith("====>")]
        raise Refused(
            "options_set, options_unset of %s: %s" % (title(item), "; ".join(said) or host.last_lines(out + err, 4))
        )


def lacking(text):
    """Return the package (str) for which `make depends` with PACKAGES_ONLY failed, by what it printed; None where it failed for something else."""
    found = _LACKING.findall(text)
    return found[-1] if found else None
