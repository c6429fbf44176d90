"""Indexers walk the whole tree, look at every file, and cause no download: the real ones, from Debian."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexers.conftest import SBIN
from tests.indexers.desktop import Scene, eventually, scene
from tests.indexers.library import CLIPS, JOBS, add_with_cover, stocked
from tests.mounted.mounting import done, run, sha256

STEMS = 2 * JOBS  # folders: in tempolor/ and in library/
CRAWL = 55.0  # seconds a crawl may take on a busy machine; Baloo does 45 files a second at best
_TRACKER_SETTINGS = "org.freedesktop.Tracker3.Miner.Files"


@pytest.fixture
def large() -> Iterator[Scene]:
    """Give five hundred songs of 3 files each, the last with a cover, and twenty more with stems."""
    service = stocked(CLIPS - 1, JOBS)
    add_with_cover(service, 0)
    with scene(service) as given:
        yield given


@pytest.fixture
def small() -> Iterator[Scene]:
    """Give five songs, and one with stems."""
    with scene(stocked(5, 1)) as given:
        yield given


def play_last(scene: Scene) -> Path:
    """Fetch the last song's mp3 as a listener would, and begin to count anew."""
    file = scene.mount.path / "flowmusic" / f"{scene.service.flow.clips[-1].uuid}.mp3"
    sha256(file)
    scene.service.reset_counts()
    return file


# updatedb ----------------------------------------------------------------------------------------------


def located(scene: Scene, word: str, prunefs: str = "") -> int:
    """Run updatedb over the folder that holds the mount, and count what plocate then finds."""
    database = scene.mount.home / "locate.db"
    updatedb = shutil.which("updatedb", path=SBIN) or "updatedb"
    scope = ("--prunepaths", "", "--prunefs", prunefs, "-U", scene.mount.home, "-l", "0", "-o", database)
    done([updatedb, *scope])
    return int(run(["plocate", "-d", database, "-c", word]).stdout)


def test_updatedb(large: Scene) -> None:
    """updatedb takes down every name and asks the service nothing: stems never seen stay unseen."""
    assert located(large, "/mnt/library/Song") == 5 * (CLIPS - 1)  # a folder, three forms, info.json
    assert large.refused == STEMS
    assert located(large, "/mnt/flowmusic/") == CLIPS
    assert located(large, "bass.wav") == 0
    assert not large.service.log


def test_updatedb_and_stems_once_seen(small: Scene) -> None:
    """Stems that somebody has listed are in the tree for indexers too."""
    job = small.service.tempolor.jobs[0].item
    assert small.mount.listed("tempolor", job, "stems") == {"bass.wav", "take.ogg"}
    small.service.reset_counts()
    assert located(small, "bass.wav") == 2
    assert small.refused == 0
    assert not small.service.log


def test_updatedb_told_to_stay_out(small: Scene) -> None:
    """With fuse.musicfs in PRUNEFS updatedb does not even enter."""
    assert located(small, "Song", "NFS fuse.musicfs") == 0
    assert small.refused == 0


# Tracker -----------------------------------------------------------------------------------------------


def tracked(scene: Scene, query: str) -> list[str]:
    """Ask Tracker's index; give the lines of the answer, without the heading."""
    words = ("tracker3", "sparql", f"--dbus-service={_TRACKER_SETTINGS}", "-q", query)
    return [line.strip() for line in scene.desktop.run(*words).stdout.splitlines() if line.strip()][1:]


def crawl_with_tracker(scene: Scene, music: Path, **settings: str) -> None:
    """Let Tracker's miner crawl a folder as the user's music folder, until it is idle."""
    desktop = scene.desktop
    desktop.write(desktop.config / "user-dirs.dirs", f'XDG_MUSIC_DIR="{music}"\n')
    # As it comes it waits for 15 seconds, so as not to be in the way when somebody logs in.
    for key, value in {"initial_sleep": "0", **settings}.items():
        told = desktop.run("gsettings", "set", _TRACKER_SETTINGS, key.replace("_", "-"), value)
        assert told.returncode == 0, told.stderr
    desktop.activate(_TRACKER_SETTINGS)
    eventually(lambda: "indexing complete" in desktop.run("tracker3", "status").stdout, CRAWL)


