"""The exit codes, and which failure ends in which.

How it thinks: the numbers are sysexits.h's where one fits, because systemd prints those by name and its
units stop restarting on 2, 77 and 78. 2 is argparse's own for bad arguments.
"""

from __future__ import annotations

from musicfs.config import TokenError
from musicfs.control import Declined, NotRunning
from musicfs.errors import (
    ConfigError,
    Misbehaved,
    MountRefused,
    MusicfsError,
    NotFinished,
    Refused,
    StoreError,
    Throttled,
    TooSlow,
    Unreachable,
)

DONE = 0
UNEXPECTED = 1
USAGE = 2
UNAVAILABLE = 69
"""The daemon or the API does not answer."""
CANT_CREATE = 73
"""The cache or state folder cannot be used, or another daemon has it."""
TRY_LATER = 75
NO_PERMISSION = 77
"""No token, a refused or unguarded one, or no right to use /dev/fuse."""
CONFIG = 78
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
MOUNT_USAGE, MOUNT_SYSTEM, MOUNT_USER, MOUNT_FAILED = 1, 2, 8, 32
"""mount(8)'s own: wrong use or not permitted, an error of the system, an interruption, a failed mount."""

_CODES: tuple[tuple[type[MusicfsError], int], ...] = (
    # Children stand before their parents: the first that fits decides.
    (TokenError, NO_PERMISSION),
    (MountRefused, NO_PERMISSION),
    (Refused, NO_PERMISSION),
    (ConfigError, CONFIG),
    (StoreError, CANT_CREATE),
    (NotRunning, UNAVAILABLE),
    (Unreachable, UNAVAILABLE),
    (TooSlow, UNAVAILABLE),
    (Throttled, TRY_LATER),
    (NotFinished, TRY_LATER),
    (Misbehaved, TRY_LATER),
    (Declined, UNEXPECTED),
)


def code_for(failure: MusicfsError) -> int:
    """Say with which code a failure ends the command."""
    return next((code for kind, code in _CODES if isinstance(failure, kind)), UNEXPECTED)


def for_mount(code: int) -> int:
    """Say in mount(8)'s codes how a command ended."""
    usage = dict.fromkeys((USAGE, NO_PERMISSION, CONFIG), MOUNT_USAGE)
    known = {DONE: DONE, UNEXPECTED: MOUNT_SYSTEM, INTERRUPTED: MOUNT_USER, **usage}
    return known.get(code, MOUNT_FAILED)
