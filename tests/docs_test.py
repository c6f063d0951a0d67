#!/usr/bin/env python3
# test: timeout=180 label=noasan,notsan
"""The texts against the code and against each other: links, offsets, limits, programs; and the
Chinese README against the English one.

    tests/docs_test.py                 first the rules on texts that were spoilt, then the texts
    tests/docs_test.py --self-test     the former only

A rule is a function that takes the files (path → text) and yields what is wrong. noasan, notsan:
nothing here depends on how the library was built.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import rules  # noqa: E402

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def code_blocks(text):
    """Text between fences: (first line of the fence, content)."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)


def without_code(text):
    return re.sub(r"^```[^\n]*\n.*?^```$", "", text, flags=re.M | re.S)


# --- Rules ----------------------------------------------------------------------------------------

def anchors(text):
    """What a '#…' may lead to."""
    heads = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def index(files):
    """The table in README.md leads to each text."""
    for path in files:
        if path.startswith("docs/") and f"]({path})" not in files["README.md"]:
            yield f"README.md: does not lead to {path}"


FOLDERS = "(?:src|tests|docs|tools|examples|demo|bench|include|man|completion)"


def links(files):
    for path, text in files.items():
        if not path.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            where = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            if not os.path.exists(os.path.join(TOP, where)):
                yield f"{path}: there is no {target}"
            elif anchor and anchor not in anchors(files.get(where, "")):
                yield f"{path}: {where} has no #{anchor}"
        for name in re.findall(rf"`({FOLDERS}/[\w./-]*\w)`", without_code(text)):
            if not re.search(r"[A-Z]{4}", name) and not os.path.exists(os.path.join(TOP, name)):
                yield f"{path}: there is no {name}"


STRUCTS = {"4": "door", "5": "stream", "6": "record", "7": "head"}


def offsets(files):
    """The tables of docs/SEGMENT.md have the offsets that src/ring/layout.h asserts."""
    want = {(struct, field): offset for struct, field, offset in re.findall(
        r"offsetof\(struct (\w+), (\w+)\) == (\d+)", files["src/ring/layout.h"])}
    have = {}
    for section in files["docs/SEGMENT.md"].split("\n## ")[1:]:
        struct = STRUCTS.get(section[0]) if section[1] == "." else None
        tables = section.split("| offset in the body |")
        for name, text in ((struct, tables[0]), ("extension", tables[1] if tables[1:] else "")):
            for offset, field in re.findall(r"^\| (\d+) \| `(\w+)", text, re.M):
                have[(name, field)] = offset
    for (struct, field), offset in want.items():
        if (struct, field) == ("head", "to"):
            continue # beside `from`, in one line
        if have.get((struct, field)) != offset:
            yield (f"docs/SEGMENT.md: {struct}.{field} is at {have.get((struct, field))}, "
                   f"in the code at {offset}")
    for (struct, field), offset in have.items():
        if (struct, field) not in want and offset != "0" and struct:
            yield f"docs/SEGMENT.md: the code says nothing of {struct}.{field} at {offset}"


HEADER, PAGE, README = "include/tram/tram.h", "man/man3/tram_open.3", "README.md"

