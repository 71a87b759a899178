"""One urgent message to very many people, through the provisioned host, counted where it arrives."""

import json
import uuid

import pytest
from practice import FULL, HOST, SLOW, full_only, until

# one message to all of the arguments after the Message-ID and what MAIL asks for
SUBMIT = """
import smtplib, sys
name, asked, *recipients = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", 25, timeout=60) as host:
    host.ehlo("localhost")
    replies = [host.mail("alert@home.example", asked.split()), *map(host.rcpt, recipients)]
    replies.append(host.data("From: alert@home.example\\r\\nMessage-ID: %s\\r\\n\\r\\nAlert.\\r\\n" % name))
assert {code for code, _words in replies} == {250}, replies
"""


@pytest.fixture
def private_named(lab):
    if lab.outside:
        pytest.skip(
            "loads a second named beside the host's and looks at it by Linux's prlimit(2) and /proc: on a practice host only"
        )


@pytest.fixture
def measured(lab, tmp_path):
    """A function that runs a tool of the simulated internet; its report, and the lines that it prints."""

    def run(tool, *options):
        report = tmp_path / "report.json"
        result = lab.internet(tool, "--instance", lab.name, "--json", report, *options)
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(report.read_text()), result.stdout.splitlines()

    return run


def test_every_recipient_gets_the_message_once(lab, measured, figures):
    recipients, domains = (10000, 1000) if FULL else (1000, 200)
    limit = (120 + recipients / 20) * SLOW
    mail, _lines = measured("mail", "--recipients", recipients, "--domains", domains, "--timeout", limit)
    figures.append(
        f"one message to {recipients} recipients in {domains} domains: {mail['seconds']:.0f} s, named's sockets at most {mail['named_sockets_peak']}, "
        f"smtp processes at most {mail['smtp_processes_peak']}, deferred {mail['deferred']}"
    )
    assert mail["sent"] == mail["delivered"] == recipients
    assert mail["duplicates"] == mail["missing"] == 0
    assert mail["deferred_dns"] == 0
    assert mail["named_sockets_peak"] > 0

    name = f"<{mail['token']}.0@lab>"
    about = until(lambda: (found := reported(lab, name)) and not found["in_queue"] and found)
    assert about["recipients"] == about["delivered"] == recipients and len(about["domains"]) == domains
    assert 0 < about["seconds"]["50"] <= about["seconds"]["100"] and about["dead_addresses"] == []
    (last,) = reported(lab, "--last", "1")["mailings"]
    assert last["name"] == name and last["delivered"] == recipients


@pytest.fixture
def sinks(lab):
    """A function that has a domain's mail server reply so (accept, defer, reject) to every recipient; it accepts again afterwards."""
    changed = []

    def reply(domain, how):
        done = lab.internet("ctl", "--instance", lab.name, "sink", domain, f"reply={how}")
        assert done.returncode == 0, done.stdout + done.stderr
        changed.append(domain)

    yield reply
    for domain in set(changed):
        reply(domain, "accept")


@pytest.fixture
def submitted(lab):
    """A function that has the host accept one message to these recipients; its Message-ID. What is left in the queue is deleted."""
    names = []

    def submit(recipients, asked="", sender="postmaster"):
        names.append(f"<{uuid.uuid4().hex}@home.example>")
        script = SUBMIT.replace("alert@", f"{sender}@")
        lab.sh("/usr/local/bin/python3", "-", names[-1], asked, *recipients, host=HOST, stdin=script)
        return names[-1]

    yield submit
    left = " ".join(names)
    lab.sh(
        "sh",
        "-c",
        f"grep -hoE '[0-9A-Za-z]+: message-id=({left.replace(' ', '|')})' /var/log/maillog | cut -d: -f1 | /usr/local/sbin/postsuper -d -",
        host=HOST,
    )


def reported(lab, *words):
    """What sokuhai-report says, or None as long as it finds nothing."""
    done = lab.sh("/usr/local/bin/sokuhai-report", "--json", *words, host=HOST, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_the_report_tells_the_dead_from_the_deferred(lab, sinks, submitted):
    sinks("d0002.test", "reject")
    sinks("d0003.test", "defer")
    people = ["a@d0001.test", "gone@d0002.test", "c@d0003.test", "nobody@nowhere.test"]
    name = submitted(people)

    def told():
        about = reported(lab, name)
        return about if about and sum(about[key] for key in ("delivered", "deferred", "bounced")) == 4 else None

    about = until(told)
    assert [about[key] for key in ("recipients", "delivered", "deferred", "bounced", "dead")] == [4, 1, 1, 2, 2]
    assert about["dead_addresses"] == ["gone@d0002.test", "nobody@nowhere.test"]
    assert [one["reason"] for one in about["bounced_by"]] == ["dead", "dead"]
    assert [one["reason"] for one in about["deferred_by"]] == ["refused"]
    assert about["seconds"]["50"] is None and about["domains"]["d0001.test"]["seconds"]["100"] > 0
    dead = lab.sh("/usr/local/bin/sokuhai-report", "--dead", name, host=HOST).stdout
    assert dead.splitlines() == about["dead_addresses"]


@full_only("role postfix applied twice")
def test_a_bounce_of_a_message_that_asked_for_verp_names_its_recipient(lab, sinks, submitted):
    declared = {"postfix_verp": ["127.0.0.1"], "postfix_aliases": [{"name": "alert", "value": "root"}]}
    lab.applied("site.yml", "--tags", "postfix", variables=declared)
    try:
        sinks("d0002.test", "reject")
        name = submitted(["a@d0001.test", "gone@d0002.test"], "XVERP", sender="alert")
        about = until(lambda: (found := reported(lab, name)) and not found["in_queue"] and found)
        assert about["dead_addresses"] == ["gone@d0002.test"] and about["delivered"] == 1
        assert lab.mailed(lambda text: "\nTo: alert+gone=d0002.test@home.example\n" in text)
    finally:
        lab.applied("site.yml", "--tags", "postfix")
    with pytest.raises(AssertionError):
        submitted(["a@d0001.test"], "XVERP")


def test_named_holds_where_stock_named_gives_up(private_named, measured, figures):
    """The article's ceiling under its name of today: both are measured in one run, and only their ratio is judged."""
    both, lines = measured("compare", "--seconds", 20 if FULL else 8)
    figures += lines
    assert both["ours"]["answered"] > 2 * both["stock"]["answered"], both


def test_own_resolver_defers_nothing_where_the_providers_resolver_limits(private_named, measured, figures):
    """The article's symptom: one message, three resolvers, one run. What stock named does is printed, not judged."""
    recipients, domains = (1000, 400) if FULL else (400, 200)
    report, lines = measured("compare", "--mail", "--no-named", "--recipients", recipients, "--domains", domains)
    figures += [line for line in lines if not line.startswith(("  provider: ", "  stock: ", "  ours: "))]
    mail = report["mail"]
    assert mail["provider"]["resolver"]["over_limit"] > 0, (
        "the provider's resolver had nothing to refuse: the load is too small to show anything"
    )
    assert mail["ours"]["delivered"] == recipients
    assert mail["ours"]["deferred_dns"] == 0 < mail["provider"]["deferred_dns"]


def test_mail_queue_is_empty_afterwards(lab):
    assert "Mail queue is empty" in lab.sh("/usr/local/bin/mailq", host=HOST).stdout
