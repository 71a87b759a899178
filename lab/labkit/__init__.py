"""The lab: a practice host that answers like FreeBSD, and a small internet around it, in namespaces of this machine."""


class LabError(Exception):
    """Something the person at the keyboard can mend; the message says what."""
