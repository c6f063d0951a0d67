#!/usr/bin/env python3
# test: timeout=60 label=noasan,notsan
"""What is built: the names, symbols, versions, needs and size of libtram.so, what libtram.a shows,
and that these and the tool are linked as distributions want it. (Sanitizers add of their own.)

    tests/library_test.py               first the rules on bad samples, then the build
    tests/library_test.py --self-test   the samples only
"""

import os
import re
import subprocess
import sys
import tempfile

MAX_LIBRARY = 150 * 1024  # stripped, as packages have it
SONAME = "libtram.so.0"


def declared(header):
    """The functions that a public header declares."""
    header = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header, flags=re.S)
    header = re.sub(r"#(?:\\\n|[^\n])*", " ", header)
    return set(re.findall(r"\bTRAM_API\b[^;{]*?\b(\w+)\s*\(", header))


def exported(nm_output):
    """Function or object → version, out of nm -D --defined-only; versions are no symbols."""
    symbols = {}
    for line in nm_output.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] != "A":
            name, _, version = words[2].partition("@")
            symbols[name] = version.removeprefix("@")
    return symbols


def mapped(text):
    """Function → version, out of a version script."""
    symbols = {}
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    for version, body in re.findall(r"(\S+)\s*\{(.*?)\}", text, flags=re.S):
        shown = re.search(r"global:(.*?)(local:|$)", body, flags=re.S)
        symbols.update((name, version) for name in re.findall(r"[^\s;]+", shown[1]))
    return symbols


def listed(text):
    """Function → version, out of debian/….symbols."""
    found = re.findall(r"^ (\w[\w.]*)@(\S+) ", text, flags=re.M)
    return {name: version for name, version in found if name != version}


# --- Rules ----------------------------------------------------------------------------------------


def check_exports(headers, nm_output):
    want = set().union(*(declared(header) for header in headers))
    have = exported(nm_output)
    for name in sorted(want - set(have)):
        yield f"{name} is declared in include/tram, but libtram.so does not show it"
    for name in sorted(set(have) - want):
        yield f"{name} is shown by libtram.so, but declared in no header of include/tram"


def check_versions(nm_output, place, want):
    """The library's symbols have the versions that `place` says, and there are no others."""
    have = exported(nm_output)
    for name in sorted(set(have) | set(want)):
        if have.get(name) != want.get(name):
            yield (f"{name}: {have.get(name, 'not')} in libtram.so, "
                   f"{want.get(name, 'not')} in {place}")


def check_archive(headers, nm_output):
    want = set().union(*(declared(header) for header in headers))
    for name in sorted(set(exported(nm_output)) - want):
        yield f"{name} is shown by libtram.a: a program can't have a function of this name"
    for name in sorted(want - set(exported(nm_output))):
        yield f"{name} is declared in include/tram, but not in libtram.a"


def check_needed(what, readelf_output):
    for name in re.findall(r"\(NEEDED\)[^\[]*\[([^\]]+)\]", readelf_output):
        if not re.match(r"(libc|ld-linux[\w-]*)\.so(\.|$)", name):
            yield f"{what} needs {name}; it may need libc only"


def check_soname(readelf_output):
    found = re.findall(r"\(SONAME\)[^\[]*\[([^\]]+)\]", readelf_output)
    if found != [SONAME]:
        yield f"libtram.so calls itself {found}, not {SONAME}"


def check_names(entries, links, version):
    """`links`: name → what it points to."""
    real = f"libtram.so.{version}"
    if real not in entries:
        yield f"there is no {real}"
    if links.get(SONAME) != real or links.get("libtram.so") != SONAME:
        yield f"libtram.so does not lead to {real} by way of {SONAME}: {links}"


def check_size(size):
    if size > MAX_LIBRARY:
        yield f"libtram.so, stripped, has {size} bytes; the limit is {MAX_LIBRARY}"


