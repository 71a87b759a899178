"""The page of a provisioned host: its chain as it is measured now, and what the sampler measured."""

import json
import os
import re

from practice import HOST, ROOT


def test_a_page_of_a_real_host_has_its_chain_and_its_samples(lab, tmp_path):
    done = lab.run(
        *(ROOT / "tools" / "drift", "-i", ROOT / "lab" / "inventory", "--state", tmp_path / "state"),
        *("--json", tmp_path / "report.json", "--html", tmp_path / "report.html", "--days", 1),
        *("-e", json.dumps({"access_traps": ["catch-me@home.example"]})),
        cwd=tmp_path,
    )
    # the traps are declared for this run only, so they are drift
    assert done.returncode == 2, done.stdout + done.stderr
    host = json.loads((tmp_path / "report.json").read_text())["hosts"][HOST]
    links = host["chain"]["links"]
    ids = {link["id"] for link in links}
    assert {"kern.maxfiles", "named: openfiles", "postfix: openfiles", "named: source ports"} < ids and len(links) > 15
    columns = host["samples"]["columns"]
    assert host["samples"]["rows_read"] > 0 and columns["time"] == sorted(columns["time"]), host["samples"]
    known = {name for name, values in columns.items() if any(value is not None for value in values)}
    assert {
        "queue_active",
        "named_sockets",
        "named_descriptors_limit",
        "postfix_processes",
        "files",
        "files_limit",
        "mails_out",
        "deferred_dns",
    } <= known
    assert list(host["traps"]["traps"]) == ["catch-me@home.example"]
    assert host["mailings"]["left_out"] == [] and host["mailings"]["mailings"] == sorted(
        host["mailings"]["mailings"], key=lambda one: -one["at"]
    )
    text = (tmp_path / "report.html").read_text()
    assert os.stat(tmp_path / "report.html").st_mode & 0o777 == 0o600
    names = [re.sub(r"\s*[<>]=$", "", link["name"]).replace(">", "&gt;") for link in links]
    assert all(name in text for name in names) and '"queue_active":[' in text
    assert "keeps no samples" not in text and "could not be read" not in text
