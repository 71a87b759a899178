# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The recipients and their servers, from population.yml: the same people for the same file and size."""

import dataclasses
import ipaddress
import pathlib
import random

import yaml

DATA = pathlib.Path(__file__).with_name("population.yml")
#: What the mail server of a recipient does at the first attempt. limited: 421 above its number of connections.
KINDS = ("accepting", "limited", "greylisted", "dead")


@dataclasses.dataclass
class Population:
    """recipients: addresses in the order in which they are handed in. kind: {domain: one of KINDS}. server: {domain: address of its mail server}. more:
    what lab/labkit/internet takes as more.json."""

    recipients: list
    kind: dict
    server: dict
    more: dict
    resolvers: dict

    def waits(self):
        """Seconds for which the mail server of each accepting recipient lets a message wait, whoever brings it."""
        late = {one["address"]: sum(one.get("late", {}).values()) for one in self.more["receivers"]}
        return [late[self.server[one.partition("@")[2]]] for one in self.of("accepting")]

    def of(self, kind):
        """The set of recipients whose mail server is of that kind."""
        return {one for one in self.recipients if self.kind[one.partition("@")[2]] == kind}


def hosters(data, addresses, draw):
    """The entries of the hosters' mail servers. Exactly so many of each sort as the shares say, whichever they are."""
    count = data["servers"]
    entries = [{"address": address, "name": f"mx{n:03d}.hoster.test"} for n, address in enumerate(addresses[:count])]

    def some(share):
        return draw.sample(entries, round(share * count))

    for reply, how in data["late"].items():
        for entry in some(how["share"]):
            entry.setdefault("late", {})[reply] = round(draw.uniform(how["from"], how["to"]), 2)
    for entry in some(data["slowest"]["share"]):
        entry.setdefault("late", {})[draw.choice(("greeting", "rcpt", "dot"))] = data["slowest"]["seconds"]
    kinds = draw.sample(entries, round((data["greylist"] + data["connections"]["share"]) * count))
    for n, entry in enumerate(kinds):
        if n < round(data["greylist"] * count):
            entry["greylist"] = True
        else:
            entry["connections"] = data["connections"]["limit"]
    for entry in some(data["no_starttls"]):
        entry["starttls"] = False
    return entries


def kind_of(entry):
    """The kind of a mail server's entry."""
    if entry.get("dead"):
        return "dead"
    return "greylisted" if entry.get("greylist") else "limited" if entry.get("connections") else "accepting"


def hurried(share, data=None):
    """The data of population.yml with every late reply of mail servers and name servers *share* (0 to 1) as late."""
    data = data or yaml.safe_load(DATA.read_text())
    for one in data["providers"]:
        one["late"] = {reply: round(seconds * share, 2) for reply, seconds in one["late"].items()}
    for how in data["hosters"]["late"].values():
        how.update({end: how[end] * share for end in ("from", "to")})
    data["hosters"]["slowest"]["seconds"] *= share
    data["names"]["late"] = [round(milliseconds * share) for milliseconds in data["names"]["late"]]
    return data


def made(recipients, domains, data=None):
    """The Population of so many recipients in so many domains. Raises ValueError where the domains are fewer than providers or more than recipients allow."""
    data = data or yaml.safe_load(DATA.read_text())
    draw = random.Random(data["seed"])
    providers, tail = data["providers"], data["tail"]
    first, last = (int(ipaddress.ip_address(data["addresses"][end])) for end in ("first", "last"))
    addresses = [str(ipaddress.ip_address(number)) for number in range(first, last + 1)]
    names = [
        {
            "name": f"ns.names{n:02d}.test",
            "address": str(ipaddress.ip_address(data["names"]["first"]) + n),
            "late": late,
        }
        for n, late in enumerate(data["names"]["late"])
    ]
    towns, shares = domains - len(providers), [round(one["share"] * recipients) for one in providers]
    if towns < 1 or recipients - sum(shares) < towns:
        raise ValueError(f"{domains} domains: {len(providers) + 1} to {len(providers) + recipients - sum(shares)}")
    receivers, zones, kind, server = [], [], {}, {}

    def zone(domain, records, among):
        where = draw.randrange(among)
        late = {"delay": names[where]["late"]}
        zones.append({"name": domain, "server": f"names{where:02d}", "behaviour": late, "records": records})

    people = []
    for one, count in zip(providers, shares):
        about = {key: one[key] for key in ("late", "connections", "starttls") if key in one}
        own = [{"address": addresses.pop(0), "name": f"mx{n}.{one['domain']}", **about} for n in range(one["servers"])]
        receivers += own
        records = [f"@ MX 10 mx{n}" for n in range(len(own))] + [f"mx{n} A {e['address']}" for n, e in enumerate(own)]
        zone(one["domain"], records, data["names"]["providers"])
        kind[one["domain"]], server[one["domain"]] = kind_of(own[0]), own[0]["address"]
        people += [f"user{n:05d}@{one['domain']}" for n in range(count)]
    hosting = hosters(data["hosters"], addresses, draw)
    dead = [
        {"address": address, "name": f"dead{n}.hoster.test", "dead": ("refused", "silent")[n % 2]}
        for n, address in enumerate(addresses[len(hosting) :])
    ]
    receivers += hosting + dead
    zones.append(
        {
            "name": "hoster.test",
            "server": "names00",
            "records": [f"{entry['name']}. A {entry['address']}" for entry in hosting + dead],
        }
    )
    left = recipients - sum(shares) - towns
    weights = [1 / n ** tail["zipf"] for n in range(1, towns + 1)]
    further = draw.choices(range(towns), weights, k=left)
    count = [1] * towns
    for n in further:
        count[n] += 1
    ended = set(draw.sample(range(towns), round(tail["dead"] * towns)))
    own_name = set(draw.sample(range(towns), round(tail["own_name"] * towns)))
    for n in range(towns):
        domain, entry = tail["domain"].format(n=n + 1), draw.choice(dead if n in ended else hosting)
        own = ["@ MX 10 mail", f"mail A {entry['address']}"]
        zone(domain, own if n in own_name else [f"@ MX 10 {entry['name']}."], len(names))
        kind[domain], server[domain] = kind_of(entry), entry["address"]
        people += [f"user{number:05d}@{domain}" for number in range(count[n])]
    for n, one in enumerate(names):
        records = [f"ns A {one['address']}"]
        zones.append({"name": f"names{n:02d}.test", "server": f"names{n:02d}", "records": records})
    draw.shuffle(people)
    more = {
        "servers": {
            f"names{n:02d}": {"name": one["name"], "addresses": [one["address"]]} for n, one in enumerate(names)
        },
        "zones": zones,
        "receivers": receivers,
    }
    return Population(people, kind, server, more, data["resolvers"])
