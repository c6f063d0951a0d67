#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=30 label=noasan,notsan
"""The layout of the shared files against its frozen copy, tests/frozen/layout_vN.h: each struct
field by field (name, type, offset, size), nothing added, and the constants. Who changes the layout
needs a new version number and a new frozen copy; the old ones stay. noasan, notsan: nothing here
depends on how the library was built.

    tests/frozen_test.py               the comparison
    tests/frozen_test.py --freeze      writes the copy of a version that has none yet
"""

import os
import re
import sys

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYOUT = os.path.join(TOP, "src", "ring", "layout.h")
SIZES = {"uint8_t": 1, "char": 1, "uint32_t": 4, "uint64_t": 8}
STRUCTS = ("record", "extension", "stream", "head", "door")


def plain(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def constants(text):
    """Each #define with a value; of macros with arguments the text."""
    found = {}
    defines = re.findall(r"^#define (\w+(?:\([^)]*\))?)[ \t]+(\S[^\n]*)$", plain(text), re.M)
    for name, value in defines:
        found[name] = " ".join(value.split())
    return found


def number(said, known):
    said = re.sub(r"\b(\d+)u\b", r"\1", said)
    said = re.sub(r"[A-Z_]{3,}", lambda name: number(known[name.group()], known), said)
    assert re.fullmatch(r"[\d\s/*()+-]+", said), said
    return str(eval(said.replace("/", "//")))  # digits and operators only


def fields(text, struct, known):
    """[(name, type, offset, size)] and the size of a struct, in natural alignment."""
    body = re.search(rf"struct (?:v\d+_)?{struct} {{(.*?)}};", plain(text), re.S).group(1)
    offset, found = 0, []
    for kind, names in re.findall(r"(\w+)\s+([^;]+);", body):
        for name in names.split(","):
            name, _, count = name.strip().partition("[")
            each = SIZES[kind]
            size = each * int(number(count.rstrip("]"), known)) if count else each
            offset = -(-offset // each) * each
            found.append((name, kind, offset, size))
            offset += size
    return found, -(-offset // 8) * 8 if struct != "record" else offset


def differences(now, frozen):
    mine, theirs = constants(now), constants(frozen)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            yield f"{name}: {theirs.get(name)} became {mine.get(name)}"
    for struct in STRUCTS:
        was, was_size = fields(frozen, struct, theirs)
        is_now, size = fields(now, struct, mine)
        for field in sorted(set(was) ^ set(is_now), key=lambda entry: entry[2]):
            yield f"struct {struct}: {field} {'is new' if field in is_now else 'is gone'}"
        if size != was_size:
            yield f"struct {struct}: {was_size} bytes became {size}"


def freeze(text, version):
    """The defines and structs, without comments, with a prefix."""
    lines = [f"/* SPDX-License-Identifier: MIT\n *\n * Layout version {version}, as it was: never "
             "edited. Made by tests/frozen_test.py --freeze. */"]
    lines += [f"#define {name} {value}" for name, value in constants(text).items()]
    for struct in STRUCTS:
        body = re.search(rf"struct {struct} {{(.*?)}};", plain(text), re.S).group(1)
        body = "\n".join(line.rstrip() for line in body.split("\n") if line.strip())
        lines.append(f"\nstruct v{version}_{struct} {{\n{body}\n}};")
    return "\n".join(lines) + "\n"


def main():
    with open(LAYOUT, encoding="utf-8") as file:
        now = file.read()
    version = re.search(r"^#define LAYOUT_VERSION (\d+)u", now, re.M).group(1)
    path = os.path.join(TOP, "tests", "frozen", f"layout_v{version}.h")
    if "--freeze" in sys.argv:
        with open(path, "x", encoding="utf-8") as file:
            file.write(freeze(now, version))
        return 0
    with open(path, encoding="utf-8") as file:
        frozen = file.read()
    samples = [("uint32_t tag;", "uint64_t tag;"), ("uint64_t zero2[6];", "uint64_t zero2[5];"),
               ("uint32_t asleep;", "uint32_t sleeping;"),
               ("LAYOUT_WINDOW  512u", "LAYOUT_WINDOW 256u"),
               ("uint64_t gone;", "uint64_t gone, more;")]
    for old, new in samples:
        spoilt = now.replace(old, new, 1)
        if spoilt != now and not list(differences(spoilt, frozen)):
            print(f"frozen_test: does not see {old} become {new}")
            return 1
    found = list(differences(now, frozen))
    for line in found:
        print(f"layout.h: {line}")
    if found:
        print(f"A new layout needs a new LAYOUT_VERSION (docs/SEGMENT.md); {path} stays as it is.")
    total = sum(len(fields(now, struct, constants(now))[0]) for struct in STRUCTS)
    print(f"frozen: {total} fields, {len(constants(now))} constants, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
