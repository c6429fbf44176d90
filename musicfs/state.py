"""What must outlive a wiped cache: names, first-seen times, versions, lengths, stems directories.

How it thinks: one SQLite file in a folder only its owner may enter (it holds e-mail addresses). All of it is
read at the start, so that no question waits for a disk; each `save_…` is one transaction, in a thread, one
at a time, on disk (`synchronous=FULL`) when it returns. Memory follows the disk: what could not be written
is not answered either.

A damaged file is moved aside as `.broken-<n>`, and the copy that the last clean end left (`.bak`) takes its
place; without one a new state begins. Both are said loudly.

What must always be true: a song's birth, its mtime and, once they have a value, its library name and its
parent never change; a birth is never given twice; no sqlite3.Error leaves this file.
It refuses a file of a newer musicfs, and to keep a URL that may be signed.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import trio

from musicfs.errors import ConfigError, StoreError, StoreFull
from musicfs.model import Known, Song, SongRow

LOG = logging.getLogger("musicfs.state")
T = TypeVar("T")

FORMAT = 1
"""The `user_version` of the tables below; a file that says more is of a newer musicfs."""

_TABLES = f"""
BEGIN;
CREATE TABLE songs (
    birth INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, ident TEXT NOT NULL, facts BLOB NOT NULL,
    mtime_ns INTEGER NOT NULL, name TEXT, parent TEXT, listed INTEGER NOT NULL, lacks REAL,
    UNIQUE (service, ident)
);
CREATE TABLE files (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, size INTEGER, validator TEXT NOT NULL,
    one_pass INTEGER NOT NULL
);
CREATE TABLE directories (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE accounts (
    service TEXT NOT NULL, ident TEXT NOT NULL, completed REAL, facts BLOB NOT NULL,
    PRIMARY KEY (service, ident)
);
CREATE TABLE missing (key TEXT PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL);
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = {FORMAT};
COMMIT;
"""

_SAVE_SONG = """
INSERT INTO songs (birth, service, ident, facts, mtime_ns, name, parent, listed, lacks)
VALUES (NULLIF(?, 0), ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (service, ident) DO UPDATE SET
    facts = excluded.facts, listed = excluded.listed, lacks = excluded.lacks,
    name = COALESCE(songs.name, excluded.name), parent = COALESCE(songs.parent, excluded.parent)
RETURNING birth, mtime_ns, name, parent
"""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What is remembered of a linked account."""

    service: str
    ident: str = field(repr=False)
    """An e-mail address or a user id; never printed."""
    completed: float | None = None
    """Seconds since the epoch of its last complete pass."""
    facts: bytes = field(default=b"", repr=False)
    """Whatever else the catalog keeps of it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A form whose bytes answered 404: when first and when last, in seconds since the epoch."""

    first: float
    last: float


@dataclass(slots=True)
class _Contents:
    """All that the file holds."""

    songs: dict[tuple[str, str], SongRow] = field(default_factory=dict)
    files: dict[str, Known] = field(default_factory=dict)
    directories: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    accounts: dict[tuple[str, str], AccountRow] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)


class _Broken(Exception):
    """The file is not a database of ours, or not any more."""


class State:
    """The state database of one profile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "state.db"
        self._backup = folder / "state.db.bak"
        self._base: sqlite3.Connection | None = None
        self._contents = _Contents()
        self._one = trio.CapacityLimiter(1)
        self._changed = False

    def __repr__(self) -> str:
        return f"<State {self._path} {len(self._contents.songs)} songs>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Read everything. Raises ConfigError for what the user has to mend: a folder, a newer format."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._base, self._contents = self._best()
        except OSError as failure:
            raise self._unusable(failure.strerror or "unknown error") from failure

    def close(self) -> None:
        """Leave a copy for bad times and let the file go."""
        if self._base is None:
            return
        with closing(self._base) as base:
            self._base = None
            if self._changed or not self._backup.exists():
                self._leave_copy(base)

    # What is known ---------------------------------------------------------------------------------------

    def songs(self) -> list[SongRow]:
        """Give every song there ever was, eldest first. The rows are shared: whoever changes one saves it."""
        return sorted(self._contents.songs.values(), key=lambda row: row.birth)

    def files(self) -> dict[str, Known]:
        """Give what is known of files, by key."""
        return dict(self._contents.files)

    def directory(self, key: str) -> tuple[int, bytes] | None:
        """Give an archive's directory and the version it belongs to, if one was ever seen."""
        return self._contents.directories.get(key)

    def accounts(self) -> list[AccountRow]:
        """Give every account there ever was."""
        return list(self._contents.accounts.values())

    def missing(self) -> dict[str, Missing]:
        """Give the forms whose bytes answered 404, by key."""
        return dict(self._contents.missing)

    def mark(self, name: str) -> str | None:
        """Read a remembered word."""
        return self._contents.marks.get(name)

    # What is written: each raises StoreError, or StoreFull, and then nothing of it is kept -----------------

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Write rows; those of no birth yet get theirs, in the order given."""
        values = [_song_values(row) for row in rows]  # Taken here: the rows may change while we wait.

        def work(base: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return [base.execute(_SAVE_SONG, each).fetchone() for each in values]

        for row, (birth, mtime_ns, name, parent) in zip(rows, await self._write(work), strict=True):
            row.birth, row.mtime_ns = birth, mtime_ns
            row.name, row.parent = row.name or name, row.parent or parent
            self._contents.songs[row.song.service, row.song.ident] = row

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

    async def save_account(self, row: AccountRow) -> None:
        """Write what is remembered of an account."""
        await self._replace("accounts", [(row.service, row.ident, row.completed, row.facts)])
        self._contents.accounts[row.service, row.ident] = row

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

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._transact, work, limiter=self._one)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._base is None:
            raise StoreError("the state database is closed")
        with _translated(), self._base:
            done = work(self._base)
        self._changed = True
        return done

    # Opening, and what may be wrong with it --------------------------------------------------------------

    def _best(self) -> tuple[sqlite3.Connection, _Contents]:
        """Open the file, else its copy, else a new one."""
        lost = False
        if self._path.exists() and self._path.stat().st_size:
            try:
                return self._opened()
            except _Broken as failure:
                lost = True
                LOG.error("the state database is damaged (%s); it is kept as %s", failure, self._set_aside())
        if self._backup.exists():
            self._set_aside()  # A file of no length, or the rest of one: its log must not meet the copy.
            shutil.copyfile(self._backup, self._path)
            try:
                found = self._opened()
            except _Broken as failure:
                lost = True
                LOG.error("its copy is damaged as well (%s); it is kept as %s", failure, self._set_aside())
                self._backup.unlink()
            else:
                LOG.error("the state is that of the last clean end; what was learnt since is lost")
                return found
        if lost:
            LOG.error("the state begins anew: library names and first-seen times are given again")
        return self._opened()

    def _opened(self) -> tuple[sqlite3.Connection, _Contents]:
        """Open the file, making tables in an empty one. Raises _Broken, ConfigError."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would make it for all to read.
        base = None
        try:
            base = sqlite3.connect(self._path, check_same_thread=False)
            return base, self._read(base)
        except BaseException as failure:
            if base is not None:
                base.close()
            if not isinstance(failure, sqlite3.Error):
                raise
            name = getattr(failure, "sqlite_errorname", "")
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_FORMAT")):
                raise _Broken(str(failure)) from failure
            raise self._unusable(str(failure)) from failure

    def _read(self, base: sqlite3.Connection) -> _Contents:
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise ConfigError(
                f"the state in {self._folder} was written by a newer musicfs; upgrade this one, "
                "or choose another folder with MUSICFS_STATE_DIR"
            )
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _Broken(verdict)
        if version == 0:
            base.executescript(_TABLES)
        return _contents_of(base)

    def _set_aside(self) -> str:
        """Move the file away, with its log, to a name that is free, and give that name."""
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.broken-{number}")).exists():
            number += 1
        for suffix in ("", "-wal"):
            old = self._path.with_name(self._path.name + suffix)
            if old.exists() and old.stat().st_size:
                old.rename(aside.with_name(aside.name + suffix))
        self._path.with_name(self._path.name + "-shm").unlink(missing_ok=True)
        return aside.name

    def _leave_copy(self, base: sqlite3.Connection) -> None:
        fresh = self._backup.with_name(self._backup.name + ".new")
        try:
            with _translated():
                fresh.unlink(missing_ok=True)
                file = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    base.execute("VACUUM INTO ?", (str(fresh),))
                    os.fsync(file)  # Else a crash of the machine could leave the name without the bytes.
                finally:
                    os.close(file)
                fresh.replace(self._backup)
        except StoreError as failure:
            LOG.warning("no copy of the state could be left: %s", failure)

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"the state folder {self._folder} cannot be used: {why}; choose another with MUSICFS_STATE_DIR"
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failure:
        full = getattr(failure, "sqlite_errorname", "") == "SQLITE_FULL"
        raise (StoreFull if full else StoreError)(f"the state database: {failure}") from failure
    except OSError as failure:
        raise StoreError(f"the state folder: {failure.strerror}") from failure


def _contents_of(base: sqlite3.Connection) -> _Contents:
    found = _Contents()
    for birth, service, ident, facts, mtime_ns, name, parent, listed, lacks in base.execute(
        "SELECT birth, service, ident, facts, mtime_ns, name, parent, listed, lacks FROM songs"
    ):
        found.songs[service, ident] = SongRow(
            song=_song_of(service, ident, facts),
            birth=birth,
            mtime_ns=mtime_ns,
            name=name,
            parent=parent,
            listed=bool(listed),
            lacks=lacks,
        )
    for key, version, size, validator, one_pass in base.execute("SELECT * FROM files"):
        found.files[key] = Known(version, size, validator, bool(one_pass))
    for key, version, body in base.execute("SELECT * FROM directories"):
        found.directories[key] = version, body
    for service, ident, completed, facts in base.execute("SELECT * FROM accounts"):
        found.accounts[service, ident] = AccountRow(service, ident, completed, facts)
    for key, first, last in base.execute("SELECT * FROM missing"):
        found.missing[key] = Missing(first, last)
    found.marks = dict(base.execute("SELECT * FROM marks"))
    return found


def _song_of(service: str, ident: str, facts: bytes) -> Song:
    try:
        return msgspec.json.decode(facts, type=Song)
    except msgspec.MsgspecError:
        # Its name and times are worth more than what the next listing tells again.
        LOG.warning("the facts of %s:%s cannot be read; the next listing gives them", service, ident)
        return Song(service, ident, "")


def _song_values(row: SongRow) -> tuple[Any, ...]:
    song = row.song
    # A URL with a query may be signed, and a signed one is a secret that soon is worth nothing.
    urls = {form: url for form, url in song.urls.items() if "?" not in url}
    facts = msgspec.json.encode(msgspec.structs.replace(song, urls=urls))
    return (
        row.birth,
        song.service,
        song.ident,
        facts,
        row.mtime_ns,
        row.name,
        row.parent,
        row.listed,
        row.lacks,
    )
