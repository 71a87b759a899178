"""Rows of SMTP dialogues: read from rows/*.yml, turned into steps for player.py, and judged by what came back.

Pure but for reading the rows: the unit tests hold every row to the schema below, the system test plays them. A row:

    id            unique; part of the test's name and of the message's token
    why           what it shows, when the id does not say it
    profiles      [article, current] unless said
    phase         the state of the lab it is played in, see PHASES (default normal)
    client        source address
    name          the client's reverse name in senders.yml, or unknown; verified: false when the name does not lead back
    clients       instead of both: {address: name}; the row is played from each, with -1, -2, … behind its id
    port, tls     25; none, starttls or wrapped
    helo          the name (default: the client's); null sends none; greet: helo says HELO instead of EHLO
    auth          {user, password, mechanism: PLAIN, code: 235}; code may be a class like 5xx
    from, to      what stands between < and >; to may be a list; {run} is another word in every run, for what services remember
    play          raw steps instead of the usual dialogue: see player.py; {token} in data is the row's token, {who} a mailbox for it alone
    expect        {at, code, text, seconds: [least, most], closed}, or one of these for each profile; at rest the last reply counts
    again         a second try of the same dialogue: {after: seconds, expect: …}
    delivered     how often the message must be in a mailbox or sink (default: 1 if `end` says 250, else 0);
                  or {count, header, without}: header must be found in the message's header, without must not
    log           must be found in a line of the maillog that names the client
    refuses, passes   items of lists, classes and tables that the row proves, like helo/reject_invalid_helo_hostname; a list, or one
                  for each profile. They count where the row expects a refusal, or an acceptance

Everything before the reply at `at` must be accepted, or the row fails: a refusal for another reason proves nothing. Rows with
`play` are free of this.
"""

import base64
import hashlib
import ipaddress
import os
import pathlib
import re

import yaml

# as in conftest.py, which is no module of the unit tests
SLOW = float(os.environ.get("SOKUHAI_SLOW") or 1)
FOLDER = pathlib.Path(__file__).resolve().parent
PROFILES = ("article", "current")
PHASES = (
    "normal",
    "policy-down",
    "policy-back",
    "dnsbl-broken",
    "dnsbl-silent",
    "spf-silent",
    "spf-refuse",
    "spf-defer",
    "spf-defer-back",
)
PLACES = (
    "connect",
    "banner",
    "helo",
    "starttls",
    "helo-tls",
    "auth",
    "mail",
    "rcpt",
    "rcpt2",
    "rcpt3",
    "data",
    "end",
    "rest",
    "quit",
)
TLS = ("none", "starttls", "wrapped")
DEFAULTS = {
    "profiles": list(PROFILES),
    "phase": "normal",
    "port": 25,
    "tls": "none",
    "greet": "ehlo",
    "verified": True,
    "refuses": [],
    "passes": [],
}
KEYS = {
    *DEFAULTS,
    "id",
    "why",
    "client",
    "clients",
    "name",
    "helo",
    "auth",
    "from",
    "to",
    "play",
    "expect",
    "again",
    "delivered",
    "log",
}
EXPECT_KEYS = {"at", "code", "text", "seconds", "closed"}
STEPS = {
    "connect": {"tls"},
    "send": {"data"},
    "read": {"at"},
    "rest": {"at", "seconds"},
    "tls": set(),
    "sleep": {"seconds"},
}
# most of a dialogue is waiting; on a slow machine it is work
PARALLEL = max(1, int(160 / SLOW))
SERVER = {4: "192.0.2.10", 6: "2001:db8::10"}


