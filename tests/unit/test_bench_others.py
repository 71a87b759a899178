# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Other mailers in the bench: how they come to the practice host, and that nothing of it is installed over Postfix."""

import pathlib
import types

import pytest
from labkit import others as archives
from labkit.internet.host import HostError

from bench import beside, others

ARMS = (others.Exim(), others.Opensmtpd(), others.Haraka())


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_an_arm_puts_nothing_into_the_hosts_own_files(arm):
    job = arm.job(types.SimpleNamespace())
    assert job["stop"] == ["postfix"] and not job.get("put")
    assert all(name == "beside" or name.startswith("conf/") for name in job["files"])
    assert job["files"]["beside"].startswith("#!")
    (start,) = job["start"]
    assert start[:2] == ["@FOLDER@/beside", "@FOLDER@"] and start[2].startswith("/var/tmp/") and "--" in start
    assert start[start.index("--") + 1].startswith("/"), "run by execv, which searches no PATH"
    assert job["end"] == [["sh", "-c", "kill -KILL $(cat @FOLDER@/pid) 2>/dev/null || true"]]


def test_every_archive_is_one_that_the_lab_fetches():
    # Unbound is for labkit.internet cold
    assert {arm.archive for arm in ARMS} | {"unbound"} == set(archives.PACKAGES)


def test_an_arm_without_its_archive_fails_by_name(tmp_path, monkeypatch):
    (tmp_path / "status.json").write_text('{"generation": "trixie"}')
    monkeypatch.setattr(archives, "fetched", lambda generation: tmp_path)
    with pytest.raises(HostError, match=r"haraka: .*haraka\.tar is missing"):
        others.Haraka().prepare(types.SimpleNamespace(folder=tmp_path))


def test_exim_has_the_recipients_of_a_message_that_the_arm_names():
    (text,) = others.Exim().conf().values()
    assert f"recipients_max = {others.Exim.recipients}\n" in text and "RECIPIENTS" not in text


@pytest.mark.parametrize("npm", ["/usr/bin/npm", None])
def test_packages_are_only_downloaded_and_haraka_needs_npm(npm, tmp_path, monkeypatch):
    ran = []

    def step(title, words, log, env, script=""):
        ran.append(words)
        for pair in words[-1].split():
            (tmp_path / pair.partition("=")[0]).mkdir()

    monkeypatch.setattr(archives.rootfs, "run_alone", step)
    monkeypatch.setattr(archives.rootfs, "apt_proxy", lambda: "")
    monkeypatch.setattr(archives.subprocess, "run", lambda words, **_more: ran.append(words))
    (tmp_path / "scratch").mkdir()
    with open(tmp_path / "log", "w") as log:
        archives.fetch(pathlib.Path("/base"), tmp_path, npm, log)
    fetched = ran[0][-1].split()
    haraka = ["haraka=nodejs"] if npm else []
    assert fetched == ["exim=exim4-daemon-light", "opensmtpd=opensmtpd", *haraka, "unbound=unbound"]
    assert "--download-only" in ran[0][2] and " remove " not in ran[0][2]
    assert [words[-1] for words in ran if words[0] == "npm"] == ([archives.HARAKA] if npm else [])
    assert [words[0] for words in ran].count("tar") == len(fetched)


def test_a_mailer_beside_needs_no_package_of_python():
    text = pathlib.Path(beside.__file__).read_text()
    assert "import labkit" not in text and "from ." not in text, "it is sent to the host as text"
