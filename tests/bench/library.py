"""The music that is read: made once a run, in sizes and shapes that real songs have.

How it thinks: the service holds the records, nginx the bytes; a file lies where the service's link points
to. Content is noise behind true headers, or what ffmpeg makes where a program has to understand it; forty
songs are forty names of one file, because nobody compares their bytes and everybody keeps them apart by
name.

What must always be true: the same names each time; generated, never committed.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from musicfs.demo import Service, wav_of_size
from musicfs.demo.assets import Asset
from tests.bench.origin import BUCKET

ACCOUNT = "ada@example.com"
WAV = 50_000_000  # bytes: a song of 4:43 in 16-bit stereo, and the researched peers' size
_CHUNK = 1 << 22


def clip_id(kind: str, number: int = 0) -> str:
    """Give the uuid of a clip, the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://bench.example.org/{kind}/{number}"))


def write(asset: Asset, path: Path) -> Path:
    """Write an asset to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, asset.size, _CHUNK):
            file.write(asset.read(start, start + _CHUNK))
    return path


def bucket_file(files: Path, clip: str, form: str) -> Path:
    """Say where nginx has a clip's m4a or wav."""
    return files / BUCKET[1:] / f"{clip}.{form}"


def link_to(source: Path, path: Path) -> None:
    """Give a file one more name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, path)


def fill_wavs(service: Service, files: Path) -> None:
    """Put one clip with a large wav into the catalogue, and eight others that are the same file."""
    first = write(wav_of_size(WAV, "bench"), bucket_file(files, clip_id("wav"), "wav"))
    for number in range(9):
        clip = clip_id("wav", number)
        service.add_clip(ACCOUNT, f"Large {number}", 283.0, clip)
        if number:
            link_to(first, bucket_file(files, clip, "wav"))
