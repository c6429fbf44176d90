"""The memory of versions, lengths and stems directories: answered at once, written behind.

How it thinks: the rooms above ask and note without waiting; a task of the house's writes what was noted.
Losing the last second's notes in a crash costs a question to a service, never a wrong byte: what a note
says is checked against the next answer.

What must always be true: what was noted is answered from that moment on; notes of one file are written in
order; what a full or sick disk refused, or the end came in between, is written with the next ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import trio

from musicfs.core.absence import hidden
from musicfs.core.zipdir import Directory
from musicfs.errors import StoreError
from musicfs.model import NOTHING, Key, Known
from musicfs.state import Missing, State

log = logging.getLogger("musicfs.ledger")


class Ledger:
    """What is known of every file, over restarts."""

    def __init__(self, state: State, wall: Callable[[], float]) -> None:
        self._state, self._wall = state, wall
        self._missing = state.missing()
        self._unmissed: set[str] = set()
        self._files = state.files()
        self._directories: dict[str, tuple[int, Directory]] = {}
        self._unwritten: dict[str, Known] = {}
        self._unkept: dict[str, tuple[int, Directory]] = {}
        self._noted = trio.Event()
        self.notes = 0
        """How many notes of files were taken: while this stays, so does what `known` says."""

    def known(self, key: tuple[str, str, str]) -> Known:
        """Say what is known of a file; `key` is its `Key`, or the like."""
        return self._files.get(f"{key[0]}:{key[1]}:{key[2]}", NOTHING)  # its str(), in half the time

    def note(self, key: Key, known: Known) -> None:
        """Take note of a file."""
        self._files[str(key)] = self._unwritten[str(key)] = known
        self.notes += 1
        self._noted.set()

    def hidden(self, key: Key) -> bool:
        """Say whether a form has answered 404 so often that it is not listed."""
        missing = self._missing.get(str(key))
        return missing is not None and hidden(missing.first, missing.last, self._wall())

    def missed(self, key: Key) -> None:
        """Take note that a form's bytes answered 404."""
        name, now = str(key), self._wall()
        first = self._missing[name].first if name in self._missing else now
        self._missing[name] = Missing(min(first, now), now)
        self._unmissed.add(name)
        self._noted.set()

    def refused(self, key: Key) -> float | None:
        """Say when a form's bytes last answered 404, in seconds since the epoch."""
        missing = self._missing.get(str(key))
        return None if missing is None else missing.last

    def found(self, key: Key) -> None:
        """Take note that a form has bytes after all."""
        if self._missing.pop(str(key), None) is not None:
            self._unmissed.add(str(key))
            self._noted.set()

    def directory(self, key: Key) -> tuple[int, Directory] | None:
        """Give the directory of an archive and the version it belongs to, if it was ever seen."""
        name = str(key)
        if name not in self._directories:
            kept = self._state.directory(name)
            if kept is None:
                return None
            self._directories[name] = kept[0], msgspec.json.decode(kept[1], type=Directory)
        return self._directories[name]

    def keep_directory(self, key: Key, version: int, directory: Directory) -> None:
        """Take note of an archive's directory."""
        self._directories[str(key)] = self._unkept[str(key)] = version, directory
        self._noted.set()

    async def write_behind(self) -> None:
        """Write what is noted, as it comes; runs in the house's nursery until it is cancelled."""
        while True:
            await self._noted.wait()
            self._noted = trio.Event()
            try:
                await self.flush()
            except Exception:
                # What was lost is asked for again one day; the mount has to live.
                log.exception("writing down lengths and versions broke")

    async def flush(self) -> None:
        """Write what is still unwritten."""
        files, self._unwritten = self._unwritten, {}
        directories, self._unkept = self._unkept, {}
        unmissed, self._unmissed = self._unmissed, set()
        try:
            if files:
                await self._state.save_files(files)
            for name, (version, directory) in directories.items():
                await self._state.save_directory(name, version, msgspec.json.encode(directory))
            for name in unmissed:
                if (missing := self._missing.get(name)) is None:
                    await self._state.clear_missing(name)
                else:
                    await self._state.save_missing(name, missing)
        except (StoreError, trio.Cancelled) as failed:
            # They are written with the next ones, or at the end; what was noted since is newer.
            self._unwritten, self._unkept = files | self._unwritten, directories | self._unkept
            self._unmissed |= unmissed
            if isinstance(failed, trio.Cancelled):
                raise
            log.error("lengths and versions could not be written down: %s", failed)
