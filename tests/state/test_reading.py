"""What is read at the start is what was written, thousands at a time or one by one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.errors import ConfigError
from musicfs.model import Known, Song, SongRow
from musicfs.model import State as Standing
from musicfs.state import State, reading
from musicfs.state.tables import SAVE_SONG, STEPS, Contents, song_values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SONGS = st.builds(
    SongRow,
    song=st.builds(
        Song,
        st.sampled_from(["flowmusic", "tempolor"]),
        TEXT,
        TEXT,
        account=st.sampled_from(["ada@example.com", ""]),
        title=st.none() | TEXT,
        duration=st.none() | st.floats(0, 1e6),
        state=st.sampled_from(Standing),
        urls=st.dictionaries(st.sampled_from(["m4a", "wav"]), st.just("https://a.example/1"), max_size=2),
        sheet=st.binary(max_size=30),
    ),
    mtime_ns=st.integers(0, 2**62),
    name=st.none() | TEXT,
    parent=st.none() | TEXT,
    listed=st.booleans(),
    lacks=st.none() | st.floats(0, 4e9),
)
FILES = st.dictionaries(
    TEXT, st.builds(Known, st.integers(0, 99), st.none() | st.integers(0, 2**50), TEXT, st.booleans())
)


@contextmanager
def written(rows: list[SongRow], files: dict[str, Known]) -> Iterator[sqlite3.Connection]:
    """Make a database of rows and files."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.executescript(STEPS[0])
        for row in rows:
            (row.birth, _, _, _) = base.execute(SAVE_SONG, song_values(row)).fetchone()
        each = [(key, one.version, one.size, one.validator, one.one_pass) for key, one in files.items()]
        base.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", each)
        yield base


@settings(max_examples=100, deadline=None)
@given(st.lists(SONGS, max_size=6, unique_by=lambda row: (row.song.service, row.song.ident)), FILES)
def test_whatever_was_written_is_read(rows: list[SongRow], files: dict[str, Known]) -> None:
    """Any texts, numbers and gaps come back, as one text of all rows, or row by row where one is odd."""
    with written(rows, files) as base:
        found = reading.contents_of(base)
        one_by_one = {row.birth: row for row in reading._songs_one_by_one(base)}
    assert found == Contents({row.birth: row for row in rows}, files)
    assert found.songs == one_by_one


def test_many_are_read_piece_by_piece() -> None:
    """More rows than one text holds are all there, once; what many have alike, they share."""
    count = 2 * reading._ROWS + 1
    song = Song("flowmusic", "", "h", account="ada@example.com", title="Tide")
    rows = [SongRow(song=Song("flowmusic", str(number), "h"), mtime_ns=1) for number in range(count - 1)]
    rows.append(SongRow(song=song, mtime_ns=1, name="Tide"))
    files = {f"flowmusic:{number}:mp3": Known(1, number, "", True) for number in range(count)}
    with written(rows, files) as base:
        assert len(list(reading._texts(base, reading._SONGS))) == 3
        found = reading.contents_of(base)
    assert found.files == files
    assert [row.song.ident for row in found.songs.values()] == [row.song.ident for row in rows]
    last = found.songs[count]
    assert last.name is last.song.title
    assert found.songs[1].song.urls is found.songs[2].song.urls


@pytest.mark.expected_log("the facts of flowmusic:b cannot be read")
def test_facts_that_cannot_be_read_cost_no_name() -> None:
    """Of a row whose facts are damaged name and times are kept, and the other rows are whole."""
    rows = [SongRow(song=Song("flowmusic", ident, "h", title="T"), mtime_ns=7, name=ident) for ident in "abc"]
    with written(rows, {}) as base:
        base.execute("UPDATE songs SET facts = ? WHERE ident = 'b'", (b'{"service":"flow',))
        found = reading.contents_of(base)
    assert [row.name for row in found.songs.values()] == ["a", "b", "c"]
    assert [row.song.title for row in found.songs.values()] == ["T", None, "T"]
    assert found.songs[2].mtime_ns == 7


# In a thread ----------------------------------------------------------------------------------------------


def test_reading_may_begin_before_it_is_waited_for(tmp_path: Path) -> None:
    """What was begun in a thread is whole when `open` returns."""
    with State(tmp_path) as state:
        assert state.songs() == []
    state = State(tmp_path)
    state.begin()
    with state:
        assert state.mark("word") is None
        assert "0 songs" in repr(state)


def test_a_failure_is_told_to_who_opens(tmp_path: Path) -> None:
    """What is wrong with the folder is raised where it is waited for, and nowhere else."""
    (tmp_path / "state").write_text("a file is no folder")
    state = State(tmp_path / "state")
    state.begin()
    with pytest.raises(ConfigError, match="cannot be used"):
        state.open()
    state.begin()
    state.close()


def test_what_was_begun_in_vain_is_closed(tmp_path: Path) -> None:
    """A start that ends before it opened its state leaves no file of a connection behind."""
    with State(tmp_path):
        pass
    before = sorted(each.name for each in tmp_path.iterdir())
    state = State(tmp_path)
    state.begin()
    state.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == before
