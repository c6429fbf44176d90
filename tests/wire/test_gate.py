"""A host's gate, on virtual time: who is down, who asked for quiet, what is left of patience."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.errors import Misbehaved, Rejected, Throttled, TooSlow, Unreachable, UpstreamError
from musicfs.wire.gate import CONNECTIONS, Gate, Gates, Patience

FAR = 1e9


def gate() -> Gate:
    """Build a gate on trio's clock."""
    return Gate(trio.current_time)


def downed(times: int = 2) -> Gate:
    """Build the gate of a host that was silent so often."""
    made = gate()
    for _ in range(times):
        made.silent(Unreachable("nobody"))
    return made


async def probe(host: Gate, failure: UpstreamError | None) -> None:
    """Ask once, and be answered or not."""
    host.admit("list", FAR)
    async with host.turn("list", FAR):
        if failure is None:
            host.heard()
        else:
            host.silent(failure)


# Down ---------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_one_silence_is_no_outage(autojump_clock: trio.testing.MockClock) -> None:
    """One timeout is bad luck; requests go on."""
    host = downed(1)
    assert not host.down
    host.admit("list", FAR)


@pytest.mark.trio
async def test_an_answer_between_two_silences_counts(autojump_clock: trio.testing.MockClock) -> None:
    """Only two in a row mean that a host is down."""
    host = downed(1)
    host.heard()
    host.silent(TooSlow("late"))
    assert not host.down


@pytest.mark.trio
@pytest.mark.parametrize("kind", [Unreachable, TooSlow])
async def test_a_host_that_is_down_refuses_at_once(
    autojump_clock: trio.testing.MockClock, kind: type[UpstreamError]
) -> None:
    """After two silences everybody is refused by the last one's own name, for 15 s, without waiting."""
    host = downed(1)
    host.silent(kind("nobody"))
    began = trio.current_time()
    for _ in range(3):
        with pytest.raises(kind):
            host.admit("list", FAR)
    assert trio.current_time() == began
    await trio.sleep(14.9)
    with pytest.raises(kind):
        host.admit("list", FAR)
    await trio.sleep(0.2)
    host.admit("list", FAR)


@pytest.mark.trio
async def test_the_wait_doubles_to_two_minutes(autojump_clock: trio.testing.MockClock) -> None:
    """Each probe that fails doubles the time the host is left alone: 15, 30, 60, 120, 120 s."""
    host = downed()
    for seconds in (15.0, 30.0, 60.0, 120.0, 120.0):
        await trio.sleep(seconds - 0.1)
        with pytest.raises(Unreachable):
            host.admit("list", FAR)
        await trio.sleep(0.2)
        await probe(host, Unreachable("still nobody"))


@pytest.mark.trio
async def test_many_silences_at_once_are_one_outage(autojump_clock: trio.testing.MockClock) -> None:
    """Six requests that fail together leave the host alone for 15 s, not for two minutes."""
    host = downed(CONNECTIONS)
    await trio.sleep(15.1)
    host.admit("list", FAR)


@pytest.mark.trio
async def test_a_probe_that_is_answered_ends_the_outage(autojump_clock: trio.testing.MockClock) -> None:
    """One answer and the host is up; the next outage begins at 15 s again."""
    host = downed(4)
    await trio.sleep(121)
    await probe(host, None)
    assert not host.down
    host.silent(TooSlow("late"))
    assert not host.down
    host.silent(TooSlow("late"))
    await trio.sleep(15.1)
    host.admit("list", FAR)


@pytest.mark.trio
async def test_a_late_answer_ends_the_outage_too(autojump_clock: trio.testing.MockClock) -> None:
    """An answer to a request that set out before ends the outage; the next two silences are another."""
    host = downed()
    await trio.sleep(5)
    host.heard()
    host.admit("list", FAR)
    host.silent(TooSlow("late"))
    host.silent(TooSlow("late"))
    assert host.down
    with pytest.raises(TooSlow):
        host.admit("list", FAR)


@pytest.mark.trio
async def test_one_probe_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """When the time is up one request goes out; whoever comes meanwhile is refused at once."""
    host = downed()
    await trio.sleep(16)
    refused: list[float] = []
    out = 0

    async def ask() -> None:
        nonlocal out
        try:
            host.admit("list", FAR)
            async with host.turn("list", FAR):
                out += 1
                await trio.sleep(3)
                host.heard()
        except Unreachable:
            refused.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert out == 1
    assert refused == [began] * 9
    await ask()
    assert out == 2


@pytest.mark.trio
async def test_a_cancelled_probe_leaves_the_way_free(autojump_clock: trio.testing.MockClock) -> None:
    """A probe that is given up does not shut the host for ever."""
    host = downed()
    await trio.sleep(16)
    with trio.move_on_after(1):
        async with host.turn("list", FAR):
            await trio.sleep_forever()
    await probe(host, None)
    assert host.limiter.borrowed_tokens == 0


# Connections --------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_at_most_six_connections(autojump_clock: trio.testing.MockClock) -> None:
    """Twenty requests of one task group share six turns, and all come to theirs."""
    host, inside, most = gate(), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with host.turn("range", FAR):
            inside += 1
            most = max(most, inside)
            await trio.sleep(1)
            inside -= 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(work)
    assert most == CONNECTIONS == 6
    assert trio.current_time() - began == 4.0


