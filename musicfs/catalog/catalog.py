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
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec
import trio

from musicfs.catalog.listing import SONGS, Converses, Pass, read_account
from musicfs.catalog.passes import Passes
from musicfs.catalog.songs import Memory, Songs
from musicfs.core.census import absent, arrive
from musicfs.errors import (
    AccountBroken,
    Misbehaved,
    MusicfsError,
    NoSuchEntry,
    StillListed,
    TooSlow,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Account, Provider, Song, SongRow

log = logging.getLogger("musicfs.catalog")

_FULL = 3600.0  # seconds between complete passes (DESIGN §3)
_BEHIND = 0.5  # seconds that a refresh behind leaves to who looked: `ls -l` of 10,000 songs takes half of it
_AGAIN = 15.0  # seconds before a service whose first listing failed is asked again by itself
_BY_ID = 20  # records asked for in one refresh: a lost account must not become a thousand questions


class Standing(msgspec.Struct):
    """How one service's listing stands."""

    complete: bool = False
    """Whether every account was once read to its end."""
    refreshing: bool = False
    asked: float = -1e12
    """When it was last refreshed, on trio's clock."""
    passed: float = -1e12
    """When it was last read to its end, on trio's clock."""
    failure: MusicfsError | None = None
    accounts: list[Account] = msgspec.field(default_factory=list)
    troubles: dict[str, UpstreamError] = msgspec.field(default_factory=dict)
    """Account → why it could not be read at the last refresh; never printed with its name."""
    listed: dict[str, float] = msgspec.field(default_factory=dict)
    """Account → when it was last read without a failure, on trio's clock."""
    doubted: dict[str, set[str]] = msgspec.field(default_factory=dict)
    """Account → songs that a pass lacked which was not believed."""


class Catalog(Songs):
    """Every song, and its refreshing."""

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
        super().__init__(providers, memory, wall)
        self._nursery, self._wire = nursery, wire
        self.listing_ttl, self.forget_after = listing_ttl, forget_after
        self._begun: dict[tuple[str, str], Pass] = {}
        """Passes that broke, by account: they go on where they broke."""
        self._refused: Counter[tuple[str, str]] = Counter()
        """How often the record of a song that no page shows has answered 404."""
        self._settled = trio.Event()
        self.standing = {slug: Standing() for slug in providers}
        self._passes = Passes(memory, wall)
        for slug, standing in self.standing.items():
            standing.complete = self.dates.kept(slug)
            standing.passed = trio.current_time() - self._passes.age(slug)

    async def record(self, service: str, handle: str) -> SongRow:
        """Ask for one thing by its full id.

        Raises:
            UpstreamError: there is none, or it cannot be asked.
        """
        song = await self._wire.converse(self.providers[service].record(handle))
        row = self.guest(song)
        if not row.listed:
            row.song = song  # it may have been unfinished when it was asked for before
        elif row.lacks is None:
            # A record tells more than a list: when each line is sung, and what was asked for.
            await self.keep(arrive(self._rows[service], [song], self._wall()))
        self._by_asked[handle] = row
        return row

    # Refreshing ----------------------------------------------------------------------------------------

    def touch(self, service: str) -> None:
        """Start a refresh behind, if the listing is older than its time."""
        standing = self.standing[service]
        age = trio.current_time() - standing.asked
        due = self.listing_ttl if standing.complete else min(self.listing_ttl, _AGAIN)
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
            if standing.complete:
                # It needs the one thread that answers who looked, the first time for 60 ms at a stretch.
                await trio.sleep(_BEHIND)
            await self._read(service)
            standing.failure = None
        except MusicfsError as failed:
            log.log(failed.level, "listing %s: %s", service, failed)
            standing.failure = failed
            if isinstance(failed, Withdrawn):
                # A service that has no list is unwell; its folder is there all the same (DESIGN §2.5).
                standing.failure = Misbehaved(str(failed))
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
            before = standing.troubles.pop(account.ident, None)
            try:
                if account.error:
                    raise AccountBroken(account.error)
                await self._read_account(service, account, full)
                standing.listed[account.ident] = trio.current_time()
            except AccountBroken as broken:
                standing.troubles[account.ident] = broken
                # Said once, when it begins: `status` says it as long as it lasts.
                level = logging.DEBUG if before else logging.WARNING
                log.log(level, "listing %s: one account is in an error state, its songs stay", service)
            except UpstreamError as failed:
                standing.troubles[account.ident] = failed
                failures.append(failed)
        await self._follow_by_id(service)
        if not standing.complete and not failures and len(standing.troubles) == len(standing.accounts) > 0:
            failures.append(AccountBroken("every linked account is in an error state"))
        if failures:
            raise failures[0]
        if full:
            standing.passed = now
        counts = self.all_written and not any(standing.doubted.values())
        if full or not counts:
            await self._passes.keep(service, trio.current_time() - now if counts else math.inf)
        await self._completed(service)

    async def _read_account(self, service: str, account: Account, full: bool) -> None:
        rows = self._rows[service]

        def known(ident: str) -> bool:
            return ident in rows and rows[ident].listed

        def kept(song: Song) -> Song:
            row = rows.get(song.ident)
            return row.song if row is not None and row.song == song else song

        seen = self._begun.setdefault((service, account.ident), Pass(kept))
        provider, first = self.providers[service], not self.standing[service].complete
        await read_account(self._nursery, self._wire, provider, account, seen, None if full else known, first)
        del self._begun[service, account.ident]
        if seen.skipped:
            log.warning("listing %s: %d records could not be read and were left out", service, seen.skipped)
            if not seen.songs:
                raise Misbehaved("not one record of the listing could be read")
        await self._take(service, account, seen)

    async def _take(self, service: str, account: Account, seen: Pass) -> None:
        now, rows, standing = self._wall(), self._rows[service], self.standing[service]
        if len(rows.keys() | seen.songs.keys()) > SONGS:
            raise Misbehaved("more songs than a person has")
        changed = arrive(rows, list(seen.songs.values()), now)
        if seen.complete and not seen.skipped:
            # A record that is there and cannot be read may be any song's, so then nobody is missing. Where
            # songs can be asked for by id, their records decide; where not, an empty list is doubted.
            alone = self.providers[service].newest_first
            patience = self.forget_after if alone else math.inf
            missing = absent(rows.values(), account.ident, set(seen.songs), now, patience, doubt_none=alone)
            changed += missing.changed
            standing.doubted[account.ident] = missing.doubted
            if missing.doubted:
                log.warning(
                    "listing %s: a pass lacked over a quarter of an account's songs and is not believed; "
                    "if they are gone for good: musicfs forget ACCOUNT",
                    service,
                )
        await self.keep(changed)

    async def _follow_by_id(self, service: str) -> None:
        """Ask by id for TemPolor's songs that no page shows: unfinished ones, and ones that seem gone.

        A record that answers says that the song exists; one that answers 404 twice says that it does not.
        """
        if self.providers[service].newest_first:
            return
        standing = self.standing[service]
        # Of an account that is not linked or cannot be read, a record's 404 says nothing of the song.
        sound = {account.ident for account in standing.accounts} - standing.troubles.keys()
        rows = [row for row in self._rows[service].values() if row.listed and row.song.account in sound]
        lacking = [row for row in rows if row.lacks is not None]
        for row in sorted(lacking, key=lambda row: row.lacks or 0.0)[:_BY_ID]:
            mark = (service, row.song.ident)
            try:
                song = await self._wire.converse(self.providers[service].record(row.song.handle), True)
            except Withdrawn:
                self._refused[mark] += 1
                if self._refused[mark] >= 2:
                    row.listed, row.lacks = False, None
                    await self.keep([row])
            except UpstreamError as failed:
                log.info("listing %s: a song cannot be asked for by id: %s", service, failed)
            else:
                del self._refused[mark]
                await self.keep(arrive(self._rows[service], [song], self._wall()))

    # Forgetting ----------------------------------------------------------------------------------------

    async def forget_song(self, row: SongRow) -> int:
        """Let go of a song that its service no longer lists; gives how many were let go.

        Raises:
            StillListed: the last complete listing shows it.
        """
        doubted = self.standing[row.song.service].doubted.get(row.song.account, set())
        if row.lacks is None and row.song.ident not in doubted and self._account_is_linked(row):
            raise StillListed("the service still lists this song; delete it there")
        return await self._let_go(row.song.service, [row])

    async def forget_account(self, account: str) -> int:
        """Let go of what an account (an e-mail address or a user id) no longer lists.

        Raises:
            NoSuchEntry: no song is known of such an account.
        """
        mine = [
            row
            for per in self._rows.values()
            for row in per.values()
            if row.listed and row.song.account == account
        ]
        if not mine:
            raise NoSuchEntry("no song of such an account is known")
        gone = 0
        for service, standing in self.standing.items():
            doubted = standing.doubted.pop(account, set())
            leaving = [
                row
                for row in mine
                if row.song.service == service
                and (row.song.ident in doubted or row.lacks is not None or not self._account_is_linked(row))
            ]
            gone += await self._let_go(service, leaving)
        return gone

    def _account_is_linked(self, row: SongRow) -> bool:
        """Tell whether a song's account is linked; where accounts were not asked for yet, it is."""
        accounts = self.standing[row.song.service].accounts
        return not accounts or any(account.ident == row.song.account for account in accounts)

    async def _let_go(self, service: str, rows: list[SongRow]) -> int:
        for row in rows:
            row.listed, row.lacks = False, None
        await self.keep(rows)
        return len(rows)

    # Completing ----------------------------------------------------------------------------------------

    async def _completed(self, service: str) -> None:
        """Take note of a refresh that read every account, and name what has no name yet.

        Folders in `library/` are chosen once every service has been listed, so that the eldest chooses first
        whichever service answers first.
        """
        self.standing[service].complete = True
        if all(standing.complete for standing in self.standing.values()):
            await self.name_songs()
            await self.dates.keep("library")
        await self.dates.keep(service)
