"""The work of bringing bytes: started here, run in the house's nursery, ended here.

How it thinks: a job belongs to the house and not to who asked first, so a reader who goes away takes
nothing from the others. However it ends, it leaves its blob in order: the failure remembered for a
second, a pass that is not whole dropped, everybody who waits woken.

What must always be true: no job raises into the nursery; a pass holds its place on the shelf until it
ends.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol, TypeVar

import trio

from musicfs.content.blob import Blob, Job
from musicfs.content.download import Download, Unsized, Watch
from musicfs.content.links import Links, SongSource
from musicfs.content.progress import Progress
from musicfs.content.shelving import Shelving
from musicfs.content.tail import Tail
from musicfs.content.whole import Pass
from musicfs.content.window import Windows
from musicfs.errors import BadArchive, BytesMissing, Changed, Misbehaved, MusicfsError, StoreError, StoreFull
from musicfs.model import Span

log = logging.getLogger("musicfs.content")

D = TypeVar("D", bound=Download)

_LINGER = 0.5  # seconds until a program that was told ESTALE has opened again: the kernel does so at once


class Pulls(Protocol):
    """What is needed of the network."""

    async def pull(self, source: SongSource, sink: Download | Pass, slow: bool = False) -> None:
        """Fill a sink."""
        ...


class Jobs:
    """Every job under way."""

    def __init__(self, nursery: trio.Nursery, wire: Pulls, shelving: Shelving, links: Links) -> None:
        self._nursery, self._wire, self._shelving, self._links = nursery, wire, shelving, links
        self._windows = Windows()

    def start(self, blob: Blob, span: Span, watch: Watch) -> Download:
        """Begin to fetch a span."""
        return self._begun(blob, Download(blob, span, self._shelving, watch, self._windows))

    def start_at_end(self, blob: Blob, length: int, watch: Watch) -> Tail:
        """Begin to fetch the last `length` bytes of what nobody knows the length of."""
        return self._begun(blob, Tail(blob, length, self._shelving, watch, self._windows))

    def _begun(self, blob: Blob, download: D) -> D:
        blob.jobs.append(download)
        self._nursery.start_soon(self._run, blob, download, False)
        return download

    def start_pass(self, blob: Blob) -> Job:
        """Begin one pass over the whole."""
        job: Job
        if blob.entry is not None:
            # Whatever is left there is of another pass, and bytes of two never mix.
            self._shelving.drop(blob)
        if blob.inflate is not None:
            job = Inflation(blob.inflate)
            self._nursery.start_soon(self._run_inflation, blob, job)
        else:
            job = Pass(blob, self._shelving)
            self._nursery.start_soon(self._run, blob, job, True)
        blob.jobs.append(job)
        # A pass holds its place for itself: it runs to its end, whoever still wants it.
        self._shelving.hold(blob)
        return job

    async def _run(self, blob: Blob, sink: Download | Pass, slow: bool) -> None:
        """Carry one job to its end; its failure goes to those who wait, never into the nursery."""
        source = SongSource(self._links, blob.asset.song, blob.asset.form)
        failure: MusicfsError | None = Misbehaved("the mount is being closed")
        try:
            failure = await self._tried(blob, lambda: self._wire.pull(source, sink, slow))
            if isinstance(failure, Unsized):
                blob.one_pass, failure = True, None
        finally:
            brought = sink.blob if isinstance(sink, Pass) else blob
            if brought is not blob and brought.whole:
                self._shelving.hold(brought)
                self._nursery.start_soon(self._linger, brought)
            self._finished(brought, sink, failure)

    async def _linger(self, blob: Blob) -> None:
        """Keep a new version for a moment: who waited for the old one was sent to look the name up again."""
        try:
            await trio.sleep(_LINGER)
        finally:
            self._shelving.release(blob)

    async def _run_inflation(self, blob: Blob, job: Inflation) -> None:
        failure: MusicfsError | None = Misbehaved("the mount is being closed")
        try:
            self._shelving.sized(blob, blob.size)
            failure = await self._tried(blob, lambda: job.inflate(blob))
        except StoreError as full:
            failure = full
        finally:
            self._finished(blob, job, failure)

    async def _tried(self, blob: Blob, work: Callable[[], Awaitable[None]]) -> MusicfsError | None:
        try:
            await work()
        except (Changed, Unsized, BadArchive) as turned:
            return turned  # Nothing broke here; what is wrong with an archive was said by who read it.
        except MusicfsError as failed:
            log.log(failed.level, "%s: %s", blob.asset.key, failed)
            return failed
        except Exception:
            log.exception("a job for %s broke", blob.asset.key)
            return Misbehaved("an unexpected failure, see the log")
        return None

    def _finished(self, blob: Blob, job: Job, failure: MusicfsError | None) -> None:
        """Leave a blob in order and wake who waits, whatever breaks on the way."""
        blob.jobs.remove(job)
        try:
            failure = self._settled(blob, job, failure)
        except Exception:
            log.exception("the end of a job for %s broke", blob.asset.key)
            failure = Misbehaved("an unexpected failure, see the log")
            blob.failed(failure, trio.current_time())
        job.progress.finish(failure)
        blob.ring()
        if isinstance(job, Download):
            job.watch.ended()

    def _settled(self, blob: Blob, job: Job, failure: MusicfsError | None) -> MusicfsError | None:
        """Put away what a job brought, and remember how it ended; gives what those who wait are told."""
        if isinstance(job, Download):
            job.flush()  # A failure takes nothing away from what had come.
            job.close()
        if not isinstance(job, Download):
            self._shelving.release(blob)
        if isinstance(failure, BytesMissing) and blob.asset.listed:
            self._shelving.ledger.missed(blob.asset.key)
        lost = isinstance(job, Inflation) and isinstance(failure, StoreError)
        if lost and not isinstance(failure, StoreFull) and not blob.lost(trio.current_time()):
            failure = None  # Its file vanished, and the archive is there: it is inflated once more.
        if failure is not None and not isinstance(failure, Changed):
            blob.failed(failure, trio.current_time())
            blob.checked_until = 0.0  # the last word counts, so that the next `open` fails and no `read`
            blob.last_failure, blob.failed_at = failure, trio.current_time()
        if isinstance(failure, Changed) and isinstance(job, Inflation):
            blob.gone = True  # its archive is another one: who looks again finds the new member
        if blob.one_pass and not blob.whole:
            # A pass is kept or dropped whole.
            self._shelving.drop(blob)
            if isinstance(job, Pass) and job.served:
                self._shelving.abandon(blob)
            elif blob.inflate is None and not blob.validator and not blob.holders:
                blob.size = None
        return failure


class Inflation:
    """The job that inflates a stem onto its shelf."""

    def __init__(self, inflate: Callable[[Blob], Awaitable[None]]) -> None:
        self.progress = Progress(0)
        self.inflate = inflate

    @property
    def left(self) -> float:
        """It is its file's only job, so nobody plans by it."""
        return inf

    def shows(self, start: int, stop: int) -> bool:
        """Nothing waits beside the shelf."""
        return False

    def peek(self, start: int, stop: int) -> memoryview:
        """Nothing waits beside the shelf."""
        return memoryview(b"")

    def will_reach(self, offset: int) -> bool:
        """It comes by every byte."""
        return True

    def brings(self, stop: int) -> int:
        """It goes to the end."""
        return stop
