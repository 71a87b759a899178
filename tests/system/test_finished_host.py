"""A finished host: a second run changes nothing, costs little, and check mode tells the truth."""

import pytest
import yaml
from practice import INVENTORY, PLAYBOOK, ROOT, changed, changed_lines

# one no-change run of preflight, limits, bind, sasl and postfix, facts included
BUDGET = 60


@pytest.fixture(scope="module")
def second_run(lab):
    before = lab.fingerprint(), lab.processes()
    result = lab.applied()
    return result, before, (lab.fingerprint(), lab.processes())


def test_second_run_changes_nothing(second_run):
    result, before, after = second_run
    assert not changed_lines(result)
    assert changed(result) == 0
    assert before[0] == after[0]


def test_second_run_restarts_nothing(second_run):
    _result, before, after = second_run
    assert before[1] == after[1]


def test_second_run_stays_within_the_budget_of_remote_commands(second_run, figures):
    summary = second_run[0].summary
    figures.append(
        "site.yml with nothing to do: {tasks} tasks, {remote_commands} remote commands, {seconds} s".format(**summary)
    )
    assert 0 < summary["remote_commands"] <= BUDGET


def test_check_mode_shows_a_change_and_no_other_and_does_not_make_it(lab):
    with lab.unchanged():
        result = lab.applied("site.yml", "--check", "--diff", variables={"bind_recursive_clients": 12345})
    (line,) = changed_lines(result)
    assert "bind : " in line and "12345" in result.stdout


def test_rolling_changes_nothing_either_and_proves_the_host(lab):
    result = lab.applied("rolling.yml")
    assert changed(result) == 0 and " passed" in result.stdout, result.stdout[-6000:]


def test_rolling_changes_no_host_while_another_is_refused(lab, tmp_path):
    """The one that is refused is the last: the checks of all come before the first change. That a batch stops the next: test_many_hosts.py."""
    (tmp_path / "group_vars").symlink_to(INVENTORY / "group_vars")
    hosts = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    hosts["mailhosts"]["hosts"]["mx2.home.example"] = {"sokuhai_process_limit": "many"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    with lab.unchanged():
        result = lab.run(
            *(PLAYBOOK, "-i", tmp_path, ROOT / "playbooks" / "rolling.yml", "-e", '{"bind_tcp_clients": 1234}')
        )
    assert result.returncode != 0 and not changed_lines(result), result.stdout[-6000:]
    assert "mx2.home.example: refused or not reached" in " ".join(result.stdout.split()), result.stdout[-6000:]


# as named's own user: without CAP_SYS_RESOURCE even root may not touch another user's limits
LOWER = """
import os, resource, sys
pid = int(sys.argv[1])
info = os.stat('/proc/%d' % pid)
os.setresgid(*[info.st_gid] * 3); os.setresuid(*[info.st_uid] * 3)
resource.prlimit(pid, resource.RLIMIT_NOFILE, (2000, 2000))
"""


def test_verify_goes_red_when_a_running_limit_is_lowered_behind_everybody(lab):
    """The stand-ins read the system: a limit lowered by the kernel's own call is seen, and healed by a plain re-run of that part."""
    pid = next(pid for pid, command in lab.processes().items() if command == "named")
    lab.sh("/usr/local/bin/python3", "-c", LOWER, str(pid))
    the_limits = {"verify_options": ["-k", "test_running_limits"]}
    result = lab.play("verify.yml", variables=the_limits)
    assert result.returncode != 0
    assert "test_running_process_may_open_the_declared_descriptors[" in result.stdout and "named]" in result.stdout
    lab.applied("site.yml", "--tags", "bind")
    lab.applied("verify.yml", variables=the_limits)


def test_a_boot_environment_is_made_once_and_in_no_check_run(lab):
    """The practice host's root is told to be on ZFS; no part of site.yml has the tag, so that what is always run is all there is."""
    rows, wanted = "/var/db/standins/environments", {"preflight_boot_environment": "before"}
    lab.sh("sh", "-c", f"printf 'default\\tNR\\t/\\t270M\\t2026-11-30 19:12\\n' > {rows}")
    try:
        done = [
            changed(lab.applied("site.yml", "--tags", "none_of_it", *options, variables=wanted))
            for options in (["--check"], [], [])
        ]
        assert done == [0, 1, 0]
        assert lab.sh("bectl", "list", "-H").stdout.split()[5:7] == ["19:12", "before"]
    finally:
        lab.sh("rm", rows)
