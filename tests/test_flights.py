"""One question, many who wait for its answer; on virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from musicfs.errors import Crowded, Misbehaved, NoSuchEntry, TooSlow, Unreachable
from musicfs.flights import Flights


class Oracle:
    """Answers after a while, and counts how often it was asked."""

    def __init__(self, seconds: float = 1.0, failure: Exception | None = None) -> None:
        self.seconds, self.failure, self.asked = seconds, failure, 0

    async def __call__(self) -> int:
        """Answer."""
        self.asked += 1
        await trio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return self.asked


@pytest.mark.trio
async def test_many_share_one_answer(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever asks while the question is out gets the same answer, at the same moment."""
    flights: Flights[int] = Flights(nursery, most=10, remember=1.0)
    oracle = Oracle()
    got: list[tuple[int, float]] = []
    began = trio.current_time()

    async def ask() -> None:
        got.append((await flights.ask("key", oracle, 5.0), trio.current_time() - began))

    async with trio.open_nursery() as inner:
        for _ in range(10):
            inner.start_soon(ask)
    assert got == [(1, 1.0)] * 10
    assert await flights.ask("key", oracle, 5.0) == 2


@pytest.mark.trio
async def test_questions_do_not_mix(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Each key has its own question."""
    flights: Flights[int] = Flights(nursery, most=1, remember=1.0)
    one, two = Oracle(), Oracle()
    async with trio.open_nursery() as inner:
        inner.start_soon(flights.ask, "one", one, 5.0)
        inner.start_soon(flights.ask, "two", two, 5.0)
    assert (one.asked, two.asked) == (1, 1)


@pytest.mark.trio
async def test_the_fifth_is_sent_away(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Beyond the number that may wait, the next is Crowded at once."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    oracle = Oracle()
    async with trio.open_nursery() as inner:
        for _ in range(4):
            inner.start_soon(flights.ask, "key", oracle, 5.0)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(Crowded):
            await flights.ask("key", oracle, 5.0)
        assert trio.current_time() == began
    assert await flights.ask("key", oracle, 5.0) == 2


@pytest.mark.trio
async def test_who_cannot_wait_leaves_the_question_out(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The limit is TooSlow, exactly then; the answer comes all the same, to whoever waits on."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    oracle = Oracle(3.0)
    began = trio.current_time()
    with pytest.raises(TooSlow):
        await flights.ask("key", oracle, 2.0)
    assert trio.current_time() - began == 2.0
    assert await flights.ask("key", oracle, 2.0) == 1
    assert trio.current_time() - began == 3.0


@pytest.mark.trio
async def test_the_first_may_go_away(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """The question is the house's: cancelling who asked first takes nothing from the others."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    oracle = Oracle(2.0)
    got: list[int] = []

    async def other() -> None:
        got.append(await flights.ask("key", oracle, 5.0))

    async with trio.open_nursery() as inner:
        with trio.move_on_after(1.0):
            inner.start_soon(other)
            await flights.ask("key", oracle, 5.0)
    assert got == [1]


@pytest.mark.trio
async def test_a_failure_is_remembered(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A failure reaches all who wait, answers for its time without a question, and is then asked again."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    oracle = Oracle(0.5, NoSuchEntry("none"))
    for _ in range(5):
        with pytest.raises(NoSuchEntry):
            await flights.ask("key", oracle, 5.0)
    assert oracle.asked == 1
    await trio.sleep(1.01)
    oracle.failure = None
    assert await flights.ask("key", oracle, 5.0) == 2


@pytest.mark.expected_log("a question broke")
@pytest.mark.trio
async def test_a_bug_in_a_question_stays_in_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """What is not of the family is logged and becomes Misbehaved; the house goes on."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    with pytest.raises(Misbehaved):
        await flights.ask("key", Oracle(0.5, ZeroDivisionError("x")), 5.0)
    assert await flights.ask("key", Oracle(), 5.0) == 1


@pytest.mark.trio
async def test_the_end_of_the_house_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits when the house closes is told so and does not wait for ever."""
    with trio.fail_after(10):
        async with trio.open_nursery() as outer, trio.open_nursery() as house:
            flights: Flights[int] = Flights(house, most=4, remember=1.0)

            async def wait() -> None:
                with pytest.raises(Misbehaved):
                    await flights.ask("key", Oracle(1e6), 1e6)

            outer.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            house.cancel_scope.cancel()


@pytest.mark.parametrize("failure", [None, TooSlow("late"), Unreachable("no")])
@pytest.mark.trio
async def test_two_that_are_late_stand_for_the_others(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, failure: Exception | None
) -> None:
    """After two questions in a row that were not answered in time no other is asked for five seconds, and who
    asks one is told at once; then it is tried again."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    others = Oracle()
    for number in range(2):
        with pytest.raises((TooSlow, Unreachable)):
            await flights.ask(f"late {number}", Oracle(3.0 if failure else 60.0, failure), 4.0)
    began = trio.current_time()
    # Of the two that are late the answers may still be on their way; nobody waits for them either.
    for number in ("late 0", "late 1", *range(100)):
        with pytest.raises((TooSlow, Unreachable)):
            await flights.ask(number, others, 4.0)
    assert (others.asked, trio.current_time()) == (0, began)
    await trio.sleep(5.1)
    assert await flights.ask("other", others, 4.0) == 1


@pytest.mark.parametrize("failure", [NoSuchEntry("none"), Misbehaved("bad")])
@pytest.mark.trio
async def test_what_is_unwell_alone_stops_nobody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, failure: Exception
) -> None:
    """One question that is late, and any number that fail for reasons of their own, leave the others
    alone."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    with pytest.raises(TooSlow):
        await flights.ask("late", Oracle(60.0), 2.0)
    for number in range(5):
        with pytest.raises(type(failure)):
            await flights.ask(number, Oracle(1.5, failure), 2.0)
    assert await flights.ask("other", Oracle(), 2.0) == 1


@pytest.mark.trio
async def test_an_answer_ends_the_rest(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A late answer that comes after all shows that the others may be asked."""
    flights: Flights[int] = Flights(nursery, most=4, remember=1.0)
    for number in range(2):
        with pytest.raises(TooSlow):
            await flights.ask(f"late {number}", Oracle(4.5), 2.0)
    await trio.sleep(2.6)
    assert await flights.ask("other", Oracle(), 2.0) == 1
