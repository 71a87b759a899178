"""blocklistd's configuration and database, for the daemon and blocklistctl.

The database is JSON where the real one is Berkeley DB, and as there it is empty until it is first written.
"""

import ipaddress
import json
import os
import re
import socket

CONF, DB, SOCKET, HELPER = (
    "/etc/blocklistd.conf",
    "/var/db/blocklistd.db",
    "/var/run/blocklistd.sock",
    "/usr/libexec/blocklistd-helper",
)


class Bad(Exception):
    """A line that the daemon skips."""


def number(text, what, place):
    if text in ("*", "="):
        return text
    if not text.isdigit():
        raise Bad(f"conf_getnum: {place}: Bad number for {what} [{text}]")
    return int(text)


def duration(text, place):
    if text in ("*", "="):
        return text
    if not re.fullmatch(r"\d+|(\d+[smhd])+", text):
        raise Bad(f"conf_getsecs: {place}: Bad number [{text}]")
    scale = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(n) * scale[unit] for n, unit in re.findall(r"(\d+)([smhd]?)", text))


def port(text, place):
    try:
        return socket.getservbyname(text)
    except OSError:
        return number(text, "service", place)


def parse(path):
    """({local|remote: [rule]}, [complaint]); a rule: net, port, proto, family, name, mask, nfail, duration."""
    rules, complaints, where = {"local": [], "remote": []}, [], "local"
    with open(path) as f:
        for at, line in enumerate(f, 1):
            line = line.split("#")[0].strip()
            if line in ("[local]", "[remote]"):
                where = line[1:-1]
                continue
            if not line:
                continue
            place = f"{path}, {at}"
            fields = (line.split() + [""] * 7)[:7]
            try:
                rules[where].append(one_rule(fields, place))
            except Bad as problem:
                complaints.append(str(problem))
    for kind in rules.values():
        # the most specific first, the highest port before the others
        kind.sort(
            key=lambda r: (
                r["net"] == "*",
                -(ipaddress.ip_network(r["net"]).version if r["net"] != "*" else 0),
                -(ipaddress.ip_network(r["net"]).prefixlen if r["net"] != "*" else 0),
                -(r["port"] if r["port"] != "*" else -1),
                -(r["family"] if r["family"] != "*" else -1),
            )
        )
    return rules, complaints


def one_rule(fields, place):
    location = fields[0]
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|(\d+\.[\d.]+))(/\d+)?(?::(\S+))?", location)
    if found:
        try:
            net = str(ipaddress.ip_network((found[1] or found[2]) + (found[3] or ""), strict=False))
        except ValueError:
            raise Bad(f"conf_gethostport: {place}: Bad address [{location}]") from None
        where = port(found[4], place) if found[4] else "*"
    else:
        net, where = "*", port(location, place) if location != "*" else "*"
    proto = {"stream": "tcp", "dgram": "udp"}.get(fields[1]) or number(fields[1], "protocol", place)
    family = {"tcp": 4, "udp": 4, "tcp6": 6, "udp6": 6}.get(fields[2]) or number(fields[2], "family", place)
    if number(fields[3], "user", place) != "*":
        raise Bad(f"blocklistd: {place}: an owner is not known to this stand-in")
    name, slash, mask = fields[4].partition("/")
    return {
        "net": net,
        "port": where,
        "proto": proto,
        "family": family,
        "name": {"*": "blocklistd"}.get(name, name),
        "mask": number(mask, "mask", place) if slash else "*",
        "nfail": number(fields[5], "nfail", place),
        "duration": duration(fields[6], place),
    }


def listing(rules):
    """What -d shows of the rules it has understood."""
    out = []
    for kind, head in (("local", "target"), ("remote", "source")):
        out += [f"[{kind}]", f"{head:>20}\ttype\tproto\towner\tname\tnfail\tduration"]
        for one in rules[kind]:
            place = str(one["port"])
            if one["net"] != "*":
                net = ipaddress.ip_network(one["net"])
                place = str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)
            family = {4: "2", 6: "28"}.get(one["family"], "*")
            name = ("*" if one["name"] == "blocklistd" else one["name"]) + (
                f"/{one['mask']}" if one["mask"] != "*" else ""
            )
            out.append(
                f"{place:>20}\t{ {'tcp': '6', 'udp': '17'}.get(one['proto'], '*') }\t{family}\t*\t{name}\t{one['nfail']}\t{one['duration']}"
            )
    return out


def load(path=DB):
    """The entries {key: {name, address, mask, port, id, count, nfail, duration, last}}; ValueError when the file is none."""
    with open(path) as f:
        return json.load(f)


def save(entries, path=DB):
    with open(path + ".new", "w") as f:
        json.dump(entries, f)
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)
