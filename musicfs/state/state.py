"""What must outlive a wiped cache: names, first-seen times, versions, lengths, stems directories.

How it thinks: one SQLite file in a folder only its owner may enter (it holds e-mail addresses). All of it is
read at the start, so that no question waits for a disk; each `save_…` is one transaction, in a thread, one
at a time, on disk (`synchronous=FULL`) when it returns. Memory follows the disk: what could not be written
is not answered either.

What must always be true: a song's birth, its mtime and, once they have a value, its library name and its
parent never change; a birth is never given twice; no sqlite3.Error leaves this room.
It refuses to ask the disk anything after the start.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from musicfs.errors import MusicfsError, StoreError
from musicfs.model import Known, SongRow
from musicfs.state.file import CACHE, File, translated
from musicfs.state.tables import NEW_SONG, SAVE_SONG, Contents, Missing, song_values

if TYPE_CHECKING:
    import trio

LOG = logging.getLogger("musicfs.state")
T = TypeVar("T")

_ROOM = 4096  # KiB of pages kept while new songs are written: 10,000 of them, and their index


class State:
    """The state database of one profile."""

    def __init__(self, folder: Path) -> None:
        self._file = File(folder)
        self._base: sqlite3.Connection | None = None
        self._contents = Contents()
        self._changed = False
        self._reading: Future[tuple[sqlite3.Connection, Contents]] | None = None

    def __repr__(self) -> str:
        return f"<State {self._file.path} {len(self._contents.songs)} songs>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self) -> None:
        """Begin to read, in a thread, while something else is done; `open` waits for it."""
        self._reading = reading = Future[tuple[sqlite3.Connection, Contents]]()
        Thread(target=_settle, args=(reading, self._file.open), name="state").start()

    def open(self) -> None:
        """Read everything. Raises ConfigError for what the user has to mend: a folder, a newer format."""
        reading, self._reading = self._reading, None
        self._base, self._contents = self._file.open() if reading is None else reading.result()

    def close(self) -> None:
        """Leave a copy for bad times and let the file go."""
        if self._reading is not None:
            with suppress(MusicfsError):  # Nobody waited for it, so nobody is told.
                self.open()
        if self._base is None:
            return
        with closing(self._base) as base:
            self._base = None
            if not self._changed and self._file.backup.exists():
                return
            try:
                self._file.leave_copy(base)
            except StoreError as failure:
                LOG.warning("no copy of the state could be left: %s", failure)

    # What is known ---------------------------------------------------------------------------------------

    def songs(self) -> list[SongRow]:
        """Give every song there ever was, eldest first. The rows are shared: whoever changes one saves it."""
        return sorted(self._contents.songs.values(), key=lambda row: row.birth)

    def files(self) -> dict[str, Known]:
        """Give what is known of files, by key. The table is shared: whoever changes it saves it."""
        return self._contents.files

    def directory(self, key: str) -> tuple[int, bytes] | None:
        """Give an archive's directory and the version it belongs to, if one was ever seen."""
        return self._contents.directories.get(key)

    def missing(self) -> dict[str, Missing]:
        """Give the forms whose bytes answered 404, by key."""
        return dict(self._contents.missing)

    def mark(self, name: str) -> str | None:
        """Read a remembered word."""
        return self._contents.marks.get(name)

    # What is written: each raises StoreError, or StoreFull, and then nothing of it is kept -----------------

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Write rows; those of no birth yet get theirs, in the order given."""
        values = [song_values(row) for row in rows]  # Taken here: the rows may change while we wait.
        new = all(row.birth and row.birth not in self._contents.songs for row in rows)

        def work(base: sqlite3.Connection) -> list[tuple[Any, ...]] | None:
            if new:
                # A first listing: of 10,000 songs, it is 0.06 s and 8 MB written, and not 0.12 and 24.
                base.execute(f"PRAGMA cache_size = -{_ROOM}")
                with suppress(sqlite3.IntegrityError):  # Not all of them are, to the file; then it decides.
                    base.executemany(NEW_SONG, values)
                    return None
            return [base.execute(SAVE_SONG, each).fetchone() for each in values]

        done = await self._write(work)
        if done is not None:
            for row, (birth, mtime_ns, name, parent) in zip(rows, done, strict=True):
                row.birth, row.mtime_ns = birth, mtime_ns
                row.name, row.parent = row.name or name, row.parent or parent
        self._contents.songs |= {row.birth: row for row in rows}

    async def save_files(self, files: dict[str, Known]) -> None:
        """Write what is known of files."""
        kept = dict(files)
        values = [(key, each.version, each.size, each.validator, each.one_pass) for key, each in kept.items()]
        await self._replace("files", values)
        self._contents.files |= kept

    async def save_directory(self, key: str, version: int, body: bytes) -> None:
        """Write an archive's directory, in place of the one before."""
        await self._replace("directories", [(key, version, body)])
        self._contents.directories[key] = version, body

    async def save_missing(self, key: str, missing: Missing) -> None:
        """Write that a form's bytes answered 404."""
        await self._replace("missing", [(key, missing.first, missing.last)])
        self._contents.missing[key] = missing

    async def clear_missing(self, key: str) -> None:
        """Forget that a form's bytes answered 404."""
        await self._write(lambda base: base.execute("DELETE FROM missing WHERE key = ?", (key,)))
        self._contents.missing.pop(key, None)

    async def save_mark(self, name: str, value: str) -> None:
        """Remember a word."""
        await self._replace("marks", [(name, value)])
        self._contents.marks[name] = value

    async def _replace(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        places = ", ".join("?" * len(rows[0]))
        command = f"REPLACE INTO {table} VALUES ({places})"  # noqa: S608 - the table's name is ours
        await self._write(lambda base: base.executemany(command, rows))

    @cached_property
    def _one(self) -> trio.CapacityLimiter:
        import trio

        return trio.CapacityLimiter(1)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        import trio  # not before: to load it takes as long as to check 10,000 songs, which are read meanwhile

        return await trio.to_thread.run_sync(self._transact, work, limiter=self._one)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._base is None:
            raise StoreError("the state database is closed")
        with translated():
            try:
                with self._base:
                    done = work(self._base)
            finally:
                self._base.execute(f"PRAGMA cache_size = -{CACHE}")
        self._changed = True
        return done


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    """Do what a future is about."""
    try:
        future.set_result(work())
    except BaseException as failure:
        future.set_exception(failure)
