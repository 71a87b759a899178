"""Roles access and postfix together: lists by name reach smtpd, samples are asked before anything is replaced, traps count, and what the
tables cost. What each rule says to whom is the matter of test_dialogues.py."""

import functools
import ipaddress
import json
import time

import pytest
from practice import applied_book, changed_lines, message, play_book, until
from stranger import talk

CONFIG = "/usr/local/etc/postfix"
play = functools.partial(play_book, "access_only.yml")
applied = functools.partial(applied_book, "access_only.yml")

THROWN_AWAY = "grep 'bait@home.example.*delivered to file: /dev/null' /var/log/maillog || true"

BAIT = "Subject: bait\r\n\r\nbait\r\n"


@pytest.fixture(scope="module", autouse=True)
def as_found(lab):
    """What site.yml makes of the host, before and after."""
    yield
    applied_book("mail_only.yml", lab)


# as many as the registries give a large country: networks of the benchmark range and of documentation's, of which none merges with another
COUNTRY = [f"198.18.{n // 64}.{n % 64 * 4}/32" for n in range(2737)] + [f"2001:db8:{n:x}::/64" for n in range(1, 500)]


@pytest.fixture(scope="module")
def set_in_force(lab, tmp_path_factory):
    """A set with everything in it: traps, refusals, a white list, a country of many networks."""
    countries = tmp_path_factory.mktemp("country") / "countries.txt"
    countries.write_text("".join(f"{ipaddress.ip_network(network)} XA\n" for network in COUNTRY))
    variables = {
        "access_traps": ["catch@home.example", "bait@home.example"],
        "access_sender": [{"pattern": "d0002.test"}, {"pattern": "friend@d0002.test", "action": "OK"}],
        "access_client": [{"pattern": "198.51.100.250", "reason": "tried here", "date": "2026-11-25"}],
        "access_helo": [{"name": "tried", "pattern": "/^bad[.]helo$/", "action": "REJECT not by that name"}],
        "access_changes": [
            {"list": "client", "remove": "reject_unknown_client_hostname"},
            {"list": "helo", "insert": {"name": "reject_unknown_helo_hostname"}, "before": "reject_helo"},
        ],
        "access_dynamic_exceptions": [{"pattern": "/^unknown$/", "reason": "the clients here have no names"}],
        "access_samples": [
            {"table": "reject_sender", "key": "x@deep.d0002.test", "expect": "REJECT"},
            {"table": "reject_sender", "key": "friend@d0002.test", "expect": "OK"},
            {"table": "client_country", "key": "198.18.0.4", "expect": "REJECT"},
            {"table": "client_country", "key": "198.18.0.5", "expect": ""},
        ],
        "access_countries": {"XA": "refuse"},
        "access_country_file": str(countries),
    }
    begin = time.monotonic()
    applied(lab, **variables)
    return {"variables": variables, "seconds": time.monotonic() - begin}


def test_lists_by_name_reach_smtpd(lab, set_in_force):
    lists = lab.sh("postconf", "-hx", "smtpd_client_restrictions", "smtpd_helo_restrictions").stdout
    assert "reject_unknown_client_hostname" not in lists
    assert lists.index("reject_unknown_helo_hostname") < lists.index("check_helo_access")


def test_what_only_the_host_can_tell_is_found_before_anything_changes(lab):
    wrong = {
        "access_helo": [
            # Python has no [:punct:], so only the host's own expressions can tell
            {"name": "odd", "pattern": "/^[[:punct:]][[:punct:]]/"},
            # skipped with a warning by Postfix
            {"name": "repeated", "pattern": "/a{2,1}/"},
        ],
        "access_samples": [{"table": "reject_helo", "key": "a", "expect": "REJECT"}],
        # no restriction that smtpd knows
        "access_changes": [{"list": "helo", "insert": {"name": "reject_unkown_helo_hostname"}}],
    }
    with lab.unchanged():
        result = play(lab, **wrong)
    assert result.returncode == 2
    said = message(result)
    # the sample, the entry that is skipped, the restriction
    for words in ("reject_helo", "line 4", "reject_unkown_helo_hostname"):
        assert words in said, said


def test_lists_stay_in_force_while_no_name_server_answers(lab, set_in_force):
    before = lab.fingerprint()
    asked = lab.sh("postconf", "-h", "smtpd_client_restrictions").stdout
    assert "reject_rbl_client" in asked
    lab.sh("service", "named", "stop")
    try:
        result = play(lab, **set_in_force["variables"])
    finally:
        lab.sh("service", "named", "start")
    assert result.returncode == 2 and "access_dnsbl" in message(result), result.stdout[-3000:]
    assert lab.fingerprint() == before and lab.sh("postconf", "-h", "smtpd_client_restrictions").stdout == asked


