"""A host that serves already: nothing of its own is replaced without the operator's word, and what was there is kept."""

import re
import textwrap

import pytest
import yaml
from practice import Lab, changed, full_only, message
from test_auth import login

CONFIG = "/usr/local/etc/postfix"
OWN = {
    "main.cf": """
        relayhost = [relay.isp.example]:587
        smtpd_milters = inet:127.0.0.1:8891
        milter_default_action = accept
        virtual_alias_domains = club.example
        virtual_alias_maps = inline:{ {info@club.example = root} }
        smtp_sasl_password_maps = static:me:hidden
        mydestination = $myhostname, localhost, home.example
    """,
    "master.cf": "127.0.0.1:2525 inet n - n - 3 smtpd -o syslog_name=postfix/own -o smtpd_sasl_auth_enable=no\\n",
}
DMA = "/var/spool/dma"
DOVECOT = "/usr/local/etc/dovecot"
#: What stands for IMAP, which the practice host has not: a port of the owner's, and his users.
DOVECOT_OWN = {
    "dovecot.conf": f"""
        dovecot_config_version = 2.4.0
        dovecot_storage_version = 2.4.0
        protocols =
        ssl = no
        auth_mechanisms = plain
        doveadm_password = ownword
        passdb passwd-file {{
          passwd_file_path = {DOVECOT}/own.users
        }}
        service doveadm {{
          inet_listener tcp {{
            port = 24245
          }}
        }}
        !include_try conf.d/*.conf
    """,
    "own.users": "own@home.example:{PLAIN}practice",
    "conf.d/10-own.conf": "auth_verbose = yes",
}
REACHED = 'import socket; socket.create_connection(("192.0.2.10", 24245), 30, ("192.0.2.2", 0))'
OWN_USERS = [{"name": "own@home.example", "addresses": ["postmaster@home.example"]}]
NAMED = "/usr/local/etc/namedb"
NAMED_OWN = {
    "named.conf": f"""
        include "{NAMED}/own.key";
        acl friends {{ 192.0.2.2; }};
        options {{
            directory "{NAMED}/working";
            pid-file "/var/run/named/pid";
            dnssec-validation no;
            allow-recursion {{ 127.0.0.1; }};
            allow-transfer {{ friends; key "own"; }};
            listen-on {{ any; }};
        }};
        zone "club.test" {{ type master; file "../primary/club.db"; }};
    """,
    "own.key": """
        key "own" { algorithm hmac-sha256; secret "aGlkZGVu"; };
    """,
    "primary/club.db": """
        $TTL 60
        @ SOA ns.club.test. hostmaster.club.test. 1 3600 600 86400 60
        @ NS ns.club.test.
        ns A 192.0.2.10
    """,
}
#: One question over TCP as a client: (code of the reply, whether the server is an authority, records in its first message).
QUERY = """
import socket, struct, sys
source, name, kind = sys.argv[1:]
link = socket.create_connection(("192.0.2.10", 53), 5, (source, 0))
labels = b"".join(struct.pack("B", len(one)) + one.encode() for one in name.split("."))
packet = struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!2H", int(kind), 1)
link.sendall(struct.pack("!H", len(packet)) + packet)
flags, _questions, answers = struct.unpack("!3H", link.makefile("rb").read(10)[4:])
print((flags & 15, bool(flags & 1024), answers))
"""
STRANGER, FRIEND = ("203.0.113.20", "clients"), ("192.0.2.2", "operator")
A, AXFR, MX, REFUSED = 1, 252, 15, 5


def asked(lab, client, name, kind):
    return eval(lab.sh("python3", "-", client[0], name, str(kind), host=client[1], stdin=QUERY).stdout)


def serves_its_zone(lab):
    """What the internet gets of the zone, and of recursion: the same before us and after."""
    assert asked(lab, STRANGER, "ns.club.test", A) == (0, True, 1)
    assert asked(lab, STRANGER, "d0001.test", MX)[0::2] == (REFUSED, 0)
    assert asked(lab, STRANGER, "club.test", AXFR)[0] == REFUSED
    assert asked(lab, FRIEND, "club.test", AXFR)[0::2] == (0, 4)


def state(lab):
    """What the way back must lead to: files with their modes, and what rc.conf enables; what other parts set is theirs to take back."""
    found = {
        path: (lab.sh("cat", path).stdout, lab.sh("ls", "-l", path).stdout.split()[:4])
        for path in (f"{CONFIG}/main.cf", f"{CONFIG}/master.cf", f"{NAMED}/named.conf", f"{CONFIG}/tables/mine")
    }
    lines = lab.sh("cat", "/etc/rc.conf").stdout.splitlines()
    return found, {line for line in lines if re.match("(postfix|named|sendmail)_enable", line)}


