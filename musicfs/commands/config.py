"""`musicfs config show`: each setting, its value, and where it came from.

How it thinks: the settings are loaded as a mount with the same `--config` and `-o` would load them. Values
are written as a config file takes them, so a line can be copied into one; a folder that nobody set is the one
that a mount would use.
What must always be true: no secret is shown: of `token_command` only the program, because its arguments may
be one, and of the token only the place it is in.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from musicfs import config
from musicfs.commands import columns, exits, options, page
from musicfs.commands.columns import Table
from musicfs.errors import ConfigError

_SIZES = ("cache_size", "keep_free", "media_budget")
_NOTHING: Mapping[str, Path] = {}
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(verbs, "config", "show the settings", "musicfs config show --config work.toml")
    whats = parser.add_subparsers(dest="what", metavar="show", required=True)
    shown = page.verb(
        whats, "show", "each setting, its value, where it came from", "musicfs config show -o cache_size=20G"
    )
    shown.add_argument("--config", type=Path, metavar="FILE", help="a TOML file, as mount takes it")
    shown.add_argument("--json", action="store_true", help="the settings as one JSON object")
    options.add(shown)
    shown.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Load the settings and print them."""
    loaded = config.load(options.flags(args), environ, args.config)
    token = _token(loaded.settings, environ)
    shown = list(rows(loaded, _used(loaded, environ)))
    if args.json:
        told = {key: {"value": value, "origin": origin} for key, value, origin in shown}
        print(json.dumps({"profile": loaded.profile, "settings": told, "token": token}, indent=2))
        return exits.DONE
    lines = [*shown, ("token", "(hidden)", token)]
    columns.draw([Table("", ("setting", "value", "from"), lines)], sys.stdout)
    return exits.DONE


def rows(loaded: config.Loaded, used: Mapping[str, Path] = _NOTHING) -> Iterator[tuple[str, str, str]]:
    """Give key, value and origin of every setting, as a person reads them; `used` is what an unset one is."""
    for key, value in msgspec.structs.asdict(loaded.settings).items():
        yield key, _text(key, used.get(key, value)), loaded.origins.get(key, "default")


def _used(loaded: config.Loaded, environ: Mapping[str, str]) -> dict[str, Path]:
    """Say which folders and which token file a mount would use."""
    chosen = loaded.settings
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)
    token = config.token_path(chosen, environ)
    return {"cache_dir": paths.cache, "state_dir": paths.state, "token_file": token}


def _text(key: str, value: object) -> str:
    """Write a value as a config file takes it."""
    if value is None:
        return "-"
    if key in _SIZES and isinstance(value, int):
        return _size(value)
    if key == "umask":
        return f'"{value:03o}"'
    if isinstance(value, bool):
        return str(value).lower()
    if key == "token_command" and isinstance(value, tuple):
        return f"{value[0]} …" if len(value) > 1 else str(value[0])
    if isinstance(value, tuple):
        return f"{len(value)} words" if value == config.Settings().scanners else ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(count: int) -> str:
    """Write a number of bytes with the largest unit that leaves no rest."""
    unit = next((unit for unit in "GMK" if count and count % _UNITS[unit] == 0), "")
    return f"{count // _UNITS[unit]}{unit}" if unit else str(count)


def _token(chosen: config.Settings, environ: Mapping[str, str]) -> str:
    """Say where the token is, or why it cannot be had."""
    try:
        return config.find_token(chosen, environ).origin
    except config.NoToken:
        return "there is none; run: musicfs login"
    except ConfigError as failure:
        return str(failure)
