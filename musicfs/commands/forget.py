"""`musicfs forget`: let go of what the services no longer list.

How it thinks: songs leave by themselves, except where too many would at once, or where their account has
vanished: that looks like an ill service, and only a person can say that it is meant. An account is named by
its e-mail address or user id, a song by its path; what a service still lists stays.
What must always be true: an account's name goes to the daemon over its socket and is never printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from musicfs import host
from musicfs.commands import exits, options, page, sentence
from musicfs.errors import ConfigError


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "forget",
        "let go of songs that the services no longer list",
        "musicfs forget you@example.com",
    )
    parser.add_argument("what", metavar="ACCOUNT|PATH", help="an e-mail address, a user id, or a song's path")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="ACCOUNT: default: the only one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask the daemon to forget, and say how many songs it let go of."""
    from musicfs import control

    if is_account(args.what):
        mountpoint = options.mountpoint(args.mountpoint) if args.mountpoint else None
        reply = control.ask(sentence.daemon_of(environ, mountpoint).socket, "forget", account=args.what)
    else:
        path = host.locate(Path(args.what))
        mount = host.holding(path)
        if mount is None or not mount.is_ours:
            raise ConfigError(f"{args.what} is neither an account nor in a mounted musicfs")
        inside = str(path.relative_to(mount.mountpoint))
        try:
            reply = control.ask(sentence.daemon_of(environ, mount.mountpoint).socket, "forget", path=inside)
        except control.Declined as said:
            raise control.Declined(f"{args.what}: {said}") from said
    count = reply["songs"]
    print(f"{count} {'song' if count == 1 else 'songs'} let go of")
    return exits.DONE


def is_account(text: str) -> bool:
    """Tell an account (an e-mail address or a user id) from a path."""
    return "/" not in text and ("@" in text or text.isdigit())
