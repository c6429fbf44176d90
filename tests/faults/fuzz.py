"""Every parser that reads what others wrote, given a million inputs that nobody would write.

How it thinks: a seeded generator takes well-formed inputs apart: bits flip, slices vanish, double and
move, numbers become the worst numbers there are, two inputs are spliced. That makes a hundred thousand
inputs in the time Hypothesis takes for a thousand; what holds is the same function either way, called with
bytes, and `test_fuzz.py` lets Hypothesis look for a counterexample too.

What must always be true of a parser: it gives a value that keeps its promises, or the one failure that it
names; it does so in a moment, and never gives out more than it was given.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from musicfs import providers
from musicfs.commands import options
from musicfs.config import settings
from musicfs.core import frames, naming, sniff
from musicfs.core.census import arrive
from musicfs.core.zipdir import ZipDirectory, local_header
from musicfs.demo import Member, mp3_of, zip_of
from musicfs.errors import BadArchive, ConfigError, UpstreamError
from musicfs.model import Account, Reply, Request, Song
from musicfs.store import maps
from musicfs.wire import headers
from tests.faults.model_kernelless import SHM

NOW = 1_795_000_000.0
YEAR = 366 * 86_400.0  # seconds
SLOW = 1.0  # seconds that no input of a few kilobytes may take; the usual is microseconds

_UUID = b"0f0e0d0c-0b0a-4908-8706-050403020100"
_CLIP = b"user:1234-joe+x@example.com-clip:" + _UUID
_ITEM = b"user:1234-tempolor:100200300-job:9f8e7d6c5b4a"
_LISTS = [
    b'{"clips":[{"clip":"' + _CLIP + b'","title":"A","duration_s":12.5,"created_at":"2026-01-02T03:04:05Z",'
    b'"audio_url":"https://x/y.m4a","wav_url":null}],"next":101}',
    b'{"records":[{"job_id":"' + _ITEM + b'","titleEn":"B","status":30,"status_final":true,'
    b'"createTime":1790000000000,"updateTime":1790000001000,"musicMaterial":{"dur":12.5}}],"hasNext":true,'
    b'"cursor":"abc"}',
    b'{"status":"completed","clips":[{"clip":"' + _CLIP + b'"}]}',
    b'{"joe@example.com":{"error":null},"x":{"error":"y"}}',
]
_SERVICES = list(providers.find("https://media.example.net").values())


def _answers(talk: Generator[Request, Reply, Any], body: bytes) -> Any:
    """Carry a conversation on with one body; None for a failure that has a name."""
    try:
        next(talk)
        while True:
            talk.send(Reply(200, body))
    except StopIteration as done:
        return done.value
    except UpstreamError:
        return None
    finally:
        talk.close()


def _sound(song: Song) -> None:
    """See that what a service named can be a name, a key and a time here."""
    assert "/" not in song.ident
    assert "\0" not in song.ident
    assert song.ident not in ("", ".", "..")
    assert len(song.ident.encode()) <= 255
    assert song.handle not in repr(song)
    name = naming.clean(song.title)
    assert naming.flaw(name) is None, name
    for row in arrive({}, [song], NOW):
        assert abs(row.mtime_ns) < 2**63


def ids(data: bytes) -> None:
    """Ids and handles, as somebody types them and as lists name them."""
    text = data.decode("utf-8", "surrogateescape")
    for service in _SERVICES:
        if (song := service.guest(text)) is not None:
            _sound(song)
            assert _answers(service.locate(song, "mp3", NOW), b"{}") is None or service.slug == "flowmusic"
        if (handle := service.recognise(text)) is not None:
            quote(handle)
            _answers(service.record(handle), b"{}")


def listing(data: bytes) -> None:
    """Lists, records and accounts in JSON."""
    for service in _SERVICES:
        page = _answers(service.page(Account("joe@example.com"), None), data)
        for song in page.songs if page else ():
            _sound(song)
        song = _answers(service.record(_ITEM.decode()), data)
        if song is not None:
            _sound(song)
        _answers(service.accounts(), data)


def auth_key(data: bytes) -> None:
    """Links, their signature's time and their remaining life."""
    song = Song("tempolor", "9f8e7d6c5b4a", _ITEM.decode(), "100200300")
    found = _answers(_SERVICES[-1].locate(song, "wav", NOW), data)
    if found is not None:
        assert found.url
        assert found.lives is None or found.lives > 0
        assert "auth_key" not in repr(found)


