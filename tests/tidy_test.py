#!/usr/bin/env python3
# test: timeout=60 label=noasan,notsan
"""The house rules, run over the tree: who may include whom, sizes of files and functions, lines,
words that mark unfinished work, paths of one machine. (Those of libtram: tests/library_test.py.)

    tests/tidy_test.py               first the rules themselves on bad samples, then the tree
    tests/tidy_test.py --self-test   the samples only

A rule is a function that takes a path and the lines of a file and yields (line number, text).
"""

import os
import re
import subprocess
import sys

MAX_FILE = 800
MAX_FUNCTION = 70
MAX_LINE = 100

# Folder of src/ → folders whose headers it may include besides its own; 'tram' is include/tram.
# Tests of a folder may include what the folder may, the harness and tests/support.
LAYERS = {
    "sys": set(),
    "ring": {"sys"},
    "node": {"ring", "sys", "tram"},
    "topic": {"ring", "sys"},
    "wire": set(),
    "transport": {"sys", "wire"},
    "keys": {"sys", "wire"},
    "tls": {"keys", "sys", "transport", "wire"},
    "worker": {"sys", "tram"},
    "service": {"ring", "sys", "topic", "tram", "transport", "wire", "worker"},
    "daemon": {"node", "observe", "ring", "service", "sys", "tram", "transport", "wire", "worker"},
    "observe": {"ring", "sys", "tram"},
    "cli": {"observe", "tram"},
    "console": {"observe", "tram"},
}

# Single headers beyond the layers: (folder, header).
DOORS = {
    ("cli", "node/custody.h"),  # tram rm, purge and retry act for nodes that do not run
    ("cli", "service/inspect.h"),  # what servers tell tools, and nobody else
    ("cli", "wire/control.pb-c.h"),  # … and in which words
    ("cli", "keys/authority.h"),  # tram keys
    ("daemon", "tls/maker.h"),  # tramd has it built in
    ("cli", "sys/machine.h"),  # tram top and doctor: facts about the machine, not in the library
}

# The installed header needs struct iovec; POSIX gives no other place for it.
PUBLIC_SYSTEM_HEADERS = {"sys/uio.h"}

# Headers of other libraries, and what a state machine must not have; by how their names begin →
# folders that may include them. Tests may.
FOREIGN = {
    "uv.h": ("src/worker/",),
    "openssl/": ("src/keys/", "src/tls/"),
    "google/protobuf": ("src/cli/reflect.cpp",),
    "glib": (),
    "protobuf-c/": ("src/wire/", "src/service/", "src/daemon/", "include/"),
}
NO_MACHINE = ("pthread.h", "unistd.h", "time.h", "poll.h", "fcntl.h", "signal.h", "threads.h",
              "sched.h", "netdb.h", "netinet/", "arpa/")

CODE = (".c", ".h", ".cpp", ".hpp")
SCRIPTS = (".py", ".sh", ".cmake")


# --- Rules of one file ----------------------------------------------------------------------------

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(lines):
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1], found[2]


def system_headers(path, lines):
    """Only src/sys speaks to the kernel; tests and the tool's own processes may."""
    if not path.endswith(CODE) or path.endswith("_test.c"):
        return
    if not path.startswith(("src/", "include/")) or path.startswith(("src/sys/", "src/cli/")):
        return
    for number, kind, name in includes(lines):
        if kind == '"' or not name.startswith(("sys/", "linux/", "asm/")):
            continue
        if path.startswith("include/") and name in PUBLIC_SYSTEM_HEADERS:
            continue
        yield number, f"<{name}> belongs to src/sys"


