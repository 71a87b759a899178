"""Role postfix's transaction on the practice host: what is broken never gets in, what got in and fails goes out again."""

import functools
import json
import textwrap
import time

import pytest
import yaml
from practice import ROOT, applied_book, changed_lines, message, play_book, some

CONFIG = "/usr/local/etc/postfix"


play = functools.partial(play_book, "postfix_only.yml")
applied = functools.partial(applied_book, "postfix_only.yml")


def findings(result):
    """{id: finding} of the transaction, from a play with -v."""
    block = result.stdout.partition("Stage, prove, swap, prove again]")[2].partition("=> \n")[2].partition("\n\n")[0]
    return {entry["id"]: entry for entry in yaml.safe_load(textwrap.dedent(block))["findings"]}


def answers(lab, port=25):
    """The host's greeting as the operator sees it."""
    code = "import socket; s = socket.create_connection(('192.0.2.10', %d), 20); print(s.recv(200).decode())" % port
    return lab.sh("python3", "-c", code, host="operator").stdout


def restrict(*items, at="smtpd_recipient_restrictions"):
    return {"postfix_restrictions": {at: list(items)}}


def rule(value):
    return {"name": "tried", "value": value, "weight": 90}


def parameter(name, value):
    return {"postfix_main_cf": [{"name": name, "value": value}]}


def sent_on(name, pattern, service):
    """Clients of a name that matches *pattern* enter a class, which waits and asks a policy *service*."""
    table = {"name": name, "type": "regexp", "entries": [{"pattern": pattern, "action": f"class_{name}"}]}
    return {
        "postfix_tables": [table],
        "postfix_main_cf": [
            {"name": "smtpd_restriction_classes", "value": [f"class_{name}"]},
            {"name": f"class_{name}", "value": ["sleep 1000", f"check_policy_service {service}"]},
        ],
        **restrict(rule(f"check_client_access regexp:{CONFIG}/tables/{name}")),
    }


REFUSED = {
    "a boolean without its last letter": (
        parameter("broken_sasl_auth_clients", "ye"),
        ["main.cf: broken_sasl_auth_clients = ye"],
    ),
    "one that only a listener's options hold": (
        {"postfix_master_cf": [{"name": "smtp", "type": "inet", "options": {"smtpd_sasl_auth_enable": "ye"}}]},
        ["smtp/inet: smtpd_sasl_auth_enable = ye"],
    ),
    "a boolean of a daemon that starts later": (
        parameter("smtp_skip_5xx_greeting", "ye"),
        ["main.cf: smtp_skip_5xx_greeting = ye"],
    ),
    "a number that is none": (
        parameter("default_destination_concurrency_limit", "many"),
        ["main.cf: default_destination_concurrency_limit = many"],
    ),
    "a restriction without its last letter": (
        restrict(rule("permi")),
        ["main.cf: smtpd_recipient_restrictions: permi "],
    ),
    "a restriction that no Postfix knows yet, with its argument": (
        restrict(rule("check_tomorrow one.example")),
        [
            "main.cf: smtpd_recipient_restrictions: check_tomorrow ",
            "main.cf: smtpd_recipient_restrictions: one.example ",
        ],
    ),
    "a map without its colon": (
        restrict(rule("check_sender_access hash /x")),
        ["main.cf: smtpd_recipient_restrictions: check_sender_access "],
    ),
    "a class that nobody declared": (
        restrict(rule("check_client_n")),
        ["main.cf: smtpd_recipient_restrictions: check_client_n "],
    ),
    "a class without its rules": (
        parameter("smtpd_restriction_classes", ["main.cf: smtpd_restriction_classes", "check_client_jp"]),
        ["main.cf: smtpd_restriction_classes", "check_client_jp"],
    ),
    "a missing map": (
        restrict(rule(f"check_sender_access hash:{CONFIG}/nothere")),
        ["smtpd_recipient_restrictions", "nothere"],
    ),
    "a missing private socket": (
        restrict(rule("check_policy_service unix:private/policy")),
        ["private/policy", "master.cf"],
    ),
    "a map type that this Postfix has not": (parameter("transport_maps", "ldap:/x"), ["transport_maps", "ldap"]),
    "a parameter with a typo": (parameter("smtpd_recipient_limitt", 5), ["smtpd_recipient_limitt"]),
    "a daemon that is not there": (
        {"postfix_master_cf": [{"name": "2525", "type": "inet", "chroot": "n", "command": "smtpdd"}]},
        ["2525", "smtpdd"],
    ),
    "a table that nothing uses yet": (
        {
            "postfix_tables": [
                {"name": "helo", "type": "regexp", "entries": [{"pattern": "/a{2,1}/", "action": "REJECT"}]}
            ]
        },
        ["postfix_tables", "helo"],
    ),
    "an address that this host has not": (
        parameter("inet_interfaces", "198.51.100.77"),
        ["parameter inet_interfaces: no local interface found for 198.51.100.77"],
    ),
    "a policy server that does not answer": (
        restrict(rule("check_policy_service inet:127.0.0.1:9")),
        ["451 4.3.5"],
    ),
    "a policy server that only a client with a dynamic-looking name is sent to": (
        sent_on("dynamic", "/^dhcp/", "inet:127.0.0.1:9"),
        ["RCPT (dhcp-192-0-2-254.stranger.home.example)", "451 4.3.5", "127.0.0.1:9"],
    ),
    "a policy server that none of our strangers is sent to": (
        sent_on("elsewhere", "/^nobody/", "inet:127.0.0.1:9"),
        ["check_policy_service inet:127.0.0.1:9: ", "451 4.3.5"],
    ),
    "a policy server of a family that is left out": (
        {**sent_on("dynamic", "/^dhcp/", "inet:127.0.0.1:25"), "postfix_inet_protocols": "ipv6"},
        ["RCPT (dhcp-2001-db8-fe.stranger.home.example)", "451 4.3.5", "127.0.0.1:25"],
    ),
    "a certificate of another key": (
        {"postfix_tls_cert": f"{CONFIG}/tls/self-signed.crt", "postfix_tls_key": "/etc/ssh/ssh_host_ed25519_key"},
        ["smtpd_tls_key_file"],
    ),
}


