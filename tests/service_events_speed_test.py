#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=120 label=noasan,notsan,noclang,noO0,nomusl
"""Instructions of an event of 256 bytes, published and read by one subscriber, with all that both
call (callgrind: time is noise, instructions are not): in place by one with back-pressure, and
copied by another. The limits leave some 3 % above what was counted when this was written, for GCC
12 at -O2 and glibc 2.36 on x86-64."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMITS = {"block": 328, "latest": 401}
FEW, MANY = 16000, 48000  # events; in rounds of 8000


def count(program, events, kind, folder):
    out = os.path.join(folder, f"callgrind.{kind}.{events}")
    env = dict(os.environ, TRAM_DIR=tempfile.mkdtemp(dir=folder))
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program,
                    str(events), kind], check=True, env=env)
    with open(out, encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)", file.read(), re.MULTILINE)[1])


def main():
    program = os.path.join(os.environ["TRAM_BUILD"], "tests", "service_events_speed_prog")
    if not os.path.exists(program):
        print("skipped: services are not built")
        return 77
    if not shutil.which("valgrind") or os.uname().machine != "x86_64":
        print("skipped: valgrind on x86-64 is needed")
        return 77
    bad = False
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        for kind, limit in LIMITS.items():
            few, many = (count(program, events, kind, folder) for events in (FEW, MANY))
            each = (many - few) / (MANY - FEW)
            print(f"an event, {kind}: {each:.0f} instructions, limit {limit}")
            bad = bad or each > limit
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
