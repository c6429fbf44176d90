"""An mp3 that is made anew at each request: one pass, whole or not at all, wherever it breaks."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from musicfs.demo import Clip, Cut, Delivery, Framing, Mp3Noise, Service, content
from musicfs.demo.assets import Altered
from tests.figures import TRUST
from tests.mounted.mounting import Mount, mounted, until
from tests.trust.witness import catted, read_at

SECONDS = 16.0
SIZE = Mp3Noise(SECONDS).size
FRAME = 418  # bytes of a frame at 128 kbit/s and 44.1 kHz
PLACES = [0, 1, 3, 4, 100, FRAME - 1, FRAME, 5000, 16_384, 65_535, 65_536, 65_537, 131_072]
PLACES += [200_000, SIZE - FRAME, SIZE - 4, SIZE - 1]
BREAKS = {
    "reset, length": (Framing.LENGTH, False),
    "closed, length": (Framing.LENGTH, True),
    "reset, chunked": (Framing.CHUNKED, False),
    "closed, chunked": (Framing.CHUNKED, True),
    "reset, until close": (Framing.CLOSE, False),
    "closed, until close": (Framing.CLOSE, True),
}
SAID = ("flowmusic", "other bytes now")


@pytest.fixture(scope="module")
def _service() -> Service:
    """Give an empty service."""
    return Service(clock=time.time)


@pytest.fixture(scope="module")
def _stage(_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount it once for all."""
    with mounted(_service, tmp_path_factory.mktemp("pass"), listing_ttl=0.3, deadline=6) as mount:
        yield Stage(_service, mount.list_all())


class Stage:
    """The mount, and clips made as they are needed."""

    def __init__(self, service: Service, mount: Mount) -> None:
        self.service, self.mount = service, mount
        self.made = self.before = 0

    def clips(self, count: int, listed: float | None = SECONDS, real: float = SECONDS) -> list[Clip]:
        """Add clips of `listed` seconds whose mp3 has `real`, and wait until they are shown."""
        made = []
        for _ in range(count):
            clip = self.service.add_clip("ada@example.com", "Pass", listed)
            clip.assets["mp3"] = Mp3Noise(real, clip.uuid)
            made.append(clip)
        self.made += count
        until(lambda: {f"{clip.uuid}.mp3" for clip in made} <= self.mount.listed("flowmusic"))
        return made

    def read(self, clip: Clip) -> bytes | str:
        """Read a clip's mp3 whole with a program of its own, or give the name of the error."""
        found = catted(self.mount.path / "flowmusic" / f"{clip.uuid}.mp3")
        TRUST["bytes verified"] += len(found) if isinstance(found, bytes) else 0
        TRUST["passes"] += 1
        return found

    def read_all(self, clips: list[Clip]) -> list[bytes | str]:
        """Read clips' mp3s, six at a time."""
        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(self.read, clips))

    def passes(self) -> int:
        """How many downloads there were since the stage was given."""
        return self.service.counts["mp3"] - self.before


@pytest.fixture
def stage(_stage: Stage) -> Stage:
    """Give a healthy service, mounted, with nothing counted, and a mount that has retries in hand."""
    _stage.service.clear()
    _stage.mount.expect(*SAID)
    if (
        _stage.service.counts["mp3"] > _stage.made + 4
    ):  # A host has 24 retries, and a test here spends up to 18.
        _stage.mount.restart()
        _stage.service.reset_counts()
        _stage.made = 0
    _stage.before = _stage.service.counts["mp3"]
    return _stage


