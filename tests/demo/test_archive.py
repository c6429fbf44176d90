"""Archives: what is written honestly is read back whole, and lies are told as asked."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.demo import Member, Noise, archive_of, big_zip, zip_of

NAMES = st.text("abcüö音 -./", min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=300), st.booleans()), max_size=6))
def test_reads_back(files: dict[str, tuple[bytes, bool]]) -> None:
    """`zipfile` finds every member with its bytes, stored or deflated, and all checksums hold."""
    data = zip_of(Member(name, body, deflated) for name, (body, deflated) in files.items())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert [archive.read(entry) for entry in archive.infolist()] == [body for body, _ in files.values()]
        assert [entry.orig_filename for entry in archive.infolist()] == list(files)


def test_lazy_is_the_same() -> None:
    """An archive read in slices is the archive read whole."""
    members = (Member("a.wav", Noise(9000)), Member("b/c.txt", b"hello " * 99, deflated=True))
    lazy, data = archive_of(members), zip_of(members)
    assert b"".join(lazy.read(at, at + 777) for at in range(0, lazy.size, 777)) == data


def test_claims() -> None:
    """A member may claim a checksum, a method and flags that are not its own."""
    data = zip_of([Member("x", b"abc", crc=1), Member("y", b"abc", method=99, flags=1)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        wrong, odd = archive.infolist()
        assert (wrong.CRC, odd.compress_type, odd.flag_bits & 1) == (1, 99, 1)
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            archive.read(wrong)


def test_raw_and_split_names() -> None:
    """A name in bytes is written without the UTF-8 flag, and the local header may have another name."""
    data = zip_of([Member(b"\x81.txt", b"1"), Member("right", b"2", local_name=b"wrong")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        raw, split = archive.infolist()
        assert (raw.flag_bits & 0x800, raw.orig_filename) == (0, "ü.txt")
        with pytest.raises(zipfile.BadZipFile, match="differ"):
            archive.read(split)


def test_big_archive() -> None:
    """A 160 MB archive of stored members has its directory where a tail read finds it."""
    asset = big_zip(160_000_000)
    assert 160_000_000 < asset.size < 160_002_000
    tail = asset.read(asset.size - 1000, asset.size)
    assert tail[-22:-18] == b"PK\x05\x06"
    assert b"vocals.wav" in tail
