"""Indexers walk the whole tree, look at every file, and cause no download: the real ones, from Debian."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexers.conftest import SBIN
from tests.indexers.desktop import TRACKER, Scene, scene
from tests.indexers.library import CLIPS, JOBS, add_with_cover, stocked
from tests.mounted.mounting import done, sha256, until

SIZES = {("range", form, "bytes=0-0"): CLIPS for form in ("m4a", "wav")}
"""What a walk that looks at every file may ask: one byte of each file of the public bucket, for its size."""
STEMS = 2 * JOBS  # folders: in tempolor/ and in library/
CRAWL = 60.0  # seconds a crawl may take on a busy machine; Baloo does 45 files a second at best
_TRACKER_SETTINGS = "org.freedesktop.Tracker3.Miner.Files"
COVER = "Cover 0"


@pytest.fixture
def large() -> Iterator[Scene]:
    """Give five hundred songs, the last with a cover and a title, and twenty with stems."""
    service = stocked(CLIPS - 1, JOBS)
    add_with_cover(service, 0)
    with scene(service) as given:
        yield given


def cache_last(scene: Scene) -> Path:
    """Fetch one mp3 as a listener would, and begin to count anew."""
    file = scene.mount.path / "library" / COVER / f"{COVER}.mp3"
    sha256(file)
    scene.service.reset_counts()
    return file


# updatedb ----------------------------------------------------------------------------------------------


def located(scene: Scene, word: str, *options: str) -> int:
    """Run updatedb over the mount and count what plocate then finds."""
    database = scene.desktop.home / "locate.db"
    updatedb = shutil.which("updatedb", path=SBIN) or "updatedb"
    # Debian's updatedb.conf leaves out /var/tmp's kin and many kinds of filesystems; here it shall come in.
    wide = ("--prunepaths", "", "-U", scene.mount.path.parent, "-o", database, "-l", "0")
    done([updatedb, *wide, *(options or ("--prunefs", ""))])
    return int(scene.desktop.run("plocate", "-d", database, "-c", word).stdout)


def test_updatedb(large: Scene) -> None:
    """updatedb takes down every name and asks the service nothing: stems never seen stay unseen."""
    assert located(large, "/mnt/library/Song") == 4 * (CLIPS - 1)
    assert located(large, "/mnt/flowmusic/") == CLIPS
    assert located(large, "bass.wav") == 0
    assert not large.service.log
    assert large.refused == 3 * STEMS


def test_updatedb_and_stems_once_seen(large: Scene) -> None:
    """Stems that somebody has listed are in the tree for indexers too."""
    job = large.service.tempolor.jobs[0].item
    assert large.mount.listed("tempolor", job, "stems") == {"bass.wav", "take.ogg"}
    large.service.reset_counts()
    assert located(large, "bass.wav") == 2
    assert not large.service.log


def test_updatedb_told_to_stay_out(large: Scene) -> None:
    """With fuse.musicfs in PRUNEFS updatedb does not even enter."""
    assert located(large, "/mnt/", "--prunefs", "NFS fuse.musicfs") == 0
    assert large.refused == 0


# Tracker -----------------------------------------------------------------------------------------------


def tracked(scene: Scene, query: str) -> list[str]:
    """Ask Tracker's index; give the lines of the answer."""
    words = ("tracker3", "sparql", f"--dbus-service={_TRACKER_SETTINGS}", "-q", query)
    return [line.strip() for line in scene.desktop.run(*words).stdout.splitlines() if line.strip()][1:]


def crawl_with_tracker(scene: Scene, **settings: str) -> None:
    """Let Tracker's miner crawl a mount that is the user's music folder, until it is idle."""
    desktop = scene.desktop
    desktop.write(desktop.config / "user-dirs.dirs", f'XDG_MUSIC_DIR="{scene.mount.path}"\n')
    for key, value in settings.items():
        set_to = desktop.run("gsettings", "set", _TRACKER_SETTINGS, key.replace("_", "-"), value)
        assert set_to.returncode == 0, set_to.stderr
    desktop.start(TRACKER, "--initial-sleep=0")
    until(lambda: "indexing complete" in desktop.run("tracker3", "status").stdout, CRAWL)


