"""One account's listing, page by page: overlaps, shifts, ends."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from musicfs import providers
from musicfs.catalog.listing import Pass, read_account
from musicfs.demo import Service
from musicfs.demo.faults import body, json_error
from musicfs.errors import Misbehaved, MusicfsError
from musicfs.model import Account
from tests.world import Speaks

ADA = "ada@example.com"


class Reader:
    """A service with clips, and a pass over them."""

    def __init__(self, clips: int) -> None:
        self.service = Service()
        self.service.flow.add_account(ADA)
        for number in range(clips):
            self.service.add_clip(ADA, f"Clip {number}", 1.0)
        self.seen = Pass()
        self.provider = providers.find("https://media.example.net")["flowmusic"]

    async def read(self, known: set[str] | None = None) -> list[str]:
        """Read on; give the idents in listing order."""
        find = None if known is None else known.__contains__
        failure: MusicfsError | None = None
        async with trio.open_nursery() as nursery:
            try:
                wire = Speaks(self.service)
                await read_account(nursery, wire, self.provider, Account(ADA), self.seen, find)
            except MusicfsError as failed:
                failure = failed
        if failure is not None:
            raise failure
        return list(self.seen.songs)

    @property
    def newest_first(self) -> list[str]:
        """What there is."""
        return [clip.uuid for clip in reversed(self.service.flow.clips)]

    @property
    def lists(self) -> int:
        """How many pages were asked for."""
        return self.service.counts["list"]


@pytest.mark.parametrize(
    ("clips", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (199, 2), (200, 3), (250, 3)]
)
@pytest.mark.trio
async def test_every_page_is_read(autojump_clock: trio.testing.MockClock, clips: int, pages: int) -> None:
    """A complete pass sees each clip once, in order, with pages that overlap by one."""
    reader = Reader(clips)
    assert await reader.read() == reader.newest_first
    assert reader.seen.complete
    assert reader.lists == pages


@pytest.mark.trio
async def test_a_refresh_stops_at_the_first_known_page(autojump_clock: trio.testing.MockClock) -> None:
    """A newest-first list is read only as far as it holds anything new; that is no complete pass."""
    reader = Reader(450)
    known = set(reader.newest_first)
    await reader.read(known)
    assert reader.lists == 1
    assert not reader.seen.complete
    fresh = Reader(450)
    assert len(await fresh.read(set(fresh.newest_first[150:]))) == 298
    assert fresh.lists == 3


@pytest.mark.parametrize("shift", ["new", "deleted", "both"])
@pytest.mark.trio
async def test_a_shift_between_pages_begins_anew(autojump_clock: trio.testing.MockClock, shift: str) -> None:
    """A list that changed between two pages is read again from the start, so nothing is missed or doubled."""
    reader = Reader(350)
    done: list[int] = []

    def between() -> None:
        done.append(reader.lists)
        if len(done) == 2:
            if shift in ("deleted", "both"):
                del reader.service.flow.clips[330:333]
            if shift in ("new", "both"):
                reader.service.add_clip(ADA, "New", 1.0)

    reader.service.knobs.between_pages = between
    assert await reader.read() == reader.newest_first
    assert reader.seen.complete


@pytest.mark.trio
async def test_a_list_that_never_rests_is_left_for_later(autojump_clock: trio.testing.MockClock) -> None:
    """A list that shifts at every page is given up after a few passes, and is an error."""
    reader = Reader(250)

    def between() -> None:
        reader.service.add_clip(ADA, "New", 1.0)

    reader.service.knobs.between_pages = between
    with pytest.raises(Misbehaved):
        await reader.read()
    assert not reader.seen.complete
    assert reader.lists <= 15


@pytest.mark.trio
async def test_a_broken_pass_goes_on_at_its_page(autojump_clock: trio.testing.MockClock) -> None:
    """Pages that were read are kept: the next try asks for the one that failed and those behind it."""
    reader = Reader(350)
    reader.service.fail(json_error(500), path="offset=198", times=2)
    with pytest.raises(Misbehaved):
        await reader.read()
    assert reader.lists == 4  # the third was asked for ahead, then again in its turn
    assert await reader.read() == reader.newest_first
    assert reader.lists == 6


@pytest.mark.trio
async def test_an_endless_list_ends(autojump_clock: trio.testing.MockClock) -> None:
    """After a thousand pages a list is not a person's, and is an error."""
    reader = Reader(0)
    handle = f"user:1-{ADA}-clip:0f0e0d0c-0b0a-4908-8706-050403020100"
    page = b'{"clips":[{"clip":"%b"},{"clip":"%b"}],"next":1000000}' % (handle.encode(), handle.encode())
    reader.service.fail(body(page), kind="list")
    with pytest.raises(Misbehaved):
        await reader.read()
    assert reader.lists <= 1000


@pytest.mark.trio
async def test_a_pass_shows_no_account(autojump_clock: trio.testing.MockClock) -> None:
    """A pass may be logged: it names no address."""
    reader = Reader(3)
    await reader.read()
    assert ADA not in repr(reader.seen)
