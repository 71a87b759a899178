# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The way back to the files that named had before the first run, or before these."""

import glob
import os
import tempfile
import time

from ansible.module_utils import bind_host
from ansible.module_utils.bind_resolver import Resolver
from ansible.module_utils.sokuhai import before, host, passwords, rc
from ansible.module_utils.sokuhai.host import Refused
from ansible.module_utils.sokuhai.named import listening

#: How the files end that a state of bind_config returns to.
SUFFIXES = {"before": before.SUFFIX, "previous": ".previous"}


def kept(named, state):
    """Return {path: what is kept of it}, named.conf last. Raises Refused where nothing is kept, or where named-checkconf does not take it."""
    end = SUFFIXES[state]
    found = {path[: -len(end)]: path for path in glob.glob(os.path.join(os.path.dirname(named.conf), "*" + end))}
    if named.conf not in found:
        raise Refused(
            "rollback_to: %s: there is no %s%s, to which named could return; without rollback_to named is switched off"
            % (state, named.conf, end)
        )
    status, out, err = named.check(found[named.conf])
    if status:
        raise Refused("rollback_to: %s: named-checkconf refuses it: %s" % (state, " ".join((out + err).split())))
    return {path: found[path] for path in sorted(found, key=lambda path: (path == named.conf, path))}


class Swap:
    """files: {path: what it becomes}. Those that are there are kept until the end, to be put back."""

    def __init__(self, named, files):
        self.named = named
        self.files = {path: source for path, source in files.items() if not before.same(source, path)}
        self.left = None

    def diff(self):
        return [
            host.difference(path, *passwords.pair(host.read(path), host.read(source), passwords.of_named))
            for path, source in self.files.items()
        ]

    def __enter__(self):
        self.left = tempfile.TemporaryDirectory(prefix="sokuhai-bind-")
        for path in filter(os.path.exists, self.files):
            before.put(path, self.there(path))
        self.put(self.files)
        return self

    def there(self, path):
        return os.path.join(self.left.name, os.path.basename(path))

    def put(self, files):
        if self.named.conf in files:
            self.named.part(host.read(files[self.named.conf]))
        for path, source in files.items():
            if os.path.exists(source):
                before.put(source, path)
            else:
                host.remove(path)
        time.sleep(1.1)  # what loads them now is surely younger

    def undo(self):
        self.put({path: self.there(path) for path in self.files})

    def __exit__(self, *_error):
        self.left.cleanup()


def former(named, want, check_mode):
    """What bind_config does in state before and previous."""
    first = want["state"] == "before"
    swap, ran = Swap(named, kept(named, want["state"])), named.process() is not None
    names = [*want["rc"], *(name + "_enable" for name in want["displaces"])] if first else []
    runs = not first or rc.yes(rc.former(["named_enable"])["named_enable"])
    changes, resolver = rc.compare_former(names), Resolver(want, False) if first else None
    switched = resolver is not None and resolver.changed
    diff = rc.diff(changes)
    answer = {
        "changed": bool(swap.files or changes or switched or runs != ran),
        "findings": [],
        "diff": diff + swap.diff() + (resolver.diff() if resolver else []),
    }
    if check_mode or not answer["changed"]:
        return answer
    if switched and not runs:
        resolver.switch()  # the host must not ask a named that is gone
    with swap:
        rc.apply(changes)
        if not runs:
            named.stop()
        elif (swap.files or not ran) and not loads(named, "restart" if ran else "start"):
            swap.undo()
            back = loads(named, "restart" if named.process() else "start")
            named.outcome.update(step="restart", restored=back)
            raise Refused(
                "rollback_to: %s: named does not answer with these files; those that it had are back%s. named reported: %s"
                % (
                    want["state"],
                    "" if back else ", and it does not answer with them either",
                    named.complaints() or named.said,
                )
            )
    if switched and runs:
        resolver.switch()
    return answer


def loads(named, verb):
    """Have named load its files by *verb*; return whether it answers anywhere."""
    # at which addresses is in these files
    named.want["servers"] = []
    return named.act(verb) and host.wait_until(
        lambda: any(bind_host.answers(address) for address in listening() if address != "*"), named.want["timeout"]
    )
