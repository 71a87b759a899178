"""Role mta_sts: what is refused of its variables, and the daemon on the host as one transaction."""

import pytest
import yaml
from fake_service import ServiceHost
from role_modules import answer_of, load, rendered

problems_of = load("roles/mta_sts/filter_plugins/mta_sts.py").mta_sts_problems
module = load("roles/mta_sts/library/mta_sts_daemon.py")
TEXT = f"{module.MARK}\nport: 8461\n"
DECLARED = {"mta_sts_address": "127.0.0.1", "mta_sts_port": 8461, "mta_sts_timeout": 4, "mta_sts_cache": 10000}


@pytest.mark.parametrize(
    "change, word",
    [
        ({}, None),
        ({"mta_sts_address": "::1"}, None),
        ({"mta_sts_address": "192.0.2.7"}, "mta_sts_address = '192.0.2.7'"),
        ({"mta_sts_address": "localhost"}, "mta_sts_address"),
        ({"mta_sts_port": 25}, "mta_sts_port = 25: 1024 to 65535"),
        ({"mta_sts_timeout": 0}, "mta_sts_timeout = 0"),
    ],
)
def test_values_that_cannot_work_are_refused(change, word):
    problems = problems_of({**DECLARED, **change})
    assert len(problems) == bool(word)
    assert not word or problems[0].startswith(word)


def test_the_configuration_is_yaml():
    found = yaml.safe_load(rendered("mta_sts", "usr/local/etc/sokuhai-mta-sts.yml.j2", **DECLARED))
    assert (found["host"], found["port"], found["default_zone"]["timeout"]) == ("127.0.0.1", 8461, 4)


class Host(ServiceHost):
    """A host with the daemon."""

    def __init__(self, monkeypatch, tmp_path):
        super().__init__(monkeypatch, module.Daemon)
        self.program, self.config = tmp_path / "mta-sts-daemon", tmp_path / "sokuhai-mta-sts.yml"
        self.kept = tmp_path / "kept"
        self.program.write_text("")
        self.program.chmod(0o755)
        monkeypatch.setattr(module, "SCRIPT", str(self.program))

    def run(self, check=False, **params):
        places = {"program": str(self.program), "config": str(self.config), "kept": str(self.kept)}
        return answer_of(module, check, **places, **{"text": TEXT, **params})


@pytest.fixture
def there(monkeypatch, tmp_path):
    return Host(monkeypatch, tmp_path)


def test_it_is_started_once_and_left_alone_then(there):
    predicted = there.run(check=True)
    assert predicted["changed"] and not there.rc and not there.config.exists()
    first = there.run()
    assert first["changed"] and there.asked == ["start"] and there.config.read_text() == TEXT
    assert there.rc["mta_sts_enable"] == "YES" and there.rc["mta_sts_config"] == str(there.config)
    assert not there.run()["changed"] and there.asked == ["start"]
    there.answers = False
    assert [one["found"] for one in there.run(check=True)["findings"]] == ["no answer"]


def test_another_configuration_comes_back_when_the_new_one_does_not_answer(there):
    there.run()
    there.answers = False
    refused = there.run(text=TEXT.replace("8461", "1"))
    assert refused["failed"] and "does not answer" in refused["msg"]
    assert there.config.read_text() == TEXT


@pytest.mark.parametrize("word", ["YES", "on"])
def test_somebody_elses_service_is_not_taken_over_unasked(there, word):
    there.rc = {"mta_sts_enable": word, "mta_sts_config": "/usr/local/etc/own.yml"}
    refused = there.run()
    assert refused["failed"] and refused["msg"].startswith("mta_sts_replace_config") and "own.yml" in refused["msg"]
    assert not there.run(state="absent")["changed"] and there.rc["mta_sts_enable"] == word
    assert there.run(replace=True)["changed"] and there.rc["mta_sts_config"] == str(there.config)


def test_what_it_wrote_is_removed(there):
    there.run()
    assert there.kept.is_dir()
    gone = there.run(state="absent")
    assert gone["changed"] and not there.runs and not there.config.exists() and there.rc == {}
    assert not there.run(state="absent")["changed"] and not there.kept.exists()


def test_a_service_that_was_taken_over_runs_as_before_where_ours_does_not_answer(there):
    there.rc = {"mta_sts_enable": "YES", "mta_sts_config": "/usr/local/etc/own.yml"}
    former, there.runs, there.answers = dict(there.rc), True, False
    refused = there.run(replace=True)
    assert refused["failed"] and "The previous configuration is back in force" in refused["msg"]
    assert there.rc == former and there.runs and not there.config.exists()


def test_another_user_restarts_it_and_the_finding_names_the_variable(there):
    there.run()
    made = there.run(user="mta-sts")
    assert [one["found"] for one in made["findings"]] == ["older than rc.conf: mta_sts_user"]
    assert there.asked == ["start", "restart"] and there.rc["mta_sts_user"] == "mta-sts"
