"""One pass over an object from its first byte to its last, kept or dropped whole.

How it thinks: what is made anew at each request (Flow Music's mp3) may have no length, no ranges and
other bytes each time. So it is fetched once, in one go, to the shelf; readers follow at the watermark. A
pass that breaks starts over: as long as the new bytes equal those that are here, nothing happened; where
they differ, the blob is superseded there and then, and the pass goes on for the new version. Without
Content-Length the last byte is shown when the pass has ended, for it may end elsewhere than the one that
broke would have. And an mp3 is whole then only if its last frame is complete and it is not too short for
its listing; else one more pass is made, and if that gives the same length it is believed. What is cut in a
frame and too short as well is never believed: a server that breaks off twice at one byte would cut the
song. Neither is a wav, m4a or ZIP that ends before the end which it names itself.

What must always be true: bytes of two passes never mix; nothing is sealed that was not checked to its end.
"""

from __future__ import annotations

import hashlib
from math import inf
from typing import Protocol

from musicfs.content.blob import Blob
from musicfs.content.download import Head
from musicfs.content.progress import Progress
from musicfs.core.containers import Outline
from musicfs.core.frames import Frames, Verdict, judge
from musicfs.core.streams import Haste
from musicfs.errors import Misbehaved, Rejected, UpstreamError
from musicfs.model import Form, Span


class Incomplete(Misbehaved):
    """A pass that ended cleanly and does not look whole."""


class PassKeeper(Protocol):
    """What a pass tells the front of the content room."""

    def sized(self, blob: Blob, size: int | None) -> None:
        """Take note that a pass has begun, and of the length the service announced."""
        ...

    def supersede(self, blob: Blob, common: int) -> Blob:
        """Give a blob of the next version that begins with the first `common` bytes of this one."""
        ...

    def sealed(self, blob: Blob, size: int, sha256: str) -> Blob:
        """Take note that the pass is whole; gives the blob it turned out to be."""
        ...


class Pass:
    """One pass, being made."""

    def __init__(self, blob: Blob, keeper: PassKeeper) -> None:
        self.at = 0
        self.stop: int | None = None
        self.progress = Progress(0)
        self.blob = blob
        self._keeper = keeper
        self._here = 0
        """Bytes on the shelf; a pass that starts over is compared with them."""
        self._announced: int | None = None
        self._sha = hashlib.sha256()
        self._frames = Frames()
        self._outline = Outline(blob.asset.form)
        self._doubted: int | None = None
        """Length of an earlier pass that did not look whole."""

    def __repr__(self) -> str:
        return f"<Pass {self.blob.asset.key} at {self.at}>"

    @property
    def foretold(self) -> bool:
        """Whether nobody has opened its file yet."""
        return self.blob.foretold

    @property
    def left(self) -> float:
        """It is its file's only job, so nobody plans by it."""
        return inf

    @property
    def served(self) -> bool:
        """Whether readers may have got bytes of it."""
        return self._here > 0 and self.blob.size is not None and not self.blob.blind

    @property
    def haste(self) -> Haste:
        """Its readers follow closely."""
        return Haste.NOW

    def will_reach(self, offset: int) -> bool:
        """It comes by every byte."""
        return True

    def brings(self, stop: int) -> int:
        """It goes to the end."""
        return stop

    def shows(self, start: int, stop: int) -> bool:
        """Nothing waits beside the shelf."""
        return False

    def peek(self, start: int, stop: int) -> memoryview:
        """Nothing waits beside the shelf."""
        return memoryview(b"")

    def begin(self, head: Head) -> None:
        """Start, or start over."""
        if head.start != 0:
            raise Misbehaved("a pass begins at the first byte")
        self.at, self._announced = 0, head.announced if head.announced is not None else head.total
        self._sha, self._frames = hashlib.sha256(), Frames()
        self._outline = Outline(self.blob.asset.form)
        if self._announced is not None and self.blob.size not in (None, self._announced):
            self._supersede(0)
        self._keeper.sized(self.blob, self._announced)
        self.progress.headed = True
        self.blob.ring()

    def take(self, data: bytes) -> bool:
        """Compare with what is here, keep what is new."""
        self._sha.update(data)
        if self.blob.asset.form == Form.MP3:
            self._frames.feed(data)
        else:
            self._outline.feed(data)
        fresh = self._compare(data) if self.at < self._here else data
        self.at += len(data)
        if fresh:
            assert self.blob.entry is not None
            self.blob.entry.append(fresh)
            self._here = self.at
            self.progress.advance(self.at)
        return True

    def faltered(self, failure: UpstreamError) -> None:
        """Take note that a request failed, and is made again."""
        self.progress.setback = failure

    def _compare(self, data: bytes) -> bytes:
        """Give the part of `data` that lies beyond what is here."""
        overlap = min(len(data), self._here - self.at)
        assert self.blob.entry is not None
        here = bytes(self.blob.entry.read(Span(self.at, self.at + overlap)))
        if here != data[:overlap]:
            same = next(i for i in range(overlap) if here[i] != data[i])
            self._supersede(self.at + same)
            return data[same:]
        return data[overlap:]

    def _supersede(self, common: int) -> None:
        self.blob = self._keeper.supersede(self.blob, common)
        self._here = common

    def end(self) -> None:
        """Judge whether it is whole.

        Raises:
            Incomplete: it does not look whole; `wire` makes another pass.
        """
        if self._announced is None and self.blob.asset.form == Form.MP3:
            self._judge()
        elif self._announced is None and self._outline.cut:
            raise Incomplete("the body ends before the end that the file names")
        if self.at < self._here or (not self.blob.blind and self.blob.size not in (None, self.at)):
            # Shorter than what readers were given before it broke, or of another length than they were
            # told: these are other bytes.
            self._supersede(self.at)
        self._keeper.sized(self.blob, self.at)
        self.blob = self._keeper.sealed(self.blob, self.at, self._sha.hexdigest())

    def _judge(self) -> None:
        verdict = judge(self._frames, self.blob.asset.song.duration)
        silent = verdict is Verdict.NOT_AUDIO
        # What was cut off before its first frame is no audio either, as far as it goes: that is doubted too.
        if silent and self._doubted is not None:
            raise Rejected("what came is not an mp3")
        if verdict is Verdict.WHOLE or (verdict is Verdict.SHORT and self._doubted == self.at):
            return
        if self._doubted is not None:
            raise Rejected("two passes of the mp3 ended early")
        self._doubted = self.at
        raise Incomplete("the mp3 ended early")
