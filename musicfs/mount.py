"""Opens the house: builds every room, holds the one nursery, closes in reverse.

How it thinks: an exit stack is the order. Store and state first, then the wire, the nursery, the rooms
that live in it, and the kernel mount last; READY is said when the mount answers. The end is that list
backwards: no more requests are taken, those under way get a moment, then they are cancelled, and the
mount is taken away lazily, whoever still has a file open; all of it within the five seconds that DESIGN
promises.

What must always be true: only this module knows everybody; the process ends with no mount left behind.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import trio

from musicfs import allocator, control, dump, fuse, host, operations, privileges, providers, session
from musicfs.callers import Callers
from musicfs.catalog import Catalog
from musicfs.config import Settings, Token
from musicfs.content import Content
from musicfs.content.archive import Archives
from musicfs.content.links import Links
from musicfs.control import server as control_server
from musicfs.daybook import Daybook
from musicfs.errors import MountRefused, MusicfsError
from musicfs.filesystem import Budget, Filesystem
from musicfs.ledger import Ledger
from musicfs.orders import Orders
from musicfs.report import Failures, Report, Status, Why
from musicfs.state import State
from musicfs.store import Entry, Kind, Store
from musicfs.supervision import Supervisor
from musicfs.tending import Tending
from musicfs.wire import Doors, Wire
from musicfs.wire.decided import doors_as

log = logging.getLogger("musicfs.mount")

_GRACE = 1.0  # seconds that requests under way get at the end
_REAL = Settings()  # the demo imitates the real hosts, whatever is configured
_CROWD = 8  # reads that may wait where the kernel takes 12 in all: 4 are left for what is cached
_SETTLED = 10.0  # seconds from which on a start is long over, so that loading more delays nobody
_INIT = 0.5  # seconds until the kernel has surely had libfuse's answer, which sets read-ahead to 128 KiB
_LEAN = 10.0  # seconds between two looks at the heap: 0.3 ms each, for 1.4 to 2 MiB after 8 streams
_AHEAD = 1024  # KiB: the largest request that libfuse takes (performance.md §2)
_LIVE = frozenset(
    (
        *("listing_ttl", "forget_after", "deadline", "cache_size", "keep_free", "scanners"),
        *("media_servers", "media_budget", "token_file", "token_command", "log_level", "log_format"),
    )
)
"""The settings that a reload changes at once; the others wait for the next mount."""
_BACKGROUND = 100  # reads the kernel lets wait at a time: its 12 freeze every file when 12 stall (§1.5)


class _Shelf:
    """The store, as the content room asks for it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, key: str, version: int) -> Entry | None:
        return self._store.find(key, version)

    def create(self, key: str, version: int, one_pass: bool, size: int | None, validator: str) -> Entry:
        kind = Kind.WHOLE if one_pass else Kind.RANGED
        return self._store.create(key, version, kind, size, validator)

    def drop(self, key: str, version: int) -> None:
        self._store.drop(key, version)


def run(orders: Orders, store: Store, state: State) -> int:
    """Mount, serve until told to stop, and give the exit code; the state may still be being read.

    Raises:
        ConfigError: something the user has to mend first.
    """
    host.claim(orders.mountpoint)
    state.open()
    trio.run(_serve, orders, store, state)
    return 0


async def _serve(orders: Orders, store: Store, state: State) -> None:
    settings = orders.settings
    if orders.demo:
        settings = msgspec.structs.replace(settings, api_url=_REAL.api_url, media_url=_REAL.media_url)
    doors = _doors(settings, orders.token, orders.demo)
    async with trio.open_nursery() as nursery:
        wire = Wire(doors, settings.deadline, time.time)
        house = _House(settings, nursery, wire, store, state)
        nursery.start_soon(house.ledger.write_behind)
        nursery.start_soon(house.daybook.write_behind)
        nursery.start_soon(doors.load, _SETTLED)
        nursery.start_soon(stay_lean, wire.tally.counts.total)
        await house.live(nursery, orders)
    with trio.move_on_after(_GRACE):
        await house.ledger.flush()
        await house.daybook.flush()
        await doors.aclose()


