"""Mail servers with TLS, and AUTH where zones.yml names users; and what vouches for them: a CA, and TLSA records of their one key.

Beside each listens, on port 465, the same server with TLS from the first byte.
"""

import asyncio
import base64
import datetime
import hashlib
import pathlib
import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..files import put
from .sink import Smtp

HOST = re.compile(rb"^Host: mta-sts\.([a-z0-9.-]+)", re.I | re.M)
USES = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign encipher_only decipher_only".split()
DAY = datetime.timedelta(days=1)


class Tls:
    """The key of all these servers, and its certificates, kept in a directory so that a restart keeps them; None forgets the key.

    ca: certificate of the CA. digest: what a TLSA record 3 1 1 has of the key (RFC 6698).
    """

    def __init__(self, folder, entries=()):
        self.folder = folder and pathlib.Path(folder)
        path = self.folder and self.folder / "key.pem"
        if path and path.exists():
            self.key = serialization.load_pem_private_key(path.read_bytes(), None)
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            if path:
                self._make(entries)
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        self.digest = hashlib.sha256(self.key.public_key().public_bytes(*form)).hexdigest()

    def _make(self, entries):
        authority = ec.generate_private_key(ec.SECP256R1())
        root = certificate("The lab's CA", authority.public_key(), authority)
        names = [entry["name"] for entry in entries]
        names += ["mta-sts." + name.partition(".")[2] for name in names]
        by_ca = certificate(names[0] if names else "none", self.key.public_key(), authority, root, names)
        by_itself = certificate("somebody", self.key.public_key(), self.key, None, ["somebody.invalid"])
        for name, one in (("ca", root), ("by-ca", by_ca), ("by-itself", by_itself)):
            put(self.folder / f"{name}.pem", one.public_bytes(serialization.Encoding.PEM))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        # last: whoever finds it finds the others
        put(self.folder / "key.pem", self.key.private_bytes(*form), 0o600)

    def context(self, kind):
        """The SSLContext of a server whose certificate is signed "by-ca" or "by-itself"."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{kind}.pem", self.folder / "key.pem")
        return context


def certificate(name, public, signer, issuer=None, names=()):
    """A certificate for a public key. issuer: the CA's certificate; without one the certificate vouches for itself, as a CA where it has no *names*."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
    made = made.public_key(public).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - DAY).not_valid_after(now + 60 * DAY)
    made = made.add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    # Python 3.13 takes no CA without it (VERIFY_X509_STRICT)
    uses = dict.fromkeys(USES, False) | {"digital_signature": True, "key_cert_sign": not names}
    made = made.add_extension(x509.KeyUsage(**uses), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    if issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        made = made.add_extension(identifier, critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return made.sign(signer, hashes.SHA256())


class Secure(Smtp):
    """entry: {name, address, certificate, users}; context: of STARTTLS. Where the connection is TLS from the first byte, wrapped is True."""

    def __init__(self, book, entry, context, wrapped=False):
        super().__init__(book, entry["name"].encode())
        self.entry, self.context = entry, context
        self.about = {"tls": wrapped, "user": ""}
        self.login = None

    def offers(self):
        """Whether it offers STARTTLS now: what `ctl sink NAME starttls=off` says of its name, as of a domain."""
        rule = self.book.rule("postmaster@" + self.entry["name"])
        return not self.about["tls"] and (rule or {}).get("starttls", "on") == "on"

    def command(self, line):
        verb, write = line[:4].upper(), self.transport.write
        if self.login is not None:
            self.answer(line)
        elif verb == b"EHLO":
            words = [b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES"]
            words += [b"STARTTLS"] * self.offers() + [b"AUTH PLAIN LOGIN"] * bool(self.entry.get("users"))
            write(b"".join(b"250-" + word + b"\r\n" for word in [self.name, *words]) + b"250 SMTPUTF8\r\n")
        elif verb == b"STAR" and self.offers():
            write(b"220 2.0.0 Ready\r\n")
            self.waiting = True
            self.starting = asyncio.ensure_future(self.encrypt())
        elif verb == b"AUTH" and self.entry.get("users"):
            self.auth(line)
        elif verb == b"MAIL" and self.entry.get("users") and not self.about["user"]:
            write(b"530 5.7.0 Authentication required\r\n")
        else:
            super().command(line)

    async def encrypt(self):
        loop = asyncio.get_running_loop()
        self.buffer.clear()  # what was sent ahead of the handshake is not heard (RFC 3207, 4.2)
        try:
            self.transport = await loop.start_tls(self.transport, self, self.context, server_side=True)
        except (OSError, ConnectionError):
            return  # the client did not like the certificate
        if self.transport:
            self.reset()
            self.about = {**self.about, "tls": True}
            self.waiting = False
            self.work()  # a client may send EHLO together with the end of its handshake

    def auth(self, line):
        _verb, mechanism, *initial = line.split(b" ", 2)
        self.login = [mechanism.upper()]
        if initial:
            self.answer(initial[0])
        else:
            self.transport.write(b"334 VXNlcm5hbWU6\r\n" if self.login[0] == b"LOGIN" else b"334 \r\n")

    def answer(self, line):
        try:
            self.login.append(base64.b64decode(line, validate=True).decode())
        except ValueError:
            self.login = None
            self.transport.write(b"501 5.5.2 Not base64\r\n")
            return
        if self.login[0] == b"LOGIN" and len(self.login) < 3:
            self.transport.write(b"334 UGFzc3dvcmQ6\r\n")
            return
        user, password = self.login[1:] if self.login[0] == b"LOGIN" else self.login[1].split("\0")[1:]
        self.login = None
        self.book.logins.append({"server": self.entry["name"], "tls": self.about["tls"], "user": user})
        if self.entry["users"].get(user) == password:
            self.about = {**self.about, "user": user}
            self.transport.write(b"235 2.7.0 Welcome\r\n")
        else:
            self.transport.write(b"535 5.7.8 Wrong user or password\r\n")


class Policy(asyncio.Protocol):
    """The web server of a domain's MTA-STS policy (RFC 8461): mode enforce, and the domain's one mail server, whatever the domain."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, chunk):
        self.buffer += chunk
        if b"\r\n\r\n" not in self.buffer:
            return
        found = HOST.search(self.buffer)
        domain = found[1].decode() if found else "invalid"
        body = f"version: STSv1\r\nmode: enforce\r\nmx: mail.{domain}\r\nmax_age: 86400\r\n"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()


async def listen(book, entries, tls, opened):
    """Open the servers of *entries*, which Tls *tls* vouches for. opened: sockets of (address, port). Returns the asyncio servers."""
    loop, servers = asyncio.get_running_loop(), []
    for entry in entries:
        context = tls.context(entry.get("certificate", "by-ca"))
        for port in (25, 587, 465):
            wrapped = port == 465

            def made(entry=entry, context=context, wrapped=wrapped):
                return Secure(book, entry, context, wrapped)

            for sock in opened(entry["address"], port):
                servers.append(await loop.create_server(made, sock=sock, ssl=context if wrapped else None))
        for sock in opened(entry["address"], 443) if entry.get("policies") else ():
            servers.append(await loop.create_server(Policy, sock=sock, ssl=context))
    return servers
