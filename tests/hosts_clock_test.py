#!/usr/bin/env python3
# test: timeout=60 label=notsan
# (notsan: the other tests of hosts are not run there, either)
"""A host whose wall clock is wrong, and is set while it runs: the tools of all hosts show by how
much, and nothing else notices: no connection ends, no node is lost, messages cross."""

import json
import os
import re
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, Feed, all_know, test, until  # noqa: E402

HOUR = 3600
NEAR = 100_000_000  # ns: what a busy machine may make of it


def preloaded(path):
    """A library that has the wall clock go ahead."""
    source = os.path.join(os.environ["TRAM_SRC"], "tests", "wall_ahead.c")
    done = subprocess.run([os.environ.get("TRAM_CC") or "cc", "-O2", "-shared", "-fPIC", "-o", path,
                           source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


class Wall:
    """What a daemon takes for the wall clock."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "ahead")
        self.library = preloaded(os.path.join(folder, "ahead.so"))
        self.set(0)

    def set(self, seconds):
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as file:
            file.write(struct.pack("=q", seconds))  # in place: it is mapped

    def environment(self):
        checks = os.environ.get("ASAN_OPTIONS", "")
        return {"LD_PRELOAD": self.library, "TRAM_WALL_AHEAD": self.path,
                "ASAN_OPTIONS": f"{checks}:verify_asan_link_order=0".lstrip(":")}


def offset(host, other):
    """The other's clock less its own, and how often they were connected."""
    link = next(link for link in host.json("links")["links"] if link["host"] == other)
    return link.get("clock_offset_ns"), link["connections"], link["up"]


def differs(host, other, seconds):
    def it():
        found = offset(host, other)[0]
        return found is not None and abs(found - seconds * 10**9) < NEAR * SCALE
    return it


@test
def a_wall_clock_that_is_set_is_seen_and_does_nothing_else():
    with Cluster(["a", "b", "c"]) as hosts:
        a, b, c = (hosts[name] for name in "abc")
        wall = Wall(hosts.dir)
        b.stop(signal.SIGTERM)
        wall.set(HOUR)
        b.start(**wall.environment())
        until(all_know(hosts.hosts))
        until(differs(a, "b", HOUR))
        until(differs(c, "b", HOUR))
        until(differs(b, "a", -HOUR))
        until(differs(a, "c", 0))
        into = b.run("tram", "recv", "--id", "1.0.0.2", "--count", "30", "--json",
                     stdout=subprocess.PIPE, text=True)
        feed = Feed(a, "1.0.0.1", "1.0.0.2")
        feed.more(10)
        before = [offset(host, "b")[1:] for host in (a, c)]
        for ahead in (-1000 * HOUR, 1000 * HOUR):
            wall.set(ahead)
            until(differs(a, "b", ahead))
            until(differs(c, "b", ahead))
            until(differs(b, "c", -ahead))
            feed.more(10)
        feed.end()
        got = [json.loads(line)["text"] for line in into.communicate(timeout=60 * SCALE)[0].split(
            "\n") if line]
        assert got == [f"message {i}" for i in range(30)], got
        assert [offset(host, "b")[1:] for host in (a, c)] == before, "a connection ended"
        assert before[0][1], before
        shown = [float(ms) for ms in re.findall(r"clock (\S+) ms", a.tram("links")[0])]
        assert any(abs(ms / 1000 - 1000 * HOUR) < 1 for ms in shown), shown


cluster.run_tests()
