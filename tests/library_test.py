#!/usr/bin/env python3
# test: timeout=60 label=noasan,notsan
"""What is built: the names, symbols, versions, needs and size of the shared libraries, what
libtram.a shows, and that these and the programs are linked as distributions want it.
(Sanitizers add of their own.)

    tests/library_test.py               first the rules on bad samples, then the build
    tests/library_test.py --self-test   the samples only
"""

import os
import re
import subprocess
import sys
import tempfile

KIB = 1024

# Library → its limit in bytes, stripped, as packages have it; what it may need; its package, or
# what it shows, if that is in no header.
LIBRARIES = {
    "libtram": (150 * KIB, (), "libtram0"),
    "libtram-service": (600 * KIB, ("libtram.so.0", "libuv.so.1", "libprotobuf-c.so.1"),
                        "libtram-service0"),
    "libtram-tls": (150 * KIB, ("libssl.so.3", "libcrypto.so.3"), ("tram_tls_maker",)),
}
BUILT_IF = {"libtram-service": "TRAM_SERVICE", "libtram-tls": "TRAM_TLS"}


def library_of(header):
    """Which library has what is declared in a header of include/tram."""
    own = header == "tram.h" or header.endswith(".hpp")
    return "libtram" if own else "libtram-service"


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


def check_exports(headers, nm_output, library="libtram"):
    want = set().union(*(declared(header) for header in headers))
    have = exported(nm_output)
    for name in sorted(want - set(have)):
        yield f"{name} is declared in include/tram, but {library}.so does not show it"
    for name in sorted(set(have) - want):
        yield f"{name} is shown by {library}.so, but declared in no header of include/tram"


def check_versions(nm_output, place, want, library="libtram"):
    """The library's symbols have the versions that `place` says, and there are no others."""
    have = exported(nm_output)
    for name in sorted(set(have) | set(want)):
        if have.get(name) != want.get(name):
            yield (f"{name}: {have.get(name, 'not')} in {library}.so, "
                   f"{want.get(name, 'not')} in {place}")


def check_archive(headers, nm_output):
    want = set().union(*(declared(header) for header in headers))
    for name in sorted(set(exported(nm_output)) - want):
        yield f"{name} is shown by libtram.a: a program can't have a function of this name"
    for name in sorted(want - set(exported(nm_output))):
        yield f"{name} is declared in include/tram, but not in libtram.a"


def check_needed(what, readelf_output, further=()):
    for name in re.findall(r"\(NEEDED\)[^\[]*\[([^\]]+)\]", readelf_output):
        if not re.match(r"(libc|ld-linux[\w-]*)\.so(\.|$)", name) and name not in further:
            yield f"{what} needs {name}; it may need {', '.join(('libc',) + further)} only"


def check_soname(readelf_output, library="libtram"):
    found = re.findall(r"\(SONAME\)[^\[]*\[([^\]]+)\]", readelf_output)
    if found != [f"{library}.so.0"]:
        yield f"{library}.so calls itself {found}, not {library}.so.0"


def check_names(entries, links, version, library="libtram"):
    """`links`: name → what it points to."""
    real = f"{library}.so.{version}"
    soname = f"{library}.so.0"
    if real not in entries:
        yield f"there is no {real}"
    if links.get(soname) != real or links.get(f"{library}.so") != soname:
        yield f"{library}.so does not lead to {real} by way of {soname}: {links}"


def check_size(size, library="libtram"):
    limit = LIBRARIES[library][0]
    if size > limit:
        yield f"{library}.so, stripped, has {size} bytes; the limit is {limit}"


def check_hardening(what, readelf_output):
    """Of readelf -hldW."""
    if not re.search(r"GNU_STACK(\s+0x\w+){5} RW ", readelf_output):
        yield f"{what}: its stack is executable, or nothing is said about it"
    if "GNU_RELRO" not in readelf_output or "BIND_NOW" not in readelf_output:
        yield f"{what}: the linker's tables stay writable"
    if "(TEXTREL)" in readelf_output or not re.search(r"Type:\s+DYN ", readelf_output):
        yield f"{what}: does not run at any address"


def check_path(what, readelf_output):
    """libtram-service.so finds libtram.so beside it in the build; installing takes that out."""
    paths = re.findall(r"\((?:RPATH|RUNPATH)\)[^\[]*\[([^\]]*)\]", readelf_output)
    if any(path.strip(":") != "$ORIGIN" for path in paths):
        yield f"{what}: looks for libraries in a folder of its own"


