"""One account's listing, page by page.

How it thinks: pages of a newest-first list overlap by one record. If a page does not begin with the
record the last one ended with, the list has shifted in between, and the pass begins again. A refresh
stops at the first page that holds nothing unknown; a complete pass reads to the last.

What must always be true: a pass that returns `complete` has seen every record there was; anything that
could not be asked is raised, never left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from musicfs.errors import Misbehaved
from musicfs.model import Account, Conversation, Page, Provider, Song

T = TypeVar("T")
_PAGES = 1000  # a listing longer than that is not a person's (issue 2: page cap)
_RESTARTS = 5  # passes begun before a list that keeps shifting is left for later


class Converses(Protocol):
    """What is needed of the network here."""

    async def converse(self, talk: Conversation[T], background: bool = False) -> T:
        """Drive a conversation to its noun."""
        ...


@dataclass(slots=True)
class Pass:
    """What a pass over one account saw."""

    songs: dict[str, Song] = field(default_factory=dict)
    complete: bool = False
    skipped: int = 0


class _Shifted(Exception):
    """The list moved between two pages."""


async def read_account(
    wire: Converses, provider: Provider, account: Account, known: Callable[[str], bool] | None
) -> Pass:
    """Read one account's listing; with `known`, stop at the first page that is wholly known.

    Raises:
        UpstreamError: a page could not be had.
    """
    for _ in range(_RESTARTS):
        try:
            return await _once(wire, provider, account, known)
        except _Shifted:
            continue
    raise Misbehaved("the listing keeps changing while it is read")


async def _once(
    wire: Converses, provider: Provider, account: Account, known: Callable[[str], bool] | None
) -> Pass:
    seen = Pass()
    cursor: str | None = None
    last: str | None = None
    for _ in range(_PAGES):
        page: Page = await wire.converse(provider.page(account, cursor), background=True)
        if provider.newest_first and last is not None and (not page.songs or page.songs[0].ident != last):
            raise _Shifted
        stop = known is not None and bool(page.songs) and all(known(song.ident) for song in page.songs)
        for song in page.songs:
            seen.songs.setdefault(song.ident, song)
        seen.skipped += page.skipped
        if page.next is None:
            seen.complete = True
            return seen
        if stop and provider.newest_first:
            return seen
        cursor = page.next
        last = page.songs[-1].ident if page.songs else None
    raise Misbehaved("the listing has no end")
