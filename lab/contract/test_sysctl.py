"""sysctl(8): names, values, flags, what can be set where, and every refusal."""

import re

import pytest

KNOWN = [
    "kern.maxfiles",
    "kern.maxfilesperproc",
    "kern.openfiles",
    "kern.ipc.maxsockets",
    "kern.ipc.numopensockets",
    "kern.ipc.nmbclusters",
    "kern.maxproc",
    "kern.maxprocperuid",
    "kern.ipc.soacceptqueue",
    "kern.ipc.somaxconn",
    "kern.maxusers",
    "kern.ipc.maxsockbuf",
    "net.inet.udp.recvspace",
    "net.inet.ip.portrange.first",
    "net.inet.ip.portrange.last",
    "net.inet.ip.portrange.hifirst",
    "net.inet.ip.portrange.hilast",
    "hw.physmem",
    "hw.ncpu",
    "security.jail.jailed",
    "security.jail.vnet",
]
OF_INTEREST = {
    "kern.maxfiles",
    "kern.maxfilesperproc",
    "kern.maxproc",
    "kern.maxprocperuid",
    "kern.maxusers",
    "kern.ipc.maxsockets",
    "kern.ipc.nmbclusters",
    "kern.ipc.soacceptqueue",
    "kern.ipc.somaxconn",
}


def number(run, name):
    return int(run("sysctl -n %s", name).out)


def test_known_names_print_name_and_number(run):
    answer = run("sysctl " + " ".join(KNOWN))
    assert answer.rc == 0, answer
    assert [line.partition(": ")[0] for line in answer.lines()] == KNOWN
    assert all(re.fullmatch(r"-?\d+", line.partition(": ")[2]) for line in answer.lines()), answer


def test_value_alone(run):
    answer = run("sysctl -n hw.physmem hw.ncpu")
    assert answer.rc == 0
    memory, cpus = (int(line) for line in answer.lines())
    assert memory > 1 << 28 and 1 <= cpus <= 4096


def test_equals_sign_and_skipping_of_unknown_names(run):
    answer = run("sysctl -ie kern.maxfiles kern.no_such_thing hw.ncpu")
    assert answer.rc == 0
    assert [line.partition("=")[0] for line in answer.lines()] == ["kern.maxfiles", "hw.ncpu"]


def test_tunables_are_listed_by_name(run):
    answer = run("sysctl -aNT")
    assert answer.rc == 0
    assert OF_INTEREST & set(answer.lines()) == {
        "kern.maxproc",
        "kern.maxfiles",
        "kern.maxfilesperproc",
        "kern.ipc.maxsockets",
        "kern.ipc.nmbclusters",
        "kern.maxusers",
    }


def test_writable_ones_are_listed_by_name(run):
    answer = run("sysctl -aNW")
    assert answer.rc == 0
    assert OF_INTEREST & set(answer.lines()) == {
        "kern.maxfiles",
        "kern.maxfilesperproc",
        "kern.maxprocperuid",
        "kern.ipc.somaxconn",
        "kern.ipc.maxsockets",
        "kern.ipc.soacceptqueue",
        "kern.ipc.nmbclusters",
    }


def test_read_only_tunable_is_refused(run):
    answer = run("sysctl kern.maxproc=9999")
    assert answer.rc == 1 and answer.out == ""
    assert answer.err.splitlines() == [
        "sysctl: oid 'kern.maxproc' is a read only tunable",
        "sysctl: Tunable values are set in /boot/loader.conf",
    ]


def test_read_only_one_is_refused(run):
    answer = run("sysctl kern.openfiles=1")
    assert answer.rc == 1
    assert answer.err == "sysctl: oid 'kern.openfiles' is read only\n"


@pytest.mark.parametrize("asked", ["kern.no_such_thing", "kern.no_such_thing=1"])
def test_unknown_name(run, asked):
    answer = run("sysctl %s", asked)
    assert (answer.rc, answer.out, answer.err) == (1, "", "sysctl: unknown oid 'kern.no_such_thing'\n")


def test_setting_prints_old_and_new(run):
    before = number(run, "kern.maxfiles")
    try:
        answer = run("sysctl kern.maxfiles=%s", before + 8)
        assert (answer.rc, answer.out) == (0, f"kern.maxfiles: {before} -> {before + 8}\n")
        again = run("sysctl kern.maxfiles=%s", before + 8)
        assert (again.rc, again.out) == (0, f"kern.maxfiles: {before + 8} -> {before + 8}\n")
        assert number(run, "kern.maxfiles") == before + 8
    finally:
        run("sysctl kern.maxfiles=%s", before)
    assert number(run, "kern.maxfiles") == before


def test_maxsockets_is_never_lowered(run):
    before = number(run, "kern.ipc.maxsockets")
    answer = run("sysctl kern.ipc.maxsockets=1000")
    assert (answer.rc, answer.out) == (1, f"kern.ipc.maxsockets: {before}\n")
    assert answer.err == "sysctl: kern.ipc.maxsockets=1000: Invalid argument\n"


def test_maxsockets_never_exceeds_maxfiles(run):
    too_many = number(run, "kern.maxfiles") + 1
    answer = run("sysctl kern.ipc.maxsockets=%s", too_many)
    assert answer.rc == 1 and answer.err.endswith("Invalid argument\n")


