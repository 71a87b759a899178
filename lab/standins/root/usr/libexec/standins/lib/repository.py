"""The repository of pkg(8): trees that setup.sh prepared, with their versions in the file versions beside them."""

import os
import re
import typing

import host

PORTS = "/usr/share/standins/ports"
CACHE = "/var/cache/pkg"
NAME = "FreeBSD-ports"
PKG = "2.4.2"
OSVERSION = "1500068"
ABI = "FreeBSD:15:amd64"
POSTFIX_ON = "BLOCKLISTD CDB DOCS EAI LMDB PCRE2 TLS TLSRPT"
POSTFIX_OFF = "BDB INST_BASE LDAP MONGO MYSQL NIS PGSQL SASLKMIT SASLKRB5 SQLITE TEST"
# options that a package was built with, (on, off): the ports' defaults
OPTIONS = {
    "postfix": (POSTFIX_ON, f"{POSTFIX_OFF} SASL"),
    "postfix-sasl": (POSTFIX_ON, POSTFIX_OFF),  # a flavor's own option is in no list
    "bind": (
        "DNSTAP DOCS GSSAPI_NONE IDN LMDB STATS_JSON STATS_XML TCP_FASTOPEN",
        "FIXED_RRSET GEOIP GSSAPI_BASE GSSAPI_HEIMDAL GSSAPI_MIT LARGE_FILE OVERRIDECACHE QUERYTRACE START_LATE",
    ),
    "bind-tools": (
        "DNSTAP GSSAPI_NONE IDN STATS_JSON STATS_XML",
        "FIXED_RRSET GSSAPI_BASE GSSAPI_HEIMDAL GSSAPI_MIT LARGE_FILE",
    ),
}
FLAVORS = {"postfix": "default", "postfix-sasl": "sasl"}
# what a package asks of others by name of a library, and what brings it
NEEDS = {"postfix": ["libpcre2-8.so.0"], "postfix-sasl": ["libpcre2-8.so.0"]}
BRINGS = {"pcre2": ["libpcre2-8.so.0"]}


class Offer(typing.NamedTuple):
    """A package of the repository: tree has its files, needs are the names of what it depends on."""

    name: str
    version: str
    origin: str
    comment: str
    tree: str = ""
    needs: tuple = ()


