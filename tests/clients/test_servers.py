"""Servers that give the mount on to other machines: a client gets what it would get of a local copy."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo.faults import black_hole
from tests.clients.refusals import REFUSALS, TAKEN
from tests.clients.saying import words
from tests.clients.sharing import http, nfs
from tests.clients.sound import Sound
from tests.clients.stage import Stage, Twin, stage
from tests.clients.work import KIB, MIB, whole
from tests.mounted.mounting import done, run, sha256
from tests.mounted.test_library import shared


@pytest.fixture(scope="module")
def smb(scene: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Share the library by Samba; give the words of a client."""
    with shared(scene.mount, tmp_path_factory.mktemp("smb") / "home") as words:
        yield words


def inside(twin: Twin) -> str:
    """Name a song as a client of the library's share does."""
    return f"{twin.there.parent.name}/{twin.there.name}"


@pytest.mark.needs("smbd", "smbclient")
def test_samba(smb: list[str], scene: Stage, tmp_path: Path) -> None:
    """Over Samba a folder lists what it lists here; a song comes whole and once, and again offline."""
    twin = scene.m4a()
    listed = done([*smb, "-c", f'ls "{twin.there.parent.name}/*"'])
    for name in (twin.there.name, "info.json"):
        assert f"  {name}  " in listed
    copy = tmp_path / "copy"
    with scene.counted() as cost:
        done([*smb, "-c", f'get "{inside(twin)}" {copy}'])
    assert copy.read_bytes() == twin.here.read_bytes()
    assert cost.bytes <= whole(twin)
    with scene.pulled():
        done([*smb, "-c", f'get "{inside(twin)}" {copy}.again'])
    assert sha256(tmp_path / "copy.again") == sha256(twin.here)


@pytest.mark.needs("smbd", "smbclient")
def test_samba_in_part(smb: list[str], scene: Stage, tmp_path: Path) -> None:
    """A transfer over Samba that is taken up again in the middle fetches the rest and not the beginning."""
    twin = scene.titled_wav()
    copy = tmp_path / "copy"
    copy.write_bytes(twin.here.read_bytes()[: 8 * MIB])
    with scene.counted() as cost:
        done([*smb, "-c", f'reget "{inside(twin)}" {copy}'])
    assert sha256(copy) == sha256(twin.here)
    assert cost.bytes <= twin.size - 8 * MIB + MIB


@pytest.mark.needs("smbd", "smbclient")
def test_samba_refuses_to_write(smb: list[str], scene: Stage, tmp_path: Path) -> None:
    """Who puts, removes or renames over Samba is refused, and no sound is fetched for it."""
    twin = scene.m4a()
    (tmp_path / "new").write_text("new")
    with scene.counted() as cost:
        for words in (
            f'put {tmp_path}/new "{inside(twin)}"',
            f'del "{inside(twin)}"',
            f'rename "{inside(twin)}" other.m4a',
        ):
            said = run([*smb, "-c", words])
            assert re.search("NT_STATUS_(ACCESS_DENIED|MEDIA_WRITE_PROTECTED)", said.stdout + said.stderr)
    assert twin.there.exists()
    assert set(cost.requests) <= {"range"}, "a look at its size"
    assert cost.bytes < 64 * KIB


@pytest.mark.needs("ganesha.nfsd", "nfs-ls", "nfs-cp", "nfs-cat")
def test_nfs(scene: Stage, tmp_path: Path) -> None:
    """Over NFS a folder lists what it lists here, a song comes whole and once, a part of it comes in part."""
    twin, other = scene.wav(), scene.wav()
    with nfs(scene.mount.path, tmp_path / "nfs") as url:
        listed = done(["nfs-ls", url.format(f"tempolor/{twin.ident}")])
        assert {line.split()[-1] for line in listed.splitlines()} == {"song.mp3", "song.wav", "stems"}
        name = f"tempolor/{twin.ident}/song.wav"
        with scene.counted() as cost:
            done(["nfs-cp", url.format(name), tmp_path / "copy"])
        assert sha256(tmp_path / "copy") == sha256(twin.here)
        assert cost.bytes <= whole(twin)
        with scene.pulled():
            done(["nfs-cp", url.format(name), tmp_path / "again"])
        assert sha256(tmp_path / "again") == sha256(twin.here)
        with scene.counted() as cost:
            url = url.format(f"tempolor/{other.ident}/song.wav")
            said = run(
                [
                    "sh",
                    "-c",
                    f"nfs-cat '{url}' | head -c 1000 | sha256sum; head -c 1000 $0 | sha256sum",
                    other.here,
                ]
            )
        first, second = said.stdout.split("\n")[:2]
        assert first == second
        assert cost.bytes <= 6 * MIB


@pytest.mark.needs("ganesha.nfsd", "nfs-ls", "nfs-cp")
def test_nfs_that_keeps_sizes(sound: Sound, tmp_path: Path) -> None:
    """With `sizes = "exact"` an NFS server may keep sizes for a minute, and a song still comes whole."""
    with stage(tmp_path, sound, rtt=0, sizes="exact", listing_ttl=3600) as scene:
        twin = scene.wav()
        with nfs(scene.mount.path, tmp_path / "nfs", kept=60) as url:
            listed = done(["nfs-ls", url.format(f"tempolor/{twin.ident}")])
            assert str(twin.size) in listed
            done(["nfs-cp", url.format(f"tempolor/{twin.ident}/song.wav"), tmp_path / "copy"])
        assert sha256(tmp_path / "copy") == sha256(twin.here)


