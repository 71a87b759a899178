"""The services that Postfix asks about a mail: SPF's agent, the two of greylisting, what counts recipients, and MTA-STS policies."""

import json

import hostlib
import pytest

# One policy request to an address (host:port, or the path of a socket); prints the answer's action. SMTPD_POLICY_README
ASK = """
import json, socket, sys
where, attributes = sys.argv[1], json.loads(sys.argv[2])
if where.startswith('/'):
    s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(where)
else:
    host, port = where.rsplit(':', 1)
    s = socket.create_connection((host, int(port)), timeout=60)
s.sendall((''.join('%s=%s\\n' % item for item in attributes.items()) + '\\n').encode())
answer = b''
while not answer.endswith(b'\\n\\n'):
    part = s.recv(4096)
    if not part:
        break
    answer += part
print(answer.decode().strip())
"""


def ask(host, where, **attributes):
    request = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_name": "unknown",
        "helo_name": "verify.invalid",
        "instance": "verify",
        **attributes,
    }
    answer = hostlib.python(host, ASK, where, json.dumps(request)).strip()
    assert answer.startswith("action="), f"{where} answers {answer!r}"
    return answer.removeprefix("action=")


@pytest.fixture(params=["mild", "harsh"])
def service(request, declared):
    """(name, port, delay) of a greylisting service."""
    if not declared["greylist_enabled"]:
        pytest.skip("greylist_enabled is false: greylisting is not enabled")
    return (
        request.param,
        int(declared[f"greylist_{request.param}_port"]),
        int(declared[f"greylist_{request.param}_delay"]),
    )


@pytest.fixture
def spf(declared):
    if declared["spf_mode"] == "none":
        pytest.skip("spf_mode is none: SPF is not checked")
    return declared


def test_greylisting_listens_on_its_address_alone(host, declared, service):
    name, port, delay = service
    found = [s for s in hostlib.listening(host) if s.port == port and s.proto.startswith("tcp")]
    assert {(s.user, s.address) for s in found} == {(declared["greylist_user"], declared["greylist_address"])}, found


def test_greylisting_runs_with_the_declared_delay(host, service):
    name, port, delay = service
    (pid,) = {s.pid for s in hostlib.listening(host) if s.port == port}
    command = hostlib.output(host, f"ps -ww -o command= -p {pid}").split()
    assert f"--delay={delay}" in command and f"--dbdir=/var/db/postgrey/{name}" in command, command


def test_greylisting_puts_a_stranger_off(host, declared, service):
    answer = ask(
        host,
        f"{declared['greylist_address']}:{service[1]}",
        client_address="192.0.2.250",
        sender="verify@probe.invalid",
        recipient=f"verify-{service[0]}@probe.invalid",
    )
    # a host that is verified often has let this triplet wait long enough
    assert answer.upper().startswith(("DEFER_IF_PERMIT", "PREPEND X-GREYLIST", "DUNNO")), answer
    fresh = hostlib.output(host, "date +%s").strip()
    answer = ask(
        host,
        f"{declared['greylist_address']}:{service[1]}",
        client_address="192.0.2.250",
        sender="verify@probe.invalid",
        recipient=f"{fresh}@probe.invalid",
    )
    assert answer.upper().startswith("DEFER_IF_PERMIT"), answer


def test_greylisting_starts_at_boot(host, declared, service):
    rc = "sokuhai_postgrey"
    assert hostlib.rcvar(host, f"{rc}_enable").upper() == "YES"
    assert hostlib.output(host, f"service {rc} status {service[0]}")


def test_postfix_asks_spf(host, spf):
    settings = hostlib.postconf(host)
    place = f"unix:private/{spf['spf_service']}"
    assert place in settings["smtpd_recipient_restrictions"], settings["smtpd_recipient_restrictions"]
    assert settings[f"{spf['spf_service']}_time_limit"].rstrip("s") == str(spf["spf_time_limit"])


def test_spf_answers_through_postfixs_socket(host, spf):
    queue = hostlib.postconf(host, "queue_directory")["queue_directory"]
    answer = ask(
        host,
        f"{queue}/private/{spf['spf_service']}",
        client_address="127.0.0.1",
        sender="verify@probe.invalid",
        recipient="verify@probe.invalid",
    )
    # loopback is not checked, and a header says so: this queries nothing
    assert answer.lower().startswith(("prepend x-comment: spf", "prepend authentication-results: ")), answer


