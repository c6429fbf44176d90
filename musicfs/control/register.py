"""The register of mounts: which daemon serves a mountpoint, and on which socket.

How it thinks: a file per mountpoint, named by its digest, in the runtime folder that all profiles share.
What must always be true: an entry names its process, so the entries of the dead are recognised and
dropped; nothing but paths and a process id is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from musicfs.control.client import NotRunning
from musicfs.errors import ConfigError, StoreError


class Daemon(msgspec.Struct, frozen=True):
    """One entry of the register."""

    mountpoint: Path
    socket: Path
    pid: int


@contextlib.contextmanager
def register(runtime: Path, mountpoint: Path, path: Path) -> Iterator[None]:
    """Tell the commands, while the block lasts, where the daemon of a mountpoint (this process) listens."""
    entry = _entry(runtime, mountpoint)
    fresh = entry.with_suffix(f".{os.getpid()}")
    text = json.dumps({"mountpoint": str(mountpoint), "socket": str(path), "pid": os.getpid()})
    try:
        make_private(entry.parent)
        fresh.write_text(text)
        fresh.replace(entry)
    except OSError as error:
        raise StoreError(f"cannot write the register of mounts {entry}: {error.strerror}") from error
    try:
        yield
    finally:
        # After a lazy unmount another daemon may have taken the mountpoint over.
        daemon = _read_entry(entry)
        if daemon is not None and daemon.pid == os.getpid():
            drop(entry)


def find(runtimes: Sequence[Path], mountpoint: Path | None) -> Daemon:
    """Find the daemon of a mountpoint, or the only one; `runtimes` are the folders to look in."""
    alive = [daemon for daemon in daemons(runtimes) if mountpoint in (None, daemon.mountpoint)]
    if not alive:
        where = "" if mountpoint is None else f" for {mountpoint}"
        raise NotRunning(f"no musicfs daemon is running{where}")
    if len(alive) > 1 and mountpoint is None:
        places = ", ".join(str(daemon.mountpoint) for daemon in alive)
        raise ConfigError(f"several are mounted, name one: {places}")
    return alive[0]


def daemons(runtimes: Sequence[Path]) -> list[Daemon]:
    """List the living daemons of the register, and drop what the dead left in it."""
    found = []
    for runtime in runtimes:
        for entry in sorted(runtime.glob("mounts/*.json")):
            daemon = _read_entry(entry)
            if daemon is not None and is_running(daemon.pid):
                found.append(daemon)
                continue
            drop(entry)
    return found


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not yet taken note of does not.

    A daemon's parent is gone, and the process that inherits it may take seconds, or in a container for ever.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return True
    return state not in (b"Z", b"X")


def _entry(runtime: Path, mountpoint: Path) -> Path:
    digest = hashlib.blake2b(os.fsencode(mountpoint), digest_size=8).hexdigest()
    return runtime / "mounts" / f"{digest}.json"


def _read_entry(entry: Path) -> Daemon | None:
    try:
        said = json.loads(entry.read_bytes())
        return Daemon(Path(said["mountpoint"]), Path(said["socket"]), int(said["pid"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def drop(path: Path) -> None:
    """Remove a file; one that is gone or cannot be removed is replaced at the next start."""
    with contextlib.suppress(OSError):
        path.unlink()


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter; one that exists keeps its mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
