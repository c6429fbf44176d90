"""The power goes: what was written since the last sync is there, or not, or half of it.

How it thinks: a life is photographed as it goes on. The state database is synced at each commit, so what a
loss of power between two commits can leave is the earlier photograph with any of the later one's sectors,
whole or torn. The cache is never synced, so there every sector of every file may be of any photograph, and
every file of any length that it ever had, or missing. From such a disk the house has to start.

What must always be true: of the state, all that was committed and of the next commit all or nothing, with
no word about damage; of the cache, right bytes or none, with the network and without.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musicfs.demo.faults import dropped
from musicfs.errors import MusicfsError
from musicfs.state import State
from tests.faults.house import House, Loop
from tests.faults.model_kernelless import SHM
from tests.faults.nth import Day
from tests.figures import FAULTS

SECTOR = 512  # bytes: what a disk writes or does not
PAGE = 4096  # bytes: what the kernel writes back or does not

Photograph = dict[str, bytes]
"""Every file below a folder, by its path there."""


def photograph(folder: Path) -> Photograph:
    """Look at all files as they are now."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def develop(image: Photograph, folder: Path) -> None:
    """Make the files of a photograph."""
    for name, data in image.items():
        place = folder / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)


def torn(rng: random.Random, states: list[bytes], unit: int) -> bytes:
    """Give a file whose every unit is of one of its states, or torn between two, at a length of any."""
    out = bytearray()
    length = len(rng.choice(states))
    for at in range(0, length, unit):
        pieces = [data[at : at + unit].ljust(unit, b"\0") for data in states]
        piece = rng.choice(pieces)
        if rng.random() < 0.1:
            cut = rng.randrange(unit)
            piece = piece[:cut] + rng.choice(pieces)[cut:]
        out += piece
    return bytes(out[:length])


# The state database ---------------------------------------------------------------------------------


class Album:
    """The photographs of a state folder, one after each commit, and what the database said then."""

    def __init__(self, house: House) -> None:
        self.images: list[Photograph] = []
        self.contents: list[Any] = []
        self._house = house
        house.opened = self._opened

    def _opened(self) -> None:
        state = self._house.state
        commit = state._transact

        def committed(work: Any) -> Any:
            done = commit(work)
            self.images.append(photograph(self._house.folder / "state"))
            return done

        state._transact = committed  # type: ignore[method-assign]


def said(folder: Path) -> tuple[Any, ...]:
    """Open a state database and give all that it says."""
    state = State(folder)
    state.open()
    base = state._base
    assert base is not None
    assert base.execute("PRAGMA synchronous").fetchone() == (2,), "commits are not synced"
    named = base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    tables = [name for (name,) in named if not name.startswith("sqlite_")]
    assert len(tables) >= 5
    found = tuple(sorted(map(repr, base.execute(f"SELECT * FROM {name}"))) for name in tables)
    base.close()
    return found


def lose_state(rng: random.Random, album: Album, folder: Path) -> None:
    """Lose the power between two commits, and see what is left."""
    place = rng.randrange(len(album.images) - 1)
    before, after = album.images[place], album.images[place + 1]
    image = dict(before)
    for name in after:
        old = before.get(name, b"")
        image[name] = torn(rng, [old, after[name]], SECTOR)
        if len(image[name]) < len(old) or not name.endswith("-wal"):
            image[name] = old  # What was synced stays; the log alone is written between two commits.
        else:
            image[name] = old + image[name][len(old) :] if after[name].startswith(old) else image[name]
    image.pop("state.db-shm", None)
    whole = [_developed(each, folder / which) for each, which in ((before, "a"), (after, "b"))]
    found = _developed(image, folder / "c")
    assert found in whole, "a commit is there in part, or one that was synced is lost"
    assert not list(folder.rglob("*.broken-*")), "the database was taken for damaged"
    FAULTS["power losses"] += 1


def _developed(image: Photograph, folder: Path) -> tuple[Any, ...]:
    shutil.rmtree(folder, ignore_errors=True)
    develop(image, folder)
    return said(folder)


# The cache -------------------------------------------------------------------------------------------


def lose_cache(rng: random.Random, images: list[Photograph], state: Photograph, day: Day, top: Path) -> None:
    """Lose the power in the middle of a life, and live on."""
    shutil.rmtree(top, ignore_errors=True)
    house = House(day.loop, day.service, top)
    names = sorted({name for image in images for name in image})
    for name in names:
        states = [image[name] for image in images if name in image]
        if len(states) == len(images) or rng.random() < 0.9:
            data = torn(rng, [*states, b""] if rng.random() < 0.3 else states, PAGE)
            develop({name: data}, house.folder / "cache")
    develop(state, house.folder / "state")
    house.start()
    try:
        day.house = house
        day.service.fail(dropped(), role=None)
        for path in day.files:
            for _ in range(2):
                _right_or_none(day, path)
        day.service.clear()
        house.wait(300.0)
        day.check(or_old=True)
        FAULTS["power losses"] += 1
    finally:
        house.discard()


def _right_or_none(day: Day, path: str) -> None:
    try:
        found = day.loop.run(day.house.whole, path)
    except MusicfsError:
        return
    right = [day.files[path], *([day.old] if path == day.wav else [])]
    assert found in right, f"{path}: other bytes with no network, after the power was lost"
    FAULTS["bytes verified"] += len(found)


def live(times: int, seed: int) -> None:
    """Live one day, lose the power `times` times in it, both ways."""
    rng, loop = random.Random(seed), Loop()
    folder = Path(tempfile.mkdtemp(prefix="musicfs-power-", dir=SHM))
    try:
        day = Day(loop, folder / "day")
        house = day.house
        album = Album(house)
        images: list[Photograph] = [{}]
        house.start()
        read = day._read

        def photographed(path: str, or_old: bool = False) -> None:
            read(path, or_old)
            images.append(photograph(house.folder / "cache"))

        day._read = photographed  # type: ignore[method-assign]
        day.live()
        assert not day.errors, day.errors
        del day._read
        loop.run(house.ledger.flush)
        state = photograph(house.folder / "state")
        house.discard()
        for _ in range(times):
            lose_state(rng, album, folder / "state")
            some = sorted(rng.sample(range(len(images)), rng.randrange(2, min(5, len(images)))))
            lose_cache(rng, [images[place] for place in some], state, day, folder / "lost")
    finally:
        loop.close()
        shutil.rmtree(folder)


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Lose the power `amount` times, in a new day after each hundred."""
    for begun in range(0, amount, 100):
        live(min(100, amount - begun), seed + begun)
        tell(f"{min(amount, begun + 100)} times")
    return f"{FAULTS['power losses']:,} losses of power, half of them on the state, half on the cache"
