#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: three daemons take minutes there)
"""A host that somebody took says on its link what no daemon says: what is others' stays theirs."""

import contextlib
import json
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
import stranger  # noqa: E402
from cluster import Cluster, all_know, test, until  # noqa: E402
from stranger import Taken, field, fixed  # noqa: E402

SCALE = cluster.SCALE
NODE = 0x01000007
LOST = (1 << 64) - 2  # what a copy says of its origin


def give(taken, node, epoch, entered):
    body = struct.pack("<BIBB", 0x0D, node, 0x10, epoch)  # Frame { give { id, epoch, … } }
    if entered:
        body += b"\x18\x01"
    taken.say(stranger.CONTROL, body=b"\x8a\x02" + bytes([len(body)]) + body)


def receive(host, count):
    return host.run("tram", "recv", "--id", "1.0.0.7", "--count", str(count), "--json",
                    stdout=subprocess.PIPE, text=True)


def texts(process):
    out, _ = process.communicate(timeout=60 * SCALE)
    return [json.loads(line)["text"] for line in out.splitlines()]


@test
def a_channel_that_waits_takes_nothing_with_it():
    """It is for two nodes that have one already, whose mirror is drained."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(b, 3)
        a.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.7", given=b"x\n")
        until(lambda: "1.0.0.1" in b.tram("ls", expect=None)[0])
        taken = Taken(c, b)
        for serial in range(1, 21):
            taken.say(stranger.OPEN, 0, serial,
                      struct.pack("<IIQQQQQQ", 0x01000001, NODE, 99, 0, 0, 0, 1 << 40, 1))
            answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
            assert answer == stranger.LATER, answer
            taken.say(stranger.CLOSE, 0, serial, struct.pack("<II", stranger.ENDED, 0))
        a.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.7", given=b"y\nz\n")
        assert texts(into) == ["x", "y", "z"]


@test
def who_asks_for_what_is_known_diverts_nothing():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")
        a.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")  # b gives it up
        into = receive(a, 3)
        b.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"x\n")
        until(lambda: "1.0.0.2" in a.tram("ls", expect=None)[0])
        taken = Taken(c, b)
        for entered in (True, False):
            for epoch in range(1, 5):
                give(taken, NODE, epoch, entered)
        assert taken.heard()
        for source in ("1.0.0.2", "1.0.0.3"):  # the latter anew
            b.tram("send", "--from", source, "--to", "1.0.0.7", given=b"y\n")
        assert texts(into) == ["x", "y", "y"]


@test
def senders_that_nobody_knows_are_forgotten():
    """The directory is asked for each, up to ids-each; what is closed leaves nothing."""
    with Cluster(["a", "b", "c"], extra="ids-each = 50") as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")
        taken = Taken(c, b)
        for n in range(200):
            taken.say(stranger.OPEN, n, n + 1,
                      struct.pack("<IIQQQQQQ", 0x02000001 + n, NODE, 99, 0, 0, 0, 1, 1))
        for n in range(200):
            answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
            assert answer == stranger.LATER, answer
        b.tram("recv", "--id", "1.0.0.8", "--idle-exit", "1")
        for n in range(200):
            taken.say(stranger.CLOSE, n, n + 1, struct.pack("<II", stranger.ENDED, 0))
        until(lambda: sum(map(int, re.findall(r"(\d+) senders that nobody", b.said()))) == 200)
        assert b.said().count("joined the directory") == 1
        assert hosts["a"].said().count("asks for more IDs than ids-each") == 1


@test
def what_was_said_before_a_node_left_and_came_back_is_not_taken():
    """An OPEN says in which epoch its receiver is; what it says was handed out is as old."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        for host in (b, a, b):
            host.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")
        taken = Taken(c, b)
        for epoch, wanted in ((1, stranger.AWAY), (2, stranger.AWAY), (3, stranger.LATER)):
            taken.say(stranger.OPEN, 0, epoch,
                      struct.pack("<IIQQQQQQ", 0x02000001, NODE, 99, 0, 0, 0, 1, epoch))
            answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
            assert answer == wanted, (epoch, answer)


@test
def who_says_that_it_has_a_copy_is_not_believed():
    """Only who had the receiver before, and said so when it gave it up, has copies."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(b, 2)
        a.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"mine\n")
        taken = Taken(c, b)
        taken.say(stranger.OPEN, 0, 1,
                  struct.pack("<IIQQQQQQ", 0x01000008, NODE, 99, 0, 5, 5, 0, 1))
        answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
        assert answer == stranger.STALE, answer
        taken.say(stranger.OPEN, 0, 2,
                  struct.pack("<IIQQQQQQ", 0x01000008, NODE, 98, 0, 5, 5, LOST, 1))
        answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
        assert answer == stranger.STALE, answer
        a.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"mine, too\n")
        assert texts(into) == ["mine", "mine, too"]


@test
def a_copy_is_taken_from_no_host_that_could_not_have_had_the_receiver():
    """Not even if nobody knows which hosts had it, and nobody has what it brings."""
    with Cluster(["a", "b", "c"], hosts={"c": ["allow-ids = 1.3.0.0/16"]}) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        a.tram("recv", "--id", "1.0.0.7", "--idle-exit", "0")
        b.tram("takeover", "1.0.0.7")
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "0")
        taken = Taken(c, b)
        taken.say(stranger.OPEN, 0, 1,
                  struct.pack("<IIQQQQQQ", 0x01000008, NODE, 99, 0, 5, 5, LOST, 9))
        answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
        assert answer == stranger.STALE, answer
        lie = os.listdir(os.path.join(b.dir, "default", "1.0.0.7"))
        assert not [name for name in lie if name.startswith(("past-", "mirror-"))], lie


@test
def who_says_that_it_has_copies_has_nothing_noted():
    """Of streams that nobody knows: of each sender that is asked for, a file would be left."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")
        taken = Taken(c, b)
        for n in range(200):
            for channel, epoch in ((n, 1), (1000, 0)):  # the first one waits, and stays
                taken.say(stranger.OPEN, channel, n + 1,
                          struct.pack("<IIQQQQQQ", 0x02000001 + n, NODE, 99, 0, 0, 0, epoch, 1))
                answer, = struct.unpack_from("<I", taken.hear(stranger.REFUSED))
                assert answer == (stranger.LATER if epoch else stranger.PAST), answer
        lie = os.listdir(os.path.join(b.dir, "default", "1.0.0.7"))
        assert not [name for name in lie if name.startswith("past-")], lie


