"""The database file when something is wrong with it: damage, a newer format, a folder that is no use."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from musicfs.errors import ConfigError, StoreFull
from musicfs.model import Song, SongRow
from musicfs.state import State

Declare = Callable[[str], None]


def filled(folder: Path, *idents: str) -> None:
    """Make a state with some songs, closed cleanly, its log written back."""
    with State(folder) as state:
        rows = [SongRow(song=Song("tempolor", each, "h" * 50), mtime_ns=1, name=each) for each in idents]
        trio.run(state.save_songs, rows)


def idents(folder: Path) -> list[str]:
    """Open the state and list its songs."""
    with State(folder) as state:
        return [each.song.ident for each in state.songs()]


def many() -> list[str]:
    """Enough songs for a file of several pages."""
    return [f"song-{number:03}" for number in range(200)]


def junk(path: Path) -> None:
    """Overwrite it all."""
    path.write_bytes(b"this is no database" * 500)


def halve(path: Path) -> None:
    """Cut it in the middle of a page."""
    os.truncate(path, path.stat().st_size // 2 + 100)


def lose_a_page(path: Path) -> None:
    """Cut its last page off."""
    os.truncate(path, path.stat().st_size - 4096)


def scribble(path: Path) -> None:
    """Zero its pages but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(size - 4096))


def drop_a_table(path: Path) -> None:
    """Take a table away."""
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("DROP TABLE files")


HARMS = [junk, halve, lose_a_page, scribble, drop_a_table]


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_file_is_kept_aside_and_begun_anew(
    tmp_path: Path, harm: Callable[[Path], None], expected_log: Declare
) -> None:
    """Without a copy a damaged file costs its contents, loudly, but it is not deleted."""
    expected_log("ERROR .*damaged .*kept as state.db.broken-1")
    expected_log("ERROR .*begins anew: library names")
    filled(tmp_path, *many())
    (tmp_path / "state.db.bak").unlink()
    harm(tmp_path / "state.db")
    damaged = (tmp_path / "state.db").read_bytes()
    assert idents(tmp_path) == []
    assert (tmp_path / "state.db.broken-1").read_bytes() == damaged
    filled(tmp_path, "new")
    assert idents(tmp_path) == ["new"]


@pytest.mark.parametrize("harm", [*HARMS, lambda path: os.truncate(path, 0), Path.unlink])
def test_the_copy_takes_a_damaged_files_place(
    tmp_path: Path, harm: Callable[[Path], None], expected_log: Declare
) -> None:
    """The copy of the last clean end is used when the file is damaged, empty or gone."""
    expected_log("ERROR")
    filled(tmp_path, *many())
    harm(tmp_path / "state.db")
    assert idents(tmp_path) == many()
    filled(tmp_path, "later")
    assert idents(tmp_path) == [*many(), "later"]


def test_a_damaged_copy_is_no_copy(tmp_path: Path, expected_log: Declare) -> None:
    """When file and copy are damaged a new state begins, and both are kept aside."""
    expected_log("ERROR .*copy is damaged as well")
    expected_log("ERROR")
    filled(tmp_path, *many())
    junk(tmp_path / "state.db")
    junk(tmp_path / "state.db.bak")
    assert idents(tmp_path) == []
    assert {each.name for each in tmp_path.glob("*.broken-*")} == {"state.db.broken-1", "state.db.broken-2"}


def test_the_copy_follows_every_clean_end(tmp_path: Path, expected_log: Declare) -> None:
    """A clean end that changed something renews the copy."""
    expected_log("ERROR")
    filled(tmp_path, "a")
    filled(tmp_path, "b")
    junk(tmp_path / "state.db")
    assert idents(tmp_path) == ["a", "b"]