@pytest.fixture(autouse=True, scope="module")
def provisioned(lab):
    """The role's own lists before the first test, and after the last what site.yml has."""
    applied(lab)
    yield
    applied_book("mail_only.yml", lab)


# What is found by reading is found in one go; these are found by running, or end what reads.
BY_RUNNING = (
    "an address that this host has not",
    "a policy server that does not answer",
    "a policy server that only a client with a dynamic-looking name is sent to",
    "a policy server that none of our strangers is sent to",
    "a policy server of a family that is left out",
    "a certificate of another key",
)


def merged(cases):
    """The variables of several cases as one set, lists joined."""
    result = {}
    for variables, _words in cases:
        for name, value in variables.items():
            if isinstance(value, dict):
                for key, items in value.items():
                    old = result.setdefault(name, {}).setdefault(key, [])
                    old += [{**item, "name": f"{item['name']}{len(old)}"} for item in items]
            else:
                result.setdefault(name, []).extend(value)
    return result


def refused(lab, variables, expected):
    with lab.unchanged():
        result = play(lab, **variables)
    assert result.returncode != 0, "accepted"
    for word in (*expected, "previous_set: kept"):
        assert word in message(result)


def test_what_reading_finds_is_refused_all_at_once_before_the_swap(lab):
    cases = [case for name, case in REFUSED.items() if name not in BY_RUNNING]
    refused(lab, merged(cases), [word for _variables, words in cases for word in words])


@pytest.mark.parametrize(
    "case", some(REFUSED, BY_RUNNING.__contains__, "one by one in make test-full; all at once above")
)
def test_what_is_broken_is_refused_before_the_swap(lab, case):
    refused(lab, *REFUSED[case])


def test_a_restriction_that_only_this_smtpd_knows_gets_in(lab):
    """A synonym of old that the role's list of names leaves out: to the role it is as new as one that a later Postfix brings."""
    applied(lab, **restrict(rule("reject_unknown_recipient_domain"), {"name": "old", "value": "check_recipient_maps"}))
    assert "check_recipient_maps" in lab.sh("postconf", "-h", "smtpd_recipient_restrictions").stdout


