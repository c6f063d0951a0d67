#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,noclang,noO0,nomusl
"""Instructions of a request and its answer, both ends with all that they call, rings included
(callgrind: time is noise, instructions are not). The limit leaves some 3 % above what was counted
when this was written, for GCC 12 at -O2 and glibc 2.36 on x86-64."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 2700
FEW, MANY, EACH = 100, 600, 64


def count(program, rounds, folder):
    out = os.path.join(folder, f"callgrind.{rounds}")
    env = dict(os.environ, TRAM_DIR=tempfile.mkdtemp(dir=folder))
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program,
                    "count", str(rounds)], check=True, env=env)
    with open(out, encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)", file.read(), re.MULTILINE)[1])


def main():
    program = os.path.join(os.environ["TRAM_BUILD"], "tests", "service_speed_prog")
    if not os.path.exists(program):
        print("skipped: services are not built")
        return 77
    if not shutil.which("valgrind") or os.uname().machine != "x86_64":
        print("skipped: valgrind on x86-64 is needed")
        return 77
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        few, many = count(program, FEW, folder), count(program, MANY, folder)
    each = (many - few) / ((MANY - FEW) * EACH)
    print(f"a request and its answer: {each:.0f} instructions, limit {LIMIT}")
    return 1 if each > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
