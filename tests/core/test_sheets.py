"""Laws of the sheet: nothing is invented, nothing true is lost, the same facts give the same bytes."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.census import arrive
from musicfs.core.sheets import Sheet, grown, info, lyrics_text, lyrics_timed, pack, picture, unpack
from musicfs.model import Song, SongRow

LAW = settings(max_examples=100, deadline=None)
MAIL = "ada@example.com"
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"

words = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
times = st.lists(st.tuples(st.floats(0, 900), st.floats(0, 900)), max_size=6).map(tuple)
sheets = st.builds(
    Sheet, lyrics=words, timing=times, prompt=words, key=words, bpm=st.none() | st.floats(1, 400)
)


def song(sheet: Sheet | None = None, **facts: object) -> Song:
    """Make a clip with a sheet."""
    given_facts: dict[str, object] = {"title": "Harbour Lights", "duration": 173.03, **facts}
    packed = pack(sheet or Sheet())
    return Song("flowmusic", UUID, f"user:1-{MAIL}-clip:{UUID}", MAIL, sheet=packed, **given_facts)  # type: ignore[arg-type]


def row(one: Song) -> SongRow:
    """Make its row."""
    return SongRow(song=one, birth=1, mtime_ns=1_780_308_000 * 10**9, name="Harbour Lights")


@LAW
@given(sheets)
def test_a_sheet_comes_back_as_it_was_packed(sheet: Sheet) -> None:
    """Whatever is known survives the packing, and nothing known is no bytes."""
    assert unpack(pack(sheet)) == sheet
    assert bool(pack(sheet)) == (sheet != Sheet())


@LAW
@given(st.binary(max_size=60))
def test_a_damaged_sheet_is_an_empty_one(damaged: bytes) -> None:
    """A sheet that cannot be read costs its facts until the next listing, and breaks nothing."""
    assert isinstance(unpack(damaged), Sheet)


@LAW
@given(sheets, sheets)
def test_what_is_known_stays_known(old: Sheet, new: Sheet) -> None:
    """A new answer's facts win, what it left out is kept, and a timing never outlives its lyrics."""
    both = unpack(grown(pack(old), pack(new)))
    for name in ("lyrics", "prompt", "key", "bpm"):
        assert getattr(both, name) == (getattr(new, name) or getattr(old, name))
    if both.lyrics != old.lyrics:
        assert both.timing == new.timing
    assert grown(pack(both), pack(new)) == pack(both)


@LAW
@given(sheets)
def test_info_holds_what_is_known_and_nothing_else(sheet: Sheet) -> None:
    """Every value of `info.json` is one that was told, and no id with an e-mail address is among them."""
    one = song(sheet)
    told = json.loads(info(row(one), "Flow Music"))
    assert told["id"] == UUID
    assert told["service"] == "Flow Music"
    assert told["first_seen"] == "2026-06-01T10:00:00Z"
    assert told.get("prompt") == sheet.prompt
    assert told.get("key") == sheet.key
    assert told.get("bpm") == sheet.bpm
    assert None not in told.values()
    assert "" not in told.values()
    assert MAIL not in info(row(song()), "Flow Music").decode()
    assert info(row(one), "Flow Music") == info(row(song(sheet)), "Flow Music")


def test_info_tells_the_services_own_date_where_there_is_one() -> None:
    """A song with a date has `created` and no `first_seen`; a date that no calendar has is left out."""
    dated = json.loads(info(row(song(created=1_780_308_000.0, updated=1_780_308_060.0)), "Flow Music"))
    assert (dated["created"], dated["updated"]) == ("2026-06-01T10:00:00Z", "2026-06-01T10:01:00Z")
    assert "first_seen" not in dated
    assert "created" not in json.loads(info(row(song(created=1e18)), "Flow Music"))


def test_lyrics_are_the_lines_as_they_came() -> None:
    """`lyrics.txt` is the text with an end of line, and is not there where no lyrics are."""
    assert lyrics_text(song(Sheet(lyrics="[Verse]\r\nOne\r\n\r\nTwo"))) == b"[Verse]\nOne\n\nTwo\n"
    assert lyrics_text(song()) is None


def test_timings_of_lines_make_an_lrc() -> None:
    """One time a sung line: headings and empty lines have none, hundredths are kept."""
    sheet = Sheet(lyrics="[Verse]\nOne boat\n\nTwo boats", timing=((0.5, 2.0), (65.25, 70.0)))
    expected = "[ti:Harbour Lights]\n[length:02:53]\n[00:00.50]One boat\n[01:05.25]Two boats\n"
    assert lyrics_timed(song(sheet)) == expected.encode()


def test_timings_of_words_make_an_lrc_of_lines() -> None:
    """One time a sung word: each line begins with its first."""
    sheet = Sheet(lyrics="One boat\nTwo boats", timing=((0.5, 1.0), (1.0, 2.0), (3.0, 4.0), (4.0, 5.0)))
    timed = lyrics_timed(song(sheet))
    assert timed is not None
    assert timed.endswith(b"[00:00.50]One boat\n[00:03.00]Two boats\n")


def test_timings_that_fit_nothing_make_no_lrc() -> None:
    """Where the numbers do not agree nobody knows which line is meant, so no file says so."""
    assert lyrics_timed(song(Sheet(lyrics="One\nTwo", timing=((0.5, 1.0),)))) is None
    assert lyrics_timed(song(Sheet(lyrics="One", timing=((-1.0, 1.0),)))) is None
    assert lyrics_timed(song(Sheet(timing=((0.5, 1.0),)))) is None


def test_another_picture_has_another_form() -> None:
    """A cover's form follows from its URL without what signs it; the ending is the URL's."""
    one = picture(song(cover="https://c.example/a.png?sig=1"))
    assert one == picture(song(cover="https://c.example/a.png?sig=2"))
    assert one is not None
    assert one.endswith(".png")
    assert one != picture(song(cover="https://c.example/b.png"))
    assert picture(song()) is None
    assert str(picture(song(cover="https://c.example/picture"))).endswith(".jpg")


def test_a_list_takes_nothing_from_what_a_record_told() -> None:
    """A record's prompt, date and timing stay when the list, which has none of them, shows the song again."""
    sheet = Sheet(lyrics="One", timing=((0.5, 1.0),), prompt="a waltz")
    known = {UUID: row(song(sheet, created=5.0, cover="https://c.example/a.jpg"))}
    arrive(known, [song(Sheet(lyrics="One"))], 100.0)
    kept = known[UUID].song
    assert unpack(kept.sheet) == sheet
    assert (kept.created, kept.cover) == (5.0, "https://c.example/a.jpg")
    assert arrive(known, [song(Sheet(lyrics="One"))], 100.0) == []


@LAW
@given(
    st.none() | st.floats(),
    st.none() | st.floats(),
    st.lists(st.tuples(st.floats(), st.floats()), max_size=2),
)
def test_numbers_that_are_none_break_nothing(
    duration: float | None, created: float | None, timing: list[tuple[float, float]]
) -> None:
    """Whatever a service calls a duration, a date or a time, its lyrics and facts are written, as JSON."""
    one = song(Sheet(lyrics="One\nTwo", timing=tuple(timing)), duration=duration, created=created)
    assert lyrics_text(one) == b"One\nTwo\n"
    lyrics_timed(one)
    assert None not in json.loads(info(row(one), "Flow Music")).values()
