"""Laws of names for people."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.naming import LIMIT, ROOM, UNTITLED, Names, clean, fit, flaw, fold

LAW = settings(max_examples=200, deadline=None)

awkward = st.sampled_from(list('/\\:*?"<>|.- \0\n\t\u202e\u2066\ud800\u0301\u0338\u3000\u212bÅéß🎵\u200dİ'))
titles = st.text(st.one_of(awkward, st.characters(exclude_categories=[])), max_size=400) | st.sampled_from(
    ["CON", "nul.wav", "com1 .x", "LPT9", "..", " ", "a" * 300, "é" * 300, "a" + "\u0301" * 300, "🎵" * 100]
)
idents = st.uuids().map(str) | st.text(max_size=80)


@LAW
@given(titles)
def test_a_clean_name_is_valid_and_stays_clean(title: str) -> None:
    """Any title becomes a valid, NFC name of at most 255 bytes, and cleaning it again changes nothing."""
    name = clean(title)
    assert flaw(name) is None
    assert unicodedata.is_normalized("NFC", name)
    assert clean(name) == name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        (None, UNTITLED),
        ("", UNTITLED),
        (" ... ", UNTITLED),
        ("???", UNTITLED),
        ("Night Drive", "Night Drive"),
        ("AC/DC: live", "AC-DC- live"),
        ('What "is" love?', "What 'is' love"),
        ("...And Justice", "And Justice"),
        ("--help", "help"),
        ("Etc. ", "Etc"),
        ("two\n lines\t", "two lines"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("e\u0301te\u0301", "été"),
        ("a?\u0301", "á"),
        ("con", "con_"),
        ("Aux", "Aux_"),
        ("CON.mix", "CON_.mix"),
        ("COM1 .x", "COM1_ .x"),
        ("- NUL", "NUL_"),
        ("Contact", "Contact"),
        ("Drums - drums", "Drums - drums"),
        ("夜に駆ける", "夜に駆ける"),
        ("👩\u200d🎤", "👩\u200d🎤"),
        ("broken \ud83c here", "broken here"),
    ],
)
def test_titles_become_readable_names(title: str | None, name: str) -> None:
    """What can be kept is kept, and what cannot is replaced by what a person would write."""
    assert clean(title) == name


@LAW
@given(titles, st.sampled_from(["", ".mp3", " [4f1c9a].mp3", " [4f1c9a]"]), st.integers(20, LIMIT))
def test_a_fitted_name_keeps_its_suffix(title: str, suffix: str, limit: int) -> None:
    """A fitted name is inside the limit, ends with the whole suffix, and begins as the stem does."""
    stem = clean(title)
    name = fit(stem, suffix, limit)
    assert len(name.encode()) <= limit
    assert name.endswith(suffix)
    assert stem.startswith(name.removesuffix(suffix))
    assert flaw(name) is None


def test_a_cut_keeps_characters_and_accents_whole() -> None:
    """A stem is cut before a letter that does not fit with its accent, and loses a space left over."""
    assert fit("xx" + "q\u0323", ".mp3", 8) == "xx.mp3"
    assert fit("xx" + "q\u0323", ".mp3", 9) == "xxq\u0323.mp3"
    assert fit("é" * 10, "", 5) == "éé"
    assert fit("word word", "", 5) == "word"
    assert fit("q" + "\u0323" * 20, "", 6) == "q\u0323\u0323"


def test_a_suffix_that_leaves_no_room_is_an_error() -> None:
    """There is no name without a stem."""
    with pytest.raises(ValueError):
        fit("stem", ".mp3", 4)


@LAW
@given(st.lists(st.tuples(titles | st.just("Same"), idents), max_size=12))
def test_names_are_unique_valid_and_leave_room(songs: list[tuple[str, str]]) -> None:
    """No two songs share a name even case-folded, and each name holds an extension in 255 bytes."""
    names = Names()
    given_names = [names.take(title, ident) for title, ident in songs]
    assert len({fold(name) for name in given_names}) == len(songs) == len(names)
    assert all(flaw(name) is None and len(name.encode()) + ROOM <= LIMIT for name in given_names)


@LAW
@given(st.lists(st.tuples(titles | st.just("Same"), idents), min_size=1, max_size=8))
def test_a_later_song_renames_nobody(songs: list[tuple[str, str]]) -> None:
    """The names of the first songs are the same whether or not the last one ever comes."""

    def take_all(some: list[tuple[str, str]]) -> list[str]:
        names = Names()
        return [names.take(*song) for song in some]

    assert take_all(songs)[:-1] == take_all(songs[:-1])


def test_the_first_is_plain_and_later_ones_carry_their_id() -> None:
    """A name that is taken, whatever its case, gets six characters of the id, then all, then a number."""
    names = Names()
    take: Callable[[str, str], str] = names.take
    assert take("Dawn", "4f1c9a11-aaaa") == "Dawn"
    assert take("DAWN", "4f1c9a22-bbbb") == "DAWN [4f1c9a]"
    assert take("dawn", "4f1c9a33-cccc") == "dawn [4f1c9a33-cccc]"
    assert take("dawn", "4f1c9a33-cccc") == "dawn [4f1c9a33-cccc] 2"


def test_held_names_are_never_given_again() -> None:
    """A name from an earlier life stays taken."""
    names = Names()
    names.hold("Straße")
    assert "STRASSE" in names
    assert names.take("strasse", "abcdef01") == "strasse [abcdef]"


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("drums.wav", False),
        ("aux.wav", False),
        ("", True),
        (".", True),
        ("..", True),
        ("a/b", True),
        ("a\\b", True),
        ("C:x", True),
        ("-x", True),
        (" x", True),
        ("x.", True),
        ("x\x7f", True),
        ("x\u2067y", True),
        ("é" * 127 + "x", False),
        ("é" * 128, True),
        ("\ud800", True),
    ],
)
def test_flaws_are_named(name: str, bad: bool) -> None:
    """A component that could trip a file system or a person has a flaw; an ordinary one has none."""
    assert (flaw(name) is not None) == bad


def test_ten_thousand_hostile_titles_take_no_time() -> None:
    """Ten thousand long and equal titles are named within a generous bound on a hang."""
    hostile = ["\u0301\u0338<" * 5000, "🎵" * 5000, ". " * 5000, "same", "\u202e" * 9000]
    begun, names = time.perf_counter(), Names()
    for number in range(10_000):
        names.take(hostile[number % 5], f"{number:06}-ident")
    assert len(names) == 10_000
    assert time.perf_counter() - begun < 20
