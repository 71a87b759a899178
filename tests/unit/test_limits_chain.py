# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The chain of limits: what is a floor, what is a problem, and that the value a problem names really mends it."""

import random

import pytest
import sizing
from limits_chain import limits_chain, limits_picture
from limits_plan import conflicts, limits_plan, misplaced
from sizing import KERNEL_VALUES, holds

ORDER = [value.name for value in KERNEL_VALUES]

# what a stock FreeBSD 15.0 with 4 GB answered
STOCK = {
    "kern.maxfiles": "130352",
    "kern.maxfilesperproc": "117315",
    "kern.ipc.maxsockets": "130352",
    "kern.ipc.nmbclusters": "252212",
    "kern.maxproc": "9460",
    "kern.maxprocperuid": "8514",
    "kern.ipc.soacceptqueue": "128",
    "kern.ipc.maxsockbuf": "8388608",
    "net.inet.udp.recvspace": "42080",
    "net.inet.ip.portrange.hifirst": "49152",
    "net.inet.ip.portrange.hilast": "65535",
    "hw.physmem": "4271390720",
    "hw.ncpu": "64",
}
TUNABLE = ["kern.maxproc", "kern.maxfiles", "kern.maxfilesperproc", "kern.ipc.maxsockets", "kern.ipc.nmbclusters"]
WRITABLE = [name for name in STOCK if name.startswith(("kern.", "net.")) and name != "kern.maxproc"]


def measured(**changes):
    answer = {
        "sysctl": dict(STOCK),
        "tunable": list(TUNABLE),
        "writable": list(WRITABLE),
        "classes": {"daemon": "infinity", "sokuhai": None},
        "running": {},
        "named": {"version": None, "knows_files": None},
        "pf": {"enabled": False, "states": None},
        "jailed": False,
        "settable": [],
        "settings": [],
    }
    answer.update(changes)
    return answer


def declared(**changes):
    """What is declared, under short names: openfiles for sokuhai_openfiles."""
    answer = {
        "sokuhai_openfiles": 65535,
        "sokuhai_process_limit": 500,
        "sokuhai_recursive_clients": 20000,
        "sokuhai_fd_setsize": 16384,
        "rebuild_enabled": False,
        "bind_tcp_listen_queue": 128,
        "bind_udp_receive_buffer": 1048576,
        "limits_sysctl": {},
        "limits_loader": {},
        "limits_login_class": "sokuhai",
    }
    answer.update({LONG.get(name, name): value for name, value in changes.items()})
    for variable in ("bind_openfiles", "postfix_openfiles"):
        answer.setdefault(variable, answer["sokuhai_openfiles"])
    return answer


LONG = {
    "openfiles": "sokuhai_openfiles",
    "process_limit": "sokuhai_process_limit",
    "recursive_clients": "sokuhai_recursive_clients",
    "sysctl": "limits_sysctl",
    "loader": "limits_loader",
}


def needs(settings):
    """{name: what the kernel has to give for *settings*}."""
    size = sizing.sizes(sizing.asked_of(settings))
    return {value.name: value.need(size) for value in KERNEL_VALUES}


def the_link(chain, start):
    found = [item for item in chain["links"] if item["id"] == start]
    assert len(found) == 1, [item["id"] for item in chain["links"]]
    return found[0]


def test_a_stock_host_gets_floors_and_keeps_what_is_above_them():
    chain = limits_chain(measured(), declared())
    assert list(chain["floors"]) == list(ORDER), "the order in which they are set matters"
    assert chain["floors"]["kern.maxfilesperproc"] == 65535 and chain["floors"]["kern.ipc.soacceptqueue"] == 500
    queue = the_link(chain, "kern.ipc.soacceptqueue")
    assert (queue["has"], queue["will"], the_link(chain, "kern.maxfiles")["will"]) == (128, 500, 130352)
    assert all(item["ok"] for item in chain["links"])


def test_a_declared_value_has_no_floor_and_two_ways_to_mend():
    chain = limits_chain(measured(), declared(sysctl={"kern.maxfilesperproc": 20000}))
    assert "kern.maxfilesperproc" not in chain["floors"]
    assert {"variable": "sokuhai_openfiles", "value": 20000} in chain["problems"][0]["mends"]


SMALL = {**STOCK, "hw.physmem": str(512 * 2**20)}
UNKNOWN = {name: value for name, value in STOCK.items() if name != "net.inet.udp.recvspace"}
NAMED = [{"version": "9.18.49", "knows_files": True}, {"version": "9.20.30", "knows_files": False}]


