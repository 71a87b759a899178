# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Role builder: what serves the repository, as one transaction on the host."""

import socket

import pytest
from fake_service import ServiceHost
from role_modules import answer_of, load

module = load("roles/builder/library/builder_serve.py")
TEXT = f"# {module.Server.MARK}\n--port 8017\n"


class Host(ServiceHost):
    """A host with darkhttpd."""

    def __init__(self, monkeypatch, tmp_path):
        super().__init__(monkeypatch, module.Server)
        self.script, program = tmp_path / "sokuhai_builder", tmp_path / "darkhttpd"
        program.write_text("")
        program.chmod(0o755)
        monkeypatch.setattr(module, "PROGRAM", str(program))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]

    def run(self, check=False, **params):
        more = {"root": "/nonexistent", "address": "127.0.0.1", "port": self.port, "key": "/nonexistent/repo.key"}
        return answer_of(module, check, script=str(self.script), **{"text": TEXT, **more, **params})


@pytest.fixture
def there(monkeypatch, tmp_path):
    return Host(monkeypatch, tmp_path)


def test_it_is_started_once_and_left_alone_then(there):
    predicted = there.run(check=True)
    assert predicted["changed"] and not there.rc and not there.script.exists() and predicted["pubkey"] == ""
    assert there.run()["changed"] and there.asked == ["start"] and there.rc == {"sokuhai_builder_enable": "YES"}
    assert not there.run()["changed"] and there.asked == ["start"]
    # what only the next boot needs ends nothing
    there.rc.clear()
    assert there.run()["changed"] and there.asked == ["start"] and there.rc
    there.answers = False
    assert [one["found"] for one in there.run(check=True)["findings"]] == ["no answer"]
    there.answers = True
    assert there.run(text=TEXT + "more\n")["changed"] and there.asked == ["start", "restart"]


def test_nothing_is_left_of_one_that_never_answered(there):
    there.answers = False
    refused = there.run()
    assert refused["failed"] and "does not answer" in refused["msg"]
    assert not there.runs and there.rc == {} and not there.script.exists()


def test_the_former_one_comes_back_when_the_new_one_does_not_answer(there):
    there.run()
    there.answers = False
    refused = there.run(text=TEXT + "more\n")
    assert refused["failed"] and "The previous configuration is back in force" in refused["msg"]
    assert there.script.read_text() == TEXT and there.runs and there.asked[-1] == "restart"


def test_a_port_that_is_taken_is_refused_by_its_variable_before_anything_is_written(there):
    with socket.create_server(("127.0.0.1", there.port)):
        refused = there.run()
    assert refused["failed"] and refused["msg"].startswith("builder_port: something else listens on 127.0.0.1:")
    assert there.rc == {} and not there.script.exists() and there.asked == []
    assert there.run(address="192.0.2.1")["msg"].startswith("builder_listen: 192.0.2.1:")


def test_a_script_of_somebody_elses_stays(there):
    there.script.write_text("own\n")
    assert there.run()["failed"] and not there.run(state="absent")["changed"]
    assert there.script.read_text() == "own\n"


def test_what_it_wrote_is_removed(there):
    there.run()
    gone = there.run(state="absent")
    assert gone["changed"] and not there.runs and there.rc == {} and not there.script.exists()
    assert not there.run(state="absent")["changed"]
