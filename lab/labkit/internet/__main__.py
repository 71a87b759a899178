"""python -m labkit.internet: the servers of the simulated internet (serve, ctl) and the load tools (mail, dnsload, compare, cold, ceiling)."""

import argparse
import asyncio
import json
import os
import pathlib
import sys

from . import ceiling, cold, compare, dnsload, mail, servers


def pairs(items):
    wrong = [item for item in items if "=" not in item]
    if wrong:
        raise ValueError(f"{wrong[0]}: not name=value")
    return dict(item.split("=", 1) for item in items)


def do_serve(options):
    return servers.serve(options.folder, options.bind_map)


def do_part(options):
    asyncio.run(servers.run_part(options.part, options.folder, options.bind_map, options.ready))
    return 0


def do_ctl(options):
    def ask(part, **message):
        return servers.request(options.folder, part, message)

    what = options.what
    if what == "set":
        answer = ask("dns", op=what, zone=options.subject, values=pairs(options.values))
    elif what == "record":
        answer = ask("dns", op=what, zone=options.subject, record=" ".join(options.values))
    elif what == "sink":
        answer = ask("sink", op=what, domain=options.subject, values=pairs(options.values))
    elif what == "resolver":
        answer = ask("dns", op=what, values=pairs([*filter(None, [options.subject]), *options.values]))
    elif what == "publish":
        # [{domain, selector, name, value, …}] as role dkim returns them, or [{name, type, values}]
        records = json.loads(pathlib.Path(options.subject).read_text())
        records = [{"values": [one["value"]], **one} if "value" in one else one for one in records]
        answer = ask("dns", op=what, records=[{**one, "type": "TXT"} if "value" in one else one for one in records])
    elif what == "forget":
        answer = ask("dns", op=what)
    else:
        answer = {**ask("dns", op=what), "sink": ask("sink", op=what)}
    print(json.dumps(answer, indent=1))
    return 0


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m labkit.internet", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, text):
        new = commands.add_parser(name, help=text, description=text)
        new.set_defaults(function=function)
        new.add_argument(
            "--instance",
            default=os.environ.get("SOKUHAI_LAB") or "lab",
            help="name of the lab's instance (default: SOKUHAI_LAB, or lab)",
        )
        new.add_argument("--instance-dir", help="its directory (default: /run/sokuhai-lab/INSTANCE)")
        return new

    new = command("serve", do_serve, "run the servers until SIGTERM")
    new.add_argument("--bind-map", help="JSON {address: [host, port]}: serve these addresses only, and there")
    new = command("part", do_part, "run one part of the servers (started by serve)")
    new.add_argument("part", choices=("dns", "sink"))
    new.add_argument("--bind-map")
    new.add_argument("--ready", type=int, required=True, help="descriptor to write to when the sockets are open")
    new = command(
        "ctl",
        do_ctl,
        "change how running servers behave: set ZONE delay=MS loss=SHARE answer=normal|servfail|refused; "
        "record ZONE OWNER TYPE [RDATA] in the place of what that owner has of that type; publish FILE (JSON of such records); "
        "resolver rate=N burst=N over=drop|servfail delay=MS; sink DOMAIN reply=accept|defer|reject slow=SECONDS demand=authentic|nothing answer=echo|nothing connections=N recipients=N messages=N rate=N; forget; reset; show",
    )
    new.add_argument("what", choices=("set", "record", "publish", "resolver", "sink", "forget", "reset", "show"))
    new.add_argument("subject", nargs="?", help="zone or recipient domain, or a shell pattern of them")
    new.add_argument("values", nargs="*", help="name=value; of record, the record")
    for module in (dnsload, mail, compare, cold, ceiling):
        module.arguments(command(module.__name__.rpartition(".")[2], module.main, module.__doc__.splitlines()[0]))
    options = parser.parse_args(arguments)
    options.folder = pathlib.Path(options.instance_dir or f"/run/sokuhai-lab/{options.instance}")
    try:
        return options.function(options)
    except BrokenPipeError:
        return 1
    except (ValueError, OSError) as error:
        print(f"labkit.internet: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
