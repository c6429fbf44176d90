"""No hang: the network a black hole, two hundred readers waiting, `MUSICFS_DEADLINE=5`; and nobody is
stuck."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from musicfs.demo import Role, content
from tests.faults.gauges import let_go, settle
from tests.faults.hang import CROWD, DEADLINE, PROMISE, crowd, in_flight, scene, stock, watched
from tests.faults.race import FROZEN, race
from tests.figures import FAULTS
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, done, run, sha256, take_away, until


def test_two_hundred_waiting(tmp_path: Path) -> None:
    """While two hundred readers wait for a dead network, `ls`, `ls -l`, `df`, `find` and cached music come
    back in time; the readers die of `kill -9`, none is left in state D, and nothing is left in use."""
    with scene(tmp_path) as now:
        now.behead()
        now.darken()
        top = now.mount.path
        let_go(now.mount)
        programs = [
            ["ls", top / "flowmusic"],
            ["ls", "-l", top / "tempolor"],
            ["ls", "-l", top / "library" / "Song 0"],
            ["df", top],
            # It comes by folders of stems that were never seen, and cannot list those.
            ["sh", "-c", 'find "$0" -name "*.mp3"; test $? -le 1', top],
            ["find", top / "flowmusic", "-size", "+1k"],
            ["cat", now.cached],
            ["cat", now.whole],
        ]
        with crowd(now.readers()) as waiting:
            until(lambda: now.service.counts["mp3"] >= 4)  # as many as are made at a time
            FAULTS["readers waiting"] += waiting.waiting
            with ThreadPoolExecutor(len(programs)) as pool, watched("eight programs in a crowd"):
                list(pool.map(lambda words: done(words, limit=PROMISE), programs))
            assert sha256(now.cached) == now.wanted
            assert sha256(now.whole) == now.whole_wanted
        # Once the hosts are known to be down nobody waits for them any more; anew it is not known.
        now.mount.restart()
        with crowd(now.readers()) as waiting:
            until(lambda: waiting.waiting >= CROWD // 4, PROMISE)
            with watched("kill -9 of a crowd"):
                waiting.kill()
            assert waiting.stuck() == []
        now.service.clear()
        # What is made may take a minute for its first byte; a network that is back cuts what hung in it.
        now.mount.loop.stop()
        now.mount.loop.start()
        until(lambda: _reads(now.songs[0]), 40)
        settle(now.mount, 30)


def _reads(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize("how", ["umount", "SIGTERM"])
def test_the_end_with_a_crowd(how: str, tmp_path: Path) -> None:
    """With two hundred readers waiting, `musicfs umount` and SIGTERM end the mount and the daemon in time,
    and leave nobody in state D."""
    with scene(tmp_path) as now:
        now.behead()
        now.darken()
        with crowd(now.readers()) as waiting:
            in_flight(now.mount, 20)
            with watched(how):
                if how == "umount":
                    command = [sys.executable, "-m", "musicfs", "umount", str(now.mount.path)]
                    with subprocess.Popen(
                        command, env=now.mount.environ, stderr=subprocess.DEVNULL
                    ) as umount:
                        until(lambda: not now.mount.present, PROMISE)
                        umount.wait(PROMISE)
                else:
                    os.kill(now.mount.pid, signal.SIGTERM)
                until(lambda: not now.mount.present, PROMISE)
                assert now.mount.ended(PROMISE) == 0
            until(lambda: waiting.waiting == 0, PROMISE)
            assert waiting.stuck() == []


FUSECTL = 'mount -t fusectl none /sys/fs/fuse/connections && exec "$@"'


@pytest.mark.parametrize("fusectl", [False, True], ids=["without fusectl", "with fusectl"])
def test_a_ninth_player(fusectl: bool, tmp_path: Path) -> None:
    """Eight players whose bytes have stopped do not stop a ninth, whether the kernel's bound could be raised
    or not: what is cached plays, and what another host has."""
    possible = (
        os.geteuid() == 0
        and os.path.isdir("/sys/fs/fuse/connections")
        and shutil.which("unshare")
        and run(["unshare", "-m", "true"]).returncode == 0
    )
    if fusectl and not possible:
        pytest.skip("only root may mount fusectl, where sysfs is, and in a mount namespace of its own")
    service = stock()
    with running(service) as loop:
        mount = Mount(loop, tmp_path, deadline=DEADLINE, listing_ttl=3600)
        if fusectl:
            # In a namespace of its own, so that this machine is left as it was.
            mount.program = ["unshare", "-m", "sh", "-c", FUSECTL, "sh", *mount.program]
        with attached(mount):
            mount.expect(".")
            inside = ["nsenter", f"--mount=/proc/{mount.pid}/ns/mnt"] if fusectl else []
            jobs, clips = service.tempolor.jobs, service.flow.clips
            wavs = [mount.path / "tempolor" / job.item / "song.wav" for job in jobs]
            cold = mount.path / "library" / str(clips[0].title) / f"{clips[0].title}.wav"
            folders = [mount.path / name for name in ("library", "tempolor", "flowmusic")]
            until(lambda: run([*inside, "ls", *folders]).returncode == 0)
            done([*inside, "cat", wavs[8]])
            for wav in wavs[:8]:
                done([*inside, "head", "-c", "1", wav])
            service.twist(role=Role.CDN, stall_at=0)
            if fusectl:
                assert "fusectl cannot be written" not in mount.log
            players = [
                subprocess.Popen([*inside, "cat", wav], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for wav in wavs[:8]
            ]
            try:
                in_flight(mount, 8)
                # Not from the kernel's own pages: each of these is a request.
                for path, wanted in ((wavs[8], jobs[8].assets["wav"]), (cold, clips[0].assets["wav"])):
                    with watched("a ninth player"):
                        done(
                            [*inside, "dd", f"if={path}", "of=" + str(tmp_path / "copy"), "bs=64k"], limit=20
                        )
                    assert (tmp_path / "copy").read_bytes() == content(wanted)
                assert sum(player.poll() is None for player in players) >= 1
            finally:
                for player in players:
                    player.kill()
                    player.wait(PROMISE)
            mount.expect(".")
            service.clear()


def test_killed_clients_never_freeze_the_loop(tmp_path: Path) -> None:
    """Clients that are killed in the middle of a request never freeze the daemon's loop, as pyfuse3's own
    would (fuse-trio-httpx.md §1.8): it answers while nobody asks the mount anything."""
    with scene(tmp_path) as now:
        assert race(now.mount, 60, "ci") < FROZEN
        settle(now.mount)


def test_killed_readers_exhaust_no_connection(tmp_path: Path) -> None:
    """A hundred readers that are killed in mid-song leave every connection free: twelve others read at once,
    and nothing is left in use (fuse-trio-httpx.md §4.2)."""
    with scene(tmp_path) as now:
        now.service.twist(role=Role.CDN, drip=400_000.0, times=60)
        now.service.twist(kind="mp3", drip=400_000.0, times=60)
        for turn in range(5):
            with crowd([*now.songs[turn * 10 :][:10], *now.wavs[:10]]):
                time.sleep(0.1 * turn)  # They are killed further and further on.
        now.service.clear()
        paths = [*now.wavs[:6], *now.songs[60:66]]
        with ThreadPoolExecutor(12) as pool, watched("twelve readers", 30):
            sums = list(pool.map(sha256, paths))
        assert len(set(sums)) == 12
        settle(now.mount)


def test_a_crash_frees_everybody(tmp_path: Path) -> None:
    """A daemon that is killed frees all who wait for it at once."""
    with scene(tmp_path) as now:
        now.behead()
        now.darken()
        with crowd(now.readers()[: CROWD // 4]) as waiting:
            in_flight(now.mount, 6)
            now.mount.crash()
            with watched("a crash"):
                until(lambda: waiting.waiting == 0, PROMISE)
        take_away(now.mount.path)
