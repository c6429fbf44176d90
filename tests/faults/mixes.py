"""Seeded random mixes of faults, through a real mount and real programs: `python -m tests.faults --mixes N`.

How it thinks: a mix is a number. From it follow a few songs, a few faults laid on them (for ever or for the
next few requests), perhaps a host that goes away, and a few programs that read at once, one of them perhaps
killed. The truth is the same as for each fault alone: exact bytes or an errno that one of the faults stands
for, in time, at a bounded price; and once all is well again every song is exact. Between two mixes the cache
is emptied; after some, the daemon ends in good order or by SIGKILL, and goes on with what it kept.

A mix that fails is told by its number, and `--mixes 1 --seed NUMBER` plays it alone.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from musicfs import config, control
from musicfs.demo import Role, Service
from tests.faults.gauges import let_go
from tests.faults.reading import PROGRAMS, Reading, read
from tests.faults.servers import AWAY, BROKEN, BUSY, CASES, GONE, LATE, LONG, Case
from tests.faults.stage import Stage, fill, healed, listed, staged
from tests.figures import FAULTS, WORST

RATE, DEADLINE = 20.0, 20.0  # the daemon's deadline is one second of ours
BATCH = 100  # mixes until a mount with nothing in its cache and its state begins
SONGS = 24  # of each kind; a mix takes up to three
LIMIT = 60.0  # seconds after which a program is hung, whatever the machine is busy with
HEAL = 60.0  # seconds until a song has to be exact; a host that was down rests for six at most


_SHAPES = {"short", "long", "extra", "framing", "ranges", "content_range"}
"""What shapes a body; only one of them a song, because two can make a lie that no header and no container
tells: as many bytes too few as too many, or half a song under a length that is announced and kept."""

_NO_STEMS = {"link: 404", "link: 410", "cdn: 404", "cdn: 410"}
"""Said of all that a song has, its stems among it, it is believed for a day: a song without stems."""


@dataclass(slots=True)
class Mix:
    """What one number stands for."""

    seed: int
    songs: list[tuple[str, int]]
    """Places, and which song of each."""
    faults: list[tuple[Case, int, int | None]]
    """A fault, the song it is laid on, and for how many requests."""
    readers: list[tuple[str, int, bool]]
    """A program, the song it reads, and whether it is killed."""
    away: Role | None
    after: str
    """What is done to the daemon afterwards: nothing, `restart` or `crash`."""
    wrong: list[str] = field(default_factory=list)


def drawn(seed: int) -> Mix:
    """Draw the mix of a number."""
    dice = random.Random(seed)
    places = [dice.choice(("mp3", "link", "cdn", "bucket", "stems")) for _ in range(dice.randint(1, 3))]
    songs = [(place, dice.randrange(SONGS)) for place in places]
    faults = []
    for number, (place, song) in enumerate(songs):
        shaped = False
        for _ in range(dice.randint(0 if len(songs) > 1 else 1, 3)):
            where = place if place in ("mp3", "bucket", "stems") else dice.choice(("link", "cdn"))
            case = dice.choice([case for case in CASES if case.place == where and not case.errors & GONE])
            if shaped and case.twist.keys() & _SHAPES:
                continue
            if case.name in _NO_STEMS and ("stems", song) in songs:
                continue
            shaped = shaped or bool(case.twist.keys() & _SHAPES)
            faults.append((case, number, dice.choice((None, 1, 2, 5))))
    readers = [
        (dice.choice(PROGRAMS), dice.randrange(len(songs)), dice.random() < 0.1)
        for _ in range(dice.randint(1, 4))
    ]
    away = dice.choice(tuple(Role)) if dice.random() < 0.05 else None
    after = dice.choices(("nothing", "restart", "crash"), (97, 2, 1))[0]
    return Mix(seed, songs, faults, readers, away, after)


def play(stage: Stage, mix: Mix) -> None:
    """Play a mix, and note what was wrong about it."""
    found = [stage.known_song(place, number) for place, number in mix.songs]
    stage.calls.clear()
    for case, number, times in mix.faults:
        case.inject(stage.service, found[number][0], times)
    if mix.away is not None:
        stage.loop.stop(mix.away)
    with ThreadPoolExecutor(len(mix.readers)) as pool:
        pairs = [(found[number], program, killed) for program, number, killed in mix.readers]
        readings = list(pool.map(lambda pair: _reading(*pair), pairs))
    if mix.away is not None:
        stage.loop.start(mix.away)
    calls = max((stage.calls[ident] for ident, _, _ in found), default=0)
    stage.heal()
    _judge(mix, readings, calls)
    for (place, _), (_, path, wanted) in zip(mix.songs, found, strict=True):
        if said := healed(stage, path, wanted, HEAL):
            mix.wrong.append(f"the song of {place} is not healed: {said}")
    FAULTS["mixes"] += 1
    FAULTS["faults in mixes"] += len(mix.faults) + (mix.away is not None)


def _reading(song: tuple[str, Path, bytes], program: str, killed: bool) -> Reading | None:
    """Read, or be killed in the middle of it (which proves nothing but that it can be)."""
    _, path, wanted = song
    if not killed:
        return read(program, path, wanted, LIMIT)
    with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
        time.sleep(random.Random(str(path)).uniform(0, 0.3))
        reader.kill()
        reader.wait(LIMIT)
    return None


def _judge(mix: Mix, readings: list[Reading | None], calls: int) -> None:
    # A host that answers slowly or not at all, or wants quiet, is so for its other songs as well.
    truth = BROKEN | LATE | AWAY | {"ESTALE"}
    for case, _, _ in mix.faults:
        truth |= case.errors | (BUSY if "429" in case.what else frozenset())
    for reading in readings:
        if reading is None:
            continue
        if reading.lie:
            mix.wrong.append(reading.lie)
        if reading.error and reading.error not in truth:
            mix.wrong.append(f"{reading.error} stands for none of its faults")
    if calls > LONG * len(mix.readers):
        mix.wrong.append(f"{calls} requests for one song")


def _cold(stage: Stage, mix: Mix) -> None:
    """Empty the cache and the kernel's pages, and end the daemon if the mix says so."""
    if mix.after == "crash":
        stage.mount.crash()
        stage.mount.start()
    elif mix.after == "restart":
        stage.mount.restart()
    daemon = control.find(config.runtime_dirs(stage.mount.environ), stage.mount.path)
    control.ask(daemon.socket, "cache prune")
    if os.geteuid() == 0:
        let_go(stage.mount)  # Else the kernel may answer from its pages, which are exact by then.


