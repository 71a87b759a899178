"""Secrets on the practice host: nothing that a run leaves, on the controller or on the host, holds one, but the file that it is for."""

import base64
import json
import os
import subprocess

import pytest
from practice import INVENTORY, ROOT, changed_lines

POSTFIX, NAMED = "/usr/local/etc/postfix", "/usr/local/etc/namedb/named.conf"
TABLES = POSTFIX + "/tables"
# the last set that worked, to which rollback.yml returns
LAST = "/usr/local/etc/postfix/.last/tables"
SECRETS = [f"{TABLES}/{name}" for name in ("sasl_passwd", "keys")]
# eight characters, that it may stand before base64
PLANTED = "Plant3d0"
MAPS = "smtp_sasl_password_maps"
# what holds a secret here; the first run is of all that there is
PARTS = ("--tags", "bind,dkim,postfix")
# everything that its disks hold, logs and spools and what was left in folders for temporary files included
SEARCH = (
    f"find / -xdev -type f -not -path '/proc/*' -not -path '/sys/*' -exec grep -la {PLANTED} {{}} + 2>/dev/null || true"
)
# a private line of each key that signs, and its path; of an RSA key one that the public key has not
PRIVATE = """
import pathlib
for path in sorted(pathlib.Path('/var/db/sokuhai_dkim/keys').glob('*/*.key')):
    lines = path.read_text().splitlines()
    print(lines[19] if len(lines) > 19 else lines[0], path, oct(path.stat().st_mode & 0o777), oct(path.parent.stat().st_mode & 0o777))
"""
#: A domain whose keys are made while everything is written down.
SIGNED = "secret.home.example"


def key(password):
    """A TSIG key's secret."""
    return PLANTED + base64.b64encode(password.encode()).decode()


def declared(password):
    """Secrets in tables, which are kept; in main.cf and master.cf, which cannot be; and in named.conf."""
    secret = PLANTED + password
    return {
        "dkim_domains": [{"name": "home.example"}, {"name": SIGNED}],
        "bind_extra_config": 'key "transfer" { algorithm hmac-sha256; secret "%s"; };' % key(password),
        "postfix_main_cf": [{"name": MAPS, "value": f"static:user:{secret}"}],
        "postfix_master_cf": [
            {"name": "relay", "options": {"lmtp_sasl_password_maps": f"inline:{{[relay.example]=user:{secret}}}"}}
        ],
        "postfix_tables": [
            {
                "name": "sasl_passwd",
                "type": "hash",
                "entries": [{"pattern": "[relay.example]:587", "action": f"user:{secret}"}],
            },
            {"name": "keys", "type": "hash", "secret": True, "entries": [{"pattern": "one", "action": secret}]},
        ],
    }


@pytest.fixture
def controller(lab, tmp_path, monkeypatch):
    """A controller that keeps all that it can: its log, facts, the last report. Return its folder."""
    for name, value in {
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": tmp_path / "facts",
        "ANSIBLE_LOG_PATH": tmp_path / "ansible.log",
    }.items():
        monkeypatch.setitem(lab.env, name, str(value))
    yield tmp_path
    lab.applied("site.yml", *PARTS)
    lab.sh("rm", "-rf", f"/var/db/sokuhai_dkim/keys/{SIGNED}")


@pytest.fixture
def talkative(lab):
    """A host that logs everything, Ansible's own `Invoked with` included: FreeBSD's syslog.conf drops what is below notice."""
    conf, kept = "/etc/syslog.conf", "/var/tmp/syslog.conf.kept"
    lab.sh(
        "sh",
        "-c",
        f"cp -p {conf} {kept} && printf '*.*\\t/var/log/everything\\n' >> {conf} && kill -HUP $(cat /var/run/syslog.pid)",
    )
    yield "/var/log/everything"
    lab.sh("sh", "-c", f"mv {kept} {conf} && kill -HUP $(cat /var/run/syslog.pid) && rm -f /var/log/everything")


def played(lab, folder, variables, *options):
    """Run site.yml, at its most talkative; return the finished process, and keep what it printed."""
    result = lab.play("site.yml", "--diff", "-vvv", *options, variables=variables)
    with open(folder / "printed", "a") as kept:
        kept.write(result.stdout + result.stderr)
    return result


SENDMAIL = """#!/bin/sh
cat > "$(dirname "$0")/mailed"
"""


def drift(lab, folder, variables):
    """The report of tools/drift --mail; its mail is in the folder, too."""
    program = folder / "sendmail"
    program.write_text(SENDMAIL)
    program.chmod(0o755)
    (folder / "declared").mkdir()
    given = folder / "declared" / "extra.json"
    given.write_text(json.dumps({**variables, "monitor_alert_to": "ops@home.example"}))
    words = (
        "-i",
        INVENTORY,
        "-d",
        "--mail",
        "--json",
        folder / "report.json",
        "--html",
        folder / "page.html",
        "--state",
        folder / "state",
    )
    done = subprocess.run(
        [str(word) for word in (ROOT / "tools" / "drift", *words, "-e", f"@{given}")],
        env={**lab.env, "PATH": f"{folder}:{os.environ['PATH']}"},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=900,
    )
    (folder / "drift").write_text(done.stdout + done.stderr)
    return json.loads((folder / "report.json").read_text())


