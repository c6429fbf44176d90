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
        [bytes(262_144) for _ in range(3)]
rounds(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
rounds(int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

LARGE = """
import ctypes
from musicfs.wire.allocator import keep_freed
assert keep_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
[bytes(262_144) for _ in range(12)]
print(sum(libc.malloc(1_052_672) < libc.sbrk(0) for _ in range(20)))
"""


def faults(how: str) -> int:
    """Count the page faults of taking and freeing three receives a hundred times."""
    words = [sys.executable, "-c", RECEIVES, how, str(ROUNDS)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    """Three receives, freed and taken again, cost hardly a page fault; untold, thousands."""
    pages = ROUNDS * 3 * 256 // 4
    assert faults("keep") < pages // 100
    assert faults("leave") > pages // 10


def test_what_a_waiting_request_takes_is_not_of_the_heap() -> None:
    """pyfuse3's megabyte for each request is the kernel's, so that of it only what is written to counts."""
    words = [sys.executable, "-c", LARGE]
    ended = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert int(ended.stdout) == 0