def test_traps_take_what_others_refuse_and_the_next_run_counts_and_changes_nothing(lab, set_in_force):
    bad, good = ("203.0.113.30", "bad.helo"), ("203.0.113.30", "mail.d0001.test")
    answers = talk(lab, "spam@d0002.test", "catch@home.example", "postmaster@home.example", client=bad, text=BAIT)
    assert [code for code, text in answers] == [250, 250, 250, 450, 250], answers
    assert "postmaster" in answers[3][1] or "bad.helo" in answers[3][1]
    # the rule is off for nobody but the trap, and a trap opens no relay
    assert talk(lab, "spam@d0002.test", "someone@d0001.test", client=bad)[2][0] >= 450
    assert talk(lab, "friend@d0002.test", "someone@d0001.test", client=good)[2][0] == 554
    answers = talk(lab, "friend@d0002.test", "bait@home.example", client=good, text=BAIT)
    assert [code for code, text in answers] == [250, 250, 250, 250], answers
    until(lambda: "bait@home.example" in lab.sh("sh", "-c", THROWN_AWAY).stdout)
    result = applied(lab, "-e", '{"report": true}', **set_in_force["variables"])
    assert changed_lines(result) == []
    text = result.stdout[
        result.stdout.index("[Show it]") if "[Show it]" in result.stdout else result.stdout.index("Show it") :
    ]
    text = " ".join(line.strip() for line in text.splitlines())
    report = json.loads(text[text.index('{"') : text.rindex("}", 0, text.index("PLAY RECAP")) + 1])
    assert {"reject_unknown_helo_hostname", "reject_helo: tried", "reject_sender"} <= set(
        report["traps"]["catch@home.example"]["rules"]
    )
    assert report["traps"]["catch@home.example"]["taken"] >= 1 and report["traps"]["bait@home.example"]["taken"] >= 1
    assert report["traps"]["bait@home.example"]["rules"].keys() <= {"reject_unknown_helo_hostname"}


COST = r"""
import json, subprocess, sys, time
def asked(table, keys):
    begin = time.monotonic()
    answers = subprocess.run(['postmap', '-q', '-', table], input='\n'.join(keys), text=True, stdout=subprocess.PIPE, check=False).stdout
    return time.monotonic() - begin, answers.count('\n')
n = 50000
addresses = ['198.18.%d.%d' % (i // 250 % 250, i % 250) for i in range(n)]
names = ['mail%d.host.example' % i for i in range(n)]
tables = {'cidr:client_country': addresses, 'regexp:check_dynamic_client': names, 'regexp:reject_helo': names, 'hash:reject_sender': names}
cost = {}
for table, keys in tables.items():
    kind, name = table.split(':')
    where = '%s:/usr/local/etc/postfix/tables/%s' % (kind, name)
    seconds, answers = asked(where, keys)
    cost[name] = ((seconds - asked(where, keys[:1])[0]) / n * 1e6, answers)
print(json.dumps(cost))
"""


def test_what_tables_cost(lab, set_in_force, figures):
    cost = json.loads(lab.sh("/usr/local/bin/python3", "-", stdin=COST).stdout)
    assert cost["client_country"][1] > 2000 and cost["check_dynamic_client"][1] == 40000, cost
    cost = {name: micro for name, (micro, answers) in cost.items()}
    whole = cost["client_country"] + cost["check_dynamic_client"] + cost["reject_helo"] + 3 * cost["reject_sender"] * 2
    figures.append(
        f"tables of {len(COUNTRY)} networks and all rules: rendered, built, proven and in force in {set_in_force['seconds']:.1f} s (both roles); "
        f"lookups: "
        + ", ".join(f"{name} {micro:.1f} us" for name, micro in cost.items())
        + f"; about {whole:.0f} us a connection"
    )


def test_a_parameter_that_this_postfix_lacks_is_left_out(lab):
    known = {"name": "smtpd_forbid_bare_newline", "value": "normalize", "optional": True}
    lacking = {"name": "smtpd_forbid_bare_newlines", "value": "normalize", "optional": True}
    result = applied_book("postfix_only.yml", lab, "--check", "--diff", postfix_access={"main_cf": [known, lacking]})
    assert "smtpd_forbid_bare_newline = normalize" in result.stdout
    assert "smtpd_forbid_bare_newlines" not in result.stdout


def test_a_policy_service_that_does_not_answer_goes_out_again(lab):
    before = lab.fingerprint()
    broken = {
        "name": "broken",
        "unpriv": "n",
        "chroot": "n",
        "maxproc": 0,
        "command": "spawn",
        "args": ["user=nobody", "argv=/usr/bin/false"],
    }
    # the socket comes with the set, so it can be asked after the swap only
    result = play(
        lab, access_services={"spf": {"restriction": "check_policy_service unix:private/broken", "master_cf": [broken]}}
    )
    assert result.returncode == 2 and "private/broken" in message(result), message(result)
    assert lab.fingerprint() == before
