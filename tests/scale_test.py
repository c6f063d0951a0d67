#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=notsan,noasan
"""Many nodes and channels: everyone to everyone and all to one (tests/scale_prog.c), many senders
that are all active, and many channels of one node (tests/scale_load_prog.c). What a channel holds,
at rest, loaded and closed, is held closely; times and rates by bounds that are far from what a
quiet machine does. SCALE=full runs the sizes of the targets (make soak). notsan, noasan: they make
processes several times as large."""

import json
import os
import resource
import subprocess
import sys
import tempfile

FULL = os.environ.get("SCALE") == "full"
SLOW = float(os.environ.get("TRAM_TIME_SCALE") or 1)
PAGE = 4096
REST = 4 * PAGE     # words of the sender, two of the receiver's, the data at hand
WORDS = 3 * PAGE    # after an orderly end: no data
KEEP = 64 << 10     # ahead of what is written, and behind what is read
BACKLOG = 15 * 1056 + 40

# (program, its arguments in make check, and of the targets)
RUNS = (("scale_prog", ("all", 30), ("all", 200)),
        ("scale_prog", ("one", 100), ("one", 1000)),
        ("scale_load_prog", ("fan", 100, 256 << 10), ("fan", 1000, 1 << 20)),
        ("scale_load_prog", ("channels", 1000), ("channels", 10000)))

TARGET = 0.5        # many senders against one; held is a fifth of it


def processes(nodes, r):
    """Of scale_prog: (what, figure, most)."""
    ends = 2 * nodes if r["mode"] == "all" else nodes
    doors = PAGE * nodes / r["channels"]
    yield "bytes of a channel at rest", r["rest_bytes_per_channel"], REST + doors
    yield "bytes of a channel loaded", r["loaded_bytes_per_channel"], REST + PAGE + doors
    # 3 for each end of a channel and 1 for each peer's door, whatever else a process has
    yield "mappings", r["mappings"], 8 * nodes + 60
    # one for each channel that it sends into, one for the bell of a peer that slept
    yield "descriptors", r["descriptors"], (2 * nodes if r["mode"] == "all" else 0) + 20
    # what its library and stacks hold, and 32 KiB for each end of a channel
    yield "bytes of a process", r["pss_bytes"], (8 << 20) + ends * (32 << 10)
    yield ("seconds until all have heard", r["open_s"] + r["first_round_s"],
           SLOW * (2 + 0.02 * nodes + 0.001 * r["channels"]))


def fan(senders, r):
    # and a door
    yield "bytes of a full channel", r["loaded_bytes_per_channel"], r["ring"] + 5 * PAGE
    yield "mappings", r["mappings"], 5 * senders + 60
    yield "descriptors", r["descriptors"], senders + 20
    yield "bytes of the receiver", r["pss_bytes"], (8 << 20) + senders * (r["ring"] + (16 << 10))
    yield "seconds until all are heard", r["start_s"], SLOW * (2 + 0.02 * senders)
    yield "times as fast is one sender", 1 / r["ratio"], 5 / TARGET
    # in at least 1 s + 20 ms for each: as the kernel shares their core out, 3 ms at a time
    yield ("times as much as the slowest had the mean sender", 1 / (r["slowest_share"] or 1e-9),
           5)


def channels(count, r):
    yield "bytes of a channel with a message", r["one_bytes_per_channel"], REST
    yield "bytes of one with a backlog", r["loaded_bytes_per_channel"], WORDS + 2 * BACKLOG
    yield "bytes of a drained one", r["drained_bytes_per_channel"], WORDS + KEEP + 5 * PAGE
    yield "bytes of a closed one", r["closed_bytes_per_channel"], WORDS + PAGE # and a door
    yield "mappings", r["mappings"], 3 * count + 200
    yield "descriptors", r["descriptors"], count + 20
    yield "bytes of the sender", r["rss_bytes"], (8 << 20) + count * (16 << 10)
    yield "µs to make a channel", r["make_us"], SLOW * 5000
    yield "seconds to open a node with them", r["reopen_s"], SLOW * (2 + 0.002 * count)
    yield "µs of a receiver that comes and goes", r["take_us"], SLOW * (20000 + 50 * count)


def run(program, mode, size, *more):
    """True: all of it is as it should be."""
    path = os.path.join(os.environ["TRAM_BUILD"], "tests", program)
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        env = dict(os.environ, TRAM_DIR=folder)
        done = subprocess.run([path, mode, str(size), *map(str, more)], env=env,
                              stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        return False
    rules = {"fan": fan, "channels": channels}.get(mode, processes)
    good = True
    for what, figure, most in rules(size, json.loads(done.stdout)):
        if figure > most:
            print(f"{mode} {size}: {what}: {figure:.6g}, at most {most:.6g}")
            good = False
    return good


def main():
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    good, runs = True, 0
    for program, small, large in RUNS:
        mode, size, *more = large if FULL else small
        if mode in ("fan", "channels") and files != resource.RLIM_INFINITY and files < size + 50:
            print(f"{mode} {size} is left out: RLIMIT_NOFILE is {files}")
            continue
        good = run(program, mode, size, *more) and good
        runs += 1
    print(f"scale: {runs} runs, {'as they should be' if good else 'not all as they should be'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
