"""A full file system: the play fails saying so, the daemons run on with what they had, and the next run ends as usual."""

import pytest
from practice import applied_book, changed, play_book

# a small file system of its own over the daemon's folder, filled to the last block
FILL = """
set -e
cp -a {folder} /tmp/keep
mount -t tmpfs -o size=1m,mode=755 tmpfs {folder}
cp -a /tmp/keep/. {folder}/
chown "$(stat -f %u:%g /tmp/keep)" {folder}
dd if=/dev/zero of={folder}/fill bs=1k 2>/dev/null || :
rm -rf /tmp/keep
"""


@pytest.mark.parametrize(
    "book, folder, variables, question",
    [
        (
            "mail_only.yml",
            "/usr/local/etc/postfix",
            {"postfix_main_cf": [{"name": "smtpd_banner", "value": "$myhostname ESMTP new"}]},
            ["/usr/local/sbin/postconf", "-h", "smtpd_banner"],
        ),
        (
            "bind_only.yml",
            "/usr/local/etc/namedb",
            {"bind_recursive_clients": 15000},
            ["dig", "+short", "@127.0.0.1", "d0001.test", "MX"],
        ),
    ],
)
def test_full_file_system(lab, book, folder, variables, question):
    before, answer = lab.fingerprint(), lab.sh(*question).stdout
    processes = lab.processes()
    lab.sh("sh", "-c", FILL.format(folder=folder))
    try:
        result = play_book(book, lab, **variables)
        assert result.returncode != 0
        assert "No space left on device" in result.stdout, result.stdout[-3000:]
        assert "Traceback" not in result.stdout, result.stdout[-3000:]
        assert lab.sh(*question).stdout == answer
        assert lab.processes() == processes
    finally:
        lab.sh("umount", folder)
    healed = applied_book(book, lab)
    assert lab.fingerprint() == before
    assert changed(healed) == 0
