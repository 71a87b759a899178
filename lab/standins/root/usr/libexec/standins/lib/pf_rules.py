"""pf.conf(5), the part of it that this stand-in knows: macros, include, table, set skip and limit, scrub, block, pass, anchor, load anchor.

Anything else is a syntax error, as a real pf would say of nonsense.
"""

import dataclasses
import ipaddress
import itertools
import os
import re
import socket
import sys

LIMITS = {
    "states": 100000,
    "src-nodes": 10000,
    "frags": 5000,
    "table-entries": 200000,
    "anchors": 512,
    "eth-anchors": 512,
}
TOKEN = re.compile(r'"[^"]*"|<[A-Za-z0-9_.:-]+>|[{}(),=!]|[^\s{}(),=!"<>]+')
ORDER = "Rules must be in order: options, ethernet, normalization, queueing, translation, filtering"


class Bad(Exception):
    """A line of pf.conf that is not in the grammar."""


@dataclasses.dataclass
class Side:
    """Where a packet is from, or to: an address, a network or a <table>, "" for any; a port, "" for any."""

    negated: bool = False
    host: str = ""
    port: str = ""

    def text(self, proto):
        text = f"{'! ' if self.negated else ''}{self.host or 'any'}"
        if self.port:
            try:
                text += f" port = {socket.getservbyport(int(self.port), proto)}"
            except OSError:
                text += f" port = {self.port}"
        return text


@dataclasses.dataclass
class Rule:
    """One rule as pf has it, with no list in it."""

    action: str
    anchor: str = ""
    returns: bool = False
    way: str = ""
    log: bool = False
    quick: bool = False
    iface: str = ""
    family: str = ""
    proto: str = ""
    source: Side = dataclasses.field(default_factory=Side)
    target: Side = dataclasses.field(default_factory=Side)
    icmp: str = ""
    keep: bool = False

    def text(self):
        """As pfctl prints it."""
        if self.action == "scrub":
            return " ".join(filter(None, ["scrub", self.way, "all fragment reassemble"]))
        everything = self.source == self.target == Side()
        words = [
            self.action,
            f'"{self.anchor}"' if self.anchor else "",
            {"block": "return" if self.returns else "drop"}.get(self.action, ""),
            self.way,
            "log" if self.log else "",
            "quick" if self.quick else "",
            f"on {self.iface}" if self.iface else "",
            self.family,
            f"proto {self.proto}" if self.proto else "",
            "all" if everything else f"from {self.source.text(self.proto)} to {self.target.text(self.proto)}",
            self.icmp,
            "flags S/SA" if self.keep and self.proto in ("", "tcp") else "",
            "keep state" if self.keep else "",
        ]
        return " ".join(filter(None, words))


def address(word):
    try:
        net = ipaddress.ip_network(word, strict=False)
    except ValueError:
        numeric = re.match(r"[0-9a-fA-F.:/]+$", word)
        raise Bad(f"could not parse address {word}" if numeric else "syntax error") from None
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


class Words:
    """Tokens of one line."""

    def __init__(self, text, macros):
        self.items = []
        for word in TOKEN.findall(text):
            if word.startswith("$"):
                if word[1:] not in macros:
                    raise Bad(f"macro '{word[1:]}' not defined")
                self.items += TOKEN.findall(macros[word[1:]])
            else:
                self.items.append(word)
        if TOKEN.sub("", text).strip():
            raise Bad("syntax error")

    def take(self, *wanted):
        """The next word, which has to be one of those that are wanted."""
        if not self.items or wanted and self.items[0] not in wanted:
            raise Bad("syntax error")
        return self.items.pop(0)

    def eat(self, *words):
        """The next word if it is one of these, else ""."""
        return self.items.pop(0) if self.items and self.items[0] in words else ""

    def several(self):
        """One word, or those of a { list }."""
        if not self.eat("{"):
            return [self.take()]
        result = []
        while not self.eat("}"):
            if not self.eat(","):
                result.append(self.take())
        if not result:
            raise Bad("syntax error")
        return result

    def quoted(self):
        return self.take().strip('"')

    def end(self):
        if self.items:
            raise Bad("syntax error")


def port(word):
    if word.isdigit():
        return word
    try:
        return str(socket.getservbyname(word))
    except OSError:
        raise Bad(f"unknown port {word}") from None


def sides(words, keyword):
    """Every Side that the lists behind from or to make."""
    if not words.eat(keyword):
        return [Side()]
    hosts, ports, negated = [""], [""], False
    if words.items[:1] != ["port"] and not words.eat("any"):
        negated = bool(words.eat("!"))
        hosts = [word if word.startswith("<") else address(word) for word in words.several()]
    if words.eat("port"):
        words.eat("=")
        ports = [port(word) for word in words.several()]
    return [Side(negated, *pair) for pair in itertools.product(hosts, ports)]


