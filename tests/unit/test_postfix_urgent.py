"""What main.cf, master.cf and tables have of the urgent lane, and what is refused."""

import jinja2.nativetypes
import postfix_urgent as lane
import pytest
import sizing
import yaml
from ansible.plugins.filter import core
from postfix_items import postfix_services
from role_modules import ROOT

ALERT = {"senders": ["Alert@home.example"]}
PORT = {**ALERT, "port": 2587, "maxproc": 60}
DECLARED = {
    "postfix_submission": True,
    "postfix_recipients_service": "inet:127.0.0.1:10040",
    "postfix_mta_sts": {},
    "postfix_main_cf": [],
    "postfix_master_cf": [],
    "postfix_tables": [],
    "postfix_providers": [],
}


def items(urgent):
    return {item["name"]: item["value"] for item in lane.postfix_urgent_items(urgent)}


def tables(urgent):
    return {
        table["name"]: {entry["pattern"]: entry["action"] for entry in table["entries"]}
        for table in lane.postfix_urgent_tables(urgent)
    }


def services(urgent, logins=True):
    found = lane.postfix_urgent_services(
        urgent, {"smtpd_sasl_auth_enable": True, "smtpd_sender_restrictions": "x"}, logins
    )
    return {(item["name"], item["type"]): item for item in postfix_services([found])}


def test_without_a_lane_nothing_is_written():
    assert items({}) == tables({}) == services({}) == {} and lane.postfix_urgent_elsewhere({}) == []
    assert lane.postfix_urgent_problems({**DECLARED, "postfix_urgent": {}}) == []


def test_the_senders_mail_has_a_transport_of_its_own_and_keeps_its_next_hop():
    assert tables(ALERT) == {"urgent_senders": {"alert@home.example": "urgent:"}}
    found = items(ALERT)
    assert found["sender_dependent_default_transport_maps"].endswith("/tables/urgent_senders")
    # beyond the 20,000 of a mailing, or qmgr does not see what comes after it
    assert found["qmgr_message_active_limit"] == found["qmgr_message_recipient_limit"] > 20000
    assert set(services(ALERT)) == {("urgent", "unix")} and lane.postfix_urgent_elsewhere(ALERT) == []
    service = services(ALERT)["urgent", "unix"]
    assert (service["command"], service["maxproc"]) == ("smtp", str(sizing.URGENT))
    # its processes are there for the next alert; all else is main.cf's: DANE, policies
    assert service["options"] == {"syslog_name": "postfix/$service_name", "max_idle": "1h"}


def test_its_own_port_is_for_its_senders_alone_and_the_others_leave_them_to_it():
    assert tables(PORT) == {
        "urgent_senders": {"alert@home.example": "urgent:"},
        "urgent_only": {"alert@home.example": "OK"},
        "urgent_elsewhere": {"alert@home.example": "REJECT mail of this sender is submitted on port 2587"},
    }
    assert lane.postfix_urgent_elsewhere(PORT)[0].endswith("/tables/urgent_elsewhere")
    found = services(PORT)
    assert found["urgent", "unix"]["maxproc"] == "60"
    smtpd = found["2587", "inet"]
    assert (smtpd["command"], smtpd["maxproc"]) == ("smtpd", str(sizing.URGENT_SUBMISSION))
    assert (
        smtpd["options"]["smtpd_tls_security_level"] == "encrypt"
        and smtpd["options"]["smtpd_sasl_auth_enable"] == "yes"
    )
    who = smtpd["options"]["smtpd_sender_restrictions"].split(", ")
    assert (
        who[0] == "reject_authenticated_sender_login_mismatch"
        and who[1].endswith("urgent_only")
        and who[2:] == ["reject"]
    )
    # where nobody's addresses are known it would reject everybody
    assert services(PORT, logins=False)["2587", "inet"]["options"]["smtpd_sender_restrictions"].startswith(
        "check_sender_access"
    )


