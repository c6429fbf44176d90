"""The way to the kernel's device: no readiness is trusted twice, and no read blocks the process for long."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from musicfs.readiness import ALARM, STRAIGHT, Readiness, Turn

LIBC = ctypes.PyDLL(None, use_errno=True)
"""Calls C as pyfuse3 does: with the interpreter's lock held, and no second try after an interruption."""


@pytest.fixture
def readiness() -> Iterator[Readiness]:
    """Give SIGALRM back afterwards."""
    before = signal.getsignal(signal.SIGALRM)
    made = Readiness()
    yield made
    made.calm()
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A line with two ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def asked(readiness: Readiness, pair: tuple[socket.socket, socket.socket]) -> socket.socket:
    """Have a request come, and wait for it; gives our end, on which it has not been read yet."""
    ours, theirs = pair
    theirs.send(b"x")
    await readiness.wait_readable(ours.fileno())
    return ours


@pytest.mark.trio
async def test_a_read_of_what_is_gone_is_interrupted(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A read that blocks, because what was there has been taken back, ends with EINTR within two alarms."""
    ours = await asked(readiness, pair)
    ours.recv(1)  # as the kernel takes back the request of a client that was killed
    began = time.monotonic()
    assert LIBC.read(ours.fileno(), ctypes.create_string_buffer(1), 1) == -1
    assert ctypes.get_errno() == errno.EINTR
    assert time.monotonic() - began < 50 * ALARM  # lost, it would be for ever


@pytest.mark.trio
async def test_no_alarm_while_nobody_asks(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    """While the loop waits the alarm rings once and is set no more: an idle mount wakes nobody."""
    ours = await asked(readiness, pair)
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(ALARM)
    ours.recv(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.wait_readable, ours.fileno())
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGALRM)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        pair[1].send(b"x")
    # With the next request it is set again.
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(ALARM)


@pytest.mark.trio
async def test_the_alarm_stays_set_while_requests_come(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Request after request sets no alarm anew; one that rings in the middle of an answer is still set."""
    times, real = list[float](), signal.setitimer

    def noted(which: int, first: float, again: float = 0.0) -> None:
        times.append(first)
        real(which, first, again)

    monkeypatch.setattr(signal, "setitimer", noted)
    for _ in range(3 * STRAIGHT):
        (await asked(readiness, pair)).recv(1)
    assert len(times) < STRAIGHT  # one, but where the machine stood still while the loop waited
    before = len(times)
    os.kill(os.getpid(), signal.SIGALRM)  # heard at the next step, as in the middle of an answer
    assert len(times) == before
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(ALARM)


@pytest.mark.trio
async def test_a_closed_connection_is_told(readiness: Readiness) -> None:
    """An end of the connection (POLLERR) is told once and for all."""
    reading, writing = os.pipe()
    os.close(reading)
    with trio.fail_after(5):
        await trio.lowlevel.wait_writable(writing)
        await readiness.wait_readable(writing)
    os.close(writing)
    assert readiness.gone.is_set()


@pytest.mark.trio
async def test_what_is_there_is_taken_straight_away_but_not_for_ever(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A request that waits already costs no way to the scheduler; after a few, others have a turn."""
    ours, theirs = pair
    theirs.send(b"x")
    others: list[int] = []

    async def other() -> None:
        others.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(STRAIGHT - 1):
            await readiness.wait_readable(ours.fileno())
            assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(ALARM)
            assert others == []
        for _ in range(STRAIGHT + 1):  # trio may give the first turn back to us before it comes to the other
            await readiness.wait_readable(ours.fileno())
        assert others == [1]


@pytest.mark.trio
async def test_one_turn_at_a_time_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """A turn is one task's at a time, goes on in the order of asking, and survives a waiter's cancelling."""
    turn, order, inside = Turn(), list[int](), [0]

    async def takes(number: int, scope: trio.CancelScope) -> None:
        with scope:
            async with turn:
                inside[0] += 1
                assert inside[0] == 1
                order.append(number)
                await trio.sleep(1)
                inside[0] -= 1

    scopes = [trio.CancelScope() for _ in range(6)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(takes, number, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[2].cancel()
    assert order == [0, 1, 3, 4, 5]
    async with turn:
        pass


@pytest.mark.trio
async def test_who_has_just_answered_takes_the_next_turn() -> None:
    """A turn that nobody holds is taken at once, whoever waits; who waits has it when the taker waits."""
    turn, taken = Turn(), list[str]()

    async def waits(name: str) -> None:
        async with turn:
            taken.append(name)

    async with trio.open_nursery() as nursery:
        async with turn:
            for name in ("one", "two"):
                nursery.start_soon(waits, name)
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            async with turn:
                taken.append("again")
        async with turn:  # they were told that it is free, and find that it is not
            await trio.testing.wait_all_tasks_blocked()
            assert taken == ["again"] * 3
    assert sorted(taken[3:]) == ["one", "two"]


@pytest.mark.trio
async def test_requests_that_nobody_takes_are_noticed(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    """An idle line is a good one; one on which something waits is good only if something was taken."""
    ours = await asked(readiness, pair)
    ours.recv(1)
    assert readiness.takes()
    assert readiness.takes()  # nothing waits
    pair[1].send(b"x")
    assert not readiness.takes()
    assert not readiness.takes()
    await readiness.wait_readable(ours.fileno())
    assert readiness.takes()  # it waits still, but the loop is at it
    assert not readiness.takes()
    ours.recv(1)
    assert readiness.takes()
