"""pw(8): users and groups."""

import re

import pytest

USER, GROUP = "contractu", "contractg"


@pytest.fixture
def clean(run):
    yield
    run("pw userdel %s; pw groupdel %s", USER, GROUP)


def test_stock_accounts(run):
    assert (
        run("pw usershow nobody").out == "nobody:*:65534:65534::0:0:Unprivileged user:/nonexistent:/usr/sbin/nologin\n"
    )
    assert run("pw groupshow wheel").out.startswith("wheel:*:0:root")
    assert run("pw groupshow mail").out.startswith("mail:*:6:")
    assert run("id -u bind").out == "53\n"


def test_accounts_of_the_ports(run):
    answer = run("pw usershow postfix")
    if answer.rc:
        pytest.skip("user postfix comes with the package, which is not installed on this host")
    assert answer.out == "postfix:*:125:125::0:0:Postfix Mail System:/var/spool/postfix:/usr/sbin/nologin\n"
    assert run("pw groupshow maildrop").out.startswith("maildrop:*:126:")


def test_life_of_a_user(run, clean):
    answer = run("pw useradd %s -d /nonexistent -s /usr/sbin/nologin -c contract", USER)
    assert (answer.rc, answer.out, answer.err) == (0, "", "")
    shown = run("pw usershow %s", USER).out
    assert re.fullmatch(rf"{USER}:\*:\d+:\d+::0:0:contract:/nonexistent:/usr/sbin/nologin\n", shown)
    assert int(shown.split(":")[2]) >= 1001
    again = run("pw useradd %s", USER)
    assert (again.rc, again.err) == (65, f"pw: login name `{USER}' already exists\n")
    assert run("id -un %s", USER).out == f"{USER}\n"
    assert run("pw usermod %s -c other; pw usershow %s", USER, USER).out.split(":")[7] == "other"
    assert run("pw userdel %s", USER).rc == 0
    gone = run("pw userdel %s", USER)
    assert (gone.rc, gone.err) == (67, f"pw: no such user `{USER}'\n")
    assert run("pw groupshow %s", USER).rc == 65, "the user's own group goes with it"


def test_unknown_user_and_group(run):
    assert run("pw usershow no_such_user").rc == 67
    answer = run("pw groupshow no_such_group")
    assert (answer.rc, answer.err) == (65, "pw: unknown group `no_such_group'\n")


def test_life_of_a_group(run, clean):
    assert run("pw groupadd %s", GROUP).rc == 0
    again = run("pw groupadd %s", GROUP)
    assert (again.rc, again.err) == (65, f"pw: group name `{GROUP}' already exists\n")
    assert run("pw groupmod %s -m nobody; pw groupshow %s", GROUP, GROUP).out.rstrip().endswith(":nobody")
    assert run("pw groupmod %s -d nobody; pw groupshow %s", GROUP, GROUP).out.rstrip().endswith(":")
    assert run("pw groupdel %s", GROUP).rc == 0
