# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One block of lines that is ours in a file that is somebody else's, between a line # BEGIN NAME and a line # END NAME."""

from ansible.module_utils.sokuhai.host import Refused


def _ends(lines, name, path):
    """Return (first, last) line numbers of the block, or None."""
    begin, end = "# BEGIN " + name, "# END " + name
    starts = [number for number, line in enumerate(lines) if line.strip() == begin]
    ends = [number for number, line in enumerate(lines) if line.strip() == end]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise Refused(
            "%s: the block marked `%s` is damaged (line %s): it needs one BEGIN and one END line; restore them or remove what is "
            "left of the block" % (path, name, ", ".join(str(number + 1) for number in sorted(starts + ends)))
        )
    return starts[0], ends[0]


def get_block(text, name, path):
    """Return the lines of the block *name* in *text* (a list), or None where there is none.

    path: the file's, for the message. Raises Refused for a block that does not end or stands there twice: what of it is ours cannot be told.
    """
    lines = text.split("\n")
    ends = _ends(lines, name, path)
    return None if ends is None else [line.rstrip() for line in lines[ends[0] + 1 : ends[1]]]


def set_block(text, name, path, body):
    """Return *text* with the lines *body* in its block *name*, which comes to the end where it is new; without the block where *body* is empty.

    The rest stays as it is, byte for byte. Raises Refused as get_block does.
    """
    lines = text.split("\n")
    ends = _ends(lines, name, path)
    new = "".join(line + "\n" for line in ["# BEGIN " + name] + list(body) + ["# END " + name]) if body else ""
    if ends is None:
        return text + ("\n" if new and text and not text.endswith("\n") else "") + new
    return "".join(line + "\n" for line in lines[: ends[0]]) + new + "\n".join(lines[ends[1] + 1 :])
