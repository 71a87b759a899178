"""Country tables: registry statistics in, the fewest networks out, and every damaged file refused with its line."""

import gzip
import hashlib
import ipaddress
import itertools
import pathlib
import random

import pytest
from role_modules import load

FILTERS = load("roles/access/filter_plugins/access.py").FilterModule().filters()
from sokuhai_access import countries as ct
from sokuhai_access import ranges, statistics, verdict

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
    head = {"records": len(records)} | {kind: kinds.count(kind) for kind in statistics.TYPES} | counts
    return (HEAD.format(**head) + "".join(record + "\n" for record in records)).replace("apnic|", name + "|")


def write(folder, text, name="apnic"):
    path = folder / f"delegated-{name}"
    path.write_text(text)
    return str(path)


def parsed(text, wanted=("JP", "AU")):
    return statistics.parse(text, "delegated-apnic", wanted)


def compiled(*texts, codes=("JP",)):
    """What becomes of statistics files (texts)."""
    return ct.compile_file([parsed(text, codes) for text in texts], list(codes))


def networks(text):
    """Networks of a file of countries as ipaddress objects by what stands behind them."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            network, _, result = line.replace("\t", " ").partition(" ")
            found.setdefault(result, []).append(ipaddress.ip_network(network))
    return found


def test_japan_in_apnics_file_of_2017():
    """The same by another way: summarize_address_range and collapse_addresses of the standard library, straight from the lines."""
    text = gzip.decompress(APNIC.read_bytes()).decode()
    made = compiled(text)
    assert made["countries"]["JP"]["networks4"] == 2737
    assert made["countries"]["JP"]["addresses4"] == 203567872
    assert "# registry apnic 2017-08-31 52847\n" in made["text"]
    four, six = [], []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 7 and fields[1] == "JP" and fields[6] in ("allocated", "assigned"):
            if fields[2] == "ipv4":
                first = ipaddress.ip_address(fields[3])
                four += ipaddress.summarize_address_range(first, first + int(fields[4]) - 1)
            elif fields[2] == "ipv6":
                six.append(ipaddress.ip_network(f"{fields[3]}/{fields[4]}"))
    wanted = [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]
    assert networks(made["text"])["JP"] == wanted
    table = ct.networks(made["text"], {"JP": "ease"})
    assert [ipaddress.ip_network(network) for network, *_ in table] == wanted and {row[1:] for row in table} == {
        ("ease", "")
    }


def test_forms_of_all_registries():
    made = compiled(registry(), codes=["JP", "AU"])
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


def test_a_file_cut_at_any_line_is_refused():
    lines = registry().splitlines(keepends=True)
    for length in range(len(lines)):
        with pytest.raises(ct.CountryError):
            parsed("".join(lines[:length]))
    parsed("".join(lines))


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
    assert [str(n) for n in networks(made["text"])["JP"]] == [
        "192.0.2.0/26",
        "192.0.2.128/25",
        "192.0.3.0/25",
        "2001:db8::/33",
    ]
    assert [str(n) for n in networks(made["text"])["US"]] == ["198.51.100.0/24"]
    # nobody disputes it when only one of the two is asked for
    assert compiled(one, other)["countries"]["JP"]["addresses4"] == 384


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


def check(pairs):
    """The cover of *pairs* holds their addresses and no other, each once, in the fewest blocks."""
    wanted = {address for first, last in pairs for address in range(first, last + 1)}
    blocks = ranges.cover(ranges.merge(pairs), BITS)
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

        def addresses(pairs):
            return {a for first, last in pairs for a in range(first, last + 1)}

        assert addresses(ranges.without(ranges.merge(one), ranges.merge(other))) == addresses(one) - addresses(other)
        assert addresses(ranges.twice([ranges.merge(one), ranges.merge(other)])) == addresses(one) & addresses(other)


def test_whole_space_and_single_addresses():
    assert ranges.cover([(0, 2**32 - 1)], 32) == [(0, 0)]
    assert ranges.cover([(0, 2**128 - 1)], 128) == [(0, 0)]
    assert ranges.cover([(2**32 - 1, 2**32 - 1)], 32) == [(2**32 - 1, 32)]
    assert ranges.network_text(2**32 - 1, 32, 4) == "255.255.255.255/32"
    assert ranges.network_text(1 << 96, 33, 6) == "0:1::/33"


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


# -- the judgement before anything is replaced


def downloads(folder, text, name="apnic", md5=None, form="MD5 (delegated-{0}-extended-latest) = {1}"):
    path = write(folder, text, name)
    (folder / f"{name}.md5").write_text(form.format(name, md5 or hashlib.md5(text.encode()).hexdigest()))
    return {name: {"path": path, "md5": str(folder / f"{name}.md5"), "error": ""}}


def judge(folder, text, **options):
    return judge_all(downloads(folder, text), **options)


def judge_all(got, codes=("JP",), former="", now=NOW, max_age=14, min_share=50, max_change=25):
    return FILTERS["registry_verdict"](got, list(codes), now, former, max_age, min_share, max_change)


def test_a_good_file_is_accepted_and_makes_the_file_of_countries(tmp_path):
    got = judge(tmp_path, registry())
    assert got["ok"] and got["findings"] == got["damaged"] == []
    assert "# registry apnic 2026-09-28 8\n" in got["text"]
    assert [line.partition(":")[0] for line in got["summary"]] == ["apnic", "JP"] and "1792" in got["summary"][1]
    assert judge(tmp_path, registry(), former=got["text"])["text"] == got["text"]


@pytest.mark.parametrize(
    "form", ["MD5 (delegated-{0}-extended-latest) = {1}", "{1}  delegated-{0}-extended-20260928\n", "{1}\n"]
)
def test_both_forms_of_published_md5_are_read(tmp_path, form):
    assert judge_all(downloads(tmp_path, registry(), form=form))["ok"]


def refused(got, id, expected="", found=""):
    """The one finding of a verdict is that; what is expected and was found names these values."""
    assert not got["ok"] and got["text"] == ""
    (one,) = got["findings"]
    assert one["id"] == id and expected in one["expected"] and found in one["found"], one


def test_a_download_that_differs_from_its_md5_is_refused_and_thrown_away(tmp_path):
    got = judge_all(downloads(tmp_path, registry(), md5="0" * 32))
    refused(got, "registry apnic", "0" * 32, hashlib.md5(registry().encode()).hexdigest())
    assert got["damaged"] == [str(tmp_path / "delegated-apnic")]
    assert judge(tmp_path, registry()[:-57])["damaged"] == []
    refused(judge_all(downloads(tmp_path, registry(), form="<html>no</html>")), "registry apnic", "apnic.md5")


def test_a_failed_download_and_one_that_is_not_there_are_refused(tmp_path):
    failed = {"apnic": {"path": "x", "md5": "x", "error": "HTTP Error 503"}}
    refused(judge_all(failed), "registry apnic", found="HTTP Error 503")
    missing = {"apnic": {"path": str(tmp_path / "missing"), "md5": "x", "error": ""}}
    refused(judge_all(missing), "registry apnic", found=str(tmp_path / "missing"))


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
    got = verdict.registry_downloads(registries, "/cache", results)
    assert got["apnic"] == {"path": "/cache/delegated-apnic", "md5": "/cache/delegated-apnic.md5", "error": ""}
    assert got["arin"]["error"] == "https://b.test/y.md5: HTTP Error 404: Not Found"
    assert verdict.registry_downloads(registries, "/cache", None)["arin"]["error"] == ""


def test_a_cut_file_with_a_right_md5_is_refused(tmp_path):
    refused(judge(tmp_path, registry()[:-57]), "registry apnic", found="delegated-apnic: 1 ")


def test_the_file_of_another_registry_is_refused(tmp_path):
    refused(judge_all(downloads(tmp_path, registry(name="arin"))), "registry apnic", "apnic", "arin")


def test_age_is_bounded_on_both_sides(tmp_path):
    day = 86400
    assert judge(tmp_path, registry(), now=NOW + 13 * day)["ok"]
    refused(judge(tmp_path, registry(), now=NOW + 14 * day), "registry apnic", "14 days", "2026-09-28")
    refused(judge(tmp_path, registry(), now=NOW - 5 * day), "registry apnic", "access_registry_max_age", "2026-09-28")


def test_a_file_older_than_the_table_in_force_is_refused(tmp_path):
    former = "# registry apnic 2026-09-29 8\n192.0.2.0/24 JP\n"
    refused(judge(tmp_path, registry(), former=former), "registry apnic", "2026-09-29", "2026-09-28")


def test_a_file_that_shrank_by_half_is_refused(tmp_path):
    former = (
        "# registry apnic 2026-09-20 {}\n62.122.208.0/22 JP\n62.122.212.0/24 JP\n168.209.1.0/24 JP\n168.209.2.0/24 JP\n"
    )
    assert judge(tmp_path, registry(), former=former.format(16))["ok"]
    got = judge(tmp_path, registry(), former=former.format(17))
    refused(got, "registry apnic", "50 % (access_registry_min_share) of the former 17", "8")


@pytest.mark.parametrize("drop, family, change", [(2, 4, "-71 %"), (6, 6, "-100 %")])
def test_a_country_that_changes_too_much_is_refused(tmp_path, drop, family, change):
    former = judge(tmp_path, registry())["text"]
    records = RECORDS[:drop] + RECORDS[drop + 1 :] + ["apnic|AU|ipv4|1.0.4.0|256|20110811|assigned|A91872ED"]
    got = judge(tmp_path, registry(records), former=former)
    refused(got, f"country JP: IPv{family}", "25 %", change)
    assert judge(tmp_path, registry(records), former=former, max_change=100)["ok"]
    more = registry(RECORDS + ["apnic|JP|ipv4|9.0.0.0|65536|20200101|allocated"])
    refused(judge(tmp_path, more, former=former), "country JP: IPv4", "access_registry_max_change", "+3657 %")


def test_a_country_declared_newly_has_no_former_addresses(tmp_path):
    former = judge(tmp_path, registry())["text"]
    assert judge(tmp_path, registry(), codes=["JP", "AU"], former=former)["ok"]


def test_a_country_that_no_registry_has_is_refused(tmp_path):
    refused(judge(tmp_path, registry(), codes=["JP", "KR"]), "countries", found="KR")


def test_every_registry_that_is_not_believed_is_named(tmp_path):
    got = (
        downloads(tmp_path, registry())
        | downloads(tmp_path, "", "arin")
        | {"ripencc": {"path": "x", "md5": "x", "error": "timed out"}}
    )
    found = judge_all(got, now=NOW + 10**8)["findings"]
    assert [one["id"] for one in found] == ["registry apnic", "registry arin", "registry ripencc"]


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
    made = judge_all(got, codes)
    assert made["ok"], made["findings"]
    heads = [line.split() for line in made["text"].splitlines() if line.startswith("# registry ")]
    assert sum(int(words[4]) for words in heads) == 771199 and len(heads) == 5
    assert (
        sum(network.num_addresses for own in networks(made["text"]).values() for network in own if network.version == 4)
        > 250_000_000
    )


def test_the_practice_hosts_countries_are_those_of_its_registry_files():
    folder = pathlib.Path(__file__).parents[2] / "lab" / "registry"
    texts = [(folder / name).read_text() for name in ("delegated-apnic", "delegated-arin")]
    made = compiled(*texts, codes=["JP", "US", "XA", "XB"])
    assert (folder / "countries.txt").read_text() == made["text"]
    assert made["countries"]["JP"] == {"networks4": 1, "addresses4": 128, "networks6": 1, "addresses6": 2**63}
