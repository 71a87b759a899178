"""How the signer is told, and ended: one that hangs or is ending reads no file again."""

import types

import pytest
from role_modules import load, util

MODULE = load("roles/dkim/library/dkim_signer.py")


class Process:
    def __init__(self, pid, old=False):
        self.pid, self.old = pid, old

    def older_than(self, *files, program=None):
        return files[0] if self.old and files else None


@pytest.fixture
def signer(tmp_path, monkeypatch):
    """A Signer whose process and service are no real ones; .running: its processes, main first; .told: what was done to them."""
    made = MODULE.Signer(
        {
            "directory": str(tmp_path / "db"),
            "socket": str(tmp_path / "milter.sock"),
            "program": "/nonexistent",
            "service": "sokuhai_dkim",
            "user": "nobody",
            "domains": [],
            "files": {},
            "conf": str(tmp_path / "etc" / "rspamd.conf"),
            "script": str(tmp_path / "script"),
        }
    )
    made.running, made.told, made.speaks = [Process(5), Process(6)], [], True
    monkeypatch.setattr(made, "process", lambda: made.running[0] if made.running else None)
    monkeypatch.setattr(made, "workers", lambda: made.running[1:])
    monkeypatch.setattr(made, "answers", lambda: made.speaks)

    def service(_name, verb):
        made.told.append(verb)
        if verb == "onestop":
            made.running = []
        return 0, ""

    def end(pid):
        made.told.append(pid)
        made.running = [one for one in made.running if one.pid != pid]

    monkeypatch.setattr(MODULE.host, "service", service)
    monkeypatch.setattr(MODULE.host, "wait_until", lambda *_: True)
    monkeypatch.setattr(MODULE, "process", types.SimpleNamespace(end=end))
    for name in ("compare", "apply", "revert"):
        monkeypatch.setattr(util("sokuhai.rc"), name, lambda *_: {})
    return made


@pytest.mark.parametrize(
    ("running", "speaks", "verb"), [(2, True, "reload"), (2, False, "restart"), (0, False, "start")]
)
def test_files_are_read_again_by_one_that_answers_alone(signer, running, speaks, verb):
    signer.running, signer.speaks = signer.running[:running], speaks
    signer.restart()
    assert signer.told == [verb]


def test_a_worker_that_was_replaced_and_is_on_its_way_out_is_not_what_serves(signer, monkeypatch):
    monkeypatch.setattr(signer, "judged", lambda: None)
    signer.running = [Process(5), Process(6, old=True), Process(7)]
    assert signer.differs() is None
    signer.running = signer.running[:2]
    assert signer.differs() == ("older than " + signer.signing, [signer.signing])


def test_what_is_left_of_it_is_ended_where_a_killed_run_has_removed_the_script(signer, tmp_path):
    signer.absent(False)
    assert signer.told == [5, 6]
    signer.running, signer.told = [Process(7)], []
    (tmp_path / "script").write_text("")
    signer.absent(False)
    assert signer.told == ["onestop"]


@pytest.mark.parametrize("script", [True, False])
def test_nothing_is_left_beside_the_keys_also_where_the_script_is_gone(signer, tmp_path, script):
    conf = tmp_path / "etc" / "rspamd.conf"
    conf.parent.mkdir()
    files = [conf, *([tmp_path / "script"] if script else [])]
    for path in files:
        path.write_text("# %s\n" % signer.MARK)
    signer.p["files"] = {str(conf): "", str(tmp_path / "script"): ""}
    signer.absent(False)
    assert not conf.parent.exists() and not (tmp_path / "script").exists()


def test_looking_ends_nothing(signer):
    answer = signer.absent(True)
    assert (
        answer["changed"]
        and signer.told == []
        and [one["id"] for one in answer["findings"]] == ["service sokuhai_dkim"]
    )


def test_nothing_is_left_of_one_that_never_was_as_declared(signer, tmp_path, monkeypatch):
    reverted = []
    monkeypatch.setattr(util("sokuhai.rc"), "revert", reverted.append)
    files = [util("sokuhai.files").File(str(tmp_path / name), name) for name in ("signing.conf", "script")]
    for file in files:
        file.put()
    assert signer.back(files, "changes", [signer], []) == "There was no previous configuration to restore."
    assert signer.told == ["onestop"] and reverted == ["changes"]
    assert not (tmp_path / "script").exists() and not (tmp_path / "signing.conf").exists()
