"""The cache as a whole: what a restart keeps, who may use the folder, and the limit."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from musicfs.core.spans import BLOCK
from musicfs.errors import ConfigError
from musicfs.model import Span
from musicfs.store import Kind, Store
from tests.store.conftest import MIB, Cache, all_of, body

SIZE = 3 * BLOCK + 100


def test_a_restart_keeps_everything(cache: Cache) -> None:
    """Keys, versions, sizes, validators, blocks and pins are as they were."""
    cache.filled("a")
    cache.filled("b").pin()
    cache.ranged("c").write(2, body("c", SIZE)[2 * BLOCK : 3 * BLOCK])
    used, pinned = cache.store.used, cache.store.pinned
    store = cache.restart()
    assert (store.used, store.pinned) == (used, pinned)
    assert pinned > SIZE
    entries = {each.key: each for each in store.entries()}
    assert set(entries) == {"a", "b", "c"}
    assert all_of(entries["a"]) == body("a", SIZE)
    assert (entries["a"].version, entries["a"].kind, entries["a"].size, entries["a"].validator) == (
        1,
        Kind.RANGED,
        SIZE,
        "etag",
    )
    assert [each for each in entries if entries[each].pinned] == ["b"]
    assert set(entries["c"].have) == {2}


def test_versions_are_different_objects(cache: Cache) -> None:
    """Another version of a key has bytes of its own."""
    cache.filled("a")
    assert cache.store.find("a", 2) is None
    assert not cache.ranged("a", version=2).have
    assert cache.store.snapshot().objects == 2


def test_create_begins_anew(cache: Cache) -> None:
    """An object created over another of its key and version has none of the old blocks."""
    old = cache.filled("a")
    new = cache.ranged("a")
    assert old.gone
    assert not new.have
    new.write(0, bytes(BLOCK))
    found = cache.restart().find("a", 1)
    assert found
    assert set(found.have) == {0}


def test_a_size_is_needed_for_ranges(cache: Cache) -> None:
    """An object read by ranges cannot be made before its size is known."""
    with pytest.raises(ValueError):
        cache.store.create("a", 1, Kind.RANGED, None, "etag")


def test_drop_forgets(cache: Cache) -> None:
    """A dropped object leaves no file and no count; dropping nothing is no error."""
    cache.filled("a").pin()
    cache.store.drop("a", 1)
    cache.store.drop("a", 1)
    assert cache.store.find("a", 1) is None
    assert (cache.store.used, cache.store.pinned, cache.allocated()) == (0, 0, 0)
    assert [each for each in (cache.folder / "objects").rglob("*") if each.is_file()] == []


@pytest.mark.parametrize("junk", [b"", b"junk", bytes(500)])
def test_an_unreadable_map_drops_its_object(cache: Cache, junk: bytes) -> None:
    """An object whose map's header cannot be read is removed when it is asked for."""
    cache.filled("a")
    cache.file(".map").write_bytes(junk)
    store = cache.restart()
    assert store.find("a", 1) is None
    assert (store.used, cache.allocated()) == (0, 0)


@pytest.mark.expected_log("WARNING .*cannot read the map of a")
def test_a_map_that_the_disk_does_not_give_stops_nobody(cache: Cache) -> None:
    """An object whose map cannot be read is not here, and the network has its bytes; here again when the disk
    gives its map."""
    cache.filled("a")
    sick = cache.file(".map")
    kept = sick.read_bytes()
    store = cache.restart()
    sick.unlink()
    sick.mkdir()
    assert store.find("a", 1) is None
    sick.rmdir()
    sick.write_bytes(kept)
    found = store.find("a", 1)
    assert found
    assert all_of(found) == body("a", SIZE)


def test_a_map_under_another_name_is_not_believed(cache: Cache) -> None:
    """A map that belongs to another key drops the object whose name it has."""
    cache.filled("a")
    cache.filled("b")
    a = cache.store.find("a", 1)
    b = cache.store.find("b", 1)
    assert a
    assert b
    names = {each.stem: each for each in cache.files(".map")}
    names[b.digest].write_bytes(names[a.digest].read_bytes())
    store = cache.restart()
    assert store.find("b", 1) is None
    assert store.find("a", 1)


