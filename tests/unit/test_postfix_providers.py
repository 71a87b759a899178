"""Providers: what main.cf, master.cf and the table have of them, and what is refused."""

import postfix_providers as providers
import pytest
import sizing

MINE = {"name": "mine", "domains": ["one.example", ".two.example"], "concurrency": 5, "rate_delay": 2}
BASE = [{"name": "smtp", "type": "inet"}, {"name": "smtp"}, {"name": "relay"}]
DECLARED = {
    "postfix_providers": [],
    "postfix_main_cf": [],
    "postfix_master_cf": [],
    "postfix_tables": [],
    "postfix_smarthost": {},
    "postfix_destinations": ["$myhostname", "localhost.$mydomain", "localhost", "$mydomain", "hash:/etc/more"],
    "postfix_hostname": "mx.home.example",
    "postfix_domain": "home.example",
}


def limits(declared):
    return {item["name"]: item["value"] for item in providers.postfix_provider_items(declared)}


def services(declared):
    return {item["name"]: item for item in providers.postfix_provider_services(declared)}


def problems(**change):
    return providers.postfix_provider_problems({**DECLARED, **change}, BASE)


def test_without_providers_nothing_is_written():
    assert limits([]) == {} == services([])
    assert providers.postfix_provider_tables([]) == [] == providers.postfix_provider_maps([], [])
    assert providers.provider_processes([]) == 0 and problems() == []


def test_a_provider_is_a_transport_with_its_limits():
    assert limits([MINE]) == {
        "mine_destination_concurrency_limit": 5,
        "mine_destination_concurrency_failed_cohort_limit": 100,
        "mine_transport_rate_delay": "2s",
    }
    service = services([MINE])["mine"]
    # a process is a connection, so that all its domains together keep to it
    assert (service["maxproc"], service["command"]) == (5, "smtp")
    assert providers.postfix_provider_tables([MINE]) == [
        {
            "name": "providers",
            "entries": [{"pattern": "one.example", "action": "mine:"}, {"pattern": ".two.example", "action": "mine:"}],
        }
    ]


def test_what_is_known_by_name_is_merged_with_what_is_declared():
    assert limits(["docomo"])["docomo_destination_recipient_limit"] == 100
    assert services(["docomo"])["docomo"]["options"]["smtp_connection_cache_on_demand"] is False
    changed = limits([{"name": "docomo", "recipients": 30, "initial_concurrency": 20}])
    assert (
        changed["docomo_destination_recipient_limit"] == 30 and changed["docomo_initial_destination_concurrency"] == 20
    )
    assert limits(["docomo"])["docomo_destination_concurrency_limit"] == 20
    assert limits(["gmail", {"name": "docomo", "state": "absent"}]).keys() == limits(["gmail"]).keys()


def test_connections_are_reused_under_tls_by_tlsproxy():
    assert "tlsproxy" not in services(["yahoo"])
    reused = services([{"name": "yahoo", "reuse": True}])
    assert reused["yahoo"]["options"]["smtp_tls_connection_reuse"] is True and "tlsproxy" in reused
    # 20 messages a connection: the first, and 19 times again
    assert reused["yahoo"]["options"]["smtp_connection_reuse_count_limit"] == 19


def test_tables_of_the_inventory_come_first():
    mine = [{"name": "transport_maps", "value": ["hash:/etc/a", "hash:/etc/b"]}]
    table = "$default_database_type:$config_directory/tables/providers"
    assert providers.postfix_provider_maps(["gmail"], mine)[0]["value"] == ["hash:/etc/a, hash:/etc/b", table]
    assert providers.postfix_provider_maps(["gmail"], [])[0]["value"] == [table]
    assert providers.postfix_provider_maps(["gmail"], [{"name": "transport_maps", "state": "absent"}])[0]["value"] == [
        table
    ]


def test_their_processes_count_in_memory():
    shared = {"sokuhai_openfiles": 65535, "sokuhai_process_limit": 500, "sokuhai_recursive_clients": 20000}
    none, some = (sizing.sizes(sizing.asked_of(shared | more)) for more in ({}, {"postfix_providers": ["gmail", MINE]}))
    assert some.processes - none.processes == 25 == some.postfix - none.postfix
    assert some.memory - none.memory == 25 * (sizing.SMTP + 2 * sizing.QUERY)


