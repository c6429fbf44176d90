"""Plays a score: from events to 16-bit PCM, any byte range of it without the rest.

How it thinks: a note is a wavetable read at the note's speed under an envelope, made once and kept; a bar
is three buses (left, centre, right) into which the notes that sound in it are added, tails of the bar
before included. Bars are the unit of work: a range read plays only the bars it touches, some 40 ms each,
and a piece has nine.

What must always be true: a WAV's slices joined are the WAV; the four parts are the same notes as the
whole; no sample leaves 16 bits. Pure Python, no numpy: the demo must start on any machine.
It refuses compression: mp3 and m4a are made by scripts/make-demo-media and committed.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, pi, sin
from operator import add

from musicfs.demo.assets import Plain, wav_header
from musicfs.demo.score import Bus, Event, Part, Score, Seed, compose

RATE = 32_000  # frames a second: covers what these timbres hold, and a third cheaper than CD
_CHANNELS = 2
_FRAME = 2 * _CHANNELS  # bytes
_TABLE = 2048  # points of a wavetable: its steps lie below the 16-bit noise floor for these pitches


@dataclass(frozen=True, slots=True)
class _Timbre:
    """How an instrument sounds; times in seconds, harmonics as weights from the fundamental up."""

    body: tuple[float, ...]
    spark: tuple[float, ...] = (0.0,)
    """Harmonics that die away quickly, as a hammer's or a pick's."""
    attack: float = 0.005
    decay: float = 1.0
    spark_decay: float = 0.08
    release: float = 0.12
    vibrato: float = 0.0
    """Depth in seconds of running ahead and behind."""


_TIMBRES = {
    "keys": _Timbre((1.0, 0.22, 0.06), (0.0, 0.0, 0.0, 0.35, 0.0, 0.15), decay=1.6, spark_decay=0.25),
    "pad": _Timbre((1.0, 0.35, 0.18, 0.08), attack=0.25, decay=6.0, release=0.4),
    "pluck": _Timbre((1.0, 0.3), (0.0, 0.5, 0.3, 0.2, 0.1), decay=0.25),
    "bass": _Timbre((1.0, 0.4, 0.12), (0.0, 0.3, 0.2), decay=0.7, release=0.06),
    "voice": _Timbre((1.0, 0.5, 0.34, 0.1, 0.04), attack=0.05, decay=3.0, release=0.15, vibrato=0.00011),
    "flute": _Timbre((1.0, 0.12, 0.06), (0.0, 0.2, 0.2), attack=0.04, decay=3.0, vibrato=0.00008),
    "bell": _Timbre((1.0, 0.0, 0.1), (0.0, 0.0, 0.0, 0.6, 0.0, 0.0, 0.25), decay=0.6, spark_decay=0.15),
}


@lru_cache(maxsize=32)
def _wave(harmonics: tuple[float, ...]) -> list[float]:
    loudest = sum(harmonics) or 1.0
    angle = 2 * pi / _TABLE
    return [
        sum(weight * sin(angle * (number + 1) * point) for number, weight in enumerate(harmonics)) / loudest
        for point in range(_TABLE)
    ]


@lru_cache(maxsize=96)
def _envelope(name: str, frames: int) -> tuple[list[float], list[float], list[float]]:
    """Make body level, spark level and time axis (in frames) of a note."""
    timbre = _TIMBRES[name]
    attack, release = int(timbre.attack * RATE), int(timbre.release * RATE)
    fall, flash = exp(-1 / (timbre.decay * RATE)), exp(-1 / (timbre.spark_decay * RATE))
    body, spark = [], []
    level, glint = 1.0, 0.5 if any(timbre.spark) else 0.0
    for frame in range(frames):
        edge = min(1.0, frame / attack, (frames - frame) / release)
        body.append(level * edge)
        spark.append(glint * edge)
        level *= fall
        glint *= flash
    depth, speed = timbre.vibrato * RATE, 2 * pi * 5.2 / RATE  # 5.2 Hz, a singer's vibrato
    return body, spark, [frame + depth * sin(speed * frame) for frame in range(frames)]


@lru_cache(maxsize=256)
def _note(name: str, pitch: float, frames: int, gain: int) -> array[int]:
    """Play one note."""
    if name in _DRUMS:
        return _drum(name, gain)
    timbre = _TIMBRES[name]
    step = 440.0 * 2 ** ((pitch - 69) / 12) * _TABLE / RATE
    low, high, mask = _wave(timbre.body), _wave(timbre.spark), _TABLE - 1
    body, spark, axis = _envelope(name, frames)
    loud = gain / (1.5 if any(timbre.spark) else 1.0)
    return array(
        "h",
        [
            int(loud * (level * low[(point := int(step * moment) & mask)] + glint * high[point]))
            for level, glint, moment in zip(body, spark, axis, strict=True)
        ],
    )


# Seconds each drum sounds.
_DRUMS = {"kick": 0.22, "snare": 0.16, "hat": 0.05}


@lru_cache(maxsize=16)
def _drum(name: str, gain: int) -> array[int]:
    frames = int(_DRUMS[name] * RATE)
    dice = random.Random(f"drum/{name}")
    made, phase, before = array("h"), 0.0, 0.0
    for frame in range(frames):
        fade = (1 - frame / frames) ** 2
        moment = frame / RATE
        hiss = dice.uniform(-1.0, 1.0)
        if name == "kick":
            phase += 2 * pi * (46 + 90 * exp(-moment * 35)) / RATE  # from 136 Hz down to 46 Hz
            value = sin(phase)
        elif name == "snare":
            value = 0.6 * hiss + 0.4 * sin(2 * pi * 185 * moment)
        else:
            value = (hiss - before) / 2  # the difference of neighbours keeps the highs
        before = hiss
        made.append(int(gain * fade * value))
    return made


def _frames(beats: float, score: Score) -> int:
    return round(beats * 60 * RATE / score.tempo)


def _length(event: Event, score: Score) -> int:
    """Return how many frames an event sounds: its beats and its release."""
    if event.timbre in _DRUMS:
        return int(_DRUMS[event.timbre] * RATE)
    return _frames(event.length, score) + int(_TIMBRES[event.timbre].release * RATE)


# Thirty-two bars (10 MB) keep a piece and its stems warm while someone listens to them.
@lru_cache(maxsize=32)
def _bar(seed: Seed, part: Part | None, index: int) -> bytes:
    """Play one bar of one part or of all, as PCM."""
    score = compose(seed)
    width = _frames(score.beats, score)
    buses = {bus: [0] * width for bus in Bus}
    for earlier in (1, 0):
        if index < earlier:
            continue
        for event in score.bars[index - earlier]:
            if part not in (None, event.part):
                continue
            at = _frames(event.start, score) - earlier * width
            sound = _note(event.timbre, event.pitch, _length(event, score), event.gain)
            _mix(buses[event.bus], sound, at)
    if index == len(score.bars) - 1:
        for bus in buses.values():
            bus[:] = [value * (width - frame) // width for frame, value in enumerate(bus)]
    return _stereo(buses[Bus.LEFT], buses[Bus.CENTRE], buses[Bus.RIGHT])


def _mix(bus: list[int], sound: Sequence[int], at: int) -> None:
    """Add a sound that begins at frame `at`, which may lie before the bar; what hangs over is cut off."""
    begin, end = max(at, 0), min(at + len(sound), len(bus))
    if begin < end:
        bus[begin:end] = map(add, bus[begin:end], sound[begin - at : end - at])


def _stereo(left: list[int], centre: list[int], right: list[int]) -> bytes:
    """Fold the buses into interleaved 16-bit PCM; a quarter of each side is heard on the other."""
    samples = array("h", bytes(2 * _CHANNELS * len(centre)))
    for side, near, far in ((0, left, right), (1, right, left)):
        mixed = [mid + close + (distant >> 2) for mid, close, distant in zip(centre, near, far, strict=True)]
        try:
            samples[side::_CHANNELS] = array("h", mixed)
        except OverflowError:  # Rare: the gains leave room. Clipping is kinder than wrapping round.
            samples[side::_CHANNELS] = array("h", [max(-32768, min(32767, value)) for value in mixed])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


@dataclass(frozen=True, slots=True)
class Piece:
    """A composed piece, or one part of it, as a WAV that can be read anywhere."""

    seed: Seed
    part: Part | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return (self.size - 44) / (_FRAME * RATE)

    @property
    def version(self) -> str:
        """What no other piece has: to look at its sound would be to play it."""
        return f"{self.seed}/{self.part}/{self.size}"

    @property
    def _bar_bytes(self) -> int:
        score = compose(self.seed)
        return _frames(score.beats, score) * _FRAME

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return 44 + len(compose(self.seed).bars) * self._bar_bytes

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes `[start, stop)`, clipped to the size."""
        stop = min(stop, self.size)
        found = [Plain(wav_header(self.size - 44, RATE, _CHANNELS)).read(start, stop)]
        first, last = max(start, 44) - 44, stop - 44
        while first < last:
            index, inside = divmod(first, self._bar_bytes)
            bar = _bar(self.seed, self.part, index)
            found.append(bar[inside : inside + last - first])
            first += len(found[-1])
        return b"".join(found)
