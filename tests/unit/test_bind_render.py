"""named.conf as role bind renders it, and the values the role promises by default."""

import re

import pytest
from role_modules import defaults, load, rendered

FILTERS = {
    name: filter_
    for file in ("bind", "bind_declared")
    for name, filter_ in load(f"roles/bind/filter_plugins/{file}.py").FilterModule().filters().items()
}
NAMED = {
    "conf": "/usr/local/etc/namedb/named.conf",
    "knows": {"files": False, "resolver_retry_interval": False},
    "physmem": 4 << 30,
    "udp_ports": [10000, 65535],
}


GOOD = defaults("bind")


def render(named=None, file="named.conf", **changed):
    return rendered(
        "bind",
        f"usr/local/etc/namedb/{file}.j2",
        ansible_managed="managed",
        __bind_named={**NAMED, **(named or {})},
        __bind_directory="/usr/local/etc/namedb/working",
        __bind_hints_path="/usr/local/etc/namedb/sokuhai.hints",
        **{**GOOD, **changed},
    )


def bare(text):
    """Statements without comments, white space folded."""
    return " ".join(re.sub(r"#.*", "", text).split())


def option(text, name):
    found = re.findall(r"(?:^|[;{]) %s ([^;{]+);" % re.escape(name), bare(text))
    assert len(found) <= 1, "%s stands %d times" % (name, len(found))
    return found[0].strip() if found else None


@pytest.mark.parametrize(
    "name, value",
    {
        # resolves by itself: validation on, empty zones on
        "dnssec-validation": "auto",
        "empty-zones-enable": "yes",
        "recursion": "yes",
        # the ceilings
        "recursive-clients": "20000",
        "tcp-clients": "1000",
        "clients-per-query": "1000",
        "max-clients-per-query": "1000",
        "fetches-per-server": "0",
        "fetches-per-zone": "0",
        "max-cache-size": "1024M",
    }.items(),
)
def test_options_by_default(name, value):
    assert option(render(), name) == value


@pytest.mark.parametrize(
    "statement",
    [
        'acl "sokuhai_clients" { localhost; };',
        "allow-recursion { sokuhai_clients; };",
        "allow-query-cache { sokuhai_clients; };",
        "allow-query { sokuhai_clients; };",
        "listen-on { 127.0.0.1; };",
        "listen-on-v6 { ::1; };",
        "allow-transfer { none; };",
    ],
)
def test_defaults_serve_this_host_only(statement):
    assert statement in bare(render())


@pytest.mark.parametrize(
    "protocols, statements",
    [
        ("ipv6", ["listen-on { none; };", "listen-on-v6 { ::1; };", "inet ::1 port 8053 allow { ::1; };"]),
        (
            "ipv4",
            [
                "listen-on { 127.0.0.1; };",
                "listen-on-v6 { none; };",
                "inet 127.0.0.1 port 8053 allow { 127.0.0.1; };",
                "server ::/0 { bogus yes; };",
            ],
        ),
    ],
)
def test_with_one_address_family_it_is_that_one(protocols, statements):
    values = defaults("bind", sokuhai_inet_protocols=protocols)
    text = bare(render(**values))
    assert [statement for statement in statements if statement not in text] == []
    assert FILTERS["bind_problems"](values) == []


@pytest.mark.parametrize("word", ["disable-empty-zone", "trust-anchors", 'zone "', "forward"])
def test_what_stands_there_only_where_it_is_declared(word):
    assert word not in bare(render())


@pytest.mark.parametrize("knows, value", [(True, "65535"), (False, None)])
def test_files_only_for_a_named_that_knows_it(knows, value):
    text = render({"knows": {"files": knows, "resolver_retry_interval": knows}})
    assert option(text, "files") == value
    assert option(text, "resolver-retry-interval") == ("2000" if knows else None)


def test_what_has_expired_is_answered_only_where_that_is_declared():
    words = ("stale-cache-enable", "stale-answer-enable", "stale-answer-client-timeout", "max-stale-ttl")
    assert [option(render(), word) for word in words] == [None] * 4
    # the client's timeout: any other than 0 is taken for 0 by 9.20 (BIND ARM)
    assert [option(render(bind_stale_seconds=600), word) for word in words] == ["yes", "yes", "0", "600"]


