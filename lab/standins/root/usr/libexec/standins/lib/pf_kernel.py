"""What pf has: rules, limits and the names of tables in a file, until the next boot; the addresses of tables in this host's own nftables, which put all of it into force.

Where no rule keeps state every packet is judged anew; where one does, what is established passes.
"""

import dataclasses
import ipaddress
import json
import os
import pickle
import re
import subprocess

import command
import host
from pf_rules import LIMITS

NFT = "/usr/libexec/debian/sbin/nft"
FILE = os.path.join(host.STATE, "pf")
MODULES = os.path.join(host.STATE, "kld")
PASS, BLOCK = 0x70660001, 0x70660002


@dataclasses.dataclass
class State:
    """since: when it was enabled or disabled. rulesets: {anchor: rules}. tables: {(anchor, name)}."""

    since: float
    enabled: bool = False
    rulesets: dict = dataclasses.field(default_factory=lambda: {"": []})
    tables: set = dataclasses.field(default_factory=set)
    limits: dict = dataclasses.field(default_factory=lambda: dict(LIMITS))
    skip: list = dataclasses.field(default_factory=list)


def loaded():
    return "pf" in (host.read(MODULES) or "").split()


def load():
    if not os.path.exists(FILE):
        # disabled since the module was loaded
        return State(os.stat(MODULES).st_mtime)
    with open(FILE, "rb") as f:
        return pickle.load(f)


def nft(*args, script=None):
    return subprocess.run([NFT, *args], input=script, text=True, capture_output=True, check=False)


def hooked():
    """Whether the kernel really filters now."""
    return nft("list", "chain", "inet", "pf", "hook_in").returncode == 0


def ident(text):
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):02x}", text)


def set_name(anchor, table, family):
    return f"s{family}_{ident(anchor)}_{ident(table)}"


def of_family(addresses, family):
    return [one for one in addresses if (":" in one) == (family == "6")]


def networks(element):
    """The networks that one element of nft's JSON stands for."""
    if isinstance(element, str):
        return [element]
    if "elem" in element:
        return networks(element["elem"]["val"])
    if "prefix" in element:
        return [f"{element['prefix']['addr']}/{element['prefix']['len']}"]
    return [str(one) for one in ipaddress.summarize_address_range(*map(ipaddress.ip_address, element["range"]))]


def members(anchor, table):
    """Addresses of a table, read from the kernel."""
    result = []
    for family in "46":
        done = nft("-j", "list", "set", "inet", "pf", set_name(anchor, table, family))
        for item in json.loads(done.stdout)["nftables"] if done.returncode == 0 else []:
            for element in item.get("set", {}).get("elem", []):
                result += networks(element)
    return result


def change(verb, anchor, table, addresses):
    """Add addresses to a table in force, or delete them."""
    for family in "46":
        mine = of_family(addresses, family)
        if mine:
            place = f"inet pf {set_name(anchor, table, family)}"
            done = nft("-f", "-", script=f"{verb} element {place} {{ {', '.join(mine)} }}\n")
            if done.returncode:
                command.die("DIOCRADDADDRS: " + done.stderr.strip())


def interface(rule_way, name):
    return f'{"oifname" if rule_way == "out" else "iifname"} "{"lo" if name == "lo0" else name}"'


def expression(rule, anchor, family):
    """nft's words for a rule in one address family; None where it matches nothing of that family."""
    other = {"4": ("inet6", "ipv6-icmp"), "6": ("inet", "icmp")}[family]
    if rule.family in other or rule.proto in other:
        return None
    words = [f"meta nfproto ipv{family}"]
    if rule.iface:
        words.append(interface(rule.way, rule.iface))
    if rule.proto:
        words.append(f"meta l4proto {rule.proto}")
    for side, field, port in ((rule.source, "saddr", "sport"), (rule.target, "daddr", "dport")):
        if side.host.startswith("<"):
            where = f"@{set_name(anchor, side.host[1:-1], family)}"
        elif side.host and not of_family([side.host], family):
            return None
        else:
            where = side.host
        if where:
            words.append(f"{'ip' if family == '4' else 'ip6'} {field} {'!=' if side.negated else ''} {where}")
        if side.port:
            words.append(f"{rule.proto} {port} {side.port}")
    return " ".join(words)


def evaluated(name, anchor, rulesets):
    """Names of the anchors that a rule in an anchor evaluates: relative to it unless it begins with a slash; * is all below."""
    full = name[1:] if name.startswith("/") else f"{anchor}/{name}" if anchor else name
    if full.endswith("/*"):
        return sorted(n for n in rulesets if n.startswith(full[:-1]) and "/" not in n[len(full) - 1 :])
    return [full] if full in rulesets else []


def verdicts(rule, anchor, way, rulesets):
    """What nft does with a packet that a rule matches."""
    if rule.action == "anchor":
        return [f"jump {way}_{ident(name)}" for name in evaluated(rule.anchor, anchor, rulesets)]
    if not rule.quick:
        return [f"counter meta mark set {PASS if rule.action == 'pass' else BLOCK}"]
    if rule.action == "pass":
        return ["counter accept"]
    return ["counter reject" if rule.returns else "counter drop"]


def script(state, contents):
    """The whole nft table for a state; contents: {(anchor, table): [addresses]}."""
    out = ["add table inet pf", "delete table inet pf", "add table inet pf"]
    for anchor, name in sorted(state.tables):
        for family, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
            place = f"inet pf {set_name(anchor, name, family)}"
            out.append(f"add set {place} {{ type {kind}; flags interval; auto-merge; }}")
            elements = of_family(contents.get((anchor, name), []), family)
            if elements:
                out.append(f"add element {place} {{ {', '.join(elements)} }}")
    chains = [(way, anchor) for way in ("in", "out") for anchor in state.rulesets]
    # all of them first: one jumps to another
    out += [f"add chain inet pf {way}_{ident(anchor)}" for way, anchor in chains]
    for way, anchor in chains:
        for rule in state.rulesets[anchor]:
            if rule.action == "scrub" or rule.way not in ("", way):
                continue
            for words in filter(None, (expression(rule, anchor, family) for family in "46")):
                for verdict in verdicts(rule, anchor, way, state.rulesets):
                    out.append(f"add rule inet pf {way}_{ident(anchor)} {words} {verdict}")
    return "\n".join(out + (hooks(state) if state.enabled else [])) + "\n"


def hooks(state):
    """Where a packet comes into the chains: what makes pf filter."""
    out = []
    for way in ("in", "out"):
        base = f"inet pf hook_{way}"
        out.append(f"add chain {base} {{ type filter hook {way}put priority 0; policy accept; }}")
        out += [f"add rule {base} {interface(way, name)} accept" for name in state.skip]
        if any(rule.keep for rules in state.rulesets.values() for rule in rules):
            out.append(f"add rule {base} ct state established,related accept")
        out.append(f"add rule {base} meta mark set 0 jump {way}_")
        out.append(f"add rule {base} meta mark {BLOCK} counter drop")
    return out


def commit(state, lists=None):
    """Put a state into force. lists: {(anchor, table): [addresses]} of tables that get new ones; the others keep theirs."""
    contents = {key: members(*key) for key in state.tables}
    done = nft("-f", "-", script=script(state, {**contents, **(lists or {})}))
    if done.returncode:
        command.die("DIOCXCOMMIT: " + done.stderr.strip())
    with open(FILE + ".new", "wb") as f:
        pickle.dump(state, f)
    os.rename(FILE + ".new", FILE)