def modes(lab):
    """{path: mode} of what holds a secret, by what it is."""
    script = "import os, sys; [print(path, oct(os.stat(path).st_mode & 0o777)) for path in sys.argv[1:]]"
    files = SECRETS + [path + ".db" for path in SECRETS] + lab.sh("sh", "-c", SEARCH).stdout.split()
    lines = lab.sh("/usr/local/bin/python3", "-c", script, *files).stdout.splitlines()
    return dict(line.split() for line in lines)


def signing_keys(lab):
    """{path: private line} of the keys that sign, which nobody but the signer can read."""
    rows = [line.split() for line in lab.sh("/usr/local/bin/python3", "-", stdin=PRIVATE).stdout.splitlines()]
    assert {(file, folder) for _text, _path, file, folder in rows} == {("0o600", "0o700")}
    return {path: text for text, path, _file, _folder in rows}


def kept_secret(lab):
    """Nobody but root reads a table, and nobody but root and named a key. Of main.cf everybody does."""
    found = modes(lab)
    named = {mode for path, mode in found.items() if path.startswith(NAMED)}
    tables = {mode for path, mode in found.items() if "/tables/" in path}
    return (named, tables) == ({"0o640"}, {"0o600"})


def test_a_secret_is_nowhere_but_in_its_file(lab, controller, talkative):
    first = played(lab, controller, declared("first"))
    assert first.returncode == 0, first.stdout[-4000:]
    assert kept_secret(lab), modes(lab)
    said = " ".join((first.stdout + first.stderr).split())
    assert f"postfix_main_cf: {MAPS} has a password" in said and "postfix_master_cf: relay: lmtp_sasl" in said
    assert lab.sh("postmap", "-q", "one", f"hash:{TABLES}/keys").stdout.strip() == PLANTED + "first"
    assert not changed_lines(played(lab, controller, declared("first"), *PARTS))

    # another password, and a file that an earlier version has written
    lab.sh("chmod", "0644", SECRETS[0], SECRETS[0] + ".db", NAMED)
    report = drift(lab, controller, declared("second"))
    found = {entry["id"].split("/", 2)[2] for entry in report["findings"]}
    assert {f"mode of {path}" for path in (SECRETS[0], SECRETS[0] + ".db", NAMED)} <= found
    assert any(name.endswith("tables/keys") for name in found) and {f"main.cf: {MAPS}", NAMED} <= found, found
    refused = played(
        lab,
        controller,
        declared("third")
        | {"postfix_main_cf": [*declared("third")["postfix_main_cf"], {"name": "smtpd_recipient_limit", "value": "x"}]},
        *PARTS,
    )
    assert refused.returncode and "smtpd_recipient_limit" in refused.stdout
    wrong = declared("fourth")
    wrong["postfix_tables"][1]["entries"].append({"pattern": f"two {PLANTED}", "action": "x"})
    assert "entry 2" in played(lab, controller, wrong, *PARTS).stdout
    second = played(lab, controller, declared("second"), *PARTS)
    assert second.returncode == 0, second.stdout[-4000:]
    assert kept_secret(lab), modes(lab)

    assert "postfix_config: Invoked with" in lab.sh("cat", talkative).stdout
    databases = [path + ".db" for path in SECRETS]
    last = [path.replace(TABLES, LAST) for path in SECRETS + databases]
    open_to_all = [f"{POSTFIX}/{name}" for name in ("main.cf", "master.cf")]
    last += [path.replace(POSTFIX, POSTFIX + "/.last") for path in open_to_all]
    everywhere = SECRETS + databases + last + open_to_all + [NAMED, NAMED + ".previous"]
    assert sorted(lab.sh("sh", "-c", SEARCH).stdout.split()) == sorted(everywhere)
    assert lab.sh("ls", "-ld", LAST.rpartition("/")[0]).stdout.startswith("drwx------")
    # keys that sign are made on the host and stay there, in one file each
    printed = lab.play("dkim.yml", "--diff", "-vvv", variables=declared("second"))
    (controller / "records").write_text(printed.stdout + printed.stderr)
    keys = signing_keys(lab)
    assert printed.returncode == 0 and sum(f"/{SIGNED}/" in path for path in keys) == 4, keys
    patterns = "\n".join(keys.values()) + "\n"
    search = SEARCH.replace(f"grep -la {PLANTED}", "grep -laF -f /dev/shm/private")
    lab.sh("sh", "-c", "umask 077; cat > /dev/shm/private", stdin=patterns)
    try:
        found = lab.sh("sh", "-c", search).stdout.split()
    finally:
        lab.sh("rm", "/dev/shm/private")
    assert sorted(found) == sorted(keys)
    kept = [path for path in controller.rglob("*") if path.is_file() and path.parent.name != "declared"]
    assert {path.name for path in kept} >= {"printed", "ansible.log", "drift", "report.json", "page.html", "mailed"}
    assert [str(path) for path in kept if PLANTED.encode() in path.read_bytes()] == []
    assert [str(path) for path in kept if any(text.encode() in path.read_bytes() for text in keys.values())] == []
