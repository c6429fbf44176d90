"""Where things live on this machine: config, cache, state, sockets.

How it thinks: systemd's own variables come first, then the user's XDG folders (platformdirs, which reads
the process's environment), and for root without a home (mount(8), system units) the folders of the
system. Cache, state, lock and socket belong to a profile, so that two configurations never share a cache;
only the register of mounts is common to all, because `status` has a mountpoint and no profile.

What must always be true: every path is absolute. A runtime folder that belongs to another user (as after
`su` or `sudo -E`) is not used. Nothing is created here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import platformdirs

SYSTEM_CONFIG = Path("/etc/musicfs")
SYSTEM_RUNTIME = Path("/run/musicfs")


class Paths(msgspec.Struct, frozen=True):
    """The folders of one profile; whoever first writes to one makes it, 0700."""

    profile: str
    cache: Path
    state: Path
    runtime: Path
    """Common to all profiles: holds the register of mounts."""
    socket: Path

    @property
    def lock(self) -> Path:
        """The file whose lock makes one daemon a profile."""
        return self.state / "lock"


def find_paths(
    environ: Mapping[str, str], profile: str, cache_dir: Path | None = None, state_dir: Path | None = None
) -> Paths:
    """Say where a profile lives; `cache_dir` and `state_dir`, where set, are taken exactly."""
    runtime = runtime_dirs(environ)[0]
    return Paths(
        profile=profile,
        cache=cache_dir or _cache_root(environ) / profile,
        state=state_dir or _state_root(environ) / profile,
        runtime=runtime,
        socket=runtime / profile / "control.sock",
    )


def config_dir(environ: Mapping[str, str]) -> Path:
    """Say where the user's own config file and token live."""
    return SYSTEM_CONFIG if _homeless_root(environ) else platformdirs.user_config_path("musicfs")


def runtime_dirs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """List where daemons of this user may have left their sockets; a new one uses the first."""
    folders: list[Path] = []
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        folders.append(Path(given))
    session = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if session.is_absolute() and _is_mine(session):
        folders.append(session / "musicfs")
    elif _homeless_root(environ):
        folders.append(SYSTEM_RUNTIME)
    folders.append(_state_root(environ) / "run")
    folders.append(SYSTEM_RUNTIME)
    return tuple(dict.fromkeys(folders))


def _cache_root(environ: Mapping[str, str]) -> Path:
    if given := environ.get("CACHE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    return Path("/var/cache/musicfs") if _homeless_root(environ) else platformdirs.user_cache_path("musicfs")


def _state_root(environ: Mapping[str, str]) -> Path:
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    return Path("/var/lib/musicfs") if _homeless_root(environ) else platformdirs.user_state_path("musicfs")


def _homeless_root(environ: Mapping[str, str]) -> bool:
    """Say whether this is root as mount(8) and system units start it; platformdirs would guess `/root`."""
    return os.geteuid() == 0 and not environ.get("HOME")


def _is_mine(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
