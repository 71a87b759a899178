"""The pure parts of roles/postfix/library/postfix_config.py: what Postfix's own checkers miss."""

import shutil
import subprocess
import time

import pytest
from role_modules import load

module = load("roles/postfix/library/postfix_config.py")


@pytest.mark.parametrize(
    "value, parts",
    [
        ("a, b  c\td", ["a", "b", "c", "d"]),
        ("", []),
        ("check_policy_service { inet:h:1, timeout=5s } b", ["check_policy_service", "{ inet:h:1, timeout=5s }", "b"]),
        ("a,,b", ["a", "b"]),
        ("inline:{ {a = b}, {c = d} } e", ["inline:{ {a = b}, {c = d} }", "e"]),
    ],
)
def test_words_are_split_as_postfix_does(value, parts):
    assert module.words(value) == parts


def test_services_of_postconf():
    services = module.parse_services(
        "smtp inet n - n - - smtpd\n"
        "587 inet n - n - 50 smtpd -o syslog_name=postfix/submission -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject } -o x=\n"
        "policy unix - n n - 0 spawn user=nobody argv=/x\n"
    )
    assert [(s["name"], s["type"], s["command"]) for s in services] == [
        ("smtp", "inet", "smtpd"),
        ("587", "inet", "smtpd"),
        ("policy", "unix", "spawn"),
    ]
    assert services[1]["options"] == {
        "syslog_name": "postfix/submission",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "x": "",
    }
    assert services[1]["maxproc"] == "50"
    assert services[2]["args"] == ["user=nobody", "argv=/x"]


def test_overrides_of_postconf():
    assert module.parse_overrides("587/inet/smtpd_relay_restrictions = reject\nrelay/unix/syslog_name = a=b\n") == [
        ("587/inet", "smtpd_relay_restrictions", "reject"),
        ("relay/unix", "syslog_name", "a=b"),
    ]


DEFAULTS = {
    "broken_sasl_auth_clients": "no",
    "soft_bounce": "no",
    "queue_run_delay": "300s",
    "default_process_limit": "100",
    "html_directory": "no",
    "compatibility_level": "0",
    "smtpd_banner": "$myhostname ESMTP",
    "smtp_pix_workaround_delay_time": "10s",
}


