#!/usr/bin/python
# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A self-signed certificate for opportunistic TLS, made on the host, renewed before it ends."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postfix_certificate
short_description: Keep a self-signed certificate for Postfix
description:
  - Makes key and certificate with openssl(1) when they are missing, do not belong together, are for another name, or end soon.
  - Kept otherwise. The key never leaves the host and is readable by root only.
options:
  certificate: {description: Path of the certificate., type: path, required: true}
  key: {description: Path of the key., type: path, required: true}
  hostname: {description: Name in it., type: str, required: true}
  days: {description: Days it is good for., type: int, default: 825}
  renew_days: {description: Days before its end when it is made anew., type: int, default: 30}
author: sokuhai
"""

RETURN = r"""
reason: {description: Why it was made., type: str, returned: always}
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule


def why(module, openssl):
    """The reason to make a new pair, or an empty string."""
    p = module.params
    for path in (p["certificate"], p["key"]):
        if not os.path.isfile(path):
            return "%s is missing" % path

    def ask(*arguments):
        return module.run_command([openssl, *arguments])

    code, certified, dummy = ask("x509", "-in", p["certificate"], "-noout", "-pubkey")
    if code != 0:
        return "%s is no certificate" % p["certificate"]
    code, own, dummy = ask("pkey", "-in", p["key"], "-pubout")
    if code != 0 or own.strip() != certified.strip():
        return "key and certificate do not belong together"
    if ask("x509", "-in", p["certificate"], "-noout", "-checkend", str(p["renew_days"] * 86400))[0] != 0:
        return "it ends in less than %d days" % p["renew_days"]
    # -checkhost answers in words and exits 0 either way.
    if "does match" not in ask("x509", "-in", p["certificate"], "-noout", "-checkhost", p["hostname"])[1]:
        return "it is not for %s" % p["hostname"]
    return ""


def make(module, openssl):
    p = module.params
    for path in (p["certificate"], p["key"]):
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o755)
    old = os.umask(0o077)
    scratch = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(p["key"]))
    try:
        key, certificate = os.path.join(scratch, "key"), os.path.join(scratch, "certificate")
        code, out, err = module.run_command(
            [
                openssl,
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-sha256",
                "-days",
                str(p["days"]),
                "-subj",
                "/CN=%s" % p["hostname"][:64],
                "-addext",
                "subjectAltName=DNS:%s" % p["hostname"],
                "-keyout",
                key,
                "-out",
                certificate,
            ]
        )
        if code != 0:
            module.fail_json(msg="openssl makes no certificate: %s" % (err or out).strip(), rc=code)
        os.chmod(certificate, 0o644)
        # Killed between the two renames, the pair does not match and the next run makes a new one.
        os.rename(key, p["key"])
        os.rename(certificate, p["certificate"])
    finally:
        os.umask(old)
        for name in os.listdir(scratch):
            os.unlink(os.path.join(scratch, name))
        os.rmdir(scratch)


def main():
    module = AnsibleModule(
        argument_spec={
            "certificate": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "hostname": {"type": "str", "required": True},
            "days": {"type": "int", "default": 825},
            "renew_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    openssl = module.get_bin_path("openssl", required=True, opt_dirs=["/usr/bin", "/usr/local/bin"])
    reason = why(module, openssl)
    modes = []
    for path, wanted in ((module.params["key"], 0o600), (module.params["certificate"], 0o644)):
        if os.path.isfile(path) and os.stat(path).st_mode & 0o777 != wanted:
            modes.append((path, wanted))
    if not module.check_mode:
        if reason:
            make(module, openssl)
        else:
            for path, wanted in modes:
                os.chmod(path, wanted)
    module.exit_json(
        changed=bool(reason or modes), reason=reason or ("; ".join("mode of " + path for path, dummy in modes))
    )


if __name__ == "__main__":
    main()