@pytest.mark.trio
async def test_a_wait_for_a_connection_ends(autojump_clock: trio.testing.MockClock) -> None:
    """Who finds no free connection until his moment gets TooSlow, then, and the count stays right."""
    gates = Gates(trio.current_time)
    host = gates.of("https://host:443")
    assert gates.of("https://host:443") is host
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(trio.testing.wait_all_tasks_blocked)

        async def hold() -> None:
            async with host.turn("range", FAR):
                await trio.sleep(100)

        for _ in range(6):
            nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        assert gates.busy() == 6
        with pytest.raises(TooSlow):
            async with host.turn("range", began + 5):
                raise AssertionError("there is no seventh connection")
        assert trio.current_time() - began == 5.0
        nursery.cancel_scope.cancel()
    assert gates.busy() == 0


@pytest.mark.trio
async def test_a_connection_that_is_free_is_had_at_once() -> None:
    """Where nobody has to be waited for, nobody else has a turn before the request goes out."""
    host = gate()
    with trio.testing.assert_no_checkpoints():
        async with host.turn("range", trio.current_time() + 5):
            assert host.limiter.borrowed_tokens == 1
    assert host.limiter.borrowed_tokens == 0


@pytest.mark.trio
async def test_whose_moment_has_passed_gets_no_turn(autojump_clock: trio.testing.MockClock) -> None:
    """A connection that is free is of no use to who has no time left."""
    host = gate()
    with pytest.raises(TooSlow):
        async with host.turn("range", trio.current_time()):
            raise AssertionError("it is too late")


# Quiet --------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_host_that_wants_quiet_gets_it(autojump_clock: trio.testing.MockClock) -> None:
    """Requests of the kind that was throttled wait until its moment; other kinds go on."""
    host = gate()
    host.quiet("list", 7.0)
    began = trio.current_time()
    async with host.turn("mint", FAR):
        assert trio.current_time() == began
    host.admit("list", began + 30)
    async with host.turn("list", began + 30):
        assert trio.current_time() == began + 7.0


@pytest.mark.trio
async def test_quiet_beyond_the_patience_is_refused_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Who cannot wait that long is throttled without waiting, and told for how long."""
    host = gate()
    host.quiet("list", 100.0)
    host.quiet("list", 5.0)
    with pytest.raises(Throttled) as caught:
        host.admit("list", trio.current_time() + 30)
    assert caught.value.retry_after == 100.0


# The budget ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_retries_are_drawn_from_one_budget(autojump_clock: trio.testing.MockClock) -> None:
    """A host is asked again at most 24 times in a burst, then 30 times a minute."""
    host = gate()
    assert sum(host.spend() for _ in range(100)) == 24
    await trio.sleep(60)
    assert sum(host.spend() for _ in range(100)) == 24
    await trio.sleep(10)
    assert sum(host.spend() for _ in range(100)) == 5


# Patience -----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([Misbehaved, Unreachable, TooSlow]), min_size=1, max_size=12), st.floats(0.1, 60)
)
def test_patience_stops_short_of_its_end(failures: list[type[UpstreamError]], seconds: float) -> None:
    """Whatever fails, the waits never reach the end, and at most seven tries are made."""
    patience = Patience(seconds, seconds)
    now, tries = 0.0, 1
    for kind in failures:
        wait = patience.pause(now, kind("again"))
        if wait is None:
            break
        assert wait > 0
        now += wait
        tries += 1
    assert now < seconds
    assert tries <= 7


def test_waits_double() -> None:
    """The waits are a quarter, a half, one, two … seconds, shortened at random by up to half."""
    patience = Patience(1000, 1000)
    for longest in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        wait = patience.pause(0.0, Misbehaved("again"))
        assert wait is not None
        assert longest / 2 <= wait <= longest
    assert patience.pause(0.0, Misbehaved("again")) is None


def test_what_asking_again_cannot_change_is_not_asked_again() -> None:
    """A failure that is not temporary ends patience at once."""
    assert Patience(100, 100).pause(0.0, Rejected("no")) is None


def test_a_named_wait_is_kept() -> None:
    """Retry-After is waited for if it fits, and ends patience if it does not."""
    assert Patience(100, 100).pause(0.0, Throttled("later", 40.0)) == 40.0
    assert Patience(100, 100).pause(0.0, Throttled("later", 140.0)) is None


def test_progress_begins_patience_anew() -> None:
    """Useful bytes give all tries and all the time back."""
    patience = Patience(10, 10)
    for _ in range(4):
        patience.pause(0.0, Misbehaved("again"))
    patience.progressed(9.0)
    assert patience.pause(15.0, Misbehaved("again")) is not None
    assert patience.tried == 1


@pytest.mark.trio
async def test_what_is_made_leaves_room_for_questions(autojump_clock: trio.testing.MockClock) -> None:
    """However many mp3s a silent service is making, a link and a listing get their turn at once."""
    host = gate()

    async def makes() -> None:
        async with host.turn("mp3", 60.0):
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(makes)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        async with host.turn("mint", 60.0), host.turn("list", 60.0):
            assert trio.current_time() == began
        nursery.cancel_scope.cancel()
    assert host.limiter.borrowed_tokens == 0
