"""refresh.yml: what the registries publish comes into force, what cannot be believed does not, and the operator is told."""

import datetime
import functools
import hashlib
import http.server
import json
import threading

import pytest
from practice import ROOT, changed_lines

REGISTRY = ROOT / "lab" / "registry"
TABLE = "cidr:/usr/local/etc/postfix/tables/client_country"
INSIDE, OUTSIDE = "203.0.113.20", "203.0.113.230"  # of JP in the practice host's registry file; of no declared country
LISTS = [
    {"name": "dnsbl.test", "filter": "127.0.0.2", "reason": "a test"},
    {"name": "dnsbl-world.test", "filter": "127.0.0.2", "reason": "a test"},
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what it answered."""

    answers = []

    def log_request(self, code="-", size="-"):
        self.answers.append((self.path, int(code)))

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A registry on the controller's loopback: the practice host's file of apnic, up to yesterday, with a network more; returns its folder and URL."""
    folder = tmp_path_factory.mktemp("registry")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    publish(folder, ["apnic|JP|ipv4|203.0.113.224|32|20261101|allocated|A9000001"])
    yield folder, f"http://127.0.0.1:{server.server_port}/delegated-apnic-extended-latest"
    server.shutdown()


def publish(folder, more=(), cut=0):
    """Write the file and its digest as a registry does: *more* records, and less *cut* lines at its end, which the digest covers too."""
    lines = [line for line in (REGISTRY / "delegated-apnic").read_text().splitlines() if not line.startswith("#")]
    yesterday = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)).strftime("%Y%m%d")
    records = lines[4:] + list(more)
    counts = [sum(record.split("|")[2] == kind for record in records) for kind in ("asn", "ipv4", "ipv6")]
    head = [f"2.3|apnic|{yesterday}|{len(records)}|20261101|{yesterday}|+0900"]
    head += [f"apnic|*|{kind}|*|{count}|summary" for kind, count in zip(("asn", "ipv4", "ipv6"), counts)]
    text = "".join(line + "\n" for line in (head + records)[: len(head + records) - cut])
    (folder / "delegated-apnic-extended-latest").write_text(text)
    (folder / "delegated-apnic-extended-latest.md5").write_text(
        f"MD5 (delegated-apnic-extended-latest) = {hashlib.md5(text.encode()).hexdigest()}"
    )


def refresh(lab, folder, url, *options, **variables):
    return lab.play(
        "refresh.yml",
        *options,
        variables={"access_registries": {"apnic": url}, "access_registry_cache": str(folder / "cache"), **variables},
    )


def answer(lab, address):
    return lab.sh("postmap", "-q", address, TABLE, check=False).stdout.strip()


@pytest.fixture(scope="module")
def restored(lab):
    """The practice host has its own countries and lists again in the end, whatever failed."""
    before = lab.fingerprint()
    yield before
    if lab.fingerprint() != before:
        lab.applied("site.yml", "--tags", "postfix")
    assert lab.fingerprint() == before


def test_new_networks_come_into_force_and_refused_ones_do_not(lab, mirror, restored, tmp_path, figures):
    folder, url = mirror
    countries = tmp_path / "countries.txt"
    countries.write_text((REGISTRY / "countries.txt").read_text())
    own = countries.read_text()
    assert answer(lab, INSIDE) == "permit_auth_destination" and answer(lab, OUTSIDE) == ""

    # a check run fetches and predicts, and changes neither the host nor the file of countries
    predicted = refresh(lab, folder, url, "--check", "--diff", access_country_file=str(countries))
    assert predicted.returncode == 0, predicted.stdout[-4000:] + predicted.stderr
    assert "+203.0.113.224/27 permit_auth_destination" in predicted.stdout
    assert any("[postfix : " in line for line in changed_lines(predicted))
    assert lab.fingerprint() == restored and countries.read_text() == own

    # the run puts it in force; the DNS lists are judged in the same run, and a sick one is left out and told
    Quiet.answers.clear()
    done = refresh(lab, folder, url, access_country_file=str(countries), access_dnsbl=LISTS)
    assert ("/delegated-apnic-extended-latest", 304) in Quiet.answers, Quiet.answers
    assert "203.0.113.224/27 JP\n" in countries.read_text()
    assert answer(lab, OUTSIDE) == "permit_auth_destination"
    clients = lab.sh("postconf", "-h", "smtpd_client_restrictions").stdout
    assert "reject_rbl_client dnsbl.test=127.0.0.2" in clients and "dnsbl-world.test" not in clients
    assert done.returncode != 0
    told = " ".join(done.stdout[done.stdout.rfind("TASK [") :].split())
    assert "dnsbl dnsbl-world.test: 127.0.0.1" in told and "dnsbl dnsbl.test:" not in told and "registry" not in told, (
        told
    )
    figures.append(
        f"refresh.yml, one registry: {done.summary['tasks']} tasks, {done.summary['remote_commands']} remote commands, {done.summary['seconds']} s"
    )

    # a cut file is refused with its reason; the host gets what is in force: its own table, with the lists that are declared
    publish(folder, cut=2)
    cut = refresh(lab, folder, url)
    assert cut.returncode != 0
    told = " ".join(cut.stdout[cut.stdout.rfind("TASK [") :].split())
    assert "registry apnic: " in told and "ipv6" in told and "dnsbl dnsbl" not in told, told
    assert (REGISTRY / "countries.txt").read_text() == own
    assert answer(lab, INSIDE) == "permit_auth_destination" and answer(lab, OUTSIDE) == ""
    assert lab.fingerprint() == restored


@pytest.mark.parametrize(
    "declared",
    [{"access_countries": {}}, {"access_countries": {"JP": "ease"}, "access_registries": {}}],
    ids=["no country", "lists alone"],
)
def test_nothing_is_asked_of_registries_where_that_is_not_wanted(lab, mirror, tmp_path, declared):
    """On the controller alone: the plays that speak to the host are for others to prove. The second is how cron renews the DNS lists alone."""
    folder, url = mirror
    Quiet.answers.clear()
    book = tmp_path / "book.yml"
    book.write_text(
        json.dumps(
            [
                {
                    "hosts": "mailhosts",
                    "gather_facts": False,
                    "tasks": [{"import_role": {"name": "access", "tasks_from": "registries"}}],
                }
            ]
        )
    )
    result = lab.applied(
        book,
        variables={"access_registries": {"apnic": url}, "access_registry_cache": str(folder / "none"), **declared},
    )
    assert not Quiet.answers and not (folder / "none").exists()
    assert result.summary["remote_commands"] == 0
