"""What mount(8) calls: `mount.musicfs SOURCE MOUNTPOINT [-sfnvrw] [-t TYPE] [-o OPT,…]`.

How it thinks: mount(8) runs `/sbin/mount.musicfs` for the type `musicfs`; for `fuse.musicfs` mount.fuse3 runs
`musicfs SOURCE MOUNTPOINT -o …`, with no verb, which is told by its `-o`. Both speak mount(8)'s dialect, in
which `-f` is a rehearsal and `-s` passes over options that are not known. SOURCE is a config file, or the
word `musicfs` for the usual ones. The mount is served behind, as by `--daemon`, and the codes are mount(8)'s.

What must always be true: the table of mounts shows SOURCE as it was given, by which a second `mount -a` knows
that it has nothing to do; root mounts for the machine, with its folders and not root's own, whichever way it
came (mount.fuse3 says HOME=/root, mount.musicfs nothing).
It refuses what it could only pretend: another namespace, and a mountpoint that mount.fuse3 has opened.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import NoReturn

from musicfs import config
from musicfs.commands import exits, mount, options, start
from musicfs.errors import ConfigError

USUAL = ("musicfs", "none")
"""Sources that name no file."""


class _Parser(argparse.ArgumentParser):
    """argparse, with mount(8)'s code for a wrong use."""

    def error(self, message: str) -> NoReturn:
        self.exit(exits.MOUNT_USAGE, f"musicfs: {message}\n{self.format_usage()}")


def run(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Mount, or rehearse it."""
    args = _parser().parse_intermixed_args(list(argv))
    if os.geteuid() == 0:
        environ.pop("HOME", None)
    if args.namespace:
        raise ConfigError("musicfs mounts where it is started; for another namespace use nsenter")
    if args.mountpoint.startswith("/dev/fd/"):
        raise ConfigError("drop_privileges is not supported; use the unit musicfs.service, which drops them")
    args.config = _config(args.source)
    found = options.flags(args)
    if "setuid" in found:
        raise ConfigError("setuid= is understood by the type fuse.musicfs only")
    if args.sloppy:
        found = {key: value for key, value in found.items() if key in config.Settings.__struct_fields__}
        args.options = [",".join(f"{key}={_quoted(value)}" for key, value in found.items())]
    if args.fake:
        start.settings(args, environ, args.config)
        return exits.DONE
    # As mount(8) does with every type: at boot nobody is there who could choose another folder.
    args.options = [*args.options, "nonempty"]
    return mount.run(args, environ)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mount.musicfs", add_help=False)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPT,…")
    parser.add_argument("-s", dest="sloppy", action="store_true")
    parser.add_argument("-f", dest="fake", action="store_true")
    parser.add_argument("-N", dest="namespace", metavar="NAMESPACE")
    parser.add_argument("-t", dest="kind", metavar="TYPE")
    # No mtab is kept, the kernel says what there is to say, and nothing can be written either way.
    for letter in "nvrw":
        parser.add_argument(f"-{letter}", dest="nothing", action="store_true")
    parser.set_defaults(daemon=True, log_level=None, log_format=None)
    return parser


def _config(source: str) -> Path | None:
    if source in USUAL:
        return None
    if "/" in source or source.endswith(".toml"):
        return Path(source)
    raise ConfigError("what is mounted has to be a config file, or the word musicfs for the usual ones")


def _quoted(value: str) -> str:
    """Protect a value from being cut again."""
    return "".join(f"\\{letter}" if letter in ",\\\"'" else letter for letter in value)