@test
def a_copy_with_more_than_was_sent_spoils_nothing():
    """Who had the receiver says that its copy has more than the sender ever sent: when the sender's
    host is there again, what it really sent comes."""
    with Cluster(["a", "b", "c"], server="b") as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        c.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")
        feed = cluster.Feed(a, "1.0.0.1", "1.0.0.7")
        feed.more(3)
        c.tram("recv", "--id", "1.0.0.7", "--count", "1")
        a.cut()
        into = receive(b, 7)
        where = os.path.join(b.dir, "default", "1.0.0.7")
        streams = []

        def comes():
            with contextlib.suppress(FileNotFoundError):
                with open(os.path.join(where, "mirror-1.0.0.1"), "rb") as file:
                    streams[:] = struct.unpack_from("<Q", file.read(), 24)
            return streams

        until(comes)  # drained, it may go
        stream, = streams
        taken = Taken(c, b)
        number, = (h["number"] for h in b.json("hosts")["hosts"] if h["name"] == "c")
        with open(os.path.join(where, "past-1.0.0.1"), "r+b") as file:  # as if c had said so
            file.seek(312)
            file.write(struct.pack("<QQQ", stream, 1000, number))
        taken.say(stranger.OPEN, 0, 1,
                  struct.pack("<IIQQQQQQ", 0x01000001, NODE, stream, 1, 1000, 1000, 0, 9))
        accepted, = struct.unpack_from("<Q", taken.hear(stranger.STATE))
        assert accepted == 3, accepted
        taken.say(stranger.DATA | taken.turn << 16, 0, 1, struct.pack("<QQ", 4, 0) + b"".join(
            struct.pack("<QIIIIII8s", n, 8, 0, 0x01000001, 0, 0, 0, b"forged %d" % (n - 4))
            for n in (4, 5)))
        assert taken.heard()
        a.mend()
        until(lambda: "it is mirrored anew" in b.said())
        feed.more(3)
        assert texts(into) == ["message 1", "message 2", "forged 0", "forged 1", "message 3",
                               "message 4", "message 5"]


def names(*some, first=0, last=0):
    return field(32, b"".join(field(1, one) for one in some) + field(2, first) + field(3, last))


def name(text, order, gone=0):
    return (field(1, text) + fixed(5, 4, 0x03000001) + field(6, 1) + fixed(7, 4, 1) +
            field(9, order) + field(10, gone))


@test
def orders_without_a_next_one_do_no_harm():
    """Of two names that come with the last order there is, the second would have order 0."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]

        def there():
            return b.tram("ls", "services", expect=None)[0]

        taken = Taken(c, b)
        last = (1 << 64) - 1
        taken.say(stranger.CONTROL, body=names(name(b"x", last), name(b"y", last), first=1, last=1))
        assert taken.heard() and "x@c" in there() and "y@c" in there(), there()
        server = b.run("tram", "pub", "svc://own", "1", stdin=subprocess.PIPE)
        until(lambda: "own" in there())
        taken.say(stranger.CONTROL, body=names(name(b"y", 0, 1), name(b"x", 0, 1)))
        until(lambda: "x@c" not in there() and "y@c" not in there())
        assert "own" in there() and server.poll() is None, there()
        server.stdin.close()
        until(lambda: "own" not in there())
        assert b.daemon.poll() is None and "runtime error" not in b.said(), b.said()


@test
def many_names_are_taken_in_no_time():
    """Each is looked up among all: a daemon that reads them does nothing else meanwhile."""
    count = 10000 // SCALE  # (a taken host sends no heartbeat)
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        b = hosts["b"]

        def took(taken, gone=0, first=0, last=0):
            with open(f"/proc/{b.daemon.pid}/schedstat", encoding="ascii") as file:
                before = int(file.read().split()[0])
            for at in range(0, count, 100):
                some = (name(b"x%d" % i, i + 1, gone) for i in range(at, at + 100))
                taken.say(stranger.CONTROL, body=names(*some, first=first and at == 0,
                                                       last=last and at == count - 100))
            assert taken.heard()
            with open(f"/proc/{b.daemon.pid}/schedstat", encoding="ascii") as file:
                return (int(file.read().split()[0]) - before) / 1e6

        def counted():
            return {h["name"]: h["names"] for h in b.json("hosts")["hosts"]}

        spent = []
        for host in "cd":  # the same names, with the same orders
            taken = Taken(hosts[host], b)
            spent.append(took(taken, first=1, last=1))
            spent.append(took(taken, first=1, last=1))  # again, as after a cut
        assert (counted()["c"], counted()["d"]) == (count, count), counted()
        spent.append(took(taken, gone=1))
        assert (counted()["c"], counted()["d"]) == (count, 0), counted()
        print(f"ms for {count} names: {spent}")
        assert max(spent) < 100 * SCALE, spent  # 10 here; 190 to 570 when all were compared


if __name__ == "__main__":
    cluster.run_tests()