def dovecot(lab):
    """The owner's Dovecot: its master, its files, and whether it is reached on its port."""
    files = {name: lab.sh("cat", f"{DOVECOT}/{name}").stdout for name in DOVECOT_OWN}
    reached = lab.sh("python3", "-c", REACHED, host="operator", check=False).returncode == 0
    return lab.sh("cat", "/var/run/dovecot/master.pid").stdout, files, reached


def carried_over(result):
    """The variables that the refusal of named.conf says."""
    said = result.stdout[result.stdout.rindex("bind_replace_config: /") :]
    lines = re.search(r"What is to stay goes into the inventory:\n(.*?\n) *Then set bind_replace_config", said, re.S)[1]
    return yaml.safe_load(textwrap.dedent(lines))


@pytest.fixture(scope="module")
def serving(lab):
    """A second lab beside the first, whose host has a Postfix and a named of its owner's."""
    second = Lab(lab.name + "-own")
    second.command("down")
    done = second.command("up")
    assert done.returncode == 0, done.stderr
    try:
        assert second.play("bootstrap.yml").returncode == 0
        second.sh("pkg", "install", "-y", "postfix-sasl", "bind920")
        for name, text in NAMED_OWN.items():
            second.sh("sh", "-c", f"cat > {NAMED}/{name}", stdin=textwrap.dedent(text))
        second.sh(
            "sh",
            "-c",
            f"chgrp bind {NAMED}/named.conf {NAMED}/own.key; chmod 0640 {NAMED}/named.conf {NAMED}/own.key; "
            "sysrc named_enable=YES named_wait=NO; service named start",
        )
        second.sh("pkg", "install", "-y", "dovecot24")
        second.sh("mkdir", f"{DOVECOT}/conf.d")
        for name, text in DOVECOT_OWN.items():
            second.sh("sh", "-c", f"cat > {DOVECOT}/{name}", stdin=textwrap.dedent(text).lstrip("\n") + "\n")
        second.sh("sh", "-c", "sysrc dovecot_enable=YES; service dovecot start </dev/null >/dev/null 2>&1")
        for name, text in OWN.items():
            own = "\n".join(line.strip() for line in text.splitlines())
            second.sh("sh", "-c", f"printf '%s' \"$1\" | sed 's/\\\\n/\\n/' >> {CONFIG}/{name}", "sh", own + "\n")
        second.sh(
            "sh",
            "-c",
            f"mkdir {CONFIG}/tables && echo kept > {CONFIG}/tables/mine && chmod 0640 {CONFIG}/main.cf; "
            "sysrc postfix_enable=YES; service postfix start",
        )
        second.sh("sh", "-c", "echo 'club: root, operator' >> /etc/mail/aliases")
        # what dma could not deliver, as its spool has it
        second.sh(
            "sh",
            "-c",
            f"mkdir -p {DMA} && printf 'ID: 1.2\\nSender: them@d0001.test\\nRecipient: root\\n' > {DMA}/Q1.2 && "
            f"printf 'Subject: left behind\\n\\nbody\\n.\\nend\\n' > {DMA}/M1.2",
        )
        second.was, second.dovecot = state(second), dovecot(second)
        yield second
    finally:
        second.command("down")


def test_what_is_the_owners_is_refused_before_any_change(serving):
    serves_its_zone(serving)
    before = serving.fingerprint(), serving.processes(), serving.sh("pkg", "query", "%n").stdout
    for arguments in (("--check",), ()):
        result = serving.play("site.yml", *arguments)
        said = message(result)
        assert result.returncode != 0
        for word in (
            "sasl_users: password_hash of alert@home.example",
            "postfix_replace_config: ",
            "virtual domains: virtual_alias_domains",
            "relaying: relayhost",
            "milters: smtpd_milters",
            "services of master.cf: 127.0.0.1:2525/inet",
            '{name: relayhost, value: "[relay.isp.example]:587"}',
            "bind_replace_config: ",
            "postfix_aliases: ",
            '{name: "club", value: "root, operator"}',
            "zones: club.test (primary)",
            "ACLs: friends",
            "keys: own",
        ):
            assert word in said
        assert not re.search("hidden|aGlkZGVu", result.stdout + result.stderr)
        assert (serving.fingerprint(), serving.processes(), serving.sh("pkg", "query", "%n").stdout) == before


def test_a_run_of_another_part_is_not_refused_and_says_what_is_kept(serving):
    result = serving.play("site.yml", "--check", "--tags", "limits")
    assert result.returncode == 0
    assert "postfix_package: /usr/local/sbin/postconf is of postfix-sasl-3." in " ".join(result.stdout.split())


