# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How large an fd_set is for a port: files/fd_set_probe.c, compiled as the port is."""

import os
import re
import shutil
import tempfile

from ansible.module_utils.sokuhai.host import Refused, write

_SAID = re.compile(rb"sokuhai probe ([0-9]{9}) ([0-9]{9}) ([0-9]{9});")


def result(data):
    """Return (bits of an fd_set, FD_SETSIZE, what -D gave or 0) from the bytes of the probe's object file, or None."""
    match = _SAID.search(data)
    return (int(match.group(1)) * 8, int(match.group(2)), int(match.group(3))) if match else None


def compiled(work, source, compiler, flags):
    """Return result() of the probe's text *source*, compiled with *compiler* and *flags* (str). work: the job's process. Raises Refused."""
    folder = tempfile.mkdtemp(prefix="sokuhai-probe-")
    try:
        write(folder + "/probe.c", source)
        # through sh, as the port's own configure and make do
        words = "exec %s %s -c -o %s/probe.o %s/probe.c" % (compiler, flags, folder, folder)
        work.command(["sh", "-c", words], "compiling the probe")
        with open(os.path.join(folder, "probe.o"), "rb") as output:
            found = result(output.read())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if found is None:
        raise Refused("the probe's object file is unreadable")
    return found


def prove(work, settings, tree):
    """Return the annotations {tag: int} of what the probe measured: with the port's flags, and once more without their -D, by the header alone.

    tree: make's CC and CFLAGS. Raises Refused unless both give the declared number.
    """
    (bits, _size, flag), (header_bits, header, _none) = (
        compiled(work, settings["probe"], tree["CC"], "%s -fno-lto%s" % (tree["CFLAGS"], more))
        for more in ("", " -UFD_SETSIZE")
    )
    work.say("=> fd_set has %d bits, %d by the header alone, -D gave %d" % (bits, header_bits, flag))
    wanted = settings["fd_setsize"]
    if wanted and bits != wanted:
        raise Refused(
            "the probe, compiled as the port is, has an fd_set of %d, not %d: CFLAGS are %s, sys/select.h says %d"
            % (bits, wanted, tree["CFLAGS"], header)
        )
    if settings["header"] and header_bits != wanted:
        raise Refused(
            "sys/select.h gives the compiler an fd_set of %d, not %d: role fd_setsize has to come first"
            % (header_bits, wanted)
        )
    return {"sokuhai_fd_setsize": bits, "sokuhai_header": header_bits, "sokuhai_flag": flag}
