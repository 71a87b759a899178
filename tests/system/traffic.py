"""Mail in and out of the practice host while something happens to it, and what became of each."""

import collections
import contextlib
import json
import pathlib
import re
import subprocess
import time

from practice import HOST, ROOT, until

PROGRAM = pathlib.Path(__file__).with_name("traffic_sender.py").read_text()
#: A server's mail to this host's users, a user's mail to others, and a program's on the host; as many come in as go out.
WAYS = {
    "smtp": {
        "times": 2,
        "where": "clients",
        "sources": ["203.0.113.20"],
        "server": "192.0.2.10",
        "to": "postmaster@home.example",
    },
    "submission": {"where": "clients", "sources": ["203.0.113.79"], "server": "192.0.2.10", "to": "someone@d{n}.test"},
    "sendmail": {"where": HOST, "sources": [], "server": "", "to": "someone@d{n}.test"},
}
#: What judged() says where all went well.
NOTHING = {"never accepted": [], "lost": [], "doubled": [], "sent back": []}


class Traffic:
    """What was sent in a run and what came of it; complete once traffic() has ended."""

    def __init__(self, lab, run):
        self.lab, self.run = lab, run
        self.accepted, self.unsure, self.given_up, self.again = [], [], [], collections.Counter()

    def box(self):
        """The mails in root's mailbox."""
        return re.split(r"^From .*\n", self.lab.mailbox(), flags=re.M)

    def came(self):
        """{token: copies} that a mailbox or a sink has of this run."""
        headers = "\n".join(mail.partition("\n\n")[0] for mail in self.box())
        found = collections.Counter(re.findall(rf"^X-Lab-Token: ({self.run}\.\S+)$", headers, re.M))
        log = self.lab.state / "sink.jsonl"
        for line in log.read_text().splitlines() if log.exists() else []:
            token = json.loads(line).get("token") or ""
            if token.startswith(f"{self.run}."):
                found[token] += 1
        return found

    def judged(self, seconds=600):
        """Wait until all came; what was lost, doubled or sent back, as a dict of lists that are empty when all went well."""
        wanted = set(self.accepted)
        with contextlib.suppress(AssertionError):
            until(lambda: self.flushed() and wanted <= set(self.came()), seconds)
        came = self.came()
        doubled = [token for token, copies in came.items() if copies > 1]
        return {
            "never accepted": sorted(self.given_up),
            "lost": sorted(wanted - set(came)),
            "doubled": sorted(set(doubled) - set(self.unsure)),
            "sent back": [mail for mail in self.box() if "\nSubject: Undelivered Mail" in mail and self.run in mail],
        }

    def flushed(self):
        """Have what is deferred tried again; always true."""
        self.lab.sh("postqueue", "-f", check=False)
        time.sleep(1)
        return True

    def figures(self):
        """What make reliability keeps of it."""
        ways = collections.Counter(token.split(".")[1] for token in self.accepted)
        return {
            "mails in": ways["smtp"],
            "mails out": ways["submission"] + ways["sendmail"],
            "tried again": sum(self.again.values()),
            "connections lost between the last dot and the reply": len(self.unsure),
        }


@contextlib.contextmanager
def traffic(lab, each, ways=tuple(WAYS), pause=0.02, most=100000):
    """While the body runs, send mail all *ways*, of each at least *each*; yields the Traffic."""
    result = Traffic(lab, f"traffic{int(time.time())}")
    started = []
    try:
        for way in ways:
            order = {
                "run": result.run,
                "way": way,
                "workers": 4,
                "least": each * WAYS[way].get("times", 1),
                "pause": pause,
                "most": most,
                **WAYS[way],
            }
            where = order.pop("where")
            python = "python3" if where == "clients" else "/usr/local/bin/python3"
            words = [ROOT / "lab" / "lab", "sh", where, "--", python, "-c", PROGRAM, json.dumps(order)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            started.append(subprocess.Popen([str(word) for word in words], env=lab.env, text=True, **pipes))
        yield result
    finally:
        for process in started:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdin = None
        said = [process.communicate() for process in started]
    for process, (out, err) in zip(started, said):
        assert process.returncode == 0, err[-3000:]
        told = json.loads(out)
        assert len(told["accepted"]) + len(told["given up"]) >= each, told
        result.accepted += told["accepted"]
        result.unsure += told["unsure"]
        result.given_up += told["given up"]
        result.again.update(told["again"])
