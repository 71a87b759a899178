# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The keys of one domain: made on the host, kept there, counted behind a prefix; which one signs, which waits, and which signed before.

A domain's folder has a file for each key, and selectors.json, {signing, next, former: selector}. A file of an Ed25519 key holds its seed in base64, as
rspamd reads it; its selector is the RSA key's and an e.
"""

import base64
import binascii
import json
import os
import re
import shutil
import stat

from ansible.module_utils.sokuhai import dns, host
from ansible.module_utils.sokuhai.findings import finding
from ansible.module_utils.sokuhai.host import Refused

ROLES = ("signing", "next", "former")
STATE = "selectors.json"
#: An Ed25519 key in PKCS #8 is this and its seed (RFC 8410, section 7).
ED25519_DER = bytes.fromhex("302e020100300506032b657004220420")
FEWEST_BITS = 1024  # RFC 8301, section 3.2


def openssl(*arguments, text=None):
    """Return what openssl(1) prints. Raises Refused; the message has nothing of *text*, which may be a key."""
    status, out, err = host.run(["openssl", *arguments], 300, text=text)
    if status:
        raise Refused("openssl %s: %s" % (arguments[0], " ".join(err.split())[:300] or "exit status %d" % status))
    return out


def body(pem):
    """Return what a PEM text holds, base64 in one line."""
    found = re.search(r"-----BEGIN [^-]*-----(.*?)-----END", pem, re.DOTALL)
    return "".join(found[1].split()) if found else ""


class Domain:
    """The keys of the domain *name* in the folder *top*. owner: (uid, gid) of who signs. bits: of RSA keys that are made. ed25519: whether each has one beside it."""

    def __init__(self, top, name, owner, prefix, bits=2048, ed25519=False):
        self.name, self.owner, self.prefix, self.bits, self.ed25519 = name, owner, prefix, bits, ed25519
        self.folder = os.path.join(top, name)
        self.statefile = os.path.join(self.folder, STATE)
        self.state = host.load(self.statefile)
        if not self.state and self.keys():
            raise Refused(
                "dkim_domains: %s has keys in %s, and no %s that tells which of them signs: restore it, or move the folder away and publish new records"
                % (name, self.folder, STATE)
            )

    def keys(self):
        """Return the names of the files of keys."""
        folder = self.folder if os.path.isdir(self.folder) else None
        return sorted(name for name in os.listdir(folder) if name.endswith(".key")) if folder else []

    def path(self, selector):
        return os.path.join(self.folder, selector + ".key")

    def selectors(self, selector):
        """Return the selectors of the keys that belong to *selector*: its own, and that of the Ed25519 key beside it."""
        both = [selector, selector + "e"]
        return both if self.ed25519 or (selector and os.path.exists(self.path(both[1]))) else both[:1]

    def missing(self):
        """Return the selectors whose keys are to be made: [] once a run has made them. Raises Refused where one that may be published is gone."""
        if not self.state:
            return ["%s-1" % self.prefix, "%s-2" % self.prefix]
        found = []
        for role in ("signing", "next"):
            rsa, *more = self.selectors(self.state[role])
            if not os.path.exists(self.path(rsa)):
                raise Refused(
                    "dkim_domains: the key %s of %s is gone, and its record may be in the DNS: restore it (nobody but you replaces a key), or move %s "
                    "away and publish new records" % (self.path(rsa), self.name, self.folder)
                )
            found += [one for one in more if not os.path.exists(self.path(one))]
        return found

    # -- making them

    def ready(self, adopt=None):
        """Have what is missing() made. adopt: (selector, path) of a key that signs from the start in place of a new one."""
        if self.state:
            for selector in self.missing():
                self.make(selector, "ed25519")
            return
        # a folder is there with all that belongs into it, or not at all: a killed run leaves nothing that is in use
        place = self.folder
        self.folder = os.path.join(os.path.dirname(place), ".%s.sokuhai-new" % self.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, 0o700)
        self.secure(self.folder, 0o700)
        first, second = "%s-1" % self.prefix, "%s-2" % self.prefix
        if adopt:
            first, second = adopt[0], "%s-1" % self.prefix
            self.copy(*adopt)
        for selector in (first, second):
            self.pair(selector)
        self.statefile = os.path.join(self.folder, STATE)
        self.write({"signing": first, "next": second})
        os.rename(self.folder, place)
        self.folder, self.statefile = place, os.path.join(place, STATE)

    def pair(self, selector):
        """Make the keys of *selector* that are not there yet."""
        for one, kind in zip(self.selectors(selector), ("rsa", "ed25519")):
            if not os.path.exists(self.path(one)):
                self.make(one, kind)

    def copy(self, selector, path):
        """Take the key in the file *path* over as *selector*'s. Raises Refused for what is no RSA key that receivers accept."""
        pem = host.read(path)
        if pem is None:
            raise Refused("dkim_domains: there is no key %s on this host, which %s is to sign with" % (path, self.name))
        kind, bits, _public = self.public_of(pem, path)
        if kind != "rsa" or bits < FEWEST_BITS:
            raise Refused(
                "dkim_domains: %s is an %s key of %d bits; %s needs an RSA key of %d or more (RFC 8301)"
                % (path, kind, bits, self.name, FEWEST_BITS)
            )
        host.write(self.path(selector), pem, 0o600, self.owner)

    def make(self, selector, kind):
        """Make the key of *selector*; no process shows it, and nobody but root can read it before it is its owner's."""
        if kind == "ed25519":
            pem = openssl("genpkey", "-algorithm", "ED25519")
            text = base64.b64encode(base64.b64decode(body(pem))[-32:]).decode() + "\n"
        else:
            text = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % self.bits)
        host.write(self.path(selector), text, 0o600, self.owner)

    def write(self, state):
        """Have *state* kept, and in force for this object."""
        self.state = {role: state[role] for role in ROLES if state.get(role)}
        host.write(self.statefile, json.dumps(self.state, indent=1) + "\n", 0o600, self.owner)

    # -- rights

    def secure(self, path, mode):
        os.chmod(path, mode)
        os.chown(path, *self.owner)

    def findings(self, repair=False):
        """Return the findings of files that others could read; repair: put them right as well."""
        found = []
        for path in [self.folder, self.statefile, *map(self.path, (name[:-4] for name in self.keys()))]:
            if not os.path.exists(path):
                continue
            now, mode = os.stat(path), 0o700 if path == self.folder else 0o600
            wanted = host.rights(mode, *self.owner)
            is_now = host.rights(stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)
            if is_now != wanted:
                found.append(finding("mode of " + path, path, wanted, is_now))
                if repair:
                    self.secure(path, mode)
        return found

    # -- what the DNS must say

    def public_of(self, text, path):
        """Return (rsa or ed25519, bits, public key in base64) of a key in the form of its file *path*."""
        text = text.strip()
        if "-----BEGIN" not in text:
            try:
                seed = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                seed = b""
            if len(seed) != 32:
                raise Refused("dkim_domains: %s is no key of Ed25519: restore it" % path)
            der = base64.b64encode(ED25519_DER + seed).decode()
            text = "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % der
        try:
            said = openssl("pkey", "-noout", "-text_pub", text=text + "\n")
            public = body(openssl("pkey", "-pubout", text=text + "\n"))
        except Refused as reason:
            raise Refused("dkim_domains: %s is no key: %s" % (path, reason)) from reason
        if "ED25519" in said.upper():
            return "ed25519", 256, base64.b64encode(base64.b64decode(public)[-32:]).decode()
        bits = re.search(r"\((\d+) bit", said)
        return "rsa" if "Modulus" in said else "other", int(bits[1]) if bits else 0, public

    def records(self):
        """Return [{domain, selector, role, name, type, bits, value}] of each key: what a TXT record of *name* must hold. role: signing, next or former."""
        found = []
        for role in ROLES:
            for selector in self.selectors(self.state[role]) if role in self.state else []:
                path = self.path(selector)
                text = host.read(path)
                if text is None:
                    continue
                kind, bits, public = self.public_of(text, path)
                found.append(
                    {
                        "domain": self.name,
                        "selector": selector,
                        "role": role,
                        "name": "%s._domainkey.%s" % (selector, self.name),
                        "type": kind,
                        "bits": bits,
                        "value": "v=DKIM1; k=%s; p=%s" % (kind, public),
                    }
                )
        return found

    def signers(self):
        """Return [(selector, path)] of the keys that sign, RSA first."""
        return [(one, self.path(one)) for one in self.selectors(self.state["signing"])] if self.state else []

    # -- rotation

    def unpublished(self, role, server):
        """Return {record's name: what *server* answers instead} of the *role*'s records that are not in the DNS as they should be."""
        wrong = {}
        for record in self.records():
            if record["role"] != role:
                continue
            reply = dns.ask(server, record["name"], "TXT", timeout=5.0)
            texts = reply["texts"] if reply else []
            if record["value"].partition("p=")[2] not in [tags(text).get("p") for text in texts]:
                wrong[record["name"]] = "; ".join(texts) or (reply["rcode"] if reply else "no answer")
        return wrong

    def rotated(self, server):
        """Return the state after a rotation. Raises Refused while the waiting key's record is not in the DNS, or the former one's has not been dropped."""
        if self.state.get("former"):
            raise Refused(
                "dkim_rotate: %s keeps the key of %s, which signed before, for mail on its way. When its record is out of the DNS: dkim.yml -e "
                '\'{"dkim_drop": ["%s"]}\'' % (self.name, self.state["former"], self.name)
            )
        wrong = self.unpublished("next", server)
        if wrong:
            raise Refused(
                "dkim_rotate: %s keeps signing as it does: the record %s is not in the DNS as this host's waiting key needs it; there is: %s"
                % (self.name, ", ".join(wrong), ", ".join(wrong.values()))
            )
        numbers = [
            int(one)
            for one in re.findall(r"(?:^|\n)%s-(\d+)(?=\n|$)" % re.escape(self.prefix), "\n".join(self.known()))
        ]
        following = "%s-%d" % (self.prefix, max(numbers or [0]) + 1)
        return {"signing": self.state["next"], "next": following, "former": self.state["signing"]}

    def known(self):
        """Return every selector that is in use here or was, as far as files tell."""
        return list(self.state.values()) + [name[:-4] for name in self.keys()]

    def rotate(self, state):
        """Have *state*, of rotated(), in force: the key that will wait is made first, so that a run that is killed leaves what was."""
        self.pair(state["next"])
        self.write(state)

    def dropped(self, server):
        """Return the state without the former key. Raises Refused while its record is in the DNS: mail that it signed may be on its way."""
        names = [record["name"] for record in self.records() if record["role"] == "former"]
        there = [name for name in names if name not in self.unpublished("former", server)]
        if there:
            raise Refused(
                "dkim_drop: the record %s is in the DNS still, and mail that its key signed may be on its way; remove the record some days after the "
                "rotation, then drop the key" % ", ".join(there)
            )
        return {role: one for role, one in self.state.items() if role != "former"}

    def drop(self, state):
        former = self.state.get("former")
        self.write(state)
        if former:
            host.remove(*map(self.path, (former, former + "e")))


def tags(text):
    """Return {tag: value} of a record (RFC 6376, 3.2), without white space in values."""
    pairs = [part.partition("=") for part in text.split(";")]
    return {name.strip(): re.sub(r"\s+", "", value) for name, _is, value in pairs if name.strip()}
