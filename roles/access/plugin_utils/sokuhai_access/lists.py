# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The whole of what role postfix is to write: lists, classes, tables, postscreen(8)'s parameters: SMTPD_ACCESS_README, POSTSCREEN_README, postconf(5)."""

from . import changes, countries, samples, tables, traps

LISTS = ("client", "helo", "sender", "recipient", "data", "end_of_data")


def service_of(services, name):
    """Return what access_services says under *name*, a restriction or the place of a service; '' for nothing."""
    service = (services or {}).get(name) or ""
    if isinstance(service, dict):
        service = service.get("restriction") or ""
    return " ".join(str(service).split())


def access_set(declared, healthy):
    """Return what role postfix is to write, as {restrictions: {parameter: [{name, value, reason, weight}]}, main_cf, master_cf,
    tables: [{name, type, entries}], samples (samples.questions()), aliases}.

    declared: the role's public variables without the prefix access_, and its data (lists, classes, helo_rules, dynamic_rules,
    dynamic_good, own_samples, main, master_services, country_text: the file of countries). healthy: DNSBLs that may be asked, as
    dnsbl.lists() gives them. What is declared wrongly is problems' matter, and left out here.
    """
    lists, _ = changes.changed({**declared["lists"], **declared["classes"]}, declared["changes"])
    found = _tables(declared, lists)

    def values(item):
        return _values(item, declared, found, healthy)

    addresses = [str(trap).lower() for trap in declared["traps"]]
    restrictions, classes = {}, []
    for name in LISTS:
        items = [
            {"name": item["name"], "value": ", ".join(values(item)), "reason": item.get("reason", "")}
            for item in lists[name]
            if values(item)
        ]
        if addresses and name in traps.LISTS:
            table = f"trap_{name}"
            found[table] = [{"pattern": address, "action": table} for address in addresses]
            reason = "traps: what would have caught their mail is counted"
            items.insert(
                0, {"name": "traps", "value": f"check_recipient_access {tables.place(table)}", "reason": reason}
            )
            last = tables.SAFE_YES if name == "recipient" else "permit"
            classes.append((table, traps.class_of(lists[name], values, last)))
        restrictions[f"smtpd_{name}_restrictions"] = [
            {**item, "weight": 10 * number} for number, item in enumerate(items, 1)
        ]
    for name in declared["classes"]:
        # a class without a rule says nothing, but Postfix wants one; permit and reject would say something
        entries = [{"value": value, "reason": item.get("reason", "")} for item in lists[name] for value in values(item)]
        classes.append((name, entries or ["sleep 0"]))

    if found[tables.EXCEPTED]:
        classes.append((tables.NAMED, [f"check_client_access {tables.place('check_dynamic_client')}"]))

    main = [{**item, "group": "Access", "weight": 390} for item in declared["main"]]
    main.append(_restriction("smtpd_restriction_classes", [name for name, _ in classes], 395))
    main += [_restriction(name, value, 396) for name, value in classes]
    if declared["profile"] == "current":
        main += [{**item, "group": "Access", "weight": 391} for item in _postscreen(declared, found, healthy)]
    services = [service for service in (declared["services"] or {}).values() if isinstance(service, dict)]
    return {
        "restrictions": restrictions,
        "main_cf": main + [item for service in services for item in service.get("main_cf") or []],
        "master_cf": [
            *declared["master_services"],
            *(item for service in services for item in service.get("master_cf") or []),
        ],
        "tables": [_table(name, found[name]) for name in found if found[name]],
        "samples": samples.questions(declared)
        + [
            {"origin": "access_traps", "asked": [[f"trap_{name}", address]], "expect": f"trap_{name}"}
            for name in traps.LISTS
            for address in addresses
        ],
        "aliases": [
            {
                "name": address.partition("@")[0],
                "value": "/dev/null",
                "reason": f"trap {address}: counted, never read",
            }
            for address in addresses
        ],
    }


