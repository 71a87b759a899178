# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A named.conf that is nobody's of ours: what of it would be lost, and the lines that carry it over."""

import pytest
import yaml
from fake_host import FakeRc
from role_modules import ROOT, util

foreign, named, host = (util("sokuhai." + name) for name in ("foreign_named", "named", "host"))
#: As named-checkconf -px prints them.
SAMPLE = """options {
	directory "/usr/local/etc/namedb/working";
	listen-on  {
		127.0.0.1/32;
	};
	listen-on-v6  {
		"none";
	};
	disable-empty-zone "255.255.255.255.IN-ADDR.ARPA";
};
zone "." {
	type hint;
	file "/usr/local/etc/namedb/named.root";
};
zone "localhost" {
	type primary;
	file "/usr/local/etc/namedb/primary/localhost-forward.db";
};
"""
OWN = """acl "friends" {
	192.0.2.0/24;
};
logging {
	category "default" {
		"null";
	};
};
options {
	directory "/usr/local/etc/namedb/working";
	listen-on  {
		"any";
	};
	allow-recursion {
		"friends";
	};
	recursion yes;
	allow-transfer  {
		"friends";
		key "xfer";
	};
	also-notify {
		192.0.2.9;
	};
	forwarders {
		198.51.100.153;
	};
};
key "xfer" {
	algorithm "hmac-sha256";
	secret "????????";
};
key "home" {
	algorithm "hmac-sha256";
	secret "????";
};
zone "." {
	type hint;
	file "/usr/local/etc/namedb/other.root";
};
zone "localhost" {
	type primary;
	file "/usr/local/etc/namedb/primary/localhost-forward.db";
};
zone "club.test" IN {
	type master;
	file "../primary/club.db";
	allow-transfer {
		"none";
	};
};
zone "fwd.test" {
	type forward;
	forwarders {
		192.0.2.1;
	};
};
view "inside" {
	match-clients {
		"friends";
	};
	zone "sec.test" {
		type secondary;
		file "sec.db";
		primaries {
			198.51.100.4 key "xfer";
		};
	};
};
"""
CARRIED = """include "%s/keys.conf";
acl "friends" {
  192.0.2.0/24;
};
zone "club.test" IN {
  type master;
  file "/usr/local/etc/namedb/primary/club.db";
  allow-transfer {
    "none";
  };
  allow-query { any; };
};
zone "fwd.test" {
  type forward;
  forwarders {
    192.0.2.1;
  };
};
view "inside" {
  match-clients {
    "friends";
  };
  zone "sec.test" {
    type secondary;
    file "/usr/local/etc/namedb/working/sec.db";
    primaries {
      198.51.100.4 key "xfer";
    };
    allow-query { any; };
    allow-transfer { "friends"; key "xfer"; };
  };
};
"""
KEYS = OWN[OWN.index('key "xfer"') : OWN.index('key "home"')]


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A host whose named-checkconf prints a file without comments and includes, and does not take one with the word BROKEN; rndc and the rest are not there."""
    programs = tmp_path / "sbin"
    programs.mkdir()
    (programs / "named-checkconf").touch(0o755)
    rc = FakeRc(named_program=f"{programs}/named", named_conf=f"{tmp_path}/named.conf")

    def run(argv, *_rest, **_more):
        if argv[0] == "sysrc":
            return rc.sysrc(argv[1:])
        if argv[0] == "sockstat":
            return (
                0,
                "USER COMMAND PID FD PROTO LOCAL FOREIGN\n"
                + "".join(
                    "bind named 7 %d udp%s %s:53 *:*\n" % (number, 6 if "::" in address else 4, address)
                    for number, address in enumerate(("127.0.0.1", "192.0.2.10", "2001:db8::10", "fe80::1%lo0"))
                ),
                "",
            )
        if argv[0].endswith("named-checkconf"):
            text = host.read(argv[-1])
            printed = "".join(
                line for line in (text or "BROKEN").splitlines(True) if not line.startswith(("#", "include"))
            )
            return (1, "BROKEN", "") if "BROKEN" in printed else (0, printed, "")
        return 127, "", ""

    monkeypatch.setattr(host, "run", run)
    (tmp_path / "named.conf.sample").write_text(SAMPLE)
    return tmp_path / "named.conf"


def test_no_file_the_packages_sample_and_ours_of_any_release_are_nobodys(there):
    assert foreign.refusal() == ""
    there.write_text("# other comments\n" + SAMPLE)
    assert foreign.refusal() == ""
    there.write_text(
        "# Ansible managed\n# Role bind writes this whole file; named-checkconf has accepted it.\n\n" + OWN
    )
    assert foreign.refusal() == ""


def test_what_would_be_lost_is_named_and_the_lines_of_the_inventory_are_yaml(there):
    (there.parent / "keys.conf").write_text(KEYS)
    there.write_text('include "%s/keys.conf";\n' % there.parent + OWN)
    said = foreign.refusal()
    for line in (
        "zones: . (hint), club.test (primary), fwd.test (forward), sec.test (secondary)",
        "forwarders: forwarders { 198.51.100.153; }",
        "views: inside",
        "ACLs: friends",
        "keys: xfer, home",
        "other statements: logging",
    ):
        assert line in said.splitlines()
    assert "????" not in said and "# key home: its secret is not shown" in said and "# key xfer" not in said
    lines = said.partition("What is to stay goes into the inventory:\n")[2].rpartition("Then set ")[0]
    assert yaml.safe_load(lines) == {
        "bind_listen_on": ["127.0.0.1", "192.0.2.10"],
        "bind_listen_on_v6": ["::1", "2001:db8::10"],
        "bind_extra_options": ["also-notify { 192.0.2.9; };"],
        "bind_extra_config": CARRIED % there.parent,
    }


@pytest.mark.parametrize(
    "default, carried", [("any", "allow-transfer { any; };"), ("none", "allow-transfer { none; };")]
)
def test_who_may_transfer_a_zone_is_what_this_named_assumes(there, monkeypatch, default, carried):
    there.write_text('zone "club.test" {\n\ttype primary;\n\tfile "/x";\n};\n')
    run = host.run
    monkeypatch.setattr(
        host,
        "run",
        lambda argv, *rest: (0, "\tallow-transfer {%s;};\n" % default, "") if argv[1:] == ["-C"] else run(argv, *rest),
    )
    assert carried in foreign.refusal()


def test_a_file_that_the_checker_does_not_take_is_not_replaced_either(there):
    there.write_text("BROKEN")
    assert "named-checkconf does not take it: BROKEN" in foreign.refusal()


def test_every_option_that_the_role_writes_is_known():
    text = (ROOT / "docs/examples/current/usr/local/etc/namedb/named.conf").read_text()
    text = "\n".join(line.split("#")[0] for line in text.splitlines())
    written = set(named.option_statements(text))
    assert written - foreign.TAKEN - set(foreign.VARIABLES) - set(foreign.ZONES) == {"listen-on", "listen-on-v6"}
    declared = yaml.safe_load((ROOT / "roles/bind/defaults/main.yml").read_text())
    assert {word for word in foreign.VARIABLES.values() if word.startswith("bind_")} <= set(declared)
