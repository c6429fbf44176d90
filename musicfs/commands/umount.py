"""`musicfs umount`: unmount within five seconds, whatever is open.

How it thinks: a plain unmount first; where that is refused because files are open, a lazy one, which takes
the folder away at once and lets readers finish. Then it waits a moment for the daemon to end, so that a
`mount` right after it finds the profile free. Everything is asked of mountinfo and the register, never of
the mount.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from musicfs import config, host
from musicfs.commands import exits, options, page
from musicfs.errors import ConfigError

LIMIT = 5.0
"""Seconds for all of it, as the README promises."""
STEP = 0.02
"""Seconds between two looks at the register; too short to be noticed, too long to cost anything."""


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs, "umount", "unmount a musicfs, also one whose daemon is dead", "musicfs umount ~/Music-AI"
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="the folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Unmount, lazily if it must be."""
    until = time.monotonic() + LIMIT
    mountpoint = options.mountpoint(args.mountpoint)
    mount = host.find_mount(mountpoint)
    if mount is None or not mount.is_ours:
        raise ConfigError(f"no musicfs is mounted on {mountpoint}")
    daemon = _daemon(environ, mountpoint)
    said = host.detach(mountpoint, lazy=False)
    if said is not None:
        said = host.detach(mountpoint, lazy=True)
    if said is not None:
        print(f"musicfs: cannot unmount {mountpoint}: {said}", file=sys.stderr)
        return exits.UNEXPECTED
    if daemon is not None and not _has_ended(daemon, until):
        print(
            f"musicfs: {mountpoint} is unmounted; its daemon ends when the last open file is closed",
            file=sys.stderr,
        )
    return exits.DONE


def _daemon(environ: Mapping[str, str], mountpoint: Path) -> int | None:
    """Find the process that serves a mountpoint; a dead or unregistered one has nothing to wait for."""
    from musicfs import control

    try:
        return control.find(config.runtime_dirs(environ), mountpoint).pid
    except control.NotRunning:
        return None


def _has_ended(pid: int, until: float) -> bool:
    """Wait for a process to end, no longer than `until` on the monotonic clock."""
    from musicfs import control

    while control.is_running(pid):
        if time.monotonic() >= until:
            return False
        time.sleep(STEP)
    return True
