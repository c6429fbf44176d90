"""Every song known, kept over restarts, refreshed behind whoever looks.

How it thinks: what was learned once is served at once, for ever; looking at a folder whose listing is
older than its time starts a refresh behind, and never waits for it. Only before the first complete pass
of a service does its folder wait, and then it gives the listing or the reason. Each service refreshes by
itself; a broken account is noted and hides nothing of the others.

What must always be true: "couldn't ask" changes no row; names, births and mtimes are given once; whatever
is changed in memory is also written behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import trio
from cachetools import LRUCache

from musicfs.catalog.listing import Converses, Pass, read_account
from musicfs.core.census import absent, adopt, arrive, unnamed
from musicfs.core.naming import Names
from musicfs.errors import AccountBroken, Misbehaved, MusicfsError, StoreError, TooSlow, UpstreamError
from musicfs.model import Account, Provider, Song, SongRow, State

log = logging.getLogger("musicfs.catalog")

_FULL = 3600.0  # seconds between complete passes (DESIGN §3)
_AGAIN = 15.0  # seconds before a service whose first listing failed is asked again by itself


class Memory(Protocol):
    """What outlives us."""

    def songs(self) -> list[SongRow]:
        """Every row there is."""
        ...

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Write rows."""
        ...

    def mark(self, name: str) -> str | None:
        """Read a remembered word."""
        ...

    async def save_mark(self, name: str, value: str) -> None:
        """Remember a word."""
        ...


@dataclass(slots=True)
class Standing:
    """How one service's listing stands."""

    complete: bool = False
    """Whether every account was once read to its end."""
    refreshing: bool = False
    asked: float = -1e12
    """When it was last refreshed, on trio's clock."""
    passed: float = -1e12
    """When it was last read to its end, on trio's clock."""
    failure: MusicfsError | None = None
    accounts: list[Account] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    """Account → why it could not be read at the last refresh; never printed with its name."""
    changed_ns: int = 0
    """When its listed names last changed, in nanoseconds since the epoch."""


