"""When the names in each big folder last changed: what `stat` shows as the folder's mtime.

How it thinks: a folder has a time of its own for each set of names. Whenever names may have changed, what
is shown is summed up and compared; the time moves only if the sum did. A program that skips folders whose
mtime it knows (MPD, Navidrome, rsync's second look) therefore misses nothing and does nothing twice. Before
the first whole listing nobody was shown any name, so that changes nothing: rsync asks for a folder's time
first and for its names second, and copies the one with the other.

What must always be true: once listed, the time never stands still while a name comes or goes, never moves
while none does, and is the same after a restart; one that was damaged on disk is now's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import xor
from typing import Protocol

from musicfs.errors import StoreError

log = logging.getLogger("musicfs.catalog")


class Marks(Protocol):
    """Words that outlive us."""

    def mark(self, name: str) -> str | None:
        """Read a remembered word."""
        ...

    async def save_mark(self, name: str, value: str) -> None:
        """Remember a word."""
        ...


class Dates:
    """The folders' times, in nanoseconds since the epoch. `names` gives what each folder shows now."""

    def __init__(
        self, marks: Marks, wall: Callable[[], float], names: Mapping[str, Callable[[], Iterable[str]]]
    ) -> None:
        self._marks, self._wall, self._names = marks, wall, names
        now = int(wall() * 1e9)
        self._changed = {folder: _time(marks.mark(_mark(folder))) or now for folder in names}
        self._shown = {folder: self._sum(folder) for folder in names}

    def __getitem__(self, folder: str) -> int:
        """Give when a folder's names last changed."""
        return self._changed[folder]

    def latest(self) -> int:
        """Give when any folder's names last changed."""
        return max(self._changed.values())

    def look(self) -> None:
        """See whether names have come or gone."""
        for folder, before in self._shown.items():
            shown = self._sum(folder)
            self._shown[folder] = shown
            if shown != before and self.kept(folder):
                self._changed[folder] = int(self._wall() * 1e9)

    def kept(self, folder: str) -> bool:
        """Tell whether a folder's time was ever written down, and so whether all its names were known."""
        return self._marks.mark(_mark(folder)) is not None

    async def follow(self) -> None:
        """Write down what has moved of the times that were kept before."""
        for folder in self._names:
            if self.kept(folder):
                await self.keep(folder)

    async def keep(self, folder: str) -> None:
        """Write a folder's time down, for the first time once all its names are known."""
        changed = str(self._changed[folder])
        if self._marks.mark(_mark(folder)) != changed:
            try:
                await self._marks.save_mark(_mark(folder), changed)
            except StoreError as failed:
                log.error("that %s was listed could not be written down: %s", folder, failed)

    def _sum(self, folder: str) -> int:
        """Sum up the names; a clash, one in 2^64, would leave the folder's time as it was."""
        return reduce(xor, map(hash, self._names[folder]()), 0)


def _time(word: str | None) -> int | None:
    """Read a time that was written down; None of what is no number, as one flipped bit makes it."""
    try:
        return int(word or "")
    except ValueError:
        return None


def _mark(folder: str) -> str:
    return f"complete:{folder}"