# (file, its line; then file and what has to stand there). Who changes a limit finds here who tells.
LIMITS = (
    ("src/node/node.h", "DEFAULT_RING (UINT64_C(4) << 20)", HEADER, "0: 4 MiB", PAGE, "0: 4 MiB",
     "man/man5/tram_layout.5", "4 MiB", "docs/LAYOUT.md", "4 MiB", "docs/FROM.md", "(4 MiB)",
     "docs/TUTORIAL.md", "4 MiB unless"),
    ("src/node/node.h", "DEFAULT_RING_MAX (UINT64_C(1) << 30)", HEADER, "0: 1 GiB", PAGE,
     "0: 1 GiB", README, "has up to 1 GiB"),
    ("src/node/node.h", "DEFAULT_KEEP UINT64_C(65536)", HEADER, "0: 64 KiB", PAGE, "0: 64 KiB",
     README, "`keep` (64 KiB)", "docs/SEGMENT.md", "64 KiB unless told"),
    ("src/node/node.h", "DEFAULT_SPIN_NS 20000", HEADER, "(20 µs)", PAGE, "0: 20 \\(mcs"),
    ("src/node/node.h", "DEFAULT_ATTEMPTS 5u", HEADER, "0: 5", PAGE, "0: 5", README,
     "after five it is set aside", "man/man7/tram.7", "after five it is", "docs/TUTORIAL.md",
     "dies five times", "man/man1/tram-recv.1", "5 without it"),
    ("src/node/node.h", "ASIDE_MAX 1024u", HEADER, "up to 1024 of them", README,
     "1024 can be set aside per node", "docs/SEGMENT.md", "A node keeps 1024",
     "man/man3/tram_aside.3", "up to 1024"),
    ("src/node/node.h", "INS_MAX 8192u", HEADER, "8192 nodes send to this one",
     "man/man3/tram_recv.3", "8192 nodes send to this one"),
    ("src/node/node.h", "WATCHERS_MAX 1024u", "docs/SEGMENT.md", "1024 watchers at most"),
    ("src/node/node.h", "INS_MAX 8192u", HEADER, "8192 nodes send to this one", README,
     "8192 nodes can send to one", "man/man3/tram_recv.3", "8192 nodes send"),
    ("src/ring/layout.h", "LAYOUT_WINDOW 512u", HEADER, "512 messages of a sender", README,
     "512 messages of one sender", "man/man3/tram_recv.3", "512 messages of a sender",
     "man/man1/tram-recv.1", "At most 512", "docs/TUTORIAL.md", "Up to 512"),
    ("src/ring/layout.h", "LAYOUT_BITS 512u", "docs/SEGMENT.md", "`bits`: 512"),
    ("src/ring/layout.h", "LAYOUT_DATA 65536u", "docs/SEGMENT.md", "65536 + capacity"),
    ("src/ring/layout.h", "LAYOUT_VERSION 2u", "docs/SEGMENT.md", "`version` is 2."),
    ("src/ring/layout.h", "STREAM_MIN 65536u", HEADER, "64 KiB to 4 GiB", PAGE,
     "64 KiB to 4 GiB", "docs/LAYOUT.md", "`64K` to `4G`"),
    ("src/ring/layout.h", "STREAM_MAX (UINT64_C(1) << 32)", HEADER, "up to 4 GiB", README,
     "`ring_max`: 4 GiB"),
    ("src/node/layout.c", "LAYOUT_FILE_MAX (UINT64_C(1) << 20)", "docs/LAYOUT.md", "At most 1 MiB",
     "man/man5/tram_layout.5", "At most 1 MiB"),
    ("src/node/open.c", "CUSTODY_WAIT (2 * SYS_SECOND)", HEADER, "within two seconds", PAGE,
     "within two seconds", "docs/SEGMENT.md", "at most two seconds"),
    ("src/node/node.h", "REMOVER_WAIT (5 * SYS_SECOND)", HEADER, "within five seconds",
     "man/man3/tram_send.3", "within five seconds", "docs/SEGMENT.md", "five seconds at most"),
    ("src/node/wait.c", "RELOOK_LAST (30 * SYS_SECOND)", README, "two, four … thirty",
     "docs/SEGMENT.md", "then 2, 4 … 30 s", "man/man7/tram.7", "four \\&... thirty"),
)


def limits(files):
    for source, line, *told in LIMITS:
        code = re.sub(r"[ ]+", " ", files[source])
        if f"#define {line}\n" not in code and f"#define {line} " not in code:
            yield f"{source}: not '{line}'; who tells of it: {', '.join(told[::2])}"
        for path, text in zip(told[::2], told[1::2], strict=True):
            if text not in re.sub(r"\s+(\* )?", " ", files[path]):
                yield f"{path}: '{text}' is not there; {source} has {line}"


