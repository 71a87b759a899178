"""The fixtures of the tests on a provisioned practice host; what they are made of is in practice.py."""

import os

import pytest

pytest.register_assert_rewrite("practice", "dialogues.stage")
import reliability
from practice import ASKED, FIGURES, down_all, provisioned


@pytest.fixture(scope="session")
def lab():
    return provisioned()


#: Files that take longest, longest first, lest one lane works alone at the end (with --no-loadscope-reorder): those of make test-full alone, the one that
#: makes the mould of a practice host, those that need none of it while it is made, and the rest.
LONGEST = (
    "drift_singly",
    "schedule",
    "many_hosts",
    "rack",
    "builder",
    "pull",
    "upgrade",
    "postfix_transaction",
    "older_generation",
    "bare_host",
    "one_family",
    "lint",
    "bind_transaction",
    "ports",
    "drift",
    "dialogues",
    "monitor",
    "broken_off",
    "delivery",
    "bench",
    "secrets",
    "finished_host",
    "blocklist",
    "bad_input",
    "kernel_beside",
    "access",
    "refresh",
    "taking_over",
    "accepted",
    "dkim",
    "full_disk",
    "relay",
    "tarpit",
    "rollback",
    "page_browser",
    "lab_freebsd",
    "bad_input_host",
    "nothing_lost",
    "ahead",
    "urgent",
    "providers",
    "smarthost",
    "dane",
    "jail",
    "spf",
    "page",
    "drift_more",
    "item_removed",
    "greylist",
    "auth",
)


def pytest_collection_modifyitems(config, items):
    if ASKED:
        left_out = [item for item in items if not reliability.is_asked(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        reliability.plan(items)
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_runtest_logreport(report):
    # the workers' reports come here as well
    if ASKED and "PYTEST_XDIST_WORKER" not in os.environ:
        reliability.keep(report)


@pytest.fixture
def figures(request):
    """Lines about what was measured; shown at the end of the run, since a test that passes shows nothing."""
    return request.config.stash.setdefault(FIGURES, [])


def pytest_sessionfinish(session):
    down_all()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
