"""A user's terminal: a home, a daemon that answers, and the real front door."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from musicfs import config, control
from musicfs.control.server import serve

Serve = Callable[
    [Path, Callable[[str, dict[str, Any]], dict[str, Any]]], contextlib.AbstractContextManager[None]
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the command an empty home and no token, and take back what it does to the log."""
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "MUSICFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@contextlib.contextmanager
def _serving(mountpoint: Path, reply: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    runtime = config.runtime_dirs({"HOME": str(Path.home())})[0]
    path = runtime / "test/control.sock"
    ready = threading.Event()
    stop: list[Callable[[], None]] = []

    async def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        return reply(verb, args)

    async def daemon() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, path, answer)
            token = trio.lowlevel.current_trio_token()
            stop.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(daemon,))
    thread.start()
    assert ready.wait(30)
    try:
        with control.register(runtime, mountpoint, path):
            yield
    finally:
        stop[0]()
        thread.join()


@pytest.fixture
def serving() -> Serve:
    """Register a mountpoint and answer for it on a real control socket, within a block."""
    return _serving
