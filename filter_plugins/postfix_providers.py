# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Providers: domains of one receiver, and the transport of Postfix that keeps to its limits. What main.cf, master.cf and a table have of them.

Pure functions. What is known of some by name: providers.toml. Rules: postconf(5), transport(5), QSHAPE_README, CONNECTION_CACHE_README of Postfix 3.7 to
3.11; qmgr_transport.c, qmgr_queue.c.
"""

import pathlib
import re
import sys
import tomllib

from ansible.errors import AnsibleFilterError

# Ansible loads each filter file by its path, without a package
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postfix_items import domain_problem, merge, near, postfix_a_labels, postfix_value

KNOWN = tomllib.loads(pathlib.Path(__file__).with_name("providers.toml").read_text(encoding="utf-8"))
#: What is known of a provider beside its values.
ABOUT = ("source", "read", "says")
#: 20 is Postfix's own limit for a destination (default_destination_concurrency_limit). Here the provider is the destination, not each of its domains. 100
#: is what QSHAPE_README has for a receiver that refuses connections now and then; Postfix's own 1 suspends it for minimal_backoff_time.
DEFAULTS = {"concurrency": 20, "failed_cohorts": 100}
#: {key: (least, most, the parameter of main.cf after the transport's name)}
NUMBERS = {
    "concurrency": (1, 1000, "destination_concurrency_limit"),
    "initial_concurrency": (1, 1000, "initial_destination_concurrency"),
    "failed_cohorts": (0, 1000, "destination_concurrency_failed_cohort_limit"),
    "recipients": (1, 1000, "destination_recipient_limit"),
    "rate_delay": (0, 3600, "transport_rate_delay"),
    "deliveries": (2, 1000, None),
}
KEYS = ("name", "domains", *NUMBERS, "reuse", "state")
#: As a transport is called in main.cf: its name begins parameters. default_ begins those of all transports; the others are services that this project adds
#: itself: postfix_urgent's, role ahead's, role spf's (spf_service) and, for reuse, TLSPROXY.
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
RESERVED = ("default", "urgent", "ahead", "policyd_spf", "tlsproxy")
TABLE = "providers"
GROUP = {"group": "Providers", "weight": 370}
TLSPROXY = {"name": "tlsproxy", "chroot": "n", "maxproc": 0, "command": "tlsproxy"}
#: Classes of domains that are this host's own, beside mydestination.
OWN = ("relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")


def items_of(providers):
    """Return declared *providers* as mappings: one that is known by its name may be declared by that alone."""
    return [{"name": item} if isinstance(item, str) else item for item in providers or []]


def known(name):
    """Return the values of the provider *name* as providers.toml has them, {} for another."""
    return {key: value for key, value in KNOWN.get(name, {}).items() if key not in ABOUT}


def postfix_providers(providers):
    """Return what is declared, merged by name with what is known and with DEFAULTS: a list of {name, domains, concurrency, …}."""
    items = items_of(providers)
    bases = [{**DEFAULTS, **known(item["name"]), "name": item["name"]} for item in items if isinstance(item, dict)]
    return merge([bases, items], ("name",), "postfix_providers")


def provider_processes(providers):
    """Return how many smtp(8) the transports of *providers* may have together."""
    return sum(int(item["concurrency"]) for item in postfix_providers(providers))


def postfix_provider_items(providers):
    """Return the items of main.cf with the limits of *providers*; [] for none."""
    items = []
    for provider in postfix_providers(providers):
        about = {"comment": f"{provider['name']}: {', '.join(provider['domains'])}"}
        for key, (_least, _most, parameter) in NUMBERS.items():
            if parameter and key in provider:
                value = f"{provider[key]}s" if key == "rate_delay" else provider[key]
                items.append({**GROUP, "name": f"{provider['name']}_{parameter}", "value": value, **about})
                about = {}
    return items


def postfix_provider_maps(providers, main_cf):
    """Return the item of main.cf that names the table of *providers*, [] for none; transport_maps of postfix_main_cf (*main_cf*) come before it."""
    if not postfix_providers(providers):
        return []
    mine = [item.get("value") for item in main_cf if item["name"] == "transport_maps" and item.get("state") != "absent"]
    maps = [postfix_value(value) for value in mine if value]
    return [
        {
            **GROUP,
            "name": "transport_maps",
            "value": [*maps, f"$default_database_type:$config_directory/tables/{TABLE}"],
        }
    ]


def postfix_provider_tables(providers):
    """Return the table {name, entries} of transport(5) for *providers*; [] for none. Without a nexthop the domain's own MX is looked up, for each."""
    entries = [
        {"pattern": domain, "action": f"{provider['name']}:"}
        for provider in postfix_providers(providers)
        for domain in postfix_a_labels(provider["domains"], "postfix_providers")
    ]
    return [{"name": TABLE, "entries": entries}] if entries else []


