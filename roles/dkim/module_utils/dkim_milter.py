# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""One message for a milter, as Postfix hands it over (libmilter/mfdef.h of sendmail, version 6), and what the milter does with it."""

import socket
import struct

#: May add headers, change headers; wants no reply to what comes before the end of the message.
ACTIONS, PROTOCOL = 0x1FF, 0x1FFFFF
#: Replies that end a message.
FINAL = {b"a": "accept", b"c": "continue", b"d": "discard", b"r": "reject", b"t": "tempfail", b"y": "reply"}
#: Steps without a reply, as the milter negotiates them: command, bit (SMFIP_NR_*).
SILENT = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}


def _strings(*parts):
    return b"".join(part.encode() + b"\0" for part in parts)


class Milter:
    """A connection to the milter at the socket *path*. timeout: seconds a reply may take."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
            self.file = self.socket.makefile("rb")
            self.send(b"O", struct.pack("!3I", 6, ACTIONS, PROTOCOL))
            command, data = self.reply()
            if command != b"O":
                raise OSError("it does not speak the milter protocol")
            self.silent = struct.unpack("!3I", data[:12])[2]
        except BaseException:
            self.socket.close()
            raise

    def close(self):
        self.socket.close()

    def send(self, command, data=b""):
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def reply(self):
        header = self.file.read(4)
        if len(header) < 4:
            raise OSError("it closed the connection")
        packet = self.file.read(struct.unpack("!I", header)[0])
        return packet[:1], packet[1:]

    def macros(self, command, **values):
        self.send(b"D", command + _strings(*[word for pair in values.items() for word in pair]))

    def step(self, command, data=b""):
        """Send one step; return the reply, None where there is none. Raises OSError where the message would end there."""
        self.send(command, data)
        if self.silent & SILENT.get(command, 0):
            return
        answer, _data = self.reply()
        if answer != b"c":
            raise OSError("it answers %r to %r" % (answer, command))

    def message(self, client, sender, headers, body="A test of sokuhai's role dkim; it goes nowhere.\r\n", user=""):
        """Pass one message; return (what becomes of it, [(name, value) of headers that are added], text of a reply).

        client: its address. headers: [(name, value)]. user: who has logged in.
        """
        self.macros(b"C", j="probe.invalid", v="sokuhai")
        kind = b"6" if ":" in client else b"4"
        self.step(b"C", _strings("probe.invalid") + kind + struct.pack("!H", 25) + _strings(client))
        self.step(b"H", _strings("probe.invalid"))
        self.macros(b"M", **({"{auth_authen}": user, "{auth_type}": "PLAIN"} if user else {}))
        self.step(b"M", _strings("<%s>" % sender))
        self.macros(b"R", i="sokuhaiprobe")
        self.step(b"R", _strings("<probe@probe.invalid>"))
        for name, value in headers:
            self.step(b"L", _strings(name, value))
        self.step(b"N")
        self.step(b"B", body.encode())
        self.send(b"E")
        added, text = [], ""
        while True:
            command, data = self.reply()
            if command in (b"h", b"i"):
                name, value = data[4 if command == b"i" else 0 :].split(b"\0")[:2]
                added.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
            elif command in FINAL:
                if command == b"y":
                    text = data.rstrip(b"\0").decode("utf-8", "replace")
                return FINAL[command], added, text


def signed_by(added):
    """Return [(domain, selector)] of the DKIM-Signature headers in *added*, [(name, value)]."""
    found = []
    for name, value in added:
        if name.lower() == "dkim-signature":
            tags = dict(part.strip().partition("=")[::2] for part in value.split(";") if "=" in part)
            found.append((tags.get("d", "").strip(), tags.get("s", "").strip()))
    return found
