"""Makes the man page and the completions from the command line itself.

python packaging/build.py            writes them beside this file
python packaging/build.py --check    says which are not what would be written; 1 if any
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

os.environ["NO_COLOR"] = "1"  # argparse of Python 3.14 colours what it says on a terminal
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from completions import bash, fish, zsh  # noqa: E402
from manual import written  # noqa: E402
from verbs import program  # noqa: E402


def made() -> Mapping[Path, str]:
    """Make every file's text."""
    whole = program()
    return {
        HERE / "musicfs.1": written(whole),
        HERE / "completions/musicfs.bash": bash(whole),
        HERE / "completions/_musicfs": zsh(whole),
        HERE / "completions/musicfs.fish": fish(whole),
    }


def main() -> int:
    """Write, or compare."""
    old = [path for path, text in made().items() if not path.exists() or path.read_text("utf-8") != text]
    if sys.argv[1:] == ["--check"]:
        for path in old:
            print(f"{path.relative_to(HERE.parent)} is old; run: python packaging/build.py")
        return 1 if old else 0
    for path in old:
        path.parent.mkdir(exist_ok=True)
        path.write_text(made()[path], "utf-8")
        print(path.relative_to(HERE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
