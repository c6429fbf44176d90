"""What `status` and `why` tell: the state of the whole, and of one file, in plain values.

How it thinks: it asks the rooms what they know and nobody else; accounts are counted and described, never
named in full, because their names are e-mail addresses.

What must always be true: no token, signed URL or e-mail address in any answer; nothing is fetched to
answer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import trio

import musicfs
from musicfs.content import Asset
from musicfs.core.tree import File
from musicfs.errors import MusicfsError
from musicfs.filesystem import Filesystem


class Tallies(Protocol):
    """What is needed of the wire's tally."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests by kind, and "bytes"."""
        ...


class Report:
    """Answers for the control socket."""

    def __init__(
        self,
        files: Filesystem,
        tally: Tallies,
        cache: Callable[[], Any],
        mountpoint: Path,
        errors: deque[tuple[float, str, str]],
        gauges: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`gauges` counts what the other rooms have in use."""
        self._files, self._tally, self._cache, self._mountpoint = files, tally, cache, mountpoint
        self._errors, self._gauges = errors, gauges
        self._began = trio.current_time()

    @property
    def verbs(self) -> Mapping[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        """What can be asked on the control socket, by name."""
        return {"status": self._told_status, "why": self._told_why}

    async def _told_status(self, args: dict[str, Any]) -> dict[str, Any]:
        return self.status()

    async def _told_why(self, args: dict[str, Any]) -> dict[str, Any]:
        return await self.why(str(args.get("path", "")))

    def status(self) -> dict[str, Any]:
        """Tell the state of the whole."""
        counts = dict(self._tally.counts)
        fetched = counts.pop("bytes", 0)
        return {
            "version": musicfs.__version__,
            "mountpoint": str(self._mountpoint),
            "pid": os.getpid(),
            "uptime": round(trio.current_time() - self._began, 1),
            "services": [self._service(slug) for slug in self._files.catalog.providers],
            "cache": asdict(self._cache()),
            "transfers": self._files.content.transfers(),
            "upstream": {"kinds": counts, "bytes": fetched},
            "errors": [
                {"ago": round(trio.current_time() - when, 1), "path": what, "error": why}
                for when, what, why in self._errors
            ],
            "open_files": self._files.open_files,
            "scanners_refused": self._files.scanners_refused,
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
        songs = list(catalog.rows(slug))
        accounts = []
        for place, account in enumerate(standing.accounts, 1):
            trouble = standing.troubles.get(account.ident)
            accounts.append(
                {
                    "name": f"account {place}",
                    "songs": sum(row.song.account == account.ident for row in songs),
                    "state": "broken" if trouble else "ok",
                    "error": trouble,
                }
            )
        return {
            "service": slug,
            "songs": len(songs),
            "complete": standing.complete,
            "listed_ago": round(trio.current_time() - standing.asked, 1) if standing.asked > 0 else None,
            "error": str(standing.failure) if standing.failure else None,
            "accounts": accounts,
        }

    async def why(self, path: str) -> dict[str, Any]:
        """Tell the state of one file: what it is, where its bytes are, what failed last, what to do."""
        try:
            node = await self._files.finding.walk([part for part in path.split("/") if part])
        except MusicfsError as failed:
            return {
                "path": path,
                "what": "nothing that can be had",
                "state": str(failed),
                "remedy": failed.remedy,
            }
        if not isinstance(node, File):
            return {"path": path, "what": "a folder", "state": "known", **self._listing_trouble(path)}
        return {"path": path, **self._file(node)}

    def _listing_trouble(self, path: str) -> dict[str, Any]:
        standing = self._files.catalog.standing.get(path.split("/", 1)[0])
        if standing is None or standing.failure is None:
            return {}
        return {"failure": str(standing.failure), "remedy": standing.failure.remedy}

    def _file(self, file: File) -> dict[str, Any]:
        song = file.row.song
        asset = Asset(song, file.form, file.listed)
        if asset.member is not None:
            what = f"a stem of {song.service} {song.ident}, a member of its ZIP"
            told = self._files.archives.explain(asset)
        else:
            what = f"the {file.form} of {song.service} {song.ident}"
            told = self._files.content.explain(asset)
        failure: MusicfsError | None = told.pop("failure")
        return {
            "what": what,
            **told,
            "failure": str(failure) if failure else None,
            "remedy": failure.remedy if failure else None,
        }
