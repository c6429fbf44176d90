"""Reading an archive's directory from its tail."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.zipdir import LOCAL_HEADER, TAIL, Directory, Method, ZipDirectory, local_header
from musicfs.errors import BadArchive
from musicfs.model import Span

LAW = settings(max_examples=120, deadline=None)

part = st.text(st.sampled_from("abcXYZ09_é☃音"), min_size=1, max_size=6)
member_names = st.lists(part, min_size=1, max_size=3).map("/".join)


def live_together(files: list[tuple[str, bytes, int]]) -> bool:
    """Say whether no name is another's, in any case, and no file is a folder of another."""
    folded = [name.casefold() for name, _, _ in files]
    return len(set(folded)) == len(folded) and not any(b.startswith(a + "/") for a in folded for b in folded)


contents = st.lists(
    st.tuples(
        member_names, st.binary(max_size=300), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    ),
    max_size=8,
    unique_by=lambda file: file[0].casefold(),
).filter(live_together)


class OneWay(io.BytesIO):
    """A sink that cannot seek, which makes zipfile use data descriptors."""

    def seekable(self) -> bool:
        """Say that it cannot."""
        return False

    def tell(self) -> int:
        """Refuse to say where it is."""
        raise OSError


def packed(files: list[tuple[str, bytes, int]], comment: bytes = b"", force: bool = False) -> bytes:
    """Make an archive with the standard library; `force` gives every local header zip64 extras."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data, method in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=force) as member:
                member.write(data)
        archive.comment = comment
    return sink.getvalue()


def read(data: bytes, step: int | None = None) -> tuple[Directory, list[Span]]:
    """Read a directory as a downloader would, in pieces of `step` bytes; give it and the separate needs."""
    reading, needs = ZipDirectory(len(data)), [Span(0, 0)]
    while (need := reading.need()) is not None:
        assert 0 <= need.start < need.stop <= len(data)
        if not (need.stop == needs[-1].stop and need.start > needs[-1].start):
            needs.append(need)
        assert len(needs) <= 5
        piece = Span(need.start, min(need.stop, need.start + (step or need.length)))
        reading.feed(piece, data[piece.start : piece.stop])
    return reading.result, needs[1:]


def unpack(data: bytes, directory: Directory, index: int) -> bytes:
    """Take a member's bytes out by what the directory says."""
    member = directory.members[index]
    start = local_header(data[member.header : member.header + LOCAL_HEADER], member, len(data))
    raw = data[start : start + member.packed]
    return raw if member.method is Method.STORED else zlib.decompress(raw, -15)


def end_record(count: int, length: int, offset: int, comment: bytes = b"") -> bytes:
    """Make an end record."""
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, length, offset, len(comment)) + comment


def entry(name: bytes, header: int = 0, extra: bytes = b"", size: int = 0) -> bytes:
    """Make a directory entry of a stored member."""
    fields = (20, 20, 0, 0, 0, 0, 0, size, size, len(name), len(extra), 0, 0, 0, 0, header)
    return struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *fields) + name + extra


@LAW
@given(contents, st.binary(max_size=60), st.booleans(), st.sampled_from([None, 1, 50]))
def test_members_are_those_that_zipfile_sees(
    files: list[tuple[str, bytes, int]], comment: bytes, force: bool, step: int | None
) -> None:
    """Names, places, sizes, checksums and bytes agree with the standard library, fed whole or in pieces."""
    comment = comment.replace(b"PK\x05\x06", b"")
    data = packed(files, comment, force)
    directory, _ = read(data, step)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        expected = [
            (i.filename, i.compress_type, i.header_offset, i.compress_size, i.file_size, i.CRC)
            for i in archive.infolist()
        ]
    assert directory.left_out == ()
    assert [(m.name, m.method, m.header, m.packed, m.size, m.crc) for m in directory.members] == expected
    assert [unpack(data, directory, index) for index in range(len(files))] == [
        content for _, content, _ in files
    ]


