"""What `stat` shows: numbers, times, and a size that is exact or an estimate.

How it thinks: a size is exact once anybody learned it, and kept for ever. Until then it is an estimate
that the kernel must not believe for long. `getattr` may ask byte servers that need no link (with `sizes =
"exact"` all of them) for the smallest range there is, for a moment, the song's other forms along with it;
where a program walks from song to song, the next ones too.

What must always be true: a listed name has attributes, whatever the network says; no link is minted by
`stat` unless the user asked for exact sizes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import trio

from musicfs.catalog import Catalog
from musicfs.content import Asset, Content
from musicfs.content.archive import Archives
from musicfs.core.tree import File, Folder, Node
from musicfs.errors import MusicfsError
from musicfs.filesystem.finding import ASK, Finding
from musicfs.model import Form

STEADY = 300.0  # seconds the kernel may believe what cannot change by itself (DESIGN §3: minutes)
_SIBLINGS, _SIDE_BY_SIDE = 64, 8  # files whose size one getattr asks for, and how many at a time (DESIGN §3)
_STROLL = 2.0  # seconds between two songs' first `stat` that make it a walk: one answer takes at most that


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` shows."""

    inode: int
    folder: bool
    size: int
    mtime_ns: int
    links: int
    name_for: float
    """Seconds the kernel may believe the name."""
    valid_for: float
    """Seconds the kernel may believe the rest."""


class Sizing:
    """Every node's attributes."""

    def __init__(
        self,
        nursery: trio.Nursery,
        catalog: Catalog,
        content: Content,
        archives: Archives,
        finding: Finding,
        measure_minted: bool,
    ) -> None:
        self._nursery, self._catalog, self._content = nursery, catalog, content
        self._archives, self._finding, self._measure_minted = archives, finding, measure_minted
        self._sides = trio.CapacityLimiter(_SIDE_BY_SIDE)
        self._walked = -_STROLL

    def attributes(self, node: Node) -> Attributes:
        """Give what `stat` shows, asking nobody."""
        if isinstance(node, Folder):
            # A folder of a song cannot change; the others' times do, and cost nothing to ask again.
            steady = STEADY if node.row is not None else 1.0
            return Attributes(node.inode, True, 4096, self._folder_mtime(node), 1, STEADY, steady)
        size, exact = self.size(node)
        # A song has no name in `library/`, and so one link less, until every service was listed once.
        final = exact and (not node.listed or bool(node.row.name or node.row.parent))
        return Attributes(
            node.inode, False, size, node.row.mtime_ns, node.names, STEADY, STEADY if final else 0.0
        )

    def size(self, file: File) -> tuple[int, bool]:
        """Give a file's length in bytes, and whether it is exact."""
        asset = Asset(file.row.song, file.form, file.listed)
        if asset.member is not None:
            return self._archives.member(asset)[1].size, True
        facts = self._content.facts(asset)
        return facts.size, facts.exact

    def _folder_mtime(self, folder: Folder) -> int:
        if folder.row is not None:
            return folder.row.mtime_ns
        standings = self._catalog.standing
        if folder.path and folder.path[0] in standings:
            return standings[folder.path[0]].changed_ns
        return max(standing.changed_ns for standing in standings.values())

    async def measure(self, file: File) -> None:
        """Ask for a file's size and its neighbours'; what is not known in time stays an estimate."""
        if not self._measurable(file):
            return
        done = trio.Event()
        wanted = [one for one in self._neighbours(file) if self._measurable(one)][:_SIBLINGS]
        if file not in wanted:
            return  # a form that is hidden by now: nobody would answer
        for one in wanted:
            self._nursery.start_soon(self._measure_one, one, done if one.inode == file.inode else None)
        with trio.move_on_after(ASK):
            await done.wait()

    def _neighbours(self, file: File) -> list[File]:
        """Give the song's forms, and in a walk those of the songs behind it in `library/`."""
        rows = [file.row]
        now = trio.current_time()
        if now - self._walked < _STROLL and self._catalog.standing[file.row.song.service].complete:
            rows += self._finding.behind(file.row, _SIBLINGS)
        self._walked = now
        return [
            self._finding.file(row, form, True)
            for row in rows
            for form in self._finding.forms(row)
            if form != Form.STEMS
        ]

    def _measurable(self, file: File) -> bool:
        provider = self._catalog.providers[file.row.song.service]
        asset = Asset(file.row.song, file.form, file.listed)
        if asset.member is not None:
            return False
        facts = self._content.facts(asset)
        if facts.exact or facts.one_pass:
            return False
        return provider.free(file.row.song, file.form) or self._measure_minted

    async def _measure_one(self, file: File, done: trio.Event | None) -> None:
        try:
            # The one that was asked for goes first: behind its neighbours it would be late.
            async with self._sides if done is None else nullcontext():
                await self._content.measure(Asset(file.row.song, file.form, file.listed))
        except MusicfsError:
            pass  # an estimate is what `stat` shows then; the job has said why
        finally:
            if done is not None:
                done.set()
