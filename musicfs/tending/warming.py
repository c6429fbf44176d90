"""Songs that are to play with no network: the row of files that a person named, and how far it is.

How it thinks: what was named is walked in the tree and becomes a row of files, each counted once however
many names it has; three at a time are brought, beginning while the row is still being counted. The same
walk finds the files whose pins are to go.

What must always be true: each file that could not be brought has a sentence, by its path; called off,
nothing new is begun, and what was brought stays. A form that is listed for every song, because nobody but
its bytes can tell whether there is one, and that the byte server does not have, is counted and is no failure,
unless it was named by itself: there is nothing that could be played.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

from musicfs.content import Asset
from musicfs.core.tree import File
from musicfs.errors import BytesMissing, MusicfsError
from musicfs.filesystem import Filesystem
from musicfs.model import Key
from musicfs.tending.bringing import Bringer, Item
from musicfs.tending.errands import Errand
from musicfs.tending.paths import Found, walk
from musicfs.tending.pins import Pins

_AT_A_TIME = 3  # files; with two requests ahead for each that is what one host's six connections take


class Warming(Errand):
    """One errand of bringing files, or with `unpin` of letting their pins go."""

    def __init__(self, nursery: trio.Nursery, files: Filesystem, pins: Pins, unpin: bool) -> None:
        super().__init__(nursery)
        self._files, self._pins, self._unpin = files, pins, unpin
        self._bringer = Bringer(files, pins)
        self._paths: deque[str] = deque()
        self._waiting: deque[Item] = deque()
        self._active: list[Item] = []
        self._seen: set[Key] = set()
        self._named: set[str] = set()
        self._absent = 0
        """Forms that were listed and that the service turned out not to have."""
        self._walking = False
        self._files_done = self._size = self._done = self._fetched = 0

    def add(self, paths: list[str]) -> None:
        """Take more paths in."""
        self._paths += paths
        self._named.update(paths)
        if not self._walking:
            self._walking = True
            self.spawn(self._walk)

    def tell(self) -> dict[str, Any]:
        """Say how far it is: files and bytes; sizes are estimates until a file was opened."""
        return {
            "counting": self._walking,
            "files": len(self._seen) - self._absent,
            "absent": self._absent,
            "files_done": self._files_done,
            "size": self._size + sum(item.size for item in (*self._active, *self._waiting)),
            "done": self._done + sum(item.here for item in self._active),
            "fetched": self._fetched + sum(item.fetched for item in self._active),
            "now": [item.path for item in self._active],
        }

    # From paths to files -------------------------------------------------------------------------------

    async def _walk(self) -> None:
        try:
            while self._paths:
                await walk(self._files.finding, self._paths.popleft(), self._take)
        finally:
            self._walking = False
        if self._unpin:
            self._let_go()

    def _take(self, found: Found) -> None:
        path, node = found
        if isinstance(node, MusicfsError):
            self.fail(path, node)
            return
        asset = Asset(node.row.song, node.form, node.listed)
        if asset.key in self._seen:
            return
        self._seen.add(asset.key)
        self._waiting.append(Item(path, asset, self._size_of(node)))
        if not self._unpin and len(self._active) < _AT_A_TIME:
            self._start()

    def _size_of(self, node: File) -> int:
        try:
            return self._files.sizing.size(node)[0]
        except MusicfsError:  # A stem of an archive that was built anew meanwhile; bringing it says so.
            return 0

    def _let_go(self) -> None:
        """Take the pins of all files found away; that of an archive goes with any stored stem of it."""
        held = self._pins.held()
        while self._waiting:
            asset = self._waiting.popleft().asset
            keys = [asset.key] if asset.member is None else [asset.key, asset.archive.key]
            for entry in [entry for key in keys for entry in held.get(str(key), [])]:
                entry.unpin()
            self._files_done += 1

    # Bringing ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin with the next file; its place is taken from this moment on."""
        item = self._waiting.popleft()
        self._active.append(item)
        self.spawn(lambda: self._bring(item))

    def _supposed(self, item: Item) -> bool:
        """Tell whether a file was listed without knowing that it exists, and not named by itself."""
        song, form = item.asset.song, item.asset.form
        return item.path not in self._named and self._files.catalog.providers[song.service].free(song, form)

    async def _bring(self, item: Item) -> None:
        try:
            await self._bringer.bring(item)
            item.done = item.size
            self._files_done += 1
        except MusicfsError as failed:
            if isinstance(failed, BytesMissing) and self._supposed(item):
                self._absent += 1
            else:
                self.fail(item.path, failed)
            item.size = item.done  # What cannot be had is not waited for in the sum.
        except trio.Cancelled:
            self.cancelled = True  # The daemon ends, too: nothing new is begun.
            raise
        finally:
            self._active.remove(item)
            self._size += item.size
            self._done += item.done
            self._fetched += item.fetched
            if self._waiting and not self.cancelled:
                self._start()