def postfix_provider_services(providers):
    """Return the services of master.cf for *providers*; [] for none. A process is a connection: maxproc holds all domains of a provider together."""
    services = []
    for provider in postfix_providers(providers):
        options = {"syslog_name": "postfix/$service_name"}
        if "reuse" in provider:
            name = "smtp_tls_connection_reuse" if provider["reuse"] else "smtp_connection_cache_on_demand"
            options[name] = provider["reuse"]
        if "deliveries" in provider:
            # used once, and so many times again
            options["smtp_connection_reuse_count_limit"] = int(provider["deliveries"]) - 1
        services.append(
            {
                "name": provider["name"],
                "chroot": "n",
                "maxproc": provider["concurrency"],
                "command": "smtp",
                "options": options,
            }
        )
    reused = any(provider.get("reuse") for provider in postfix_providers(providers))
    return services + ([TLSPROXY] if reused else [])


def postfix_provider_problems(declared, services):
    """Return what is wrong with postfix_providers, a list of sentences. declared: the role's variables, each of its type; services: the role's own
    services of master.cf."""
    if not declared["postfix_providers"]:
        return []
    return [
        *_item_problems(items_of(declared["postfix_providers"])),
        *_name_problems(declared, services),
        *_domain_problems(declared),
        *_route_problems(declared),
    ]


def _usable(providers):
    """The items that are mappings with a name; what is wrong with the others is said once."""
    return [item for item in items_of(providers) if isinstance(item, dict) and isinstance(item.get("name"), str)]


def _item_problems(items):
    seen = set()
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            yield f"postfix_providers: {item!r} is no provider; {', '.join(KNOWN)} are known by name, or {{name: mine, domains: [example.org]}}"
            continue
        where = f"postfix_providers ({item['name']})"
        if item["name"] in seen:
            yield f"{where}: is listed twice; one item has everything that is declared about it"
        seen.add(item["name"])
        if item.get("state", "present") not in ("present", "absent"):
            yield f"{where}: state is {item['state']!r}, it is present or absent"
        for key in item:
            if key not in KEYS:
                yield f"{where}: {key!r} is not a key of a provider{near(key, KEYS)}; there are {', '.join(KEYS)}"
        if not isinstance(item.get("reuse", True), bool):
            yield f"{where}: reuse is {item['reuse']!r}, it is true or false"
        yield from _number_problems(where, item)
        if item["name"] not in KNOWN and not item.get("domains"):
            yield f"{where}: has no domains, and is none of those known by name: {', '.join(KNOWN)}{near(item['name'], KNOWN)}"


def _number_problems(where, item):
    for key, (least, most, _parameter) in NUMBERS.items():
        value = item.get(key, least)
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or not least <= int(value) <= most:
            usual = {**DEFAULTS, "recipients": 50, "rate_delay": 1, "initial_concurrency": 5, "deliveries": 20}[key]
            yield f"{where}: {key} is {value!r}; {least} to {most}, such as {usual}"
            return
    whole = {**DEFAULTS, **item}
    if int(whole.get("initial_concurrency", 1)) > int(whole["concurrency"]):
        yield (
            f"{where}: initial_concurrency is {whole['initial_concurrency']}, more than concurrency: 1 to {whole['concurrency']}, such as "
            f"{whole['concurrency']}"
        )