def test_check_mode_refuses_it_too(lab):
    with lab.unchanged():
        assert play(lab, "--check", **restrict(rule("permi"))).returncode != 0


def test_a_set_that_fails_after_the_swap_gives_way_to_the_previous_one(lab):
    """Only master finds out that an address is not this host's, and it dies of it."""
    before = lab.fingerprint()
    result = play(
        lab,
        postfix_master_cf=[
            {"name": "192.0.2.77:2525", "type": "inet", "private": "n", "chroot": "n", "command": "smtpd"}
        ],
    )
    assert result.returncode != 0
    assert "previous_set: answers" in message(result)
    assert "192.0.2.77" in message(result)
    assert lab.fingerprint() == before
    assert answers(lab).startswith("220 ")


def test_a_policy_service_that_is_dumb_after_the_swap_gives_way_too(lab):
    """master(8) makes its socket with the set that names it; only a client with a dynamic-looking name is sent there."""
    before = lab.fingerprint()
    dumb = {"name": "dumb", "type": "unix", "unpriv": "n", "chroot": "n", "maxproc": 0, "command": "spawn"}
    dumb["args"] = ["user=nobody", "argv=/usr/bin/false"]
    result = play(lab, postfix_master_cf=[dumb], **sent_on("dynamic", "/^dhcp/", "unix:private/dumb"))
    assert result.returncode != 0
    for word in ("RCPT (dhcp-192-0-2-254.stranger.home.example)", "451 4.3.5", "private/dumb", "previous_set: answers"):
        assert word in message(result)
    assert lab.fingerprint() == before


def test_a_good_change_gets_in_and_out_without_a_restart(lab):
    applied(lab)
    before = lab.processes()
    result = applied(lab, "-v", **parameter("smtpd_banner", "$myhostname ESMTP tried"))
    assert changed_lines(result)
    assert "tried" in answers(lab)
    assert lab.processes() == before
    applied(lab)
    assert "tried" not in answers(lab)
    assert lab.processes() == before


def test_a_table_is_built_used_and_removed(lab):
    table = {
        "name": "senders",
        "entries": [{"pattern": "spam.example", "action": "REJECT seen before", "reason": "a test"}],
    }
    applied(
        lab,
        postfix_tables=[table],
        **restrict(rule("check_sender_access $default_database_type:$config_directory/tables/senders")),
    )
    kind = lab.sh("postconf", "-h", "default_database_type").stdout.strip()
    assert (
        lab.sh("postmap", "-q", "spam.example", f"{kind}:{CONFIG}/tables/senders").stdout.strip()
        == "REJECT seen before"
    )


# what is broken, and the id of what is found
BROKEN = {
    f"rm {CONFIG}/tables/aliases.db": "database of aliases",
    f"touch -t 202601010000 {CONFIG}/tables/old.db": "database of old",
    f"echo 'a REJECT' > /tmp/x && postmap hash:/tmp/x && mv /tmp/x.db {CONFIG}/tables/other.db && rm /tmp/x": "database of other",
    "postfix stop": "service postfix",
}
# the same of files: their diff
CHANGED = {
    f"touch {CONFIG}/tables/stray": "tables/stray",
    f"echo soft_bounce=yes >> {CONFIG}/main.cf": "main.cf",
    "echo 'sendmail /usr/libexec/dma' > /usr/local/etc/mail/mailer.conf": "/usr/local/etc/mail/mailer.conf",
    "sysrc postfix_enable=NO": "rc.conf",
}


def test_what_went_wrong_shows_in_check_mode_and_heals(lab):
    tables = [
        {"name": name, "type": "hash", "entries": [{"pattern": "a", "action": "OK"}]} for name in ("old", "other")
    ]
    applied(lab, postfix_tables=tables)
    for command in (*BROKEN, *CHANGED):
        lab.sh("sh", "-c", command)
    broken = lab.fingerprint()
    check = applied(lab, "--check", "-v", "--diff", postfix_tables=tables)
    assert lab.fingerprint() == broken
    healed = applied(lab, "-v", "--diff", postfix_tables=tables)
    for result in (check, healed):
        assert set(findings(result)) == set(BROKEN.values())
        for name in CHANGED.values():
            assert f"--- before: {name}\n" in result.stdout
    assert answers(lab).startswith("220 ")
    assert not changed_lines(applied(lab, postfix_tables=tables))
    applied(lab)
    assert lab.sh("ls", f"{CONFIG}/tables").stdout.split() == ["aliases", "aliases.db"]