def test_tracker(large: Scene) -> None:
    """Tracker indexes every name, asks a byte of each public file for its size, and extracts nothing."""
    crawl_with_tracker(large)
    files = 4 * CLIPS + 4 * JOBS  # library/ has three forms of a clip, and every job is shown twice
    until(lambda: large.refused >= files, CRAWL)
    assert {"tracker-miner-fs-3", "tracker-extract-3"} <= set(large.desktop.programs().values())
    assert (
        len(
            tracked(
                large, f"SELECT ?u {{ ?u a nfo:FileDataObject; nie:url ?url FILTER(STRENDS(?url, '.mp3')) }}"
            )
        )
        == 2 * CLIPS + 2 * JOBS
    )
    assert large.asked == SIZES


def test_tracker_and_what_is_cached(large: Scene) -> None:
    """What is here when Tracker comes by is read: its length is in the index, and only its."""
    file = cache_last(large)
    crawl_with_tracker(large)
    query = f"SELECT ?d {{ ?u nfo:duration ?d; nie:isStoredAs ?f . ?f nie:url '{file.as_uri()}' }}"
    until(lambda: tracked(large, query) == ["12"], CRAWL)
    assert large.asked == SIZES


def test_tracker_told_to_stay_out(large: Scene) -> None:
    """With the mount's folder among the ignored names Tracker does not enter it."""
    crawl_with_tracker(large, ignored_directories=f"['{large.mount.path.name}']")
    assert large.refused == 0
    assert not large.asked


# Baloo -------------------------------------------------------------------------------------------------


def crawl_with_baloo(scene: Scene, *folders: str, **settings: str) -> None:
    """Let Baloo crawl folders of the mount."""
    desktop = scene.desktop
    where = ",".join(f"{scene.mount.path / folder}/" for folder in folders)
    more = "".join(f"{key.replace('_', ' ')}[$e]={value}\n" for key, value in settings.items())
    text = f"[Basic Settings]\nIndexing-Enabled=true\n[General]\nfolders[$e]={where}\n{more}"
    desktop.write(desktop.config / "baloofilerc", text)
    desktop.start("baloo_file")


def indexed(scene: Scene) -> int:
    """Say how many files and folders Baloo has done with."""
    said = scene.desktop.run("balooctl", "status").stdout
    found = re.search(r"Total files indexed: (\d+)", said)
    waiting = re.search(r"waiting for content indexing: (\d+)", said)
    idle = "Indexer state: Idle" in said and waiting is not None and int(waiting[1]) == 0
    return int(found[1]) if found is not None and idle else 0


def test_baloo(large: Scene) -> None:
    """Baloo takes down every name, is refused every file once, and causes no request."""
    crawl_with_baloo(large, "flowmusic", "tempolor")
    files = CLIPS + 2 * JOBS
    until(lambda: indexed(large) >= files, CRAWL)
    assert large.refused == files + JOBS
    assert not large.asked


def test_baloo_and_what_is_cached(large: Scene) -> None:
    """What is here when Baloo comes by is read: its length is in the index, and only its."""
    file = cache_last(large)
    crawl_with_baloo(large, f"library/{COVER}")
    until(lambda: "Duration: " in large.desktop.run("balooshow", file).stdout, CRAWL)
    until(lambda: indexed(large) >= 3)
    assert "Duration: " not in large.desktop.run("balooshow", file.with_suffix(".wav")).stdout
    assert large.refused == 2
    assert set(large.asked) <= set(SIZES)


def test_baloo_told_to_stay_out(large: Scene) -> None:
    """With the mount among the excluded folders Baloo does not enter it."""
    home = large.desktop.home
    large.desktop.write(home / "own.txt", "not music\n")
    crawl_with_baloo(large, "", exclude_folders=f"{large.mount.path}/")
    large.desktop.run("balooctl", "config", "add", "includeFolders", home)
    until(lambda: indexed(large) >= 1, CRAWL)
    assert large.refused == 0
    assert not large.asked
