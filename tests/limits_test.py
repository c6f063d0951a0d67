#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=30 label=noasan,notsan
"""man/man7/tram_limits.7 against the sources: each constant, default, text and function in it.

    tests/limits_test.py                 first the rules on files that were spoilt, then the files
    tests/limits_test.py --self-test     the former only

A rule is a function that takes the files (path → text) and yields what is wrong. noasan, notsan:
nothing here depends on how the library was built.
"""

import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import rules  # noqa: E402

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE, HEADER = "man/man7/tram_limits.7", "include/tram/tram.h"
SERVICE = "include/tram/service.h"

CORE = ("src/sys/", "src/ring/", "src/node/")

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
         "µs": 1000, "ms": 1000000, "s": 1000000000}

# What is a limit, and so has to be in the page: constants of these names in src/ring and src/node …
LIMIT = re.compile(r"(DEFAULT_\w+|\w+_MAX|\w+_MIN|\w+_WAIT|RELOOK_\w+|TURN_\w+"
                   r"|LAYOUT_(GENERATIONS|WINDOW|BITS|END))")
# … but not these.
OTHERS = set()


def plain(text):
    for old, new in (("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\-", "-"), ("\\(mc", "µ"),
                     ("\\(aq", "'"), ("\\|", "")):
        text = text.replace(old, new)
    return re.sub(r"\s+", " ", text)


def constants(files):
    """name → value, of all numeric constants of the library's sources."""
    texts, values = {}, {}
    for path in sorted(files):
        if path.startswith(CORE) and not path.endswith("_test.c"):
            for name, value in re.findall(r"^#define (\w+) +(\S.*)$", files[path], re.M):
                texts.setdefault(name, value.split("/*")[0])

    def value_of(name, depth=0):
        text = re.sub(r"U?INT64_C\((\w+)\)", r"\1", texts[name])
        text = re.sub(r"\b(0x[0-9a-f]+|\d+)[uU]?[lL]*\b", r"\1", text).replace("/", "//")
        text = re.sub(r"\b[A-Z][A-Z_0-9]*\b", lambda word: str(value_of(word[0], depth + 1)), text)
        if depth > 4 or not re.fullmatch(r"[\w\s()+*/<>|-]+", text):
            raise KeyError(name)
        return int(eval(text, {"__builtins__": {}}))  # digits and operators only

    for name in texts:
        try:
            values[name] = value_of(name)
        except (KeyError, SyntaxError, NameError, TypeError):
            continue
    return values


# --- Rules ----------------------------------------------------------------------------------------

def values(files):
    """'NAME = 64 KiB' in the page is what the sources say."""
    real = constants(files)
    page = files[PAGE].replace("\n", " ")
    number = r"[\d.,]+ ?(?:[KMG]iB|\\\(mcs|m?s)?\b"
    for name, shown in re.findall(rf"\\fB([A-Z_]+)\\fR = ({number})", page):
        number, unit = re.fullmatch(r"([\d,]+?)[.,]? ?(\D*)", plain(shown).strip()).groups()
        value = int(number.replace(",", "")) * UNITS[unit]
        if name not in real:
            yield f"{PAGE}: there is no {name} in the sources"
        elif real[name] != value:
            yield f"{PAGE}: {name} is {real[name]} in the sources, not {value}"


def complete(files):
    """No limit is left out."""
    for name in constants(files):
        if LIMIT.fullmatch(name) and name not in OTHERS and name not in files[PAGE]:
            where = [path for path in files if f"#define {name} " in files[path]]
            if any(path.startswith(("src/ring/", "src/node/")) for path in where):
                yield f"{PAGE}: says nothing of {name}"


def texts(files):
    """What errors are quoted with is in the sources."""
    sources = " ".join(re.sub(r'"\s*\n\s*"', "", text) for path, text in files.items()
                       if path.startswith("src/"))
    for quoted in re.findall(r"\\\(lq([^\\]{12,}?)\\\(rq", plain(files[PAGE])):
        if quoted not in sources:
            yield f"{PAGE}: no error says '{quoted}'"