def load(folder=FOLDER / "rows"):
    """All rows, defaults filled in, rows with several clients taken apart. Raises ValueError when a row breaks the schema."""
    rows = []
    for path in sorted(pathlib.Path(folder).glob("*.yml")):
        for row in yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            row = {**DEFAULTS, **row}
            problems = schema_problems(row)
            if problems:
                raise ValueError(f"{path.name}: {row.get('id')}: {'; '.join(problems)}")
            rows += (
                [
                    {**row, "id": f"{row['id']}-{n}", "client": client, "name": name}
                    for n, (client, name) in enumerate(row["clients"].items(), 1)
                ]
                if "clients" in row
                else [row]
            )
    doubled = sorted({row["id"] for row in rows if sum(other["id"] == row["id"] for other in rows) > 1})
    if doubled:
        raise ValueError(f"rows with one id: {', '.join(doubled)}")
    return rows


def expectations(row, profile):
    """What is expected of the row's tries in this profile, a dict each."""
    tries = [row["expect"]] + ([row["again"]["expect"]] if row.get("again") else [])
    return [one[profile] if set(one) <= set(PROFILES) else one for one in tries]


def proves(row, profile, what):
    """The items that a row proves in a profile; what is refuses or passes. Only a real refusal, a real acceptance proves anything."""
    if profile not in row["profiles"]:
        return set()
    codes = {str(expect["code"])[0] for expect in expectations(row, profile)}
    if not codes & set({"refuses": "045", "passes": "23"}[what]):
        return set()
    named = row[what]
    return set(named.get(profile, []) if isinstance(named, dict) else named)


def items(profile, root=FOLDER.parents[2]):
    """All that rows can prove in a profile: items of role postfix's relay list and of role access' lists and classes, rules of
    tables, DNSBLs; as list/item."""
    relay = yaml.safe_load((root / "roles/postfix/vars/main.yml").read_text())["__postfix_restrictions"][
        "smtpd_relay_restrictions"
    ]
    data = yaml.safe_load((root / "roles/access/vars/main.yml").read_text())
    found = [f"relay/{item['name']}" for item in relay]
    for part in ("lists", "classes"):
        for name, entries in data[f"__access_{part}_{profile}"].items():
            found += [f"{name}/{item['name']}" for item in entries]
    found += [f"dynamic/{rule['name']}" for rule in data["__access_dynamic_rules"]]
    found += [f"reject_helo/{rule['name']}" for rule in data["__access_helo_rules"]]
    return found + [f"dnsbl/{entry['name']}" for entry in data[f"__access_dnsbl_{profile}"]]


def waived():
    """{profile: {"refuses": {item: reason}, "passes": {…}, "removed": {…}}}: what no dialogue can show at work."""
    return yaml.safe_load((FOLDER / "waived.yml").read_text())


def item_of(parameter, restriction):
    """The list/item that a restriction in main.cf stands for, or None for what is no item of role access.

    parameter: like smtpd_client_restrictions, or a class; restriction: one element of its value, or of postscreen_dnsbl_sites.
    """
    words = restriction.split()
    where = re.sub(r"^smtpd_(.*)_restrictions$", r"\1", parameter)
    zone = re.match(r"([^=*]+)=", words[-1])
    if parameter == "postscreen_dnsbl_sites" or words[0] == "reject_rbl_client":
        return f"dnsbl/{zone[1]}"
    if words[0] == "check_policy_service":
        return f"{where}/{'spf' if words[-1].startswith('unix:') else 'service'}"
    if len(words) > 1 and "/tables/" in words[-1]:
        table = words[-1].rpartition("/")[2]
        # the class of everybody else, written as a table where countries are left out of it
        if table == "check_dynamic_address" or where == "check_dynamic_name":
            # what an exception by address puts before the table of names
            return "recipient/check_dynamic_client"
        return f"{where}/{'check_client_na' if table == 'check_client_others' else table}"
    return f"{where}/{'permit' if where == 'check_client_ease' and words[0].startswith('permit') else words[0]}"


