"""A cache whose disk answers EIO, or has no inodes left, stops nobody who can be served without it.

What comes by ranges passes through memory; an mp3, which has to be kept whole, is an error at `open`; the
daemon lives; once the disk is well everything is served again, exactly."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Service
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, until
from tests.trust.sick_disk import Illness, sick_disk
from tests.trust.test_room import FULL, stock
from tests.trust.witness import attempt, errors, forget_pages, kept, small_disk, verify

TOLD = (*FULL, "damaged", "no map", "remove", "cache is over", "other bytes now", "record", "note the use")


@contextlib.contextmanager
def on_sick_disk(service: Service, home: Path) -> Iterator[tuple[Mount, Illness]]:
    """Mount with a cache on a disk that can fall ill."""
    with (
        sick_disk(home / "cache") as illness,
        running(service) as loop,
        attached(Mount(loop, home, cache_size="16M")) as mount,
    ):
        mount.list_all().expect(*TOLD)
        yield mount, illness


def _split(files: dict[str, bytes]) -> tuple[list[str], list[str]]:
    """Give the names of what comes by ranges, and of what comes in one pass."""
    return (
        [name for name in files if name.startswith("tempolor")],
        [name for name in files if name.startswith("flowmusic")],
    )


@pytest.mark.parametrize("kind", ["write", "read", "all"])
def test_disk_answers_eio(kind: str, service: Service, tmp_path: Path) -> None:
    """While the disk answers EIO to writes, to reads or to all, ranged files are exact, cached before or
    not; an mp3 that must be kept is EIO or ENOSPC at `open`, never a wrong byte; the daemon lives; the
    disk well again, all are exact and none is fetched twice."""
    files = stock(service, 4, 700_000)
    with on_sick_disk(service, tmp_path) as (mount, illness):
        ranged, passes = _split(files)
        cached = [ranged[0], ranged[3], passes[0]]
        for name in cached:
            verify(mount.path / name, files[name])
            forget_pages(mount.path / name)
        illness.begin(kind)
        for name in ranged:
            verify(mount.path / name, files[name])
        for name in passes:
            found = attempt(mount.path / name)
            assert found == files[name] or found in ("EIO", "ENOSPC"), found
            assert kind != "write" or name not in cached or found == files[name]
        assert mount.ask("status", str(mount.path)).returncode == 0
        illness.end()
        for name in files:
            until(lambda name=name: attempt(mount.path / name) == files[name], 10)  # type: ignore[misc]
        service.reset_counts()
        for name in files:
            forget_pages(mount.path / name)
            verify(mount.path / name, files[name])
        assert not {"mp3", "range", "whole"} & set(service.counts)
        assert not errors(mount)
        # What could not be noted of a block that was lost stands in its map still; the block is right.
        assert json.loads(mount.ask("cache", "verify", "--json").stdout)["bad_blocks"] == 0
        assert mount.ask("cache", "verify", str(mount.path)).returncode == 0


def _use_up(folder: Path) -> list[Path]:
    """Make empty files until the disk has no inode left."""
    made: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            made.append(folder / f"other {len(made)}")
            made[-1].touch()
    return made[:-1]


def test_disk_has_no_inodes(service: Service, tmp_path: Path) -> None:
    """On a disk with room but few inodes, old objects give way to new ones; where others have taken them
    all, ranged files are exact and an mp3 is ENOSPC at `open`; when there are some again, it is had."""
    files = stock(service, 8, 300_000)
    with (
        small_disk(tmp_path / "cache", "64m,nr_inodes=40"),
        running(service) as loop,
        attached(Mount(loop, tmp_path, cache_size="32M")) as mount,
    ):
        mount.list_all().expect(*TOLD)
        ranged, passes = _split(files)
        for name in (*ranged, *passes):
            verify(mount.path / name, files[name])
        service.reset_counts()
        forget_pages(mount.path / passes[0])
        verify(mount.path / passes[0], files[passes[0]])
        assert not service.counts["mp3"], "what came last is not kept"
        # What was read last may still be open, or in its pass, for a moment.
        until(lambda: mount.ask("cache", "prune", str(mount.path)).returncode == 0 and not kept(mount.home))
        others = _use_up(mount.home / "cache")
        assert len(others) > 10
        for name in ranged:
            forget_pages(mount.path / name)
            verify(mount.path / name, files[name])
        for name in passes:
            assert attempt(mount.path / name) == "ENOSPC"
        for other in others:
            other.unlink()
        for name in files:
            until(lambda name=name: attempt(mount.path / name) == files[name], 10)  # type: ignore[misc]
        assert not errors(mount)
