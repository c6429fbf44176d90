"""A window shows the last bytes of a stream, and leaves its memory to the next one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from musicfs.content.window import RUN, Window, Windows
from musicfs.core.spans import BLOCK
from tests.world import pattern

STREAM = pattern(2 * 2**20)


@given(
    st.integers(0, 9).map(lambda block: block * BLOCK) | st.integers(0, 9 * BLOCK),
    st.lists(st.integers(1, RUN), min_size=1, max_size=8),
    st.data(),
)
def test_a_window_shows_the_last_bytes_of_its_stream(
    begin: int, steps: list[int], data: st.DataObject
) -> None:
    """What a window shows is the stream's, two runs of it at least, and no block of it in two pieces."""
    window, at = Window(Windows(), begin), begin
    for step in steps:
        window.put(STREAM[at : at + step])
        at += step
        assert window.stop == at
        assert window.start == begin or window.stop - window.start >= 2 * RUN
        start = data.draw(st.integers(window.start, at))
        stop = data.draw(st.integers(start, at))
        pieces = list(window.pieces(start, stop))
        assert b"".join(pieces) == STREAM[start:stop]
        places = [start + sum(map(len, pieces[:count])) for count in range(1, len(pieces))]
        assert all(place % BLOCK == 0 for place in places)


def test_a_window_that_moved_shows_nothing_of_before() -> None:
    """A stream that begins anew at another byte has none of what came before."""
    window = Window(Windows(), 0)
    window.put(STREAM[:RUN])
    window.move(BLOCK)
    assert (window.start, window.stop) == (BLOCK, BLOCK)
    window.put(STREAM[BLOCK : BLOCK + 5])
    assert b"".join(window.pieces(BLOCK, BLOCK + 5)) == STREAM[BLOCK : BLOCK + 5]


def test_memory_is_used_over_and_over() -> None:
    """A hundred streams one after the other need the memory of one; of six at once two are kept."""
    windows, seen = Windows(), set()
    for _ in range(100):
        window = Window(windows, 0)
        window.put(b"song")
        window.close()
        ring = windows.take()
        seen.add(id(ring))
        windows.leave(ring)
    assert len(seen) == 1
    many = [Window(windows, 0) for _ in range(6)]
    for window in many:
        window.put(b"song")
    for window in many:
        window.close()
    assert all(one.start == one.stop for one in many)
    rings = [windows.take() for _ in range(3)]
    assert all(one is not two for one, two in pairwise(rings))
    assert sum(bytes(ring[:4]) == b"song" for ring in rings) == 2


def test_a_stream_that_brings_nothing_takes_no_memory() -> None:
    """A window takes memory when its first bytes come: a download that waits for its answer costs none."""
    windows = Windows()
    kept = windows.take()
    windows.leave(kept)
    Window(windows, 0).close()
    assert windows.take() is kept
