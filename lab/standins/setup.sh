#!/bin/sh
# Turns a Debian root file system (trixie or bookworm, with the packages of
# ./packages) into the ground the stand-ins stand on.  Run once, as root, inside
# the chroot, while the root file system is being cached; needs no network.
#
# What it does: FreeBSD's accounts and owners; Debian's own tools out of PATH;
# the daemons out of sight, as stashes that the pkg stand-in installs from.
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin

debian=/usr/libexec/debian		# tools that FreeBSD does not have
ports=/usr/share/standins/ports		# one tree per package, laid over / by pkg
mkdir -p $debian/bin $debian/sbin $ports /usr/libexec/standins

# --- versions, while dpkg can still be asked -------------------------------
version() { # package: upstream version without Debian's additions
	dpkg-query -W -f '${Version}' "$1" | sed 's/^[0-9]*://; s/[-+~].*//'
}
{
	echo "postfix $(version postfix),1"
	echo "bind $(version bind9)"
	echo "dovecot $(version dovecot-core)"
	echo "openssl $(version openssl)"
	echo "doas $(version opendoas)"
	echo "postgrey $(version postgrey)"
	echo "postfwd $(version postfwd)"
	echo "policyd-spf-perl $(version postfix-policyd-spf-perl)"
	echo "spf-engine $(version postfix-policyd-spf-python)"
	echo "rspamd $(version rspamd)"
	echo "dnspython $(version python3-dnspython)"
	echo "perl $(version perl)"
	echo "mta-sts-resolver $(version postfix-mta-sts-resolver)"
	echo "pcre2 $(version libpcre2-8-0)"
	echo "python $(python3 -c 'import platform; print(platform.python_version())')"
} > $ports/versions

# --- accounts ----------------------------------------------------------------
# Owners follow their names to FreeBSD's numbers; what FreeBSD has no name for
# becomes root's.
python3 - <<'PY'
import os
import stat

USERS = """\
root:0:0:Charlie &:/root:/bin/sh
toor:0:0:Bourne-again Superuser:/root:
daemon:1:1:Owner of many system processes:/root:/usr/sbin/nologin
operator:2:5:System &:/:/usr/sbin/nologin
bin:3:7:Binaries Commands and Source:/:/usr/sbin/nologin
tty:4:65533:Tty Sandbox:/:/usr/sbin/nologin
kmem:5:65533:KMem Sandbox:/:/usr/sbin/nologin
games:7:13:Games pseudo-user:/:/usr/sbin/nologin
news:8:8:News Subsystem:/:/usr/sbin/nologin
man:9:9:Mister Man Pages:/usr/share/man:/usr/sbin/nologin
sshd:22:22:Secure Shell Daemon:/var/empty:/usr/sbin/nologin
smmsp:25:25:Sendmail Submission User:/var/spool/clientmqueue:/usr/sbin/nologin
mailnull:26:26:Sendmail Default User:/var/spool/mqueue:/usr/sbin/nologin
bind:53:53:Bind Sandbox:/:/usr/sbin/nologin
unbound:59:59:Unbound DNS Resolver:/var/unbound:/usr/sbin/nologin
proxy:62:62:Packet Filter pseudo-user:/nonexistent:/usr/sbin/nologin
_pflogd:64:64:pflogd privsep user:/var/empty:/usr/sbin/nologin
_dhcp:65:65:dhcp programs:/var/empty:/usr/sbin/nologin
uucp:66:66:UUCP pseudo-user:/var/spool/uucppublic:/usr/local/libexec/uucp/uucico
pop:68:6:Post Office Owner:/nonexistent:/usr/sbin/nologin
auditdistd:78:77:Auditdistd unprivileged user:/var/empty:/usr/sbin/nologin
www:80:80:World Wide Web Owner:/nonexistent:/usr/sbin/nologin
postfix:125:125:Postfix Mail System:/var/spool/postfix:/usr/sbin/nologin
postgrey:225:225:Postgrey Owner:/nonexistent:/usr/sbin/nologin
rspamd:770:770:rspamd Owner:/nonexistent:/usr/sbin/nologin
dovecot:143:143:Dovecot User:/var/empty:/usr/sbin/nologin
dovenull:144:144:Dovecot Login User:/nonexistent:/usr/sbin/nologin
ntpd:123:123:NTP Daemon:/var/db/ntp:/usr/sbin/nologin
_ypldap:160:160:YP LDAP unprivileged user:/var/empty:/usr/sbin/nologin
hast:845:845:HAST unprivileged user:/var/empty:/usr/sbin/nologin
tests:977:977:Unprivileged user for tests:/nonexistent:/usr/sbin/nologin
nobody:65534:65534:Unprivileged user:/nonexistent:/usr/sbin/nologin
"""
GROUPS = """\
wheel:0:root
daemon:1:
kmem:2:
sys:3:
tty:4:
operator:5:root
mail:6:postfix
bin:7:
news:8:
man:9:
games:13:
ftp:14:
staff:20:
sshd:22:
smmsp:25:
mailnull:26:
guest:31:
video:44:
bind:53:
unbound:59:
proxy:62:
authpf:63:
_pflogd:64:
_dhcp:65:
uucp:66:
dialer:68:
network:69:
audit:77:
www:80:
ntpd:123:
postfix:125:
maildrop:126:
dovecot:143:
dovenull:144:
postgrey:225:
rspamd:770:
_ypldap:160:
hast:845:
tests:977:
nogroup:65533:
nobody:65534:
"""
RENAMED_GROUPS = {"root": "wheel", "postdrop": "maildrop"}


