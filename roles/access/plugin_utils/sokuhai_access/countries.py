# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Countries as they are declared, the file of countries that playbooks/refresh.yml writes, and the networks of a table made of it."""

import re

from ansible.errors import AnsibleFilterError

from . import ranges

ACTIONS = ("ease", "tarpit", "refuse")

# ISO 3166-1 alpha-2, and the two codes with which registries mark what belongs to no one country of their region.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG
    CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL
    GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA
    LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP
    NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
""".split()
)
REGIONS = frozenset(("AP", "EU"))
OFTEN_MEANT = {
    "UK": "GB",
    "EN": "GB",
    "JA": "JP",
    "KO": "KR",
    "SU": "RU",
    "AN": "CW, SX or BQ",
    "YU": "RS or ME",
    "ZZ": "nothing: it marks space without a country",
}
HEAD = "# Written by playbooks/refresh.yml from the registries' statistics; where space was first delegated, not where it is used.\n"


class CountryError(AnsibleFilterError):
    """A file of addresses that cannot be used, or a declaration that names no country. Its text is for the operator."""


def country_actions(declared):
    """Return access_countries as {code: action}.

    declared: {code: action}, {code: {action: …, reason: …}} or {action: [code]}. Codes: ISO 3166-1 alpha-2 in capitals, XA to
    XZ, which ISO leaves to users, or the registries' AP and EU. Actions: ease, tarpit, refuse. Raises CountryError.
    """
    if not isinstance(declared, dict):
        raise CountryError(f"access_countries is {declared!r}; actions by country are needed, such as {{JP: ease}}")
    pairs = []
    for key, value in declared.items():
        if key not in ACTIONS:
            pairs.append((key, value.get("action") if isinstance(value, dict) else value))
        elif isinstance(value, (list, tuple)):
            pairs += [(code, key) for code in value]
        else:
            raise CountryError(f"access_countries.{key} is {value!r}; a list of country codes is needed, such as [JP]")
    found = {}
    for code, action in pairs:
        check_code(code, "access_countries")
        if action not in ACTIONS:
            raise CountryError(f"access_countries.{code}: {action!r} is not an action; there are {', '.join(ACTIONS)}")
        if found.setdefault(code, action) != action:
            raise CountryError(f"access_countries: {code} is in {found[code]} and in {action}; one of them has to go")
    return found


def check_code(code, where):
    """Raise CountryError, beginning with *where*, for what is not a code of a country."""
    if code is False:
        raise CountryError(f'{where}: YAML reads NO as "false"; write "NO" in quotes for Norway')
    if code in COUNTRIES or code in REGIONS or re.fullmatch("X[A-Z]", str(code)):
        return
    known = str(code).upper()
    hint = known if known != code and known in COUNTRIES else OFTEN_MEANT.get(known)
    raise CountryError(f"{where}: {code!r} is not an ISO 3166 code of a country{f'; {hint} is meant?' if hint else ''}")


def parse(text, name):
    """Read a file of countries: lines `NETWORK CC`, `#` begins a comment, `# registry NAME DATE RECORDS` is kept. name: for messages.

    Returns {ranges: {cc: (IPv4 ranges, IPv6 ranges)}, registries: {name: {date, records}}}. Raises CountryError naming the line.
    """
    found, registries = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words[:2] == ["#", "registry"] and len(words) == 5 and words[4].isdigit():
            registries[words[2]] = {"date": words[3], "records": int(words[4])}
        if not words or words[0].startswith("#"):
            continue
        where = f"{name}, line {number}"
        if len(words) != 2:
            raise CountryError(f"{where}: {line.strip()[:60]!r} is not a network and a country, such as 1.0.16.0/20 JP")
        address, _, prefix = words[0].partition("/")
        family = 6 if ":" in address else 4
        check_code(words[1], where)
        try:
            pair = ranges.network(address, prefix or str(ranges.BITS[family]), family)
        except ValueError as problem:
            raise CountryError(f"{where}: {problem}") from None
        found.setdefault(words[1], ([], []))[family == 6].append(pair)
    return {"ranges": found, "registries": registries}


def compile_file(statistics, codes):
    """Make the file of countries from what statistics.parse() gave for each registry. codes: the countries wanted.

    An address that two of them claim (a transfer that two registries have not booked on the same day) is left out.

    Returns {text, countries: {code: {networks4, addresses4, networks6, addresses6}}, disputed: [network]}. The text has a line `NETWORK CC`
    for each network, the fewest that hold a country's addresses, behind `# registry NAME DATE RECORDS`. Raises CountryError naming the
    country of which no file has a record.
    """
    registries = {entry["registry"]: entry for entry in statistics}
    head = [f"# registry {name} {entry['date']} {entry['records']}\n" for name, entry in sorted(registries.items())]
    claims = {code: [entry["ranges"][code] for entry in statistics if code in entry["ranges"]] for code in codes}
    for code in codes:
        if not claims[code]:
            raise CountryError(
                f"access_countries: no record of {code} in the files of {', '.join(sorted(registries)) or 'no registry'}; "
                "is a registry missing, or another code meant?"
            )
    disputed, countries, rows = [], {code: {} for code in codes}, []
    for place, family in enumerate((4, 6)):
        merged = {code: ranges.merge(pair for claim in claims[code] for pair in claim[place]) for code in codes}
        claimed = ranges.twice(merged.values())
        disputed += [ranges.network_text(*one, family) for one in ranges.cover(claimed, ranges.BITS[family])]
        networks = []
        for code in codes:
            mine = ranges.without(merged[code], claimed)
            own = ranges.cover(mine, ranges.BITS[family])
            countries[code] |= {f"networks{family}": len(own), f"addresses{family}": ranges.size(mine)}
            networks += [(first, prefix, code) for first, prefix in own]
        rows += [f"{ranges.network_text(first, prefix, family)} {code}\n" for first, prefix, code in sorted(networks)]
    return {"text": "".join([HEAD, *head, *rows]), "countries": countries, "disputed": disputed}


def networks(text, actions, name="access_country_file"):
    """Return [(network, action, code)] of a file of countries, the fewest, IPv4 before IPv6, ascending; the code is '' for ease, whose networks are merged.

    text: str, the file. actions: {code: action}, as country_actions() gives it. No address is in two networks, so their order means nothing.
    Raises CountryError where the file has no network of a country, or gives an address to two countries of different fates.
    """
    known, fates = parse(text, name)["ranges"], {}
    for code, action in sorted(actions.items()):
        if code not in known:
            raise CountryError(
                f"access_countries: {name} holds no network of {code}; run playbooks/refresh.yml, which fetches them"
            )
        fates.setdefault((action, "" if action == "ease" else code), []).append(code)
    found = []
    for place, family in enumerate((4, 6)):
        merged = {
            fate: ranges.merge(pair for code in codes for pair in known[code][place]) for fate, codes in fates.items()
        }
        for network in ranges.cover(ranges.twice(merged.values()), ranges.BITS[family]):
            raise CountryError(
                f"{name}: {ranges.network_text(*network, family)} is in countries that are treated differently; only one can be meant"
            )
        found += [
            (ranges.network_text(first, prefix, family), *fate)
            for first, prefix, fate in sorted(
                (*one, fate) for fate, own in merged.items() for one in ranges.cover(own, ranges.BITS[family])
            )
        ]
    return found


def declared_networks(declared):
    """Return networks() of what the role's values declare: countries, and country_text, the file of countries ('' where there is none)."""
    actions = country_actions(declared["countries"])
    return networks(declared["country_text"], actions) if actions else []
