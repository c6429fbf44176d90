"""The front door: arguments in, an exit code out.

How it thinks: the table below names every verb; each is a file in `commands/`, and only the one that was
asked for is loaded. A failure of our own family is one sentence on stderr and the code that belongs to it;
anything else is a mistake of ours and is logged whole, scrubbed like every line.
What must always be true: nothing is printed to stdout but a verb's result.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from musicfs import __version__
from musicfs.commands import exits, options, page, sentence
from musicfs.errors import MusicfsError

VERBS = (
    *("demo", "login", "mount", "umount", "status", "why"),
    *("warm", "cache", "forget", "config", "doctor"),
)

HELPER = "mount.musicfs"
"""The name by which mount(8) knows this program."""

log = logging.getLogger("musicfs")


class Verb(Protocol):
    """A file in `commands/`."""

    def add(self, verbs: options.Verbs) -> None:
        """Describe the verb."""
        ...


def verbs_for(argv: Sequence[str]) -> list[Verb]:
    """Load the verb that a command line begins with; every verb if it begins with none."""
    wanted = argv[:1] if argv and argv[0] in VERBS else VERBS
    return [importlib.import_module(f"musicfs.commands.{name}") for name in wanted]


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line, as far as these arguments need it."""
    top = argparse.ArgumentParser(
        prog="musicfs",
        description="Your Flow Music and TemPolor songs as a read-only folder.",
        epilog="example:\n  musicfs demo      mounts made-up songs at ~/musicfs-demo, with no account",
        formatter_class=page.Page,
    )
    top.add_argument("--version", action="version", version=f"musicfs {__version__}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in verbs_for(argv):
        verb.add(verbs)
    return top


def from_mount(program: str, argv: Sequence[str]) -> Sequence[str] | None:
    """Give the arguments if it is mount(8) that calls, by the program's name or the shape of the line."""
    if os.path.basename(program) == HELPER:
        return argv
    if argv and argv[0] == HELPER:
        return argv[1:]
    if len(argv) > 2 and not argv[0].startswith("-") and argv[0] not in VERBS and "-o" in argv[2:]:
        return argv
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and say how it ended."""
    if not os.environ.get("HOME"):
        # mount(8) passes an empty HOME on; without one the password database says where home is.
        os.environ.pop("HOME", None)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path may hold bytes that are not text.
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else argv
    if (line := from_mount(sys.argv[0], argv)) is not None:
        from musicfs.commands import fstab

        return exits.for_mount(_run(lambda: fstab.run(line, os.environ)))
    if argv and not argv[0].startswith("-") and argv[0] not in VERBS:
        near = difflib.get_close_matches(argv[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else "musicfs --help lists them"
        print(f"musicfs: there is no command {argv[0]!r}; {hint}", file=sys.stderr)
        return exits.USAGE
    args = parser(argv).parse_args(argv)
    return _run(lambda: args.run(args, os.environ))


def _run(verb: Callable[[], int]) -> int:
    """Do it, and give the exit code, whatever happens."""
    try:
        code = verb()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # `musicfs status | head` is no failure; with a new stdout the last flush does not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    except Exception as failure:
        return _explain(failure)


def _explain(failure: Exception) -> int:
    """Say what went wrong on stderr, as a sentence if it is one of ours; the exit code."""
    while isinstance(failure, ExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]  # a nursery wraps even a single failure
    if not isinstance(failure, MusicfsError):
        log.critical("stopped by a mistake in musicfs itself", exc_info=failure)
        return exits.UNEXPECTED
    print(f"musicfs: {sentence.of(failure)}", file=sys.stderr)
    return exits.code_for(failure)


if __name__ == "__main__":
    sys.exit(main())
