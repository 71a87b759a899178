# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What role sasl says about declared users before it touches a host."""

import pytest
from role_modules import load

sasl = load("roles/sasl/filter_plugins/sasl.py")

SHA512 = "{SHA512-CRYPT}$6$spjSKeeLi6BEg02L$dESYTxMo3xa1M/XNdcCZP.hENbRvqy60kvcEFMXbuiuCWjVkYxELmWBIEqPOCyAfZX1QfaNu1YuI3mezdZnk31"
# each printed by doveadm pw of Dovecot 2.4.1
GOOD = {
    "sha512": SHA512,
    "sha256": "{SHA256-CRYPT}$5$ap/A.kldIAnF1LhK$e5sqQugHtooAiTjJfYHKT2hYZtqwSOh5ggwJfCkOXu1",
    "blf": "{BLF-CRYPT}$2y$05$mdoXHD.FWPDA1S6te9qAF.NyE3oicg2viPl3fAOaaSggU9VNOMQA2",
    "argon2id": "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$IVbwGFYdQxQJ6Ryf5GcP4Q$7AViMvHLPWTxuExXdn8YFXdZQGgbAvI3su0sMtlfVnw",
    "argon2i": "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$Ub5QAildkUWVD5KrsLCOhQ$KQWqqwP76eBzjXqsQw2I5g8oqK08TvA6e2zv9F+u0Bk",
    "pbkdf2": "{PBKDF2}$1$jThA9Egz67YAnz/Y$5000$47409ea5404fd37f5507823e9157b97af68f3863",
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_hash_is_taken(kind):
    assert sasl.user_problems([{"name": "alice", "password_hash": GOOD[kind]}]) == []


@pytest.mark.parametrize("name", ["alice", "a.b+c", "alice@home.example", "0"])
def test_a_good_name_is_taken(name):
    assert sasl.user_problems([{"name": name, "password_hash": SHA512}]) == []


@pytest.mark.parametrize(
    "secret",
    [
        "letmein",
        "{PLAIN}letmein",
        "{SHA512-CRYPT}letmein",
        SHA512[:-1],
        "{MD5}0cc175b9c0f1b6a831c399e269772661",
        SHA512 + "\nroot:{PLAIN}x",
        SHA512 + ":0:0",
        "",
    ],
)
def test_no_password_gets_through_or_into_the_message(secret):
    problems = sasl.user_problems([{"name": "alice", "password_hash": secret}])
    assert len(problems) == 1
    assert problems[0].startswith("sasl_users[0].password_hash:")
    assert "doveadm pw" in problems[0]
    assert "letmein" not in problems[0] and "spjSKee" not in problems[0]


def test_users_without_any_hash_are_those_of_a_dovecot_that_was_there_before():
    assert sasl.user_problems([{"name": "alice", "addresses": ["info@home.example"]}, {"name": "bob"}]) == []
    (problem,) = sasl.user_problems([{"name": "alice", "password_hash": SHA512}, {"name": "bob"}])
    assert problem.startswith("sasl_users[1].password_hash:")
    assert sasl.hashes([{"name": "bob", "addresses": []}]) == [{"name": "bob", "password_hash": ""}]


@pytest.mark.parametrize(
    "name", ["a:b", "alice\n", "", "@home.example", "alice@home", "alice@-home.example", "a b", "alice@home.example."]
)
def test_a_name_that_a_passwd_file_cannot_hold_is_refused(name):
    problems = sasl.user_problems([{"name": name, "password_hash": SHA512}])
    assert len(problems) == 1 and problems[0].startswith("sasl_users[0].name:")


def test_a_capital_letter_is_refused_with_the_name_that_would_match():
    (problem,) = sasl.user_problems([{"name": "Alice@Home.example", "password_hash": SHA512}])
    assert "'alice@home.example'" in problem


def test_a_name_declared_twice_is_refused():
    (problem,) = sasl.user_problems([{"name": "alice", "password_hash": SHA512}] * 2)
    assert problem.startswith("sasl_users[1].name:") and "twice" in problem


def test_mechanisms():
    assert sasl.mechanism_problems(["plain", "login"]) == []
    assert sasl.mechanism_problems([])[0].startswith("sasl_mechanisms:")
    assert "login" in sasl.mechanism_problems(["login", "plain", "login"])[0]


@pytest.mark.parametrize(
    "limit, openfiles, good", [(1600, 20000, True), (1600, 1664, True), (1600, 1663, False), (0, 20000, False)]
)
def test_client_limit_must_fit_into_the_descriptors(limit, openfiles, good):
    problems = sasl.limit_problems(limit, openfiles)
    assert (problems == []) is good
    assert all(problem.startswith("sasl_client_limit:") for problem in problems)