@pytest.mark.parametrize("name", providers.KNOWN)
def test_what_is_known_is_right_and_has_its_source(name):
    known = providers.KNOWN[name]
    assert all(known[about].strip() for about in providers.ABOUT) and known["source"].startswith("https://")
    assert set(known) <= {*providers.KEYS, *providers.ABOUT}
    assert problems(postfix_providers=[name]) == []


def test_all_that_are_known_go_together():
    assert problems(postfix_providers=list(providers.KNOWN)) == []


@pytest.mark.parametrize(
    "declared, words",
    [
        (["gmial"], ["postfix_providers (gmial)", "docomo", "gmail"]),
        ([{"domains": ["one.example"]}], ["postfix_providers", "mine"]),
        ([3], ["postfix_providers", "3"]),
        (["gmail", {"name": "gmail", "concurrency": 5}], ["postfix_providers (gmail)", "twice"]),
        ([{"name": "mine", "domain": ["one.example"]}], ["domain", "did you mean domains?"]),
        ([{**MINE, "mx": ["*.google.com"]}], ["'mx'", "domains"]),
        ([{**MINE, "concurrency": 0}], ["concurrency is 0", "1 to 1000", "20"]),
        ([{**MINE, "recipients": 5000}], ["recipients is 5000", "1 to 1000", "50"]),
        ([{**MINE, "rate_delay": "1m"}], ["rate_delay is '1m'", "0 to 3600"]),
        ([{**MINE, "failed_cohorts": -1}], ["failed_cohorts is -1", "0 to 1000"]),
        ([{**MINE, "deliveries": 1}], ["deliveries is 1", "2 to 1000"]),
        ([{**MINE, "initial_concurrency": 6}], ["initial_concurrency is 6", "1 to 5"]),
        ([{**MINE, "reuse": "often"}], ["reuse is 'often'"]),
        ([{**MINE, "state": "gone"}], ["state is 'gone'"]),
        ([{**MINE, "name": "My-ISP"}], ["postfix_providers (My-ISP)", "mine"]),
        ([{**MINE, "name": "default"}], ["postfix_providers (default)"]),
        # services that come from elsewhere than the role's own list
        ([{**MINE, "name": "tlsproxy", "reuse": True}], ["postfix_providers (tlsproxy)", "such as mine"]),
        ([{**MINE, "name": "ahead"}], ["postfix_providers (ahead)"]),
        ([{**MINE, "name": "policyd_spf"}], ["postfix_providers (policyd_spf)"]),
        ([{**MINE, "name": "relay"}], ["postfix_providers (relay)", "relay_mail"]),
        ([{**MINE, "domains": "one.example"}], ["domains is 'one.example'", "[example.org]"]),
        ([{**MINE, "domains": ["example"]}], ["'example'"]),
        ([{**MINE, "domains": ["stra\u00dfe.example"]}], ["A-label"]),
        (["gmail", {**MINE, "domains": ["GMail.com"]}], ["GMail.com is a domain of gmail"]),
        ([{**MINE, "domains": ["home.example"]}], ["home.example takes home.example away"]),
        ([{**MINE, "domains": [".home.example"]}], ["takes localhost.home.example away"]),
    ],
)
def test_what_cannot_work_is_refused(declared, words):
    found = problems(postfix_providers=declared)
    assert found and all(any(word in problem for problem in found) for word in words), found


@pytest.mark.parametrize(
    "change, words",
    [
        ({"postfix_smarthost": {"host": "smtp.provider.example"}}, "sokuhai_smarthost"),
        ({"postfix_main_cf": [{"name": "relayhost", "value": "[a.example]"}]}, "postfix_main_cf: relayhost"),
        ({"postfix_main_cf": [{"name": "relay_domains", "value": "gmail.com, b.example"}]}, "takes gmail.com away"),
        ({"postfix_master_cf": [{"name": "gmail", "command": "smtp"}]}, "postfix_master_cf has a service"),
        ({"postfix_tables": [{"name": "providers"}]}, "postfix_tables (providers)"),
    ],
)
def test_what_stands_in_their_way_is_refused(change, words):
    found = problems(postfix_providers=["gmail"], **change)
    assert len(found) == 1 and words in found[0]
    assert problems(**change) == []


def test_options_of_a_providers_service_may_be_declared_as_those_of_any():
    assert problems(postfix_providers=["gmail"], postfix_master_cf=[{"name": "gmail", "options": {"x": "y"}}]) == []
