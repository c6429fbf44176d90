"""Who knows what the bytes have to be: the service's catalogue against what a program reads.

How it thinks: `catalogue` names every file that the pure folders show and its bytes; a read through the
mount gives all of the file or the name of its error. What lies in the cache folder is read here with the
maps' own reader, beside the daemon, so that a test knows what is whole before it asks.

What must always be true: a read that ends before the file's end without an error is a failure, and so is
one other byte; nothing here maps a file into memory (a page fault would hold the interpreter's lock, and
the servers live in the same process)."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Service, content
from musicfs.store import maps
from tests.figures import TRUST
from tests.mounted.mounting import Mount, take_away

NAMES = {os.strerror(number): name for number, name in errno.errorcode.items()}
"""What `cat` says, and the name of the error it means."""

STEMS = "stems/"


class Wrong(AssertionError):
    """Other bytes than the service's were served, or fewer without an error."""


def catalogue(service: Service) -> dict[str, bytes]:
    """Give the bytes of every file of the two pure folders but the stems, by path."""
    files = {f"flowmusic/{clip.uuid}.mp3": content(clip.assets["mp3"]) for clip in service.flow.clips}
    for job in service.tempolor.jobs:
        files |= {f"tempolor/{job.item}/song.{form}": content(job.assets[form]) for form in ("mp3", "wav")}
    return files


def forget_pages(path: Path) -> None:
    """Have the kernel let go of a file's pages, so that the next read asks the daemon."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def read_at(file: int, offset: int, length: int) -> bytes:
    """Read as a careful program does: a short answer is asked on, and nothing is the end."""
    found = bytearray()
    while len(found) < length and (data := os.pread(file, length - len(found), offset + len(found))):
        found += data
    return bytes(found)


def read_whole(path: Path) -> bytes:
    """Read a file to its end."""
    file = os.open(path, os.O_RDONLY)
    try:
        found = bytearray()
        while data := os.pread(file, 131_072, len(found)):
            found += data
        return bytes(found)
    finally:
        os.close(file)


def attempt(path: Path) -> bytes | str:
    """Read a file to its end, or give the name of the error."""
    try:
        return read_whole(path)
    except OSError as failed:
        return errno.errorcode[failed.errno or 0]


def catted(path: Path) -> bytes | str:
    """Read a file by a program of its own, which nothing is fetched ahead of; or give the error's name."""
    ended = subprocess.run(["cat", path], capture_output=True, timeout=30, env={**os.environ, "LC_ALL": "C"})
    if ended.returncode:
        return NAMES[ended.stderr.decode().rstrip().rpartition(": ")[2]]
    return ended.stdout


def verify(path: Path, wanted: bytes, read: Callable[[Path], bytes | str] = read_whole) -> None:
    """Read a file and compare it; any error, other byte or other length is a failure."""
    found = read(path)
    if isinstance(found, str):
        raise Wrong(f"{path}: {found}")
    if len(found) != len(wanted):
        raise Wrong(f"{path}: {len(found)} bytes instead of {len(wanted)}")
    compare(path, 0, found, wanted)


def compare(path: Path, offset: int, found: bytes, wanted: bytes) -> None:
    """Compare bytes with the span of `wanted` that begins at `offset` and has their length."""
    TRUST["bytes verified"] += len(found)
    TRUST["reads verified"] += 1
    if found != wanted[offset : offset + len(found)]:
        at = next(i for i, byte in enumerate(found) if byte != wanted[offset + i])
        raise Wrong(f"{path}: another byte at {offset + at}")


# What lies in the cache ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """One object of the cache folder, as its map describes it."""

    data: Path
    map: Path
    found: maps.Map

    @property
    def key(self) -> str:
        """The object's key, printable."""
        return self.found.header.key

    @property
    def boundaries(self) -> list[int]:
        """Where in the map's file a record ends, the header's end first."""
        raw, ends = self.map.read_bytes(), []
        for cut in range(len(raw) + 1):
            with contextlib.suppress(maps.BadMap):
                if (good := maps.decode(raw[:cut]).good) not in ends:
                    ends.append(good)
        return ends


def kept(home: Path) -> list[Kept]:
    """Read every map of a cache folder that can be read, the unsealed passes apart."""
    found = []
    for path in sorted((home / "cache" / "objects").rglob("*.map")):
        with contextlib.suppress(maps.BadMap, FileNotFoundError):
            found.append(Kept(path.with_suffix(".data"), path, maps.decode(path.read_bytes())))
    return found


def path_of(key: str) -> str | None:
    """Give the path that shows an object of the cache in the pure folders, None for what they don't show."""
    service, ident, form = key.split(":", 2)
    if service == "flowmusic":
        return f"flowmusic/{ident}.mp3" if form == "mp3" else None
    if form.startswith(STEMS) or form in ("mp3", "wav"):
        return f"tempolor/{ident}/{form}" if form.startswith(STEMS) else f"tempolor/{ident}/song.{form}"
    return None


def taken(home: Path) -> int:
    """Sum the bytes that the cache's objects take on the disk; exact only while nothing writes."""
    total = 0
    for path in (home / "cache" / "objects").rglob("*.*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` (as mount takes it) on a new folder; only root can."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        take_away(folder)


def used(folder: Path) -> int:
    """Say how many bytes a disk holds, all at one moment."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def errors(mount: Mount) -> list[str]:
    """Give the lines of the log that no fault of a service explains."""
    return [line for line in mount.log.splitlines() if " ERROR " in line or line.startswith("Traceback")]