def test_the_operators_word_takes_over_and_what_was_there_is_kept(serving):
    had = {f"{CONFIG}/{name}": serving.sh("cat", f"{CONFIG}/{name}").stdout for name in OWN}
    had[f"{NAMED}/named.conf"] = serving.sh("cat", f"{NAMED}/named.conf").stdout
    carried = carried_over(serving.play("site.yml", "--check", "--tags", "bind"))
    assert carried["bind_listen_on"] == ["127.0.0.1", "192.0.2.10"]
    variables = {
        **carried,
        "sasl_users": OWN_USERS,
        "postfix_destinations": ["$myhostname", "localhost", "home.example"],
        "postfix_main_cf": [{"name": "relayhost", "value": "[relay.isp.example]:587"}],
        "postfix_master_cf": [
            {
                "name": "127.0.0.1:2525",
                "type": "inet",
                "private": "n",
                "chroot": "n",
                "maxproc": "3",
                "command": "smtpd",
                "options": {"syslog_name": "postfix/own", "smtpd_sasl_auth_enable": "no"},
            }
        ],
    }
    # ours after the first run: the next one needs no word
    other = {"postfix_main_cf": [], "postfix_replace_package": True}
    for more, flavor in (
        ({"postfix_replace_config": True, "bind_replace_config": True}, "postfix-sasl"),
        (other, "postfix"),
    ):
        result = serving.play("site.yml", variables={**variables, **more})
        assert result.returncode == 0, message(result)
        for path, text in had.items():
            assert serving.sh("cat", f"{path}.before-sokuhai").stdout == text
            assert serving.sh("ls", "-l", f"{path}.before-sokuhai").stdout.startswith(
                "-rw-r--r--" if "master" in path else "-rw-r-----"
            )
        serves_its_zone(serving)
        assert serving.sh("cat", f"{CONFIG}/tables.before-sokuhai/mine").stdout == "kept\n"
        assert [one for one in serving.sh("pkg", "query", "%n").stdout.split() if "postfix" in one] == [flavor]
    assert "relayhost =" not in serving.sh("postconf", "-n").stdout
    assert serving.mailed(lambda text: "Subject: left behind" in text and "them@d0001.test" in text and "\nend" in text)
    assert serving.sh("ls", DMA).stdout == ""


def test_auth_is_had_of_the_owners_dovecot_which_serves_on(serving):
    """After the runs above: one file is added, and the master has read it without a restart."""
    assert [login(serving, port, user="own@home.example")["auth"] for port in (587, 465)] == [235, 235]
    assert login(serving, 587, user="own@home.example", password="practise")["auth"] == 535
    assert dovecot(serving) == serving.dovecot and serving.dovecot[2]
    added = f"{DOVECOT}/conf.d/99-sokuhai.conf"
    assert "client_limit" in serving.sh("cat", added).stdout
    for book in ("site.yml", "rollback.yml"):
        done = serving.applied(book, "--check", "--tags", "sasl", variables={"sasl_users": OWN_USERS})
        assert changed(done) == (book == "rollback.yml")
    serving.applied("rollback.yml", "--tags", "sasl")
    assert serving.sh("test", "-e", added, check=False).returncode and dovecot(serving) == serving.dovecot


@full_only("five runs of rollback.yml: in make test-full")
def test_the_way_back_leads_to_what_was_there_before_the_first_run(serving):
    def rolled_back(*arguments, **variables):
        result = serving.play("rollback.yml", "--tags", "postfix,bind", *arguments, variables=variables)
        assert result.returncode == 0, message(result)
        assert not re.search("hidden|aGlkZGVu", result.stdout + result.stderr)
        return changed(result)

    refused = serving.play("rollback.yml", variables={"rollback_to": "before"})
    assert refused.returncode != 0 and "--tags postfix,bind -e rollback_to=before" in message(refused)
    ours = serving.sh("cat", f"{CONFIG}/main.cf").stdout
    assert rolled_back(rollback_to="previous")
    assert (
        "relayhost =" in serving.sh("postconf", "-n").stdout and serving.sh("cat", f"{CONFIG}/main.cf").stdout != ours
    )
    assert rolled_back("--check", "--diff", rollback_to="before")
    assert rolled_back(rollback_to="before")
    assert state(serving) == serving.was
    assert serving.sh("ls", "/usr/local/etc/mail/mailer.conf", check=False).returncode != 0
    assert ":2525 " in serving.sh("sockstat", "-46l").stdout
    serves_its_zone(serving)
    assert not rolled_back(rollback_to="before")