def table(path, field=2):
    with open(path) as f:
        rows = [line.rstrip("\n").split(":") for line in f if line.strip()]
    return {int(r[field]): r[0] for r in reversed(rows)}


old_users, old_groups = table("/etc/passwd"), table("/etc/group")
new_uid = {r.split(":")[0]: int(r.split(":")[1]) for r in USERS.splitlines()}
new_gid = {r.split(":")[0]: int(r.split(":")[1]) for r in GROUPS.splitlines()}
uid_map = {u: new_uid.get(n, 0) for u, n in old_users.items()}
gid_map = {g: new_gid.get(RENAMED_GROUPS.get(n, n), 0) for g, n in old_groups.items()}

root = os.stat("/").st_dev
for top, dirs, files in os.walk("/", topdown=True):
    dirs[:] = [d for d in dirs
               if os.lstat(os.path.join(top, d)).st_dev == root or os.path.islink(os.path.join(top, d))]
    for name in dirs + files:
        path = os.path.join(top, name)
        st = os.lstat(path)
        if st.st_dev != root:
            continue
        uid, gid = uid_map.get(st.st_uid, 0), gid_map.get(st.st_gid, 0)
        if (uid, gid) != (st.st_uid, st.st_gid):
            os.lchown(path, uid, gid)
            if not stat.S_ISLNK(st.st_mode):  # chown clears set-id bits
                os.chmod(path, stat.S_IMODE(st.st_mode))


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


rows = [r.split(":") for r in USERS.splitlines()]
write("/etc/passwd", "".join(f"{n}:*:{u}:{g}:{c}:{h}:{s or '/bin/sh'}\n" for n, u, g, c, h, s in rows))
write("/etc/master.passwd", "".join(f"{n}:*:{u}:{g}::0:0:{c}:{h}:{s}\n" for n, u, g, c, h, s in rows), 0o600)
# Linux's PAM and sshd take a locked password for a locked account: '*' is neither
write("/etc/shadow", "".join(f"{r[0]}:*:20000:0:99999:7:::\n" for r in rows), 0o600)
write("/etc/passwd", open("/etc/passwd").read().replace(":*:", ":x:", len(rows)))
groups = [r.split(":") for r in GROUPS.splitlines()]
write("/etc/group", "".join(f"{n}:*:{g}:{m}\n" for n, g, m in groups))
for leftover in ("/etc/gshadow", "/etc/gshadow-", "/etc/passwd-", "/etc/group-", "/etc/shadow-",
                 "/etc/subuid", "/etc/subgid"):
    if os.path.exists(leftover):
        os.unlink(leftover)
PY

# --- the daemons: real binaries, where only their stash can reveal them --------
mv /usr/sbin/sendmail $debian/sbin/sendmail
ln -s sendmail $debian/sbin/mailq
ln -s sendmail $debian/sbin/newaliases
rm -f /usr/bin/mailq /usr/bin/newaliases /usr/sbin/rmail /usr/bin/rmail

p=$ports/postfix
mkdir -p $p/usr/local/sbin $p/usr/local/bin $p/usr/local/libexec/postfix $p/usr/local/lib \
    $p/usr/local/etc/postfix $p/usr/local/share/postfix $p/var/db/postfix $p/var/spool/postfix $p/etc
