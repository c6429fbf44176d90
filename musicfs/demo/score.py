"""Composes: a seed becomes a short piece for four parts, written down as events, not yet as sound.

How it thinks: like a lead sheet. The seed draws a tempo, a key, a mode, a chord progression and a feel;
the melody is a motif that is bent to each chord (chord tones on strong beats, steps between them),
answered by a second motif and closed by a cadence. Parts enter one after the other, and the last bar lets
the tonic ring.

What must always be true: the same seed is the same piece for ever; every event begins inside its bar;
pitches stay in the ranges where the instruments sound well. It refuses to make sound (`composer.py`) and
to know titles.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

Seed = int | str


class Part(StrEnum):
    """Who plays; also the names of the stems."""

    DRUMS = "drums"
    BASS = "bass"
    VOCALS = "vocals"
    OTHER = "other"


class Bus(StrEnum):
    """Where in the stereo picture."""

    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Event:
    """One note: `start` and `length` in beats from the bar's begin, `pitch` in MIDI, gain in PCM steps."""

    part: Part
    timbre: str
    start: float
    length: float
    pitch: float
    gain: int
    bus: Bus = Bus.CENTRE


@dataclass(frozen=True, slots=True)
class Score:
    """A piece on paper."""

    tempo: float
    """Beats a minute."""
    bars: tuple[tuple[Event, ...], ...]
    beats: int = 4
    """Beats a bar."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.bars) * self.beats * 60.0 / self.tempo


_MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10)}

# Degrees of the scale, four bars each; all of them end where the beginning is glad to follow.
_PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (3, 0, 4, 5), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (5, 3, 0, 4)),
    "dorian": ((0, 3, 0, 6), (0, 2, 3, 0), (0, 6, 3, 3)),
}

# Rhythms as (start, length) in beats; they leave air for the echo.
_RHYTHMS = (
    ((0.0, 1.0), (1.0, 0.5), (1.5, 1.0), (2.5, 1.0)),
    ((0.0, 1.5), (1.5, 0.5), (2.0, 1.5)),
    ((0.5, 0.5), (1.0, 1.0), (2.0, 0.5), (2.5, 1.25)),
    ((0.0, 0.5), (0.5, 0.5), (1.0, 1.0), (2.5, 0.5), (3.0, 0.75)),
    ((0.0, 0.75), (0.75, 0.75), (1.5, 1.5)),
)

# (start, drum) in beats and General MIDI numbers: 36 kick, 38 snare, 42 hat.
_GROOVES = (
    ((0.0, 36), (2.0, 36), (2.5, 36), (1.0, 38), (3.0, 38)),
    ((0.0, 36), (1.5, 36), (2.0, 38)),
    ((0.0, 36), (1.0, 36), (2.0, 36), (3.0, 36), (1.0, 38), (3.0, 38)),
)

_LEADS = ("voice", "flute", "bell")
_KEYS = ("keys", "pad")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the seed drew."""

    root: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    groove: int
    swing: float
    lead: str
    keys: str
    arpeggio: bool
    call: tuple[tuple[float, float], ...]
    reply: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]

    def voiced(self, degree: int, low: int) -> int:
        """Return a degree of the scale in the octave from `low` up: chords stay close together."""
        return low + (self.root + self.scale[degree % 7] - low) % 12

    def sung(self, degree: int) -> int:
        """Return a degree of the scale as a melody has it, higher degrees higher, from middle C up."""
        octave, step = divmod(degree, 7)
        pitch = 60 + self.root + self.scale[step] + 12 * octave
        while pitch > 81:  # the A above the staff, where the voice ends
            pitch -= 12
        return pitch


def _draw(dice: random.Random) -> tuple[float, _Plan]:
    mode = dice.choice(tuple(_MODES))
    plan = _Plan(
        root=dice.randrange(12),
        scale=_MODES[mode],
        chords=dice.choice(_PROGRESSIONS[mode]),
        groove=dice.randrange(len(_GROOVES)),
        swing=dice.choice((0.0, 0.0, 0.12)),
        lead=dice.choice(_LEADS),
        keys=dice.choice(_KEYS),
        arpeggio=dice.random() < 0.6,
        call=dice.choice(_RHYTHMS),
        reply=dice.choice(_RHYTHMS),
        shape=tuple(dice.choice((-1, 0, 1, 1, 2)) for _ in range(8)),
    )
    return float(dice.randrange(84, 121, 4)), plan


