"""How long a file is likely to be, until its exact length is known.

How it thinks: duration × bit rate, never 0 (GNU tar skips an empty file unopened) and rather too long than
too short: copiers stop at a size that is too small and say nothing, at one too large they read on and find
the end. `open` replaces the estimate by the exact size before any program can read a byte.
"""

from __future__ import annotations

from musicfs.model import Form

_RATES = {  # bytes a second
    "mp3": 24_000,  # 192 kbit/s; what the services encode with is not documented (upstream-api.md §2.3)
    "m4a": 24_000,  # AAC at 48 kHz (upstream-api.md §2.8), about 192 kbit/s
    "wav": 192_000,  # 48 kHz, 16 bit, stereo
    "stems": 768_000,  # four such tracks
}
_PICTURE = 262_144  # a cover: those that were measured have 165 KB (clients.md)
_SONG = 180.0  # seconds; a song's usual length where the listing has no duration


def estimate(form: str, duration: float | None) -> int:
    """Guess a form's length in bytes from the listing's duration in seconds; always above 0."""
    if form.startswith(Form.COVER):
        return _PICTURE
    seconds = duration if duration is not None and 0 < duration < 86_400 else _SONG
    return 4096 + int(seconds * _RATES.get(form, 192_000))
