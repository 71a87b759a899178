# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Passwords that stand in main.cf, master.cf and named.conf: where they are found, and that no diff and no warning has them."""

import pytest
from role_modules import load, util

passwords = util("sokuhai.passwords")
declared = load("roles/postfix/filter_plugins/postfix_passwords.py")
bind = load("roles/bind/filter_plugins/bind.py").FilterModule().filters()["bind_passwords"]
MAPS = "smtp_sasl_password_maps"


@pytest.mark.parametrize(
    "name, value, found",
    [
        (MAPS, "static:me:hidden", ["me:hidden"]),
        (MAPS, "static:{me:hid den}", ["me:hid den"]),
        ("lmtp_sasl_password_maps", "hash:/a, static:me:hidden", ["me:hidden"]),
        (MAPS, "inline:{ {[r.example]:587 = me:hidden}, {b=u:other} }", ["me:hidden", "u:other"]),
        (MAPS, "inline:{ a=me:hidden, b=u:other }", ["me:hidden", "u:other"]),
        ("ldapusers_bind_pw", "hidden", ["hidden"]),
        ("mysql_password", "hidden", ["hidden"]),
        ("smtpd_milters", "inet:filter:hidden@192.0.2.1", []),
        ("anything", "https://user:hidden@relay.example/", ["hidden"]),
        (MAPS, "hash:/usr/local/etc/postfix/tables/sasl_passwd", []),
        ("lmtp_sasl_password_maps", "$smtp_sasl_password_maps", []),
        ("smtp_sasl_password_result_delimiter", ":", []),
        ("transport_maps", "static:smtp:[relay.example]:587", []),
        ("virtual_alias_maps", "inline:{ {info@club.example = root} }", []),
    ],
)
def test_a_password_in_a_parameter_is_found_and_a_table_is_none(name, value, found):
    assert passwords.in_value(name, value) == found
    assert passwords.of_postfix(f"a = b\n{name} = {value}\nc = d\n") == found
    assert declared.postfix_passwords([{"name": name, "value": value}], []) == found


def test_it_is_found_where_a_value_goes_on_in_the_next_line_and_in_a_comment_there_is_none():
    assert passwords.of_postfix(f"{MAPS} =\n    static:me:hidden\nb = c\n") == ["me:hidden"]
    assert passwords.of_postfix(f"# {MAPS} = static:me:hidden\n#  u://a:b@c\n") == []


@pytest.mark.parametrize(
    "item, line, found",
    [
        (
            {"options": {MAPS: "static:me:hidden"}},
            f"relay unix - - n - - smtp -o {MAPS}=static:me:hidden -o x=y",
            ["me:hidden"],
        ),
        (
            {"args": f"-o {{ {MAPS} = static:{{me:hid den}} }}"},
            f"relay unix - - n - - smtp\n  -o {{ {MAPS} = static:{{me:hid den}} }}",
            ["me:hid den"],
        ),
        (
            {"args": ["flags=R", "argv=/x", "--password=hidden"]},
            "p unix - n n - - pipe --password=hidden a",
            ["hidden"],
        ),
        ({"args": "-o smtp_tls_security_level=may"}, "p unix - n n - - smtp -o smtp_tls_security_level=may", []),
    ],
)
def test_it_is_found_in_the_options_and_arguments_of_a_service(item, line, found):
    assert passwords.of_postfix(line) == found
    assert declared.postfix_passwords([], [{"name": "relay", **item}]) == found


def test_a_warning_names_the_parameter_and_the_table_and_not_the_password():
    main = [{"name": MAPS, "value": ["static:me:hidden"]}, {"name": "relayhost", "value": "[r.example]:587"}]
    master = [{"name": "relay", "options": {MAPS: "inline:{ {a = me:hidden} }"}}, {"name": "smtp", "state": "absent"}]
    warnings = declared.postfix_password_warnings(main, master)
    assert [text.partition(" has")[0] for text in warnings] == [
        f"postfix_main_cf: {MAPS}",
        f"postfix_master_cf: relay: {MAPS}",
    ]
    assert all("tables/sasl_passwd" in text and "hidden" not in text for text in warnings)
    table = [{"name": MAPS, "value": "hash:/usr/local/etc/postfix/tables/sasl_passwd"}]
    assert declared.postfix_password_warnings(table, None) == []


def test_a_diff_tells_another_password_from_the_same_one_and_shows_neither():
    old, new = (f"{MAPS} = static:me:{word}\nrelayhost = {word}.example\n" for word in ("hidden", "secret"))
    before, after = passwords.pair(old, new, passwords.of_postfix)
    assert before == f"{MAPS} = static:(not shown)\nrelayhost = hidden.example\n"
    assert after == f"{MAPS} = static:(another, not shown)\nrelayhost = secret.example\n"
    assert passwords.pair(old, old, passwords.of_postfix)[1] == before
    assert passwords.pair(None, old, passwords.of_postfix) == (None, before)


def test_a_keys_secret_is_found_however_it_is_written():
    text = 'key a { algorithm hmac-sha256; secret "aGlkZGVu=="; };\nkey b { secret b3RoZXI=; };\n'
    assert passwords.of_named(text) == bind(text) == ["aGlkZGVu==", "b3RoZXI="]
    assert "aGlk" not in passwords.pair(text, None, passwords.of_named)[0] and passwords.of_named("zone x {};") == []