@pytest.mark.parametrize(
    "host, changes, problem, words",
    [
        # both ends of a broken link are named
        (
            measured(),
            {"sysctl": {"kern.maxfilesperproc": 20000}},
            "kern.maxfilesperproc",
            ["limits_sysctl['kern.maxfilesperproc'] = 20000", "sokuhai_openfiles = 65535"],
        ),
        # what memory cannot carry, with numbers
        (
            measured(sysctl=SMALL),
            {"process_limit": 1, "recursive_clients": 1000},
            "memory",
            ["512 MB", "sokuhai_openfiles", "32768"],
        ),
        # the wish to blame is the one that asks for most
        (measured(), {"process_limit": 200000}, "memory", ["sokuhai_process_limit = 200000"]),
        (measured(), {"openfiles": 10**6}, "memory", ["sokuhai_openfiles = 1000000"]),
        (measured(), {"loader": {"kern.maxfiles": 10**6}}, "loader's clamp", ["clamps", "260705"]),
        # more queries than there are ports
        (
            measured(),
            {"recursive_clients": 60000},
            "named: source ports",
            ["sokuhai_recursive_clients = 60000", "29323"],
        ),
        (measured(pf={"enabled": True, "states": 20999}), {}, "pf: states", ["set limit states 21000"]),
        (measured(pf={"enabled": True, "states": None}), {}, "pf: states", ["set limit states 21000"]),
        # named's `files`, where named knows it and where not
        *(
            (
                measured(named=named),
                {"sysctl": {"kern.maxfilesperproc": 65535}, "bind_openfiles": 100000},
                "kern.maxfilesperproc: bind_openfiles",
                ["bind_openfiles = 100000", "kern.maxfilesperproc = 65535"],
            )
            for named in NAMED
        ),
        # only where the rebuild is wanted
        (
            measured(),
            {"openfiles": 8000, "rebuild_enabled": True},
            "FD_SETSIZE",
            ["sokuhai_openfiles = 8000", "sokuhai_fd_setsize = 16384"],
        ),
        # of a jail, all that its host must set, with the values, and where
        (
            measured(jailed=True),
            {},
            "jail",
            ["is a jail", "kern.ipc.soacceptqueue (here 128)", "in /etc/sysctl.conf: kern.ipc.soacceptqueue=500, "],
        ),
        (measured(sysctl=UNKNOWN), {}, "net.inet.udp.recvspace", ["net.inet.udp.recvspace"]),
    ],
)
def test_a_broken_link_is_a_problem_that_names_both_ends(host, changes, problem, words):
    found = {one["id"]: one["message"] for one in limits_chain(host, declared(**changes))["problems"]}
    assert all(word in found[problem] for word in words) and set(found) <= {problem, "default_process_limit"}


OWN_STACK = ["net.inet.ip.portrange.hifirst"]
RICH = {**STOCK, **{name: str(value) for name, value in needs(declared()).items()}}


@pytest.mark.parametrize(
    "host, changes",
    [
        (measured(), {}),
        # no more is asked for than the kernel gives
        (measured(), {"openfiles": 20000, "sysctl": {"kern.maxfilesperproc": 20000}}),
        (measured(pf={"enabled": True, "states": 100000}), {}),
        *((measured(named=named), {"sysctl": {"kern.maxfilesperproc": 65535}}) for named in NAMED),
        # FD_SETSIZE binds only where the rebuild is wanted
        (measured(), {"openfiles": 8000}),
        # a jail whose host gives enough, and one that declares what it has
        (measured(jailed=True, sysctl=RICH), {}),
        (measured(jailed=True, sysctl=RICH), {"sysctl": {"kern.maxfiles": int(RICH["kern.maxfiles"])}}),
        # a jail with a network stack of its own sets that one's values itself
        (measured(jailed=True, settable=OWN_STACK, sysctl={**RICH, **dict.fromkeys(OWN_STACK, "60000")}), {}),
        # a running daemon with less is shown, and its next start mends it
        (measured(running={"postfix": {"pid": 9, "soft": 1024, "hard": 1024}}), {}),
    ],
)
def test_what_holds_or_will_hold_is_no_problem(host, changes):
    assert limits_chain(host, declared(**changes))["problems"] == []


