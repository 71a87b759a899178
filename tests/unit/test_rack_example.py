# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""inventory/rack.example: what each kind of host comes to, and that every role accepts it, the lines that are comments there included."""

import ipaddress
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from role_modules import ROOT

RACK = ROOT / "inventory" / "rack.example"
KINDS = {"resolvers", "receivers", "senders", "all_in_one"}
#: What tells the kinds apart, of what the roles make of it.
TOLD = (
    "sokuhai_mail",
    "postfix_submission",
    "sasl_enabled",
    "spf_mode",
    "greylist_enabled",
    "dkim_enabled",
    "ahead_enabled",
    "limits_services",
)
MAIL = ["named", "postfix"]
CHECK = f"""
- hosts: mailhosts
  gather_facts: false
  vars_files: [{ROOT}/playbooks/vars/handed_on.yml]
  tasks:
    - ansible.builtin.import_role: {{name: preflight, tasks_from: validate}}
    - ansible.builtin.copy:
        dest: "{{{{ out }}}}/{{{{ inventory_hostname }}}}"
        content: "{{{{ preflight_declared.variables | to_json }}}}"
      delegate_to: localhost
      vars: {{ansible_connection: local, ansible_become: false, ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"}}
"""


def uncommented(text):
    """The text with every comment that is a line of YAML taken for one; a sentence begins with a capital letter."""
    return re.sub(r"^# (?=[a-z_]+:|  +)", "", text, flags=re.M)


def checked(folder, inventory):
    """Run the first play of site.yml, the one without a host, on *inventory*; return {host: {variable: value}}."""
    out = folder / "out"
    out.mkdir()
    (folder / "check.yml").write_text(CHECK)
    command = [pathlib.Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "-e", f"out={out}"]
    done = subprocess.run([*command, folder / "check.yml"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return {path.name: json.loads(path.read_text()) for path in out.iterdir()}


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    return checked(tmp_path_factory.mktemp("rack"), RACK)


def hosts_of(kind):
    return list(yaml.safe_load((RACK / "hosts.yml").read_text())["mailhosts"]["children"][kind]["hosts"])


def test_the_groups_are_the_kinds_and_each_has_its_file():
    children = yaml.safe_load((RACK / "hosts.yml").read_text())["mailhosts"]["children"]
    assert set(children) == KINDS
    assert {path.name for path in (RACK / "group_vars").iterdir()} == {f"{name}.yml" for name in {*KINDS, "mailhosts"}}
    addresses = [host["ansible_host"] for group in children.values() for host in group["hosts"].values()]
    assert len(set(addresses)) == len(addresses)
    assert all(ipaddress.ip_address(one) in ipaddress.ip_network("192.0.2.0/24") for one in addresses)


@pytest.mark.parametrize(
    "kind, values",
    [
        ("resolvers", (False, False, False, "none", False, False, False, ["named"])),
        ("receivers", (True, False, False, "mark", True, False, False, MAIL)),
        ("senders", (True, True, True, "none", False, True, False, MAIL)),
        ("all_in_one", (True, True, True, "mark", True, False, False, MAIL)),
    ],
)
def test_a_kind_is_what_its_group_says(declared, kind, values):
    for host in hosts_of(kind):
        assert dict(zip(TOLD, values)) == {name: declared[host][name] for name in TOLD}
        assert declared[host]["sokuhai_profile"] == "current", "as in inventory/home.example"


def test_a_resolver_answers_the_network_and_a_sender_delivers_nothing_of_the_domain(declared):
    for host in hosts_of("resolvers"):
        assert len(declared[host]["bind_listen_on"]) == 2 and declared[host]["bind_recursion_for"] == ["192.0.2.0/24"]
    for host in hosts_of("senders"):
        assert "$mydomain" not in declared[host]["postfix_destinations"]
        assert declared[host]["access_changes"][0]["after"] == "permit_mynetworks"


def test_what_stands_there_as_a_comment_is_accepted_in_the_other_profile_and_of_a_resolver_no_mail_is_judged(tmp_path):
    folder = tmp_path / "inventory"
    shutil.copytree(RACK, folder)
    changed = 0
    for path in (folder / "group_vars").iterdir():
        text = path.read_text()
        changed += text != uncommented(text)
        path.write_text(uncommented(text).replace("sokuhai_profile: current", "sokuhai_profile: article"))
    with open(folder / "group_vars" / "resolvers.yml", "a") as file:
        file.write("postfix_submission_maxproc: 0\nsokuhai_domain: ''\n")
    values = checked(tmp_path, folder)
    assert changed >= 3 and {host["sokuhai_profile"] for host in values.values()} == {"article"}
    for host in hosts_of("receivers"):
        assert [item["name"] for item in values[host]["postfix_main_cf"]] == [
            "relay_domains",
            "transport_maps",
            "relay_recipient_maps",
        ]
    for host in hosts_of("resolvers"):
        assert values[host]["monitor_relay"]
