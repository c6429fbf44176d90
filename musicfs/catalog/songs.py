"""Every song known: by id, by name, by who listed it; kept over restarts.

How it thinks: a row is never removed, only no longer listed, so that its name, date and number are its
own for ever. Whatever changes here is shown at once and written behind the change; what cannot be written
is shown all the same, and said.

What must always be true: births, names and parents are given once; two songs never share a name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from cachetools import LRUCache

from musicfs.catalog.dates import Dates, Marks
from musicfs.core.census import adopt, born_ns, unnamed
from musicfs.core.naming import Names
from musicfs.core.playlists import RESERVED
from musicfs.errors import StoreError
from musicfs.model import Provider, Song, SongRow, State

log = logging.getLogger("musicfs.catalog")

_GUESTS = 1024  # songs kept in mind that were only asked for by name


class Memory(Marks, Protocol):
    """What outlives us."""

    def songs(self) -> list[SongRow]:
        """Every row there is."""
        ...

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Write rows."""
        ...


class Songs:
    """The book of songs."""

    def __init__(self, providers: Mapping[str, Provider], memory: Memory, wall: Callable[[], float]) -> None:
        self.providers = providers
        self._memory, self._wall = memory, wall
        self._rows: dict[str, dict[str, SongRow]] = {slug: {} for slug in providers}
        self._handles: dict[str, SongRow] = {}
        self._children: dict[str, dict[str, SongRow]] = {}
        self._guests: LRUCache[tuple[str, str], SongRow] = LRUCache(_GUESTS)
        self._by_asked: LRUCache[str, SongRow] = LRUCache(_GUESTS)
        self._by_name: dict[str, SongRow] = {}
        self.all_written = True
        """Whether the next life will find all that is known in this one."""
        self.generation = 0
        """Rises whenever a listed name changes."""
        self._named = -1
        """The generation in which every song that wants a name was seen to have one."""
        self.on_changed: Callable[[], None] = lambda: None
        """Called when listed names have changed."""
        self.on_left: Callable[[SongRow], None] = lambda row: None
        """Called with a song whose names are no longer listed."""
        self.on_told: Callable[[SongRow], None] = lambda row: None
        """Called with a song that was known, and of which something else is known now."""
        known = memory.songs()
        self._last_birth = max((row.birth for row in known), default=0)
        for row in known:
            if row.song.service in self._rows:
                self._enter(row)
        names: dict[str, Callable[[], Iterable[str]]] = {
            slug: partial(self._idents, slug) for slug in providers
        }
        self.dates = Dates(memory, wall, {**names, "library": self._folders})

    def _enter(self, row: SongRow) -> None:
        song = row.song
        self._rows[song.service][song.ident] = self._handles[song.handle] = row
        if row.parent is not None:
            self._children.setdefault(row.parent, {})[song.ident] = row
        if row.name is not None:
            self._by_name.setdefault(row.name, row)

    # Looking -------------------------------------------------------------------------------------------

    def rows(self, service: str) -> Iterable[SongRow]:
        """Give every listed, finished song of a service."""
        return (row for row in self._rows[service].values() if row.listed and row.song.state is State.READY)

    # Summed up at the start and after each change, so in one step each: 10,000 take 1 ms in place of 2.

    def _idents(self, service: str) -> Iterable[str]:
        ready, rows = State.READY, self._rows[service].values()
        return [row.song.ident for row in rows if row.listed and row.song.state is ready]

    def _folders(self) -> Iterable[str]:
        ready, every = State.READY, [row for per in self._rows.values() for row in per.values()]
        return [row.name for row in every if row.name is not None and row.listed and row.song.state is ready]

    def row(self, service: str, ident: str) -> SongRow | None:
        """Find a song by its uuid or item id, whatever its state, if a listing ever showed it."""
        row = self._rows[service].get(ident)
        return row if row is not None and row.listed else None

    def by_handle(self, handle: str) -> SongRow | None:
        """Find a song by its full id."""
        row = self._handles.get(handle)
        return row if row is not None and row.listed else None

    def named(self, name: str) -> SongRow | None:
        """Find a song by its folder in `library/`."""
        row = self._by_name.get(name)
        return row if row is not None and row.listed else None

    def left(self, service: str, ident: str) -> bool:
        """Tell whether a song was listed once and no longer is."""
        row = self._rows.get(service, {}).get(ident)
        return row is not None and not row.listed

    def stems(self, row: SongRow) -> list[SongRow]:
        """Give the clips that are a song's stems, eldest first."""
        mine = self._children.get(row.song.ident, {}).values()
        found = [one for one in mine if one.listed and one.song.state is State.READY]
        return sorted(found, key=lambda one: one.birth)

    def guest(self, song: Song) -> SongRow:
        """Take in a song that no listing shows."""
        known = self._rows[song.service].get(song.ident)
        if known is not None and known.listed:
            return known
        key = (song.service, song.ident)
        if key not in self._guests:
            born = born_ns(song, int(self._wall() * 1e9))
            self._guests[key] = SongRow(song=song, mtime_ns=born, listed=False)
        return self._guests[key]

    def asked(self, handle: str) -> SongRow | None:
        """Find what a record was asked for before, if it is finished; an unfinished one is asked again."""
        row = self._by_asked.get(handle)
        return row if row is not None and row.song.state is State.READY else None

    # Changing ------------------------------------------------------------------------------------------

    async def keep(self, changed: list[SongRow]) -> None:
        """Show rows as they are now, and write them."""
        if not changed:
            return
        changed = list({row.song.ident: row for row in changed}.values())
        known = [row for row in changed if row.birth]
        for row in changed:
            if not row.birth:
                self._last_birth += 1
                row.birth = self._last_birth
            self._enter(row)
        await self._save(changed)
        self._renew()
        for row in changed:
            if not row.listed:
                self.on_left(row)
        for row in known:
            self.on_told(row)
        await self.dates.follow()

    async def _save(self, rows: list[SongRow]) -> None:
        try:
            await self._memory.save_songs(rows)
        except StoreError as failed:
            self.all_written = False
            log.error("names and dates could not be written down: %s", failed)

    async def name_songs(self) -> None:
        """Give folders in `library/` to songs that have none, the eldest first, and stems to their songs."""
        seen = self.generation
        if self._named == seen:
            return
        rows = [row for per in self._rows.values() for row in per.values()]
        changed = adopt(rows)
        for row in changed:
            self._enter(row)
        if waiting := unnamed(rows, list(self.providers)):
            # Made anew each time: most lives name nobody, and 10,000 folded names take 30 ms and 1 MB.
            names = Names()
            for name in (*self._by_name, *RESERVED):
                names.hold(name)
            for row in waiting:
                row.name = names.take(row.song.title, row.song.ident)
                self._by_name[row.name] = row
            changed += waiting
        if changed:
            await self._save(changed)
            self._renew()
        self._named = seen

    def _renew(self) -> None:
        self.generation += 1
        self.dates.look()
        self.on_changed()
