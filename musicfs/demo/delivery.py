"""How an object leaves a source: status, headers and steps, in health and in sickness.

How it thinks: a role says *what* goes out (a `Parcel`), a `Delivery` says *how*. The range is judged
first, then the head is written, then the body is cut into steps; every ill of upstream-api.md §6 is one
small turn on that way.

What must always be true: with an untouched `Delivery` the steps joined are exactly the bytes that the head
announces; nothing is read from the asset before its step is taken.
It refuses to know roles, routes and accounts.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate

from musicfs.demo.assets import Altered, Asset, Plain, content, fingerprint
from musicfs.demo.knobs import ContentRange, Delivery, Ranges, Tag
from musicfs.demo.values import Close, Framing, Pairs, Pause, Request, Reset, Response, Stall, Step

_CHUNK = 256 * 1024  # large enough that a step costs little beside its bytes, small enough to stop early
_DRIPS = 20  # steps a second while dripping, so that a reader sees a trickle rather than lumps

_INVALID_RANGE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>InvalidRange</Code>"
    b"<Message>The requested range cannot be satisfied.</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes out, without how."""

    asset: Asset
    content_type: str
    source: str
    """Which field of `Knobs` says how: api, mp3, cdn or bucket."""
    status: int = 200
    modified: float | None = None
    """Seconds since the epoch."""
    headers: Pairs = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request arrived, for redirects, and how many came before it."""

    here: str
    """The request's absolute URL."""
    other: str
    """The same bytes on another host."""
    call: int


def deliver(request: Request, parcel: Parcel, how: Delivery, place: Place) -> Response:
    """Send a parcel as `how` says."""
    before = (Pause(how.first_byte),) if how.first_byte else ()
    if how.redirect is not None:
        return replace(_redirect(how.redirect, place), before=before)
    if how.bend is not None:
        parcel = replace(parcel, asset=Plain(how.bend(content(parcel.asset))))
    if how.restless:
        parcel = replace(parcel, asset=Altered(parcel.asset, place.call, how.differs_from))
    etag = _etag(parcel, how, place.call)
    refusal = _precondition(request, etag)
    if refusal is not None:
        return replace(refusal, before=before)
    if how.gzip:
        return replace(_gzipped(parcel), before=before)
    size = parcel.asset.size
    span = asked = _judge(request, size, how.ranges, etag)
    if span == (size, size) and asked is not None:
        total = ("Content-Range", f"bytes */{size}")
        return replace(Response.of(416, _INVALID_RANGE, "application/xml", total), before=before)
    start, stop = span or (0, size)
    stop = max(start, stop - how.short)
    headers = _head(parcel, how, etag)
    if asked is not None:
        headers += _content_range(how.content_range, *asked, size)
    if how.framing is Framing.LENGTH:
        headers += (("Content-Length", str(stop - start + how.long)),)
    status = 206 if asked is not None else parcel.status
    return Response(status, headers, _steps(parcel.asset, start, stop, how), how.framing, before)


def _redirect(target: str, place: Place) -> Response:
    if target == "loop":
        target = place.here
    elif target == "http":
        target = place.here.replace("https://", "http://", 1)
    elif target == "other":
        target = place.other
    return Response.of(302, b"", "text/html", ("Location", target))


def _etag(parcel: Parcel, how: Delivery, call: int) -> str | None:
    if how.etag is Tag.NONE:
        return None
    tag = f'"{fingerprint(parcel.asset)}"'
    if how.etag is Tag.WEAK:
        return f"W/{tag}"
    return f'"{call:x}-{tag[1:]}' if how.etag is Tag.CHANGES else tag


def _precondition(request: Request, etag: str | None) -> Response | None:
    """Answer 412 to an If-Match that fails and 304 to an If-None-Match that holds."""
    want, known = request.headers.get("if-match"), request.headers.get("if-none-match")
    if want is not None and want not in ("*", etag):
        return Response.of(412, b"", "application/xml")
    if known is not None and etag is not None and known in ("*", etag):
        return Response(304, (("ETag", etag),))
    return None


