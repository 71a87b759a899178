# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""main.cf, master.cf and tables/ as they are and as declared, and the way from one to the other and back. Python 3.9 to 3.13."""

import os
import shutil
import stat
import time

from ansible.module_utils.postfix_text import dumped, entries
from ansible.module_utils.sokuhai import before, host, passwords, rc
from ansible.module_utils.sokuhai.foreign import POSTFIX_MARK

#: Indexed types of tables and the files that postmap(1) makes of a text: the database first.
SUFFIXES = {
    "hash": (".db",),
    "btree": (".db",),
    "lmdb": (".lmdb", ".lmdb-lock"),
    "cdb": (".cdb",),
    "dbm": (".pag", ".dir"),
    "sdbm": (".pag", ".dir"),
}
#: What a diff has of a table that is secret: what is there, and what is declared.
NOT_SHOWN = ("a secret, not shown\n", "another secret, not shown\n")
# master.cf before main.cf, which may name its services
CONFIGURATION = ("master.cf", "main.cf")


class Files:
    """The set of files of *postfix* (postfix_host.Postfix). tables: [{name, type, text, aliases, secret}]."""

    def __init__(self, postfix, main_cf, master_cf, tables):
        self.postfix = postfix
        self.tables = tables
        self.table_directory = os.path.join(postfix.config, "tables")
        self.previous = os.path.join(postfix.config, ".previous")
        self.last = os.path.join(postfix.config, ".last")
        self.wanted = {"main.cf": main_cf, "master.cf": master_cf}
        self.wanted.update(("tables/" + table["name"], table["text"]) for table in tables)
        self.secret = {"tables/" + table["name"] for table in tables if table.get("secret")}

    def mode(self, name):
        """Return the mode of the file *name*, a relative path. postmap(1) gives a database that of its text."""
        return 0o600 if name in self.secret else 0o644

    # ---- as they are

    def shown(self, name, before, after):
        """Return the entry of a module's diff for the file *name* and its texts, None for no file."""
        if name in self.secret:
            before, after = (text and hint for text, hint in zip((before, after), NOT_SHOWN))
        elif name in CONFIGURATION:
            before, after = passwords.pair(before, after, passwords.of_postfix)
        return host.difference(name, before, after)

    def loose(self):
        """Return {path: mode} of what is secret, texts and databases, and more than root may read."""
        found = {}
        for table in self.tables:
            if "tables/" + table["name"] not in self.secret:
                continue
            for end in ("", *SUFFIXES.get(table["type"], ())):
                path = os.path.join(self.table_directory, table["name"] + end)
                mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o600
                if mode != 0o600:
                    found[path] = mode
        return found

    def tighten(self):
        """Have what is secret readable by root alone, before anything is copied or replaced."""
        for path in self.loose():
            os.chmod(path, 0o600)

    def differences(self):
        """Return {relative path: (text or None, declared text or None)} of the files that are not as declared."""
        texts = {name: (host.read(os.path.join(self.postfix.config, name)), new) for name, new in self.wanted.items()}
        found = {name: pair for name, pair in texts.items() if pair[0] != pair[1]}
        found.update(("tables/" + name, ("nothing declares it\n", None)) for name in self.undeclared())
        return found

    def undeclared(self):
        """Return the names in tables/ that are neither declared nor built from a declared table."""
        ours = {table["name"] + end for table in self.tables for end in ("", *SUFFIXES.get(table["type"], ()))}
        return sorted(set(os.listdir(self.table_directory)) - ours) if os.path.isdir(self.table_directory) else []

    def indexed(self, directory):
        """Yield (table, path of its text, path of its database) of the tables below *directory* that are built."""
        for table in self.tables:
            if table["type"] in SUFFIXES:
                source = os.path.join(directory, "tables", table["name"])
                yield table, source, source + SUFFIXES[table["type"]][0]

    def stale(self):
        """Return {name of a table: what its database is} of those that do not hold what their text does."""
        found = {}
        for table, source, base in self.indexed(self.postfix.config):
            if host.read(source) != table["text"]:
                continue  # built again with its text
            if not os.path.exists(base):
                found[table["name"]] = "missing"
            elif os.stat(base).st_mtime < os.stat(source).st_mtime:
                found[table["name"]] = "older than its text"
            elif not self._holds(table, source):
                found[table["name"]] = "built from another text"
        return found

    def _holds(self, table, source):
        wanted = entries(table["text"], table["aliases"])
        status, out, err = self._build(table, self.postfix.config, source, "-s")
        if status or err.strip():
            # cdb has no sequence: look up every key instead
            _status, out, err = self._build(
                table, self.postfix.config, source, "-q", "-", text="\n".join(wanted) + "\n"
            )
        return not err.strip() and dumped(out, table["aliases"]) == wanted

    def _build(self, table, directory, source, *options, text=None):
        tool = "postalias" if table["aliases"] else "postmap"
        return self.postfix.tool(tool, "-c", directory, *options, "%s:%s" % (table["type"], source), text=text)

    def read_at_load(self):
        """Return the paths of what Postfix reads when it is loaded; it looks after its databases itself."""
        return [os.path.join(self.postfix.config, name) for name in CONFIGURATION] + [
            os.path.join(self.table_directory, table["name"]) for table in self.tables if table["type"] not in SUFFIXES
        ]

    # ---- staged

    def stage(self, directory):
        """Write the declared set below *directory*; what else lies in the configuration directory is linked beside it."""
        os.makedirs(os.path.join(directory, "tables"), 0o755)
        for name, text in self.wanted.items():
            if name in CONFIGURATION:
                # a table named by its full path must be the staged one, too
                text = text.replace(self.table_directory + "/", os.path.join(directory, "tables") + "/")
            host.write(os.path.join(directory, name), text, self.mode(name))
        # A main.cf younger than two seconds is read again, and what was set before the first reading, the configuration
        # directory, is forgotten for the compiled one (dict_load_file_xt() of dict.c): $config_directory/tables would be the
        # tables in force, not the staged ones. What goes in is written again by swap().
        past = time.time() - 60
        os.utime(os.path.join(directory, "main.cf"), (past, past))
        for name in os.listdir(self.postfix.config):
            if name not in (*CONFIGURATION, "tables") and not name.startswith("."):
                os.symlink(os.path.join(self.postfix.config, name), os.path.join(directory, name))

    def build(self, directory):
        """Build the databases of the staged tables; return the problems."""
        problems = []
        for table, source, _base in self.indexed(directory):
            status, _out, err = self._build(table, directory, source)
            said = [line.split(": ", 1)[-1] for line in err.splitlines()] or ["exit status %d" % status] * bool(status)
            problems += ["postfix_tables: %s: %s" % (table["name"], line) for line in said]
        return problems

    # ---- swapped

    def keep(self, more=()):
        """Copy the set in force to .previous. One that is there already is the last proved one (the run after it was killed before its
        proof) and stays. What was there before the first run is kept for ever, rc.conf and the files *more*, too."""
        texts = {name: host.read(os.path.join(self.postfix.config, name)) or "" for name in CONFIGURATION}
        for name in (*CONFIGURATION, "tables"):
            # an older master.cf than main.cf is one of a swap that was broken off
            if not POSTFIX_MARK.search(texts.get(name, texts["main.cf"])):
                before.keep(os.path.join(self.postfix.config, name))
        if not POSTFIX_MARK.search(texts["main.cf"]):
            for path in (rc.RC_CONF, *more):
                before.keep(path)
        if os.path.isdir(self.previous):
            return
        scratch = self.previous + ".new"
        shutil.rmtree(scratch, ignore_errors=True)
        # a copy has its mode only once it is written
        os.makedirs(scratch, 0o700)
        for name in (*CONFIGURATION, "tables"):
            path = os.path.join(self.postfix.config, name)
            if os.path.exists(path):
                before.put(path, os.path.join(scratch, name))
        os.rename(scratch, self.previous)

    def swap(self, directory):
        """Rename the staged files into place: tables before the files that name them."""
        os.makedirs(self.table_directory, 0o755, exist_ok=True)
        staged = os.path.join(directory, "tables")
        # a text before its database: an older database is what Postfix warns of
        names = sorted(os.listdir(staged), key=lambda entry: (entry.count("."), entry))
        for name in names:
            # postmap(1) leaves to the kernel when a database is on disk
            host.flush(os.path.join(staged, name))
        for name in names:
            os.rename(os.path.join(staged, name), os.path.join(self.table_directory, name))
        for _table, _source, base in self.indexed(self.postfix.config):
            os.utime(base)
        for name in CONFIGURATION:
            host.write(os.path.join(self.postfix.config, name), self.wanted[name], 0o644)
        for name in self.undeclared():
            os.unlink(os.path.join(self.table_directory, name))

    def proved(self):
        """The set in force is good: the one that keep() copied is the last before it that worked."""
        shutil.rmtree(self.last, ignore_errors=True)
        os.rename(self.previous, self.last)

    def restore(self):
        """Return to the set that keep() copied."""
        for name in ("tables", *CONFIGURATION):
            kept, path = os.path.join(self.previous, name), os.path.join(self.postfix.config, name)
            if os.path.exists(kept):
                before.put(kept, path)
            else:
                before.remove(path)
        shutil.rmtree(self.previous)
