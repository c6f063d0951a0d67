#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: as hosts_test.py)
"""Receivers that move while what waits for them lies where they were, and maybe nowhere else: their
senders' host is cut off, or has lost its memory. Everything that had come there comes, once, in
order, unmarked; and what the senders' host still has goes on behind it.

    COPIES_SEED=N, COPIES_ROUNDS=N      (make soak)
"""

import glob
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import (SCALE, Cluster, Feed, all_know, receive, rest, test, texts,  # noqa: E402
                     until)

SEED = int(os.environ.get("COPIES_SEED") or time.time())
ROUNDS = int(os.environ.get("COPIES_ROUNDS") or 12)
TARGET = "1.0.0.9"
PATIENCE = 20 * SCALE


def read(host, count, patience=PATIENCE):
    """TARGET is opened there, and reads so many: (from, number, marked) of each."""
    end = time.monotonic() + patience
    while True:  # who opens may be refused while hosts meet
        process = host.run("tram", "recv", "--id", TARGET, "--count", str(count), "--json",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{host.name}: not {count} within {patience} s: {out}") from None
        if process.returncode == 0:
            break
        assert time.monotonic() < end and not out, (host.name, err, out)
    return [(m["from"], int(m["text"].split()[1]), m["redelivered"] > 0)
            for m in map(json.loads, out.splitlines())]


def knows(host, source, **wanted):
    def it():
        out, _, code = host.tram("trace", "--from", source, "--to", TARGET, "--json", expect=None)
        seen = json.loads(out) if code == 0 else {}
        return all(seen.get(key) == value for key, value in wanted.items())
    return it


def met(hosts):
    def it():
        for host in hosts:
            out, _, code = host.tram("links", "--json", expect=None)
            up = [link["host"] for link in json.loads(out)["links"] if link["up"]] if code == 0 \
                else []
            if not {other.name for other in hosts if other is not host} <= set(up):
                return False
        return True
    return it


def plain(source, numbers):
    return [(source, number, False) for number in numbers]


def marked(source, numbers):
    return [(source, number, True) for number in numbers]


def reads(host, wanted):
    """Opened there, TARGET reads this and nothing else."""
    got = read(host, len(wanted))
    assert got == wanted, f"{host.name}: read {got}, not {wanted}"


def ten_wait(b, c):
    """15 have crossed from b to c, where 5 were read."""
    feed = Feed(b, "1.0.0.2", TARGET)
    feed.more(15)
    reads(c, plain(feed.source, range(5)))
    until(knows(b, feed.source, arrived=15, waiting=10))
    return feed


def away(losing):
    """15 have crossed to c, where 5 were read; b is cut off. The rest is read on a, d, a and c."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c, d = (hosts[name] for name in "abcd")
        feed = ten_wait(b, c)
        b.cut()
        reads(a, plain(feed.source, range(5, 8)))
        reads(d, plain(feed.source, range(8, 11)))
        reads(a, plain(feed.source, range(11, 12)))
        if losing:
            b.mend()
            cluster.lose(b)
            until(all_know(hosts.hosts))
            feed = Feed(b, feed.source, TARGET, first=15)
            feed.more(5)
            reads(c, plain(feed.source, range(12, 13)))
            reads(d, plain(feed.source, range(13, 20)))
        else:
            reads(c, plain(feed.source, range(12, 15)))
            feed.more(5)
            b.mend()
            reads(d, plain(feed.source, range(15, 20)))
            until(knows(b, feed.source, consumed=20, waiting=0))
        assert lies(d, feed.source), "no mirror where it was last"
        for host in (a, c):  # no copy is left
            until(lambda host=host: not lies(host, feed.source), seconds=10)


def lies(host, source):
    """Does a mirror, or a copy, of that channel lie there?"""
    return glob.glob(os.path.join(host.dir, "**", TARGET, f"mirror-{source}"), recursive=True)


@test
def it_comes_though_the_senders_host_is_cut_off():
    away(losing=False)


@test
def it_comes_though_the_senders_host_lost_its_memory():
    away(losing=True)


@test
def daemons_die_meanwhile():
    """Those of all hosts where a copy lies, or goes to, after each step."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        b = hosts["b"]
        feed = Feed(b, "1.0.0.2", TARGET)
        feed.more(40)
        reads(hosts["c"], plain(feed.source, range(5)))
        until(knows(b, feed.source, arrived=40, waiting=35))
        b.cut()
        at = 5
        for turn, name in enumerate(("a", "d", "c", "d", "a")):
            reads(hosts[name], plain(feed.source, range(at, at + 5)))
            at += 5
            for each in "cd" if turn % 2 else "acd":
                hosts[each].stop()
            for each in "cd" if turn % 2 else "acd":
                hosts[each].start()
            until(met([hosts[each] for each in "acd"]))
        b.mend()
        until(all_know(hosts.hosts))
        reads(hosts["d"], plain(feed.source, range(at, 40)))


@test
def a_sender_leaves_messages_for_many():
    """For more than the directory has names of: "maybe any". Where they lie, and where it went,
    everything goes on; and they come."""
    targets = [f"1.1.0.{i}" for i in range(1, 71)]  # of 64 it has names
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = (hosts[name] for name in "abc")
        for target in targets:
            c.tram("recv", "--id", target, "--idle-exit", "0")
        c.cut()
        for target in targets:
            b.tram("send", "--from", "1.0.0.2", "--to", target, given=b"first\n")
        until(lambda: a.tram("recv", "--id", "1.0.0.2", "--idle-exit", "0", expect=None)[2] == 0)
        a.tram("send", "--from", "1.0.0.2", "--to", targets[0], given=b"second\n")
        c.mend()
        until(all_know(hosts.hosts))
        for target in reversed(targets):  # as long as it is "maybe any", "second" waits
            wanted = ["first", "second"][:2 if target == targets[0] else 1]
            out = c.tram("recv", "--id", target, "--count", str(len(wanted)))[0]
            assert [line.split()[-1] for line in out.splitlines()] == wanted, (target, out)
        for host in hosts.hosts:
            assert host.daemon.poll() is None, host.name


def taken_back(losing):
    """Taken over from c, where 10 wait, and back: who had them in between does not say what it
    read. b knows; if it does not any more, they come again, marked: all of them, if c was not told
    of it as one that has a copy."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = (hosts[name] for name in "abc")
        feed = ten_wait(b, c)
        a.tram("takeover", TARGET)
        got = [m[1] for m in read(a, 3)]
        assert got == [5, 6, 7], got
        until(knows(b, feed.source, consumed=8))
        if losing:
            cluster.lose(b)
            until(all_know(hosts.hosts))
        c.tram("takeover", TARGET)
        got = read(c, 7)
        first = got[0][1]
        assert 5 <= first <= 8 and (losing or first == 8), got
        got += read(c, 8 - first) if first < 8 else []
        assert got == marked(feed.source, range(first, 15)), got


@test
def taken_over_and_back():
    taken_back(losing=False)


@test
def taken_over_and_back_while_the_senders_host_loses_its_memory():
    taken_back(losing=True)


def gone(host, source):
    until(lambda: not lies(host, source), seconds=10)


@test
def what_only_a_fenced_host_has_comes():
    """c has 10 that wait, and is cut off; b, which sent them, loses its memory; a takes over."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = (hosts[name] for name in "abc")
        feed = ten_wait(b, c)
        c.cut()
        cluster.lose(b)
        until(met([a, b]))
        a.tram("takeover", TARGET)
        a.tram("recv", "--id", TARGET, "--idle-exit", "0")
        a.restart()  # that nobody told what c knows is noted
        c.mend()
        reads(a, marked(feed.source, range(5, 15)))
        gone(c, feed.source)


@test
def what_a_fenced_host_has_as_well_comes_once():
    """As before, but b has its memory, and all of them were consumed on a. d knows nothing of that,
    and c is back before b."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c, d = (hosts[name] for name in "abcd")
        feed = ten_wait(b, c)
        c.cut()
        a.tram("takeover", TARGET)
        reads(a, marked(feed.source, range(5, 15)))
        until(knows(b, feed.source, consumed=15))
        b.stop()
        d.tram("takeover", TARGET)
        c.mend()
        until(met([a, c, d]))
        feed.more(2)
        into = receive(d, TARGET, 2)
        rest(0.5)
        b.start()
        got = [(m["text"], m["redelivered"]) for m in texts(into)]
        assert got == [("message 15", 0), ("message 16", 0)], got


def copied(hosts):
    """What was read on c, and on d while b was cut off, lies on both; b has lost its memory."""
    until(all_know(hosts.hosts))
    b, c, d = (hosts[name] for name in "bcd")
    feed = ten_wait(b, c)
    b.cut()
    reads(d, plain(feed.source, range(5, 8)))
    b.mend()
    cluster.lose(b)
    until(all_know(hosts.hosts))
    assert lies(c, feed.source) and lies(d, feed.source), "no copy"
    return feed.source


@test
def a_copy_of_which_nobody_told_comes():
    """d knew of c's, and loses its memory; what is sent meanwhile comes behind it, though c is late
    with it."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        source = copied(hosts)
        c, d = hosts["c"], hosts["d"]
        cluster.lose(d)
        until(all_know(hosts.hosts))
        feed = Feed(hosts["b"], source, TARGET, first=15)
        feed.more(2)
        c.daemon.send_signal(signal.SIGSTOP)
        into = receive(d, TARGET, 9)
        until(lambda: d.has(TARGET))
        rest(0.3)
        c.daemon.send_signal(signal.SIGCONT)
        got = [(int(m["text"].split()[1]), m["redelivered"] > 0) for m in texts(into)]
        assert got == [(i, i < 15) for i in range(8, 17)], got
        gone(c, source)


@test
def a_copy_that_comes_late_comes_behind_what_was_sent():
    """And not only when the sender has ended."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        source = copied(hosts)
        c, d = hosts["c"], hosts["d"]
        c.cut()
        cluster.lose(d)
        until(met([hosts["a"], hosts["b"], d]))
        feed = Feed(hosts["b"], source, TARGET, first=15)
        feed.more(2)
        reads(d, plain(source, range(15, 17)))
        c.mend()
        reads(d, marked(source, range(8, 15)))
        feed.more(2)
        reads(d, plain(source, range(17, 19)))
        gone(c, source)


@test
def of_two_copies_of_which_nobody_told_each_message_comes_once():
    """One is there at once; the other one's host is fenced when it is back."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        source = copied(hosts)
        a, c, d = hosts["a"], hosts["c"], hosts["d"]
        d.cut()
        a.tram("takeover", TARGET)
        reads(a, marked(source, range(8, 12)))
        d.mend()
        until(all_know(hosts.hosts))
        reads(a, marked(source, range(12, 15)))
        gone(c, source)
        gone(d, source)


def in_order(got, lives):
    """What came of each life of a sender: its beginning, in order, once."""
    came = [number for _, number, _ in got]
    wanted = []
    for first, last, sure in lives:
        count = sum(first <= number < last for number in came)
        assert first + count >= sure, f"{first} to {last}: {count}, of {sure}: {came[-40:]}"
        wanted += range(first, first + count)
    assert came == wanted, f"not each life's beginning, in order, once: {came}"


@test
def wherever_it_moves_and_whoever_loses_its_memory():
    dice = random.Random(SEED)
    print(f"COPIES_SEED={SEED}")
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        b = hosts["b"]
        feed = Feed(b, "1.0.0.2", TARGET)
        feed.more(2)
        got, lives, first = read(hosts["c"], 1), [], 0
        for _ in range(ROUNDS):
            feed.more(dice.randrange(1, 30))
            crossed = len(got) >= first  # else it waits for what was sent in the life before
            if crossed:
                until(knows(b, feed.source, arrived=feed.count - first))
            what = dice.choice(("lose", "cut", "nothing")) if crossed else "nothing"
            if what == "cut":
                b.cut()
            elif what == "lose" and feed.count > len(got):
                cluster.lose(b)
                until(all_know(hosts.hosts))
                lives.append((first, feed.count, feed.count))
                first = feed.count
                feed = Feed(b, feed.source, TARGET, first=first)
                feed.more(1)
            for _ in range(dice.randrange(1, 4)):
                left = feed.count - len(got)
                if left == 0:
                    break
                count = dice.randrange(1, left + 1)
                got += read(hosts[dice.choice("acd")], count)
            if what == "cut":
                b.mend()
                until(all_know(hosts.hosts))
        feed.more(3)
        got += read(hosts["c"], feed.count - len(got))
        in_order(got, lives + [(first, feed.count, feed.count)])
        assert not any(m[2] for m in got), f"marked, though nobody had it in hand: {got}"


class Moving:
    """What a receiver that is taken over by dice has read, of how many."""

    def __init__(self, hosts):
        self.hosts, self.b = hosts, hosts["b"]
        self.feed = Feed(self.b, "1.0.0.2", TARGET)
        self.first, self.lost, self.got, self.here, self.away = 0, 0, [], "c", set()

    def there(self):
        return [self.hosts[name] for name in "abcd" if name not in self.away]

    def read(self, idle):
        """What there is, where it is now."""
        out = self.hosts[self.here].tram("recv", "--id", TARGET, "--idle-exit", str(idle), "--json",
                                         expect=None)[0]
        for line in out.splitlines():
            message = json.loads(line)
            self.got.append((int(message["text"].split()[1]), message["redelivered"] > 0))

    def crossed(self):
        """Has all that was sent come to where the receiver is? Then b's memory is not needed."""
        sent = self.feed.count - self.first
        return self.here not in self.away and sent > 0 and \
            knows(self.b, self.feed.source, sent=sent, arrived=sent)()

    def lose(self):
        if not self.crossed():
            return
        self.lost += self.feed.count - self.first
        self.first = self.feed.count
        cluster.lose(self.b)
        until(met(self.there()))
        self.feed = Feed(self.b, self.feed.source, TARGET, first=self.first)

    def take(self, name):
        if name not in self.away and name != self.here:
            until(lambda: self.hosts[name].tram("takeover", TARGET, expect=None)[2] == 0)
            self.here = name

    def cut(self, name):
        if name not in self.away:
            self.away.add(name)
            self.hosts[name].cut()

    def mend(self):
        for name in self.away:
            self.hosts[name].mend()
        self.away.clear()
        until(all_know(self.hosts.hosts))


def once_or_marked(got, count):
    """All of them; those that come again marked; those that do not, of one life, in order."""
    seen = set()
    for number, is_marked in got:
        assert number not in seen or is_marked, f"{number} again, not marked: {got}"
        seen.add(number)
    assert seen == set(range(count)), f"{sorted(set(range(count)) - seen)} never came: {got}"


@test
def whoever_takes_it_over():
    dice = random.Random(SEED)
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        moving = Moving(hosts)
        moving.feed.more(1)
        moving.read(1)
        for _ in range(ROUNDS):
            what = dice.choice(("send", "send", "read", "take", "take", "cut", "lose", "mend"))
            if what == "send":
                moving.feed.more(dice.randrange(1, 20))
            elif what == "read":
                moving.read(0.1)
            elif what == "take":
                moving.take(dice.choice("acd"))
            elif what == "cut":
                moving.cut(dice.choice("cd"))
                if moving.here in moving.away:
                    moving.take("a")
            elif what == "lose":
                moving.lose()
            else:
                moving.mend()
        moving.mend()
        moving.feed.more(1)
        until(lambda: moving.read(1) or len({m[0] for m in moving.got}) == moving.feed.count)
        print(f"{moving.feed.count} sent, {moving.lost} of them forgotten by b; "
              f"{sum(m[1] for m in moving.got)} came marked")
        once_or_marked(moving.got, moving.feed.count)


if __name__ == "__main__":
    cluster.run_tests()