def test_accept_queue_has_a_range_and_a_second_name(run):
    before = number(run, "kern.ipc.soacceptqueue")
    for wrong in ("0", str(0xFFFFFFFF // 3 + 1)):
        answer = run("sysctl kern.ipc.soacceptqueue=%s", wrong)
        assert answer.rc == 1 and "Invalid argument" in answer.err, answer
    try:
        assert run("sysctl kern.ipc.soacceptqueue=%s", before + 1).rc == 0
        assert number(run, "kern.ipc.somaxconn") == before + 1
    finally:
        run("sysctl kern.ipc.soacceptqueue=%s", before)


def test_a_word_is_no_number(run):
    answer = run("sysctl kern.maxfilesperproc=notanumber")
    assert (answer.rc, answer.err) == (1, "sysctl: invalid integer 'notanumber'\n")


def test_file_applies_what_it_can_and_names_lines(run, scratch):
    files, queue = number(run, "kern.maxfiles"), number(run, "kern.ipc.soacceptqueue")
    run(
        "printf 'kern.maxfiles=%d\\nkern.no_such=1\\n# no\\nkern.ipc.soacceptqueue=%d\\n' > %%s/f"
        % (files + 8, queue + 8),
        scratch,
    )
    try:
        answer = run("sysctl -f %s/f", scratch)
        assert answer.rc == 1
        assert answer.lines() == [
            f"kern.maxfiles: {files} -> {files + 8}",
            f"kern.ipc.soacceptqueue: {queue} -> {queue + 8}",
        ]
        assert answer.err == "sysctl: unknown oid 'kern.no_such' at line 2\n"
        assert number(run, "kern.ipc.soacceptqueue") == queue + 8
    finally:
        run("sysctl kern.maxfiles=%s kern.ipc.soacceptqueue=%s", files, queue)


def test_missing_file(run):
    answer = run("sysctl -f /nonexistent/sysctl.conf")
    assert answer.rc == 66 and "No such file or directory" in answer.err


def test_rc_script_hides_errors_and_applies_the_rest(run, keep):
    queue = number(run, "kern.ipc.soacceptqueue")
    keep("/etc/sysctl.conf")
    lines = len(run("cat /etc/sysctl.conf").lines())
    run("printf 'kern.maxproc=5000\\nkern.ipc.soacceptqueue=%d\\n' >> /etc/sysctl.conf" % (queue + 8))
    try:
        answer = run("service sysctl restart")
        assert answer.rc == 0
        assert answer.err.splitlines() == [
            f"sysctl: oid 'kern.maxproc' is a read only tunable at line {lines + 1}",
            "sysctl: Tunable values are set in /boot/loader.conf",
        ]
        assert number(run, "kern.ipc.soacceptqueue") == queue + 8
    finally:
        run("sysctl kern.ipc.soacceptqueue=%s", queue)


def test_rc_script_reload_is_silent_where_all_is_well(run):
    answer = run("service sysctl reload")
    assert (answer.rc, answer.out) == (0, "")


def test_description_and_type(run):
    assert run("sysctl -d kern.maxfilesperproc").out == "kern.maxfilesperproc: Maximum files allowed open per process\n"
    assert run("sysctl -t kern.maxfiles kern.hostname").lines() == ["kern.maxfiles: integer", "kern.hostname: string"]


def test_a_node_lists_its_leaves_and_cannot_be_set(run):
    answer = run("sysctl kern.ipc")
    assert answer.rc == 0 and all(line.startswith("kern.ipc.") for line in answer.lines() if ": " in line)
    assert run("sysctl kern.ipc=1").err == "sysctl: oid 'kern.ipc' isn't a leaf node\n"


def test_bootfile_and_kernel_environment_agree(run):
    assert run("sysctl -n kern.bootfile").out == run("kenv kernelname").out


def test_measured_values_move_with_the_system(run):
    count = "sysctl -n kern.openfiles kern.ipc.numopensockets"
    python = run("command -v python3").out.strip()
    if not python:
        pytest.skip("python3 is not installed on this host")
    hold = (
        "import socket, subprocess; keep = [socket.socket() for _ in range(200)]; "
        f"print(subprocess.run({count.split()!r}, capture_output=True, text=True).stdout)"
    )
    before = [int(n) for n in run(count).out.split()]
    during = [int(n) for n in run("python3 -c %s", hold).out.split()]
    assert during[0] >= before[0] + 150 and during[1] >= before[1] + 150, (before, during)


def test_usage(run):
    answer = run("sysctl")
    assert answer.rc == 1 and answer.err.startswith("usage: sysctl ")
    assert run("sysctl -Nn kern.maxfiles").rc == 1


def test_the_file_table_is_an_array_of_xfile_that_counts_this_process_s_descriptors(run):
    # struct xfile of sys/sys/file.h: xf_size, xf_pid at 8, xf_fd at 16, xf_type at 32; type 2 is a socket
    counted = run("""/usr/local/bin/python3 -c '
import os, socket, struct, subprocess
pair = socket.socketpair()
files = [open("/dev/null") for _ in range(5)]
table = subprocess.run(["sysctl", "-b", "kern.file"], stdout=subprocess.PIPE, check=True).stdout
size = struct.unpack_from("=Q", table)[0]
rows = [struct.unpack_from("=QiIiiQh", table, at) for at in range(0, len(table), size)]
mine = [row for row in rows if row[1] == os.getpid()]
fds = {row[3]: row[6] for row in mine}
print(size, len(table) % size, all(row[0] == size for row in rows), all(file.fileno() in fds for file in files), [fds.get(end.fileno()) for end in pair])
'""")
    assert counted.out.strip() == "128 0 True True [2, 2]", counted
