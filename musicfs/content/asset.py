"""One file's bytes, named: a song's form, or a member of its stems archive."""

from __future__ import annotations

import msgspec

from musicfs.core.sizes import estimate
from musicfs.model import Form, Key, Song

_MEMBER = f"{Form.STEMS}/"


class Asset(msgspec.Struct, frozen=True):
    """A song's form."""

    song: Song
    form: str
    """`mp3`, `m4a`, `wav`, `stems` (the archive itself) or `stems/<member>`."""
    listed: bool = True
    """False: only asked for by name, so a 404 means there is no such thing."""

    @property
    def key(self) -> Key:
        """Its identity, printable."""
        return Key(self.song.service, self.song.ident, self.form)

    @property
    def member(self) -> str | None:
        """The member's name inside the stems archive, None for a form of its own."""
        return self.form[len(_MEMBER) :] if self.form.startswith(_MEMBER) else None

    @property
    def archive(self) -> Asset:
        """The stems archive of the same song."""
        return Asset(self.song, Form.STEMS, self.listed)

    def member_of(self, name: str) -> Asset:
        """The asset of one of its members."""
        return Asset(self.song, _MEMBER + name, self.listed)

    def guess(self) -> int:
        """Its likely length in bytes."""
        return estimate(self.form, self.song.duration)