def test_another_port_range_makes_another_file():
    """named keeps the range it read when it loaded the file; only a changed file is loaded again."""
    assert render() != render({"udp_ports": [49152, 65535]})


def test_clients_of_other_networks():
    text = bare(render(bind_recursion_for=["192.0.2.0/24", "2001:db8::/64"], bind_allow_query=["any"]))
    assert "{ localhost; 192.0.2.0/24; 2001:db8::/64; }" in text
    assert "allow-query { sokuhai_clients; any; };" in text
    assert "allow-recursion { sokuhai_clients; };" in text


def test_rate_limit_spares_own_clients_and_can_be_off():
    assert "responses-per-second 10; exempt-clients { sokuhai_clients; };" in bare(render())
    assert "rate-limit" not in render(bind_rate_limit=0)


def test_own_root():
    text = bare(
        render(
            bind_root_hints=[{"name": "a.root.test", "addresses": ["198.51.100.2"]}],
            bind_trust_anchors=[{"name": ".", "value": "12345 13 2 AB CD"}],
            bind_disable_empty_zones=["2.0.192.IN-ADDR.ARPA"],
            bind_dnssec_validation="yes",
        )
    )
    assert 'zone "." { type hint; file "/usr/local/etc/namedb/sokuhai.hints"; };' in text
    assert 'trust-anchors { "." static-ds 12345 13 2 "ABCD"; };' in text
    assert 'disable-empty-zone "2.0.192.IN-ADDR.ARPA";' in text
    servers = [
        {"name": name, "addresses": ["198.51.100.2", "2001:db8:1::2"]} for name in ("a.root.test", "b.root.test.")
    ]
    assert render(file="sokuhai.hints", bind_root_hints=servers) == (
        ".\t3600000\tNS\ta.root.test.\n"
        "a.root.test.\t3600000\tA\t198.51.100.2\n"
        "a.root.test.\t3600000\tAAAA\t2001:db8:1::2\n"
        ".\t3600000\tNS\tb.root.test.\n"
        "b.root.test.\t3600000\tA\t198.51.100.2\n"
        "b.root.test.\t3600000\tAAAA\t2001:db8:1::2\n"
    )


def test_pid_file_line_is_one_that_rc_subr_reads():
    """get_pidfile_from_conf takes the first line that holds "pid-file" with no # or ; before it."""
    line = next(line for line in render().splitlines() if re.match(r"^[^#;]*pid-file", line))
    assert line.strip() == 'pid-file "/var/run/named/pid";'


@pytest.mark.parametrize(
    "physmem, expected", [(0, 64), (128 << 20, 64), (1 << 30, 256), (4 << 30, 1024), (256 << 30, 2048)]
)
def test_cache_from_ram(physmem, expected):
    assert FILTERS["bind_cache_mib"](physmem, 25, 64, 2048) == expected


@pytest.mark.parametrize(
    "package, version, knows",
    [("bind916", "9.16", True), ("bind918", "9.18", True), ("bind920", "9.20", False), ("bind9-devel", "9.21", False)],
)
def test_prediction(package, version, knows):
    assert FILTERS["bind_predict"](package) == {
        "version": version,
        "knows": {"files": knows, "resolver_retry_interval": knows},
    }


def problems(**changed):
    return FILTERS["bind_problems"](dict(GOOD, **changed))


def test_defaults_are_sound():
    assert problems() == []