@contextmanager
def _batch(home: Path) -> Iterator[Stage]:
    with staged(fill(Service(clock=time.time), SONGS), home, rate=RATE, deadline=DEADLINE) as stage:
        stage.mount.expect(
            "flowmusic", "tempolor", "other bytes now", "built anew", "listing", "damaged", "read", "a ZIP"
        )
        listed(stage)
        yield stage


def campaign(seeds: range, tell: Callable[[str], None] = lambda line: None) -> list[Mix]:
    """Play the mixes of some numbers, and give those that went wrong."""
    wrong: list[Mix] = []
    for first in range(seeds.start, seeds.stop, BATCH):
        with tempfile.TemporaryDirectory(prefix="mixes-") as folder, _batch(Path(folder)) as stage:
            for seed in range(first, min(first + BATCH, seeds.stop)):
                mix = drawn(seed)
                play(stage, mix)
                if mix.wrong:
                    wrong.append(mix)
                    tell(told(mix))
                _cold(stage, mix)
            stage.settle()
        tell(f"{figures()}, {len(wrong)} wrong")
    return wrong


def told(mix: Mix) -> str:
    """Tell a mix and what was wrong about it."""
    faults = ", ".join(f"{case.name} ×{times or '∞'} on {number}" for case, number, times in mix.faults)
    readers = ", ".join(f"{program} {number}" for program, number, _ in mix.readers)
    return f"mix {mix.seed}: {faults}; away: {mix.away}; {readers}: {'; '.join(mix.wrong)}"


def figures() -> str:
    """Say what was done so far."""
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(FAULTS.items()))
    return f"{counts}, longest wait {WORST['seconds']:.1f} s"


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Play `amount` mixes from `seed` on, and give the figures.

    Raises:
        AssertionError: a mix went wrong.
    """
    wrong = campaign(range(seed, seed + amount), tell)
    assert not wrong, f"{len(wrong)} mixes went wrong"
    return figures()
