# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A named.conf that role bind did not write: what of it would be lost, and the inventory lines that carry it over. Python 3.9."""

import json
import os
import re

from ansible.module_utils.sokuhai import host, named

#: How the file begins that role bind wrote, in every release.
HEADER = "# Role bind writes this whole file;"
MARK = re.compile("^" + HEADER, re.M)
#: Options that the role writes by itself, and has no variable for.
TAKEN = {
    "directory",
    "pid-file",
    "dump-file",
    "statistics-file",
    "recursing-file",
    "version",
    "recursion",
    "empty-zones-enable",
}
#: Options that the role writes: the variable, or why there is none.
VARIABLES = {
    "allow-recursion": "bind_recursion_for",
    "allow-query-cache": "bind_recursion_for",
    "rate-limit": "bind_rate_limit",
    "files": "bind_openfiles",
    "recursive-clients": "bind_recursive_clients",
    "tcp-clients": "bind_tcp_clients",
    "tcp-listen-queue": "bind_tcp_listen_queue",
    "clients-per-query": "bind_clients_per_query",
    "max-clients-per-query": "bind_max_clients_per_query",
    "fetches-per-server": "bind_fetches_per_server",
    "fetches-per-zone": "bind_fetches_per_zone",
    "max-cache-size": "bind_cache_share",
    "udp-receive-buffer": "bind_udp_receive_buffer",
    "resolver-query-timeout": "bind_resolver_query_timeout",
    "resolver-retry-interval": "bind_resolver_retry_interval",
    "qname-minimization": "bind_qname_minimization",
    "dnssec-validation": "bind_dnssec_validation",
    "disable-empty-zone": "bind_disable_empty_zones",
    "forwarders": "not carried over, this named queries the servers itself; forward single zones",
    "forward": "not carried over, this named queries the servers itself; forward single zones",
}
#: Options that the role sets otherwise for itself, and what holds where named.conf is silent: every zone gets the one that it had. None: asked.
ZONES = {"allow-query": "allow-query { any; }", "allow-transfer": None, "allow-update": ""}
#: Statements that may hold a password, or of which there may be one alone.
NOT_SHOWN = {"key", "dlz", "dyndb", "logging"}
RELATIVE = re.compile(r'\b(file|journal|key-directory)(\s+)"([^/"][^"]*)"')
ZONE = re.compile(r'^(\t*)zone ("[^"]*"[^{\n]*) \{\n(.*?)^\1\};', re.M | re.S)


def blocks(text):
    """Return the statements of named-checkconf -p as they are printed: each ends in a line that begins as its first one."""
    return re.findall(r"^[^\s}](?:[^\n]*;|.*?^\};)$", text or "", re.M | re.S)


def folded(statement):
    return " ".join(statement.split()).rstrip("; ")


def refusal(variables=None):
    """Return why the host's named.conf is not replaced unasked, as text of several lines, or "" where nothing would be lost.

    variables: of named.rc_variables().
    """
    variables = variables or named.rc_variables()
    path = variables["named_conf"]
    text, sample = host.read(path), host.read(path + ".sample")
    if text is None or MARK.search(text) or text == sample:
        return ""
    printed = named.printed(variables, path, "-x")
    if printed is None:
        _status, out, err = named.check(variables, path)
        found = [
            "Nobody knows what would be lost, since named-checkconf does not take it: %s"
            % " ".join((out + err).split())
        ]
    else:
        found = Foreign(variables, printed, named.printed(variables, path + ".sample")).lines()
    if not found:
        return ""
    return "\n".join(
        (
            "bind_replace_config: %s was not written by this project, and its place would be taken." % path,
            *found,
            "Then set bind_replace_config: true. What is there now is kept beside it, as %s.before-sokuhai."
            % os.path.basename(path),
        )
    )