def layering(path, lines):
    """A folder of src/ includes itself and what LAYERS lets it."""
    parts = path.split("/")
    if not path.endswith(CODE) or parts[0] not in ("src", "include"):
        return
    folder = parts[1] if parts[0] == "src" and len(parts) > 2 else None
    if parts[0] == "src" and folder not in LAYERS:
        yield 1, f"src/{parts[1]} is no layer that LAYERS knows"
        return
    allowed = LAYERS[folder] | {folder} if folder else {"tram"}
    for number, kind, name in includes(lines):
        target = name.split("/")[0] if "/" in name else folder or "tram"
        if ".." in name.split("/"):
            yield number, f'"{name}": name the folder, not the way to it'
        elif (folder, name) in DOORS or target == "support" and path.endswith("_test.c"):
            continue
        elif (kind == '"' or target == "tram") and target not in allowed:
            yield number, f'{folder or "include"} may not use {target}: "{name}"'


def foreign_headers(path, lines):
    """Each library is spoken to in its own folders; src/wire knows of bytes and time, of no fd,
    clock or thread."""
    if not path.endswith(CODE) or path.endswith("_test.c"):
        return
    if not path.startswith(("src/", "include/")):
        return
    for number, kind, name in includes(lines):
        for library, folders in FOREIGN.items():
            if name.startswith(library) and not path.startswith(folders):
                yield number, f"<{name}> belongs to {' '.join(folders) or 'nobody here'}"
        if path.startswith("src/wire/") and name.startswith(NO_MACHINE):
            yield number, f"src/wire has no use for <{name}>"


def file_size(path, lines):
    if path.endswith(CODE + SCRIPTS) and len(lines) >= MAX_FILE:
        yield len(lines), f"{len(lines)} lines; the limit is {MAX_FILE}"


def functions(lines):
    """Yields (first line, last line, name). Bodies open with a '{' alone in column 0, or with the
    ')' of a signature that starts there, and close with a '}' alone in column 0."""
    start = None
    body = None
    for number, line in enumerate(lines, 1):
        if body is None and re.match(r"[A-Za-z_]", line):
            if start is None:
                start = number
        signature = line.endswith(") {") and (
            line[0] != " " or start is not None and not lines[start - 1].endswith("{"))
        if body is None and (line == "{" or signature):
            body = start or number
        elif body is not None and line == "}":
            head = " ".join(lines[body - 1:body + 5]).split("{")[0]
            name = re.search(r"(\w+)\s*\(", head)
            yield body, number, name[1] if name else "?"
            body = start = None
        elif line == "" or body is None and (line.endswith(";") or line[:1] in "}#"):
            start = start if body is not None else None


def function_size(path, lines):
    if path.endswith(CODE):
        for first, last, name in functions(lines):
            if last - first + 1 > MAX_FUNCTION:
                yield first, f"{name}: {last - first + 1} lines; the limit is {MAX_FUNCTION}"


def line_width(path, lines):
    if path.endswith(CODE + SCRIPTS):
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                yield number, f"{len(line)} columns; the limit is {MAX_LINE}"


def blanks(path, lines):
    if path.endswith(CODE + SCRIPTS):
        for number, line in enumerate(lines, 1):
            if "\t" in line:
                yield number, "a tab"
            if line != line.rstrip():
                yield number, "blanks at the end"


UNFINISHED = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X")) + r")\b")


def unfinished(path, lines):
    for number, line in enumerate(lines, 1):
        found = UNFINISHED.search(line)
        if found:
            yield number, f"{found[1]}: do it, or say in words what isn't done and why"


MACHINE = re.compile(r"(^|[^A-Za-z0-9_.])/(wo" r"rk|fa" r"rm|ro" r"ot|ho" r"me)/[A-Za-z.]")


def machine_paths(path, lines):
    for number, line in enumerate(lines, 1):
        if MACHINE.search(line):
            yield number, "a path of one machine"