def _doors(settings: Settings, token: Token, demo: bool) -> Doors:
    if demo:
        # Loaded by nobody else: composing takes 15 modules.
        from musicfs.demo import Service
        from musicfs.wire.embedded import doors_to

        return doors_to(Service.demo(time.time, token=token.reveal()), token.reveal(), aside=True)
    return doors_as(settings, token)


class _House:
    """The rooms that live in the nursery, put together."""

    def __init__(
        self, settings: Settings, nursery: trio.Nursery, wire: Wire, store: Store, state: State
    ) -> None:
        self._settings, self._wire, self._store = settings, wire, store  # the settings of the mount
        self._reloads = trio.Lock()
        services = providers.find(settings.media_url)
        self.ledger, self.daybook = Ledger(state, time.time), Daybook(wire.tally, state)
        self.failures = Failures()
        self._links = links = Links(wire, services, time.time)
        self._callers = Callers(settings.scanners, media_servers=settings.media_servers)
        self._budget = Budget(settings.media_budget, wire.tally.note, lambda: wire.tally.today[1])
        content = Content(
            nursery,
            wire,
            _Shelf(store),
            self.ledger,
            links,
            made_anew=lambda asset: asset.form in services[asset.song.service].made_anew,
            changed=lambda key: self.files.notices.changed(key),
        )
        archives = Archives(
            nursery, content, self.ledger, time.time, rebuilt=lambda key: self.files.notices.changed(key)
        )
        catalog = Catalog(
            nursery, wire, services, state, time.time, settings.listing_ttl, settings.forget_after
        )
        self.files = Filesystem(
            nursery,
            catalog,
            content,
            archives,
            self._callers,
            settings.deadline,
            measure_minted=settings.sizes == "exact",
            room=self._takes,
            spare=wire.spare,
            budget=self._budget,
            hints=settings.hints,
        )

    async def live(self, nursery: trio.Nursery, orders: Orders) -> None:
        """Mount, answer, and end in order."""
        settings, paths, mountpoint = self._settings, orders.paths, orders.mountpoint
        owner = fuse.Owner(
            os.getuid() if settings.uid is None else settings.uid,
            os.getgid() if settings.gid is None else settings.gid,
            settings.umask or 0,
        )
        why = Why(self.files, self._wire, self._links)
        handlers = fuse.Marked if settings.xattrs else fuse.Kernel
        self._kernel = kernel = handlers(self.files, settings.deadline, owner, self._room, self.failures.note)
        kernel.marks = why.marks
        status = Status(
            self.files,
            self._wire,
            self._store.snapshot,
            mountpoint,
            self.failures,
            lambda: {**self._wire.gauges(), **self._store.gauges(), "folders": kernel.open_folders},
        )
        report = Report(status, why)
        tending = Tending(nursery, self.files, self._store, time.time)
        supervisor = Supervisor(os.environ, self._line, orders.ready)
        answer = control_server.by_verb({**report.verbs, **tending.verbs})
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            try:
                session.connect(
                    kernel, str(mountpoint), _options(settings, orders.source or f"musicfs:{paths.profile}")
                )
            except RuntimeError as refused:  # libfuse has said on stderr what it met
                raise MountRefused(f"cannot mount on {mountpoint}") from refused
            lent = False
            try:
                lent = privileges.give_up()
                with control.register(paths.runtime, mountpoint, paths.socket):
                    await nursery.start(control_server.serve, paths.socket, answer)
                    nursery.start_soon(self._heed, signals, nursery, supervisor, orders)
                    nursery.start_soon(_end_when_gone, nursery.cancel_scope)
                    await nursery.start(dump.serve, kernel.title)
                    nursery.start_soon(self._announce, mountpoint, supervisor)
                    nursery.start_soon(supervisor.tell)
                    nursery.start_soon(supervisor.feed, session.takes)
                    await session.serve()
                    log.info("%s is unmounted", mountpoint)
            finally:
                supervisor.stopping()
                nursery.cancel_scope.cancel()
                # What was mounted by a lent right is unmounted by who lent it (systemd/musicfs.service).
                session.disconnect(unmount=not lent)
                self.files.shut()

    async def _heed(
        self,
        signals: AsyncIterator[int],
        nursery: trio.Nursery,
        supervisor: Supervisor,
        orders: Orders,
    ) -> None:
        """Reload on SIGHUP; end on any other, and when the terminal was closed."""
        async for number in signals:
            if number == signal.SIGHUP and not await supervisor.hung_up():
                # A task of its own: a token command may take seconds, and SIGTERM must not wait for it.
                nursery.start_soon(self._reload, supervisor, orders)
                continue
            log.info("stopping on %s", signal.Signals(number).name)
            supervisor.stopping()
            session.stop()
            await trio.sleep(_GRACE)
            nursery.cancel_scope.cancel()
            return

    async def _reload(self, supervisor: Supervisor, orders: Orders) -> None:
        """Read settings and token again, without unmounting; what is wrong changes nothing."""
        async with self._reloads:
            supervisor.reloading()
            try:
                # A thread, because files and the token command are read by calls that block.
                found = await trio.to_thread.run_sync(orders.reread, abandon_on_cancel=True)
                self._take_over(*found)
            except MusicfsError as failed:
                log.error("nothing was reloaded: %s", failed)
            except Exception:
                log.exception("reloading broke")
            supervisor.ready()

    def _take_over(self, settings: Settings, token: Token) -> None:
        """Live by other settings and another token from now on."""
        self._wire.present(token.reveal())
        self._wire.deadline = self._kernel.deadline = self.files.finding.deadline = settings.deadline
        catalog = self.files.catalog
        catalog.listing_ttl, catalog.forget_after = settings.listing_ttl, settings.forget_after
        self._callers.know(settings.scanners, settings.media_servers)
        self._budget.limit = settings.media_budget
        self._store.resize(settings.cache_size, settings.keep_free)
        log.info("settings and token were reloaded")
        fixed = [key for key in settings.__struct_fields__ if key not in _LIVE]
        later = [key for key in fixed if getattr(settings, key) != getattr(self._settings, key)]
        if later:
            log.warning("these wait for the next mount: %s", ", ".join(later))

    def _line(self) -> str:
        """Say in a line how it is."""
        songs = sum(1 for slug in self.files.catalog.providers for _ in self.files.catalog.rows(slug))
        return f"{songs} songs, {self._store.used / 1024**3:.1f} GiB cached"

    async def _announce(self, mountpoint: Path, supervisor: Supervisor) -> None:
        """Say READY once requests are taken, and let the kernel have more reads in flight."""
        await trio.lowlevel.checkpoint()
        found = host.find_mount(mountpoint)
        if found is None or not host.raise_background(found.minor, _BACKGROUND):
            log.info("fusectl cannot be written: at most %d reads wait for the network at a time", _CROWD)
            self.files.content.crowded(_CROWD)
        supervisor.ready()
        log.info("mounted on %s", mountpoint)
        gc.freeze()  # All that is here stays as it is until nobody waits: to look through it takes 40 ms.
        gc.enable()
        await trio.sleep(_INIT)
        if found is not None:
            host.raise_read_ahead(found.minor, _AHEAD)
        for _ in iter(operations.under_way, False):
            await trio.sleep(_INIT)
        gc.unfreeze()
        gc.collect()  # What loading left behind is 0.7 MiB.
        gc.freeze()  # What is left stays for good, and is not looked through again.

    def _takes(self) -> int:
        """Say how much of the cache is not pinned, in bytes."""
        now = self._store.snapshot()
        return now.limit - now.pinned

    def _room(self) -> tuple[int, int]:
        """Tell `df` the cache's limit and what is free of it."""
        now = self._store.snapshot()
        return now.limit, max(now.limit - now.used, 0)


async def stay_lean(done: Callable[[], int], give_back: Callable[[], None] = allocator.give_back) -> None:
    """Have what streams and lists left free in the heap given back, ten seconds after `done` grew at most."""
    before = done()
    while True:
        await trio.sleep(_LEAN)
        if (now := done()) != before:
            before = now
            give_back()


async def _end_when_gone(house: trio.CancelScope) -> None:
    """End when the mount was taken away: a request that still waits for the network waits for nobody."""
    await session.gone()
    await trio.sleep(_GRACE)
    house.cancel()


def _options(settings: Settings, source: str) -> set[str]:
    name = source.replace("\\", "\\\\").replace(",", "\\,")  # libfuse cuts at commas
    options = {"ro", "nosuid", "nodev", "default_permissions", f"fsname={name}", "subtype=musicfs"}
    return options | ({"allow_other"} if settings.allow_other else set())
