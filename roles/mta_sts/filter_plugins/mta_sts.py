# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""What is declared wrongly of the MTA-STS daemon, beyond the types."""

import ipaddress

#: {variable: least and greatest value}
RANGES = {"mta_sts_port": (1024, 65535), "mta_sts_timeout": (1, 30), "mta_sts_cache": (1, 1000000)}


def mta_sts_problems(declared):
    """Return what is wrong with the declared values, a list of sentences that begin with the variable's name."""
    problems = [
        f"{name} = {declared[name]}: {least} to {most} is possible"
        for name, (least, most) in RANGES.items()
        if not least <= declared[name] <= most
    ]
    try:
        loopback = ipaddress.ip_address(declared["mta_sts_address"]).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        # whoever answers Postfix decides whether a certificate is looked at
        problems.append(
            f"mta_sts_address = {declared['mta_sts_address']!r}: a loopback address is needed, like 127.0.0.1"
        )
    return problems


class FilterModule:
    def filters(self):
        return {"mta_sts_problems": mta_sts_problems}
