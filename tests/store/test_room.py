"""Room: the limit is a limit, the longest unused gives way first, and what must stay stays."""

import logging
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from musicfs.core.spans import BLOCK
from musicfs.errors import StoreError, StoreFull
from musicfs.model import Span
from musicfs.store import Absent, Entry, Kind
from musicfs.store.room import ASK_EVERY, SLACK
from tests.store.conftest import MIB, Cache, all_of, body


@pytest.fixture
def small(tmp_path: Path) -> Cache:
    """A cache of 1 MiB: three objects of four blocks, not four."""
    return Cache(tmp_path / "cache", limit=MIB)


def keys(cache: Cache) -> set[str]:
    """Say what is in the cache."""
    return {each.key for each in cache.store.entries()}


def test_the_longest_unused_gives_way(small: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Reading an object keeps it; the one that was not read goes, and the log says so at INFO."""
    for key in "abc":
        small.filled(key, 4 * BLOCK)
    first = small.store.find("a", 1)
    assert first
    first.read(Span(0, 1))
    with caplog.at_level(logging.INFO, "musicfs.store"):
        small.filled("d", 4 * BLOCK)
    assert keys(small) == {"a", "c", "d"}
    assert [(each.levelname, each.message) for each in caplog.records] == [("INFO", "let go of b")]
    assert small.store.snapshot().evicted > 4 * BLOCK


def test_the_order_of_use_survives_a_restart(small: Cache) -> None:
    """After a restart it is still the longest unused that goes."""
    for key in "abc":
        small.filled(key, 4 * BLOCK)
    for key in "bac":
        small.clock.now += 100
        entry = small.store.find(key, 1)
        assert entry
        entry.read(Span(0, 1))
    small.restart()
    small.filled("d", 4 * BLOCK)
    assert keys(small) == {"a", "c", "d"}


def test_held_passes_never_give_way(small: Cache) -> None:
    """A WHOLE object in use stays whole, and one that finds no room is StoreFull."""
    held = small.passing("held")
    held.append(bytes(10 * BLOCK))
    held.hold()
    other = small.passing("other")
    other.hold()
    with pytest.raises(StoreFull):
        other.append(bytes(6 * BLOCK))
    assert bytes(held.read(Span(0, 10 * BLOCK))) == bytes(10 * BLOCK)
    held.release()
    other.append(bytes(3 * BLOCK))
    assert held.gone
    assert bytes(other.read(Span(0, other.watermark))) == bytes(other.watermark)


def test_a_pass_goes_on_after_a_full_disk(small: Cache) -> None:
    """After StoreFull the watermark says how many bytes were taken, and the rest may follow later."""
    held = small.filled("held", 7 * BLOCK)
    held.pin()
    data = body("p", 12 * BLOCK)
    entry = small.passing()
    entry.hold()
    with pytest.raises(StoreFull):
        entry.append(data)
    assert 0 < entry.watermark < len(data)
    assert bytes(entry.read(Span(0, entry.watermark))) == data[: entry.watermark]
    held.unpin()
    entry.append(data[entry.watermark :])
    entry.seal("00" * 32)
    assert all_of(entry) == data


def test_held_ranges_lose_blocks(small: Cache) -> None:
    """A ranged object in use gives way block by block, those that were not read for longest first."""
    entry = small.ranged("long", 64 * BLOCK)
    entry.hold()
    song = body("long", 64 * BLOCK)
    for block in range(40):
        entry.write(block, song[block * BLOCK : (block + 1) * BLOCK])
        entry.read(Span(0, 1))
    assert not entry.gone
    assert 8 < len(entry.have) < 16
    assert 0 in entry.have
    assert set(entry.have) - {0} == set(range(41 - len(entry.have), 40))
    assert small.allocated() <= small.limit
    found = small.restart().find("long", 1)
    assert found
    assert found.have == entry.have
    for block in found.have:
        assert bytes(found.read(Span(block * BLOCK, (block + 1) * BLOCK))) == song[block * BLOCK :][:BLOCK]


def test_those_in_use_give_way_last(small: Cache) -> None:
    """As long as anything unheld is left, a held object keeps its blocks."""
    held = small.filled("held", 4 * BLOCK)
    held.hold()
    for key in "abcdef":
        small.filled(key, 4 * BLOCK)
    assert held.whole


def test_pinned_objects_never_give_way(small: Cache) -> None:
    """A pinned object outlives everything, also a restart with pressure."""
    small.filled("pinned", 4 * BLOCK).pin()
    small.restart()
    for key in "abcdef":
        small.filled(key, 4 * BLOCK)
    found = small.store.find("pinned", 1)
    assert found
    assert all_of(found) == body("pinned", 4 * BLOCK)
    found.unpin()
    assert small.store.pinned == 0
    for key in "ghij":
        small.filled(key, 4 * BLOCK)
    assert found.gone


def test_pins_take_half_the_limit_at_most(small: Cache) -> None:
    """A pin that would pass half the limit is StoreFull, also for an object that grows or will be larger."""
    small.filled("a", 4 * BLOCK).pin()
    with pytest.raises(StoreFull):
        small.filled("b", 4 * BLOCK).pin()
    with pytest.raises(StoreFull):
        small.ranged("c", 4 * BLOCK).pin()
    growing = small.passing("d")
    growing.pin()
    with pytest.raises(StoreFull):
        growing.append(bytes(4 * BLOCK))
    assert small.store.pinned <= small.limit // 2


def test_expected_room_is_kept(small: Cache) -> None:
    """Room promised to a pass is not given to others, and what fits nowhere fails before it begins."""
    entry = small.passing()
    entry.hold()
    with pytest.raises(StoreFull):
        entry.expect(2 * MIB)
    entry.expect(12 * BLOCK)
    entry.append(bytes(6 * BLOCK))
    entry.expect(12 * BLOCK)
    other = small.passing("other")
    other.hold()
    with pytest.raises(StoreFull):
        other.append(bytes(4 * BLOCK))
    other.discard()
    entry.append(bytes(6 * BLOCK))
    entry.seal("00" * 32)
    small.filled("a", 2 * BLOCK)
    assert entry.whole
    small.store.drop("p", 1)
    with pytest.raises(StoreError):
        entry.expect(1)


def test_promised_room_is_written_to(small: Cache) -> None:
    """A pass that was promised its room needs no other, and its seal gives back what it did not use."""
    other = small.passing("other")
    other.hold()
    other.append(bytes(3 * BLOCK))
    entry = small.passing()
    entry.hold()
    entry.expect(12 * BLOCK)
    entry.append(bytes(12 * BLOCK))
    entry.truncate(BLOCK)
    entry.expect(12 * BLOCK)
    entry.seal("00" * 32)
    other.append(bytes(11 * BLOCK))
    assert other.watermark == 14 * BLOCK


def test_pinned_objects_in_use_keep_their_blocks(small: Cache) -> None:
    """Among the objects in use it is those that are not pinned that lose blocks."""
    pinned = small.filled("pinned", 6 * BLOCK)
    pinned.pin()
    pinned.hold()
    other = small.ranged("other", 20 * BLOCK)
    other.hold()
    for block in range(20):
        other.write(block, bytes(BLOCK))
    assert pinned.whole
    assert len(other.have) < 20


def test_nobody_goes_in_vain(small: Cache) -> None:
    """When letting all go could not make room enough, nothing is let go."""
    small.filled("a", 4 * BLOCK)
    with pytest.raises(StoreFull):
        small.store.make_room(2 * MIB)
    assert keys(small) == {"a"}
    small.store.make_room(MIB)
    assert keys(small) == set()


def test_the_disk_is_kept_free(tmp_path: Path) -> None:
    """On a disk with less left than must be kept free, nothing is begun."""
    free = os.statvfs(tmp_path)
    cache = Cache(tmp_path / "cache", keep_free=2 * free.f_bavail * free.f_frsize)
    with pytest.raises(StoreFull):
        cache.ranged()
    assert cache.allocated() == 0


def test_a_full_disk_is_store_full(small_disk: Path) -> None:
    """A disk that fills up unseen is StoreFull, and the block that did not fit is not believed."""
    cache = Cache(small_disk / "cache")
    entry = cache.ranged("a", 64 * BLOCK)
    entry.write(0, body("a", BLOCK))
    left = os.statvfs(small_disk)
    (small_disk / "foreign").write_bytes(bytes(left.f_bavail * left.f_frsize - BLOCK // 2))
    with pytest.raises(StoreFull, match="disk"):
        entry.write(1, bytes(BLOCK))
    assert set(entry.have) == {0}
    found = cache.restart().find("a", 1)
    assert found
    assert bytes(found.read(Span(0, BLOCK))) == body("a", BLOCK)
    with pytest.raises(Absent):
        found.read(Span(BLOCK, BLOCK + 1))
    (small_disk / "foreign").unlink()
    cache.clock.now += ASK_EVERY
    found.write(1, bytes(BLOCK))
    assert cache.store.used == cache.allocated()
    cache.store.close()


def test_others_filling_the_disk_push_the_cache_back(small_disk: Path) -> None:
    """When another program takes the disk, the longest unused give way until enough is free again."""
    cache = Cache(small_disk / "cache", keep_free=4 * BLOCK)
    for key in "ab":
        cache.filled(key, 4 * BLOCK)
    (small_disk / "foreign").write_bytes(bytes(5 * BLOCK))
    cache.clock.now += ASK_EVERY
    cache.filled("c", 2 * BLOCK)
    assert keys(cache) == {"b", "c"}
    cache.store.close()


def test_the_disk_is_asked_before_anybody_goes(small_disk: Path) -> None:
    """Room that another program gave back since the last look spares those who would have gone."""
    (small_disk / "foreign").write_bytes(bytes(6 * BLOCK))
    cache = Cache(small_disk / "cache", keep_free=4 * BLOCK)
    cache.filled("a", 4 * BLOCK)
    (small_disk / "foreign").unlink()
    cache.filled("b", 4 * BLOCK)
    assert keys(cache) == {"a", "b"}
    cache.store.close()


SIZES = {"a": 5 * BLOCK + 17, "b": 12 * BLOCK, "c": 40 * BLOCK + 4096, "d": 100}
LIMIT = 8 * BLOCK + 4 * SLACK


class Limit(RuleBasedStateMachine):
    """Random use of a cache far too small for it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.cache = Cache(Path(self.folder.name) / "cache", LIMIT)
        self.held: list[Entry] = []

    def teardown(self) -> None:
        self.cache.store.close()
        self.folder.cleanup()

    def entry(self, key: str) -> Entry:
        return self.cache.store.find(key, 1) or self.cache.ranged(key, SIZES[key])

    @rule(key=st.sampled_from(sorted(SIZES)), first=st.integers(0, 40), count=st.integers(1, 6))
    def write(self, key: str, first: int, count: int) -> None:
        """Blocks that fit are taken; StoreFull is the only other answer."""
        song = body(key, SIZES[key])
        in_the_way = bool(self.held or self.cache.store.pinned)
        try:
            entry = self.entry(key)
            for block in range(first, first + count):
                if block * BLOCK < len(song):
                    entry.write(block, song[block * BLOCK : (block + 1) * BLOCK])
        except StoreFull:
            assert in_the_way

    @rule(
        key=st.sampled_from(sorted(SIZES)), start=st.integers(0, 41 * BLOCK), length=st.integers(0, BLOCK * 2)
    )
    def read(self, key: str, start: int, length: int) -> None:
        """What is read is what was written, or it is not here."""
        entry = self.cache.store.find(key, 1)
        if entry:
            try:
                got = entry.read(Span(start, start + length))
            except Absent:
                return
            assert bytes(got) == body(key, SIZES[key])[start : start + length]

    @rule(size=st.integers(0, 10 * BLOCK), seal=st.booleans())
    def pass_by(self, size: int, seal: bool) -> None:
        """A pass is kept whole or not at all."""
        try:
            entry = self.cache.store.create("pass", 1, Kind.WHOLE, None, "")
            entry.hold()
            entry.append(body("pass", size))
            if seal:
                entry.seal("00" * 32)
                assert all_of(entry) == body("pass", size)
            entry.release()
        except StoreFull:
            self.cache.store.drop("pass", 1)

    @rule(key=st.sampled_from(sorted(SIZES)))
    def hold(self, key: str) -> None:
        """Use an object for a while."""
        entry = self.cache.store.find(key, 1)
        if entry:
            entry.hold()
            self.held.append(entry)

    @precondition(lambda self: self.held)
    @rule()
    def release(self) -> None:
        """Stop using one."""
        self.held.pop(0).release()

    @rule(key=st.sampled_from(sorted(SIZES)), pinned=st.booleans())
    def pin(self, key: str, pinned: bool) -> None:
        """Pin or unpin what is here."""
        entry = self.cache.store.find(key, 1)
        if entry:
            try:
                entry.pin() if pinned else entry.unpin()
            except StoreFull:
                assert pinned

    @rule()
    def restart(self) -> None:
        """Start again on the same folder."""
        self.held.clear()
        before = self.cache.store.used
        self.cache.restart()
        assert self.cache.store.used <= before

    @invariant()
    def keeps_the_limit(self) -> None:
        """The disk agrees with the count, and neither passes the limit."""
        assert self.cache.allocated() == self.cache.store.used <= LIMIT
        assert self.cache.store.pinned <= LIMIT // 2


TestLimit = Limit.TestCase
TestLimit.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_file_system_without_holes(small: Cache) -> None:
    """Where no holes can be made, objects in use keep their blocks and what does not fit is StoreFull."""
    entry = small.filled("long", 12 * BLOCK)
    entry.hold()
    small.store._room.holes = False
    with pytest.raises(StoreFull):
        small.passing().append(bytes(8 * BLOCK))
    assert entry.whole
