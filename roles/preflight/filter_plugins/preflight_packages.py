# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Packages: what is there is kept, and where a declared value needs another flavor of Postfix, that is said before anything changes."""

import re

#: Which package of mail/postfix brings what the others have not, by the names that postconf -m, -A (client) and -a (server) print: the port's FLAVORS.
#: Dovecot's server type, cdb, lmdb and pcre are in every flavor.
FLAVORS = {
    ("types", "ldap"): "postfix-ldap",
    ("types", "mongodb"): "postfix-mongo",
    ("types", "mysql"): "postfix-mysql",
    ("types", "pgsql"): "postfix-pgsql",
    ("types", "sqlite"): "postfix-sqlite",
    ("client", "cyrus"): "postfix-sasl",
    ("server", "cyrus"): "postfix-sasl",
}
PACKAGES = {"postfix", *FLAVORS.values()}
#: Packages of other mailers that pkg(8) would take away for Postfix: CONFLICTS_INSTALL of mail/postfix.
CONFLICTS = ("courier", "opensmtpd", "opensmtpd-devel", "sendmail", "sendmail-devel")
#: Table types that postmap(1) builds, and which of them every package has: hash and btree by libc's Berkeley DB (HAS_DB of src/util/sys_defs.h, up to
#: FREEBSD16), lmdb and cdb by options of the port that are on. A Postfix built with -DNO_DB has neither of the first (NON_BERKELEYDB_README).
INDEXED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
PACKAGED = ("hash", "btree", "lmdb", "cdb")
TYPE = re.compile(r"(?<![\w/.-])(%s):" % "|".join([name for kind, name in FLAVORS if kind == "types"] + list(INDEXED)))
#: What is installed for Postfix's services is looked at with Postfix.
SERVES = dict.fromkeys(["spf_package", "greylist_package", "dkim_package"], "postfix")
SPF = {"python": "/usr/local/bin/policyd-spf", "perl": "/usr/local/libexec/postfix-policyd-spf-perl"}
#: What left FreeBSD's ports, and what took its place: {package: (when, successor)}.
GONE = {
    "bind918": ("2026-06-30", "bind920"),
}
#: How a kind is called in a message.
WORDS = {
    "types": "table type %s",
    "client": "%s SASL for mail that is sent (smtp_sasl_auth_enable)",
    "server": "%s SASL (smtpd_sasl_type)",
    "dovecot": "%s SASL",
}


def preflight_programs(declared):
    """Return {variable: {program, packages, role}} of the packages that roles install, for module preflight_probe; role: as in preflight_serves(), or ports,
    which builds it, or has it of one's own repository, before its own role looks for it.

    declared: {variable: typed value} of all roles.
    """
    built = [f"{part}_package" for part in declared["rebuild_parts"]] if declared["rebuild_enabled"] else []
    found = {
        "bind_package": (declared["bind_install"], "named", [declared["bind_package"]]),
        "postfix_package": (
            declared["sokuhai_mail"] and declared["postfix_install"],
            "postconf",
            [declared["postfix_package"]],
        ),
        "sasl_packages": (
            declared["sasl_enabled"] and declared["sasl_install"],
            "/usr/local/sbin/dovecot",
            declared["sasl_packages"],
        ),
        "sasl_recipients_package": (
            declared["sasl_recipients_limited"] and declared["sasl_install"],
            "/usr/local/bin/postfwd",
            [declared["sasl_recipients_package"]],
        ),
        "spf_package": (
            declared["spf_mode"] != "none" and declared["spf_install"],
            SPF[declared["spf_agent"]],
            [declared["spf_package"]],
        ),
        "greylist_package": (
            declared["greylist_enabled"] and declared["greylist_install"],
            "/usr/local/sbin/postgrey",
            [declared["greylist_package"]],
        ),
        "dkim_package": (
            declared["dkim_enabled"] and declared["dkim_install"],
            "/usr/local/bin/rspamd",
            [declared["dkim_package"]],
        ),
    }
    return {
        name: {
            "program": program,
            "packages": packages,
            "role": "ports" if name in built else SERVES.get(name, name.partition("_")[0]),
        }
        for name, (wanted, program, packages) in found.items()
        if wanted
    }


def preflight_kept(probe):
    """Return a sentence of each program that is of another package than the one declared, and of a Dovecot of the owner's. probe: of preflight_probe."""
    kept = [
        f"{variable}: {owner['program']} is of {owner['package'] or 'no package'}, and is kept"
        for variable, owner in sorted(probe["owners"].items())
    ]
    if probe["dovecot"]:
        kept.append(f"sasl_replace_config: {probe['dovecot']} is its owner's, and is kept: AUTH is had of that Dovecot")
    return kept


