"""Following an errand of the daemon's to its end.

How it thinks: a verb that takes long answers with a number; the command asks about it a few times a second
and draws how far it is. Ctrl-C calls the errand off before the command ends. Failures come some at a time,
so a long list of them is fetched in parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musicfs.commands.meter import Meter
from musicfs.control import ask
from musicfs.errors import MusicfsError

STEP = 0.3
"""Seconds between two questions: a bar that moves, and nothing that the daemon would feel."""

Measure = Callable[[dict[str, Any]], tuple[int, int, str]]
"""How an answer becomes (bytes done, bytes in all, a few words)."""


def follow(
    socket: Path, number: object, measure: Measure, meter: Meter
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Wait for an errand's end; gives its last answer and every failure.

    Raises:
        NotRunning: the daemon ended first.
        KeyboardInterrupt: after the errand was called off.
    """
    failures: list[dict[str, Any]] = []
    try:
        while True:
            reply = ask(socket, "errand", id=number, since=len(failures))
            failures += reply["failures"]
            meter.show(*measure(reply))
            if reply["stage"] != "running" and len(failures) >= reply["failed"]:
                return reply, failures
            if len(failures) >= reply["failed"]:
                time.sleep(STEP)
    except KeyboardInterrupt:
        _call_off(socket, number)
        raise


def _call_off(socket: Path, number: object) -> None:
    try:
        ask(socket, "cancel", id=number)
    except MusicfsError:
        pass  # A daemon that is gone has stopped as well.
