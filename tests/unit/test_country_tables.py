"""Country tables: registry statistics in, the fewest networks out, and every damaged file refused with its line."""

import gzip
import ipaddress
import itertools
import pathlib
import random

import pytest
from registry_files import RECORDS, networks, registry
from sokuhai_access import countries as ct
from sokuhai_access import ranges, statistics

APNIC = pathlib.Path(__file__).parents[1] / "data" / "delegated-apnic-20170901.txt.gz"


def parsed(text, wanted=("JP", "AU")):
    return statistics.parse(text, "delegated-apnic", wanted)


def compiled(*texts, codes=("JP",)):
    """What becomes of statistics files (texts)."""
    return ct.compile_file([parsed(text, codes) for text in texts], list(codes))


def texts(made, code):
    """A country's networks in what compiled() made, as texts."""
    return [str(network) for network in networks(made["text"])[code]]


def test_japan_in_apnics_file_of_2017():
    """The same by another way: summarize_address_range and collapse_addresses of the standard library, straight from the lines."""
    text = gzip.decompress(APNIC.read_bytes()).decode()
    made = compiled(text)
    assert made["countries"]["JP"]["networks4"] == 2737
    assert made["countries"]["JP"]["addresses4"] == 203567872
    assert "# registry apnic 2017-08-31 52847\n" in made["text"]
    fields = [line.split("|") for line in text.splitlines()]
    japans = [row for row in fields if len(row) == 7 and row[1] == "JP" and row[6] in ("allocated", "assigned")]
    firsts = [(ipaddress.ip_address(row[3]), int(row[4])) for row in japans if row[2] == "ipv4"]
    four = [ipaddress.summarize_address_range(first, first + count - 1) for first, count in firsts]
    six = [ipaddress.ip_network(f"{row[3]}/{row[4]}") for row in japans if row[2] == "ipv6"]
    wanted = [
        *ipaddress.collapse_addresses(itertools.chain.from_iterable(four)),
        *ipaddress.collapse_addresses(six),
    ]
    assert networks(made["text"])["JP"] == wanted
    table = ct.networks(made["text"], {"JP": "ease"})
    assert [ipaddress.ip_network(network) for network, *_ in table] == wanted and {row[1:] for row in table} == {
        ("ease", "")
    }


def test_forms_of_all_registries():
    made = compiled(registry(), codes=["JP", "AU"])
    assert texts(made, "JP") == [
        "62.122.208.0/22",
        "62.122.212.0/24",
        "168.209.1.0/24",
        "168.209.2.0/24",
        "2001:200::/35",
    ]
    assert texts(made, "AU") == ["1.0.0.0/24"]
    assert made["countries"]["JP"]["addresses4"] == 1280 + 512 and made["disputed"] == []


@pytest.mark.parametrize("name", statistics.REGISTRIES)
def test_each_registry_is_known(name):
    assert parsed(registry(name=name))["registry"] == name


def test_comments_blank_lines_and_crlf_are_no_records():
    text = "# CONDITIONS OF USE\n#\n\n" + registry() + "\n# end\n\n"
    assert parsed(text)["records"] == len(RECORDS)
    assert parsed(text.replace("\n", "\r\n")) == parsed(text)


def replaced(number, old, new):
    """Records with one of them changed."""
    assert old in RECORDS[number]
    return RECORDS[:number] + [RECORDS[number].replace(old, new)] + RECORDS[number + 1 :]


@pytest.mark.parametrize(
    "text, line, values",
    [
        ("", None, []),
        ("<html>404</html>\n", 1, ["<html>404</html>"]),
        (registry().replace("2.3|", "3|", 1), 1, ["3"]),
        (registry().replace("2.3|apnic", "2|nro", 1), 1, ["nro"]),
        (registry().replace("|20260928|", "|00000000|", 1), 1, ["00000000"]),
        (registry(records=RECORDS[:-1], ipv6=2), None, ["ipv6", "1", "2"]),
        (registry(ipv4=4), None, ["ipv4", "5", "4"]),
        (registry(records=RECORDS, asn=1).replace("|8|", "|9|", 1), None, ["8", "9"]),
        (registry().rpartition("8|2025")[0], 12, ["apnic||ipv6|2001:de3::|4"]),
        (registry()[:-13], 12, ["'assig'"]),
        (registry().replace("apnic|*|ipv6|*|2|summary\n", ""), None, ["ipv6"]),
        (registry().replace("apnic|*|ipv6|*|2|summary\n", "apnic|*|ipv4|*|5|summary\n"), 4, ["ipv4"]),
        (registry(replaced(3, "512", "0")), 8, ["'0'"]),
        (registry(replaced(3, "512", "4294967296")), 8, ["168.209.1.0", "4294967296"]),
        (registry(replaced(3, "168.209.1.0", "168.209.256.0")), 8, ["168.209.256.0"]),
        (registry(replaced(3, "168.209.1.0", "168.209")), 8, ["'168.209'"]),
        (registry(replaced(3, "512", " 5_12")), 8, ["' 5_12'"]),
        (registry(replaced(6, "|35|", "|129|")), 11, ["'129'"]),
        (registry(replaced(6, "|35|", "|16|")), 11, ["2001:200::/16"]),
        (registry(replaced(6, "2001:200::", "2001:200")), 11, ["'2001:200'"]),
        (registry(replaced(3, "apnic", "arin")), 8, ["'arin'", "apnic"]),
        (registry(replaced(3, "ipv4", "ipv5"), ipv4=5), 8, ["'ipv5'"]),
        (registry(replaced(3, "assigned", "loaned")), 8, ["'loaned'"]),
    ],
)
def test_a_damaged_file_is_refused_with_its_line_and_what_stands_there(text, line, values):
    with pytest.raises(ct.CountryError) as caught:
        parsed(text)
    said = str(caught.value)
    assert said.startswith("delegated-apnic" + (f", line {line}: " if line else ": ")), said
    assert all(value in said for value in values), said


