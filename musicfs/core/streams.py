"""How many streams fetch one object at a time, and how much each of them asks for.

How it thinks: often one connection is slower than the line it runs on (a byte server that shapes each of
them, a long way), and then two bring twice as much; often the line itself is the limit, and then two are
only twice the trouble. Which it is can be measured and not known. So it is measured: while a reader waits
for what comes, the rate of one stream is taken, then another is added, and it stays if the sum rose by a
quarter; else it goes, and is tried again later. A reader that is slower than the download needs no more
streams, and what is fast enough already gets none.

A stream is a row of requests. The next is sent when what is left of the last one takes as long as an
answer takes to begin, so no round trip is lost between two; nor is it when a stream is let go of, whose last
request runs to its end beside the one that stays. The window of the reader is cut into as many
pieces as keep all streams at work, and no piece lies outside the window: so nothing is fetched twice, and
a reader who leaves wastes what a single stream would have wasted.

What must always be true: 1 to 4 streams; the answer depends on what it was told, and on no clock.
It refuses to know what a byte means, and who carries it.
"""

from __future__ import annotations

from enum import Enum, auto

from musicfs.core.readahead import FIRST, LARGEST
from musicfs.core.spans import align
from musicfs.model import Span

MOST = 4
"""Streams: a polite browser opens six connections to a host, and others may want some of them."""
GAIN = 1.25
"""What one stream more must bring: the fourth brings 1.33 where each has a limit of its own, and two
measurements of one rate differ by a tenth."""
ENOUGH = 64 * 1024 * 1024
"""Bytes a second above which no stream is added: there the limit is this program and not the network."""
_EPOCH = 0.1
"""Seconds a rate is measured: a few round trips."""
_SAMPLE = 512 * 1024
"""Bytes a rate is measured over at least: below that, one receive more or less counts for too much."""
_AGAIN, _SELDOM = 10.0, 160.0
"""Seconds until a stream that was of no use is tried again; they double up to the second."""
_TRIAL = 1.0
"""Seconds after which a stream that hardly flowed beside the others is of no use: one line carries all."""
_WORD, _LONG_WORD = 256 * 1024, 384 * 1024
"""Bytes that come between two words of a stream (`wire/tide.py`): what is not asked for at one is asked
for at the next, and at 100 Mbit/s that was up to 10 ms of an idle line. Streams abreast say the long one."""
_SLOW = 1.0
"""Seconds: the longest beginning of an answer that a next request is sent ahead for."""


class Haste(Enum):
    """How soon the bytes of a stream are needed."""

    NOW = auto()
    """Somebody may be waiting for the first of them."""
    AHEAD = auto()
    """They were asked for ahead of their reader."""
    ABREAST = auto()
    """So they were, and by one of several streams, each of them slower than the line: the reader waits for
    all of them, so it is no matter if one brings more at a time and later."""


class Streams:
    """The streams of one object; `now` is any clock in seconds."""

    __slots__ = (
        "_again",
        "_before",
        "_bytes",
        "_flowing",
        "_hungry",
        "_last",
        "_latency",
        "_rate",
        "_rests",
        "_seconds",
        "_tried",
        "width",
    )

    def __init__(self) -> None:
        self.width = 1
        """How many streams are wise now."""
        self._hungry = False
        self._rate = 0.0
        self._before, self._tried = 0.0, 0.0
        """The rate without the stream that is being tried; 0 = none is."""
        self._rests, self._again = 0.0, _AGAIN
        self._latency = 0.0
        self._seconds, self._bytes = 0.0, 0
        self._last, self._flowing = 0.0, 0

    def __repr__(self) -> str:
        return f"<Streams {self.width} at {self._rate / 1e6:.1f} MB/s, {self._latency * 1000:.0f} ms>"

    @property
    def abreast(self) -> bool:
        """Whether a second stream has proved to be worth it: then each connection has a limit of its own."""
        return self.width - bool(self._before) > 1

    @property
    def lead(self) -> int:
        """How many bytes before a request's end the next one is sent; the first ones go at once."""
        if not self._rate:
            return LARGEST
        return int(self._rate / self.width * self._latency) + (_LONG_WORD if self.abreast else _WORD)

    @property
    def most(self) -> int:
        """How many requests may be under way: a next one, and one of a stream that was let go of."""
        return self.width + (2 if self._rate else 1)

    def waited(self) -> None:
        """Note that a reader has to wait for bytes that are next in a row."""
        self._hungry = True

    def began(self, seconds: float) -> None:
        """Note how long an answer took to begin."""
        seconds = min(seconds, _SLOW)
        self._latency += (seconds - self._latency) / 4 if self._latency else seconds

    def came(self, now: float, amount: int, flowing: int) -> bool:
        """Note that bytes came, and over how many streams bytes come; True if `width` is another now.

        Only the time counts in which all streams of the width flowed: not the round trip until one begins.
        """
        if self._flowing >= self.width:
            self._seconds += now - self._last
            self._bytes += amount
        self._last, self._flowing = now, flowing
        width = self.width
        if self._seconds >= _EPOCH and self._bytes >= _SAMPLE:
            self._rate = self._bytes / self._seconds
            self._judge(now)
            self._seconds, self._bytes, self._hungry = 0.0, 0, False
        elif self._before and self._seconds < _EPOCH / 2 and now >= self._tried + _TRIAL:
            self._rate, self._before = self._before, 0.0
            self._drop(now)
        return self.width != width

    def _judge(self, now: float) -> None:
        """Keep, add or let go of a stream, by the rate that was measured."""
        tried, self._before = self._before, 0.0
        if not self._hungry:
            self.width = max(1, self.width - 1)
        elif tried and self._rate < tried * GAIN:
            self._drop(now)
        elif self.width < MOST and self._rate < ENOUGH and now >= self._rests:
            self._before, self._tried = self._rate, now
            self.width += 1

    def _drop(self, now: float) -> None:
        """Let go of the stream that was tried, and rest before the next trial."""
        self.width -= 1
        self._seconds, self._bytes = 0.0, 0
        self._rests, self._again = now + self._again, min(2 * self._again, _SELDOM)

    def cut(self, gap: Span, size: int) -> Span:
        """Say how much of a gap the next request asks for: whole blocks, all of it rather than leave little.

        A window is one request for each stream and one more, because each costs 1.5 ms of CPU (performance.md
        §3): a 50 MB wav by four streams is 27 requests; halves as long would be 46, and no faster.
        """
        piece = max(FIRST, LARGEST // (self.width + 1))
        if gap.length <= piece + piece // 2:
            return gap
        return align(Span(gap.start, gap.start + piece), size)
