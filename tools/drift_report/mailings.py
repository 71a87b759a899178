# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What a host answered for its last large messages, in the form of docs/drift.schema.json. Pure."""

from .samples import counts, is_number, of_kind, whole

MOST = 20  # messages, and providers or domains of each, that a report holds
SHARES = ("50", "95", "99", "100")
POINTS = 21  # of the curve: the first recipient, 5, 10 … 100 per cent of them
NUMBERS = ("recipients", "delivered", "at_the_first_attempt", "deferred", "bounced", "dead")
SPENT = ("before", "queue", "connection", "sending")


def time_of(value):
    """A time, or None where it is none: seconds, not negative."""
    return value if is_number(value) and value >= 0 else None


def summary(given):
    """What became of some recipients."""
    seconds = of_kind(dict, given.get("seconds"))
    return {
        **{name: max(0, whole(given.get(name), 0)) for name in NUMBERS},
        "seconds": {share: time_of(seconds.get(share)) for share in SHARES},
    }


def mailing(given):
    curve = [time_of(value) for value in of_kind(list, given.get("curve"))]
    spent = of_kind(dict, given.get("spent"))
    groups = [
        (str(name), summary(group))
        for name, group in of_kind(dict, given.get("groups")).items()
        if isinstance(group, dict)
    ]
    at = time_of(given.get("at"))
    return {
        "name": str(given.get("name")),
        # to the end of the year 2099
        "at": at if at is not None and at < 4102444800 else None,
        "senders": [str(one) for one in of_kind(list, given.get("senders"))][:MOST],
        **{name: max(0, whole(given.get(name), 0)) for name in ("messages", "size", "in_queue", "unattempted")},
        **summary(given),
        "curve": curve if len(curve) == POINTS else [],
        "spent": {part: time_of(spent.get(part)) for part in SPENT} if spent else None,
        "deferred_by": counts(given.get("deferred_by")),
        "bounced_by": counts(given.get("bounced_by")),
        "providers": [str(one) for one in of_kind(list, given.get("providers"))],
        "groups": dict(groups[:MOST]),
        "other_groups": max(0, whole(given.get("other_groups"), 0)) + max(0, len(groups) - MOST),
    }


def mailings(value):
    """What module monitor_mailings answered."""
    given = [one for one in of_kind(list, value.get("mailings")) if isinstance(one, dict)]
    return {
        "mailings": [mailing(one) for one in given[:MOST]],
        "left_out": [str(path) for path in of_kind(list, value.get("left_out"))],
    }
