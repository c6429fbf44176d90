"""A library as a person has one after a year: five hundred songs, none of them here yet, and covers in some.

How it thinks: every song is silence of true frames, 12 seconds, so that a download costs little where it
happens and is counted all the same. What must always be true: the same each time.
"""

from __future__ import annotations

import struct
import time
import zlib

from musicfs.demo import Clip, Service, mp3_of, wav_of_size, zip_of

CLIPS, JOBS = 500, 20
SECONDS = 12.0
OGG = 300_000  # bytes: out of reach of the 64 KiB that are read for the archive's directory
LARGE = 8 * 1024 * 1024  # bytes: more than the first request and its read-ahead bring


def stocked(clips: int = CLIPS, jobs: int = JOBS) -> Service:
    """Make a service with clips (3 files each in library/) and jobs (2 files and stems)."""
    service = Service(clock=time.time)
    for number in range(clips):
        service.add_clip("ada@example.com", f"Song {number:03}", SECONDS)
    for number in range(jobs):
        stems = zip_of({"take.ogg": b"OggS" + bytes(OGG), "bass.wav": b"RIFF" + bytes(5000)})
        service.add_job("100", f"Job {number:03}", SECONDS, stems=stems, wav=wav_of_size(LARGE, number))
    return service


def add_with_cover(service: Service, number: int) -> Clip:
    """Add a clip whose mp3 carries a picture."""
    mp3 = _tag(png(64)) + mp3_of(SECONDS, number)
    return service.add_clip("ada@example.com", f"Cover {number}", SECONDS, mp3=mp3)


def png(side: int) -> bytes:
    """Make a square picture of one colour, `side` pixels a side."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xc8\x50\x28" * side) * side
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _tag(picture: bytes) -> bytes:
    """Make an ID3v2.3 tag with one picture, the front cover."""
    body = b"\0image/png\0\x03\0" + picture
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame
