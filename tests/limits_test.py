#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=30 label=noasan,notsan
"""tram_limits(7) against the headers: each constant that a paragraph names has the value there that
the page says, and the paragraph tells it. And no limit of the headers is left out. noasan, notsan:
nothing here depends on how the library was built."""

import os
import re
import sys

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join("man", "man7", "tram_limits.7")
UNITS = {"SYS_SECOND": 10**9, "SYS_MILLISECOND": 10**6, "SYS_MICROSECOND": 10**3}


def value_of(text, name):
    """What `#define NAME …` says, or None."""
    found = re.search(rf"^#define {name}\s+([^/\n]+)", text, re.M)
    if not found:
        return None
    said = re.sub(r"UINT64_C\((\d+)\)", r"\1", found.group(1))
    said = re.sub(r"\b(\d+)u\b", r"\1", said)
    for unit, number in UNITS.items():
        said = said.replace(unit, str(number))
    if not re.fullmatch(r"[\d\s()*<+-]+", said):
        return None
    return eval(said)  # digits and operators only


def spellings(number):
    """How a page may tell it."""
    yield str(number)
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 1 << shift and number % (1 << shift) == 0:
            yield f"{number >> shift} {unit}"
    for scale, unit in ((10**9, "second"), (10**3, "microsecond")):
        if number % scale == 0:
            yield f"{number // scale} {unit}"
    if number & (number - 1) == 0:
        yield f"2^{number.bit_length() - 1}"


def wrong(page, read):
    """What is wrong with a page; read(path) is a header."""
    lines = page.split("\n")
    for at, line in enumerate(lines):
        found = re.match(r'\.\\" = (\S+) (\w+) (\d+)$', line)
        if not found:
            continue
        path, name, number = found.group(1), found.group(2), int(found.group(3))
        value = value_of(read(path), name)
        if value != number:
            yield f"{name} is {value} in {path}, {number} in the page"
        rest = lines[at + 1:]
        while rest and (rest[0].startswith('.\\" =') or rest[0] == ".TP"):
            rest.pop(0)
        end = next((i for i, text in enumerate(rest) if re.match(r'\.(TP|S[HS]|\\")', text)),
                   len(rest))
        told = " ".join(rest[:end])
        pattern = "|".join(rf"(?<![\d.]){re.escape(text)}(?!\d)" for text in spellings(number))
        if not re.search(pattern, told):
            yield f"{name}: its paragraph does not say {number}"


def left_out(page, read):
    named = set(re.findall(r'^\.\\" = \S+ (\w+) ', page, re.M))
    text = read("src/node/node.h") + read("src/ring/layout.h")
    for name in re.findall(r"^#define (\w+_MAX|STREAM_MIN|\w+_WAIT|DEFAULT_\w+)\s", text, re.M):
        if name not in named:
            yield f"{name} is not in the page"


SAMPLES = [
    ('.\\" = a.h MOST 8\n.TP\nMost\n8 of them.\n', "#define MOST 8u /* so */\n", 0),
    ('.\\" = a.h MOST 8\n.TP\nMost\n18 of them.\n', "#define MOST 8u\n", 1),
    ('.\\" = a.h MOST 8\n.TP\nMost\n8 of them.\n', "#define MOST 9u\n", 1),
    ('.\\" = a.h MOST 8\n.TP\nMost\nmany.\n.TP\nOthers\n8.\n', "#define MOST 8\n", 1),
    ('.\\" = a.h MOST 4194304\n.TP\nMost\n4 MiB.\n', "#define MOST (UINT64_C(4) << 20)\n", 0),
    ('.\\" = a.h MOST 2000000000\n.TP\nWait\n2 seconds.\n', "#define MOST (2 * SYS_SECOND)\n", 0),
    ('.\\" = a.h MOST 8\n.TP\nMost\n8.\n', "#define LEAST 8\n", 1),
]


def main():
    for page, header, expected in SAMPLES:
        found = list(wrong(page, lambda path, header=header: header))
        if len(found) != expected:
            print(f"limits_test: {found} for\n{page}")
            return 1

    def read(path):
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            return file.read()

    page = read(PAGE)
    complaints = [*wrong(page, read), *left_out(page, read)]
    for complaint in complaints:
        print(f"{PAGE}: {complaint}")
    print(f"limits: {len(re.findall('= src', page))} constants, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
