"""What goes in and what comes out of the embedded service: plain values.

How it thinks: a `Request` is what a server would have read off a socket, already split; a `Response` is a
head and a body in *steps*. A step is a chunk of bytes or an event on the wire (a pause, a reset, an early
end, a stall), so that a broken network is a value like any other and each door (the in-process transport,
the loopback servers) plays the same script in its own way.

What must always be true: values hold no clock and no socket; header names of a request are lower case; the
path is kept as it was sent, percent-encoding and all; the steps of a response can be taken once.
It refuses to know what any path means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import responses
from typing import Self
from urllib.parse import parse_qsl, urlsplit

Pairs = tuple[tuple[str, str], ...]


class Role(StrEnum):
    """Which of the three hosts is asked."""

    API = "api"
    CDN = "cdn"
    BUCKET = "bucket"


class Framing(StrEnum):
    """How the end of a body is told: by Content-Length, by a last chunk, or by closing."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """Drop the connection with a TCP reset."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection in good order, whether or not the body is complete."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing more, ever, and keep the connection open."""


Event = Pause | Reset | Close | Stall
Step = bytes | Event


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a host reads it."""

    method: str
    role: Role
    path: str
    """As sent: percent-encoding is kept, the query is not part of it."""
    query: Pairs = ()
    """Decoded names and values, in order."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    @classmethod
    def parse(cls, method: str, target: str, role: Role, headers: Iterable[tuple[str, str]] = ()) -> Self:
        """Split a request target such as `/v1/flowmusic/music?limit=5`."""
        path, _, query = target.partition("?")
        pairs = tuple(parse_qsl(query, keep_blank_values=True))
        return cls(method, role, path or "/", pairs, {name.lower(): value for name, value in headers})

    def first(self, name: str) -> str | None:
        """Return the first query value of that name."""
        return next((value for key, value in self.query if key == name), None)


# What the standard library has no phrase for: useapi.net's 596 and Cloudflare's 52x (upstream-api.md 1.3).
_PHRASES = {
    520: "Web Server Returned an Unknown Error",
    521: "Web Server Is Down",
    522: "Connection Timed Out",
    524: "A Timeout Occurred",
    530: "Origin Error",
    596: "Account In Error State",
}


def phrase(status: int) -> str:
    """Return the reason phrase of any status, registered or not."""
    return _PHRASES.get(status) or responses.get(status, "Unknown")


@dataclass(frozen=True, slots=True)
class Response:
    """A head, and a body in steps."""

    status: int
    headers: Pairs = ()
    """Without Transfer-Encoding, Connection and Date, which belong to the server. With `Framing.LENGTH` it
    holds the Content-Length that is announced, which a lying body need not keep."""
    steps: Iterable[Step] = ()
    framing: Framing = Framing.LENGTH
    before: tuple[Event, ...] = ()
    """What happens before the status line: a `Stall` here is a black hole, a `Reset` an empty reply."""

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return phrase(self.status)

    def header(self, name: str) -> str | None:
        """Return a header's value, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @classmethod
    def of(cls, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> Self:
        """Make a complete, well-framed response."""
        named = (("Content-Type", kind), *headers, ("Content-Length", str(len(body))))
        return cls(status, named, (body,) if body else ())


def whole(response: Response) -> bytes:
    """Join the bytes of a response's steps, passing over the events."""
    return b"".join(step for step in response.steps if isinstance(step, bytes))


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the three hosts are reached: base URLs without a trailing slash."""

    api: str = "https://api.useapi.net"
    cdn: str = "https://ugc-cdn.api.instabeat.ai"
    bucket: str = "https://storage.googleapis.com/producer-app-public/clips"
    """Holds `<uuid>.m4a` and `<uuid>.wav` (upstream-api.md 2.8)."""

    def of(self, role: Role) -> str:
        """Return a role's scheme, host and port."""
        split = urlsplit({Role.API: self.api, Role.CDN: self.cdn, Role.BUCKET: self.bucket}[role])
        return f"{split.scheme}://{split.netloc}"

    def role_of(self, url: str) -> Role | None:
        """Say which role a URL belongs to, or None for a stranger."""
        split = urlsplit(url)
        origin = f"{split.scheme}://{split.netloc}".lower()
        return next((role for role in Role if self.of(role).lower() == origin), None)
