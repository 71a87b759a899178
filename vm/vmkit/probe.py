"""What a machine has, asked once by one line of sh(1). The scenario and its inventory decide by it what can be tried there."""

# key: a command whose output is the value, or whose success is
TEXTS = {
    "release": "freebsd-version -u",
    "kernel": "sysctl -n kern.bootfile",
    "ident": "uname -i",
    "root": "mount -p | awk '$2 == \"/\" { print $3 }'",
    "disk_mib": "df -m / | awk 'NR == 2 { print $4 }'",
    "kernel_mib": "du -sm /boot/kernel | cut -f 1",
    "memory_mib": "echo $(($(sysctl -n hw.physmem) / 1048576))",
    "python": "/usr/local/bin/python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'",
    "named": "/usr/local/sbin/named -v | awk '{ print $2 }'",
    "postfix": "/usr/local/sbin/postconf -dh mail_version",
}
FLAGS = {
    "pkg_there": "pkg -N",
    "pkg_reaches": 'test "$offline" = 0 && fetch -T 20 -q -o /dev/null '
    "https://pkg.FreeBSD.org/FreeBSD:$(uname -r | cut -d. -f1):$(uname -p)/quarterly/meta.conf",
    # a repository of one's own, also on a disk of the machine (file://)
    "pkg_own": "sed -n 's|.*url *[:=] *\"\\{0,1\\}\\(pkg+\\)\\{0,1\\}\\([^\", ]*\\).*|\\2|p' /usr/local/etc/pkg/repos/*.conf "
    '| sed "s|\\${ABI}|FreeBSD:$(uname -r | cut -d. -f1):$(uname -p)|" '
    '| while read -r url; do fetch -T 20 -q -o /dev/null "$url/meta.conf" && echo here; done | grep -q here',
    "dovecot": "test -x /usr/local/sbin/dovecot",
    "postgrey": "test -x /usr/local/sbin/postgrey",
    "spf": "test -x /usr/local/bin/policyd-spf || test -x /usr/local/libexec/postfix-policyd-spf-perl",
    "compiler": "command -v cc",
    "sources": "test -f /usr/src/sys/conf/newvers.sh",
    "ports": "test -f /usr/ports/Mk/bsd.port.mk",
    "zfs": "kldstat -qm zfs || test -f /boot/kernel/zfs.ko",
    "nuageinit": "test -x /usr/libexec/nuageinit",
}


def script(offline):
    """The line of sh(1) to run there as root."""
    lines = ["PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", f"offline={int(offline)}"]
    lines += [f'echo "{key}=$({command} 2>/dev/null | head -n 1)"' for key, command in TEXTS.items()]
    lines += [
        f"if {{ {command}; }} >/dev/null 2>&1 </dev/null; then echo {key}=yes; else echo {key}=no; fi"
        for key, command in FLAGS.items()
    ]
    return "; ".join(lines)


def read(output):
    """The answer as a dict: texts as str ("" for what is not there), numbers as int, flags as bool. Raises ValueError when it is not one.

    `pkg` is true when something can be installed by it: it is there or can be fetched, and its repository answers.
    """
    found = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    missing = (set(TEXTS) | set(FLAGS)) - set(found)
    if missing or not found["release"]:
        raise ValueError(f"the machine did not say: {', '.join(sorted(missing)) or 'release'}")
    has = {key: found[key].strip() for key in TEXTS}
    has.update({key: found[key] == "yes" for key in FLAGS})
    for key in ("disk_mib", "kernel_mib", "memory_mib"):
        has[key] = int(has[key]) if has[key].lstrip("-").isdecimal() else 0
    has["pkg"] = has["pkg_reaches"] or has["pkg_own"]
    return has