def test_a_map_cut_at_every_byte_never_lies(cache: Cache) -> None:
    """However a map is cut, what is still believed reads as it was written, and the cache goes on."""
    cache.filled("a")
    whole = cache.file(".map").read_bytes()
    path = cache.file(".map")
    data = cache.file(".data").read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        path.with_suffix(".data").write_bytes(data)
        found = cache.restart().find("a", 1)
        for block in list(found.have) if found else []:
            assert found
            piece = Span(block * BLOCK, min(SIZE, (block + 1) * BLOCK))
            assert bytes(found.read(piece)) == data[piece.start : piece.stop]
        if found and cut < len(whole) - 20:
            found.write(3, data[3 * BLOCK :])
            again = cache.restart().find("a", 1)
            assert again
            assert 3 in again.have


def test_rests_are_swept_at_the_start(cache: Cache) -> None:
    """Data without a map, a map without data and a pin of neither are removed; a stranger's file is not."""
    cache.filled("a")
    folder = cache.file(".data").parent
    for name in ("0.data", "1.map", "2.pin", "3.pass", "README"):
        (folder / name).write_bytes(b"rest")
    cache.restart()
    assert {each.name for each in folder.iterdir() if len(each.name) < 10} == {"README"}
    assert cache.store.find("a", 1)


def test_a_second_daemon_is_refused(cache: Cache) -> None:
    """The folder is one daemon's; another is told so, and may come when the first is gone."""
    with pytest.raises(ConfigError, match="another musicfs already uses"):
        cache.made()
    cache.restart()


def test_a_daemon_that_is_about_to_end_is_waited_for(cache: Cache) -> None:
    """Who comes a moment before the folder is let go of gets it: `umount` returns before the daemon ends."""
    ending = threading.Timer(0.2, cache.store.close)
    ending.start()
    cache.made().close()
    ending.join()


def test_a_second_process_is_refused_and_a_kill_frees_the_folder(cache: Cache) -> None:
    """The lock holds between processes and dies with its holder."""
    code = (
        "import sys, time, pathlib; from musicfs.store import Store\n"
        "s = Store(pathlib.Path(sys.argv[1]), 1 << 20, 0, clock=time.time); s.open()\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    cache.store.close()
    command = [sys.executable, "-c", code, str(cache.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(ConfigError):
            cache.restart()
        other.kill()
    cache.restart()


def test_a_newer_format_is_refused(cache: Cache) -> None:
    """A folder of a newer musicfs is left as it is, with a word on what to do."""
    cache.filled("a")
    (cache.folder / "format").write_bytes(b"2\n")
    with pytest.raises(ConfigError, match="upgrade"):
        cache.restart()
    (cache.folder / "format").write_bytes(b"1\n")
    assert cache.restart().find("a", 1)


def test_a_damaged_format_file_is_written_anew(cache: Cache) -> None:
    """An unreadable format number costs nothing, because each map speaks for itself."""
    cache.filled("a")
    (cache.folder / "format").write_bytes(b"\x00\xff")
    assert cache.restart().find("a", 1)
    assert (cache.folder / "format").read_bytes() == b"1\n"


def test_a_folder_that_cannot_be_used_is_the_users_to_mend(tmp_path: Path) -> None:
    """A cache path that is a file is a ConfigError that names the setting."""
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(ConfigError, match="MUSICFS_CACHE_DIR"):
        Store(tmp_path / "cache", MIB, 0, clock=lambda: 0.0).open()


def test_the_store_is_a_context(tmp_path: Path) -> None:
    """Leaving the block lets the folder go."""
    for _ in range(2):
        with Store(tmp_path / "cache", MIB, 0, clock=lambda: 0.0) as store:
            assert (store.limit, store.snapshot().objects) == (MIB, 0)
            assert repr(store).endswith("0 objects, 0 of 1048576 bytes>")


def test_a_lower_limit_is_kept_from_the_start(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Opened with a smaller limit, the cache lets the longest unused go at once and names them at INFO."""
    for at, key in enumerate("abcd"):
        cache.filled(key, MIB)
        path = max(cache.files(".map"), key=lambda each: each.stat().st_mtime_ns)
        os.utime(path, (1000 + at, 1000 + at))
    with caplog.at_level(logging.INFO, "musicfs.store"):
        store = cache.restart(limit=2 * MIB + MIB // 2)
    assert {each.key for each in store.entries()} == {"c", "d"}
    assert [each.message for each in caplog.records] == ["let go of a", "let go of b"]
    assert store.used <= store.limit