def test_tracker(large: Scene) -> None:
    """Tracker indexes each name, asks for sizes, and extracts from the one song that is here."""
    play_last(large)
    library = large.mount.path / "library"
    crawl_with_tracker(large, library)
    files = 3 * CLIPS + 2 * JOBS
    eventually(lambda: large.refused >= files, CRAWL)
    assert {"tracker-miner-fs-3", "tracker-extract-3"} <= set(large.desktop.programs().values())
    names = "SELECT DISTINCT ?u { ?f a nfo:FileDataObject; nie:url ?u FILTER(STRENDS(?u, '.mp3')) }"
    assert len(tracked(large, names)) == CLIPS + JOBS
    # A byte of each file of the public bucket tells its size, once and for ever; no link, no sound.
    assert large.asked == {("range", form, "bytes=0-0"): CLIPS for form in ("m4a", "wav")}

    read = "SELECT DISTINCT ?u { ?s nfo:duration ?d; nie:isStoredAs ?f . ?f nie:url ?u }"
    assert tracked(large, read) == [(library / "Cover 0" / "Cover 0.mp3").as_uri()]


def test_tracker_told_to_stay_out(small: Scene) -> None:
    """With the mount's folder among the ignored names Tracker does not enter it."""
    crawl_with_tracker(small, small.mount.path, ignored_directories=f"['{small.mount.path.name}']")
    assert small.refused == 0
    assert not small.asked


def test_tracker_told_by_a_hint() -> None:
    """With `.trackerignore` among the `hints` Tracker stays out, though it crawls the folder around it."""
    with scene(stocked(5, 1), hints=".trackerignore") as hinted:
        hinted.desktop.write(hinted.mount.home / "own.mp3", "not music\n")
        crawl_with_tracker(hinted, hinted.mount.home)
        names = "SELECT DISTINCT ?u { ?f a nfo:FileDataObject; nie:url ?u FILTER(STRENDS(?u, '.mp3')) }"
        assert tracked(hinted, names) == [(hinted.mount.home / "own.mp3").as_uri()]
        assert hinted.refused == 0
        assert not hinted.asked


# Baloo -------------------------------------------------------------------------------------------------


def crawl_with_baloo(scene: Scene, *folders: Path, without: Path | None = None) -> None:
    """Let Baloo crawl folders."""
    text = f"[Basic Settings]\nIndexing-Enabled=true\n[General]\nfolders[$e]={_folders(*folders)}\n"
    scene.desktop.write(scene.desktop.config / "baloofilerc", text)
    if without is not None:
        told = scene.desktop.run("balooctl", "config", "add", "excludeFolders", without)
        assert told.returncode == 0, told.stderr
    scene.desktop.start("baloo_file")


def _folders(*folders: Path) -> str:
    return ",".join(f"{folder}/" for folder in folders)


def indexed(scene: Scene) -> int:
    """Say how many files and folders Baloo has done with; 0 while it works."""
    said = scene.desktop.run("balooctl", "status").stdout
    found = re.search(r"Total files indexed: (\d+)", said)
    waiting = re.search(r"waiting for content indexing: (\d+)", said)
    idle = "Indexer state: Idle" in said and waiting is not None and waiting[1] == "0"
    return int(found[1]) if found is not None and idle else 0


def test_baloo(large: Scene) -> None:
    """Baloo takes down every name, causes no request, and extracts from the one song that is here."""
    played = play_last(large)
    crawl_with_baloo(large, large.mount.path / "flowmusic", large.mount.path / "tempolor")
    files = CLIPS + 2 * JOBS
    eventually(lambda: indexed(large) >= files and large.refused >= files - 1, CRAWL)
    assert "baloo_file" in large.desktop.programs().values()
    assert not large.asked
    assert "Duration: " in large.desktop.run("balooshow", played).stdout
    other = played.with_name(f"{large.service.flow.clips[0].uuid}.mp3")
    assert "Duration: " not in large.desktop.run("balooshow", other).stdout


def test_baloo_told_to_stay_out(small: Scene) -> None:
    """With the mount among the excluded folders Baloo stays out, though it crawls the folder around it."""
    small.desktop.write(small.desktop.home / "own.txt", "not music\n")
    crawl_with_baloo(small, small.mount.home, without=small.mount.path)
    own = small.desktop.home / "own.txt"
    eventually(lambda: "own.txt" in small.desktop.run("balooshow", own).stdout, CRAWL)
    eventually(lambda: indexed(small) > 0)
    assert small.refused == 0
    assert not small.asked
