# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What can be said about the declared SASL users without asking the host."""

import re

# The schemes worth having of those that FreeBSD's crypt(3), Dovecot itself or libsodium check, each with the shape of its hash.
# Shapes: crypt(3) of FreeBSD for $5$, $6$ and $2b$; the PHC string format for Argon2; Dovecot's password-schemes page for PBKDF2.
B64 = r"[./0-9A-Za-z]"
SCHEMES = {
    "SHA512-CRYPT": r"\$6\$(rounds=\d+\$)?%s{1,16}\$%s{86}" % (B64, B64),
    "SHA256-CRYPT": r"\$5\$(rounds=\d+\$)?%s{1,16}\$%s{43}" % (B64, B64),
    "BLF-CRYPT": r"\$2[aby]\$\d\d\$%s{53}" % B64,
    "ARGON2ID": r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[+/0-9A-Za-z]+\$[+/0-9A-Za-z]+",
    "ARGON2I": r"\$argon2i\$v=\d+\$m=\d+,t=\d+,p=\d+\$[+/0-9A-Za-z]+\$[+/0-9A-Za-z]+",
    "PBKDF2": r"\$1\$[^$:\s]+\$\d+\$[0-9a-f]+",
}
HOW = "make one with: doveadm pw -s SHA512-CRYPT"

# A colon ends the name in a passwd-file, and Dovecot lowers the name it is given before it looks (auth_username_format), so a
# capital letter could never match.
NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*(@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?)?")


# What smtpd_sender_login_maps is looked up by: postconf(5).
ADDRESS = re.compile(r"[^\s@,:]*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")


def hashes(users):
    """Return [{name, password_hash}] of *users*; the hash is "" for one who has his password elsewhere."""
    return [{"name": user["name"], "password_hash": user.get("password_hash") or ""} for user in users]


def user_problems(users):
    """Return what is wrong with *users* (a list of {name, password_hash, addresses}), one sentence each; never shows a hash or a password.

    None of them has a hash where a Dovecot that was here before knows their passwords; which it is, only the host can say.
    """
    problems = []
    seen = set()
    kept_elsewhere = all(user.get("password_hash") is None for user in users)
    for number, user in enumerate(users):
        name, secret = str(user.get("name", "")), str(user.get("password_hash") or "")
        where = "sasl_users[%d]" % number
        if not NAME.fullmatch(name):
            if NAME.fullmatch(name.lower()):
                problems.append(
                    "%s.name: %r has capital letters, but Dovecot looks for the name in lower case; write %r"
                    % (where, name, name.lower())
                )
            else:
                problems.append("%s.name: %r is neither user nor user@domain" % (where, name))
        elif name in seen:
            problems.append("%s.name: %r is declared twice" % (where, name))
        seen.add(name)
        problems += [
            "%s.addresses: %r is neither user@domain nor @domain, for all of a domain" % (where, address)
            for address in map(str, user.get("addresses") or [])
            if not ADDRESS.fullmatch(address)
        ]
        if kept_elsewhere:
            continue
        scheme = re.match(r"\{([A-Za-z0-9-]+)\}(.*)", secret, re.DOTALL)
        if not scheme:
            problems.append(
                "%s.password_hash: of %r is not a hash with its {SCHEME} in front; a password in clear is refused. %s"
                % (where, name, HOW)
            )
        elif scheme[1] not in SCHEMES:
            problems.append(
                "%s.password_hash: of %r uses %s; possible are %s. %s"
                % (where, name, scheme[1], ", ".join(SCHEMES), HOW)
            )
        elif not re.fullmatch(SCHEMES[scheme[1]], scheme[2]):
            problems.append(
                "%s.password_hash: of %r is not a whole %s hash (cut off when it was pasted, perhaps). %s"
                % (where, name, scheme[1], HOW)
            )
    return problems


def mechanism_problems(mechanisms):
    """Return what is wrong with *mechanisms* (a list of names): none at all, or one twice."""
    if not mechanisms:
        return ["sasl_mechanisms: is empty, so nobody could log in; set sokuhai_submission: false to have no AUTH"]
    return [
        "sasl_mechanisms: %s is declared twice" % name for name in sorted(set(mechanisms)) if mechanisms.count(name) > 1
    ]


def limit_problems(client_limit, openfiles):
    """Return what is wrong with *client_limit* (connections) on a host that grants *openfiles* (descriptors per process).

    Dovecot's auth process takes one descriptor per client and keeps some for its files, its listeners and the master; 64 is ample.
    """
    client_limit, openfiles = int(client_limit), int(openfiles)
    if client_limit < 1:
        return [
            "sasl_client_limit: %d lets nobody in; it is three times sokuhai_process_limit and 100 by default"
            % client_limit
        ]
    if client_limit + 64 > openfiles:
        return [
            "sasl_client_limit: %d connections and 64 files do not fit into sokuhai_openfiles = %d; at most %d fit"
            % (client_limit, openfiles, openfiles - 64)
        ]
    return []


class FilterModule:
    def filters(self):
        return {
            "sasl_hashes": hashes,
            "sasl_user_problems": user_problems,
            "sasl_mechanism_problems": mechanism_problems,
            "sasl_limit_problems": limit_problems,
        }
