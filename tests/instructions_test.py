#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=90 label=noasan,notsan,noclang,noO0,nomusl
"""Instructions of one send and of one receive at 32 bytes, what they call included (callgrind:
time is noise, instructions are not). The target is 120 each; the limits below are what was
reached, so that nothing gets worse unseen. They hold for GCC 12 at -O2 and glibc 2.36 on x86-64.
And what a daemon's ends spend on a message that crosses to another host, some 1000 at a time."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMITS = {
    "instructions_prog": {"tram_send": 102, "tram_recv": 114},
    "stand_speed_prog": {"stand_in_run": 25, "stand_in_commit": 1, "stand_out_filled": 29},
}
FEW, MANY = 10, 110  # hundreds of messages: the difference has no start-up in it


def count(program, names, rounds, folder):
    out = os.path.join(folder, f"callgrind.{rounds}")
    bus = tempfile.mkdtemp(dir=folder)
    env = dict(os.environ, TRAM_DIR=bus)
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program,
                    str(rounds)], check=True, env=env)
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out],
                          check=True, capture_output=True, text=True).stdout
    counts = {}
    for name in names:
        # A function stands there once for each file whose code was inlined into it; the largest
        # is the one that includes all.
        found = re.findall(rf"^\s*([\d,]+) .*?:{name}(?:\s|$)", text, re.MULTILINE)
        counts[name] = max(int(number.replace(",", "")) for number in found)
    return counts


def check(program, limits, folder):
    path = os.path.join(os.environ["TRAM_BUILD"], "tests", program)
    few, many = (count(path, limits, rounds, folder) for rounds in (FEW, MANY))
    bad = False
    for name, limit in limits.items():
        each = (many[name] - few[name]) / ((MANY - FEW) * 100)
        print(f"{name}: {each:.1f} instructions, limit {limit}")
        bad = bad or each > limit
    return bad


def main():
    if not shutil.which("valgrind") or os.uname().machine != "x86_64":
        print("skipped: valgrind on x86-64 is needed")
        return 77
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        return 1 if any([check(program, limits, folder)
                         for program, limits in LIMITS.items()]) else 0


if __name__ == "__main__":
    sys.exit(main())
