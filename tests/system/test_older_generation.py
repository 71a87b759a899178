"""The older generation, by molecule as a user runs it: Postfix 3.7, BIND 9.18 and Dovecot 2.3 on FreeBSD 14 are provisioned and verified, and answer as the newer ones do.

Another Postfix has other texts and other protections, so the dialogues are played here, too: one profile's, and all of them under SOKUHAI_FULL=1."""

import functools

import pytest
from dialogues.stage import ROWS
from practice import FULL, MADE, ROOT, Lab, applied_book, message, play_book
from test_dialogues import ALWAYS, FULL_ONLY, judged, played, script

PROFILES = script.PROFILES if FULL else ["current"]
PHASES = (*ALWAYS, *FULL_ONLY) if FULL else ("normal",)
PAIRS = [
    (profile, row) for profile in PROFILES for row in ROWS if row["phase"] in PHASES and profile in row["profiles"]
]


def molecule(lab, folder, *words):
    # a fresh folder remembers no run that was broken off
    place = {"MOLECULE_GENERATION": "bookworm", "MOLECULE_EPHEMERAL_DIRECTORY": f"{folder}/here"}
    program = ROOT / ".venv" / "bin" / "molecule"
    done = lab.run(program, *words, "--no-command-borders", timeout=3000, **place)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """(lab of the older generation, molecule's folder), its host converged by molecule; the whole sequence of the scenario under SOKUHAI_FULL=1."""
    lab, folder = Lab("test-bookworm"), tmp_path_factory.mktemp("molecule")
    MADE[lab.name] = lab
    lab.command("down")
    molecule(lab, folder, *(["test", "--destroy=never"] if FULL else ["converge"]), "-s", "default")
    return lab, folder


def test_it_is_as_declared(older):
    molecule(*older, "verify", "-s", "default")


def test_pf_of_freebsd_14_is_found_by_a_file_and_its_daemon_is_called_blacklistd(older):
    """docs/releases.md; on 15: test_blocklist.py."""
    lab = older[0]
    assert lab.sh("freebsd-version").stdout.startswith("14.")
    wanted = {"sokuhai_blocklist": True, "blocklist_mynetworks": ["127.0.0.0/8"], "blocklist_rejects_count": 5}
    elsewhere = [{"sh": "rm -f /etc/pf.conf; sysrc pf_rules=/usr/local/etc/pf.conf"}]
    refused = play_book("blocklist_only.yml", lab, blocklist_steps=elsewhere, **wanted)
    assert refused.returncode and "ln -s /usr/local/etc/pf.conf /etc/pf.conf" in message(refused), refused.stdout
    assert lab.sh("pfctl", "-s", "Running", check=False).returncode, "nothing was changed"
    applied_book("blocklist_only.yml", lab, blocklist_steps=[{"sh": "sysrc -x pf_rules"}], **wanted)
    lab.sh("service", "blacklistd", "onestatus")
    said = lab.sh("sh", "-c", "sysrc -n blacklistd_enable; pfctl -s rules; pfctl -a sokuhai -s rules").stdout
    assert said.startswith("YES\n") and 'anchor "/blacklistd/*"' in said
    applied_book("blocklist_only.yml", lab, blocklist_steps=[{"undo": True}], **wanted)
    assert lab.sh("service", "blacklistd", "onestatus", check=False).returncode


@pytest.fixture(scope="module")
def stages(request, older):
    """A function that returns the Stage of a profile, its dialogues played once."""
    return functools.cache(lambda profile: played(request.config, older[0], profile, PHASES))


@pytest.mark.parametrize(("profile", "row"), PAIRS, ids=lambda value: value if isinstance(value, str) else value["id"])
def test_dialogue(stages, profile, row):
    problems = judged(stages(profile), row)
    assert not problems, "\n".join(problems)
