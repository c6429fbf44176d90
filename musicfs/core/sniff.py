"""Is this audio, or an error page that says 200?

How it thinks: a byte server that is unwell answers with HTML, XML or JSON under an audio name (upstream-
api.md §4.4 rule 6), and content types there prove nothing. So the first bytes of a body are looked at.
What begins like a known container is let through; what reads as text is refused; anything else is let
through as well, because little is known of what the services send, and a wrong refusal would hide a song.
A cover has to begin like a picture: what it is else goes into programs that only look at its name.

What must always be true: a real mp3, m4a, wav or zip is never refused, however few of its bytes are here;
the answer never quotes the body, which may hold a signed URL or an e-mail address.

What it refuses: to say whether the audio is good or complete. `frames` and the checks of size do that.
"""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder

from musicfs.model import Form

HEAD = 512
"""Bytes that are looked at: enough to tell text from audio, and always within the first piece of a body."""

_SIGNATURES = (
    b"ID3\x02",  # an mp3 with a tag; the byte after ID3 is the tag's version
    b"ID3\x03",
    b"ID3\x04",
    b"RIFF",  # wav
    b"RF64",  # wav over 4 GiB
    b"PK\x03\x04",  # zip
    b"PK\x05\x06",  # an empty zip
)
"""Openings that could pass for text. A bare mp3 frame (FF Ex) and an m4a (a NUL, then `ftyp` at 4) cannot."""

_OPENERS = {b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON"}


_PICTURES = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"RIFF????WEBP",
)
"""Openings of the pictures that every program shows; what lies at a `?` does not matter."""


def refuse(head: bytes, form: str) -> str | None:
    """Say why the first bytes of a body cannot be the `form` that was asked for; None if they may be."""
    if not form.startswith(Form.COVER):
        return refuse_text(head, form)
    fits = any(all(a in (b, 63) for a, b in zip(kind, head, strict=False)) for kind in _PICTURES)
    return None if head and fits else f"no picture came for {form}"


def refuse_text(head: bytes, form: str) -> str | None:
    """Say why the first bytes of a body cannot be the `form` that was asked for; None if they may be."""
    head = head[:HEAD]
    if _known(head):
        return None
    opener = _plain(head).lstrip()[:1]
    if opener in _OPENERS:
        return f"{_OPENERS[opener]} came instead of {form}"
    return f"text came instead of {form}" if _is_text(head) else None


def _known(head: bytes) -> bool:
    """Say whether the head is, or with more bytes may become, the beginning of a known container."""
    if head[4:8] == b"ftyp":
        return True
    return any(head.startswith(signature) or signature.startswith(head) for signature in _SIGNATURES)


def _plain(head: bytes) -> bytes:
    """Take off a byte order mark and, where one announces UTF-16, its empty halves."""
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        # FF FE also opens an (unused) MPEG layer I frame; the half-empty character after it tells them apart.
        return head[2:].replace(b"\0", b"") if 0 in head[2:4] else head
    return head.removeprefix(BOM_UTF8)


def _is_text(head: bytes) -> bool:
    """Say whether the head reads as UTF-8 without controls; its last character may be cut."""
    try:
        text = getincrementaldecoder("utf-8")().decode(_plain(head))
    except UnicodeDecodeError:
        return False
    return text != "" and all(char.isprintable() or char in "\t\n\v\f\r" for char in text)
