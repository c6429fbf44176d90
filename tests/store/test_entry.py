"""One object: what is read is what was written, or an error that names the block."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from musicfs.core.spans import BLOCK
from musicfs.errors import StoreError
from musicfs.model import Span
from musicfs.store import Absent, Damaged
from musicfs.store.room import STAMP_EVERY
from tests.store.conftest import Cache, all_of, body

SIZE = 3 * BLOCK + 100
SONG = body("a", SIZE)


def test_ranges_are_read_as_written(cache: Cache) -> None:
    """Any span of an object that is whole gives its bytes, also across blocks and at the short end."""
    entry = cache.filled()
    assert entry.whole
    for span in (Span(0, SIZE), Span(5, 6), Span(BLOCK - 1, BLOCK + 1), Span(SIZE - 1, SIZE), Span(9, 9)):
        assert bytes(entry.read(span)) == SONG[span.start : span.stop]


def test_a_row_of_blocks_is_written_piece_by_piece(cache: Cache) -> None:
    """No call writes more than 64 KiB: larger ones cost eight times the CPU on some virtual machines."""
    entry = cache.ranged()

    def calls() -> int:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(lines["syscw"])

    before = calls()
    entry.write(0, SONG)
    assert calls() - before >= 4 + 1  # the blocks, and their records
    assert bytes(entry.read(Span(0, SIZE))) == SONG


def test_a_missing_block_is_named(cache: Cache) -> None:
    """Reading what is not here raises Absent with the first such block; with gaps it is not whole."""
    entry = cache.ranged()
    entry.write(1, SONG[BLOCK : 2 * BLOCK])
    assert (set(entry.have), entry.whole) == ({1}, False)
    assert bytes(entry.read(Span(BLOCK, 2 * BLOCK))) == SONG[BLOCK : 2 * BLOCK]
    with pytest.raises(Absent) as caught:
        entry.read(Span(BLOCK, 3 * BLOCK))
    assert caught.value.block == 2


def test_nothing_is_read_behind_the_end(cache: Cache) -> None:
    """A span that leaves the object raises, it is never cut short."""
    entry = cache.filled()
    with pytest.raises(Absent):
        entry.read(Span(SIZE - 1, SIZE + 1))
    with pytest.raises(Absent):
        entry.read(Span(9 * BLOCK, 9 * BLOCK + 1))


@pytest.mark.parametrize(("block", "length"), [(0, BLOCK - 1), (3, 99), (3, BLOCK), (4, 1), (4, 0)])
def test_only_whole_blocks_are_taken(cache: Cache, block: int, length: int) -> None:
    """A block of another length than the object's is a mistake of the caller."""
    with pytest.raises(ValueError):
        cache.ranged().write(block, bytes(length))


def test_a_flipped_byte_is_noticed_under_a_live_entry(cache: Cache) -> None:
    """A byte changed on disk raises Damaged, drops the block, and the block can be written again."""
    entry = cache.filled()
    with cache.file(".data").open("r+b") as file:
        file.seek(BLOCK + 5)
        file.write(b"\x00")
    with pytest.raises(Damaged) as caught:
        entry.read(Span(0, SIZE))
    assert caught.value.block == 1
    assert set(entry.have) == {0, 2, 3}
    assert cache.store.snapshot().damaged == 1
    entry.write(1, SONG[BLOCK : 2 * BLOCK])
    assert all_of(entry) == SONG


def test_a_dropped_block_stays_dropped_after_a_restart(cache: Cache) -> None:
    """A bad block is recorded, so that it is not believed again."""
    entry = cache.filled()
    with cache.file(".data").open("r+b") as file:
        file.write(b"\x00")
    with pytest.raises(Damaged):
        entry.read(Span(0, 1))
    found = cache.restart().find("a", 1)
    assert found
    assert set(found.have) == {1, 2, 3}


def test_swapped_data_is_noticed(cache: Cache) -> None:
    """The data of another object is damage, whatever it holds."""
    first, second = cache.filled("a"), cache.filled("b")
    one, two = cache.files(".data")
    spare = one.with_suffix(".spare")
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    for entry in (first, second):
        with pytest.raises(Damaged):
            entry.read(Span(0, 1))


def delete(cache: Cache) -> None:
    """Remove the data file."""
    cache.file(".data").unlink()


def shorten(cache: Cache) -> None:
    """Cut the data file inside its second block."""
    os.truncate(cache.file(".data"), BLOCK + 1)


