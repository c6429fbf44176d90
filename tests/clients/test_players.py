"""Players that go through a library: playlists, and a music server's scan, play and seek."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Service
from musicfs.demo.faults import json_error
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import ACCOUNT, OTHER, Stage, stage
from tests.clients.test_media import VLC
from tests.clients.work import MIB
from tests.mounted.mounting import done, mounted, run, until

PLAYLISTS = {
    "mpv": ("mpv", "--no-config", "--quiet", "--no-video", "--ao=null", "--untimed", "--length=1"),
    "cvlc": (*VLC, "--aout=adummy", "--run-time=1"),
}
MPD = """
music_directory "{music}"
db_file "{home}/db"
state_file "{home}/state"
sticker_file "{home}/sticker"
bind_to_address "127.0.0.1"
port "{port}"
auto_update "no"
audio_output {{
    type "null"
    name "nothing"
}}
"""


@pytest.fixture
def service(sound: Sound) -> Service:
    """Make two clips and a job."""
    made = Service(clock=time.time)
    for title in ("Harbour", "Night Drive"):
        made.add_clip(ACCOUNT, title, SECONDS, mp3=sound.mp3, m4a=sound.m4a, wav=sound.wav)
    made.add_job(OTHER, "Choir", SECONDS, mp3=sound.mp3, wav=sound.wav, stems=sound.archive)
    return made


@pytest.mark.parametrize("player", [pytest.param(name, marks=pytest.mark.needs(name)) for name in PLAYLISTS])
def test_playlist(player: str, service: Service, tmp_path: Path) -> None:
    """A player that is given the library's playlist opens each of its songs, and each is fetched once."""
    with mounted(service, tmp_path) as mount:
        mount.listed("library")
        done([*PLAYLISTS[player], mount.path / "library" / "All.m3u8"], limit=90)
        until(lambda: service.counts["mp3"] == 2)
        minted = [record.form for record in service.log if record.kind == "mint"]
        assert minted == ["mp3"]


@pytest.mark.parametrize("player", [pytest.param(name, marks=pytest.mark.needs(name)) for name in PLAYLISTS])
def test_playlist_goes_on(player: str, service: Service, tmp_path: Path) -> None:
    """A player that is given the library's playlist passes by a song that is refused, plays the others, and
    ends."""
    with mounted(service, tmp_path, deadline=3) as mount:
        mount.expect(" WARNING ")
        mount.listed("library")
        service.fail(json_error(401), kind="mp3", path=service.flow.clips[0].uuid)
        run([*PLAYLISTS[player], mount.path / "library" / "All.m3u8"], limit=90)
        assert sum(record.sent >= MIB for record in service.log if record.kind == "mp3") == 1
        assert [record.form for record in service.log if record.kind == "mint"] == ["mp3"]


@contextlib.contextmanager
def served(music: Path, home: Path) -> Iterator[list[str]]:
    """Run an MPD over a folder; give the words to command it."""
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    (home / "conf").write_text(MPD.format(music=music, home=home, port=port))
    words = ["mpc", "--host=127.0.0.1", f"--port={port}"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(["mpd", "--no-daemon", home / "conf"], stdout=log, stderr=log)
    try:
        until(lambda: run([*words, "status"]).returncode == 0)
        yield words
    finally:
        process.terminate()
        process.wait(20)


def scanned(words: list[str]) -> list[str]:
    """Have MPD scan; give what it knows of each file."""
    done([*words, "update", "--wait"], limit=90)
    return sorted(done([*words, "listall", "--format=%file% %time% %title%"]).splitlines())


@pytest.mark.needs("mpd", "mpc")
def test_mpd(service: Service, tmp_path: Path) -> None:
    """MPD finds in the library what it finds in a copy of it, its second scan costs nothing, and it plays and
    seeks."""
    with mounted(service, tmp_path, listing_ttl=3600) as mount:
        mount.listed("library")
        with served(mount.path / "library", tmp_path / "mpd") as words:
            found = scanned(words)
            service.reset_counts()
            assert scanned(words) == found
            assert not service.log
            done([*words, "add", "Choir/Choir.wav"])
            done([*words, "play"])
            done([*words, "seek", "80%"])
            until(lambda: "0:5" in done([*words, "status"]))
            done([*words, "stop"])
        done(["cp", "-r", mount.path / "library", tmp_path / "copy"])
        with served(tmp_path / "copy", tmp_path / "mpd-local") as words:
            assert scanned(words) == found


@pytest.mark.needs("mpd", "mpc")
def test_mpd_far_away(scene: Stage, tmp_path: Path) -> None:
    """MPD finds in a song's folder 40 ms away what it finds in a copy, for three quarters of its bytes at
    most, and a new MPD finds it again without a network."""
    twin = scene.folder()
    with served(twin.here, tmp_path / "here") as words:
        here = scanned(words)
    with scene.counted() as cost, served(twin.there, tmp_path / "cold") as words:
        assert scanned(words) == here
    assert cost.bytes <= twin.size * 3 // 4
    with scene.pulled(), served(twin.there, tmp_path / "warm") as words:
        assert scanned(words) == here


@pytest.mark.needs("mpd", "mpc")
def test_mpd_without_a_song(sound: Sound, tmp_path: Path) -> None:
    """A song that cannot be had is left out of MPD's scan, and the others are found; with the cable pulled
    the scan ends and MPD answers. The next scan finds what can be had by then."""
    with stage(tmp_path, sound, rate=40_000_000, deadline=3, listing_ttl=3600) as scene:
        scene.mount.expect(" WARNING ")
        twin, silent = scene.folder(), scene.folder()
        with served(twin.here, tmp_path / "here") as words:
            here = scanned(words)
        refused = scene.service.fail(json_error(401), kind="mint", form="wav", path=twin.ident)
        with served(twin.there, tmp_path / "refused") as words:
            assert scanned(words) == [line for line in here if not line.startswith("song.wav")]
            scene.service.faults.remove(refused)
            until(lambda: scanned(words) == here)
        with served(silent.there, tmp_path / "silent") as words:
            with scene.pulled():
                assert scanned(words) == []
            until(lambda: scanned(words) == here)


@pytest.mark.needs("mpd", "mpc")
def test_mpd_as_a_media_server(service: Service, tmp_path: Path) -> None:
    """An MPD that is named in `media_servers` scans by the ends of files: no mp3 is made, and of a song not
    more than its ends come."""
    with mounted(service, tmp_path, listing_ttl=3600, media_servers="mpd") as mount:
        mount.listed("library")
        with served(mount.path / "library", tmp_path / "mpd") as words:
            found = scanned(words)
        assert service.counts["mp3"] == 0
        assert any("Harbour.m4a 1:00 Pink" in line for line in found)
        files = len(found)
        assert service.bytes_sent() < files * 2 * MIB