def content_range(data: bytes) -> None:
    """Content-Range and Content-Length."""
    text = data.decode("latin-1")
    found = headers.content_range(text)
    if found is not None and found.span is not None:
        assert 0 <= found.span.start < found.span.stop
        assert found.total is None or found.span.stop <= found.total
    length = headers.length({"content-length": text})
    assert length is None or length >= 0


def retry_after(data: bytes) -> None:
    """Retry-After, in seconds and as a date."""
    found = headers.retry_after({"retry-after": data.decode("latin-1")}, NOW)
    assert found is None or 0 <= found <= YEAR


def central_directory(data: bytes) -> None:
    """ZIP archives: their directory, and a local header."""
    rounds = 0
    try:
        archive = ZipDirectory(len(data))
        while (need := archive.need()) is not None:
            assert 0 <= need.start < need.stop <= len(data)
            archive.feed(need, data[need.start : need.stop])
            rounds += 1
            assert rounds < 10, "it asks for ever"
        found = archive.result
    except BadArchive:
        return
    assert len(found.members) <= 256
    for member in found.members:
        assert naming.flaw(member.name.rpartition("/")[2]) is None
        assert ".." not in member.name.split("/")
        assert not member.name.startswith("/")
        try:
            local_header(data[member.header : member.header + 30], member, len(data))
        except BadArchive:
            continue


def stored_map(data: bytes) -> None:
    """The maps of the cache, as a disk may have left them."""
    try:
        found = maps.decode(data)
    except maps.BadMap:
        return
    assert 0 < found.good <= len(data)
    size = found.size
    assert all(block >= 0 for block in found.blocks)
    assert size is None or found.header.kind is maps.Kind.WHOLE or len(found.blocks) * 65_536 < size + 65_536


def mount_options(data: bytes) -> None:
    """`-o`, as fstab has it."""
    try:
        found = options.parse([data.decode("utf-8", "surrogateescape")])
    except ConfigError:
        return
    assert "token" not in found
    assert all(found)


_FOLDER = Path(tempfile.mkdtemp(prefix="musicfs-fuzz-", dir=SHM))


def config(data: bytes) -> None:
    """Settings, in a file and in the environment."""
    place = _FOLDER / "config.toml"
    place.write_bytes(data)
    words = dict.fromkeys(("MUSICFS_CACHE_SIZE", "MUSICFS_DEADLINE"), data.decode("utf-8", "surrogateescape"))
    for environ, file in (({}, place), (words, None)):
        try:
            loaded = settings.load({}, {"XDG_CONFIG_HOME": str(_FOLDER / "none"), **environ}, file)
        except ConfigError:
            continue
        assert loaded.settings.deadline > 0
        assert loaded.settings.cache_size >= 0


