# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""How many recipients an hour each SASL user may send to: postfwd's rules from the declared figures, and what cannot be right in them."""

import re

# The least: below it, 80 % would be nothing that can be counted, and a user could not write to a list of friends.
LEAST, MOST = 10, 1000000
#: Per cent of the limit from which on an alarm is raised (role monitor).
NEAR = 80
HOUR = 3600  # s
# What Net::Server may bind as nobody, and Postfix's own ports.
PORTS = (1024, 65535)


def figure(user, default):
    """Return how many recipients an hour *user* ({name, recipients_per_hour}) may send to, 0 for no limit. default: of those without a figure."""
    own = user.get("recipients_per_hour")
    return int(default if own is None else own)


def limited(users, default):
    """Return whether anybody has a limit."""
    return int(default) > 0 or any(figure(user, default) for user in users)


def free(users, default):
    """Return the names of those who have no limit, whom Postfix does not ask postfwd about."""
    return [str(user["name"]) for user in users if not figure(user, default)]


def near(limit):
    """Return the recipients after which the next is at NEAR per cent of *limit* or above."""
    return -(-limit * NEAR // 100) - 1


def rules(users, default):
    """Return postfwd's rules as a list of lines; the name of each says over or near, and which limit: role monitor reads it in the log.

    rate() of postfwd counts requests, one for each RCPT, and goes on to the next rule as long as they are not more than its number. What it answers then is
    the last. A user with a figure of his own is not counted by the last two rules, for everybody.
    """
    made = []
    own = [(str(user["name"]), figure(user, default)) for user in users if user.get("recipients_per_hour")]
    for number, (name, limit) in enumerate(own, 1):
        made += [f"{line[0]}_{number}; sasl_username=={name}; {line[1]}" for line in _pair(limit)]
        made.append(f"id=own_{number}; sasl_username=={name}; action=jump(end)")
    if int(default):
        made += [f"{line[0]}; sasl_username=~.+; {line[1]}" for line in _pair(int(default))]
    # never true: what has come here is answered DUNNO, without a line in the log
    return [*made, "id=end; request==none; action=DUNNO"]


def _pair(limit):
    """(name, action) of the two rules of one *limit*."""
    reply = f"450 4.7.1 More than {limit} recipients within an hour, try again later"
    return [
        (f"id=over_{limit}", f"action=rate(sasl_username/{limit}/{HOUR}/{reply})"),
        (f"id=near_{limit}", f"action=rate(sasl_username/{near(limit)}/{HOUR}/DUNNO)"),
    ]


def problems(declared):
    """Return what is wrong with the *declared* values, {variable: value}, one message each."""
    default, users = declared["sasl_recipients_per_hour"], declared["sasl_users"]
    wrong = [_problem("sasl_recipients_per_hour", default)]
    wrong += [
        _problem(f"sasl_users[{number}].recipients_per_hour", user["recipients_per_hour"])
        for number, user in enumerate(users)
        if user.get("recipients_per_hour") is not None
    ]
    port, address = declared["sasl_recipients_port"], declared["sasl_recipients_address"]
    if not PORTS[0] <= port <= PORTS[1]:
        wrong.append(f"sasl_recipients_port: {port} is not within {PORTS[0]} to {PORTS[1]}; 10029 unless declared")
    if declared["sasl_inet_protocols"] == "ipv6" and not any(wrong) and limited(users, default):
        wrong.append(
            "sasl_recipients_per_hour: postfwd listens on IPv4 alone, which is out of reach of a Postfix whose postfix_inet_protocols is ipv6; set 0, and no "
            "recipients_per_hour of a user, or postfix_inet_protocols: all"
        )
    elif not re.fullmatch(r"127(\.\d{1,3}){3}", address) and limited(users, default):
        wrong.append(
            f"sasl_recipients_address: {address} is not a loopback address of IPv4, the only ones that postfwd should listen on; set 127.0.0.1"
        )
    return [message for message in wrong if message]


def _problem(name, value):
    if value == 0 or LEAST <= value <= MOST:
        return None
    return f"{name}: {value} is not within {LEAST} to {MOST} recipients an hour; 0 is no limit"


class FilterModule:
    def filters(self):
        return {
            "recipients_limited": limited,
            "recipients_free": free,
            "recipients_problems": problems,
            "recipients_rules": rules,
        }
