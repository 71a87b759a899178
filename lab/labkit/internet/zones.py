"""Zone data: zones.yml read, delegations derived, keys kept per instance, signatures made when first asked for.

Names are handled in lower-case wire form (bytes), which is what a query carries: no name is parsed twice on the way to
an answer. Signing on demand keeps the start short: a zone with a thousand delegations has a thousand NSEC records, and
a run asks for a few of them.
"""

import bisect
import dataclasses
import fnmatch
import ipaddress
import json
import pathlib
import random
import struct
import time

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.util
import dns.reversename
import dns.rrset
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdatatype import DNSKEY, DS, NS, NSEC, RRSIG, SOA

from ..files import put
from .secure import Tls
from .settings import checked

IN = dns.rdataclass.IN
#: The internet, and the zones of those who write to the practice host.
DATA, SENDERS = (pathlib.Path(__file__).with_name(name) for name in ("zones.yml", "senders.yml"))
MORE = "more.json"
LIFETIME = 60 * 86400
RCODES = {"normal": None, "servfail": 2, "refused": 5}
ALGORITHM = 13  # ECDSA P-256 with SHA-256: short answers, quick to make


def addresses(span):
    """The IPv4 addresses from span["first"] to span["last"]."""
    first, last = (int(ipaddress.ip_address(span[end])) for end in ("first", "last"))
    return [str(ipaddress.ip_address(number)) for number in range(first, last + 1)]


def wire(name):
    """Lower-case wire form of a dns.name.Name or text (absolute)."""
    if isinstance(name, str):
        name = dns.name.from_text(name)
    return name.to_wire().lower()


def suffixes(name):
    """The name and every name above it, down to the root, as wire-form bytes, longest first."""
    found, at = [name], 0
    while name[at]:
        at += name[at] + 1
        found.append(name[at:])
    return found


def canonical(name):
    """Sort key of a wire-form name in the canonical order of RFC 4034, 6.1."""
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += name[at] + 1
    return labels[::-1]


@dataclasses.dataclass(slots=True)
class Behaviour:
    """How a zone's server treats queries about it: delay (ms), loss (share), answer (normal, servfail, refused)."""

    delay: float = 0
    loss: float = 0
    answer: str = "normal"

    def __post_init__(self):
        self.set(**self.as_dict())

    def set(self, **values):
        """Change some of the three. Raises ValueError for an unknown name or a value out of range; nothing changed then."""
        for key, value in checked(values, {"delay": (0, 600_000), "loss": (0, 1), "answer": [*RCODES]}).items():
            setattr(self, key, value)

    @property
    def rcode(self):
        return RCODES[self.answer]

    def lost(self):
        return self.loss > 0 and random.random() < self.loss

    def as_dict(self):
        return dataclasses.asdict(self)


class RRset:
    """Records of one name and type, rendered; `bodies` lack the owner, which the answer's place decides."""

    __slots__ = ("bodies", "name", "rdtype", "rdatas", "signature", "ttl")

    def __init__(self, name, rdtype, ttl, rdatas):
        self.name, self.rdtype, self.ttl, self.rdatas = name, int(rdtype), ttl, list(rdatas)
        self.signature = None
        self.bodies = [self._body(r, self.rdtype) for r in self.rdatas]

    def _body(self, rdata, rdtype):
        data = rdata.to_wire()
        return struct.pack("!HHIH", rdtype, 1, self.ttl, len(data)) + data

    def signed_by(self, zone):
        """The RRSIG, rendered without its owner."""
        if self.signature is None:
            rrset = dns.rrset.from_rdata_list(self.name, self.ttl, self.rdatas)
            now = int(time.time())
            rrsig = dns.dnssec.sign(
                rrset, zone.key.private, zone.name, zone.key.dnskey, inception=now - 86400, expiration=now + LIFETIME
            )
            self.signature = self._body(rrsig, RRSIG)
        return self.signature


class Key:
    """One combined signing key of a zone, kept in a file so that a restart of the servers keeps the trust anchor."""

    def __init__(self, zone, folder=None):
        path = folder and pathlib.Path(folder) / f"{zone.to_text().strip('.') or 'root'}.pem"
        if path and path.exists():
            self.private = serialization.load_pem_private_key(path.read_bytes(), None)
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())
            if path:
                form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                put(path, self.private.private_bytes(*form), 0o600)
        self.dnskey = dns.dnssec.make_dnskey(self.private.public_key(), ALGORITHM, flags=257)

    def ds(self, zone):
        return dns.dnssec.make_ds(zone, self.dnskey, "SHA256")


