"""`musicfs demo`: its folder and its throw-away profile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from musicfs.__main__ import main
from musicfs.commands import demo


def test_the_default_folder_is_made_and_taken_away(tmp_path: Path) -> None:
    """Only when it was made here and is empty."""
    folder = tmp_path / "musicfs-demo"
    with demo._folder(folder, make=True):
        assert folder.is_dir()
    assert not folder.exists()
    folder.mkdir()
    with demo._folder(folder, make=True):
        pass
    assert folder.is_dir()


def test_a_folder_that_somebody_used_stays(tmp_path: Path) -> None:
    """What was put there meanwhile is not ours to remove."""
    with demo._folder(tmp_path / "demo", make=True):
        (tmp_path / "demo/note").touch()
    assert (tmp_path / "demo/note").exists()


def test_a_folder_that_was_named_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt argument is told, not created."""
    assert main(["demo", str(tmp_path / "none")]) == 78
    assert "mkdir -p" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_is_not_covered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo hides nobody's files, and says how they may be hidden."""
    (tmp_path / "note").touch()
    assert main(["demo", str(tmp_path)]) == 78
    assert "-o nonempty" in capsys.readouterr().err


def test_all_but_the_register_is_thrown_away(tmp_path: Path, home: Path) -> None:
    """Cache, state and socket lie in the scratch folder; status still finds the mount."""
    paths = demo._paths(tmp_path / "scratch", os.environ)
    for place in (paths.cache, paths.state, paths.socket, paths.lock):
        assert place.is_relative_to(tmp_path / "scratch")
    assert not paths.runtime.is_relative_to(tmp_path / "scratch")
