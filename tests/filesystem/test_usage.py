"""What programs met, as numbers and names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.filesystem.usage import Usage, spread


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=300))
def test_the_spread_is_made_of_times_that_were_met(times: list[float]) -> None:
    """At least half are within the median and 99 of 100 within the p99, which is no smaller."""
    told = spread(times)
    assert told["files"] == len(times)
    for share, value in ((0.5, told["median"]), (0.99, told["p99"])):
        assert sum(time <= value + 1e-4 for time in times) >= share * len(times)
    assert told["median"] <= told["p99"] <= max(times) + 1e-4


def test_nothing_has_no_spread() -> None:
    """No time is null, not zero."""
    assert spread([]) == {"files": 0, "median": None, "p99": None}


def test_the_last_thousand_count() -> None:
    """A mount that runs for months keeps its memory small and its numbers young."""
    usage = Usage()
    for second in range(3000):
        usage.first_byte(float(second), here=False)
    told = usage.first_bytes()
    assert (told["fetched"]["files"], told["fetched"]["median"]) == (1000, 2499.0)
    assert told["cached"]["files"] == 0
