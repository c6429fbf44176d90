"""Objects that can be read at any offset without being held in memory.

How it thinks: an `Asset` is a size and a `read(start, stop)`; a 160 MB object is a seed and some
arithmetic. Noise is made in blocks from (seed, block number), so any slice costs only the blocks it
touches. The audio shapes stamp real headers over noise: an mp3 of true MPEG frames, a WAV with a true
RIFF header, an m4a whose boxes add up, with `moov` at the end as ffmpeg leaves it.

What must always be true: `read(a, b)` is the slice `[a, b)` of one unchanging object, clipped to its size;
the same seed gives the same bytes on every machine.
It refuses to be music; that is `composer.py`.
"""

from __future__ import annotations

import random
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from itertools import accumulate
from typing import Protocol, runtime_checkable

Seed = int | str

# One block is a millisecond's work and a fair share of a typical read; 32 of them stay warm (2 MiB).
_BLOCK = 64 * 1024

# Noise keeps below 0x80, so that no stray byte can look like the start of an MPEG frame.
_SEVEN_BITS = bytes(value & 0x7F for value in range(256))


class Asset(Protocol):
    """Bytes with a known size that can be read anywhere."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """An asset that can tell its version without its bytes."""

    @property
    def version(self) -> str:
        """What no other bytes have."""
        ...


Source = bytes | Asset


@dataclass(frozen=True, slots=True)
class Plain:
    """Bytes that are simply there."""

    data: bytes

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        return self.data[start:stop]


def asset_of(source: Source) -> Asset:
    """Take bytes or an asset for an asset."""
    return Plain(source) if isinstance(source, bytes) else source


def content(source: Source) -> bytes:
    """Read an asset whole."""
    return source if isinstance(source, bytes) else source.read(0, source.size)


def fingerprint(asset: Asset) -> str:
    """Digest the version, or size and three samples of 4 KiB, as 32 hex digits: enough to tell versions
    apart."""
    if isinstance(asset, Versioned):
        return md5(asset.version.encode(), usedforsecurity=False).hexdigest()
    size = asset.size
    middle = size // 2
    samples = (asset.read(0, 4096), asset.read(middle, middle + 4096), asset.read(max(0, size - 4096), size))
    return md5(b"".join((str(size).encode(), *samples)), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=32)
def _noise_block(seed: Seed, block: int) -> bytes:
    return random.Random(f"{seed}/{block}").randbytes(_BLOCK).translate(_SEVEN_BITS)


@dataclass(frozen=True, slots=True)
class Noise:
    """Pseudo-random bytes, each below 0x80."""

    size: int
    seed: Seed = 0

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        first, last = start // _BLOCK, (stop - 1) // _BLOCK
        blocks = b"".join(_noise_block(self.seed, block) for block in range(first, last + 1))
        return blocks[start - first * _BLOCK : stop - first * _BLOCK]


class Joined:
    """Several assets, one after the other."""

    def __init__(self, *parts: Source) -> None:
        self._parts: Sequence[Asset] = [asset_of(part) for part in parts]
        self._ends = list(accumulate(part.size for part in self._parts))

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._ends[-1] if self._ends else 0

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        found: list[bytes] = []
        index = bisect_right(self._ends, start)
        while index < len(self._parts) and start < min(stop, self.size):
            begin = self._ends[index] - self._parts[index].size
            found.append(self._parts[index].read(start - begin, min(stop, self._ends[index]) - begin))
            start = self._ends[index]
            index += 1
        return b"".join(found)


class Late:
    """Bytes of a known number that are made at their first reading."""

    def __init__(self, size: int, make: Callable[[], bytes]) -> None:
        self.size = size
        self._make: Callable[[], bytes] | None = make
        self._data = b""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        if self._make is not None:
            self._data = self._make()
            if len(self._data) != self.size:
                raise AssertionError(f"{self.size} bytes were promised and {len(self._data)} were made")
            self._make = None
        return self._data[start:stop]


class Delayed:
    """An asset that is laid out when it is first asked about."""

    def __init__(self, make: Callable[[], Asset]) -> None:
        self._make = make
        self._asset: Asset | None = None

    def _made(self) -> Asset:
        if self._asset is None:
            self._asset = self._make()
        return self._asset

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._made().size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        return self._made().read(start, stop)


@dataclass(frozen=True, slots=True)
class Altered:
    """An asset whose bytes differ here and there from `since` on, otherwise for each `salt`.

    It keeps off 0xFF and the three bytes after one, so that the frames of an mp3 stay where they are.
    """

    asset: Asset
    salt: int
    since: int = 0

    _EVERY = 1009  # a prime number of bytes between changes, to fall on no frame or block grid

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.asset.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        lead = min(start, 3)
        data = bytearray(self.asset.read(start - lead, stop))
        first = -(-max(start, self.since) // self._EVERY) * self._EVERY
        for place in range(first, start + len(data) - lead, self._EVERY):
            index = place - start + lead
            if 0xFF not in data[max(0, index - 3) : index + 1]:
                data[index] = (data[index] + 1 + self.salt % 127) % 128
        return bytes(data[lead:])


# MPEG-1 Layer III, 128 kbit/s, 44.1 kHz, stereo: a frame is 1152 samples, 144 * 128000 / 44100 bytes.
_FRAME_BITS, _RATE, _SAMPLES = 144 * 128_000, 44_100, 1152
_HEADER_AND_SIDE_INFO = 4 + 32


@dataclass(frozen=True, slots=True)
class Mp3Noise:
    """A constant bit rate mp3 of true frames (128 kbit/s, 44.1 kHz, stereo) that decodes to silence."""

    seconds: float
    seed: Seed = 0

    @property
    def frames(self) -> int:
        """How many MPEG frames there are."""
        return max(1, round(self.seconds * _RATE / _SAMPLES))

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._begin(self.frames)

    @staticmethod
    def _begin(frame: int) -> int:
        return frame * _FRAME_BITS // _RATE

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        first = start * _RATE // _FRAME_BITS
        last = min(self.frames, stop * _RATE // _FRAME_BITS + 2)
        base = self._begin(first)
        data = bytearray(Noise(self.size, self.seed).read(base, self._begin(last)))
        for frame in range(first, last):
            begin, end = self._begin(frame), self._begin(frame + 1)
            padded = end - begin - _FRAME_BITS // _RATE
            head = bytes((0xFF, 0xFB, 0x90 | padded << 1, 0x04)).ljust(_HEADER_AND_SIDE_INFO, b"\0")
            data[begin - base : begin - base + len(head)] = head
        return bytes(data[start - base : stop - base])


def mp3_of(seconds: float, seed: Seed = 0) -> bytes:
    """Make an mp3 of true frames, 16 kB a second, as bytes."""
    return content(Mp3Noise(seconds, seed))


def wav_header(data: int, rate: int = 44_100, channels: int = 2) -> bytes:
    """Make the 44 bytes before `data` bytes of 16-bit PCM."""
    align = 2 * channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * align, align, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + data, b"WAVE") + form + struct.pack("<4sI", b"data", data)


def wav_of(seconds: float, seed: Seed = 0) -> Asset:
    """Make a WAV of noise: 44.1 kHz, 16 bit, stereo, 176 400 bytes a second."""
    data = round(seconds * 44_100) * 4
    return Joined(wav_header(data), Noise(data, seed))


def wav_of_size(size: int, seed: Seed = 0) -> Asset:
    """Make a WAV of noise of exactly `size` bytes (44 and more)."""
    return Joined(wav_header(size - 44), Noise(size - 44, seed))


def m4a_of(seconds: float, seed: Seed = 0) -> Asset:
    """Make an m4a-shaped object at 16 kB a second: `ftyp`, `mdat` of noise, an empty `moov` at the end."""
    audio = round(seconds * 16_000)
    ftyp = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"M4A ", 512, b"M4A ", b"isom")
    return Joined(
        ftyp, struct.pack(">I4s", 8 + audio, b"mdat"), Noise(audio, seed), struct.pack(">I4s", 8, b"moov")
    )
