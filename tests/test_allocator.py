"""The allocator does as it was told: page faults and places of memory, in a process apart."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 100
RECEIVES = """
import resource, sys
from musicfs.allocator import advise
if sys.argv[1] == "keep":
    assert advise()
    assert advise()
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
from musicfs.allocator import advise
assert advise()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
[bytes(262_144) for _ in range(12)]
print(sum(libc.malloc(1_052_672) < libc.sbrk(0) for _ in range(20)))
"""

THREAD = """
import ctypes, sys, threading
from musicfs.allocator import advise
if sys.argv[1] == "advise":
    assert advise()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
places = []
thread = threading.Thread(target=lambda: places.extend(libc.malloc(100_000) for _ in range(20)))
thread.start()
thread.join()
print(sum(place < libc.sbrk(0) for place in places))
"""

HOLES = """
import sys
from musicfs.allocator import advise, give_back
assert advise()
def resident():
    with open("/proc/self/statm") as line:
        return int(line.read().split()[1])
receives, small = [], []
for _ in range(40):
    receives.append(b"\\1" * 262_144)
    small.append(bytes(1_000))
receives.clear()
before = resident()
if sys.argv[1] == "give back":
    give_back()
print(before - resident())
"""


def printed(program: str, *words: str) -> int:
    """Give the number that a program prints."""
    command = [sys.executable, "-c", program, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def faults(how: str) -> int:
    """Count the page faults of taking and freeing three receives a hundred times."""
    return printed(RECEIVES, how, str(ROUNDS))


def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    """Three receives, freed and taken again, cost hardly a page fault; untold, thousands."""
    pages = ROUNDS * 3 * 256 // 4
    assert faults("keep") < pages // 100
    assert faults("leave") > pages // 10


def test_what_a_waiting_request_takes_is_not_of_the_heap() -> None:
    """pyfuse3's megabyte for each request is the kernel's, so that of it only what is written to counts."""
    assert printed(LARGE) == 0


def test_a_thread_has_no_heap_of_its_own() -> None:
    """What a thread takes lies in the one heap; untold, elsewhere."""
    assert printed(THREAD, "advise") == 20
    assert printed(THREAD, "leave") == 0


def test_holes_between_what_lives_are_given_back() -> None:
    """Forty receives that lie between small things are the kernel's again; untold, they stay."""
    pages = 40 * 256 // 4
    assert printed(HOLES, "give back") > pages * 0.9
    assert printed(HOLES, "leave") < pages * 0.1
