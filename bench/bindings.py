#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a message costs in C, C++ and Python: one thread that sends 1000 messages of 32 bytes and
receives them, again and again, so that nothing but the calls is measured. The ways take turns in
each round; the best round of each counts, and only their ratios mean anything.

    TRAM_BUILD=build bench/bindings.py [ROUNDS]

With cffi (python3-cffi and a compiler) that is measured, too, as the binding might have used it."""

import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("TRAM_BUILD", os.path.join(TOP, "build")))
LIBRARY = os.path.join(BUILD, "lib", "libtram.so")
COUNT = 1000

C = """
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tram/tram.%s>
static long now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000L + ts.tv_nsec;
}
int main(void) {
    static char copy[64], bytes[32];
    %s
    for (;;) {
        long a = now(), b, c;
        if (getchar() != '\\n')
            return 0;
        a = now();
        for (int i = 0; i < %d; i++)
            %s;
        b = now();
        for (int i = 0; i < %d; i++) {
            %s;
        }
        c = now();
        printf("%%ld %%ld\\n", b - a, c - b);
        fflush(stdout);
    }
}
"""
IN_C = ("h", """tram_node *left, *right; struct tram_msg msg;
    if (tram_open("c", TRAM_ID(1, 0, 0, 1), NULL, &left) < 0 ||
        tram_open("c", TRAM_ID(1, 0, 0, 2), NULL, &right) < 0)
        return 1;""", COUNT,
        "tram_send(left, TRAM_ID(1, 0, 0, 2), 0, bytes, sizeof bytes, 0)", COUNT,
        "tram_recv(right, &msg, 0); memcpy(copy, msg.data, msg.size)")
IN_CPP = ("hpp", """using namespace tram::literals;
    auto left = *tram::node::open("cpp", "1.0.0.1"_id);
    auto right = *tram::node::open("cpp", "1.0.0.2"_id);""", COUNT,
          '(void) left.send("1.0.0.2"_id, tram::bytes(bytes, sizeof bytes))', COUNT,
          "auto msg = right.recv(tram::at_once); memcpy(copy, msg->data().data(), msg->size())")

CFFI_TYPES = """
typedef struct tram_node tram_node;
struct tram_msg { const void *data; size_t size; uint32_t from; uint32_t tag; uint64_t seq;
                  uint64_t stream; uint64_t time_ns; uint32_t attempt; uint32_t reserved;
                  uint8_t layer[16]; };
int tram_open(const char *bus, uint32_t id, void *options, tram_node **ret_node);
int tram_send(tram_node *, uint32_t to, uint32_t tag, const char *data, size_t size,
              uint32_t flags);
int tram_recv(tram_node *, struct tram_msg *ret_msg, int64_t timeout_ns);
"""


def program(folder, name, compiler, parts):
    source, binary = (os.path.join(folder, name + end) for end in ("", ".bin"))
    with open(source, "w", encoding="utf-8") as file:
        file.write(C % parts)
    subprocess.run([*compiler, "-O2", "-I", os.path.join(TOP, "include"), source, LIBRARY,
                    "-Wl,-rpath," + os.path.dirname(LIBRARY), "-o", binary], check=True)
    process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn():
        process.stdin.write("\n")
        process.stdin.flush()
        return [int(word) for word in process.stdout.readline().split()]
    return turn


def timed(send, receive):
    def turn():
        a = time.perf_counter_ns()
        send()
        b = time.perf_counter_ns()
        receive()
        return b - a, time.perf_counter_ns() - b
    return turn


def binding(tram, data=b"x" * 32):
    left, right = tram.Node("python", "1.0.0.1"), tram.Node("python", "1.0.0.2")

    def send():
        for _ in range(COUNT):
            left.send("1.0.0.2", data)

    def stage():
        for _ in range(COUNT):
            left.send("1.0.0.2", data, more=True)
        left.flush()

    def receive():
        for _ in range(COUNT):
            right.recv()

    def batches():
        count = 0
        while count < COUNT:
            count += len(right.recv_batch(64))

    def held():
        for _ in range(COUNT):
            with right.recv(hold=True) as message:
                message.view

    buffer = memoryview(bytearray(32))

    def buffers():
        for _ in range(COUNT):
            left.send("1.0.0.2", buffer)

    def claims():
        for _ in range(COUNT):
            with left.claim("1.0.0.2", 32) as claim:
                claim.view[:] = data
                claim.commit()
    return {"Python": timed(send, receive), "  more=True; recv_batch(64)": timed(stage, batches),
            "  a memoryview; hold=True, view": timed(buffers, held),
            "  claim, view, commit": timed(claims, batches)}


def with_cffi(folder, data=b"x" * 32):
    import cffi
    maker = cffi.FFI()
    maker.cdef(CFFI_TYPES)
    maker.set_source("_tram_cffi", "#include <tram/tram.h>", libraries=["tram"],
                     include_dirs=[os.path.join(TOP, "include")],
                     library_dirs=[os.path.dirname(LIBRARY)],
                     runtime_library_dirs=[os.path.dirname(LIBRARY)])
    maker.compile(tmpdir=folder)
    sys.path.insert(0, folder)
    from _tram_cffi import ffi, lib
    ends = []
    for i in (1, 2):
        node = ffi.new("tram_node **")
        assert lib.tram_open(b"cffi", 1 << 24 | i, ffi.NULL, node) == 0
        ends.append(node[0])
    left, right = ends
    msg = ffi.new("struct tram_msg *")

    def send():
        for _ in range(COUNT):
            if lib.tram_send(left, 1 << 24 | 2, 0, data, len(data), 0) < 0:
                raise OSError

    def receive():
        for _ in range(COUNT):
            if lib.tram_recv(right, msg, 0) < 0:
                raise OSError
            (bytes(ffi.buffer(msg.data, msg.size)), getattr(msg, "from"), msg.tag, msg.seq,
             msg.stream, msg.time_ns, msg.attempt, bytes(ffi.buffer(msg.layer)))
    return {"(cffi, API mode, no classes)": timed(send, receive)}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="tram-bench-", dir="/dev/shm") as folder:
        os.environ.update(TRAM_DIR=folder, TRAM_LIBRARY=LIBRARY)
        sys.path.insert(0, os.path.join(TOP, "bindings", "python"))
        import tram
        ways = {"C": program(folder, "a.c", ["cc"], IN_C),
                "C++": program(folder, "a.cpp", ["c++", "-std=c++17"], IN_CPP), **binding(tram)}
        try:
            ways.update(with_cffi(folder))
        except ImportError:
            print("no cffi here: left out", file=sys.stderr)
        best = {name: [10**12, 10**12] for name in ways}
        for _ in range(rounds):
            for name, turn in ways.items():
                best[name] = [min(pair) for pair in zip(best[name], turn())]
        print(f"{'ns per message of 32 bytes':34} send receive")
        for name, (send, receive) in best.items():
            print(f"{name:34} {send / COUNT:4.0f} {receive / COUNT:7.0f}")


if __name__ == "__main__":
    main()
