"""Laws of the map: the good prefix and nothing but it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.spans import BLOCK
from musicfs.store import maps
from musicfs.store.maps import BadMap, Block, Dropped, Header, Kind, Record, Sealed

RANGED = Header("tempolor:1:wav", 3, Kind.RANGED, 10 * BLOCK, "etag", b"saltsalt")
WHOLE = Header("flowmusic:1:mp3", 1, Kind.WHOLE, None, "", b"saltsalt")

crcs = st.integers(0, 2**32 - 1)
ranged_records = st.lists(
    st.builds(Block, st.integers(0, 9), crcs) | st.builds(Dropped, st.integers(0, 9)), max_size=12
)


def written(header: Header, records: list[Record]) -> tuple[bytes, list[int]]:
    """Give a map's bytes, and the length after the header and after each record."""
    raw, begun = maps.begin(header)
    ends = [len(raw)]
    for place, record in enumerate(records):
        raw += maps.encode(record, begun.seed, place)
        ends.append(len(raw))
    return raw, ends


def folded(records: list[Record]) -> dict[int, int]:
    """Say which blocks are here after the records, the plain way."""
    blocks: dict[int, int] = {}
    for record in records:
        if isinstance(record, Block):
            blocks[record.block] = record.crc
        elif isinstance(record, Dropped):
            blocks.pop(record.block, None)
    return blocks


@given(ranged_records)
@settings(max_examples=100)
def test_what_was_written_is_read(records: list[Record]) -> None:
    """A map that is whole says what its records said."""
    raw, _ = written(RANGED, records)
    found = maps.decode(raw)
    assert (found.header, found.blocks, found.good) == (RANGED, folded(records), len(raw))


@given(ranged_records)
@settings(max_examples=30)
def test_a_cut_anywhere_leaves_the_good_prefix(records: list[Record]) -> None:
    """A map cut at any byte says what the records before the cut said, and where to go on."""
    raw, ends = written(RANGED, records)
    for cut in range(len(raw)):
        if cut < ends[0]:
            with pytest.raises(BadMap):
                maps.decode(raw[:cut])
            continue
        survivors = sum(end <= cut for end in ends) - 1
        found = maps.decode(raw[:cut])
        assert (found.blocks, found.good) == (folded(records[:survivors]), ends[survivors])


@given(ranged_records, st.data())
@settings(max_examples=150)
def test_a_flipped_byte_ends_the_good_prefix(records: list[Record], data: st.DataObject) -> None:
    """A wrong byte makes its record and all behind it unbelieved; in the header, the whole map."""
    raw, ends = written(RANGED, records)
    place = data.draw(st.integers(0, len(raw) - 1))
    bad = bytearray(raw)
    bad[place] ^= data.draw(st.integers(1, 255))
    if place < ends[0]:
        with pytest.raises(BadMap):
            maps.decode(bytes(bad))
        return
    survivors = sum(end <= place for end in ends) - 1
    assert maps.decode(bytes(bad)).good == ends[survivors]


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_give_a_prefix_or_bad_map(junk: bytes) -> None:
    """Junk behind a good map is ignored, and junk alone is a bad map."""
    raw, _ = written(RANGED, [Block(1, 7)])
    assert maps.decode(raw + junk).blocks == {1: 7}
    with pytest.raises(BadMap):
        maps.decode(junk)


def test_another_maps_records_are_not_believed() -> None:
    """A record counts only in the map, and at the place, it was written for."""
    other = Header("tempolor:1:wav", 3, Kind.RANGED, 10 * BLOCK, "etag", b"tlastlas")
    foreign = written(other, [Block(1, 7)])[0][len(maps.begin(other)[0]) :]
    raw, begun = maps.begin(RANGED)
    assert maps.decode(raw + foreign).blocks == {}
    assert maps.decode(raw + maps.encode(Block(1, 7), begun.seed, 1)).blocks == {}


def test_a_block_outside_the_object_is_not_believed() -> None:
    """A record of a block behind the object's end ends the good prefix."""
    raw, ends = written(RANGED, [Block(10, 7)])
    assert maps.decode(raw).good == ends[0]
    raw, ends = written(WHOLE, [Block(0, 7), Block(2, 7)])
    assert maps.decode(raw).good == ends[1]


def test_a_sealed_map_knows_its_size() -> None:
    """A pass is complete with its seal, and only if no block is missing."""
    records: list[Record] = [Block(0, 7), Block(1, 8), Sealed(BLOCK + 5, bytes(32))]
    found = maps.decode(written(WHOLE, records)[0])
    assert found.size == BLOCK + 5
    assert found.complete
    assert not maps.decode(written(WHOLE, records[:2])[0]).complete
    assert not maps.decode(written(WHOLE, [*records, Dropped(1)])[0]).complete


def test_digests_tell_key_and_version_apart() -> None:
    """Another key or another version has other files."""
    names = {maps.digest_of(key, version) for key in ("a", "b", "a1") for version in (1, 11)}
    assert len(names) == 6
