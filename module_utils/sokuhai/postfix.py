# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the Postfix of a host is set to, as postconf(1) prints it."""

import re

from ansible.module_utils.sokuhai import host

CERTIFICATES = ("smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file")


def postconf(*arguments):
    """Return what postconf(1) prints, or "" where it fails or is not there."""
    status, out, _err = host.run(["postconf"] + list(arguments))
    return out.strip() if status == 0 else ""


def certificates():
    """Return the paths (list of str) of the certificates that smtpd presents, by main.cf and by the inet services of master.cf."""
    text = postconf("-hx", *CERTIFICATES) + "\n" + postconf("-Phx", *("*/inet/" + name for name in CERTIFICATES))
    return sorted({path for path in re.split(r"[\s,]+", text) if path.startswith("/")})
