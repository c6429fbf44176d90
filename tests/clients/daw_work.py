"""A DAW at work without a window: begun, and then waited for, ended, or left where it is.

How it thinks: what it says goes to a file, so nobody has to read along. What it made is compared by its
samples alone: what stands before them in a wav tells when it was made. Dither is a step or two of a sample,
so that is silence too.

What must always be true: the program ends with its block.
"""

from __future__ import annotations

import os
import subprocess
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_END = 20.0  # seconds a killed program may take: it may hang in an `open`, for as long as the deadline is
_DITHER = 2  # of 32,768
_FADE = 8_192  # samples between the last that is right and silence: what a program reads or mixes at once
_BLOCK, _STRIDE = 4_096, 97  # samples that are looked at together, and one of so many that is compared


@dataclass(frozen=True, slots=True)
class Working:
    """A program at work on a wav."""

    process: subprocess.Popen[bytes]
    folder: Path
    wav: Path

    @property
    def said(self) -> str:
        """All it said so far."""
        return (self.folder / "said").read_text(errors="replace")

    @property
    def fell(self) -> bool:
        """Whether it ended by a mistake of its own ("Segmentation fault", "double free")."""
        return (self.process.returncode or 0) < 0

    def end(self, limit: float) -> int:
        """Wait for its end, at most so many seconds, and give the exit code."""
        return self.process.wait(limit)

    @property
    def samples(self) -> bytes:
        """The samples of the wav it made, two bytes each."""
        wav = self.wav.read_bytes()
        return wav[wav.index(b"data") + 8 :]


@contextmanager
def working(
    words: Sequence[str | Path], folder: Path, wav: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Working]:
    """Begin a piece of work in a home of its own."""
    environ = {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8", **(environ or {})}
    environ.pop("XDG_CONFIG_HOME", None)
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            words, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        yield Working(process, folder, wav)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_END)


def breaks_off(part: bytes, whole: bytes) -> int:
    """Give how many bytes of `part` sound, which have to be those of `whole`. It may be louder: Ardour makes
    the loudest of what it exports as loud as can be."""
    heard, known = (array("h", each[: len(each) & ~1]) for each in (part, whole))
    end = len(heard)
    while end and _peak(heard[max(0, end - _BLOCK) : end]) <= _DITHER:
        end = max(0, end - _BLOCK)
    sure = max(0, min(end, len(known)) - _FADE)
    louder = _peak(heard[:sure]) / max(1, _peak(known[:sure]))
    for number in range(0, sure, _STRIDE):
        assert abs(heard[number] - louder * known[number]) <= 2 * _DITHER + 1, f"sample {number} is another"
    return 2 * end


def _peak(samples: array[int]) -> int:
    return max(max(samples, default=0), -min(samples, default=0))
