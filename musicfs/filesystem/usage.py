"""What programs met: how long the first byte took, what was cached, which indexers were refused what.

How it thinks: a time is that of `open` and of the first read together, without what the program did in
between. Files that were whole in the cache and files that were not are two different things, so they are
two rows; of each the last thousand count.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import msgspec
import trio
from cachetools import LRUCache

from musicfs.errors import ScannerRefused

_KEPT = 1000  # times of each kind: a p99 of ten of them, and 16 KB
_FILES = 5000  # files whose last refusal is remembered: a crawl of a big library refuses each once


class Refusal(msgspec.Struct, frozen=True):
    """Who was refused a file or folder last, when on trio's clock, and why."""

    program: str
    moment: float
    failure: ScannerRefused


class Usage:
    """What programs met since the start."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        """How often which indexer was refused."""
        self.refusals: LRUCache[int, Refusal] = LRUCache(_FILES)
        """Who was refused last, by inode."""
        self.served = {True: 0, False: 0}
        """Bytes read of files that were whole in the cache when they were opened, and of others."""
        self._first: dict[bool, deque[float]] = {here: deque(maxlen=_KEPT) for here in (True, False)}

    def refuse(self, program: str, inode: int, failure: ScannerRefused) -> ScannerRefused:
        """Take note that an indexer or media server was refused; gives the failure, to be raised."""
        self.refused[program] += 1
        self.refusals[inode] = Refusal(program, trio.current_time(), failure)
        return failure

    def read(self, length: int, here: bool) -> None:
        """Take note of bytes read, and whether their file was whole in the cache when it was opened."""
        self.served[here] += length

    def first_byte(self, seconds: float, here: bool) -> None:
        """Take note how long an open file's first byte took, and whether it was whole in the cache."""
        self._first[here].append(seconds)

    def first_bytes(self) -> dict[str, Any]:
        """Tell the times to the first byte, in seconds."""
        return {"cached": spread(self._first[True]), "fetched": spread(self._first[False])}


def spread(times: Iterable[float]) -> dict[str, Any]:
    """Give the count, the median and the 99th percentile (None of nothing)."""
    ranked = sorted(times)
    if not ranked:
        return {"files": 0, "median": None, "p99": None}
    return {"files": len(ranked), "median": _at(ranked, 0.5), "p99": _at(ranked, 0.99)}


def _at(ranked: list[float], share: float) -> float:
    """Give the smallest time that at least a share of all does not exceed."""
    place = -int(-share * len(ranked) // 1) - 1
    return round(ranked[max(place, 0)], 4)
