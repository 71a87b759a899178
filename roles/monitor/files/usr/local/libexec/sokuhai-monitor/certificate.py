# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# Written by sokuhai's role monitor.
"""When the certificates end that Postfix's smtpd presents: for root, since a chain may be in one file with its key."""

import calendar
import os
import re
import time

from freebsd import words

PARAMETERS = ("smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file")
KEPT = 3600  # seconds after which they are read again, where no file was written meanwhile


def parse_end(text):
    """The end, s since 1970, in what `openssl x509 -enddate` prints; None for something else."""
    found = re.match(r"notAfter=(\w{3} +\d+ [\d:]{8} \d{4}) GMT", text)
    try:
        return calendar.timegm(time.strptime(found[1], "%b %d %H:%M:%S %Y")) if found else None
    except ValueError:
        return None


def files():
    """The paths in main.cf and in the inet services of master.cf. A chain's file begins with its key; openssl finds the first certificate behind it."""
    of_main = words("postconf", "-hx", *PARAMETERS)
    of_master = words("postconf", "-Phx", *("*/inet/" + name for name in PARAMETERS))
    return sorted({path for path in re.split(r"[\s,]+", of_main + of_master) if path.startswith("/")})


class Certificates:
    def __init__(self, main_cf):
        self.configuration = [main_cf, os.path.join(os.path.dirname(main_cf), "master.cf")]
        self.paths, self.marks, self.read, self.last = [], None, 0.0, None

    def end(self):
        """When the first of them ends, s since 1970; None where there is none that can be read."""
        marks = self.written()
        if marks != self.marks or time.monotonic() - self.read > KEPT:
            self.paths = files()
            ends = [parse_end(words("openssl", "x509", "-in", path, "-noout", "-enddate")) for path in self.paths]
            self.last = min(filter(None, ends), default=None)
            self.marks, self.read = self.written(), time.monotonic()
        return self.last

    def written(self):
        """When each file was written, None for one that is not there."""
        found = []
        for path in self.configuration + self.paths:
            try:
                found.append(os.stat(path).st_mtime)
            except OSError:
                found.append(None)
        return found
