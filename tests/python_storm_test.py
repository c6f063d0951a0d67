#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 cpus=2 label=noasan,notsan,nomusl
"""The kill storm's short form with senders, receivers and a relay in Python, and in C and C++ among
them: see tests/support/lives.py. (Labels: see python_test.py.)

    STORM_SEED=N, STORM_KILLS=N     as for cpp_storm_test.py
"""

import os
import sys
import time

SRC, BUILD = os.environ["TRAM_SRC"], os.environ["TRAM_BUILD"]
sys.path.insert(0, os.path.join(SRC, "tests"))
sys.path.insert(0, os.path.join(SRC, "bindings", "python"))
os.environ.setdefault("TRAM_LIBRARY", os.path.join(BUILD, "lib", "libtram.so"))

import tram  # noqa: E402, F401 (lives are forked: they need not load it again)
from support import lives  # noqa: E402

C, CPP = (os.path.join(BUILD, "tests", f"{name}_prog") for name in ("life", "cpp_storm"))


def main():
    other = CPP if os.path.exists(CPP) else C
    seed = int(os.environ.get("STORM_SEED", time.time_ns() // 1000 % 10**9))
    print(f"    STORM_SEED={seed}")
    nodes = [("sender", None), ("sender", C), ("sender", other), ("receiver", None),
             ("receiver", C), ("relay", None)]
    chans = [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 5), (5, 3)]
    lives.Storm(seed, nodes, chans, C).run(int(os.environ.get("STORM_KILLS", 80)), 0.03)
    return 0


if __name__ == "__main__":
    sys.exit(main())
