"""Laws of the streams: how many, how much each, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.readahead import LARGEST
from musicfs.core.spans import BLOCK
from musicfs.core.streams import ENOUGH, MOST, Streams
from musicfs.model import Span

LAW = settings(max_examples=150, deadline=None)

MIB = 2**20
TICK = 0.005


def fed(
    streams: Streams, rate: Callable[[int], float], seconds: float, waits: bool = True, since: float = 0.0
) -> list[int]:
    """Play a network that gives `rate(streams)` bytes a second in all; give the width at each tick."""
    widths = []
    for tick in range(1, int(seconds / TICK)):
        if waits:
            streams.waited()
        streams.came(since + tick * TICK, int(rate(streams.width) * TICK), streams.width)
        widths.append(streams.width)
    return widths


@LAW
@given(
    st.lists(
        st.tuples(
            st.floats(0, 100), st.integers(0, 16 * MIB), st.integers(0, 9), st.booleans(), st.floats(0, 60)
        ),
        max_size=80,
    )
)
def test_one_to_four_whatever_is_told(events: list[tuple[float, int, int, bool, float]]) -> None:
    """Whatever is told, there are 1 to 4 streams, and the lead is no less than nothing."""
    streams, now = Streams(), 0.0
    for step, amount, flowing, waits, latency in events:
        now += step
        before = streams.width
        if waits:
            streams.waited()
        streams.began(latency)
        assert streams.came(now, amount, flowing) is (streams.width != before)
        assert 1 <= streams.width <= MOST
        assert streams.lead >= 0


@LAW
@given(st.integers(0, 200), st.integers(1, 16 * MIB), st.integers(1, MOST))
def test_the_pieces_are_the_gap(block: int, length: int, width: int) -> None:
    """Cut again and again, a gap is asked for exactly once, in whole blocks, and no piece is a crumb."""
    streams = Streams()
    streams.width = width
    gap = Span(block * BLOCK, block * BLOCK + length)
    size, at, pieces = gap.stop, gap.start, list[int]()
    while at < gap.stop:
        piece = streams.cut(Span(at, gap.stop), size)
        assert piece.start == at
        assert piece.stop == gap.stop or piece.stop % BLOCK == 0
        pieces.append(piece.length)
        at = piece.stop
    assert sum(pieces) == length
    assert min(pieces) >= min(length, max(pieces) // 2 - BLOCK)


def test_a_window_is_work_for_every_stream() -> None:
    """The largest window is a request for each stream and one more."""
    for width in range(1, MOST + 1):
        streams = Streams()
        streams.width = width
        assert LARGEST // streams.cut(Span(0, LARGEST), LARGEST).length in (width + 1, width)


@LAW
@given(st.floats(0.05e6, 15e6))
def test_a_limit_of_each_connection_is_met_with_four(rate: float) -> None:
    """Where each connection has a limit of its own, the streams become four and stay."""
    widths = fed(Streams(), lambda width: rate * width, 8.0 + 16 * MIB / rate)
    assert widths[0] == 1
    assert set(widths[-100:]) == {MOST}


@LAW
@given(st.floats(1e6, 60e6))
def test_a_limit_of_the_line_is_left_to_one(rate: float) -> None:
    """Where the line is the limit, a second stream is tried now and then, ever more seldom."""
    widths = fed(Streams(), lambda width: rate, 60.0)
    assert max(widths) == 2
    assert widths.count(2) < len(widths) // 10
    assert widths[-1] == 1


@LAW
@given(st.integers(2, 3))
def test_what_helps_stays_and_what_does_not_goes(limit: int) -> None:
    """Where two (or three) connections fill the line, there are two (or three)."""
    widths = fed(Streams(), lambda width: 5e6 * min(width, limit), 9.0)
    assert widths[-1] == limit
    assert max(widths) == limit + 1


@LAW
@given(st.floats(0.05e6, 15e6), st.integers(1, MOST))
def test_streams_are_abreast_once_a_second_has_proved(rate: float, limit: int) -> None:
    """Where one connection takes all of the line none is, not while a second is tried either; where two bring
    more, they are from then on, and the next request is sent as much sooner as they are heard of later."""
    streams = Streams()
    streams.began(0.04)
    now, abreast = 0.0, []
    while now < 20.0 + 16 * MIB / rate:
        fed(streams, lambda width: rate * min(width, limit), 0.1, since=now)
        now += 0.1
        abreast.append(streams.abreast)
    assert abreast == sorted(abreast)
    assert streams.abreast is (limit > 1)
    flight = streams.lead - int(streams._rate / streams.width * streams._latency)
    assert flight == (393_216 if limit > 1 else 262_144)


def test_a_slow_reader_has_one_stream() -> None:
    """Who never waits needs no second stream, and one who stops waiting gets back to one."""
    streams = Streams()
    assert set(fed(streams, lambda width: 5e6 * width, 5.0, waits=False)) == {1}
    assert fed(streams, lambda width: 5e6 * width, 5.0, since=5.0)[-1] == MOST
    assert fed(streams, lambda width: 5e6 * width, 5.0, waits=False, since=10.0)[-1] == 1


def test_what_is_fast_enough_has_one_stream() -> None:
    """Above 64 MiB a second no stream is added, though more would bring more."""
    assert set(fed(Streams(), lambda width: ENOUGH * 1.1 * width, 5.0)) == {1}


def test_a_stream_that_never_flows_beside_the_others_goes() -> None:
    """Where the second answer never comes before the first has ended, the trial ends after a second."""
    streams = Streams()
    now = 0.0
    while streams.width == 1:
        now += TICK
        streams.waited()
        streams.came(now, 50_000, 1)
    while streams.width == 2 and now < 5.0:
        now += TICK
        streams.came(now, 50_000, 1)
    assert streams.width == 1
    assert 1.0 < now < 1.5


def test_a_pause_between_two_answers_is_no_slowness() -> None:
    """The round trip in which nothing flows does not count against the rate."""
    streams = Streams()
    for tick in range(1, 30):
        streams.came(tick * TICK, 50_000, 1)
    streams.came(30 * TICK, 50_000, 0)
    rate = streams._rate
    streams.came(2.0, 0, 1)
    for tick in range(1, 30):
        streams.came(2.0 + tick * TICK, 50_000, 1)
    assert abs(streams._rate - rate) < 1
    assert repr(streams) == "<Streams 1 at 10.0 MB/s, 0 ms>"


def test_the_next_request_goes_a_round_trip_early() -> None:
    """The first requests follow each other at once; then the lead is what comes in the time of an answer, and
    until the next word of it."""
    streams = Streams()
    assert streams.lead == LARGEST
    streams.began(0.04)
    fed(streams, lambda width: 10e6, 1.0, waits=False)
    assert abs(streams.lead - 400_000 - 262_144) < 10_000
    streams.began(1000.0)
    assert streams.lead <= 10e6 + 262_144
