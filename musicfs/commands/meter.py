"""How far long work is: a bar with speed and time left on a terminal, a line now and then elsewhere.

How it thinks: rich draws the bar and is imported only for it; a pipe or a log gets a plain line at each
tenth of the whole. Both go to stderr, because stdout is for results.
What must always be true: a total may grow while the work is counted; what was drawn is ended before
anything else is printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Protocol, TextIO

from musicfs.commands.columns import bytes_text, span_text


class Meter(Protocol):
    """Something that shows progress, in bytes."""

    def show(self, done: int, of: int, words: str) -> None:
        """Show how far it is."""
        ...


def drawn(stream: TextIO, what: str) -> AbstractContextManager[Meter]:
    """Give the meter that fits a stream; `what` is a word for the work."""
    return Bar(stream, what) if stream.isatty() else Lines(stream, what)


class Lines:
    """A plain line at each tenth of the whole. `clock` gives seconds."""

    def __init__(self, stream: TextIO, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._what, self._tenth = stream, what, 0
        self._clock, self._began = clock, clock()

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def show(self, done: int, of: int, words: str) -> None:
        """Write a line if another tenth is done."""
        tenth = 10 * done // of if of else 0
        if tenth > self._tenth:
            self._tenth = tenth
            rate = done / max(self._clock() - self._began, 0.001)
            left = span_text((of - done) / rate) + " left" if done < of else ""
            parts = (f"{bytes_text(done)} of {bytes_text(of)}", words, f"{bytes_text(rate)}/s", left)
            said = ", ".join(part for part in parts if part)
            self._stream.write(f"{self._what}: {10 * tenth} %, {said}\n")
            self._stream.flush()


class Bar:
    """Rich's bar, with speed and time left."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream, self._what = stream, what
        self._stack = ExitStack()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Speed(ProgressColumn):
            """Rich's own counts in thousands, the column beside it in 1024."""

            def render(self, task: Task) -> Text:
                return Text("" if task.speed is None else f"{bytes_text(task.speed)}/s")

        columns = (
            # No markup: a song's title may look like rich's own.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            Speed(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[words]}", markup=False),
        )
        console = Console(file=self._stream, highlight=False)
        self._progress = self._stack.enter_context(Progress(*columns, console=console, transient=True))
        self._task = self._progress.add_task(self._what, total=None, words="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def show(self, done: int, of: int, words: str) -> None:
        """Draw the bar."""
        self._progress.update(self._task, completed=done, total=of or None, words=words)
