#!/usr/bin/env python3
# test: timeout=240 label=notsan
# (notsan: as hosts_test.py)
"""Files beside mirrors that somebody spoiled, on the host that a receiver leaves, or on the one
that it comes to: it moves all the same, and what others send to it comes, once and in order. Under
a sanitizer each third case (SPOILED_FIRST=0, 1, 2: which)."""

import json
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, all_know, test, until  # noqa: E402

BAD, GOOD = "1.0.0.2", "1.0.0.3"  # whose channel is spoiled, and one that is not
PAST_MAGIC = 0x545341504D415254
FIRST = int(os.environ.get("SPOILED_FIRST") or time.time())


def put(offset, size, value):
    def it(path):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(value.to_bytes(size, "little"))
    return it


def fill(value):
    """All words behind those that say what it is."""
    def it(path):
        with open(path, "r+b") as file:
            size = os.path.getsize(path) - 24
            file.seek(24)
            file.write(value.to_bytes(8, "little") * (size // 8))
    return it


def cut(size):
    return lambda path: os.truncate(path, size)


def instead(make):
    return lambda path: (os.unlink(path), make(path))


def fields():
    """What is made of any of the files: (name, what)."""
    yield "truncated to nothing", cut(0)
    yield "truncated", cut(20)
    yield "a hole", lambda path: (cut(0)(path), cut(8192)(path))
    yield "a FIFO", instead(os.mkfifo)
    yield "a directory", instead(os.mkdir)
    yield "a link to nothing", instead(lambda path: os.symlink("nothing", path))
    yield "a link to a file", instead(lambda path: os.symlink("lock", path))
    yield "another magic", put(0, 8, 77)
    yield "another version", put(8, 4, 77)
    yield "another sender", put(16, 4, 77)
    yield "another receiver", put(20, 4, 77)


def spoils():
    """(which file, name, what is made of it)"""
    for file in ("mirror", "past", "head", "from"):
        yield from ((file, *each) for each in list(fields())[::2 if file == "head" else 1])
    yield from (("mirror", f"copy {value:#x}", put(12, 4, value)) for value in (1, 1 << 31))
    yield from ((file, f"id {value:#x}", put(24, 8, value))
                for file in ("mirror", "head", "from") for value in (0, 1, (1 << 64) - 1))
    yield from (("past", f"all words {value:#x}", fill(value))
                for value in (1, 5000, (1 << 62) - 1, 1 << 63, (1 << 64) - 1))
    yield from (("past", f"word at {offset}", put(offset, 8, 1)) for offset in (32, 72, 80, 312))


def path_of(host, target, file):
    """Of what is between BAD and that node; a `past` is made if there is none."""
    path = os.path.join(host.dir, "default", target, f"{file}-{BAD}")
    if file == "past" and not os.path.lexists(path):
        words = [int.from_bytes(bytes(map(int, each.split("."))), "big") for each in (BAD, target)]
        with open(path, "wb") as out:
            out.write(struct.pack("<QIIII", PAST_MAGIC, 1, 0, *words).ljust(8192, b"\0"))
    return path


def arrived(host, source, target, count):
    def it():
        out, _, code = host.tram("trace", "--from", source, "--to", target, "--json", expect=None)
        return code == 0 and json.loads(out).get("arrived") == count
    return it


def read(host, target, got, until_text):
    """What the two sent, until GOOD's last is there. That BAD's channel is closed may be said."""
    def it():
        out, err, code = host.tram("recv", "--id", target, "--idle-exit", "20", "--json",
                                   expect=None)
        for message in map(json.loads, out.splitlines()):
            got[message["from"]].append(message["text"])
        assert code == 0 or (f"channel {BAD} to {target}" in err and "closed" in err), (code, err)
        return got[GOOD][-1:] == [until_text]
    until(it)


def spoiled(here, before, after):
    """Three messages of either sender wait for each of the nodes on a host, and there a file is
    spoiled; `before` and `after` that the node goes elsewhere, or comes there."""
    wanted = ["m 0", "m 1", "m 2"]
    cases = {f"1.1.0.{i}": each for i, each in enumerate(spoils())
             if SCALE == 1 or i % 3 == FIRST % 3}
    print(f"SPOILED_FIRST={FIRST % 3}")
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, host = hosts["b"], hosts[here]
        for target in cases:
            host.tram("recv", "--id", target, "--idle-exit", "0")
            for source in (BAD, GOOD):
                b.tram("send", "--from", source, "--to", target, given=b"m 0\nm 1\nm 2\n")
        for target in cases:
            for source in (BAD, GOOD):
                until(arrived(b, source, target, 3))
        before(hosts, cases)
        for target, (file, _, spoil) in cases.items():
            spoil(path_of(host, target, file))
        got = {target: {GOOD: [], BAD: []} for target in cases}
        for target in cases:
            read(hosts["a"], target, got[target], "m 2")
        after(hosts)
        for target, (file, name, _) in cases.items():
            b.tram("send", "--from", GOOD, "--to", target, given=b"m 3\n")
            read(hosts["a"], target, got[target], "m 3")
            good, bad = got[target][GOOD], got[target][BAD]
            assert good == [*wanted, "m 3"] and bad == wanted[:len(bad)], (file, name, good, bad)
        for each in hosts.hosts:  # nobody looks for what is not there again and again
            spent = used(each)
            cluster.select_sleep(0.5)
            assert used(each) - spent < 100 * SCALE, (each.name, used(each) - spent)


def used(host):
    """ms of the daemon."""
    with open(f"/proc/{host.daemon.pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e6


@test
def where_it_leaves():
    """The senders' host is cut off: what waits is to be had there only."""
    spoiled("c", lambda hosts, _: hosts["b"].cut(),
            lambda hosts: (hosts["b"].mend(), until(all_know(hosts.hosts))))


@test
def where_it_comes():
    """What lies there is from before it was taken from there."""
    def take_over(hosts, cases):
        for target in cases:
            hosts["c"].tram("takeover", target)
    spoiled("a", take_over, lambda hosts: None)


if __name__ == "__main__":
    cluster.run_tests()
