"""One urgent message to very many people, through the provisioned host, counted where it arrives."""

import json

import pytest
from practice import HOST, SLOW, run_module


@pytest.fixture
def private_named(lab):
    if lab.outside:
        pytest.skip(
            "loads a second named beside the host's and looks at it by Linux's prlimit(2) and /proc: on a practice host only"
        )


def test_every_recipient_gets_the_message_once(lab, full, tmp_path, figures):
    recipients, domains = (10000, 1000) if full else (1000, 200)
    report = tmp_path / "mail.json"
    result = run_module(
        lab,
        "mail",
        "--instance",
        lab.name,
        "--recipients",
        recipients,
        "--domains",
        domains,
        "--json",
        report,
        "--timeout",
        (120 + recipients / 20) * SLOW,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    mail = json.loads(report.read_text())
    figures.append(
        f"one message to {recipients} recipients in {domains} domains: {mail['seconds']:.0f} s, named's sockets at most {mail['named_sockets_peak']}, "
        f"smtp processes at most {mail['smtp_processes_peak']}, deferred {mail['deferred']}"
    )
    assert mail["sent"] == mail["delivered"] == recipients
    assert mail["duplicates"] == mail["missing"] == 0
    assert mail["deferred_dns"] == 0
    assert mail["named_sockets_peak"] > 0


def test_named_holds_where_stock_named_gives_up(lab, private_named, full, tmp_path, figures):
    """The article's ceiling under its name of today: both are measured in one run, and only their ratio is judged."""
    report = tmp_path / "compare.json"
    result = run_module(lab, "compare", "--instance", lab.name, "--json", report, "--seconds", 20 if full else 8)
    assert result.returncode == 0, result.stdout + result.stderr
    figures += result.stdout.splitlines()
    both = json.loads(report.read_text())
    assert both["ours"]["answered"] > 2 * both["stock"]["answered"], both


def test_own_resolver_defers_nothing_where_the_providers_resolver_limits(lab, private_named, full, tmp_path, figures):
    """The article's symptom: one message, three resolvers, one run. What stock named does is printed, not judged."""
    recipients, domains = (1000, 400) if full else (400, 200)
    report = tmp_path / "mail.json"
    result = run_module(
        lab,
        "compare",
        "--instance",
        lab.name,
        "--mail",
        "--no-named",
        "--recipients",
        recipients,
        "--domains",
        domains,
        "--json",
        report,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures += [
        line for line in result.stdout.splitlines() if not line.startswith(("  provider: ", "  stock: ", "  ours: "))
    ]
    mail = json.loads(report.read_text())["mail"]
    assert mail["provider"]["resolver"]["over_limit"] > 0, (
        "the provider's resolver had nothing to refuse: the load is too small to show anything"
    )
    assert mail["ours"]["delivered"] == recipients
    assert mail["ours"]["deferred_dns"] == 0 < mail["provider"]["deferred_dns"]


def test_mail_queue_is_empty_afterwards(lab):
    assert "Mail queue is empty" in lab.sh("/usr/local/bin/mailq", host=HOST).stdout
