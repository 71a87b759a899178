"""playbooks/builder.yml on the practice host, which is builder and mail host at once, with a stand-in of poudriere: what is built, served, installed, and kept.

Ports are compiled with the headers of the jail's copy, laid over the host's own; see lab/standins/root/usr/libexec/standins/poudriere.
"""

import json
import re
import sys

import pytest
from practice import HERE, HOST, PLAYBOOK, ROOT, applied_book, full_only, message, play_book
from test_drift import Drift
from test_ports import SMALL, define, package, said

pytestmark = full_only("about twenty runs, of builder.yml and of the rebuild")

ETC, BASE = "/usr/local/etc/sokuhai-builder", "/usr/local/sokuhai-builder"
PLACE = f"{BASE}/data/packages/mail-default"
HEADER = f"{BASE}/jails/mail/usr/include/sys/select.h"
INCLUDE = "/usr/include/sys/select.h"
LOCAL = "/usr/ports/mail/postfix/Makefile.local"
BUILDER = {"builder_poll": 1, "builder_min_disk_mb": 50, "rebuild_parts": ["bind", "postfix"]}


def play(lab, *options, **variables):
    return lab.play("builder.yml", "-i", HERE / "builders.yml", *options, variables={**BUILDER, **variables})


def built(lab, *options, **variables):
    result = play(lab, *options, **variables)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr
    return result


def changed(result):
    return sum(one["changed"] for one in result.summary["hosts"].values())


def declared(result):
    """The lines for the inventory that the play prints."""
    lines = [
        line.strip()
        for line in re.search(r"-----BEGIN.*?-----END PUBLIC KEY-----", result.stdout, re.S)[0].splitlines()
    ]
    url = re.search(r"ports_repository_url: (\S+)", result.stdout)[1]
    key = "\n".join(lines) + "\n"
    return {"ports_method": "repository", "ports_repository_url": url, "ports_repository_key": key, **SMALL}


def served(lab):
    """What hosts can install: packages with their options, from the catalogue, and the directory that has them."""
    code = (
        "import json, urllib.request as u; t = u.urlopen('http://127.0.0.1:8017/packagesite.pkg', timeout=20).read().decode()\n"
        "for l in t.splitlines(): m = json.loads(l); print(m['name'], m['version'], *sorted(k for k, v in m['options'].items() if v == 'on'))"
    )
    catalogue = lab.sh("/usr/local/bin/python3", "-c", code).stdout
    return catalogue, lab.sh("readlink", f"{PLACE}/.latest").stdout


def log(lab):
    return lab.sh("cat", "/var/log/sokuhai-builder.log").stdout


@pytest.fixture(scope="module", autouse=True)
def found(lab):
    """The host without a builder, and its own packages, before and afterwards."""
    if lab.sh("test", "-d", "/usr/ports/dns/bind920", check=False).returncode:
        pytest.skip("this generation's ports tree has no dns/bind920")
    yield
    lab.sh("rm", "-f", LOCAL)
    built(lab, builder_enabled=False)
    applied_book(
        "ports_undo.yml", lab, **SMALL, ports_method="repository", ports_repository_url="http://127.0.0.1:8017/"
    )
    lab.sh("rm", "-rf", ETC, BASE, "/var/db/sokuhai/builder", "/usr/local/etc/pkg/sokuhai.pub")
    lab.sh("sh", "-c", "pkg delete -fy poudriere darkhttpd; true")


@pytest.fixture(scope="module")
def first(lab, found):
    """What the first run printed."""
    before = lab.fingerprint()
    result = built(lab, "--check", "--diff")
    assert lab.fingerprint() == before, "a check run changed something"
    assert "+COMMIT_PACKAGES_ON_FAILURE=no" in result.stdout and "+.if ${.CURDIR:M*/mail/postfix}" in result.stdout
    assert "repository: missing: found none, declared built" in said(result)
    return built(lab)


def test_what_is_built_is_proved_served_and_installed(lab, first):
    assert (
        "sokuhai probe 000002048 000016384 "
        in lab.sh(
            "sh", "-c", f"cat {BASE}/data/logs/bulk/mail-default/latest/logs/sokuhai-fd-set-probe-16384.log"
        ).stdout
    )
    assert lab.sh("stat", "-f", "%Lp %Su", f"{ETC}/repo.key").stdout.split() == ["600", "root"]
    assert "PRIVATE KEY" not in first.stdout + log(lab)
    assert changed(built(lab)) == 0

    header = define(lab, INCLUDE)
    result = applied_book("ports_only.yml", lab, **declared(first))
    assert "port mail/postfix: repository: found" in said(result)
    for name in ("bind920", "postfix"):
        assert package(lab, name).split("|")[1:] == ["sokuhai", "0"]
    assert "-DFD_SETSIZE=16384" in lab.sh("cat", "/usr/local/libexec/postfix/makedefs.out").stdout
    assert define(lab, INCLUDE) == header, "a host that compiles nothing keeps its header"
    assert changed(applied_book("ports_only.yml", lab, **declared(first))) == 0


