"""A machine of one's own: no test here sees the developer's files or variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from musicfs.config import places, settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty home and system folder, and leave no variable that steers where things live."""
    for name in list(os.environ):
        if name.startswith(("XDG_", "MUSICFS_")) or name.endswith("_DIRECTORY"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for room in (places, settings):
        monkeypatch.setattr(room, "SYSTEM_CONFIG", tmp_path / "etc")
    return folder


@pytest.fixture
def user_config(home: Path) -> Path:
    """Name the user's own config file, in a folder that exists."""
    path = home / ".config/musicfs/config.toml"
    path.parent.mkdir(parents=True)
    return path
