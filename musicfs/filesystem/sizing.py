"""What `stat` shows: numbers, times, and a size that is exact or an estimate.

How it thinks: a size is exact once anybody learned it, and kept for ever. Until then it is an estimate.
Where asking can make it exact, the kernel may not keep it, so that `getattr` is asked: of byte servers that
need no link (with `sizes = "exact"` of all) it learns the length by the smallest range there is, for a
moment, the song's other forms along with it; where a program walks from song to song, the next ones too.
Where only `open` can tell, the kernel may keep the estimate for the seconds that `ls -l` of a big folder
takes; it is remembered that it was told one (`guessed`), and `open` takes it back before it answers.

A media server writes down what `stat` tells and goes by it for ever (minidlna 1.3 takes a wav whose end is
not where the estimate was for a broken one), so it is told exact sizes, and once one was seen the kernel may
keep no estimate, which it would pass on.

What must always be true: a listed name has attributes, whatever the network says; no link is minted by
`stat` unless the user asked for exact sizes or named the media server that asks; however many are walked, a
bounded number is asked for.
"""

from __future__ import annotations

from contextlib import nullcontext

import msgspec
import trio
from cachetools import TTLCache

from musicfs.catalog import Catalog
from musicfs.content import Asset, Content
from musicfs.content.archive import Archives
from musicfs.content.ports import Facts
from musicfs.core.tree import File, Folder, Node
from musicfs.errors import MusicfsError
from musicfs.filesystem.finding import ASK, Finding
from musicfs.model import NOTHING, Form, Known

STEADY = 300.0  # seconds the kernel may believe what cannot change by itself (DESIGN §3: minutes)
GUESSED = 5.0
"""Seconds the kernel may believe what it cannot be told to ask again: an estimate that only `open` mends (one
`ls -l` of 10,000), a name that nobody listed."""
_SIBLINGS = 64  # files whose size is asked for ahead (DESIGN §3)
_SIDE_BY_SIDE = 8  # of them at a time (DESIGN §3)
_VAIN = 60.0  # seconds in which a neighbour whose size could not be had is not asked for again unbidden
_STROLL = 2.0  # seconds between two songs' first `stat` that make it a walk: one answer takes at most that


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """What `stat` shows; a struct, because `ls -l` of a big folder makes ten thousand."""

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
        self._asking: dict[int, trio.Event] = {}
        """Inode → its answer has come."""
        self._vain: TTLCache[int, None] = TTLCache(1024, _VAIN, timer=trio.current_time)
        self.served = False
        """Whether a media server has looked."""
        self.guessed: set[int] = set()
        """Inodes whose estimate the kernel was told to believe for a while."""

    def attributes(self, node: Node) -> Attributes:
        """Give what `stat` shows, asking nobody."""
        if isinstance(node, File):
            return self.of_file(node)
        if isinstance(node, Folder):
            # A folder of a song cannot change; the others' times do, and cost nothing to ask again.
            steady = STEADY if node.row is not None else 1.0
            return Attributes(node.inode, True, 4096, self._folder_mtime(node), 1, STEADY, steady)
        return Attributes(node.inode, False, node.size, node.mtime_ns, 1, STEADY, STEADY)

    def of_file(self, file: File, known: Known = NOTHING) -> Attributes:
        """Give the same of a file; `known` is what was just seen of it, if anything was."""
        inode, row, links, believed = file.inode, file.row, file.names, STEADY
        if (size := known.size) is None:
            facts = self._facts(file)
            size = facts.size
            if not facts.exact:
                believed = 0.0 if self._measurable(file, self.served, facts) else GUESSED
                if believed:
                    self.guessed.add(inode)
        if believed == STEADY and links == 1 and file.listed and not row.name and not row.parent:
            # It has no name in `library/`, and so one link less, until every service was listed once.
            believed = GUESSED
        return Attributes(inode, False, size, row.mtime_ns, links, STEADY, believed)

    def size(self, file: File) -> tuple[int, bool]:
        """Give a file's length in bytes, and whether it is exact."""
        facts = self._facts(file)
        return facts.size, facts.exact

    def _facts(self, file: File) -> Facts:
        asset = Asset(file.row.song, file.form, file.listed)
        if asset.member is not None:
            version, member = self._archives.member(asset)
            return Facts(member.size, True, version)
        return self._content.facts(asset)

    def _folder_mtime(self, folder: Folder) -> int:
        if folder.row is not None:
            return folder.row.mtime_ns
        return self._catalog.dates[folder.path[0]] if folder.path else self._catalog.dates.latest()

    async def measure(self, file: File, minted: bool = False) -> None:
        """Ask for a file's size, by a link if `minted`, and for its neighbours'; what is not known in time
        stays an estimate."""
        if not self._measurable(file, minted) or file.form not in self._finding.forms(file.row):
            return  # the latter is a form that is hidden by now: nobody would answer
        done = self._ask(file, first=True)
        walking = trio.current_time() - self._walked < _STROLL
        self._walked = trio.current_time()
        # Not for a place or two: to look who the neighbours are takes as long as a `stat`.
        if len(self._asking) <= _SIBLINGS // 2:
            for one in self._neighbours(file, walking):
                if len(self._asking) >= _SIBLINGS:
                    break
                inode = one.inode
                if inode not in self._asking and inode not in self._vain and self._measurable(one):
                    self._ask(one)
        with trio.move_on_after(ASK):
            await done.wait()

    def _ask(self, file: File, first: bool = False) -> trio.Event:
        inode = file.inode
        done = self._asking.setdefault(inode, trio.Event())
        self._nursery.start_soon(self._measure_one, file, inode, first)
        return done

    def _neighbours(self, file: File, walking: bool) -> list[File]:
        """Give the song's forms, and in a walk those of the songs behind it in `library/`."""
        rows = [file.row]
        if walking and self._catalog.standing[file.row.song.service].complete:
            rows += self._finding.behind(file.row, _SIBLINGS)
        return [
            self._finding.file(row, form, True)
            for row in rows
            for form in self._finding.forms(row)
            if form != Form.STEMS
        ]

    def _measurable(self, file: File, minted: bool = False, facts: Facts | None = None) -> bool:
        if "/" in file.form:
            return False
        facts = facts or self._content.facts(Asset(file.row.song, file.form))
        if facts.exact or facts.one_pass:
            return False
        if file.form.startswith(Form.COVER):
            return self._measure_minted  # a picture is asked for when somebody opens it
        provider = self._catalog.providers[file.row.song.service]
        return provider.free(file.row.song, file.form) or self._measure_minted or minted

    async def _measure_one(self, file: File, inode: int, first: bool) -> None:
        try:
            # The one that was asked for goes first: behind its neighbours it would be late.
            async with nullcontext() if first else self._sides:
                await self._content.measure(Asset(file.row.song, file.form, file.listed))
        except MusicfsError:
            self._vain[inode] = None  # an estimate is what `stat` shows then; the job has said why
        finally:
            if (done := self._asking.pop(inode, None)) is not None:
                done.set()