def test_http_server(scene: Stage, tmp_path: Path) -> None:
    """Python's http.server lists a folder, tells a song's length, and sends it whole; a client that leaves
    early costs a part of it."""
    twin, other = scene.m4a(), scene.titled_wav()
    with http(scene.mount.path, tmp_path) as url:
        folder = f"{url}/library/{urllib.parse.quote(twin.there.parent.name)}"
        song = f"{folder}/{urllib.parse.quote(twin.there.name)}"
        with urllib.request.urlopen(folder + "/") as page:
            assert urllib.parse.quote(twin.there.name) in page.read().decode()
        with scene.counted() as cost, urllib.request.urlopen(song) as answer:
            assert int(answer.headers["Content-Length"]) == twin.size
            assert answer.read() == twin.here.read_bytes()
        assert cost.bytes <= whole(twin)
        with scene.pulled(), urllib.request.urlopen(song) as answer:
            assert answer.read() == twin.here.read_bytes()
        name = urllib.parse.quote(f"library/{inside(other)}")
        with scene.counted() as cost, urllib.request.urlopen(f"{url}/{name}") as answer:
            assert answer.read(1000) == other.here.read_bytes()[:1000]
        assert cost.bytes <= whole(other) * 9 // 10


class GivenOn:
    """A mount that all three servers give on."""

    def __init__(self, scene: Stage, home: Path, smb: list[str], url: str, web: str) -> None:
        self.scene, self._home, self._smb, self._url, self._web = scene, home, smb, url, web

    def fails(self, name: str, song: str | Twin) -> None:
        """See each server's client told what docs/programs.md has for an errno, of a song of the library."""
        song = song if isinstance(song, str) else self._shown(song)
        said = run([*self._smb, "-c", f'get "{song}" {self._home}/got'])
        assert f"{words(3)[name]} opening" in said.stdout + said.stderr
        said = run(["nfs-cp", self._url.format(f"library/{song}"), self._home / "got"])
        assert words(4)[name] in said.stdout + said.stderr
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{self._web}/library/{urllib.parse.quote(song)}")

    def _shown(self, song: Twin) -> str:
        """Name a song as `library/` does."""
        made = self.scene.service.flow.clip(song.ident) or self.scene.service.tempolor.job(song.ident)
        assert made is not None
        if song.there.parent.name == "stems":
            return f"{made.title}/stems/{song.there.name}"
        name = song.there.name if song.there.stem == "cover" else f"{made.title}{song.there.suffix}"
        return f"{made.title}/{name}"


@contextmanager
def given_on(sound: Sound, home: Path, **settings: Any) -> Iterator[GivenOn]:
    """Set a stage without a wire, and let all three servers give it on."""
    with stage(home, sound, rtt=0, deadline=3, listing_ttl=3600, covers=8, **settings) as scene:
        scene.mount.expect(".")
        with (
            shared(scene.mount, home / "smb") as smb,
            nfs(scene.mount.path, home / "nfs") as url,
            http(scene.mount.path, home) as web,
        ):
            yield GivenOn(scene, home, smb, url, web)


@pytest.mark.needs("smbd", "smbclient", "ganesha.nfsd", "nfs-cp")
def test_words(sound: Sound, tmp_path: Path) -> None:
    """A client of Samba or NFS is told what docs/programs.md has for each errno, whatever the song's form, a
    browser 404."""
    with given_on(sound, tmp_path) as given:
        scene = given.scene
        for name, refusals in REFUSALS.items():
            for form, refusal in refusals.items():
                twin = TAKEN[form](scene)
                refusal.befalls(scene, twin)
                given.fails(name, twin)
        given.fails("ENOENT", "Song 00/nothing.mp3")
        silent, twins = scene.mp3(), [take(scene) for take in TAKEN.values()]
        scene.service.fail(black_hole(), kind="mp3", path=silent.ident)
        given.fails("ETIMEDOUT", silent)
        scene.mount.loop.stop()
        for twin in twins:
            given.fails("EHOSTUNREACH", twin)


@pytest.mark.needs("smbd", "smbclient", "ganesha.nfsd", "nfs-cp")
def test_words_of_a_full_disk(sound: Sound, tmp_path: Path) -> None:
    """A client of Samba or NFS is told of a full disk, a browser 404."""
    with given_on(sound, tmp_path, keep_free="100000G") as given:
        given.fails("ENOSPC", "Song 00/Song 00.mp3")


@pytest.mark.needs("smbd", "smbclient", "ganesha.nfsd", "nfs-cp", "curl")
def test_cable_pulled(sound: Sound, tmp_path: Path) -> None:
    """With the cable pulled in the middle of a song, the clients of all three servers end with an error."""
    with stage(tmp_path, sound, rate=1_000_000, deadline=3, listing_ttl=3600) as scene:
        scene.mount.expect(".")
        with (
            shared(scene.mount, tmp_path / "smb") as smb,
            nfs(scene.mount.path, tmp_path / "nfs") as url,
            http(scene.mount.path, tmp_path) as web,
        ):
            songs = [scene.titled_wav() for _ in range(3)]
            inner = [f"library/{inside(song)}" for song in songs]
            commands = (
                [*smb, "-c", f'get "{inside(songs[0])}" {tmp_path}/smb.wav'],
                ["nfs-cp", url.format(inner[1]), tmp_path / "nfs.wav"],
                ["curl", "--silent", "--fail", "-o", "/dev/null", f"{web}/{urllib.parse.quote(inner[2])}"],
            )
            with scene.pulled(after=1.0), ThreadPoolExecutor(3) as pool:
                ended = list(pool.map(lambda command: run(command, limit=60), commands))
            assert [one.returncode for one in ended if not one.returncode] == []