def needs(declared):
    """Return {(kind, name): where it is declared} of what only some flavors of Postfix have."""
    found = {("server", "dovecot"): "sokuhai_submission"} if declared["postfix_submission"] else {}
    if declared["sokuhai_smarthost"].get("user"):
        found[("client", "cyrus")] = "sokuhai_smarthost"
    options = [
        (f"postfix_main_cf: {item['name']}", item["name"], item.get("value"))
        for item in declared["postfix_main_cf"]
        if item.get("state") != "absent"
    ]
    for service in declared["postfix_master_cf"]:
        for name, value in (service.get("options") or {}).items():
            options.append((f"postfix_master_cf: {service['name']}: {name}", name, value))
    options += [("postfix_destinations", "mydestination", value) for value in declared["postfix_destinations"]]
    options += [
        (f"postfix_tables: {table['name']}", "", f"{table.get('type')}:") for table in declared["postfix_tables"]
    ]
    options.append(("postfix_map_type", "", f"{declared['postfix_map_type']}:"))
    for where, name, value in options:
        text = str(value)
        for found_type in TYPE.findall(text):
            found.setdefault(("types", found_type), where)
        if name in ("smtp_sasl_auth_enable", "lmtp_sasl_auth_enable") and text.lower() in ("yes", "true"):
            found.setdefault(("client", "cyrus"), where)
        if name == "smtpd_sasl_type" and text == "cyrus":
            found.setdefault(("server", "cyrus"), where)
    return found


def preflight_postfix(probe, declared):
    """Return what is wrong between the declared values and the Postfix that the host has or is to get, a list of messages."""
    package, replace = declared["postfix_package"], declared["postfix_replace_package"]
    there, owner = probe["postfix"], probe["owners"].get("postfix_package", {}).get("package")
    others = [name for name in CONFLICTS if name in probe["packages"]]
    installs = declared["postfix_install"] and (not there or (replace and package not in probe["packages"]))
    problems = []
    if installs and others and not replace:
        problems.append(
            f"postfix_package: {', '.join(others)} would be removed by pkg for {package}, with which it conflicts: "
            "set postfix_replace_package: true to have it so, or remove it first"
        )
    # where there is none and none is to come, module postfix_info says so
    for (kind, name), where in needs(declared).items() if there or installs else ():
        flavor, what = FLAVORS.get((kind, name)), WORDS[kind] % name
        if kind == "types" and name in INDEXED:
            # what is built here has the options of ports_list
            has = (INDEXED if declared["rebuild_enabled"] else PACKAGED) if installs else there["types"]
            if has and name not in has:
                problems.append(_indexed(where, name, [one for one in ("lmdb", "cdb", "hash") if one in has]))
        elif installs:
            # what is built here has the options of ports_list
            has = package not in PACKAGES or declared["rebuild_enabled"] or flavor in (None, package)
            if not has:
                problems.append(
                    f"postfix_package: {where} needs {what}, which {package} has not: set postfix_package: {flavor}"
                )
        elif name not in there[kind]:
            now = owner or (package if package in probe["packages"] else "of no package")
            named = "" if package == flavor else f"postfix_package: {flavor} and "
            remedy = (
                f"{flavor} has it: set {named}postfix_replace_package: true, which removes the other"
                if flavor
                else "build one that has it"
            )
            problems.append(
                f"postfix_package: {where} needs {what}, which the Postfix on this host ({now}) has not; {remedy}"
            )
    return problems


def _indexed(where, name, others):
    """Return the message about a table type, which the Postfix has not. others: those that could take its place, the best first."""
    # a cache is written by Postfix, and cdb is only read
    others = [one for one in others if name != "btree" or one != "cdb"]
    gone = ": it was built without Berkeley DB" if name in ("hash", "btree") else ""
    remedy = (
        f"write {others[0]} in its place, and build what is not of postfix_tables with postmap {others[0]}:FILE"
        if others
        else "build one that has it"
    )
    return f"postfix_package: {where} needs table type {name}, which this Postfix has not{gone}; {remedy}"


def preflight_gone(probe, declared):
    """Return what is wrong with packages that are to be installed and that FreeBSD's ports have no more, a list of messages."""
    wanted = preflight_programs(declared)
    return [
        f"{variable}: {name} left FreeBSD's ports on {GONE[name][0]}, and no repository of this host has it: set {variable}: {GONE[name][1]}"
        for variable, one in sorted(wanted.items())
        for name in one["packages"]
        if name in GONE and name in probe["missing"] and not declared["rebuild_enabled"]
    ]


def preflight_abi(probe, declared):
    """Return what is wrong with packages that another major release of FreeBSD left behind, a list of messages.

    Their programs need libraries that went with it, and start no more at the next restart. Packages that nothing here uses are their owner's.
    """
    used = {name for one in preflight_programs(declared).values() for name in one["packages"]}
    used |= {owner["package"].rpartition("-")[0] for owner in probe["owners"].values()}
    major = probe["release"].get("userland", "").partition(".")[0]
    former = {
        name: abi
        for name, abi in sorted(probe["abis"].items())
        if name in used and major.isdigit() and _major(abi) not in ("", major)
    }
    if not former:
        return []
    # what was built here is locked, and pkg upgrade passes over it
    return [
        f"packages of another release: {', '.join('%s (%s)' % one for one in former.items())}, and this host runs FreeBSD {major}: upgrade all packages "
        f"first, as root: pkg-static install -fy pkg; pkg unlock -y {' '.join(former)}; pkg upgrade -fy"
    ]


def _major(abi):
    """Return the major release (str) in pkg's ABI, "15" of FreeBSD:15:amd64; "" where it has none."""
    found = re.match(r"FreeBSD:(\d+):", abi)
    return found.group(1) if found else ""


class FilterModule:
    def filters(self):
        return {
            "preflight_abi": preflight_abi,
            "preflight_gone": preflight_gone,
            "preflight_kept": preflight_kept,
            "preflight_postfix": preflight_postfix,
            "preflight_programs": preflight_programs,
        }
