"""What every test of trust is given: a machine that can mount, a quiet log, and the counts at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mounted.conftest import _clean, _quiet, mark, service
from tests.trust.witness import COUNTS

__all__ = ["_clean", "_quiet", "service"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    mark(items, _HERE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was done, because a green dot does not."""
    if COUNTS:
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"trust: {told}")