def schema_problems(row):
    """Every way in which a row is no row, as sentences."""
    found = []
    unknown = set(row) - KEYS
    if unknown:
        found.append(f"unknown keys {', '.join(sorted(unknown))}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(row.get("id", ""))):
        found.append("an id is made of lower-case letters, digits and hyphens")
    for key in (
        *(["client", "name"] if "clients" not in row else ["clients"]),
        *([] if "play" in row else ["from", "to"]),
        "expect",
    ):
        if key not in row:
            found.append(f"{key} is missing")
    if not set(row["profiles"]) <= set(PROFILES) or not row["profiles"]:
        found.append(f"profiles {row['profiles']}")
    if row["phase"] not in PHASES:
        found.append(f"phase {row['phase']!r} is none of {', '.join(PHASES)}")
    if row["tls"] not in TLS:
        found.append(f"tls {row['tls']!r} is none of {', '.join(TLS)}")
    for client in row.get("clients", [row.get("client")]):
        try:
            address = ipaddress.ip_address(client)
            if not any(address in ipaddress.ip_network(net) for net in ("203.0.113.0/24", "2001:db8:2::/64")):
                found.append(f"client {client} is not in the clients' networks")
        except ValueError:
            found.append(f"client {client!r} is not an address")
    for step in row.get("play", []):
        options = set(step) - {"do", "needs"}
        if step.get("do") not in STEPS or not options <= STEPS[step["do"]]:
            found.append(f"step {step}")
    if found:
        return found
    for profile in row["profiles"]:
        try:
            tries = expectations(row, profile)
        except KeyError:
            found.append(f"no expectation for profile {profile}")
            continue
        for expect in tries:
            if (
                set(expect) - EXPECT_KEYS
                or expect.get("at") not in PLACES
                or not re.fullmatch(r"[02-5]xx|\d{1,3}", str(expect.get("code")))
            ):
                found.append(f"expectation {expect}")
            refused = str(expect.get("code"))[0] in "045"
            if refused and not expect.get("text") and not expect.get("closed"):
                found.append(f"a refusal without a text would be met by any other refusal: {expect}")
    for what in ("refuses", "passes"):
        if not found and row[what] and not any(proves(row, profile, what) for profile in row["profiles"]):
            found.append(f"it says what it {what}, yet expects no such thing")
    return found


def needs(row, profile):
    """The parts of the mail service, of greylist, spf and submission, without which the row means nothing: by its phase, and by what it expects."""
    found = set(
        {"policy-down": ("greylist", "spf"), "policy-back": ("greylist", "spf")}.get(
            row["phase"], ["spf"] if row["phase"].startswith("spf-") else ()
        )
    )
    wanted = str([expectations(row, profile), row.get("delivered")])
    if "Greylisted" in wanted:
        found.add("greylist")
    if "SPF" in wanted:
        found.add("spf")
    if row["port"] in (465, 587) or row.get("auth"):
        found.add("submission")
    return found


def token(row, run):
    """What marks the row's message in mailboxes and sinks."""
    return f"{run}.{row['id']}"


def message(row, mark):
    return (
        f"From: <{row.get('from') or 'mailer-daemon@' + (row.get('name') or 'nobody.test')}>\r\n"
        f"Subject: {row['id']}\r\nX-Lab-Token: {mark}\r\nMessage-ID: <{mark}@dialogues.test>\r\n\r\n"
        f"{row.get('why') or row['id']}\r\n.\r\n"
    )


def _say(line):
    return {"do": "send", "data": f"{line}\r\n"}


def steps(row, profile, run):
    """The row's steps for player.py. Labels of a second try begin with "2:"."""
    mark = token(row, run)
    plan = []
    for number, expect in enumerate(expectations(row, profile), 1):
        if number > 1:
            plan.append({"do": "sleep", "seconds": row["again"]["after"]})
        one = (
            _raw(row, mark)
            if "play" in row
            else _usual({**row, "from": row["from"].replace("{run}", run)}, expect, mark)
        )
        if number > 1:
            one = [
                {
                    **step,
                    **({"at": f"{number}:{step['at']}"} if "at" in step else {}),
                    **({"needs": [f"{number}:{label}" for label in step["needs"]]} if "needs" in step else {}),
                }
                for step in one
            ]
        plan += one
    return plan


def who(mark):
    """A local part for the row of this token, no longer than one may be."""
    return f"w{hashlib.sha1(mark.encode()).hexdigest()[:14]}"


def _raw(row, mark):
    return [
        {**step, "data": step["data"].replace("{token}", mark).replace("{who}", who(mark))}
        if step["do"] == "send"
        else dict(step)
        for step in row["play"]
    ]


def _usual(row, expect, mark):
    plan = [{"do": "connect", "tls": row["tls"] == "wrapped"}, {"do": "read", "at": "banner"}]
    helo = row.get("helo", row["name"])
    if helo is not None:
        plan += [_say(f"{row['greet'].upper()} {helo}"), {"do": "read", "at": "helo"}]
    if row["tls"] == "starttls":
        plan += [
            _say("STARTTLS"),
            {"do": "read", "at": "starttls"},
            {"do": "tls", "needs": ["starttls"]},
            _say(f"EHLO {helo}"),
            {"do": "read", "at": "helo-tls"},
        ]
    if row.get("auth"):
        plan += _auth(row["auth"])
    recipients = row["to"] if isinstance(row["to"], list) else [row["to"]]
    places = ["rcpt", *(f"rcpt{n}" for n in range(2, len(recipients) + 1))]
    plan += [_say(f"MAIL FROM:<{row['from']}>"), {"do": "read", "at": "mail"}]
    for recipient, at in zip(recipients, places, strict=True):
        plan += [_say(f"RCPT TO:<{recipient}>"), {"do": "read", "at": at}]
    if expect["at"] in ("data", "end") or str(expect["code"])[0] in "45":
        # a refusal that does not come must show as a message that was taken, not as a dialogue that ended early
        plan += [
            _say("DATA"),
            {"do": "read", "at": "data"},
            {"do": "send", "data": message(row, mark), "needs": ["data"]},
            {"do": "read", "at": "end", "needs": ["data"]},
        ]
    return [*plan, _say("QUIT"), {"do": "read", "at": "quit"}]


def _auth(auth):
    user, password = auth["user"], auth["password"]
    if auth.get("mechanism", "PLAIN") == "LOGIN":
        return [
            _say("AUTH LOGIN"),
            {"do": "read", "at": "auth-user"},
            {**_say(_b64(user)), "needs": ["auth-user"]},
            {"do": "read", "at": "auth-password", "needs": ["auth-user"]},
            {**_say(_b64(password)), "needs": ["auth-password"]},
            {"do": "read", "at": "auth", "needs": ["auth-password"]},
        ]
    return [_say("AUTH PLAIN " + _b64(f"\0{user}\0{password}")), {"do": "read", "at": "auth"}]


def _b64(text):
    return base64.b64encode(text.encode()).decode()


def plan(rows, profile, run, parallel=PARALLEL):
    """The whole order for player.py."""
    return {
        "parallel": parallel,
        "dialogues": [
            {
                "id": row["id"],
                "source": row["client"],
                "port": row["port"],
                "server": SERVER[ipaddress.ip_address(row["client"]).version],
                "steps": steps(row, profile, run),
            }
            for row in rows
        ],
    }


def code_is(code, wanted):
    """Whether a reply's code is the one wanted, or of the class wanted (5xx)."""
    wanted = str(wanted)
    return str(code)[0] == wanted[0] if wanted.endswith("xx") else str(code) == wanted


def show(replies):
    return (
        "\n".join(
            f"  {r['seconds']:7.2f} {r['at']:10} {r['code']} {' / '.join(r['text'].splitlines())}" for r in replies
        )
        or "  nothing at all"
    )


def judge(row, profile, replies):
    """What is wrong with the replies of a row, as sentences; empty when it went as expected."""
    found = []
    for number, expect in enumerate(expectations(row, profile), 1):
        prefix = f"{number}:" if number > 1 else ""
        own = [r for r in replies if r["at"].startswith(prefix) and (number > 1 or not re.match(r"\d+:", r["at"]))]
        places = [i for i, r in enumerate(own) if r["at"] == prefix + expect["at"]]
        if expect["at"] == "rest":  # of many replies the last one counts, and how the connection ended is no reply
            places = [i for i in places if own[i]["code"]][-1:]
        here = next(iter(places), None)
        if here is None:
            found.append(f"try {number}: nothing came at {expect['at']}")
            continue
        reply = own[here]
        for before in own[:here] if "play" not in row else []:
            wanted = row.get("auth", {}).get("code", 235) if before["at"] == prefix + "auth" else None
            if wanted is not None:
                if not code_is(before["code"], wanted):
                    found.append(f"try {number}: AUTH was answered {before['code']}, not {wanted}")
            elif not 200 <= before["code"] < 400 and not before["at"].removeprefix(prefix).startswith("rcpt"):
                found.append(f"try {number}: already at {before['at']}: {before['code']} {before['text']}")
        if not code_is(reply["code"], expect["code"]):
            found.append(
                f"try {number}: {reply['code']} {reply['text']!r} at {expect['at']}, expected {expect['code']}"
            )
        if expect.get("text") and not re.search(expect["text"], reply["text"]):
            found.append(f"try {number}: {reply['text']!r} at {expect['at']} has no {expect['text']!r}")
        if expect.get("seconds"):
            took = reply["seconds"] - (own[here - 1]["seconds"] if here else 0)
            least, most = expect["seconds"]
            if not least <= took <= most * SLOW:
                found.append(
                    f"try {number}: the reply at {expect['at']} took {took:.1f} s, not {least} to {most * SLOW:g}"
                )
        if expect.get("closed") and own[-1]["code"] != 0:
            found.append(f"try {number}: the connection stayed open")
    return found


def wanted_copies(row, profile):
    """(how many copies of the row's message must have arrived, pattern in the header or None, pattern not in it or None)."""
    delivered = row.get("delivered")
    last = expectations(row, profile)[-1]
    count = 1 if last["at"] == "end" and str(last["code"]).startswith("2") else 0
    if isinstance(delivered, dict):
        delivered = delivered.get(profile, delivered) if set(delivered) <= set(PROFILES) else delivered
        return delivered.get("count", count), delivered.get("header"), delivered.get("without")
    return count if delivered is None else delivered, None, None


def judge_delivery(row, profile, run, mails):
    """What is wrong with what arrived. mails: texts of whole messages, of mailboxes and sinks."""
    mark = token(row, run)
    count, header, without = wanted_copies(row, profile)
    mine = [mail.partition("\n\n")[0] for mail in mails if f"X-Lab-Token: {mark}\n" in mail.partition("\n\n")[0] + "\n"]
    found = []
    if any(f"X-Lab-Token: {mark}." in mail.partition("\n\n")[0] for mail in mails):
        found.append("a second message was smuggled in")
    if len(mine) != count:
        found.append(f"{len(mine)} copies of the message arrived, expected {count}")
    for head in mine:
        unfolded = re.sub(r"\n[ \t]+", " ", head)
        if header and not re.search(header, unfolded, re.M):
            found.append(f"no {header!r} in the header:\n{head}")
        if without and re.search(without, unfolded, re.M):
            found.append(f"{without!r} is in the header:\n{head}")
    return found


def judge_log(row, lines):
    """What is wrong with the maillog: the row's pattern must be in a line that names its client."""
    if not row.get("log"):
        return []
    client = f"[{row['client']}]"
    own = [line for line in lines if client in line]
    if any(re.search(row["log"], line) for line in own):
        return []
    return [f"no line of {client} in the maillog has {row['log']!r}; there are:\n" + "\n".join(own[-12:])]