# (file, what stands there; in the page)
TOLD = (
    (HEADER, "up to 254", "up to 254"),
    (HEADER, "char text[240];", "239 bytes"),
    ("src/node/open.c", "options.attempts > 254", "up to 254"),
    ("src/node/open.c", "tries < 1000", "after 1000 tries"),
    ("src/node/files.c", "length > 63", "1 to 63 characters"),
    ("src/node/files.c", "char root_path[sizeof(bus.path) - 64];", "191 bytes"),
    ("src/node/files.h", "char path[256];", "191 bytes"),
    ("src/node/send.c", "count > IOV_MAX", "IOV_MAX"),
    ("src/ring/layout.h", "LAYOUT_END (UINT64_C(1) << 63)", "below 2^63"),
    ("src/ring/layout.h", "sizeof(struct record) == 32", "costs 32 bytes of the ring"),
    ("src/ring/layout.h", "sizeof(struct extension) == 24", "24 less"),
    ("src/sys/guard.c", "#define BLOCK 256u", "guards 262,144"),
    ("src/sys/guard.c", "#define BLOCKS 1024u", "guards 262,144"),
    ("src/service/server.c", "#define SESSIONS_MAX 4096u", "4,096 (sessions_max)"),
    ("src/service/client.c", "#define CALLS_DEFAULT 1024u", "calls_max: 1,024"),
    ("src/service/client.c", "#define QUEUE_DEFAULT (1u << 20)", "1 MiB of messages wait"),
    ("src/service/service.h", "#define CALLS_MAX 65536u", "1,024, up to 65,536"),
    ("src/service/service.h", "#define REQUESTS_MAX 4096u", "Of a node 4,096"),
    ("src/service/service.h", "#define REQUESTS_BYTES (UINT64_C(64) << 20)", "or 64 MiB of them"),
    ("src/service/service.h", "#define UNSENT_MAX (UINT64_C(16) << 20)", "16 MiB of answers"),
    ("src/service/service.h", "#define DEFAULT_WINDOW 16u", "16 parts under way"),
    ("src/service/service.h", "#define WINDOW_MAX 65536u", "(window), up to 65,536"),
    ("src/service/hold.c", "#define PASSED_COUNT 256", "256 messages of its node"),
    ("src/service/hold.c", "#define PASSED_BYTES 32768", "or 32 KiB"),
    ("src/service/hold.c", "#define WAITING_MAX (16u << 20)", "16 MiB in a worker"),
    ("src/worker/worker.h", "#define PARK_NS INT64_C(5000000000)", "wait for 5 s"),
    ("src/worker/internal.h", "#define COPIES_MAX (16u << 20)", "5 s, 16 MiB of them"),
    ("include/tram/worker.h", "more are -EAGAIN; 0: 1024", "1,024 wait in a worker"),
    ("src/service/publish.h", "#define SUBSCRIBERS_MAX 65536u", "65,536 of a server"),
    ("src/service/publish.h", "#define BACKLOG_MAX (UINT64_C(1) << 20)", "1 MiB wait for each"),
    ("src/service/publish.c", "#define TOPICS_MAX 4096u", "4,096 of a server"),
    ("src/service/publish.c", "#define VALUES_MAX 1u", "one value of each"),
    ("src/topic/topic.h", "#define TOPIC_MAX (UINT64_C(1) << 32)", "to 4 GiB"),
    ("src/wire/frame.h", "#define SOCKET_MAX (16u << 20)", "16 MiB, else -EMSGSIZE"),
    ("src/service/link_socket.h", "#define OUT_MAX (UINT64_C(1) << 20)", "1 MiB that it doesn't"),
    ("src/service/link_socket.h", "#define KEPT_MAX (UINT64_C(16) << 20)", "16 MiB that the app"),
    ("src/service/link_socket.h", "#define WAITING_MAX 512u", "512 connections"),
    ("src/service/link_socket.h", "#define HELLO_NS INT64_C(5000000000)", "each for 5 s"),
    ("src/service/server_socket.c", "#define HELD_MAX (UINT64_C(256) << 20)", "together 256 MiB"),
    ("src/service/socket_budget.c", "#define LITTLE (UINT64_C(128) << 10)", "more than 128 KiB"),
    ("src/service/server_socket.c", "#define SOCKETS_MAX 16", "up to 16 addresses"),
    ("src/wire/hosts.h", "#define HOSTS_MAX 4095u", "4,095 hosts"),
    ("src/wire/hosts.h", "#define HOSTS_NAME_MAX 63u", "up to 63 bytes"),
    ("src/wire/hosts.h", "#define HOSTS_ADDRESSES_MAX 16u", "up to 16 addresses"),
    ("src/daemon/settings.c", ".ids_each = 65536,", "65,536 (ids-each"),
    ("src/daemon/line.h", "#define LINE_QUEUE (UINT64_C(16) << 20)", "16 MiB wait for a host"),
    ("src/daemon/trace.c", "#define ASKED_MOST 64", "64 hosts are asked"),
    ("src/daemon/trace.c", "#define TIMEOUT INT64_C(2000000000)", "each for 2 s"),
    ("systemd/tramd.conf", "connections = 4096", "4,096 connections"),
    ("systemd/tramd.conf", "names = 16384", "16,384 names"),
    ("systemd/tramd.conf", "names-each = 4096", "4,096 and as many watches"),
    ("systemd/tramd.conf", "watches-each = 4096", "4,096 and as many watches"),
)


