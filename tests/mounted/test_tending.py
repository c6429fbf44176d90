"""What a person asks of a mount: warm songs play with no network, the cache is looked after, songs are
forgotten."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from musicfs.demo import Clip, Job, Member, Role, Service, archive_of, wav_of, wav_of_size
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, digest, done, mounted, sha256, until

MIB = 1024 * 1024
STEMS = {"vocals.wav": wav_of(4, "vocals"), "drums.wav": wav_of(4, "drums"), "bass.wav": wav_of(4, "bass")}
NOTES = b"in the key of F minor\n" * 5000


def stock(service: Service) -> tuple[Clip, Job]:
    """Add a clip with stems, and a job with stored and deflated stems."""
    clip = service.add_clip("ada@example.com", "Tide", 20.0)
    service.flow.add_stems(clip)
    members = [
        *(Member(f"stems/{name}", data) for name, data in STEMS.items()),
        Member("notes.txt", NOTES, deflated=True),
    ]
    return clip, service.add_job("100", "Ebb", 15.0, stems=archive_of(members))


def everything(folder: Path) -> dict[str, str]:
    """Hash every file below a folder, by path."""
    lines = done(["sh", "-c", "find . -type f -print0 | xargs -0 sha256sum"], cwd=folder).splitlines()
    return {line[66:].removeprefix("./"): line[:64] for line in lines}


def moved(service: Service) -> int:
    """Count the bytes of music that left the service."""
    sent = sum(record.sent for record in list(service.log) if record.kind in ("mp3", "range", "whole"))
    service.reset_counts()
    return sent


def blocks(mount: Mount) -> list[Path]:
    """List the cache's data files."""
    return sorted((mount.home / "cache").rglob("*.data"))


def kept(mount: Mount) -> int:
    """Count the bytes of music that the cache's files take up on the disk."""
    return sum(path.stat().st_blocks * 512 for path in blocks(mount))


def flip(path: Path, at: int) -> None:
    """Turn one byte of a file over."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


# Warm -----------------------------------------------------------------------------------------------------


def test_what_is_warm_plays_with_no_network(service: Service, tmp_path: Path) -> None:
    """`warm` of a job, a song's folder and all of flowmusic/: exit 0, and with every service gone and the
    daemon started anew each of their files has the service's bytes; warming twice fetches nothing."""
    _, job = stock(service)
    with running(service) as loop, attached(Mount(loop, tmp_path)) as mount:
        named = [f"{mount.path}/tempolor/{job.item}", f"{mount.path}/library/Tide", f"{mount.path}/flowmusic"]
        said = mount.ask("warm", *named)
        assert (said.returncode, said.stderr.count("musicfs:")) == (0, 0), said.stderr
        files = 2 + 4 + 3 + 4
        assert said.stdout.startswith(f"{files} files here, checked and pinned"), said.stdout
        before = {name: everything(mount.path / name) for name in ("flowmusic", "tempolor")}
        assert len(before["flowmusic"]) == 5
        assert len(before["tempolor"]) == 6
        moved(service)
        said = mount.ask("warm", *named)
        assert (said.returncode, said.stdout.endswith(", 0 B of it fetched now\n")) == (0, True), said
        assert not moved(service)
        loop.stop()
        mount.restart()
        mount.expect(r"Unreachable|cannot be reached|no connection|listing")
        assert {name: everything(mount.path / name) for name in before} == before
        for form in ("mp3", "m4a", "wav"):
            sha256(mount.path / "library/Tide" / f"Tide.{form}")
        assert mount.ask("warm", *named).returncode == 0
        assert sha256(mount.path / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])
        loop.start()