for tool in postalias postcat postconf postfix postkick postlock postlog postmap \
    postmulti postsuper posttls-finger; do
	mv /usr/sbin/$tool $debian/sbin/
	# The port is built with /usr/local/etc/postfix inside; Debian's build
	# has to be told.
	# bash, for its exec -a: messages begin with the name called.
	cat > $p/usr/local/sbin/$tool <<-EOF
		#!/bin/bash
		: "\${MAIL_CONFIG:=/usr/local/etc/postfix}"
		export MAIL_CONFIG
		exec -a $tool $debian/sbin/$tool "\$@"
	EOF
	chmod 755 $p/usr/local/sbin/$tool
done
# Debian's has Cyrus SASL, FreeBSD's in its flavor sasl only.
cat > $p/usr/local/sbin/postconf <<EOF
#!/bin/bash
: "\${MAIL_CONFIG:=/usr/local/etc/postfix}"
export MAIL_CONFIG
case " \$* " in
*' -a '*|*' -A '*)
	if ! pkg info -e postfix-sasl; then
		(exec -a postconf $debian/sbin/postconf "\$@") | sed '/^cyrus\$/d'
		exit
	fi ;;
esac
exec -a postconf $debian/sbin/postconf "\$@"
EOF
# Set-gid programs distrust MAIL_CONFIG, so the submission side must not have it;
# /etc/postfix, their built-in place, is a link to the real one.
for tool in postdrop postqueue; do
	mv /usr/sbin/$tool $p/usr/local/sbin/
