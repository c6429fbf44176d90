"""What `mount` and `demo` have in common: settings and folders become a running mount.

How it thinks: everything that can be wrong with the user's side (settings, folder, token) is found before
the first expensive import, and ends in one sentence.
What must always be true: the mountpoint has been claimed, so a dead mount is gone and a live one was
refused, and nobody's files are hidden unasked.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from musicfs import allocator, config, host
from musicfs.commands import logs, options
from musicfs.errors import ConfigError
from musicfs.orders import Orders

log = logging.getLogger("musicfs.commands")


def settings(args: argparse.Namespace, environ: Mapping[str, str], file: Path | None) -> config.Loaded:
    """Load the settings and set the log up as they say."""
    loaded = config.load(options.flags(args), environ, file)
    logs.set_up(loaded.settings.log_level, loaded.settings.log_format, environ, sys.stderr)
    return loaded


def claim(mountpoint: Path, args: argparse.Namespace) -> None:
    """Make sure that a folder can be mounted on, and is empty unless `-o nonempty` says that it need not be.

    Raises:
        ConfigError: it cannot, or is not.
    """
    host.claim(mountpoint)
    if host.is_empty(mountpoint):
        return
    if not options.covers(args.options):
        raise ConfigError(
            f"{mountpoint} is not empty, and what lies in it would be hidden while music is mounted there; "
            "take an empty folder, or say -o nonempty"
        )
    log.warning("what lies in %s is hidden until it is unmounted", mountpoint)


def serve(orders: Orders) -> int:
    """Mount and serve until unmounted; the exit code."""
    # Nothing that is loaded now is garbage: to look through it again and again takes a tenth of the start.
    gc.disable()
    allocator.advise()
    from musicfs.state import State
    from musicfs.store import Store

    settings, paths = orders.settings, orders.paths
    with (
        # It holds the profile's lock: until then the state may be another's.
        Store(paths.cache, settings.cache_size, settings.keep_free, clock=time.time) as store,
        closing(State(paths.state)) as state,
    ):
        state.begin()  # The house takes as long to load as 10,000 songs to read.
        from musicfs import mount

        return mount.run(orders, store, state)
