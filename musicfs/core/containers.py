"""Where a file ends by its own word: the lengths that containers carry.

How it thinks: a body that comes without any length may be cut by a proxy that then ends it in good order. An
mp3 has frames to count (`frames`); the others say themselves how long they are: a wav in its second word, an
m4a box by box, a ZIP by the directory that closes it. What begins like none of them says nothing, and is not
doubted.

What must always be true: a whole file is never called cut, whatever pieces it comes in; nothing is kept of
it but a few bytes (of a ZIP, its last 64 KiB). It refuses to look inside."""

from __future__ import annotations

from musicfs.model import Form

_RIFF = 12  # bytes of a wav's head: RIFF, length, WAVE
_STREAMED = 0xFFFF_FF00  # a wav that was written to a pipe names a length like this, or 0: it did not know
_BOX, _LARGE = 8, 16  # bytes of a box's head, and of one that names its length in 64 bits
_LAST = 22  # bytes of a ZIP's last record, which ends with the length of a comment
_CLOSING = _LAST + 65_535
_DIRECTORY = b"PK\x05\x06"


class Outline:
    """What a file of some form says of its own length, read as it comes."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._came = 0
        self._kept = bytearray()
        """The head of a wav or of the box that is looked for; of a ZIP its tail."""
        self._next = 0
        """Offset of the next box."""
        self._boxes: set[bytes] = set()
        self._speaks = True

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        start, self._came = self._came, self._came + len(data)
        if not self._speaks:
            return
        if self._form == Form.WAV:
            self._kept += data[: max(0, _RIFF - start)]
        elif self._form == Form.M4A:
            self._walk(start, data)
        elif self._form == Form.STEMS:
            self._speaks = start > 0 or data.startswith(b"PK"[: len(data)])
            self._kept = (self._kept + data[-_CLOSING:])[-_CLOSING:]

    @property
    def cut(self) -> bool:
        """Whether it ends before the end that it names."""
        if not self._speaks or not self._came:
            return False
        if self._form == Form.WAV:
            named = int.from_bytes(self._kept[4:8], "little")
            honest = self._kept[:4] == b"RIFF" and 0 < named < _STREAMED
            return honest and self._came < named + 8
        if self._form == Form.M4A:
            # Players need its index, wherever it lies; a cut between two boxes would take it off.
            return bool(self._boxes) and (
                self._came < self._next or bool(self._kept) or b"moov" not in self._boxes
            )
        return self._form == Form.STEMS and not self._closed()

    def _closed(self) -> bool:
        """Say whether a ZIP's last record is here, with all of its comment."""
        at = self._kept.rfind(_DIRECTORY)
        comment = int.from_bytes(self._kept[at + _LAST - 2 : at + _LAST], "little")
        return at >= 0 and len(self._kept) - at >= _LAST + comment

    def _walk(self, start: int, data: bytes) -> None:
        """Pass from box to box; the first has to be `ftyp`, or this is no m4a."""
        stop = start + len(data)
        while self._speaks and self._next + len(self._kept) < stop:
            at = self._next + len(self._kept) - start
            head = self._kept
            want = _LARGE if head[:4] == b"\0\0\0\1" else _BOX
            head += data[at : at + want - len(head)]
            if len(head) >= _BOX and not self._boxes and head[4:8] != b"ftyp":
                self._speaks = False
            if len(head) >= (_LARGE if head[:4] == b"\0\0\0\1" else _BOX):
                self._pass_box(bytes(head))
                self._kept = bytearray()

    def _pass_box(self, head: bytes) -> None:
        self._boxes.add(head[4:8])
        size = int.from_bytes(head[8:16] if len(head) == _LARGE else head[:4], "big")
        if size < len(head):
            self._speaks = False  # 0: the box goes on to the end, wherever that is; else it is no box
        self._next += size