def test_what_a_jail_sets_itself_and_what_it_leaves_to_its_host():
    """Nothing for the loader, which a jail has not; no line of sysctl.conf that its boot could not set; no floor that is not refused."""
    running = {**RICH, "kern.ipc.soacceptqueue": "128", "net.inet.ip.portrange.hifirst": "60000"}
    host = measured(jailed=True, settable=OWN_STACK, sysctl=running, kenv={}, ours={"sysctl": {}, "loader": {}})
    host["login_conf_splits"] = False
    given = declared(sysctl={"kern.ipc.maxsockbuf": 5}, loader={"kern.maxproc": 5}, limits_openfiles=65535)
    chain = limits_chain(host, given)
    (jail,) = [one["message"] for one in chain["problems"] if one["id"] == "jail"]
    for word in ("kern.ipc.soacceptqueue=", "kern.ipc.maxsockbuf=5", "/boot/loader.conf, and a reboot: kern.maxproc=5"):
        assert word in jail.partition("Set on the jail's host")[2]
    assert "portrange" not in jail
    plan = limits_plan(host, given, chain["floors"])
    assert plan["loader"] == plan["reboot"] == plan["problems"] == []
    assert {name for name, _value in plan["sysctl"]} == {one["name"] for one in plan["apply"]} == set(OWN_STACK)


def test_maxfiles_keeps_the_twentieth_that_is_roots():
    floor = needs(declared(process_limit=1, recursive_clients=1))["kern.maxfiles"]
    assert floor - floor // 20 >= 65535


def test_ports_for_outstanding_queries():
    chain = limits_chain(measured(), declared(recursive_clients=20000))
    ports = the_link(chain, "named: source ports")
    assert (ports["has"], ports["needs"], ports["will"]) == (16384, 44000, 44000)
    assert chain["floors"]["net.inet.ip.portrange.hifirst"] == 21536
    few = limits_chain(measured(), declared(recursive_clients=1000))
    assert few["floors"]["net.inet.ip.portrange.hifirst"] == 65535 - 2200 + 1


def test_pf_that_is_off_is_no_link():
    chain = limits_chain(measured(pf={"enabled": False, "states": 1}), declared())
    assert not [item for item in chain["links"] if item["id"].startswith("pf")]


def test_infinity_reads_as_maxfilesperproc():
    unbounded = {"named": {"pid": 7, "soft": "infinity", "hard": "infinity"}}
    host = measured(classes={"daemon": "infinity", "sokuhai": "infinity"}, running=unbounded)
    chain = limits_chain(host, declared())
    assert the_link(chain, "login class")["has"] == the_link(chain, "named: openfiles")["has"] == 117315


def test_a_running_daemon_with_less_is_shown_with_what_mends_it():
    chain = limits_chain(measured(running={"postfix": {"pid": 9, "soft": 1024, "hard": 1024}}), declared())
    link = the_link(chain, "postfix: openfiles")
    assert not link["ok"] and link["mend"] == "service postfix restart"


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named["version"])
def test_files_of_named_is_a_reason_only_where_named_knows_it(named):
    chain = limits_chain(measured(named=named), declared(sysctl={"kern.maxfilesperproc": 65535}))
    assert any("`files`" in item["because"] for item in chain["links"]) is named["knows_files"]


def test_the_chain_of_a_host_without_the_mail_service_asks_nothing_for_postfix():
    resolver = {"sokuhai_mail": False, "bind_recursion_for": ["192.0.2.0/24"]}
    chain = limits_chain(measured(sysctl={**STOCK, "hw.physmem": str(2**31)}), declared(**resolver))
    assert chain["problems"] == [] and the_link(chain, "recursive-clients")["ok"]
    assert (chain["floors"]["kern.maxproc"], chain["floors"]["kern.maxprocperuid"]) == (250, 0)
    little = measured(sysctl={**STOCK, "hw.physmem": str(2**29)})
    (problem,) = [
        one for one in limits_chain(little, declared(**resolver))["problems"] if one["id"] == "recursive-clients"
    ]
    assert problem["mends"][0]["variable"] == "sokuhai_recursive_clients"


def test_a_process_limit_beyond_memory_is_what_sizing_says():
    chain = limits_chain(measured(sysctl={**STOCK, "hw.physmem": str(2 * 2**30)}), declared())
    (problem,) = [problem for problem in chain["problems"] if problem["id"] == "default_process_limit"]
    (mend,) = problem["mends"]
    assert problem["message"].startswith("sokuhai_process_limit: 500 ") and mend["variable"] == "sokuhai_process_limit"
    assert the_link(chain, "default_process_limit")["has"] == mend["value"] < 500


# ---- placement by the kernel's own flags ----


