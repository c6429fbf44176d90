"""Where a song's picture lies: by the URL that a list or record carried, on whatever host that is.

How it thinks: covers are public (upstream-api.md §2.2, §3.3), so they are asked for as the bucket is: by the
client that has no token. This is no provider; every provider may use it.

What must always be true: a form leads to the picture it was made of, or to none: a cover that was replaced
has another form.
"""

from __future__ import annotations

from musicfs.core.sheets import picture
from musicfs.errors import BytesMissing
from musicfs.model import Locator, Song


def cover(song: Song, form: str) -> Locator:
    """Say where a cover lies.

    Raises:
        BytesMissing: the song has another one by now.
    """
    if not song.cover or picture(song) != form:
        raise BytesMissing("the song has another cover now, or none")
    return Locator(song.cover)