class Foreign:
    """One named.conf. printed, sample: it and the package's own as named-checkconf -px prints them; what is the same in both is nobody's."""

    def __init__(self, variables, printed, sample):
        self.variables, self.conf = variables, variables["named_conf"]
        theirs = {folded(block) for block in blocks(sample)}
        self.blocks = [one for one in blocks(printed) if folded(one) not in theirs and not one.startswith("options {")]
        stock = named.option_statements(sample or "")
        self.all_options = named.option_statements(printed)
        self.options = {
            name: [one for one in found if one not in stock.get(name, [])] for name, found in self.all_options.items()
        }
        self.options = {name: found for name, found in self.options.items() if found and name not in TAKEN}
        stated = re.search(r'^directory "(.*)"$', self.all_options.get("directory", [""])[0])
        self.directory = stated[1] if stated else os.path.dirname(self.conf)

    def names(self, keyword):
        """Return the names of the statements *keyword*."""
        return [block.split()[1].strip('"') for block in self.blocks if block.split()[0] == keyword]

    def lines(self):
        """Return what would be lost and the lines of an inventory, [] where it is nothing."""
        if not self.blocks and not self.options:
            return []
        zones = [
            "%s (%s)" % (zone[2].split('"')[1], kind(zone[3])) for one in self.blocks for zone in ZONE.finditer(one)
        ]
        known = {"zone", "view", "acl", "key"}
        others = [" ".join(one.partition("{")[0].split()) for one in self.blocks if one.split()[0] not in known]
        lost = (
            ("zones", zones),
            ("forwarders", self.options.get("forwarders", [])),
            ("views", self.names("view")),
            ("ACLs", self.names("acl")),
            ("keys", self.names("key")),
            ("options", [name for name in self.options if name != "forwarders"]),
            ("other statements", others),
        )
        return [
            "Lost would be",
            *("%s: %s" % (what, ", ".join(names)) for what, names in lost if names),
            "What is to stay goes into the inventory:",
            *self.inventory(),
        ]

    def inventory(self):
        found, extra = self.listening(), []
        for name, statements in self.options.items():
            if name in VARIABLES:
                found += ["# %s: %s" % (one, VARIABLES[name]) for one in statements]
            elif name not in ZONES and name not in ("listen-on", "listen-on-v6"):
                extra += ["  - %s" % json.dumps(self.absolute(one) + ";") for one in statements]
        found += ["bind_extra_options:", *extra] if extra else []
        for block in self.blocks:
            if block.split()[0] in NOT_SHOWN - {"key"}:
                found.append("# %s: not carried over" % " ".join(block.partition("{")[0].split()))
        text = [line for block in self.blocks if not self.left_out(block) for line in self.carried(block).splitlines()]
        keys = self.keys()
        text = ['include "%s";' % path for path in dict.fromkeys(filter(None, keys.values()))] + text
        for name, path in keys.items():
            if path is None:
                found.append(
                    "# key %s: its secret is not shown. Put the statement into a file of its own that root and bind alone may read, and name that "
                    'here by a line include "/usr/local/etc/namedb/…";' % name
                )
        return found + (["bind_extra_config: |", *("  " + line.replace("\t", "  ") for line in text)] if text else [])

    def left_out(self, block):
        zone = ZONE.match(block)
        return block.split()[0] in NOT_SHOWN or (zone and zone[2].startswith('".') and kind(zone[3]) == "hint")

    def carried(self, block):
        """Return a statement as it goes on: with full paths, and with what its zones had from the options that are the role's now."""
        own = {} if not block.startswith("view ") else set(re.findall(r"^\t([\w-]+)", block, re.M))

        def zone(found):
            indent, name, inside = found[1], found[2], found[3]
            if kind(inside) in ("primary", "secondary"):
                for option, default in ZONES.items():
                    stated = self.all_options.get(option, [default if default is not None else self.transfer()])[0]
                    has = option in own or re.search(r"^\t*%s\b" % option, inside, re.M)
                    if stated and not has and (option != "allow-update" or kind(inside) == "primary"):
                        inside += "%s\t%s;\n" % (indent, " ".join(stated.split()))
            return "%szone %s {\n%s%s};" % (indent, name, inside, indent)

        return self.absolute(ZONE.sub(zone, block))

    def absolute(self, text):
        return RELATIVE.sub(
            lambda found: '%s%s"%s"' % (found[1], found[2], os.path.normpath(os.path.join(self.directory, found[3]))),
            text,
        )

    def transfer(self):
        """Return who may transfer a zone where named.conf is silent: everybody before BIND 9.20, nobody since. named itself prints it."""
        found = re.search(
            r"^\s*allow-transfer\s*(\{[^}]*\})", host.run([self.variables["named_program"], "-C"])[1], re.M
        )
        return "allow-transfer %s" % (found[1].replace("{", "{ ").replace("}", " }") if found else "{ any; }")

    def listening(self):
        """Return the lines with the addresses at which named listens now; what named.conf says where it does not run."""
        words = ("listen-on", "listen-on-v6")
        if not set(self.options) & set(words) and set(words) <= set(self.all_options):
            return []
        found = {4: ["127.0.0.1"], 6: ["::1"]}
        addresses = named.listening()
        for address in addresses:
            version = 6 if ":" in address else 4
            if address != "*" and "%" not in address and address not in found[version]:
                found[version].append(address)
        if not addresses:
            stated = [one for word in words for one in self.all_options.get(word, [])]
            return ["# %s: %s" % (one, "bind_" + one.split()[0].replace("-", "_")) for one in stated]
        return [
            "bind_%s: %s" % (word.replace("-", "_"), json.dumps(found[version])) for word, version in zip(words, (4, 6))
        ]

    def keys(self):
        """Return {name of a key: the included file that has it, and nothing but keys, or None}."""
        found = dict.fromkeys(self.names("key"))
        for path in re.findall(r'^\s*include\s+"([^"]+)"', host.read(self.conf) or "", re.M):
            path = os.path.join(self.directory, path)
            inside = blocks(named.printed(self.variables, path, "-x"))
            if inside and all(one.startswith("key ") for one in inside):
                found.update((one.split()[1].strip('"'), path) for one in inside)
        return found


def kind(inside):
    """Return the type of a zone from the text in its braces, by the name of today."""
    found = re.search(r"^\t*type (\S+);", inside, re.M)
    return named.OF_TODAY.get(found[1], found[1]) if found else "in-view"
