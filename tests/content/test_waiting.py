"""Where reads wait for the network, on virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from musicfs.content.progress import Progress
from musicfs.content.waiting import WaitingRoom
from musicfs.errors import TooSlow


def room(most: int) -> WaitingRoom:
    """Build one with so many places."""
    made = WaitingRoom()
    made.limit(most)
    return made


@pytest.mark.parametrize("most", [None, 1])
@pytest.mark.trio
async def test_a_free_place_costs_no_wait(most: int | None) -> None:
    """Who finds a place, and what he wants, goes on without anybody else having a turn."""
    made = WaitingRoom() if most is None else room(most)
    with trio.testing.assert_no_checkpoints():
        await made.reach(Progress(10), 5)


@pytest.mark.trio
async def test_a_place_is_left_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    """Who finds all places taken waits for one, 5 s at most; who has what he wanted leaves his."""
    made, progress = room(1), Progress(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.reach, progress, 10)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(TooSlow, match="too many reads"):
            await made.reach(progress, 10)
        assert trio.current_time() - began == 5.0
        nursery.start_soon(made.reach, progress, 20)
        await trio.sleep(4.0)
        progress.advance(20)
    assert trio.current_time() - began == 9.0


@pytest.mark.trio
async def test_who_goes_away_gives_his_place_back(autojump_clock: trio.testing.MockClock) -> None:
    """A reader that is cancelled while it waits leaves its place to another."""
    made, progress = room(1), Progress(0)
    for _ in range(2):
        with trio.move_on_after(1.0) as left:
            await made.reach(progress, 10)
        assert left.cancelled_caught
    progress.finish()
    with trio.testing.assert_no_checkpoints():
        await made.reach(progress, 10)
