"""What every test on a real mount is given: a machine that can mount, a quiet log, and a clean end."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import host
from musicfs.demo import Service
from tests.mounted.mounting import MOUNTS, take_away

_HERE = Path(__file__).parent


def _reason() -> str | None:
    """Say why nothing can be mounted here, if so."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse that this user may open"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "not root, and fusermount3 is not installed"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    mark(items, _HERE)


def mark(items: list[pytest.Item], folder: Path) -> None:
    """Mark the tests of a folder as those that mount, and skip them where nothing can be mounted."""
    reason = _reason()
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.mounted)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Fail a test whose mounts say more than it declared."""
    yield
    for mount in list(MOUNTS):
        mount.check()


@pytest.fixture(scope="session", autouse=True)
def _clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away at the end what a broken test left mounted."""
    yield
    ours = tmp_path_factory.getbasetemp()
    for mount in host.mounts():
        if ours in mount.mountpoint.parents:
            take_away(mount.mountpoint)


@pytest.fixture
def service() -> Service:
    """Give a healthy, empty service on the machine's clock."""
    return Service(clock=time.time)
