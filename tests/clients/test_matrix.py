"""What is done with each program, as docs/programs.md has it: read off the tests' own tables.

How it thinks: a program that gets a row in one of those tables, or loses one, changes the page too. What has
no table (`mv`, MPD, playlists, the servers) is told there in words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from tests.clients.saying import FOLDERS, PAGE, PROGRAMS, costs, table
from tests.clients.test_media import TASKS
from tests.clients.test_shell import COPIERS, IN_PART, LISTINGS, WHOLE

ORDER = ("mp3", "m4a", "wav", "stem", "folder")
FORMS = {"inflated": "stem"}
NAMES = {"soxi": "sox", "os.listdir": "python", "mmap": "python"}


@dataclass(slots=True)
class Done:
    """What is done with one program."""

    alike: set[str] = field(default_factory=set)
    """Forms of which it makes what it makes of a copy."""
    errnos: set[str] = field(default_factory=set)
    breaks: bool = False


def matrix() -> dict[str, Done]:
    """Read the tests' tables."""
    found: dict[str, Done] = defaultdict(Done)

    def named(what: str) -> Done:
        program = what.split()[0]
        return found[NAMES.get(program, program)]

    for what in WHOLE:
        named(what).alike |= {"mp3", "stem"}
    for what in IN_PART:
        named(what).alike.add("wav")
    for what in (*COPIERS, *LISTINGS):
        named(what).alike.add("folder")
    for what, (form, *_) in TASKS.items():
        named(what).alike.add(FORMS.get(form, form))
    for what in PROGRAMS:
        named(what).errnos.add("song")
    for what in FOLDERS:
        named(what).errnos.add("folder")
    for what in table("What it makes of a song that breaks in the middle"):
        named(what).breaks = True
    return dict(found)


def lines() -> list[str]:
    """Write the table."""
    return [
        f"| `{program}` | {', '.join(form for form in ORDER if form in done.alike)} "
        f"| {', '.join(sorted(done.errnos, reverse=True))} | {'yes' if done.breaks else ''} |"
        for program, done in sorted(matrix().items())
    ]


def test_the_page_has_what_is_done() -> None:
    """Each row of the page's table is what the tests do, no row is missing, and none is too many."""
    section = PAGE.read_text().split("\n## What is done with each\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == lines(), "the table is:\n" + "\n".join(lines())


M4A = 1_200_000  # bytes of the m4a, by which who mostly reads less of it is held too
COSTS = {
    "`head -c 1000`": (IN_PART["head"][1], None),
    "`tail -c 128`": (IN_PART["tail"][1], None),
    "`dd skip=… count=4`": (IN_PART["dd"][1], None),
    "`mmap`, three bytes": (IN_PART["mmap"][1], None),
    "`ffprobe`": (TASKS["ffprobe wav"][2], TASKS["ffprobe m4a"][2]),
    "`ffmpeg -ss 48 -t 2`": (TASKS["ffmpeg seek wav"][2], TASKS["ffmpeg seek m4a"][2]),
    "`sox … trim 48 2`": (TASKS["sox"][2], None),
    "`soxi`": (TASKS["soxi"][2], None),
    "`mediainfo`": (TASKS["mediainfo wav"][2], TASKS["mediainfo m4a"][2]),
    "mutagen": (None, TASKS["mutagen m4a"][2]),
    "soundfile, one second at 0:48": (TASKS["soundfile wav"][2], None),
    "mpv, two seconds at 80 %": (TASKS["mpv seek wav"][2], TASKS["mpv seek m4a"][2]),
    "VLC, two seconds at 80 %": (TASKS["vlc seek wav"][2], TASKS["vlc seek m4a"][2]),
}
"""The page's rows, and the budgets in bytes that the tests hold each to; 0 is the whole song."""


@pytest.mark.parametrize("row", COSTS)
def test_what_it_costs_is_held(row: str) -> None:
    """A figure on the page is within its test's budget, and that is at most four times as large."""
    for said, budget in zip(costs()[row], COSTS[row], strict=True):
        if budget is None or said == "all":
            assert (said, budget) in (("", None), ("all", 0))
            continue
        figure = float(re.findall(r"[\d.]+", said)[-1]) * 1_000_000
        assert figure <= (budget or M4A) <= 4 * figure


def test_every_cost_has_a_budget() -> None:
    """The rows of the page are those with a budget, and those that cost nothing or all."""
    flat = {
        row
        for row, said in costs().items()
        if set(said) <= {"nothing", "all", "nothing, or one byte for the size"}
    }
    assert set(costs()) - flat - {"program"} == set(COSTS)


def test_no_program_is_tried_by_halves() -> None:
    """Whatever is held against a local copy also meets each errno, and the other way round."""
    halves = {name for name, done in matrix().items() if not done.alike or not done.errnos}
    assert halves == set()
