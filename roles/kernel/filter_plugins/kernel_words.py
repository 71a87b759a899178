# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What modules kernel_plan and kernel_undo found, in words for the operator."""


def stock_words(found):
    """A sentence about a stock kernel that is not of the world's version. found: the answer of kernel_plan (its plan) or kernel_undo."""
    said = f"the stock kernel is {found['stock']}, the world {found['userland']}: "
    if found["stock_release"]:
        return said + (
            f"a world may not run under the kernel of another release. Bring a kernel of {found['userland']} into /boot/kernel before the "
            "host boots it"
        )
    return said + (
        "nothing patches it while another kernel runs; after a reboot into it, run `freebsd-update fetch install`, or `pkg upgrade -r "
        "FreeBSD-base` where base packages are"
    )


def kernel_notices(plan, source, reboot):
    """Sentences (list of str) about module kernel_plan's `plan`. source: where the sources are (str); reboot: whether a trial is declared (bool)."""
    name = plan["name"]
    basis = (
        "what the last build on this host took"
        if plan["measured"]
        else f"some 75 minutes of one CPU, an assumption, on {plan['jobs']} of {plan['cpus']} at a time; the next estimate is computed "
        "from what this build takes"
    )
    notices = (
        (
            plan["behind"],
            f"the running kernel {plan['running']} was built from {plan['behind']}, the host is patched to {plan['userland']}: "
            "freebsd-update(8) patches only kernels that FreeBSD ships, so this one stays open until it is rebuilt",
        ),
        (plan["stock"], stock_words(plan)),
        (plan["build"], f"{name} is to be built: about {plan['minutes']} minutes: {basis}"),
        (plan["awaited"], f"predicted: the sources are brought to {source} first"),
        (
            plan["armed"] and not reboot,
            f"the next boot is a trial of {name}, which a broken-off run prepared: kernel_reboot=true finishes it, "
            "playbooks/rollback.yml --tags kernel calls it off",
        ),
        (
            plan["failed"],
            f"{name} failed its trial ({plan['failed']}) and is not tried again: change kernel_options, or set kernel_retry=true",
        ),
    )
    return [text for applies, text in notices if applies]


def kernel_left_to_do(found):
    """Sentences (list of str) about what is left to do after module kernel_undo. found: its answer."""
    again = ", then run this once more to remove it" if found["again"] else ""
    notices = (
        (
            found["running"],
            f"{found['running']} runs until the next boot, which is that of {found['default']}; reboot{again}",
        ),
        (found["stays"], f'{found["stays"]} stays: a file other than the role\'s says kernel="{found["stays"]}"'),
        (found["problem"], f"{found['problem']}: see to it before the next boot"),
        (found["stock"], stock_words(found)),
    )
    return [text for applies, text in notices if applies]


class FilterModule:
    def filters(self):
        return {"kernel_notices": kernel_notices, "kernel_left_to_do": kernel_left_to_do}