def told(files):
    page = plain(files[PAGE])
    for path, code, text in TOLD:
        if code not in re.sub(r"[ ]+", " ", files[path]):
            yield f"{path}: not '{code}' any more; {PAGE} has '{text}'"
        if text not in page:
            yield f"{PAGE}: '{text}' is not there; {path} has '{code}'"


def codes(files):
    """Errors that the header knows; the page is led to."""
    known = set(re.findall(r"-E[A-Z]+", files[HEADER] + files[SERVICE]))
    for code in sorted(set(re.findall(r"-E[A-Z]+", plain(files[PAGE]))) - known):
        yield f"{PAGE}: the header knows nothing of {code}"
    for path in ("man/man7/tram.7", "man/man3/tram_open.3"):
        if "tram_limits\\fR(7)" not in files[path].split(".SH SEE ALSO")[1]:
            yield f"{path}: does not lead to tram_limits(7)"
    if "tram_limits" not in files["README.md"]:
        yield "README.md: does not lead to tram_limits(7)"


RULES = (values, complete, texts, told, codes)

# (file, what is replaced, by what, part of the complaint)
SPOILT = (
    (PAGE, "= 8192.", "= 8193.", "INS_MAX is 8192"),
    (PAGE, "fBINS_MAX", "fBINNS_MAX", "no INNS_MAX"),
    (PAGE, "fBDEFAULT_SPIN_NS", "fBDEFAULT_SPUN_NS", "nothing of DEFAULT_SPIN_NS"),
    ("src/node/wait.c", "(30 * SYS_SECOND)", "(60 * SYS_SECOND)", "RELOOK_LAST is 60000000000"),
    ("src/ring/layout.h", "LAYOUT_WINDOW  512u", "LAYOUT_WINDOW  256u", "LAYOUT_WINDOW is 256"),
    ("src/node/node.h", "#define DEFAULT_KEEP", "#define MORE_MAX 3\n#define DEFAULT_KEEP",
     "nothing of MORE_MAX"),
    ("src/node/recv.c", "are in hand: release some", "are in hand", "no error says 'messages of"),
    ("src/node/open.c", "attempts > 254", "attempts > 255", "not 'options.attempts > 254'"),
    ("src/service/service.h", "REQUESTS_MAX       4096u", "REQUESTS_MAX 8192u",
     "not '#define REQUESTS_MAX 4096u'"),
    (PAGE, "191 bytes", "255 bytes", "'191 bytes' is not there"),
    (PAGE, "\\-EMLINK", "\\-EDOM", "nothing of -EDOM"),
    ("README.md", "tram_limits", "tram_limit", "does not lead to tram_limits(7)"),
)


def read_tree():
    files = {}
    names = [HEADER, SERVICE, PAGE, "README.md", "man/man7/tram.7", "man/man3/tram_open.3"]
    names += sorted({path for path, _, _ in TOLD} - set(names))
    for folder in ("sys", "ring", "node"):
        names += glob.glob(f"src/{folder}/*.[ch]", root_dir=TOP)
    for name in names:
        with open(os.path.join(TOP, name), encoding="utf-8") as file:
            files[name] = file.read()
    return files


if __name__ == "__main__":
    sys.exit(rules.main("limits", RULES, SPOILT, read_tree()))
