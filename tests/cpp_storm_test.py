#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 cpus=2
"""The kill storm's short form with senders, receivers and a relay in C++ (cpp_storm_prog.cpp).

    STORM_SEED=N tests/cpp_storm_test.py      repeats a world, not the instants of the kills
    STORM_KILLS=N                             a longer one
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["TRAM_SRC"], "tests"))

from support import lives  # noqa: E402

PROGRAM = os.path.join(os.environ["TRAM_BUILD"], "tests", "cpp_storm_prog")


def main():
    if not os.path.exists(PROGRAM):
        print("skipped: no C++ compiler that goes with this build's C compiler")
        return 77
    seed = int(os.environ.get("STORM_SEED", time.time_ns() // 1000 % 10**9))
    print(f"    STORM_SEED={seed}")
    nodes = [("sender", PROGRAM)] * 3 + [("receiver", PROGRAM)] * 2 + [("relay", PROGRAM)]
    chans = [(0, 3), (0, 4), (1, 3), (1, 4), (2, 4), (2, 5), (5, 3)]
    kills = 60 if os.environ.get("TRAM_SANITIZER") else 120
    lives.Storm(seed, nodes, chans, PROGRAM).run(int(os.environ.get("STORM_KILLS", kills)), 0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
