"""Laws of the census: what a pass over a listing may change, and what it never may."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.census import absent, adopt, arrive, stem_of, unnamed
from musicfs.model import Song, SongRow, State

LAW = settings(max_examples=150, deadline=None)
HOUR = 3600.0


def song(
    ident: str,
    title: str | None = "Song",
    account: str = "ada",
    created: float | None = None,
    service: str = "flowmusic",
    state: State = State.READY,
) -> Song:
    """Make a song."""
    return Song(service, ident, f"{account}/{ident}", account, title, None, created, state=state)


def rows_of(*songs: Song, now: float = 1000.0) -> dict[str, SongRow]:
    """Take songs in, as a first pass would."""
    return {row.song.ident: row for row in arrive({}, songs, now)}


idents = st.sampled_from([f"song{place}" for place in range(12)])
listings = st.lists(idents, max_size=12, unique=True)
passes = st.lists(st.tuples(listings, st.integers(1, 3000)), max_size=12)

# Arriving -------------------------------------------------------------------------------------------------


@LAW
@given(passes)
def test_the_first_mtime_wins_for_ever(history: list[tuple[list[str], int]]) -> None:
    """Whatever later passes say of a song, even another date of birth, its mtime stays."""
    known: dict[str, SongRow] = {}
    first: dict[str, int] = {}
    now = 1000.0
    for listed, step in history:
        now += step
        found = [song(ident, title=f"Title {step}", created=now) for ident in listed]
        known |= {row.song.ident: row for row in arrive(known, found, now)}
        for ident, row in known.items():
            assert row.mtime_ns == first.setdefault(ident, row.mtime_ns)


@LAW
@given(passes)
def test_no_row_is_ever_removed(history: list[tuple[list[str], int]]) -> None:
    """Passes that bring and lack whatever they like only ever add rows; leaving is not being listed."""
    known: dict[str, SongRow] = {}
    now = 1000.0
    for listed, step in history:
        now, before = now + step, set(known)
        known |= {row.song.ident: row for row in arrive(known, [song(one) for one in listed], now)}
        absent(known.values(), "ada", set(listed), now, 600.0)
        assert before | set(listed) == set(known)


@LAW
@given(listings)
def test_clips_first_seen_together_fall_in_listing_order(listed: list[str]) -> None:
    """Clips without a date that come in one pass sort by mtime, newest first, as they were listed."""
    known = rows_of(*map(song, listed))
    times = [known[ident].mtime_ns for ident in listed]
    assert all(one > other for one, other in pairwise(times))


def test_new_rows_come_eldest_first() -> None:
    """The last of a newest-first listing is born first."""
    assert [row.song.ident for row in arrive({}, [song("new"), song("old")], 5.0)] == ["old", "new"]


def test_the_services_time_is_the_mtime() -> None:
    """A song with a date has it as its mtime, one without has the moment it was first seen."""
    known = rows_of(song("dated", created=123.5), song("undated"), now=1000.0)
    assert known["dated"].mtime_ns == 123_500_000_000
    assert 0 <= 1_000_000_000_000 - known["undated"].mtime_ns < 1_000_000_000


@pytest.mark.parametrize("created", [-62_135_596_800.0, 253_402_300_799.0, 1e300, float("inf")])
def test_an_impossible_date_counts_as_none(created: float) -> None:
    """A date that no file system can hold is not believed: the song is dated to its first sight."""
    known = rows_of(song("odd", created=created), now=1000.0)
    assert known["odd"].mtime_ns == 1_000_000_000_000


def test_nothing_new_changes_nothing() -> None:
    """A pass that brings what is known gives no changed rows."""
    known = rows_of(song("one"), song("two"))
    assert arrive(known, [song("one"), song("two")], 2000.0) == []


def test_a_new_title_changes_the_row_and_not_its_name() -> None:
    """A title edit comes through; name, birth and mtime are the song's own."""
    known = rows_of(song("one"))
    known["one"].name, known["one"].birth = "Song", 7
    (row,) = arrive(known, [song("one", title="Better")], 9000.0)
    assert (row.song.title, row.name, row.birth, row.mtime_ns) == ("Better", "Song", 7, known["one"].mtime_ns)