done
cat > $p/usr/local/sbin/sendmail <<EOF
#!/bin/sh
unset MAIL_CONFIG
exec $debian/sbin/\${0##*/} "\$@"
EOF
chmod 755 $p/usr/local/sbin/sendmail
ln -s ../sbin/sendmail $p/usr/local/bin/mailq
ln -s ../sbin/sendmail $p/usr/local/bin/newaliases
mv /usr/sbin/qshape $p/usr/local/bin/ 2>/dev/null || :
sed -i '1s,^#!.*perl,#!/usr/local/bin/perl,' $p/usr/local/bin/qshape
for tool in smtp-sink smtp-source qmqp-sink qmqp-source postfix-add-filter postfix-add-policy \
    postfix-collate; do
	mv /usr/sbin/$tool $debian/sbin/ 2>/dev/null || :
done
cp -a /usr/lib/postfix/sbin/. $p/usr/local/libexec/postfix/
sed -i '/configure-instance\.sh/d' $p/usr/local/libexec/postfix/post-install	# Debian's chroot
ln -s /usr/lib/postfix $p/usr/local/lib/postfix
ln -s /usr/local/etc/postfix $p/etc/postfix
meta=$p/usr/local/libexec/postfix
sed -e 's,/usr/lib/postfix/sbin,/usr/local/libexec/postfix,; s,/usr/share/man,/usr/local/share/man,' \
    /usr/share/postfix/makedefs.out > $meta/makedefs.out
grep -vE '^\$(manpage|readme|html|sample)_directory|main\.cf:f:root:-:644:o|master\.cf:f:root:-:644:o' \
    /etc/postfix/postfix-files > $meta/postfix-files
mkdir -p $meta/postfix-files.d $meta/dynamicmaps.cf.d
cp /etc/postfix/postfix-files.d/* $meta/postfix-files.d/
cp /etc/postfix/dynamicmaps.cf $meta/dynamicmaps.cf
# Debian keeps proto files and dynamicmaps.cf in /etc/postfix; master.cf there is
# chrooted and has delivery agents the port leaves commented out
awk '/^[a-z0-9]/ && NF >= 8 && $2 ~ /^(inet|unix|unix-dgram|pass)$/ {
	  if ($8 == "pipe") exit
	  $0 = sprintf("%-9s %-5s %-7s %-7s %-7s %-7s %-7s %s%s", $1, $2, $3, $4, "n", $6, $7, $8,
	      NF > 8 ? " " $9 : "")
	}
	/^#/ { if (seen) next }
	/^[a-z]/ { seen = 1 }
	{ print }' /usr/share/postfix/master.cf.dist > $meta/master.cf.proto
level=$(sed -n 's/^postfix \([0-9]*\.[0-9]*\).*/\1/p' $ports/versions)
cat > $meta/main.cf.proto <<EOF
# Global Postfix configuration file. See postconf(5) for every parameter.
compatibility_level = $level
queue_directory = /var/spool/postfix
command_directory = /usr/local/sbin
daemon_directory = /usr/local/libexec/postfix
data_directory = /var/db/postfix
mail_owner = postfix
mynetworks_style = host
unknown_local_recipient_reject_code = 550
debug_peer_level = 2
debugger_command =
	 PATH=/bin:/usr/bin:/usr/local/bin:/usr/X11R6/bin
	 ddd \$daemon_directory/\$process_name \$process_id & sleep 5
sendmail_path = /usr/local/sbin/sendmail
newaliases_path = /usr/local/bin/newaliases
mailq_path = /usr/local/bin/mailq
setgid_group = maildrop
html_directory = no
manpage_directory = /usr/local/share/man
sample_directory = /usr/local/etc/postfix
readme_directory = no
inet_protocols = ipv4
meta_directory = /usr/local/libexec/postfix
shlib_directory = /usr/local/lib/postfix
EOF
cp $meta/main.cf.proto $p/usr/local/etc/postfix/main.cf.sample
cp $meta/master.cf.proto $p/usr/local/etc/postfix/master.cf.sample
cat > $p/usr/local/share/postfix/mailer.conf.postfix <<EOF
# Execute the Postfix sendmail program, named /usr/local/sbin/sendmail
sendmail	/usr/local/sbin/sendmail
mailq		/usr/local/sbin/sendmail
newaliases	/usr/local/sbin/sendmail
EOF
rm -rf /etc/postfix /var/spool/postfix /var/lib/postfix /usr/lib/postfix/configure-instance.sh
chown 125:0 $p/var/db/postfix
chmod 700 $p/var/db/postfix
spool=$p/var/spool/postfix
for queue in active bounce corrupt defer deferred flush hold incoming private saved trace; do
	install -d -o 125 -g 0 -m 700 $spool/$queue
done
install -d -o 125 -g 126 -m 730 $spool/maildrop
install -d -o 125 -g 126 -m 710 $spool/public
install -d -o 0 -g 125 -m 755 $spool/pid

# dig and its kind are a package of their own, which bind920 depends on
for pair in \
    bind-tools:arpaname,delv,dig,dnssec-cds,dnssec-dsfromkey,dnssec-importkey,dnssec-keyfromlabel,dnssec-keygen,dnssec-ksr,dnssec-revoke,dnssec-settime,dnssec-signzone,dnssec-verify,dnstap-read,mdig,named-rrchecker,nsec3hash,nslookup,nsupdate \
    bind:named-checkconf,named-checkzone,named-compilezone,named-journalprint,named-nzd2nzf; do
	p=$ports/${pair%%:*}
	mkdir -p $p/usr/local/bin
	for tool in $(echo ${pair#*:} | tr , ' '); do
		mv /usr/bin/$tool $p/usr/local/bin/ 2>/dev/null || :
	done
done
cp /usr/bin/host $ports/bind-tools/usr/local/bin/host
cp $ports/bind-tools/usr/local/bin/dig $debian/bin/dig	# drill(1) of the base asks through it
p=$ports/bind
mkdir -p $p/usr/local/sbin $p/usr/local/etc/namedb $p/etc
for tool in named rndc rndc-confgen ddns-confgen tsig-keygen; do
	mv /usr/sbin/$tool $p/usr/local/sbin/
done
namedb=$p/usr/local/etc/namedb
mkdir -p $namedb/working $namedb/dynamic $namedb/primary $namedb/secondary
if [ -r /usr/share/dns/root.hints ]; then
	cp /usr/share/dns/root.hints $namedb/named.root
fi
chown 53:53 $namedb/working $namedb/dynamic $namedb/secondary
rm -rf /etc/bind /var/cache/bind /var/lib/bind
ln -s /usr/local/etc/namedb $p/etc/bind

p=$ports/doas
mkdir -p $p/usr/local/bin $p/usr/local/etc $p/etc
mv /usr/bin/doas $p/usr/local/bin/doas
ln -s /usr/local/etc/doas.conf $p/etc/doas.conf
rm -f /etc/doas.conf

p=$ports/dovecot
mkdir -p $p/usr/local/sbin $p/usr/local/bin $p/usr/bin $p/usr/local/etc/dovecot/example-config \
    $p/etc $p/usr/local/libexec
mv /usr/sbin/dovecot $p/usr/local/sbin/
mv /usr/bin/doveadm $p/usr/local/bin/
mv /usr/bin/doveconf $p/usr/local/bin/
ln -s ../local/bin/doveconf $p/usr/bin/doveconf	# dovecot(1) starts it by this built-in path
ln -s /usr/lib/dovecot $p/usr/local/libexec/dovecot
cp -a /etc/dovecot/. $p/usr/local/etc/dovecot/example-config/
rm -rf /etc/dovecot /usr/bin/dovecot-sysreport /usr/bin/maildirmake.dovecot
ln -s /usr/local/etc/dovecot $p/etc/dovecot

# --- policy services ---------------------------------------------------------------
# Perl is a package, and not in /usr/bin
p=$ports/perl
mkdir -p $p/usr/local/bin
mv /usr/bin/perl $debian/bin/perl
rm -f /usr/bin/perl5* /usr/bin/perldoc
ln -s $debian/bin/perl $p/usr/local/bin/perl
for tool in /usr/bin/*; do	# what came with it has no perl to run on
	case $(head -c 20 "$tool" 2>/dev/null | tr -d '\0' | head -1) in
	'#!'*perl*)	rm -f "$tool" ;;
	esac
done

# PG_USER, PG_DBDIR, PG_RUNDIR and the white lists' names are mail/postgrey's
p=$ports/postgrey
mkdir -p $p/usr/local/sbin $p/usr/local/etc/postfix $p/var/db/postgrey $p/run/postgrey	# /var/run is a link
mv /usr/sbin/postgrey $p/usr/local/sbin/
sed -i -e '1s,^#!.*perl,#!/usr/local/bin/perl,' -e "s,'/var/lib/postgrey','/var/db/postgrey'," \
    -e "s,'/etc/postgrey','/usr/local/etc/postfix'," -e 's,CONFIG_DIR/whitelist_,CONFIG_DIR/postgrey_whitelist_,' \
    $p/usr/local/sbin/postgrey
for list in clients recipients; do
	cp /etc/postgrey/whitelist_$list $p/usr/local/etc/postfix/postgrey_whitelist_$list.sample
done
chown 225:225 $p/var/db/postgrey $p/run/postgrey
rm -rf /etc/postgrey /var/lib/postgrey /usr/sbin/policy-test

# The port has postfwd3, which is what postfwd1 is where it is called postfwd: one process, the same rules and log
p=$ports/postfwd
mkdir -p $p/usr/local/bin
mv /usr/sbin/postfwd1 $p/usr/local/bin/postfwd
sed -i '1s,^#!.*perl,#!/usr/local/bin/perl,' $p/usr/local/bin/postfwd
rm -f /usr/sbin/postfwd /usr/sbin/postfwd2 /etc/alternatives/postfwd*

p=$ports/policyd-spf-perl
mkdir -p $p/usr/local/libexec
mv /usr/sbin/postfix-policyd-spf-perl $p/usr/local/libexec/
sed -i '1s,^#!.*perl,#!/usr/local/bin/perl,' $p/usr/local/libexec/postfix-policyd-spf-perl

# rspamd looks for its own modules in Debian's place, which the package makes a link
p=$ports/rspamd
mkdir -p $p/usr/local/bin $p/usr/local/share $p/usr/local/etc/rspamd $p/usr/share $p/var/db/rspamd $p/var/log/rspamd
mv /usr/bin/rspamd /usr/bin/rspamadm /usr/bin/rspamc $p/usr/local/bin/
# Debian builds it with hyperscan, the port does not (option HYPERSCAN) and then knows no such worker: a configuration that names it is refused
sed -i 's/hs_helper\x00/no_helper\x00/g' $p/usr/local/bin/rspamd $p/usr/local/bin/rspamadm
mv /usr/share/rspamd $p/usr/local/share/rspamd
# the port brings the list itself, Debian has it in a package of its own
cp --remove-destination /usr/share/publicsuffix/public_suffix_list.dat $p/usr/local/share/rspamd/effective_tld_names.dat
ln -s /usr/local/share/rspamd $p/usr/share/rspamd
cp /etc/rspamd/rspamd.conf $p/usr/local/etc/rspamd/rspamd.conf
chown 770:770 $p/var/db/rspamd $p/var/log/rspamd
rm -rf /etc/rspamd /var/lib/rspamd /var/log/rspamd /usr/bin/rspamd_stats

# The modules go with it: before the package is there nothing may find them
p=$ports/spf-engine
modules=usr/lib/python3/dist-packages
mkdir -p $p/usr/local/bin $p/usr/local/etc/python-policyd-spf $p/$modules
mv /usr/bin/policyd-spf $p/usr/local/bin/
sed -i "1s,^#!.*,#!/usr/local/bin/$(basename "$(readlink -f /usr/bin/python3)")," $p/usr/local/bin/policyd-spf
for module in spf_engine spf.py authres; do mv /$modules/$module $p/$modules/; done
sed -i 's,/etc/postfix-policyd-spf-python/,/usr/local/etc/python-policyd-spf/,' $p/$modules/spf_engine/policyd_spf.py
find $p/$modules -name __pycache__ -prune -exec rm -rf {} +
cp /etc/postfix-policyd-spf-python/policyd-spf.conf $p/usr/local/etc/python-policyd-spf/policyd-spf.conf.sample
rm -rf /etc/postfix-policyd-spf-python /usr/bin/pyspf* /usr/bin/spfquery* /usr/bin/pyspf-type99*

# what it needs of Python stays; the rc script does what that of mail/py-postfix-mta-sts-resolver does
p=$ports/mta-sts-resolver
mkdir -p $p/usr/local/bin $p/usr/local/etc/rc.d $p/$modules
mv /usr/bin/mta-sts-daemon /usr/bin/mta-sts-query $p/usr/local/bin/
sed -i "1s,^#!.*,#!/usr/local/bin/$(basename "$(readlink -f /usr/bin/python3)")," $p/usr/local/bin/mta-sts-*
mv /$modules/postfix_mta_sts_resolver* $p/$modules/
# SO_REUSEPORT_LB is FreeBSD's kernel's
sed -i 's/socket.SOL_SOCKET, 0x10000/socket.SOL_SOCKET, socket.SO_REUSEPORT/' $p/$modules/postfix_mta_sts_resolver/responder.py
find $p/$modules -name __pycache__ -prune -exec rm -rf {} +
cat > $p/usr/local/etc/rc.d/mta_sts <<EOF
#!/bin/sh
# PROVIDE: mta_sts
# REQUIRE: DAEMON
# KEYWORD: shutdown
. /etc/rc.subr
name=mta_sts
rcvar=mta_sts_enable
load_rc_config \$name
: \${mta_sts_enable:=NO}
: \${mta_sts_config=/usr/local/etc/mta-sts-daemon.yml}
: \${mta_sts_user=nobody}
pidfile=/var/run/mta_sts.pid
command=/usr/local/bin/mta-sts-daemon
command_interpreter=/usr/local/bin/$(basename "$(readlink -f /usr/bin/python3)")
start_cmd=mta_sts_start
mta_sts_start() {
	/usr/sbin/daemon -u "\$mta_sts_user" -p "\$pidfile" "\$command" -c "\$mta_sts_config"
}
run_rc_command "\$1"
EOF
chmod 555 $p/usr/local/etc/rc.d/mta_sts
cat > $p/usr/local/etc/mta-sts-daemon.yml.sample <<EOF
host: 127.0.0.1
port: 8461
EOF
p=$ports/dnspython
mkdir -p $p/$modules
mv /$modules/dns $p/$modules/
find $p/$modules -name __pycache__ -prune -exec rm -rf {} +

# a library that a package brings: Debian's stays where the daemons look for it
p=$ports/pcre2
mkdir -p $p/usr/local/lib
ln -s "$(ls /usr/lib/*/libpcre2-8.so.0)" $p/usr/local/lib/libpcre2-8.so.0

# make(1) is bmake; what it reads before every makefile is FreeBSD's, of root/
mv /usr/bin/bmake /usr/bin/make
rm -rf /usr/share/mk

# --- Python --------------------------------------------------------------------
py=$(basename "$(readlink -f /usr/bin/python3)")
mv /usr/bin/$py $debian/bin/$py
rm -f /usr/bin/python3
ln -s $debian/bin/$py /usr/libexec/standins/python3
p=$ports/python
mkdir -p $p/usr/local/bin
ln -s $debian/bin/$py $p/usr/local/bin/$py
ln -s $py $p/usr/local/bin/python3
cp -a $p/usr/local/. /usr/local/	# the bare host has it, as a bootstrapped one does
ln -sf /usr/libexec/standins/sitecustomize.py /usr/lib/$py/sitecustomize.py

# --- what FreeBSD does not have ------------------------------------------------
for dir in bin sbin; do
	for path in /usr/$dir/*; do
		name=${path##*/}
		case $name in
		apt*|dpkg*|deb-*|debconf*|systemd*|*ctl|update-*|invoke-rc.d|policy-rc.d|\
		adduser|addgroup|deluser|delgroup|useradd|userdel|usermod|groupadd|groupdel|groupmod|\
		groupmems|newusers|chgpasswd|gpasswd|run0|kernel-install|\
		sensible-*|select-editor|ucf*|py3*|pdb3*|pygettext3*|pydoc3*|start-stop-daemon|\
		service|ip|ss|nft|tc|bridge|dcb|devlink|genl|lnstat|nstat|rtacct|rtmon|tipc|vdpa|rdma|\
		ifstat|routel|ctstat|rtstat|arpd|lsb_release|free|vmstat|slabtop|pmap|pidof|\
		unshare|nsenter|setpriv|prlimit|ischroot|which.debianutils|stat|uname|df)
			mv "$path" $debian/$dir/ ;;
		esac
	done