class Zone:
    """One zone: records by wire-form owner and type, its cuts, and what the NSEC chain needs."""

    def __init__(self, name, server, key=None, behaviour=None):
        self.name, self.server, self.key = name, server, key
        self.wire = wire(name)
        self.nodes = {}
        self.cuts = set()
        self.exists = set()
        self.behaviour = Behaviour(**(behaviour or {}))
        self.configured = self.behaviour.as_dict()
        self.queries = 0
        self.soa = None
        self._owners = None
        self._nsec = {}
        self.replaced = {}

    def add(self, rrset):
        owner = wire(rrset.name)
        self.nodes.setdefault(owner, {})[rrset.rdtype] = rrset
        for name in suffixes(owner):
            self.exists.add(name)
            if name == self.wire:
                break
        if rrset.rdtype == SOA:
            self.soa = rrset
        elif rrset.rdtype == NS and owner != self.wire:
            self.cuts.add(owner)
        self._owners = None

    def replace(self, text, ttl):
        """Have "owner type rdata" of this zone instead of what that owner had of that type; without rdata nothing. restore() takes it back."""
        owner, kind, *rdata = text.split(None, 2)
        name = dns.name.from_text(owner, self.name)
        rdtype = dns.rdatatype.from_text(kind)
        key = wire(name), int(rdtype)
        self.replaced.setdefault(key, self.nodes.get(key[0], {}).get(key[1]))
        rdatas = [dns.rdata.from_text(IN, rdtype, one, origin=self.name, relativize=False) for one in rdata]
        self._put(key, RRset(name, rdtype, ttl, rdatas) if rdatas else None)

    def restore(self):
        for key, rrset in self.replaced.items():
            self._put(key, rrset)
        self.replaced = {}

    def _put(self, key, rrset):
        self.nodes.setdefault(key[0], {}).pop(key[1], None)
        if not self.nodes[key[0]]:
            del self.nodes[key[0]]
        if rrset:
            self.add(rrset)
        # what is below the zone's name is there as long as something has it
        self.exists = {one for owner in self.nodes for one in suffixes(owner) if one.endswith(self.wire)}
        self._owners, self._nsec = None, {}

    def cut_above(self, name):
        """The delegation at or above a name, or None. A name's suffixes are few, so this stays cheap with many cuts."""
        found = None
        if self.cuts:
            for above in suffixes(name):
                if above == self.wire:
                    break
                if above in self.cuts:
                    found = above
        return found

    def _chain(self):
        """Owners with authority in canonical order: what is below a cut (glue) is not in the chain (RFC 4035, 2.3)."""
        if self._owners is None:
            names = [n for n in self.nodes if self.cut_above(n) in (None, n)]
            self._owners = sorted((canonical(n), n) for n in names)
        return self._owners

    def nsec_before(self, name):
        """The NSEC record that matches or covers a name."""
        chain = self._chain()
        at = bisect.bisect_right(chain, (canonical(name), b"\xff" * 256)) - 1
        owner = chain[at][1]
        if owner not in self._nsec:
            after = chain[(at + 1) % len(chain)][1]
            types = {NS, DS} & set(self.nodes[owner]) if owner in self.cuts else set(self.nodes[owner])
            windows = dns.rdtypes.util.Bitmap.from_rdtypes(
                [dns.rdatatype.RdataType(t) for t in sorted(types | {int(NSEC), int(RRSIG)})]
            ).windows
            rdata = dns.rdtypes.ANY.NSEC.NSEC(IN, NSEC, dns.name.from_wire(after, 0)[0], windows)
            ttl = min(self.soa.ttl, self.soa.rdatas[0].minimum)
            self._nsec[owner] = RRset(dns.name.from_wire(owner, 0)[0], NSEC, ttl, [rdata])
        return self._nsec[owner]


def described(folder=None):
    """zones.yml with senders.yml, and in an instance's directory with more.json what that adds: servers, zones, and the mail servers of receivers.py."""
    data, senders = (
        yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) for path in (DATA, SENDERS)
    )
    data["zones"] += senders
    path = folder and pathlib.Path(folder) / MORE
    if path and path.exists():
        more = json.loads(path.read_text())
        data["servers"] |= more["servers"]
        data["zones"] += more["zones"]
        data["receivers"] = more["receivers"]
    return data


