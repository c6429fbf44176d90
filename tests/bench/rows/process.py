"""The process itself: its memory, and how soon it is there.

How it thinks: what a Python process and its libraries cost is not musicfs's doing, so everything is told
beyond a bare import: a process that imports the modules which a mount has imported, and nothing else. Which
those are, Python itself says (`-X importtime`).

What must always be true: memory is what the kernel books as resident, at its highest where something streams,
at rest where growth is asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.book import US, Page, Row, plainly
from tests.bench.library import WAV, WAVS, clip_id, fill_wavs
from tests.bench.mounts import UNDER, Musicfs
from tests.bench.person import forget_file
from tests.bench.plain import read_whole
from tests.bench.rows import folders

_STREAMS = 8
_QUIET = 1.0  # seconds until a mount that nobody asks has done what it does at the start
_REST = 12.0  # seconds from the last byte until it has given back what lies free (`mount.stay_lean`)
_CYCLES = 11  # of 450 MB from the network and 450 MB from the cache: 10 GB
_LIMIT = 60.0  # seconds for a bare import
_STARTS = 3  # in each round: a start takes 0.3 s, and one differs from the next by 0.03
_BARE = (
    "import importlib, sys, time\n"
    "for name in sys.argv[1:]:\n"
    "    try: importlib.import_module(name)\n"
    "    except ImportError: pass\n"
    "moment = time.monotonic()\n"
    "with open('/proc/self/status') as lines:\n"
    "    print(next(line.split()[1] for line in lines if line.startswith('VmRSS')), moment)\n"
)


def _imported(mount: Musicfs, used: bool) -> tuple[str, ...]:
    """Name the modules that a mount has imported when it answers, or when it was used; ours left out."""
    mount.extra["PYTHONPROFILEIMPORTTIME"] = "1"
    with mount:
        if used:
            os.listdir(mount.path / "flowmusic")
            time.sleep(_QUIET)
    lines = [line for line in mount.said().splitlines() if line.startswith("import time:") and "|" in line]
    names = [line.rpartition("|")[2].strip() for line in lines]
    return tuple(
        name for name in names if name.partition(".")[0] not in ("musicfs", "imported package", "site")
    )


def _bare(modules: Sequence[str]) -> tuple[float, float]:
    """Import modules in a fresh process; give its resident MiB and the seconds from its start until then."""
    began = time.monotonic()
    ended = subprocess.run(
        [*UNDER, sys.executable, "-c", _BARE, *modules],
        check=True,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    kib, moment = ended.stdout.split()
    return int(kib) / 1024, float(moment) - began


def _memory(bench: Bench, page: Page) -> None:
    many, wavs = bench.stage("many", folders.fill), bench.stage("music", fill_wavs)
    at_rest = _imported(bench.musicfs(many.at("none"), bench.home()), used=False)
    in_use = _imported(bench.musicfs(many.at("none"), bench.home()), used=True)
    for _ in bench.rounds(3):  # It hardly varies, and takes long.
        bare, _ = _bare(at_rest)
        page.note("a bare import, at rest", "MiB", bare)
        with bench.musicfs(many.at("none")) as mount:
            time.sleep(_QUIET)
            page.note(US, "idle, MiB", mount.memory() - bare)
        bare, _ = _bare(in_use)
        page.note("a bare import, in use", "MiB", bare)
        with folders.knowing(bench, many.at("none")) as mount:
            os.listdir(mount.path / "flowmusic")
            time.sleep(2 * _QUIET)
            page.note(US, "10,000 files listed, MiB", mount.memory() - bare)
        with bench.musicfs(wavs.at("apart")) as mount:
            paths = _wavs(mount)
            with ThreadPoolExecutor(_STREAMS) as readers:
                for _ in readers.map(lambda path: read_whole(path, WAV), paths[:_STREAMS]):
                    pass  # A reader's failure is raised here.
            page.note(US, "streaming 8 files, MiB", mount.memory("VmHWM") - bare)


def _wavs(mount: Musicfs) -> list[Path]:
    os.listdir(mount.path / "flowmusic")
    return [mount.path / "flowmusic" / f"{clip_id('wav', number)}.wav" for number in range(WAVS)]


def _flat(bench: Bench, page: Page) -> None:
    """Read on and on; what grows is told at rest, for a megabyte comes and goes while something streams."""
    place = bench.stage("music", fill_wavs).at("none")
    cycles = 3 if bench.quick else _CYCLES
    with bench.musicfs(place) as mount:
        paths = _wavs(mount)
        for cycle in range(cycles):
            for _ in range(2):
                for path in paths:
                    read_whole(path, WAV)
                    forget_file(path)
            mount.ask("cache", "prune", str(mount.path))
            if cycle == 0:
                after_one = _at_rest(mount)
        after_all = _at_rest(mount)
        page.note(US, "at rest after 1 GB, MiB", after_one)
        page.note(US, "at rest after all, MiB", after_all)
        page.note(US, "at its highest, MiB", mount.memory("VmHWM"))
        page.note(US, "GB read", cycles * 2 * WAVS * WAV / 1e9)
        page.note(US, "growth, MiB", after_all - after_one)


def _at_rest(mount: Musicfs) -> float:
    time.sleep(_REST)
    return mount.memory()


def _start(bench: Bench, page: Page) -> None:
    place = bench.stage("many", folders.fill).at("none")
    modules = _imported(folders.knowing(bench, place), used=False)
    for _ in range(_STARTS * len(bench.rounds())):
        _, bare = _bare(modules)
        page.note("a bare import", "s", bare)
        with folders.knowing(bench, place) as mount:
            page.note(US, "s", mount.took)
            page.note(US, "beyond, s", mount.took - bare)
        with bench.rclone(place, "rclone off", url=f"{place.api}/mp3") as peer:
            page.note("rclone off", "s", peer.took)


ROWS = (
    Row(
        "memory",
        "memory beyond a bare import of the same libraries",
        (
            plainly("idle, MiB", "idle, MiB", 8, unit="MiB", digits=1),
            plainly("10,000 files listed, MiB", "10,000 files listed, MiB", 22, unit="MiB", digits=1),
            plainly(
                "streaming 8 files, at its highest, MiB", "streaming 8 files, MiB", 24, unit="MiB", digits=1
            ),
        ),
        _memory,
    ),
    Row(
        "flat",
        "memory over 10 GB read, half of it from the network",
        (plainly("growth after the first GB, at rest, MiB", "growth, MiB", 1.0, unit="MiB", digits=1),),
        _flat,
    ),
    Row(
        "start",
        "start to a mount that answers, 10,000 clips in the snapshot",
        (plainly("beyond a bare import, s", "beyond, s", 0.12, unit="s", digits=3),),
        _start,
    ),
)
