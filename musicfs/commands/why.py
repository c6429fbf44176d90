"""`musicfs why`: what a file's state is, what failed last, and what to do, in a paragraph.

How it thinks: the mount is found from the path as text, and the daemon is asked with the path inside it,
so the command works where a `stat` of the file would hang or fail.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicfs import host
from musicfs.commands import exits, options, page, sentence
from musicfs.commands.columns import bytes_text, span_text


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "why",
        "say what a file's state is, what failed last, what to do",
        "musicfs why ~/Music-AI/library/Tide/Tide.wav",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a path and line")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="files and folders in a mount")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Explain each path; a path outside every musicfs makes the code 2, the others are explained still."""
    from musicfs import control

    code = exits.DONE
    for number, text in enumerate(args.paths):
        path = host.locate(Path(text))
        mount = host.holding(path)
        if mount is None or not mount.is_ours:
            print(
                f"musicfs: {text} is not in a mounted musicfs; musicfs status says what is mounted",
                file=sys.stderr,
            )
            code = exits.USAGE
            continue
        daemon = sentence.daemon_of(environ, mount.mountpoint)
        inside = path.relative_to(mount.mountpoint)
        reply = control.ask(daemon.socket, "why", path="" if inside == Path() else str(inside))
        if args.json:
            print(json.dumps(reply))
            continue
        if number:
            print()
        print(paragraph(text, reply))
    return code


def paragraph(path: str, reply: Mapping[str, Any]) -> str:
    """Write the daemon's answer as a paragraph; what it does not say is left out."""
    state = [reply.get("what"), reply.get("state"), "pinned" if reply.get("pinned") else None]
    what = ", ".join(str(one) for one in state if one)
    sentences = [f"{path}: {what}" if what else f"{path}: nothing is known about it"]
    sentences += [_size(reply), _said(reply.get("source"), "It "), _failure(reply)]
    sentences += [_said(reply.get("again")), _said(reply.get("remedy"))]
    return " ".join(
        sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
        for sentence in sentences
        if sentence
    )


def _size(reply: Mapping[str, Any]) -> str:
    if "size" not in reply:
        return _said(reply.get("detail"))
    how = "exact" if reply.get("exact") else "an estimate until it is opened"
    return f"{bytes_text(reply['size'])} ({how})"


def _failure(reply: Mapping[str, Any]) -> str:
    if not reply.get("failure"):
        return ""
    ago = reply.get("failed_ago")
    when = f", {span_text(ago)} ago" if ago is not None else ""
    return f"Last failure{when}: {reply['failure']}"


def _said(words: object, before: str = "") -> str:
    return f"{before}{words}" if words else ""
