"""What a name stands for, and what a folder holds.

How it thinks: names are answered from what is known. Nothing is asked but the two questions of DESIGN §3:
a full job id (by one record), and a `stems/` never seen; each is shared, bounded in time and in waiters,
because the kernel holds a lock on the folder meanwhile. A service that was never listed is waited for,
briefly in a lookup and up to the deadline in a listing.

What must always be true: a listed name is never ENOENT because of the network; a list is whole or an
error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import trio

from musicfs.catalog import Catalog
from musicfs.content import Asset, Content
from musicfs.content.archive import Archives
from musicfs.core import tree
from musicfs.core.census import stem_of
from musicfs.core.sheets import picture
from musicfs.core.tree import Entry, File, Folder, Node
from musicfs.errors import NoSuchEntry, NotADirectory, NotFinished
from musicfs.filesystem.writing import Writing
from musicfs.flights import Flights
from musicfs.model import NOTHING, Form, Known, Song, SongRow, State

ASK, ASK_LIST = 2.0, 5.0  # seconds a question may hold up a lookup, an opendir (DESIGN §3)
_PART = 0.4  # of the deadline, where that is less: 2 s of 5, so that a walk which waits twice is in time
_WAITERS = 4  # requests that may wait for one question; they hold kernel locks (DESIGN §3)


class Finding:
    """The tree, by name."""

    def __init__(
        self,
        nursery: trio.Nursery,
        catalog: Catalog,
        content: Content,
        archives: Archives,
        deadline: float,
        hints: Sequence[str] = (),
    ) -> None:
        self._catalog, self._content, self._archives, self.deadline = catalog, content, archives, deadline
        self._flights: Flights[SongRow] = Flights(nursery, most=_WAITERS, remember=1.0)
        self.writing = Writing(catalog, hints)
        self._listed: dict[tree.Path, tuple[int, list[Entry]]] = {}

    @property
    def questions(self) -> int:
        """How many questions that hold up a `lookup` or a listing are out."""
        return self._flights.under_way + self._archives.questions

    # Names ---------------------------------------------------------------------------------------------

    async def walk(self, names: list[str]) -> Node:
        """Find a node by its path, as the kernel would, holding nothing.

        Raises:
            MusicfsError: it does not exist, or it cannot be said now.
        """
        node: Node = Folder(())
        for name in names:
            if not isinstance(node, Folder):
                raise NotADirectory("it is a file")
            node = await self.find(node, name)
        return node

    async def find(self, folder: Folder, name: str) -> Node:
        """Find a name in a folder.

        Raises:
            NoSuchEntry: it does not exist.
            MusicfsError: it cannot be said now.
        """
        path = folder.path
        match path:
            case ():
                if name in tree.TOP:
                    return Folder((name,))
                if (hint := self.writing.hint(name)) is not None:
                    return hint
            case ("flowmusic",):
                return await self._find_clip(name)
            case ("tempolor",):
                return await self._find_job(name)
            case ("library",):
                await self._known(("flowmusic", "tempolor"))
                if (row := self._catalog.named(name)) is not None:
                    return Folder(("library", name), row)
                if (playlist := self.writing.playlist(name)) is not None:
                    return playlist
            case _:
                for entry in await self.entries(folder, ASK):
                    if entry.name == name:
                        return self.resolved(entry)
        raise NoSuchEntry("no such name")

    async def _known(self, services: tuple[str, ...], limit: float = ASK) -> None:
        """See to it that services were listed once; afterwards look whether they should be again."""
        for service in services:
            self._catalog.touch(service)
        if not all(self._catalog.standing[service].complete for service in services):
            await self._catalog.ready(services, limit)

    async def _find_clip(self, name: str) -> Node:
        stem, dot, form = name.rpartition(".")
        if not dot or form not in self._catalog.providers["flowmusic"].forms:
            raise NoSuchEntry("flowmusic/ holds <clip>.mp3 (also .m4a and .wav by name)")
        row = self._catalog.row("flowmusic", stem)
        if row is None and (asked := await self._ask_for("flowmusic", stem)) is not None:
            row = asked
        if row is None:
            await self._known(("flowmusic",))
            row = self._catalog.row("flowmusic", stem)
        if row is None:
            raise NoSuchEntry("no such clip")
        return self.file(row, form, form in self.forms(row))

    def forms(self, row: SongRow) -> tuple[str, ...]:
        """Say which forms of a song are listed."""
        if not row.listed:
            return ()
        if row.parent is not None:
            return (Form.MP3,)
        provider = self._catalog.providers[row.song.service]
        return tuple(
            form
            for form in provider.forms
            if not (provider.free(row.song, form) and self._content.hidden(Asset(row.song, form)))
        )

    def shown(self, row: SongRow) -> tuple[str, ...]:
        """Say which forms a song's folder in `library/` lists: its cover too."""
        form = picture(row.song)
        if not row.listed or form is None or self._content.hidden(Asset(row.song, form)):
            return self.forms(row)
        return (*self.forms(row), form)

    async def _find_job(self, name: str) -> Node:
        row = self._catalog.row("tempolor", name)
        if row is None and (asked := await self._ask_for("tempolor", name)) is not None:
            row = asked
        if row is None:
            await self._known(("tempolor",))
            row = self._catalog.row("tempolor", name)
        if row is None or row.song.state is State.FAILED:
            raise NoSuchEntry("no such job")
        if row.song.state is State.UNFINISHED:
            raise NotFinished("the song is still being made")
        return Folder(("tempolor", name), row)

    async def _ask_for(self, service: str, name: str) -> SongRow | None:
        """Resolve a full id: from what is known, by a guess that `open` checks, or by one record."""
        provider = self._catalog.providers[service]
        if (row := self._catalog.by_handle(name) or self._catalog.asked(name)) is not None:
            return row
        if (song := provider.guest(name)) is not None:
            return self._catalog.guest(song)
        handle = provider.recognise(name)
        if handle is None:
            return None
        return await self._flights.ask((service, handle), lambda: self._catalog.record(service, handle), ASK)

    # Folders -------------------------------------------------------------------------------------------

    async def entries(self, folder: Folder, limit: float = ASK_LIST) -> list[Entry]:
        """List a folder, waiting at most `limit` seconds for a question and the deadline for a first listing.

        Raises:
            MusicfsError: it cannot be had; never an empty or partial list.
        """
        path = folder.path
        if not path:
            return tree.root_entries() + self.writing.hints()
        if len(path) == 1:
            services = ("flowmusic", "tempolor") if path[0] == "library" else path
            await self._known(services, self.deadline)
            return self.top(path) + (self.writing.playlists() if path[0] == "library" else [])
        if (row := folder.row) is not None and self.unseen(folder):
            limit = min(limit, self.deadline * _PART)
            await self._archives.directory(Asset(row.song, Form.STEMS, row.listed), limit)
        return self.here(folder)

    def here(self, folder: Folder) -> list[Entry]:
        """List a folder as far as it is known: a `stems/` never seen is empty, as no listing may show it."""
        row, path = folder.row, folder.path
        if row is None:
            return self.top(path)
        if len(path) == 2:
            if path[0] == "tempolor":
                return tree.job_files(folder)
            has_stems = row.song.service == "tempolor" or bool(self._catalog.stems(row))
            return tree.song_files(folder, self.shown(row), has_stems, self.writing.sheets(row))
        if row.song.service == "flowmusic":
            return self._clip_stems(folder, row)
        directory = self._archives.seen(Asset(row.song, Form.STEMS, row.listed))
        below = "".join(f"{part}/" for part in path[3:])
        members = directory.members if directory is not None else ()
        return tree.archive_entries(folder, below, [member.name for member in members])

    def unseen(self, folder: Folder) -> bool:
        """Tell whether listing a folder costs a link and some of an archive's bytes."""
        row = folder.row
        if len(folder.path) < 3 or row is None or row.song.service == "flowmusic":
            return False
        return self._archives.seen(Asset(row.song, Form.STEMS, row.listed)) is None

    def top(self, path: tree.Path) -> list[Entry]:
        """List one of the three big folders, made anew only when something changed."""
        generation, kept = self._listed.get(path, (-1, []))
        if generation != self._catalog.generation:
            rows = self._catalog.rows
            match path[0]:
                case "flowmusic":
                    kept = tree.flow_entries(rows("flowmusic"))
                case "tempolor":
                    kept = tree.job_entries(rows("tempolor"))
                case _:
                    kept = tree.library_entries(row for slug in self._catalog.providers for row in rows(slug))
            self._listed[path] = (self._catalog.generation, kept)
        return kept

    def behind(self, row: SongRow, most: int) -> list[SongRow]:
        """Give the songs that follow one in `library/`, at most so many."""
        listed = self.top(("library",))
        at = bisect_right(listed, row.birth, key=lambda entry: entry.place)
        nodes = (entry.node for entry in listed[at : at + most])
        return [node.row for node in nodes if isinstance(node, Folder) and node.row is not None]

    def _clip_stems(self, folder: Folder, row: SongRow) -> list[Entry]:
        stems = [(one, (stem_of(one.song.title) or ("", "stem"))[1]) for one in self._catalog.stems(row)]
        return tree.clip_stems(folder, stems)

    # Files ---------------------------------------------------------------------------------------------

    def file(self, row: SongRow, form: str, listed: bool) -> File:
        """Give a song's form in the version it has now."""
        return File(row, form, self.version(Asset(row.song, form, listed)), listed)

    def version(self, asset: Asset) -> int:
        """Say which version an asset has now; a member has its archive's."""
        if asset.member is not None:
            try:
                return self._archives.member(asset)[0]
            except NoSuchEntry:
                return 0
        return self._content.facts(asset).version

    def resolved(self, entry: Entry) -> Node:
        """Give an entry's node, with the version its file has now."""
        return self.seen(entry)[0]

    def seen(self, entry: Entry) -> tuple[Node, Known]:
        """Give the same, and what is known of a song's own form.

        `ls -l` of a big folder comes here ten thousand times, so an entry keeps what the ledger said of it.
        """
        node = entry.node
        if isinstance(node, File):
            row, form, before = node.row, node.form, node
        elif isinstance(node, tuple):
            (row, form), before = node, None
        else:
            return node, NOTHING
        if "/" in form:
            known, now = NOTHING, self.version(Asset(row.song, form, row.listed))
        else:
            known = self._content.in_mind(row.song, form) or self._noted(entry, row.song, form)
            now = known.version
        if before is not None and before.version == now and before.listed == row.listed:
            return before, known
        entry.node = made = File(row, form, now, row.listed)
        return made, known

    def _noted(self, entry: Entry, song: Song, form: str) -> Known:
        if entry.noted != (notes := self._content.notes):
            entry.known, entry.noted = self._content.noted(song, form), notes
        return entry.known
