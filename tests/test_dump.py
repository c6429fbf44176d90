"""What the process is doing, told on SIGUSR1."""

from __future__ import annotations

import logging
import os
import signal

import pytest
import trio

from musicfs import dump
from musicfs.operations import Asking, Operation


def title(operation: Operation) -> str:
    """Name an operation as the mount does."""
    return f"Song {operation.target}"


async def waits_for_ever() -> None:
    """Wait at a place that can be named."""
    await trio.sleep_forever()


@pytest.mark.trio
async def test_tasks_operations_and_requests_are_told(autojump_clock: trio.testing.MockClock) -> None:
    """Like tasks are one line with their number, one that works for somebody bears the operation."""
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(waits_for_ever)
        with Operation("read", 5) as operation, Asking("range", "https://cdn.example:443", "bytes=0-9"):
            nursery.start_soon(waits_for_ever)
            await trio.sleep(1)
            told = list(dump.lines(title))
        nursery.cancel_scope.cancel()
    name = f"{__name__}.waits_for_ever"
    assert any(line.startswith(f"3 tasks {name} at waits_for_ever:") for line in told)
    assert any(line.startswith(f"task {name} [{operation}] at waits_for_ever:") for line in told)
    found = [line for line in told if line.startswith(f"operation {operation} (Song 5): under way for ")]
    assert len(found) == 1
    assert found[0].endswith(", 1 requests upstream")
    assert any(
        line.startswith("asked range https://cdn.example:443 bytes=0-9: under way for ")
        and line.endswith(f"[{operation}]")
        for line in told
    )


@pytest.mark.trio
async def test_a_crowd_is_told_by_its_first(autojump_clock: trio.testing.MockClock) -> None:
    """A thousand readers that wait, each for its own operation, are not a thousand lines."""

    async def reader() -> None:
        with Operation("read"):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(reader)
        await trio.sleep(1)
        told = list(dump.lines(title))
        nursery.cancel_scope.cancel()
    assert len([line for line in told if "task " in line or "tasks " in line]) <= 210
    assert any(line.endswith("lines more of tasks") for line in told)


class Ear(logging.Handler):
    """Hears the lines that reach the root, and rings when a telling has ended."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self.last, self.lines, self.told = last, list[str](), trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        self.lines.append(record.getMessage())
        if self.last in self.lines[-1]:
            self.told.set()


@pytest.mark.trio
async def test_the_signal_is_answered_whatever_the_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each SIGUSR1 is told, also where only errors are logged, and the process goes on."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.ERROR)
    with Asking("page", "https://last.example:443"):
        pass
    async with trio.open_nursery() as nursery:
        await nursery.start(dump.serve, title)
        for _ in range(2):
            ear = Ear("asked page https://last.example:443: done after ")
            monkeypatch.setattr(root, "handlers", [*root.handlers, ear])
            os.kill(os.getpid(), signal.SIGUSR1)
            with trio.fail_after(30):
                await ear.told.wait()
            assert any(line.startswith("task musicfs.dump.serve at ") for line in ear.lines)
        nursery.cancel_scope.cancel()
