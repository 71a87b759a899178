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


def kernel_problems(declared):
    """Messages about declared values, each beginning with the variable's name; [] when all is well.

    declared: {variable: value} of role kernel, numbers as int, truth values as bool.
    """
    found = []

    def refuse(name, why):
        found.append("%s: %s" % (name, why))

    ident = declared["kernel_ident"]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", ident):
        refuse(
            "kernel_ident", "%s is not a name for a kernel: a letter, then letters, digits, _ and -, 31 at most" % ident
        )
    if ident == declared["kernel_base"]:
        refuse(
            "kernel_ident",
            "%s is the name of kernel_base too: a kernel of one's own needs one of its own, freebsd-update takes it by its ident"
            % ident,
        )
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", declared["kernel_base"]):
        refuse("kernel_base", "%s is not the name of a configuration file, such as GENERIC" % declared["kernel_base"])
    for line in declared["kernel_options"]:
        words = line.split()
        if "\n" in line or len(words) < 2 or words[0] not in KEYWORDS:
            refuse(
                "kernel_options",
                "`%s` is not a line of config(5) for here: a keyword (%s) and what it is about"
                % (line, ", ".join(sorted(KEYWORDS))),
            )
        elif words[0] == "nooptions" and {"INCLUDE_CONFIG_FILE", "KDB_UNATTENDED"} & set(words[1:]):
            refuse("kernel_options", "`%s` removes what proves the trial boot" % line)
    for line in declared["kernel_make_variables"]:
        name = line.partition("=")[0]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*=[^\n]*", line):
            refuse("kernel_make_variables", "`%s` is not NAME=value" % line)
        elif name in ("KERNCONF", "KERNCONFDIR", "INSTKERNNAME", "DESTDIR", "KODIR", "KERNEL"):
            refuse("kernel_make_variables", "%s decides where the kernel goes, which is the role's part" % name)
    name = declared["kernel_name"]
    if declared["kernel_build"]:
        if name:
            refuse("kernel_name", "%s is for kernel_build: false; a kernel built here is named by the role" % name)
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        refuse("kernel_name", "kernel_build is false, so it has to name a directory of /boot, such as kernel.mine")
    elif name in ("kernel", "kernel.old"):
        refuse("kernel_name", "%s is what a failed trial returns to; install the kernel to be tried beside it" % name)
    if declared["kernel_jobs"] < 0:
        refuse("kernel_jobs", "%d compilers; 0 lets the role decide" % declared["kernel_jobs"])
    for variable, least in (
        ("kernel_build_hours", 1),
        ("kernel_trial_seconds", 10),
        ("kernel_boot_seconds", 10),
        ("kernel_check_seconds", 1),
    ):
        if declared[variable] < least:
            refuse(variable, "%d is too short, at least %d" % (declared[variable], least))
    if declared["kernel_trial_seconds"] <= declared["kernel_check_seconds"]:
        refuse(
            "kernel_trial_seconds",
            "%d, but kernel_check_seconds alone is %d: the trial would end while it is judged"
            % (declared["kernel_trial_seconds"], declared["kernel_check_seconds"]),
        )
    return found


class FilterModule:
    """Ansible's entry."""

    def filters(self):
        return {"kernel_problems": kernel_problems}