@pytest.mark.parametrize(
    "sysctl,loader,words",
    [
        ({"kern.maxproc": 9999}, {}, ["limits_sysctl['kern.maxproc']", "limits_loader"]),
        ({}, {"kern.ipc.soacceptqueue": 512}, ["limits_loader['kern.ipc.soacceptqueue']", "limits_sysctl"]),
        ({"kern.maxfilez": 1}, {}, ["limits_sysctl['kern.maxfilez']", "does not know"]),
        ({"vfs.zfs.arc_max": 1}, {}, ["vfs.zfs.arc_max", "zfs", "not loaded"]),
        ({"hw.ncpu": 4}, {}, ["limits_sysctl['hw.ncpu']", "read-only"]),
        ({}, {"kern.ipc.nmbclusters": "4GB"}, ["limits_loader['kern.ipc.nmbclusters']", "'4GB'", "write 4G"]),
        ({"kern.ipc.maxsockbuf": "2 MiB"}, {}, ["limits_sysctl['kern.ipc.maxsockbuf']", "'2 MiB'", "write 2M"]),
        ({"kern.ipc.maxsockbuf": "1.5G"}, {}, ["limits_sysctl['kern.ipc.maxsockbuf']", "digits, with k, m, g or t"]),
        ({}, {"hw.ncpu": 4}, ["limits_loader['hw.ncpu']", "read-only"]),
        ({"kern.ipc.somaxconn": 1024}, {}, ["kern.ipc.somaxconn", "kern.ipc.soacceptqueue"]),
        ({"kern.maxfiles": 1}, {"kern.maxfiles": 2}, ["differ"]),
    ],
)
def test_a_name_in_the_wrong_file(sysctl, loader, words):
    (message,) = misplaced(sysctl, loader, measured())
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "sysctl,loader",
    [
        ({"kern.maxfiles": 200000}, {}),
        ({}, {"kern.maxfiles": 200000}),
        ({"kern.maxfiles": 200000}, {"kern.maxfiles": "200000"}),
        ({"kern.ipc.soacceptqueue": 512}, {}),
        ({}, {"kern.maxproc": 9999}),
    ],
)
def test_a_name_in_the_right_file(sysctl, loader):
    assert list(misplaced(sysctl, loader, measured())) == []


# ---- keys set elsewhere ----


@pytest.mark.parametrize(
    "name, value, explicit, floors, words",
    [
        ("kern.ipc.soacceptqueue", "77", {}, {"kern.ipc.soacceptqueue": 500}, ["77", "500"]),
        # one that gives more is what the host has
        ("kern.ipc.soacceptqueue", "4096", {}, {"kern.ipc.soacceptqueue": 500}, []),
        ("net.inet.ip.portrange.hifirst", "10000", {}, {"net.inet.ip.portrange.hifirst": 21536}, []),
        ("net.inet.ip.portrange.hifirst", "50000", {}, {"net.inet.ip.portrange.hifirst": 21536}, ["50000", "21536"]),
        # a declared value is exact
        ("kern.maxfiles", "0x10", {"kern.maxfiles": 16}, {}, []),
        ("kern.maxfiles", "20000", {"kern.maxfiles": 300000}, {}, ["20000", "300000"]),
        # sysctl(8) ends with an error for the loader's notation, so the line sets nothing
        ("kern.maxfiles", "1M", {}, {"kern.maxfiles": 68985}, ["takes no M", "write 1048576"]),
    ],
)
def test_a_foreign_line_that_gives_too_little_is_refused_with_file_and_line(name, value, explicit, floors, words):
    line = {"file": "/etc/sysctl.conf", "line": 12, "name": name, "value": value}
    found = list(conflicts([line], explicit, floors))
    assert len(found) == bool(words)
    assert all(word in message for message in found for word in ("/etc/sysctl.conf:12", *words)), found


@pytest.mark.parametrize("value", ["1M", "1m", "1024k", "0x100000", "04000000"])
def test_a_line_of_the_loaders_is_read_as_the_loader_does(value):
    line = {"file": "/boot/loader.conf", "line": 3, "name": "kern.maxfiles", "value": value}
    assert list(conflicts([line], {}, {"kern.maxfiles": 68985})) == []
    assert list(conflicts([line], {"kern.maxfiles": 1048576}, {})) == []
    assert list(conflicts([line], {}, {"kern.maxfiles": 1048577})) != []


def planned(**changes):
    host = measured(kenv={}, ours={"sysctl": {}, "loader": {}}, login_conf_splits=False)
    host["sysctl"]["kern.maxfiles"] = "1048576"
    return limits_plan(host, declared(limits_openfiles=65535, **changes), {})