@pytest.mark.parametrize("length", range(len(registry().splitlines())))
def test_a_file_cut_at_any_line_is_refused(length):
    with pytest.raises(ct.CountryError):
        parsed("".join(registry().splitlines(keepends=True)[:length]))


def test_a_country_without_a_record_is_named():
    with pytest.raises(ct.CountryError, match=r"access_countries: .* KR .* apnic"):
        compiled(registry(), codes=["JP", "KR"])


def test_duplicates_and_overlaps_count_once_and_disputes_go_to_nobody():
    one = registry(
        [
            "apnic|JP|ipv4|192.0.2.0|256|20200101|allocated",
            "apnic|JP|ipv4|192.0.2.0|256|20200101|allocated",
            "apnic|JP|ipv4|192.0.2.128|256|20200101|assigned",
            "apnic|JP|ipv6|2001:db8::|32|20200101|allocated",
        ]
    )
    other = registry(
        [
            "arin|US|ipv4|192.0.2.64|64|20200101|allocated",
            "arin|US|ipv4|198.51.100.0|256|20200101|allocated",
            "arin|US|ipv6|2001:db8:8000::|33|20200101|allocated",
        ],
        "arin",
    )
    made = compiled(one, other, codes=["JP", "US"])
    assert made["disputed"] == ["192.0.2.64/26", "2001:db8:8000::/33"]
    assert texts(made, "JP") == [
        "192.0.2.0/26",
        "192.0.2.128/25",
        "192.0.3.0/25",
        "2001:db8::/33",
    ]
    assert texts(made, "US") == ["198.51.100.0/24"]
    # nobody disputes it when only one of the two is asked for
    assert compiled(one, other)["countries"]["JP"]["addresses4"] == 384


# -- the cover, against brute force

BITS = 5
BLOCKS = [
    (first, first + size - 1)
    for size in [1 << power for power in range(BITS + 1)]
    for first in range(0, 1 << BITS, size)
]