def test_a_record_without_an_account_keeps_the_account() -> None:
    """A song asked for by id, whose record names no account, stays with the account that lists it."""
    known = rows_of(song("one", state=State.UNFINISHED))
    finished = Song("flowmusic", "one", "ada/one", "", "Song")
    (row,) = arrive(known, [finished], 2000.0)
    assert (row.song.account, row.song.state) == ("ada", State.READY)


# Leaving --------------------------------------------------------------------------------------------------


@LAW
@given(passes)
def test_nothing_leaves_without_two_passes_far_enough_apart(history: list[tuple[list[str], int]]) -> None:
    """A song that is no longer listed was lacking in two complete passes in a row, ten minutes apart."""
    known: dict[str, SongRow] = {}
    lacking_since: dict[str, float] = {}
    now = 1000.0
    for listed, step in history:
        now += step
        known |= {row.song.ident: row for row in arrive(known, [song(one) for one in listed], now)}
        were = {ident for ident, row in known.items() if row.listed}
        absent(known.values(), "ada", set(listed), now, 600.0)
        for ident in listed:
            lacking_since.pop(ident, None)
        for ident in were - {ident for ident, row in known.items() if row.listed}:
            assert now - lacking_since[ident] >= 600.0
        for ident in set(known) - set(listed):
            lacking_since.setdefault(ident, now)
        assert all(known[ident].listed for ident in listed)


def test_a_song_leaves_after_two_passes() -> None:
    """The first pass that lacks a song doubts it, one soon after says nothing, one later lets it go."""
    known = rows_of(song("gone"), song("here"))
    first = absent(known.values(), "ada", {"here"}, 1000.0, 600.0)
    assert [row.song.ident for row in first.changed] == ["gone"]
    assert known["gone"].listed
    assert absent(known.values(), "ada", {"here"}, 1599.0, 600.0).changed == []
    last = absent(known.values(), "ada", {"here"}, 1600.0, 600.0)
    assert [row.song.ident for row in last.changed] == ["gone"]
    assert not known["gone"].listed
    assert known["here"].listed


def test_a_song_that_comes_back_begins_anew() -> None:
    """A song listed again is not doubted any more, and needs two lacking passes again."""
    known = rows_of(song("one"))
    absent(known.values(), "ada", set(), 1000.0, 600.0)
    arrive(known, [song("one")], 1300.0)
    absent(known.values(), "ada", set(), 1700.0, 600.0)
    assert known["one"].listed
    assert known["one"].lacks == 1700.0


def test_a_song_that_left_and_is_listed_again_is_itself() -> None:
    """What comes back has its old row: name, birth, mtime."""
    known = rows_of(song("one"))
    known["one"].name, known["one"].listed = "Song", False
    (row,) = arrive(known, [song("one")], 9000.0)
    assert row is known["one"]
    assert row.listed
    assert row.name == "Song"


def test_a_clock_that_was_set_back_begins_to_count_anew() -> None:
    """A doubt from the future is not kept for ever, and does not let the song go at once either."""
    known = rows_of(song("one"))
    absent(known.values(), "ada", set(), 1_000_000.0, 600.0)
    absent(known.values(), "ada", set(), 1000.0, 600.0)
    assert known["one"].listed
    absent(known.values(), "ada", set(), 1600.0, 600.0)
    assert not known["one"].listed


def test_another_accounts_pass_says_nothing() -> None:
    """A pass over one account doubts no song of another."""
    known = rows_of(song("mine", account="ben"))
    assert absent(known.values(), "ada", set(), 1000.0, 600.0).changed == []
    assert known["mine"].lacks is None