@pytest.mark.parametrize(
    "urgent, check, logins, asked",
    [
        # what every host has that declares no lane
        ({}, "warn", {"a": []}, True),
        ({}, "none", {"a": []}, False),
        ({}, "warn", {}, False),
        (ALERT, "none", {"a": []}, False),
        # the port is for those whose address it is, though 587 asks nobody
        (PORT, "none", {"a": []}, True),
        (PORT, "none", {}, False),
    ],
)
def test_its_port_knows_whose_address_it_is_even_where_587_asks_nobody(urgent, check, logins, asked):
    expression = yaml.safe_load((ROOT / "roles/postfix/vars/main.yml").read_text())["__postfix_logins_asked"]
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters.update({**core.FilterModule().filters(), **lane.FilterModule().filters()})
    declared = {"postfix_submission": True, "postfix_sender_check": check, "postfix_logins": logins}
    assert environment.from_string(expression).render(**declared, postfix_urgent=urgent) is asked


@pytest.mark.parametrize(
    "urgent, changes, words",
    [
        (ALERT, {}, None),
        (PORT, {}, None),
        (ALERT, {"postfix_submission": False}, None),
        ({"senders": []}, {}, ["senders: empty"]),
        ({"senders": [], "port": 2587}, {}, ["senders", "alert@example.org"]),
        ({"senders": ["alert"]}, {}, ["senders", "'alert'", "alert@example.org"]),
        ({"senders": ["@home.example"]}, {}, ["senders", "alert@example.org"]),
        ({"senders": ["a@b@home.example"]}, {}, ["senders"]),
        ({"senders": ["a alert@home.example"]}, {}, ["senders"]),
        ({"senders": ["alert@home"]}, {}, ["senders", "fully qualified"]),
        ({**ALERT, "maxproc": 0}, {}, ["maxproc = 0", "1 or more", "100"]),
        ({**ALERT, "maxproc": -1}, {}, ["maxproc = -1"]),
        ({**ALERT, "port": 70000}, {}, ["port = 70000", "2587"]),
        ({**ALERT, "port": -2}, {}, ["port = -2", "2587"]),
        ({**ALERT, "port": 25}, {}, ["port = 25", "smtpd", "2587"]),
        ({**ALERT, "port": 587}, {}, ["port = 587", "submission", "2587"]),
        (PORT, {"postfix_submission": False}, ["sokuhai_submission: true"]),
        ({**PORT, "port": 10040}, {}, ["port = 10040", "policy service"]),
        ({**PORT, "port": 8461}, {"postfix_mta_sts": {"address": "127.0.0.1", "port": 8461}}, ["port = 8461"]),
        (
            PORT,
            {"postfix_master_cf": [{"name": "127.0.0.1:2587", "type": "inet", "command": "smtpd"}]},
            ["127.0.0.1:2587"],
        ),
        # more of the port's own service
        (PORT, {"postfix_master_cf": [{"name": "2587", "type": "inet", "maxproc": 20}]}, None),
        (ALERT, {"postfix_master_cf": [{"name": "urgent", "options": {"smtp_bind_address": "192.0.2.10"}}]}, None),
        (ALERT, {"postfix_master_cf": [{"name": "urgent", "maxproc": 900}]}, ["postfix_urgent.maxproc"]),
        (ALERT, {"postfix_master_cf": [{"name": "urgent", "state": "absent"}]}, ["postfix_urgent"]),
        (ALERT, {"postfix_main_cf": [{"name": lane.MAPS, "value": "hash:/x"}]}, ["postfix_main_cf", lane.MAPS]),
        (ALERT, {"postfix_providers": ["gmail"]}, None),
        (ALERT, {"postfix_providers": ["gmail", {"name": "urgent"}]}, ["postfix_providers (urgent)", "urgent_mail"]),
        (ALERT, {"postfix_tables": [{"name": "urgent_senders"}]}, ["postfix_tables", "urgent_senders"]),
    ],
)
def test_what_is_refused(urgent, changes, words):
    found = lane.postfix_urgent_problems({**DECLARED, **changes, "postfix_urgent": urgent})
    assert bool(found) == bool(words), found
    assert all(word in " ".join(found) for word in words or [])
    assert all(line.startswith("postfix_") for line in found)
