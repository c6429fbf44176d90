"""A failure as a person reads it: the thing, the cause and the remedy, in one sentence, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from musicfs import config, host
from musicfs.commands import logs
from musicfs.control import Daemon, NotRunning, find
from musicfs.errors import MusicfsError


def of(failure: MusicfsError, thing: str = "") -> str:
    """Write a failure; `thing` is what it is about, where the failure does not say so itself."""
    return joined(thing, str(failure) or type(failure).__name__, failure.remedy)


def joined(thing: str, cause: str, remedy: str) -> str:
    """Join the three, whichever are there, with the secrets taken out."""
    said = f"{thing}: {cause}" if thing else cause
    said = said.rstrip(".")
    if remedy:
        said = f"{said}; {remedy[0].lower()}{remedy[1:].rstrip('.')}"
    return logs.scrub(said)


class DeadMount(NotRunning):
    """A musicfs is mounted and nobody serves it; exit 69."""

    remedy = ""


def daemon_of(environ: Mapping[str, str], mountpoint: Path | None) -> Daemon:
    """Find the daemon of a mountpoint, or the only one.

    Raises:
        DeadMount: it is dead and its mount is still there.
        NotRunning: there is none.
    """
    try:
        return find(config.runtime_dirs(environ), mountpoint)
    except NotRunning:
        for mount in host.mounts():
            place = mount.mountpoint
            mine = mount.is_ours and mount.owner in (None, os.geteuid())
            if mine and mountpoint in (None, place) and host.server_of(place) is None:
                raise DeadMount(f"the daemon of {place} is dead; run: musicfs umount {place}") from None
        raise
