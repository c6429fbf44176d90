"""The composer: real PCM, the same each time, readable anywhere, and its parts are the whole."""

from __future__ import annotations

import io
import wave
from array import array
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.demo import composer
from musicfs.demo.assets import content, fingerprint
from musicfs.demo.composer import RATE, Piece
from musicfs.demo.score import Part, compose

SEED = "test"


@lru_cache(maxsize=8)
def samples(part: Part | None = None) -> array[int]:
    """Play a piece, or one part of it, to its samples."""
    return array("h", content(Piece(SEED, part))[44:])


def test_header() -> None:
    """The standard library reads the WAV: stereo, 16 bit, as long as the score."""
    piece = Piece(SEED)
    with wave.open(io.BytesIO(content(piece))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        assert file.getnframes() / RATE == pytest.approx(compose(SEED).seconds, abs=0.01)
        assert piece.seconds == pytest.approx(file.getnframes() / RATE)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_slices(data: st.DataObject) -> None:
    """Any range of the WAV is that slice of the whole."""
    piece = Piece(SEED)
    start = data.draw(st.integers(0, piece.size))
    stop = data.draw(st.integers(start, piece.size + 100))
    assert piece.read(start, stop) == content(piece)[start:stop]


def test_is_music() -> None:
    """It is loud enough to be heard, never clips, begins gently and ends in silence."""
    mix = samples()
    loudness = (sum(value * value for value in mix[::11]) / len(mix[::11])) ** 0.5
    assert 1500 < loudness < 9000
    assert max(map(abs, mix)) < 32_767
    assert max(map(abs, mix[-200:])) < 200


def test_parts_are_the_whole() -> None:
    """The four parts, added up, are the mix, but for the rounding of the crossfeed and the fade."""
    parts = [samples(part) for part in Part]
    assert all(any(part) for part in parts), "every part plays"
    total = (sum(column) for column in zip(*(part[::97] for part in parts), strict=True))
    assert all(abs(got - want) <= 8 for got, want in zip(total, samples()[::97], strict=True))


def test_scores_differ_by_seed_alone() -> None:
    """A seed is one piece for ever; seeds differ from each other; all last about twenty seconds."""
    compose.cache_clear()
    first = compose("a")
    compose.cache_clear()
    assert compose("a") == first
    scores = {compose(f"s{number}") for number in range(30)}
    assert len(scores) == 30
    assert all(17 < score.seconds < 27 for score in scores)


@given(st.text(max_size=8))
@settings(max_examples=50, deadline=None)
def test_scores_stay_in_range(seed: str) -> None:
    """Every event begins inside its bar, and the voice and the bass keep to their ranges."""
    for event in (event for bar in compose(seed).bars for event in bar):
        assert 0 <= event.start < 4
        if event.part is Part.VOCALS:
            assert 55 <= event.pitch <= 81
        if event.part is Part.BASS:
            assert 28 <= event.pitch <= 48


def test_versions() -> None:
    """Pieces and their parts are told apart without being played."""
    played = composer._bar.cache_info()
    pieces = [Piece(seed, part) for seed in ("one", "two") for part in (None, *Part)]
    assert len({fingerprint(piece) for piece in pieces}) == len(pieces)
    assert fingerprint(Piece("one")) == fingerprint(Piece("one"))
    assert composer._bar.cache_info() == played
