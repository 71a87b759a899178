# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Which values FD_SETSIZE can have, for the variables of every role that is given one."""

#: What every release ships, and what programs of the base system are compiled with.
LEAST = 1024
#: An fd_set of 128 KiB, which programs put on the stack; a thread's is 2 MiB on 64-bit platforms (lib/libthr/thread/thr_private.h).
MOST = 1 << 20
#: Bits of a word of fd_set on 64-bit platforms (sys/sys/select.h, _NFDBITS): the header itself rounds other values up.
WORD = 64


def fd_setsize_problems(value, variable, zero=False):
    """What is wrong with *value* (int) as FD_SETSIZE; [] or one message (str), which begins with *variable*. zero: 0 is allowed, for no requirement.

    A value that is missing (None) is refused with those of the other variables.
    """
    if value is None or (zero and value == 0):
        return []
    also = ", or 0 for no requirement" if zero else ""
    if not LEAST <= value <= MOST:
        return [f"{variable} = {value}: {LEAST} to {MOST} is possible{also}"]
    if value % WORD:
        return [f"{variable} = {value}: a multiple of {WORD} is required, such as {-(-value // WORD) * WORD}{also}"]
    return []


class FilterModule:
    def filters(self):
        return {"fd_setsize_problems": fd_setsize_problems}
