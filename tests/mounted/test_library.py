"""`library/` on a real mount: covers, lyrics, facts and playlists, 10,000 hostile titles, and Samba."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from musicfs.core.census import stem_of
from musicfs.demo import Service
from musicfs.demo.assets import Mp3Noise
from tests.mounted.mounting import PLAYLISTS, Mount, done, mounted, run, sha256, until
from tests.mounted.test_archives import hostile_titles

ADA = "ada@example.com"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
LYRICS = "[Verse]\nOne boat\nTwo boats"
SMBD = shutil.which("smbd") or "/usr/sbin/smbd"


def test_a_song_is_whole(service: Service, tmp_path: Path) -> None:
    """A song's folder holds its forms, its cover, lyrics and facts; sizes of what is written are exact, and
    only the cover costs a request."""
    service.knobs.list_timing = True
    timing = [[0.5, 1.0], [2.0, 3.0]]
    service.add_clip(ADA, "Tide", 0.5, cover=JPEG, lyrics=LYRICS, timing=timing, created=1_780_308_000.0)
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        song = mount.path / "library" / "Tide"
        assert set(os.listdir(song)) == {
            *("Tide.mp3", "Tide.m4a", "Tide.wav"),
            *("cover.jpg", "lyrics.txt", "lyrics.lrc", "info.json"),
        }
        service.reset_counts()
        assert (song / "lyrics.txt").read_text() == LYRICS + "\n"
        assert "[00:02.00]Two boats" in (song / "lyrics.lrc").read_text()
        told = json.loads((song / "info.json").read_bytes())
        assert (told["title"], told["service"], told["duration"]) == ("Tide", "Flow Music", 0.5)
        for name in ("lyrics.txt", "lyrics.lrc", "info.json"):
            assert os.stat(song / name).st_size == len((song / name).read_bytes())
        assert not service.counts["range"]
        assert (song / "cover.jpg").read_bytes() == JPEG
        assert os.stat(song / "cover.jpg").st_size == len(JPEG)
        with pytest.raises(OSError, match="Read-only"):
            (song / "info.json").write_text("{}")
        assert "musicfs wrote itself" in mount.ask("why", str(song / "info.json")).stdout
        assert "the cover of “Tide”" in mount.ask("why", str(song / "cover.jpg")).stdout


def test_a_playlist_plays(service: Service, tmp_path: Path) -> None:
    """A program that reads a playlist (ffprobe) finds the newest song first, by a relative path."""
    service.add_clip(ADA, "Old", 2.0)
    service.add_clip(ADA, "New", 3.0)
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        library = mount.path / "library"
        lines = (library / "All.m3u8").read_text().splitlines()
        assert lines == ["#EXTM3U", "#EXTINF:3,New", "New/New.mp3", "#EXTINF:2,Old", "Old/Old.mp3"]
        assert (library / "Flow Music.m3u8").read_text().splitlines() == lines
        assert (library / "TemPolor.m3u8").read_text() == "#EXTM3U\n"
        length = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
        assert abs(float(done([*length, library / lines[2]])) - 3.0) < 0.2


def test_what_is_written_changes_with_what_is_known(service: Service, tmp_path: Path) -> None:
    """New lyrics and a new song show in files that were read before, each with its new size."""
    clip = service.add_clip(ADA, "Tide", 0.5, lyrics="One")
    with mounted(service, tmp_path, listing_ttl=0.2) as mount:
        mount.list_all()
        library = mount.path / "library"
        text, playlist = library / "Tide" / "lyrics.txt", library / "All.m3u8"
        assert text.read_text() == "One\n"
        assert "Ebb" not in playlist.read_text()
        inode = os.stat(text).st_ino
        clip.lyrics = "One\nTwo"
        service.add_clip(ADA, "Ebb", 0.5)
        until(lambda: mount.listed("library") and text.read_text() == "One\nTwo\n")
        assert os.stat(text).st_size == 8
        assert os.stat(text).st_ino != inode
        until(lambda: "Ebb/Ebb.mp3" in playlist.read_text())


def test_a_mount_from_before_has_it_all_after_a_refresh(service: Service, tmp_path: Path) -> None:
    """What was kept by a musicfs that knew no covers opens with its names, and has them once it is listed."""
    service.add_clip(ADA, "Tide", 0.5, cover=JPEG, lyrics=LYRICS)
    with mounted(service, tmp_path) as mount:
        assert mount.songs() == {"Tide"}
        assert mount.stop() == 0
        forget = (
            "import json, sqlite3, sys\n"
            "base = sqlite3.connect(sys.argv[1])\n"
            "for birth, facts in base.execute('SELECT birth, facts FROM songs').fetchall():\n"
            "    kept = {k: v for k, v in json.loads(facts).items() if k not in ('cover', 'sheet')}\n"
            "    base.execute('UPDATE songs SET facts = ?', (json.dumps(kept).encode(),))\n"
            "base.commit()\n"
        )
        (database,) = (tmp_path / "state").rglob("state.db")
        done(["python3", "-c", forget, database])
        mount.start()
        until(lambda: mount.listed("library") and "cover.jpg" in mount.listed("library", "Tide"))
        assert (mount.path / "library" / "Tide" / "lyrics.txt").read_text() == LYRICS + "\n"


# Samba ----------------------------------------------------------------------------------------------------


@contextmanager
def shared(mount: Mount, home: Path) -> Iterator[list[str]]:
    """Share the library to guests by a Samba of our own; gives the words of a client that speaks to it."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # held until smbd has it, and shared with it
    place.bind(("127.0.0.1", 0))
    port = place.getsockname()[1]
    folders = "".join(
        f"{name} = {home}\n"
        for name in ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
    )
    config = home / "smb.conf"
    home.mkdir()
    config.write_text(
        f"[global]\n{folders}ncalrpc dir = {home}/ncalrpc\nlog file = {home}/log\nsmb ports = {port}\n"
        "interfaces = 127.0.0.1\nbind interfaces only = yes\nserver role = standalone server\n"
        "map to guest = Bad User\nguest account = root\nload printers = no\ndisable spoolss = yes\n"
        + share(mount.path)
    )
    words = ["smbclient", "//127.0.0.1/music", "-p", str(port), "-N", "-s", str(config)]
    with place, (home / "out").open("wb") as out:
        # At its end smbd ends its whole process group, which should not be ours.
        daemon = subprocess.Popen(
            [SMBD, "-F", "--no-process-group", "-s", str(config)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until(lambda: run([*words, "-c", "pwd"]).returncode == 0)
            yield words
        finally:
            daemon.terminate()
            daemon.wait(20)


def share(mountpoint: Path) -> str:
    """Give the share that docs/servers.md advises, for a mountpoint."""
    page = (Path(__file__).parents[2] / "docs" / "servers.md").read_text()
    section = page.partition("\n## Samba\n")[2].partition("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    assert lines[0] == "[music]"
    return "\n".join(lines).replace("/home/you/Music-AI", str(mountpoint)) + "\n"


def test_names_and_bytes_survive_samba(service: Service, tmp_path: Path) -> None:
    """Every hostile title is listed by Samba under the very name it has here, and its song comes whole."""
    mp3 = Mp3Noise(0.2)
    for title in hostile_titles(250):
        service.add_clip(ADA, title, 0.2, mp3=mp3, lyrics=LYRICS)
    with mounted(service, tmp_path, listing_ttl=600) as mount, shared(mount, tmp_path / "samba") as words:
        here = mount.listed("library")
        copy = tmp_path / "copy"
        copy.mkdir()
        # 3 s a hundred songs: `mget` asks for each name anew, as a Windows explorer does.
        got = run([*words, "-c", f"lcd {copy}; recurse on; prompt off; mask *.txt; mget *"], limit=120)
        assert got.returncode == 0, got.stdout + got.stderr
        assert set(os.listdir(copy)) == here - PLAYLISTS
        assert {path.read_text() for path in copy.rglob("lyrics.txt")} == {LYRICS + "\n"}
        song = sorted(mount.songs())[0]
        done([*words, "-c", f'lcd {copy}; cd "{song}"; get "{song}.mp3" one.mp3'])
        assert sha256(copy / "one.mp3") == sha256(mount.path / "library" / song / f"{song}.mp3")


# Many -----------------------------------------------------------------------------------------------------


def test_ten_thousand_hostile_titles(service: Service, tmp_path: Path) -> None:
    """Ten thousand titles that nobody would type are ten thousand folders; each playlist line leads to one
    that exists, and walking a thousand of them asks for nothing."""
    mp3 = Mp3Noise(0.1)
    for title in hostile_titles(10_000):
        if stem_of(title) is None:
            service.add_clip(ADA, title, 0.1, mp3=mp3, lyrics=LYRICS)
        else:  # as a clip it might be another's stem, and no song of its own
            service.add_job("100", title, 0.1, mp3=mp3, lyrics=LYRICS)
    with mounted(service, tmp_path, listing_ttl=3600, deadline=60) as mount:
        songs = mount.songs()
        assert len(songs) == 10_000
        library = mount.path / "library"
        lines = [one for one in (library / "All.m3u8").read_text().split("\n") if one and one[0] != "#"]
        assert {os.path.dirname(one).removeprefix("./") for one in lines} == songs
        assert len(lines) == 10_000
        service.reset_counts()
        for line in lines[::10]:
            folder = library / os.path.dirname(line)
            assert os.path.basename(line) in os.listdir(folder)
            assert (folder / "lyrics.txt").read_text() == LYRICS + "\n"
        assert not service.counts["range"]
        assert not service.counts["mp3"]
        assert not service.counts["mint"]