def rules(words):
    """The filter rules that one line makes: one for each word of its lists."""
    one = Rule(words.take("block", "pass", "anchor"))
    one.keep = one.action == "pass"
    if one.action == "anchor":
        one.anchor = words.quoted()
    elif one.action == "block":
        one.returns = words.eat("drop", "return") == "return"
    one.way = words.eat("in", "out")
    one.log = bool(words.eat("log"))
    one.quick = bool(words.eat("quick"))
    ifaces = words.several() if words.eat("on") else [""]
    one.family = words.eat("inet", "inet6")
    protos = words.several() if words.eat("proto") else [""]
    words.eat("all")
    sources, targets = sides(words, "from"), sides(words, "to")
    while words.items:
        word = words.take("keep", "flags", "icmp-type")
        if word == "keep":
            words.take("state")
            one.keep = True
        elif word == "flags":
            words.take()
        else:
            one.icmp = f"icmp-type {words.take()}"
    result = []
    for iface, proto, source, target in itertools.product(ifaces, protos, sources, targets):
        if proto not in ("", "tcp", "udp", "icmp", "ipv6-icmp"):
            raise Bad(f"unknown protocol {proto}")
        if (source.port or target.port) and proto not in ("tcp", "udp"):
            raise Bad("port only applies to tcp/udp/sctp")
        result.append(dataclasses.replace(one, iface=iface, proto=proto, source=source, target=target))
    return result


def logical_lines(text):
    """(number, line) with continuations joined, comments cut, and a { list } in one line."""
    pending, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        line = re.sub(r'("[^"]*")|#.*', lambda found: found[1] or "", line).rstrip()
        start = start if pending.strip() else number
        pending += line.removesuffix("\\") + " "
        bare = re.sub(r'"[^"]*"', "", pending)
        if not pending.strip() or line.endswith("\\") or bare.count("{") > bare.count("}"):
            continue
        yield start, pending
        pending = ""
    if pending.strip():
        yield start, pending


class Ruleset:
    """What a file says, for one anchor. errors: how many of its lines are wrong; they are reported. tables: None for one without a list.

    defined: macros of the command line, which no file changes (symset in sbin/pfctl/parse.y). show: called with each line as pfctl -v prints it.
    """

    def __init__(self, defined, show):
        self.defined, self.show = defined, show
        self.macros, self.rules, self.loads, self.tables = dict(defined), [], [], {}
        self.limits, self.skip, self.errors = dict(LIMITS), [], 0

    def read(self, text, name):
        for number, line in logical_lines(text):
            try:
                self.line(line)
            except Bad as problem:
                sys.stdout.flush()
                sys.stderr.write(f"{name}:{number}: {problem}\n")
                self.errors += 1
        for side in (side for rule in self.rules for side in (rule.source, rule.target)):
            if side.host.startswith("<"):
                # a table that is only referred to comes into being by that
                self.tables.setdefault(side.host[1:-1], None)

    def line(self, text):
        macro = re.match(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.+)$", text.rstrip())
        if macro:
            value = re.sub(r'^"(.*)"$', r"\1", macro[2])
            self.show(f'{macro[1]} = "{value}"')
            self.macros[macro[1]] = self.defined.get(macro[1], value)
            return
        words = Words(text, self.macros)
        kind = words.items[0]
        if kind in ("block", "pass", "anchor"):
            for rule in rules(words):
                self.rules.append(rule)
                self.show(rule.text())
            return
        known = {"set": self.set, "table": self.table, "scrub": self.scrub, "include": self.include, "load": self.load}
        if kind in ("set", "scrub") and any(rule.action != "scrub" for rule in self.rules):
            raise Bad(ORDER)
        known[words.take(*known)](words)
        words.end()

    def set(self, words):
        if words.take("skip", "limit") == "skip":
            words.take("on")
            self.skip = words.several()
            self.show(f"set skip on {{ {' '.join(self.skip)} }}")
            return
        pairs = [word for word in words.items if word not in "{},"]
        words.items.clear()
        for name, value in itertools.zip_longest(pairs[::2], pairs[1::2], fillvalue=""):
            if name not in LIMITS or not value.isdigit():
                raise Bad("syntax error")
            self.limits[name] = int(value)
            self.show(f"set limit {name} {value}")

    def table(self, words):
        name = words.take()
        if not name.startswith("<"):
            raise Bad("syntax error")
        words.eat("persist")
        content = [address(word) for word in words.several()] if words.items else None
        self.tables[name[1:-1]] = content
        self.show(f"table {name} persist" + (f" {{ {' '.join(content)} }}" if content else ""))

    def scrub(self, words):
        self.rules.append(Rule("scrub", way=words.eat("in", "out")))
        words.eat("all")
        self.show(self.rules[-1].text())

    def include(self, words):
        path = words.quoted()
        try:
            with open(path) as f:
                text = f.read()
        except OSError:
            raise Bad(f"failed to include file {os.path.abspath(path)}") from None
        self.read(text, path)

    def load(self, words):
        words.take("anchor")
        name = words.quoted()
        words.take("from")
        self.loads.append((name, words.quoted()))
