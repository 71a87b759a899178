"""Rows of techniques.yml taken apart, each from every kind of client over every wire, and the judge that says whether one of them had a mail relayed."""

import pathlib

import yaml

from . import script

TECHNIQUES = yaml.safe_load(pathlib.Path(__file__).with_name("techniques.yml").read_text())
#: What a stranger may come over: (port, version of IP, TLS). Nobody submits without AUTH, so on 587 and 465 every client is a stranger.
WIRES = {
    "25-v4": (25, 4, None),
    "25-v6": (25, 6, None),
    "25-tls-v4": (25, 4, "starttls"),
    "25-tls-v6": (25, 6, "starttls"),
    "587-v4": (587, 4, None),
    "587-v6": (587, 6, None),
    "587-tls-v4": (587, 4, "starttls"),
    "587-tls-v6": (587, 6, "starttls"),
    "465-v4": (465, 4, "wrapped"),
    "465-v6": (465, 6, "wrapped"),
}
#: {kind: (IPv4, IPv6, name)} of clients; senders.yml and countries.txt say what they are.
CLIENTS = {
    "server": ("203.0.113.20", "2001:db8:2::20", "mail.sender.test"),
    "dynamic-eased": ("203.0.113.62", "2001:db8:2::62", "203-0-113-62.adsl.dynamic.test"),
    "dynamic-abroad": ("203.0.113.131", "2001:db8:2:0:8000::131", "host-131-113-0-203.abroad.test"),
    "nameless": ("203.0.113.30", "2001:db8:2::30", "nobody.sender.test"),
    "misnamed": ("203.0.113.34", "2001:db8:2::34", "mx.home.example"),
    "listed": ("203.0.113.66", "2001:db8:2::66", "mail.listed.test"),
    "refused-country": ("203.0.113.161", "2001:db8:2:0:c000::161", "mail.refused-country.test"),
    "tarpit-country": ("203.0.113.193", "2001:db8:2:0:e000::193", "mail.tarpit-country.test"),
}
#: Dialogues at a time, so many that no client gets too many connections.
PARALLEL = 48
#: Of these every list lets pass whom it could stop.
HONEST = "server"
MESSAGE = "From: <someone@sender.test>\r\nSubject: x\r\nX-Lab-Token: {token}\r\n\r\nx\r\n.\r\n"
#: That the same clients' mail to this host's own is accepted over the same wires.
WITNESS = {"id": "witness", "ours": ["postmaster@home.example"]}
#: What is hidden in the text of another mail.
AFTER = "MAIL FROM:<postmaster@home.example>\r\nRCPT TO:<{who}@d0001.test>\r\nDATA\r\nX-Lab-Token: {token}.smuggled\r\n\r\nx\r\n.\r\n"
OUTSIDE, HERE = "rcpt", "rcpt2"


def rows(kinds, wires):
    """Every technique from these kinds of clients over these wires, as rows for script.plan()."""
    # one after the other from different clients: each may hold so many connections only
    return [
        row(technique, kind, wire)
        for technique in TECHNIQUES
        for wire in wires
        if wire in technique.get("wires", WIRES)
        for kind in kinds
    ]


def row(technique, kind, wire):
    port, version, tls = WIRES[wire]
    return {
        **script.DEFAULTS,
        "id": f"relay-{technique['id']}-{kind}-{wire}",
        "client": CLIENTS[kind][0 if version == 4 else 1],
        "port": port,
        "play": play(technique, CLIENTS[kind][2], tls),
        "ours": bool(technique.get("ours")),
        # what script.plan() counts tries by
        "expect": {"at": OUTSIDE, "code": "5xx"},
    }


def said(line, at):
    """Steps: a line, and the reply to it."""
    return [{"do": "send", "data": line if line.endswith("\n") else f"{line}\r\n"}, {"do": "read", "at": at}]


def play(technique, name, tls):
    helo = f"EHLO {technique.get('helo', name)}"
    steps = [{"do": "connect", "tls": tls == "wrapped"}, {"do": "read", "at": "banner"}, *said(helo, "helo")]
    if tls == "starttls":
        steps += [*said("STARTTLS", "starttls"), {"do": "tls", "needs": ["starttls"]}, *said(helo, "helo-tls")]
    for line in technique.get("before", []):
        steps += said(line, "auth")
    steps += said(technique.get("mail", "MAIL FROM:<someone@sender.test>"), "mail")
    for address in technique.get("ours", []):
        steps += said(f"RCPT TO:<{address}>", HERE)
    for line in technique.get("rcpt", []):
        steps += said(line, OUTSIDE)
    text = technique.get("text", MESSAGE).replace("{after}", AFTER)
    end = [{"do": "send", "data": text}, {"do": "rest", "at": "end", "seconds": 2}]
    return [*steps, *said("DATA", "data"), *({**step, "needs": ["data"]} for step in end), *said("QUIT", "quit")]


def judge(row, run, replies, delivered, sunk):
    """What a row had relayed, as sentences. delivered: {token: copies in a mailbox here}; sunk: recipients and tokens of all that left the host."""
    mark = script.token(row, run)
    found = [
        f"accepted at {reply['at']}: {reply['code']} {reply['text']}"
        for reply in replies
        if reply["at"] == OUTSIDE and 200 <= reply["code"] < 400
    ]
    if mark in sunk or script.who(mark) in sunk:
        found.append("a mail of it left the host")
    if f"{mark}.smuggled" in delivered:
        found.append("a second mail was smuggled in")
    if delivered.get(mark, 0) > row["ours"]:
        found.append(f"{delivered[mark]} copies of it were delivered here")
    return [*found, script.show(replies)] if found else []
