# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""postgrey's arguments, its allow lists, and what is refused on the controller."""

import shlex
import subprocess

import pytest
import role_modules

greylist = role_modules.load("roles/greylist/filter_plugins/greylist.py")
MARK = role_modules.load("roles/greylist/library/greylist_postgrey.py").MARK

DECLARED = {
    "address": "127.0.0.1",
    "inet_protocols": "all",
    "mild_port": 10027,
    "mild_delay": 15,
    "harsh_port": 10028,
    "harsh_delay": 125,
    "delay_reason": "",
    "max_age": 35,
    "retry_window": 48,
    "auto_whitelist": 5,
    "ipv4_prefix": 24,
    "ipv6_prefix": 64,
    "text": "Greylisted, please try again in %s seconds",
    "clients": [],
    "recipients": [],
    "user": "postgrey",
    "database": "/var/db/postgrey",
    "run_directory": "/var/run/postgrey",
    "list_directory": "/usr/local/etc/postgrey",
    "prefix": "/usr/local",
    "service": "sokuhai_postgrey",
}
OPTIONS = {
    "address": "127.0.0.1",
    "database": "/var/db/postgrey",
    "run_directory": "/var/run/postgrey",
    "user": "postgrey",
    "max_age": 35,
    "retry_window": 48,
    "auto_whitelist": 0,
    "ipv4_prefix": 24,
    "ipv6_prefix": 64,
    "privacy": False,
    "text": "Please try again in %s seconds",
    "lists": {"clients": ["/c1", "/c2"], "recipients": ["/r1"]},
}


def problems(**changes):
    return greylist.problems({**DECLARED, **changes})


def test_the_defaults_are_accepted():
    assert problems() == []
    assert problems(address="::1") == problems(address="::1", inet_protocols="ipv6") == []


def test_each_service_has_its_port_delay_and_database():
    mild, harsh = greylist.instances(
        {"mild": {"port": 10027, "delay": 15}, "harsh": {"port": 10028, "delay": 125}}, OPTIONS
    )
    assert (mild["name"], mild["database"], mild["port"]) == ("mild", "/var/db/postgrey/mild", 10027)
    assert {"--inet=127.0.0.1:10027", "--delay=15"} <= set(mild["flags"])
    assert {"--inet=127.0.0.1:10028", "--delay=125", "--retry-window=48h", "--auto-whitelist-clients=0"} <= set(
        harsh["flags"]
    )
    assert harsh["database"] != mild["database"], "one database for two would lock the second out"


def test_every_list_is_named():
    (one,) = greylist.instances({"x": {"port": 10027, "delay": 1}}, OPTIONS)
    assert [word for word in one["flags"] if "whitelist-clients=/" in word] == [
        "--whitelist-clients=/c1",
        "--whitelist-clients=/c2",
    ]
    assert "--whitelist-recipients=/r1" in one["flags"]
    assert "--privacy" not in one["flags"]
    (one,) = greylist.instances({"x": {"port": 10027, "delay": 1}}, {**OPTIONS, "privacy": True})
    assert "--privacy" in one["flags"]


def test_the_shell_reads_the_same_arguments_from_rc_conf():
    for address in ("127.0.0.1", "::1"):
        (one,) = greylist.instances({"x": {"port": 10027, "delay": 1}}, {**OPTIONS, "address": address})
        assert shlex.split(one["rc"]) == one["flags"]
        assert '"' not in one["rc"] and "$" not in one["rc"]
    # which is a pattern of sh(1), too
    assert one["flags"][0] == "--inet=[::1]:10027" and one["rc"].startswith("--inet='[::1]:10027' ")


def test_an_allow_list_has_its_reasons_above_its_entries():
    entries = [{"entry": "192.0.2.1", "reason": "two\nlines"}, {"entry": "mail.example.net"}]
    lists = {"greylist_clients": entries, "greylist_recipients": entries, "__greylist_probe": "probe@probe.invalid"}
    for name, probe in (("clients", []), ("recipients", ["probe@probe.invalid"])):
        text = role_modules.rendered("greylist", f"usr/local/etc/postgrey/sokuhai.{name}.j2", **lists)
        assert text.startswith(MARK) and text.endswith("\n")
        lines = text.splitlines()[2 * len(probe) :]
        assert lines[1:] == ["# two lines", "192.0.2.1", "mail.example.net"]
        assert [line for line in text.splitlines() if line == "probe@probe.invalid"] == probe


def test_the_rc_script_runs_each_instance_with_its_own_database_and_is_sound(tmp_path):
    values = {
        "greylist_user": "postgrey",
        "__greylist_instances": [{"name": "mild"}, {"name": "harsh"}],
    }
    text = role_modules.rendered("greylist", "usr/local/etc/rc.d/sokuhai_postgrey.j2", **values)
    script = tmp_path / "rc"
    script.write_text(text)
    assert MARK in text and "--dbdir=/var/db/postgrey/$instance" in text
    assert ': ${sokuhai_postgrey_instances:="mild harsh"}' in text
    assert subprocess.run(["sh", "-n", script]).returncode == 0


