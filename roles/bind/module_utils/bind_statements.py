# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The statements of a named.conf as named-checkconf -p prints it, and which of them a running named takes over."""

from ansible.module_utils.sokuhai.named import option_statements, split_statements

#: What a running named takes over from rndc reconfig whole (bin/named/server.c, load_configuration). Everything else restarts it: descriptors
#: are set before it gives up root, sockets are bound while it still may, and a cache filled under other trust anchors or root
#: servers would hide that the new ones do not work.
RELOADABLE = {
    "allow-query",
    "allow-query-cache",
    "allow-recursion",
    "allow-transfer",
    "allow-update",
    "clients-per-query",
    "fetches-per-server",
    "fetches-per-zone",
    "max-cache-size",
    "max-clients-per-query",
    "qname-minimization",
    "rate-limit",
    "recursive-clients",
    "resolver-query-timeout",
    "resolver-retry-interval",
    "tcp-clients",
    "version",
}
RELOADABLE_BLOCKS = {"acl", "logging", "statistics-channels", "zone"}


def forwarders(text, where=""):
    """Yield where named hands every query to other resolvers: in options, a view, or the root zone. A zone of its own may be forwarded.

    text: of named-checkconf -p, which has neither comments nor the shape in which it was written.
    """
    for statement in split_statements(text):
        words = statement.partition("{")[0].split()
        inside = statement[len(statement.partition("{")[0]) + 1 : max(statement.rfind("}"), 0)]
        if words[0] == "forwarders":
            if inside.strip() and where:
                yield "%s of %s" % (" ".join(statement.split()), where)
        elif words[0] in ("options", "view") or (words[0] == "zone" and words[1].strip('"') == "."):
            yield from forwarders(inside, " ".join(words[:2]))


def needs_restart(old, new):
    """Return the keyword of the first statement whose change a running named does not take over whole, or "".

    old, new: texts of named-checkconf -p.
    """
    before, after = option_statements(old), option_statements(new)
    for keyword in sorted(set(before) | set(after)):
        if before.get(keyword) != after.get(keyword) and keyword not in RELOADABLE:
            return keyword
    blocks = [{one for one in split_statements(text) if not one.startswith("options ")} for text in (old, new)]
    for statement in sorted(blocks[0] ^ blocks[1]):
        keyword = statement.split()[0]
        if keyword not in RELOADABLE_BLOCKS or statement.startswith('zone "."'):
            return keyword
    return ""
