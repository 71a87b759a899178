# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""Says what on the mail hosts is no longer as declared. Changes nothing there.

Exit status: 0 all as declared, 2 drift, 3 a host could not be reached, 1 an error (the worst of all hosts: 1, 3, 2, 0).
What it reports, and what it cannot see: docs/drift.md.
"""

import argparse
import datetime
import fcntl
import json
import os
import pathlib
import re
import sys
import tempfile
import time

from . import digest, mail, page, recipients, run, state, terminal

EXIT = {"clean": 0, "error": 1, "drift": 2, "unreachable": 3}
ERROR = EXIT["error"]
#: Options of ansible-playbook that leave something out, or are ours
HALF = re.compile(r"-t|-C|-D|-h|--version|--tags|--skip-tags|--start-at-task|--step|--list-|--syntax-check")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        # argparse would end with 2, which is drift
        self.print_usage(sys.stderr)
        self.exit(ERROR, "%s: error: %s\n" % (self.prog, message))


def parser():
    given = Parser(
        prog="tools/drift",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any other option is passed to ansible-playbook: -u, -K, -e @file, --ask-vault-pass, --vault-password-file …",
    )
    given.add_argument("-i", "--inventory", action="append", help="as ansible-playbook's; may be given more than once")
    given.add_argument("-l", "--limit", help="only these hosts")
    given.add_argument(
        "--json",
        metavar="FILE",
        help="write the report as JSON (docs/drift.schema.json); - is standard output, instead of the table",
    )
    given.add_argument("--html", metavar="FILE", help="write the page to look at (docs/page.md)")
    given.add_argument(
        "--days",
        metavar="N",
        type=int,
        choices=range(1, 15),
        default=7,
        help="days of samples in JSON and page, 1 to 14 (default: 7)",
    )
    given.add_argument(
        "--state",
        metavar="DIR",
        type=pathlib.Path,
        help="where the last run is kept (default: ~/.local/state/sokuhai/drift)",
    )
    given.add_argument(
        "--changes",
        action="store_true",
        help="print only what is new, gone or unreachable since the last run: for cron",
    )
    given.add_argument("-d", "--diffs", action="store_true", help="print diffs and advice as well, and mail them")
    given.add_argument(
        "--mail",
        action="store_true",
        help="mail what is new, gone or unreachable since the last mail, to the addresses in monitor_alert_to; "
        "with --changes what is mailed is not printed",
    )
    given.add_argument(
        "--smtp", metavar="HOST[:PORT]", help="hand the mail to this host (default: to sendmail(1) of this machine)"
    )
    given.add_argument(
        "--from", dest="sender", metavar="ADDRESS", help="sender of the mail (default: you on this machine)"
    )
    return given


def arguments(argv):
    """The options of a command line (list of str); ends the process with 1 where they make no sense."""
    given = parser()
    options, options.ansible = given.parse_known_args(argv)
    if (options.smtp or options.sender) and not options.mail:
        given.error("--smtp and --from need --mail")
    if options.sender and not mail.ADDRESS.fullmatch(options.sender):
        given.error("--from: %r is not an address" % options.sender)
    try:
        options.smtp = options.smtp and mail.place(options.smtp)
    except ValueError as problem:
        given.error("--smtp: %s" % problem)
    for word in options.ansible:
        if HALF.match(word):
            given.error("%s: half a run would pass for a clean one" % word)
    if options.html and not pathlib.Path(options.html).absolute().parent.is_dir():
        given.error("--html %s: there is no such directory" % options.html)
    if options.state is None:
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        options.state = pathlib.Path(home) / "sokuhai" / "drift"
    return options


class Run:
    """One run: what it found, and what has become of that since the last one."""

    def __init__(self, options):
        self.options, self.mails, self.addressed = options, [], {}
        started, began = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sokuhai-drift-") as folder:
            records, status, self.output = run.play(options, folder)
        hosts, self.findings, self.errors = digest.digest(records)
        # 0 well, 2 a host failed, 4 one was unreachable: those have been judged above. Anything else, and Ansible did not do its work.
        if status not in (0, 2, 4, 6) and not self.errors:
            self.errors.append("ansible-playbook ended with %d" % status)
        former = state.read(options.state / "last.json")
        self.moved, self.now = state.transitions(former, hosts, self.findings, not options.limit)
        new = {entry["id"] for entry in self.moved["new"]}
        self.report = {
            "schema": 1,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "exit": EXIT[digest.worst(hosts, self.errors)],
            "hosts": hosts,
            "findings": [dict(entry, since="new" if entry["id"] in new else "still") for entry in self.findings],
            "transitions": {
                **{key: [entry["id"] for entry in self.moved[key]] for key in ("new", "gone", "still")},
                "hosts": self.moved["hosts"],
            },
            "errors": self.errors,
        }
        if options.mail:
            self.addressed = recipients.addressed(records)

    def keep(self):
        """Keep what was found for the next run, and mail it. A run that broke off is no last run."""
        options, report = self.options, self.report
        if not self.errors:
            state.replace(options.state / "last.json", state.as_json(self.now))
            try:
                self.mails = recipients.mail_all(
                    options, self.addressed, report["hosts"], self.findings, report["started"]
                )
            except OSError as problem:
                # nobody gets mail then, so it is printed
                error = "what was mailed cannot be kept: %s" % problem
                self.addressed, self.mails = {}, [recipients.entry_of("anybody", error=error)]
        if options.mail:
            report["mails"] = [{key: value for key, value in one.items() if key != "lines"} for one in self.mails]
            if not all(one["taken"] for one in self.mails):
                report["exit"] = ERROR

    def write(self):
        """The files that were asked for."""
        options, text = self.options, json.dumps(self.report, indent=1, ensure_ascii=False)
        if options.html:
            state.replace(pathlib.Path(options.html).absolute(), page.render(self.report))
        if options.json == "-":
            print(text)
        elif options.json:
            state.replace(pathlib.Path(options.json).absolute(), text + "\n")

    def show(self):
        """What is printed: the table or the changes, and what became of the mails."""
        options = self.options
        if options.json != "-":
            if options.changes:
                rest = recipients.not_mailed(self.moved, self.addressed)
                lines = terminal.changes(dict(self.report, transitions=rest), options.diffs)
            else:
                lines = [*terminal.table(self.report, options.diffs)]
                lines += recipients.summary(self.mails, self.addressed) if options.mail else []
            for line in lines:
                print(line)
        for one in self.mails:
            if one["error"]:
                print("no mail to %(to)s: %(error)s" % one, file=sys.stderr)
                for line in one["lines"] if options.changes else ():
                    print("  " + line, file=sys.stderr)
        if self.errors:
            print("\n".join(["ansible-playbook said last:", *self.output.splitlines()[-25:]]), file=sys.stderr)


def main(argv=None):
    """Run the command; return its exit status."""
    options = arguments(argv)
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(options.state / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("sokuhai: another drift run with %s is still going" % options.state, file=sys.stderr)
            return ERROR
        one = Run(options)
        one.keep()
    one.write()
    one.show()
    return one.report["exit"]
