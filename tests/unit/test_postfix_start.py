"""Role postfix: the mailer that Postfix replaces is stopped before it starts, as rc.d/sendmail of FreeBSD 14 and of 15 tell of it."""

import pytest
from role_modules import util

postfix_host, shared = util("postfix_host"), util("sokuhai.host")

PATHS = {"config_directory": "/c", "queue_directory": "/q", "command_directory": "/s"}
RUNS, NOT = "%s is running as pid %d.\n", "%s is not running.\n"


@pytest.mark.parametrize(
    "status, said, stopped",
    [
        # 14: the exit status is that of the queue runner, the last of all
        (1, RUNS % ("sendmail", 700) + NOT % "sendmail_msp_queue", True),
        (0, RUNS % ("sendmail", 700) + RUNS % ("sendmail_msp_queue", 710), True),
        # 15: it is the worst of both
        (1, NOT % "sendmail_submit" + RUNS % ("sendmail_msp_queue", 710), True),
        (1, NOT % "sendmail" + NOT % "sendmail_msp_queue", False),
    ],
)
def test_a_sendmail_that_runs_is_stopped_whatever_its_rc_script_exits_with(monkeypatch, status, said, stopped):
    asked, master = [], object()
    monkeypatch.setattr(shared, "run", lambda argv, *_: (status, said, "") if argv[2] == "onestatus" else (127, "", ""))
    monkeypatch.setattr(shared, "service", lambda name, verb, *_: asked.append((name, verb)) or (0, ""))
    own = postfix_host.Postfix(PATHS, "postfix", "/nonexistent")
    monkeypatch.setattr(own, "running", lambda: master if ("postfix", "onestart") in asked else None)
    assert own.bring("start") is master
    assert asked == ([("sendmail", "onestop")] if stopped else []) + [("postfix", "onestart")]