class Internet:
    """All zones, by name and by the server that answers for them."""

    def __init__(self, data=None, keys=None, tls=None):
        """data: as described() has it, which is the default. keys, tls: directories of key files; None makes keys that are forgotten.

        Raises ValueError when the data names an unknown server or a zone has no zone above it.
        """
        self.data = data = described() if data is None else data
        self.servers = data["servers"]
        self.zones = {}
        self.by_server = {name: {} for name in self.servers}
        self.sinks = addresses(data["sinks"])
        self.tlsa = Tls(tls, data.get("secure", [])).digest
        for entry in data["zones"]:
            for n in range(1, entry["count"] + 1) if "count" in entry else [0]:
                self._zone(entry, keys, n)
        self._delegate()

    def _zone(self, entry, keys, n):
        fill = {"n": n, "sink": self.sinks[n % len(self.sinks)], "tlsa": self.tlsa}

        def text(value, **more):
            return value.format(**{**fill, **more}) if "{" in value else value

        name = dns.name.from_text(text(entry["name"]))
        server = entry["server"]
        if server not in self.servers:
            raise ValueError(f"zone {name}: no server {server}")
        signed = entry.get("signed", False)
        ttl = entry.get("ttl", self.data["ttl"])
        zone = Zone(name, server, Key(name, keys) if signed else None, entry.get("behaviour"))
        zone.wrong_ds = entry.get("ds") == "wrong"
        ns = dns.name.from_text(self.servers[server]["name"])
        negative = self.data["negative_ttl"]
        lines = [f"@ SOA {ns} hostmaster.{ns} 1 3600 600 86400 {min(negative, ttl)}", f"@ NS {ns}"]
        lines += [text(line) for line in entry.get("records", [])]
        for part in entry.get("generate", []):
            lines += [text(line, n=i) for i in range(part["from"], part["to"] + 1) for line in part["records"]]
        found = {}
        for line in lines:
            owner, rdtype, rest = line.split(None, 2)
            own = ttl
            if rdtype.isdigit():
                own, (rdtype, rest) = int(rdtype), rest.split(None, 1)
            rdtype = dns.rdatatype.from_text(rdtype)
            if ":" in owner:
                owner = dns.reversename.from_address(owner)
            else:
                owner = dns.name.from_text(owner, origin=name)
            if not owner.is_subdomain(name):
                raise ValueError(f"zone {name}: {owner} is not in it")
            rdata = dns.rdata.from_text(IN, rdtype, rest, origin=name, relativize=False)
            found.setdefault((owner, rdtype), (own, []))[1].append(rdata)
        if signed:
            found[(name, DNSKEY)] = (ttl, [zone.key.dnskey])
        for (owner, rdtype), (own, rdatas) in found.items():
            zone.add(RRset(owner, rdtype, own, rdatas))
        self.zones[zone.wire] = zone
        self.by_server[server][zone.wire] = zone

    def _delegate(self):
        """Write every zone's NS, DS and glue into the zone above it."""
        for zone in self.zones.values():
            if zone.wire == b"\x00":
                continue
            parent = next((self.zones[s] for s in suffixes(zone.wire)[1:] if s in self.zones), None)
            if parent is None:
                raise ValueError(f"zone {zone.name} has no zone above it")
            ns = zone.nodes[zone.wire][int(NS)]
            parent.add(RRset(zone.name, NS, ns.ttl, ns.rdatas))
            if zone.key and parent.key:
                key = Key(zone.name) if zone.wrong_ds else zone.key
                parent.add(RRset(zone.name, DS, ns.ttl, [key.ds(zone.name)]))
        # glue is what the answering server adds to a referral: addresses of a name server below the referring zone
        self.glue = {}
        for server in self.servers.values():
            name = dns.name.from_text(server["name"])
            self.glue[wire(name)] = [
                wire(name) + rrset.bodies[0] for rrset in self._addresses(name, server["addresses"])
            ]

    def _addresses(self, name, texts):
        for text in texts:
            rdata = dns.rdata.from_text(IN, "AAAA" if ":" in text else "A", text)
            yield RRset(name, rdata.rdtype, self.data["ttl"], [rdata])

    def publish(self, name, rdtype, values, ttl):
        """Have exactly *values* (texts; of a TXT without quotes) as the records of a name, in place of those that are there; [] for none.

        Raises ValueError for what is no record.
        """
        owner, kind = dns.name.from_text(name), dns.rdatatype.from_text(rdtype)
        zone = self.deepest(wire(owner), kind)
        if zone is None:
            raise ValueError(f"no zone has {name}")
        if kind == dns.rdatatype.TXT:
            # a string holds 255 bytes
            values = [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in values]
        try:
            rdatas = [dns.rdata.from_text(IN, kind, text, origin=zone.name, relativize=False) for text in values]
        except dns.exception.DNSException as error:
            raise ValueError(f"{name} {rdtype}: {error}") from error
        # it stays: nothing takes back what is published
        zone._put((wire(owner), int(kind)), RRset(owner, kind, ttl, rdatas) if rdatas else None)

    def deepest(self, name, rdtype, zones=None):
        """The zone that answers for a name (wire form), of all or of one server's; a DS belongs to the zone above (RFC 4035, 3.1.4.1)."""
        zones = self.zones if zones is None else zones
        found = [zones[s] for s in suffixes(name) if s in zones]
        if rdtype == DS and len(found) > 1 and found[0].wire == name:
            return found[1]
        return found[0] if found else None

    def matching(self, pattern):
        """Zones whose name (without the final dot; "." the root) matches a shell pattern."""
        return [z for z in self.zones.values() if fnmatch.fnmatchcase(z.name.to_text(omit_final_dot=True), pattern)]

    def trust_anchor(self):
        """The root's key as role bind's variable bind_trust_anchors takes it: name, type and value of a `trust-anchors` line."""
        return {"name": ".", "type": "static-key", "value": self.zones[b"\x00"].key.dnskey.to_text(chunksize=0)}

    def for_named(self):
        """What a validating resolver needs to know about this internet: root hints, trust anchors, empty zones to leave out."""
        root = self.servers["root"]
        return {
            "root_hints": [{"name": root["name"] + ".", "addresses": list(root["addresses"])}],
            "trust_anchors": [self.trust_anchor()],
            "disable_empty_zones": list(self.data["empty_zones"]),
        }