@pytest.mark.parametrize(
    "case",
    some(
        [
            ("setgid_group = nosuch", "parameter setgid_group: unknown group name: nosuch"),
            ("mail_owner = nosuch", "parameter mail_owner: unknown user name value: nosuch"),
        ],
        lambda row: row[0].startswith("setgid"),
        "the same of a user: in make test-full",
    ),
)
def test_a_main_cf_in_force_that_ends_postconf_is_said_in_postfixs_words(lab, case):
    """Paths and users are those of the main.cf in force, so the set that is staged from it ends postconf, too."""
    line, words = case
    name = line.partition(" =")[0]
    lab.sh(
        "sh",
        "-c",
        f"cp -p {CONFIG}/main.cf /tmp/kept && sed -i.bak '/^{name} =/d' {CONFIG}/main.cf && echo '{line}' >> {CONFIG}/main.cf",
    )
    before = lab.fingerprint()
    try:
        for result in (play(lab, "--check"), play(lab)):
            assert result.returncode != 0 and words in message(result) and "no tables of type" not in message(result)
        assert lab.fingerprint() == before
    finally:
        lab.sh("sh", "-c", f"cp -p /tmp/kept {CONFIG}/main.cf; rm -f /tmp/kept {CONFIG}/main.cf.bak")


def test_a_main_cf_that_postfix_cannot_read_is_said_in_its_words(lab):
    """It may name a queue with mail in it, so it is not replaced by what was compiled in."""
    lab.sh("sh", "-c", f"cp -p {CONFIG}/main.cf /tmp/kept && echo broken line >> {CONFIG}/main.cf")
    before = lab.fingerprint()
    try:
        for result in (play(lab, "--check"), play(lab)):
            assert result.returncode != 0
            assert 'after attribute name: "broken line"' in message(result)
        assert lab.fingerprint() == before
    finally:
        lab.sh("mv", "/tmp/kept", f"{CONFIG}/main.cf")


def master(lab):
    return next(pid for pid, command in lab.processes().items() if command == "master")


def test_a_master_loaded_before_its_files_were_written_is_reloaded(lab):
    """Killed after the swap and before the reload: the files are right, what runs is old."""
    time.sleep(4)  # seconds are the resolution of ps
    lab.sh("touch", f"{CONFIG}/main.cf")
    before = master(lab)
    assert set(findings(applied(lab, "-v"))) == {"process master: configuration"}
    assert master(lab) == before


def test_a_master_with_too_few_descriptors_is_restarted(lab):
    before = master(lab)
    lab.sh(
        "/usr/local/bin/python3",
        "-c",
        f"import resource; resource.prlimit({before}, resource.RLIMIT_NOFILE, (1000, 1000))",
    )
    found = findings(applied(lab, "-v"))
    assert set(found) == {"process master: openfiles"} and found["process master: openfiles"]["found"] == "1000"
    assert master(lab) != before


# The state a killed run leaves: the new files in place, the last proven set in .previous.
KEPT = f"mkdir {CONFIG}/.previous && cp -Rp {CONFIG}/main.cf {CONFIG}/master.cf {CONFIG}/tables {CONFIG}/.previous/"


def test_killed_between_swap_and_proof_the_next_run_proves(lab):
    lab.sh(
        "sh",
        "-c",
        f"{KEPT} && mkdir -p {CONFIG}/.stage-left/set && sed -i.bak 's/^default_process_limit.*/default_process_limit = 77/' "
        f"{CONFIG}/.previous/main.cf && rm {CONFIG}/.previous/main.cf.bak",
    )
    before = master(lab)
    found = findings(applied(lab, "-v"))
    # what master still runs with is the set before the swap: its limit needs a restart
    assert set(found) == {"proof of the set", "process master: default_process_limit"}
    assert found["process master: default_process_limit"]["found"] == "77"
    assert master(lab) != before
    assert {name for name in lab.sh("ls", "-A", CONFIG).stdout.split() if name.startswith(".")} == {".last"}


