"""Limits of receivers, and how they answer what goes beyond: connections of one client, recipients and messages of a connection, messages a minute."""

import collections
import time

#: {limit: what a client hears that goes beyond}. Nothing: the connection is closed after the last message.
REPLIES = {
    "connections": b"421 4.7.0 Too many connections from your address\r\n",
    "recipients": b"554 5.5.0 Transaction failed\r\n",
    "messages": b"",
    "rate": b"421 4.7.28 Unusual rate of mail from your address\r\n",
}
MINUTE = 60


class Throttle:
    """What one rule counts, over all servers that it is for: connections by client, and what it refused, by limit."""

    def __init__(self, rule, now=time.monotonic):
        """rule: {limit: number, 0 for none}, which may change."""
        self.rule, self.now = rule, now
        self.open, self.most = collections.Counter(), 0
        self.refused = collections.Counter()
        self.minute = collections.deque()

    def _fits(self, limit, number):
        allowed = self.rule.get(limit, 0)
        if not allowed or number <= allowed:
            return True
        self.refused[limit] += 1
        return False

    def enter(self, peer):
        """Whether one connection more of *peer* is let in, which leave() ends then."""
        if not self._fits("connections", self.open[peer] + 1):
            return False
        self.open[peer] += 1
        self.most = max(self.most, self.open[peer])
        return True

    def leave(self, peer):
        self.open[peer] -= 1

    def recipient(self, number):
        """Whether a connection may have that many recipients, in all its messages."""
        return self._fits("recipients", number)

    def message(self):
        """Whether one message more fits into this minute."""
        now = self.now()
        while self.minute and self.minute[0] <= now - MINUTE:
            self.minute.popleft()
        if not self._fits("rate", len(self.minute) + 1):
            return False
        self.minute.append(now)
        return True

    def last(self, number):
        """Whether that message was the last one that a connection may have."""
        return 0 < self.rule.get("messages", 0) <= number

    def as_dict(self):
        return {"open": sum(self.open.values()), "most": self.most, "refused": dict(self.refused)}
