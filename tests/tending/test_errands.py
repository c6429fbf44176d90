"""Errands: begun, looked at, called off; on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from musicfs.errors import Crowded, NoSuchEntry, TooSlow
from musicfs.tending.errands import Errand, Errands, Sweep

pytestmark = pytest.mark.trio


async def test_it_runs_to_its_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An errand is running until its last task ended, then done."""
    errand = Errand(nursery)
    for seconds in (1, 2):
        errand.spawn(partial(trio.sleep, seconds))
    assert errand.told(0)["stage"] == "running"
    await trio.sleep(1.5)
    assert errand.told(0)["stage"] == "running"
    await trio.sleep(1)
    assert errand.told(0)["stage"] == "done"


async def test_called_off(nursery: trio.Nursery) -> None:
    """Every task ends, what it holds is undone first, and the errand says that it was called off."""
    undone = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            undone.append(1)

    errand = Errand(nursery)
    errand.spawn(work)
    await wait_all_tasks_blocked()
    errand.cancel()
    await wait_all_tasks_blocked()
    assert (errand.told(0)["stage"], undone) == ("cancelled", [1])


@pytest.mark.expected_log("an errand broke")
async def test_no_failure_reaches_the_nursery(nursery: trio.Nursery) -> None:
    """A failure of ours becomes a sentence with its remedy, a mistake of ours a line in the log."""

    async def fails() -> None:
        raise TooSlow("no answer")

    async def breaks() -> None:
        raise ZeroDivisionError

    errand = Errand(nursery)
    errand.spawn(fails)
    errand.spawn(breaks)
    await wait_all_tasks_blocked()
    told = errand.told(0)
    assert (told["stage"], told["failed"]) == ("done", 2)
    assert {one["error"] for one in told["failures"]} == {
        "no answer",
        "an unexpected failure, see the daemon's log",
    }


async def test_failures_are_told_in_parts(nursery: trio.Nursery) -> None:
    """At most fifty at a time, from the place asked for: put together they are all, once."""
    errand = Errand(nursery)
    for number in range(120):
        errand.fail(f"path {number}", TooSlow("slow"))
    got: list[str] = []
    while len(got) < errand.told(0)["failed"]:
        part = errand.told(len(got))["failures"]
        assert 0 < len(part) <= 50
        got += [one["path"] for one in part]
    assert got == [f"path {number}" for number in range(120)]


async def test_an_open_errand_has_not_ended(nursery: trio.Nursery) -> None:
    """While more is to be added it is running, though nothing is under way; called off it ends."""
    errand = Errand(nursery)
    errand.open = True
    assert errand.told(0)["stage"] == "running"
    errand.cancel()
    assert errand.told(0)["stage"] == "cancelled"


async def test_so_many_and_no_more(nursery: trio.Nursery) -> None:
    """Sixteen under way are the most; of ended ones the oldest is forgotten, and its number unknown."""
    errands = Errands()
    numbers = []
    for _ in range(16):
        errands.check()
        errand = Errand(nursery)
        errand.spawn(trio.sleep_forever)
        numbers.append(errands.keep(errand))
    with pytest.raises(Crowded):
        errands.check()
    errands.find(numbers[3]).cancel()
    await wait_all_tasks_blocked()
    errands.check()
    fresh = errands.keep(Errand(nursery))
    assert fresh not in numbers
    for unknown in (numbers[3], fresh + 1, "1", None):
        with pytest.raises(NoSuchEntry):
            errands.find(unknown)
    for number in set(numbers) - {numbers[3]}:
        errands.find(number).cancel()


async def test_a_sweep_gives_the_loop_back_at_each_step(nursery: trio.Nursery) -> None:
    """Between any two steps others have their turn."""
    order: list[str] = []

    async def other() -> None:
        for _ in range(5):
            order.append("other")
            await trio.lowlevel.checkpoint()

    def steps() -> Iterator[None]:
        for _ in range(5):
            order.append("step")
            yield

    sweep = Sweep(nursery, steps(), lambda: {"seen": len(order)})
    nursery.start_soon(other)
    await wait_all_tasks_blocked()
    assert sweep.told(0)["seen"] == 10
    assert all(order[place] != order[place + 2] or order[place] != order[place + 1] for place in range(8))