# --- The build ------------------------------------------------------------------------------------


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def check_library(top, build, name):
    include = os.path.join(top, "include", "tram")
    headers = [read(include, header) for header in sorted(os.listdir(include))
               if library_of(header) == name]
    folder = os.path.join(build, "lib")
    library = os.path.join(folder, f"{name}.so")
    _, further, package = LIBRARIES[name]
    symbols = output("nm", "-D", "--defined-only", library)
    places = [(f"src/{name}.map", mapped)]
    if isinstance(package, str):
        places.append((f"debian/{package}.symbols", listed))
    else:
        headers = [f"TRAM_API int {symbol}(void);" for symbol in package]
    yield from check_exports(headers, symbols, name)
    for place, reader in places:
        yield from check_versions(symbols, place, reader(read(top, place)), name)
    archive = os.path.join(folder, f"{name}.a")
    if os.path.exists(archive):
        yield from check_archive(headers, output("nm", "-g", "--defined-only", archive))

    entries = os.listdir(folder)
    links = {entry: os.readlink(os.path.join(folder, entry)) for entry in entries
             if os.path.islink(os.path.join(folder, entry))}
    version = output(os.path.join(top, "tools", "version.sh")).strip()
    yield from check_names(entries, links, version, name)

    about = output("readelf", "-hldW", library)
    yield from check_soname(about, name)
    yield from check_needed(f"{name}.so", about, further)
    yield from check_path(f"{name}.so", about)
    yield from check_hardening(f"{name}.so", about)
    if "CMAKE_BUILD_TYPE:STRING=Release" in read(build, "CMakeCache.txt"):
        with tempfile.NamedTemporaryFile(dir=build) as stripped:
            output("strip", "--strip-unneeded", "-o", stripped.name, library)
            yield from check_size(os.path.getsize(stripped.name), name)


def check_build(top, build):
    for name in LIBRARIES:
        if os.environ.get(BUILT_IF.get(name, "")) != "OFF":
            yield from check_library(top, build, name)
    for program in ("tram", "tramd"):
        path = os.path.join(build, "bin", program)
        if os.path.exists(path):
            yield from check_hardening(program, output("readelf", "-hldW", path))


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
    (check_needed("x", NEEDED.format("libuv.so.1"), ("libuv.so.1",)), None),
    (check_needed("x", NEEDED.format("libuv.so.2"), ("libuv.so.1",)), "needs libuv.so.2"),
    (check_soname(NAMED.format("libtram-service.so.0"), "libtram-service"), None),
    (check_soname(NAMED.format("libtram.so.0"), "libtram-service"), "calls itself"),
    ([library_of("worker.h")], "libtram-service"),
    ([] if library_of("tram.hpp") == "libtram" else ["the C++ header is of libtram"], None),
    (check_soname(NAMED.format("libtram.so.0")), None),
    (check_soname(NAMED.format("libtram.so.1")), "calls itself"),
    (check_soname(""), "calls itself"),
    (check_names({"libtram.so.0.1.0"}, NAMES, "0.1.0"), None),
    (check_names({"libtram.so.0.1.0"}, NAMES, "0.1.1"), "there is no libtram.so.0.1.1"),
    (check_names({"libtram.so.0.1.0"}, {"libtram.so": "libtram.so.0.1.0"}, "0.1.0"), "by way of"),
    (check_size(150 * KIB), None),
    (check_size(150 * KIB + 1), "153601 bytes"),
    (check_hardening("x", HARD), None),
    (check_hardening("x", HARD.replace(" RW ", " RWE ")), "executable"),
    (check_hardening("x", HARD.replace("BIND_NOW", "")), "writable"),
    (check_hardening("x", HARD.replace("GNU_RELRO", "")), "writable"),
    (check_hardening("x", HARD.replace("DYN", "EXEC")), "any address"),
    (check_hardening("x", HARD + " 0x016 (TEXTREL) 0x0\n"), "any address"),
    (check_path("x", NEEDED.format("libc.so.6")), None),
    (check_path("x", " 0x01d (RUNPATH)  Library runpath: [/opt]\n"), "a folder of its own"),
    (check_path("x", " 0x01d (RUNPATH)  Library runpath: [$ORIGIN:]\n"), None),
    (check_path("x", " 0x01d (RUNPATH)  Library runpath: [$ORIGIN:/opt]\n"), "of its own"),
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
