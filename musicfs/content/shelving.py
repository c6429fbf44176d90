"""What jobs tell: lengths, versions, blocks, passes; and where their bytes are put.

How it thinks: a job only moves bytes; what they mean for a blob is decided here. A confirmed length makes
a place on the shelf, a disagreement begins the next version, a finished pass gets its digest. A disk that
is full or sick is no reason to stop a reader: ranged blocks then pass through memory, 32 MiB in all.

What must always be true: the ledger hears of every version and length; bytes of two versions never share
a place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import trio
from cachetools import LRUCache

from musicfs.content.asset import Asset
from musicfs.content.blob import Blob
from musicfs.content.ports import Entry, Ledger, Shelf
from musicfs.core.spans import BLOCK
from musicfs.core.validators import agree, better
from musicfs.errors import StoreError
from musicfs.model import Key, Known, Span

log = logging.getLogger("musicfs.content")

_CHECKED = (
    5.0  # seconds an open's check is believed: a thumbnailer opens a file 60 times in two (clients.md §1e)
)
_LOOSE = 32 * 1024 * 1024  # bytes that pass through memory when the disk is full or sick (DESIGN §3)
_IDLE = 512  # blobs kept in mind after their last close


class Shelving:
    """Every blob, and its place on the shelf."""

    def __init__(
        self,
        shelf: Shelf,
        ledger: Ledger,
        made_anew: Callable[[Asset], bool],
        changed: Callable[[Key], None],
    ) -> None:
        self.shelf, self.ledger, self.made_anew, self._changed = shelf, ledger, made_anew, changed
        self.blobs: dict[tuple[str, str, str], Blob] = {}
        """By `Key`, or what is the like."""
        self._loose: LRUCache[tuple[Key, int, int], bytes] = LRUCache(_LOOSE, getsizeof=len)

    # Finding -------------------------------------------------------------------------------------------

    def blob(self, asset: Asset, known: Known | None = None) -> Blob:
        """Find or build the blob of a file's present version (or of `known`, where another room counts)."""
        key = asset.key
        blob = self.blobs.get(key)
        counted = None if known is None else (known.version, known.validator)
        if blob is not None and counted not in (None, (blob.version, blob.validator)):
            blob.gone = True
            blob = None
        if blob is None:
            blob = self.blobs[key] = self._built(asset, known or self.ledger.known(key))
            self._tidy()
        elif blob.entry is not None and blob.entry.gone:
            self.lost(blob)
        return blob

    def _built(self, asset: Asset, known: Known) -> Blob:
        blob = Blob(asset, known.version)
        blob.size, blob.validator = known.size, known.validator
        blob.one_pass = known.one_pass or self.made_anew(asset)
        blob.entry = entry = self._found(asset.key, known)
        if entry is not None and known.size is None:
            # The shelf remembers what the ledger lost: a crash before its note, or a state that is gone.
            blob.size, blob.validator = entry.size, _told(entry)
            blob.one_pass = blob.one_pass or entry.sealed
            if asset.member is None:
                self.ledger.note(asset.key, Known(blob.version, blob.size, blob.validator, blob.one_pass))
        blob.blind = _blind(blob)
        self._give_memory(blob)
        return blob

    def _found(self, key: Key, known: Known) -> Entry | None:
        """Find what is on the shelf; what is not of the bytes that are known is let go of.

        A version may be counted twice, if the state was lost or a crash came before its note.
        """
        entry = self.shelf.find(str(key), known.version)
        if entry is None:
            return None
        same_size = known.size is None or entry.size == known.size
        if entry.size is not None and same_size and agree(known.validator, _told(entry)):
            return entry
        self.shelf.drop(str(key), known.version)
        return None

    def _give_memory(self, blob: Blob) -> None:
        key, version = blob.asset.key, blob.version
        blob.loose = lambda block: self._loose.get((key, version, block))

    def lost(self, blob: Blob) -> None:
        """Take note that a blob's place on the shelf is gone; the pin on it is for what comes next."""
        blob.wanted = blob.wanted or (blob.entry is not None and blob.entry.pinned)
        blob.entry = None
        blob.blind = _blind(blob)

    def drop(self, blob: Blob) -> None:
        """Let go of a blob's place on the shelf."""
        self.shelf.drop(str(blob.asset.key), blob.version)
        self.lost(blob)

    def _tidy(self) -> None:
        """Let go of what nobody uses, oldest first."""
        if len(self.blobs) > _IDLE:
            now = trio.current_time()
            for key, blob in list(self.blobs.items()):
                if not blob.holders and not blob.jobs and blob.failing(now) is None:
                    del self.blobs[key]
                    if len(self.blobs) <= _IDLE * 3 // 4:
                        break

    def hold(self, blob: Blob) -> None:
        """Count one more user of a blob."""
        blob.holders += 1
        if blob.entry is not None:
            blob.entry.hold()

    def release(self, blob: Blob) -> None:
        """Count one user less."""
        blob.holders -= 1
        if blob.entry is not None:
            blob.entry.release()
            if blob.gone and not blob.holders:
                self.drop(blob)

    def place(self, blob: Blob, one_pass: bool, size: int | None) -> None:
        """Make a place on the shelf, held as often as the blob is.

        Raises:
            StoreError: the disk has none.
        """
        blob.entry = self.shelf.create(str(blob.asset.key), blob.version, one_pass, size, blob.validator)
        for _ in range(blob.holders):
            blob.entry.hold()
        if blob.wanted:
            try:
                blob.entry.pin()
                blob.wanted = False
            except StoreError as full:
                log.warning("%s was pinned, and its new version cannot be: %s", blob.asset.key, full)

    # What jobs tell us ---------------------------------------------------------------------------------

    def learned(self, blob: Blob, size: int, validator: str) -> None:
        """Take note of a blob's length and validator; its place on the shelf begins here."""
        blob.trouble = blob.last_failure = None
        blob.checked_until = trio.current_time() + _CHECKED
        self.ledger.found(blob.asset.key)
        if blob.size is None or better(blob.validator, validator):
            # What was known by its length alone could be replaced by other bytes of that length.
            blob.size, blob.validator = size, validator
            self.ledger.note(blob.asset.key, Known(blob.version, size, validator, blob.one_pass))
        if blob.entry is not None and blob.entry.gone:
            blob.entry = None
        if blob.entry is None and size > 0:
            try:
                self.place(blob, False, size)
            except StoreError as sick:
                log.warning("%s passes through memory: %s", blob.asset.key, sick)

    def disagreed(self, blob: Blob, size: int, validator: str) -> None:
        """Begin the next version: the service has other bytes now."""
        if blob.gone:  # Another job of the same version heard it first.
            return
        fresh = self._next_version(blob)
        fresh.size, fresh.validator = size, validator
        self.ledger.note(blob.asset.key, Known(fresh.version, size, validator, fresh.one_pass))
        if fresh.wanted and size > 0:
            with suppress(StoreError):  # It is tried again when its first bytes come.
                self.place(fresh, False, size)
        self._changed(blob.asset.key)

    def keep(self, blob: Blob, block: int, data: memoryview) -> None:
        """Put blocks on the shelf, or into memory where the disk will not have them."""
        if blob.entry is not None:
            try:
                blob.entry.write(block, data)
                return
            except StoreError as sick:
                log.debug("%s passes through memory: %s", blob.asset.key, sick)
        for at in range(0, len(data), BLOCK):
            self._loose[blob.asset.key, blob.version, block + at // BLOCK] = bytes(data[at : at + BLOCK])

    def sized(self, blob: Blob, size: int | None) -> None:
        """Take note that a pass has begun, and how long it will be."""
        blob.trouble = blob.last_failure = None
        blob.open_ended = size is None
        if size is not None and not blob.blind:
            blob.size = size
        if blob.entry is not None and (blob.entry.gone or blob.entry.whole):
            self.drop(blob)
        if blob.entry is None:
            self.place(blob, True, None)
            if size is not None and blob.entry is not None:
                blob.entry.expect(size)

    def supersede(self, blob: Blob, common: int) -> Blob:
        """Begin the next version of a one-pass object with the bytes both have in common.

        They move block by block: what nobody will read as the old version any more needs no room of its own.

        Raises:
            StoreError: the disk will not have it; the next version is begun all the same, empty.
        """
        fresh = self._next_version(blob)
        fresh.one_pass = True
        self.ledger.note(blob.asset.key, Known(fresh.version, None, "", True))
        self._changed(blob.asset.key)
        try:
            self.place(fresh, True, None)
            for start in range(0, common, BLOCK):
                assert blob.entry is not None
                assert fresh.entry is not None
                fresh.entry.append(bytes(blob.entry.read(Span(start, min(start + BLOCK, common)))))
                blob.entry.shed()
        except StoreError:
            self.drop(fresh)
            raise
        for job in blob.jobs:
            fresh.jobs.append(job)
            self.hold(fresh)
            blob.holders -= 1
        blob.jobs = []
        self.drop(blob)
        return fresh

    def sealed(self, blob: Blob, size: int, sha256: str) -> Blob:
        """Take note that a pass is whole; another digest than before is another version."""
        if blob.blind and blob.validator and blob.validator != f"sha256 {sha256}":
            blob = self.supersede(blob, size)
        assert blob.entry is not None
        blob.entry.seal(sha256)
        blob.size, blob.validator, blob.blind = size, f"sha256 {sha256}", False
        self.ledger.note(blob.asset.key, Known(blob.version, size, blob.validator, True))
        return blob

    def abandon(self, blob: Blob) -> None:
        """Begin the next version after a pass that failed when readers had some of its bytes already.

        The next pass may bring other bytes, and the kernel would keep the old ones under the old inode.
        """
        if blob.gone:  # It failed while the next version was being begun.
            return
        fresh = self._next_version(blob)
        fresh.one_pass, fresh.trouble = True, blob.trouble
        self.ledger.note(blob.asset.key, Known(fresh.version, None, "", True))
        self._changed(blob.asset.key)

    def _next_version(self, blob: Blob) -> Blob:
        fresh = Blob(blob.asset, blob.version + 1)
        key = blob.asset.key
        self._give_memory(fresh)
        fresh.wanted = blob.wanted or (blob.entry is not None and blob.entry.pinned)
        blob.gone = True
        if self.blobs.get(key) is blob:
            self.blobs[key] = fresh
        blob.ring()
        return fresh


def _told(entry: Entry) -> str:
    """Say what identifies the bytes of an entry, as the ledger would."""
    return f"sha256 {entry.validator}" if entry.sealed and not entry.origin else entry.origin


def _blind(blob: Blob) -> bool:
    """Tell whether a pass has to end before its bytes are shown: it may be other bytes than before.

    A stem is inflated from an archive of the same version, so its bytes cannot be others.
    """
    return blob.one_pass and bool(blob.validator) and not blob.whole and blob.asset.member is None
