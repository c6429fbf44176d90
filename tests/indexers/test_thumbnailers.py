"""Looking at a library in a file manager costs no download; what is here is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Clip
from tests.indexers.desktop import Scene, eventually, scene
from tests.indexers.library import CLIPS, add_with_cover, stocked
from tests.mounted.mounting import run, sha256, until

COVERS = 3


@pytest.fixture
def large() -> Iterator[Scene]:
    """Give five hundred songs and a screen; the last of them, added later, have covers."""
    service = stocked(CLIPS - COVERS)
    for number in range(COVERS):
        add_with_cover(service, number)
    with scene(service) as given:
        given.desktop.open_screen()
        yield given


def file_of(scene: Scene, clip: Clip) -> Path:
    return scene.mount.path / "flowmusic" / f"{clip.uuid}.mp3"


def thumbnailed(scene: Scene, file: Path) -> bool:
    """Run Debian's ffmpegthumbnailer, as several desktops do; say whether there is a picture."""
    picture = scene.desktop.runtime / "picture.png"
    picture.unlink(missing_ok=True)
    ended = scene.desktop.run("ffmpegthumbnailer", "-i", file, "-o", picture, "-s", "128")
    return ended.returncode == 0 and picture.exists()


def test_a_library_in_thunar(large: Scene) -> None:
    """500 uncached songs seen in Thunar with Tumbler cost no request at all; cached covers are then shown."""
    desktop, folder = large.desktop, large.mount.path / "flowmusic"
    desktop.show(folder)
    eventually(lambda: large.refused >= CLIPS)
    assert {"thunar", "tumblerd"} <= set(desktop.programs().values())
    desktop.leave()
    assert not large.service.log
    assert desktop.thumbnails == 0

    for clip in large.service.flow.clips[-COVERS:]:
        sha256(file_of(large, clip))
    assert large.asked == {("mp3", "mp3", None): COVERS}
    refused = large.refused
    desktop.show(folder)
    eventually(lambda: desktop.thumbnails == COVERS and large.refused >= refused + CLIPS - COVERS)
    desktop.leave()
    assert large.asked == {("mp3", "mp3", None): COVERS}


def test_library_folders_in_thunar(large: Scene) -> None:
    """`library/` and `tempolor/` in Thunar cost nothing, and a song's folder at most a byte of each file."""
    job = large.service.tempolor.jobs[0].item
    for name in ("library", "tempolor", f"tempolor/{job}"):
        large.desktop.show(large.mount.path / name)
        large.desktop.leave()
        assert not large.asked
    large.desktop.show(large.mount.path / "library" / "Song 000")
    eventually(lambda: large.refused > 0)
    large.desktop.leave()
    assert set(large.asked) <= {("range", form, "bytes=0-0") for form in ("m4a", "wav")}
    assert large.asked.total() <= 2 * 64  # one getattr asks for at most 64 neighbours (DESIGN §3)


def test_the_file_manager_itself_is_served(large: Scene) -> None:
    """Thunar lists stems that nobody has seen, and reads what it wants to: it is not an indexer."""
    folder = large.mount.path / "tempolor" / large.service.tempolor.jobs[1].item / "stems"
    large.desktop.show(folder)
    # An .ogg may be sound or video, so Thunar looks inside for its icon: a range beside the directory's one.
    until(lambda: sum(kind == "range" for kind, _, _ in large.asked.elements()) >= 2)
    assert large.asked["mint", "stems", None] == 1
    large.desktop.leave()


def test_without_the_rule() -> None:
    """With no scanners in the settings Tumbler fetches every song it is shown: the rule spares them."""
    with scene(stocked(30, 0), scanners=()) as bare:
        bare.desktop.open_screen()
        bare.desktop.show(bare.mount.path / "flowmusic")
        until(lambda: bare.asked["mp3", "mp3", None] == 30)
        assert bare.refused == 0
        bare.desktop.leave()


def test_a_program_of_its_own(large: Scene) -> None:
    """ffmpegthumbnailer is refused a song that is elsewhere and makes a picture of one that is here."""
    clip = large.service.flow.clips[-1]
    assert not thumbnailed(large, file_of(large, clip))
    assert large.refused == 1
    assert not large.asked
    sha256(file_of(large, clip))
    assert thumbnailed(large, file_of(large, clip))
    assert large.refused == 1
    assert large.asked == {("mp3", "mp3", None): 1}


def test_a_cached_head_alone(large: Scene) -> None:
    """A large file of which the head was played is refused as if nothing were here; nothing is fetched."""
    wav = large.mount.path / "tempolor" / large.service.tempolor.jobs[2].item / "song.wav"
    with wav.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 4, 0) == b"RIFF"
    large.service.reset_counts()
    assert not thumbnailed(large, wav)
    assert large.refused == 1
    assert not large.asked
    # Anybody else may have the same bytes, and more.
    assert large.desktop.run("head", "-c", "44", wav).returncode == 0
    sha256(wav)
    large.service.reset_counts()
    thumbnailed(large, wav)  # it is opened; a recording has no picture
    assert large.refused == 1
    assert not large.asked


def test_a_container(large: Scene) -> None:
    """A thumbnailer in a PID namespace of its own is known by the id that it has in ours."""
    file = file_of(large, large.service.flow.clips[0])
    picture = large.desktop.home / "picture.png"
    run(["unshare", "--pid", "--fork", "ffmpegthumbnailer", "-i", file, "-o", picture])
    assert large.refused == 1
    assert not large.asked


def test_a_wrapper_script(large: Scene) -> None:
    """A thumbnailer behind a shell script is still itself; what the shell runs besides is not."""
    file = file_of(large, large.service.flow.clips[0])
    script = large.desktop.runtime / "tumblerd"
    large.desktop.write(script, 'ffmpegthumbnailer -i "$1" -o /dev/null; head -c 3 "$1" >/dev/null\n')
    assert large.desktop.run("sh", script, file).returncode == 0
    assert large.refused == 1
    assert large.asked == {("mp3", "mp3", None): 1}
