#!/usr/bin/env python3
"""Whatever the library calls can be made to fail: each function of the C library that libtram.a and
the observer leave undefined is in tests/support/fault.names, as one that fault_send_test and
fault_recv_test make fail, or with the reason for which it cannot."""

import os
import re
import subprocess
import sys

SOURCE = os.environ.get("TRAM_SRC", ".")
BUILD = os.environ.get("TRAM_BUILD", "build")
ARCHIVES = ("lib/libtram.a", "inside/libtram_observe.a")

# What a compiler's instrumentation and runtime add.
RUNTIME = re.compile(r"_*(asan|ubsan|tsan|sanitizer|gcov|llvm|aarch64)_|__(fstat|stat)64_time64$")


def names():
    """{name: (kind, reason)}"""
    found = {}
    with open(os.path.join(SOURCE, "tests/support/fault.names"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split(None, 2)
            if not words:
                continue
            kind, name = words[:2]
            if kind not in ("wrap", "safe") or name in found:
                sys.exit(f"fault.names, line {number}: '{line.strip()}'")
            if kind == "safe" and len(words) < 3:
                sys.exit(f"fault.names, line {number}: {name} is safe for no reason")
            found[name] = words
    return found


def symbols(*arguments):
    output = subprocess.run(["nm", *arguments], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in output.splitlines() if line and not line.endswith(":")}


def main():
    known = names()
    archives = [os.path.join(BUILD, name) for name in ARCHIVES]
    needed = symbols("--undefined-only", *archives) - symbols("--defined-only", *archives)
    forgotten = sorted(name for name in needed
                       if name not in known and not RUNTIME.match(name))
    for name in forgotten:
        print(f"{name} is called, and neither made to fail nor known not to: tests/support/"
              f"fault.names (and fault.c)")
    # The rule has to be able to fail.
    blind = [name for name in ("openat", "calloc", "mmap") if name not in needed]
    for name in blind:
        print(f"{name} is not called? then this test sees nothing")
    wrapped = sum(1 for words in known.values() if words[0] == "wrap")
    print(f"{len(needed)} functions are called; {wrapped} can be made to fail")
    sys.exit(1 if forgotten or blind else 0)


main()
