"""Statistics files of the regional registries as the unit tests make them, and the networks in a file of countries."""

import collections
import ipaddress

from role_modules import load

FILTERS = load("roles/access/filter_plugins/access.py").FilterModule().filters()
from sokuhai_access import statistics

HEAD = "2.3|apnic|20260929|{records}|19830613|20260928|+1000\napnic|*|asn|*|{asn}|summary\napnic|*|ipv4|*|{ipv4}|summary\napnic|*|ipv6|*|{ipv6}|summary\n"
# the forms that the five registries' files have: no opaque-id (ripencc, lacnic for some), an empty one, ZZ, no country
RECORDS = [
    "apnic|JP|asn|173|1|20020801|allocated|A91A4B1A",
    "apnic|AU|ipv4|1.0.0.0|256|20110811|assigned|A91872ED",
    "apnic|JP|ipv4|62.122.208.0|1280|20090417|allocated",
    "apnic|JP|ipv4|168.209.1.0|512|00000000|assigned|F36180A1|e-stats",
    "apnic||ipv4|27.0.8.0|1024||reserved|",
    "apnic|ZZ|ipv4|102.201.0.0|4096||available",
    "apnic|JP|ipv6|2001:200::|35|19990813|allocated|A916B6AA",
    "apnic||ipv6|2001:de3::|48|20250703|assigned|A919DB08",
]


def registry(records=RECORDS, name="apnic", **counts):
    """Text of a statistics file with these records and a head that fits them, or says *counts*."""
    kinds = [record.split("|")[2] for record in records]
    head = {"records": len(records)} | {kind: kinds.count(kind) for kind in statistics.TYPES} | counts
    return (HEAD.format(**head) + "".join(record + "\n" for record in records)).replace("apnic|", name + "|")


def networks(text):
    """Networks of a file of countries as ipaddress objects by what stands behind them."""
    found = collections.defaultdict(list)
    for line in text.splitlines():
        if not line.startswith("#"):
            network, result = line.split()
            found[result].append(ipaddress.ip_network(network))
    return found
