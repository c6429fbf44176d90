"""Pages asked for side by side: how many, how fast, and exact whatever happens to the list meanwhile.

How it thinks: `Shifting` is a service that answers a page as the list is at some moment between the request
and the answer, with delays that put answers out of order; clips appear at the front and vanish anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from musicfs import providers
from musicfs.catalog.listing import Pass, read_account
from musicfs.errors import Misbehaved, MusicfsError, Throttled
from musicfs.model import Account, Conversation, Reply, Request

ADA = "ada@example.com"
RTT = 0.04  # seconds
FLOW = providers.find("https://media.example.net")["flowmusic"]
T = TypeVar("T")


def clip(number: int) -> dict[str, str]:
    """Make a clip."""
    return {"clip": f"user:1-{ADA}-clip:0f0e0d0c-0b0a-4908-8706-{number:012x}"}


class Shifting:
    """A Flow Music account whose list changes while it is read."""

    def __init__(self, clips: int) -> None:
        self.clips = list(range(clips))[::-1]
        """Newest first."""
        self.born = clips
        self.requests: list[int] = []
        """Offsets, in the order asked for."""
        self.retried = 0
        self.under_way = self.most = 0
        self.wait: Callable[[], float] = lambda: RTT / 2
        self.meanwhile: Callable[[], None] = lambda: None
        """Called each time a page has been made."""
        self.refuse: Callable[[int], MusicfsError | None] = lambda offset: None

    def add(self) -> None:
        """Let a clip be made."""
        self.clips.insert(0, self.born)
        self.born += 1

    async def converse(self, talk: Conversation[T], background: bool = False, once: bool = False) -> T:
        """Answer one page."""
        assert background
        offset = int(dict(next(talk).query)["offset"])
        self.requests.append(offset)
        self.retried += not once
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(self.wait())
            body = msgspec.json.encode(self.page(offset))
            refused = self.refuse(offset)
            self.meanwhile()
            await trio.sleep(self.wait())
        finally:
            self.under_way -= 1
        if refused is not None:
            raise refused
        try:
            talk.send(Reply(200, body))
        except StopIteration as done:
            noun: T = done.value
            return noun
        raise AssertionError("a page is one question")

    def page(self, offset: int) -> dict[str, object]:
        """Make a page of what there is now."""
        after = offset + 100 if offset + 100 < len(self.clips) else None
        return {"clips": [clip(one) for one in self.clips[offset : offset + 100]], "next": after}

    async def read(self, seen: Pass | None = None, first: bool = False) -> list[int]:
        """Read the account, for the `first` time or again; give the clips in the order of the listing."""
        seen = seen or Pass()
        failure: MusicfsError | None = None
        async with trio.open_nursery() as nursery:
            try:
                await read_account(nursery, self, FLOW, Account(ADA), seen, None, first)
            except MusicfsError as failed:
                failure = failed
        if failure is not None:
            raise failure
        assert seen.complete
        return [int(ident[-12:], 16) for ident in seen.songs]


@pytest.mark.trio
async def test_ten_thousand_clips_take_twenty_round_trips(autojump_clock: MockClock) -> None:
    """A first listing of 10,000 clips costs hardly more requests than it has pages, six at a time."""
    service = Shifting(10_000)
    began = trio.current_time()
    assert await service.read(first=True) == service.clips
    assert len(service.requests) <= 107
    assert (trio.current_time() - began) / RTT <= 20.5
    assert service.most <= 6


@pytest.mark.trio
async def test_a_late_page_holds_nobody_up(autojump_clock: MockClock) -> None:
    """While one page is late, those behind it are asked for and come; each is asked for once."""
    service = Shifting(3_000)
    late = iter([RTT * 4])
    service.wait = lambda: next(late, RTT / 2) if service.requests[-1] == 990 else RTT / 2
    began = trio.current_time()
    assert await service.read(first=True) == service.clips
    assert (trio.current_time() - began) / RTT <= 11
    assert len(service.requests) == len(set(service.requests))


@pytest.mark.trio
async def test_nothing_is_asked_for_behind_the_last_page(autojump_clock: MockClock) -> None:
    """Once a page says that it is the last, nothing behind it is asked for, also where others are late."""
    service = Shifting(900)  # The last page begins at 891.
    late = iter([RTT * 20])
    service.wait = lambda: next(late, RTT / 2) if service.requests[-1] == 99 else RTT / 2
    assert await service.read(first=True) == service.clips
    assert max(service.requests) == 891


@pytest.mark.trio
async def test_a_later_pass_leaves_two_connections(autojump_clock: MockClock) -> None:
    """A complete pass over what is known asks for four pages at a time: somebody may be opening files."""
    service = Shifting(2_000)
    assert await service.read() == service.clips
    assert service.most == 4


@pytest.mark.parametrize(("clips", "requests"), [(0, 1), (100, 1), (101, 2), (199, 2), (250, 3), (1000, 14)])
@pytest.mark.trio
async def test_a_short_listing_costs_its_pages(autojump_clock: MockClock, clips: int, requests: int) -> None:
    """Pages are asked for ahead only as fast as there turn out to be some."""
    service = Shifting(clips)
    assert await service.read() == service.clips
    assert len(service.requests) <= requests


@pytest.mark.trio
async def test_a_service_that_throttles_is_asked_one_page_at_a_time(autojump_clock: MockClock) -> None:
    """A page refused ahead is asked again in its turn; from then on nothing is asked ahead."""
    service = Shifting(5000)
    refused: list[int] = []

    def refuse(offset: int) -> MusicfsError | None:
        if len(service.requests) > 20 and service.under_way > 1:
            refused.append(offset)
            return Throttled("429")
        return None

    service.refuse = refuse
    assert await service.read() == service.clips
    assert 1 <= len(refused) <= 4
    assert service.requests[-20:] == sorted(set(service.requests[-20:]))
    assert len(service.requests) <= 51 + 2 * len(refused) + 3


@pytest.mark.trio
async def test_a_page_that_cannot_be_had_is_an_error(autojump_clock: MockClock) -> None:
    """What fails ahead and fails again in its turn is raised; the pages before it are kept."""
    service = Shifting(1000)
    service.refuse = lambda offset: Misbehaved("500") if offset == 495 else None
    seen = Pass()
    with pytest.raises(Misbehaved):
        await service.read(seen)
    assert (seen.complete, seen.pages, seen.cursor) == (False, 5, "495")
    service.refuse = lambda offset: None
    assert await service.read(seen) == service.clips


@settings(max_examples=150, deadline=None)
@given(
    clips=st.integers(0, 1500),
    seed=st.integers(0, 2**32),
    added=st.floats(0, 0.2),
    deleted=st.floats(0, 0.2),
    calm=st.integers(0, 60),
)
def test_whatever_shifts_nothing_is_lost_or_doubled(
    clips: int, seed: int, added: float, deleted: float, calm: int
) -> None:
    """A pass that ends well holds every clip that was there all along, once and in order.

    Answers come in any order, each as of its own moment; clips appear and vanish until there was calm, or for
    ever: then the pass may also be given up, with an error and not with a hole.
    """
    service, chance = Shifting(clips), random.Random(seed)
    always = set(service.clips)

    def meanwhile() -> None:
        if len(service.requests) > calm > 50:
            return
        if chance.random() < added:
            service.add()
        if chance.random() < deleted and service.clips:
            gone = chance.choice([0, chance.randrange(len(service.clips))])
            for _ in range(chance.randint(1, 3)):
                if gone < len(service.clips):
                    always.discard(service.clips.pop(gone))

    service.wait = lambda: chance.choice([0.0, 0.01, chance.random()])
    service.meanwhile = meanwhile

    async def read() -> list[int] | None:
        try:
            return await service.read()
        except Misbehaved:
            return None

    found = trio.run(read, clock=MockClock(autojump_threshold=0))
    if found is None:
        assert len(service.requests) >= 5
        return
    assert len(found) == len(set(found))
    assert [one for one in found if one in always] == sorted(always, reverse=True)


def test_a_page_foretells_only_full_pages() -> None:
    """A provider foretells the pages behind a full one; a service with pages of its own size is followed."""
    assert _talk({"clips": [clip(n) for n in range(100)], "next": 100}, None) == (
        "198",
        "297",
        "396",
        "495",
        "594",
        *map(str, range(693, 1200, 99)),
    )
    assert _talk({"clips": [clip(n) for n in range(50)], "next": 50}, None) == ()
    assert _talk({"clips": [clip(0)], "next": 1_000_000}, None) == ()
    assert _talk({"clips": [clip(0)], "next": None}, None) == ()


def _talk(body: object, cursor: str | None) -> tuple[str, ...]:
    talk = FLOW.page(Account(ADA), cursor)
    assert isinstance(next(talk), Request)
    try:
        talk.send(Reply(200, msgspec.json.encode(body)))
    except StopIteration as done:
        ahead: tuple[str, ...] = done.value.ahead
        return ahead
    raise AssertionError("a page is one question")


@pytest.mark.trio
async def test_what_is_known_is_not_held_twice(autojump_clock: MockClock) -> None:
    """A pass over songs that are known, and the same, keeps the known ones and not their copies."""
    service, first = Shifting(250), Pass()
    await service.read(first)
    second = Pass(lambda song: first.songs[song.ident] if first.songs[song.ident] == song else song)
    assert await service.read(second) == service.clips
    assert all(second.songs[ident] is song for ident, song in first.songs.items())