@pytest.mark.parametrize(
    "changed, start",
    [
        ({"bind_package": "bind"}, "bind_package: "),
        ({"bind_listen_on": ["127.0.0.1", "192.0.2.1O"]}, "bind_listen_on: 192.0.2.1O "),
        ({"bind_listen_on": ["127.0.0.1", "::1"]}, "bind_listen_on: ::1 is not an IPv4"),
        ({"bind_listen_on_v6": ["127.0.0.1"]}, "bind_listen_on_v6: 127.0.0.1 is not an IPv6"),
        ({"bind_listen_on": ["192.0.2.10"]}, "bind_listen_on: lacks 127.0.0.1"),
        ({"bind_listen_on": ["127.0.0.1", "127.0.0.1"]}, "bind_listen_on: 127.0.0.1"),
        ({"bind_listen_on": [], "bind_listen_on_v6": [], "bind_use_for_host": False}, "bind_listen_on: empty"),
        (
            {"bind_host_name_servers": ["192.0.2.10"], "bind_listen_on": ["192.0.2.10"]},
            "bind_host_name_servers: 192.0.2.10 is not a loopback",
        ),
        ({"bind_host_name_servers": []}, "bind_host_name_servers: empty"),
        (
            {"bind_recursion_for": ["192.0.2.1/24"]},
            "bind_recursion_for: 192.0.2.1/24 has host bits set; the network is 192.0.2.0/24",
        ),
        ({"bind_recursion_for": ["192.0.2.0/2x"]}, "bind_recursion_for: 192.0.2.0/2x "),
        ({"bind_recursion_for": ["0.0.0.0/0"]}, "bind_recursion_for: 0.0.0.0/0 is the whole internet"),
        ({"bind_recursion_for": ["any"]}, "bind_recursion_for: any "),
        ({"bind_allow_query": ["everyone"]}, "bind_allow_query: everyone "),
        ({"bind_openfiles": 900, "bind_tcp_clients": 100}, "bind_openfiles: 900 is outside"),
        ({"bind_openfiles": 2000, "bind_tcp_clients": 5000}, "bind_openfiles: 2000 is not more than bind_tcp_clients"),
        ({"bind_recursive_clients": 0}, "bind_recursive_clients: 0 is outside"),
        ({"bind_stale_seconds": 100000}, "bind_stale_seconds: 100000 is outside 0 to 86400"),
        ({"bind_resolver_query_timeout": 10}, "bind_resolver_query_timeout: 10 is outside 301 to 30000"),
        ({"bind_max_clients_per_query": 100}, "bind_max_clients_per_query: 100 is below bind_clients_per_query"),
        ({"bind_cache_floor_mib": 4096}, "bind_cache_floor_mib: 4096 is above"),
        ({"bind_cache_share": 95}, "bind_cache_share: 95 is outside"),
        (
            {"bind_disable_empty_zones": ["2..192.in-addr.arpa"]},
            "bind_disable_empty_zones: 2..192.in-addr.arpa has the label",
        ),
        ({"bind_probe_name": "exa mple.test"}, "bind_probe_name: exa mple.test has the label"),
        (
            {"bind_root_hints": [{"name": "a.root.test", "addresses": ["198.51.100.300"]}]},
            "bind_root_hints: 198.51.100.300 ",
        ),
        (
            {"bind_root_hints": [{"name": "a.root.test", "addresses": []}]},
            "bind_root_hints: a.root.test has no addresses",
        ),
        (
            {"bind_trust_anchors": [{"name": "test", "value": "12345 13 ABCD"}]},
            "bind_trust_anchors: the value of test ",
        ),
        ({"bind_trust_anchors": [{"name": ".", "value": "12345 13 2 ABCD"}]}, "bind_dnssec_validation: "),
        ({"bind_extra_options": ["forwarders { 198.51.100.153; };"]}, "bind_extra_options: forwarders "),
        ({"bind_extra_options": ["files 65535;"]}, "bind_extra_options: files "),
        ({"bind_extra_options": ["minimal-responses yes"]}, 'bind_extra_options: "minimal-responses yes" does not end'),
    ],
)
def test_bad_values_are_named(changed, start):
    found = problems(**changed)
    assert any(message.startswith(start) for message in found), found


@pytest.mark.parametrize(
    "statement", ["max-cache-ttl 3600; // one hour", "max-cache-ttl 3600; # one", "/* a */ max-cache-ttl 3600; /* b */"]
)
def test_a_comment_beside_a_statement_is_named_confs_own(statement):
    assert problems(bind_extra_options=[statement]) == []


def test_a_comment_before_forwarders_does_not_hide_them():
    found = problems(bind_extra_options=["/* ours */ forwarders { 198.51.100.153; };"])
    assert found and found[0].startswith("bind_extra_options: forwarders ")
