"""What the process is doing, told on SIGUSR1: every task, the last operations, the last requests upstream.

How it thinks: whoever finds a mount slow or stuck sends the signal and reads the log. A task is one line:
its name, the operation it works for, and where it waits, down to what the innermost of our calls called;
tasks that wait at the same place for nobody in particular are one line with a number. An operation is told
with the title of its song.

What must always be true: it is told whatever the log level is, for it was asked for; each line passes the
log's filter like every other; the telling changes nothing and waits for nothing.
"""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import trio

from musicfs import operations
from musicfs.operations import Operation

log = logging.getLogger("musicfs.dump")

_LINES = 200  # lines of one kind; a thousand readers that wait are told by the first of them
_DEPTH = 12  # calls of a task that are named, the innermost ones


async def serve(
    title: Callable[[Operation], str], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell at each SIGUSR1, until cancelled; `title` names what an operation is about."""
    log.setLevel(logging.INFO)
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            for line in lines(title):
                log.info("%s", line)


def lines(title: Callable[[Operation], str]) -> Iterator[str]:
    """Say what is being done, line by line."""
    tasks = Counter(_told(task) for task in _tasks(trio.lowlevel.current_root_task()))
    yield f"{tasks.total()} tasks; the last operations, and the last requests upstream, eldest first:"
    yield from _some(
        [f"task {text}" if count == 1 else f"{count} tasks {text}" for text, count in tasks.items()]
    )
    for operation in list(operations.LAST):
        asked = f", {operation.asked} requests upstream" if operation.asked else ""
        yield f"operation {operation} ({title(operation)}): {operation.told()}{asked}"
    for asking in list(operations.ASKED):
        yield f"asked {asking}: {asking.told()}" + (f" [{asking.operation}]" if asking.operation else "")


def _some(told: list[str]) -> Iterator[str]:
    yield from told[:_LINES]
    if len(told) > _LINES:
        yield f"and {len(told) - _LINES} lines more of tasks"


def _tasks(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    """Give a task and all that it started, parents first."""
    waiting = [task] if task is not None else []
    while waiting:
        found = waiting.pop()
        yield found
        for nursery in found.child_nurseries:
            waiting.extend(nursery.child_tasks)


def _told(task: trio.lowlevel.Task) -> str:
    operation = operations.of(task.context)
    return f"{task.name}" + (f" [{operation}]" if operation else "") + f" at {_place(task)}"


def _place(task: trio.lowlevel.Task) -> str:
    """Say where a task waits."""
    calls, ours = [], 0
    try:
        for frame, line in task.iter_await_frames():
            calls.append(f"{frame.f_code.co_name}:{line}")
            if str(frame.f_globals.get("__name__")).startswith("musicfs"):
                ours = len(calls)
    except (TypeError, AttributeError):
        calls.append("?")  # It waits in a coroutine that is not Python's and shows no frames.
    return " > ".join(calls[: ours + 1][-_DEPTH:]) or "its beginning"
