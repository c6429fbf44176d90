"""The small files that are written here: a song's lyrics and `info.json`, the playlists, hints to indexers.

How it thinks: the bytes are a pure function of what listings told, so nothing is kept but their digest and
length, and for a while themselves: whoever opens one has it written again, and if it says something else by
then it is another file. A playlist of 10,000 songs takes 30 ms and is written once for each change of the
listing; a song's files take less than a tenth of a millisecond.

What must always be true: no request is made for them, ever; a song that was called like a playlist before
there were any keeps its name, and the playlist gives way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from cachetools import LRUCache

from musicfs.catalog import Catalog
from musicfs.core.playlists import ALL, EXTENSION, playlist
from musicfs.core.sheets import info, lyrics_text, lyrics_timed
from musicfs.core.tree import Entry, Path, Written
from musicfs.errors import Changed, NoSuchEntry
from musicfs.model import Song, SongRow, Span
from musicfs.providers import NAMES

_KEPT = 256  # songs whose files are kept written: a folder is listed, looked up in and read at one go
_LAST = 1 << 62  # where the playlists stand in `library/`: behind every song there will be
LYRICS, TIMED, INFO = "lyrics.txt", "lyrics.lrc", "info.json"
SHEETS = (LYRICS, TIMED, INFO)
"""All that may be written of a song."""


class Text:
    """An open file that is written here."""

    def __init__(self, data: bytes, version: int) -> None:
        self._data, self.size, self.version = data, len(data), version

    async def read(self, span: Span) -> bytes:
        """Give exactly the bytes of `span`, clipped to the file."""
        return self._data[span.start : span.stop]

    def here(self, span: Span) -> bytes:
        """Give the same."""
        return self._data[span.start : span.stop]

    def close(self) -> None:
        """End this use."""


class Writing:
    """All that is written."""

    def __init__(self, catalog: Catalog, hints: Sequence[str] = ()) -> None:
        """Write of a catalog's songs; `hints` are the names of empty files at the top."""
        self._catalog, self._hints = catalog, tuple(dict.fromkeys(hints))
        self._sheets: LRUCache[tuple[str, str], tuple[Song, dict[str, bytes]]] = LRUCache(_KEPT)
        self._playlists: dict[str, tuple[int, bytes]] = {}

    # A song's ------------------------------------------------------------------------------------------

    def sheets(self, row: SongRow) -> list[Written]:
        """Give the files that are written of a song, as they are now."""
        if row.name is None or not row.listed:
            return []
        folder = ("library", row.name)
        return [_written(folder, name, data, row.mtime_ns, row) for name, data in self._of(row).items()]

    def _of(self, row: SongRow) -> dict[str, bytes]:
        mark, song = (row.song.service, row.song.ident), row.song
        kept = self._sheets.get(mark)
        if kept is None or kept[0] is not song:
            texts = {
                LYRICS: lyrics_text(song),
                TIMED: lyrics_timed(song),
                INFO: info(row, NAMES.get(song.service, song.service)),
            }
            kept = self._sheets[mark] = song, {name: text for name, text in texts.items() if text is not None}
        return kept[1]

    # All songs' ----------------------------------------------------------------------------------------

    def playlists(self) -> list[Entry]:
        """List the playlists of `library/`."""
        found = (self.playlist(name) for name in self.names() if self._catalog.named(name) is None)
        return [Entry(_LAST + place, one.name, one) for place, one in enumerate(found) if one is not None]

    def playlist(self, name: str) -> Written | None:
        """Give a playlist as it is now; None if there is none of this name."""
        if name not in self.names():
            return None
        return _written(("library",), name, self._playlist(name), self._catalog.dates["library"])

    def names(self) -> list[str]:
        """Name the playlists: one of all songs, and one of each service."""
        return [ALL, *(NAMES.get(slug, slug) + EXTENSION for slug in self._catalog.providers)]

    def _playlist(self, name: str) -> bytes:
        generation, data = self._playlists.get(name, (-1, b""))
        if generation != self._catalog.generation:
            data = playlist(self._rows(name))
            self._playlists[name] = self._catalog.generation, data
        return data

    def _rows(self, name: str) -> Iterator[SongRow]:
        for slug in self._catalog.providers:
            if name in (ALL, NAMES.get(slug, slug) + EXTENSION):
                yield from self._catalog.rows(slug)

    # The mount's -----------------------------------------------------------------------------------------

    def hints(self) -> list[Entry]:
        """List the hints at the mount's top."""
        found = [one for name in self._hints if (one := self.hint(name)) is not None]
        return [Entry(_LAST + place, one.name, one) for place, one in enumerate(found)]

    def hint(self, name: str) -> Written | None:
        """Give a hint; None if there is none of this name."""
        return _written((), name, b"", 0) if name in self._hints else None

    # Reading -------------------------------------------------------------------------------------------

    def open(self, node: Written) -> Text:
        """Open a file as it is now.

        Raises:
            Changed: it says something else by now; the kernel looks its name up again.
            NoSuchEntry: it says nothing any more.
        """
        if not node.folder:
            return Text(b"", node.version)
        data = self._playlist(node.name) if node.row is None else self._of(node.row).get(node.name)
        if data is None or not node.listed:
            raise NoSuchEntry("nothing of the kind is known of this song any more")
        if _version(data) != node.version:
            raise Changed("it says something else now")
        return Text(data, node.version)


def _written(folder: Path, name: str, data: bytes, mtime_ns: int, row: SongRow | None = None) -> Written:
    return Written(folder, name, _version(data), len(data), mtime_ns, row)


def _version(data: bytes) -> int:
    # 56 bits: two texts of one file that are taken for each other are as likely as a broken disk.
    return int.from_bytes(blake2b(data, digest_size=7).digest(), "big")