def test_a_lone_stem_is_warm(service: Service, tmp_path: Path) -> None:
    """One stored member from the middle of an archive, and a deflated one: with the network gone and after
    a restart they play, though the rest of the archive is not here."""
    stems = {f"{name}.wav": wav_of_size(MIB, name) for name in ("one", "two", "three")}
    members = [Member(name, data) for name, data in stems.items()]
    job = service.add_job("100", "Ebb", stems=archive_of([*members, Member("n.txt", NOTES, deflated=True)]))
    with running(service) as loop, attached(Mount(loop, tmp_path)) as mount:
        folder = mount.path / "tempolor" / job.item / "stems"
        moved(service)
        assert mount.ask("warm", f"{folder}/two.wav", f"{folder}/n.txt").returncode == 0
        assert moved(service) < 2 * MIB
        loop.stop()
        mount.restart()
        mount.expect("listing")
        assert sha256(folder / "two.wav") == digest(stems["two.wav"])
        assert (folder / "n.txt").read_bytes() == NOTES
        loop.start()


def test_patterns_and_names(service: Service, tmp_path: Path) -> None:
    """A pattern that the shell left alone is matched by the daemon; a name with brackets is a name; a file
    shown under two names counts once; the mount itself is not touched."""
    for number in range(3):
        service.add_clip("ada@example.com", "Tide", 5.0 + number)
    with mounted(service, tmp_path) as mount:
        titles = sorted(mount.listed("library"))
        assert [title for title in titles if "[" in title]
        named = next(title for title in titles if "[" in title)
        said = mount.ask("warm", f"{mount.path}/library/{named}")
        assert said.stdout.startswith("3 files here"), said
        said = mount.ask("warm", f"{mount.path}/library/Ti*/*.mp3", f"{mount.path}/flowmusic/*.mp3")
        assert said.stdout.startswith("3 files here"), said
        said = mount.ask("warm", f"{mount.path}/library/No*")
        assert said.returncode == 1
        assert "no name fits this pattern" in said.stderr


def test_failures_have_a_sentence_each(service: Service, tmp_path: Path) -> None:
    """What cannot be had is named with its reason and makes the code 1; the others are warm. A form that a
    folder lists and the service does not have is counted, and a failure only where it is named by itself."""
    clip = service.add_clip("ada@example.com", "Tide", 5.0)
    lost = service.add_clip("ada@example.com", "Lost", 5.0, without=("wav",))
    with mounted(service, tmp_path) as mount:
        mount.listed("library")
        said = mount.ask(
            "warm", f"{mount.path}/library/Lost", f"{mount.path}/library/Tide", f"{mount.path}/none", "/proc"
        )
        assert said.returncode == 2
        assert "/proc is not in a mounted musicfs" in said.stderr
        assert "listed form does not exist" in said.stdout
        assert f"musicfs: {mount.path}/none: no such name" in said.stderr
        assert said.stdout.startswith("5 files here"), said.stdout
        assert mount.ask("warm", f"{mount.path}/library/Lost").returncode == 0
        said = mount.ask("warm", f"{mount.path}/library/Lost/Lost.wav")
        assert said.returncode == 1
        assert f"musicfs: {mount.path}/library/Lost/Lost.wav: the service has no such bytes" in said.stderr
        moved(service)
        assert sha256(mount.path / "flowmusic" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])
        assert sha256(mount.path / "flowmusic" / f"{lost.uuid}.mp3") == digest(lost.assets["mp3"])
        assert not moved(service)


def test_many_paths_are_one_errand(service: Service, tmp_path: Path) -> None:
    """More paths than fit into one line of the socket's protocol are still counted and warmed together."""
    clips = [service.add_clip("ada@example.com", f"Song {number}", 1.0) for number in range(12)]
    with mounted(service, tmp_path) as mount:
        mount.listed("flowmusic")
        paths = [f"{mount.path}/flowmusic/{clip.uuid}.mp3" for clip in clips]
        said = mount.ask("warm", *(paths * 120))
        assert (said.returncode, said.stdout[:13]) == (0, "12 files here"), said


