"""`musicfs why`: what a file's state is, what failed last, and what to do, in a paragraph.

How it thinks: the mount is found from the path as text, and the daemon is asked with the path inside it,
so the command works where a `stat` of the file would hang or fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicfs import config, host
from musicfs.commands import exits, options


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("why", help="what a file's state is, what failed last, what to do")
    parser.add_argument("paths", metavar="PATH", nargs="+")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Explain each path; a path outside every musicfs makes the code 2, the others are explained still."""
    from musicfs import control

    code = exits.DONE
    for number, text in enumerate(args.paths):
        path = host.locate(Path(text))
        mount = host.holding(path)
        if mount is None or not mount.is_ours:
            print(f"musicfs: {text} is not in a mounted musicfs", file=sys.stderr)
            code = exits.USAGE
            continue
        daemon = control.find(config.runtime_dirs(environ), mount.mountpoint)
        inside = path.relative_to(mount.mountpoint)
        reply = control.ask(daemon.socket, "why", path="" if inside == Path() else str(inside))
        if number:
            print()
        print(paragraph(text, reply))
    return code


def paragraph(path: str, reply: Mapping[str, Any]) -> str:
    """Write the daemon's answer as a paragraph; what it does not say is left out."""
    what = ", ".join(str(reply[key]) for key in ("what", "state") if reply.get(key))
    sentences = [f"{path}: {what}" if what else f"{path}: nothing is known about it"]
    if reply.get("detail"):
        sentences.append(str(reply["detail"]))
    if reply.get("failure"):
        sentences.append(f"Last failure: {reply['failure']}")
    if reply.get("remedy"):
        sentences.append(str(reply["remedy"]))
    return " ".join(
        sentence if sentence.endswith((".", "!", "?")) else f"{sentence}." for sentence in sentences
    )
