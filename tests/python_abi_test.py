#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,nomusl
"""What the Python binding believes of tram.h is what a C compiler makes of it: sizes and offsets of
all structs, all constants, and every function that the header declares, with as many arguments."""

import ctypes
import os
import re
import struct
import subprocess
import sys
import tempfile

SRC, BUILD = os.environ["TRAM_SRC"], os.environ["TRAM_BUILD"]
sys.path.insert(0, os.path.join(SRC, "bindings", "python"))
os.environ.setdefault("TRAM_LIBRARY", os.path.join(BUILD, "lib", "libtram.so"))

from tram import EventType, PeerState, _c  # noqa: E402

CONSTANTS = {"TRAM_FOREVER": _c.FOREVER, "TRAM_NO_SPIN": _c.NO_SPIN, "TRAM_NOWAIT": _c.NOWAIT,
             "TRAM_MORE": _c.MORE, "TRAM_HOLD": _c.HOLD, "TRAM_DURABLE": _c.DURABLE,
             "TRAM_STAGED": _c.STAGED,
             "TRAM_ID_TEXT": _c.ID_TEXT, "TRAM_EPHEMERAL": 0xF0000000}
CONSTANTS.update({f"TRAM_{name}": value for name, value in vars(_c).items()
                  if name.startswith("OPEN_")})
CONSTANTS.update({f"TRAM_EVENT_{e.name}": e.value for e in EventType})
CONSTANTS.update({f"TRAM_PEER_{e.name}": e.value for e in PeerState})

# Beside these the header has versions, macros that take something, and its own guard.
NOT_BOUND = re.compile(r"TRAM_(API|ID|OPTIONS_INIT|VERSION_\w+|TRAM_H)")

STRUCTS = {name: kind for name, kind in vars(_c).items()
           if isinstance(kind, type) and issubclass(kind, ctypes.Structure)
           and name not in ("Structure", "Py_buffer")}


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def header():
    with open(os.path.join(SRC, "include", "tram", "tram.h"), encoding="utf-8") as file:
        return without_comments(file.read())


def program():
    lines = ["#include <stdio.h>", "#include <stddef.h>", "#include <tram/tram.h>",
             "int main(void) {"]
    for name, kind in STRUCTS.items():
        lines.append(f'printf("sizeof {name} %zu\\n", sizeof(struct {name}));')
        for field, *_ in kind._fields_:
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), '
                         f"sizeof(((struct {name} *) 0)->{field}));")
    for name in CONSTANTS:
        lines.append(f'printf("{name} %lld\\n", (long long) {name});')
    return "\n".join(lines + ["return 0;", "}", ""])


def believed():
    for name, kind in STRUCTS.items():
        yield f"sizeof {name} {ctypes.sizeof(kind)}"
        for field, *_ in kind._fields_:
            place = getattr(kind, field)
            yield f"{name}.{field} {place.offset} {place.size}"
    for name, value in CONSTANTS.items():
        yield f"{name} {value}"


def compiled():
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        source, binary = os.path.join(folder, "abi.c"), os.path.join(folder, "abi")
        with open(source, "w", encoding="utf-8") as file:
            file.write(program())
        subprocess.run([os.environ.get("TRAM_CC", "cc"), "-I", os.path.join(SRC, "include"),
                        source, "-o", binary], check=True)
        return subprocess.run([binary], check=True, capture_output=True,
                              text=True).stdout.splitlines()


def complaints(text):
    """What is wrong; `text` is the header."""
    for have, want in zip(believed(), compiled()):
        if have != want:
            yield f"Python has: {have}; C has: {want}"
    declared = {name: arguments.count(",") + 1
                for name, arguments in re.findall(
                    r"\bTRAM_API\b[^;{(]*?\b(tram_\w+)\s*\(([^;]*)\);", text)}
    bound = {name: len(signature) - 1 for name, signature in _c.FUNCTIONS.items()}
    for name in sorted(set(declared) | set(bound)):
        if declared.get(name) != bound.get(name):
            yield f"{name}: {declared.get(name)} arguments in C, {bound.get(name)} bound"
    named = set(re.findall(r"^#define (TRAM_\w+)", text, re.M))
    named |= set(re.findall(r"\b(TRAM_(?:EVENT|PEER)_\w+)\b", text))
    for name in sorted(named - set(CONSTANTS)):
        if not NOT_BOUND.fullmatch(name):
            yield f"{name} is in the header, and Python does not know it"
    for name, body in re.findall(r"\bstruct (tram_\w+) \{(.*?)\};", text, re.S):
        fields = set(re.findall(r"(\w+)(?:\[\w+\])?\s*(?=[;,])", body))
        known = {field for field, *_ in STRUCTS[name]._fields_} if name in STRUCTS else set()
        if fields != known:
            yield f"struct {name}: {sorted(fields ^ known)} on one side only"


def main():
    found = list(complaints(header()))
    if struct.calcsize(_c.MSG_FORMAT) != ctypes.sizeof(_c.tram_msg):
        found.append("MSG_FORMAT is not struct tram_msg")
    # The check itself: a function, a constant and a field that Python cannot know.
    strange = header().replace("struct tram_meta {", "struct tram_meta { int strange_field;") + \
        "\n#define TRAM_STRANGE 1\nTRAM_API int tram_strange(int a, int b);\n"
    seen = " ".join(complaints(strange))
    for name in ("strange_field", "TRAM_STRANGE", "tram_strange"):
        if name not in seen:
            found.append(f"the check does not see {name}")
    for complaint in found:
        print(complaint)
    print(f"{len(_c.FUNCTIONS)} functions, {len(STRUCTS)} structs, {len(CONSTANTS)} constants, "
          f"{len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
