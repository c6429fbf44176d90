"""Where a song's form lies at this moment: minted on first need, shared, renewed.

How it thinks: a link belongs to a song's form, not to a reader. The first who needs it asks; the others
wait for the same answer. It is kept in memory for its life and never on disk. `remainSeconds` 0 means
unknown, so such a link is used until it is refused (upstream-api.md §3.4).

What must always be true: at most one mint per form is under way; a URL is never logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol, TypeVar

import msgspec
import trio
from cachetools import LRUCache

from musicfs.model import Conversation, Key, Locator, Provider, Song

T = TypeVar("T")
_KEPT = 4096  # links in memory: about 300 bytes each


class Converses(Protocol):
    """What is needed of the network here."""

    async def converse(self, talk: Conversation[T], background: bool = False) -> T:
        """Drive a conversation to its noun."""
        ...


class _Link(msgspec.Struct):
    locator: Locator
    dies: float


class Links:
    """Every link that is alive."""

    def __init__(self, wire: Converses, providers: Mapping[str, Provider], wall: Callable[[], float]) -> None:
        self._wire, self._providers, self._wall = wire, providers, wall
        self._alive: LRUCache[Key, _Link] = LRUCache(_KEPT)
        self._asking: dict[Key, trio.Event] = {}

    async def locate(self, song: Song, form: str) -> Locator:
        """Give the link of a form, asking for one if none is alive.

        Raises:
            UpstreamError: the service gives none.
        """
        key = Key(song.service, song.ident, form)
        while True:
            link = self._alive.get(key)
            if link is not None and trio.current_time() < link.dies:
                return link.locator
            asking = self._asking.get(key)
            if asking is None:
                return await self._mint(key, song, form)
            await asking.wait()
            if key not in self._alive and key not in self._asking:
                return await self._mint(key, song, form)

    def place(self, song: Song, form: str) -> Locator | None:
        """Say where a form lies as far as is known, asking nobody; None if a link would have to be made."""
        link = self._alive.get(Key(song.service, song.ident, form))
        if link is not None and trio.current_time() < link.dies:
            return link.locator
        talk = self._providers[song.service].locate(song, form, self._wall())
        try:
            next(talk)
        except StopIteration as known:
            locator: Locator = known.value
            return locator
        talk.close()
        return None

    async def _mint(self, key: Key, song: Song, form: str) -> Locator:
        self._asking[key] = trio.Event()
        try:
            began = trio.current_time()
            talk = self._providers[song.service].locate(song, form, self._wall())
            locator = await self._wire.converse(talk)
            # A tenth of its life, at most 5 s, early: the request still has to travel.
            life = inf if locator.lives is None else locator.lives - min(5.0, locator.lives / 10)
            self._alive[key] = _Link(locator, began + life)
            return locator
        finally:
            self._asking.pop(key).set()

    def expire(self, key: Key, locator: Locator) -> None:
        """Let go of a link that was found dead, unless it has been replaced already."""
        link = self._alive.get(key)
        if link is not None and link.locator is locator:
            del self._alive[key]


class SongSource:
    """The source of one song's form, as `wire` wants it."""

    def __init__(self, links: Links, song: Song, form: str) -> None:
        self._links, self._song, self.form = links, song, form

    async def locate(self) -> Locator:
        """Give the link."""
        return await self._links.locate(self._song, self.form)

    def expire(self, locator: Locator) -> None:
        """Take note that it is dead."""
        self._links.expire(Key(self._song.service, self._song.ident, self.form), locator)
