"""Is this mp3 whole? A walk from frame header to frame header.

How it thinks: an mp3 that a service makes while it sends has no announced length, so a cut is invisible
to HTTP. But MPEG audio is a chain: each 4-byte header says how long its frame is, and the next header
follows. The walker is fed with the stream's pieces, hops along the chain, counts time, steps over what is
not audio (ID3v2 at either end, ID3v1, APEv2, zero padding, the silent Xing/Info/VBRI frame), and at the
end knows whether the last frame was complete. `judge` weighs that against the duration in the listing
(DESIGN §3 "Whole-pass objects").

A chain begins where two headers of one kind follow each other; garbage is searched for the next such
place, but not for ever.

What must always be true: no input raises; memory is bounded by two frames and a piece, time is linear in
the input; `whole` is true only exactly behind a frame, a complete tag, or padding.

What it refuses: to decode, to repair, and the rare APEv1 and Lyrics3 tags; a song that ends in one of
them is judged SHORT, fetched once more, and believed if that gives the same length.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

GARBAGE = 64 * 1024
"""Bytes of one stretch without a chain that are searched before the walk gives up: beyond any stray tag."""

_LONGEST_TAG = 32
"""Bytes that are enough to know each tag by: an APEv2 header."""

# Bit rates in kbit/s by (MPEG 1?, layer), then by the header's index 1–14. ISO 11172-3 and 13818-3, 2.4.2.3.
_V1_L1 = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_V1_L2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_L3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_L1 = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_V2_L23 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)

_MAGICS = (b"ID3", b"APETAGEX", b"TAG+")
_NOT_ZERO = re.compile(rb"[^\0]")


class Verdict(Enum):
    """What is to be thought of a stream that has ended."""

    WHOLE = "whole"
    SHORT = "short"
    CUT = "cut"
    """Short, and its last frame is not complete: two signs, so the like of it is never the whole song."""
    NOT_AUDIO = "not audio"


class _Frame(NamedTuple):
    """What a header says: the frame's bytes, its seconds, and what stays the same along a chain."""

    length: int
    seconds: float
    kind: tuple[int, int, int]


