"""What files say of their own length: cut ones are told, whole ones never."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.containers import Outline
from musicfs.demo import content, m4a_of, wav_of, zip_of
from musicfs.model import Form

WAV = content(wav_of(0.1))
M4A = content(m4a_of(0.5))
LARGE = (
    struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 512)
    + struct.pack(">I4s", 8, b"moov")
    + struct.pack(">I4sQ", 1, b"mdat", 16 + 5000)
    + bytes(5000)
)
ZIP = content(zip_of({"a.wav": b"RIFF" + bytes(3000), "b.txt": b"text" * 100}))
FILES = {Form.WAV: WAV, Form.M4A: M4A, Form.STEMS: ZIP}


def outline(form: str, *pieces: bytes) -> Outline:
    """Feed some pieces."""
    made = Outline(form)
    for piece in pieces:
        made.feed(piece)
    return made


def split(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data into pieces at some places."""
    marks = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(marks)]


@pytest.mark.parametrize(("form", "data"), [*FILES.items(), (Form.M4A, LARGE)])
@settings(max_examples=200, deadline=None)
@given(places=st.lists(st.integers(0, 10**6), max_size=8))
def test_a_whole_file_is_never_cut(form: str, data: bytes, places: list[int]) -> None:
    """Whatever pieces a whole file comes in, it ends where it says."""
    assert not outline(form, *split(data, places)).cut


@pytest.mark.parametrize(("form", "data"), [*FILES.items(), (Form.M4A, LARGE)])
@settings(max_examples=200, deadline=None)
@given(st.data(), st.lists(st.integers(0, 10**6), max_size=4))
def test_a_cut_file_is_told(form: str, data: bytes, choice: st.DataObject, places: list[int]) -> None:
    """A file that lacks any number of bytes at its end, but has its head, is cut."""
    # Beyond the first boxes: a cut between two boxes that has the index cannot be told.
    short = data[: choice.draw(st.integers(40, len(data) - 1))]
    assert outline(form, *split(short, places)).cut


@pytest.mark.parametrize("named", [0, 0xFFFF_FFFF, 0xFFFF_FFD8])
def test_a_wav_that_names_no_length_says_nothing(named: int) -> None:
    """A wav that was written to a pipe does not know its length."""
    data = b"RIFF" + struct.pack("<I", named) + WAV[8:]
    assert not outline(Form.WAV, data[:1000]).cut


def test_a_last_box_without_a_length_says_nothing() -> None:
    """A box of length 0 goes on to the end, wherever that is."""
    data = LARGE[:24] + struct.pack(">I4s", 0, b"mdat") + bytes(500)
    assert not outline(Form.M4A, data[:300]).cut


@pytest.mark.parametrize("form", [*FILES, Form.MP3, "cover"])
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=3))
def test_what_is_none_of_them_says_nothing(form: str, data: bytes, places: list[int]) -> None:
    """Bytes that do not begin like the container say nothing, and never break it."""
    assert not outline(form, *split(b"\x00?" + data, places)).cut
