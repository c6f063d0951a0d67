#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,noO0
"""What the C++ header costs, read from the compiler's output at -O2: a send is the call of
tram_send() with its arguments, an ID that is written as text is a number, and the rest allocates,
throws and branches no more than the C that one would write. x86-64 only."""

import os
import re
import shutil
import subprocess
import sys

SRC = os.environ["TRAM_SRC"]
CODE = r"""
#include <tram/tram.hpp>
using namespace tram::literals;
#define F extern "C" __attribute__((noinline))
F int do_send(tram::node &node, const char *data, std::size_t size) {
    return node.send("1.0.0.2"_id, tram::bytes(data, size), 7).code();
}
F bool do_text(tram::node &node) { return node.send("200.100.0.22"_id, "hello").ok(); }
F int do_pass(tram::node &node, tram::bytes b, tram::id to, unsigned tag) {
    auto status = node.send(to, b, tag, tram::nowait | tram::more);
    return status ? status.staged() : status.code();
}
F int do_vector(tram::node &node, tram::bytes a, tram::bytes b) {
    return node.send("1.0.0.2"_id, {a, b}).code();
}
F std::size_t do_recv(tram::node &node) { return node.recv()->size(); }
F unsigned do_batch(tram::node &node) {
    unsigned sum = 0;
    for (auto &message : node.recv_batch<16>(std::chrono::milliseconds(5)))
        sum += message.tag();
    return sum;
}
F void do_claim(tram::node &node) {
    if (auto claim = node.claim("1.0.0.2"_id, 8)) {
        claim->data()[0] = std::byte{1};
        (void) claim->commit(1);
    }
}
"""
# Function: the calls in it, in any order; and how many instructions it may have.
WANT = {
    "do_send": (["tram_send"], 16),
    "do_text": (["tram_send"], 14),
    "do_pass": (["tram_send"], 20),
    "do_vector": (["tram_sendv"], 40),
    "do_recv": (["tram_recv"], 16),
    "do_batch": (["tram_recv_batch"], 40),
    "do_claim": (["tram_claim", "tram_commit", "tram_abort", "tram_abort"], 60),
}
STEPS = ("__stack_chk_fail",)


def functions(assembly):
    for name, body in re.findall(r"^(do_\w+):[^\n]*$(.*?)^\s*\.size\s+\1", assembly, re.M | re.S):
        lines = [line.split("#")[0].strip() for line in body.splitlines()]
        code = [line for line in lines if line and not line.startswith(".") and line[-1] != ":"]
        calls = [re.sub(r"@PLT.*|\(.*", "", line.split()[1].lstrip("*")) for line in code
                 if line.startswith(("call", "jmp")) and not line.split()[1].startswith(".")]
        yield name, [call for call in calls if call not in STEPS], len(code)


def main():
    compilers = [name for name in ("g++", "clang++") if shutil.which(name)]
    if not compilers or os.uname().machine != "x86_64":
        print("skipped: a C++ compiler for x86-64 is needed")
        return 77
    wrong = 0
    for compiler in compilers:
        for standard in ("17",):  # in which the compiler may do as it likes; 20 says more
            command = [compiler, f"-std=c++{standard}", "-O2", "-DNDEBUG", "-fno-exceptions",
                       "-fno-rtti", "-fno-stack-protector", "-Wall", "-Wextra", "-Wpedantic",
                       "-Wconversion", "-Werror", "-I", os.path.join(SRC, "include"), "-x", "c++",
                       "-", "-S", "-o", "-"]
            found = {name: (calls, size) for name, calls, size in functions(subprocess.run(
                command, input=CODE, check=True, capture_output=True, text=True).stdout)}
            for name, (want, limit) in WANT.items():
                calls, size = found.get(name, ([], 0))
                if not calls or set(calls) - set(want) or len(calls) > len(want) or size > limit:
                    wrong += 1
                    print(f"{compiler} C++{standard} {name}: {size} instructions (limit {limit}), "
                          f"calls {calls}, wanted {want}")
    print(f"{len(WANT)} functions, {', '.join(compilers)}, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
