"""Walking an mp3, whole, cut, tagged and spoilt."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.frames import GARBAGE, Frames, Verdict, judge

LAW = settings(max_examples=100, deadline=None)

# (header bytes, frame bytes, seconds), worked out by hand from the standard's tables.
KINDS = {
    "mpeg1 layer3 128k": (b"\xff\xfb\x90\x00", 417, 1152 / 44100),
    "mpeg1 layer3 padded": (b"\xff\xfb\x92\x00", 418, 1152 / 44100),
    "mpeg1 layer3 320k 48000": (b"\xff\xfb\xe4\x00", 960, 1152 / 48000),
    "mpeg1 layer3 with crc": (b"\xff\xfa\x90\x00", 417, 1152 / 44100),
    "mpeg2 layer3 64k 22050": (b"\xff\xf3\x80\x00", 208, 576 / 22050),
    "mpeg2.5 layer3 8k 8000": (b"\xff\xe3\x18\x00", 72, 576 / 8000),
    "mpeg1 layer2 192k": (b"\xff\xfd\xa0\x00", 626, 1152 / 44100),
    "mpeg1 layer1 384k 48000": (b"\xff\xff\xc4\x00", 384, 384 / 48000),
}
SECOND = 1152 / 44100
ID3V2 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 1]) + b"\xff\xfb\x90\x00" * 64 + b"\x01"
ID3V1 = b"TAG" + b"song".ljust(125, b" ")
APE_ITEMS = b"\x04\x00\x00\x00\x00\x00\x00\x00Title\x00song"
APE_SIZE = (len(APE_ITEMS) + 32).to_bytes(4, "little")
APE = (
    b"APETAGEX"
    + (2000).to_bytes(4, "little")
    + APE_SIZE
    + b"\x01\0\0\0"
    + b"\0\0\0\xa0"
    + bytes(8)
    + APE_ITEMS
) + (b"APETAGEX" + (2000).to_bytes(4, "little") + APE_SIZE + b"\x01\0\0\0" + b"\0\0\0\x80" + bytes(8))


def frame(kind: str = "mpeg1 layer3 128k", fill: bytes = b"\x55") -> bytes:
    """Make one frame of a kind."""
    header, length, _ = KINDS[kind]
    return header + fill * (length - 4)


def silent(mark: bytes = b"Info", at: int = 36) -> bytes:
    """Make a first frame that only describes the others."""
    body = bytearray(frame(fill=b"\0"))
    body[at : at + 4] = mark
    return bytes(body)


def walked(data: bytes, step: int = 65536) -> Frames:
    """Feed a stream in pieces of `step` bytes."""
    frames = Frames()
    for place in range(0, len(data), step):
        frames.feed(data[place : place + step])
    return frames


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_frame_is_measured(kind: str) -> None:
    """Frames of every version and layer are counted in seconds, and the end of the last one is the end."""
    frames = walked(frame(kind) * 10)
    assert frames.found
    assert frames.whole
    assert math.isclose(frames.seconds, 10 * KINDS[kind][2])
    assert not walked(frame(kind) * 10 + frame(kind)[:-1]).whole


def test_a_cut_frame_does_not_count() -> None:
    """A last frame that lacks a byte is neither whole nor counted."""
    frames = walked((frame() * 3)[:-1])
    assert math.isclose(frames.seconds, 2 * SECOND)
    assert not frames.whole
    frames.feed(b"\x55")
    assert math.isclose(frames.seconds, 3 * SECOND)
    assert frames.whole


def test_bit_rates_may_vary_along_a_chain() -> None:
    """VBR frames, each of its own length, are one chain."""
    wide, narrow = b"\xff\xfb\xe0\x00" + bytes(1040), b"\xff\xfb\x10\x00" + bytes(100)
    frames = walked((wide + narrow) * 5)
    assert frames.whole
    assert math.isclose(frames.seconds, 10 * SECOND)


@pytest.mark.parametrize(("mark", "at"), [(b"Info", 36), (b"Xing", 21), (b"Xing", 38), (b"VBRI", 36)])
def test_the_silent_first_frame_is_not_time(mark: bytes, at: int) -> None:
    """A Xing, Info or VBRI frame is stepped over without being counted."""
    assert math.isclose(walked(ID3V2 + silent(mark, at) + frame() * 4).seconds, 4 * SECOND)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ID3V2, b""),
        (b"", ID3V1),
        (b"", APE),
        (b"", APE + ID3V1),
        (b"", b"TAG+" + b"x" * 223 + ID3V1),
        (ID3V2 + bytes(300), bytes(5000)),
        (b"", ID3V2 + ID3V1),
        (b"", b"ID3\x04\x00\x10\0\0\0\x05hello3DI\x04\x00\x10\0\0\0\x05"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000, 65536])
def test_tags_and_padding_are_not_audio(before: bytes, after: bytes, step: int) -> None:
    """Tags at either end and padding are stepped over, however the stream is cut into pieces."""
    frames = walked(before + frame() * 5 + after, step)
    assert frames.whole
    assert math.isclose(frames.seconds, 5 * SECOND)


@pytest.mark.parametrize("tail", [ID3V1[:-1], APE[:-1], ID3V2[:-1], b"TA", b"ID", b"\xff", b"junk"])
def test_an_end_in_the_middle_of_something_is_not_whole(tail: bytes) -> None:
    """A stream that stops inside a tag, or in bytes that are nothing, is not whole though its frames are."""
    frames = walked(frame() * 5 + tail)
    assert not frames.whole
    assert math.isclose(frames.seconds, 5 * SECOND)


def test_garbage_between_frames_is_passed() -> None:
    """The chain is found again behind garbage, even garbage that looks like a header."""
    junk = b"\x01\xff\xfb\x90\x00junk\xff\xff"
    frames = walked(frame() * 4 + junk + frame() * 3)
    assert frames.whole
    assert math.isclose(frames.seconds, 7 * SECOND)


def test_a_second_stream_of_another_rate_is_counted_too() -> None:
    """Two streams put one behind the other play one after the other."""
    frames = walked(frame() * 4 + frame("mpeg2 layer3 64k 22050") * 3)
    assert frames.whole
    assert math.isclose(frames.seconds, 4 * SECOND + 3 * 576 / 22050)


def test_the_search_in_garbage_is_bounded() -> None:
    """Behind too much garbage no chain is looked for, and the stream is not whole."""
    assert walked(frame() * 4 + b"\x01" * (GARBAGE - 100) + frame() * 4).whole
    lost = walked(frame() * 4 + b"\x01" * (GARBAGE + 1) + frame() * 4)
    assert not lost.whole
    assert math.isclose(lost.seconds, 4 * SECOND)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        frame(),
        frame() + frame("mpeg2 layer3 64k 22050"),
        b"<html>" * 100,
        b"RIFF" + bytes(2000),
        b"\xff" * 9999,
    ],
)
def test_what_is_no_mp3_is_not_found(data: bytes) -> None:
    """Less than two frames in a row are no audio, and so judged."""
    frames = walked(data)
    assert not frames.found
    assert not frames.whole
    assert judge(frames, None) is Verdict.NOT_AUDIO
    assert judge(frames, 10.0) is Verdict.NOT_AUDIO


@LAW
@given(
    st.lists(
        st.sampled_from([frame(), frame("mpeg1 layer3 padded"), b"\x01junk", b"\xff", ID3V1, APE, b"\0" * 9])
    )
)
def test_the_cut_into_pieces_does_not_matter(parts: list[bytes]) -> None:
    """Fed whole, a byte at a time or in odd pieces, a stream gives the same answers."""
    data = b"".join(parts)
    answers = {
        (walk.found, walk.whole, round(walk.seconds, 9)) for walk in (walked(data, n) for n in (1, 97, 65536))
    }
    assert len(answers) == 1


@LAW
@given(st.binary(max_size=3000), st.integers(1, 500))
def test_no_garbage_raises(data: bytes, step: int) -> None:
    """Any bytes, alone or between frames, are walked without an exception."""
    walked(data, step)
    frames = walked(frame() * 2 + data + frame() * 2, step)
    assert frames.found
    assert frames.seconds >= 0


@LAW
@given(st.integers(0, 417 * 40))
def test_every_cut_is_noticed(cut: int) -> None:
    """A stream cut anywhere is whole exactly if it was cut between two frames."""
    frames = walked((frame() * 40)[:cut], 1024)
    assert frames.whole == (cut % 417 == 0 and cut >= 834)


def test_hostile_streams_take_no_longer_than_others() -> None:
    """Megabytes made to look like headers, tags and padding are done with at once."""
    noise = random.Random(7).randbytes(1 << 20)
    for data in (
        b"\xff" * (1 << 20),
        b"\xff\xfb\x90\x00" * (1 << 18),
        b"\0\1" * (1 << 19),
        APE * 9000,
        noise,
    ):
        walked(data, 4096)


@pytest.mark.parametrize(
    ("listed", "verdict"),
    [
        (None, Verdict.WHOLE),
        (0.0, Verdict.WHOLE),
        (10.0, Verdict.WHOLE),
        (11.9, Verdict.WHOLE),  # 1.9 s short: within 2 s
        (12.5, Verdict.SHORT),
        (5.0, Verdict.WHOLE),  # longer than listed is not short
    ],
)
def test_the_listing_decides_what_is_short(listed: float | None, verdict: Verdict) -> None:
    """Ten complete seconds are short only of a listing that has over two seconds more."""
    assert judge(walked(frame() * 383), listed) is verdict


def test_two_per_cent_of_a_long_song_are_forgiven() -> None:
    """200 s are not short of 203 s, which is more than 2 s but under 2 %, but they are of 205 s."""
    frames = walked(frame() * 7657)
    assert judge(frames, 203.0) is Verdict.WHOLE
    assert judge(frames, 205.0) is Verdict.SHORT


def test_a_cut_end_is_short_whatever_the_listing_says() -> None:
    """A last frame that is cut makes the stream short, with or without a duration."""
    frames = walked((frame() * 400)[:-5])
    assert judge(frames, None) is Verdict.SHORT
    assert judge(frames, 1.0) is Verdict.SHORT
    assert "not whole" in repr(frames)


def test_a_cut_end_that_is_too_short_as_well_is_cut() -> None:
    """Two signs together say that the song broke off."""
    assert judge(walked((frame() * 400)[:-5]), 60.0) is Verdict.CUT
