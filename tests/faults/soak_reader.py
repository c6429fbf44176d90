"""A program that reads at random and knows the bytes.

    python -m tests.faults.soak_reader SEED SECONDS FILE COPY [FILE COPY …]

How it thinks: like fsx, but for reading: threads of one process and one descriptor a thread, that read in
order, at random, at the tail, by the page and by the megabyte, through read, through a second descriptor and
through memory maps, beside each other. It is a process of its own because a page fault holds the
interpreter, and the servers must go on meanwhile; and because a map whose page cannot be had is SIGBUS.

It prints `bytes reads errors` and ends 0; another byte, or fewer without an error, ends it 1.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

THREADS = 3
PAGE = 4096


def mapped(file: int, size: int, rng: random.Random) -> tuple[int, bytes]:
    """Look at a few pages through a shared map."""
    at = rng.randrange(size) // PAGE * PAGE
    length = min(size - at, rng.choice((1, PAGE, 40 * PAGE)))
    with mmap.mmap(file, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=at) as view:
        return at, bytes(view)


def piece(file: int, size: int, rng: random.Random) -> tuple[int, bytes]:
    """Read somewhere, beyond the end too."""
    at = rng.choice((0, rng.randrange(size + PAGE), max(0, size - rng.choice((128, 65_536)))))
    length = rng.choice((1, 10, PAGE, 65_536, 131_072, 1_000_000))
    found = b""
    while len(found) < length and (data := os.pread(file, length - len(found), at + len(found))):
        found += data
    if len(found) != max(0, min(length, size - at)):
        raise AssertionError(f"{len(found)} bytes of {length} at {at}, in {size}")
    return at, found


def whole(file: int, size: int, rng: random.Random) -> tuple[int, bytes]:
    """Read from the first byte to the last, as a player does."""
    found = bytearray()
    while data := os.read(file, rng.choice((PAGE, 65_536, 131_072))):
        found += data
    if len(found) != size:
        raise AssertionError(f"{len(found)} bytes, not {size}")
    return 0, bytes(found)


def read_on(
    seed: str, until: float, files: list[tuple[Path, bytes]], counts: Counter[str], maps: bool
) -> None:
    """Open, read in one of the ways, compare, close; again and again."""
    rng = random.Random(seed)
    ways = [piece, piece, piece, whole, *([mapped] if maps else [])]
    while time.monotonic() < until:
        path, wanted = rng.choice(files)
        try:
            file = os.open(path, os.O_RDONLY)
            try:
                if rng.random() < 0.3:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                size = os.fstat(file).st_size
                if size != len(wanted):
                    raise AssertionError(f"{path} has {size} bytes, not {len(wanted)}")
                for _ in range(rng.randrange(1, 6)):
                    os.lseek(file, 0, os.SEEK_SET)
                    at, found = rng.choice(ways)(file, size, rng)
                    if found != wanted[at : at + len(found)]:
                        raise AssertionError(f"{path}: other bytes in [{at}, {at + len(found)})")
                    counts["bytes"] += len(found)
                    counts["reads"] += 1
            finally:
                os.close(file)
        except OSError:
            counts["errors"] += 1
            time.sleep(0.05)
        except AssertionError as wrong:
            print(wrong, file=sys.stderr)
            counts["wrong"] += 1
            return


def main() -> int:
    """Read with several threads until the time is over."""
    seed, seconds, names = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    files = [
        (Path(path), Path(copy).read_bytes()) for path, copy in zip(names[::2], names[1::2], strict=True)
    ]
    counts: Counter[str] = Counter()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=read_on, args=(f"{seed} {n}", until, files, counts, "m" in seed), daemon=True)
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
        if thread.is_alive():
            print("a read waits for ever", file=sys.stderr)
            os._exit(3)
    print(counts["bytes"], counts["reads"], counts["errors"])
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