def check_hardening(what, readelf_output):
    """Of readelf -hldW."""
    if not re.search(r"GNU_STACK(\s+0x\w+){5} RW ", readelf_output):
        yield f"{what}: its stack is executable, or nothing is said about it"
    if "GNU_RELRO" not in readelf_output or "BIND_NOW" not in readelf_output:
        yield f"{what}: the linker's tables stay writable"
    if "(TEXTREL)" in readelf_output or not re.search(r"Type:\s+DYN ", readelf_output):
        yield f"{what}: does not run at any address"


def check_path(what, readelf_output):
    if re.search(r"\((RPATH|RUNPATH)\)", readelf_output):
        yield f"{what}: looks for libraries in a folder of its own"


# --- The build ------------------------------------------------------------------------------------


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def check_build(top, build):
    include = os.path.join(top, "include", "tram")
    headers = [read(include, name) for name in sorted(os.listdir(include))]
    folder = os.path.join(build, "lib")
    library = os.path.join(folder, "libtram.so")
    symbols = output("nm", "-D", "--defined-only", library)
    yield from check_exports(headers, symbols)
    yield from check_versions(symbols, "src/libtram.map", mapped(read(top, "src", "libtram.map")))
    debian = os.path.join("debian", "libtram0.symbols")
    yield from check_versions(symbols, debian, listed(read(top, debian)))
    yield from check_archive(
        headers, output("nm", "-g", "--defined-only", os.path.join(folder, "libtram.a")))

    entries = os.listdir(folder)
    links = {name: os.readlink(os.path.join(folder, name)) for name in entries
             if os.path.islink(os.path.join(folder, name))}
    version = output(os.path.join(top, "tools", "version.sh")).strip()
    yield from check_names(entries, links, version)

    about = output("readelf", "-hldW", library)
    yield from check_soname(about)
    yield from check_needed("libtram.so", about)
    yield from check_path("libtram.so", about)
    yield from check_hardening("libtram.so", about)
    tool = output("readelf", "-hldW", os.path.join(build, "bin", "tram"))
    yield from check_hardening("the tool", tool)
    if "CMAKE_BUILD_TYPE:STRING=Release" in read(build, "CMakeCache.txt"):
        with tempfile.NamedTemporaryFile(dir=build) as stripped:
            output("strip", "--strip-unneeded", "-o", stripped.name, library)
            yield from check_size(os.path.getsize(stripped.name))


# --- The rules themselves -------------------------------------------------------------------------

HEADER = """
/* TRAM_API int tram_comment(void); */
#define TRAM_API __attribute__((visibility("default")))
#define tram_macro(a) \\
    tram_other(a)
TRAM_API int tram_one(int a);
TRAM_API const char *tram_two(char buffer[TRAM_ID_TEXT],
                              int b) __attribute__((nonnull));
static inline int tram_inline(int x) { return x; }
"""
NM = """0000000000001100 T tram_one@@TRAM_0.1
0000000000001110 T tram_two@@TRAM_0.2
0000000000000000 A TRAM_0.1
"""
ARCHIVE = """
tram.o:
0000000000001100 T tram_one
0000000000001110 T tram_two
"""
MAP = """/* a { global: b; } */
TRAM_0.1 {
global:
    tram_one;
local:
    *;
};
TRAM_0.2 { global: tram_two; } TRAM_0.1;
"""
SYMBOLS = """libtram.so.0 libtram0 #MINVER#
* Build-Depends-Package: libtram-dev
 TRAM_0.1@TRAM_0.1 0.1.0
 tram_one@TRAM_0.1 0.1.0
 TRAM_0.2@TRAM_0.2 0.2.0
 tram_two@TRAM_0.2 0.2.0
"""
NEEDED = " 0x0000000000000001 (NEEDED)             Shared library: [{}]\n"
NAMED = " 0x000000000000000e (SONAME)             Library soname: [{}]\n"
NAMES = {"libtram.so": "libtram.so.0", "libtram.so.0": "libtram.so.0.1.0"}
HARD = """  Type:                              DYN (Shared object file)
  GNU_STACK      0x000000 0x0000000000000000 0x0000000000000000 0x000000 0x000000 RW  0x10
  GNU_RELRO      0x018a28 0x0000000000018a28 0x0000000000018a28 0x0005d8 0x0005d8 R   0x1
 0x000000000000001e (FLAGS)              BIND_NOW
"""