def programs(files):
    """What docs/FROM.md shows of others compiles, where they are installed."""
    compiler = os.environ.get("TRAM_CC") or "cc"
    include = ["-I", os.path.join(TOP, "include"), "-isystem", "/usr/include/iceoryx/v2.0.3"]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TRAM_DIR")) as folder:
        path = os.path.join(folder, "x.c")
        for language, text in code_blocks(files["docs/FROM.md"]):
            headers = re.findall(r"#include <([^>]+)>", text)
            with open(path, "w", encoding="utf-8") as file:
                file.write("".join(f"#if !__has_include(<{name}>)\n#define MISSING\n#endif\n"
                                   for name in headers))
                file.write(f"#ifndef MISSING\n{text}\n#else\nint missing;\n#endif\n")
            told = subprocess.run(
                [*compiler.split(), "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                 "-fsyntax-only", *include, path], capture_output=True, text=True, check=False)
            if language != "c" or told.returncode != 0:
                yield f"docs/FROM.md: a program does not compile:\n{told.stderr}"


def chinese(files):
    """README.zh-CN.md says the same in the same order: blocks, headings, tables, links, numbers."""
    english, other = files["README.md"], files["README.zh-CN.md"]
    if code_blocks(english) != code_blocks(other):
        yield "README.zh-CN.md: its code blocks are not those of README.md"
    texts = [without_code(text) for text in (english, other)]
    for text, name in zip(texts, ("README.zh-CN.md", "README.md"), strict=True):
        if f"]({name})" not in text.split("\n## ")[0]:
            yield f"one README does not lead to {name}"
    parts = [re.split(r"^(?=#+ )", text, flags=re.M) for text in texts]
    levels = [[re.match(r"#*", part)[0] for part in some] for some in parts]
    if levels[0] != levels[1]:
        heads = [len(some) for some in levels]
        yield f"README.zh-CN.md: other headings: {heads[1] - 1}, README.md has {heads[0] - 1}"
        return
    for one, two in zip(*parts, strict=True):
        head = one.split("\n")[0]
        for what, pattern in (("rows of tables", r"^\|"), ("items", r"^- "),
                              ("bold words", r"\*\*[^*]+\*\*")):
            counts = [len(re.findall(pattern, part, re.M)) for part in (one, two)]
            if counts[0] != counts[1]:
                yield f"README.zh-CN.md: {head}: {counts[1]} {what}, README.md has {counts[0]}"
        for what, pattern in (("link", r"\]\(([^)#\s]+)\)"), ("code", r"`([^`\n]+)`"),
                              ("number", r"(?<![\w.])\d[\d.,]*\d|(?<![\w.])\d")):
            have = [sorted(re.findall(pattern, re.sub(r"\s*\n\s*", " ", part)))
                    for part in (one, two)]
            ignored = {"README.md", "README.zh-CN.md"}
            for item in sorted(set(have[0]) ^ set(have[1])):
                if item not in ignored:
                    which = "is missing" if item in have[0] else "is not in README.md"
                    yield f"README.zh-CN.md: {head}: the {what} {item} {which}"


RULES = (index, links, offsets, limits, programs, chinese)

# (file, what is replaced, by what, part of the complaint)
SPOILT = (
    ("README.md", "](docs/TUTORIAL.md)", "](docs/FROM.md)", "does not lead to docs/TUTORIAL.md"),
    ("README.md", "](docs/LAYOUT.md)", "](docs/LAYOUTS.md)", "there is no docs/LAYOUTS.md"),
    ("HACKING.md", "`tests/tidy_test.py`", "`tests/untidy_test.py`", "no tests/untidy_test.py"),
    ("docs/SEGMENT.md", "| 264 | `accepted", "| 272 | `accepted", "stream.accepted is at 272"),
    ("src/ring/layout.h", "(struct head, handed) == 280", "(struct head, handed) == 288",
     "head.handed is at 280"),
    ("docs/SEGMENT.md", "| 328 | `gone`", "| 332 | `more` |\n| 328 | `gone`", "of door.more"),
    ("src/node/node.h", "DEFAULT_ATTEMPTS 5u", "DEFAULT_ATTEMPTS 6u", "not 'DEFAULT_ATTEMPTS 5u'"),
    ("include/tram/tram.h", "0: 64 KiB", "0: 32 KiB", "'0: 64 KiB' is not there"),
    ("docs/FROM.md", "tram_close(node);", "tram_shut(node);", "a program does not compile"),
    ("README.zh-CN.md", "hello, world", "你好", "code blocks"),
    ("README.zh-CN.md", "\n## ", "\n### ", "other headings"),
    ("README.zh-CN.md", "](README.md)", "](HACKING.md)", "does not lead to README.md"),
    ("README.zh-CN.md", "\n- ", "\n", "items, README.md has"),
    ("README.zh-CN.md", "`-ENOSPC`", "`-ENOMEM`", "the code -ENOSPC is missing"),
    ("README.zh-CN.md", "65,530", "65,536", "the number 65,536 is not in README.md"),
    ("README.md", "](docs/RATIONALE.md)", "](docs/TESTING.md)", "link docs/RATIONALE.md is not in"),
)


def read_tree():
    files = {}
    for folder in ("", "docs", "src/node", "src/ring", "include/tram", "man/man1", "man/man3",
                   "man/man5", "man/man7"):
        for name in os.listdir(os.path.join(TOP, folder)):
            if name.endswith((".md", ".h", ".c")) or folder.startswith("man"):
                with open(os.path.join(TOP, folder, name), encoding="utf-8") as file:
                    files[os.path.join(folder, name)] = file.read()
    return files


if __name__ == "__main__":
    sys.exit(rules.main("docs", RULES, SPOILT, read_tree(),
                        lambda rule, path: rule is not programs or path == "docs/FROM.md"))
