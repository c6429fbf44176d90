"""`musicfs login`: take the token, try it, and keep it where only its owner can read it.

How it thinks: it is asked for without echo, or read from a pipe (`pass show useapi | musicfs login`), tried
against the API's own origin, and only then written, 0600, to `token_file` or the config folder. A token
that is good while the subscription has lapsed is kept, with a word about it.
What must always be true: the token is never printed, never an argument; one that was refused or could not
be tried is not kept.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from musicfs import config
from musicfs.commands import exits, logs, options, page, sentence
from musicfs.errors import Lapsed, Refused, UpstreamError, Withdrawn

_SHAPE = re.compile(r"user:\d+-\S+")


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "login",
        "ask for the useapi.net token, try it, and keep it",
        "pass show useapi | musicfs login",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the token of this file's profile")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask, try, keep."""
    from musicfs.commands.doctor import services
    from musicfs.wire.decided import doors_as

    logs.set_up("critical", "text", environ, sys.stderr)
    chosen = config.load({}, environ, args.config).settings
    path = config.token_path(chosen, environ)
    text = _asked()
    if not text.strip():
        raise config.TokenError("no token was given, so none is kept")
    token = config.Token(text, "what was typed")
    if not _SHAPE.fullmatch(token.reveal()):
        print("musicfs: tokens of useapi.net look like user:1234-…; this one does not", file=sys.stderr)
    host = urlsplit(chosen.api_url).hostname or ""
    try:
        active = services.try_token(doors_as(chosen, token)).active is not False
    except Lapsed:
        active = False
    except Withdrawn:
        active = True  # An API of somebody's own, without an account page; `doctor` tries its listings.
    except UpstreamError as failed:
        remedy = "copy it again from useapi.net" if isinstance(failed, Refused) else failed.remedy
        said = sentence.joined(host, f"{failed}, so the token was not kept", remedy)
        print(f"musicfs: {said}", file=sys.stderr)
        return exits.code_for(failed)
    config.store_token(token, path)
    print(f"The token is kept in {path}.")
    if not active:
        print("musicfs: the subscription has lapsed; renew it at useapi.net", file=sys.stderr)
    _warn(environ)
    return exits.DONE


def _asked() -> str:
    if sys.stdin.isatty():
        try:
            return getpass.getpass("useapi.net token (it is not shown): ")
        except EOFError:
            return ""
    return sys.stdin.readline()


def _warn(environ: Mapping[str, str]) -> None:
    """Say what still stands before the new token: another place that wins, a mount that has the old one."""
    from musicfs import control

    credential = Path(environ.get("CREDENTIALS_DIRECTORY") or os.devnull, "token")
    if os.path.exists(credential):
        print(f"musicfs: {credential} is asked first and has another", file=sys.stderr)
    for daemon in control.daemons(config.runtime_dirs(environ)):
        print(
            f"musicfs: the mount on {daemon.mountpoint} takes the token when it is started again",
            file=sys.stderr,
        )
