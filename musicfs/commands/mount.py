"""`musicfs mount`: serve the music at a folder, in the foreground, until it is unmounted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from musicfs import config, host
from musicfs.commands import options, start


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("mount", help="mount your music at a folder and serve it in the foreground")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file; its name becomes the profile"
    )
    options.add(parser)
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Mount and serve."""
    loaded = start.settings(args, environ, args.config)
    chosen = loaded.settings
    mountpoint = options.mountpoint(args.mountpoint)
    token = config.find_token(chosen, environ)
    host.claim(mountpoint)
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)
    return start.serve(loaded, paths, mountpoint, token, demo=False)
