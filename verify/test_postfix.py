"""Postfix as it sees itself, and one message through it."""

import time
import uuid

import hostlib
import pytest

pytestmark = pytest.mark.usefixtures("mail")

# the article's listing, with the units that Postfix takes
ARTICLE = {
    "smtpd_recipient_limit": "100000",
    "smtpd_client_connection_rate_limit": "10000",
    "anvil_rate_time_unit": "1s",
    "default_process_limit": "500",
    "queue_run_delay": "60s",
    "minimal_backoff_time": "100s",
    "mailbox_size_limit": "0",
}


@pytest.fixture(scope="module")
def settings(host):
    return hostlib.postconf(host)


@pytest.mark.parametrize("name", sorted(ARTICLE))
def test_article_value_is_in_force(host, declared, settings, name):
    if declared["postfix_profile"] != "article":
        pytest.skip(f"postfix_profile is {declared['postfix_profile']}: the article's values are not declared")
    if name == "default_process_limit":
        wanted = str(declared.get("sokuhai_process_limit", ARTICLE[name]))
    else:
        wanted = ARTICLE[name]
    assert settings[name].rstrip("s") == wanted.rstrip("s")


def test_relay_rules_and_compatibility_level_are_written_out(settings):
    rules = settings["smtpd_relay_restrictions"].replace(",", " ").split()
    assert {"reject_unauth_destination", "defer_unauth_destination"} & set(rules)
    assert "permit" not in rules
    assert settings["compatibility_level"]


def test_mynetworks_is_what_is_declared(settings, declared):
    assert settings["mynetworks"].replace(",", " ").split() == declared["postfix_mynetworks"]


def test_postfix_check_is_content(host):
    # both streams taken on the host: ssh may have a word of its own on stderr
    text = hostlib.output(host, "postfix check 2>&1")
    assert not text.strip()


def test_postconf_warns_of_nothing(host):
    assert "warning" not in hostlib.output(host, "postconf -n 2>&1")


def test_every_table_opens(host, declared):
    for table in declared.get("postfix_tables") or []:
        assert table["name"] in hostlib.output(host, "ls $(postconf -h config_directory)/tables"), table["name"]


def test_every_provider_has_its_transport(host, declared):
    items = [{"name": item} if isinstance(item, str) else item for item in declared.get("postfix_providers") or []]
    for item in [item for item in items if item.get("state") != "absent"]:
        service = hostlib.output(host, f"postconf -M {item['name']}/unix").split()
        limit = hostlib.output(host, f"postconf -hx {item['name']}_destination_concurrency_limit").strip()
        # a process is a connection
        assert service[6:8] == [limit, "smtp"], item["name"]
        for domain in item.get("domains", []):
            found = hostlib.output(
                host,
                f"postmap -q '{domain}' $(postconf -hx default_database_type):$(postconf -h config_directory)/tables/providers",
            )
            assert found.strip() == f"{item['name']}:", domain


def test_urgent_mail_has_a_transport_of_its_own(host, declared):
    urgent = declared["postfix_urgent"]
    if not urgent:
        pytest.skip("postfix_urgent is empty: no mail is urgent")
    service = hostlib.output(host, "postconf -M urgent/unix").split()
    assert service[6:8] == [str(urgent.get("maxproc") or 100), "smtp"]
    table = hostlib.output(host, "postconf -hx sender_dependent_default_transport_maps").strip()
    for sender in urgent["senders"]:
        assert hostlib.output(host, f"postmap -q '{sender.lower()}' {table}").strip() == "urgent:"


def test_nobody_may_pretend_to_be_another_client(host):
    script = (
        "import smtplib,sys\n"
        "s=smtplib.SMTP(sys.argv[1],25,timeout=60)\n"
        "s.ehlo('verify.invalid')\n"
        "print(s.docmd('XCLIENT','ADDR=203.0.113.200')[0])\n"
        "s.close()\n"
    )
    assert hostlib.python(host, script, hostlib.place(host, 25)).split()[0][0] == "5"


def test_auth_is_not_offered_on_port_25(host):
    answer = hostlib.python(
        host,
        "import smtplib,sys;s=smtplib.SMTP(sys.argv[1],25,timeout=60);s.ehlo('verify.invalid');print(s.esmtp_features);s.quit()",
        hostlib.place(host, 25),
    )
    assert "'auth'" not in answer


def test_submission_offers_auth_only_over_tls(host, declared):
    if not declared["postfix_submission"]:
        pytest.skip("postfix_submission is false")
    answer = hostlib.python(
        host,
        "import smtplib,ssl,sys\n"
        "c=ssl.create_default_context();c.check_hostname=False;c.verify_mode=ssl.CERT_NONE\n"
        "s=smtplib.SMTP(sys.argv[1],587,timeout=60);s.ehlo('verify.invalid');print('auth' in s.esmtp_features)\n"
        "s.starttls(context=c);s.ehlo('verify.invalid');print('auth' in s.esmtp_features);s.quit()\n"
        "s=smtplib.SMTP_SSL(sys.argv[1],465,timeout=60,context=c);s.ehlo('verify.invalid');print('auth' in s.esmtp_features);s.quit()\n",
        hostlib.place(host, 587),
    )
    assert answer.split() == ["False", "True", "True"]


def test_sendmail_is_off_and_mailer_conf_points_to_postfix(host):
    assert (hostlib.rcvar(host, "sendmail_enable") or "NONE").upper() == "NONE"
    assert hostlib.rcvar(host, "postfix_enable").upper() == "YES"
    text = host.file("/usr/local/etc/mail/mailer.conf").content_string
    lines = dict(line.split()[:2] for line in text.splitlines() if line.strip() and not line.startswith("#"))
    assert lines["sendmail"] == hostlib.postconf(host, "sendmail_path")["sendmail_path"]


def test_a_message_goes_round(host):
    token = uuid.uuid4().hex
    recipient = "root@" + hostlib.postconf(host, "myhostname")["myhostname"]
    hostlib.python(
        host,
        "import smtplib,sys\n"
        "s=smtplib.SMTP(sys.argv[3],25,timeout=60)\n"
        "s.sendmail('',[sys.argv[1]],'Subject: sokuhai verify\\r\\nMessage-ID: <%s@verify.invalid>\\r\\n\\r\\nA test of this host.\\r\\n' % sys.argv[2])\n",
        recipient,
        token,
        hostlib.place(host, 25),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        log = hostlib.output(host, f"grep -F {token} /var/log/maillog || true")
        queue_id = next(
            (line.split("]: ")[1].split(":")[0] for line in log.splitlines() if "message-id=" in line), None
        )
        if queue_id:
            log = hostlib.output(host, f"grep -F {queue_id} /var/log/maillog || true")
            if "status=sent" in log:
                return
            assert "status=bounced" not in log and "status=deferred" not in log, log
        time.sleep(1)
    raise AssertionError(f"the message {token} to {recipient} was not delivered within 60 s")
