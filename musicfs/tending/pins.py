"""What is kept whatever happens, and how much of it there may be.

How it thinks: a pin is a mark on an object of the cache and outlives restarts. While a file is being
brought, its room among the pinned is claimed, so that several at a time cannot promise themselves the same
half of the cache; an object whose length is known is pinned from the first byte, so that it does not give
way to itself. When the last that brings it ends and none of them succeeded, the pin goes again, unless it
was there before.

What must always be true: pinned and claimed objects take at most half the cache; what was pinned before
an errand is pinned after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from musicfs.errors import MusicfsError, StoreError, StoreFull
from musicfs.model import Key
from musicfs.store import Entry, Store

_SLACK = 64 * 1024  # bytes an object may take beyond its own: its map, and what each write keeps in reserve


class PinsFull(StoreFull):
    """What is pinned takes up half the cache already."""

    remedy = "Raise cache_size, or let go of some songs: musicfs warm --unpin PATH."


class NotKept(StoreError):
    """The bytes came, but the cache could not keep them."""

    remedy = "Look whether the cache's disk is full; musicfs cache info tells what the cache holds."


class _Claim(msgspec.Struct):
    size: int
    errands: int = 0
    ours: bool = False
    """Pinned for an errand, not before."""
    kept: bool = False


class Claim:
    """One file's claim while it is being brought."""

    def __init__(self, pins: Pins, key: Key, version: int, had: frozenset[int]) -> None:
        self._pins, self._key, self._version = pins, key, version
        self.had = had
        """The blocks that were here before."""

    def pin(self) -> Entry:
        """Pin the object now.

        Raises:
            NotKept: it is not in the cache.
            PinsFull: there is no room for it among the pinned.
        """
        return self._pins.pin(self._key, self._version)


class Pins:
    """Every pin, and every claim to one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims: dict[tuple[Key, int], _Claim] = {}

    @contextmanager
    def claimed(self, key: Key, version: int, size: int) -> Iterator[Claim]:
        """Claim room among the pinned for an object of `size` bytes while it is being brought.

        Raises:
            PinsFull: there is none.
        """
        place = key, version
        entry = self._store.find(str(key), version)
        before = self._claims.get(place)
        if before is None:
            self._check(entry, size + _SLACK)
        claim = self._claims.setdefault(place, _Claim(size + _SLACK))
        claim.errands += 1
        try:
            yield Claim(self, key, version, frozenset(entry.have if entry is not None else ()))
            claim.kept = True
        finally:
            claim.errands -= 1
            if not claim.errands:
                del self._claims[place]
                if claim.ours and not claim.kept:
                    self.unpin(key, version)

    def _check(self, entry: Entry | None, size: int) -> None:
        """See whether one more fits."""
        if entry is not None and entry.pinned and entry.whole:
            return
        wanted = sum(
            _growth(self._store.find(str(key), version), claim.size)
            for (key, version), claim in self._claims.items()
        )
        if self._store.pinned + wanted + _growth(entry, size) > self._store.limit // 2:
            raise PinsFull(_full(self._store))

    def pin(self, key: Key, version: int) -> Entry:
        """Pin an object that is claimed."""
        entry = self._store.find(str(key), version)
        if entry is None:
            raise NotKept("the cache could not keep it")
        if not entry.pinned:
            try:
                entry.pin()
            except StoreFull as full:
                raise PinsFull(_full(self._store)) from full
            self._claims[key, version].ours = True
        return entry

    def unpin(self, key: Key, version: int) -> None:
        """Let an object give way again."""
        entry = self._store.find(str(key), version)
        if entry is not None and entry.pinned:
            entry.unpin()

    def held(self) -> dict[str, list[Entry]]:
        """Give the pinned objects by key, whatever their version."""
        found: dict[str, list[Entry]] = {}
        for entry in self._store.objects():
            if entry.pinned and _believed(entry):
                found.setdefault(entry.key, []).append(entry)
        return found


def _growth(entry: Entry | None, size: int) -> int:
    """Say by how many bytes the pinned will grow once an object of `size` bytes is whole and pinned."""
    return max(size - (entry.allocated if entry is not None and entry.pinned else 0), 0)


def _believed(entry: Entry) -> bool:
    try:
        return entry.load()
    except MusicfsError:
        return False


def _full(store: Store) -> str:
    mib = 1024 * 1024
    return (
        f"no room to pin it: pinned songs may take up half of the cache ({store.limit // 2 // mib} MiB), "
        f"and {store.pinned // mib} MiB are pinned"
    )
