"""The front of the content room: open, measure, read.

How it thinks: one blob per file serves every reader. `open` makes sure that what can be foreseen to fail
fails there: it waits for one shared check (the first range, or the pass) and remembers success for
seconds and failure for one. `read` looks what is here, joins a job that is under way toward the first
missing byte or starts one, and looks again: after an await the world may have changed. Jobs run in the
house's nursery, so a reader who goes away takes nothing from the others.

What must always be true: exact bytes or an error, never a short answer; nothing is fetched for a file that
nobody opened; a failure in the middle is raised only after `wire` has lost patience.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import trio

from musicfs.content.asset import Asset
from musicfs.content.blob import Blob, Job
from musicfs.content.fetching import Fetching
from musicfs.content.jobs import Jobs, Pulls
from musicfs.content.links import Links
from musicfs.content.ports import Facts, Ledger, Shelf
from musicfs.content.reader import BlobReader
from musicfs.content.shelving import Shelving
from musicfs.content.waiting import WaitingRoom
from musicfs.core.looks import Look
from musicfs.core.spans import BLOCK, blocks_of, clip
from musicfs.errors import Changed, StoreError, StoreFull
from musicfs.model import Key, Known, Song, Span

log = logging.getLogger("musicfs.content")

_FIRST = Span(0, 262_144)  # the first request: what a tagger or player reads before it decides (DESIGN §3)
_SMALLEST = Span(0, 1)  # what a length costs


class Content:
    """Every file's bytes."""

    def __init__(
        self,
        nursery: trio.Nursery,
        wire: Pulls,
        shelf: Shelf,
        ledger: Ledger,
        links: Links,
        made_anew: Callable[[Asset], bool] = lambda asset: False,
        changed: Callable[[Key], None] = lambda key: None,
    ) -> None:
        self._waiting_room = WaitingRoom()
        self._shelving = Shelving(shelf, ledger, made_anew, changed)
        self._jobs = Jobs(nursery, wire, self._shelving, links)
        self._fetching = Fetching(self._jobs)

    # What is known -------------------------------------------------------------------------------------

    def facts(self, asset: Asset) -> Facts:
        """Say a file's length and version without asking anybody."""
        known = self.in_mind(asset.song, asset.form) or self.noted(asset.song, asset.form)
        if known.size is not None:
            return Facts(known.size, True, known.version)
        return Facts(asset.guess(), False, known.version, known.one_pass or self._shelving.made_anew(asset))

    def in_mind(self, song: Song, form: str) -> Known | None:
        """Say length and version of what is in use or was a while ago: a pass may be ahead of the ledger."""
        blob = self._shelving.blobs.get((song.service, song.ident, form))  # a `Key` takes ten times as long
        return None if blob is None or blob.size is None else Known(blob.version, blob.size)

    def noted(self, song: Song, form: str) -> Known:
        """Say what the ledger has of a song's form: the same as long as `notes` is."""
        return self._shelving.ledger.known((song.service, song.ident, form))

    @property
    def notes(self) -> int:
        """How many notes the ledger has taken."""
        return self._shelving.ledger.notes

    def hidden(self, asset: Asset) -> bool:
        """Tell whether a form answered 404 so often that it is not listed for now."""
        return self._shelving.ledger.hidden(asset.key)

    def cached(self, asset: Asset, known: Known | None = None) -> bool:
        """Tell whether every byte of the file (as `known` by the room that counts it) is on the shelf."""
        return self._shelving.blob(asset, known).whole

    def blob(self, asset: Asset) -> Blob:
        """Find or build the blob of a file's present version."""
        return self._shelving.blob(asset)

    def explain(self, asset: Asset, part: Span | None = None) -> dict[str, Any]:
        """Say in words where a file's bytes (or a `part` of them) are now, and the last failure."""
        blob, facts = self.blob(asset), self.facts(asset)
        blocks = blocks_of(part or Span(0, facts.size))
        here = 0 if blob.entry is None else sum(block in blob.entry.have for block in blocks)
        if blob.whole or (here == len(blocks) and not blob.one_pass):
            state = "cached"
        else:
            state = f"partial {min(99, 100 * here // len(blocks))} %" if here else "cold"
        if blob.jobs and state != "cached":
            state += ", being fetched"
        trouble = blob.last_failure
        return {
            "state": state,
            "pinned": blob.entry is not None and blob.entry.pinned,
            "size": facts.size,
            "exact": facts.exact,
            "detail": f"{facts.size} bytes ({'exact' if facts.exact else 'an estimate'})",
            "failure": trouble,
            "failed_ago": None if trouble is None else round(trio.current_time() - blob.failed_at, 1),
        }

    def transfers(self) -> list[dict[str, Any]]:
        """Say what is being fetched."""
        return [
            {
                "key": blob.asset.key,
                "done": job.progress.at,
                "size": blob.size,
                "rate": job.progress.rate,
                "waiting": job.progress.waiting,
            }
            for blob in self._shelving.blobs.values()
            for job in blob.jobs
        ]

    def gauges(self) -> dict[str, int]:
        """Count what is zero when nobody reads: users of a file, jobs, those who wait for one."""
        blobs = self._shelving.blobs.values()
        jobs = [job for blob in blobs for job in blob.jobs]
        return {
            "users": sum(blob.holders for blob in blobs),
            "jobs": len(jobs),
            "waiters": sum(job.progress.waiting for job in jobs),
        }

    # Opening -------------------------------------------------------------------------------------------

    async def open(
        self,
        asset: Asset,
        first: Span = _FIRST,
        needs: Span | None = None,
        foretold: bool = False,
        who: str = "",
    ) -> BlobReader:
        """Open a file: its size is exact from here on. `first` is what to ask for to learn it.

        Nobody is asked if only `needs` will be read and all of it is here. `foretold`: ahead of its reader.
        `who` is the program whose looks into files are remembered.

        Raises:
            MusicfsError: it cannot be had now.
            Changed: the file became another version meanwhile.
        """
        blob = self.blob(asset)
        blob.foretold = foretold and not blob.holders
        return await self._opened(blob, first, needs, patient=True, who=who)

    def open_here(self, song: Song, form: str, version: int) -> BlobReader | None:
        """Open a song's own form that is whole on the shelf in this version; None if it is not."""
        blob = self._shelving.blobs.get((song.service, song.ident, form))
        if blob is None or blob.version != version or not blob.whole:
            return None
        self._shelving.hold(blob)
        return BlobReader(self, self._shelving, blob, Look())

    async def open_at_end(self, asset: Asset, length: int) -> tuple[BlobReader, bytes]:
        """Open a file that is read from its end, and give its last bytes, if its length was not known.

        Raises:
            MusicfsError: it cannot be had now.
        """
        blob = self.blob(asset)
        known = blob.size is not None or blob.one_pass or blob.jobs or blob.failing(trio.current_time())
        job = None if known else self._fetching.begin_at_end(blob, length)
        reader = await self._opened(blob, _SMALLEST)
        if job is None or job.from_start:
            return reader, b""
        try:
            await job.progress.reach(inf)
        except BaseException:
            reader.close()
            raise
        return reader, job.got

    async def _opened(
        self, blob: Blob, first: Span, needs: Span | None = None, patient: bool = False, who: str = ""
    ) -> BlobReader:
        look = self._fetching.looking(blob, who)
        self._shelving.hold(blob)
        try:
            if needs is None or blob.size is None or blob.lacks(needs) < min(needs.stop, blob.size):
                await (self._patiently if patient else self._ready)(blob, first, look)
                self._fetching.look(blob, look)
        except BaseException:
            self._shelving.release(blob)
            raise
        return BlobReader(self, self._shelving, blob, look)

    async def open_inflated(
        self, asset: Asset, known: Known, inflate: Callable[[Blob], Awaitable[None]]
    ) -> BlobReader:
        """Open a deflated stem; `inflate` brings its bytes if they are not here."""
        blob = self._shelving.blob(asset, known)
        blob.one_pass, blob.size, blob.inflate = True, known.size, inflate
        return await self._opened(blob, _SMALLEST, patient=True)

    async def measure(self, asset: Asset) -> Facts:
        """Learn a file's exact length with the smallest request there is (one byte)."""
        reader = await self._opened(self.blob(asset), _SMALLEST)
        reader.close()
        return self.facts(asset)

    async def _patiently(self, blob: Blob, first: Span, look: Look) -> None:
        """Wait until a file may be opened; where that was in vain, the next who open are told at once."""
        now, late = trio.current_time(), blob.late
        if blob.ready(now, first.start):
            return
        until = trio.current_effective_deadline()
        if late is not None and now < late.until and until < inf:
            raise late.failure
        try:
            await self._ready(blob, first, look)
        except trio.Cancelled:
            if -inf < until <= trio.current_time() and (met := blob.waited_in_vain(trio.current_time())):
                raise met from None
            raise

    async def _ready(self, blob: Blob, first: Span, look: Look) -> None:
        while not blob.ready(trio.current_time(), first.start):
            failure = blob.failing(trio.current_time())
            if failure is not None:
                raise failure
            if blob.gone:
                raise Changed("the service has other bytes now")
            self._fetching.look(blob, look)
            if not any(job.will_reach(first.start) for job in blob.jobs):
                if blob.one_pass:
                    self._jobs.start_pass(blob)
                else:
                    self._fetching.begin(blob, clip(first, blob.size or first.stop))
            await blob.news()

    # Reading -------------------------------------------------------------------------------------------

    async def read(self, blob: Blob, wanted: Span, size: int, ahead: int, look: int) -> bytes | memoryview:
        """Give exactly the bytes of `wanted`, clipped to the file's `size`; read ahead only below `ahead`.

        `look` is how many bytes of its head the reader is known to look at.

        Raises:
            Changed: the version is gone and its bytes are not all here.
            MusicfsError: they cannot be had.
        """
        span = clip(wanted, size)
        if span.start >= span.stop:
            return b""
        goal = blob.cursors.note(span, ahead, look)
        while True:
            data = self._collect(blob, span)
            if data is not None:
                self._fetching.window(blob, goal)
                return data
            job = self._toward(blob, blob.lacks(span), goal)
            self._fetching.window(blob, goal)
            if goal.stop > span.stop:
                blob.streams.waited()
            await self._waiting_room.reach(job.progress, _worth(job, span))

    def here(self, blob: Blob, wanted: Span, size: int, ahead: int, look: int) -> bytes | memoryview | None:
        """Give the same if it is here, None where somebody has to be waited for."""
        span = clip(wanted, size)
        if span.start >= span.stop:
            return b""
        data = self._collect(blob, span)
        if data is not None and not blob.whole:
            self._fetching.window(blob, blob.cursors.note(span, ahead, look))
        return data

    def crowded(self, most: int) -> None:
        """Let at most `most` reads wait for the network at a time, the others for 5 s."""
        self._waiting_room.limit(most)

    def _collect(self, blob: Blob, span: Span) -> bytes | memoryview | None:
        """Look what is here; a block that was damaged on the disk is missing, and fetched again."""
        for _ in range(span.length // BLOCK + 3):
            try:
                return blob.collect(span)
            except StoreFull:
                raise
            except StoreError as damaged:
                log.warning(
                    "a cached block of %s was damaged and is fetched again: %s", blob.asset.key, damaged
                )
                self._mended(blob, damaged)
                if blob.one_pass and blob.jobs:
                    break  # Lost while it still comes in: nothing brings it again but another pass.
        return None

    def _mended(self, blob: Blob, damaged: StoreError) -> None:
        """Look at the shelf again after damage: a one-pass object is gone whole.

        One more pass is made for it. Where that is lost as well the disk is sick, and says so.
        """
        if blob.entry is not None and (blob.entry.gone or (blob.one_pass and not blob.jobs)):
            now = trio.current_time()
            if blob.one_pass and blob.lost(now):
                blob.failed(damaged, now)
            self._shelving.drop(blob)

    def _toward(self, blob: Blob, offset: int, goal: Span) -> Job:
        """Give a job that will bring the byte at `offset`, starting one if none is under way.

        The failure of another job is no matter to who waits for one that goes well.
        """
        job = self._fetching.joined(blob, offset)
        if job is not None:
            return job
        failure = blob.failing(trio.current_time())
        if failure is not None:
            raise failure
        if blob.gone:
            raise Changed("the service has other bytes now")
        return self._fetching.toward(blob, offset, goal)


def _worth(job: Job, span: Span) -> float:
    """Say which byte of a job to wait for, to have what it can bring of `span`."""
    wanted = job.brings(span.stop)
    # It has been there and the bytes are not here: lost on the disk, or never its own. Its end tells; to look
    # again at once would be to look for ever.
    return inf if job.progress.at >= wanted else wanted