SLEEP_C = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep)\s*\(")
SLEEP_SH = re.compile(r"(^|[;&|(]|\bdo\b|\bthen\b)\s*sleep\s")
SLEEP_PY = re.compile(r"\bsle" r"ep\(")


def sleeping(path, lines):
    """A test waits for what it wants to see; it never sleeps and hopes."""
    patterns = {"_test.c": SLEEP_C, "_test.cpp": SLEEP_C, "_test.sh": SLEEP_SH,
                "_test.py": SLEEP_PY}
    for ending, pattern in patterns.items():
        for number, line in enumerate(lines if path.endswith(ending) else (), 1):
            if pattern.search(line):
                yield number, "a test that sleeps"


RULES = (system_headers, layering, foreign_headers, file_size, function_size, line_width, blanks,
         unfinished, machine_paths, sleeping)


# --- The tree -------------------------------------------------------------------------------------

def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tree(top):
    """The files that are, or would be, in the repository."""
    if os.path.exists(os.path.join(top, ".git")):
        listed = output("git", "-c", "safe.directory=*", "-C", top, "ls-files", "-co",
                        "--exclude-standard", "--deduplicate")
        return [path for path in listed.splitlines() if os.path.isfile(os.path.join(top, path))]
    found = []
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if not f.startswith("build") and f != "__pycache__"]
        found += [os.path.relpath(os.path.join(folder, name), top) for name in files]
    return found


def check_text(path, text):
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    elif path.endswith(CODE + SCRIPTS):
        yield f"{path}:{len(lines)}: no newline at the end"
    for rule in RULES:
        for number, message in rule(path, lines):
            yield f"{path}:{number}: {message}"