def test_a_repository_of_another_key_is_not_installed_from(lab, first):
    lab.sh(
        "sh",
        "-c",
        f"openssl genrsa -out /root/other.key 2048 && openssl rsa -in /root/other.key -pubout -out /root/other.pub && cp -p {ETC}/repo.key /root/repo.key",
    )
    other = {**declared(first), "ports_repository_key": lab.sh("cat", "/root/other.pub").stdout}
    lab.sh("pkg", "annotate", "-yqM", "postfix", "repository", "FreeBSD-ports")
    result = play_book("ports_only.yml", lab, **other)
    assert result.returncode and "pkg install -fy -r sokuhai postfix" in " ".join(result.stdout.split())
    assert changed(applied_book("ports_only.yml", lab, **declared(first))) > 0
    assert package(lab, "postfix").split("|")[1] == "sokuhai"


def test_an_updated_jail_is_raised_again_and_all_of_the_list_built_again(lab, first):
    before = served(lab)
    lab.sh("sh", "-c", f"sleep 1; poudriere -e {ETC} jail -u -j mail")
    assert define(lab, HEADER) == ["1024"]
    assert "repository: jail" in said(built(lab, "--check"))
    result = built(lab)
    assert changed(result) == 1
    text = log(lab)
    assert "FD_SETSIZE is 16384 in" in text and "Finished misc/sokuhai-fd-set-probe" in text
    assert served(lab)[0] == before[0] and served(lab)[1] != before[1]
    assert changed(built(lab)) == 0


def test_a_build_that_fails_leaves_what_is_served(lab, first):
    before = served(lab)
    other = {"ports_list": [{"origin": "mail/postfix", "options_set": ["TEST"]}]}
    lab.sh("sh", "-c", f"printf 'pre-build:\\n\\t@echo no way; exit 1\\n' > {LOCAL}")
    result = play(lab, **other)
    assert result.returncode and "what is served is as it was" in message(result) and "logs/errors" in message(result)
    assert served(lab) == before
    assert lab.sh("pkg", "install", "-fy", "-r", "sokuhai", "postfix", check=False).returncode == 0
    lab.sh("rm", "-f", LOCAL)
    built(lab, **other)
    now = served(lab)
    assert " TEST" in now[0] and " TEST" not in before[0] and now[1] != before[1]
    assert changed(built(lab, **other)) == 0


def test_a_header_that_the_probe_refuses_builds_nothing(lab, first):
    before, kept = served(lab), lab.sh("cat", HEADER).stdout
    # once as a number that is not the only one, which the hook sees; once in a form that only a compiler does
    for line, why in (
        ("#define FD_SETSIZE 256", "no single FD_SETSIZE"),
        ("#undef FD_SETSIZE\n#define FD_SETSIZE (256)", "the probe package"),
    ):
        lab.sh(
            "sh",
            "-c",
            f"chmod u+w {HEADER}; cat > {HEADER}",
            stdin=kept.replace("#define\tFD_SETSIZE\t1024", f"#define\tFD_SETSIZE\t1024\n{line}"),
        )
        result = play(
            lab, builder_update=False, ports_list=[{"origin": "mail/postfix", "cflags": ["-O1", "-DFD_SETSIZE=16384"]}]
        )
        assert result.returncode and why in message(result), result.stdout[-3000:]
        assert "Building mail/postfix" not in log(lab)
        assert served(lab) == before
    # freebsd-update(8) brings the release's own again
    built(lab, builder_update=True)
    assert changed(built(lab)) == 0


def test_the_stand_in_answers_as_its_contract_says(lab, first):
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", ROOT / "lab/contract/test_poudriere.py")
    result = lab.run(*words)
    assert result.returncode == 0 and "skipped" not in result.stdout, result.stdout[-3000:]


def test_a_host_that_is_no_mail_host_owes_no_domain(lab, tmp_path):
    (tmp_path / "hosts.yml").write_text("builders: {hosts: {pkg.home.example: {builder_port: 80}}}\n")
    result = lab.run(PLAYBOOK, "-i", tmp_path / "hosts.yml", ROOT / "playbooks/builder.yml")
    assert result.returncode and "builder_port = 80" in result.stdout and "sokuhai_domain" not in result.stdout


def test_drift_is_seen_on_a_builder(lab, first, tmp_path):
    drift = Drift(lab, tmp_path, "-i", HERE / "builders.yml", "-e", json.dumps(BUILDER))

    def found():
        report = drift.run().report
        return {one["id"]: one["remedy"] for one in report["findings"] if "/builder/" in one["id"]}

    assert found() == {}
    lab.sh("sh", "-c", f"service sokuhai_builder stop; chmod 644 {ETC}/repo.key; echo x >> {ETC}/poudriere.conf")
    assert found() == {
        f"{HOST}/builder/service sokuhai_builder": "builder",
        f"{HOST}/builder/{ETC}/poudriere.conf": "builder",
        f"{HOST}/builder/mode of {ETC}/repo.key": "mode",
    }
    lab.sh("chmod", "600", f"{ETC}/repo.key")
    assert changed(built(lab)) == 2 and found() == {}


def test_what_serves_is_put_right_and_taken_away(lab, first):
    lab.sh("service", "sokuhai_builder", "stop")
    assert "not running" in said(built(lab, "--check"))
    assert changed(built(lab)) == 1 and served(lab)
    result = built(lab, builder_enabled=False)
    assert changed(result) == 1
    assert lab.sh("test", "-e", "/usr/local/etc/rc.d/sokuhai_builder", check=False).returncode
    assert "sokuhai_builder" not in lab.sh("cat", "/etc/rc.conf").stdout
    assert lab.sh("test", "-s", f"{ETC}/repo.key", check=False).returncode == 0
    assert changed(built(lab, builder_enabled=False)) == 0
    assert changed(built(lab)) == 1 and served(lab)