@pytest.mark.parametrize(
    "entry",
    [
        "192.0.2.1",
        "192.0.2.0/24",
        "2001:db8::/32",
        "2001:db8::1",
        "example.net",
        "mail-1.example.net",
        r"/^mta\d+\.example\.net$/",
        # Perl's, which Python does not have: the host's perl judges
        r"/^mta\d+\.example\.net\z/",
        "/(mail/",
    ],
)
def test_clients_that_postgrey_understands(entry):
    assert problems(clients=[{"entry": entry}]) == []


@pytest.mark.parametrize(
    "entry, right",
    [
        ("192.0.2.10/24", "192.0.2.0/24"),
        ("192.0.2", "192.0.2.0/24"),
        ("192.0", "192.0.0.0/16"),
        ("192.0.2.300", ""),
        ("0.0.0.0/0", "sokuhai_greylist: false"),
        ("::/0", "sokuhai_greylist: false"),
        ("jp", ".jp"),
        ("example.net.", ""),
        ("my host", ""),
        ("/^mail/x", ""),
        ("/a b/", "\\s"),
        ("/a#b/", "\\x23"),
        ("/.*/", "sokuhai_greylist: false"),
        ("/.+/", "sokuhai_greylist: false"),
        ("//", ""),
        ("", ""),
        ("2001:db8::1::2", ""),
    ],
)
def test_clients_that_it_would_misread(entry, right):
    """right: what to write instead, where that is known."""
    found = problems(clients=[{"entry": "192.0.2.1"}, {"entry": entry}])
    assert len(found) == 1 and found[0].startswith(f"greylist_clients[1]: {entry!r}") and right in found[0], found


@pytest.mark.parametrize("entry", ["alarm@example.org", "alarm@", "example.org", "/^alarm-/"])
def test_recipients_that_postgrey_understands(entry):
    assert problems(recipients=[{"entry": entry}]) == []


@pytest.mark.parametrize(
    "entry", ["@example.org", "a@b@c", "a b@example.org", "alarm@exa mple.org", "/[", "alarm@exam..ple", ""]
)
def test_recipients_that_it_would_misread(entry):
    found = problems(recipients=[{"entry": entry}])
    assert len(found) == 1 and found[0].startswith("greylist_recipients[0]: "), found


def test_an_entry_twice_is_a_mistake():
    assert problems(clients=[{"entry": "Example.net"}, {"entry": "example.net"}])[0].startswith("greylist_clients[1]: ")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"mild_delay": 0}, ("greylist_mild_delay", "1 to 86400")),
        ({"harsh_delay": 1250}, ("greylist_harsh_delay", "greylist_delay_reason", "15 and 125")),
        ({"harsh_delay": 1250, "delay_reason": "  "}, ("greylist_harsh_delay", "greylist_delay_reason")),
        (
            {"harsh_delay": 7200, "delay_reason": "x", "retry_window": 2},
            ("greylist_harsh_delay", "greylist_retry_window"),
        ),
        ({"mild_delay": 200}, ("greylist_mild_delay", "125 s")),
        ({"mild_port": 25}, ("greylist_mild_port", "1024")),
        ({"harsh_port": 10027}, ("greylist_harsh_port", "10028")),
        ({"address": "0.0.0.0"}, ("greylist_address", "127.0.0.1")),
        ({"address": "localhost"}, ("greylist_address", "127.0.0.1")),
        ({"address": "::", "inet_protocols": "ipv6"}, ("greylist_address", "set ::1")),
        ({"inet_protocols": "ipv6"}, ("greylist_address", "127.0.0.1", "postfix_inet_protocols", "set ::1")),
        ({"address": "::1", "inet_protocols": "ipv4"}, ("greylist_address", "postfix_inet_protocols", "set 127.0.0.1")),
        ({"address": "192.0.2.10"}, ("greylist_address", "192.0.2.10", "127.0.0.1")),
        ({"max_age": 0}, ("greylist_max_age",)),
        ({"ipv4_prefix": 33}, ("greylist_ipv4_prefix", "32")),
        ({"ipv6_prefix": 0}, ("greylist_ipv6_prefix",)),
        ({"auto_whitelist": -1}, ("greylist_auto_whitelist",)),
        ({"text": "it's"}, ("greylist_text",)),
        ({"text": "$(reboot)"}, ("greylist_text",)),
        ({"text": "50%x"}, ("greylist_text", "%s")),
        ({"text": " "}, ("greylist_text",)),
        ({"user": "root"}, ("greylist_user",)),
    ],
)
def test_what_cannot_be_is_refused_by_the_variables_name(changes, words):
    found = problems(**changes)
    assert len(found) == 1 and found[0].startswith(words[0] + ":"), found
    assert all(word in found[0] for word in words), found


def test_the_printed_delay_is_taken_with_a_reason():
    assert problems(harsh_delay=1250, delay_reason="as the article prints it") == []
