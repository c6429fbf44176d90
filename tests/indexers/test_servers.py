"""Media servers scan a real mount by the ends of files, and play what is warm: the real ones, from Debian."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import demo
from musicfs.core.spans import BLOCK
from musicfs.demo import Service, mp3_of, wav_of
from musicfs.filesystem.scanning import HEAD, TAIL
from tests.indexers.conftest import SBIN
from tests.mounted.mounting import Mount, digest, mounted, until

SCAN = 60.0  # seconds that a scan of a dozen short songs may take on a busy machine
CLIPS = 3  # and as many jobs
FORMS = {"mp3", "wav", "m4a"}


@pytest.fixture
def made() -> Service:
    """Make three clips with m4a and wav, and three jobs with mp3 and wav; a program can play all of them."""
    service = Service(clock=time.time)
    music = sorted(Path(demo.__file__).with_name("media").glob("*.m4a"))
    for number in range(CLIPS):
        m4a = music[number % len(music)].read_bytes()
        service.add_clip("ada@example.com", f"Song {number}", 20.0, m4a=m4a, wav=wav_of(20, f"w{number}"))
        service.add_job("100", f"Job {number}", 20.0, mp3=mp3_of(20.0, number), wav=wav_of(21 + number))
    return service


@pytest.fixture
def mount(made: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount them with both servers named; count from the first listing on."""
    with mounted(made, tmp_path, media_servers="mpd,minidlnad") as given:
        given.listed("library")
        made.reset_counts()
        yield given


@contextlib.contextmanager
def running(name: str, *words: str | Path, log: Path) -> Iterator[None]:
    """Run a server as long as it is needed."""
    with log.open("ab") as told:
        path = shutil.which(name, path=f"/usr/bin:{SBIN}") or name
        program = subprocess.Popen([path, *words], stdin=subprocess.DEVNULL, stdout=told, stderr=told)
    try:
        yield
    finally:
        program.kill()
        program.wait()


def scannable(made: Service) -> list[tuple[str, int]]:
    """Give form and length of every file that has ends to read."""
    clips = [(form, clip.assets[form].size) for clip in made.flow.clips for form in ("m4a", "wav")]
    jobs = [(form, job.assets[form].size) for job in made.tempolor.jobs for form in ("mp3", "wav")]
    return sorted(clips + jobs)


def check_asked(made: Service) -> None:
    """Fail if more than the ends of a file left the service, or a file was asked for that has none."""
    sent: dict[str, int] = {}
    for one in list(made.log):
        if one.form in FORMS:
            sent[one.path] = sent.get(one.path, 0) + one.sent
    assert sent
    assert max(sent.values()) <= HEAD + TAIL + 2 * BLOCK
    assert not [one for one in made.log if one.kind == "mp3"]
    made.reset_counts()


# MPD ---------------------------------------------------------------------------------------------------


class Mpd:
    """A talk with MPD."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SCAN)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        assert self._lines.readline().startswith("OK MPD")

    def ask(self, words: str) -> list[str]:
        """Send a command; give the lines of the answer."""
        self._socket.sendall(f"{words}\n".encode())
        said = []
        while (line := self._lines.readline().rstrip("\n")) != "OK":
            assert line
            assert not line.startswith("ACK"), line
            said.append(line)
        return said

    def update(self) -> dict[str, float]:
        """Scan, and give the seconds of each song."""
        self.ask("update")
        until(lambda: not [line for line in self.ask("status") if line.startswith("updating_db")], SCAN)
        songs: dict[str, float] = {}
        name = ""
        for key, _, value in (line.partition(": ") for line in self.ask("listallinfo")):
            if key == "file":
                name = value
                songs[name] = 0.0
            elif key == "duration":
                songs[name] = float(value)
        return songs

    def close(self) -> None:
        """End the talk."""
        self._lines.close()
        self._socket.close()


def test_mpd(made: Service, mount: Mount, tmp_path: Path) -> None:
    """MPD learns every m4a, wav and TemPolor mp3 with its length from the ends; a second scan is free; what
    was warmed it takes in and has whole; the playlists are playlists to it."""
    place = tmp_path / "mpd"
    place.mkdir()
    named = {"db_file": "db", "log_file": "log", "playlist_directory": ".", "bind_to_address": "socket"}
    lines = [f'{key} "{place / value}"' for key, value in named.items()]
    lines += [f'music_directory "{mount.path / "library"}"', 'audio_output {\ntype "null"\nname "none"\n}']
    (place / "mpd.conf").write_text("\n".join(lines) + "\n")
    with running("mpd", "--no-daemon", place / "mpd.conf", log=place / "said"):
        until((place / "socket").exists)
        mpd = Mpd(place / "socket")
        try:
            songs = mpd.update()
            ends = sorted(name.rpartition(".")[2] for name in songs)
            assert ends == [form for form, _ in scannable(made)]
            assert min(songs.values()) > 10
            check_asked(made)
            assert mpd.update() == songs
            assert not [one for one in made.log if one.kind not in ("list", "accounts")]
            mp3 = "Song 0/Song 0.mp3"
            assert mount.ask("warm", f"{mount.path}/library/{mp3}").returncode == 0
            assert set(mpd.update()) == {*songs, mp3}
            mpd.ask('load "All.m3u8"')
            assert f"file: {mp3}" in mpd.ask("playlistinfo")
        finally:
            mpd.close()


# minidlna ----------------------------------------------------------------------------------------------


def free_port() -> int:
    """Find a port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def details(database: Path) -> dict[str, tuple[int, int, str]]:
    """Give number, length in bytes and time of each song that minidlna knows, by name."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=SCAN)) as told:
        rows = told.execute("SELECT PATH, ID, SIZE, DURATION FROM DETAILS WHERE MIME LIKE 'audio/%'")
        return {Path(path).name: (number, size, lasts) for path, number, size, lasts in rows}


def test_minidlna(made: Service, mount: Mount, tmp_path: Path) -> None:
    """minidlna writes down every song's true size and length from its ends, streams what is warm, and of what
    is not the beginning alone."""
    place, port = tmp_path / "dlna", free_port()
    place.mkdir()
    (place / "conf").write_text(
        f"media_dir=A,{mount.path / 'library'}\ndb_dir={place}\nlog_dir={place}\nport={port}\n"
        "inotify=no\nnetwork_interface=lo\n"
    )
    page = f"http://127.0.0.1:{port}/"

    def scanned() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=5) as answer:
            return b"scan in progress" not in answer.read()
        return False

    words = ("-S", "-R", "-f", place / "conf", "-P", place / "pid")
    with running("minidlnad", *words, log=place / "said"):
        until(scanned, SCAN)
        songs = details(place / "files.db")
        known = sorted((name.rpartition(".")[2], size) for name, (_, size, _) in songs.items())
        assert known == scannable(made)
        assert not [name for name, (_, _, lasts) in songs.items() if lasts < "0:00:10"]
        check_asked(made)

        def stream(name: str) -> bytes:
            number, _, _ = songs[name]
            with urllib.request.urlopen(f"{page}MediaItems/{number}.wav", timeout=SCAN) as answer:
                body: bytes = answer.read()
                return body

        with pytest.raises(http.client.IncompleteRead):
            stream("Job 0.wav")
        assert mount.ask("warm", f"{mount.path}/library/Job 0/Job 0.wav").returncode == 0
        assert digest(stream("Job 0.wav")) == digest(made.tempolor.jobs[0].assets["wav"])
