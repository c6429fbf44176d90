"""JSON as no service should send it: right answers, bent.

How it thinks: each bend takes the bytes of a right answer and gives others: still JSON, but with nulls, other
types, doubled or missing entries, or megabytes of nothing. They go into `Delivery.bend`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Bend = Callable[[bytes], bytes]

_MEGABYTES = 20 * 1024 * 1024  # more than an answer may have (16 MiB)


def _walked(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _walked(each, change) for name, each in value.items()}
    if isinstance(value, list):
        return [_walked(each, change) for each in value]
    return change(value)


def _bent(change: Callable[[Any], Any]) -> Bend:
    return lambda data: json.dumps(change(json.loads(data))).encode()


def _other(value: Any) -> Any:
    return [value] if isinstance(value, str) else "twelve" if isinstance(value, (int, float)) else value


def _lists(value: Any, change: Callable[[list[Any]], Any]) -> Any:
    """Change every list that an answer holds at its top."""
    if not isinstance(value, dict):
        return value
    return {name: change(each) if isinstance(each, list) else each for name, each in value.items()}


def _every_second(records: list[Any]) -> list[Any]:
    return [record if place % 2 else None for place, record in enumerate(records)]


def _lacking(names: tuple[str, ...]) -> Callable[[Any], Any]:
    def lack(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: lack(each) for name, each in value.items() if name not in names}
        return [lack(each) for each in value] if isinstance(value, list) else value

    return lack


_IDS = ("clip", "job_id", "url")
_REST = (
    "title",
    "titleEn",
    "duration_s",
    "created_at",
    "createTime",
    "updateTime",
    "musicMaterial",
    "status",
)

BENDS: dict[str, Bend] = {
    "all null": _bent(lambda value: _walked(value, lambda _: None)),
    "other types": _bent(lambda value: _walked(value, _other)),
    "a list for an object": _bent(lambda value: [value]),
    "a text for a list": _bent(lambda value: _lists(value, lambda _: "none today")),
    "null for a list": _bent(lambda value: _lists(value, lambda _: None)),
    "records doubled": _bent(lambda value: _lists(value, lambda records: records + records)),
    "records null": _bent(lambda value: _lists(value, _every_second)),
    "no ids": _bent(_lacking(_IDS)),
    "nothing but ids": _bent(_lacking(_REST)),
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
    "a number": lambda _: b"12",
    "nothing": lambda _: b"",
    "an error told with 200": lambda _: b'{"error":"Too busy","code":503}',
    "half of it": lambda data: data[: len(data) // 2],
    "nested deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "not UTF-8": lambda data: data.replace(b'"', b'"\xff\xfe', 3),
    "megabytes": lambda data: data[:-1] + b',"more":"' + b"x" * _MEGABYTES + b'"}',
}