@LAW
@given(contents, st.data())
def test_spoilt_archives_are_bad_or_read_but_nothing_else(
    files: list[tuple[str, bytes, int]], draw: st.DataObject
) -> None:
    """Cut or flipped bytes give BadArchive or a directory, within four needs inside the file."""
    data = bytearray(packed(files, b"a comment", draw.draw(st.booleans())))
    for _ in range(draw.draw(st.integers(0, 6))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    start = draw.draw(st.sampled_from([0, 0, 3]))
    spoilt = bytes(data[start : draw.draw(st.integers(len(data) // 2, len(data)))])
    try:
        directory, _ = read(spoilt)
    except BadArchive:
        return
    for index, member in enumerate(directory.members):
        assert member.header + LOCAL_HEADER + member.packed <= len(spoilt)
        try:
            unpack(spoilt, directory, index)
        except (BadArchive, zlib.error):
            continue


@LAW
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_garbage_is_a_bad_archive(data: bytes, after: bytes) -> None:
    """Bytes that are no archive, even with an archive's end behind them, are BadArchive and nothing else."""
    for garbage in (
        data,
        data + end_record(1, 46, 0),
        data + b"PK\x06\x07" + after,
        data + end_record(0xFFFF, 0, 0),
    ):
        try:
            directory, _ = read(garbage)
        except BadArchive:
            continue
        assert directory.members == ()


def test_a_small_archive_needs_one_read() -> None:
    """An archive shorter than the tail is asked for once, from its first byte."""
    data = packed([("a.wav", b"x" * 1000, 0)])
    assert read(data)[1] == [Span(0, len(data))]


def test_a_large_archive_needs_its_tail_only() -> None:
    """Of an archive with large members the last 64 KiB are enough."""
    data = packed([("a.wav", bytes(300_000), 0), ("sub/b.wav", bytes(300_000), 0)])
    directory, needs = read(data)
    assert needs == [Span(len(data) - TAIL, len(data))]
    assert [member.name for member in directory.members] == ["a.wav", "sub/b.wav"]


def test_a_directory_before_the_tail_is_asked_for() -> None:
    """A directory that begins before the tail is a second need, of exactly its bytes."""
    data = packed([(f"{'n' * 200}{number}", b"", 0) for number in range(250)], b"c" * 40_000)
    directory, needs = read(data)
    assert len(directory.members) == 250
    assert len(needs) == 2
    assert data[needs[1].start :].startswith(b"PK\x01\x02")


@pytest.mark.parametrize("length", [65_535, 65_514, 65_500, 65_440, 60_000])
def test_the_longest_comments_hide_no_directory(length: int) -> None:
    """An end record before or at the very start of the tail is found with one more read."""
    data = packed([("a.wav", bytes(200_000), 0)], b"c" * length)
    directory, needs = read(data)
    assert len(directory.members) == 1
    assert len(needs) <= 3


def test_an_empty_archive_is_an_empty_directory() -> None:
    """An archive without members is read, and empty."""
    assert read(packed([]))[0] == Directory((), ())
    assert read(bytes(TAIL * 2) + end_record(0, 0, 0))[0] == Directory((), ())


def test_folders_own_entries_are_skipped() -> None:
    """An entry that only makes a folder is neither shown nor named as left out."""
    data = packed([("sub/", b"", 0), ("sub/a.wav", b"x", 0)])
    directory, _ = read(data)
    assert [member.name for member in directory.members] == ["sub/a.wav"]
    assert directory.left_out == ()


def test_data_descriptors_are_no_obstacle() -> None:
    """An archive written as a stream has its sizes in the directory only, and is read all the same."""
    sink = OneWay()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", b"abc" * 1000)
    data = sink.getvalue()
    assert data[6] & 8, "the flag of a data descriptor"
    directory, _ = read(data)
    assert unpack(data, directory, 0) == b"abc" * 1000


def test_an_archive_behind_something_else_is_read() -> None:
    """Offsets are shifted by what was put before the archive, as zipfile does."""
    data = b"#!/bin/sh\n" * 100 + packed([("a.wav", b"hello", 0), ("b.wav", b"world", 8)])
    directory, _ = read(data)
    assert [unpack(data, directory, index) for index in range(2)] == [b"hello", b"world"]


def zip64(where: int, between: bytes = b"", count: int = 1, length: int = 0, offset: int = 0) -> bytes:
    """Make a zip64 end record, its locator (saying it is at `where`) and the end record."""
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, where, 1)
    return record + between + locator + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize("between", [b"", b"e" * 100, b"e" * 100_000])
def test_zip64_end_records_are_followed(between: bytes) -> None:
    """A zip64 end record is found before its locator or where that points, in four needs at most."""
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    wide = entry(b"a", header=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 0))
    body = local + wide
    data = body + zip64(len(body), between, length=len(wide), offset=len(local))
    directory, needs = read(data)
    assert [(member.name, member.header) for member in directory.members] == [("a", 0)]
    assert len(needs) <= 3


@pytest.mark.parametrize("length", [65_535, TAIL - 22, TAIL - 22 - 30])
def test_the_worst_archive_needs_four_reads(length: int) -> None:
    """A long comment, a zip64 record far away and a directory before it make four needs, and no more."""
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    body = local + entry(b"a")
    data = body + zip64(len(body), b"e" * 200_000, length=len(body) - len(local), offset=len(local))
    data = data[:-2] + struct.pack("<H", length) + b"c" * length
    directory, needs = read(data)
    assert [member.name for member in directory.members] == ["a"]
    assert len(needs) == 4


def test_zip64_sizes_without_their_extra_leave_the_member_out() -> None:
    """A member whose size is said to be elsewhere, and is not, is left out."""
    for extra in (b"", struct.pack("<HHI", 1, 4, 0), struct.pack("<HHQ", 9, 8, 0), b"\x01"):
        one = entry(b"a", header=0xFFFFFFFF, extra=extra)
        directory, _ = read(bytes(100) + one + end_record(1, len(one), 100))
        assert directory.members == ()
        assert [name for name, _ in directory.left_out] == ["a"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x05\x06",
        bytes(100_000),
        end_record(1, 46, 0),  # a directory before the file
        bytes(10) + end_record(1, 10, 0),  # no entry where one should be
        entry(b"abc")[:-1] + end_record(1, 48, 0),  # an entry that is cut
        entry(b"a") + end_record(2, 47, 0),  # a count that is wrong
        entry(b"a") + end_record(1, 47, 1),  # an offset beyond the directory
        struct.pack("<4s4H2IH", b"PK\x05\x06", 1, 0, 0, 0, 0, 0, 0),  # a second disk
        zip64(1 << 60, b"x"),
        zip64(0, b"x")[1:],
        bytes(60) + zip64(3, b"x"),
    ],
)
def test_broken_ends_are_bad_archives(data: bytes) -> None:
    """Each way in which the end can lie is a BadArchive."""
    with pytest.raises(BadArchive):
        read(data)


def test_a_huge_directory_is_refused_unread() -> None:
    """A directory over 16 MiB is refused from the tail alone."""
    size = 64 << 20
    reading = ZipDirectory(size)
    tail = bytes(TAIL - 22) + end_record(5, (16 << 20) + 1, 0)
    with pytest.raises(BadArchive):
        reading.feed(Span(size - TAIL, size), tail)
    assert reading.need() is None
    with pytest.raises(BadArchive):
        assert reading.result


def test_a_hundred_thousand_members_are_counted_not_listed() -> None:
    """An archive of 100,000 members shows 256, sums up the rest, and takes no time (a bound on a hang)."""
    count = 100_000
    raw = b"".join(entry(b"%06d" % number, number * 30) for number in range(count))
    body = bytes(30 * count)
    data = body + raw + zip64(len(body) + len(raw), count=count, length=len(raw), offset=len(body))
    begun = time.perf_counter()
    directory, _ = read(data)
    assert len(directory.members) == 256
    assert directory.left_out[-1] == ("…", f"and {count - 512} more")
    assert time.perf_counter() - begun < 10


def test_endless_extras_take_no_time() -> None:
    """A directory made of the longest extras, each of thousands of empty fields, is done with at once."""
    one = entry(b"a", header=0xFFFFFFFF, extra=struct.pack("<HH", 9, 0) * 16_383)
    count = (16 << 20) // len(one)
    begun = time.perf_counter()
    directory, _ = read(one * count + end_record(count, len(one) * count, 0))
    assert directory.members == ()
    assert time.perf_counter() - begun < 20


def test_more_than_was_needed_may_be_fed() -> None:
    """A whole archive fed at once serves each need, and there is no result before that."""
    data = packed([("a.wav", bytes(100_000), 0)])
    reading = ZipDirectory(len(data))
    assert reading.need() == Span(len(data) - TAIL, len(data))
    with pytest.raises(BadArchive):
        assert reading.result
    reading.feed(Span(0, len(data)), data)
    assert reading.need() is None
    assert len(reading.result.members) == 1


@pytest.mark.parametrize("span", [Span(0, 10), Span(200, 210), Span(100, 100)])
def test_other_bytes_than_were_needed_are_refused(span: Span) -> None:
    """Bytes from elsewhere, or none, are an error, so that nobody asks for the same bytes for ever."""
    reading = ZipDirectory(100 + TAIL)
    with pytest.raises(BadArchive):
        reading.feed(span, bytes(span.length))


def test_local_headers_are_checked() -> None:
    """A local header that is cut, absent, of another method, or too long for the archive is a BadArchive."""
    data = packed([("a.wav", b"hello", 0)])
    (member,) = read(data)[0].members
    head = data[:LOCAL_HEADER]
    start = local_header(head, member, len(data))
    assert data[start : start + 5] == b"hello"
    for wrong in (head[:-1], b"XX" + head[2:], head[:8] + b"\x08" + head[9:], head[:-2] + b"\xff\xff"):
        with pytest.raises(BadArchive):
            local_header(wrong, member, len(data))
