"""The database file: opened if it can be believed, else its copy, else begun anew.

How it thinks: a damaged file is moved aside as `.broken-<n>`, and the copy that the last clean end left
(`.bak`) takes its place; without one a new state begins. Both are said loudly, because they cost the user
names and dates. A file of no length beside a copy counts as damaged.

What must always be true: nothing is ever deleted that might still be mended; files are made 0600, for they
hold e-mail addresses; no sqlite3.Error and no OSError leaves this room.
A file of an older musicfs is brought up to this one's format, each step whole or not at all; it refuses a
file of a newer one, untouched.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musicfs.errors import ConfigError, StoreError, StoreFull
from musicfs.state.reading import contents_of
from musicfs.state.tables import STEPS, Contents

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_FORMAT")
"""What SQLite says of a file that is not ours, or not any more; all else is the disk's or the folder's."""

CACHE = 256
"""KiB of pages that SQLite keeps, for 2 MB: after the first reading nobody reads again."""

LOG = logging.getLogger("musicfs.state")


class Broken(Exception):
    """The file is not a database of ours, or not any more."""


@contextmanager
def translated() -> Iterator[None]:
    """Let what SQLite and the disk say out as StoreFull or StoreError."""
    try:
        yield
    except sqlite3.Error as failure:
        full = getattr(failure, "sqlite_errorname", "") == "SQLITE_FULL"
        raise (StoreFull if full else StoreError)(f"the state database: {failure}") from failure
    except OSError as failure:
        raise StoreError(f"the state folder: {failure.strerror}") from failure


class File:
    """The file of one profile, with its copy beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "state.db"
        self.backup = folder / "state.db.bak"

    def open(self) -> tuple[sqlite3.Connection, Contents]:
        """Open it and read everything. Raises ConfigError for what the user has to mend."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._best()
        except OSError as failure:
            raise self._unusable(failure.strerror or "unknown error") from failure

    def leave_copy(self, base: sqlite3.Connection) -> None:
        """Put a copy of the database beside it. Raises StoreError."""
        fresh = self.backup.with_name(self.backup.name + ".new")
        with translated():
            fresh.unlink(missing_ok=True)
            file = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                base.execute("VACUUM INTO ?", (str(fresh),))
                os.fsync(file)  # Else a crash of the machine could leave the name without the bytes.
            finally:
                os.close(file)
            fresh.replace(self.backup)

    def _best(self) -> tuple[sqlite3.Connection, Contents]:
        """Open the file, else its copy, else a new one."""
        lost = False
        if self.path.exists() and self.path.stat().st_size:
            try:
                return self._opened()
            except Broken as failure:
                lost = True
                LOG.error("the state database is damaged (%s); it is kept as %s", failure, self._set_aside())
        if self.backup.exists():
            self._set_aside()  # A file of no length, or the rest of one: its log must not meet the copy.
            self._make()
            shutil.copyfile(self.backup, self.path)
            try:
                found = self._opened()
            except Broken as failure:
                lost = True
                LOG.error("its copy is damaged as well (%s); it is kept as %s", failure, self._set_aside())
                self.backup.unlink()
            else:
                LOG.error("the state is that of the last clean end; what was learnt since is lost")
                return found
        if lost:
            LOG.error("the state begins anew: library names and first-seen times are given again")
        return self._opened()

    def _opened(self) -> tuple[sqlite3.Connection, Contents]:
        """Open the file, making tables in an empty one. Raises Broken, ConfigError."""
        self._make()
        base = sqlite3.connect(self.path, check_same_thread=False)
        try:
            return base, self._read(base)
        except BaseException as failure:
            base.close()
            if isinstance(failure, (sqlite3.Error, ValueError)):
                raise self._verdict(failure) from failure
            raise

    def _verdict(self, failure: sqlite3.Error | ValueError) -> Broken | ConfigError:
        name = getattr(failure, "sqlite_errorname", "")
        if not name:  # The module's own error, which quotes the text: it may be an e-mail address.
            return Broken("a text in it is not UTF-8")
        if name.startswith(_DAMAGE):
            return Broken(str(failure))
        return self._unusable(str(failure))

    def _read(self, base: sqlite3.Connection) -> Contents:
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version > len(STEPS):
            raise ConfigError(
                f"the state in {self._folder} was written by a newer musicfs; upgrade this one, "
                "or choose another folder with MUSICFS_STATE_DIR"
            )
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute(f"PRAGMA cache_size = -{CACHE}")
        (verdict,) = base.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise Broken(" ".join(verdict.split()))
        for number, step in enumerate(STEPS[version:], version + 1):
            base.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        return contents_of(base)

    def _make(self) -> None:
        """Make the file if it is not there: SQLite would make it for all to read."""
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def _set_aside(self) -> str:
        """Move the file away, with its log, to a name that is free, and give that name."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.broken-{number}")).exists():
            number += 1
        for suffix in ("", "-wal"):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists() and old.stat().st_size:
                old.rename(aside.with_name(aside.name + suffix))
        self.path.with_name(self.path.name + "-shm").unlink(missing_ok=True)
        return aside.name

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"the state folder {self._folder} cannot be used: {why}; choose another with MUSICFS_STATE_DIR"
        )