def empty(cache: Cache) -> None:
    """Remove the object's folder with all that is in it."""
    folder = cache.file(".data").parent
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()


@pytest.mark.parametrize(("harm", "left"), [(delete, set()), (shorten, {0}), (empty, set())])
def test_a_file_lost_under_a_live_entry_is_noticed(
    cache: Cache, harm: Callable[[Cache], None], left: set[int]
) -> None:
    """What vanished from disk is dropped at the next read, and can be written again and survive a restart."""
    entry = cache.filled()
    harm(cache)
    with pytest.raises(Damaged):
        entry.read(Span(2 * BLOCK, 2 * BLOCK + 1))
    assert set(entry.have) == left
    for block in range(4):
        entry.write(block, SONG[block * BLOCK : (block + 1) * BLOCK])
    assert all_of(entry) == SONG
    found = cache.restart().find("a", 1)
    assert found
    assert all_of(found) == SONG


def test_bytes_without_a_record_are_not_believed(cache: Cache) -> None:
    """Killed between the bytes and the record, the block is not here."""
    cache.ranged().write(0, SONG[:BLOCK])
    with cache.file(".data").open("r+b") as file:
        file.seek(BLOCK)
        file.write(SONG[BLOCK : 2 * BLOCK])
    found = cache.restart().find("a", 1)
    assert found
    assert set(found.have) == {0}


def test_a_torn_record_is_cut_away_by_the_next(cache: Cache) -> None:
    """Killed inside a record, the map goes on behind the last good one and stays readable."""
    entry = cache.ranged()
    entry.write(0, SONG[:BLOCK])
    whole = cache.file(".map").stat().st_size
    entry.write(1, SONG[BLOCK : 2 * BLOCK])
    os.truncate(cache.file(".map"), cache.file(".map").stat().st_size - 3)
    with cache.file(".map").open("ab") as file:
        file.write(bytes(100))
    found = cache.restart().find("a", 1)
    assert found
    assert set(found.have) == {0}
    found.write(2, SONG[2 * BLOCK : 3 * BLOCK])
    assert cache.file(".map").stat().st_size < 2 * whole
    again = cache.restart().find("a", 1)
    assert again
    assert set(again.have) == {0, 2}


def test_verify_names_the_bad_blocks(cache: Cache) -> None:
    """Verifying reads every block, gives the bad ones and leaves the good ones."""
    entry = cache.filled()
    assert cache.store.verify(entry) == []
    with cache.file(".data").open("r+b") as file:
        file.write(b"\x00")
        file.seek(2 * BLOCK)
        file.write(b"\x00")
    assert cache.store.verify(entry) == [0, 2]
    assert set(entry.have) == {1, 3}


def test_a_use_is_stamped_once_a_minute(cache: Cache) -> None:
    """Reading stamps the map with the clock's time, but not at every read."""
    entry = cache.filled()
    cache.clock.now += STAMP_EVERY
    entry.read(Span(0, 1))
    stamped = cache.clock.now
    cache.clock.now += STAMP_EVERY - 1
    entry.read(Span(0, 1))
    assert cache.file(".map").stat().st_mtime == stamped


def test_a_pass_is_read_up_to_its_watermark(cache: Cache) -> None:
    """Bytes of a running pass are served as they come, in pieces of any length."""
    entry = cache.passing()
    for start in range(0, SIZE, 50_000):
        entry.append(SONG[start : start + 50_000])
        mark = entry.watermark
        assert mark == min(SIZE, start + 50_000)
        assert bytes(entry.read(Span(0, mark))) == SONG[:mark]
        assert bytes(entry.read(Span(mark - 1, mark))) == SONG[mark - 1 : mark]
        with pytest.raises(Absent):
            entry.read(Span(mark - 1, mark + 1))
    assert (entry.whole, entry.size) == (False, None)


def test_a_sealed_pass_is_kept(cache: Cache) -> None:
    """With the seal the size is known, the SHA-256 is the validator, and a restart keeps all."""
    entry = cache.passing()
    entry.append(SONG)
    entry.seal(hashlib.sha256(SONG).hexdigest())
    for found in (entry, cache.restart().find("p", 1)):
        assert found
        assert (found.whole, found.sealed, found.size) == (True, True, SIZE)
        assert found.validator == hashlib.sha256(SONG).hexdigest()
        assert all_of(found) == SONG


