# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A small named for the tests of what asks one."""

import contextlib
import socket
import threading

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset


class FakeNamed:
    """Answers on a port of its own as told: *mx* {domain: [hosts]}, *addresses* (names that have an A record), *rcodes* {name: rcode}, *silent* (names).

    asked: [(name, type)] of what others would have been queried for; what is asked for its cache alone (without RD) finds there what was asked for before.
    hold: answers nothing until go() is called.
    """

    def __init__(self, mx, hold=False, addresses=(), rcodes=None, silent=()):
        self.mx, self.asked, self.held, self.hold = mx, [], [], hold
        self.addresses, self.rcodes, self.silent, self.looked = addresses, rcodes or {}, silent, []
        self.changed = threading.Condition()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, whence = self.socket.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(OSError):  # closed meanwhile
                self.take(data, whence)

    def take(self, data, whence):
        question = dns.message.from_wire(data)
        asked = question.question[0]
        what = str(asked.name).rstrip("."), dns.rdatatype.to_text(asked.rdtype)
        with self.changed:
            if not question.flags & dns.flags.RD:
                self.looked.append(what)
                self.answer(question, whence, what in self.asked)
                return
            self.asked.append(what)
            if what[0] in self.silent:
                pass
            elif self.hold:
                self.held.append((question, whence))
            else:
                self.answer(question, whence)
            self.changed.notify_all()

    def answer(self, question, whence, known=True):
        asked, answer = question.question[0], dns.message.make_response(question)
        name = str(asked.name).rstrip(".")
        hosts = self.mx.get(name) if asked.rdtype == dns.rdatatype.MX else None
        if not known:
            answer.authority.append(dns.rrset.from_text("test.", 60, "IN", "NS", "ns.test."))
        elif name in self.rcodes:
            answer.set_rcode(self.rcodes[name])
        elif hosts:
            records = ["%d %s" % (10 if host else 0, host + ".") for host in hosts]
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "MX", *records))
            # as named does where RD is not set
            answer.authority.append(dns.rrset.from_text(asked.name, 60, "IN", "NS", "ns.test."))
        elif name in self.addresses and asked.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "192.0.2.1"))
        self.socket.sendto(answer.to_wire(), whence)

    def go(self):
        with self.changed:
            self.hold, held, self.held = False, self.held, []
            for question, whence in held:
                self.answer(question, whence)

    def until(self, wanted):
        """Wait until wanted() is true."""
        with self.changed:
            assert self.changed.wait_for(wanted, 120), self.asked
