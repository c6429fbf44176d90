"""`musicfs demo`: mount the embedded service, with no account, no network and nothing left behind.

How it thinks: the demo is a real mount whose cache and state are thrown away at its end; only the
register of mounts is the user's own, so that `status` and `why` work on it as on any other.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from musicfs import config, host
from musicfs.commands import options, page, start
from musicfs.errors import ConfigError
from musicfs.orders import Orders

FOLDER = "musicfs-demo"


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "demo",
        "mount made-up music; no account and no network needed",
        "musicfs demo ~/Songs    # then, in another terminal: ls ~/Songs/library",
    )
    options.add(parser)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help=f"default: ~/{FOLDER}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Mount the embedded service and serve it."""
    loaded = start.settings(args, environ, None)
    wanted = args.mountpoint or str(Path.home() / FOLDER)
    mountpoint = options.mountpoint(wanted)
    with _folder(mountpoint, make=args.mountpoint is None):
        start.claim(mountpoint, args)
        with tempfile.TemporaryDirectory(prefix="musicfs-demo-", ignore_cleanup_errors=True) as scratch:
            paths = _paths(Path(scratch), environ)
            # The embedded service takes any token; the user's own is never looked for.
            token = config.Token("demo")

            def reread() -> tuple[config.Settings, config.Token]:
                return start.settings(args, environ, None).settings, token

            return start.serve(Orders(loaded.settings, paths, mountpoint, token, reread, demo=True))


def _paths(scratch: Path, environ: Mapping[str, str]) -> config.Paths:
    """Put all but the register of mounts into a throw-away folder."""
    return config.Paths(
        profile="demo",
        cache=scratch / "cache",
        state=scratch / "state",
        runtime=config.runtime_dirs(environ)[0],
        socket=scratch / "control.sock",
    )


@contextlib.contextmanager
def _folder(mountpoint: Path, *, make: bool) -> Iterator[None]:
    """Make the default folder if it is not there, and take it away again if it was made here."""
    made = False
    if make and host.find_mount(mountpoint) is None:
        try:
            mountpoint.mkdir(parents=True)
            made = True
        except FileExistsError:
            pass
        except OSError as error:
            raise ConfigError(f"cannot make the folder {mountpoint}: {error.strerror}") from error
    try:
        yield
    finally:
        if made:
            # Not when it is still mounted or somebody put something into it.
            with contextlib.suppress(OSError):
                mountpoint.rmdir()
