"""What a person typed becomes the files it means.

How it thinks: a path is text, relative to the mount, and walked name by name in the tree, never in the
mount itself. A name is first taken as it stands, because songs are called `Tide [4f1c9a]`; only where
nothing is called so, `*`, `?` and `[…]` are patterns. A folder means all that is in it.

What must always be true: what cannot be listed is told, by its path, and the rest goes on; a file that is
met under two names is given under both, and whoever counts knows it by its key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Protocol

import trio

from musicfs.core.tree import Entry, File, Folder, Node, Written
from musicfs.errors import MusicfsError, NoSuchEntry, NotADirectory, TooSlow

_PATTERN = re.compile(r"[*?\[]")
_PATIENCE = 120.0  # seconds a listing or directory may take; as long as background work may (DESIGN §3)

Found = tuple[str, File | MusicfsError]
"""A path in the mount, and the file it is or why it cannot be had."""


class Finds(Protocol):
    """What is needed of the tree."""

    async def find(self, folder: Folder, name: str) -> Node:
        """Find a name in a folder."""
        ...

    async def entries(self, folder: Folder, limit: float) -> list[Entry]:
        """List a folder, waiting at most `limit` seconds."""
        ...

    def resolved(self, entry: Entry) -> Node:
        """Give an entry's node."""
        ...


async def walk(tree: Finds, path: str, take: Callable[[Found], None]) -> None:
    """Give to `take` every file that a path (in the mount, "" is its top) means, as it is found."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    await _matching(tree, "", Folder(()), names, take)


async def _matching(
    tree: Finds, above: str, node: Node, names: list[str], take: Callable[[Found], None]
) -> None:
    """Walk the names that are left; a pattern branches."""
    if not names:
        await _below(tree, above, node, take)
        return
    try:
        if not isinstance(node, Folder):
            raise NotADirectory("it is a file")
        branches = await _branches(tree, node, names[0], deeper=len(names) > 1)
    except MusicfsError as failed:
        take((_joined(above, *names), failed))
        return
    for called, branch in branches:
        await _matching(tree, _joined(above, called), branch, names[1:], take)


async def _branches(tree: Finds, folder: Folder, name: str, deeper: bool) -> list[tuple[str, Node]]:
    """Give what a name or a pattern stands for; `deeper`: a pattern means folders, as it does in a shell."""
    try:
        return [(name, await _named(tree, folder, name))]
    except NoSuchEntry:
        if not _PATTERN.search(name):
            raise
    entries = await tree.entries(folder, _PATIENCE)
    fitting = [(each.name, tree.resolved(each)) for each in entries if fnmatchcase(each.name, name)]
    found = [(called, node) for called, node in fitting if isinstance(node, Folder) or not deeper]
    if not found:
        raise NoSuchEntry("no name fits this pattern")
    return found


async def _named(tree: Finds, folder: Folder, name: str) -> Node:
    """Find a name, where a lookup has no patience left with that of a listing: no folder is locked here."""
    try:
        return await tree.find(folder, name)
    except TooSlow:
        await tree.entries(folder, _PATIENCE)
        return await tree.find(folder, name)


async def _below(tree: Finds, path: str, node: Node, take: Callable[[Found], None]) -> None:
    """Give a file, or all files of a folder."""
    if isinstance(node, File):
        take((path, node))
        return
    if isinstance(node, Written):
        return  # it is always here
    try:
        entries = await tree.entries(node, _PATIENCE)
    except MusicfsError as failed:
        take((path, failed))
        return
    for entry in entries:
        await trio.lowlevel.checkpoint()  # A library has thousands.
        await _below(tree, _joined(path, entry.name), tree.resolved(entry), take)


def _joined(above: str, *names: str) -> str:
    return "/".join((above, *names)).lstrip("/")
