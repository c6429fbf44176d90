"""Laws of what is held back of an answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.streams import Haste
from musicfs.wire.tide import Tide

LAW = settings(max_examples=150, deadline=None)
AMOUNTS = st.lists(st.integers(1, 600_000), max_size=20)


@LAW
@given(st.none() | st.integers(1, 5_000_000), st.booleans(), st.sampled_from(Haste), AMOUNTS)
def test_no_more_is_waited_for_than_comes(
    amount: int | None, first: bool, haste: Haste, pieces: list[int]
) -> None:
    """Whatever comes of an answer in whatever pieces, no more is waited for than is left of it, less than a
    receive brings, and not long; behind its end nothing is held back."""
    head, *rest = pieces or [1000]
    tide = Tide()
    tide.came(head)
    tide = tide.coming(amount, first, haste)
    got = head
    for piece in rest:
        tide.came(piece)
        got += piece
        assert 0 < tide.worth <= tide.most < 512 * 1024
        assert tide.coax <= 0.035
        assert tide.flows or not tide.ebbs
        if amount is not None:
            assert tide.flows or got >= amount or haste is Haste.NOW or first
            assert not (tide.flows and got >= amount)
            assert not tide.flows or tide.worth <= amount - got


@LAW
@given(st.booleans(), st.sampled_from(Haste), st.integers(1, 600_000))
def test_the_beginning_is_held_back_where_nobody_waits(first: bool, haste: Haste, came: int) -> None:
    """A file's first 512 KiB never are, nor the first 256 KiB of an answer that somebody waits for."""
    tide = Tide()
    tide.came(came)
    held = tide.coming(None, first, haste).flows
    assert held is (came >= (512 if first else 256 if haste is Haste.NOW else 0) * 1024)


def test_a_stream_abreast_is_looked_into_when_more_may_be_there() -> None:
    """A receive that was full may have left something, so there is another look at once; behind any other the
    kernel is asked to wake us. Of a stream that is alone there is always a look."""
    alone, abreast = Tide().coming(None, False, Haste.AHEAD), Tide().coming(None, False, Haste.ABREAST)
    seen = []
    for amount in (1000, abreast.most, abreast.most - 1):
        alone.came(amount)
        abreast.came(amount)
        seen.append((alone.ebbs, abreast.ebbs))
    assert seen == [(False, True), (False, False), (False, True)]
    assert abreast.worth > alone.worth