done
rm -f /usr/bin/which
ln -s $debian/bin/which.debianutils /usr/bin/which
rm -rf /etc/init.d /etc/rc?.d /etc/default /etc/network /etc/ppp /etc/insserv* /etc/apparmor* \
    /etc/ufw /etc/rsyslog.d /etc/systemd /etc/apt /etc/dpkg /etc/cron* /etc/resolvconf /etc/resolvconf.conf /etc/dhcp \
    /etc/debian_version /etc/issue* /etc/lsb-release /etc/mailname /etc/aliases /etc/hostname \
    /etc/machine-id /etc/debconf.conf /etc/logrotate* /etc/update-motd.d /etc/adduser.conf \
    /etc/deluser.conf /etc/rc.local /etc/os-release /usr/lib/os-release /etc/profile.d \
    /var/cache/apt /var/lib/apt/lists /usr/lib/python3/dist-packages/apt*

# --- places ---------------------------------------------------------------------
for dir in /usr/local/etc/rc.d /usr/local/etc/mail /usr/local/sbin /usr/local/bin /usr/local/libexec \
    /usr/local/etc/rc.conf.d /usr/local/etc/newsyslog.conf.d /usr/local/share /usr/local/lib \
    /boot/kernel /boot/loader.conf.d /boot/defaults /boot/modules /etc/rc.conf.d /etc/mail /etc/ssl \
    /etc/newsyslog.conf.d /var/db/pkg /var/db/standins /var/empty /var/crash /var/mail /var/log \
    /var/cache/pkg /usr/share/skel /etc/defaults; do
	mkdir -p $dir
