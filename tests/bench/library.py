"""The music that is read: made once a run, in sizes and shapes that real songs have.

How it thinks: the service holds the records, nginx the bytes; a file lies where the service's link points
to. Content is noise behind true headers, or what ffmpeg makes where a program has to understand it; forty
songs are forty names of one file, because nobody compares their bytes and everybody keeps them apart by
name.

What must always be true: the same names each time; generated, never committed.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

from musicfs.demo import Service, wav_of_size
from musicfs.demo.assets import Asset
from musicfs.demo.byteservers import object_path
from tests.bench.origin import BUCKET

ACCOUNT = "ada@example.com"
WAV = 50_000_000  # bytes: a song of 4:43 in 16-bit stereo, and what the peers were researched with
WAVS = 9
JOB_WAV = 4_000_000  # bytes: large enough that its first ones are not all of it
SONGS = 40
_SECONDS = 165  # at 192 kbit/s: 4 MB, as a song has
_NOISE = ("-f", "lavfi", "-i", f"anoisesrc=duration={_SECONDS}:color=pink:seed=1:sample_rate=44100")
_PICTURE = ("-f", "lavfi", "-i", "nullsrc=size=500x500,geq=random(1)*255:128:128")
_CHUNK = 1 << 22


def clip_id(kind: str, number: int = 0) -> str:
    """Give the uuid of a clip, the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://bench.example.org/{kind}/{number}"))


def title(number: int) -> str:
    """Give the title of a clip with a large wav."""
    return f"Large {number}"


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


def job_id(number: int) -> str:
    """Give the item id of a TemPolor job, which is its folder's name."""
    return f"{number:012x}"


def handle(service: Service, uuid: str) -> str:
    """Give the id by which the API knows a clip."""
    clip = service.flow.clip(uuid)
    assert clip is not None
    return service.flow.handle(clip)


def fill_songs(service: Service, files: Path) -> None:
    """Put forty real songs into both services: 4 MB each, mp3 with cover, m4a with `moov` last."""
    mp3, m4a = files / "mp3" / f"{clip_id('song')}.mp3", bucket_file(files, clip_id("song"), "m4a")
    cover = files / "cover.jpg"
    _ffmpeg(*_PICTURE, "-frames:v", "1", "-q:v", "3", str(cover))
    pictured = ("-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic")
    _ffmpeg(*_NOISE, *pictured, "-b:a", "192k", str(mp3))
    _ffmpeg(*_NOISE, "-ac", "2", "-c:a", "aac", "-b:a", "192k", str(m4a))
    wav = write(wav_of_size(JOB_WAV, "song"), m4a.with_suffix(".wav"))  # Listed too, so its length is asked.
    for number in range(SONGS):
        clip = clip_id("song", number)
        service.add_clip(ACCOUNT, f"Song {number}", float(_SECONDS), clip)
        job = service.add_job("100", f"Job {number}", float(_SECONDS), job_id(number))
        if number:
            link_to(mp3, mp3.with_name(f"{clip}.mp3"))
            link_to(m4a, m4a.with_name(f"{clip}.m4a"))
            link_to(wav, wav.with_name(f"{clip}.wav"))
        link_to(mp3, files / object_path(job, "mp3")[1:])


def _ffmpeg(*words: str) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *words]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def fill_jobs(service: Service, files: Path) -> None:
    """Put forty TemPolor songs into the catalogue, each a wav of a few megabytes."""
    first: Path | None = None
    for number in range(SONGS):
        job = service.add_job("100", f"Job {number}", 23.0, job_id(number))
        path = files / object_path(job, "wav")[1:]
        if first is None:
            first = write(wav_of_size(JOB_WAV, "job"), path)
        else:
            link_to(first, path)


def fill_wavs(service: Service, files: Path) -> None:
    """Put one clip with a large wav into the catalogue, and eight others that are the same file."""
    first = write(wav_of_size(WAV, "bench"), bucket_file(files, clip_id("wav"), "wav"))
    for number in range(WAVS):
        clip = clip_id("wav", number)
        service.add_clip(ACCOUNT, title(number), 283.0, clip)
        if number:
            link_to(first, bucket_file(files, clip, "wav"))
