"""Laws of the estimate."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.sizes import estimate
from musicfs.demo import content, m4a_of, mp3_of, wav_of

FORMS = ("mp3", "m4a", "wav", "stems", "stems/drums.wav", "")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMS), st.none() | st.floats())
def test_an_estimate_is_a_size(form: str, duration: float | None) -> None:
    """Whatever a listing says, an estimate is above 0 (tar skips empty files unopened) and below 64 bits."""
    assert 0 < estimate(form, duration) < 2**63


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMS), st.floats(0.1, 80_000), st.floats(0.1, 80_000))
def test_a_longer_song_is_not_estimated_shorter(form: str, one: float, other: float) -> None:
    """The estimate rises with the duration."""
    assert estimate(form, min(one, other)) <= estimate(form, max(one, other))


@pytest.mark.parametrize("nonsense", [None, 0.0, -3.0, float("nan"), float("inf"), 1e300])
def test_nonsense_counts_as_a_usual_song(nonsense: float | None) -> None:
    """A missing or impossible duration is taken for three minutes."""
    assert estimate("wav", nonsense) == estimate("wav", 180.0)


def test_the_estimate_is_rather_too_long_than_too_short() -> None:
    """Copiers stop at a size that is too small and say nothing, so real files of 200 s lie below it."""
    assert estimate("mp3", 200.0) > len(mp3_of(200.0))
    assert estimate("m4a", 200.0) > len(content(m4a_of(200.0)))
    assert estimate("wav", 200.0) > wav_of(200.0).size