def check_tree(top):
    for path in sorted(tree(top)):
        try:
            with open(os.path.join(top, path), encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError:
            if path.endswith(CODE + SCRIPTS):
                yield f"{path}:1: not UTF-8"
            continue
        yield from check_text(path, text)


# --- The rules themselves -------------------------------------------------------------------------

def long_function(head, lines):
    return head + "    x();\n" * (lines - 1 - head.count("\n")) + "}\n"


# (path, text, part of the complaint; None: there must be none)
SAMPLES = (
    ("src/ring/a.c", "#include <sys/mman.h>\n", "belongs to src/sys"),
    ("src/node/a.h", "# include <linux/futex.h>\n", "belongs to src/sys"),
    ("include/tram/a.h", "#include <sys/socket.h>\n", "belongs to src/sys"),
    ("include/tram/a.h", "#include <sys/uio.h>\n", None),
    ("src/sys/a.c", "#include <sys/mman.h>\n#include <linux/futex.h>\n", None),
    ("src/ring/a_test.c", '#include <sys/mman.h>\n#include "harness.h"\n', None),
    ("src/ring/a.c", '#include "sys/map.h"\n#include "layout.h"\n#include "ring/layout.h"\n', None),
    ("src/cli/a.c", '#include <sys/wait.h>\n#include <tram/tram.h>\n', None),
    ("src/sys/a.c", '#include "ring/layout.h"\n', "sys may not use ring"),
    ("src/ring/a.c", '#include "node/node.h"\n', "ring may not use node"),
    ("src/ring/a.c", "#include <tram/tram.h>\n", "ring may not use tram"),
    ("src/ring/a_test.c", '#include "node/node.h"\n', "ring may not use node"),
    ("src/wire/a.c", '#include "sys/clock.h"\n', "wire may not use sys"),
    ("src/cli/a.c", '#include "ring/ring.h"\n', "cli may not use ring"),
    ("src/worker/a.c", '#include <uv.h>\n#include "sys/clock.h"\n#include "tram/worker.h"\n', None),
    ("src/worker/a.c", '#include "node/node.h"\n', "worker may not use node"),
    ("src/service/a.c", '#include "worker/worker.h"\n#include "wire/a.pb-c.h"\n', None),
    ("src/service/a.c", "#include <uv.h>\n", "belongs to src/worker"),
    ("src/transport/a.c", "#include <openssl/ssl.h>\n", "belongs to src/keys"),
    ("src/node/a.c", "#include <protobuf-c/protobuf-c.h>\n", "belongs to src/wire"),
    ("src/wire/a.c", '#include <stdlib.h>\n#include "wire/a.pb-c.h"\n', None),
    ("src/wire/a.c", "#include <time.h>\n", "no use for"),
    ("src/wire/a_test.c", "#include <time.h>\n", None),
    ("src/node/a.c", '#include "../ring/ring.h"\n', "not the way to it"),
    ("include/tram/a.h", '#include "ring/ring.h"\n', "include may not use ring"),
    ("src/attic/a.c", "int x;\n", "is no layer"),
    ("src/ring/a.c", "int x;\n" * 799, None),
    ("src/ring/a.c", "int x;\n" * 800, "800 lines"),
    ("src/ring/a.c", long_function("static int f(int a,\n             int b)\n{\n", 70), None),
    ("src/ring/a.c", long_function("static int f(int a,\n             int b)\n{\n", 71),
     "f: 71 lines"),
    ("src/ring/a.c", long_function("int g(void) {\n", 71), "g: 71 lines"),
    ("tests/a_test.c", "int x;\n" + long_function("TEST(name)\n{\n", 71), "TEST: 71 lines"),
    ("src/ring/a.c", "int x[] = {\n" + "    1,\n" * 100 + "};\n", None),
    ("src/ring/a.c", "struct x {\n" + "    int a;\n" * 100 + "};\n\nint f(void)\n{\n}\n", None),
    ("src/ring/a.c", "// " + "ä" * 97 + "\n", None),
    ("src/ring/a.c", "// " + "ä" * 98 + "\n", "101 columns"),
    ("tools/a.sh", "#" * 101 + "\n", "101 columns"),
    ("docs/a.md", "#" * 101 + "\n", None),
    ("src/ring/a.c", "int\tx;\n", "a tab"),
    ("tests/a_test.cpp", "int\tx;\n", "a tab"),
    ("include/tram/a.hpp", "#include <sys/socket.h>\n", "belongs to src/sys"),
    ("include/tram/a.hpp", "#include <tram/tram.h>\n", None),
    ("src/ring/a.c", "int x; \n", "blanks at the end"),
    ("src/ring/a.c", "int x;", "no newline"),
    ("docs/a.md", "so TO" "DO\n", "do it"),
    ("src/ring/a.c", "// FIX" "ME later\n", "do it"),
    ("src/ring/a.c", "// XX" "X\n", "do it"),
    ("src/ring/a.c", 'mkdtemp("x-' + "X" * 6 + '");\n', None),
    ("docs/a.md", "in /wo" "rk/main\n", "a path of one machine"),
    (".ci/run", "cd /ro" "ot/x\n", "a path of one machine"),
    ("docs/a.md", "see docs/wo" "rk/main and net" "wo" "rk/x\n", None),
    ("tests/a.h", "/* so:\n *     TEST(x) {\n */\n" + "x;\n" * 80 + "}\n", None),
    ("tests/a.cpp", "struct x {\n    x() : a(1) {\n    }\n};\n" + "int x;\n" * 80 + "}\n", None),
    ("tests/a_test.c", "    usleep(10);\n", "sleeps"),
    ("tests/a_test.cpp", "    usleep(10);\n", "sleeps"),
    ("tests/a_test.sh", "foo; sleep 1\n", "sleeps"),
    ("tests/a_test.py", "time.sle" "ep(1)\n", "sleeps"),
    ("tests/a_test.c", "    check_sleep(10); // sleep is an art\n", None),
    ("src/sys/a.c", "    nanosleep(&ts, NULL);\n", None),
)

def check_samples():
    """Yields what the rules get wrong about the samples."""
    used = set()
    samples = [(f"{path}: {text[:60]!r}", list(check_text(path, text)), want)
               for path, text, want in SAMPLES]
    for name, got, want in samples:
        if want is None and got:
            yield f"{name}: is good, but: {got}"
        elif want and not any(want in complaint for complaint in got):
            yield f"{name}: '{want}' is missing in {got}"
    for path, text, want in SAMPLES:
        used |= {rule for rule in RULES if want and list(rule(path, text.split("\n")))}
    for rule in RULES:
        if rule not in used:
            yield f"{rule.__name__} has no bad sample"


def main():
    top = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    complaints = list(check_samples())
    if "--self-test" not in sys.argv and not complaints:
        complaints = list(check_tree(top))
    for complaint in complaints:
        print(complaint)
    print(f"tidy: {len(complaints)} complaints, {len(SAMPLES)} samples")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
