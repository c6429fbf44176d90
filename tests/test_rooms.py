"""The house's own law, checked on the syntax tree: who may import whom, and which word has which room.

A room is a module or a folder directly in `musicfs/`; its floor is in the table, and a new room has to be
given one. A rule is a function that yields a line for each place where a module breaks it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "musicfs"

FLOORS = {
    "errors": 0,
    "model": 1,
    "config": 1,
    "core": 2,
    "demo": 2,
    "operations": 2,
    "slab": 2,
    "allocator": 2,
    "orders": 2,
    "store": 3,
    "state": 3,
    "wire": 3,
    "providers": 3,
    "callers": 3,
    "host": 3,
    "privileges": 3,
    "readiness": 3,
    "flights": 3,
    "catalog": 4,
    "content": 4,
    "ledger": 4,
    "daybook": 4,
    "session": 4,
    "filesystem": 5,
    "fuse": 6,
    "supervision": 6,
    "control": 6,
    "dump": 6,
    "report": 6,
    "tending": 6,
    "mount": 7,
    "commands": 8,
    "__main__": 9,
    "__init__": -1,
}
"""`__init__` is the version alone, so everybody may read it; `__main__` stands above its own verbs; the
embedded service lies below the wire, which plays it."""

THINKERS = ("catalog", "content")
"""They say as Protocols what they need of the world, and `mount` plugs it in."""
PLUGGED = ("wire", "store", "state", *THINKERS)

PURE = ("errors", "model", "core", "providers")

OWNERS = {
    "pyfuse3": ("fuse", "session"),
    "httpx": ("wire",),
    "httpcore": ("wire",),
    "errno": ("errors", "fuse", "session", "store", "state", "host", "commands"),
    "sqlite3": ("store", "state"),
    "rich": ("commands",),
    "logging": tuple(set(FLOORS) - {"core", "providers", "model", "config"}),
    "trio": tuple(set(FLOORS) - {*PURE, "config"}),
}
"""Who may import a foreign module."""

NURSERIES = ("mount", "demo", "commands")
CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter"),
    *("trio.current_time", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow"),
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc", "impl"}
OUTSIDE = {"os", "io", "socket", "subprocess", "shutil", "tempfile", "pathlib", "threading", "asyncio"}
MODULE_LINES = 350
FUNCTION_LINES = 60


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the house, parsed."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Name the room it belongs to."""
        return self.path.relative_to(HOUSE).parts[0].removesuffix(".py")

    @property
    def lines(self) -> int:
        """Count its lines."""
        return len(self.text.splitlines())

    def __str__(self) -> str:
        return str(self.path.relative_to(HOUSE))


def _module(path: Path, text: str) -> Module:
    return Module(path, text, ast.parse(text))


MODULES = [_module(path, path.read_text("utf-8")) for path in sorted(HOUSE.rglob("*.py"))]


