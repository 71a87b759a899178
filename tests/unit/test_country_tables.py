"""Country tables: registry statistics in, the fewest networks out, and every damaged file refused with its line."""

import gzip
import hashlib
import ipaddress
import itertools
import pathlib
import random

import country_tables as ct
import pytest

APNIC = pathlib.Path(__file__).parents[1] / "data" / "delegated-apnic-20170901.txt.gz"
NOW = 1790700000  # 2026-09-29
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
    head = {"records": len(records)} | {kind: kinds.count(kind) for kind in ct.TYPES} | counts
    return (HEAD.format(**head) + "".join(record + "\n" for record in records)).replace("apnic|", name + "|")


def write(folder, text, name="apnic"):
    path = folder / f"delegated-{name}"
    path.write_text(text)
    return str(path)


def networks(text):
    """Networks of a table or file of countries as ipaddress objects by what stands behind them."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            network, _, result = line.replace("\t", " ").partition(" ")
            found.setdefault(result, []).append(ipaddress.ip_network(network))
    return found


def test_japan_in_apnics_file_of_2017():
    made = ct.registry_countries([str(APNIC)], ["JP"])
    assert made["countries"]["JP"]["networks4"] == 2737
    assert made["countries"]["JP"]["addresses4"] == 203567872
    assert made["registries"] == {"apnic": {"date": "2017-08-31", "records": 52847}}
    table = ct.country_table(made["text"], {"JP": "check_client_ease"})
    assert (table["networks4"], table["addresses4"], table["networks6"]) == (2737, 203567872, made["networks6"])


def test_japan_of_2017_is_what_ipaddress_makes_of_it():
    """The same by another way: summarize_address_range and collapse_addresses of the standard library, straight from the lines."""
    four, six = [], []
    for line in gzip.open(APNIC, "rt"):
        fields = line.rstrip("\n").split("|")
        if len(fields) == 7 and fields[1] == "JP" and fields[6] in ("allocated", "assigned"):
            if fields[2] == "ipv4":
                first = ipaddress.ip_address(fields[3])
                four += ipaddress.summarize_address_range(first, first + int(fields[4]) - 1)
            elif fields[2] == "ipv6":
                six.append(ipaddress.ip_network(f"{fields[3]}/{fields[4]}"))
    wanted = [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]
    assert networks(ct.registry_countries([str(APNIC)], ["JP"])["text"])["JP"] == wanted


def test_forms_of_all_registries(tmp_path):
    made = ct.registry_countries([write(tmp_path, registry())], ["JP", "AU"])
    assert [str(n) for n in networks(made["text"])["JP"]] == [
        "62.122.208.0/22",
        "62.122.212.0/24",
        "168.209.1.0/24",
        "168.209.2.0/24",
        "2001:200::/35",
    ]
    assert [str(n) for n in networks(made["text"])["AU"]] == ["1.0.0.0/24"]
    assert made["countries"]["JP"]["addresses4"] == 1280 + 512
    assert made["disputed"] == []


@pytest.mark.parametrize("name", ct.REGISTRIES)
def test_each_registry_is_known(tmp_path, name):
    assert list(ct.registry_countries([write(tmp_path, registry(name=name))], ["JP"])["registries"]) == [name]


def test_comments_blank_lines_and_crlf_are_no_records(tmp_path):
    text = "# CONDITIONS OF USE\n#\n\n" + registry() + "\n# end\n\n"
    assert ct.parse_registry(text)["records"] == len(RECORDS)
    assert ct.parse_registry(text.replace("\n", "\r\n"))["records"] == len(RECORDS)


def replaced(number, old, new):
    """Records with one of them changed."""
    assert old in RECORDS[number]
    return RECORDS[:number] + [RECORDS[number].replace(old, new)] + RECORDS[number + 1 :]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no version line"),
        ("<html>404</html>\n", "line 1: no version line"),
        (registry().replace("2.3|", "3|", 1), "line 1: version 3 of the format is not known"),
        (registry().replace("2.3|apnic", "2|nro", 1), "line 1: the file of 'nro'"),
        (registry().replace("|20260928|", "|00000000|", 1), "line 1: no number of records or no last day"),
        (registry(records=RECORDS[:-1], ipv6=2), "1 records of ipv6, but its summary line says 2; the file is cut"),
        (registry(ipv4=4), "5 records of ipv4, but its summary line says 4"),
        (registry(records=RECORDS, asn=1).replace("|8|", "|9|", 1), "8 records, but its version line says 9"),
        (
            registry().rpartition("8|2025")[0],
            "line 12: 5 fields where a record has 7 or more: 'apnic||ipv6|2001:de3::|4'; the file is cut",
        ),
        (registry()[:-13], "line 12: status 'assig' is none of"),
        (registry().replace("apnic|*|ipv6|*|2|summary\n", ""), "no summary line of ipv6"),
        (registry().replace("apnic|*|ipv6|*|2|summary\n", "apnic|*|ipv4|*|5|summary\n"), "line 4: summary line"),
        (registry(replaced(3, "512", "0")), "line 8: 168.209.1.0 and 0 are no range"),
        (registry(replaced(3, "512", "4294967296")), "line 8: 168.209.1.0 and 4294967296 are no range"),
        (registry(replaced(3, "168.209.1.0", "168.209.256.0")), "line 8: 168.209.256.0 and 512"),
        (registry(replaced(3, "168.209.1.0", "168.209")), "line 8: 168.209 and 512"),
        (registry(replaced(3, "512", " 5_12")), "line 8: 168.209.1.0 and  5_12"),
        (registry(replaced(6, "|35|", "|129|")), "line 11: 2001:200::/129 is no network"),
        (registry(replaced(6, "|35|", "|16|")), "line 11: 2001:200::/16 has bits set"),
        (registry(replaced(6, "2001:200::", "2001:200")), "line 11: 2001:200/35 is no network"),
        (registry(replaced(3, "apnic", "arin")), "line 8: a record of 'arin' in the file of apnic"),
        (registry(replaced(3, "ipv4", "ipv5"), ipv4=5), "line 8: 'ipv5' is none of"),
        (registry(replaced(3, "assigned", "loaned")), "line 8: status 'loaned'"),
        (registry(replaced(3, "JP", "JPN")), "line 8: 'JPN' is no country code"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text, said):
    with pytest.raises(ct.CountryError) as caught:
        ct.parse_registry(text, "delegated-apnic")
    assert "delegated-apnic" in str(caught.value) and said in str(caught.value)


def test_a_file_cut_at_any_line_is_refused():
    lines = registry().splitlines(keepends=True)
    for length in range(len(lines)):
        with pytest.raises(ct.CountryError):
            ct.parse_registry("".join(lines[:length]))
    ct.parse_registry("".join(lines))


def test_a_packed_file_that_is_cut_and_one_that_is_not_there(tmp_path):
    path = tmp_path / "delegated-apnic.gz"
    path.write_bytes(gzip.compress(registry().encode())[:-20])
    for broken in (path, tmp_path / "missing"):
        with pytest.raises(ct.CountryError, match="cannot be read"):
            ct.registry_countries([str(broken)], ["JP"])


def test_a_country_without_a_record_is_named(tmp_path):
    with pytest.raises(ct.CountryError, match=r"access_countries: no record of KR in the files of apnic"):
        ct.registry_countries([write(tmp_path, registry())], ["JP", "KR"])


def test_two_files_of_one_registry_are_refused(tmp_path):
    path = write(tmp_path, registry())
    with pytest.raises(ct.CountryError, match="one file of each registry"):
        ct.registry_countries([path, path], ["JP"])


def test_duplicates_and_overlaps_count_once_and_disputes_go_to_nobody(tmp_path):
    one = write(
        tmp_path,
        registry(
            [
                "apnic|JP|ipv4|192.0.2.0|256|20200101|allocated",
                "apnic|JP|ipv4|192.0.2.0|256|20200101|allocated",
                "apnic|JP|ipv4|192.0.2.128|256|20200101|assigned",
                "apnic|JP|ipv6|2001:db8::|32|20200101|allocated",
            ]
        ),
    )
    other = write(
        tmp_path,
        registry(
            [
                "arin|US|ipv4|192.0.2.64|64|20200101|allocated",
                "arin|US|ipv4|198.51.100.0|256|20200101|allocated",
                "arin|US|ipv6|2001:db8:8000::|33|20200101|allocated",
            ],
            "arin",
        ),
        "arin",
    )
    made = ct.registry_countries([one, other], ["JP", "US"])
    assert made["disputed"] == ["192.0.2.64/26", "2001:db8:8000::/33"]
    assert [str(n) for n in networks(made["text"])["JP"]] == [
        "192.0.2.0/26",
        "192.0.2.128/25",
        "192.0.3.0/25",
        "2001:db8::/33",
    ]
    assert [str(n) for n in networks(made["text"])["US"]] == ["198.51.100.0/24"]
    # nobody disputes it when only one of the two is asked for
    assert ct.registry_countries([one, other], ["JP"])["countries"]["JP"]["addresses4"] == 384


# -- the cover, against brute force

BITS = 5
BLOCKS = [
    (first, first + size - 1, BITS - power)
    for power in range(BITS + 1)
    for size in [1 << power]
    for first in range(0, 1 << BITS, size)
]


def fewest(wanted):
    """Number of aligned blocks that the set *wanted* of addresses needs: fewest over the halves of every block."""

    def need(first, size):
        inside = [a in wanted for a in range(first, first + size)]
        if not any(inside):
            return 0
        return 1 if all(inside) else need(first, size // 2) + need(first + size // 2, size // 2)

    return need(0, 1 << BITS)


def check(ranges):
    """The cover of *ranges* holds their addresses and no other, each once, in the fewest blocks."""
    wanted = {address for first, last in ranges for address in range(first, last + 1)}
    blocks = ct.cover(ct.merge_ranges(ranges), BITS)
    held = [address for first, prefix in blocks for address in range(first, first + (1 << (BITS - prefix)))]
    assert sorted(held) == sorted(wanted)
    assert all(first % (1 << (BITS - prefix)) == 0 for first, prefix in blocks)
    assert len(blocks) == fewest(wanted)
    assert blocks == sorted(blocks)


def test_cover_of_every_range_of_a_small_space():
    for first, last in itertools.combinations_with_replacement(range(1 << BITS), 2):
        check([(first, last)])


def test_cover_of_random_heaps_of_ranges():
    chance = random.Random(20170901)
    for _ in range(3000):
        check(
            [
                tuple(sorted((chance.randrange(1 << BITS), chance.randrange(1 << BITS))))
                for _ in range(chance.randrange(6))
            ]
        )


def test_cover_of_random_heaps_of_single_addresses_and_blocks():
    chance = random.Random(1)
    for _ in range(2000):
        check([chance.choice(BLOCKS)[:2] for _ in range(chance.randrange(20))])


def test_taking_ranges_out_leaves_the_other_addresses():
    chance = random.Random(2)
    for _ in range(2000):
        one, other = (
            [tuple(sorted((chance.randrange(40), chance.randrange(40)))) for _ in range(chance.randrange(5))]
            for _ in range(2)
        )

        def addresses(ranges):
            return {a for first, last in ranges for a in range(first, last + 1)}

        assert addresses(ct._without(ct.merge_ranges(one), ct.merge_ranges(other))) == addresses(one) - addresses(other)
        assert addresses(ct._claimed_twice({"A": ct.merge_ranges(one), "B": ct.merge_ranges(other)})) == addresses(
            one
        ) & addresses(other)


def test_whole_space_and_single_addresses():
    assert ct.cover([(0, 2**32 - 1)], 32) == [(0, 0)]
    assert ct.cover([(0, 2**128 - 1)], 128) == [(0, 0)]
    assert ct.cover([(2**32 - 1, 2**32 - 1)], 32) == [(2**32 - 1, 32)]
    assert ct.network_text(2**32 - 1, 32, 4) == "255.255.255.255/32"
    assert ct.network_text(1 << 96, 33, 6) == "0:1::/33"


# -- what is declared


def test_actions_by_country_and_by_action():
    assert ct.country_actions({"JP": "ease", "XA": {"action": "refuse", "reason": "test"}, "EU": "tarpit"}) == {
        "JP": "ease",
        "XA": "refuse",
        "EU": "tarpit",
    }
    assert ct.country_actions({"ease": ["JP", "JP"], "refuse": []}) == {"JP": "ease"}
    assert ct.country_actions({}) == {}
    assert len(ct.COUNTRIES) == 249


@pytest.mark.parametrize(
    "declared, said",
    [
        ({"ease": ["JP"], "refuse": ["JP"]}, "access_countries: JP is in ease and in refuse"),
        ({"UK": "ease"}, "'UK' is no ISO 3166 code of a country; GB is meant?"),
        ({"jp": "ease"}, "'jp' is no ISO 3166 code of a country; JP is meant?"),
        ({False: "ease"}, 'write "NO" in quotes for Norway'),
        ({"ZZ": "refuse"}, "it marks space without a country"),
        ({"QQ": "refuse"}, "'QQ' is no ISO 3166 code of a country"),
        ({"JP": "permit"}, "access_countries.JP: 'permit' is no action; there are ease, tarpit, refuse"),
        ({"JP": None}, "access_countries.JP: None is no action"),
        ({"ease": "JP"}, "access_countries.ease is 'JP'; a list"),
        (["JP"], "actions by country are needed"),
        ({7: "ease"}, "7 is no ISO 3166 code"),
    ],
)
def test_what_is_declared_wrongly_is_refused(declared, said):
    with pytest.raises(ct.CountryError) as caught:
        ct.country_actions(declared)
    assert str(caught.value).startswith("access_countries") and said in str(caught.value)


# -- the table for Postfix

COUNTRIES = "# registry apnic 2026-09-28 8\n192.0.2.0/25 JP\n192.0.2.128/25 KR\n198.51.100.0/24 XA\n2001:db8::/33 JP\n2001:db8:8000::/33 KR\n"


def test_countries_with_one_result_are_merged():
    table = ct.country_table(COUNTRIES, {"JP": "ease", "KR": "ease", "XA": "REJECT no mail from there"})
    assert table["text"] == (
        "# ease: JP KR\n# REJECT no mail from there: XA\n192.0.2.0/24\tease\n198.51.100.0/24\tREJECT no mail from there\n2001:db8::/32\tease\n"
    )
    assert (table["networks4"], table["addresses4"], table["networks6"], table["addresses6"]) == (2, 512, 1, 2**96)
    assert ct.country_table(COUNTRIES, {"JP": "a", "KR": "b"})["networks4"] == 2
    assert ct.country_table(COUNTRIES, {})["text"] == ""


@pytest.mark.parametrize(
    "text, results, said",
    [
        (
            COUNTRIES,
            {"US": "ease"},
            "access_countries: access_country_file holds no network of US; run playbooks/refresh.yml",
        ),
        (COUNTRIES, {"JP": ""}, "the result of JP is ''"),
        (COUNTRIES, {"JP": "OK\n0.0.0.0/0 OK"}, "the result of JP is"),
        (
            COUNTRIES + "192.0.2.1/24 JP\n",
            {"JP": "x"},
            "access_country_file, line 7: 192.0.2.1/24 has bits set behind its prefix",
        ),
        (COUNTRIES + "192.0.2.0 - JP\n", {"JP": "x"}, "line 7: '192.0.2.0 - JP' is no network and country"),
        (COUNTRIES + "192.0.3.0/33 JP\n", {"JP": "x"}, "line 7: '192.0.3.0/33 JP' is no network"),
        (
            COUNTRIES + "192.0.2.0/26 XA\n",
            {"JP": "x", "XA": "y"},
            "192.0.2.0/26 is in countries with different results",
        ),
        (COUNTRIES + "192.0.2.0/26 jp\n", {"JP": "x"}, "line 7: 'jp' is no ISO 3166 code"),
    ],
)
def test_a_table_that_would_lie_is_refused(text, results, said):
    with pytest.raises(ct.CountryError) as caught:
        ct.country_table(text, results)
    assert said in str(caught.value)


# -- the judgement before anything is replaced


def downloads(folder, text, name="apnic", md5=None, form="MD5 (delegated-{0}-extended-latest) = {1}"):
    path = write(folder, text, name)
    (folder / f"{name}.md5").write_text(form.format(name, md5 or hashlib.md5(text.encode()).hexdigest()))
    return {name: {"path": path, "md5": str(folder / f"{name}.md5")}}


def judge(folder, text, codes=("JP",), former=None, now=NOW, **options):
    return ct.registry_verdict(downloads(folder, text), list(codes), now, former, **options)


def test_a_good_file_is_accepted_and_makes_the_file_of_countries(tmp_path):
    got = judge(tmp_path, registry())
    assert got["ok"] and got["changed"] and not got["reasons"]
    assert "# registry apnic 2026-09-28 8\n" in got["text"]
    assert got["summary"] == [
        "apnic: 8 records up to 2026-09-28",
        "JP: 4 networks with 1792 addresses of IPv4, 1 networks of IPv6",
    ]
    again = judge(tmp_path, registry(), former=got["text"])
    assert again["ok"] and not again["changed"]


@pytest.mark.parametrize(
    "form", ["MD5 (delegated-{0}-extended-latest) = {1}", "{1}  delegated-{0}-extended-20260928\n", "{1}\n"]
)
def test_both_forms_of_published_md5_are_read(tmp_path, form):
    assert ct.registry_verdict(downloads(tmp_path, registry(), form=form), ["JP"], NOW)["ok"]


def refused(got, said):
    assert not got["ok"] and not got["changed"] and got["text"] == ""
    assert any(said in reason for reason in got["reasons"]), got["reasons"]


def test_a_download_that_differs_from_its_md5_is_refused(tmp_path):
    got = ct.registry_verdict(downloads(tmp_path, registry(), md5="0" * 32), ["JP"], NOW)
    refused(got, "the registry publishes " + "0" * 32)
    assert got["damaged"] == [str(tmp_path / "delegated-apnic")]
    assert judge(tmp_path, registry()[:-57])["damaged"] == []
    refused(
        ct.registry_verdict(downloads(tmp_path, registry(), form="<html>no</html>"), ["JP"], NOW), "holds no MD5 digest"
    )


def test_a_failed_download_is_a_reason(tmp_path):
    refused(
        ct.registry_verdict({"apnic": {"path": "x", "md5": "x", "error": "HTTP Error 503"}}, ["JP"], NOW),
        "apnic: not downloaded: HTTP Error 503",
    )


def test_results_of_get_url_become_downloads():
    registries = {"apnic": "https://a.test/x", "arin": "https://b.test/y"}
    results = [
        {
            "item": [{"key": name, "value": url}, suffix],
            "failed": name == "arin" and suffix == ".md5",
            "msg": "Request failed",
            "response": "HTTP Error 404: Not Found",
        }
        for name, url in registries.items()
        for suffix in ("", ".md5")
    ]
    got = ct.registry_downloads(registries, "/cache", results)
    assert got["apnic"] == {"path": "/cache/delegated-apnic", "md5": "/cache/delegated-apnic.md5", "error": ""}
    assert got["arin"]["error"] == "https://b.test/y.md5: HTTP Error 404: Not Found"
    assert ct.registry_downloads(registries, "/cache", None)["arin"]["error"] == ""


def test_a_cut_file_with_a_right_md5_is_refused(tmp_path):
    refused(judge(tmp_path, registry()[:-57]), "1 records of ipv6, but its summary line says 2")


def test_the_file_of_another_registry_is_refused(tmp_path):
    got = downloads(tmp_path, registry(name="arin"))
    refused(ct.registry_verdict(got, ["JP"], NOW), "is the file of arin; access_registries gives its URL to apnic")


def test_age_is_bounded_on_both_sides(tmp_path):
    day = 86400
    assert judge(tmp_path, registry(), now=NOW + 13 * day)["ok"]
    refused(judge(tmp_path, registry(), now=NOW + 14 * day), "15 days ago; more than 14 (access_registry_max_age)")
    refused(judge(tmp_path, registry(), now=NOW - 5 * day), "still to come")


def test_a_file_older_than_the_table_in_force_is_refused(tmp_path):
    former = "# registry apnic 2026-09-29 8\n192.0.2.0/24 JP\n"
    refused(judge(tmp_path, registry(), former=former), "the table in force comes from one up to 2026-09-29")


def test_a_file_that_shrank_by_half_is_refused(tmp_path):
    former = (
        "# registry apnic 2026-09-20 {}\n62.122.208.0/22 JP\n62.122.212.0/24 JP\n168.209.1.0/24 JP\n168.209.2.0/24 JP\n"
    )
    assert judge(tmp_path, registry(), former=former.format(16))["ok"]
    refused(judge(tmp_path, registry(), former=former.format(17)), "8 records, 17 in the former file; less than 50 %")


@pytest.mark.parametrize("drop, rest", [(2, "-71 % of its IPv4"), (6, "-100 % of its IPv6")])
def test_a_country_that_changes_too_much_is_refused(tmp_path, drop, rest):
    former = judge(tmp_path, registry())["text"]
    records = RECORDS[:drop] + RECORDS[drop + 1 :] + ["apnic|AU|ipv4|1.0.4.0|256|20110811|assigned|A91872ED"]
    refused(
        judge(tmp_path, registry(records), former=former),
        f"access_countries: JP would change by {rest} addresses; more than 25 %",
    )
    assert judge(tmp_path, registry(records), former=former, max_change=100)["ok"]
    refused(
        judge(tmp_path, registry(RECORDS + ["apnic|JP|ipv4|9.0.0.0|65536|20200101|allocated"]), former=former),
        "JP would change by +3657 %",
    )


def test_a_country_declared_anew_has_no_former_addresses(tmp_path):
    former = judge(tmp_path, registry())["text"]
    assert judge(tmp_path, registry(), codes=["JP", "AU"], former=former)["ok"]


def test_every_reason_is_told_at_once(tmp_path):
    got = (
        downloads(tmp_path, registry())
        | downloads(tmp_path, "", "arin")
        | {"ripencc": {"path": "x", "md5": "x", "error": "timed out"}}
    )
    assert len(ct.registry_verdict(got, ["JP"], NOW + 10**8)["reasons"]) == 3


def test_all_five_at_full_size_are_read_whole(tmp_path):
    """771,199 records, as many as the five extended files of 2026-09-28 held, of each type and status."""
    sizes = {
        "afrinic": (4350, 5522, 569, 1677, 7668),
        "apnic": (14762, 58212, 3472, 17198, 96624),
        "arin": (32988, 76802, 4048, 11469, 77744),
        "lacnic": (16515, 20411, 393, 13550, 46432),
        "ripencc": (48682, 100531, 346, 26842, 84392),
    }
    chance = random.Random(5)
    codes, got = sorted(ct.COUNTRIES), {}
    for place, (name, (asn, four, other4, six, other6)) in enumerate(sizes.items()):
        step = (40 << 24) // (four + other4) // 256 * 256
        rows = [f"{name}|{chance.choice(codes)}|asn|{n + 1}|1|20200101|allocated|A9{n:06X}" for n in range(asn)]
        for n in range(four + other4):
            at = ((1 + 42 * place) << 24) + n * step
            count = min(step, chance.choice((256, 512, 1024, 1280, 2304, 2048)))
            rows.append(
                f"{name}|{chance.choice(codes)}|ipv4|{at >> 24}.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}|{count}|20200101|"
                + ("allocated|A91872ED" if n < four else "reserved|")
            )
        rows += [
            f"{name}|{chance.choice(codes)}|ipv6|{0x2000 + place:x}:{n >> 8:x}:{(n & 255) << 8:x}::|48|20200101|"
            + ("assigned|A91872ED" if n < six else "available|")
            for n in range(six + other6)
        ]
        got |= downloads(tmp_path, registry(rows, name), name)
    verdict = ct.registry_verdict(got, codes, NOW)
    assert verdict["ok"], verdict["reasons"]
    assert sum(entry["records"] for entry in verdict["registries"].values()) == 771199
    assert sum(country["addresses4"] for country in verdict["countries"].values()) > 250_000_000


def test_the_practice_hosts_countries_are_those_of_its_registry_files():
    folder = pathlib.Path(__file__).parents[2] / "lab" / "registry"
    made = ct.registry_countries(
        [str(folder / "delegated-apnic"), str(folder / "delegated-arin")], ["JP", "US", "XA", "XB"]
    )
    assert (folder / "countries.txt").read_text() == made["text"]
    assert made["countries"]["JP"] == {"networks4": 1, "addresses4": 128, "networks6": 1, "addresses6": 2**63}
