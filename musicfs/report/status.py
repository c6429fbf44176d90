"""The state of the whole, in plain values: what is mounted, cached, in flight, failing, asked of upstream.

How it thinks: sizes in bytes, times in seconds from now; what is not known is null. A hit is a byte
of a file that was whole in the cache when it was opened.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import trio

import musicfs
from musicfs.catalog import Standing
from musicfs.core.tree import File, Written, title
from musicfs.filesystem import Filesystem
from musicfs.filesystem.scanning import SCANNED
from musicfs.model import Form, Key
from musicfs.providers import NAMES
from musicfs.report.failures import Failures
from musicfs.wire import Wire

_BYTES = ("bytes", SCANNED)
"""What is counted and is no kind of request."""
_NEVER = -1.0
_FORGET = "If they are gone for good: musicfs forget ACCOUNT (until then they stay)"


class Status:
    """Tells the state of the whole."""

    def __init__(
        self,
        files: Filesystem,
        wire: Wire,
        cache: Callable[[], Any],
        mountpoint: Path,
        failures: Failures,
        gauges: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`cache` gives the store's snapshot; `gauges` counts what the other rooms have in use."""
        self._files, self._wire, self._cache, self._mountpoint = files, wire, cache, mountpoint
        self._failures, self._gauges = failures, gauges
        self._began = trio.current_time()

    def told(self) -> dict[str, Any]:
        """Tell everything."""
        files = self._files
        return {
            "version": musicfs.__version__,
            "mountpoint": str(self._mountpoint),
            "pid": os.getpid(),
            "uptime": round(trio.current_time() - self._began, 1),
            "services": [self._service(slug) for slug in files.catalog.providers],
            "cache": {**msgspec.structs.asdict(self._cache()), **self._hits()},
            "transfers": [self._transfer(one) for one in files.content.transfers()],
            "upstream": self._upstream(),
            "first_byte": files.usage.first_bytes(),
            "errors": self._failures.told(),
            "open_files": files.open_files,
            "refused": dict(files.usage.refused),
            "scanners_refused": files.scanners_refused,
            "gauges": self.gauges(),
        }

    def gauges(self) -> dict[str, int]:
        """Count what is in use at this moment; all zero once nothing is open, waited for or remembered."""
        files = self._files
        return {
            "files": files.open_files,
            "inodes": len(files.register),
            "questions": files.finding.questions,
            **files.content.gauges(),
            **self._gauges(),
        }

    def _service(self, slug: str) -> dict[str, Any]:
        catalog = self._files.catalog
        standing = catalog.standing[slug]
        counts = Counter(row.song.account for row in catalog.rows(slug))
        return {
            "service": slug,
            "name": NAMES.get(slug, slug),
            "songs": counts.total(),
            "complete": standing.complete,
            "refreshing": standing.refreshing,
            "listed_ago": _ago(standing.asked),
            "error": str(standing.failure) if standing.failure else None,
            "remedy": standing.failure.remedy if standing.failure else None,
            "accounts": [*_accounts(standing, counts), *_unlinked(standing, counts)],
        }

    def _hits(self) -> dict[str, Any]:
        served = self._files.usage.served
        read = sum(served.values())
        return {"hit_rate": round(served[True] / read, 4) if read else None, "read": read}

    def _transfer(self, told: dict[str, Any]) -> dict[str, Any]:
        """Add to a transfer what a person calls the file, and who reads it."""
        key = told["key"]
        assert isinstance(key, Key)
        row = self._files.catalog.row(key.service, key.ident)
        name = title(File(row, key.form, 0, row.listed)) if row is not None else str(key)
        handles = self._files.handles
        programs = sorted({handle.program for handle in handles if _reads(handle.file, key)})
        rate = told["rate"]
        return {
            **told,
            "key": str(key),
            "path": name,
            "rate": None if rate is None else round(rate),
            "programs": programs,
        }

    def _upstream(self) -> dict[str, Any]:
        counts = dict(self._wire.tally.counts)
        day, today = self._wire.tally.today
        return {
            "kinds": {kind: count for kind, count in counts.items() if kind not in _BYTES},
            "bytes": counts.get("bytes", 0),
            "today": {
                "day": day,
                "kinds": {kind: count for kind, count in today.items() if kind not in _BYTES},
                "bytes": today.get("bytes", 0),
                "scanned": today.get(SCANNED, 0),
            },
            "hosts": self._wire.gates.told(),
        }


def _accounts(standing: Standing, counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Tell of each linked account, by number: its name is an e-mail address."""
    for place, account in enumerate(standing.accounts, 1):
        failure = standing.troubles.get(account.ident)
        doubted = len(standing.doubted.get(account.ident, ()))
        state, error, remedy = "ok", None, None
        if failure is not None:
            state, error, remedy = "broken", str(failure), failure.remedy
        elif doubted:
            state, error, remedy = "doubted", f"its last listing lacked {doubted} of them", _FORGET
        yield {
            "name": f"account {place}",
            "songs": counts.get(account.ident, 0),
            "state": state,
            "listed_ago": _ago(standing.listed.get(account.ident, _NEVER)),
            "error": error,
            "remedy": remedy,
        }


def _unlinked(standing: Standing, counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Tell of songs whose account is linked no more, once it is known which are."""
    songs = sum(counts.values()) - sum(counts.get(account.ident, 0) for account in standing.accounts)
    if songs and standing.accounts:
        yield {
            "name": "not linked",
            "songs": songs,
            "state": "gone",
            "error": "useapi.net names no such account any more",
            "remedy": _FORGET,
        }


def _ago(moment: float) -> float | None:
    """Give the seconds since a moment on trio's clock; None if it never was."""
    return round(trio.current_time() - moment, 1) if moment >= 0 else None


def _reads(file: File | Written, key: Key) -> bool:
    """Tell whether a file's bytes are, or are a part of, an object's."""
    if isinstance(file, Written):
        return False
    song = file.row.song
    if (song.service, song.ident) != (key.service, key.ident):
        return False
    return file.form == key.form or (key.form == Form.STEMS and file.form.startswith(f"{Form.STEMS}/"))
