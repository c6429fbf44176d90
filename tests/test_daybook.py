"""What was asked today, over midnight and restarts."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from musicfs.daybook import Daybook
from musicfs.wire import Tally
from tests.world import Notebook

NOON = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))


class Clock:
    """A wall clock that a test sets."""

    now = NOON

    def __call__(self) -> float:
        return self.now


def test_a_day_ends_at_midnight() -> None:
    """The day's counts begin anew, those since the start go on."""
    clock = Clock()
    tally = Tally(clock)
    tally.note("list", 2)
    clock.now += 13 * 3600
    tally.note("mint", 1)
    assert tally.today == ("2026-11-22", {"mint": 1})
    assert tally.counts == {"list": 2, "mint": 1}


@pytest.mark.trio
async def test_a_restart_takes_the_day_up(autojump_clock: trio.testing.MockClock) -> None:
    """What was asked before counts on the same day, and is forgotten on another."""
    clock, memory = Clock(), Notebook()
    first = Tally(clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Daybook(first, memory).write_behind)
        first.note("list", 5)
        await trio.sleep(61)
        first.note("list", 1)
        await Daybook(first, Notebook()).flush()
        nursery.cancel_scope.cancel()
    second = Tally(clock)
    book = Daybook(second, memory)
    assert second.today[1] == {"list": 5}
    assert second.counts == {}
    second.note("mp3", 1)
    await book.flush()
    third = Tally(clock)
    Daybook(third, memory)
    assert third.today[1] == {"list": 5, "mp3": 1}
    clock.now += 86_400
    later = Tally(clock)
    Daybook(later, memory)
    assert later.today[1] == {}


@pytest.mark.trio
@pytest.mark.parametrize(
    "said", ["", "{}", "[1]", '["2026-11-21", {"list": "x"}]', '["2026-11-21", 3]', "\0"]
)
async def test_garbage_begins_the_count_anew(said: str) -> None:
    """A word that cannot be read is none."""
    memory = Notebook()
    memory.marks["asked"] = said
    tally = Tally(Clock())
    Daybook(tally, memory)
    assert tally.today[1] == {}
