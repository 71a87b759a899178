"""SPF on the practice host: what mail of each result meets, in both modes, from domains of the simulated internet."""

import uuid

import pytest
from practice import full_only, message, until
from stranger import talk


@pytest.fixture(scope="module", autouse=True)
def agent(lab):
    lab.need("spf")


SENDER, OTHER = ("203.0.113.20", "mail.sender.test"), ("203.0.113.21", "mail.other.test")
RESULTS = ("pass", "fail", "softfail", "neutral", "none", "permerror")
TO = ["postmaster@home.example"]


def send(lab, *mails):
    """Return the replies to RCPT and to the end of data, [[code, text]] for each of *mails*: (client, HELO, sender, recipients, subject)."""
    return [
        talk(
            lab,
            sender,
            *recipients,
            client=client,
            text=f"From: {sender}\r\nSubject: {subject}\r\n\r\nfor the test\r\n",
        )[2:]
        for *client, sender, recipients, subject in mails
    ]


def mail(result, client=SENDER, recipients=TO, subject="spf"):
    return [*client, f"someone@spf-{result}.test", recipients, subject]


def delivered(lab, subject):
    """Return the header lines of the delivered mail with this subject, each a string."""
    return lab.mailed(lambda text: f"\nSubject: {subject}\n" in text)[-1].partition("\n\n")[0].splitlines()


def codes(replies):
    return [code for code, _text in replies]


def spf_lines(header):
    return [line for line in header if line.startswith(("Received-SPF:", "X-Comment:"))]


@pytest.fixture(scope="module")
def marked(lab):
    """{result: (replies, header lines)} in mode mark, which is the default, with a mail forwarded by another host as `forwarded`."""
    token = uuid.uuid4().hex[:8]
    mails = {result: mail(result, subject=f"{token}-{result}") for result in RESULTS}
    # sender.test says that only its own host sends for it
    mails["forwarded"] = [*OTHER, "someone@sender.test", TO, f"{token}-forwarded"]
    mails["two"] = mail("fail", recipients=[*TO, "root@home.example"], subject=f"{token}-two")
    replies = send(lab, *mails.values())
    return {
        name: (reply, delivered(lab, f"{token}-{name}") if reply[-1][0] == 250 else [])
        for name, reply in zip(mails, replies)
    }


@pytest.mark.parametrize("result", RESULTS)
def test_by_default_every_result_is_a_header_on_delivered_mail(marked, result):
    replies, header = marked[result]
    assert codes(replies) == [250, 250], replies
    (line,) = spf_lines(header)
    assert line.startswith(
        f"Received-SPF: {result.capitalize()} (mailfrom) identity=mailfrom; client-ip=203.0.113.20;"
    ), line


def test_forwarded_mail_whose_result_is_fail_is_marked_and_not_lost(marked):
    replies, header = marked["forwarded"]
    assert codes(replies) == [250, 250], replies
    (line,) = spf_lines(header)
    assert (
        line.startswith("Received-SPF: Fail ")
        and "client-ip=203.0.113.21;" in line
        and "envelope-from=someone@sender.test" in line
    ), line


def test_two_recipients_get_one_header_that_names_neither(marked):
    replies, header = marked["two"]
    assert codes(replies) == [250, 250, 250], replies
    (line,) = spf_lines(header)
    assert "receiver=<UNKNOWN>" in line, line


def test_an_agent_that_cannot_be_run_makes_mail_wait_and_loses_none(lab):
    """smtpd_policy_service_default_action: 451, and the sender comes again."""
    lab.sh(
        "sh",
        "-c",
        "mv /usr/local/bin/policyd-spf /usr/local/bin/policyd-spf.away; pkill -f '^/usr/local/bin/python3[.0-9]* -IB /usr/local/libexec/sokuhai-policyd-spf --server ' || :",
    )
    try:
        (((code, text), *rest),) = send(lab, mail("pass"))
        assert code == 451 and text.startswith("4.3.5"), text
    finally:
        lab.sh("mv", "/usr/local/bin/policyd-spf.away", "/usr/local/bin/policyd-spf")
    subject = uuid.uuid4().hex
    until(lambda: send(lab, mail("pass", subject=subject))[0][-1][0] == 250, 90)
    assert spf_lines(delivered(lab, subject))


REFUSE = {"spf_mode": "refuse", "spf_results": {"softfail": "refuse"}, "spf_exempt": [OTHER[0]]}
CONFIGS = "/usr/local/etc/python-policyd-spf"
MASTER = "/usr/local/etc/postfix/master.cf"


