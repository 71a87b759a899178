"""tools/drift over ten practice hosts in one run: what it costs for each, what it says when all is well, and when one differs and one is away.

Ten of them are provisioned for it, each by bootstrap.yml and site.yml, in a lab of their own that is taken down afterwards."""

import json
import subprocess
import time

import pytest
from practice import HOST, PLAYBOOK, ROOT, Lab

HOSTS = [HOST, *("mx%d.home.example" % number for number in range(12, 21))]
DRIFTED, AWAY = HOSTS[3], HOSTS[7]


@pytest.fixture(scope="module")
def ten(lab, full, tmp_path_factory):
    """(lab with ten provisioned hosts, folder for state and reports, inventory)."""
    if not full:
        pytest.skip("ten hosts are provisioned for it, which takes minutes: under SOKUHAI_FULL=1")
    folder = tmp_path_factory.mktemp("ten")
    inventory = folder / "inventory"
    inventory.mkdir()
    (inventory / "group_vars").symlink_to(ROOT / "lab" / "inventory" / "group_vars")
    rows = "".join(f"    {name}:\n      ansible_host: 192.0.2.{name[2:].partition('.')[0] or 10}\n" for name in HOSTS)
    (inventory / "hosts.yml").write_text(
        "all:\n  hosts:\n    localhost:\n      ansible_connection: local\n"
        '      ansible_python_interpreter: "{{ ansible_playbook_python }}"\nmailhosts:\n  hosts:\n' + rows
    )
    many = Lab(f"{lab.name[:20]}-ten")
    try:
        up = many.command("up", *(word for name in HOSTS for word in ("--host", name)))
        assert up.returncode == 0, up.stdout + up.stderr
        for book in ("bootstrap.yml", "site.yml"):
            done = subprocess.run(
                [str(PLAYBOOK), "-i", str(inventory), "-f", "10", str(ROOT / "playbooks" / book)],
                cwd=ROOT,
                env=many.env,
                text=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=1800,
            )
            assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        yield many, folder, inventory
    finally:
        many.command("down")


def run(ten, *options):
    many, folder, inventory = ten
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    done = subprocess.run(
        [
            str(ROOT / "tools" / "drift"),
            "-i",
            str(inventory),
            "--state",
            str(folder / "state"),
            "--json",
            str(report),
            "-f",
            "10",
            *options,
        ],
        cwd=folder,
        env=many.env,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=1200,
    )
    done.seconds, done.report = time.monotonic() - started, json.loads(report.read_text()) if report.exists() else None
    assert done.report, done.stdout + done.stderr
    return done


def test_ten_clean_hosts_are_a_line_and_each_has_its_time(ten, figures):
    done = run(ten)
    assert done.returncode == 0 and done.report["findings"] == [], done.stdout + done.stderr
    assert {name: host["status"] for name, host in done.report["hosts"].items()} == dict.fromkeys(HOSTS, "clean")
    assert (
        len(done.stdout.splitlines()) <= 3 and "as declared: 10 of 10" in done.stdout and "spent on each" in done.stdout
    ), done.stdout
    spent = [host["seconds"] for host in done.report["hosts"].values()]
    assert all(0 < seconds <= done.seconds for seconds in spent)
    figures.append(
        "drift of ten hosts in one run: %.0f s, %.1f s a host; %.1f to %.1f s spent on each"
        % (done.seconds, done.seconds / len(HOSTS), min(spent), max(spent))
    )


def test_one_that_differs_and_one_that_is_away_do_not_hide_each_other(ten, figures):
    many = ten[0]
    many.sh("chmod", "666", "/usr/local/etc/postfix/main.cf", host=DRIFTED)
    drifted = run(ten, "--changes")
    assert drifted.returncode == 2 and [entry["host"] for entry in drifted.report["findings"]] == [DRIFTED], (
        drifted.stdout + drifted.stderr
    )
    assert "mode of /usr/local/etc/postfix/main.cf" in drifted.stdout
    many.command("halt", AWAY)
    both = run(ten, "-e", "ansible_ssh_retries=0")
    assert both.returncode == 3, "a host that is away is worse than one that differs"
    status = {name: host["status"] for name, host in both.report["hosts"].items()}
    assert status == {**dict.fromkeys(HOSTS, "clean"), DRIFTED: "drift", AWAY: "unreachable"}
    assert [entry["id"] for entry in both.report["findings"]] == [
        f"{DRIFTED}/postfix/mode of /usr/local/etc/postfix/main.cf"
    ]
    assert "as declared: 8 of 10" in both.stdout and AWAY in both.stdout and len(both.stdout.splitlines()) < 10
    figures.append("drift of ten hosts, one away: %.0f s" % both.seconds)
