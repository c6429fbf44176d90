"""How much of an answer to wait for at a time; pure.

How it thinks: what a piece costs is mostly the waking for it, so what nobody waits for comes in large ones.
Once an answer has brought 256 KiB (512, where it begins with a file's first byte) it is a stream, and worth
waking for is a piece of 256 KiB, or what is left, and after 25 ms whatever came: at 100 Mbit/s that is a
tenth of the waking. The beginning of an answer is never held back where somebody waits for it; what was asked
for ahead of its reader is a stream from its first byte. One of several streams abreast is held back more, and
not looked into before: what trickles in while the last piece is put away would be a second piece for each.

What must always be true: nothing is held back longer than `coax`, and the end of an answer, where its length
is known, not at all.
"""

from __future__ import annotations

from musicfs.core.streams import Haste

_STREAM = 262_144  # bytes of one answer after which it is a stream: the first request of a file is no longer
_HEAD = 524_288  # the same where a file begins: ffprobe waits for 320 KiB of an mp3 with a cover


class Tide:
    """An answer's bytes, as they come over a connection."""

    most = 262_144
    """Bytes a receive: 64 KiB (httpcore's) costs 1.6 × the CPU (performance.md §3)."""
    coax = 0.025
    """Seconds until a stream is asked for less, so that nobody notices the wait for more."""
    _worth = 262_144  # bytes to be woken for in a stream: 21 ms at 100 Mbit/s

    def __init__(self) -> None:
        self._came = 0
        """Bytes since something was last sent."""
        self._stream = _STREAM
        """Bytes after which the answer is a stream; none where nobody waits for it."""
        self._left: int | None = None
        """Bytes of the answer that are still to come, at least; None = nobody told."""

    def coming(self, amount: int | None, first: bool, haste: Haste) -> Tide:
        """Be told of an answer's body, whose beginning came with its head; give what the rest is taken by."""
        tide = Abreast() if haste is Haste.ABREAST else Tide()
        tide._came = self._came
        tide._stream = _HEAD if first else _STREAM if haste is Haste.NOW else 0
        tide._left = None if amount is None else max(0, amount - self._came)
        return tide

    def came(self, amount: int) -> None:
        """Count bytes that were received."""
        self._came += amount
        if self._left is not None:
            self._left = max(0, self._left - amount)

    @property
    def flows(self) -> bool:
        """Whether it is a stream, of which something is still to come."""
        return self._came >= self._stream and self._left != 0

    @property
    def worth(self) -> int:
        """Bytes that a stream's reader is woken for."""
        return min(self._worth, self._left or self._worth)

    @property
    def ebbs(self) -> bool:
        """Whether too little can be there by now to look for it."""
        return False


class Abreast(Tide):
    """One of several streams, for all of which the reader waits.

    26 ms at 100 Mbit/s, and room for what comes in the 5 ms until we get there: 50 MB are 270 pieces in place
    of 390. With 384 and 448 KiB they are as many, and the heap gives back and takes a third more pages: each
    stream holds its last piece until the next has come. The next request goes out as much sooner (`streams`).
    """

    most = 393_216
    coax = 0.035
    _worth = 327_680

    def __init__(self) -> None:
        super().__init__()
        self._full = False

    def came(self, amount: int) -> None:
        """Count bytes that were received, and note whether they were all there was."""
        super().came(amount)
        self._full = amount >= self.most

    @property
    def ebbs(self) -> bool:
        """Whether the last receive left nothing, and more is worth waiting for."""
        return not self._full and self.flows
