"""`musicfs cache`: what is in the cache, whether it is sound, and letting go of what is not pinned.

How it thinks: where a daemon runs, it is asked over its socket; where none does, this takes the cache's
own lock and goes over the files itself, with the same code. Which cache is meant is said by a mountpoint
or a config file; without either it is that of the only daemon, else the default profile's.
What must always be true: two never work on one cache at a time; nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

from musicfs import config
from musicfs.commands import columns, errand, exits, meter, options, page, sentence
from musicfs.commands.columns import Table, bytes_text

_DAY = 86_400.0


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "cache",
        "say what is cached, check every block of it, or let go of it",
        "musicfs cache prune --older 30",
    )
    whats = parser.add_subparsers(dest="what", metavar="info|verify|prune", required=True)
    for what, says, example in (
        ("info", "say what is in the cache", "musicfs cache info --json"),
        (
            "verify",
            "read every block, compare it with its checksum, drop what is bad",
            "musicfs cache verify",
        ),
        ("prune", "let go of what is neither pinned nor open", "musicfs cache prune --older 30"),
    ):
        one = page.verb(whats, what, says, example)
        one.add_argument("--json", action="store_true", help="the answer as one JSON object")
        one.add_argument(
            "--config", type=Path, metavar="FILE", help="the cache of this config file's profile"
        )
        if what == "prune":
            one.add_argument("--older", type=_days, metavar="DAYS", help="only what was unused for so long")
        one.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="the cache of this mount")
        one.set_defaults(run=run, older=None)


def _days(text: str) -> float:
    """Read a number of days, 0 or more."""
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < inf:
        raise argparse.ArgumentTypeError("has to be a number of days")
    return days


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do it, with the daemon or without."""
    socket = _socket(args, environ)
    if socket is not None:
        reply = _ask(socket, args)
    else:
        reply = _do(args, config.load({}, environ, args.config), environ)
    if args.json:
        print(json.dumps(reply, indent=2))
    else:
        _PRINTED[args.what](reply)
    return exits.UNEXPECTED if args.what == "verify" and not reply["good"] else exits.DONE


def _socket(args: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """Find the daemon that has the cache; None if none runs."""
    from musicfs import control

    runtimes = config.runtime_dirs(environ)
    if args.mountpoint is not None:
        return sentence.daemon_of(environ, options.mountpoint(args.mountpoint)).socket
    try:
        if args.config is None:
            return control.find(runtimes, None).socket
        path = config.find_paths(environ, args.config.stem).socket
        control.ask(path, "status")
        return path
    except control.NotRunning:
        return None


# With the daemon ------------------------------------------------------------------------------------------


def _ask(socket: Path, args: argparse.Namespace) -> dict[str, Any]:
    from musicfs import control

    older = {} if args.older is None else {"older": args.older}
    reply = control.ask(socket, f"cache {args.what}", **older)
    if "id" not in reply:
        return reply
    with meter.drawn(sys.stderr, args.what) as drawn:
        reply, failures = errand.follow(socket, reply["id"], _measured, drawn)
    if failures:
        raise control.Declined(failures[0]["error"])
    return {key: reply[key] for key in reply if key not in ("stage", "failed", "failures")}


def _measured(reply: Mapping[str, Any]) -> tuple[int, int, str]:
    return reply.get("size", 0), reply.get("of", 0), ""


# Without one ----------------------------------------------------------------------------------------------


def _do(args: argparse.Namespace, loaded: config.Loaded, environ: Mapping[str, str]) -> dict[str, Any]:
    """Take the cache's lock and do it here. Raises ConfigError if somebody has it."""
    from musicfs.store import Store
    from musicfs.tending import cache

    chosen = loaded.settings
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)
    with Store(paths.cache, chosen.cache_size, chosen.keep_free, clock=time.time) as store:
        if args.what == "info":
            inventory = cache.Inventory()
            _go(inventory.steps(store), dict, "info")
            return inventory.told(store)
        if args.what == "verify":
            check = cache.Check()
            _go(check.steps(store), check.told, "verify")
            return check.told()
        pruning = cache.Pruning()
        before = inf if args.older is None else time.time() - args.older * _DAY
        _go(pruning.steps(store, before), pruning.told, "prune")
        return pruning.told()


def _go(steps: Iterator[None], told: Callable[[], dict[str, Any]], what: str) -> None:
    """Go through all steps, showing at times how far it is."""
    shown = time.monotonic()
    with meter.drawn(sys.stderr, what) as drawn:
        for _ in steps:
            if time.monotonic() - shown >= errand.STEP:
                shown = time.monotonic()
                drawn.show(*_measured(told()))


# For a person ---------------------------------------------------------------------------------------------


def _print_info(reply: Mapping[str, Any]) -> None:
    facts = (
        ("used", f"{bytes_text(reply['used'])} of {bytes_text(reply['limit'])}"),
        ("pinned", bytes_text(reply["pinned"])),
        ("objects", str(reply["objects"])),
        ("gave way", f"{bytes_text(reply['evicted'])} since the start"),
        ("damaged", f"{reply['damaged']} blocks since the start"),
        ("unreadable", f"{reply['unreadable']} objects; musicfs cache verify lets go of them"),
    )
    rows = tuple(
        (
            form["service"],
            form["form"].rstrip("-"),
            str(form["objects"]),
            str(form["whole"]),
            bytes_text(form["used"]),
            bytes_text(form["pinned"]),
        )
        for form in reply["forms"]
    )
    tables = [Table("", ("", ""), facts if reply["unreadable"] else facts[:-1])]
    if rows:
        tables.append(Table("Kept", ("service", "form", "objects", "whole", "used", "pinned"), rows))
    columns.draw(tables, sys.stdout)


def _print_verify(reply: Mapping[str, Any]) -> None:
    size = bytes_text(reply["size"])
    print(f"{reply['objects']} objects checked, {reply['blocks']} blocks, {size}")
    if reply["good"]:
        print("all good")
        return
    print(f"{reply['bad_objects']} objects were bad, {reply['bad_blocks']} blocks of them; they were dropped")
    if reply["bad_maps"]:
        print(f"{reply['bad_maps']} maps were bad and were written anew")
    for name in reply["damaged"]:
        print(f"  {name}")
    if reply["bad_pinned"]:
        print(
            f"{reply['bad_pinned']} of them were pinned: run musicfs warm again to have them without network"
        )


def _print_prune(reply: Mapping[str, Any]) -> None:
    print(f"{reply['objects']} objects let go of, {bytes_text(reply['freed'])}; {reply['kept']} kept")


_PRINTED: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "info": _print_info,
    "verify": _print_verify,
    "prune": _print_prune,
}