def audio(data: bytes) -> None:
    """What claims to be an mp3."""
    sniff.refuse_text(data[:512], "mp3")
    counted = frames.Frames()
    counted.feed(data[: len(data) // 2])
    counted.feed(data[len(data) // 2 :])
    frames.judge(counted, 12.0)


def _map() -> bytes:
    header = maps.Header("tempolor:9f8e:wav", 1, maps.Kind.RANGED, 200_000, "etag x", b"12345678")
    raw, fresh = maps.begin(header)
    records: tuple[maps.Record, ...] = (maps.Block(0, 1), maps.Block(2, 7), maps.Dropped(0))
    for place, record in enumerate(records):
        raw += maps.encode(record, fresh.seed, place)
    return raw


PARSERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "ids": (ids, [_CLIP, _ITEM, b"job:" + _UUID + b"-user:1234-joe@x.org-bot:flowmusic", _UUID]),
    "list JSON": (listing, _LISTS),
    "auth_key": (
        auth_key,
        [
            b'{"url":"https://cdn.example.net/a.wav?auth_key=1795000100-0-0-abcdef","remainSeconds":0}',
            b'{"url":"https://cdn.example.net/a.wav?auth_key=1795000100","remainSeconds":1799.5}',
        ],
    ),
    "Content-Range": (content_range, [b"bytes 0-99/100", b"bytes 5-9/*", b"bytes */1234", b"123456"]),
    "Retry-After": (retry_after, [b"120", b"Sat, 21 Nov 2026 07:28:00 GMT", b"Sat Nov 21 07:28:00 2026"]),
    "central directory": (
        central_directory,
        [
            zip_of({"a.wav": b"RIFF" * 9, "sub/b.txt": b"words"}),
            zip_of([Member("deflated.txt", b"la " * 99, deflated=True)], comment=b"PK\x05\x06"),
        ],
    ),
    "maps": (stored_map, [_map()]),
    "-o options": (
        mount_options,
        [b'ro,cache_size=5G,config="/a,b/c",x-systemd.idle=1', b"token=x", b"a\\,b=c"],
    ),
    "config": (
        config,
        [
            b'api_url = "https://api.useapi.net"\ncache_size = "10G"\ndeadline = 30\nscanners = ["a", "b"]\n',
            b"10G",
            b"1.5",
        ],
    ),
    "mp3 frames": (audio, [mp3_of(0.2, 1), b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + mp3_of(0.1, 2)]),
}
"""What is read → the law that it keeps, and well-formed inputs to start from."""

_WORST = [
    *(b"0", b"-1", b"1e400", b"NaN", b"Infinity", b"4294967296", b"18446744073709551616", b"9" * 400),
    *(
        b"9" * 5000,
        b"\0",
        b"\xff\xff\xff\xff",
        b"../",
        b"/",
        b"%2e%2e%2f",
        b"\xd9\xa3",
        b"\xed\xa0\x80",
        b'"',
    ),
    *(b"\\ud800", b"null", b"[[[[", b"{", b"PK\x05\x06", b"PK\x01\x02", b"\xe2\x80\xae", b",", b"\r\n", b"'"),
]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Take a well-formed input apart."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 16, 64)))
        way = rng.randrange(7)
        if way == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del data[at:end]
        elif way == 2:
            data[at:at] = data[at:end] * rng.choice((1, 2, 9))
        elif way == 3:
            data[at:end] = rng.choice(_WORST)
        elif way == 4:
            data[at:at] = rng.choice(_WORST)
        elif way == 5:
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        else:
            data[at:end] = rng.randbytes(end - at)
    return bytes(data)


def fuzz(name: str, inputs: int, seed: int) -> float:
    """Give a parser so many inputs; the longest that one took, in seconds."""
    law, seeds = PARSERS[name]
    rng, worst = random.Random(f"{name}{seed}"), 0.0
    for _ in range(inputs):
        data = mutated(rng, seeds)
        began = time.perf_counter()
        try:
            law(data)
        except Exception as failure:
            raise AssertionError(f"{name} breaks on {data[:300]!r}: {failure!r}") from failure
        worst = max(worst, time.perf_counter() - began)
    return worst


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Give every parser `amount` inputs."""
    for name in PARSERS:
        worst = fuzz(name, amount, seed)
        tell(f"{name}: {amount:,} inputs, the slowest {worst * 1000:.1f} ms")
    return f"{amount:,} inputs for each of {len(PARSERS)} parsers"
