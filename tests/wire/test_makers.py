"""Turns for what the service makes: who gets one when, and what is left for others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.wire.gate import Gate
from musicfs.wire.makers import AHEAD, MAKERS, Makers


class Crowd:
    """Many that want something made, on one nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.makers, self.nursery = Makers(), nursery
        self.wants: dict[int, bool] = {}
        """Who came and has not left, by number, and whether nobody has opened that yet."""
        self.ends: dict[int, Callable[[], None]] = {}
        """Whose turn it is."""
        self._scopes: dict[int, trio.CancelScope] = {}

    async def come(self, number: int, foretold: bool = False) -> None:
        """Ask for a turn."""
        self.wants[number], self._scopes[number] = foretold, trio.CancelScope()
        self.nursery.start_soon(self._wait, number)
        await trio.testing.wait_all_tasks_blocked()

    async def _wait(self, number: int) -> None:
        with self._scopes[number]:
            self.ends[number] = await self.makers.enter(lambda: self.wants[number])

    async def go(self, number: int) -> None:
        """End a turn, or give up waiting."""
        if number in self.ends:
            self.ends.pop(number)()
        else:
            self._scopes[number].cancel()
        await trio.testing.wait_all_tasks_blocked()
        del self.wants[number]

    @property
    def waiting(self) -> list[int]:
        """Who has no turn, as they came."""
        return [number for number in self.wants if number not in self.ends]


@asynccontextmanager
async def crowded() -> AsyncIterator[Crowd]:
    """Open a crowd, and send it home."""
    async with trio.open_nursery() as nursery:
        yield Crowd(nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_four_for_readers_and_a_fifth_ahead() -> None:
    """Four are made for readers, a fifth one only if nobody has opened it yet, and no sixth; of two that
    nobody has opened one is among four."""
    async with crowded() as crowd:
        for number in range(6):
            await crowd.come(number)
        assert crowd.waiting == [4, 5]
        for number in (4, 5):
            await crowd.go(number)
        await crowd.come(10, foretold=True)
        await crowd.come(11, foretold=True)
        assert crowd.waiting == [11]
        for number in (11, 0):
            await crowd.go(number)
        await crowd.come(12, foretold=True)
        assert crowd.waiting == [12]
        await crowd.go(1)
        assert crowd.waiting == []


@pytest.mark.trio
async def test_readers_first() -> None:
    """A reader's goes before what is ahead, however long that has waited, and loses no turn to it."""
    async with crowded() as crowd:
        for number in range(4):
            await crowd.come(number)
        await crowd.come(4, foretold=True)
        await crowd.come(5, foretold=True)
        await crowd.come(6)
        assert crowd.waiting == [5, 6]
        await crowd.go(0)
        assert crowd.waiting == [5]
        await crowd.go(4)
        assert crowd.waiting == []


@pytest.mark.trio
async def test_opened_meanwhile() -> None:
    """What was ahead and is opened counts as a reader's, made or waiting, and the next one is ahead."""
    async with crowded() as crowd:
        for number in range(3):
            await crowd.come(number)
        await crowd.come(3, foretold=True)
        crowd.wants[3] = False
        await crowd.come(4, foretold=True)
        assert crowd.waiting == []
        await crowd.come(5, foretold=True)
        await crowd.come(6)
        crowd.wants[5] = False
        await crowd.go(0)
        assert crowd.waiting == [6]


@pytest.mark.trio
async def test_spare(autojump_clock: trio.testing.MockClock) -> None:
    """Who would begin something ahead waits until it could be made at once, and no reader waits."""
    async with crowded() as crowd:
        for number in range(4):
            await crowd.come(number)
        await crowd.makers.spare()
        await crowd.come(4, foretold=True)
        with trio.move_on_after(5) as waiting:
            await crowd.makers.spare()
        assert waiting.cancelled_caught
        await crowd.come(5)
        await crowd.go(4)
        with trio.move_on_after(5) as waiting:
            await crowd.makers.spare()
        assert waiting.cancelled_caught
        crowd.nursery.start_soon(crowd.go, 5)
        with trio.fail_after(5):
            await crowd.makers.spare()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.booleans()),
        st.tuples(st.just("go"), st.integers(0, 30)),
        st.tuples(st.just("opened"), st.integers(0, 30)),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.booleans())
def test_laws(steps: list[tuple[str, int]], lone: bool) -> None:
    """Whoever comes, goes and is opened: five at most and four of readers, nobody waits for nothing, and one
    that is ahead keeps no reader waiting."""

    async def play() -> None:
        async with crowded() as crowd:
            for number, (step, which) in enumerate(steps):
                chosen = list(crowd.wants)[which % len(crowd.wants)] if crowd.wants else None
                if step == "come":
                    ahead = bool(which) and not (lone and any(crowd.wants.values()))
                    await crowd.come(number, ahead)
                elif chosen is not None and step == "go":
                    await crowd.go(chosen)
                elif chosen is not None:
                    crowd.wants[chosen] = False
                made = [crowd.wants[one] for one in crowd.ends]
                assert len(made) <= MAKERS + AHEAD
                readers = [one for one in crowd.waiting if not crowd.wants[one]]
                if step != "opened" and readers:
                    assert len(made) == MAKERS + AHEAD or made.count(False) >= MAKERS
                    # Three for readers and one ahead: that one took nothing from them.
                    assert not lone or made.count(False) >= MAKERS
                if step != "opened" and crowd.waiting and not readers:
                    assert len(made) >= MAKERS

    trio.run(play)


@pytest.mark.trio
async def test_questions_have_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    """While a silent service makes five mp3s, one of them ahead, and more wait, links and listings get their
    turn at once."""
    host = Gate(trio.current_time)

    async def makes(foretold: bool) -> None:
        async with host.turn("mp3", 60.0, lambda: foretold):
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        for foretold in (*(False,) * 12, *(True,) * 3):
            nursery.start_soon(makes, foretold)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        for foretold in (*(False,) * 4, *(True,) * 3, *(False,) * 12):
            nursery.start_soon(makes, foretold)
            await trio.testing.wait_all_tasks_blocked()
        assert host.limiter.borrowed_tokens == 5
        began = trio.current_time()
        for kind in ("mint", "list", "mint", "list"):
            async with host.turn(kind, 60.0):
                assert trio.current_time() == began
        nursery.cancel_scope.cancel()
    assert host.limiter.borrowed_tokens == 0
    await host.makers.spare()
