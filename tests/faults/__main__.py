"""The fault campaign at full length: one command, one campaign an option, figures at the end.

    python -m tests.faults --model 10000        lives of the machine without a kernel
    python -m tests.faults --mounted 50         lives of the machine on a real mount
    python -m tests.faults --fuzz 1000000       inputs for each parser
    python -m tests.faults --nth 1              every call to disk, index, wire and clock fails once
    python -m tests.faults --power 1000         losses of power
    python -m tests.faults --mixes 10000        random mixes of what servers do, on a real mount
    python -m tests.faults --race 10000         clients killed in the middle of a request, on a real mount
    python -m tests.faults --soak 3600          seconds of mixed readers over a faulty network

Each line that it ends with is a row of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
import warnings

CAMPAIGNS = {
    "model": ("model_kernelless", "lives of the machine on the kernel-less filesystem"),
    "mounted": ("model_mounted", "lives of the machine on a real mount"),
    "fuzz": ("fuzz", "inputs for each parser"),
    "nth": ("nth", "times that every call to disk, index, wire and clock fails once"),
    "power": ("power", "losses of power"),
    "mixes": ("mixes", "random mixes of what servers do, on a real mount"),
    "race": ("race", "clients killed in the middle of a request, on a real mount"),
    "soak": ("soak", "seconds of mixed readers over a faulty network"),
}
"""Option → the module here whose `main(amount, seed, tell)` runs it and gives its figures, and its unit."""


def main() -> int:
    """Run what was asked for, and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    for name, (_, unit) in CAMPAIGNS.items():
        parser.add_argument(f"--{name}", type=int, default=0, metavar="N", help=unit)
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: %(default)s)")
    asked = parser.parse_args()
    # What servers do is expected here; what is not has no name, and is told as an error or a traceback.
    logging.basicConfig(level=logging.CRITICAL)
    warnings.simplefilter("ignore", ResourceWarning)
    failed = False
    for name, (module, _) in CAMPAIGNS.items():
        amount = getattr(asked, name)
        if amount:
            began = time.monotonic()
            campaign = importlib.import_module(f"{__package__}.{module}")
            try:
                told = campaign.main(amount, asked.seed, lambda line: print(f"  {line}", flush=True))
            except AssertionError as wrong:
                failed, told = True, f"FAILED: {wrong}"
            print(f"{name}: {told} ({time.monotonic() - began:.0f} s, seed {asked.seed})", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