@pytest.mark.parametrize(
    "name, value",
    [
        ("broken_sasl_auth_clients", "ye"),
        ("soft_bounce", ""),
        ("soft_bounce", "true"),
        ("queue_run_delay", "60x"),
        ("queue_run_delay", "soon"),
        ("default_process_limit", "notanumber"),
        ("default_process_limit", ""),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(name, value):
    found = module.kind_problems({name: value}, DEFAULTS, [])
    assert len(found) == 1
    assert name in found[0]


@pytest.mark.parametrize(
    "name, value",
    [
        ("broken_sasl_auth_clients", "yes"),
        ("soft_bounce", "YES"),
        ("queue_run_delay", "60"),
        ("queue_run_delay", "5m"),
        ("default_process_limit", "500"),
        ("html_directory", "/x"),
        ("compatibility_level", "3.6"),
        ("smtpd_banner", "hello"),
        ("soft_bounce", "$other"),
        ("mine_alone", "ye"),
    ],
)
def test_a_value_of_its_kind_passes(name, value):
    assert module.kind_problems({name: value}, DEFAULTS, []) == []


def test_options_of_services_are_looked_at_too():
    assert module.kind_problems({}, DEFAULTS, [("587/inet", "soft_bounce", "ye")]) == [
        "587/inet: soft_bounce = ye: it is yes or no"
    ]


@pytest.mark.parametrize(
    "value",
    [
        "permit_mynetworks, reject_unauth_destination",
        "check_sender_access hash:/x, reject",
        "hash:/x",
        "my_class",
        "sleep 15",
        "check_policy_service unix:private/policy",
        "check_policy_service { inet:127.0.0.1:10027, timeout=10s }",
        "warn_if_reject reject_rbl_client zen.example.org=127.0.0.[2..11]",
        "REJECT_UNAUTH_DESTINATION",
        "",
    ],
)
def test_restrictions_that_smtpd_understands(value):
    assert module.restriction_problems("main.cf", "smtpd_recipient_restrictions", value, ["my_class"]) == []


@pytest.mark.parametrize(
    "value, word",
    [
        ("permi", "permi"),
        ("reject_non_fqdn_sende", "reject_non_fqdn_sende"),
        ("check_client_n", "check_client_n"),
        ("check_sender_access hash /x", "type:table"),
        ("check_sender_access", "nothing"),
        ("check_policy_service unix private/policy", "unix:path"),
        ("sleep soon", "soon"),
        ("sleep", "nothing"),
        ("reject_rbl_client", "domain"),
        ("hash /x", "hash"),
        ("MY_CLASS", "MY_CLASS"),
    ],
)
def test_restrictions_that_smtpd_answers_with_451(value, word):
    found = module.restriction_problems("main.cf", "smtpd_recipient_restrictions", value, ["my_class"])
    assert found
    assert word in found[0]
    assert found[0].startswith("main.cf: smtpd_recipient_restrictions: ")


def test_removed_names_depend_on_the_release():
    arguments = ("main.cf", "smtpd_client_restrictions", "reject_maps_rbl", [])
    assert module.restriction_problems(*arguments, version=(3, 7)) == []
    assert "3.9" in module.restriction_problems(*arguments, version=(3, 10))[0]


def test_no_shorthand_at_data():
    assert module.restriction_problems("main.cf", "smtpd_data_restrictions", "hash:/x", [])
    assert not module.restriction_problems("main.cf", "smtpd_sender_restrictions", "hash:/x", [])


@pytest.mark.parametrize(
    "value, sockets",
    [
        ("permit, check_policy_service unix:private/policy", ["private/policy"]),
        ("private/auth", ["private/auth"]),
        ("lmtp:unix:private/dovecot-lmtp", ["private/dovecot-lmtp"]),
        ("{ unix:private/a, timeout=1 } unix:private/b", ["private/a", "private/b"]),
        ("unix:public/milter", ["public/milter"]),
        ("/etc/private/key.pem", []),
        ("", []),
    ],
)
def test_sockets_are_found(value, sockets):
    assert module.private_sockets(value) == sockets


@pytest.mark.parametrize(
    "value, tables",
    [
        ("hash:/a, cidr:/b", ["hash:/a", "cidr:/b"]),
        ("proxy:hash:/a", ["hash:/a"]),
        ("proxy:unix:passwd.byname hash:/a", ["hash:/a"]),
        ("check_sender_access hash:/a", ["hash:/a"]),
        ("check_policy_service inet:127.0.0.1:10027", []),
        ("smtp:[relay.example]:25", []),
        ("check_client_access { hash:/a, default_action=4xx }", ["hash:/a"]),
        ("!hash:/a", ["hash:/a"]),
        ("hsh:/a", []),
    ],
)
def test_tables_are_found(value, tables):
    assert module.table_names(value, module.KNOWN_TYPES) == tables


@pytest.mark.parametrize(
    "reply",
    ["451 4.3.5 Server configuration error", "451 4.3.0 Temporary lookup failure", "421 4.3.0 bye", "451-4.3.5 x"],
)
def test_replies_of_a_broken_configuration(reply):
    assert module.bad_reply(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "250 2.1.5 Ok",
        "450 4.2.0 Greylisted",
        "451 4.7.1 try later",
        "550 5.1.1 no",
        "554 5.7.1 Relay access denied",
        "530 5.7.0 STARTTLS first",
    ],
)
def test_replies_of_policy(reply):
    assert module.bad_reply(reply) is None


def test_processes_of_ps_without_the_dead():
    found = module.parse_processes(
        "  100     1 Ss   Tue Nov 24 23:47:05 2026 /usr/local/libexec/postfix/master\n"
        "  101   100 S    Wed Nov  4 09:00:00 2026 qmgr\n"
        "  102   100 Z    Tue Nov 24 23:47:05 2026 pickup\n"
    )
    assert {pid: (ppid, command) for pid, (ppid, started, command) in found.items()} == {
        100: (1, "master"),
        101: (100, "qmgr"),
    }
    assert found[101][1] == time.mktime((2026, 11, 4, 9, 0, 0, 0, 0, -1))


def test_this_machines_ps_is_read():
    out = subprocess.run(
        ["ps", "-ax", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "lstart=", "-o", "comm="],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
    lines = [line for line in out.splitlines() if line.split()[2][:1] != "Z"]
    assert len(module.parse_processes(out)) == len(lines) > 0


def test_a_database_says_what_its_text_says():
    text = "# why\nA@example.org REJECT  no  more\nb OK\n"
    assert module.same_entries(text, "b\tOK\na@example.org\tREJECT no more\n", False)
    assert not module.same_entries(text, "b\tOK\n", False)
    assert not module.same_entries(text, "b\tOK\na@example.org\tREJECT no more\nc\tOK\n", False)
    assert not module.same_entries(text, "b\tDUNNO\na@example.org\tREJECT no more\n", False)


def test_a_database_of_aliases_has_a_key_of_its_own():
    assert module.same_entries("root: me@example.org\n", "@\t@\nroot\tme@example.org\n", True)
    assert not module.same_entries("root: me@example.org\n", "root\tyou@example.org\n", True)


def values(**changes):
    return {"inet_interfaces": "all", "default_process_limit": "100", **changes}


def service(name, maxproc="-", kind="inet"):
    return {"name": name, "type": kind, "maxproc": maxproc}


@pytest.mark.parametrize(
    "before, after, why",
    [
        ((values(), [service("smtp")]), (values(soft_bounce="yes"), [service("smtp")]), None),
        ((values(), [service("smtp")]), (values(), [service("smtp"), service("587")]), None),
        ((values(), [service("smtp"), service("587")]), (values(), [service("smtp")]), None),
        ((values(), []), (values(inet_interfaces="127.0.0.1"), []), "inet_interfaces"),
        ((values(), []), (values(default_process_limit="500"), []), "default_process_limit"),
        ((values(), [service("587", "50")]), (values(), [service("587", "100")]), "maxproc of 587"),
        ((values(), [service("a", "1", "unix")]), (values(), [service("a", "2", "unix")]), None),
    ],
)
def test_what_needs_a_restart(before, after, why):
    found = module.must_restart(before, after)
    assert (why in found) if why else found is None


def test_mailer_conf_names_every_program_that_postfix_has():
    lines = [
        line.split() for line in module.mailer_text("/usr/local/sbin/sendmail").splitlines() if not line.startswith("#")
    ]
    assert {line[0] for line in lines} == {"sendmail", "send-mail", "mailq", "newaliases"}
    assert {line[1] for line in lines} == {"/usr/local/sbin/sendmail"}


# --- the certificate, with this machine's openssl


class Module:
    """As much of AnsibleModule as postfix_certificate needs."""

    def __init__(self, **params):
        self.params = {"days": 825, "renew_days": 30, **params}

    def run_command(self, command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def fail_json(self, **result):
        raise AssertionError(result)


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_a_certificate_is_made_kept_and_renewed(tmp_path):
    certificate = load("roles/postfix/library/postfix_certificate.py")
    openssl = shutil.which("openssl")
    where = {
        "certificate": str(tmp_path / "tls/a.crt"),
        "key": str(tmp_path / "tls/a.key"),
        "hostname": "mx.home.example",
    }
    assert "missing" in certificate.why(Module(**where), openssl)
    certificate.make(Module(**where), openssl)
    assert certificate.why(Module(**where), openssl) == ""
    assert (tmp_path / "tls/a.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls/a.crt").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["a.crt", "a.key"]
    assert "not for" in certificate.why(Module(**{**where, "hostname": "mail.home.example"}), openssl)
    assert "ends" in certificate.why(Module(**where, renew_days=900), openssl)
    other = {**where, "key": str(tmp_path / "tls/b.key"), "certificate": str(tmp_path / "tls/b.crt")}
    certificate.make(Module(**other), openssl)
    assert "belong" in certificate.why(Module(**{**where, "key": other["key"]}), openssl)


@pytest.mark.parametrize(
    "wanted, verb",
    [
        (["reload", "restart"], "restart"),
        (["restart", "reload"], "restart"),
        (["start", "reload"], "start"),
        (["reload"], "reload"),
        ([], None),
    ],
)
def test_the_strongest_way_to_bring_master_to_it_wins(wanted, verb):
    plan = object.__new__(module.Plan)
    plan.verb, plan.reasons = None, []
    for one in wanted:
        plan.want(one, "why")
    assert plan.verb == verb
    assert plan.reasons == ["why"] * len(wanted)
