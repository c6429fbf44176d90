"""What whoever mounts wants: what is mounted where, with whose token, and what is to be done later.

How it thinks: a command finds all of it out, and the house lives by it. It is one noun, so that it is handed
on as it is, and a command can say it before the house is loaded.
It refuses to check anything: settings, folder and token were looked at when they were found.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from musicfs.config import Paths, Settings, Token


class Orders(msgspec.Struct, frozen=True):
    """One mount, as it was asked for."""

    settings: Settings
    paths: Paths
    mountpoint: Path
    token: Token
    reread: Callable[[], tuple[Settings, Token]]
    """Gives settings and token anew, for a reload."""
    demo: bool = False
    """Whether the embedded service is what is mounted."""
    ready: Callable[[], None] = lambda: None
    """Called when the mount answers."""
    source: str = ""
    """What the table of mounts shows; else the profile."""