def test_spfs_agent_is_nobody_special(host, spf):
    queue = hostlib.postconf(host, "queue_directory")["queue_directory"]
    place = f"{queue}/private/{spf['spf_service']}"
    script = (
        "import os,socket,subprocess,sys,time\n"
        "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.sendall(b'client_address=127.0.0.1\\nhelo_name=x\\nsender=a@b\\n\\n');s.recv(4096)\n"
        "print(subprocess.run(['ps','-axww','-o','user=','-o','command='],capture_output=True,text=True).stdout)\n"
    )
    program = {"python": "bin/policyd-spf", "perl": "libexec/postfix-policyd-spf-perl"}[spf["spf_agent"]]
    lines = [
        line.split()
        for line in hostlib.python(host, script, place).splitlines()
        if program in line and "spawn" not in line
    ]
    assert lines and {line[0] for line in lines} == {spf["spf_user"]}, lines


def test_spf_asks_the_hosts_own_named(host, spf, declared):
    if not declared["bind_use_for_host"]:
        pytest.skip("bind_use_for_host is false: the host asks another resolver, and so does SPF's agent")
    servers = [
        line.split()[1]
        for line in hostlib.output(host, "cat /etc/resolv.conf").splitlines()
        if line.startswith("nameserver")
    ]
    assert servers and servers[0] in ("127.0.0.1", "::1", declared["sokuhai_loopback"]), servers


def test_lookups_ahead_answer_through_postfixs_socket_and_never_decide(host, declared):
    if not declared["ahead_enabled"]:
        pytest.skip("sokuhai_ahead is false: no domain is looked up ahead")
    settings = hostlib.postconf(host)
    assert "unix:private/ahead, default_action=DUNNO" in settings["smtpd_recipient_restrictions"]
    place = f"{settings['queue_directory']}/private/ahead"
    assert (
        ask(host, place, client_address="127.0.0.1", sender="", recipient=f"postmaster@{declared['postfix_domain']}")
        == "DUNNO"
    )


def test_lists_are_kept_in_nameds_cache_by_cron(host, declared):
    if not declared["ahead_enabled"]:
        pytest.skip("sokuhai_ahead is false: there is no sokuhai-warm")
    # it asks named for the cache alone first; whether the domain is in the DNS is no business of this test
    done = host.run("echo %s | /usr/local/bin/sokuhai-warm -", declared["sokuhai_domain"])
    assert done.rc in (0, 1, 3) and "1 domains: " in done.stderr, done.stderr
    line = host.file("/usr/local/etc/cron.d/sokuhai-warm")
    assert line.exists == bool(declared["ahead_warm_lists"])
    assert (
        not line.exists
        or "*/%s * * * *\troot\t/usr/local/bin/sokuhai-warm --cron\n" % declared["ahead_warm_minutes"]
        in line.content_string
    )


@pytest.fixture
def recipients(declared):
    if not declared["sasl_recipients_limited"]:
        pytest.skip("sasl_recipients_per_hour is 0, and no user has a figure: recipients are not counted")
    return declared["sasl_recipients_address"], int(declared["sasl_recipients_port"])


def test_what_counts_recipients_is_nobody_special_and_listens_on_loopback_alone(host, recipients):
    address, port = recipients
    found = [s for s in hostlib.listening(host) if s.port == port and s.proto.startswith("tcp")]
    assert {(s.user, s.address) for s in found} == {("nobody", address)}, found
    assert hostlib.rcvar(host, "sokuhai_postfwd_enable").upper() == "YES"


def test_what_counts_recipients_lets_whom_it_does_not_know_pass(host, recipients):
    answer = ask(
        host,
        "%s:%d" % recipients,
        client_address="192.0.2.250",
        sender="verify@probe.invalid",
        recipient="verify@probe.invalid",
    )
    assert answer.upper() == "DUNNO", answer


# socketmap_table(5); a name that is no domain is answered without a look into the DNS
ASK_POLICY = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
s.sendall(b'22:postfix .probe.invalid,')
print(s.recv(200).decode())
"""


def test_policies_of_mta_sts_are_answered(host, declared):
    if not declared["mta_sts_enabled"]:
        pytest.skip("mta_sts_enabled is false: nobody asks for policies")
    assert ":NOTFOUND" in hostlib.python(host, ASK_POLICY, declared["mta_sts_address"], str(declared["mta_sts_port"]))
    asked = hostlib.postconf(host, "smtp_tls_policy_maps")["smtp_tls_policy_maps"]
    assert asked.endswith(f":{declared['mta_sts_port']}:postfix"), asked
