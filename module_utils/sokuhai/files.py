# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A whole file of the host as it is declared: how the one that is there differs, and the way there and back."""

from __future__ import annotations

import dataclasses
import os
import stat

from ansible.module_utils.sokuhai import host
from ansible.module_utils.sokuhai.findings import finding


def refuse_strangers(files, mark, role):
    """Raise Refused for the first of *files* that is there without *mark*, which is in all that *role* writes."""
    for file in files:
        if file.former is not None and mark not in file.former:
            raise host.Refused("%s is there and was not written by role %s; move it away" % (file.path, role))


@dataclasses.dataclass
class File:
    """text, former: declared and found, None for no file; differs: they do. owner: (uid, gid), None where it does not matter."""

    path: str
    text: str
    mode: int = 0o644
    owner: tuple = None

    def __post_init__(self):
        self.former = host.read(self.path)
        self.differs = self.former != self.text

    def findings(self):
        """Return the finding of a file that holds what it should and has another mode or owner, [] for none."""
        if self.differs or self.text is None:
            return []
        now = os.stat(self.path)
        mode, owner = stat.S_IMODE(now.st_mode), (now.st_uid, now.st_gid)
        if self.owner is None:
            wanted, found = "%04o" % self.mode, "%04o" % mode
        else:
            wanted, found = host.rights(self.mode, *self.owner), host.rights(mode, *owner)
        thing = "mode of " + self.path
        return [] if wanted == found else [finding(thing, thing, wanted, found)]

    def diff(self):
        """Return its entry of the module's diff, [] for none."""
        return [host.difference(self.path, self.former, self.text)] if self.differs else []

    def put(self):
        """Have it as declared; return whether it was otherwise. A mode is put right without writing, which would make the file's reader older than it."""
        wrong = bool(self.findings())
        if self.differs:
            self._become(self.text)
        elif wrong:
            os.chmod(self.path, self.mode)
            if self.owner is not None:
                os.chown(self.path, *self.owner)
        return self.differs or wrong

    def restore(self):
        """Have it as it was found."""
        if host.read(self.path) != self.former:
            self._become(self.former)

    def _become(self, text):
        if text is None:
            host.remove(self.path)
        else:
            os.makedirs(os.path.dirname(self.path), 0o755, exist_ok=True)
            host.write(self.path, text, self.mode, self.owner)
