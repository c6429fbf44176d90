"""The demo's songs: the same every time, playable in every form, and as awkward as real ones."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
from importlib import resources
from io import BytesIO

import pytest

from musicfs.demo import Clip, Job, Service, content, whole
from musicfs.demo.composer import Piece
from musicfs.demo.songs import FLOW_ACCOUNTS, TEMPOLOR_ACCOUNTS, encoded
from tests.demo.asking import NOW, fetch, get, mint, told

BIT_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 Layer III, kbit/s


@pytest.fixture(scope="module")
def demo() -> Service:
    """The demo's service; its songs are only read."""
    return Service.demo(lambda: NOW)


def mp3_seconds(data: bytes) -> float:
    """Count the frames of an mp3 at 32 kHz, after its tag, and check that they end with the file."""
    at, frames = 0, 0
    if data[:3] == b"ID3":
        at = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(data[6:10])))
    while at < len(data):
        (header,) = struct.unpack_from(">I", data, at)
        assert header & 0xFFFE_0C00 == 0xFFFA_0800, "MPEG-1 Layer III at 32 kHz"
        at += 144 * BIT_RATES[header >> 12 & 15] // 32 + (header >> 9 & 1)
        frames += 1
    assert at == len(data)
    return frames * 1152 / 32_000


def test_catalogue(demo: Service) -> None:
    """Two accounts a service, eight clips and six jobs or more, of both types."""
    assert list(demo.flow.accounts) == list(FLOW_ACCOUNTS)
    assert list(demo.tempolor.accounts) == list(TEMPOLOR_ACCOUNTS)
    assert {clip.account for clip in demo.flow.clips} == set(FLOW_ACCOUNTS)
    assert {job.account for job in demo.tempolor.jobs} == set(TEMPOLOR_ACCOUNTS)
    assert len([clip for clip in demo.flow.clips if " - " not in (clip.title or "")]) >= 8
    assert len([job for job in demo.tempolor.jobs if job.status == 30]) >= 6
    assert {job.kind for job in demo.tempolor.jobs} == {"song", "instrumental"}
    assert {job.status for job in demo.tempolor.jobs} == {0, 10, 30}


def test_titles(demo: Service) -> None:
    """The titles try the naming rules: twins, case twins, odd characters, edges, length, none, NFD, CJK."""
    things: list[Clip | Job] = [*demo.flow.clips, *demo.tempolor.jobs]
    titles = [thing.title for thing in things]
    texts = [title for title in titles if title is not None]
    assert len(texts) > len(set(texts)) > len({text.casefold() for text in texts})
    assert None in titles
    assert "" in titles
    assert all(any(sign in text for text in texts) for sign in '/:"🎸桜')
    assert any(text.startswith(".") for text in texts)
    assert any(text.startswith("-") for text in texts)
    assert any(text.endswith(". ") for text in texts)
    assert 300 in {len(text.encode()) for text in texts}
    assert any(text != unicodedata.normalize("NFC", text) for text in texts)
    assert any(thing.duration is None for thing in things)


def test_every_form_plays(demo: Service) -> None:
    """Each clip's mp3, m4a and WAV last as long as its listing says, and each job's mp3 and WAV."""
    things: list[Clip | Job] = [*demo.flow.clips, *demo.tempolor.jobs]
    for thing in (thing for thing in things if "mp3" in thing.assets):
        seconds = mp3_seconds(content(thing.assets["mp3"]))
        if thing.duration is not None:
            assert abs(seconds - thing.duration) < 0.6
        if "wav" in thing.assets:
            wav = thing.assets["wav"]
            assert isinstance(wav, Piece)
            assert abs(wav.seconds - seconds) < 0.2
        if isinstance(thing, Clip):
            m4a = content(thing.assets["m4a"])
            assert m4a[4:8] == b"ftyp"
            assert m4a.rindex(b"mdat") < m4a.rindex(b"moov")


def test_flow_stems(demo: Service) -> None:
    """One clip has four stem clips with mp3 and m4a, whose wav the bucket does not have."""
    stems = [clip for clip in demo.flow.clips if (clip.title or "").startswith("Night Drive - ")]
    assert {(clip.title or "").rpartition(" - ")[2] for clip in stems} == {"drums", "bass", "vocals", "other"}
    for clip in stems:
        assert fetch(demo, f"{demo.origins.bucket}/{clip.uuid}.m4a").status == 200
        assert fetch(demo, f"{demo.origins.bucket}/{clip.uuid}.wav").status == 404


def test_tempolor_stems() -> None:
    """One job has a stems archive with good, nested, deflated and bad members, all of them intact."""
    demo = Service.demo(lambda: NOW)
    job = next(job for job in demo.tempolor.jobs if "stems" in job.assets)
    data = whole(fetch(demo, mint(demo, demo.tempolor.handle(job), "stems")))
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = {entry.orig_filename: entry.compress_type for entry in archive.infolist()}
    assert {"vocals.wav", "instruments/bass.wav", "../evil.wav", "__MACOSX/._vocals.wav"} <= set(names)
    assert set(names.values()) == {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def test_identities_last() -> None:
    """Two demos have the same ids and dates, whatever the seed: a demo's names never change."""
    one, two = Service.demo(lambda: NOW), Service.demo(lambda: NOW, seed=9)
    assert [(clip.uuid, clip.created) for clip in one.flow.clips] == [
        (clip.uuid, clip.created) for clip in two.flow.clips
    ]
    assert [job.item for job in one.tempolor.jobs] == [job.item for job in two.tempolor.jobs]


def test_covers(demo: Service) -> None:
    """Covers are real pictures at the URLs that the lists give."""
    clips = told(get(demo, "/v1/flowmusic/music", email=FLOW_ACCOUNTS[0]))["clips"]
    covers = [whole(fetch(demo, clip["image_url"])) for clip in clips if clip["image_url"]]
    assert covers
    assert all(cover.startswith(b"\xff\xd8\xff") for cover in covers)
    records = told(get(demo, "/v1/tempolor/music", user_id=TEMPOLOR_ACCOUNTS[0]))["records"]
    covers = [whole(fetch(demo, record["cover"])) for record in records if record["cover"]]
    assert covers
    assert all(cover.startswith(b"\x89PNG") for cover in covers)


def test_media_folder() -> None:
    """The committed files are exactly those that the songs name, and stay under six million bytes."""
    folder = resources.files("musicfs.demo") / "media"
    found = {entry.name: len(entry.read_bytes()) for entry in folder.iterdir()}
    assert set(found) == {f"{name}.{ending}" for name, _, endings in encoded() for ending in endings}
    assert sum(found.values()) < 6_000_000
