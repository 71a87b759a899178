"""The limits of the running processes and of the kernel. Files prove nothing here: a limit counts when a process has it."""

import hostlib
import pytest


@pytest.mark.parametrize("process", ["named", "master", "qmgr"])
def test_running_process_may_open_the_declared_descriptors(host, declared, process):
    if process != "named" and not declared["sokuhai_mail"]:
        pytest.skip("sokuhai_mail is false: this host is a resolver alone")
    found = hostlib.pids(host, process)
    assert found, f"no {process} runs"
    for pid in found:
        limit = hostlib.openfiles(host, pid)
        assert limit.soft >= int(declared["sokuhai_openfiles"] if "sokuhai_openfiles" in declared else 65535), limit
        assert limit.hard >= limit.soft, limit


def test_a_fresh_smtpd_may_open_the_declared_descriptors(host, declared, mail):
    script = (
        "import socket,subprocess,sys,time\n"
        "s=socket.create_connection((sys.argv[1],25),20);s.settimeout(60);s.recv(4096)\n"
        "print(subprocess.run(['pgrep','-x','smtpd'],capture_output=True,text=True).stdout)\n"
        "for p in subprocess.run(['pgrep','-x','smtpd'],capture_output=True,text=True).stdout.split():\n"
        "    print('RLIMIT', subprocess.run(['procstat','rlimit',p],capture_output=True,text=True).stdout)\n"
        "s.sendall(b'QUIT\\r\\n')\n"
    )
    rows = [
        line.split()
        for line in hostlib.python(host, script, hostlib.place(host, 25)).splitlines()
        if " openfiles " in line
    ]
    assert rows, "no smtpd answered on port 25"
    for row in rows:
        # Postfix's event loop raises soft to hard by itself, so hard is what the start gave it
        assert row[4] == "infinity" or int(row[4]) >= int(declared.get("sokuhai_openfiles", 65535)), row


def test_every_link_of_the_chain_holds(host, declared):
    wanted = int(declared.get("sokuhai_openfiles", 65535))
    maxfiles, perproc, sockets = (
        hostlib.sysctl(host, n) for n in ("kern.maxfiles", "kern.maxfilesperproc", "kern.ipc.maxsockets")
    )
    assert maxfiles >= perproc >= wanted
    assert sockets >= wanted
    if declared["sokuhai_mail"]:
        assert hostlib.sysctl(host, "kern.ipc.soacceptqueue") >= int(
            hostlib.postconf(host, "default_process_limit")["default_process_limit"]
        )


def test_declared_sysctl_values_are_running(host, declared):
    for name, value in (declared.get("limits_sysctl") or {}).items():
        running = hostlib.output(host, f"sysctl -n {name}").strip()
        assert running == str(value), f"{name}: declared {value}, running {running}"


def test_login_class_is_compiled(host, declared):
    name = declared["limits_login_class"]
    text = hostlib.output(host, f"limits -C {name} -n 2>&1")
    assert f"class {name}:" in text, text
    openfiles = text.split()[-1]
    assert openfiles == "infinity" or int(openfiles) >= int(declared.get("sokuhai_openfiles", 65535))


def test_capability_database_is_not_older_than_its_source(host):
    times = hostlib.python(
        host, "import os;print(os.stat('/etc/login.conf').st_mtime<=os.stat('/etc/login.conf.db').st_mtime)"
    )
    assert times.strip() == "True", "login.conf is newer than login.conf.db: cap_mkdb was not run"
