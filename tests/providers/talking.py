"""Carrying a conversation by hand: what was asked, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from musicfs.model import Conversation, Reply, Request

T = TypeVar("T")

Said = tuple[int, Any]
"""A status, and a body: bytes, or a value that becomes JSON."""


def talk(conversation: Conversation[T], *replies: Said) -> tuple[T, list[Request]]:
    """Answer each question with the next reply; give the noun and the questions."""
    asked: list[Request] = []
    said = iter(replies)
    try:
        asked.append(next(conversation))
        while True:
            status, body = next(said)
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            asked.append(conversation.send(Reply(status, data)))
    except StopIteration as done:
        assert not list(said), "more replies than questions"
        return done.value, asked


def heard(conversation: Conversation[T], *replies: Said) -> T:
    """Answer as `talk` does; give the noun only."""
    return talk(conversation, *replies)[0]


def leaves(keys: Sequence[str]) -> st.SearchStrategy[Any]:
    """Make hostile JSON values, with the service's own field names among the keys."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=20)
        | st.sampled_from(
            ["nan", "inf", "-inf", "1e999", "", "\x00", "2026-06-01T10:00:00.000Z", "0001-01-01"]
        )
    )
    names = st.sampled_from(list(keys)) | st.text(max_size=8)
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
        max_leaves=12,
    )
