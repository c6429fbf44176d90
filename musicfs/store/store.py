"""The cache as a whole: its folder, its lock, and every object in it.

How it thinks: `<cache>/format` says what the folder's layout is, `<cache>/lock` is held by the one daemon
that uses it, and an object is `objects/ab/<digest>.data` beside `.map` (a finished or ranged one),
`.pass` (a pass that is not sealed) and `.pin` (an empty file: it is pinned). The start only looks at
names, sizes and times; a map is read when its object is first asked for. There is no database: the maps
are the truth, and the order of use is the time stamp of each map.

What must always be true: the objects take no more than `limit` bytes of disk and leave `keep_free` bytes
free; a restart finds what was written, except unsealed passes, which it removes.
It refuses to fetch anything, and to run twice on one folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from musicfs.errors import ConfigError, StoreError, StoreFull
from musicfs.store import disk, maps
from musicfs.store.entry import Entry
from musicfs.store.maps import Header, Kind
from musicfs.store.room import SLACK, Room

LOG = logging.getLogger("musicfs.store")

FORMAT = 1
"""The layout this code writes; a folder that says more is of a newer musicfs."""
KEEP_FREE = 1024**3
"""Bytes left free on the disk unless told otherwise: a full disk breaks more than a cache is worth."""


class Snapshot(msgspec.Struct, frozen=True):
    """What `musicfs status` tells of the cache; sizes in bytes, `evicted` and `damaged` since the start."""

    used: int
    limit: int
    pinned: int
    objects: int
    evicted: int
    damaged: int
    """Blocks."""


class Store:
    """The cache. `clock` gives seconds since the epoch; `limit` and `keep_free` are bytes."""

    def __init__(
        self, folder: Path, limit: int, keep_free: int = KEEP_FREE, *, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._objects = folder / "objects"
        self._room: Room[Entry] = Room(folder, limit, keep_free, clock)
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"<Store {self._folder} {len(self._room)} objects, {self.used} of {self.limit} bytes>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def used(self) -> int:
        """Bytes that the objects take on disk."""
        return self._room.used

    @property
    def limit(self) -> int:
        """Bytes that they may take."""
        return self._room.limit

    @property
    def pinned(self) -> int:
        """Bytes that the pinned ones take."""
        return self._room.pinned

    def open(self) -> None:
        """Lock the folder and see what is in it. Raises ConfigError for what the user has to mend."""
        try:
            disk.make_folder(self._folder)
            self._lock = disk.claim(self._folder)
            self._check_format()
            disk.make_folder(self._objects)
            with disk.translated():
                self._scan()
            self._trim()
        except StoreError as failure:
            self.close()
            raise ConfigError(
                f"cannot use the cache folder {self._folder} ({failure}); "
                "choose another with MUSICFS_CACHE_DIR"
            ) from failure
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        """Let the folder go. Nothing has to be written."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def find(self, key: str, version: int) -> Entry | None:
        """Give the object if anything of it is here."""
        entry = self._room.find(maps.digest_of(key, version))
        if entry is None:
            return None
        try:
            believed = entry.load()
        except StoreError as failure:  # The disk cannot give it; the network can.
            LOG.warning("cannot read the map of %s: %s", key, failure)
            return None
        if not believed:
            entry.discard()
            return None
        return entry

    def create(self, key: str, version: int, kind: Kind, size: int | None, validator: str) -> Entry:
        """Begin an empty object, in place of any of that key and version. Raises StoreFull, StoreError."""
        if kind is Kind.RANGED and size is None:
            raise ValueError("an object read by ranges has a known size")
        self.drop(key, version)
        digest = maps.digest_of(key, version)
        stem = self._objects / digest[:2] / digest
        self._room.make_room(SLACK)
        self._room.make_files()
        disk.make_folder(stem.parent)
        entry = Entry(self._room, stem, 0, self._room.clock(), pinned=False)
        self._room.admit(entry)
        try:
            entry.begin(Header(key, version, kind, size, validator, os.urandom(maps.SALT)))
        except StoreError:
            entry.discard()
            raise
        return entry

    def drop(self, key: str, version: int) -> None:
        """Forget the object and remove its files, also if it is held or pinned; none is as good."""
        entry = self._room.find(maps.digest_of(key, version))
        if entry is not None:
            entry.discard()

    def objects(self) -> Iterator[Entry]:
        """Give every object, longest unused first, also those whose map was not read yet."""
        return (entry for entry in self._room if not entry.gone)

    def entries(self) -> Iterator[Entry]:
        """Give every object, reading the maps that were not read yet (about 0.1 ms each)."""
        return (entry for entry in self.objects() if entry.load())

    def prune(self, before: float) -> Iterator[int]:
        """Let go of all that is neither pinned nor held and was last used before `before` (seconds since the
        epoch, noted to the minute); gives the bytes of each as it goes."""
        for entry in self.objects():
            if not entry.pinned and not entry.holds and entry.stamped < before:
                size = entry.allocated
                entry.evict()
                yield size

    def verify(self, entry: Entry) -> list[int]:
        """Read all that is here of an object and give its bad blocks, which are dropped."""
        before = sorted(entry.have)
        for block in before:
            entry.check(block)
        return [block for block in before if block not in entry.have]

    def make_room(self, size: int) -> None:
        """See to it that `size` bytes more would fit. Raises StoreFull."""
        self._room.make_room(size)

    def resize(self, limit: int, keep_free: int) -> None:
        """Take other limits, in bytes, than those of the start; what is over them gives way now."""
        self._room.limit, self._room.keep_free = limit, keep_free
        self._trim()

    def snapshot(self) -> Snapshot:
        """Say how the cache stands."""
        room = self._room
        return Snapshot(room.used, room.limit, room.pinned, len(room), room.evicted, room.damaged)

    def gauges(self) -> dict[str, int]:
        """Count what is zero when nobody uses the cache: bytes promised to writers, objects held."""
        return {"promised": self._room.promised, "held": self._room.held}

    def _check_format(self) -> None:
        path = self._folder / "format"
        said = disk.load(path)
        if said is not None and said.strip().isdigit() and int(said) > FORMAT:
            raise ConfigError(
                f"the cache folder {self._folder} was written by a newer musicfs; "
                "upgrade this one, or choose another folder with MUSICFS_CACHE_DIR"
            )
        if (
            said != b"%d\n" % FORMAT
        ):  # None, or unreadable: each map says for itself whether it can be believed.
            disk.save(path, b"%d\n" % FORMAT)

    def _trim(self) -> None:
        try:
            self._room.make_room(0)
        except StoreFull as failure:  # The limit was lowered below what is pinned: reading goes on.
            LOG.info("the cache is over its limit: %s", failure)

    def _scan(self) -> None:
        found: list[Entry] = []
        for folder in self._objects.iterdir():
            files = {each.name: each for each in os.scandir(folder)} if folder.is_dir() else {}
            for name in files:
                stem = folder / name.partition(".")[0]
                kept = f"{stem.name}.map" in files and f"{stem.name}.data" in files
                if name.endswith(".map") and kept:
                    found.append(self._seen(stem, files))
                elif name.endswith(".pass") or (name.endswith((".map", ".data", ".pin")) and not kept):
                    disk.remove(folder / name)  # A pass that was cut off, or the rest of what gave way.
        for entry in sorted(found, key=lambda each: each.stamped):
            self._room.admit(entry)

    def _seen(self, stem: Path, files: dict[str, os.DirEntry[str]]) -> Entry:
        mapped, data = files[f"{stem.name}.map"].stat(), files[f"{stem.name}.data"].stat()
        size = (mapped.st_blocks + data.st_blocks) * 512
        return Entry(self._room, stem, size, mapped.st_mtime, pinned=f"{stem.name}.pin" in files)
