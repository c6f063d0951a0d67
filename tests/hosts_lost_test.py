#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""Hosts that lose their memory: all processes of one die at a moment, its bus directory is wiped,
and it comes back, while nodes on the others go on. What the oracle knows:

    receiver's host   everything comes, in order; what comes again is marked, and nothing that its
                      sender's host knew to be consumed comes again
    sender's host     what had arrived comes once, unmarked; what comes is where its order began,
                      and nothing but its end is missing; if something is, the channel was counted
                      as cut short wherever it was known that more was waiting

    LOST_SEED=N, LOST_ROUNDS=N      (make soak)
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, Feed, all_know, test, until  # noqa: E402

SEED = int(os.environ.get("LOST_SEED") or time.time())
ROUNDS = int(os.environ.get("LOST_ROUNDS") or 6)
OPENS = int(os.environ.get("LOST_OPENS") or 30)
TARGET = "1.0.0.9"


class Reader:
    """Receivers of TARGET, one after the other; what all of them were handed."""

    def __init__(self, host, path):
        self.host, self.path = host, path
        self.start()

    def start(self):
        with open(self.path, "ab") as file:
            self.process = self.host.run("tram", "recv", "--id", TARGET, "--count", "1000000",
                                         "--json", stdout=file, stderr=subprocess.DEVNULL)

    def alive(self):
        if self.process.poll() is not None:  # who opens may be refused while hosts meet
            self.start()

    def got(self):
        """(from, number, marked) of each; a line that its death cut is none."""
        found = []
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                found.append((message["from"], int(message["text"].split()[1]),
                              message["redelivered"] > 0))
        return found

    def has(self, source, number):
        def it():
            self.alive()
            return any(m[:2] == (source, number) for m in self.got())
        return it


def traced(host, source, **wanted):
    def it():
        out, _, code = host.tram("trace", "--from", source, "--to", TARGET, "--json", expect=None)
        seen = json.loads(out) if code == 0 else {}
        return seen if all(seen.get(key) == value for key, value in wanted.items()) else None
    return it


def check(got, source, count):
    """All of `count` came, in order; what came again was marked."""
    newest = -1
    before = None
    for number, marked in [(m[1], m[2]) for m in got if m[0] == source]:
        assert marked or number > newest, f"{source}: {number} came again, unmarked"
        assert number <= newest + 1, f"{source}: {number} after {newest}"
        assert before is None or number == before + 1 or (marked and number <= newest), \
            f"{source}: {number} after {before}, newest {newest}"
        newest = max(newest, number)
        before = number
    assert newest == count - 1, f"{source}: {newest + 1} came of {count}"


@test
def receivers_host_loses_its_memory():
    dice = random.Random(SEED)
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        c = hosts["c"]
        reader = Reader(c, os.path.join(hosts.dir, "got"))
        feeds = [Feed(hosts["a"], "1.0.0.1", TARGET), Feed(hosts["b"], "1.0.0.2", TARGET, size=300)]
        for feed in feeds:
            feed.more(10)
        for feed in feeds:
            until(reader.has(feed.source, 9))
            until(traced(feed.host, feed.source, consumed=10))
        for turn in range(ROUNDS):
            if turn % 3 == 0:  # at rest: nothing that was consumed may come again
                seen = reader.got()
                cluster.lose(c)
                reader.start()
                for feed in feeds:
                    feed.more(20)
                for feed in feeds:
                    until(reader.has(feed.source, feed.count - 1))
                again = set(m[:2] for m in reader.got()[len(seen):]) & set(m[:2] for m in seen)
                assert not again, f"consumed, and came again: {sorted(again)}"
            else:
                for feed in feeds:
                    feed.more(dice.randrange(1, 2000))
                cluster.select_sleep(dice.random() * 0.03 * SCALE)
                cluster.lose(c)
                reader.start()
            for feed in feeds:
                feed.more(20)
                until(reader.has(feed.source, feed.count - 1))
                until(traced(feed.host, feed.source, consumed=feed.count))
        for feed in feeds:
            feed.end()
            check(reader.got(), feed.source, feed.count)
        marked = sum(m[2] for m in reader.got())
        print(f"seed {SEED}: {sum(f.count for f in feeds)} messages, {marked} came marked")


def short(host, name):
    """Channels from there that were cut short, as that host knows."""
    return next(link["cut_short"] for link in host.json("links")["links"] if link["host"] == name)


def narrow(host, act):
    """Its cable takes 2 Mbit/s, or all again."""
    words = ["tbf", "rate", "2mbit", "burst", "8kb", "latency", "50ms"] if act == "add" else []
    return subprocess.run(host.inside("tc", "qdisc", act, "dev", "eth0", "root", *words),
                          check=False, capture_output=True).returncode == 0


