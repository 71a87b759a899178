"""Downloaded statistics of the registries are judged before a table is replaced: what is believed, and which finding says why not."""

import hashlib
import os
import random

import pytest
from registry_files import FILTERS, RECORDS, networks, registry
from sokuhai_access import countries as ct
from sokuhai_access import verdict

NOW = 1790700000  # 2026-09-29


def downloads(folder, text, name="apnic", md5=None, form="MD5 (delegated-{0}-extended-latest) = {1}"):
    path, published = folder / f"delegated-{name}", folder / f"{name}.md5"
    path.write_text(text)
    published.write_text(form.format(name, md5 or hashlib.md5(text.encode()).hexdigest()))
    return {name: {"path": str(path), "md5": str(published), "error": ""}}


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


@pytest.mark.parametrize(
    "error, found", [("HTTP Error 503", "HTTP Error 503"), ("", "/nowhere/delegated-apnic")], ids=["failed", "missing"]
)
def test_a_failed_download_and_one_that_is_not_there_are_refused(error, found):
    got = {"apnic": {"path": "/nowhere/delegated-apnic", "md5": "/nowhere/apnic.md5", "error": error}}
    refused(judge_all(got), "registry apnic", found=found)


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


DAY = 86400
FORMER = (
    "# registry apnic 2026-09-20 {}\n62.122.208.0/22 JP\n62.122.212.0/24 JP\n168.209.1.0/24 JP\n168.209.2.0/24 JP\n"
)


@pytest.mark.parametrize(
    "text, options, id, expected, found",
    [
        # cut, with a right MD5
        (registry()[:-57], {}, "registry apnic", "", "delegated-apnic: 1 "),
        (registry(name="arin"), {}, "registry apnic", "apnic", "arin"),
        # too old, and from a clock that is wrong
        (registry(), {"now": NOW + 14 * DAY}, "registry apnic", "14 days", "2026-09-28"),
        (registry(), {"now": NOW - 5 * DAY}, "registry apnic", "access_registry_max_age", "2026-09-28"),
        # older than the table in force
        (
            registry(),
            {"former": "# registry apnic 2026-09-29 8\n192.0.2.0/24 JP\n"},
            "registry apnic",
            "2026-09-29",
            "2026-09-28",
        ),
        # shrunk by half
        (
            registry(),
            {"former": FORMER.format(17)},
            "registry apnic",
            "50 % (access_registry_min_share) of the former 17",
            "8",
        ),
        # a country that no registry has
        (registry(), {"codes": ["JP", "KR"]}, "countries", "", "KR"),
    ],
)
def test_a_file_that_is_not_believed_is_refused(tmp_path, text, options, id, expected, found):
    refused(judge_all(downloads(tmp_path, text, name="apnic"), **options), id, expected, found)


@pytest.mark.parametrize("options", [{"now": NOW + 13 * DAY}, {"former": FORMER.format(16)}])
def test_a_file_within_the_bounds_is_accepted(tmp_path, options):
    assert judge(tmp_path, registry(), **options)["ok"]


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


def test_every_registry_that_is_not_believed_is_named(tmp_path):
    got = (
        downloads(tmp_path, registry())
        | downloads(tmp_path, "", "arin")
        | {"ripencc": {"path": "x", "md5": "x", "error": "timed out"}}
    )
    found = judge_all(got, now=NOW + 10**8)["findings"]
    assert [one["id"] for one in found] == ["registry apnic", "registry arin", "registry ripencc"]


def test_all_five_are_read_whole(tmp_path):
    """771,199 records, as many as the five extended files of 2026-09-28 held, of each type and status; a sixteenth of each without SOKUHAI_FULL=1."""
    full = {
        "afrinic": (4350, 5522, 569, 1677, 7668),
        "apnic": (14762, 58212, 3472, 17198, 96624),
        "arin": (32988, 76802, 4048, 11469, 77744),
        "lacnic": (16515, 20411, 393, 13550, 46432),
        "ripencc": (48682, 100531, 346, 26842, 84392),
    }
    part = 1 if os.environ.get("SOKUHAI_FULL") else 16
    sizes = {name: tuple(count // part for count in counts) for name, counts in full.items()}
    records = sum(map(sum, sizes.values()))
    assert records == 771199 or part > 1
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
    assert sum(int(words[4]) for words in heads) == records and len(heads) == 5
    assert (
        sum(network.num_addresses for own in networks(made["text"]).values() for network in own if network.version == 4)
        > 250_000_000 / part
    )
