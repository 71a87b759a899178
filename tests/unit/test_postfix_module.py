"""Role postfix: what Postfix prints, what its own checkers miss, and what follows from what differs."""

import shutil
import types

import pytest
from role_modules import util

files, judge, plan, proof, smtp, text = (
    util("postfix_" + name) for name in ("files", "judge", "plan", "proof", "smtp", "text")
)
process = util("sokuhai.process")


def tables(value):
    return text.tables(value, proof.KNOWN_TYPES)


@pytest.mark.parametrize(
    "parse, value, found",
    [
        (text.words, "a, b  c\td", ["a", "b", "c", "d"]),
        (text.words, "", []),
        (
            text.words,
            "check_policy_service { inet:h:1, timeout=5s } b",
            ["check_policy_service", "{ inet:h:1, timeout=5s }", "b"],
        ),
        (text.words, "a,,b", ["a", "b"]),
        (text.words, "inline:{ {a = b}, {c = d} } e", ["inline:{ {a = b}, {c = d} }", "e"]),
        (
            text.overrides,
            "587/inet/smtpd_relay_restrictions = reject\nrelay/unix/syslog_name = a=b\n",
            [("587/inet", "smtpd_relay_restrictions", "reject"), ("relay/unix", "syslog_name", "a=b")],
        ),
        (text.sockets, "permit, check_policy_service unix:private/policy", ["private/policy"]),
        (text.sockets, "private/auth", ["private/auth"]),
        (text.sockets, "lmtp:unix:private/dovecot-lmtp", ["private/dovecot-lmtp"]),
        (text.sockets, "{ unix:private/a, timeout=1 } unix:private/b", ["private/a", "private/b"]),
        (text.sockets, "unix:public/milter", ["public/milter"]),
        (text.sockets, "/etc/private/key.pem", []),
        (text.sockets, "", []),
        (tables, "hash:/a, cidr:/b", ["hash:/a", "cidr:/b"]),
        (tables, "proxy:hash:/a", ["hash:/a"]),
        (tables, "proxy:unix:passwd.byname hash:/a", ["hash:/a"]),
        (tables, "check_sender_access hash:/a", ["hash:/a"]),
        (tables, "check_policy_service inet:127.0.0.1:10027", []),
        (tables, "smtp:[relay.example]:25", []),
        (tables, "check_client_access { hash:/a, default_action=4xx }", ["hash:/a"]),
        (tables, "!hash:/a", ["hash:/a"]),
        (tables, "hsh:/a", []),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_postfix_writes_is_read_as_postfix_reads_it(parse, value, found):
    assert parse(value) == found


def test_services_of_postconf():
    smtpd, submission, policy = text.services(
        "smtp inet n - n - - smtpd\n"
        "587 inet n - n - 50 smtpd -o syslog_name=postfix/submission -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject } -o x=\n"
        "policy unix - n n - 0 spawn user=nobody argv=/x\n"
    )
    assert (smtpd["name"], smtpd["type"], smtpd["command"]) == ("smtp", "inet", "smtpd")
    assert (submission["name"], submission["type"], submission["maxproc"]) == ("587", "inet", "50")
    assert submission["options"] == {
        "syslog_name": "postfix/submission",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "x": "",
    }
    assert (policy["type"], policy["command"], policy["args"]) == ("unix", "spawn", ["user=nobody", "argv=/x"])


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
    "place, name, value",
    [
        ("main.cf", "broken_sasl_auth_clients", "ye"),
        ("main.cf", "soft_bounce", ""),
        ("main.cf", "soft_bounce", "true"),
        ("main.cf", "queue_run_delay", "60x"),
        ("main.cf", "queue_run_delay", "soon"),
        ("main.cf", "default_process_limit", "notanumber"),
        ("main.cf", "default_process_limit", ""),
        # an option of a service
        ("587/inet", "soft_bounce", "ye"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(place, name, value):
    (found,) = judge.kinds([(place, name, value)], DEFAULTS)
    assert found.startswith(f"{place}: {name} = {value or '(empty)'}: ")


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
    assert judge.kinds([("main.cf", name, value)], DEFAULTS) == []


LABEL = "main.cf: smtpd_recipient_restrictions"


def restrictions(value, name="smtpd_recipient_restrictions", version=(3, 11)):
    """(problems, unknown words) of a list of restrictions."""
    return judge.restrictions(("main.cf", name, value), ["my_class"], version)


@pytest.mark.parametrize(
    "value",
    [
        "check_sender_access hash /x",
        "check_sender_access",
        "check_policy_service unix private/policy",
        "sleep soon",
        "sleep",
        "reject_rbl_client",
    ],
)
def test_restrictions_without_their_argument(value):
    ((problem,), _unknown) = restrictions(value)
    assert problem.startswith(f"{LABEL}: {value.split()[0]} ")


@pytest.mark.parametrize(
    "value, unknown",
    [
        # what smtpd of every release understands
        ("permit_mynetworks, reject_unauth_destination", []),
        ("check_sender_access hash:/x, reject", []),
        ("hash:/x", []),
        ("my_class", []),
        ("sleep 15", []),
        ("check_policy_service unix:private/policy", []),
        ("check_policy_service { inet:127.0.0.1:10027, timeout=10s }", []),
        ("warn_if_reject reject_rbl_client zen.example.org=127.0.0.[2..11]", []),
        ("REJECT_UNAUTH_DESTINATION", []),
        ("", []),
        # and what only this smtpd itself can judge
        ("permi", [("permi", "")]),
        ("permi, reject", [("permi", "reject")]),
        ("check_client_n", [("check_client_n", "")]),
        ("MY_CLASS", [("MY_CLASS", "")]),
        (
            "permit_what_may_come one.example reject",
            [("permit_what_may_come", "one.example"), ("one.example", "reject")],
        ),
    ],
)
def test_words_that_only_smtpd_itself_can_judge(value, unknown):
    assert restrictions(value) == ([], [(LABEL, *words) for words in unknown])


@pytest.mark.parametrize(
    "value, more, problems",
    [
        # a name that a release removed
        ("reject_maps_rbl", {"version": (3, 8)}, 0),
        ("reject_maps_rbl", {"version": (3, 10)}, 1),
        # no shorthand at DATA
        ("hash:/x", {"name": "smtpd_sender_restrictions"}, 0),
        ("hash:/x", {"name": "smtpd_data_restrictions"}, 1),
    ],
)
def test_some_words_depend_on_release_and_list(value, more, problems):
    assert len(restrictions(value, **more)[0]) == problems


@pytest.mark.parametrize(
    "code, words, broken",
    [
        (451, "4.3.5 Server configuration error", True),
        (451, "4.3.0 Temporary", True),
        (421, "4.3.0 bye", True),
        (250, "2.1.5 Ok", False),
        (450, "4.2.0 Greylisted", False),
        (451, "4.7.1 try later", False),
        (550, "5.1.1 no", False),
        (554, "5.7.1 Relay access denied", False),
        (530, "5.7.0 STARTTLS first", False),
    ],
)
def test_a_reply_is_one_of_policy_or_of_a_broken_configuration(code, words, broken):
    assert bool(smtp.fault(code, words)) is broken


@pytest.mark.parametrize(
    "dump, same",
    [
        ("b\tOK\na@example.org\tREJECT no more\n", True),
        ("b\tOK\n", False),
        ("b\tOK\na@example.org\tREJECT no more\nc\tOK\n", False),
        ("b\tDUNNO\na@example.org\tREJECT no more\n", False),
    ],
)
def test_a_database_holds_what_its_text_does(dump, same):
    written = "# why\nA@example.org REJECT  no  more\nb OK\nb DUNNO\n"
    assert (text.entries(written, False) == text.dumped(dump, False)) == same


def test_a_database_of_aliases_has_keys_of_its_own():
    wanted = text.entries("root: me@example.org\n", True)
    assert text.dumped("@:\t@\nYP_MASTER_NAME:\tmx\nroot:\tme@example.org\n", True) == wanted
    assert text.dumped("@\t@\nroot\tyou@example.org\n", True) != wanted


# ---- what is to be done


def configuration(services=(), **values):
    values = {"inet_interfaces": "all", "default_process_limit": "100", **values}
    services = [{"name": name, "type": kind, "maxproc": maxproc} for name, kind, maxproc in services]
    return types.SimpleNamespace(values=values, services=services)


@pytest.mark.parametrize(
    "before, after, found",
    [
        (configuration(), configuration(soft_bounce="yes"), []),
        (configuration(), configuration([("587", "inet", "-")]), []),
        (configuration([("587", "inet", "-")]), configuration(), []),
        (configuration([("a", "unix", "1")]), configuration([("a", "unix", "2")]), []),
        (
            configuration(),
            configuration(default_process_limit="500"),
            [("process master: default_process_limit", "500", "100", ["main.cf: default_process_limit"])],
        ),
        (
            configuration([("587", "inet", "50")]),
            configuration([("587", "inet", "100")], inet_interfaces="127.0.0.1"),
            [
                ("process master: inet_interfaces", "127.0.0.1", "all", ["main.cf: inet_interfaces"]),
                ("process master: maxproc of 587/inet", "100", "50", ["master.cf: 587/inet"]),
            ],
        ),
    ],
)
def test_what_master_reads_at_its_start_follows_from_the_parameter(before, after, found):
    findings = plan.read_at_start(before, after)
    assert [(one["id"], one["expected"], one["found"], one["because"]) for one in findings] == found


MASTER = process.Process(1, 1, 0, "master", "master", since=(100, 102))
RUNNING = types.SimpleNamespace(pid=1, own=MASTER, loaded=MASTER)
DECLARED = {"openfiles": 1000, "certificate": "/nowhere", "key": "/nowhere"}


def planned(tmp_path, running=RUNNING, openfiles=None, differences=(), stale=(), loaded=(), loose=()):
    postfix = types.SimpleNamespace(
        running=lambda: running, openfiles=lambda _pid: openfiles, paths={"daemon_directory": str(tmp_path)}
    )
    declared = types.SimpleNamespace(
        differences=lambda: {name: ("old", "new") for name in differences},
        stale=lambda: dict(stale),
        loose=lambda: dict(loose),
        shown=util("sokuhai.host").difference,
        previous=str(tmp_path / ".previous"),
        read_at_load=lambda: list(loaded),
    )
    made = plan.Plan(postfix, declared, DECLARED)
    return made, {one["id"]: one for one in made.findings}


def test_a_host_as_declared_needs_nothing(tmp_path):
    made, found = planned(tmp_path)
    assert (made.verb, made.new_set, found, made.diff()) == ("", False, {}, [])


def test_a_stopped_master_is_started_and_nothing_less(tmp_path):
    made, found = planned(tmp_path, running=None, differences=["main.cf"])
    assert (made.verb, set(found), made.new_set) == ("start", {"service postfix"}, True)
    made.want("reload")
    assert made.verb == "start"


def test_a_master_that_is_older_than_its_program_is_restarted(tmp_path):
    (tmp_path / "master").touch()
    made, found = planned(tmp_path)
    assert made.verb == "restart" and set(found) == {"process postfix: program"} and not made.new_set


def test_too_few_descriptors_need_a_restart_even_where_a_reload_would_do_otherwise(tmp_path):
    (tmp_path / "main.cf").touch()
    made, found = planned(tmp_path, openfiles=5, loaded=[str(tmp_path / "main.cf")])
    few = found["process master: openfiles"]
    assert (made.verb, few["expected"], few["found"]) == ("restart", "1000", "5")
    assert planned(tmp_path, openfiles=1000)[0].verb == ""


def test_a_master_older_than_its_files_is_a_consequence_of_what_differs_in_them(tmp_path):
    (tmp_path / "main.cf").touch()
    made, found = planned(tmp_path, differences=["tables/x", "main.cf"], loaded=[str(tmp_path / "main.cf")])
    assert found["process master: configuration"]["because"] == ["main.cf", "tables/x", "certificate"]
    assert [entry["after_header"] for entry in made.diff()] == ["main.cf", "tables/x"]


def test_a_killed_run_and_a_stale_database_need_a_new_set(tmp_path):
    made, found = planned(tmp_path, stale={"aliases": "missing"})
    assert made.new_set and found["database of aliases"]["found"] == "missing"
    (tmp_path / ".previous").mkdir()
    made, found = planned(tmp_path)
    assert made.new_set and set(found) == {"proof of the set"}


# ---- files, with a Postfix that only knows where it is


@pytest.fixture
def declared(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "dynamicmaps.cf").write_text("port's\n")
    postfix = types.SimpleNamespace(config=str(tmp_path))
    tables = [{"name": "senders", "type": "cidr", "text": "::/0 OK\n", "aliases": False}]
    main_cf = "a = cidr:%s/tables/senders\n" % tmp_path
    return files.Files(postfix, main_cf, "smtp inet n - n - - smtpd\n", tables)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_set_is_staged_swapped_and_given_back(declared, tmp_path):
    (tmp_path / "main.cf").write_text("# Written whole by sokuhai's role postfix;\nformer = 1\n")
    (tmp_path / "main.cf").chmod(0o640)
    (tmp_path / "tables" / "by_hand").write_text("x\n")
    before = tree(tmp_path)
    assert set(declared.differences()) == {"main.cf", "master.cf", "tables/senders", "tables/by_hand"}
    stage = tmp_path / ".stage-1" / "set"
    declared.stage(str(stage))
    # the staged set names the staged table, and what the port left there
    assert (stage / "main.cf").read_text() == "a = cidr:%s/tables/senders\n" % stage
    assert (stage / "dynamicmaps.cf").read_text() == "port's\n"
    declared.keep()
    declared.swap(str(stage))
    shutil.rmtree(stage.parent)
    assert declared.differences() == {}
    assert declared.undeclared() == []
    declared.restore()
    assert tree(tmp_path) == before
    assert (tmp_path / "main.cf").stat().st_mode & 0o777 == 0o640


def test_the_last_set_that_worked_is_kept_in_one_place(declared, tmp_path):
    for text in ("first\n", "second\n"):
        (tmp_path / "main.cf").write_text(text)
        declared.keep()
        declared.proved()
        assert (tmp_path / ".last" / "main.cf").read_text() == text and not (tmp_path / ".previous").exists()
        assert (tmp_path / ".last").stat().st_mode & 0o777 == 0o700


def test_a_password_in_somebody_elses_main_cf_is_in_no_diff(declared):
    own = "relayhost = x\nsmtp_sasl_password_maps =\n static:me:hidden\nsmtp_tls_security_level = may\n"
    shown = declared.shown("main.cf", own, "new\n")["before"]
    assert "hidden" not in shown and "relayhost = x" in shown and "smtp_tls_security_level = may" in shown


def test_what_is_built_of_a_declared_table_is_declared(declared, tmp_path):
    declared.tables[0]["type"] = "lmdb"
    for name in ("senders", "senders.lmdb", "senders.lmdb-lock", "senders.db"):
        (tmp_path / "tables" / name).touch()
    assert declared.undeclared() == ["senders.db"]


def test_a_secret_table_is_readable_by_root_alone_and_shown_to_nobody(declared, tmp_path):
    table = {"name": "sasl_passwd", "type": "lmdb", "text": "[relay] u:new\n", "aliases": False}
    secret = files.Files(declared.postfix, "", "", [{**table, "secret": True}, *declared.tables])
    text, database = tmp_path / "tables" / "sasl_passwd", tmp_path / "tables" / "sasl_passwd.lmdb"
    text.write_text("[relay] u:former\n")
    database.touch()
    (tmp_path / "tables" / "senders").touch()
    for path in (text, database, tmp_path / "tables" / "senders"):
        path.chmod(0o644)
    assert secret.loose() == {str(text): 0o644, str(database): 0o644}
    made, found = planned(tmp_path, loose=secret.loose().items())
    assert set(found) == {f"mode of {text}", f"mode of {database}"} and not made.verb and not made.new_set
    secret.tighten()
    assert secret.loose() == {}

    shown = str([secret.shown(name, *texts) for name, texts in secret.differences().items()])
    assert "tables/sasl_passwd" in shown and "u:" not in shown and "::/0 OK" in shown
    assert secret.shown("tables/sasl_passwd", None, "u:new")["before"] == ""

    stage = tmp_path / ".stage-1" / "set"
    secret.stage(str(stage))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (stage / "tables").iterdir()}
    assert modes == {"sasl_passwd": 0o600, "senders": 0o644}
    secret.keep()
    assert (tmp_path / ".previous").stat().st_mode & 0o777 == 0o700
    (stage / "tables" / "sasl_passwd.lmdb").touch(0o600)
    secret.swap(str(stage))
    assert secret.loose() == {} and text.read_text() == "[relay] u:new\n"
    secret.restore()
    assert secret.loose() == {} and text.read_text() == "[relay] u:former\n"
    assert (tmp_path / "tables" / "senders").stat().st_mode & 0o777 == 0o644
