"""Gives up what only the mounting itself needed.

How it thinks: a system unit lends its unprivileged user CAP_SYS_ADMIN, because the setuid fusermount3 cannot
work under a sandbox. Once the kernel has the mount nothing needs it any more, so ambient, permitted,
effective and inheritable sets are emptied for good; what is left at the end is unmounted by the unit.

What must always be true: root keeps what it has, because its mount is unmounted by the daemon itself; after
`give_up` no thread that is started later has a capability, and a daemon that could not give up does not
serve.
It refuses to raise anything.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from musicfs.errors import ConfigError

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 (capset(2)): two words of 32 bits a set
_AMBIENT, _CLEAR_ALL = 47, 4  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL (prctl(2))
_THREADS = Path("/proc/self/task")


def give_up() -> bool:
    """Empty this process's capabilities if it is not root's; say whether there were any.

    Raises:
        ConfigError: the kernel would not.
    """
    if os.geteuid() == 0 or not any(map(_permitted, _THREADS.iterdir())):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # An inherited set of nothing empties the ambient one too, but a kernel is asked for what is meant.
    header, nothing = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0) != 0 or libc.capset(header, nothing) != 0:
        raise ConfigError(f"cannot give up privileges: {os.strerror(ctypes.get_errno())}")
    if any(map(_permitted, _THREADS.iterdir())):
        raise ConfigError("cannot give up privileges: a thread has kept them")
    return True


def _permitted(thread: Path) -> int:
    """Read a thread's permitted set; one that has ended has none."""
    try:
        lines = (thread / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:")), 0)
