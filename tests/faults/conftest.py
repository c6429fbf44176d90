"""What every fault is given: a machine that can mount, and a quiet log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mounted.conftest import _clean, _quiet, mark, service

__all__ = ["_clean", "_quiet", "service"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    mark(items, _HERE)
