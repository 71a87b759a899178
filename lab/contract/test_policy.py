"""What the packages of the policy services lay down: mail/postgrey, mail/py-spf-engine, mail/postfix-policyd-spf-perl, mail/postfix-postfwd."""

import pytest

LOCAL = "request=smtpd_access_policy\\nprotocol_state=RCPT\\nclient_address=127.0.0.1\\nclient_name=localhost\\nhelo_name=localhost\\nsender=a@localhost\\n\\n"


def installed(run, origin):
    if run(f"pkg info -e {origin}").rc:
        pytest.skip(f"{origin} is not installed on this host")


def test_postgrey(run):
    installed(run, "mail/postgrey")
    assert run("/usr/local/sbin/postgrey --version").out.startswith("postgrey 1.")
    assert run("pw usershow postgrey").out.split(":")[2] == "225"
    assert run("ls -ld /var/db/postgrey").out.split()[2:4] == ["postgrey", "postgrey"]
    for name in ("clients", "recipients"):
        assert run(f"test -s /usr/local/etc/postfix/postgrey_whitelist_{name}.sample").rc == 0


def test_rspamd(run):
    installed(run, "mail/rspamd")
    assert run("/usr/local/bin/rspamd --version").out.startswith("Rspamd daemon version ")
    assert run("pw usershow rspamd").rc == 0
    for name in ("dkim_signing", "spf", "dmarc", "milter_headers"):
        assert run(f"test -s /usr/local/share/rspamd/plugins/{name}.lua").rc == 0
    assert run("test -s /usr/local/share/rspamd/effective_tld_names.dat").rc == 0


def test_rspamd_knows_no_helper_for_hyperscan(run):
    """The port's option HYPERSCAN is off by default, and what a configuration names in vain is an error."""
    installed(run, "mail/rspamd")
    path = "/tmp/contract-rspamd.conf"
    run(f"printf 'worker \"hs_helper\" {{\\n  enabled = false;\\n}}\\n' > {path}")
    try:
        done = run(f"/usr/local/bin/rspamadm configtest -c {path}")
    finally:
        run(f"rm {path}")
    assert done.rc and "unknown worker type: hs_helper" in done.out + done.err


def test_postgrey_runs_one_instance(run):
    installed(run, "mail/postgrey")
    assert "postgrey_enable=" in run("service postgrey rcvar").out
    text = run("cat /usr/local/etc/rc.d/postgrey").out
    assert "# BEFORE: mail" in text and "--inet=10023" in text
    assert "# PROVIDE: postgrey" in text


def test_postgrey_has_its_modules(run):
    installed(run, "mail/postgrey")
    assert run("/usr/local/bin/perl -MBerkeleyDB -MNet::Server::Multiplex -MNetAddr::IP -e 1").rc == 0


def test_spf_engine(run):
    installed(run, "mail/py-spf-engine")
    assert run("head -1 /usr/local/bin/policyd-spf").out.startswith("#!/usr/local/bin/python3")
    assert run("test -s /usr/local/etc/python-policyd-spf/policyd-spf.conf.sample").rc == 0
    assert run(f"printf '{LOCAL}' | /usr/local/bin/policyd-spf").out.startswith(
        "action=prepend X-Comment: SPF check N/A for local connections"
    )


def test_spf_perl(run):
    installed(run, "mail/postfix-policyd-spf-perl")
    assert run("head -1 /usr/local/libexec/postfix-policyd-spf-perl").out == "#!/usr/local/bin/perl\n"
    assert run(f"printf '{LOCAL}' | /usr/local/libexec/postfix-policyd-spf-perl").out.startswith("action=PREPEND ")


RULES = "id=over_10; sasl_username=~.+; action=rate(sasl_username/10/3600/450 4.7.1 x)\\nid=end; request==none; action=DUNNO\\n"


def test_postfwd(run):
    installed(run, "mail/postfix-postfwd")
    # postfwd 1 ends with status 1 after both; 2.03 calls itself postfwd3
    assert "postfwd" in run("/usr/local/bin/postfwd --version").out.split()[0]
    path = "/tmp/contract-postfwd.cf"
    run(f"printf '{RULES}' > {path}")
    try:
        shown = run(f"/usr/local/bin/postfwd --showconfig --file {path}").out
    finally:
        run(f"rm {path}")
    assert [line.split(":")[0].split() for line in shown.splitlines()] == [["Rule", "0"], ["Rule", "1"]]
