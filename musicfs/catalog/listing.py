"""One account's listing, page by page.

How it thinks: pages of a newest-first list overlap by one record. If a page does not begin with the
record the last one ended with, the list has shifted in between, and the pass begins again. A refresh
stops at the first page that holds nothing unknown; a complete pass reads to the last, and may ask for
several pages at once: the overlap proves them one unbroken list in whatever order they were answered,
because clips come and go but never change places with each other.

What must always be true: a pass that returns `complete` has seen every record that was there all along,
once; anything that could not be asked is raised, never left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
import trio

from musicfs.catalog.ahead import Ahead
from musicfs.errors import Misbehaved
from musicfs.model import Account, Conversation, Page, Provider, Song

T = TypeVar("T")
_PAGES = 1000  # a listing longer than that is not a person's (issue 2: page cap)
SONGS = 100_000  # so many clips have those pages; more would fill memory and disk with a hostile list
_SHIFTLESS = 2  # pages of a TemPolor list that has one a type, and no page's edge to lose a song at (§3.2)
_RESTARTS = 5  # passes begun before a list that keeps shifting is left for later


class Converses(Protocol):
    """What is needed of the network here."""

    async def converse(self, talk: Conversation[T], background: bool = False, once: bool = False) -> T:
        """Drive a conversation to its noun; `once`: without retries."""
        ...


class Pass(msgspec.Struct):
    """A pass over one account, as far as it has come: one that broke goes on at its page."""

    known: Callable[[Song], Song] = lambda song: song
    """Gives a song as it is kept already, if that is the same: else a big pass holds all of it twice."""
    songs: dict[str, Song] = msgspec.field(default_factory=dict)
    complete: bool = False
    skipped: int = 0
    pages: int = 0
    cursor: str | None = None
    again: bool = False
    """Whether it was read once already, as a list without overlap is where nothing is known yet."""
    last: str | None = None
    """The last record of the last page, which the next page has to begin with."""

    def __repr__(self) -> str:
        return f"<Pass of {len(self.songs)} songs>"

    def restart(self) -> None:
        """Forget what was read: the list has shifted since."""
        self.songs = {}
        self.rewind()

    def rewind(self) -> None:
        """Begin at the first page again, keeping what was read."""
        self.skipped, self.pages, self.complete = 0, 0, False
        self.cursor = self.last = None


async def read_account(
    nursery: trio.Nursery,
    wire: Converses,
    provider: Provider,
    account: Account,
    seen: Pass,
    known: Callable[[str], bool] | None,
    first: bool = False,
) -> None:
    """Read one account's listing into `seen`; with `known`, stop at the first page that is wholly known.

    A list whose pages do not overlap is read twice where nothing is known yet (`first`): a song deleted
    while it is read draws the next one over a page's edge, unseen.

    Raises:
        UpstreamError: a page could not be had; `seen` keeps those that could.
    """

    async def ask(cursor: str | None, ahead: bool) -> Page:
        return await wire.converse(provider.page(account, cursor), background=True, once=ahead)

    ahead = Ahead(nursery, ask, first)
    restarts = 0
    while seen.pages < _PAGES and len(seen.songs) <= SONGS:
        page = await ahead.take(seen.cursor)
        if provider.newest_first and seen.last is not None and not _follows(page, seen.last):
            seen.restart()
            ahead.drop()
            restarts += 1
            if restarts == _RESTARTS:
                raise Misbehaved("the listing keeps changing while it is read")
            continue
        if provider.newest_first:
            if _add(seen, page) or (known is not None and _all(page, known)):
                return
            if known is None:
                ahead.expect(page)
        elif _add(seen, page):
            if not first or seen.again or seen.pages <= _SHIFTLESS:
                return
            seen.rewind()
            seen.again = True
    seen.restart()
    raise Misbehaved("the listing has no end")


def _follows(page: Page, last: str) -> bool:
    return bool(page.songs) and page.songs[0].ident == last


def _all(page: Page, known: Callable[[str], bool]) -> bool:
    return bool(page.songs) and all(known(song.ident) for song in page.songs)


def _add(seen: Pass, page: Page) -> bool:
    """Add a page; True if it was the last."""
    for song in page.songs:
        seen.songs.setdefault(song.ident, seen.known(song))
    seen.pages += 1
    seen.skipped += page.skipped
    seen.cursor = page.next
    seen.last = page.songs[-1].ident if page.songs else None
    seen.complete = page.next is None
    return seen.complete
