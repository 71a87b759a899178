"""The lab's networks: from net.toml to addresses, and from addresses to namespaces, links and routes.

    operator ─┐                    ┌─ inet     servers of the internet
    mx ───────┼─ lan ── router ────┤
    (others) ─┘       (switch)     └─ clients  every address of 203.0.113.0/24 and 2001:db8:2::/64

Only the keeper calls what changes something, in namespaces that are its own.
"""

import ipaddress
import subprocess
import tomllib

from . import LabError, ns
from .paths import LAB

GENERATIONS = ("trixie", "bookworm")  # of Debian, under the practice hosts; the first unless another is given
SWITCH = "switch"
BRIDGE = "lan"
NAMESPACES = ("operator", "inet", "clients", SWITCH)
ROUTER_LL, CLIENTS_LL = "fe80::1", "fe80::2"


def load():
    """net.toml as a dictionary, ranges expanded: every entry has `name`, `addresses` (list of str) and `role`."""
    with open(LAB / "labkit" / "net.toml", "rb") as f:
        net = tomllib.load(f)
    for kind in ("hosts", "internet"):
        net[kind] = [one for entry in net[kind] for one in (_range(entry) if "range" in entry else [entry])]
    return net


def _range(entry):
    first, last = map(ipaddress.IPv4Address, entry["range"])
    for number in range(int(last) - int(first) + 1):
        v4 = str(first + number)
        octet, name = v4.rpartition(".")[2], entry["name"]
        yield {
            **entry,
            "name": name.format(octet) if "{}" in name else f"{name}{number:02d}",
            "addresses": [v4] + ([entry["range6"] + octet] if "range6" in entry else []),
        }


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


def ip(lines):
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True, timeout=30, check=False
    )
    if done.returncode:
        raise LabError(f"ip: {done.stderr.strip()}")


def _sysctl(values):
    for path, value in values.items():
        with open("/proc/sys/net/" + path, "w") as f:
            f.write(value)


def _quiet():
    # addresses are ours alone: no router is asked and no duplicate is looked for, so they can be used immediately
    names = ("ipv6/conf/%s/accept_ra", "ipv6/conf/%s/accept_dad", "ipv6/conf/%s/autoconf", "ipv4/conf/%s/rp_filter")
    _sysctl({name % which: "0" for which in ("all", "default") for name in names})


def make_namespace(path):
    """A new network namespace, kept by a bind mount on `path`; the caller stands in it afterwards."""
    with open(path, "w"):
        pass
    ns.unshare(ns.NEWNET)
    ns.mount("/proc/self/ns/net", path, flags=ns.MS_BIND)
    _quiet()
    ip(["link set lo up"])


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
    ip(lines)

    gateways = {where: [a.split("/")[0] for a in net["net"][where]["router"]] for where in net["net"]}
    for name, inner, addresses in lan_members:
        ns.enter({f"{directory}/{name}": ns.NEWNET})
        ip(_member(inner, addresses, gateways["lan"], net["net"]["lan"]["router"]))
    ns.enter({f"{directory}/inet": ns.NEWNET})
    ip(
        _member(
            "eth0", [a for e in net["internet"] for a in e["addresses"]], gateways["inet"], net["net"]["inet"]["router"]
        )
    )

    # The nets of the clients are routed to their namespace, where each address is local; between the two only
    # link-local addresses, because a neighbour with an address of its own net would be local too.
    ns.enter({f"{directory}/clients": ns.NEWNET})
    _sysctl({"ipv6/ip_nonlocal_bind": "1", "ipv4/ip_nonlocal_bind": "1"})
    v4, v6 = net["net"]["clients"]["own"]
    source, source6 = ipaddress.ip_network(v4)[2], ipaddress.ip_network(v6)[2]
    lines = [
        "link set eth0 up",
        f"address add {CLIENTS_LL}/64 dev eth0 nodad",
        f"route add local {v4} dev lo",
        f"route add local {v6} dev lo",
        f"address add {source}/32 dev lo",
        f"address add {source6}/128 dev lo nodad",
        f"route add 0.0.0.0/0 via inet6 {ROUTER_LL} dev eth0",
        f"route add ::/0 via {ROUTER_LL} dev eth0 src {source6}",
    ]
    ip(lines)
    ns.enter({f"{directory}/{SWITCH}": ns.NEWNET})
    ip([f"route add {v4} via inet6 {CLIENTS_LL} dev clients", f"route add {v6} via {CLIENTS_LL} dev clients"])


def _member(device, addresses, gateways, prefixes):
    length = {":" in p: p.split("/")[1] for p in prefixes}
    lines = [f"link set {device} up"]
    for address in addresses:
        six = ":" in address
        lines.append(f"address add {address}/{length[six]} dev {device}{' nodad' if six else ''}")
    there = {":" in address for address in addresses}
    return lines + [
        f"route add {'::/0' if ':' in g else 'default'} via {g} dev {device}" for g in gateways if (":" in g) in there
    ]