def fewest(wanted):
    """Number of aligned blocks that the set *wanted* of addresses needs: fewest over the halves of every block."""

    def need(first, size):
        inside = {address in wanted for address in range(first, first + size)}
        if len(inside) == 1:
            return int(inside.pop())
        return need(first, size // 2) + need(first + size // 2, size // 2)

    return need(0, 1 << BITS)


def check(pairs):
    """The cover of *pairs* holds their addresses and no other, each once, in the fewest blocks."""
    wanted = addresses(pairs)
    blocks = ranges.cover(ranges.merge(pairs), BITS)
    held = [address for first, prefix in blocks for address in range(first, first + (1 << (BITS - prefix)))]
    assert sorted(held) == sorted(wanted)
    assert all(first % (1 << (BITS - prefix)) == 0 for first, prefix in blocks)
    assert len(blocks) == fewest(wanted)
    assert blocks == sorted(blocks)


def test_cover_of_every_range_of_a_small_space():
    for pair in itertools.combinations_with_replacement(range(1 << BITS), 2):
        check([pair])


def heaps(number, longest, below, seed):
    """So many lists of up to *longest* random ranges of addresses below *below*."""
    chance = random.Random(seed)
    for _ in range(number):
        yield [
            tuple(sorted((chance.randrange(below), chance.randrange(below)))) for _ in range(chance.randrange(longest))
        ]


def test_cover_of_random_heaps_of_ranges():
    for heap in heaps(3000, 6, 1 << BITS, 20170901):
        check(heap)


def test_cover_of_random_heaps_of_single_addresses_and_blocks():
    chance = random.Random(1)
    for _ in range(2000):
        check(chance.choices(BLOCKS, k=chance.randrange(20)))


def addresses(pairs):
    return {address for first, last in pairs for address in range(first, last + 1)}


def test_taking_ranges_out_leaves_the_other_addresses():
    for one, other in zip(heaps(2000, 5, 40, 2), heaps(2000, 5, 40, 3)):
        merged = [ranges.merge(one), ranges.merge(other)]
        assert addresses(ranges.without(*merged)) == addresses(one) - addresses(other)
        assert addresses(ranges.twice(merged)) == addresses(one) & addresses(other)


@pytest.mark.parametrize(
    "pair, bits, blocks",
    [
        ((0, 2**32 - 1), 32, [(0, 0)]),
        ((0, 2**128 - 1), 128, [(0, 0)]),
        ((2**32 - 1, 2**32 - 1), 32, [(2**32 - 1, 32)]),
    ],
)
def test_whole_space_and_single_addresses(pair, bits, blocks):
    assert ranges.cover([pair], bits) == blocks


def test_networks_as_texts():
    assert ranges.network_text(2**32 - 1, 32, 4) == "255.255.255.255/32"
    assert ranges.network_text(1 << 96, 33, 6) == "0:1::/33"


# -- what is declared


@pytest.mark.parametrize(
    "declared, actions",
    [
        (
            {"JP": "ease", "XA": {"action": "refuse", "reason": "test"}, "EU": "tarpit"},
            {"JP": "ease", "XA": "refuse", "EU": "tarpit"},
        ),
        ({"ease": ["JP", "JP"], "refuse": []}, {"JP": "ease"}),
        ({}, {}),
    ],
)
def test_actions_by_country_and_by_action(declared, actions):
    assert ct.country_actions(declared) == actions


def test_all_countries_are_known():
    assert len(ct.COUNTRIES) == 249


@pytest.mark.parametrize(
    "declared, said",
    [
        ({"ease": ["JP"], "refuse": ["JP"]}, "JP"),
        ({"UK": "ease"}, "'UK' .*GB"),
        ({"jp": "ease"}, "'jp' .*JP"),
        ({False: "ease"}, '"NO"'),
        ({"ZZ": "refuse"}, "'ZZ'"),
        ({"QQ": "refuse"}, "'QQ'"),
        ({"JP": "permit"}, "JP.*'permit'.*ease, tarpit, refuse"),
        ({"JP": None}, "JP.*None.*ease, tarpit, refuse"),
        ({"ease": "JP"}, "ease.*'JP'"),
        (["JP"], "{JP: ease}"),
        ({7: "ease"}, "7"),
    ],
)
def test_what_is_declared_wrongly_is_refused(declared, said):
    with pytest.raises(ct.CountryError, match=f"^access_countries.*{said}"):
        ct.country_actions(declared)


# -- the table for Postfix

COUNTRIES = "# registry apnic 2026-09-28 8\n192.0.2.0/25 JP\n192.0.2.128/25 KR\n198.51.100.0/24 XA\n2001:db8::/33 JP\n2001:db8:8000::/33 KR\n"


def test_countries_that_are_eased_are_merged_and_others_keep_their_code():
    assert ct.networks(COUNTRIES, {"JP": "ease", "KR": "ease", "XA": "refuse"}) == [
        ("192.0.2.0/24", "ease", ""),
        ("198.51.100.0/24", "refuse", "XA"),
        ("2001:db8::/32", "ease", ""),
    ]
    assert [row[1:] for row in ct.networks(COUNTRIES, {"JP": "tarpit", "KR": "tarpit"})] == [
        ("tarpit", "JP"),
        ("tarpit", "KR"),
    ] * 2
    assert ct.networks(COUNTRIES, {}) == []


@pytest.mark.parametrize(
    "text, actions, said",
    [
        (COUNTRIES, {"US": "ease"}, "^access_countries: access_country_file .*US.*playbooks/refresh.yml"),
        (COUNTRIES + "192.0.2.1/24 JP\n", {"JP": "ease"}, "^access_country_file, line 7: .*192.0.2.1/24"),
        (COUNTRIES + "192.0.2.0 - JP\n", {"JP": "ease"}, "^access_country_file, line 7: '192.0.2.0 - JP'"),
        (COUNTRIES + "192.0.3.0/33 JP\n", {"JP": "ease"}, "^access_country_file, line 7: '33'"),
        (COUNTRIES + "192.0.2.0/26 XA\n", {"JP": "ease", "XA": "refuse"}, "^access_country_file: 192.0.2.0/26"),
        (COUNTRIES + "192.0.2.0/26 jp\n", {"JP": "ease"}, "^access_country_file, line 7: 'jp'"),
    ],
)
def test_a_table_that_would_lie_is_refused(text, actions, said):
    with pytest.raises(ct.CountryError, match=said):
        ct.networks(text, actions)


def test_the_practice_hosts_countries_are_those_of_its_registry_files():
    folder = pathlib.Path(__file__).parents[2] / "lab" / "registry"
    texts = [(folder / name).read_text() for name in ("delegated-apnic", "delegated-arin")]
    made = compiled(*texts, codes=["JP", "US", "XA", "XB"])
    assert (folder / "countries.txt").read_text() == made["text"]
    assert made["countries"]["JP"] == {"networks4": 1, "addresses4": 128, "networks6": 1, "addresses6": 2**63}
