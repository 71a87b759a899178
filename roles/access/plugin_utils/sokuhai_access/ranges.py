# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Addresses as whole numbers, and ranges of them as pairs (first, last), both ends inside.

Module ipaddress does the same with objects, and would take a minute for the 770,000 records of all five registries.
"""

import socket

BITS = {4: 32, 6: 128}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def whole(text, least, most):
    """Return *text* as an int. Raises ValueError for what is not within *least* and *most*, or has other than digits (int() takes ' 1_0')."""
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ValueError(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def address(text, family):
    """Return an address as an int. Raises ValueError."""
    try:
        return int.from_bytes(socket.inet_pton(FAMILIES[family], text), "big")
    except OSError:
        raise ValueError(f"{text!r} is not an address of IPv{family}") from None


def network(text, prefix, family):
    """Return the range of a network; text, prefix: as written. Raises ValueError, also where bits are set behind the prefix."""
    first, size = address(text, family), 1 << (BITS[family] - whole(prefix, 0, BITS[family]))
    if first % size:
        raise ValueError(f"{text}/{prefix} has bits set behind its prefix")
    return first, first + size - 1


def network_text(first, prefix, family):
    """Return a network as Postfix's cidr: table writes it."""
    return f"{socket.inet_ntop(FAMILIES[family], first.to_bytes(BITS[family] // 8, 'big'))}/{prefix}"


def merge(ranges):
    """Return *ranges* (any order, overlapping or not) as the fewest, ascending and apart."""
    merged = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(last, merged[-1][1])
        else:
            merged.append([first, last])
    return [(first, last) for first, last in merged]


def cover(ranges, bits):
    """Return the fewest networks that hold exactly the addresses of *ranges* (as merge() gives them), [(first address, prefix length)], ascending.

    bits: 32 or 128 (or less, of a smaller space). Each is the largest aligned block that begins where the one before ended and does not
    pass the range's end; no other choice needs fewer.
    """
    networks = []
    for first, last in ranges:
        while first <= last:
            size = 1 << ((last - first + 1).bit_length() - 1)
            if first:
                size = min(size, first & -first)
            networks.append((first, bits + 1 - size.bit_length()))
            first += size
    return networks


def twice(several):
    """Return the ranges that are in more than one of *several*, lists as merge() gives them."""
    found, end = [], -1
    for first, last in sorted(pair for ranges in several for pair in ranges):
        if first <= end:
            found.append((first, min(last, end)))
        end = max(end, last)
    return merge(found)


def without(ranges, holes):
    """Return *ranges* less *holes*; both as merge() gives them."""
    left, place = [], 0
    for first, last in ranges:
        while place < len(holes) and holes[place][1] < first:
            place += 1
        look = place
        while look < len(holes) and holes[look][0] <= last:
            if holes[look][0] > first:
                left.append((first, holes[look][0] - 1))
            first = max(first, holes[look][1] + 1)
            look += 1
        if first <= last:
            left.append((first, last))
    return left


def size(ranges):
    """Return how many addresses *ranges* hold."""
    return sum(last - first + 1 for first, last in ranges)