@lru_cache(maxsize=4096)  # there are some 3000 valid headers; a real file uses a dozen
def _frame(header: bytes) -> _Frame | None:
    """Read the first three bytes of a header; None if it is none, or of the unsupported free format."""
    if len(header) < 3 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    index, rate_index = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return None
    first = version == 3
    rate = _RATES[rate_index] // (1 if first else 2 if version == 2 else 4)
    table = (_V1_L1, _V1_L2, _V1_L3)[layer - 1] if first else (_V2_L1, _V2_L23, _V2_L23)[layer - 1]
    bits = table[index - 1] * 1000
    samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    padding = (header[2] >> 1) & 1
    # Layer I counts in slots of four bytes, the others in single bytes.
    length = (12 * bits // rate + padding) * 4 if layer == 1 else samples // 8 * bits // rate + padding
    return _Frame(length, samples / rate, (version, layer, rate))


def _silent(frame: bytes) -> bool:
    """Say whether a first frame is a Xing, Info or VBRI header, which plays as nothing."""
    # The mark's place depends on version, channels and checksum: 4 header bytes, 2 of CRC at most, 9 to 32 of
    # side information. VBRI is always at 36.
    return any(mark in frame[4:42] for mark in (b"Xing", b"Info")) or frame[36:40] == b"VBRI"


def _tag(data: bytes) -> int:
    """Say how many bytes the tag that begins here has in all, 0 if none begins here."""
    if data.startswith(b"ID3") and len(data) >= 10 and max(data[6:10]) < 0x80:
        size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
        return 10 + size + (10 if data[5] & 0x10 else 0)
    if data.startswith(b"APETAGEX") and len(data) >= 32:
        size = int.from_bytes(data[12:16], "little")  # with the footer, without the header
        return 32 + size if data[23] & 0x20 else 32
    if data.startswith(b"TAG+"):
        return 227
    # Three letters are not enough: the fourth could be the plus.
    return 128 if data.startswith(b"TAG") and len(data) > 3 else 0


def _may_become_tag(head: bytes) -> bool:
    """Say whether the few bytes that are here could be the beginning of a tag."""
    if head.startswith(b"ID3"):
        return len(head) < 10
    return any(magic.startswith(head) for magic in _MAGICS) or head.startswith(b"APETAGEX")


class Frames:
    """A walk along one stream, fed piece by piece from its first byte."""

    __slots__ = ("_garbage", "_kind", "_lost", "_pending", "_rest", "_seconds", "_skip", "found")

    def __init__(self) -> None:
        self.found = False
        """Whether two consecutive frames were seen: without that it is no MPEG audio."""
        self._seconds = 0.0
        self._pending = 0.0
        """Seconds of the frame that is being skipped: they count when it is complete."""
        self._skip = 0
        """Bytes of the present frame or tag that are still to come."""
        self._rest = b""
        self._kind: tuple[int, int, int] | None = None
        """The chain's kind; None while there is no chain."""
        self._garbage = 0
        self._lost = False

    def __repr__(self) -> str:
        return f"<Frames {self._seconds:.3f} s, {'whole' if self.whole else 'not whole'}>"

    @property
    def seconds(self) -> float:
        """How long the complete frames play."""
        return self._seconds

    @property
    def whole(self) -> bool:
        """Whether the stream, if it ended here, ended behind a frame, a tag, or in padding."""
        at_end = not self._skip and not self._rest
        return self.found and self._kind is not None and at_end and not self._lost

    def feed(self, data: bytes) -> None:
        """Walk on through the next piece."""
        if self._lost:
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if self._skip:
            return
        self._seconds += self._pending
        self._pending = 0.0
        self._walk(self._rest + data[skipped:])

    def _walk(self, data: bytes) -> None:
        """Go from boundary to boundary until what is left cannot be judged yet, and keep that."""
        before, position = -1, 0
        while position != before and not self._lost:
            before = position
            position = self._hop(data, position)
            if position < len(data):
                position = self._step(data, position)
        self._rest = b"" if self._lost else data[position:]
        self._skip = max(0, position - len(data))

    def _hop(self, data: bytes, position: int) -> int:
        """Hop along the chain as far as it goes: the loop that nearly all the time is spent in."""
        end, kind = len(data), self._kind
        while position + 3 <= end:
            frame = _frame(data[position : position + 3])
            if frame is None or frame.kind != kind:
                break
            position += frame.length
            if position > end:
                self._pending = frame.seconds
                break
            self._seconds += frame.seconds
        return position

    def _step(self, data: bytes, position: int) -> int:
        """Pass what is not a frame of the chain; stay if it takes more bytes to say what it is."""
        if not self._garbage:
            if not data[position]:
                audible = _NOT_ZERO.search(data, position)
                return audible.start() if audible else len(data)
            head = data[position : position + _LONGEST_TAG]
            tag = _tag(head)
            if tag or (len(head) < _LONGEST_TAG and _may_become_tag(head)):
                return position + tag
        if position + 3 > len(data):
            return position
        self._kind = None
        return self._search(data, position)

    def _search(self, data: bytes, position: int) -> int:
        """Look for the next place where a chain begins, or may begin once more bytes are here."""
        limit = min(position + GARBAGE - self._garbage + 1, len(data))
        place = data.find(b"\xff", position, limit)
        while place >= 0:
            frame = _frame(data[place : place + 3])
            follower = place + (frame.length if frame else 0)
            if follower + 3 > len(data):
                break
            after = _frame(data[follower : follower + 3])
            if frame and after and after.kind == frame.kind:
                return self._begin(data, place, frame)
            place = data.find(b"\xff", place + 1, limit)
        place = place if place >= 0 else limit
        self._garbage += place - position
        self._lost = self._garbage > GARBAGE
        return place

    def _begin(self, data: bytes, place: int, frame: _Frame) -> int:
        """Begin a chain with a frame that is wholly here; the stream's very first may be a silent header."""
        stop = place + frame.length
        if self.found or not _silent(data[place:stop]):
            self._seconds += frame.seconds
        self.found = True
        self._kind = frame.kind
        self._garbage = 0
        return stop


def judge(frames: Frames, listed_seconds: float | None) -> Verdict:
    """Weigh a stream that has ended against the duration in the listing; None: the frames alone decide.

    It is short if its last frame is cut, or if it lacks more than 2 s and more than 2 % of what was listed
    (listings round, and an encoder's own delay is part of neither); cut if both are so.
    """
    if not frames.found:
        return Verdict.NOT_AUDIO
    lacking = (listed_seconds or 0.0) - frames.seconds
    short = lacking > max(2.0, 0.02 * (listed_seconds or 0.0))
    if frames.whole:
        return Verdict.SHORT if short else Verdict.WHOLE
    return Verdict.CUT if short else Verdict.SHORT
