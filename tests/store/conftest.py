"""A cache in a temporary folder, with a clock that a test sets, and a disk that is really small."""

import subprocess
from collections.abc import Iterator
from functools import cache as remember
from pathlib import Path

import pytest

from musicfs.core.spans import BLOCK
from musicfs.model import Span
from musicfs.store import Entry, Kind, Store

MIB = 1024 * 1024


class Clock:
    """Seconds since the epoch, moved by hand; it starts far ahead so that its stamps beat the kernel's."""

    def __init__(self) -> None:
        self.now = 4_000_000_000.0

    def __call__(self) -> float:
        return self.now


class Cache:
    """A store that can be closed and opened again, as a restart would."""

    def __init__(self, folder: Path, limit: int = 64 * MIB, keep_free: int = 0) -> None:
        self.folder = folder
        self.limit = limit
        self.keep_free = keep_free
        self.clock = Clock()
        self.store = self.made()

    def made(self) -> Store:
        """Give a store on the folder, opened."""
        store = Store(self.folder, self.limit, self.keep_free, clock=self.clock)
        store.open()
        return store

    def restart(self, limit: int | None = None) -> Store:
        """Close and open."""
        self.store.close()
        self.limit = limit or self.limit
        self.store = self.made()
        return self.store

    def ranged(self, key: str = "a", size: int = 3 * BLOCK + 100, version: int = 1) -> Entry:
        """Begin an object read by ranges."""
        return self.store.create(key, version, Kind.RANGED, size, "etag")

    def filled(self, key: str = "a", size: int = 3 * BLOCK + 100) -> Entry:
        """Make an object of which every block is here."""
        entry = self.ranged(key, size)
        for block in range(-(-size // BLOCK)):
            entry.write(block, body(key, size)[block * BLOCK : (block + 1) * BLOCK])
        return entry

    def passing(self, key: str = "p") -> Entry:
        """Begin a pass."""
        return self.store.create(key, 1, Kind.WHOLE, None, "")

    def files(self, suffix: str) -> list[Path]:
        """List the objects' files of that suffix."""
        return sorted(self.folder.rglob(f"*{suffix}"))

    def file(self, suffix: str) -> Path:
        """Give the only file of that suffix."""
        (found,) = self.files(suffix)
        return found

    def allocated(self) -> int:
        """Ask the disk how many bytes the objects take."""
        return sum(each.stat().st_blocks * 512 for each in (self.folder / "objects").rglob("*.*"))


@remember
def body(seed: str, size: int) -> bytes:
    """Make bytes that differ from seed to seed and from block to block."""
    word = f"<{seed}>".encode()
    return b"".join(word + b"%d" % at for at in range(size // len(word) + 1))[:size]


def all_of(entry: Entry) -> bytes:
    """Read an object from end to end."""
    assert entry.size is not None
    return bytes(entry.read(Span(0, entry.size)))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """A cache of 64 MiB."""
    made = Cache(tmp_path / "cache")
    yield made
    made.store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, mounted for the test; only root can."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
