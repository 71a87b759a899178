# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What the host's own postmap(1) finds in tables, and what it complains of: the one judge of expressions and samples. Python 3.9 to 3.13."""

import re

#: postmap(1) opens a table at the first key.
NOBODY = "sokuhai.invalid"


def lookup(postmap, spec, keys):
    """Look *keys*, of which there may be none, up in a table; return ({key: answer}, [line that postmap complains in]).

    postmap: function that takes arguments and text, its standard input; returns (exit status, standard output, standard error). spec: type:path.
    """
    _status, out, err = postmap("-q", "-", spec, text="".join("%s\n" % key for key in dict.fromkeys([NOBODY, *keys])))
    answers = {
        key: " ".join(answer.split()) for key, _tab, answer in (line.partition("\t") for line in out.splitlines())
    }
    complaints = [re.sub(r"^\S+: (warning|fatal|error): ", "", line) for line in err.splitlines()]
    return answers, list(dict.fromkeys(complaints))


def keys_of(samples):
    """Return {table: [keys]} of samples [{asked: [[table, key], …]}]."""
    keys = {}
    for sample in samples:
        for table, key in sample["asked"]:
            keys.setdefault(table, []).append(key)
    return keys


def wrong(samples, answers):
    """Return sentences about the samples {origin, asked, past, expect} that are answered otherwise. answers: {table: {key: answer}}."""
    problems = []
    for sample in samples:
        found = [(table, answers.get(table, {}).get(key)) for table, key in sample["asked"]]
        # an answer that only leads on to the next table is none
        found = [(table, answer) for table, answer in found if answer is not None and answer != sample.get("past")]
        table, got = found[0] if found else (sample["asked"][-1][0], "")
        wanted = sample["expect"]
        if got != wanted and not (wanted and got.startswith(wanted + " ")):
            asked = ", ".join([key for one, key in sample["asked"] if one == table][:2])
            problems.append(
                "%s: table %s answers %s with %s, expected is %s"
                % (sample["origin"], table, asked, got or "nothing", wanted or "nothing")
            )
    return problems


def named(complaint, table, origins):
    """Return a *complaint* about a table as a sentence that begins with the origin of its line. origins: one a line."""
    found = re.search(r", line (\d+): (.*)", complaint)
    number = int(found.group(1)) if found else 0
    if 0 < number <= len(origins):
        return "%s: %s; Postfix would skip the entry" % (origins[number - 1], found.group(2))
    return "table %s: %s" % (table, complaint)