def test_a_declared_size_waits_for_no_boot_once_the_kernel_has_it():
    plan = planned(limits_loader={"kern.maxfiles": "1M"})
    assert plan["reboot"] == [] and plan["loader"] == [["kern.maxfiles", "1M"]]


def test_a_size_for_sysctl_is_written_as_sysctl_takes_it():
    plan = planned(limits_sysctl={"kern.maxfiles": "2M"})
    assert plan["sysctl"] == [["kern.maxfiles", 2097152]] and plan["apply"][0]["value"] == 2097152


# ---- properties ----


def apply(way, settings):
    variable, value = way["variable"], way["value"]
    kind, _, rest = variable.partition("['")
    if not rest:
        return settings | {variable: value}
    return settings | {kind: settings[kind] | {rest[:-2]: value}}


@pytest.mark.parametrize("seed", range(150))
def test_every_mend_mends(seed):
    chance = random.Random(seed)
    host = dict(STOCK)
    host["hw.physmem"] = str(chance.choice([1, 2, 4, 16]) * 2**30)
    for name in WRITABLE:
        if chance.random() < 0.3:
            host[name] = str(
                max(
                    1025,
                    int(int(host[name]) * chance.choice([0.1, 0.5, 1, 2])) % 65536
                    if "portrange" in name
                    else int(int(host[name]) * chance.choice([0.1, 0.5, 1, 3])),
                )
            )
    wishes = {}
    for name in ORDER:
        if name != "kern.maxproc" and "portrange" not in name and chance.random() < 0.25:
            wishes[name] = chance.choice([500, 20000, 70000, 400000])
    settings = declared(
        openfiles=chance.choice([1024, 20000, 65535, 200000]),
        process_limit=chance.choice([10, 100, 500, 2000]),
        recursive_clients=chance.choice([1000, 20000, 60000]),
        sysctl=wishes,
        rebuild_enabled=chance.random() < 0.5,
        bind_openfiles=chance.choice([2000, 65535, 150000]),
    )
    host_answer = measured(sysctl=host)
    chain = limits_chain(host_answer, settings)
    for problem in chain["problems"]:
        for way in problem["mends"]:
            again = limits_chain(host_answer, apply(way, settings))
            assert problem["id"] not in [one["id"] for one in again["problems"]], (problem, way, again["problems"])
    if not chain["problems"]:
        # nothing refused: then the floors and the declared values together keep every need
        will = {**{n: int(v) for n, v in host.items()}, **wishes}
        for name, floor in chain["floors"].items():
            if not holds(name, will[name], floor):
                will[name] = floor
        for name, need in needs(settings).items():
            assert holds(name, will[name], need), (name, will[name], need)
        assert will["kern.ipc.maxsockets"] <= will["kern.maxfiles"] or "kern.ipc.maxsockets" not in wishes


@pytest.mark.parametrize("seed", range(60))
def test_all_mends_together_leave_no_problem(seed):
    chance = random.Random(1000 + seed)
    settings = declared(
        openfiles=chance.choice([20000, 65535]),
        process_limit=chance.choice([50, 500]),
        sysctl={
            name: chance.choice([700, 30000])
            for name in ORDER
            if name != "kern.maxproc" and "portrange" not in name and chance.random() < 0.4
        },
    )
    for _ in range(20):
        chain = limits_chain(measured(), settings)
        if not chain["problems"]:
            return
        settings = apply(chain["problems"][0]["mends"][0], settings)
    pytest.fail("still broken: %s" % chain["problems"])


def test_every_link_has_an_id_of_its_own_and_says_where_it_is_kept():
    running = {name: {"pid": pid, "soft": 70000, "hard": 70000} for pid, name in enumerate(("named", "postfix"), 7)}
    links = limits_chain(
        measured(running=running, pf={"enabled": True, "states": 10**6}), declared(bind_openfiles=70000)
    )["links"]
    assert len({item["id"] for item in links}) == len(links)
    for item in links:
        assert item["persists"] in {"sysctl", "loader", "login_class", "named", "postfix", "none"}
        assert set(item) == {"id", "name", "has", "will", "needs", "because", "ok", "mend", "persists"}
        assert item["because"]


def test_the_picture_is_aligned_and_names_the_broken_link():
    chain = limits_chain(measured(), declared(sysctl={"kern.maxfilesperproc": 20000}))
    lines = limits_picture(chain)
    assert len(lines) == len(chain["links"]) + 1
    assert [text for text in lines if "BROKEN" in text and text.startswith("kern.maxfilesperproc")]
    column = lines[0].index("needs") + len("needs")
    for text in lines[1:]:
        assert text[column - 1].isdigit() or text[column - 1] == "-"