class Catalog:
    """Every song of every service."""

    def __init__(
        self,
        nursery: trio.Nursery,
        wire: Converses,
        providers: Mapping[str, Provider],
        memory: Memory,
        wall: Callable[[], float],
        listing_ttl: float,
        forget_after: float,
    ) -> None:
        self._nursery, self._wire, self._memory, self._wall = nursery, wire, memory, wall
        self.providers = providers
        self._ttl, self._forget_after = listing_ttl, forget_after
        self._rows: dict[str, dict[str, SongRow]] = {slug: {} for slug in providers}
        self._handles: dict[str, SongRow] = {}
        self._guests: LRUCache[tuple[str, str], SongRow] = LRUCache(1024)
        self._by_asked: LRUCache[str, SongRow] = LRUCache(1024)
        self._begun: dict[tuple[str, str], Pass] = {}
        """Passes that broke, by account: they go on where they broke."""
        self._names = Names()
        self._by_name: dict[str, SongRow] = {}
        self.standing = {slug: Standing() for slug in providers}
        self.generation = 0
        """Rises whenever a listed name changes."""
        self._last_birth = 0
        self._settled = trio.Event()
        self.on_left: Callable[[SongRow], None] = lambda row: None
        """Called with a song whose names are no longer listed."""
        self._load()

    def _load(self) -> None:
        for row in self._memory.songs():
            self._last_birth = max(self._last_birth, row.birth)
            if row.song.service in self._rows:
                self._enter(row)
        for slug, standing in self.standing.items():
            changed = self._memory.mark(f"complete:{slug}")
            standing.complete = changed is not None
            standing.changed_ns = int(changed or self._wall() * 1e9)

    def _enter(self, row: SongRow) -> None:
        self._rows[row.song.service][row.song.ident] = row
        self._handles[row.song.handle] = row
        if row.name is not None and row.name not in self._by_name:
            self._names.hold(row.name)
            self._by_name[row.name] = row

    # Looking -------------------------------------------------------------------------------------------

    def rows(self, service: str) -> Iterable[SongRow]:
        """Give every listed, finished song of a service."""
        return (row for row in self._rows[service].values() if row.listed and row.song.state is State.READY)

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

    def stems(self, row: SongRow) -> list[SongRow]:
        """Give the clips that are a song's stems, eldest first."""
        found = [one for one in self.rows(row.song.service) if one.parent == row.song.ident]
        return sorted(found, key=lambda one: one.birth)

    def guest(self, song: Song) -> SongRow:
        """Take in a song that no listing shows."""
        known = self._rows[song.service].get(song.ident)
        if known is not None and known.listed:
            return known
        key = (song.service, song.ident)
        if key not in self._guests:
            born = song.created or self._wall()
            self._guests[key] = SongRow(song=song, mtime_ns=int(born * 1e9), listed=False)
        return self._guests[key]

    def asked(self, handle: str) -> SongRow | None:
        """Find what a record was asked for before, if it is finished; an unfinished one is asked again."""
        row = self._by_asked.get(handle)
        return row if row is not None and row.song.state is State.READY else None

    async def record(self, service: str, handle: str) -> SongRow:
        """Ask for one thing by its full id.

        Raises:
            UpstreamError: there is none, or it cannot be asked.
        """
        song = await self._wire.converse(self.providers[service].record(handle))
        row = self.guest(song)
        self._by_asked[handle] = row
        return row

    # Refreshing ----------------------------------------------------------------------------------------

    def touch(self, service: str) -> None:
        """Start a refresh behind, if the listing is older than its time."""
        standing = self.standing[service]
        age = trio.current_time() - standing.asked
        due = self._ttl if standing.complete else min(self._ttl, _AGAIN)
        if not standing.refreshing and age >= due:
            self._start(service)

    def _start(self, service: str) -> None:
        standing = self.standing[service]
        standing.refreshing, standing.asked = True, trio.current_time()
        self._nursery.start_soon(self._refresh, service)

    async def ready(self, services: Iterable[str], limit: float) -> None:
        """Wait until services were listed completely once, at most `limit` seconds.

        Raises:
            MusicfsError: why one could not be.
            TooSlow: it takes longer.
        """
        for service in services:
            self.touch(service)
        with trio.move_on_after(limit):
            for service in services:
                standing = self.standing[service]
                while not standing.complete:
                    if standing.failure is not None and not standing.refreshing:
                        raise standing.failure
                    await self._settled.wait()
            return
        raise TooSlow("the first listing is still being read")

    async def _refresh(self, service: str) -> None:
        standing = self.standing[service]
        try:
            await self._read(service)
            standing.failure = None
        except MusicfsError as failed:
            log.log(failed.level, "listing %s: %s", service, failed)
            standing.failure = failed
        except Exception:
            log.exception("listing %s broke", service)
            standing.failure = Misbehaved("an unexpected failure, see the log")
        finally:
            standing.refreshing = False
            self._settled.set()
            self._settled = trio.Event()

    async def _read(self, service: str) -> None:
        """Refresh one service: accounts (on a complete pass), each account's pages, what changed.

        An account that cannot be read is noted; the others go on; the first failure is raised at the end
        unless it is only that account's.
        """
        standing, provider = self.standing[service], self.providers[service]
        now = trio.current_time()
        full = not standing.complete or now - standing.passed >= _FULL or not provider.newest_first
        if full or not standing.accounts:
            standing.accounts = await self._wire.converse(provider.accounts(), background=True)
        failures: list[UpstreamError] = []
        for account in standing.accounts:
            standing.troubles.pop(account.ident, None)
            try:
                if account.error:
                    raise AccountBroken(account.error)
                await self._read_account(service, account, full)
            except AccountBroken as broken:
                standing.troubles[account.ident] = str(broken)
                log.warning("listing %s: one account is in an error state, its songs stay", service)
            except UpstreamError as failed:
                standing.troubles[account.ident] = str(failed)
                failures.append(failed)
        await self._follow_unfinished(service)
        if failures:
            raise failures[0]
        if full:
            standing.passed = now
        await self._completed(service)

    async def _read_account(self, service: str, account: Account, full: bool) -> None:
        rows = self._rows[service]

        def known(ident: str) -> bool:
            return ident in rows and rows[ident].listed

        seen = self._begun.setdefault((service, account.ident), Pass())
        await read_account(self._wire, self.providers[service], account, seen, None if full else known)
        del self._begun[service, account.ident]
        if seen.skipped:
            log.warning("listing %s: %d records could not be read and were left out", service, seen.skipped)
        await self._take(service, account, seen)

    async def _take(self, service: str, account: Account, seen: Pass) -> None:
        now, rows = self._wall(), self._rows[service]
        changed = arrive(rows, list(seen.songs.values()), now)
        if seen.complete:
            leaving, believed = absent(rows.values(), account.ident, set(seen.songs), now, self._forget_after)
            changed += leaving
            if not believed:
                log.warning(
                    "listing %s: a pass lacked over a quarter of an account and was not believed", service
                )
        await self._keep(service, changed)

    async def _follow_unfinished(self, service: str) -> None:
        """Ask for the jobs that were being made and that no page showed, by id."""
        provider, now = self.providers[service], self._wall()
        for row in [row for row in self._rows[service].values() if row.song.state is State.UNFINISHED]:
            if row.lacks is None or not row.listed:
                continue
            try:
                song = await self._wire.converse(provider.record(row.song.handle), background=True)
            except UpstreamError as failed:
                log.info("listing %s: an unfinished job cannot be read: %s", service, failed)
            else:
                await self._keep(service, arrive(self._rows[service], [song], now))

    async def _keep(self, service: str, changed: list[SongRow]) -> None:
        """Write rows and show them; what cannot be written is shown all the same and said."""
        if not changed:
            return
        changed = list({row.song.ident: row for row in changed}.values())
        for row in changed:
            if not row.birth:
                self._last_birth += 1
                row.birth = self._last_birth
            self._enter(row)
        await self._save(changed)
        self.standing[service].changed_ns = int(self._wall() * 1e9)
        self.generation += 1
        for row in changed:
            if not row.listed:
                self.on_left(row)

    async def _save(self, rows: list[SongRow]) -> None:
        try:
            await self._memory.save_songs(rows)
        except StoreError as failed:
            log.error("names and dates could not be written down: %s", failed)

    async def _completed(self, service: str) -> None:
        """Take note of a refresh that read every account, and name what has no name yet.

        Folders in `library/` are chosen once every service has been listed, so that the eldest chooses first
        whichever service answers first.
        """
        self.standing[service].complete = True
        if all(standing.complete for standing in self.standing.values()):
            await self._name_songs()
        mark, changed = f"complete:{service}", str(self.standing[service].changed_ns)
        if self._memory.mark(mark) != changed:
            await self._memory.save_mark(mark, changed)

    async def _name_songs(self) -> None:
        rows = [row for per in self._rows.values() for row in per.values()]
        changed = adopt(rows)
        for row in unnamed(rows, list(self.providers)):
            row.name = self._names.take(row.song.title, row.song.ident)
            self._by_name[row.name] = row
            changed.append(row)
        if changed:
            await self._save(changed)
            self.generation += 1
