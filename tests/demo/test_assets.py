"""Assets: every slice is a slice of one object, whatever it is made of."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.demo import Asset, Joined, Mp3Noise, Noise, Plain, content, m4a_of, mp3_of, wav_of, wav_of_size
from musicfs.demo.assets import Altered, Delayed, Late, fingerprint

SHAPES: dict[str, Asset] = {
    "plain": Plain(bytes(range(256)) * 300),
    "noise": Noise(150_000, "n"),
    "mp3": Mp3Noise(4.2, 7),
    "wav": wav_of(0.4, 1),
    "m4a": m4a_of(4, 1),
    "joined": Joined(b"ab", b"", Noise(70_000), b"z"),
    "altered": Altered(Mp3Noise(4.2, 7), 3, 1000),
    "late": Late(5, lambda: b"later"),
    "delayed": Delayed(lambda: Noise(70_001, 2)),
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_slices(shape: str, data: st.DataObject) -> None:
    """A read is the slice of the whole, clipped to the size, as a slice of bytes would be."""
    asset = SHAPES[shape]
    whole = content(asset)
    assert len(whole) == asset.size
    start = data.draw(st.integers(0, asset.size + 10))
    stop = data.draw(st.integers(start, asset.size + 1000))
    assert asset.read(start, stop) == whole[start:stop]


def test_seeds() -> None:
    """The same seed gives the same bytes, another seed other bytes."""
    assert content(Noise(1000, 5)) == content(Noise(1000, 5))
    assert content(Noise(1000, 5)) != content(Noise(1000, 6))
    assert fingerprint(Mp3Noise(3, 1)) != fingerprint(Mp3Noise(3, 2))


def test_mp3_frames() -> None:
    """Walking an mp3's headers ends exactly at its last byte and counts the asked duration."""
    data, at, frames = mp3_of(60.0, "walk"), 0, 0
    while at < len(data):
        (header,) = struct.unpack_from(">I", data, at)
        assert header & 0xFFFF_FDFF == 0xFFFB_9004, "MPEG-1 Layer III, 128 kbit/s, 44.1 kHz, stereo"
        at += 417 + (header >> 9 & 1)
        frames += 1
    assert at == len(data)
    assert abs(frames * 1152 / 44_100 - 60.0) < 0.03


def test_altered_keeps_the_frames() -> None:
    """Altered bytes begin at `since`, differ by salt and leave every frame's header alone."""
    plain = mp3_of(20, 1)
    one, two = (content(Altered(Plain(plain), salt, 5000)) for salt in (1, 2))
    assert one != two
    assert one[:5000] == two[:5000] == plain[:5000]
    places = [at for at, (a, b) in enumerate(zip(plain, one, strict=True)) if a != b]
    assert len(places) > 100
    assert all(0xFF not in plain[at - 3 : at + 1] for at in places)


def test_wav_header() -> None:
    """The standard library reads a noise WAV and finds all of it."""
    with wave.open(io.BytesIO(content(wav_of(0.5)))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44_100)
        assert file.getnframes() == 22_050


def test_large_object() -> None:
    """A 160 MB WAV has its size and any slice without being made."""
    asset = wav_of_size(160_000_000)
    assert asset.size == 160_000_000
    assert len(asset.read(159_999_990, 200_000_000)) == 10


def test_m4a_boxes() -> None:
    """The boxes of an m4a add up to its size, and `moov` is the last."""
    data, at, names = content(m4a_of(2)), 0, []
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        names.append(name)
        at += size
    assert at == len(data)
    assert names == [b"ftyp", b"mdat", b"moov"]


def test_late_keeps_its_promise() -> None:
    """Bytes that come out shorter than promised are an error, not a short object."""
    with pytest.raises(AssertionError):
        Late(6, lambda: b"later").read(0, 6)