@test
def senders_host_loses_its_memory():
    dice = random.Random(SEED + 1)
    lives = []  # of the sender: its first number, that behind its last, how many came for sure
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = (hosts[name] for name in "abc")
        reader = Reader(c, os.path.join(hosts.dir, "got"))
        other = Feed(a, "1.0.0.1", TARGET)  # another host's, and nobody's loss
        expected = 0
        for turn in range(ROUNDS):
            feed = Feed(b, "1.0.0.2", TARGET, lives[-1][1] if lives else 0, size=1000)
            first = feed.count
            other.more(50)
            feed.more(20)
            until(reader.has(feed.source, feed.count - 1))  # this life is connected
            sure = feed.count
            if turn % 3 == 0:  # all has come
                feed.more(300)
                sure = feed.count
                until(reader.has(feed.source, feed.count - 1))
            elif turn % 3 == 1 and narrow(b, "add"):  # most of it can't have come
                feed.more(2000)
                until(reader.has(feed.source, sure + 50))
                sure += 50
                expected += 1
            else:
                feed.more(dice.randrange(1, 3000))
                cluster.select_sleep(dice.random() * 0.02 * SCALE)
            cluster.lose(b)
            narrow(b, "del")
            until(all_know(hosts.hosts))
            lives.append((first, feed.count, sure))
            if turn % 3 != 2:
                assert short(c, "b") == expected, (turn, short(c, "b"), expected)
            expected = short(c, "b")
        feed = Feed(b, "1.0.0.2", TARGET, lives[-1][1])
        feed.more(10)
        lives.append((lives[-1][1], feed.count, feed.count))
        other.more(10)
        until(reader.has(feed.source, feed.count - 1))
        until(reader.has(other.source, other.count - 1))
        got = reader.got()
        check(got, other.source, other.count)
        assert not any(m[2] for m in got), "marked, though the receiver lived on"
        came = [m[1] for m in got if m[0] == "1.0.0.2"]
        wanted = []
        for first, last, sure in lives:
            count = sum(first <= number < last for number in came)
            assert first + count >= sure, f"{sure - first - count} lost that had come"
            wanted += range(first, first + count)
        assert came == wanted, "not each life's beginning, in order, once"
        assert expected == 0 or "was cut short: what had not come is lost" in c.said()
        print(f"seed {SEED}: {lives[-1][1] - len(came)} of {lives[-1][1]} were lost with their "
              f"sender's host, {expected} channels cut short")


def read_later(losing, first):
    """D ran on c; what b sends it then crosses, and waits there. D is opened on host `first`, and
    all of it comes there, unmarked."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        path = os.path.join(hosts.dir, "got")
        reader = Reader(c, path)
        feed = Feed(b, "1.0.0.2", TARGET)
        feed.more(5)
        until(reader.has(feed.source, 4))
        until(traced(b, feed.source, consumed=5))
        reader.process.send_signal(signal.SIGTERM)
        reader.process.wait()
        feed.more(10)
        until(traced(b, feed.source, arrived=15, waiting=10))
        if losing:
            cluster.lose(b)
            until(all_know(hosts.hosts))
        after = Reader(hosts[first], path)
        until(after.has(feed.source, 14))
        check(after.got(), feed.source, 15)
        assert not any(m[2] for m in after.got()), "marked, though nobody had it in hand"


@test
def what_had_crossed_is_read_on_the_host_that_it_lies_on():
    """Its sender's host lost its memory."""
    read_later(losing=True, first="c")


@test
def what_had_crossed_goes_with_its_receiver():
    """Its sender's host lost its memory, and the receiver moves."""
    read_later(losing=True, first="a")


@test
def what_had_crossed_comes_on_the_host_that_its_receiver_moves_to():
    """Its sender's host lives."""
    read_later(losing=False, first="a")


@test
def who_opens_while_its_bus_becomes_a_host_is_placed_there():
    """Both begin at once, as after each start of a machine."""
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        b = hosts["b"]
        for turn in range(OPENS):
            b.stop()
            shutil.rmtree(b.dir)
            os.mkdir(b.dir, 0o700)
            b.start()
            cluster.select_sleep(turn % 10 * 0.0005 * SCALE)
            node = f"1.0.1.{turn}"
            process = b.run("tram", "recv", "--id", node, "--count", "1",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

            def placed():
                if process.poll() is not None:
                    return True
                out, _, code = b.tram("ls", "--json", expect=None)
                return code == 0 and any(n["id"] == node and n.get("host") == "b"
                                         for n in json.loads(out)["nodes"])

            until(placed)
            if process.poll() is None:
                process.kill()
                process.wait()
            else:  # it came too early for the directory, and was told so
                assert process.returncode != 0
            process.stdout.close()
            process.stderr.close()


if __name__ == "__main__":
    cluster.run_tests()