def test_killed_in_the_middle_and_resumed(service: Service, tmp_path: Path) -> None:
    """A daemon dies (SIGKILL) while it warms a large file: the command says so, code 69; afterwards the
    rest alone is fetched."""
    size = 12 * MIB
    job = service.add_job("100", "Large", wav=wav_of_size(size, "large"))
    service.twist(role=Role.CDN, drip=6 * MIB)
    with running(service) as loop, attached(Mount(loop, tmp_path)) as mount:
        path = mount.path / "tempolor" / job.item / "song.wav"
        mount.listed("tempolor")
        command = [sys.executable, "-m", "musicfs", "warm", str(path)]
        with subprocess.Popen(command, env=mount.environ, stderr=subprocess.PIPE, text=True) as warming:
            until(lambda: kept(mount) > size // 3)
            mount.crash()
            assert warming.stderr is not None
            said = warming.stderr.read()
            assert warming.wait(30) == 69, said
        here = kept(mount)
        moved(service)
        mount.start()
        assert mount.ask("warm", str(path)).returncode == 0
        assert moved(service) < size - here + 2 * MIB  # what was on its way to the disk is fetched again
        assert sha256(path) == digest(job.assets["wav"])
        assert not moved(service)


def test_ctrl_c_calls_it_off(service: Service, tmp_path: Path) -> None:
    """SIGINT ends the command with 130, and the daemon stops fetching; nothing stays pinned."""
    job = service.add_job("100", "Large", wav=wav_of_size(20 * MIB, "large"))
    # Over the four connections that a file may have it takes 20 s: many times what calling off takes.
    service.twist(role=Role.CDN, drip=MIB // 4)
    with mounted(service, tmp_path) as mount:
        path = mount.path / "tempolor" / job.item / "song.wav"
        mount.listed("tempolor")
        # A shell that started the tests behind it has them ignore SIGINT, and all that they start.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "musicfs", "warm", str(path)]
        with subprocess.Popen(command, env=mount.environ, stderr=subprocess.PIPE) as warming:
            until(lambda: service.bytes_sent(Role.CDN) > MIB // 2)
            warming.send_signal(2)
            assert warming.wait(30) == 130
        until(lambda: json.loads(mount.ask("status", "--json", str(mount.path)).stdout)["transfers"] == [])
        assert service.bytes_sent(Role.CDN) < 12 * MIB
        assert json.loads(mount.ask("cache", "info", "--json", str(mount.path)).stdout)["pinned"] == 0


def test_pins_survive_pressure_and_have_a_cap(service: Service, tmp_path: Path) -> None:
    """In a cache of 8 MiB a warm file stays whole while much else is read, also over a restart; more than
    half the cache is refused with a sentence before it is fetched; --unpin makes room for others."""
    kept = service.add_job("100", "Kept", wav=wav_of_size(3 * MIB, "kept"), without=("mp3",))
    more = service.add_job("100", "More", wav=wav_of_size(3 * MIB, "more"), without=("mp3",))
    clips = [service.add_clip("ada@example.com", f"Song {number}", 60.0) for number in range(12)]
    with mounted(service, tmp_path, cache_size="8M") as mount:
        mount.list_all()
        path, other = (mount.path / "tempolor" / job.item / "song.wav" for job in (kept, more))
        assert mount.ask("warm", str(path)).returncode == 0
        for clip in clips[:6]:
            sha256(mount.path / "flowmusic" / f"{clip.uuid}.mp3")
        mount.restart()
        for clip in clips[6:]:
            sha256(mount.path / "flowmusic" / f"{clip.uuid}.mp3")
        moved(service)
        assert sha256(path) == digest(kept.assets["wav"])
        assert not moved(service)
        said = mount.ask("warm", str(other))
        assert said.returncode == 1
        assert "pinned songs may take up half of the cache (4 MiB), and 3 MiB are pinned" in said.stderr
        assert "--unpin" in said.stderr
        assert moved(service) < MIB
        assert mount.ask("warm", "--unpin", str(path)).stdout.startswith("1 file let go of")
        assert mount.ask("warm", str(other)).returncode == 0
        assert sha256(other) == digest(more.assets["wav"])


# The cache ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", [True, False], ids=["with", "without"])
def test_verify_finds_flipped_bytes(daemon: bool, service: Service, tmp_path: Path) -> None:
    """`cache verify` reads every block, with the daemon and without: code 0 when all is good; after bytes
    were flipped it names and drops what is bad, code 1, and reading mends it by fetching just that."""
    clip, job = stock(service)
    with mounted(service, tmp_path) as mount:
        named = [f"{mount.path}/tempolor/{job.item}/song.wav", f"{mount.path}/flowmusic/{clip.uuid}.mp3"]
        assert mount.ask("warm", *named).returncode == 0
        where = [str(mount.path)] if daemon else []
        if not daemon:
            assert mount.stop() == 0
        good = mount.ask("cache", "verify", "--json", *where)
        assert good.returncode == 0, good.stderr
        told = json.loads(good.stdout)
        assert (told["good"], told["objects"], told["bad_blocks"]) == (True, 2, 0)
        assert told["size"] == job.assets["wav"].size + clip.assets["mp3"].size
        for path in blocks(mount):
            flip(path, 100_000)
        bad = mount.ask("cache", "verify", *where)
        assert bad.returncode == 1
        assert "2 objects were bad, 2 blocks" in bad.stdout
        assert f"tempolor:{job.item}:wav" in bad.stdout
        assert "were pinned: run musicfs warm again" in bad.stdout
        assert mount.ask("cache", "verify", *where).returncode == 0
        if not daemon:
            mount.start()
        moved(service)
        assert sha256(Path(named[0])) == digest(job.assets["wav"])
        assert moved(service) <= 2 * 65_536
        assert sha256(Path(named[1])) == digest(clip.assets["mp3"])
        assert moved(service) == clip.assets["mp3"].size


def test_verify_mends_a_map_under_the_daemon(service: Service, tmp_path: Path) -> None:
    """A map that was cut or removed while the daemon runs is written anew: nothing is fetched again after a
    restart."""
    _, job = stock(service)
    with mounted(service, tmp_path) as mount:
        path = mount.path / "tempolor" / job.item / "song.wav"
        assert mount.ask("warm", str(path)).returncode == 0
        for damage in (lambda one: os.truncate(one, one.stat().st_size // 2), Path.unlink):
            (each,) = (mount.home / "cache").rglob("*.map")
            damage(each)
            said = mount.ask("cache", "verify", str(mount.path))
            assert (said.returncode, "1 maps were bad" in said.stdout) == (1, True), said
            mount.restart()
            moved(service)
            assert sha256(path) == digest(job.assets["wav"])
            assert not moved(service)


def test_the_mount_answers_while_it_verifies(service: Service, tmp_path: Path) -> None:
    """A check of a large cache and reading go on side by side, and both are right."""
    job = service.add_job("100", "Large", wav=wav_of_size(64 * MIB, "large"))
    clip = service.add_clip("ada@example.com", "Tide", 20.0)
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        assert mount.ask("warm", f"{mount.path}/tempolor/{job.item}/song.wav").returncode == 0
        command = [sys.executable, "-m", "musicfs", "cache", "verify"]
        with subprocess.Popen(command, env=mount.environ, stdout=subprocess.PIPE) as verifying:
            assert sha256(mount.path / "flowmusic" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])
            assert verifying.wait(60) == 0


def test_info_and_prune(service: Service, tmp_path: Path) -> None:
    """`cache info` says what is there by service and form; `prune` keeps what is pinned and what is open,
    and with --older what was used lately; both work without the daemon as well."""
    clip, job = stock(service)
    with mounted(service, tmp_path) as mount:
        mount.listed("flowmusic"), mount.listed("tempolor")
        wav = mount.path / "tempolor" / job.item / "song.wav"
        mp3 = mount.path / "flowmusic" / f"{clip.uuid}.mp3"
        assert mount.ask("warm", str(wav)).returncode == 0
        sha256(mp3)
        sha256(mount.path / "tempolor" / job.item / "song.mp3")
        told = json.loads(mount.ask("cache", "info", "--json", str(mount.path)).stdout)
        assert [(form["service"], form["form"], form["objects"]) for form in told["forms"]] == [
            ("flowmusic", "mp3", 1),
            ("tempolor", "mp3", 1),
            ("tempolor", "wav", 1),
        ]
        assert told["pinned"] >= job.assets["wav"].size
        assert re.search(r"tempolor +wav +1 +1 ", mount.ask("cache", "info", str(mount.path)).stdout)
        assert "0 objects let go of" in mount.ask("cache", "prune", "--older", "1", str(mount.path)).stdout
        with mp3.open("rb") as file:
            file.read(1)
            assert mount.ask("cache", "prune", str(mount.path)).stdout.startswith("1 objects let go of")
            moved(service)
            assert sha256(mp3) == digest(clip.assets["mp3"])
            assert not moved(service)
        until(lambda: json.loads(mount.ask("status", "--json", str(mount.path)).stdout)["open_files"] == 0)
        assert mount.stop() == 0
        assert mount.ask("cache", "prune").stdout.startswith("1 objects let go of")
        told = json.loads(mount.ask("cache", "info", "--json").stdout)
        assert [form["form"] for form in told["forms"]] == ["wav"]
        mount.start()
        moved(service)
        assert sha256(wav) == digest(job.assets["wav"])
        assert not moved(service)


# Forgetting -----------------------------------------------------------------------------------------------


def test_forget_after_a_deletion_in_bulk(service: Service, tmp_path: Path) -> None:
    """Over a quarter of an account's songs deleted at once is not believed: everything stays, and an
    `rsync -a --delete` copy too, until `musicfs forget` says that it is meant; the rest stays for good. The
    account's name is in no log."""
    account = "ada@example.com"
    clips = [service.add_clip(account, f"Song {number}", 2.0) for number in range(30)]
    copy = tmp_path / "copy"
    with mounted(service, tmp_path, listing_ttl=0.3, forget_after=0.5) as mount:
        source, sync = f"{mount.path}/flowmusic/", ["rsync", "-a", "--delete"]
        done([*sync, source, str(copy)])
        assert mount.ask("forget", account).stdout == "0 songs let go of\n"
        gone = clips[:12]
        assert mount.ask("warm", f"{source}{gone[0].uuid}.mp3").returncode == 0
        service.flow.clips[:] = clips[12:]
        assert mount.restart().listed("flowmusic")
        mount.expect("a pass lacked over a quarter")
        until(lambda: mount.listed("flowmusic") and "lacked over a quarter" in mount.log)
        done([*sync, source, str(copy)])
        assert len(list(copy.iterdir())) == 30
        refused = mount.ask("forget", f"{source}{clips[20].uuid}.mp3")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "still lists this song" in refused.stderr
        assert mount.ask("forget", f"{mount.path}/library/Song 1").stdout == "1 song let go of\n"
        assert mount.ask("forget", account).stdout == "11 songs let go of\n"
        until(lambda: len(mount.listed("flowmusic")) == 18)
        done([*sync, source, str(copy)])
        assert {path.stem for path in copy.iterdir()} == {clip.uuid for clip in clips[12:]}
        assert json.loads(mount.ask("cache", "info", "--json", str(mount.path)).stdout)["pinned"] == 0
        assert mount.ask("forget", "nobody@example.com").returncode == 1
        assert mount.ask("forget", f"{mount.path}/library").returncode == 1
        assert account not in mount.log
