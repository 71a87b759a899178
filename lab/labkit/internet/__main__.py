"""python -m labkit.internet: the servers of the simulated internet (serve, ctl, count) and the load tools (mail, dnsload, compare)."""

import argparse
import asyncio
import json
import os
import pathlib
import sys

from . import compare, dnsload, mail, servers, sink


def folder_of(options):
    """The folder of the instance: --instance-dir, or by the instance's name."""
    return pathlib.Path(options.instance_dir or f"/run/sokuhai-lab/{options.instance}")


def bind_map(path):
    """{address: (host, port)} from a JSON file {address: "host:port"}, or None for no file."""
    if path is None:
        return None
    return {
        a: (v.rpartition(":")[0], int(v.rpartition(":")[2]))
        for a, v in json.loads(pathlib.Path(path).read_text()).items()
    }


def pairs(items):
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item}: name=value is wanted")
        found[key] = value
    return found


def do_serve(options):
    return servers.serve(folder_of(options), options.bind_map)


def do_part(options):
    asyncio.run(servers.run_part(options.part, folder_of(options), bind_map(options.bind_map), options.ready))
    return 0


def do_ctl(options):
    folder = folder_of(options)

    def ask(part, message):
        return servers.request(folder, part, message)

    if options.what == "set":
        answer = ask("dns", {"op": "set", "zone": options.subject, "values": pairs(options.values)})
    elif options.what == "sink":
        answer = ask("sink", {"op": "sink", "domain": options.subject, "values": pairs(options.values)})
    elif options.what == "resolver":
        answer = ask("dns", {"op": "resolver", "values": pairs(filter(None, [options.subject, *options.values]))})
    elif options.what == "forget":
        answer = ask("dns", {"op": "forget"})
    else:
        answer = {**ask("dns", {"op": options.what}), "sink": ask("sink", {"op": options.what})}
    print(json.dumps(answer, indent=1))
    return 0


def do_count(options):
    found = sink.count(folder_of(options) / "sink.jsonl", options.token)
    seen = found.pop("seen")
    if options.recipients_file:
        wanted = set(pathlib.Path(options.recipients_file).read_text().split())
        found["missing"] = sorted(wanted - seen)
    print(json.dumps(found, indent=1))
    return 1 if found["duplicates"] or found.get("missing") else 0


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
        new.add_argument("--instance-dir", help="its folder (default: /run/sokuhai-lab/INSTANCE)")
        return new

    new = command("serve", do_serve, "run the servers until SIGTERM")
    new.add_argument("--bind-map", help='JSON {address: "host:port"}: serve these addresses only, and there')
    new = command("part", do_part, "run one part of the servers (started by serve)")
    new.add_argument("part", choices=("dns", "sink"))
    new.add_argument("--bind-map")
    new.add_argument("--ready", type=int, required=True, help="descriptor to write to when the sockets are open")
    new = command(
        "ctl",
        do_ctl,
        "change how running servers behave: set ZONE delay=MS loss=SHARE answer=normal|servfail|refused; "
        "resolver rate=N burst=N over=drop|servfail; sink DOMAIN reply=accept|defer|reject slow=SECONDS; forget; reset; show",
    )
    new.add_argument("what", choices=("set", "resolver", "sink", "forget", "reset", "show"))
    new.add_argument("subject", nargs="?", help="zone or recipient domain, or a shell pattern of them")
    new.add_argument("values", nargs="*", help="name=value")
    new = command("count", do_count, "what the sinks took of one message: recipients, copies, duplicates")
    new.add_argument("--token", required=True)
    new.add_argument("--recipients-file", help="addresses, one a line, to name the missing ones")
    for module in (dnsload, mail, compare):
        module.arguments(command(module.__name__.rpartition(".")[2], module.main, module.__doc__.splitlines()[0]))
    options = parser.parse_args(arguments)
    try:
        return options.function(options)
    except BrokenPipeError:
        return 1
    except (ValueError, OSError) as error:
        print(f"labkit.internet: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
