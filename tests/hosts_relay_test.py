#!/usr/bin/env python3
# test: timeout=180 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""Events across hosts, as network namespaces: each crosses the link once, however many want it;
through daemons that are killed and cables that are pulled each subscriber has each once, in order,
and is told what it missed; and a host that somebody took can't make another hold what it likes."""

import glob
import json
import os
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
import stranger  # noqa: E402
from cluster import Cluster, all_know, rest, test, until  # noqa: E402
from stranger import field, fixed  # noqa: E402


class Publisher:
    """Its events are numbers, with so many bytes behind."""

    def __init__(self, host, fill=180):
        self.count = 0
        self.fill = "." * fill
        self.process = host.run("tram", "pub", "svc://news", "1", stdin=subprocess.PIPE)
        until(lambda: "news" in host.tram("ls", "services", expect=None)[0])

    def more(self, count):
        lines = "".join(f"{self.count + i + 1} {self.fill}\n" for i in range(count))
        self.count += count
        self.process.stdin.write(lines.encode())
        self.process.stdin.flush()


class Subscriber:
    def __init__(self, host, *args):
        self.last = self.count = self.missed = 0
        self.wrong = None
        self.process = host.run("tram", "sub", "--json", *args, "svc://news",
                                stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            number = int(event["text"].split()[0])
            if number != self.last + 1 + event["missed"] and self.last and not self.wrong:
                self.wrong = f"after {self.last} and {event['missed']} missed comes {number}"
            self.last = number
            self.missed += event["missed"]
            self.count += 1

    def has(self, number):
        def is_there():
            return self.last >= number

        until(is_there, 60)
        assert not self.wrong, self.wrong
        assert self.count + self.missed == number, (self.count, self.missed, number)
        assert self.process.poll() is None


def reading(host):
    """How many read the copy of a ring there."""
    count = 0
    for name in glob.glob(os.path.join(host.dir, "default/events/*@*")):
        with open(name, "rb") as file:
            count += file.read(32)[24:] != bytes(8)
    return count


def bytes_out(host):
    return sum(link["bytes_out"] for link in host.json("links")["links"])


@test
def eight_cost_what_one_does():
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        publisher = Publisher(b)
        subscribers, spent = [], []
        for count in (1, 8):
            subscribers += [Subscriber(a) for _ in range(count - len(subscribers))]
            until(lambda n=count: reading(a) == n)
            before = bytes_out(b)
            publisher.more(2000)
            for subscriber in subscribers:
                until(lambda s=subscriber: s.last == publisher.count)
                assert not subscriber.wrong, subscriber.wrong
            spent.append(bytes_out(b) - before)
        print(f"bytes of 2000 events: to one {spent[0]}, to eight {spent[1]}", flush=True)
        assert spent[0] > 2000 * 180, spent
        assert spent[1] <= spent[0] * 1.1, spent
        assert all(s.missed == 0 for s in subscribers)


@test
def nothing_is_lost_or_comes_twice():
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        publisher = Publisher(b)
        subscribers = [Subscriber(a), Subscriber(a), Subscriber(a, "--durable", "stays")]
        until(lambda: reading(a) == 3)

        def cable(seconds):
            a.cut()
            publisher.more(100)
            rest(seconds)
            a.mend()

        def both():
            a.stop()
            publisher.more(100)
            b.restart()
            a.start()

        for turn in range(10):
            publisher.more(200)
            (a.restart, b.restart, lambda: cable(0.2), both, lambda: cable(1.5))[turn % 5]()
            publisher.more(200)
            if turn % 2:
                rest(0.1)
        for subscriber in subscribers:
            subscriber.has(publisher.count)
            assert subscriber.missed == 0, subscriber.missed


@test
def what_is_lost_is_counted():
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        publisher = Publisher(b, fill=980)
        subscribers = [Subscriber(a), Subscriber(a, "--durable", "stays")]
        until(lambda: reading(a) == 2)
        publisher.more(10)
        for subscriber in subscribers:
            subscriber.has(10)
        for harm, mend in ((a.cut, a.mend), (a.stop, a.start)):
            missed = [subscriber.missed for subscriber in subscribers]
            harm()
            publisher.more(10000)  # more than twice the ring
            until(lambda: publisher_rests(b, publisher))
            mend()
            publisher.more(10)
            for subscriber, before in zip(subscribers, missed):
                subscriber.has(publisher.count)
                assert subscriber.missed > before


def publisher_rests(host, publisher):
    """All of them are in its ring: the number of the newest stands at its tail."""
    name, = (n for n in glob.glob(os.path.join(host.dir, "default/events/*")) if "@" not in n)
    with open(name, "rb") as file:
        tail, *counts = struct.unpack_from("<3Q", file.read(512), 256)
    return counts[tail & 1] == publisher.count


# ---- a host that somebody took ----------------------------------------------------------------

class Events:
    """What somebody who has taken a host says of an endpoint there."""

    def __init__(self, taken, node, port):
        self.taken = taken
        self.of = fixed(1, 4, node) + fixed(2, 4, port)

    def say(self, kind, body):
        self.taken.say(stranger.CONTROL, body=field(kind, body))

    def relaying(self, ring, capacity):
        self.say(42, self.of + field(3, 1 << 32) + fixed(4, 8, ring) + field(5, capacity))

    def events(self, ring, *events):
        self.say(43, self.of + fixed(3, 8, ring) + b"".join(field(4, event) for event in events))


def event(number, data=b"x" * 16, flags=0, extra=0, left=0, size=0, offset=0, passed=0):
    return (field(1, number) + field(2, passed) + field(3, 1) + field(4, flags) + field(5, extra) +
            field(7, left) + field(8, size) + field(9, offset) + field(10, data))


def copy_of(host):
    name, = (n for n in glob.glob(os.path.join(host.dir, "default/events/*-*")) if "@" not in n)
    return name


@test
def what_a_host_can_make_another_hold():
    """DEADLINE is flag 1 (docs/PROTOCOL.md): what is left of it, 8 bytes."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        publisher = Publisher(c)
        subscriber = Subscriber(b)
        until(lambda: reading(b) == 1)
        publisher.more(10)
        subscriber.has(10)
        before = os.stat(copy_of(b))
        node, port = os.path.basename(copy_of(b)).split("-")
        taken = stranger.Taken(c, b)
        says = Events(taken, int.from_bytes(bytes(map(int, node.split("."))), "big"), int(port, 16))
        assert taken.heard()

        def is_taken():
            says.relaying(100, 1 << 32)  # 4 GiB
            assert taken.heard()
            return os.stat(copy_of(b)).st_ino != before.st_ino

        until(is_taken)
        began = time.monotonic()
        for ring in range(101, 300):  # another one each time
            says.relaying(ring, 1 << 32)
        assert taken.heard()
        assert os.stat(copy_of(b)).st_size < 65 << 20
        with open(copy_of(b), "rb") as file:
            ring, = struct.unpack_from("<Q", file.read(32), 24)
        assert ring == 100 or time.monotonic() - began > 0.9, ring  # others came too soon
        for left in (0, (1 << 63) - 1, 1):
            for old in (-1 << 63, -1, (1 << 63) - 1):
                says.events(ring, event(1 + left % 3, struct.pack("<qq", old, 0), 1, 8, left))
        says.events(ring, event(9, size=(1 << 32) - 1), event(10, size=1 << 20),
                    event(10, size=1 << 20, offset=4096), event(11, passed=(1 << 32) - 1),
                    event((1 << 62) - 1), event(12))
        for turn in range(100):  # what waits has an end
            says.events(ring, *(event(20 + turn * 64 + i, bytes(600)) for i in range(64)))
        assert taken.heard()
        says.events(ring, event(0))
        assert not taken.heard()  # such one ends the link
        assert "an event that can be none" in b.said()
        assert b.daemon.poll() is None and "runtime error" not in b.said()
        taken.process.kill()
        taken.process.wait()
        c.start()
        until(all_know(hosts.hosts))
        # who reads the ring that is not named any more stays there; who comes gets all
        assert subscriber.last == 10 and not subscriber.wrong, subscriber.last
        other = Subscriber(b)
        until(lambda: other.process.poll() is None and reading(b) == 2)
        publisher.more(10)
        until(lambda: other.last == 20)
        assert (other.count, other.missed, other.wrong) == (10, 0, None), vars(other)


if __name__ == "__main__":
    cluster.run_tests()
