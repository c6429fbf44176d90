"""Byte ranges: in a file, and in its blocks.

How it thinks: a `Span` is half-open, in bytes. The cache keeps bytes in blocks of a fixed size, and a
block is either here or it is not; so every question "what must be fetched" is answered in whole blocks,
cut off at the object's end.

What must always be true: no answer leaves the file `[0, size)`; joined spans are sorted and do not touch
each other.

What it refuses: to know what the bytes are, or where they come from.
"""

from __future__ import annotations

from collections.abc import Iterable

from musicfs.model import Span

BLOCK = 65536
"""Bytes in a block: the unit the cache keeps and checks (DESIGN §3 "Cache")."""


def clip(span: Span, size: int) -> Span:
    """Cut a span down to the file `[0, size)`; what lies wholly outside becomes empty."""
    start = min(max(span.start, 0), size)
    return Span(start, min(max(span.stop, start), size))


def blocks_of(span: Span) -> range:
    """List the indexes of the blocks that a span touches; an empty span touches none."""
    if span.stop <= span.start:
        return range(0)
    return range(span.start // BLOCK, -(-span.stop // BLOCK))


def block_span(index: int, size: int) -> Span:
    """Say which bytes of an object of `size` bytes a block holds; the last one may be short."""
    return clip(Span(index * BLOCK, (index + 1) * BLOCK), size)


def align(span: Span, size: int) -> Span:
    """Round a span outward to whole blocks, inside the object."""
    inside = clip(span, size)
    blocks = blocks_of(inside)
    if not blocks:
        return inside
    return clip(Span(blocks.start * BLOCK, blocks.stop * BLOCK), size)


def joined(spans: Iterable[Span], slack: int = 0) -> list[Span]:
    """Merge spans that overlap, touch, or lie at most `slack` bytes apart; empty ones are dropped."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.stop > span.start):
        if merged and span.start - merged[-1].stop <= slack:
            merged[-1] = Span(merged[-1].start, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return merged
