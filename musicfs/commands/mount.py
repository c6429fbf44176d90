"""`musicfs mount`: serve the music at a folder until it is unmounted; in the foreground, or behind."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from musicfs import config
from musicfs.commands import options, page, start
from musicfs.orders import Orders


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "mount",
        "mount your music at a folder and serve it in the foreground",
        "musicfs mount -o cache_size=50G,sizes=exact ~/Music-AI",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file; its name becomes the profile"
    )
    parser.add_argument(
        "--daemon", action="store_true", help="serve behind, and end when the mount is ready or has failed"
    )
    options.add(parser)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty folder; -o nonempty: any folder")
    parser.set_defaults(run=run, source="")


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Mount and serve."""
    if args.config is not None:
        args.config = args.config.absolute()
    loaded = start.settings(args, environ, args.config)
    chosen = loaded.settings
    mountpoint = options.mountpoint(args.mountpoint)
    token = config.find_token(chosen, environ)
    start.claim(mountpoint, args)
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)

    def reread() -> tuple[config.Settings, config.Token]:
        again = start.settings(args, environ, args.config).settings
        if args.daemon:
            behind.log_to_syslog()
        return again, config.find_token(again, environ)

    def serve(ready: Callable[[], None]) -> int:
        return start.serve(Orders(chosen, paths, mountpoint, token, reread, ready=ready, source=args.source))

    if not args.daemon:
        return serve(lambda: None)
    from musicfs.commands import behind

    return behind.run(mountpoint, serve)
