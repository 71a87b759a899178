# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A self-signed certificate for opportunistic TLS, made on the host by openssl(1) and renewed before it ends. Python 3.9 to 3.13."""

import os
import shutil
import tempfile

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding


class Certificate:
    """A certificate and its key (paths). days: how long one is good for; renew_days: how long before its end the next one is made.

    fault: what is wrong with the pair that is there, so that another one is needed, or "".
    """

    def __init__(self, certificate, key, hostname, days, renew_days):
        self.certificate = certificate
        self.key = key
        self.hostname = hostname
        self.days = days
        self.renew_days = renew_days
        self.fault = self._judged()

    def _judged(self):
        for path in (self.certificate, self.key):
            if not os.path.isfile(path):
                return "%s is missing" % path

        def ask(command, path, *arguments):
            return host.run(["openssl", command, "-in", path, *arguments])

        status, certified, _err = ask("x509", self.certificate, "-noout", "-pubkey")
        if status:
            return "%s is not a certificate" % self.certificate
        status, own, _err = ask("pkey", self.key, "-pubout")
        if status or own.strip() != certified.strip():
            return "key and certificate do not belong together"
        if ask("x509", self.certificate, "-noout", "-checkend", str(self.renew_days * 86400))[0]:
            return "ends in less than %d days" % self.renew_days
        # -checkhost answers in words and exits 0 either way
        if "does match" not in ask("x509", self.certificate, "-noout", "-checkhost", self.hostname)[1]:
            return "not for %s" % self.hostname
        return ""

    def modes(self):
        """Return {path: (mode now, mode wanted)} of the files whose modes are others."""
        pairs = {
            path: (os.stat(path).st_mode & 0o777, wanted)
            for path, wanted in ((self.key, 0o600), (self.certificate, 0o644))
            if os.path.isfile(path)
        }
        return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}

    def findings(self):
        """Return what differs: the pair itself, or else the modes of its files."""
        if self.fault:
            return [finding("certificate", "certificate", "for %s" % self.hostname, self.fault)]
        return [
            finding("mode of " + path, "mode of " + path, *("%04o" % mode for mode in reversed(pair)))
            for path, pair in self.modes().items()
        ]

    def repair(self):
        """Make another pair where this one is not good, or give its files their modes. Raises Refused."""
        if self.fault:
            self.make()
        for path, (_now, wanted) in self.modes().items():
            os.chmod(path, wanted)

    def make(self):
        """Make key and certificate and put them in place. Killed between the two renames, they do not match and the next run makes others."""
        for path in (self.certificate, self.key):
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(self.key))  # readable by its owner alone
        key, certificate = os.path.join(scratch, "key"), os.path.join(scratch, "certificate")
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", str(self.days)]
        argv += ["-subj", "/CN=" + self.hostname[:64], "-addext", "subjectAltName=DNS:" + self.hostname]
        try:
            status, out, err = host.run(argv + ["-keyout", key, "-out", certificate])
            if status:
                raise host.Refused("openssl makes no certificate: %s" % (err or out).strip())
            os.chmod(key, 0o600)
            os.chmod(certificate, 0o644)
            host.flush(key)
            host.flush(certificate)
            os.rename(key, self.key)
            os.rename(certificate, self.certificate)
        finally:
            shutil.rmtree(scratch)
