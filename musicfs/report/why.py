"""One file, explained: what it is, where its bytes come from, their state, what failed last, what to do.

How it thinks: the rooms give facts, this file the words. When a failure is tried again is read off the
host's gate: a host that is down or wants quiet says for how long; anything else is tried when the file is
next opened. The same words are the file's extended attributes (`user.musicfs.…`), where they are wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any
from urllib.parse import urlsplit

import trio

from musicfs.content import Asset
from musicfs.content.links import Links
from musicfs.core.tree import File, Folder, Node, Written, title
from musicfs.errors import MusicfsError, Throttled, TooSlow, Unreachable
from musicfs.filesystem import Filesystem
from musicfs.model import Form, Song
from musicfs.providers import NAMES
from musicfs.wire import Wire

_MARK = "user.musicfs."
_MARKED = ("state", "pinned", "size", "source", "failure", "again", "remedy")
"""What of an answer becomes an extended attribute, where it says anything."""


class Why:
    """Explains files."""

    def __init__(self, files: Filesystem, wire: Wire, links: Links) -> None:
        self._files, self._wire, self._links = files, wire, links

    async def why(self, path: str) -> dict[str, Any]:
        """Explain what a path in the mount stands for."""
        try:
            node = await self._files.finding.walk([part for part in path.split("/") if part])
            return {"path": path, **self.explain(node)}
        except MusicfsError as failed:
            return {
                "path": path,
                "what": "nothing that can be had",
                "state": str(failed),
                "remedy": failed.remedy,
            }

    def explain(self, node: Node) -> dict[str, Any]:
        """Explain a node, asking nobody."""
        if isinstance(node, Written):
            if not node.folder:
                return {"what": "an empty file that tells indexers to keep out", "state": "always here"}
            about = "of the songs that are listed" if node.row is None else f"of {_named(node.row.song)}"
            return {
                "what": f"what musicfs wrote itself {about}",
                "state": "always here",
                "detail": f"{node.size} bytes (exact)",
                "source": "comes from the listing alone, with no request",
            }
        return self._file(node) if isinstance(node, File) else self._folder(node)

    def marks(self, node: Node) -> Mapping[str, str]:
        """Give a node's extended attributes."""
        told = self.explain(node)
        told["size"] = told.get("detail")
        return {_MARK + key: _word(told[key]) for key in _MARKED if told.get(key) not in (None, "", False)}

    # Folders -------------------------------------------------------------------------------------------

    def _folder(self, folder: Folder) -> dict[str, Any]:
        if folder.row is None:
            return {"what": "a folder", **self._listing(folder)}
        song = folder.row.song
        if len(folder.path) > 2:
            return self._stems(folder, song)
        told = {"what": f"a folder of {_named(song)}", "state": "known"}
        forms = [form for form in self._files.finding.forms(folder.row) if form != Form.STEMS]
        states = [f"{form} {self._files.content.explain(Asset(song, form))['state']}" for form in forms]
        return {**told, "detail": f"It holds: {', '.join(states)}"} if states else told

    def _stems(self, folder: Folder, song: Song) -> dict[str, Any]:
        """Explain a folder of stems by how many there are in which state."""
        told = {"what": f"a folder of stems of {_named(song)}"}
        if self._files.finding.unseen(folder):
            cost = "Listing it asks for a link and reads the end of the ZIP, once"
            return {**told, "state": "never listed", "detail": cost, **self._refused(folder)}
        nodes = [self._files.finding.resolved(entry) for entry in self._files.finding.here(folder)]
        states = Counter(
            self._file(node)["state"].split()[0].rstrip(",") for node in nodes if isinstance(node, File)
        )
        folders = sum(isinstance(node, Folder) for node in nodes)
        found = [f"{count} {state}" for state, count in states.items()]
        found += [f"{folders} folders" if folders > 1 else "a folder"] if folders else []
        detail = f"It holds: {', '.join(found)}" if found else "The service has no stems of this song"
        return {**told, "state": "known", "detail": detail}

    def _refused(self, node: Node) -> dict[str, Any]:
        """Tell which indexer or media server was refused a file or folder last, if any was."""
        refusal = self._files.usage.refusals.get(node.inode)
        if refusal is None:
            return {}
        return {
            "failure": f"{refusal.program} was refused it, because {refusal.failure}",
            "failed_ago": round(trio.current_time() - refusal.moment, 1),
            "remedy": refusal.failure.remedy,
        }

    def _listing(self, folder: Folder) -> dict[str, Any]:
        top = folder.path[0] if folder.path else ""
        standings = self._files.catalog.standing
        slugs = [top] if top in standings else list(standings) if top in ("", "library") else []
        told = {
            "state": "known" if all(standings[slug].complete for slug in slugs) else "not wholly listed yet",
            "detail": "; ".join(self._listed(slug) for slug in slugs),
        }
        for slug in slugs:
            failure = standings[slug].failure
            if failure is not None:
                told["failure"] = f"the listing of {NAMES.get(slug, slug)}: {failure}"
                told["again"] = "It is asked again when somebody looks into the folder"
                told["remedy"] = failure.remedy
                break
        return told

    def _listed(self, slug: str) -> str:
        standing, count = self._files.catalog.standing[slug], sum(1 for _ in self._files.catalog.rows(slug))
        age = trio.current_time() - standing.asked
        when = f"asked for {age:.0f} s ago" if standing.asked >= 0 else "not asked for since the start"
        return f"{count} songs of {NAMES.get(slug, slug)}, {when}"

    # Files ---------------------------------------------------------------------------------------------

    def _file(self, file: File) -> dict[str, Any]:
        song = file.row.song
        asset = Asset(song, file.form, file.listed)
        if asset.member is not None:
            what = f"the stem {asset.member!r} of {_named(song)}"
            told = self._files.archives.explain(asset)
        else:
            form = "cover" if file.form.startswith(Form.COVER) else file.form
            what = f"the {form} of {_named(song)}"
            told = self._files.content.explain(asset)
        failure: MusicfsError | None = told.pop("failure")
        exact = "exact" if told["exact"] else "an estimate until it is opened"
        incomplete = bool(told["pinned"]) and told["state"] != "cached"
        explained = {
            "what": what,
            "name": title(file),
            **told,
            "detail": f"{told['size']} bytes ({exact})",
            "source": self._source(asset),
            "failure": str(failure) if failure else None,
            "again": self._again(asset, failure) if failure else None,
            "remedy": failure.remedy if failure else self._advice(asset, incomplete),
        }
        return explained if failure or told["state"] == "cached" else {**explained, **self._refused(file)}

    def _source(self, asset: Asset) -> str:
        """Say where the bytes come from."""
        if asset.member is not None:
            return f"is a part of the stems ZIP, which {self._source(asset.archive)}"
        service = NAMES.get(asset.song.service, asset.song.service)
        provider = self._files.catalog.providers[asset.song.service]
        place = self._links.place(asset.song, asset.form)
        if place is None:
            return f"comes by a link that {service} is asked for when it is opened"
        if asset.form in provider.made_anew:
            return f"is made by {service} at each request, so it is fetched in one pass and kept whole"
        host = urlsplit(place.url).hostname
        if place.minted:
            return f"comes from {host}, by a link of {service}'s, as it is read"
        if asset.form.startswith(Form.COVER):
            return f"comes from {host}, when it is opened"
        return f"comes from the public bucket at {host}, as it is read"

    def _advice(self, asset: Asset, incomplete: bool) -> str:
        """Say what there is to know where nothing failed; `incomplete`: it is pinned, and not all here."""
        if incomplete:
            return "It was pinned, and not all of it is here: musicfs warm brings the rest."
        if asset.member is None and self._files.content.hidden(asset):
            return "The service has answered for a day that it has no such form; it is asked again weekly."
        return ""

    def _again(self, asset: Asset, failure: MusicfsError) -> str:
        """Say when what failed is tried again."""
        gate = self._wire.gates.told().get(self._host(asset), {})
        if isinstance(failure, (Unreachable, TooSlow)) and (wait := gate.get("down_for")):
            return f"Its server is left alone for {wait:.0f} s more; then the next open tries it"
        quiet = max(gate.get("quiet_for", {}).values(), default=-inf)
        if isinstance(failure, Throttled) and quiet > 0:
            return f"The service asked for quiet for {quiet:.0f} s more; then the next open tries it"
        return "It is tried again when it is next opened"

    def _host(self, asset: Asset) -> str:
        """Name the gate by which an asset's next request goes."""
        place = self._links.place(asset.song, asset.archive.form if asset.member is not None else asset.form)
        api = self._wire.origin
        if place is None or place.authorised:
            return api.partition("://")[2]
        split = urlsplit(place.url)
        return f"{split.hostname}:{split.port or {'https': 443, 'http': 80}.get(split.scheme, 0)}"


def _named(song: Song) -> str:
    """Name a song by title and service; one without a title by its id, which holds no address."""
    service = NAMES.get(song.service, song.service)
    return f"“{song.title}” ({service} {song.ident})" if song.title else f"{service} {song.ident}"


def _word(value: object) -> str:
    return "yes" if value is True else str(value)
