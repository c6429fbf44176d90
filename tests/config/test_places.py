"""Where things live: systemd, XDG, root without a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from musicfs.config import find_paths, runtime_dirs
from musicfs.config.places import SYSTEM_RUNTIME, config_dir


def test_everything_of_a_user_is_under_the_profile(home: Path) -> None:
    """Cache, state, lock and socket carry the profile; the register does not."""
    paths = find_paths(os.environ, "work")
    assert paths.cache == home / ".cache/musicfs/work"
    assert paths.state == home / ".local/state/musicfs/work"
    assert paths.lock == paths.state / "lock"
    assert paths.socket == paths.runtime / "work/control.sock"
    assert paths.runtime == home / ".local/state/musicfs/run"


def test_a_folder_that_was_set_is_taken_exactly(home: Path) -> None:
    """cache_dir and state_dir get no profile below them."""
    paths = find_paths(os.environ, "work", home / "c", home / "s")
    assert (paths.cache, paths.state) == (home / "c", home / "s")


def test_systemd_comes_first(home: Path) -> None:
    """$CACHE_DIRECTORY, $STATE_DIRECTORY and $RUNTIME_DIRECTORY win; of several folders the first counts."""
    environ = {**os.environ, "CACHE_DIRECTORY": "/c:/c2", "STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}
    paths = find_paths(environ, "default")
    assert (paths.cache, paths.state) == (Path("/c/default"), Path("/s/default"))
    assert (paths.runtime, paths.socket) == (Path("/r"), Path("/r/default/control.sock"))


def test_the_session_s_runtime_folder_is_used_if_it_is_ours(home: Path) -> None:
    """$XDG_RUNTIME_DIR holds the socket, unless it is missing or another user's."""
    session = home / "session"
    assert runtime_dirs({**os.environ, "XDG_RUNTIME_DIR": str(session)})[0] != session / "musicfs"
    session.mkdir()
    assert runtime_dirs({**os.environ, "XDG_RUNTIME_DIR": str(session)})[0] == session / "musicfs"


def test_commands_also_look_where_the_system_s_daemon_is(home: Path) -> None:
    """A status without systemd's variables still finds the service that has them."""
    assert runtime_dirs(os.environ)[-1] == SYSTEM_RUNTIME


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a place without a home")
def test_root_without_a_home_uses_the_system_s_folders(home: Path, tmp_path: Path) -> None:
    """mount(8) starts us with an empty HOME."""
    paths = find_paths({"HOME": ""}, "default")
    assert paths.cache == Path("/var/cache/musicfs/default")
    assert paths.state == Path("/var/lib/musicfs/default")
    assert paths.runtime == SYSTEM_RUNTIME
    assert config_dir({"HOME": ""}) == tmp_path / "etc"
