"""When a form that is listed for every clip, and has no bytes, stops being shown; when a song has no stems.

How it thinks: one 404 is a mood, two a day apart are an answer. Then the form is hidden for a week; after
that it is shown again, so that whoever looks asks once more, and one more 404 hides it for the next week.
Stems may come within an hour of their song; a 404 after that is believed for a day.

What must always be true: hiding a name is not forgetting a song; it comes back by itself.
"""

from __future__ import annotations

_DAY = 86_400.0  # seconds between the two 404s that count (DESIGN §1)
_HOUR = 3600.0  # seconds after which a record's refusal of stems is its last word (DESIGN §1)
_WEEK = 7 * _DAY  # seconds until it is asked again (DESIGN §1)


def hidden(first: float, last: float, now: float) -> bool:
    """Say whether a form is hidden; `first` and `last` are its 404s, all in seconds since the epoch."""
    return last - first >= _DAY and 0 <= now - last < _WEEK


def stemless(finished: float | None, refused: float, now: float) -> bool:
    """Say whether a song that was `finished` has no stems, as far as a 404 at `refused` tells; all in seconds
    since the epoch."""
    return finished is not None and refused - finished > _HOUR and 0 <= now - refused < _DAY
