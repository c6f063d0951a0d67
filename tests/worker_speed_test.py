#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,noclang,noO0,nomusl
"""Instructions of a message to a port of a worker, from the look at the ring to its release, what
is called included (callgrind: time is noise, instructions are not). Counted when this was written:
381.2, of which tram_recv_batch() with TRAM_HOLD has 151.0 and tram_release() 145.8. The limit
leaves 1 % above that, for GCC 12 at -O2 and glibc 2.36 on x86-64."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 385
FEW, MANY = 10, 110  # hundreds of messages: the difference has no start-up in it


def count(program, rounds, folder):
    out = os.path.join(folder, f"callgrind.{rounds}")
    env = dict(os.environ, TRAM_DIR=tempfile.mkdtemp(dir=folder))
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program,
                    "count", str(rounds)], check=True, env=env)
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out],
                          check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^\s*([\d,]+) .*?:worker_messages(?:\s|$)", text, re.MULTILINE)
    return max(int(number.replace(",", "")) for number in found)


def main():
    program = os.path.join(os.environ["TRAM_BUILD"], "tests", "worker_speed_prog")
    if os.environ.get("TRAM_SERVICE") == "OFF" or not os.path.exists(program):
        print("skipped: services are not built")
        return 77
    if not shutil.which("valgrind") or os.uname().machine != "x86_64":
        print("skipped: valgrind on x86-64 is needed")
        return 77
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        few, many = count(program, FEW, folder), count(program, MANY, folder)
    each = (many - few) / ((MANY - FEW) * 100)
    print(f"a message to a port: {each:.1f} instructions, limit {LIMIT}")
    return 1 if each > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
