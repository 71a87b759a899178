"""A host that serves already: nothing of its own is replaced without the operator's word, and what was there is kept."""

import pytest
from practice import Lab, message

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


@pytest.fixture(scope="module")
def serving(lab):
    """A second lab beside the first, whose host has a Postfix of its owner's."""
    second = Lab(lab.name + "-own")
    second.command("down")
    done = second.command("up")
    assert done.returncode == 0, done.stderr
    try:
        assert second.play("bootstrap.yml").returncode == 0
        second.sh("pkg", "install", "-y", "postfix")
        for name, text in OWN.items():
            own = "\n".join(line.strip() for line in text.splitlines())
            second.sh("sh", "-c", f"printf '%s' \"$1\" | sed 's/\\\\n/\\n/' >> {CONFIG}/{name}", "sh", own + "\n")
        second.sh(
            "sh", "-c", f"mkdir {CONFIG}/tables && echo kept > {CONFIG}/tables/mine && chmod 0640 {CONFIG}/main.cf"
        )
        yield second
    finally:
        second.command("down")


def test_a_postfix_of_the_owners_is_refused_before_any_change(serving):
    before = serving.fingerprint(), serving.processes(), serving.sh("pkg", "query", "%n").stdout
    for arguments in (("--check",), ()):
        result = serving.play("site.yml", *arguments)
        said = message(result)
        assert result.returncode != 0
        for word in (
            "postfix_replace_config: ",
            "virtual domains: virtual_alias_domains",
            "relaying: relayhost",
            "milters: smtpd_milters",
            "services of master.cf: 127.0.0.1:2525/inet",
            '{name: relayhost, value: "[relay.isp.example]:587"}',
        ):
            assert word in said
        assert "hidden" not in result.stdout + result.stderr
        assert (serving.fingerprint(), serving.processes(), serving.sh("pkg", "query", "%n").stdout) == before


def test_a_run_of_another_part_is_not_refused(serving):
    assert serving.play("site.yml", "--check", "--tags", "limits").returncode == 0


def test_the_operators_word_takes_over_and_what_was_there_is_kept(serving):
    had = {name: serving.sh("cat", f"{CONFIG}/{name}").stdout for name in OWN}
    variables = {
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
    for more in ({"postfix_replace_config": True}, {"postfix_main_cf": []}):
        result = serving.play("site.yml", variables={**variables, **more})
        assert result.returncode == 0, message(result)
        for name, text in had.items():
            assert serving.sh("cat", f"{CONFIG}/{name}.before-sokuhai").stdout == text
        assert serving.sh("cat", f"{CONFIG}/tables.before-sokuhai/mine").stdout == "kept\n"
        assert serving.sh("ls", "-l", f"{CONFIG}/main.cf.before-sokuhai").stdout.startswith("-rw-r-----")
    assert "relayhost =" not in serving.sh("postconf", "-n").stdout
