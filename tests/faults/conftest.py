"""What every fault is given: a machine that can mount, a quiet log, and the figures at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.reading import FIGURES, WORST
from tests.mounted.conftest import _clean, _quiet, mark, service

__all__ = ["_clean", "_quiet", "service"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    mark(items, _HERE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was done, because a green dot does not."""
    if FIGURES:
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(FIGURES.items()))
        waits = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in sorted(WORST.items()))
        terminalreporter.write_line(f"faults: {told}; longest waits: {waits}")
