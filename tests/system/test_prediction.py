"""What check mode predicts of a bare host, before anything is installed, against what the finished host answers."""
import importlib.util
import json
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PORT = yaml.safe_load((ROOT / "roles/postfix/vars/main.yml").read_text())["__postfix_port"]


def bind_predict(package):
    spec = importlib.util.spec_from_file_location("bind_filters", ROOT / "roles/bind/filter_plugins/bind.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.bind_predict(package)


@pytest.mark.parametrize("name", sorted(PORT))
def test_predicted_path_of_postfix_is_the_installed_one(lab, name):
    assert lab.sh("/usr/local/sbin/postconf", "-h", name).stdout.strip() == PORT[name]


def test_predicted_named_is_the_installed_one(lab):
    generation = json.loads((lab.state / "status.json").read_text())["generation"]
    predicted = bind_predict({"trixie": "bind920", "bookworm": "bind918"}[generation])
    assert f"BIND {predicted['version']}." in lab.sh("/usr/local/sbin/named", "-v").stdout
    snippet = "t=$(mktemp) && echo 'options { files 1024; };' > $t && /usr/local/sbin/named-checkconf $t >/dev/null; s=$?; rm -f $t; exit $s"
    assert (lab.sh("sh", "-c", snippet, check=False).returncode == 0) == predicted["knows"]["files"]
