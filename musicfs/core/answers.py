"""What an API's answer means when it is not the one that was hoped for.

How it thinks: one table from status to the name of the situation. A provider looks for its own special
cases first (a 404 that means "not ready yet") and leaves the rest to `check`. The text of an error body
is read for its meaning and never quoted: 596 bodies carry e-mail addresses (upstream-api.md §1.3).

What must always be true: whatever bytes arrive, what leaves is a value or a
`musicfs.errors.UpstreamError`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from musicfs.errors import (
    AccountBroken,
    Lapsed,
    Misbehaved,
    NotFinished,
    Refused,
    Rejected,
    Throttled,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Reply

T = TypeVar("T")

TITLE = 1000
"""Characters kept of a title; a name takes 255 bytes of it, and hostile ones would fill memory and disk."""
LONGEST = 8192
"""Characters of the longest id, cursor or link that is believed; real ones have some 300."""
TEXT = 50_000
"""Characters kept of lyrics and prompts: five times what the services take (upstream-api.md §2.7)."""
_NULL = msgspec.Raw(b"null")
_ACCOUNTS = 100  # linked accounts that are believed: three a service can be linked (upstream-api.md §1.5)

_WORDS = {
    400: "the service found the request wrong",
    401: "the token was refused",
    402: "the subscription is missing or has lapsed",
    403: "the service says this is not ours",
    404: "the service has no such thing",
    409: "the job is not finished",
    410: "the service no longer has this",
    429: "the service asks for fewer requests",
    596: "the linked account is in an error state",
}
_CLASSES: dict[int, type[UpstreamError]] = {
    401: Refused,
    402: Lapsed,
    403: Refused,
    404: Withdrawn,
    409: NotFinished,
    410: Withdrawn,
    429: Throttled,
    596: AccountBroken,
}


def failure(status: int) -> UpstreamError:
    """Name the situation that a status (not 2xx) stands for, before anything special is known of it."""
    words = f"{_WORDS.get(status, 'an unusable answer')} ({status})"
    known = _CLASSES.get(status)
    if known is not None:
        return known(words)
    # 4xx will not change by asking again; 5xx (and Cloudflare's 520–530) may.
    return Rejected(words) if 400 <= status < 500 else Misbehaved(words)


def check(reply: Reply) -> None:
    """Raise what a reply that is not 200 stands for."""
    if reply.status != 200:
        raise failure(reply.status)


def says(reply: Reply, words: str) -> bool:
    """Tell whether the error text of a body holds `words`, whatever shape the body has."""
    return words.lower().encode() in reply.body.lower()


def told(raw: msgspec.Raw, shape: type[T]) -> T | None:
    """Read a part of a record that may be missing, null or of another shape: then it is not known."""
    if not raw or raw == _NULL:
        return None
    try:
        found: T | None = _reader(cast(Hashable, shape))(raw)
        return found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@cache
def _reader(shape: Hashable) -> Callable[[msgspec.Raw], Any]:
    """Make a reader once: to look at a shape takes longer than to read a title."""
    return msgspec.json.Decoder(cast(Any, shape) | None, strict=False).decode


def words(raw: msgspec.Raw) -> str | None:
    """Read a text of a record, at most `TEXT` characters of it; None where it says nothing."""
    text = (told(raw, str) or "")[:TEXT]
    return text if text.strip() else None


def picture(raw: msgspec.Raw) -> str | None:
    """Read the URL of a cover; None where there is none that could be asked for."""
    url = told(raw, str) or ""
    return url if url.startswith(("https://", "http://")) and len(url) <= LONGEST else None


def accounts_of(reply: Reply) -> dict[str, msgspec.Raw]:
    """Read the linked accounts, an object with one entry each; Misbehaved if they are a crowd."""
    found: dict[str, msgspec.Raw] = decode(reply, dict[str, msgspec.Raw])
    if len(found) > _ACCOUNTS or any(len(ident) > LONGEST for ident in found):
        raise Misbehaved("more accounts than can be linked")
    return found


def decode(reply: Reply, shape: type[T] | Any) -> T:
    """Read a 200 body as `shape`.

    Raises:
        Misbehaved: the body is not JSON of that shape (HTML with 200 among them).
    """
    check(reply)
    try:
        value: T = msgspec.json.decode(reply.body, type=shape, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise Misbehaved("the answer is not the JSON that was expected") from wrong
    return value