# (what a rule says, part of the complaint; None: there must be none)
SAMPLES = (
    (check_exports([HEADER], NM), None),
    (check_exports([HEADER], NM.replace("T tram_two", "T tram_three")), "tram_two is declared"),
    (check_exports([HEADER], NM.replace("T tram_two", "T tram_three")), "tram_three is shown"),
    (check_exports([HEADER, "TRAM_API void tram_more(void);"], NM), "tram_more is declared"),
    (check_versions(NM, "map", mapped(MAP)), None),
    (check_versions(NM, "map", mapped(MAP.replace("tram_two", "tram_*"))), "tram_two: TRAM_0.2 in"),
    (check_versions(NM.replace("@@TRAM_0.2", ""), "map", mapped(MAP)), "tram_two:  in libtram.so"),
    (check_versions(NM.replace("0.2", "0.1"), "map", mapped(MAP)), "TRAM_0.2 in map"),
    (check_versions(NM, "list", listed(SYMBOLS)), None),
    (check_versions(NM, "list", listed(SYMBOLS.replace("one@", "on@"))), "not in libtram.so"),
    (check_archive([HEADER], ARCHIVE), None),
    (check_archive([HEADER], ARCHIVE + "0000000000001118 T bus_open\n"), "bus_open is shown"),
    (check_archive([HEADER], ARCHIVE.replace("tram_two", "tram_t")), "tram_two is declared"),
    (check_needed("x", NEEDED.format("libc.so.6") + NEEDED.format("ld-linux-x86-64.so.2")), None),
    (check_needed("x", NEEDED.format("libc.so")), None),
    (check_needed("x", NEEDED.format("libc.so.6") + NEEDED.format("libuv.so.1")), "libuv.so.1"),
    (check_needed("x", NEEDED.format("libcrypto.so.3")), "needs libcrypto.so.3"),
    (check_soname(NAMED.format("libtram.so.0")), None),
    (check_soname(NAMED.format("libtram.so.1")), "calls itself"),
    (check_soname(""), "calls itself"),
    (check_names({"libtram.so.0.1.0"}, NAMES, "0.1.0"), None),
    (check_names({"libtram.so.0.1.0"}, NAMES, "0.1.1"), "there is no libtram.so.0.1.1"),
    (check_names({"libtram.so.0.1.0"}, {"libtram.so": "libtram.so.0.1.0"}, "0.1.0"), "by way of"),
    (check_size(MAX_LIBRARY), None),
    (check_size(MAX_LIBRARY + 1), "153601 bytes"),
    (check_hardening("x", HARD), None),
    (check_hardening("x", HARD.replace(" RW ", " RWE ")), "executable"),
    (check_hardening("x", HARD.replace("BIND_NOW", "")), "writable"),
    (check_hardening("x", HARD.replace("GNU_RELRO", "")), "writable"),
    (check_hardening("x", HARD.replace("DYN", "EXEC")), "any address"),
    (check_hardening("x", HARD + " 0x016 (TEXTREL) 0x0\n"), "any address"),
    (check_path("x", NEEDED.format("libc.so.6")), None),
    (check_path("x", " 0x01d (RUNPATH)  Library runpath: [/opt]\n"), "a folder of its own"),
)


def check_samples():
    """Yields what the rules get wrong about the samples."""
    for number, (complaints, want) in enumerate(SAMPLES):
        got = list(complaints)
        if want is None and got:
            yield f"sample {number} is good, but: {got}"
        elif want and not any(want in complaint for complaint in got):
            yield f"sample {number}: '{want}' is missing in {got}"


def main():
    top = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    complaints = list(check_samples())
    if "--self-test" not in sys.argv and not complaints:
        build = os.environ.get("TRAM_BUILD") or os.path.join(top, "build")
        complaints = list(check_build(top, build))
    for complaint in complaints:
        print(complaint)
    print(f"library: {len(complaints)} complaints, {len(SAMPLES)} samples")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
