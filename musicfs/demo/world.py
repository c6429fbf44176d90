"""What all roles of the embedded service share: who may ask, what exists, what is broken, what time it is.

How it thinks: a role is a module with a `route` function: given the world and a request it says what kind
of request this is and how it would be answered. The service records the kind, lets faults have their say,
and only then calls the answer.

What must always be true: time comes from the injected clock only; secrets of the demo (signing keys)
never leave.
It refuses to route.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from musicfs.demo.assets import Plain
from musicfs.demo.catalogue import Flow, Tempolor
from musicfs.demo.delivery import Parcel
from musicfs.demo.faults import JSON
from musicfs.demo.knobs import Knobs
from musicfs.demo.values import Origins, Response

# Not a person's token: it opens nothing but the embedded service.
DEMO_TOKEN = "user:1234-demo-abcdefghij"  # noqa: S105

Outcome = Response | Parcel


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is, and how it is answered when nothing comes in between."""

    kind: str
    answer: Callable[[], Outcome]
    form: str | None = None


class World:
    """The state that the roles share."""

    def __init__(self, origins: Origins, clock: Callable[[], float], seed: int, token: str) -> None:
        self.origins = origins
        self.clock = clock
        """Seconds since the epoch."""
        self.token = token
        number = re.match(r"user:(\d+)-", token)
        self.user = number[1] if number else "1234"
        self.knobs = Knobs()
        self.flow = Flow(self.user, seed)
        self.tempolor = Tempolor(self.user, seed)
        self.minted = 0
        """How many links were made, which is also their `rand` field."""


def answer_json(value: Any) -> Parcel:
    """Pack a JSON answer."""
    return Parcel(Plain(msgspec.json.encode(value)), JSON, "api")


def iso(moment: float) -> str:
    """Write seconds since the epoch as the services do: UTC with milliseconds and a Z."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