@LAW
@given(st.integers(1, 80), st.integers(0, 80))
def test_a_pass_that_would_lose_much_changes_nothing(total: int, lost: int) -> None:
    """Lacking at least ten and over a quarter of an account's songs is not believed, ever; less is."""
    lost = min(lost, total)
    songs = [song(f"s{place}") for place in range(total)]
    known = rows_of(*songs)
    seen = {one.ident for one in songs[lost:]}
    for now in (1000.0, 1000.0 + HOUR, 1000.0 + 2 * HOUR):
        found = absent(known.values(), "ada", seen, now, 600.0)
    believed = lost < 10 or lost * 4 <= total
    assert found.doubted == (set() if believed else {one.ident for one in songs[:lost]})
    assert sum(not row.listed for row in known.values()) == (lost if believed else 0)


# Stems ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "split"),
    [
        ("Night Drive - drums", ("Night Drive", "drums")),
        ("A - B - other", ("A - B", "other")),
        ("two\nlines - bass", ("two\nlines", "bass")),
        ("Night Drive - guitar", None),
        (" - drums", None),
        ("drums", None),
        ("", None),
        (None, None),
    ],
)
def test_a_stems_title_is_split(title: str | None, split: tuple[str, str] | None) -> None:
    """A stem is known by the four suffixes of upstream-api.md §2.7 and by nothing else."""
    assert stem_of(title) == split


def test_a_stem_finds_its_only_song() -> None:
    """A stem whose title fits exactly one song of its account is that song's, and is not named itself."""
    known = rows_of(song("stem", "Night - drums"), song("song", "Night"), song("other", "Day"))
    assert [row.song.ident for row in adopt(known.values())] == ["stem"]
    assert known["stem"].parent == "song"
    assert [row.song.ident for row in unnamed(known.values(), ["flowmusic"])] == ["other", "song"]


@pytest.mark.parametrize("other", [song("twin", "Night"), None])
def test_a_stem_that_fits_no_song_or_two_is_a_song(other: Song | None) -> None:
    """With two songs of that title, or none, a stem stays without a parent and is named like a song."""
    songs = [song("stem", "Night - drums"), *([song("song", "Night"), other] if other else [])]
    known = rows_of(*songs)
    assert adopt(known.values()) == []
    assert known["stem"] in unnamed(known.values(), ["flowmusic"])


def test_stems_of_another_account_do_not_fit() -> None:
    """A title counts within its own account only."""
    known = rows_of(song("stem", "Night - drums", account="ben"), song("song", "Night"))
    assert adopt(known.values()) == []


def test_the_first_parent_wins_for_ever() -> None:
    """A stem keeps its song when a twin appears or a title is edited, and a named stem finds none later."""
    known = rows_of(song("stem", "Night - drums"), song("song", "Night"))
    adopt(known.values())
    known |= rows_of(song("twin", "Night"), now=2000.0)
    known["song"].song = song("song", "Evening")
    assert adopt(known.values()) == []
    assert known["stem"].parent == "song"
    late = rows_of(song("stem", "Night - drums"))
    late["stem"].name = "Night - drums"
    late |= rows_of(song("song", "Night"), now=2000.0)
    assert adopt(late.values()) == []


# Choosing names -------------------------------------------------------------------------------------------


def test_the_eldest_chooses_first() -> None:
    """Names are chosen by age; on a tie Flow Music chooses before TemPolor."""
    rows = [
        SongRow(song=song("t", service="tempolor"), mtime_ns=5, birth=1),
        SongRow(song=song("f"), mtime_ns=5, birth=2),
        SongRow(song=song("old"), mtime_ns=4, birth=3),
    ]
    order = [row.song.ident for row in unnamed(rows, ["flowmusic", "tempolor"])]
    assert order == ["old", "f", "t"]


def test_only_listed_finished_nameless_songs_choose() -> None:
    """What has a name, left, is a stem, or is not finished does not choose a name."""
    rows = [
        SongRow(song=song("named"), mtime_ns=1, name="Song"),
        SongRow(song=song("left"), mtime_ns=1, listed=False),
        SongRow(song=song("stem"), mtime_ns=1, parent="song"),
        SongRow(song=song("making", state=State.UNFINISHED), mtime_ns=1),
        SongRow(song=song("failed", state=State.FAILED), mtime_ns=1),
        SongRow(song=song("ready"), mtime_ns=1),
    ]
    assert [row.song.ident for row in unnamed(rows, ["flowmusic"])] == ["ready"]
