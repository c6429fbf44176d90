"""Links: minted on first need, shared, renewed, never told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from musicfs import providers
from musicfs.content.links import Links, SongSource
from musicfs.demo import Service
from musicfs.demo.faults import body, json_error
from musicfs.errors import Misbehaved, NotFinished
from musicfs.model import Form, Song
from tests.world import Speaks

Dated = Callable[[], float]


class Desk:
    """Links minted by the embedded service."""

    def __init__(self) -> None:
        self.service = Service(clock=lambda: 1_795_000_000.0 + trio.current_time())
        self.job = self.service.add_job("100200300", "Song", stems=b"PK\x05\x06" + bytes(18))
        services = providers.find("https://media.example.net")
        self.links = Links(Speaks(self.service), services, self.service.clock)
        handle = self.service.tempolor.handle(self.job)
        self.song = Song("tempolor", self.job.item, handle, updated=self.job.updated)

    async def url(self, form: str = Form.WAV) -> str:
        """Give the form's link."""
        return (await self.links.locate(self.song, form)).url

    @property
    def mints(self) -> int:
        """How many links were made."""
        return self.service.counts["mint"]


@pytest.mark.trio
async def test_a_link_is_made_once_and_shared(autojump_clock: trio.testing.MockClock) -> None:
    """Thirty who need the same form at once get one link; another form has its own."""
    desk = Desk()
    desk.service.twist(kind="mint", first_byte=1.0)
    found: list[str] = []

    async def need() -> None:
        found.append(await desk.url())

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(need)
    assert len(set(found)) == 1
    assert desk.mints == 1
    assert await desk.url(Form.MP3) not in found
    assert desk.mints == 2


@pytest.mark.trio
async def test_zero_seconds_to_live_is_not_expired(autojump_clock: trio.testing.MockClock) -> None:
    """With `remainSeconds` 0 a link is used until it is refused, be it a day."""
    desk = Desk()
    first = await desk.url()
    await trio.sleep(86_400)
    assert await desk.url() == first
    assert desk.mints == 1


@pytest.mark.parametrize(("lives", "sound"), [(100, 94.0), (10, 8.9), (2, 1.7)])
@pytest.mark.trio
async def test_a_link_is_renewed_a_little_early(
    autojump_clock: trio.testing.MockClock, lives: int, sound: float
) -> None:
    """A known life is used up to a tenth, at most 5 s, before its end."""
    desk = Desk()
    desk.service.knobs.remain_seconds = lives
    first = await desk.url()
    await trio.sleep(sound)
    assert await desk.url() == first
    await trio.sleep(lives - sound - 0.01)
    assert await desk.url() != first
    assert desk.mints == 2


@pytest.mark.trio
async def test_a_slow_mint_counts_from_its_asking(autojump_clock: trio.testing.MockClock) -> None:
    """A link's life is counted from when it was asked for, so one that took long is renewed in time."""
    desk = Desk()
    desk.service.knobs.remain_seconds = 20
    desk.service.twist(kind="mint", first_byte=15.0)
    await desk.url()
    await trio.sleep(4)
    await desk.url()
    assert desk.mints == 2


@pytest.mark.trio
async def test_a_dead_link_is_let_go_once(autojump_clock: trio.testing.MockClock) -> None:
    """Of many who find the same link dead, the first has a new one made, and the others use it."""
    desk = Desk()
    source = SongSource(desk.links, desk.song, Form.WAV)
    dead = await source.locate()
    source.expire(dead)
    fresh = await source.locate()
    source.expire(dead)
    assert await source.locate() is fresh
    assert desk.mints == 2


@pytest.mark.trio
async def test_a_failure_reaches_all_and_heals(autojump_clock: trio.testing.MockClock) -> None:
    """A mint that fails is everybody's failure; the next need asks again."""
    desk = Desk()
    desk.service.fail(json_error(400, "Generation is not completed yet (0)"), kind="mint", times=1)
    with pytest.raises(NotFinished):
        await desk.url()
    assert (await desk.url()).startswith("https://")


@pytest.mark.trio
async def test_a_mint_without_a_link_is_misbehaviour(autojump_clock: trio.testing.MockClock) -> None:
    """200 without a URL is no link."""
    desk = Desk()
    desk.service.fail(body(b'{"url":null,"remainSeconds":0}'), kind="mint")
    with pytest.raises(Misbehaved):
        await desk.url()


@pytest.mark.trio
async def test_who_asked_first_may_go_away(autojump_clock: trio.testing.MockClock) -> None:
    """When the first is cancelled in his mint, those who wait have one made."""
    desk = Desk()
    desk.service.twist(kind="mint", first_byte=1.0)
    found: list[str] = []

    async def first() -> None:
        with trio.move_on_after(0.5):
            await desk.url()

    async def later() -> None:
        found.append(await desk.url())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            nursery.start_soon(later)
    assert len(found) == 5
    assert len(set(found)) == 1
    assert desk.mints == 2


@pytest.mark.trio
async def test_public_forms_ask_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Flow Music's forms are located without a question."""
    desk = Desk()
    song = Song("flowmusic", "0f0e0d0c", "user:1-a@b-clip:0f0e0d0c")
    assert (await desk.links.locate(song, Form.WAV)).url == "https://media.example.net/0f0e0d0c.wav"
    assert desk.service.log == []


@pytest.mark.trio
async def test_a_link_shows_in_no_repr(autojump_clock: trio.testing.MockClock) -> None:
    """No repr of what holds a link tells it."""
    desk = Desk()
    locator = await desk.links.locate(desk.song, Form.WAV)
    assert "auth_key" not in repr(locator)
    assert "auth_key" not in repr(vars(desk.links))
