# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Records of a zone that this host serves itself, as a file that the zone may $INCLUDE. The zone is never touched."""

import glob
import os
import tempfile

from ansible.module_utils.accepted_compare import counts
from ansible.module_utils.accepted_wanted import line
from ansible.module_utils.sokuhai import host, named

HEAD = "; Written by playbooks/dns.yml. Have the zone %s read it: $INCLUDE %s\n"
#: Of these a name may have one only (in TXT, one of each version), so that a second one must not come from our file.
SINGLE = ("spf", "helo spf", "dmarc", "tlsrpt", "mta-sts", "dkim")


def zone_of(name, zones):
    """The zone of *zones* (names) that has *name*, or None: the longest that it ends in."""
    return max((zone for zone in zones if name == zone or name.endswith("." + zone)), key=len, default=None)


def text(zone, path, records, former):
    """Return the file of *zone*. records: compared ones. former: its text now: what it gave to the zone itself stays in it."""
    kept = {tuple(row.split()[:1] + row.split()[3:]) for row in former.splitlines() if not row.startswith(";")}
    rows = []
    for one in records:
        mine = line(one)
        ours = tuple(mine.split()[:1] + mine.split()[3:]) in kept
        if ours or one["state"] == "missing" or (one["state"] not in ("fine", "unknown") and one["use"] not in SINGLE):
            rows.append(mine)
        elif counts(one):
            # beside the one that is there it would make two
            rows.append("; change the zone's own: %s" % line(dict(one, value=one["paste"])))
    return HEAD % (zone, path) + "".join(row + "\n" for row in rows)


def checked(checkzone, zone, path):
    """Why named-checkzone takes a zone with *path* in it for wrong, or ""."""
    with tempfile.TemporaryDirectory(prefix="sokuhai-dns-") as folder:
        target = os.path.join(folder, "zone")
        origin = "$TTL 3600\n@ SOA . . 1 3600 900 604800 300\n@ NS ns.invalid.\n"
        host.write(target, '%s$INCLUDE "%s"\n' % (origin, path))
        status, out, err = host.run([checkzone, "-i", "none", "-m", "ignore", zone, target])
        return host.last_lines(out + err, 3) if status else ""


def write(records, check_mode):
    """Write a file for each primary zone of this host that holds one of the *records* (compared). Return (paths by zone, diffs)."""
    variables = named.rc_variables()
    printed = (
        named.printed(variables, variables["named_conf"], "-x") if os.path.exists(variables["named_conf"]) else None
    )
    zones = [name for name, kind in named.zones(printed or "").items() if kind == "primary"]
    folder = os.path.dirname(variables["named_conf"])
    checkzone = named.beside(variables["named_program"], "named-checkzone")
    paths, diffs = {}, []
    mine = {}
    for one in records:
        mine.setdefault(zone_of(one["name"], zones), []).append(one)
    mine.pop(None, None)
    for zone, own in mine.items():
        path = os.path.join(folder, "sokuhai.records.%s" % zone.replace("/", "_"))
        former = host.read(path)
        now = text(zone, path, own, former or "")
        paths[zone] = path
        if now == former:
            continue
        diffs.append(host.difference(path, former, now))
        with tempfile.NamedTemporaryFile("w", prefix="sokuhai-dns-") as trial:
            trial.write(now)
            trial.flush()
            problem = checked(checkzone, zone, trial.name) if checkzone else ""
        if problem:
            raise host.Refused(
                "named-checkzone refuses the records of %s: %s; %s is left as it is" % (zone, problem, path)
            )
        if not check_mode:
            host.write(path, now, 0o644, (0, 0))
    for path in glob.glob(os.path.join(folder, "sokuhai.records.*")):
        # of a zone that is served here no more
        if path not in paths.values():
            diffs.append(host.difference(path, host.read(path), None))
            if not check_mode:
                host.remove(path)
    return paths, diffs
