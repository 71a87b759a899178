# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The chain of limits with what was used of each link, and which of them is the tightest. Pure."""

from ..samples import columns_of, last_known

NEAR = 0.8  # share of a ceiling above which it counts as near; the same as issue and mail use

# What is measured: use -> (its ceiling's column or None, id of the link in the chain or None, what to raise).
# A link of the chain that is in this table has a use; the others have only what a full delivery needs of them.
# default_process_limit is none of them: a large delivery is to fill it, and mail then goes as fast as it was declared.
CEILINGS = {
    "named_sockets": (None, "named: source ports", "sokuhai_recursive_clients"),
    "named_descriptors": ("named_descriptors_limit", "named: openfiles", "sokuhai_openfiles"),
    "named_recursive_clients": ("named_recursive_clients_limit", None, "sokuhai_recursive_clients"),
    "postfix_descriptors": ("postfix_descriptors_limit", "postfix: openfiles", "sokuhai_openfiles"),
    "files": ("files_limit", "kern.maxfiles", "limits_sysctl['kern.maxfiles']"),
    "sockets": ("sockets_limit", "kern.ipc.maxsockets", "limits_sysctl['kern.ipc.maxsockets']"),
    "swap_used": ("swap_total", None, None),
}
# Links of which nothing is used up, so none of them is the tightest: those that compare two settings, and the ends of the range that
# "named: source ports" has as a number.
NEVER_FULL = (
    "kern.maxfiles: kern.maxfilesperproc",
    "kern.maxfiles: kern.ipc.maxsockets",
    "kern.maxfilesperproc: bind_openfiles",
    "kern.maxfilesperproc: postfix_openfiles",
    "FD_SETSIZE",
    "net.inet.ip.portrange.hifirst",
    "net.inet.ip.portrange.hilast",
)


def pairs(columns, use, ceiling, fallback=None):
    """[(time, used, ceiling)] wherever both are known. *fallback* is the ceiling where no sample has one."""
    limits = columns.get(ceiling) if ceiling else None
    found = []
    for index, used in enumerate(columns.get(use) or []):
        limit = limits[index] if limits and limits[index] else fallback
        if used is not None and limit:
            found.append((columns["time"][index], used, limit))
    return found


def ceilings(host):
    """The chain's links in its order, each with its use: a list of dicts.

    name, has, will, needs, because, ok, mend as in the chain (None where unknown); use (a key of CEILINGS or None); peak {at, used, limit, share} and
    now (the same) where it is measured; needed: the share of what it has that a full delivery needs, as computed, or None;
    raise_: what to raise. A ceiling that is sampled but is no link of the chain comes at the end.
    """
    columns = columns_of(host)
    links = (host.get("chain") or {}).get("links") or []
    uses = {link: use for use, (_, link, _) in CEILINGS.items() if link}
    rows = [row_of(link, uses.get(link.get("id")), columns) for link in links]
    shown = {row["use"] for row in rows}
    for use, (ceiling, _, _) in CEILINGS.items():
        if use not in shown and ceiling and pairs(columns, use, ceiling):
            rows.append(
                row_of({"has": last_known(columns[ceiling]), "because": "", "ok": True, "mend": ""}, use, columns)
            )
    return rows


def row_of(link, use, columns):
    """One row of ceilings(), of a link of the chain and the use that is measured of it."""
    row = {key: link.get(key) for key in ("name", "has", "will", "needs", "because", "ok", "mend")}
    has, needs = link.get("has"), link.get("needs")
    reckoned = has and needs is not None and link.get("id") not in NEVER_FULL
    row.update(use=use, peak=None, now=None, raise_=None, needed=needs / has if reckoned else None)
    if use:
        ceiling, _, row["raise_"] = CEILINGS[use]
        known = [
            {"at": at, "used": used, "limit": limit, "share": used / limit}
            for at, used, limit in pairs(columns, use, ceiling, has)
        ]
        if known:
            row["peak"], row["now"] = max(known, key=lambda one: one["share"]), known[-1]
    return row


def tightest(rows):
    """The link that is nearest to its ceiling: by what was measured, or else by what is computed; None when neither is known.

    A broken link is tighter than any other: it does not hold what it has to.
    """
    broken = [row for row in rows if row["ok"] is False]
    if broken:
        return broken[0]
    measured = [row for row in rows if row["peak"]]
    if measured:
        return max(measured, key=lambda row: row["peak"]["share"])
    reckoned = [row for row in rows if row["needed"] is not None]
    return max(reckoned, key=lambda row: row["needed"], default=None)
