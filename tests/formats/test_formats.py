"""What older versions left on disk is still opened, and what a newer one left is refused in words."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Service
from musicfs.errors import ConfigError
from musicfs.state import State, tables
from musicfs.store.store import FORMAT as CACHE
from musicfs.store.store import Store
from tests.formats.make import HERE, PART, kept, look
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, done, run, sha256

KEPT = sorted(HERE.glob("state-*"))
WRITTEN = ("json", "m3u8", "txt", "lrc")
"""Made by musicfs itself, so a newer one may write them otherwise."""


@dataclass(frozen=True)
class Past:
    """Folders as an older version left them, in a place where they may be used."""

    home: Path
    expected: dict[str, Any]

    @property
    def base(self) -> Path:
        """The state database."""
        return self.home / "state" / "state.db"

    def version(self) -> int:
        """Read the format that the database says it has."""
        with closing(sqlite3.connect(self.base)) as base:
            found: int = base.execute("PRAGMA user_version").fetchone()[0]
        return found


@pytest.fixture(params=KEPT, ids=lambda folder: folder.name)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Past:
    """Lay out what is kept of one version as it was: 0700 and 0600, which git does not keep."""
    (tmp_path / "state").mkdir(mode=0o700)
    shutil.copy(request.param / "state.db", tmp_path / "state")
    shutil.copytree(request.param / "cache", tmp_path / "cache")
    for path in (*tmp_path.glob("state/*"), *tmp_path.glob("cache/**/*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Past(tmp_path, json.loads((request.param / "expected.json").read_text()))


def test_each_format_has_its_keepsake() -> None:
    """A new format cannot come without its files: make them with `python -m tests.formats.make`."""
    numbers = [re.fullmatch(r"state-(\d+)-cache-(\d+)", folder.name) for folder in KEPT]
    assert {int(found[1]) for found in numbers if found} == set(range(1, tables.FORMAT + 1))
    assert {int(found[2]) for found in numbers if found} == set(range(1, CACHE + 1))
    assert kept(tables.FORMAT, CACHE) in KEPT


@pytest.mark.mounted
def test_an_older_versions_music_is_there_with_no_network(past: Past) -> None:
    """Names, times and sizes are as they were; what was cached and pinned is so still, byte for byte."""
    with running(Service(clock=time.time)) as loop:
        mount = Mount(
            loop, past.home, api_url="http://127.0.0.1:9", media_url="http://127.0.0.1:9", deadline=2
        )
        with attached(mount):
            # Our own read-ahead may go beyond the part, to a host that is not there.
            mount.expect("listing (flowmusic|tempolor)", "tempolor:.*:wav: ")
            found = look(mount.path)
            for name, (size, when) in past.expected["tree"].items():
                assert found[name][1] == when, name
                assert found[name][0] == size or name.endswith(WRITTEN), name
            for name, digest in past.expected["files"].items():
                assert sha256(mount.path / name) == digest, name
            wav = mount.path / past.expected["wav"]
            # Past the kernel's read-ahead, which would ask for what is not here and fail with it.
            part = done(
                ["sh", "-c", f'dd if="$0" bs={PART} count=1 iflag=direct status=none | sha256sum', wav]
            )
            assert part[:64] == past.expected["part"]
            told = json.loads(mount.ask("why", "--json", str(mount.path / past.expected["pinned"])).stdout)
            assert "pinned" in json.dumps(told)
    assert past.version() == tables.FORMAT
    assert (past.home / "cache" / "format").read_text() == f"{CACHE}\n"


def test_an_older_cache_is_whole(past: Past) -> None:
    """Every block of it agrees with its map."""
    with Store(past.home / "cache", 10**9, 0, clock=time.time) as store:
        entries = [entry for entry in store.entries() if entry.have]
        assert len(entries) == len(past.expected["files"]) + 1
        assert [bad for entry in entries for bad in store.verify(entry)] == []
        assert sum(entry.pinned for entry in entries) == 1


def test_an_older_state_is_brought_up_step_by_step(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two formats more, a file of this one gets both steps, and everything in it stays."""
    with State(past.home / "state") as state:
        before = state.songs(), state.files(), state.missing()
    steps = ["ALTER TABLE songs ADD COLUMN mood TEXT;", "CREATE TABLE moods (name TEXT) STRICT;"]
    monkeypatch.setattr(tables, "STEPS", [*tables.STEPS, *steps])
    monkeypatch.setattr("musicfs.state.file.STEPS", tables.STEPS)
    with State(past.home / "state") as state:
        assert (state.songs(), state.files(), state.missing()) == before
    assert past.version() == len(tables.STEPS)


def test_a_step_that_fails_leaves_the_file_as_it_was(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in mid-step costs nothing: the format stays the old one, and so do the songs."""
    with State(past.home / "state") as state:
        songs = state.songs()
    # The page limit stands for the disk: SQLite meets both as SQLITE_FULL.
    fills = "PRAGMA max_page_count = 1; INSERT INTO moods VALUES (zeroblob(9999));"
    full = f"CREATE TABLE moods (name TEXT); {fills}"
    monkeypatch.setattr("musicfs.state.file.STEPS", [*tables.STEPS, full])
    with pytest.raises(ConfigError, match="full"):
        State(past.home / "state").open()
    monkeypatch.undo()
    assert past.version() == tables.FORMAT
    with State(past.home / "state") as state:
        assert state.songs() == songs


@pytest.mark.parametrize("words", [("mount", "{mnt}"), ("cache", "info"), ("cache", "prune")], ids=" ".join)
def test_a_newer_cache_is_refused_in_a_sentence(past: Past, words: tuple[str, ...]) -> None:
    """The code is 78, the sentence names the folder and what to do, and no file is touched."""
    (past.home / "cache" / "format").write_text(f"{CACHE + 1}\n")
    said, same = refused(past, "cache", words)
    assert said == (
        f"musicfs: the cache folder {past.home}/cache was written by a newer musicfs; "
        "upgrade this one, or choose another folder with MUSICFS_CACHE_DIR\n"
    )
    assert same


def test_a_newer_state_is_refused_in_a_sentence(past: Past) -> None:
    """The code is 78, the sentence names the folder and what to do, and no file is touched."""
    with closing(sqlite3.connect(past.base)) as base:
        base.execute(f"PRAGMA user_version = {tables.FORMAT + 1}")
    said, same = refused(past, "state", ("mount", "{mnt}"))
    assert said == (
        f"musicfs: the state in {past.home}/state was written by a newer musicfs; "
        "upgrade this one, or choose another folder with MUSICFS_STATE_DIR\n"
    )
    assert same


def refused(past: Past, folder: str, words: tuple[str, ...]) -> tuple[str, bool]:
    """Run a command that has to end with 78; what it said, and whether a folder is as it was."""
    (past.home / "mnt").mkdir()

    def contents() -> dict[str, bytes]:
        found = [path for path in (past.home / folder).rglob("*") if path.name != "lock"]
        return {str(path): path.read_bytes() for path in found if path.is_file()}

    before = contents()
    environ = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(past.home),
        "MUSICFS_TOKEN": "user:1-none",
        "MUSICFS_CACHE_DIR": str(past.home / "cache"),
        "MUSICFS_STATE_DIR": str(past.home / "state"),
    }
    command = [sys.executable, "-m", "musicfs", *(word.format(mnt=past.home / "mnt") for word in words)]
    ended = run(command, env=environ)
    assert ended.returncode == 78, ended.stderr
    return ended.stderr, contents() == before
