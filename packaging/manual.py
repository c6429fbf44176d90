"""The man page, in roff's man macros."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise

from verbs import Option, Verb

from musicfs import __version__, config
from musicfs.commands import exits
from musicfs.commands.config import rows
from musicfs.config import settings

CODES = (
    (exits.DONE, "Done; a clean unmount, also from outside."),
    (exits.UNEXPECTED, "Something could not be done, or was found wrong."),
    (exits.USAGE, "Bad arguments."),
    (exits.UNAVAILABLE, "The daemon, or the service, does not answer."),
    (exits.CANT_CREATE, "The cache or state folder cannot be used."),
    (exits.TRY_LATER, "The service asks for patience."),
    (exits.NO_PERMISSION, "No token, a refused one, one that others can read, or no right to mount."),
    (exits.CONFIG, "A setting or folder has to be mended first."),
)
FILES = (
    ("~/.config/musicfs/config.toml, /etc/musicfs/config.toml", "Settings; the user's own come first."),
    ("~/.config/musicfs/token", "The token, as musicfs login keeps it: mode 0600."),
    ("~/.cache/musicfs/PROFILE", "What was fetched."),
    ("~/.local/state/musicfs/PROFILE", "Names, dates and sizes."),
)


def written(program: Verb) -> str:
    """Write the page."""
    return "\n".join(_lines(program)) + "\n"


def _lines(program: Verb) -> Iterator[str]:
    yield '.\\" Made from the command line by packaging/build.py.'
    yield f'.TH MUSICFS 1 "" "musicfs {__version__}" "User Commands"'
    yield from (".SH NAME", r"musicfs \- your Flow Music and TemPolor songs as a read\-only folder")
    yield from (".SH SYNOPSIS", ".nf")
    yield from (_text(verb.usage) for verb in program.all() if not verb.verbs)
    yield from (".fi", ".SH DESCRIPTION")
    yield from _paragraph(
        "musicfs mounts the songs that two web services keep for you as a folder that programs read like any"
        " other. It fetches only what is read, keeps what it fetched, and checks it before it is served"
        " again. Every command but mount and demo speaks to the running daemon, never to the mount."
    )
    yield ".SH COMMANDS"
    for verb in program.all():
        if verb.words:
            yield from _verb(verb)
    yield from _settings()
    yield from (".SH EXIT STATUS",)
    for code, meaning in CODES:
        yield from (".TP", f".B {code}", _text(meaning))
    yield ".SH FILES"
    for path, meaning in FILES:
        yield from (".TP", f".I {_text(path)}", _text(meaning))
    yield from (".SH SEE ALSO", ".BR mount (8),", ".BR fuse (4),", ".BR fusermount3 (1)")


def _verb(verb: Verb) -> Iterator[str]:
    yield f".SS {_text('musicfs ' + ' '.join(verb.words))}"
    yield _text(f"{verb.says[0].upper()}{verb.says[1:]}.")
    for option in verb.options:
        if "--help" not in option.names:
            yield from (".TP", _option(option), _text(f"{option.says[0].upper()}{option.says[1:]}."))
    yield from (".PP", "Example:", ".PP", ".nf", ".RS")
    yield from (_text(line) for line in verb.example)
    yield from (".RE", ".fi")


def _option(option: Option) -> str:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in option.names)
    return rf"{names} \fI{_text(option.metavar)}\fR" if option.metavar else names


def _settings() -> Iterator[str]:
    yield ".SH SETTINGS"
    yield from _paragraph(
        "Given with -o, in the environment as MUSICFS_ and the name in capitals, or in a config file, in"
        " this order."
    )
    meanings = _meanings()
    for key, value, _ in rows(config.Loaded(config.Settings())):
        takes = settings._description(settings._TYPES[key])
        default = f"; default: {value}" if value != "-" else ""
        yield from (".TP", f".B {_text(key)}", _text(f"{meanings[key].rstrip('.')} ({takes}{default})."))


def _meanings() -> dict[str, str]:
    """Give what stands below each field of the settings, which Python itself does not keep."""
    (described,) = ast.parse(textwrap.dedent(inspect.getsource(config.Settings))).body
    assert isinstance(described, ast.ClassDef)
    found = {}
    for field, below in pairwise(described.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            found[ast.unparse(field.target)] = " ".join(
                ast.literal_eval(below.value).replace("`", "").split()
            )
    return found


def _paragraph(text: str) -> Iterator[str]:
    yield from (_text(line) for line in textwrap.wrap(text, 100))


def _text(text: str) -> str:
    """Protect what roff would take for its own."""
    protected = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("…", "...")
    return r"\&" + protected if protected.startswith((".", "'")) else protected
