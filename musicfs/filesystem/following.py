"""Who goes from file to file, and what is fetched ahead of him.

How it thinks: the verbs tell of each open, each file that was read whole and each close; `core.copying`
makes runs of them where one file is read at a time, `core.crews` where several are; `walks` knows the
orders, `content.siblings` does the fetching. Whose thread it was is
only asked once a file was read whole, and for every open only while such a program goes on: a mount that
is merely played from pays a dictionary look-up.

What must always be true: nothing here waits or raises; indexers are not followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from musicfs.content import Asset
from musicfs.content.siblings import Siblings
from musicfs.core.copying import Copiers, Reading
from musicfs.core.crews import Crews
from musicfs.core.tree import File
from musicfs.filesystem.walks import Walks
from musicfs.model import Span


class Asks(Protocol):
    """Who is asking."""

    def is_scanner(self, tid: int) -> bool:
        """Tell whether a thread belongs to an indexer or thumbnailer."""
        ...

    def process(self, tid: int) -> int:
        """Give the process that a thread belongs to."""
        ...


@dataclass(slots=True)
class _Watched:
    """An open file, and how it was read so far."""

    file: File
    tid: int
    reading: Reading
    who: int = 0
    """The process that opened it, once it was asked for."""


class Following:
    """All who may be copying; open files go by the numbers of their handles."""

    def __init__(
        self, callers: Asks, walks: Walks, siblings: Siblings, cached: Callable[[Asset], bool]
    ) -> None:
        self._callers, self._siblings, self._cached = callers, siblings, cached
        self._copiers: Copiers[File] = Copiers(walks.ways)
        self._crews: Crews[File] = Crews(walks.ways)
        self._watched: dict[int, _Watched] = {}

    def opening(self, file: File, tid: int) -> None:
        """Follow a thread that opens a file: what comes next is begun before anybody waits for this one."""
        if not tid or not self._known:
            return
        now = trio.current_time()
        for who in (*self._copiers.tidy(now), *self._crews.tidy(now)):
            self._siblings.drop(who)
        who = self._process(tid)
        if who not in self._copiers and who not in self._crews:
            return
        alone, beside = self._copiers.opened(who, file), self._crews.opened(who, file, now)
        if alone:
            self._siblings.want(who, _asset(file), [_asset(one) for one in alone])
        elif beside is not None:
            self._siblings.want(who, _asset(file), [_asset(one) for one in beside], beside=True)
        else:
            self._siblings.drop(who)

    def opened(self, handle: int, file: File, size: int, tid: int) -> None:
        """Watch how a file of `size` bytes is read, which is open now."""
        if tid:
            who = self._process(tid) if self._known else 0
            reading = Reading(size, trio.current_time(), file.row.song.duration)
            self._watched[handle] = _Watched(file, tid, reading, who)

    @property
    def _known(self) -> bool:
        """Whether anybody has read a file whole of late."""
        return bool(self._copiers or self._crews)

    def _process(self, tid: int) -> int:
        return tid if tid in self._copiers or tid in self._crews else self._callers.process(tid)

    def read(self, handle: int, span: Span) -> None:
        """Take note of a read that was answered."""
        watched = self._watched.get(handle)
        if watched is not None and watched.reading.note(span) and not self._callers.is_scanner(watched.tid):
            watched.who = watched.who or self._callers.process(watched.tid)
            for those in (self._copiers, self._crews):
                those.read(watched.who, watched.file, watched.reading, trio.current_time())

    def closed(self, handle: int) -> None:
        """Take note of a close; who has read a file in part is not copying."""
        watched = self._watched.pop(handle, None)
        if watched is None or watched.reading.whole:
            return
        who, now = watched.who, trio.current_time()
        if who not in self._copiers and who not in self._crews:
            return
        if watched.reading.untouched and self._cached(_asset(watched.file)):
            self._copiers.passed(who, now)
            self._crews.passed(who, watched.file, now)
        else:
            self._copiers.left(who)
            self._crews.left(who)
            self._siblings.drop(who)


def _asset(file: File) -> Asset:
    return Asset(file.row.song, file.form, file.listed)
