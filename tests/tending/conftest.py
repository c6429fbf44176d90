"""A house without a kernel: the real rooms on the embedded service, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from musicfs import providers
from musicfs.catalog import Catalog
from musicfs.content import Content
from musicfs.content.archive import Archives
from musicfs.content.links import Links
from musicfs.demo import Service, content
from musicfs.filesystem import Filesystem
from musicfs.store import Entry, Store
from musicfs.tending import Tending
from musicfs.wire import Wire
from musicfs.wire.embedded import doors_to
from tests.world import Memo, Notebook, Shelf, wall

MIB = 1024 * 1024


class Nobody:
    """No indexer asks."""

    def is_scanner(self, tid: int) -> bool:
        """Tell that it is none."""
        return False

    def name(self, tid: int) -> str:
        """Know no program."""
        return "?"

    def is_media_server(self, tid: int) -> bool:
        """Tell that it is none."""
        return False

    def process(self, tid: int) -> int:
        """Take a thread for a process."""
        return tid


class House:
    """The rooms, put together as `mount` does it."""

    def __init__(self, nursery: trio.Nursery, service: Service, store: Store) -> None:
        self.service, self.store = service, store
        services = providers.find(service.origins.bucket)
        wire = Wire(doors_to(service, service.token), 30.0, wall)
        memo, links = Memo(), Links(wire, services, wall)
        made_anew = lambda asset: asset.form in services[asset.song.service].made_anew  # noqa: E731
        room = Content(nursery, wire, Shelf(store), memo, links, made_anew=made_anew)
        archives = Archives(nursery, room, memo, wall)
        catalog = Catalog(nursery, wire, services, Notebook(), wall, 0.0, 0.0)
        self.files = Filesystem(nursery, catalog, room, archives, Nobody(), 30.0, measure_minted=False)
        self.tending = Tending(nursery, self.files, store, wall)

    async def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        """Ask as the control socket would."""
        return await self.tending.verbs[verb](args)

    async def ended(self, number: object, limit: float = 600.0) -> dict[str, Any]:
        """Wait for an errand's end."""
        with trio.fail_after(limit):
            while True:
                await wait_all_tasks_blocked()
                reply = await self.ask("errand", id=number)
                if reply["stage"] != "running":
                    return reply
                await trio.sleep(0.3)  # Only where the service itself takes its time, which is virtual then.
        raise AssertionError("it did not end in time")

    async def warm(self, *paths: str, **args: Any) -> dict[str, Any]:
        """Warm, and wait for the end."""
        return await self.ended((await self.ask("warm", paths=list(paths), **args))["id"])

    def moved(self) -> int:
        """Count the bytes of music that left the service since the last look."""
        sent = sum(one.sent for one in self.service.log if one.kind in ("mp3", "range", "whole"))
        self.service.reset_counts()
        return sent

    def pinned(self) -> dict[str, Entry]:
        """Give what is pinned, by key."""
        return {entry.key: entry for entry in self.store.entries() if entry.pinned}


@pytest.fixture
def service() -> Service:
    """Give a healthy, empty service whose clock goes with the tests' own."""
    return Service(clock=wall)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give a cache of 64 MiB."""
    with Store(tmp_path / "cache", 64 * MIB, 0, clock=lambda: 4_000_000_000.0) as store:
        yield store


@pytest.fixture
async def house(nursery: trio.Nursery, service: Service, store: Store) -> House:
    """Give a house on them."""
    return House(nursery, service, store)


def size_of(source: Any) -> int:
    """Say how long the service's bytes are."""
    return len(content(source))