def configurations(lab):
    return set(lab.sh("sh", "-c", f"ls {CONFIGS}/sokuhai-*.conf").stdout.split())


@pytest.fixture(scope="module")
def refusing(lab):
    """The host in mode refuse, softfail too, one forwarder exempt; back to what it was at the end. The tag of one role runs all of the mail
    service: Postfix asks what the agent was told."""
    (named,) = (path for path in configurations(lab) if path in lab.sh("cat", MASTER).stdout)
    lab.sh("rm", "-f", *configurations(lab) - {named})
    lab.applied("site.yml", "--tags", "spf", variables=REFUSE)
    assert named in configurations(lab), "what Postfix still names is kept"
    (made,) = configurations(lab) - {named}
    assert made in lab.sh("cat", MASTER).stdout
    yield lab
    lab.applied("site.yml", "--tags", "spf")
    lab.sh("rm", "-f", made)


def test_refuse_refuses_what_is_declared_and_marks_the_rest(refusing):
    token = uuid.uuid4().hex[:8]
    replies = dict(zip(RESULTS, send(refusing, *(mail(result, subject=f"{token}-{result}") for result in RESULTS))))
    for result in ("fail", "softfail"):
        code, text = replies[result][0]
        assert code == 550 and text.startswith("5.7.23") and "rejected due to" in text, (result, text)
        assert "openspf" not in text, "the site that explained it is no more"
    for result in ("pass", "neutral", "none", "permerror"):
        assert codes(replies[result]) == [250, 250], (result, replies[result])
        assert spf_lines(delivered(refusing, f"{token}-{result}"))[0].startswith(
            f"Received-SPF: {result.capitalize()} "
        )


def test_an_exempt_forwarder_is_let_through_and_a_header_says_so(refusing):
    subject = uuid.uuid4().hex
    (replies,) = send(refusing, mail("fail", client=OTHER, subject=subject))
    assert codes(replies) == [250, 250], replies
    (line,) = spf_lines(delivered(refusing, subject))
    assert line.startswith("X-Comment: SPF skipped for whitelisted relay"), line


@full_only("Postfix is switched over by the whole play with SOKUHAI_FULL=1 only")
def test_the_play_brings_refusal_into_postfix_and_takes_it_back(lab):
    try:
        lab.applied("site.yml", "--tags", "postfix", variables=REFUSE)
        replies = send(lab, mail("fail"), mail("softfail"), mail("neutral"))
        assert [reply[0][0] for reply in replies] == [550, 550, 250], replies
        lab.applied("site.yml", "--tags", "postfix", variables={"spf_mode": "none"})
        subject = uuid.uuid4().hex
        (replies,) = send(lab, mail("fail", subject=subject))
        assert replies[0][0] == 250 and spf_lines(delivered(lab, subject)) == []
        assert "policyd_spf" not in lab.sh("postconf", "-M").stdout + lab.sh("postconf", "-n").stdout
    finally:
        lab.applied("site.yml", "--tags", "postfix")


@full_only("the Perl agent is tried with SOKUHAI_FULL=1 only")
def test_the_perl_agent_marks_only_when_its_port_was_built_to(lab):
    port = "/usr/ports/mail/postfix-policyd-spf-perl"
    wanted = {"spf_agent": "perl", "spf_install": False}
    lab.sh("pkg", "install", "-y", "postfix-policyd-spf-perl")
    try:
        result = lab.play("site.yml", "--tags", "postfix", variables=wanted)
        assert result.returncode == 2 and "SPF_FAIL=" in message(result), result.stdout[-3000:]
        lab.applied("site.yml", "--tags", "postfix", variables={**wanted, "spf_mode": "refuse"})
        (((code, text), *rest),) = send(lab, mail("fail"))
        assert code == 550, text
        # an agent with the package's code is still at work now, and Postfix would go on asking it
        lab.sh(
            "make",
            "-C",
            port,
            "BATCH=yes",
            "SPF_FAIL=PREPEND X-SPF-Result: fail",
            "SPF_TEMPERROR=PREPEND X-SPF-Result: temperror",
            "deinstall",
            "install",
        )
        lab.applied("site.yml", "--tags", "postfix", variables=wanted)
        subject = uuid.uuid4().hex
        (replies,) = send(lab, mail("fail", subject=subject))
        assert codes(replies) == [250, 250], replies
        assert any(line.startswith("X-SPF-Result: fail ") for line in delivered(lab, subject))
    finally:
        lab.sh("pkg", "delete", "-y", "postfix-policyd-spf-perl")
        lab.sh("make", "-C", port, "clean")
        lab.applied("site.yml", "--tags", "postfix")