def _name_problems(declared, services):
    taken = {service["name"] for service in services if service.get("type", "unix") == "unix"}
    other = {
        item["name"]
        for item in declared["postfix_master_cf"]
        if item.get("type", "unix") == "unix" and (item.get("command") or item.get("state") == "absent")
    }
    for name in dict.fromkeys(item["name"] for item in _usable(declared["postfix_providers"])):
        if not NAME.fullmatch(name) or name in RESERVED:
            yield (
                f"postfix_providers ({name}): the name becomes that of a transport: lower case letters, digits and _, a letter first, 31 at most, "
                f"and none of {', '.join(RESERVED)}; such as mine"
            )
        elif name in taken:
            yield f"postfix_providers ({name}): master.cf has a service of this name; take another, such as {name}_mail"
        elif name in other:
            yield f"postfix_providers ({name}): postfix_master_cf has a service of this name; take another, such as {name}_mail"
    if any(table["name"] == TABLE for table in declared["postfix_tables"]):
        yield f"postfix_tables ({TABLE}): this name is taken by postfix_providers"


def _domain_problems(declared):
    owners, own = {}, _own(declared)
    for item in _usable(declared["postfix_providers"]):
        domains = item.get("domains", known(item["name"]).get("domains", []))
        where = f"postfix_providers ({item['name']})"
        if item.get("state") == "absent":
            continue
        if not isinstance(domains, list):
            yield f"{where}: domains is {domains!r}, a list of domains is needed, such as [example.org]"
            continue
        for domain in map(str, domains):
            try:
                written = postfix_a_labels([domain.removeprefix(".")], "", both=False)[0].lower()
                problem = domain_problem(written)
            except AnsibleFilterError as error:
                problem = f"is {domain!r}{error}"
            if problem:
                yield f"{where}: a domain {problem}; or one with a dot before it, for all names below"
                continue
            key = "." + written if domain.startswith(".") else written
            if key in owners:
                yield f"{where}: {domain} is a domain of {owners[key]}; it can be one provider's alone"
            owners.setdefault(key, item["name"])
            found = sorted(name for name in own if name == key or (key.startswith(".") and name.endswith(key)))
            if found:
                yield f"{where}: {domain} takes {found[0]} away from this host, which delivers it itself: leave it out"


def _own(declared):
    """Names that this host delivers, or relays, by itself: literal ones, and what names itself."""
    values = [str(value) for value in declared["postfix_destinations"]]
    values += [
        word
        for item in declared["postfix_main_cf"]
        if item["name"] in OWN
        for word in re.split(r"[,\s]+", postfix_value(item.get("value")))
    ]
    for name in ("hostname", "domain"):
        values = [value.replace("$my" + name, str(declared["postfix_" + name])) for value in values]
    return {value.lower() for value in values if value and not re.search(r"[/:$!]", value)}


def _route_problems(declared):
    if declared["postfix_smarthost"]:
        yield (
            "postfix_providers: with sokuhai_smarthost all mail goes to the smarthost, and a provider's would go past it: leave one of the two out; the "
            "smarthost's own limit is smtp_destination_concurrency_limit in postfix_main_cf"
        )
    for item in declared["postfix_main_cf"]:
        if item["name"] == "relayhost" and item.get("state") != "absent" and item.get("value"):
            yield "postfix_main_cf: relayhost: mail to postfix_providers would go past it: leave one of the two out"


class FilterModule:
    def filters(self):
        return {
            "postfix_provider_items": postfix_provider_items,
            "postfix_provider_maps": postfix_provider_maps,
            "postfix_provider_tables": postfix_provider_tables,
            "postfix_provider_services": postfix_provider_services,
            "postfix_provider_problems": postfix_provider_problems,
        }