@pytest.mark.parametrize("size", [0, 1, BLOCK, 2 * BLOCK + 7, SIZE])
def test_a_pass_starts_over(cache: Cache, size: int) -> None:
    """After going back to any byte the pass goes on from there, and a shorter end leaves no old block."""
    entry = cache.passing()
    entry.append(SONG)
    entry.truncate(size)
    assert (entry.watermark, bytes(entry.read(Span(0, size)))) == (size, SONG[:size])
    entry.append(b"new end")
    entry.seal("00" * 32)
    found = cache.restart().find("p", 1)
    assert found
    assert all_of(found) == SONG[:size] + b"new end"


def test_an_unsealed_pass_is_thrown_away_at_restart(cache: Cache) -> None:
    """What a crash left of a pass is removed, files and all."""
    cache.passing().append(SONG)
    store = cache.restart()
    assert store.find("p", 1) is None
    assert (store.used, cache.allocated(), store.snapshot().objects) == (0, 0, 0)


def test_a_pass_that_lost_a_block_is_not_sealed(cache: Cache) -> None:
    """A block lost under a running pass keeps it from becoming an object."""
    entry = cache.passing()
    entry.append(SONG)
    cache.file(".data").unlink()
    with pytest.raises(Damaged):
        entry.read(Span(0, 1))
    with pytest.raises(Damaged):
        entry.seal("00" * 32)


def test_a_damaged_whole_object_is_gone_after_a_restart(cache: Cache) -> None:
    """A pass cannot be mended in part, so one bad block makes the object unknown."""
    entry = cache.passing()
    entry.append(SONG)
    entry.seal("00" * 32)
    with cache.file(".data").open("r+b") as file:
        file.write(b"\x00")
    with pytest.raises(Damaged):
        entry.read(Span(0, 1))
    assert not entry.whole
    assert cache.restart().find("p", 1) is None
    assert cache.allocated() == 0


def test_a_discarded_object_is_gone(cache: Cache) -> None:
    """Discarding removes the files; the entry then has nothing, takes nothing, and harms no successor."""
    entry = cache.passing()
    entry.append(SONG)
    entry.discard()
    assert cache.allocated() == 0
    assert entry.gone
    with pytest.raises(Absent):
        entry.read(Span(0, 1))
    with pytest.raises(StoreError):
        entry.append(b"more")
    successor = cache.passing()
    successor.append(SONG)
    entry.hold()
    successor.hold()
    entry.release()
    entry.discard()
    assert bytes(successor.read(Span(0, SIZE))) == SONG


def test_files_are_private_and_named_by_digest(cache: Cache) -> None:
    """Folders are 0700, files 0600, and no name tells what the object is."""
    cache.filled("flowmusic:secret:mp3").pin()
    cache.passing().append(SONG)
    for each in (cache.folder / "objects").rglob("*"):
        assert each.stat().st_mode & 0o777 == (0o700 if each.is_dir() else 0o600)
        assert "secret" not in each.name
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_reprs_say_what_is_here(cache: Cache) -> None:
    """An entry tells its key, version, kind and how much of it is here."""
    entry = cache.ranged()
    assert repr(entry) == "<Entry a v1 ranged 0 blocks>"
    cache.store.drop("a", 1)
    assert repr(entry) == "<Entry a v1 ranged gone>"


@pytest.mark.expected_log("WARNING .*cannot read a from the cache")
def test_a_disk_that_cannot_be_read_is_damage(cache: Cache) -> None:
    """When the disk refuses the bytes they count as lost, with a warning, so that they are fetched again."""
    entry = cache.filled()
    cache.file(".data").unlink()
    (cache.folder / "objects" / entry.digest[:2] / f"{entry.digest}.data").mkdir()
    with pytest.raises(Damaged):
        entry.read(Span(0, 1))
    with pytest.raises(StoreError):
        entry.write(0, SONG[:BLOCK])


@pytest.mark.expected_log("WARNING .*cannot record dropped blocks of a")
@pytest.mark.expected_log("WARNING .*cannot note the use of a")
def test_a_map_that_cannot_be_written_costs_no_read(cache: Cache) -> None:
    """When no use and no loss can be recorded, good blocks are read and bad ones dropped all the same."""
    entry = cache.filled()
    path = cache.file(".map")
    path.unlink()
    path.symlink_to(path.name)  # A link to itself: whoever opens or stamps it gets an error.
    cache.clock.now += STAMP_EVERY
    assert all_of(entry) == SONG
    cache.file(".data").unlink()
    with pytest.raises(Damaged):
        entry.read(Span(0, 1))
    assert not entry.have
    path.unlink()
