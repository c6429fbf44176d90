"""Answers for a `Fault`, ready-made: refusals, floods, rubbish and silence.

How it thinks: each function returns a function from request to response, to be hung into `Service.fail`.
Bodies are those that upstream-api.md 1.2 and 1.4 tell of: JSON from the API, HTML from the edge before it.

What must always be true: an answer depends on nothing but its arguments, so a fault repeats exactly.
It refuses to choose whom it hits; that is `Where`.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import msgspec

from musicfs.demo.values import Close, Pairs, Request, Reset, Response, Stall, phrase

Answer = Callable[[Request], Response]

JSON = "application/json; charset=utf-8"


def refusal(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """Make useapi.net's usual error body: `{"error": text, "code": status}`."""
    return Response.of(status, msgspec.json.encode({"error": message, "code": status}), JSON, *headers)


def page(status: int, *headers: tuple[str, str]) -> Response:
    """Make an HTML page as an edge proxy would."""
    text = f"<!DOCTYPE html>\n<html><head><title>{status} {phrase(status)}</title></head>\n"
    text += f"<body><center><h1>{status} {phrase(status)}</h1></center><hr>cloudflare</body></html>\n"
    return Response.of(status, text.encode(), "text/html; charset=UTF-8", *headers)


def json_error(status: int, message: str | None = None) -> Answer:
    """Answer a status with a JSON error."""
    return lambda _: refusal(status, message or phrase(status))


def html(status: int = 200) -> Answer:
    """Answer a status with an HTML page; 200 by default."""
    return lambda _: page(status)


def throttled(
    seconds: int | str | None = None, *, date: float | None = None, until: str | None = None
) -> Answer:
    """Answer 429, with Retry-After in seconds (or any text) or as a date (seconds since the epoch),
    `retryAfter` (ISO) in the body, or none of them."""
    headers: Pairs = ()
    if seconds is not None:
        headers = (("Retry-After", str(seconds)),)
    elif date is not None:
        headers = (("Retry-After", formatdate(date, usegmt=True)),)
    body: dict[str, object] = {"error": "Too many requests", "code": 429}
    if until is not None:
        body["retryAfter"] = until
    return lambda _: Response.of(429, msgspec.json.encode(body), JSON, *headers)


def garbage(status: int = 200) -> Answer:
    """Answer JSON that breaks off."""
    return lambda _: Response.of(status, b'{"clips":[{"clip":"user:12', JSON)


def body(data: bytes, kind: str = JSON, status: int = 200) -> Answer:
    """Answer exactly these bytes; none by default would be `body(b"")`."""
    return lambda _: Response.of(status, data, kind)


def black_hole() -> Answer:
    """Never answer."""
    return lambda _: Response(200, before=(Stall(),))


def dropped(*, clean: bool = False) -> Answer:
    """Break the connection before the status line."""
    return lambda _: Response(200, before=(Close() if clean else Reset(),))


def denied_link(reason: str = "expired timestamp") -> Answer:
    """Answer as the CDN does to a bad link (4.1): `expired timestamp`, `invalid md5hash`."""
    return lambda _: page(403, ("X-Tengine-Error", f"denied by req auth: {reason}"))


def xml_error(status: int, code: str) -> Answer:
    """Answer an error as object storage does: NoSuchKey, AccessDenied, InvalidRange."""
    return lambda _: xml(status, code)


def xml(status: int, code: str) -> Response:
    """Make object storage's error body."""
    text = "<?xml version='1.0' encoding='UTF-8'?>"
    text += f"<Error><Code>{code}</Code><Message>{phrase(status)}.</Message></Error>"
    return Response.of(status, text.encode(), "application/xml; charset=UTF-8")