def test_killed_between_swap_and_proof_a_bad_set_still_gives_way(lab):
    """The bad set came in, the run was killed before its proof; the proof fails in the next run, which returns."""
    before = lab.fingerprint()
    lab.sh("sh", "-c", f"{KEPT} && printf '192.0.2.77:2525 inet n - n - - smtpd\n' >> {CONFIG}/master.cf")
    result = play(
        lab,
        postfix_master_cf=[
            {"name": "192.0.2.77:2525", "type": "inet", "private": "n", "chroot": "n", "command": "smtpd"}
        ],
    )
    assert result.returncode != 0
    assert "previous_set: answers" in message(result)
    assert lab.fingerprint() == before
    result = applied(lab)
    assert not changed_lines(result)
    # and costs few commands
    assert 0 < result.summary["remote_commands"] <= 8, json.dumps(result.summary["remote_commands_by_task"])


def test_profile_current_is_another_set_and_a_process_limit_needs_a_restart(lab):
    before = master(lab)
    applied(lab, postfix_profile="current", postfix_rates_per_minute={"connection": 30}, postfix_process_limit=300)
    assert master(lab) != before
    said = lab.sh(
        "postconf",
        "anvil_rate_time_unit",
        "smtpd_client_connection_rate_limit",
        "in_flow_delay",
        "default_process_limit",
    ).stdout.split("\n")
    assert said[:4] == [
        "anvil_rate_time_unit = 60s",
        "smtpd_client_connection_rate_limit = 30",
        "in_flow_delay = 0s",
        "default_process_limit = 300",
    ]
    applied(lab, postfix_rates_per_minute={"message": 600})
    # the article's unit is one second
    assert lab.sh("postconf", "-h", "smtpd_client_message_rate_limit", "anvil_rate_time_unit").stdout.split() == [
        "10",
        "1s",
    ]


def test_prediction_of_the_port_is_what_the_host_says(lab):
    """vars/main.yml's paths, used in check mode on a bare host, against the installed Postfix."""
    predicted = yaml.safe_load((ROOT / "roles/postfix/vars/main.yml").read_text())["__postfix_port"]
    said = lab.sh(
        "postconf", "-hx", *[name for name in predicted if name != "default_database_type"]
    ).stdout.splitlines()
    assert said == [value for name, value in predicted.items() if name != "default_database_type"]
    assert lab.sh("postconf", "-d", "-h", "default_database_type").stdout.strip() == predicted["default_database_type"]


def test_boot_mailer_and_periodic_keys(lab):
    for key, value in (("postfix_enable", "YES"), ("sendmail_enable", "NONE")):
        assert lab.sh("sysrc", "-n", key).stdout.strip() == value
    for key in (
        "daily_clean_hoststat_enable",
        "daily_status_mail_rejects_enable",
        "daily_status_include_submit_mailq",
        "daily_submit_queuerun",
    ):
        assert lab.sh("sysrc", "-f", "/etc/periodic.conf", "-n", key).stdout.strip() == "NO"


def test_the_articles_auth_on_port_25_by_a_named_item_and_after_tls_only(lab):
    code = """
import smtplib, ssl
s = smtplib.SMTP('192.0.2.10', 25, 'operator.home.example', timeout=30)
s.ehlo(); print('auth' in s.esmtp_features)
s.starttls(context=ssl._create_unverified_context()); s.ehlo(); print(s.esmtp_features.get('auth', ''))
"""
    assert lab.sh("python3", "-c", code, host="operator").stdout.split() == ["False"]
    applied(lab, postfix_master_cf=[{"name": "smtp", "type": "inet", "options": {"smtpd_sasl_auth_enable": True}}])
    said = lab.sh("python3", "-c", code, host="operator").stdout.split()
    assert said[0] == "False"
    assert "PLAIN" in said
    applied(lab)
    assert lab.sh("python3", "-c", code, host="operator").stdout.split() == ["False"]