def _judge(request: Request, size: int, ranges: Ranges, etag: str | None) -> tuple[int, int] | None:
    """Return the half-open span to send, None for the whole, or (size, size) for 416."""
    text = request.headers.get("range", "")
    condition = request.headers.get("if-range")
    if ranges is Ranges.IGNORE or not text.startswith("bytes=") or condition not in (None, etag):
        return None
    first, dash, last = text.removeprefix("bytes=").strip().partition("-")
    if not dash or not (first or last) or not (first + last).isdecimal():
        return None  # More than one range, or nonsense: as if nothing had been asked.
    if first:
        start, stop = int(first), int(last) + 1 if last else size
    else:
        start, stop = size - int(last), size
    if start >= stop and start < size:
        return None
    outside = start < 0 or start >= size or stop > size
    if outside and ranges is Ranges.LAX:
        return None
    if start >= size or (outside and ranges is Ranges.STRICT):
        return size, size
    return max(start, 0), min(stop, size)


def _content_range(how: ContentRange, start: int, stop: int, size: int) -> Pairs:
    if how is ContentRange.MISSING:
        return ()
    shift = 1 if how is ContentRange.SHIFTED else 0
    total = {ContentRange.STAR: "*", ContentRange.WRONG_TOTAL: str(size + 1)}.get(how, str(size))
    # HTTP's inclusive end is born here and nowhere else.
    return (("Content-Range", f"bytes {start + shift}-{stop - 1 + shift}/{total}"),)


def _head(parcel: Parcel, how: Delivery, etag: str | None) -> Pairs:
    headers: Pairs = (("Content-Type", how.content_type or parcel.content_type), *parcel.headers)
    if how.ranges is not Ranges.IGNORE:
        headers += (("Accept-Ranges", "bytes"),)
    if etag is not None:
        headers += (("ETag", etag),)
    if how.last_modified and parcel.modified is not None:
        headers += (("Last-Modified", formatdate(parcel.modified, usegmt=True)),)
    if how.generation:
        # Sixteen decimal digits, as Google's microsecond stamps have.
        headers += (("x-goog-generation", str(int(fingerprint(parcel.asset)[:12], 16)).zfill(16)),)
    return headers


def _gzipped(parcel: Parcel) -> Response:
    # Stored in its wrapping: a song packed for each request would hold its host up for 0.13 s of CPU.
    packed = gzip.compress(content(parcel.asset), compresslevel=0, mtime=0)
    headers = (("Content-Type", parcel.content_type), ("Content-Encoding", "gzip"), *parcel.headers)
    return Response(parcel.status, headers, (packed,), Framing.CHUNKED)


def _steps(asset: Asset, start: int, stop: int, how: Delivery) -> Iterator[Step]:
    """Give the body, up to where it is to break."""
    length = stop - start + how.long + how.extra
    breaks: list[tuple[int, Step]] = []
    if how.cut is not None:
        breaks.append((how.cut.at, Close() if how.cut.clean else Reset()))
    if how.stall_at is not None:
        breaks.append((how.stall_at, Stall()))
    # A break beyond the body never comes; it would hit the next request on the connection.
    breaks = [(at, event) for at, event in breaks if at < length]
    end, event = min(breaks, key=lambda item: item[0], default=(length, None))
    end = min(end, length)
    stride = _CHUNK if how.drip is None else max(1, int(how.drip / _DRIPS))
    for at in range(0, end, stride):
        upto = min(at + stride, end)
        while upto == end and how.gate is not None and not how.gate():
            yield Pause(1 / _DRIPS)
        chunk = asset.read(min(start + at, stop), min(start + upto, stop))
        yield chunk.ljust(upto - at, b"\0")  # what is `long` beyond the object is zeros
        if how.drip is not None:
            yield Pause((upto - at) / how.drip)
    if event is not None:
        yield event
