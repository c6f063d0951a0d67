#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=30 label=noasan,notsan
"""The layouts of the shared files against their frozen copies, tests/frozen/layout_vN.h (channels)
and topic_vN.h (rings of events): each struct
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
SIZES = {"uint8_t": 1, "char": 1, "uint16_t": 2, "uint32_t": 4, "uint64_t": 8}
LAYOUTS = {  # header, name of its version, structs, and changes that have to be seen
    "layout": ("src/ring/layout.h", "LAYOUT_VERSION",
               ("record", "extension", "stream", "head", "door"),
               [("uint32_t tag;", "uint64_t tag;"), ("uint64_t zero2[7];", "uint64_t zero2[6];"),
                ("uint32_t asleep;", "uint32_t sleeping;"),
                ("LAYOUT_WINDOW  512u", "LAYOUT_WINDOW 256u"),
                ("uint64_t gone;", "uint64_t gone, more;")]),
    "topic": ("src/topic/topic.h", "TOPIC_VERSION",
              ("topic", "topic_reader", "topic_wish", "topic_record"),
              [("uint16_t extra;", "uint32_t extra;"), ("uint64_t handed;", "uint64_t in_hand;"),
               ("TOPIC_STEPS  64u ", "TOPIC_STEPS  32u "),
               ("uint64_t floor;     /*", "uint64_t floor, more; /*")]),
}


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


def differences(now, frozen, structs):
    mine, theirs = constants(now), constants(frozen)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            yield f"{name}: {theirs.get(name)} became {mine.get(name)}"
    for struct in structs:
        was, was_size = fields(frozen, struct, theirs)
        is_now, size = fields(now, struct, mine)
        for field in sorted(set(was) ^ set(is_now), key=lambda entry: entry[2]):
            yield f"struct {struct}: {field} {'is new' if field in is_now else 'is gone'}"
        if size != was_size:
            yield f"struct {struct}: {was_size} bytes became {size}"


def freeze(text, version, structs):
    """The defines and structs, without comments, with a prefix."""
    lines = [f"/* SPDX-License-Identifier: MIT\n *\n * Layout version {version}, as it was: never "
             "edited. Made by tests/frozen_test.py --freeze. */"]
    lines += [f"#define {name} {value}" for name, value in constants(text).items()]
    for struct in structs:
        body = re.search(rf"struct {struct} {{(.*?)}};", plain(text), re.S).group(1)
        body = "\n".join(line.rstrip() for line in body.split("\n") if line.strip())
        lines.append(f"\nstruct v{version}_{struct} {{\n{body}\n}};")
    return "\n".join(lines) + "\n"


def check(name):
    header, macro, structs, samples = LAYOUTS[name]
    with open(os.path.join(TOP, header), encoding="utf-8") as file:
        now = file.read()
    version = re.search(rf"^#define {macro} (\d+)u", now, re.M).group(1)
    path = os.path.join(TOP, "tests", "frozen", f"{name}_v{version}.h")
    if "--freeze" in sys.argv:
        if not os.path.exists(path):
            with open(path, "x", encoding="utf-8") as file:
                file.write(freeze(now, version, structs))
        return 0
    with open(path, encoding="utf-8") as file:
        frozen = file.read()
    for old, new in samples:
        spoilt = now.replace(old, new, 1)
        if spoilt == now or not list(differences(spoilt, frozen, structs)):
            print(f"frozen_test: does not see {old} become {new}")
            return 1
    found = list(differences(now, frozen, structs))
    for line in found:
        print(f"{header}: {line}")
    if found:
        print(f"A new layout needs a new {macro} (docs/SEGMENT.md); {path} stays as it is.")
    total = sum(len(fields(now, struct, constants(now))[0]) for struct in structs)
    print(f"frozen: {header}: {total} fields, {len(constants(now))} constants, {len(found)} "
          "differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(max(check(name) for name in LAYOUTS))
