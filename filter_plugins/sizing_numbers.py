# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Numbers as they are declared, and as the loader and sysctl(8) write them."""

import re

from ansible.errors import AnsibleFilterError

#: As getenv_quad() of sys/kern/kern_environment.c reads it: strtoq(3) of any base, and one letter.
NUMBER = re.compile(r"([+-]?)(?:0x([0-9a-f]+)|0([0-7]+)|([0-9]+))([kmgt]?)", re.I)


def number(value):
    """Return an int from an int or a text in the loader's notation (0x10 is 16, 010 is 8, 4G is 4294967296), else None."""
    if isinstance(value, bool):
        return None
    found = NUMBER.fullmatch(str(value).strip().strip('"'))
    if not found:
        return None
    sign, hexadecimal, octal, digits, suffix = found.groups()
    size = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(digits)
    return (-size if sign == "-" else size) << 10 * " kmgt".index(suffix.lower() or " ")


def has_suffix(value):
    """Return whether *value* is a number with a letter after it, which the loader takes and sysctl(8) does not (sbin/sysctl/sysctl.c)."""
    return number(value) is not None and str(value).strip().strip('"')[-1:].lower() in tuple("kmgt")


def same(left, right):
    """Return whether two sysctl values say the same, 0x10 and 16 included."""
    numbers = number(left), number(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return str(left).strip().strip('"') == str(right).strip().strip('"')


def whole(name, value, least):
    """Return *value* as an int of at least *least*; raise AnsibleFilterError, beginning with *name*, where it is none."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"{name} = {value!r}: a whole number is needed") from None
    if isinstance(value, bool) or number < least:
        raise AnsibleFilterError(f"{name} = {value!r}: {least} or more is needed")
    return number


def part(name, value):
    """Return *value* as a float above 0 and up to 1; raise AnsibleFilterError, beginning with *name*, where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number <= 1:
        raise AnsibleFilterError(f"{name}: a number above 0 and up to 1 is needed")
    return number


class FilterModule:
    def filters(self):
        return {}
