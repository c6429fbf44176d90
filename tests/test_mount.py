"""What the mount does beside its requests."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from musicfs.mount import stay_lean


def test_the_heap_is_looked_at_only_after_work(autojump_clock: MockClock) -> None:
    """What streams and lists left is given back within ten seconds, once; an idle mount does nothing."""
    done, given = 0, list[float]()

    async def work() -> None:
        nonlocal done
        for seconds in (1.0, 7.0, 60.0):  # At 1, 8 and 68 seconds.
            await trio.sleep(seconds)
            done += 1
        await trio.sleep(100.0)

    async def run() -> None:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stay_lean, lambda: done, lambda: given.append(trio.current_time() - began))
            await work()
            nursery.cancel_scope.cancel()

    trio.run(run, clock=autojump_clock)
    assert [round(moment) for moment in given] == [10, 70]
