"""`musicfs warm`: have songs fetched whole, checked and pinned, so that they play with no network.

How it thinks: the daemon does it; this asks it over its socket, draws how far it is, and says at the end
what could not be had. Paths are text: the mount is never touched, and a pattern that the shell left alone
is the daemon's to match. A long row of paths goes over in parts, as one errand.
What must always be true: 0 means that every byte the services have of what was named is here and agrees with
its checksum.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musicfs import host
from musicfs.commands import errand, exits, meter, options, page, sentence
from musicfs.commands.columns import bytes_text

LINE = 48 * 1024
"""Bytes of paths in one request; the daemon takes lines of 64 KiB."""


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "warm",
        "fetch songs whole, check and pin them, to play with no network",
        """
musicfs warm ~/Music-AI/library/Tide
musicfs warm "$HOME/Music-AI/library/Night*" && echo "safe to go on stage"
""",
    )
    parser.add_argument("--unpin", action="store_true", help="let go of them: they may give way to others")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="files, folders and patterns in a mount")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Warm what each mount's daemon has of the paths; 1 if any of it could not be had."""
    code = exits.DONE
    wanted: dict[Path, list[str]] = {}
    for text in args.paths:
        path = host.locate(Path(text))
        mount = host.holding(path)
        if mount is None or not mount.is_ours:
            print(
                f"musicfs: {text} is not in a mounted musicfs; musicfs status says what is mounted",
                file=sys.stderr,
            )
            code = exits.USAGE
            continue
        inside = path.relative_to(mount.mountpoint)
        wanted.setdefault(mount.mountpoint, []).append("" if inside == Path() else str(inside))
    for mountpoint, paths in wanted.items():
        code = max(code, _warm(environ, mountpoint, paths, unpin=args.unpin))
    return code


def _warm(environ: Mapping[str, str], mountpoint: Path, paths: list[str], *, unpin: bool) -> int:
    from musicfs import control

    socket = sentence.daemon_of(environ, mountpoint).socket
    number: object = None
    parts = list(split(paths))
    for place, part in enumerate(parts, 1):
        known = {} if number is None else {"id": number}
        reply = control.ask(socket, "warm", paths=part, unpin=unpin, more=place < len(parts), **known)
        number = reply["id"]
    with meter.drawn(sys.stderr, "warming") as drawn:
        reply, failures = errand.follow(socket, number, _measured, drawn)
    for failure in failures:
        print(explained(mountpoint, failure), file=sys.stderr)
    if reply["files"]:
        print(_unpinned(reply) if unpin else summary(reply))
    return exits.UNEXPECTED if failures or reply["stage"] != "done" else exits.DONE


def split(paths: Sequence[str]) -> Iterator[list[str]]:
    """Cut a row of paths into parts that fit into a request each."""
    part: list[str] = []
    size = 0
    for path in paths:
        length = len(json.dumps(path)) + 2
        if part and size + length > LINE:
            yield part
            part, size = [], 0
        part.append(path)
        size += length
    yield part


def _measured(reply: dict[str, Any]) -> tuple[int, int, str]:
    files = f"{reply['files_done']} of {reply['files']} files"
    return reply["done"], reply["size"], files


def explained(mountpoint: Path, failure: Mapping[str, str]) -> str:
    """Say what could not be had, why, and what to do."""
    where = str(mountpoint / failure["path"]) if failure.get("path") else ""
    return f"musicfs: {sentence.joined(where, failure['error'], failure.get('remedy', ''))}"


def summary(reply: Mapping[str, Any]) -> str:
    """Say what is here now."""
    done, files = reply["files_done"], reply["files"]
    noun = "file" if files == 1 else "files"
    count = f"{done} {noun}" if done == files else f"{done} of {files} {noun}"
    here = f"{count} here, checked and pinned: {bytes_text(reply['done'])}"
    return f"{here}, {bytes_text(reply['fetched'])} of it fetched now{_absent(reply.get('absent', 0))}"


def _absent(forms: int) -> str:
    if not forms:
        return ""
    noun = "listed form does" if forms == 1 else "listed forms do"
    return f"; {forms} {noun} not exist at the service"


def _unpinned(reply: Mapping[str, Any]) -> str:
    noun = "file" if reply["files_done"] == 1 else "files"
    return f"{reply['files_done']} {noun} let go of: they stay until room is needed"
