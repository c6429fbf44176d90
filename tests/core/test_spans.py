"""Laws of the span algebra."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.spans import BLOCK, align, block_span, blocks_of, clip, joined
from musicfs.model import Span

LAW = settings(max_examples=150, deadline=None)

sizes = st.integers(0, 40 * BLOCK)
spans = st.tuples(st.integers(-BLOCK, 45 * BLOCK), st.integers(-BLOCK, 45 * BLOCK)).map(
    lambda ends: Span(*ends)
)


def inside(span: Span, size: int) -> bool:
    """Say whether a span is well-formed and lies in the file."""
    return 0 <= span.start <= span.stop <= size


@LAW
@given(spans, sizes)
def test_clip_stays_in_the_file_and_is_idempotent(span: Span, size: int) -> None:
    """A clipped span lies in the file, and clipping it again changes nothing."""
    cut = clip(span, size)
    assert inside(cut, size)
    assert clip(cut, size) == cut


@LAW
@given(sizes)
def test_blocks_tile_the_file(size: int) -> None:
    """The blocks of a file follow each other without gap or overlap from its first byte to its last."""
    place = 0
    for index in blocks_of(Span(0, size)):
        block = block_span(index, size)
        assert block.start == place
        assert 0 < block.length <= BLOCK
        place = block.stop
    assert place == size


@LAW
@given(spans, sizes)
def test_align_covers_with_the_same_blocks(span: Span, size: int) -> None:
    """An aligned span covers the clipped one, touches the same blocks, and is aligned already."""
    wide, cut = align(span, size), clip(span, size)
    assert inside(wide, size)
    assert wide.start <= cut.start
    assert wide.stop >= cut.stop
    assert blocks_of(wide) == blocks_of(cut)
    assert align(wide, size) == wide


@LAW
@given(st.lists(spans, max_size=8), st.integers(0, BLOCK))
def test_joined_spans_keep_all_bytes_and_lie_apart(several: list[Span], slack: int) -> None:
    """Joined spans hold every byte of the given ones and lie more than the slack apart."""
    merged = joined(several, slack)
    for span in several:
        if span.length > 0:
            assert any(one.start <= span.start and span.stop <= one.stop for one in merged)
    assert all(two.start - one.stop > slack for one, two in itertools.pairwise(merged))


def test_joined_bridges_exactly_the_slack() -> None:
    """Neighbours at the slack's distance become one; a byte further they stay two."""
    assert joined([Span(20, 30), Span(0, 10)], 10) == [Span(0, 30)]
    assert joined([Span(0, 10), Span(21, 30)], 10) == [Span(0, 10), Span(21, 30)]
    assert joined([Span(0, 10), Span(10, 12)]) == [Span(0, 12)]
