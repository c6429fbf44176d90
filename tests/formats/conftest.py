"""Skips what mounts where nothing can be mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mounted.conftest import mark


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests that only open files alone."""
    mark([item for item in items if item.get_closest_marker("mounted")], Path(__file__).parent)
