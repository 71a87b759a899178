"""Ansible's view of the host: the facts roles read, and the modules they use."""

import json
import os
import shlex
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def ansible(host, tmp_path_factory):
    """ansible(module, arguments): the module's result on this host, reached as testinfra reaches it."""
    backend = host.backend
    if backend.get_connection_type() != "ssh":
        pytest.skip("these tests need --hosts=ssh://…")
    binary = os.path.join(os.path.dirname(sys.executable), "ansible")
    if not os.path.exists(binary):
        pytest.skip("ansible is not installed beside this python")
    place = tmp_path_factory.mktemp("ansible")
    config = place / "ansible.cfg"
    config.write_text("")
    options = (["-F", backend.ssh_config] if backend.ssh_config else []) + shlex.split(backend.ssh_extra_args or "")
    name = backend.host.name
    variables = {"ansible_python_interpreter": "/usr/local/bin/python3", "ansible_ssh_common_args": shlex.join(options)}
    for key, value in (
        ("ansible_user", backend.host.user),
        ("ansible_port", backend.host.port),
        ("ansible_ssh_private_key_file", backend.ssh_identity_file),
    ):
        if value:
            variables[key] = str(value)
    inventory = place / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": {name: variables}}}))

    def call(module, arguments="", check=False):
        # the collections beside this python, and nothing of the project's own settings
        env = dict(
            os.environ,
            ANSIBLE_CONFIG=str(config),
            ANSIBLE_COLLECTIONS_PATH=os.path.join(sys.prefix, "collections"),
            ANSIBLE_LOAD_CALLBACK_PLUGINS="1",
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
            ANSIBLE_PIPELINING="1",
            ANSIBLE_DEPRECATION_WARNINGS="0",
        )
        command = [binary, "-i", str(inventory), name, "-m", module, "-a", arguments] + (["--check"] if check else [])
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"][name]

    return call


def test_facts_that_roles_read(ansible):
    facts = ansible("ansible.builtin.setup", "gather_subset=!all,!min,platform,distribution,pkg_mgr,service_mgr")[
        "ansible_facts"
    ]
    assert facts["ansible_os_family"] == facts["ansible_distribution"] == facts["ansible_system"] == "FreeBSD"
    major, minor = facts["ansible_distribution_version"].split(".")
    assert major.isdigit() and minor.isdigit() and facts["ansible_distribution_major_version"] == major
    assert facts["ansible_pkg_mgr"] == "pkgng"
    assert facts["ansible_service_mgr"] == "bsdinit"


def test_pythons_own_view(run, needs):
    needs("python3")
    script = (
        "import os, platform, sys; "
        "print(platform.system(), os.uname().sysname, sys.platform, platform.machine(), platform.release())"
    )
    words = run("python3 -c %s", script).out.split()
    assert (
        words[:2] == ["FreeBSD", "FreeBSD"]
        and words[2].startswith("freebsd")
        and words[3] == run("uname -m").out.strip()
    )
    assert words[4] == run("uname -r").out.strip()


def test_service_module(ansible):
    assert ansible("ansible.builtin.service", "name=syslogd state=restarted")["changed"] is True
    assert ansible("ansible.builtin.service", "name=syslogd state=started")["changed"] is False
    assert ansible("ansible.builtin.service", "name=ntpd enabled=true", check=True)["changed"] in (True, False)


def test_sysrc_module(ansible, run, scratch):
    path = f"{scratch}/rc.conf"
    run("touch %s", path)
    arguments = f"name=contract_var value='-n 5' path={path}"
    assert ansible("community.general.sysrc", arguments, check=True)["changed"] is True
    assert run("cat %s", path).out == ""
    assert ansible("community.general.sysrc", arguments)["changed"] is True
    assert ansible("community.general.sysrc", arguments)["changed"] is False
    assert ansible("community.general.sysrc", f"name=contract_var state=absent path={path}")["changed"] is True


def test_pkgng_module(ansible, run):
    if run("pkg -N").rc:
        pytest.skip("pkg is not bootstrapped on this host")
    assert ansible("community.general.pkgng", "name=pkg state=present cached=true")["changed"] is False
    assert "failed" in ansible("community.general.pkgng", "name=no-such-package state=present cached=true")


def test_sysctl_module(ansible, run, scratch):
    value = run("sysctl -n kern.maxfiles").out.strip()
    arguments = f"name=kern.maxfiles value={value} sysctl_set=true reload=false sysctl_file={scratch}/sysctl.conf"
    assert ansible("ansible.posix.sysctl", arguments)["changed"] is True
    assert ansible("ansible.posix.sysctl", arguments)["changed"] is False
    assert run("cat %s/sysctl.conf", scratch).out == f"kern.maxfiles={value}\n"


def test_user_module(ansible, run):
    if run("/usr/local/bin/python3 -c 'import ctypes'").rc:
        pytest.skip("this host's Python has no ctypes, which the module imports")
    try:
        assert (
            ansible("ansible.builtin.user", "name=contractu shell=/usr/sbin/nologin create_home=false")["changed"]
            is True
        )
        assert (
            ansible("ansible.builtin.user", "name=contractu shell=/usr/sbin/nologin create_home=false")["changed"]
            is False
        )
        assert run("id -u contractu").rc == 0
    finally:
        run("pw userdel contractu")
