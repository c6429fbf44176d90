"""The long form: any of the suite as an ordinary user on a machine of its own.

python -m tests.systemd [pytest's words…]     else all of tests/mounted
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.systemd.conftest import install
from tests.systemd.machine import booted
from tests.systemd.test_people import suite


def main() -> int:
    """Boot, run, and say how it ended."""
    with tempfile.TemporaryDirectory(prefix="musicfs-machine-") as work, booted(Path(work)) as machine:
        install(machine)
        code, said = suite(machine, *(sys.argv[1:] or ["tests/mounted"]), limit=3600)
        print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
