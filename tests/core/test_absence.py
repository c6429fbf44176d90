"""How long a 404 is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from musicfs.core.absence import stemless

HOUR, DAY = 3600.0, 86_400.0
moments = st.floats(0, 2e9)


@given(moments, moments, moments)
def test_a_song_has_no_stems_for_a_day(finished: float, refused: float, now: float) -> None:
    """A 404 counts if it came over an hour after the song was finished, and for a day; one from the future
    does not count, nor one of a song of which nobody says when it was finished."""
    assert stemless(finished, refused, now) == (refused > finished + HOUR and refused <= now < refused + DAY)
    assert not stemless(None, refused, now)


def test_the_edges_of_an_hour_and_a_day() -> None:
    """An hour after is too early, a second later counts; a day later it is asked again."""
    assert not stemless(0, HOUR, HOUR)
    assert stemless(0, HOUR + 1, HOUR + 1)
    assert stemless(0, 2 * HOUR, 2 * HOUR + DAY - 1)
    assert not stemless(0, 2 * HOUR, 2 * HOUR + DAY)
    assert not stemless(0, 2 * HOUR, 2 * HOUR - 1)
