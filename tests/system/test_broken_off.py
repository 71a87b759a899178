"""A run that is ended at any task, in any of four ways: the host serves on, and the next plain run ends in the state that an undisturbed one ends in."""

import re
import subprocess
import time

import pytest
import yaml
from practice import ASKED, KILLS, ROOT, TASKS, changed, some, until
from traffic import traffic

OTHER = {"bind_recursive_clients": 15000, "sokuhai_process_limit": 450, "sasl_client_limit": 2000}
#: Where the run is ended, how, and the tags of a run that changes what that part and the one before it have to put right.
PLACES = [
    ("Run named, and let the host ask it", "controller", "limits,bind"),
    ("Stage, prove, swap, prove again", "module", "bind,postfix"),
    ("limits : Put", "host", "limits"),
    ("sasl : ", "connection", "bind,sasl"),
    ("postfix : ", "controller", "bind,postfix"),
]
#: As many places in all of site.yml.
NUMBER = 50


def running(lab):
    """What runs and what listens, without numbers that another boot gives: lines of ps and sockstat."""
    processes = lab.sh("ps", "-axo", "ppid,user,args").stdout.splitlines()[1:]
    # the SPF agent comes with its first client
    daemons = [line.split(None, 1)[1] for line in processes if line.split(None, 1)[0] == "1" and "--server" not in line]
    sockets = (line.split() for line in lab.sh("sockstat", "-46l").stdout.splitlines()[1:])
    # processes of Postfix come and go, and with them what asks named for them; what they serve is listened to by master as well
    found = [
        *daemons,
        *(
            f"{user} {command} {proto} {local}"
            for user, command, _pid, _fd, proto, local, *_ in sockets
            if user not in ("postfix", "nobody")
        ),
    ]
    # the generation of an agent's directory, and what rspamd counts
    return sorted({re.sub(r"(/[0-9a-f]{12})\.\d+|; [\d.]+ msg/sec.*", r"\1", line) for line in found})


def serves(lab):
    """What is wrong with mail in, mail out and a name, now that a run was ended; {} for nothing."""
    until(lambda: lab.sh("true", check=False).returncode == 0)
    with traffic(lab, 1, ways=("smtp", "sendmail"), pause=0) as sent:
        pass
    until(lambda: "mail.d0001.test" in lab.sh("dig", "+short", "@127.0.0.1", "d0001.test", "MX", check=False).stdout)
    return {what: found for what, found in sent.judged(300).items() if found}


@pytest.mark.parametrize(
    "place",
    some(PLACES, PLACES[:2].__contains__, "two of five places suffice for make test"),
    ids=lambda place: f"{place[1]}, {place[0]}",
)
def test_next_run_ends_in_the_same_state(lab, place):
    words, way, tags = place
    wanted, options = (lab.fingerprint(), running(lab)), ("--tags", tags)
    # something for the run to do, which the next run takes back
    lab.applied("site.yml", *options, variables=OTHER)
    assert lab.fingerprint() != wanted[0]
    lab.play_killed(["TASK [", words], *options, way=way)
    assert serves(lab) == {}
    lab.applied()
    assert (lab.fingerprint(), running(lab)) == wanted
    assert changed(lab.applied("site.yml", *options)) == 0


class Course:
    """The host on its way between its own settings and others, which differ in every one: what a run does when, and what is there at its end."""

    def __init__(self, lab):
        self.lab, self.at = lab, 0
        others = yaml.safe_load((ROOT / "tests/system/other_settings.yml").read_text())["settings"]
        self.settings, self.states, self.times = (None, others), {0: self.state()}, {}
        for end in (1, 0):
            self.times[end] = self.timed(end)
            found = self.state()
            assert self.states.setdefault(end, found) == found
        assert self.states[0] != self.states[1]

    def state(self):
        return {**self.lab.fingerprint(), "runs and listens": running(self.lab)}

    def timed(self, end):
        """Run site.yml to the settings *end*; [(name of the task, seconds since the first one began)], the end of the run last."""
        command = self.lab.playbook("site.yml", (), self.settings[end])
        environment = {**self.lab.env, "PYTHONUNBUFFERED": "1"}
        found, began = [], None
        with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                if line.startswith(TASKS):
                    began = began or time.monotonic()
                    found.append((line.partition("[")[2].partition("]")[0], time.monotonic() - began))
        assert process.returncode == 0
        return [*found, ("", time.monotonic() - began)]

    def place(self, number, end):
        """(number of a task from 1, its name, seconds after it began): every second one of them at a task of its own, the others as far apart in time as they can be."""
        times = self.times[end]
        tasks, whole = len(times) - 1, times[-1][1]
        if number % 2:
            after = whole * (number + 0.5) / NUMBER
            task = max(at for at in range(tasks) if times[at][1] <= after)
        else:
            task = number // 2 * tasks // (NUMBER // 2)
            after = (times[task][1] + times[task + 1][1]) / 2
        return task + 1, times[task][0], max(0.0, after - times[task][1])


@pytest.fixture(scope="module")
def course(lab):
    box = lab.mailbox()
    yield Course(lab)
    lab.sh("sh", "-c", "cat >/var/mail/root" if box else "rm -f /var/mail/root", stdin=box)
    lab.applied()


@pytest.mark.reliability("kill")
@pytest.mark.skipif(not ASKED, reason="fifty runs that are ended, and fifty that are not: make reliability")
# in an order of which every part is spread over the run as well
@pytest.mark.parametrize("number", [number * 7 % NUMBER for number in range(NUMBER)])
def test_anywhere(course, number, record_property):
    lab, end, way = course.lab, 1 - course.at, [*KILLS][number // 2 % len(KILLS)]
    task, name, pause = course.place(number, end)
    record_property("ended", way)
    record_property("at task", f"{task}, {name}")
    record_property("seconds after its start", round(pause, 1))
    variables = course.settings[end]
    lab.play_killed(task, variables=variables, pause=pause, way=way)
    course.at = end
    wrong = serves(lab)
    result = lab.play(variables=variables)
    state, wanted = course.state(), course.states[end]
    differs = {
        path: (state.get(path), wanted.get(path))
        for path in state.keys() | wanted.keys()
        if state.get(path) != wanted.get(path)
    }
    record_property("of the host's mail and names wrong", len(wrong))
    record_property("differences after the next run", len(differs))
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr
    assert (wrong, differs) == ({}, {})
