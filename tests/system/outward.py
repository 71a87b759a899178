"""What leaves the practice host for the mail servers with TLS of the simulated internet, and what they got."""

import json
import uuid

from practice import until

CA = "/usr/local/etc/ssl/lab-ca.pem"


def trust(lab):
    """Let the host have the certificate of the lab's CA, where CA says."""
    text = (lab.state / "tls" / "ca.pem").read_text()
    lab.sh("sh", "-c", f"mkdir -p $(dirname {CA}) && cat > {CA}", stdin=text)


def steer(lab, what, **values):
    """Change how a server, or a zone, behaves."""
    kind = "sink" if "starttls" in values else "set"
    done = lab.internet("ctl", kind, what, *(f"{name}={value}" for name, value in values.items()))
    assert done.returncode == 0, done.stdout + done.stderr


def send(lab, *recipients):
    """Give the host a message to *recipients*; return the token by which arrived() knows it."""
    token = uuid.uuid4().hex
    text = f"From: alert@home.example\nSubject: x\nX-Lab-Token: {token}\n\nhi\n"
    lab.sh("sendmail", "-f", "alert@home.example", *recipients, stdin=text)
    return token


def arrived(lab, token):
    """What the servers recorded of a message, a mapping for each recipient."""
    lines = (lab.state / "sink.jsonl").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found.get("token") == token]


def outcome(lab, recipient, since):
    """The lines of the log about a recipient from line *since* on that say what became of the mail."""
    text = lab.sh("sh", "-c", f"tail -n +{since + 1} /var/log/maillog").stdout
    return [line for line in text.splitlines() if f"to=<{recipient}>" in line and "status=" in line]


def log_end(lab):
    return int(lab.sh("sh", "-c", "wc -l < /var/log/maillog").stdout)


def deferred(lab, recipient, since):
    """Why the mail to *recipient* was deferred, as the log has it; waits for it."""
    line = until(lambda: outcome(lab, recipient, since))[-1]
    assert "status=deferred" in line, line
    return line


def flushed(lab, token, count=1):
    """Have the queue run; what then arrived, once all *count* recipients have it."""
    lab.sh("postqueue", "-f")
    return until(lambda: len(found := arrived(lab, token)) >= count and found)


def logged(lab, since, words):
    """Whether the log has a line with *words* from line *since* on."""
    return words in lab.sh("sh", "-c", f"tail -n +{since + 1} /var/log/maillog").stdout
