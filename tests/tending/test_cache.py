"""Looking after the cache, over the store alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.spans import BLOCK, block_span
from musicfs.store import Entry, Store
from musicfs.tending.cache import Check, Inventory, Pruning
from tests.store.conftest import Cache, all_of, body

NAMES = ("tempolor:a:wav", "tempolor:b:wav", "tempolor:b:stems", "tempolor:b:stems/x.txt", "flowmusic:c:mp3")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """A cache of 64 MiB."""
    made = Cache(tmp_path / "cache")
    yield made
    made.store.close()


def passed(cache: Cache, key: str, size: int = 3 * BLOCK + 100) -> Entry:
    """Make an object that came in one pass."""
    entry = cache.passing(key)
    entry.append(body(key, size))
    entry.seal("00" * 32)
    return entry


def checked(store: Store) -> Check:
    """Check everything."""
    check = Check()
    for _ in check.steps(store):
        pass
    return check


def data(cache: Cache, entry: Entry, suffix: str = ".data") -> Path:
    """Give an object's file."""
    return next(path for path in cache.files(suffix) if path.stem == entry.digest)


def flipped(path: Path, at: int) -> None:
    """Turn a byte over."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_inventory_by_service_and_form(cache: Cache) -> None:
    """Objects, whole ones, bytes and pinned bytes; all members of archives are stems, all pictures covers."""
    for name in NAMES[:4]:
        cache.filled(name)
    passed(cache, NAMES[4]).pin()
    cache.ranged("tempolor:d:wav").write(0, body("d", BLOCK))
    for name in ("flowmusic:c:cover-1f.jpg", "flowmusic:d:cover-2e.png"):
        cache.filled(name)
    inventory = Inventory()
    assert len(list(inventory.steps(cache.store))) == 8
    told = inventory.told(cache.store)
    kept = [
        (form["service"], form["form"], form["objects"], form["whole"], form["pinned"] > 0)
        for form in told["forms"]
    ]
    assert kept == [
        ("flowmusic", "cover-", 2, 2, False),
        ("flowmusic", "mp3", 1, 1, True),
        ("tempolor", "stems", 2, 2, False),
        ("tempolor", "wav", 3, 2, False),
    ]
    assert sum(form["used"] for form in told["forms"]) == told["used"] == cache.store.used


def test_all_good(cache: Cache) -> None:
    """Every block of a sound cache is read, nothing is found, nothing changes; a running pass is not one."""
    cache.filled(NAMES[0])
    passed(cache, NAMES[4])
    running = cache.passing("flowmusic:d:mp3")
    running.append(body("d", 2 * BLOCK + 5))
    before = [entry.digest for entry in cache.store.objects()]
    check = checked(cache.store)
    assert (check.good, check.objects, check.blocks, check.bad_blocks) == (True, 3, 10, 0)
    assert check.size == 2 * (3 * BLOCK + 100) + 2 * BLOCK
    assert [entry.digest for entry in cache.store.objects()] == before
    running.seal("00" * 32)
    assert all_of(running) == body("d", 2 * BLOCK + 5)


@pytest.mark.parametrize("restarted", [False, True])
def test_flipped_bytes(cache: Cache, restarted: bool) -> None:
    """A bad block of a ranged object is dropped alone and its pin stays; a whole-pass object goes whole; both
    are named; a second check finds nothing."""
    ranged, whole = cache.filled(NAMES[0]), passed(cache, NAMES[4])
    ranged.pin()
    flipped(data(cache, ranged), 2 * BLOCK)
    flipped(data(cache, whole), 5)
    store = cache.restart() if restarted else cache.store
    check = checked(store)
    assert (check.good, check.bad_objects, check.bad_blocks, check.bad_pinned) == (False, 2, 2, 1)
    assert sorted(check.damaged) == sorted((NAMES[0], NAMES[4]))
    found = store.find(NAMES[0], 1)
    assert found is not None
    assert set(found.have) == {0, 1, 3}
    assert found.pinned
    assert store.find(NAMES[4], 1) is None
    assert checked(store).good


def _written(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "the data is cut": lambda data, record: os.truncate(data, BLOCK + 7),
    "the data is gone": lambda data, record: data.unlink(),
    "the data is zeroed": lambda data, record: _written(data, bytes(data.stat().st_size)),
    "the map is cut": lambda data, record: os.truncate(record, record.stat().st_size - 3),
    "the map is gone": lambda data, record: record.unlink(),
    "the map is rubbish": lambda data, record: _written(record, b"rubbish"),
    "the map is empty": lambda data, record: os.truncate(record, 0),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("whole", [False, True], ids=["ranged", "whole"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage(cache: Cache, damage: str, whole: bool, restarted: bool) -> None:
    """After a check there is nothing wrong left: what is here is right, another check and a restart agree."""
    entry = passed(cache, NAMES[4]) if whole else cache.filled(NAMES[4])
    DAMAGES[damage](data(cache, entry), data(cache, entry, ".map"))
    store = cache.restart() if restarted else cache.store
    first = checked(store)
    if not restarted:
        assert not first.good
    assert checked(store).good
    kept = {one.key: sorted(one.have) for one in store.entries() if one.have}
    store = cache.restart()
    assert checked(store).good
    assert {one.key: sorted(one.have) for one in store.entries() if one.have} == kept
    for blocks in kept.values():
        for block in blocks:
            (one,) = store.entries()
            span = block_span(block, len(body(NAMES[4], 3 * BLOCK + 100)))
            assert bytes(one.read(span)) == body(NAMES[4], 3 * BLOCK + 100)[span.start : span.stop]


def test_prune(cache: Cache) -> None:
    """What is pinned or held stays; the rest goes, or only what was unused for long enough."""
    pinned, held = cache.filled("tempolor:a:wav"), cache.filled("tempolor:b:wav")
    pinned.pin()
    held.hold()
    cache.filled("tempolor:c:wav")
    then = cache.clock.now
    cache.clock.now += 1000
    cache.filled("tempolor:d:wav")
    for before, gone in ((then, 0), (then + 1, 1), (inf, 1)):
        pruning = Pruning()
        used = cache.store.used
        assert len(list(pruning.steps(cache.store, before))) == gone
        assert (pruning.objects, used - pruning.freed) == (gone, cache.store.used)
    assert pruning.kept == 2
    assert {entry.key for entry in cache.store.entries()} == {"tempolor:a:wav", "tempolor:b:wav"}
    held.release()


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4 * BLOCK - 1)), max_size=6), st.booleans())
def test_law_of_checks(
    tmp_path_factory: pytest.TempPathFactory, flips: set[tuple[int, int]], again: bool
) -> None:
    """Exactly the blocks with a flipped byte are bad, however many and wherever; the others stay."""
    cache = Cache(tmp_path_factory.mktemp("law"))
    try:
        entries = [cache.filled(f"tempolor:{number}:wav", 4 * BLOCK) for number in range(4)]
        for number, at in flips:
            flipped(data(cache, entries[number]), at)
        store = cache.restart() if again else cache.store
        turned = {(number, at // BLOCK) for number, at in flips}
        check = checked(store)
        assert check.bad_blocks == len(turned)
        for number in range(4):
            found = store.find(f"tempolor:{number}:wav", 1)
            assert found is not None
            assert set(found.have) == {block for block in range(4) if (number, block) not in turned}
    finally:
        cache.store.close()
