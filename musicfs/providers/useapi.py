"""useapi.net itself (upstream-api.md §1.5): whose token it is, and what the subscription is worth.

How it thinks: no songs live here, so this is no provider (it has no `provider`); it is the gate that both
services stand behind. `doctor` and `login` ask it, no mount does.

What must always be true: the page's name and e-mail address are not read; counts alone leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import msgspec

from musicfs.core.answers import decode
from musicfs.model import Conversation, Request


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the account page says."""

    active: bool | None
    """Whether the subscription is; None if the page does not say."""
    linked: Mapping[str, tuple[int, int]]
    """API → (accounts linked, of which in an error state)."""
    now: float | None
    """The server's clock at the answer, seconds since the epoch, to the second."""


class _Linked(msgspec.Struct):
    total: int = 0
    error: int = 0


class _Page(msgspec.Struct):
    subscriptionIsActive: bool | None = None
    accounts: dict[str, msgspec.Raw] | None = None


def subscription() -> Conversation[Subscription]:
    """Ask for the account page.

    Raises:
        Refused: the token is wrong (401), or the subscription has lapsed (402).
    """
    reply = yield Request("/v2/account", kind="account")
    page: _Page = decode(reply, _Page)
    found = {name: _counted(raw) for name, raw in (page.accounts or {}).items()}
    linked = {name: counted for name, counted in found.items() if counted is not None}
    return Subscription(page.subscriptionIsActive, linked, _moment(reply.headers.get("date")))


def _counted(raw: msgspec.Raw) -> tuple[int, int] | None:
    try:
        one = msgspec.json.decode(raw, type=_Linked, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return one.total, one.error


def _moment(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
