# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""sshd's part of role blocklist: one marked line that no Match hides, and a listener that has surely read it."""

import os
import time

import pytest
from fake_host import FakeHost
from role_modules import util

sshds = util("blocklist_sshd")
Refused = util("sokuhai.host").Refused
ME = os.getpid()


def test_the_line_stands_before_any_match_and_nothing_is_lost():
    text = "Port 22\nMatch User git\n\tUseBlocklist no\n"
    new = sshds.with_keyword(text, "UseBlacklist")
    assert new.startswith("# BEGIN sokuhai blocklist\nUseBlacklist yes\n") and new.endswith(text)
    assert sshds.with_keyword(new, "UseBlacklist") == new
    assert sshds.with_keyword(new, "") == text


@pytest.mark.parametrize("text", ["# BEGIN sokuhai blocklist\nPort 22\n", "Port 22\n# END sokuhai blocklist\n"])
def test_a_block_without_its_end_takes_nothing_with_it(text):
    with pytest.raises(Refused, match="^sshd_config: "):
        sshds.with_keyword(text, "")


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def made(tmp_path, monkeypatch):
    made = FakeHost(tmp_path, monkeypatch)
    monkeypatch.setattr(sshds, "CONFIG", str(tmp_path / "sshd_config"))
    monkeypatch.setattr(sshds, "PROGRAM", str(made.bin / "sshd"))
    return made


@pytest.fixture
def sshd(made):
    """An sshd whose reload is a process of its own; the pid file is this test's, so that it lives."""
    pid = made.path / "sshd.pid"
    made.program("sshd", f'case "$1" in -T) echo "useblocklist no"; echo "pidfile {pid}" ;; esac')
    made.program(
        "service",
        f'[ ! -e {made.path}/broken ] || {{ echo "it will not" >&2; exit 1; }}; '
        f"(sleep 0.2; rm -f {pid}; sleep 0.2; echo {ME} > {pid}.new; mv {pid}.new {pid}) > /dev/null 2>&1 &",
    )
    made.file("sshd_config", "Port 22\n")
    pid.write_text(f"{ME}\n")
    age(pid, 60)  # written in the same tick as the configuration, it would count as younger

    def tell(reports=True, check_mode=False):
        """Return (whether something was to be done, whether sshd was told to read again)."""
        one, running = sshds.Sshd(reports), pid.exists()
        made.log()
        due = one.new != one.old or one.is_stale()
        if due and not check_mode:
            one.put()
        # as sshd does it, the file is away for a moment
        assert not running or pid.read_text().strip()
        return due, "service sshd reload" in made.log()

    return tell


def test_sshd_is_told_and_told_again_when_a_run_was_killed_before_it_was(sshd, made):
    config, pid = made.path / "sshd_config", made.path / "sshd.pid"
    assert sshd(check_mode=True) == (True, False) and config.read_text() == "Port 22\n"
    assert sshd() == (True, True)
    assert config.read_text() == sshds.with_keyword("Port 22\n", "UseBlocklist")
    assert sshd() == (False, False)
    # written, and the reload never came
    age(pid, 3600)
    assert sshd(check_mode=True) == (True, False)
    assert sshd() == (True, True)
    assert sshd() == (False, False)
    # a clock that was set back
    age(config, -3600)
    assert sshd() == (False, False)
    age(config, 60)
    # the way back is the same
    assert sshd(reports=False) == (True, True) and config.read_text() == "Port 22\n"
    age(pid, 3600)
    assert sshd(reports=False) == (True, True)


def test_an_sshd_of_freebsd_14_has_the_old_word_and_one_without_either_none(sshd, made):
    made.program("sshd", f'case "$1" in -T) echo "useblacklist no"; echo "pidfile {made.path}/sshd.pid" ;; esac')
    assert sshds.Sshd(True).new == sshds.with_keyword("Port 22\n", "UseBlacklist")
    made.program("sshd", "")
    assert sshds.Sshd(True).new == "Port 22\n"


def test_an_sshd_that_does_not_read_its_configuration_is_no_success(sshd, made):
    (made.path / "broken").write_text("")
    with pytest.raises(Refused, match="it will not"):
        sshd()
    # nobody to tell
    made.file("sshd_config", "Port 22\n")
    (made.path / "sshd.pid").unlink()
    assert sshd() == (True, True)
    assert sshd() == (False, False)


def test_a_configuration_that_sshd_refuses_is_not_put_in_place(sshd, made):
    made.program("sshd", 'case "$1" in -T) echo "useblocklist no" ;; *) echo "bad line" >&2; exit 255 ;; esac')
    with pytest.raises(Refused, match="bad line"):
        sshd()
    assert (made.path / "sshd_config").read_text() == "Port 22\n" and not list(made.path.glob("*.staged"))


def test_sshd_config_stays_the_link_it_was(sshd, made):
    config, real = made.path / "sshd_config", made.path / "real"
    config.rename(real)
    real.chmod(0o600)
    config.symlink_to(real)
    assert sshd() == (True, True)
    assert config.is_symlink() and real.stat().st_mode & 0o7777 == 0o600
    assert "UseBlocklist yes" in real.read_text()
