#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=120 label=noasan,notsan,noclang,noO0,nomusl
"""The protocols, checked exhaustively by spin (tests/model/*.pml). Once, in the release build: it
has nothing to do with how the library is compiled.

    tests/model_test.py [MODEL…]           worlds that a model calls 'check', and each broken rule
    tests/model_test.py --soak [MODEL…]    worlds that it calls 'soak'

A model says itself what is to be done, in its comments:

    check: MSGS=2 DEATHS=1                         a world in which every property has to hold
    #define NO_F1 (broken == 1) /* PROPERTY: … */  a rule, broken: that property has to fail
    … (broken == 9) /* PROPERTY, MSGS=3: … */      in this world (what it does not name is as in the
                                                   first one); with SOAK=1 only in the soak
    … (broken == 10) /* nothing: … */              not needed: nothing may fail

A broken rule that breaks another property than it names, or none, is a failure, and so is a search
that was not complete. After one the way there is printed, step by step."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "model")
WORLD = re.compile(r"^ \* (check|soak): (.*)$", re.MULTILINE)
RULE = re.compile(r"^#define (\w+)\s+\(broken == (\d+)\)\s+"
                  r"/\* (\w+)((?:[, ]+\w+=\d+)*):\s+(.*?) \*/$", re.MULTILINE | re.DOTALL)
MEMORY_MB = {"check": 1000, "soak": 6000}
FLAGS = {"check": ["-O0"], "soak": ["-O2", "-DCOLLAPSE"]}
HASH = {"check": 18, "soak": 24}  # 2 to the …
DEPTH = {"check": 50000, "soak": 20000000}


class Model:
    def __init__(self, name, folder, kind):
        self.name = name
        self.folder = folder
        self.kind = kind
        self.pan = os.path.join(folder, "pan")
        path = os.path.join(MODELS, name + ".pml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.worlds = [world for which, world in WORLD.findall(text) if which == kind]
        self.first = [world for which, world in WORLD.findall(text) if which == "check"][0]
        self.rules = RULE.findall(text)
        if len(self.rules) != len(re.findall(r"\(broken == ", text)):
            raise SystemExit(f"{name}.pml: a line of a broken rule is not as it should be")
        for file in (name + ".pml", "model.h"):  # where pan leaves its trails, too
            shutil.copy(os.path.join(MODELS, file), folder)
        subprocess.run(["spin", "-a", name + ".pml"], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["gcc", "-w", *FLAGS[kind], "-DSAFETY", "-DNOCLAIM", "-DNOBOUNDCHECK",
                        f"-DMEMLIM={MEMORY_MB[kind]}", "-o", self.pan, "pan.c"],
                       cwd=folder, check=True)

    def pan_says(self, options, world, broken):
        env = dict(os.environ, BROKEN=str(broken),
                   **dict(word.split("=") for word in world.split()))
        return subprocess.run([self.pan, *options], cwd=self.folder, env=env, capture_output=True,
                              text=True).stdout

    def run(self, world, broken):
        """What failed ('nothing', a property, or why the search says nothing), and states."""
        options = ["-E", "-n", f"-m{DEPTH[self.kind]}", f"-w{HASH[self.kind]}"]
        text = self.pan_says(options, world, broken)
        states = re.search(r"^\s*(\d+) states, stored", text, re.MULTILINE)
        states = int(states[1]) if states else 0
        failed = re.search(r"assertion violated \(?(\w+)", text)
        if failed:
            return failed[1], states
        if not states or "errors: 0" not in text or "not completed" in text or \
                "max search depth too small" in text:
            return "no complete search: " + " | ".join(text.split("\n"))[:400], states
        return "nothing", states

    def trail(self, world, broken):
        """The steps to what failed, and the words then."""
        text = self.pan_says(["-r", self.name + ".pml.trail"], world, broken)
        lines = [line for line in text.splitlines() if line.strip() and "goto" not in line]
        return "\n".join(lines[-150:])


def main():
    kind = "soak" if "--soak" in sys.argv else "check"
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    names = names or sorted(name[:-4] for name in os.listdir(MODELS) if name.endswith(".pml"))
    passed = failed = total = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            model = Model(name, folder, kind)
            runs = [(world, 0, "nothing", "all as it is") for world in model.worlds]
            runs += [((model.first + world).replace(",", ""), int(number), expected,
                      f"{rule}: {what}") for rule, number, expected, world, what in model.rules
                     if ("SOAK=1" in world) == (kind == "soak")]
            for world, broken, expected, what in runs:
                found, states = model.run(world, broken)
                good = found == expected
                passed += good
                failed += not good
                total += states
                print(f"{'ok    ' if good else 'FAILED'} {name}: {states:>9,} states, "
                      f"{found[:200]} fails: {what} ({world})", flush=True)
                if not good:
                    print(f"       {expected} should have failed")
                    if found != "nothing":
                        print(model.trail(world, broken))
    print(f"{total:,} states")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