def _parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def _is_for_types(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether an import stands under `if TYPE_CHECKING`."""
    while node in parents:
        child, node = node, parents[node]
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and child in node.body:
            return True
    return False


def _imports(module: Module) -> Iterator[tuple[str, bool, int]]:
    """Give each imported name in full, whether it is for types only, and its line."""
    parents = _parents(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, _is_for_types(node, parents), node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", _is_for_types(node, parents), node.lineno


def _room_of(name: str) -> str | None:
    """Name the room that an import leads to; None if it leads out of the house."""
    parts = name.split(".")
    if parts[0] != "musicfs":
        return None
    inside = len(parts) > 1 and ((HOUSE / parts[1]).is_dir() or (HOUSE / f"{parts[1]}.py").exists())
    return parts[1] if inside else "__init__"


def has_a_floor(module: Module) -> Iterator[str]:
    """A new room is placed in the table before it is used."""
    if module.room not in FLOORS:
        yield f"{module}: give '{module.room}' a floor"


def imports_down_only(module: Module) -> Iterator[str]:
    """Not up, and not sideways but within a room."""
    for name, _, line in _imports(module):
        room = _room_of(name)
        if room != module.room and room is not None and FLOORS.get(room, 0) >= FLOORS.get(module.room, 9):
            yield f"{module}:{line} imports {name}"


def thinks_in_protocols(module: Module) -> Iterator[str]:
    """catalog and content import neither wire, store and state nor each other at run time."""
    for name, for_types, line in _imports(module):
        room = _room_of(name)
        if module.room in THINKERS and room in PLUGGED and room != module.room and not for_types:
            yield f"{module}:{line} imports {name}"


def leaves_foreigners_to_their_rooms(module: Module) -> Iterator[str]:
    """pyfuse3 at the wall, httpx in the wire, numbers of errors in few places."""
    for name, _, line in _imports(module):
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None and module.room not in owners:
            yield f"{module}:{line} imports {name}"


def never_waits(module: Module) -> Iterator[str]:
    """No await, async for, async with or async def on the lower floors."""
    if module.room not in (*PURE, "config"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)):
            yield f"{module}:{node.lineno} waits"


def reads_no_clock(module: Module) -> Iterator[str]:
    """`now` is a parameter in pure rooms."""
    if module.room not in PURE:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS:
            yield f"{module}:{node.lineno} reads {ast.unparse(node)}"
    for name, _, line in _imports(module):
        if name in CLOCKS:
            yield f"{module}:{line} imports {name}"


def touches_no_disk(module: Module) -> Iterator[str]:
    """No open, os, socket or subprocess in core, providers and model."""
    if module.room not in ("core", "providers", "model"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
            yield f"{module}:{node.lineno} opens a file"
    for name, _, line in _imports(module):
        if name.split(".")[0] in OUTSIDE:
            yield f"{module}:{line} imports {name}"


def opens_no_nursery(module: Module) -> Iterator[str]:
    """One house, one nursery; a request never has its own."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "open_nursery" and module.room not in NURSERIES:
            yield f"{module}:{node.lineno} opens a nursery"


def is_small(module: Module) -> Iterator[str]:
    """A room fits into the head, and a function onto a screen."""
    if module.lines > MODULE_LINES:
        yield f"{module} has {module.lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{module}:{node.lineno} {node.name} has {length} lines"


def has_a_name(module: Module) -> Iterator[str]:
    """No utils, helpers, managers or handlers."""
    if BANNED_NAMES & {part.removesuffix(".py") for part in module.path.relative_to(HOUSE).parts}:
        yield f"{module}: the name says nothing"


def is_explained(module: Module) -> Iterator[str]:
    """Modules, public classes and public functions have docstrings."""
    if not ast.get_docstring(module.tree):
        yield f"{module} has no docstring"
    things = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in [node for node in module.tree.body if isinstance(node, things)]:
        if not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{module}:{node.lineno} {node.name} has no docstring"


def leaves_nothing_for_later(module: Module) -> Iterator[str]:
    """No marks and no stubs."""
    for number, line in enumerate(module.text.splitlines(), 1):
        if any(mark in line for mark in ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")):
            yield f"{module}:{number} is left for later"


RULES: dict[Callable[[Module], Iterator[str]], tuple[str, str]] = {
    has_a_floor: ("attic/x.py", ""),
    imports_down_only: ("core/x.py", "from musicfs.wire import wire"),
    thinks_in_protocols: ("content/x.py", "from musicfs.store import store"),
    leaves_foreigners_to_their_rooms: ("store/x.py", "import httpx"),
    never_waits: ("core/x.py", "async def f(): ..."),
    reads_no_clock: ("core/x.py", "import time\nnow = time.monotonic()"),
    touches_no_disk: ("core/x.py", "open('x')"),
    opens_no_nursery: ("wire/x.py", "import trio\nn = trio.open_nursery()"),
    is_small: ("core/x.py", "def f():\n" + "    pass\n" * 61),
    has_a_name: ("core/utils.py", ""),
    is_explained: ("core/x.py", "def f(): ..."),
    leaves_nothing_for_later: ("core/x.py", "# TO" + "DO"),
}
"""Each rule, and a module that breaks it."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    """No module of the house breaks it."""
    assert [broken for module in MODULES for broken in rule(module)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_noticed(rule: Callable[[Module], Iterator[str]]) -> None:
    """The rule can fail: a module made up to break it does."""
    path, text = RULES[rule]
    assert list(rule(_module(HOUSE / path, text)))


def test_an_import_for_types_alone_is_allowed_downward() -> None:
    """Under TYPE_CHECKING the thinkers may name what is plugged into them."""
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from musicfs.store import Store"
    assert list(thinks_in_protocols(_module(HOUSE / "content/x.py", text))) == []
    assert list(imports_down_only(_module(HOUSE / "core/x.py", text)))


def test_every_test_says_what_it_expects() -> None:
    """Each test function of the project has a sentence as docstring."""
    folder = Path(__file__).parent
    silent = [
        f"{path.relative_to(folder)}: {node.name}"
        for path in sorted(folder.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        if not (ast.get_docstring(node) or "").rstrip().endswith((".", "?", "!"))
    ]
    assert silent == []
