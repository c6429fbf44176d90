"""What systemd is told, in virtual time, on a socket of its kind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.supervision import LOOKS, TELL, Supervisor, watchdog


class Listener:
    """systemd's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": str(path)}

    def heard(self) -> list[str]:
        """Give what was said since the last time."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """Listen as systemd does."""
    listener = Listener(tmp_path / "notify")
    with listener.socket:
        yield listener


def test_ready_comes_with_a_status_and_is_passed_on_once(listener: Listener) -> None:
    """READY and STATUS are one message; who waits for the first READY hears of no later one."""
    told: list[str] = []
    supervisor = Supervisor(listener.environ, lambda: "7 songs", lambda: told.append("ready"))
    supervisor.ready()
    supervisor.reloading()
    supervisor.ready()
    supervisor.stopping()
    first, reloading, again, stopping = listener.heard()
    assert first == again == "READY=1\nSTATUS=7 songs"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(reloading.rpartition("=")[2]) > 0
    assert stopping == "STOPPING=1"
    assert told == ["ready"]


@pytest.mark.trio
async def test_the_status_is_told_when_it_changes(
    listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    """What has not changed is not said again."""
    songs = 7
    supervisor = Supervisor(listener.environ, lambda: f"{songs} songs")
    supervisor.ready()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.tell)
        await trio.sleep(2.5 * TELL)
        assert listener.heard() == ["READY=1\nSTATUS=7 songs"]
        songs = 8
        await trio.sleep(TELL)
        assert listener.heard() == ["STATUS=8 songs"]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_watchdog_starves_while_requests_wait(
    listener: Listener, autojump_clock: trio.testing.MockClock
) -> None:
    """It is fed several times a period, and not once while the kernel's requests are not taken."""
    taking = True
    supervisor = Supervisor({**listener.environ, "WATCHDOG_USEC": "60000000"}, lambda: "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.feed, lambda: taking)
        await trio.sleep(59)
        assert listener.heard() == ["WATCHDOG=1"] * LOOKS
        taking = False
        await trio.sleep(120)
        assert listener.heard() == []
        taking = True
        await trio.sleep(60 / LOOKS)
        assert listener.heard() == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_no_watchdog_is_not_fed(listener: Listener) -> None:
    """Without one the task ends by itself."""
    with trio.fail_after(5):
        await Supervisor(listener.environ, lambda: "").feed(lambda: True)
    assert listener.heard() == []


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "0"}, 0.0),
    ],
)
def test_the_watchdog_is_read_from_the_environment(environ: Mapping[str, str], seconds: float) -> None:
    """Microseconds for this very process; anything else is no watchdog (sd_watchdog_enabled(3))."""
    assert watchdog(environ) == seconds


def test_nobody_need_listen() -> None:
    """Without a socket every word is dropped."""
    supervisor = Supervisor({}, lambda: "")
    supervisor.ready()
    supervisor.reloading()
    supervisor.stopping()
