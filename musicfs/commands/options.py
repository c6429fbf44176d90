"""The grammar of `-o`, as mount(8), fstab and people write it.

How it thinks: `a=b,c,"d=e,f"` becomes a mapping of settings: commas separate, quotes and `\\,` protect,
`a-b` is `a_b`, a bare word is `true`. Which words are settings is not decided here; `config.load` refuses
the others.

What must always be true: words that belong to mount(8) itself are swallowed, because fstab lines pass them
on; the later of two equal keys wins. It refuses a token: what stands in `-o` is world-readable in `ps` and
fstab.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from musicfs import host
from musicfs.errors import ConfigError

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` gives, and every verb adds itself to; argparse has no public name for it."""

MOUNT_WORDS = frozenset(
    (
        *("_netdev", "nofail", "auto", "noauto", "user", "users", "owner", "group", "defaults"),
        *("ro", "rw", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async"),
        *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime"),
        *("lazytime", "nolazytime", "dirsync", "silent", "loud", "symfollow", "nosymfollow", "comment"),
        *("mand", "nomand", "iversion", "noiversion", "uhelper", "default_permissions", "nonempty"),
    )
)
"""What mount(8) and mount.fuse3 leave in the options of a helper; the mount is `ro,nosuid,nodev` anyway."""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options that decide settings."""
    parser.add_argument(
        "-o",
        dest="options",
        metavar="OPT,…",
        action="append",
        default=[],
        help="settings, as mount(8) takes them",
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--log-format", metavar="FORMAT", help="text or json")


def flags(args: argparse.Namespace) -> dict[str, str]:
    """Collect what the command line says about settings; an option of its own goes before `-o`."""
    own = {"log_level": args.log_level, "log_format": args.log_format}
    return parse(args.options) | {key: value for key, value in own.items() if value is not None}


def parse(texts: Iterable[str]) -> dict[str, str]:
    """Read the texts of all `-o` into key → value; ConfigError on an open quote, an empty key or a token."""
    found: dict[str, str] = {}
    for word in (word for text in texts for word in _split(text)):
        name, equals, value = word.partition("=")
        key = name.strip().replace("-", "_")
        if key == "token":
            raise ConfigError("a token in -o would be readable by everyone; put it into a file (token_file)")
        if not word or name in MOUNT_WORDS or name.startswith(("x-", "X-")):
            continue
        if not key:
            raise ConfigError("-o holds a value without a name")
        found[key] = value if equals else "true"
    return found


def covers(texts: Iterable[str]) -> bool:
    """Tell whether an `-o` has the word `nonempty`: what lies in the folder may be hidden."""
    return any(word == "nonempty" for text in texts for word in _split(text))


def _split(text: str) -> Iterator[str]:
    """Cut at the commas that neither quotes nor a backslash protect."""
    word, quote, letters = "", "", iter(text)
    for letter in letters:
        if letter == "\\":
            after = next(letters, "")
            # Only what means something here can be escaped, so that other backslashes survive.
            word += after if after in (",", "\\", '"', "'") else letter + after
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif letter == "," and not quote:
            yield word
            word = ""
        else:
            word += letter
    if quote:
        raise ConfigError(f"-o holds a quote {quote} that is not closed")
    yield word


def mountpoint(text: str) -> Path:
    """Make a mountpoint of an argument: absolute, its links followed up to the mount itself."""
    return host.locate(Path(text))