done
chmod 755 /var/empty
chown 0:6 /var/mail
chmod 775 /var/mail
chmod 755 /usr/local/bin /usr/local/sbin /usr/local/etc /usr/local/lib /usr/local/share
rm -f /boot/initrd* /boot/vmlinuz*
rm -f /etc/resolv.conf /etc/ssh/ssh_host_*
: > /etc/resolv.conf
for log in maillog messages auth.log debug.log cron; do : > /var/log/$log; chmod 640 /var/log/$log; done
rm -f /var/log/*.gz /var/log/dpkg.log /var/log/bootstrap.log /var/log/alternatives.log /var/log/faillog \
    /var/log/lastlog /var/log/btmp /var/log/wtmp
rm -rf /var/log/apt /var/log/journal /var/log/README /var/log/private /var/log/runit
# openresolv as the base system builds it: services are restarted by service(8) alone
sed -i -e 's|^RCDIR=.*|RCDIR=/etc/rc.d|' \
    -e "s|^RESTARTCMD=.*|RESTARTCMD='/usr/sbin/service \$1 onestatus >/dev/null 2>\&1 \&\& /usr/sbin/service \$1 restart'|" \
    /usr/sbin/resolvconf
mkdir -p /libexec
ln -sf /usr/lib/resolvconf /libexec/resolvconf
# the order in which the host asks: files and DNS, no other service
printf 'group: files\nhosts: files dns\nnetworks: files\npasswd: files\nshells: files\nservices: files\nprotocols: files\nrpc: files\n' \
    > /etc/nsswitch.conf
