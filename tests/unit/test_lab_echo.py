"""The lab's echo service: what it says of a message is what role accepted reads from it."""

from labkit.internet import echo
from role_modules import util

MESSAGE = b"From: postmaster@home.example\r\nMessage-ID: <TOKEN@mx>\r\n\r\nhi\r\n"


def verdict(**more):
    return {"spf": "pass", "dkim": "pass", "dmarc": "pass", "signatures": [], **more}


def read(found):
    data = echo.reply("mail.far.test", MESSAGE, "a@home.example", "me@far.test", found)
    return util("accepted_outside").results("From x\n" + data.decode().replace("\r\n", "\n"), "TOKEN")


def test_role_accepted_reads_what_it_says():
    signatures = [["home.example", "mx-1", "rsa-sha256", False], ["home.example", "mx-1e", "ed25519-sha256", True]]
    assert read(verdict(signatures=signatures)) == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
    assert read(verdict(signatures=[signatures[0]], dmarc="fail")) == {"spf": "pass", "dkim": "fail", "dmarc": "fail"}
    assert read(verdict(spf="softfail")) == {"spf": "softfail", "dkim": "none", "dmarc": "pass"}
