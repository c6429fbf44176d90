"""Waiters at a watermark: laws."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.content.progress import Progress
from musicfs.errors import TooSlow


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=20), st.lists(st.integers(0, 30), max_size=6), st.booleans())
def test_waiters_wake_when_their_byte_has_come(wanted: list[int], steps: list[int], ends: bool) -> None:
    """Each waiter wakes at the first advance that reaches its byte, at once; the end wakes all the others."""

    async def main() -> None:
        progress = Progress(0)
        woken: dict[int, int] = {}

        async def wait(number: int) -> None:
            await progress.reach(wanted[number])
            woken[number] = progress.at

        async with trio.open_nursery() as nursery:
            for number in range(len(wanted)):
                nursery.start_soon(wait, number)
            at = 0
            for step in steps:
                await trio.testing.wait_all_tasks_blocked()
                at += step
                progress.advance(at)
            await trio.testing.wait_all_tasks_blocked()
            assert {number for number, offset in enumerate(wanted) if offset <= at} == set(woken)
            assert progress.waiting == len(wanted) - len(woken)
            if ends:
                progress.finish()
                await trio.testing.wait_all_tasks_blocked()
                assert len(woken) == len(wanted)
            assert progress.waiting == (0 if ends else len(wanted) - len(woken))
            nursery.cancel_scope.cancel()
        assert progress.waiting == 0

    trio.run(main)


@pytest.mark.trio
async def test_a_waiter_that_goes_away_takes_nothing() -> None:
    """Of three who wait for one byte the first is cancelled; the others wake when it has come."""
    progress = Progress(0)
    woken: list[int] = []

    async def wait(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await progress.reach(10)
            woken.append(number)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(wait, number, scope)
        await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert progress.waiting == 2
        progress.advance(10)
    assert sorted(woken) == [1, 2]


@pytest.mark.trio
async def test_an_ended_job_holds_nobody() -> None:
    """After the end nobody waits, and the first failure stays the failure."""
    progress = Progress(5)
    first = TooSlow("first")
    progress.finish(first)
    progress.finish(TooSlow("second"))
    await progress.reach(1_000)
    assert progress.ended
    assert progress.failure is first
