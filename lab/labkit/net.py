"""The lab's networks: from net.toml to addresses, and from addresses to namespaces, links and routes.

    operator ─┐                    ┌─ inet     servers of the internet
    mx ───────┼─ lan ── router ────┤
    (others) ─┘       (switch)     └─ clients  every address of 203.0.113.0/24 and 2001:db8:2::/64

Only the keeper calls what changes something, in namespaces that are its own.
"""

import ipaddress
import os
import subprocess
import tomllib

from . import LabError, ns
from .paths import LAB

SWITCH = "switch"
BRIDGE = "lan"
NAMESPACES = ("operator", "inet", "clients", SWITCH)
ROUTER_LL, CLIENTS_LL = "fe80::1", "fe80::2"


def load():
    """net.toml as a dictionary, ranges expanded: every entry has `name`, `addresses` (list of str) and `role`."""
    with open(LAB / "labkit" / "net.toml", "rb") as f:
        net = tomllib.load(f)
    internet = []
    for entry in net["internet"]:
        if "range" not in entry:
            internet.append(entry)
            continue
        first, last = (ipaddress.IPv4Address(a) for a in entry["range"])
        for number in range(int(first), int(last) + 1):
            v4 = ipaddress.IPv4Address(number)
            octet = str(v4).rsplit(".", 1)[1]
            internet.append(
                {
                    "name": f"{entry['name']}{number - int(first):02d}",
                    "role": entry["role"],
                    "reverse": entry["reverse"],
                    "addresses": [str(v4), f"{entry['range6']}{octet}"],
                }
            )
    net["internet"] = internet
    return net


def pick(net, names, generation, outside=()):
    """The practice hosts asked for (list of dict with `generation` and `outside` filled in). Raises LabError for an unknown name.

    outside: names of those whose place is left to a machine from elsewhere.
    """
    known = {h["name"]: h for h in net["hosts"]}
    names, outside = ([next((k for k in known if k.split(".")[0] == n), n) for n in some] for some in (names, outside))
    unknown = [n for n in (*names, *outside) if n not in known]
    if unknown:
        raise LabError(f"no practice host {', '.join(unknown)}; labkit/net.toml has {', '.join(known)}")
    chosen = [known[n] for n in dict.fromkeys([*names, *outside])] or [h for h in net["hosts"] if h.get("default")]
    return [{**h, "generation": h.get("generation") or generation, "outside": h["name"] in outside} for h in chosen]


def _ip(*batches):
    for lines in batches:
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            text=True,
            capture_output=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise LabError(f"ip: {done.stderr.strip()}")


def _sysctl(values):
    for path, value in values.items():
        with open("/proc/sys/net/" + path, "w") as f:
            f.write(value)


def _enter(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.setns(fd, ns.NEWNET)
    finally:
        os.close(fd)


def _quiet_v6():
    # addresses are ours alone: no router is asked, no duplicate looked for, so they can be used at once
    values = {}
    for which in ("all", "default"):
        values.update(
            {
                f"ipv6/conf/{which}/accept_ra": "0",
                f"ipv6/conf/{which}/accept_dad": "0",
                f"ipv6/conf/{which}/autoconf": "0",
                f"ipv4/conf/{which}/rp_filter": "0",
            }
        )
    _sysctl(values)


def make_namespace(path):
    """A new network namespace, kept by a bind mount on `path`; the caller stands in it afterwards."""
    with open(path, "w"):
        pass
    ns.unshare(ns.NEWNET)
    ns.mount("/proc/self/ns/net", path, flags=ns.MS_BIND)
    _quiet_v6()
    _ip(["link set lo up"])


def build(net, hosts, directory):
    """All namespaces, links and routes. directory: where the namespaces' files go. Ends in the switch's namespace."""
    hosts = [h for h in hosts if not h["outside"]]  # the others have their network themselves
    names = ["operator", "inet", "clients", *(h["name"] for h in hosts), SWITCH]
    for name in names:
        make_namespace(f"{directory}/{name}")
    _sysctl({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})

    lan_members = [("operator", "eth0", net["operator"]["addresses"])] + [
        (h["name"], "vtnet0", h["addresses"]) for h in hosts
    ]
    lines = [f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0", f"link set {BRIDGE} up"]
    for n, (name, inner, _) in enumerate(lan_members):
        lines += [
            f"link add lan{n} type veth peer name {inner} netns {directory}/{name}",
            f"link set lan{n} master {BRIDGE} up",
        ]
    for name in ("inet", "clients"):
        lines += [f"link add {name} type veth peer name eth0 netns {directory}/{name}", f"link set {name} up"]
    for where, device in (("lan", BRIDGE), ("inet", "inet"), ("clients", "clients")):
        lines += [f"address add {a} dev {device}{' nodad' if ':' in a else ''}" for a in net["net"][where]["router"]]
    lines.append(f"address add {ROUTER_LL}/64 dev clients nodad")
    _ip(lines)

    gateways = {where: [a.split("/")[0] for a in net["net"][where]["router"]] for where in net["net"]}
    for name, inner, addresses in lan_members:
        _enter(f"{directory}/{name}")
        _ip(_member(inner, addresses, gateways["lan"], net["net"]["lan"]["router"]))
    _enter(f"{directory}/inet")
    _ip(
        _member(
            "eth0", [a for e in net["internet"] for a in e["addresses"]], gateways["inet"], net["net"]["inet"]["router"]
        )
    )

    # The nets of the clients are routed to their namespace, where each address is local; between the two only
    # link-local addresses, because a neighbour with an address of its own net would be local too.
    _enter(f"{directory}/clients")
    _sysctl({"ipv6/ip_nonlocal_bind": "1", "ipv4/ip_nonlocal_bind": "1"})
    lines = ["link set eth0 up", f"address add {CLIENTS_LL}/64 dev eth0 nodad"]
    for own in net["net"]["clients"]["own"]:
        lines.append(f"route add local {own} dev lo")
    source = str(ipaddress.ip_network(net["net"]["clients"]["own"][0])[2])
    source6 = str(ipaddress.ip_network(net["net"]["clients"]["own"][1])[2])
    lines += [
        f"address add {source}/32 dev lo",
        f"address add {source6}/128 dev lo nodad",
        f"route add 0.0.0.0/0 via inet6 {ROUTER_LL} dev eth0",
        f"route add ::/0 via {ROUTER_LL} dev eth0 src {source6}",
    ]
    _ip(lines)
    _enter(f"{directory}/{SWITCH}")
    v4, v6 = net["net"]["clients"]["own"]
    _ip([f"route add {v4} via inet6 {CLIENTS_LL} dev clients", f"route add {v6} via {CLIENTS_LL} dev clients"])


def _member(device, addresses, gateways, prefixes):
    length = {":" in p: p.split("/")[1] for p in prefixes}
    lines = [f"link set {device} up"]
    for address in addresses:
        six = ":" in address
        lines.append(f"address add {address}/{length[six]} dev {device}{' nodad' if six else ''}")
    return lines + [f"route add {'::/0' if ':' in g else 'default'} via {g} dev {device}" for g in gateways]
