"""What must outlive everything: each table's round trip, and the values that are given once only."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.errors import StoreError
from musicfs.model import Known, Song, SongRow
from musicfs.model import State as Standing
from musicfs.state import Missing, State


def row(
    ident: str = "1",
    birth: int = 0,
    mtime_ns: int = 5,
    name: str | None = None,
    parent: str | None = None,
    listed: bool = True,
    lacks: float | None = None,
) -> SongRow:
    """Make a row of a song that has all its facts."""
    song = Song("flowmusic", ident, f"{ident}-anna@example.com", "anna@example.com", "Title", 12.5, 1.0, 2.0)
    return SongRow(
        song=song, birth=birth, mtime_ns=mtime_ns, name=name, parent=parent, listed=listed, lacks=lacks
    )


@pytest.mark.trio
async def test_songs_come_back_as_they_were(tmp_path: Path) -> None:
    """Every field of a song survives a restart, and the eldest comes first."""
    rows = [
        row("b", birth=7, name="Title", listed=False, lacks=1.5, mtime_ns=2**62),
        row("a", birth=9, parent="b"),
        SongRow(song=Song("tempolor", "a", "h", state=Standing.UNFINISHED), birth=8, mtime_ns=0),
    ]
    with State(tmp_path / "state") as state:
        await state.save_songs(rows)
        assert state.songs() == [rows[0], rows[2], rows[1]]
    with State(tmp_path / "state") as state:
        assert state.songs() == [rows[0], rows[2], rows[1]]


@pytest.mark.trio
async def test_births_are_given_in_order_and_never_twice(tmp_path: Path) -> None:
    """Rows without a birth get theirs in the order given, above all that ever were, deleted ones as well."""
    with State(tmp_path) as state:
        first = [row("x"), row("y"), row("z")]
        await state.save_songs(first)
        births = [each.birth for each in first]
        assert births == sorted(set(births))
        assert births[0] > 0
    with closing(sqlite3.connect(tmp_path / "state.db")) as base, base:
        base.execute("DELETE FROM songs WHERE ident IN ('y', 'z')")
    with State(tmp_path) as state:
        later = row("w")
        await state.save_songs([later])
        assert later.birth > max(births)


@pytest.mark.trio
async def test_what_is_given_once_stays(tmp_path: Path) -> None:
    """The first birth, mtime, name and parent win; title, listing and doubts follow the service."""
    with State(tmp_path) as state:
        await state.save_songs([row("1", birth=3)])
        await state.save_songs([row("1", birth=3, name="Plain", parent="p")])
        changed = row("1", birth=4, name="Other", parent="q", mtime_ns=99, listed=False, lacks=2.0)
        await state.save_songs([changed])
    with State(tmp_path) as state:
        (found,) = state.songs()
        assert (found.birth, found.mtime_ns, found.name, found.parent) == (3, 5, "Plain", "p")
        assert (found.listed, found.lacks) == (False, 2.0)


@pytest.mark.trio
async def test_a_song_is_told_what_it_already_had(tmp_path: Path) -> None:
    """A row that comes without its birth and name has them after it was written."""
    with State(tmp_path) as state:
        await state.save_songs([row("1", birth=3, name="Plain")])
        again = row("1", mtime_ns=8)
        await state.save_songs([again])
        assert (again.birth, again.mtime_ns, again.name) == (3, 5, "Plain")
        assert state.songs() == [again]


@pytest.mark.trio
async def test_a_first_listing_meets_what_the_file_knows(tmp_path: Path) -> None:
    """Of many new songs written at one go, one that the file knows has its birth, time and name after it."""
    with State(tmp_path) as state:
        await state.save_songs([row("7", birth=3, name="Plain")])
        many = [row(str(number), birth=1000 + number, mtime_ns=9) for number in range(800)]
        await state.save_songs(many)
        told = {each.song.ident: (each.birth, each.mtime_ns, each.name) for each in many}
        assert told["7"] == (3, 5, "Plain")
        assert told["8"] == (1008, 9, None)
    with State(tmp_path) as state:
        assert {each.song.ident: (each.birth, each.mtime_ns, each.name) for each in state.songs()} == told


@pytest.mark.trio
async def test_a_first_listing_is_written_as_it_was(tmp_path: Path) -> None:
    """Many songs that nobody knew come back as they were, and a birth that is taken refuses them all."""
    many = [row(str(number), birth=1 + number, name=f"N{number}", lacks=2.5) for number in range(800)]
    with State(tmp_path) as state:
        await state.save_songs(many)
        with pytest.raises(StoreError):
            await state.save_songs([row("a", birth=900), row("b", birth=5)])
    with State(tmp_path) as state:
        assert state.songs() == many


def secret_in(folder: Path) -> bool:
    """Look into every file."""
    return any(b"SECRETKEY" in each.read_bytes() for each in folder.iterdir())


@pytest.mark.trio
async def test_signed_urls_are_not_kept(tmp_path: Path) -> None:
    """A URL with a query may be a secret: it is in no file of the state folder, a plain one is."""
    urls = {"mp3": "https://a.example/1.mp3?auth_key=SECRETKEY", "wav": "https://a.example/1.wav"}
    kept = SongRow(song=Song("flowmusic", "1", "h", urls=urls), mtime_ns=0)
    with State(tmp_path) as state:
        await state.save_songs([kept])
        assert kept.song.urls == urls
        assert not secret_in(tmp_path)
    assert not secret_in(tmp_path)
    with State(tmp_path) as state:
        assert state.songs()[0].song.urls == {"wav": "https://a.example/1.wav"}


@pytest.mark.trio
async def test_files_directories_and_marks_come_back(tmp_path: Path) -> None:
    """Versions, lengths, validators, directories and words survive a restart; the last value counts."""
    known = {"a": Known(2, 5_000_000_000, "etag", False), "b": Known(1, None, "", True)}
    with State(tmp_path) as state:
        await state.save_files({"a": Known(1, 3, "old")})
        await state.save_files(known)
        await state.save_files({})
        await state.save_directory("s", 1, b"old")
        await state.save_directory("s", 2, b"\x00new")
        await state.save_mark("complete", "1")
        await state.save_mark("complete", "2")
        expected = (known, (2, b"\x00new"), None, "2", None)
        for _ in range(2):
            answers = (
                state.files(),
                state.directory("s"),
                state.directory("t"),
                state.mark("complete"),
                state.mark("other"),
            )
            assert answers == expected
            state.close()
            state.open()


@pytest.mark.trio
async def test_missing_forms_come_back(tmp_path: Path) -> None:
    """What is remembered of forms that answered 404 survives a restart."""
    with State(tmp_path) as state:
        await state.save_missing("a", Missing(1.0, 1.0))
        await state.save_missing("a", Missing(1.0, 90000.0))
        await state.save_missing("b", Missing(2.0, 2.0))
        await state.clear_missing("b")
        await state.clear_missing("never there")
    with State(tmp_path) as state:
        assert state.missing() == {"a": Missing(1.0, 90000.0)}


@pytest.mark.trio
async def test_reprs_hold_no_address(tmp_path: Path) -> None:
    """Neither the state nor its rows print an e-mail address."""
    with State(tmp_path) as state:
        await state.save_songs([row()])
        told = repr((state, state.songs()))
    assert "anna" not in told
    assert "1 songs" in told


@pytest.mark.trio
async def test_writes_of_many_tasks_all_arrive(tmp_path: Path) -> None:
    """Saves that run at once wait for one another, and none is lost."""
    with State(tmp_path) as state:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(state.save_mark, f"m{number}", str(number))
                nursery.start_soon(state.save_songs, [row(str(number))])
    with State(tmp_path) as state:
        assert [state.mark(f"m{number}") for number in range(20)] == [str(number) for number in range(20)]
        assert len(state.songs()) == 20


@pytest.mark.trio
async def test_a_row_is_written_as_it_was_when_saved(tmp_path: Path) -> None:
    """A row that changes while its write waits is kept as it was at the call."""
    with State(tmp_path) as state:
        changing = row("1", name=None)
        async with trio.open_nursery() as nursery, state._one:  # Another write is under way.
            nursery.start_soon(state.save_songs, [changing])
            await trio.testing.wait_all_tasks_blocked()
            changing.lacks = 7.0
    with State(tmp_path) as state:
        assert state.songs()[0].lacks is None


@pytest.mark.trio
async def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """A transaction that fails in its middle leaves file and memory as they were."""
    with State(tmp_path) as state:
        await state.save_songs([row("1", birth=1)])
        with pytest.raises(StoreError):
            await state.save_songs([row("2", birth=2), row("3", birth=1)])
        assert [each.song.ident for each in state.songs()] == ["1"]
        await state.save_songs([row("4", birth=4)])
    with State(tmp_path) as state:
        assert [each.song.ident for each in state.songs()] == ["1", "4"]


@pytest.mark.trio
async def test_a_closed_state_refuses(tmp_path: Path) -> None:
    """Writing after the end is a StoreError; closing twice is none."""
    state = State(tmp_path)
    state.open()
    state.close()
    state.close()
    with pytest.raises(StoreError, match="closed"):
        await state.save_mark("a", "b")


def test_what_was_saved_survives_a_kill(tmp_path: Path) -> None:
    """A process that is killed right after a save has saved."""
    code = (
        "import os, sys, signal, trio, pathlib; from musicfs.state import State\n"
        "s = State(pathlib.Path(sys.argv[1])); s.open()\n"
        "trio.run(s.save_mark, 'word', 'kept')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with State(tmp_path) as state:
        assert state.mark("word") == "kept"


@pytest.mark.trio
async def test_covers_and_sheets_come_back_without_what_signs_them(tmp_path: Path) -> None:
    """A song's cover and sheet are kept; the query of a cover's URL, which may sign it, is not."""
    song = Song(
        "tempolor", "a1", "h", cover="https://c.example/a.png?auth_key=secret", sheet=b"\x00\xffpacked"
    )
    with State(tmp_path) as state:
        await state.save_songs([SongRow(song=song, mtime_ns=1)])
    with State(tmp_path) as state:
        (row,) = state.songs()
    assert (row.song.cover, row.song.sheet) == ("https://c.example/a.png", b"\x00\xffpacked")


@pytest.mark.trio
async def test_facts_of_an_older_musicfs_are_read(tmp_path: Path) -> None:
    """A state that knows neither covers nor sheets opens, and its songs have none until they are listed."""
    with State(tmp_path) as state:
        await state.save_songs([SongRow(song=Song("tempolor", "a1", "h"), mtime_ns=1, name="Tide")])
    facts = b'{"service":"tempolor","ident":"a1","handle":"h","title":"Tide","duration":12.5}'
    with closing(sqlite3.connect(tmp_path / "state.db")) as base, base:
        base.execute("UPDATE songs SET facts = ?", (facts,))
    with State(tmp_path) as state:
        (row,) = state.songs()
    assert (row.song.title, row.song.duration, row.song.cover, row.song.sheet) == ("Tide", 12.5, None, b"")
    assert row.name == "Tide"
