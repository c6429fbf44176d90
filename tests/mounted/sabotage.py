"""A musicfs whose rooms break on demand: `python -m tests.mounted.sabotage SWITCH mount …`.

How it thinks: it is the real program; only, each method named in `WAYS` first looks into the file
SWITCH, and if that holds the method's name it raises what nobody expects. So the mistake happens in the
running daemon, behind the real kernel, in whichever task the method runs."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = {
    "musicfs.catalog": ("Catalog.touch", "Catalog.row"),
    "musicfs.content": ("Content.open", "Content.read", "Content.facts"),
    "musicfs.content.links": ("Links.locate",),
    "musicfs.wire": ("Wire.pull", "Wire.converse"),
    "musicfs.store": ("Store.create", "Entry.write"),
    "musicfs.ledger": ("Ledger.note",),
    "musicfs.state": ("State.save_files",),
    "musicfs.callers": ("Callers.is_scanner",),
    "musicfs.providers.tempolor": ("TemPolor.locate",),
    "musicfs.core.inodes": ("Register.remember",),
}


class Sabotage(Exception):
    """What nobody expects."""


def spoil(switch: Path, way: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method that breaks while the switch says so."""

    @functools.wraps(method)
    def spoilt(*args: Any, **kwargs: Any) -> Any:
        if switch.exists() and switch.read_text() == way:
            print(f"sabotaged {way}", file=sys.stderr, flush=True)
            raise Sabotage(way)
        return method(*args, **kwargs)

    return spoilt


def main() -> int:
    """Spoil every way, then be musicfs."""
    switch = Path(sys.argv.pop(1))
    for module, ways in WAYS.items():
        room = importlib.import_module(module)
        for way in ways:
            owner, name = way.split(".")
            kind = getattr(room, owner)
            setattr(kind, name, spoil(switch, way, getattr(kind, name)))
    front = importlib.import_module("musicfs.__main__")
    return int(front.main())


if __name__ == "__main__":
    sys.exit(main())
