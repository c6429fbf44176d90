"""A media server on a real mount: known by its executable, it gets the ends of files within its budget."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from musicfs import demo
from musicfs.core.spans import BLOCK
from musicfs.demo import Service, mp3_of, wav_of, wav_of_size
from musicfs.filesystem.scanning import HEAD, TAIL
from tests.mounted.mounting import done, mounted, run

MIB = 1024 * 1024


def test_a_media_server_scans_by_the_ends(service: Service, tmp_path: Path) -> None:
    """A program called navidrome reads head and tail, not the middle, and its bytes are counted as the
    day's; whoever else reads is not bounded, and what he read it may read too."""
    for title in ("One", "Two", "Three"):
        service.add_clip("ada@example.com", title, 60.0, wav=wav_of_size(20 * MIB))
    server = tmp_path / "navidrome"
    shutil.copy(shutil.which("dd") or "/bin/dd", server)

    def read(title: str, skip: int) -> int:
        song = mount.path / "library" / title / f"{title}.wav"
        return run([server, f"if={song}", "of=/dev/null", "bs=64K", "count=1", f"skip={skip}"]).returncode

    with mounted(service, tmp_path, media_servers="mpd,navidrome", media_budget="4M") as mount:
        mount.listed("library")
        service.reset_counts()
        assert read("One", 0) == 0
        assert read("One", 20 * 16 - 1) == 0
        assert read("One", 100) != 0
        assert service.bytes_sent() <= 3 * MIB
        told = json.loads(mount.ask("status", "--json", str(mount.path)).stdout)
        assert 0 < told["upstream"]["today"]["scanned"] <= 4 * MIB
        done(["cat", mount.path / "library" / "Two" / "Two.wav"])
        assert read("Two", 100) == 0
        song = mount.path / "library/Three/Three.mp3"
        refused = run([server, f"if={song}", "of=/dev/null", "count=1"])
        assert "Permission denied" in refused.stderr
        told = mount.ask("why", str(song)).stdout
        assert ": navidrome was refused it, because media servers are served this file from the cache" in told
        assert "Warm what it should play (musicfs warm)" in told


def test_ffprobe_reads_tags_from_the_ends(service: Service, tmp_path: Path) -> None:
    """`ffprobe`, by which Jellyfin scans, tells the length of an m4a, a wav and an mp3, though it is named
    and so has the ends of them only."""
    m4a = Path(demo.__file__).with_name("media").joinpath("harbour-b.m4a").read_bytes()
    service.add_clip("ada@example.com", "Tide", 20.0, m4a=m4a, wav=wav_of(60))
    service.add_job("100", "Ebb", 120.0, mp3=mp3_of(120.0))
    words = ("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0")
    with mounted(service, tmp_path, media_servers="jellyfin,ffprobe") as mount:
        mount.listed("library")
        service.reset_counts()
        for name, seconds in {"Tide/Tide.m4a": 21, "Tide/Tide.wav": 60, "Ebb/Ebb.mp3": 120}.items():
            assert float(done([*words, mount.path / "library" / name])) == pytest.approx(seconds, abs=2)
        assert service.bytes_sent() <= len(m4a) + 2 * (HEAD + TAIL) + 4 * BLOCK


def test_a_media_server_writes_down_the_true_size(service: Service, tmp_path: Path) -> None:
    """The size that `stat` tells a media server is the file's own, though nobody has opened it yet."""
    job = service.add_job("100", "Tide", 60.0, mp3=mp3_of(20.0), wav=wav_of_size(3 * MIB))
    server = tmp_path / "minidlnad"
    shutil.copy(shutil.which("stat") or "/usr/bin/stat", server)
    with mounted(service, tmp_path, media_servers="minidlnad") as mount:
        mount.listed("tempolor")
        folder = mount.path / "tempolor" / job.item
        assert int(done(["stat", "-c", "%s", folder / "song.mp3"])) != job.assets["mp3"].size
        assert service.counts["mint"] < 1
        assert int(done([server, "-c", "%s", folder / "song.wav"])) == 3 * MIB
        assert service.counts["mint"] == 1
