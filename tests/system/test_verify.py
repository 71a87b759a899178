"""verify.yml speaks to the host as ansible-playbook was told to, by the inventory or on the command line."""

import json
import re
import shlex

from practice import HOST, PLAYBOOK, ROOT

FEW = json.dumps({"verify_options": ["-k", "test_named_answers or test_there_is_no_forwarder"]})


def verify(lab, inventory, *options):
    done = lab.run(PLAYBOOK, "-i", inventory, ROOT / "playbooks" / "verify.yml", "-e", FEW, *options)
    return done.returncode, done.stdout[-3000:] + done.stderr


def test_user_and_key_may_stand_on_the_command_line(lab, tmp_path):
    source = ROOT / "lab" / "inventory"
    folder = tmp_path / "group_vars" / "mailhosts"
    folder.mkdir(parents=True)
    for path in (source / "group_vars" / "mailhosts").iterdir():
        text = path.read_text().replace("{{ (inventory_dir ~ '/group_vars') | realpath | dirname }}", str(source))
        if path.name == "connection.yml":
            said = [
                line
                for line in text.splitlines()
                if line.startswith(("ansible_user:", "ansible_ssh_private_key_file:"))
            ]
            assert len(said) == 2, "the lab's inventory says user and key, and this one does not"
            text = "\n".join(line for line in text.splitlines() if line not in said) + "\n"
            # no connection that another run left open, with the right key, is taken
            assert "ControlPath=" in text
            text = re.sub(r"ControlPath=.*", "ControlPath=none", text)
            # nor is the lab where this inventory is
            text, count = re.subn(r'(ProxyCommand="){{.*?}}', rf"\1{shlex.quote(str(ROOT / 'lab' / 'lab'))}", text)
            assert count == 1
        (folder / path.name).write_text(text)
    (tmp_path / "hosts.yml").symlink_to(source / "hosts.yml")
    key = f"{lab.state}/id_ed25519"
    code, text = verify(lab, tmp_path, "-u", "root", "--private-key", key)
    assert code == 0 and " passed" in text, text
    code, text = verify(lab, tmp_path, "-u", "root", "--private-key", f"{tmp_path}/none")
    assert code != 0 and HOST in text and " passed" not in text, "another key was taken: " + text


def test_the_host_may_be_named_by_its_ipv6_address(lab):
    code, text = verify(lab, ROOT / "lab" / "inventory", "-e", "ansible_host=2001:db8::10")
    assert code == 0 and " passed" in text, text


def test_su_which_would_ask_for_a_password_is_refused_by_name(lab):
    code, text = verify(
        lab,
        ROOT / "lab" / "inventory",
        "-e",
        json.dumps({"ansible_become": True, "ansible_become_method": "ansible.builtin.su"}),
    )
    assert code != 0 and "cannot become root by su" in " ".join(text.split()) and " passed" not in text, text