@lru_cache(maxsize=64)
def compose(seed: Seed) -> Score:
    """Compose the piece of a seed: nine bars, 18 to 26 seconds."""
    tempo, plan = _draw(random.Random(f"score/{seed}"))
    bars: list[tuple[Event, ...]] = []
    for index in range(9):
        chord = plan.chords[index % 4] if index < 8 else 0
        bars.append(tuple(_bar(plan, index, chord)))
    return Score(tempo, tuple(bars))


def _bar(plan: _Plan, index: int, chord: int) -> Iterator[Event]:
    last = index == 8
    yield from _harmony(plan, chord, last)
    if index >= 1:
        yield from _bass(plan, chord, last)
    if index >= 2 and not last:
        yield from _drums(plan, fill=index in (4, 7))
    if index >= 1:
        yield from _melody(plan, index, chord, last)


def _harmony(plan: _Plan, chord: int, last: bool) -> Iterator[Event]:
    tones = [plan.voiced(chord + third, 55) for third in (0, 2, 4)]
    length = 4.0
    for tone in tones:
        # A hair's delay (some 12 ms) between the sides makes the chord wide, at the price of one note.
        yield Event(Part.OTHER, plan.keys, 0.0, length, tone, 2000, Bus.LEFT)
        yield Event(Part.OTHER, plan.keys, 0.02, length, tone, 2000, Bus.RIGHT)
    if not plan.arpeggio or last:
        return
    ladder = [*tones, tones[1]]
    for step in range(8):
        side = Bus.LEFT if step % 2 else Bus.RIGHT
        start = step / 2 + (plan.swing if step % 2 else 0.0)
        yield Event(Part.OTHER, "pluck", start, 1.0, ladder[step % 4] + 12, 2300, side)


def _bass(plan: _Plan, chord: int, last: bool) -> Iterator[Event]:
    root = plan.voiced(chord, 33)
    fifth = root + 7 if root + 7 <= 48 else root - 5
    walk = ((0.0, 1.5, root), (1.5, 0.5, root), (2.0, 1.5, fifth), (3.5, 0.5, root))
    line = ((0.0, 4.0, root),) if last else walk
    for start, length, pitch in line:
        yield Event(Part.BASS, "bass", start, length, pitch, 9500)


def _drums(plan: _Plan, fill: bool) -> Iterator[Event]:
    for start, drum in _GROOVES[plan.groove]:
        name, gain = ("kick", 11000) if drum == 36 else ("snare", 5500)
        yield Event(Part.DRUMS, name, start, 0.5, drum, gain)
    for step in range(8):
        gain = 2300 if step % 2 else 1400
        start = step / 2 + (plan.swing if step % 2 else 0.0)
        yield Event(Part.DRUMS, "hat", start, 0.25, 42, gain, Bus.RIGHT)
    if fill:
        for start in (3.25, 3.5, 3.75):
            yield Event(Part.DRUMS, "snare", start, 0.25, 38, 3400)


def _melody(plan: _Plan, index: int, chord: int, last: bool) -> Iterator[Event]:
    if last:
        yield from _sung(plan, 0.0, 4.0, plan.sung(0))
        return
    rhythm = plan.call if index % 2 else plan.reply
    degree = chord + (0, 2, 4)[index % 3]
    for turn, (start, length) in enumerate(rhythm):
        if start in (0.0, 2.0):
            degree = min((chord + tone for tone in (0, 2, 4, 7)), key=lambda tone: abs(tone - degree))
        yield from _sung(plan, start, length, plan.sung(degree))
        degree += plan.shape[(turn + 2 * (index // 2)) % 8]


def _sung(plan: _Plan, start: float, length: float, pitch: int) -> Iterator[Event]:
    yield Event(Part.VOCALS, plan.lead, start, length, pitch, 8200)
    if start + 0.75 < 4.0:
        # The echo is a dotted eighth behind, softer and to the left.
        yield Event(Part.VOCALS, plan.lead, start + 0.75, length, pitch, 2000, Bus.LEFT)
