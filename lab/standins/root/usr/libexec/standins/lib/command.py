"""What the commands do alike: take their options as getopt(3) does, refuse the others, and end as err(3) does."""

import getopt
import os
import sys

NAME = os.path.basename(sys.argv[0])


def warn(text):
    """A message on standard error, after what was printed before it."""
    sys.stdout.flush()
    sys.stderr.write(f"{NAME}: {text}\n")


def die(text, status=1):
    warn(text)
    sys.exit(status)


def usage(text, status=1):
    sys.stderr.write(text)
    sys.exit(status)


def pairs(letters, text="", args=None):
    """([(letter, value, "" where it has none)], the words after the options); text: the usage. An option that is not among letters ends the command."""
    try:
        found, words = getopt.getopt(sys.argv[1:] if args is None else args, letters)
    except getopt.GetoptError as problem:
        if f"{problem.opt}:" in letters:
            warn(f"option requires an argument -- {problem.opt}")
        else:
            warn(f"illegal option, or one that this stand-in does not know -- {problem.opt}")
        usage(text)
    return [(option[1:], value) for option, value in found], words


def options(letters, text="", args=None):
    """The same with a dictionary, for options of which none comes twice."""
    found, words = pairs(letters, text, args)
    return dict(found), words


def run(main):
    """End with main()'s status; quietly where nobody reads any longer what it prints."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    sys.exit(status)


def appear_as(title):
    """Start again under a title, which ps(1), and so rc.subr, is to see instead of the interpreter."""
    with open("/proc/self/cmdline") as f:
        seen = f.read()
    if not seen.startswith(title):
        os.execv(sys.executable, [title, "-IS", *sys.argv])


def detach():
    """Leave the terminal as daemon(3) does: the caller goes on at once."""
    if os.fork():
        os._exit(0)
    os.setsid()


def silence():
    """Nothing to read, and nobody to write to."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
