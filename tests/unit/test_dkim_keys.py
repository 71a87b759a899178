# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The keys of a domain, with the real openssl: made once, never replaced, counted on, and judged by what the DNS says."""

import os
import stat
import subprocess

import pytest
from role_modules import util

keys = util("dkim_keys")
Refused = util("sokuhai.host").Refused
OWNER = (os.getuid(), os.getgid())


@pytest.fixture
def domain(tmp_path):
    """A function that gives the Domain anew, as each run sees it."""

    def made(**options):
        return keys.Domain(str(tmp_path), "home.example", OWNER, "mx", **{"bits": 1024, **options})

    return made


@pytest.fixture
def published(monkeypatch):
    """{name: [texts]} of the DNS; None for a server that does not answer."""
    zone = {}

    def ask(_server, name, _qtype, **_options):
        return (
            None
            if zone.get(name, []) is None
            else {"rcode": "NOERROR" if name in zone else "NXDOMAIN", "texts": zone.get(name, [])}
        )

    monkeypatch.setattr(keys.dns, "ask", ask)
    return zone


def publish(zone, domain):
    zone.update({one["name"]: [one["value"]] for one in domain.records()})


def test_two_keys_are_made_once_and_nobody_else_can_read_them(domain):
    first = domain()
    assert first.missing() == ["mx-1", "mx-2"]
    first.ready()
    before = {name: (first.folder, open(first.path(name[:-4])).read()) for name in first.keys()}
    assert sorted(before) == ["mx-1.key", "mx-2.key"]
    again = domain()
    assert again.missing() == [] and again.findings() == []
    again.ready()
    assert {name: (again.folder, open(again.path(name[:-4])).read()) for name in again.keys()} == before
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (again.folder, again.path("mx-1"), again.statefile)] == [
        0o700,
        0o600,
        0o600,
    ]
    os.chmod(again.path("mx-1"), 0o644)
    assert [one["id"] for one in again.findings()] == ["mode of " + again.path("mx-1")]
    again.findings(repair=True)
    assert again.findings() == []


def test_the_records_are_those_of_the_keys(domain):
    one = domain(bits=2048, ed25519=True)
    one.ready()
    found = one.records()
    assert [(r["selector"], r["role"], r["type"], r["bits"]) for r in found] == [
        ("mx-1", "signing", "rsa", 2048),
        ("mx-1e", "signing", "ed25519", 256),
        ("mx-2", "next", "rsa", 2048),
        ("mx-2e", "next", "ed25519", 256),
    ]
    assert found[0]["name"] == "mx-1._domainkey.home.example"
    public = subprocess.run(
        ["openssl", "pkey", "-in", one.path("mx-1"), "-pubout"], capture_output=True, text=True, check=True
    ).stdout
    assert found[0]["value"] == "v=DKIM1; k=rsa; p=" + "".join(public.splitlines()[1:-1])
    assert len(found[1]["value"]) == len("v=DKIM1; k=ed25519; p=") + 44
    assert one.signers() == [("mx-1", one.path("mx-1")), ("mx-1e", one.path("mx-1e"))]


def test_ed25519_may_come_later(domain):
    domain().ready()
    later = domain(ed25519=True)
    assert later.missing() == ["mx-1e", "mx-2e"]
    later.ready()
    assert domain(ed25519=True).missing() == []
    # and stays where it is not wanted any more: its record is published
    assert [one["selector"] for one in domain().records()] == ["mx-1", "mx-1e", "mx-2", "mx-2e"]


def test_a_lost_key_is_not_replaced(domain):
    domain().ready()
    os.unlink(domain().path("mx-1"))
    with pytest.raises(Refused, match="dkim_domains: the key .*mx-1.key of home.example is gone"):
        domain().missing()
    domain()
    os.unlink(domain().statefile)
    with pytest.raises(Refused, match="selectors.json"):
        domain()


def test_a_killed_first_run_is_begun_again(domain, monkeypatch):
    first = domain()
    monkeypatch.setattr(keys.os, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError):
        first.ready()
    monkeypatch.undo()
    again = domain()
    again.ready()
    assert domain().state == {"signing": "mx-1", "next": "mx-2"}
    assert os.listdir(os.path.dirname(again.folder)) == ["home.example"]


def test_a_key_that_is_published_already_signs_on(domain, tmp_path):
    pem = tmp_path / "old.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", pem],
        check=True,
        capture_output=True,
    )
    one = domain()
    one.ready(("default", str(pem)))
    assert one.state == {"signing": "default", "next": "mx-1"} and open(one.path("default")).read() == pem.read_text()
    for text, said in (("no key", "no key"), (None, "there is no key")):
        other = keys.Domain(str(tmp_path), "b.example", OWNER, "mx")
        pem.write_text(text) if text else pem.unlink()
        with pytest.raises(Refused, match=said):
            other.ready(("default", str(pem)))


def test_rotation_waits_for_the_dns_and_counts_on(domain, published):
    one = domain(ed25519=True)
    one.ready()
    for wrong in ({}, None, {"mx-2._domainkey.home.example": ["v=DKIM1; k=rsa; p=AAAA"]}):
        published.clear()
        published.update(wrong if wrong is not None else {"mx-2._domainkey.home.example": None})
        with pytest.raises(Refused, match="dkim_rotate: home.example .*mx-2._domainkey.home.example"):
            one.rotated("127.0.0.1")
    publish(published, one)
    del published["mx-2e._domainkey.home.example"]
    with pytest.raises(Refused, match="mx-2e._domainkey"):
        one.rotated("127.0.0.1")
    publish(published, one)
    one.rotate(one.rotated("127.0.0.1"))
    assert domain().state == {"signing": "mx-2", "next": "mx-3", "former": "mx-1"}
    # the new waiting key is not in the DNS, and the former one's record is
    with pytest.raises(Refused, match="mx-1, which signed before"):
        domain().rotated("127.0.0.1")
    with pytest.raises(Refused, match="dkim_drop: the record mx-1._domainkey.home.example"):
        domain().dropped("127.0.0.1")
    for name in list(published):
        if name.startswith("mx-1"):
            del published[name]
    last = domain()
    last.drop(last.dropped("127.0.0.1"))
    assert domain().state == {"signing": "mx-2", "next": "mx-3"} and "mx-1.key" not in domain().keys()
    publish(published, domain())
    domain().rotate(domain().rotated("127.0.0.1"))
    assert domain().state["next"] == "mx-4"


def test_a_record_may_have_blanks_and_other_tags(domain, published):
    one = domain()
    one.ready()
    publish(published, one)
    name = "mx-2._domainkey.home.example"
    value = published[name][0]
    published[name] = [
        "something else",
        value.replace("v=DKIM1; ", "v=DKIM1;t=s ; ")[:60] + " " + value.replace("v=DKIM1; ", "v=DKIM1;t=s ; ")[60:],
    ]
    assert one.unpublished("next", "127.0.0.1") == {}
