"""Role access: spam traps, which are asked about every rule and rejected by none, and what is counted of them in the log."""

import bz2
import gzip
import lzma

import pytest
import yaml
from access_sets import PROFILES, declared, made, parameter, table
from role_modules import ROOT, load
from sokuhai_access import traps
from sokuhai_access.problems import problems

report = load("roles/access/library/access_report.py")


@pytest.mark.parametrize(
    "trap, destinations",
    [
        ("a@Home.Example", ["$mydomain"]),
        ("a@mx.home.example", ["${myhostname}"]),
        ("a@x.sub.example", [".sub.example"]),
        # what only the host can tell is no reason to refuse
        ("a@elsewhere.example", ["$mydomain", "hash:/usr/local/etc/postfix/domains"]),
        ("a@elsewhere.example", ["/etc/domains"]),
        ("a@elsewhere.example", ["$my_domains"]),
        ("a@elsewhere.example", ["!$mydomain"]),
    ],
)
def test_a_trap_in_a_domain_of_this_host_is_accepted(trap, destinations):
    assert problems(declared(traps=[trap], destinations=destinations)) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_trap_is_asked_every_rule_and_refused_by_none(profile):
    result = made(
        profile,
        traps=["Catch@home.example"],
        sender=[{"pattern": "spam.example"}],
        country_text="203.0.113.192/27 XB\n",
        countries={"XB": "tarpit"},
    )
    for name in traps.LISTS:
        items = result["restrictions"][f"smtpd_{name}_restrictions"]
        assert items[0]["name"] == "traps" and table(result, f"trap_{name}") == {"catch@home.example": f"trap_{name}"}
        rules = parameter(result, f"trap_{name}")
        assert rules[-1] in ("permit", "permit_auth_destination")
        for rule in rules[:-1]:
            assert rule.startswith(("warn_if_reject ", "permit_mynetworks", "permit_sasl_authenticated")), rule
        refusing = [
            part
            for value in [item["value"] for item in items[1:]]
            for part in value.split(", ")
            if not part.startswith("permit")
        ]
        assert len([rule for rule in rules if rule.startswith("warn_if_reject")]) == len(refusing)
    text = str(parameter(result, "trap_recipient"))
    # nothing sleeps and nothing is greylisted for a trap; each S25R rule is told apart
    assert "1002" not in text and "sleep" not in text and "check_dynamic_client" not in text
    assert table(result, "trap_dynamic")["/^unknown$/"].endswith("(trap_dynamic: rule0)")
    assert table(result, "trap_country") == {"203.0.113.192/27": "REJECT a country that waits (trap_country: XB)"}
    assert result["aliases"] == [
        {"name": "catch", "value": "/dev/null", "reason": "trap catch@home.example: counted, never read"}
    ]
    assert "trap" not in str(made(profile))


LOG = """\
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from unknown[203.0.113.30]: 450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.30]; from=<a@b.test> to=<Catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from unknown[203.0.113.30]: 554 5.7.1 Service unavailable; Client host [203.0.113.30] blocked using zen.spamhaus.org; from=<a@b.test> to=<catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: 5849D231: reject_warning: RCPT from p1x2.isp.test[203.0.113.50]: 554 5.7.1 <p1x2.isp.test[203.0.113.50]>: Client host rejected: a dynamic address (trap_dynamic: rule1); from=<> to=<catch@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from p1x2.isp.test[2001:db8::5]: 554 5.7.1 <mx.home.example>: Helo command rejected: you are not this host (reject_helo: own_name); from=<> to=<second@home.example> proto=ESMTP helo=<mx.home.example>
Nov 25 02:54:08 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from p1x2.isp.test[203.0.113.50]: 554 5.7.1 <x>: Client host rejected: cannot find your hostname; from=<> to=<real@home.example> proto=ESMTP helo=<b.test>
Nov 25 02:54:09 mx postfix/postscreen[8]: NOQUEUE: reject: RCPT from [203.0.113.66]:4711: 550 5.7.1 Service unavailable; client [203.0.113.66] blocked using dnsbl.test; from=<a@b.test>, to=<second@home.example>, proto=ESMTP, helo=<b.test>
Nov 25 02:54:09 mx postfix/local[7]: 5849D231: to=<catch@home.example>, relay=local, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to file: /dev/null)
Nov 25 02:54:09 mx postfix/local[7]: 5849D232: to=<real@home.example>, relay=local, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to file: /dev/null)
"""


def test_the_log_is_counted_by_trap_and_rule():
    found = report.counts(LOG.splitlines(), ["catch@home.example", "second@home.example"])
    assert found["traps"] == {
        "catch@home.example": {
            "taken": 1,
            "refused": 0,
            "rules": {"reject_unknown_client_hostname": 1, "dnsbl: zen.spamhaus.org": 1, "trap_dynamic: rule1": 1},
        },
        "second@home.example": {
            "taken": 0,
            "refused": 1,
            "rules": {"reject_helo: own_name": 1, "dnsbl: dnsbl.test": 1},
        },
    }
    assert found["clients"] == {"203.0.113.30": 2, "2001:db8::5": 1, "203.0.113.50": 1, "203.0.113.66": 1}
    assert sum(found["rules"].values()) == 5


def test_rotated_logs_are_read_oldest_first_whatever_packed_them(tmp_path):
    log = tmp_path / "maillog"
    log.write_text("now\n")
    (tmp_path / "maillog.0.bz2").write_bytes(bz2.compress(b"yesterday\n"))
    (tmp_path / "maillog.1").write_text("two days\n")
    (tmp_path / "maillog.2.gz").write_bytes(gzip.compress(b"three days\n"))
    (tmp_path / "maillog.10.xz").write_bytes(lzma.compress(b"long ago\n"))
    (tmp_path / "maillog.3.zst").write_bytes(b"?")
    (tmp_path / "maillog.bak").write_text("no log\n")
    found, missing = report.rotated(str(log), 7) + [str(log)], []
    assert [line.strip() for line in report.read(found, missing)] == ["three days", "two days", "yesterday", "now"]
    assert missing == [str(tmp_path / "maillog.3.zst")]
    assert report.rotated(str(log), 0) == [] and report.rotated(str(log), 11)[0].endswith("maillog.10.xz")


VALIDATE = {"name": "preflight", "tasks_from": "validate"}


def test_whoever_judges_or_writes_knows_what_one_role_hands_on_to_another():
    """Else a trap in a domain of postfix_destinations passes one playbook and is refused by another, or refresh.yml undoes what site.yml wrote."""
    plays = [
        (path.name, play)
        for path in sorted((ROOT / "playbooks").glob("*.yml"))
        for play in yaml.safe_load(path.read_text())
        for tasks in [play.get("tasks", [])]
        if VALIDATE in [task.get("ansible.builtin.import_role") for task in tasks]
        or {"tasks/mail.yml", "tasks/provision.yml"} & {task.get("ansible.builtin.import_tasks") for task in tasks}
    ]
    assert {name for name, _play in plays} >= {
        f"{name}.yml" for name in ("preflight", "site", "rolling", "refresh", "rebuild", "rollback", "verify")
    }
    assert [name for name, play in plays if "vars/handed_on.yml" not in play.get("vars_files", [])] == []
