"""What the kernel is told to look up again: names it was to keep for minutes, and that changed meanwhile.

How it thinks: a name is let go of where its song has left, where its file has another version by now, and
where it did not exist and may do so since. The kernel then asks `lookup` once more and hears what is true;
open files go on as they were. To let go of a name too many costs one question, so every name that may be
concerned is told.

What must always be true: it only tells; nobody waits for it. It refuses to touch the mount.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from musicfs.catalog import Catalog
from musicfs.content import Asset
from musicfs.content.archive import Archives
from musicfs.core import tree
from musicfs.core.tree import File
from musicfs.filesystem.writing import SHEETS
from musicfs.model import Form, Key, SongRow

COVERS = ("cover.jpg", "cover.png")
_ABSENT = 1024  # names known not to exist: a desktop asks for a few a folder, and asks again


class Notices:
    """What is told. `tell` takes a folder's inode and a name in it, `dated` a folder's inode."""

    def __init__(
        self,
        catalog: Catalog,
        archives: Archives,
        tell: Callable[[int, str], None],
        dated: Callable[[int], None] = lambda inode: None,
        held: Callable[[int], bool] = lambda inode: True,
        playlists: Sequence[str] = (),
    ) -> None:
        self._catalog, self._archives, self._tell = catalog, archives, tell
        self._dated, self._held, self._playlists = dated, held, playlists
        self._absent: dict[tuple[int, str], None] = {}
        """Names that the kernel may believe not to exist, oldest first."""

    def absent(self, parent: int, name: str) -> None:
        """Take note that the kernel was told that a name does not exist."""
        self._absent[parent, name] = None
        if len(self._absent) > _ABSENT:
            del self._absent[next(iter(self._absent))]

    def listed(self) -> None:
        """Have it ask again for names that did not exist: a listed name is never ENOENT; and for the times of
        the folders, which it may have asked for a moment before."""
        absent, self._absent = self._absent, {}
        for parent, name in absent:
            self._tell(parent, name)
        for name in self._playlists:
            self._tell(tree.folder_inode(("library",)), name)
        for folder in ((), *((name,) for name in tree.TOP)):
            self._dated(tree.folder_inode(folder))

    def told(self, row: SongRow) -> None:
        """Have it look up again what is written of a song, whose facts have changed, and its cover."""
        folder = tree.folder_inode(("library", row.name)) if row.name is not None else 0
        # Of a folder that the kernel does not hold it knows no name: ten thousand songs may change at a time.
        if self._held(folder):
            for name in (*SHEETS, *COVERS):
                self._tell(folder, name)

    def left(self, row: SongRow) -> None:
        """Have it let go of a song; a stem's sisters may be called otherwise from now on."""
        if row.song.service == "tempolor":
            for ident in (row.song.ident, row.song.handle):
                self._tell(tree.folder_inode(("tempolor",)), ident)
        else:
            parent = self._parent(row)
            for one in (row, *(self._catalog.stems(parent) if parent is not None else ())):
                self._names(one, Form.MP3)
        if row.name is not None:
            self._tell(tree.folder_inode(("library",)), row.name)

    def changed(self, key: Key) -> None:
        """Have it look a file up again that has another version; of an archive, all its members."""
        row = self._catalog.row(key.service, key.ident)
        if row is None:
            return
        if key.form != Form.STEMS:
            self._names(row, key.form)
            return
        directory = self._archives.seen(Asset(row.song, Form.STEMS))
        for member in directory.members if directory is not None else ():
            self._names(row, f"{Form.STEMS}/{member.name}")
        self.listed()

    def reach(self, file: File, folder: tree.Path, name: str) -> bool:
        """Say whether `changed` tells of a name; it does not know by which jobs' ids a clip was asked for."""
        row = self._catalog.row(file.row.song.service, file.row.song.ident)
        return row is not None and (folder, name) in tree.names_of(row, file.form, self._parent(row))

    def _names(self, row: SongRow, form: str) -> None:
        for folder, name in tree.names_of(row, form, self._parent(row)):
            self._tell(tree.folder_inode(folder), name)

    def _parent(self, row: SongRow) -> SongRow | None:
        return None if row.parent is None else self._catalog.row(row.song.service, row.parent)