def test_a_lost_files_log_does_not_meet_the_copy(tmp_path: Path, expected_log: Declare) -> None:
    """The log of a file that is gone is kept aside: played into the copy it would mix two states."""
    expected_log("ERROR .*that of the last clean end")
    filled(tmp_path, "a")
    code = (
        "import os, sys, signal, trio, pathlib; from musicfs.state import State\n"
        "s = State(pathlib.Path(sys.argv[1])); s.open()\n"
        "trio.run(s.save_mark, 'word', 'kept')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (tmp_path / "state.db").unlink()
    with State(tmp_path) as state:
        assert state.mark("word") is None
        assert len(state.songs()) == 1
    assert (tmp_path / "state.db.broken-1-wal").stat().st_size


@pytest.mark.parametrize("seed", range(24))
def test_random_damage_is_survived(
    tmp_path: Path, seed: int, expected_log: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever bytes are wrong, the start succeeds or names what to mend, and a song is never invented."""
    filled(tmp_path, *many())
    (tmp_path / "state.db.bak").unlink()
    path, dice = tmp_path / "state.db", random.Random(seed)
    raw = bytearray(path.read_bytes())
    for _ in range(40):
        raw[dice.randrange(200, len(raw))] = dice.randrange(256)
    path.write_bytes(raw)
    found = idents(tmp_path)
    if "facts of" in caplog.text:
        expected_log("facts of")
    if list(tmp_path.glob("*.broken-*")):
        expected_log("ERROR .*damaged")
        expected_log("ERROR .*begins anew")
        assert found == []
    else:
        assert set(found) <= set(many())


@pytest.mark.parametrize("facts", [b"\xff\x00", b'{"service":"a\xff"}', b'{"service":1}', b""])
def test_facts_that_cannot_be_read_cost_only_themselves(
    tmp_path: Path, facts: bytes, expected_log: Declare
) -> None:
    """A song whose facts are unreadable keeps its birth, name and time until the next listing."""
    expected_log("WARNING .*facts of tempolor:a cannot be read")
    filled(tmp_path, "a", "b")
    with closing(sqlite3.connect(tmp_path / "state.db")) as base, base:
        base.execute("UPDATE songs SET facts = ? WHERE ident = 'a'", (facts,))
    with State(tmp_path) as state:
        first, second = state.songs()
    assert (first.song.ident, first.song.title, first.name, first.mtime_ns) == ("a", None, "a", 1)
    assert second.song.handle == "h" * 50


def test_damage_is_told_without_quoting_it(
    tmp_path: Path, expected_log: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    """A text that is not UTF-8 any more is damage, and the log does not repeat it: it may be an address."""
    expected_log("ERROR")
    filled(tmp_path, "a")
    (tmp_path / "state.db.bak").unlink()
    with closing(sqlite3.connect(tmp_path / "state.db")) as base, base:
        base.execute("INSERT INTO marks VALUES ('tempolor', CAST(x'616e6e6140ff' AS TEXT))")
    assert idents(tmp_path) == []
    assert "not UTF-8" in caplog.text
    assert "anna@" not in caplog.text


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """A file of a newer musicfs is refused with a word on what to do, and stays as it is."""
    filled(tmp_path, "a")
    with closing(sqlite3.connect(tmp_path / "state.db")) as base:
        base.execute("PRAGMA user_version = 2")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(ConfigError, match="upgrade"):
        idents(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before
    assert not list(tmp_path.glob("*.broken-*"))


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """A folder that is not there is made 0700, and every file in it is 0600."""
    folder = tmp_path / "a" / "state"
    with State(folder) as state:
        trio.run(state.save_mark, "a", "b")
        inside = list(folder.iterdir())
        assert len(inside) == 3
    for each in [*folder.iterdir()]:
        assert each.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_no_folder_is_the_users_to_mend(tmp_path: Path) -> None:
    """A file where the folder should be is a ConfigError that names the setting."""
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(ConfigError, match="MUSICFS_STATE_DIR"):
        State(tmp_path / "state").open()


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs for a moment; only root can."""
    folder.mkdir(exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder_is_the_users_to_mend(tmp_path: Path, there: bool) -> None:
    """A folder that cannot be written is a ConfigError, whether a state is in it or not."""
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        if there:
            filled(disk, "a")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(ConfigError, match="MUSICFS_STATE_DIR"):
            idents(disk)


def test_a_full_disk_is_store_full(tmp_path: Path, expected_log: Declare) -> None:
    """When the disk is full a save is StoreFull, memory stays right, and it goes on when there is room."""
    expected_log("no copy of the state")
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        filled(disk, "a")
        state = State(disk)
        state.open()
        trio.run(state.save_mark, "a", "b")
        filler = disk / "filler"
        left = shutil.disk_usage(disk).free
        filler.write_bytes(bytes(left))
        with pytest.raises(StoreFull):
            trio.run(state.save_directory, "big", 1, bytes(100_000))
        assert state.directory("big") is None
        assert [each.song.ident for each in state.songs()] == ["a"]
        state.close()
        filler.unlink()
        with State(disk) as again:
            trio.run(again.save_directory, "big", 1, b"fits")
        with State(disk) as again:
            assert again.directory("big") == (1, b"fits")
            assert [each.song.ident for each in again.songs()] == ["a"]
