"""The verbs that do something: `warm`, `cache`, `forget`, and looking after what they began.

How it thinks: a table of verbs, which `mount` lays beside the report's. `warm`, `verify` and `prune` are
errands: the answer is a number, and `errand` tells how far it is. Arguments come from outside and are
checked here.

What must always be true: an account's name is compared and never repeated, not even in a failure; nothing
is forgotten that a service still lists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from math import inf
from typing import Any

import trio

from musicfs.core.tree import Folder
from musicfs.errors import NoSuchEntry, Rejected
from musicfs.filesystem import Filesystem
from musicfs.store import Store
from musicfs.tending import cache
from musicfs.tending.errands import Errands, Sweep, driven
from musicfs.tending.pins import Pins
from musicfs.tending.warming import Warming

Args = dict[str, Any]
Verb = Callable[[Args], Awaitable[dict[str, Any]]]

_DAY = 86_400.0


class Tending:
    """What a person asks the daemon to do."""

    def __init__(
        self, nursery: trio.Nursery, files: Filesystem, store: Store, wall: Callable[[], float]
    ) -> None:
        self._files, self._store, self._wall = files, store, wall
        self._nursery, self._errands, self._pins = nursery, Errands(), Pins(store)

    @property
    def verbs(self) -> Mapping[str, Verb]:
        """The verbs by name."""
        return {
            "warm": self.warm,
            "errand": self.errand,
            "cancel": self.cancel,
            "cache info": self.info,
            "cache verify": self.verify,
            "cache prune": self.prune,
            "forget": self.forget,
        }

    # Errands -------------------------------------------------------------------------------------------

    async def warm(self, args: Args) -> dict[str, Any]:
        """Bring (or with `unpin` let go of) what `paths` mean; gives the errand's number.

        With `id` they are added to that errand; `more` says that still more will be.
        """
        paths, number = args.get("paths"), args.get("id")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise Rejected("warm takes a list of paths")
        if number is None:
            self._errands.check()
            self._let_go_of_the_left()
            number = self._errands.keep(
                Warming(self._nursery, self._files, self._pins, args.get("unpin") is True)
            )
        warming = self._errands.find(number)
        if not isinstance(warming, Warming):
            raise Rejected("that errand takes no paths")
        warming.open = args.get("more") is True
        warming.add(paths)
        return {"id": number}

    async def errand(self, args: Args) -> dict[str, Any]:
        """Say how far an errand is, with its failures from number `since` on."""
        since = args.get("since", 0)
        return self._errands.find(args.get("id")).told(since if isinstance(since, int) else 0)

    async def cancel(self, args: Args) -> dict[str, Any]:
        """Call an errand off."""
        errand = self._errands.find(args.get("id"))
        errand.cancel()
        return errand.told(0)

    def _sweep(self, steps: Iterator[None], tell: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._errands.check()
        return {"id": self._errands.keep(Sweep(self._nursery, steps, tell))}

    # The cache -----------------------------------------------------------------------------------------

    async def info(self, args: Args) -> dict[str, Any]:
        """Say what is in the cache, by service and form."""
        inventory = cache.Inventory()
        await driven(inventory.steps(self._store))
        return inventory.told(self._store)

    async def verify(self, args: Args) -> dict[str, Any]:
        """Begin to check every block in the cache; gives the errand's number."""
        check = cache.Check()
        return self._sweep(check.steps(self._store), check.told)

    async def prune(self, args: Args) -> dict[str, Any]:
        """Begin to let go of what is neither pinned nor open, and is `older` than so many days."""
        older = args.get("older")
        before = self._wall() - older * _DAY if isinstance(older, int | float) else inf
        pruning = cache.Pruning()
        return self._sweep(pruning.steps(self._store, before), pruning.told)

    # Forgetting ----------------------------------------------------------------------------------------

    async def forget(self, args: Args) -> dict[str, Any]:
        """Let go of what the services no longer list: of an `account`, or the song at a `path`."""
        account, path = args.get("account"), args.get("path")
        if isinstance(account, str):
            songs = await self._files.catalog.forget_account(account)
        elif isinstance(path, str):
            songs = await self._forget_path(path)
        else:
            raise Rejected("forget takes an account or a path")
        self._let_go_of_the_left()
        return {"songs": songs}

    async def _forget_path(self, path: str) -> int:
        node = await self._files.finding.walk([name for name in path.split("/") if name])
        if isinstance(node, Folder) and node.row is None:
            raise NoSuchEntry("name one song's file or folder, or an account")
        assert node.row is not None
        if not node.row.listed:
            raise NoSuchEntry("no listing shows this song, so there is nothing to forget")
        return await self._files.catalog.forget_song(node.row)

    def _let_go_of_the_left(self) -> None:
        """Take the pins of songs away that are no longer listed: no path leads to them any more."""
        for key, entries in self._pins.held().items():
            service, ident, _ = key.split(":", 2)
            if self._files.catalog.left(service, ident):
                for entry in entries:
                    entry.unpin()
