"""A FreeBSD virtual machine under QEMU, for the scenario freebsd and for the contract tests."""


class VmError(Exception):
    """What went wrong and what to do about it, for the person who typed the command."""
