# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is declared for the kernel, judged on the controller."""

import re

#: Keywords of config(5) that may stand in kernel_options. `ident` is not among them: the role proves by it which kernel runs.
KEYWORDS = {
    "options",
    "nooptions",
    "device",
    "nodevice",
    "devices",
    "nodevices",
    "makeoptions",
    "nomakeoptions",
    "include",
    "envvar",
    "hints",
    "cpu",
    "nocpu",
    "maxusers",
    "files",
    "profile",
}
#: Variables of make(1) by which it finds the place of a kernel.
PLACES = ("KERNCONF", "KERNCONFDIR", "INSTKERNNAME", "DESTDIR", "KODIR", "KERNEL")
#: The least that each span of time may be.
LEAST = {
    "kernel_build_hours": 1,
    "kernel_trial_seconds": 10,
    "kernel_boot_seconds": 10,
    "kernel_check_seconds": 1,
}


def kernel_problems(declared):
    """Messages about declared values, each beginning with the variable's name; [] when all is well.

    declared: {variable: value} of role kernel, numbers as int, truth values as bool.
    """
    return [f"{name}: {message}" for name, wrong, message in _checks(declared) if wrong]


def _checks(declared):
    """Yield (variable, whether it is wrong, message) of each thing to be looked at."""
    ident, base, name = (declared["kernel_" + which] for which in ("ident", "base", "name"))
    well_formed = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", ident)
    yield (
        "kernel_ident",
        not well_formed,
        f"{ident} is not a name for a kernel: a letter, then letters, digits, _ and -, 31 at most",
    )
    yield (
        "kernel_ident",
        ident == base,
        f"{ident} is the name of kernel_base too: a kernel of one's own needs one of its own, freebsd-update takes it by its ident",
    )
    plain = re.fullmatch(r"[A-Za-z0-9_.-]+", base)
    yield "kernel_base", not plain, f"{base} is not the name of a configuration file, such as GENERIC"
    for line in declared["kernel_options"]:
        keyword, *about = line.split() or [""]
        good = keyword in KEYWORDS and about and "\n" not in line
        known = ", ".join(sorted(KEYWORDS))
        yield (
            "kernel_options",
            not good,
            f"`{line}` is not a line of config(5) for here: a keyword ({known}) and what it is about",
        )
        proof = good and keyword == "nooptions" and {"INCLUDE_CONFIG_FILE", "KDB_UNATTENDED"} & set(about)
        yield "kernel_options", proof, f"`{line}` removes what proves the trial boot"
    for line in declared["kernel_make_variables"]:
        place, well_formed = line.partition("=")[0], re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*=[^\n]*", line)
        yield "kernel_make_variables", not well_formed, f"`{line}` is not NAME=value"
        decides = well_formed and place in PLACES
        yield "kernel_make_variables", decides, f"{place} decides where the kernel goes, which is the role's part"
    built, well_formed = declared["kernel_build"], re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name)
    yield (
        "kernel_name",
        built and name,
        f"{name} is for kernel_build: false; a kernel built here is named by the role",
    )
    yield (
        "kernel_name",
        not built and not well_formed,
        "kernel_build is false, so it has to name a directory of /boot, such as kernel.mine",
    )
    yield (
        "kernel_name",
        not built and name in ("kernel", "kernel.old"),
        f"{name} is what a failed trial returns to; install the kernel to be tried beside it",
    )
    jobs, trial, check = (declared["kernel_" + which] for which in ("jobs", "trial_seconds", "check_seconds"))
    yield "kernel_jobs", jobs < 0, f"{jobs} compilers; 0 lets the role decide"
    for variable, least in LEAST.items():
        value = declared[variable]
        yield variable, value < least, f"{value} is too short, at least {least}"
    yield (
        "kernel_trial_seconds",
        trial <= check,
        f"{trial}, but kernel_check_seconds alone is {check}: the trial would end while it is judged",
    )


class FilterModule:
    def filters(self):
        return {"kernel_problems": kernel_problems}
