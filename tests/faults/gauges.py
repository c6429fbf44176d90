"""What the daemon has in use, read over its control socket; all of it is zero once nobody uses the mount.

How it thinks: the kernel keeps what it has looked up for as long as it likes, so it is asked to let go first:
a remount without a change drops the names of that one mount (`drop_caches` would drop everybody's), and with
each name goes the daemon's reference. What is left then was leaked.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Mapping

from tests.mounted.mounting import STEP, Mount

_RDONLY, _NOSUID, _NODEV, _REMOUNT = 1, 2, 4, 32  # mount(2)
SETTLED = 20.0  # seconds until what is in use after a run is taken for leaked


def let_go(mount: Mount) -> None:
    """Have the kernel forget every name and inode of a mount that nobody uses (root only)."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _RDONLY | _NOSUID | _NODEV | _REMOUNT
    if libc.mount(b"none", os.fsencode(mount.path), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), "the mount could not be remounted")


def gauges(mount: Mount) -> Mapping[str, int]:
    """Ask what is in use."""
    told = mount.ask("status", "--json", str(mount.path))
    assert told.returncode == 0, told.stderr
    found: Mapping[str, int] = json.loads(told.stdout)["gauges"]
    return found


def settle(mount: Mount, limit: float = SETTLED) -> None:
    """See every gauge return to zero: no waiter, reservation, connection, handle or lookup is left."""
    end = time.monotonic() + limit
    while True:
        if os.geteuid() == 0:
            let_go(mount)
        left = {
            name: count
            for name, count in gauges(mount).items()
            # Without root the kernel cannot be asked to forget.
            if count and (name != "inodes" or os.geteuid() == 0)
        }
        if not left:
            return
        assert time.monotonic() < end, f"still in use: {left}"
        time.sleep(STEP)