@pytest.mark.parametrize("how", BREAKS)
def test_broken_once_at_any_byte(how: str, stage: Stage) -> None:
    """A pass that breaks once, after any number of bytes and in any way, gives the exact file, with one more
    pass."""
    framing, clean = BREAKS[how]
    places = PLACES[list(BREAKS).index(how) // 2 % 2 ^ clean :: 2]  # Each place is met in three ways of six.
    clips = stage.clips(len(places))
    stage.service.knobs.mp3 = _delivery(framing)
    for clip, place in zip(clips, places, strict=True):
        stage.service.twist(times=1, kind="mp3", path=clip.uuid, cut=Cut(place, clean))
    for clip, place, found in zip(clips, places, stage.read_all(clips), strict=True):
        assert whole(found, content(clip.assets["mp3"])), f"broken at {place}: {found[:20]!r}"
        if found == content(clip.assets["mp3"]):
            continue
        assert framing is Framing.CLOSE
        assert clean
    assert stage.passes() >= 2 * len(places) - 1


@pytest.mark.parametrize("framing", Framing, ids=str)
def test_broken_and_other_bytes_behind(framing: Framing, stage: Stage) -> None:
    """Where the pass that starts over brings other bytes, a reader gets one whole rendering or an error, and
    the next reader a whole one."""
    places = [place for place in PLACES if place > 64][:: 2 if framing is Framing.LENGTH else -2]
    clips = stage.clips(len(places))
    stage.service.knobs.mp3 = _delivery(framing, restless=True)
    for clip, place in zip(clips, places, strict=True):
        stage.service.twist(times=1, kind="mp3", path=clip.uuid, cut=Cut(place, clean=bool(place % 2)))
    found = stage.read_all(clips)
    for clip, first in zip(clips, found, strict=True):
        renderings = [content(_rendering(clip, call)) for call in range(1, 128)]  # the salts repeat at 127
        for body in (first, _patiently(stage, clip)):
            assert isinstance(body, str) or any(whole(body, one) for one in renderings), "a mixture"


def whole(found: bytes | str, wanted: bytes) -> bool:
    """Tell whether bytes are a whole mp3: all of it, or up to the end of a frame in its last two seconds.

    That much cannot be told from an encoder's delay where the service tells no length.
    """
    if isinstance(found, str) or not wanted.startswith(found):
        return False
    frames = range(Mp3Noise(SECONDS).frames + 1)
    return found == wanted or (
        len(wanted) - len(found) < 2 * 16_000 and any(Mp3Noise._begin(one) == len(found) for one in frames)
    )


def _delivery(framing: Framing, restless: bool = False) -> Delivery:
    usual = Service().knobs.mp3
    return Delivery(
        ranges=usual.ranges, etag=usual.etag, last_modified=False, framing=framing, restless=restless
    )


def _rendering(clip: Clip, call: int) -> Altered:
    return Altered(clip.assets["mp3"], call, Delivery().differs_from)


def _patiently(stage: Stage, clip: Clip) -> bytes:
    found: list[bytes | str] = []
    until(lambda: found.append(stage.read(clip)) or isinstance(found[-1], bytes), 10)  # type: ignore[func-returns-value]
    assert isinstance(found[-1], bytes)
    return found[-1]


def test_a_program_sees_no_mixture(stage: Stage) -> None:
    """A program that reads while the pass comes in, breaks, and starts over with other bytes, ends with an
    error or with one rendering; its own bytes so far are of one."""
    rng = random.Random(11)
    clips = stage.clips(6)
    stage.service.knobs.mp3 = _delivery(Framing.LENGTH, restless=True)
    for clip in clips:
        stage.service.twist(
            times=1, kind="mp3", path=clip.uuid, drip=600_000.0, cut=Cut(rng.randrange(9000, SIZE))
        )
    programs = [
        subprocess.Popen(
            ["cat", stage.mount.path / "flowmusic" / f"{clip.uuid}.mp3"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for clip in clips
    ]
    for clip, program in zip(clips, programs, strict=True):
        printed, _ = program.communicate(timeout=40)
        assert any(content(_rendering(clip, call)).startswith(printed) for call in range(1, 128))
        assert program.returncode != 0 or len(printed) == SIZE
        TRUST["bytes verified"] += len(printed)


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE], ids=str)
def test_ends_early_once_behind_clean_framing(framing: Framing, stage: Stage) -> None:
    """A pass that ends early behind clean chunking or a clean close is not believed; the next is whole."""
    lacks = [1, 4, 417, 418, 5000, SIZE // 2, SIZE - 2000]
    clips = stage.clips(len(lacks))
    stage.service.knobs.mp3 = _delivery(framing)
    for clip, short in zip(clips, lacks, strict=True):
        stage.service.twist(times=1, kind="mp3", path=clip.uuid, short=short)
    for clip, found in zip(clips, stage.read_all(clips), strict=True):
        assert whole(found, content(clip.assets["mp3"]))


def test_ends_early_behind_a_length(stage: Stage) -> None:
    """A pass of fewer bytes than its Content-Length is never whole, however often it comes; it is an error,
    and once it comes whole, it is the file."""
    (clip,) = stage.clips(1)
    stage.service.twist(kind="mp3", path=clip.uuid, cut=Cut(SIZE - 10, clean=True))
    assert stage.read(clip) in ("EIO", "ETIMEDOUT", "ESTALE")
    stage.service.clear()
    assert _patiently(stage, clip) == content(clip.assets["mp3"])


def test_two_short_passes_of_two_lengths(stage: Stage) -> None:
    """Two passes that end early, at different lengths, are EIO; nothing of them is kept."""
    clips = stage.clips(4)
    stage.service.knobs.mp3 = _delivery(Framing.CHUNKED)
    for clip in clips:
        # The later twist lies on top: the first pass lacks 70,001 bytes and the second 100,000.
        stage.service.twist(times=2, kind="mp3", path=clip.uuid, short=100_000)
        stage.service.twist(times=1, kind="mp3", path=clip.uuid, short=70_001)
        assert stage.read(clip) == "EIO"
        assert _patiently(stage, clip) == content(clip.assets["mp3"])


def test_two_short_passes_of_one_length(stage: Stage) -> None:
    """Where two passes end at the same byte, and no listing says otherwise, it is believed and kept."""
    (clip,) = stage.clips(1, None)
    stage.service.knobs.mp3 = _delivery(Framing.CHUNKED)
    stage.service.twist(kind="mp3", path=clip.uuid, short=100_000)
    shorter = content(clip.assets["mp3"])[: SIZE - 100_000]
    assert stage.read(clip) == shorter
    assert stage.passes() == 2
    assert stage.read(clip) == shorter
    assert stage.passes() == 2


def test_cut_twice_at_one_byte(stage: Stage) -> None:
    """An mp3 that is cut in a frame and too short for its listing is never believed, as often as it comes."""
    (clip,) = stage.clips(1)
    for framing in (Framing.CHUNKED, Framing.CLOSE):
        stage.service.knobs.mp3 = _delivery(framing)
        twist = stage.service.twist(kind="mp3", path=clip.uuid, short=SIZE - 2161)
        assert stage.read(clip) == "EIO"
        stage.service.twists.remove(twist)
    assert _patiently(stage, clip) == content(clip.assets["mp3"])


@pytest.mark.parametrize(
    ("listed", "real", "passes"),
    [(SECONDS, SECONDS - 1, 1), (SECONDS, SECONDS - 5, 2), (SECONDS, SECONDS + 5, 1), (None, 3.0, 1)],
    ids=["a little shorter", "shorter", "longer", "nothing listed"],
)
def test_other_length_than_its_listing(listed: float | None, real: float, passes: int, stage: Stage) -> None:
    """An mp3 longer than its listing, or a little shorter, is whole at once; one much shorter is asked for
    once more if nobody tells its length, and then believed."""
    for framing, clip in zip(Framing, stage.clips(len(Framing), listed, real), strict=True):
        began = stage.passes()
        stage.service.knobs.mp3 = _delivery(framing)
        assert stage.read(clip) == content(clip.assets["mp3"])
        assert stage.passes() - began == (1 if framing is Framing.LENGTH else passes)


def test_other_length_at_the_second_pass(stage: Stage) -> None:
    """Where the pass that starts over tells another length, or none and has another, what was open gets an
    error or nothing wrong, and the next reader the new rendering whole."""
    for framing in (Framing.LENGTH, Framing.CHUNKED):
        for more in (-3.0, 3.0):
            (clip,) = stage.clips(1, None)
            path = stage.mount.path / "flowmusic" / f"{clip.uuid}.mp3"
            old = content(clip.assets["mp3"])
            stage.service.twist(times=1, kind="mp3", path=clip.uuid, drip=150_000.0, cut=Cut(150_000))
            began = stage.passes()
            with path.open("rb", buffering=0) as file:
                assert read_at(file.fileno(), 0, 1000) == old[:1000]
                stage.service.knobs.mp3 = _delivery(framing)
                clip.assets["mp3"] = Mp3Noise(SECONDS + more, clip.uuid)
                try:
                    found: bytes | int = read_at(file.fileno(), 0, SIZE)
                except OSError as failed:
                    found = failed.errno or 0
                new = content(clip.assets["mp3"])
                assert isinstance(found, int) or found == old or new.startswith(found)
            assert _patiently(stage, clip) == new
            assert stage.passes() - began <= 4, "downloaded again and again"
            stage.service.clear()


def test_killed_in_the_middle(stage: Stage) -> None:
    """A pass that a crash cut off leaves nothing that would be taken for the file."""
    (clip,) = stage.clips(1)
    stage.service.knobs.mp3 = _delivery(Framing.LENGTH, restless=True)
    stage.service.twist(times=1, kind="mp3", path=clip.uuid, drip=80_000.0)
    path = stage.mount.path / "flowmusic" / f"{clip.uuid}.mp3"
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)  # or the kernel wants half the song before it answers
    read_at(file, 0, 60_000)
    stage.mount.crash()
    with contextlib.suppress(OSError):  # The dead mount may say so.
        os.close(file)
    TRUST["deaths"] += 1
    stage.mount.start()
    found = stage.read(clip)
    assert stage.passes() == 2
    assert any(found == content(_rendering(clip, call)) for call in range(1, 128))
