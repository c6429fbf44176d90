"""The allocator keeps what a download frees: page faults as the kernel counts them, in a process apart."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 100
RECEIVES = """
import resource, sys
from musicfs.wire.allocator import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
    assert keep_freed()
def rounds(count):
    for _ in range(count):
        [bytes(262_144) for _ in range(12)]
rounds(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
rounds(int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Count the page faults of taking and freeing 3 MiB a hundred times."""
    words = [sys.executable, "-c", RECEIVES, how, str(ROUNDS)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    """The receives of six connections, freed and taken again, cost hardly a page fault; untold, thousands."""
    pages = ROUNDS * 3 * 1024 // 4
    assert faults("keep") < pages // 100
    assert faults("leave") > pages // 10