def catalogue():
    """{name: Offer} of this generation."""
    have = dict(line.split() for line in host.read(f"{PORTS}/versions").splitlines())
    bind, python, perl = (have[name].split(".")[:2] for name in ("bind", "python", "perl"))
    bind, py = f"bind{bind[0]}{bind[1]}", f"{python[0]}{python[1]}"
    mailer, postfix = "Secure alternative to widely-used Sendmail", have["postfix"]
    offers = [
        Offer("pkg", PKG, "ports-mgmt/pkg", "Package manager"),
        Offer(
            f"python{py}",
            have["python"],
            f"lang/python{py}",
            "Interpreted object-oriented programming language",
            "python",
        ),
        Offer(
            "python3",
            "3_4",
            "lang/python3",
            'The "meta-port" for version 3 of the Python interpreter',
            needs=(f"python{py}",),
        ),
        Offer("postfix", postfix, "mail/postfix", mailer, "postfix", ("pcre2", "perl5")),
        Offer(
            "postfix-sasl",
            postfix,
            "mail/postfix",
            f"{mailer} (with Cyrus SASL support)",
            "postfix",
            ("pcre2", "perl5"),
        ),
        Offer("pcre2", have["pcre2"], "devel/pcre2", "Perl Compatible Regular Expressions library, version 2", "pcre2"),
        Offer(
            bind, have["bind"], f"dns/{bind}", "BIND DNS suite with updated DNSSEC and DNS64", "bind", ("bind-tools",)
        ),
        Offer(
            "bind-tools",
            have["bind"],
            "dns/bind-tools",
            "Command line tools from BIND: delv, dig, host, nslookup...",
            "bind-tools",
        ),
        Offer("dovecot", have["dovecot"], "mail/dovecot", "Secure, fast and powerful IMAP and POP3 server", "dovecot"),
        Offer("perl5", have["perl"], f"lang/perl{'.'.join(perl)}", "Practical Extraction and Report Language", "perl"),
        Offer(
            "postgrey",
            have["postgrey"],
            "mail/postgrey",
            "Greylisting policy server for Postfix",
            "postgrey",
            ("perl5",),
        ),
        Offer(
            "postfix-postfwd",
            have["postfwd"],
            "mail/postfix-postfwd",
            "Postfix firewall policy daemon",
            "postfwd",
            ("perl5",),
        ),
        Offer(
            "postfix-policyd-spf-perl",
            have["policyd-spf-perl"],
            "mail/postfix-policyd-spf-perl",
            "SPF policy service for Postfix written in Perl",
            "policyd-spf-perl",
            ("perl5",),
        ),
        Offer(
            f"py{py}-spf-engine",
            have["spf-engine"],
            "mail/py-spf-engine",
            "SPF engine for Postfix policy server and milter implemented in Python",
            "spf-engine",
            (f"python{py}", f"py{py}-dnspython"),
        ),
        Offer("rspamd", have["rspamd"], "mail/rspamd", "Fast spam filtering system", "rspamd", ("perl5",)),
        Offer(
            f"py{py}-postfix-mta-sts-resolver",
            have["mta-sts-resolver"],
            "mail/py-postfix-mta-sts-resolver",
            "TLS client policy for Postfix according to domain MTA-STS policy",
            "mta-sts-resolver",
            (f"python{py}",),
        ),
        Offer(
            f"py{py}-dnspython",
            have["dnspython"],
            "dns/py-dnspython",
            "DNS toolkit for Python",
            "dnspython",
            (f"python{py}",),
        ),
        Offer("doas", have["doas"], "security/doas", "Simple sudo alternative to run commands as another user", "doas"),
        # stand-ins of root/usr/share/standins/ports
        Offer("poudriere", "3.4.8", "ports-mgmt/poudriere", "Port build and test system", "poudriere"),
        Offer("darkhttpd", "1.17", "www/darkhttpd", "Simple, static web server", "darkhttpd"),
    ]
    dovecot = next(offer for offer in offers if offer.name == "dovecot")
    if not dovecot.version.startswith("2.3"):
        # both ports, with the one program there is
        offers.append(dovecot._replace(name="dovecot24", origin="mail/dovecot24"))
    return {offer.name: offer for offer in offers}


def paths(top):
    """(files and links, directories) below a tree, as paths that begin with /."""
    files, directories = [], []
    for place, dirs, names in os.walk(top):
        links = [name for name in dirs if os.path.islink(os.path.join(place, name))]
        files += [os.path.join(place, name)[len(top) :] for name in names + links]
        directories += [os.path.join(place, name)[len(top) :] for name in dirs if name not in links]
    return sorted(files), sorted(directories)


def tree(offer):
    """The directory that has a package's files at the places where they belong below /."""
    return f"{PORTS}/{offer.tree}" if offer.tree else ""


def manifest(name):
    """The manifest of a package, as a package file begins with it."""
    known = catalogue()
    offer = known[name]
    files, directories = paths(tree(offer))
    enabled, disabled = OPTIONS.get(re.sub(r"^bind\d+$", "bind", name), ("", ""))
    notes = {"FreeBSD_version": OSVERSION, "repo_type": "binary", "repository": NAME}
    if name in FLAVORS:
        notes["flavor"] = FLAVORS[name]
    return {
        "name": name,
        "version": offer.version,
        "origin": offer.origin,
        "comment": offer.comment,
        "deps": {need: {"origin": known[need].origin, "version": known[need].version} for need in offer.needs},
        "options": {**dict.fromkeys(enabled.split(), "on"), **dict.fromkeys(disabled.split(), "off")},
        "shlibs_required": NEEDS.get(name, []),
        "shlibs_provided": BRINGS.get(name, []),
        "annotations": notes,
        "files": files,
        "directories": directories,
    }
