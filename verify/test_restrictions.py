"""Who may send, as Postfix itself sees it: asked of postconf, of the tables by postmap, and of what runs."""

import re

import hostlib
import pytest

pytestmark = pytest.mark.usefixtures("mail")


@pytest.fixture(scope="module")
def settings(host, declared):
    if "access_profile" not in declared:
        pytest.skip("role access is not declared: role postfix's own lists are in force")
    return hostlib.postconf(host, "-x")


def restrictions(settings, name):
    return [part.strip() for part in settings.get(f"smtpd_{name}_restrictions", "").split(",") if part.strip()]


def test_the_relay_list_holds_whatever_the_other_lists_say(settings):
    relay = restrictions(settings, "relay")
    assert relay[-1] in ("reject_unauth_destination", "defer_unauth_destination", "reject")
    assert all(
        re.fullmatch(
            r"permit_(mynetworks|sasl_authenticated|inet_interfaces|tls_\w*clientcerts|auth_destination)", rule
        )
        for rule in relay[:-1]
    )


def test_every_class_that_the_lists_name_is_defined(settings):
    for name in settings["smtpd_restriction_classes"].replace(",", " ").split():
        assert settings.get(name), name


def test_no_table_of_ours_says_yes(host, settings):
    # the texts, not what postmap made of them
    text = hostlib.output(
        host,
        f"cd {settings['config_directory']}/tables && cat $(ls | grep -E '^(reject|check|client|country|trap)_[a-z_]*$')",
    )
    said = {
        line.split(None, 1)[1].split()[0].lower()
        for line in text.splitlines()
        if " " in line and not line.startswith("#")
    }
    assert said and not {"ok", "relay", "permit"} & said


@pytest.mark.parametrize(
    "name, expect",
    [("unknown", True), ("p0123x45.isp.invalid", True), ("mail.isp.invalid", False), ("192.0.2.1", False)],
)
def test_the_hosts_own_expressions_know_a_dynamic_name(host, declared, settings, name, expect):
    if declared.get("access_dynamic") or declared.get("access_dynamic_exceptions"):
        pytest.skip("access_dynamic or access_dynamic_exceptions change the rules")
    path = f"regexp:{settings['config_directory']}/tables/check_dynamic_client"
    answer = host.run(f"env {hostlib.PATH} postmap -q %s %s", name, path)
    assert (answer.stdout.strip() == "check_dynamic_client") == expect, answer


def test_only_dnsbls_with_a_filter_are_asked(settings):
    asked = re.findall(
        r"reject_rbl_client (\S+?),?(?:\s|$)",
        " ".join(settings.get(f"smtpd_{name}_restrictions", "") for name in ("client", "recipient")),
    )
    asked += settings.get("postscreen_dnsbl_sites", "").replace(",", " ").split()
    assert all(re.search(r"=127\.", zone) for zone in asked), asked


def test_port_25_is_answered_by_what_the_profile_says(host, declared, settings):
    # master starts it when somebody knocks, and it stays for a while
    greeting = hostlib.output(host, f"(sleep 2; printf 'QUIT\\r\\n'; sleep 1) | nc -w 15 {hostlib.place(host, 25)} 25")
    assert greeting.startswith("220")
    assert bool(hostlib.pids(host, "postscreen")) == (declared["access_profile"] == "current")


def test_protection_against_smuggling_is_on_where_this_postfix_has_it(host, settings):
    if "smtpd_forbid_bare_newline" not in settings:
        pytest.skip(f"Postfix {settings['mail_version']} has no smtpd_forbid_bare_newline")
    assert settings["smtpd_forbid_bare_newline"] in ("normalize", "yes", "reject", "note")
    if "smtpd_forbid_unauth_pipelining" in settings:
        assert settings["smtpd_forbid_unauth_pipelining"] == "yes"


def test_the_submission_services_meet_no_list_about_spam(host, declared, settings):
    if not declared.get("postfix_submission"):
        pytest.skip("postfix_submission is false: nobody submits")
    for port in ("587", "465"):
        options = hostlib.service_options(host, f"{port}/inet")
        for name in ("client", "helo", "end_of_data"):
            assert options[f"smtpd_{name}_restrictions"] == "", f"{port}: {name}"
        # domains may be looked up ahead, how many recipients a user has may be counted, and nothing else asked of them
        recipients = options["smtpd_recipient_restrictions"]
        place = f"inet:{declared['sasl_recipients_address']}:{declared['sasl_recipients_port']}"
        wanted = (
            [r"check_policy_service \{ unix:private/ahead, default_action=DUNNO, .*?\}"]
            if declared["ahead_enabled"]
            else []
        )
        if declared["sasl_recipients_limited"]:
            wanted.append(
                rf"(check_sasl_access \S+/recipients_free, )?check_policy_service \{{ {place}, default_action=DUNNO, .*\}}"
            )
        assert re.fullmatch(", ".join(wanted), recipients), f"{port}: {recipients}"
        # whose address it is may be asked, whose mail has a port of its own, and nothing else (sasl_sender_check, postfix_urgent)
        senders = options["smtpd_sender_restrictions"]
        if (declared["postfix_urgent"] or {}).get("port"):
            own = re.match(r"check_sender_access \S+/urgent_elsewhere(, |$)", senders)
            assert own, f"{port}: {senders}"
            senders = senders[own.end() :]
        assert not senders or re.fullmatch(r"(warn_if_reject, )?reject_authenticated_sender_login_mismatch", senders), (
            senders
        )
