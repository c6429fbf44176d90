"""`musicfs mount`: serve the music at a folder, in the foreground, until it is unmounted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from musicfs import config, host
from musicfs.commands import options, page, start


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
    options.add(parser)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an existing folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Mount and serve."""
    loaded = start.settings(args, environ, args.config)
    chosen = loaded.settings
    mountpoint = options.mountpoint(args.mountpoint)
    token = config.find_token(chosen, environ)
    host.claim(mountpoint)
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)

    def reread() -> tuple[config.Settings, config.Token]:
        again = start.settings(args, environ, args.config).settings
        return again, config.find_token(again, environ)

    return start.serve(loaded, paths, mountpoint, token, reread)