def _restriction(name, value, weight):
    return {"name": name, "value": value, "group": "Restrictions", "weight": weight}


def _tables(declared, lists):
    """Return {table: entries}; a table without any is named by no restriction."""
    networks = countries.declared_networks(declared)
    found = {**tables.entries(declared)[0], **tables.of_countries(networks, declared["countries"])}
    # postscreen(8) knows no names, so only a client that is excepted by its address can pass it
    found["postscreen_access"][:0] = [
        {**entry, "action": "permit"} for entry in found["reject_client_networks"] if entry["action"] == tables.SAFE_YES
    ]
    if declared["profile"] != "current":
        found["postscreen_access"] = []
    if not any(item.get("table") == "country_tarpit" for item in lists["recipient"]):
        # nobody has waited yet when the class is asked
        found["check_client_others"] = []
    if not declared["traps"]:
        found["trap_dynamic"] = found["trap_country"] = []
    return found


def _table(name, entries):
    return {"name": name, **({"type": tables.TYPES[name]} if tables.TYPES[name] else {}), "entries": entries}


def access_asked(declared):
    """Return {tables, samples} as access_set() does, of what only Postfix itself can judge: the inventory's expressions and samples. Whatever is
    there of them can be asked before anything changes."""
    found = _tables(declared, changes.changed({**declared["lists"], **declared["classes"]}, declared["changes"])[0])
    asked = samples.given(declared)
    names = {table for question in asked for table, _key in question["asked"]}
    names |= {table for table, kinds in samples.DECLARED_IN.items() if any(declared[kind] for kind in kinds)}
    return {"tables": [_table(name, found[name]) for name in found if name in names and found[name]], "samples": asked}


def _values(item, declared, found, healthy):
    """Return an item's restrictions, a list of one but for dnsbl; empty where the item is left out."""
    if item.get("table"):
        name = item["table"]
        if name == "check_dynamic_client" and found[tables.EXCEPTED]:
            name = tables.EXCEPTED
        return [f"{item['check']} {tables.place(name)}"] if found.get(name) else []
    if item.get("service"):
        service = service_of(declared["services"], item["service"])
        if service and not service.startswith(("check_policy_service", "warn_if_reject")):
            service = f"check_policy_service {service}"
        return [service] if service else []
    if item.get("others") and found["check_client_others"]:
        return [f"check_client_access {tables.place('check_client_others')}"]
    if item.get("sleep"):
        seconds = int(declared[f"sleep_{item['sleep']}"])
        # master(8) starts smtpd(8) with stress=yes from the last free process on, and for 1000 s after: nobody is made to wait then
        return [f"sleep ${{stress?{{0}}:{{{seconds}}}}}"] if seconds else []
    if item.get("dnsbl"):
        return [f"reject_rbl_client {zone}={one['filter']}" for zone, one in _filters(healthy) if one["weight"] > 0]
    return [" ".join(changes.value_of(item).split())]


def _filters(healthy):
    """Yield (zone, {filter, weight}): Postfix takes a zone once for each filter."""
    for entry in healthy:
        yield from ((entry["name"], one) for one in entry["filters"])


def _postscreen(declared, found, healthy):
    access = ["permit_mynetworks"]
    if found["postscreen_access"]:
        access.append(tables.place("postscreen_access"))
    items = [{"name": "postscreen_access_list", "value": access}]
    if healthy:
        sites = [f"{zone}={one['filter']}*{one['weight']}" for zone, one in _filters(healthy)]
        items.append({"name": "postscreen_dnsbl_sites", "value": sites})
        items.append({"name": "postscreen_dnsbl_threshold", "value": declared["dnsbl_threshold"]})
    allows = [one["weight"] for _zone, one in _filters(healthy) if one["weight"] < 0]
    if allows:
        items.append({"name": "postscreen_dnsbl_allowlist_threshold", "value": max(allows)})
    return items
