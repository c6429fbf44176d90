"""What a screen reader would read out; run by the system's Python, in the session.

    desktop_reader.py          every word that is shown, a line each: the thing's role, and its name or text
    desktop_reader.py NAME     does what the button or menu entry of that name does

What must always be true: a thing that vanishes while it is looked at is left out. It changes nothing but
what it is asked to press.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

_DEPTH = 40  # the deepest thing on a desktop's screen lies at about 25
_WIDTH = 300  # children that are looked at; a list of a thousand files has as many


def shown(thing: Any, failure: type[Exception], depth: int = 0) -> Iterator[Any]:
    """Give everything on the screen below a thing."""
    try:
        count = min(thing.get_child_count(), _WIDTH)
    except failure:
        return
    for number in range(count):
        try:
            child = thing.get_child_at_index(number)
            seen = child is not None and (depth < 1 or child.get_state_set().contains(_SHOWING))
        except failure:
            continue
        if seen:
            yield child
        if seen and depth < _DEPTH:
            yield from shown(child, failure, depth + 1)


def words(thing: Any) -> str:
    """Give a thing's text, or else its name."""
    text = thing.get_text_iface()
    return str((text and text.get_text(0, -1)) or thing.get_name() or "")


def main() -> int:
    """Read all, or press one."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    for thing in shown(_ATSPI.get_desktop(0), _FAILURE):
        try:
            role, said = thing.get_role_name(), words(thing)
            if wanted is None and said:
                print(f"{role}: {said}")
            elif wanted is not None and wanted in (said, thing.get_name()) and thing.get_action_iface():
                return 0 if thing.get_action_iface().do_action(0) else 1
        except _FAILURE:
            continue
    return 0 if wanted is None else 2


if __name__ == "__main__":
    _GI = importlib.import_module("gi")
    _GI.require_version("Atspi", "2.0")
    _ATSPI = importlib.import_module("gi.repository.Atspi")
    _FAILURE = importlib.import_module("gi.repository.GLib").Error
    _SHOWING = _ATSPI.StateType.SHOWING
    sys.exit(main())
