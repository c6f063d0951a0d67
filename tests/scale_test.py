#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=notsan,noasan
"""Many nodes, a process each (tests/scale_prog.c): everyone to everyone, and all to one. What a
channel holds at rest is held. SCALE=full runs the sizes of the targets, 200 nodes and 1,000, by
hand."""

import json
import os
import subprocess
import sys
import tempfile

FULL = os.environ.get("SCALE") == "full"
RUNS = [("all", 200 if FULL else 30), ("one", 1000 if FULL else 100)]
REST = 4 * 4096  # words of both ends, the window, the page at hand of one that carried little


def main():
    program = os.path.join(os.environ["TRAM_BUILD"], "tests", "scale_prog")
    bad = False
    for mode, nodes in RUNS:
        with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
            env = dict(os.environ, TRAM_DIR=folder)
            done = subprocess.run([program, mode, str(nodes)], env=env, stdout=subprocess.PIPE,
                                  text=True)
        print(done.stdout, end="")
        if done.returncode != 0:
            return 1
        result = json.loads(done.stdout)
        nodes_bytes = 4096 * nodes / result["channels"]  # the doors lie there, too
        if result["rest_bytes_per_channel"] > REST + nodes_bytes:
            print(f"a channel at rest holds more than {REST} bytes and its share of the doors")
            bad = True
        # 3 for each end of a channel and 1 for each peer's door, whatever else a process has
        if result["mappings"] > 8 * nodes + 60:
            print("more mappings than the channels need")
            bad = True
        # of a process: what its library and stacks hold, and 32 KiB for each end of a channel
        ends = 2 * nodes if mode == "all" else nodes
        if result["pss_bytes"] > (8 << 20) + ends * (32 << 10):
            print("more memory than the channels need")
            bad = True
        # one for each channel that it sends into, one for the bell of a peer that slept
        if result["descriptors"] > 2 * nodes + 20:
            print("more descriptors than the channels need")
            bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
