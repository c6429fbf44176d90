"""What the first bytes of a body give away."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.sniff import HEAD, refuse, refuse_text

COVER = "cover-0a1b2c3d.jpg"
LAW = settings(max_examples=150, deadline=None)


def an_archive() -> bytes:
    """Make a small stems archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("drums.wav", b"RIFF")
    return sink.getvalue()


AUDIO = {
    "tagged mp3": b"ID3\x04\x00\x00\x00\x00\x02\x0bTIT2\x00\x00",
    "bare mp3": b"\xff\xfb\x90\x64\x00\x00\x00\x00",
    "m4a": b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00",
    "wav": b"RIFF\x24\x41\x42\x43WAVEfmt \x10\x00\x00\x00",
    "large wav": b"RF64\xff\xff\xff\xffWAVEds64",
    "zip": an_archive(),
    "empty zip": b"PK\x05\x06" + bytes(18),
}
PAGES = {
    "html": b"<!DOCTYPE html><html>",
    "xml": b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code>",
    "json": b'{"error":"no","code":404}',
    "json list": b'[{"error": 1}]',
    "bom": b"\xef\xbb\xbf<html>",
    "blank lines": b"\r\n\t  <html>",
    "latin-1": b"<p>Caf\xe9",
    "utf-16 le": "\ufeff<html>".encode("utf-16-le"),
    "utf-16 be": "\ufeff{}".encode("utf-16-be"),
    "plain words": b"Bad gateway\n",
    "other words": "找不到文件".encode(),
}


@pytest.mark.parametrize("name", AUDIO)
def test_audio_is_never_refused_however_short_its_head(name: str) -> None:
    """Every beginning of real audio or an archive is let through, from one byte on."""
    for length in range(1, len(AUDIO[name]) + 1):
        assert refuse_text(AUDIO[name][:length], "mp3") is None, length


@pytest.mark.parametrize("name", PAGES)
def test_error_pages_are_refused(name: str) -> None:
    """HTML, XML, JSON and plain text are refused, whatever comes before them."""
    assert refuse_text(PAGES[name], "wav")


@pytest.mark.parametrize("head", [b"<", b"{", b"[", b" <", b"\xef\xbb\xbf{", b"H"])
def test_one_byte_of_a_page_is_enough(head: bytes) -> None:
    """A body that begins as no audio does, but as pages do, is refused by its first byte."""
    assert refuse_text(head, "mp3")


def test_the_reason_names_the_kind_and_quotes_nothing() -> None:
    """The reason says what came instead of what, without a byte of the body, which may hold a secret."""
    assert refuse_text(b"<html>someone@example.org", "mp3") == "an HTML or XML page came instead of mp3"
    assert refuse_text(b'{"url":"https://x/?auth_key=1"}', "wav") == "JSON came instead of wav"
    assert refuse_text(b"token expired", "m4a") == "text came instead of m4a"


def test_nothing_is_not_refused() -> None:
    """An empty head proves nothing."""
    assert refuse_text(b"", "mp3") is None


def test_unknown_bytes_that_are_not_text_are_accepted() -> None:
    """A container that nobody foresaw is let through."""
    assert refuse_text(b"\x1a\x45\xdf\xa3\x01\x00", "m4a") is None
    assert refuse_text(b"OggS\x00\x02", "mp3") is None
    assert refuse_text(b"\xff\xfe\x90\x64", "mp3") is None


@LAW
@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=2 * HEAD))
def test_printable_text_is_refused_at_any_cut(text: str) -> None:
    """Text is refused even where the head ends in the middle of a character."""
    body = "-" + text
    assert refuse_text(body.encode()[: HEAD - 1], "mp3")


@LAW
@given(st.binary(max_size=HEAD), st.sampled_from(["mp3", "m4a", "wav", "stems"]))
def test_any_bytes_get_an_answer(head: bytes, form: str) -> None:
    """No input raises, and a refusal is a sentence's worth of words that names the form."""
    why = refuse_text(head, form)
    assert why is None or why.endswith(f"instead of {form}")


@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n....", b"GIF89a", b"RIFF\x01\x02\x03\x04WEBPVP8"]
)
def test_a_cover_begins_like_a_picture(head: bytes) -> None:
    """JPEG, PNG, GIF and WebP are let through as covers, cut anywhere."""
    assert all(refuse(head[:length], COVER) is None for length in range(1, len(head)))


@pytest.mark.parametrize(
    "head", [b"", b"<svg>", b"MZ\x90", b"ID3\x04", b"RIFF\x01\x02\x03\x04WAVE", b"\x1aE"]
)
def test_what_is_no_picture_is_refused_as_a_cover(head: bytes) -> None:
    """A cover that is anything else is refused, also what would pass for audio."""
    assert refuse(head, COVER) == f"no picture came for {COVER}"


def test_audio_is_looked_at_as_audio() -> None:
    """Forms that are no covers are judged by what text is."""
    assert refuse(b"\xff\xfb\x90\x64", "mp3") is None
    assert refuse(b"<html>", "mp3") == "an HTML or XML page came instead of mp3"
