# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role monitor: what is refused of what is declared, and what of it reaches newsyslog(8) and named."""

import re

import pytest
from role_modules import ROOT, load, rendered, util

declared = load("roles/monitor/filter_plugins/monitor.py")
problems = declared.problems
GOOD = {
    "monitor_busy_seconds": 5,
    "monitor_idle_seconds": 60,
    "monitor_alert_to": ["ops@home.example", "root"],
    "monitor_webhook_url": "",
    "monitor_webhook_address": "",
    "monitor_textfile": "",
    "monitor_relay": "",
    "monitor_relay_name": "",
    "monitor_relay_to": [],
    "monitor_ceiling_percent": 80,
    "monitor_deferred_dns": 100,
    "monitor_certificate_days": 14,
    "monitor_down_seconds": 60,
    "monitor_disk_percent": 90,
    "monitor_memory_percent": 95,
    "monitor_incoming_seconds": 1800,
    "monitor_deferred_seconds": 0,
    "monitor_alert_quiet": 120,
    "monitor_file_kilobytes": 2048,
    "monitor_files_kept": 8,
    "monitor_user": "sokuhai_monitor",
    "monitor_named": "127.0.0.1",
    "monitor_read_since": 86400,
    "monitor_read_points": 400,
}


def test_the_defaults_are_right():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"monitor_busy_seconds": 1},
        {"monitor_idle_seconds": 4},
        {"monitor_busy_seconds": 60, "monitor_idle_seconds": 30},
        {"monitor_ceiling_percent": 100},
        {"monitor_disk_percent": 100},
        {"monitor_textfile": "sokuhai.prom"},
        {"monitor_textfile": "/var/db/sokuhai"},
        {"monitor_webhook_address": "192.0.2.25"},
        {"monitor_webhook_url": "alerts.example.org/hook", "monitor_webhook_address": "192.0.2.25"},
        {"monitor_webhook_url": "https://[", "monitor_webhook_address": "192.0.2.25"},
        {"monitor_webhook_url": "https://u:p@a.example/", "monitor_webhook_address": "192.0.2.25"},
        {"monitor_relay": "relay.example.org", "monitor_relay_to": ["ops@a.example"]},
        {"monitor_relay": "192.0.2.25:99999", "monitor_relay_to": ["ops@a.example"]},
        {"monitor_relay_to": ["ops@a.example"]},
        {"monitor_memory_percent": 10},
        {"monitor_named": "localhost"},
        {"monitor_incoming_seconds": 5},
        {"monitor_down_seconds": -1},
        {"monitor_alert_to": ["-oQ/tmp"]},
        {"monitor_alert_to": ["a b@c"]},
        {"monitor_alert_to": ["a@b\nBcc: c@d"]},
        {"monitor_user": "root"},
        {"monitor_user": "Upper"},
        {"monitor_files_kept": 0},
        {"monitor_file_kilobytes": 9000},
    ],
)
def test_what_cannot_be_right_is_named(wrong):
    found = problems({**GOOD, **wrong})
    assert found and any(entry.startswith(tuple(wrong)) for entry in found), found


def test_a_webhook_needs_an_address_and_no_message_shows_what_may_be_a_secret():
    url = "https://alerts.example.org/hook/s3cret"
    (found,) = problems({**GOOD, "monitor_webhook_url": url})
    assert found.startswith("monitor_webhook_address: ") and "192.0.2.25" in found and "s3cret" not in found
    (found,) = problems({**GOOD, "monitor_webhook_url": url.replace("https", "ftp"), "monitor_webhook_address": "::1"})
    assert found.startswith("monitor_webhook_url: ") and "s3cret" not in found
    for good, address in ((url, "2001:db8::25"), ("http://192.0.2.25:8080/", ""), ("https://[2001:db8::25]/x?y=z", "")):
        assert problems({**GOOD, "monitor_webhook_url": good, "monitor_webhook_address": address}) == []
    assert declared.webhook("https://[2001:db8::25]/x", "") == {
        "url": "https://[2001:db8::25]/x",
        "address": "2001:db8::25",
    }
    assert declared.webhook("", "") is None


@pytest.mark.parametrize(
    "text, address, port",
    [
        ("192.0.2.25", "192.0.2.25", 25),
        ("192.0.2.25:587", "192.0.2.25", 587),
        ("2001:db8::25", "2001:db8::25", 25),
        ("[2001:db8::25]:587", "2001:db8::25", 587),
    ],
)
def test_a_relay_is_an_address_and_delivers_to_addresses_with_a_domain(text, address, port):
    to = ["ops@home.example"]
    assert problems({**GOOD, "monitor_relay": text, "monitor_relay_to": to}) == []
    assert declared.relay(text, "n", to) == {"address": address, "port": port, "name": "n", "to": to}
    for wrong in ([], ["root"]):
        (found,) = problems({**GOOD, "monitor_relay": text, "monitor_relay_to": wrong})
        assert found.startswith("monitor_relay_to: ") and "admin@example.org" in found


def test_disk_bound_of_the_defaults_is_below_twenty_megabytes_even_uncompressed():
    assert GOOD["monitor_file_kilobytes"] * (1 + GOOD["monitor_files_kept"]) * 1024 < 20e6


def test_newsyslog_writes_no_line_of_its_own_and_leaves_the_file_to_the_samplers_user():
    text = rendered("monitor", "usr/local/etc/newsyslog.conf.d/sokuhai_monitor.conf.j2", **GOOD)
    line = text.splitlines()[-1].split()
    assert line == [
        "/var/db/sokuhai_monitor/samples.csv",
        "sokuhai_monitor:sokuhai_monitor",
        "644",
        "8",
        "2048",
        "*",
        "BJN",
    ]


def test_named_tells_its_counters_on_the_loopback_and_a_running_named_takes_that_over():
    text = (ROOT / "roles/bind/templates/usr/local/etc/namedb/named.conf.j2").read_text()
    block = text[text.index("statistics-channels {") : text.index("statistics-channels {") + 120]
    place = re.search(r"inet \{\{ (\S+) }} port ", block)[1]
    asked = re.search(
        "'statistics_address': (.*),",
        (ROOT / "roles/monitor/templates/usr/local/etc/sokuhai-monitor.json.j2").read_text(),
    )[1]
    assert asked == place == "sokuhai_loopback"
    bind = util("bind_statements")
    assert (
        bind.needs_restart(
            "options {\n};\n",
            "options {\n};\nstatistics-channels {\n\tinet 127.0.0.1 port 8053 allow {\n\t\t127.0.0.1/32;\n\t};\n};\n",
        )
        == ""
    )
