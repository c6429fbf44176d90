"""The stage itself: a twin is what it is a copy of, and the wire counts."""

from __future__ import annotations

from tests.clients.stage import Stage
from tests.clients.work import whole, work


def test_twins(scene: Stage) -> None:
    """Every kind of song is on the mount what its local copy is, byte for byte and with the same time."""
    for twin in (scene.mp3(), scene.m4a(), scene.wav(), scene.stem(), scene.stem("bass.wav")):
        assert twin.there.read_bytes() == twin.here.read_bytes()
        assert twin.there.stat().st_size == twin.size
        assert abs(twin.there.stat().st_mtime_ns - twin.here.stat().st_mtime_ns) < 1000


def test_counting(scene: Stage) -> None:
    """What comes over the wire is counted until the last byte is here."""
    twin = scene.wav()
    with scene.counted() as cost:
        work(["head", "-c", "1000", "{name}"], twin.there)
    assert 0 < cost.bytes < whole(twin)
    assert "mint" in cost.requests
