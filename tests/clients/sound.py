"""A minute of sound in every form a service has, made once a run by ffmpeg.

How it thinks: pink noise from a seed, so that no two moments sound alike and a decoder that got one wrong
block shows it. The m4a is as ffmpeg leaves it, `moov` at the end, which is the harder one to read.

What must always be true: the same machine makes the same bytes each time.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from musicfs.demo import Member, archive_of, content

SECONDS = 60.0
_STEM_SECONDS = 12.0
_FORMS = {
    "mp3": ("-c:a", "libmp3lame", "-b:a", "192k", "-metadata", "title=Pink", "-metadata", "artist=Nobody"),
    "m4a": ("-c:a", "aac", "-b:a", "160k", "-metadata", "title=Pink"),
    "wav": ("-c:a", "pcm_s16le"),
}


@dataclass(frozen=True, slots=True)
class Sound:
    """The bytes of every form."""

    mp3: bytes
    m4a: bytes
    wav: bytes
    stems: dict[str, bytes]
    """By the member's name in the archive."""
    archive: bytes


def made(folder: Path) -> Sound:
    """Make it in a folder (1.4 MB of mp3, 1.2 MB of m4a, 10.6 MB of wav, and stems of 2.1 MB each).

    Raises:
        subprocess.CalledProcessError: ffmpeg could not.
    """
    forms = {form: _noise(folder / f"sound.{form}", SECONDS, 1, *words) for form, words in _FORMS.items()}
    names = ("drums.wav", "bass.wav", "more/voice.wav")
    stems = {
        name: _noise(folder / f"stem-{seed}.wav", _STEM_SECONDS, seed, *_FORMS["wav"])
        for seed, name in enumerate(names, start=2)
    }
    members = (Member(name, data, deflated=name == "bass.wav") for name, data in stems.items())
    return Sound(**forms, stems=stems, archive=content(archive_of(members)))


def _noise(path: Path, seconds: float, seed: int, *words: str) -> bytes:
    source = f"anoisesrc=color=pink:seed={seed}:sample_rate=44100:amplitude=0.5:duration={seconds}"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-ac", "2", "-bitexact"]
    subprocess.run([*command, *words, path], check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path.read_bytes()
