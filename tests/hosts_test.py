#!/usr/bin/env python3
# test: timeout=300 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""Several hosts, as network namespaces: they find each other; messages cross once and in order
while daemons are killed and cables pulled; the host server is away; names are seen on all hosts."""

import json
import os
import random
import resource
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
import stranger  # noqa: E402
from cluster import (PATIENCE, SCALE, Cluster, Feed, all_know, receive, rest,  # noqa: E402
                     test, texts, until)


def check_order(got, count):
    wanted = [f"message {i}" for i in range(count)]
    have = [m["text"] for m in got]
    if have != wanted:
        first = next((i for i, (a, b) in enumerate(zip(have, wanted)) if a != b), len(have))
        raise AssertionError(f"{len(have)} messages, not {count}; the first that is wrong: "
                             f"{first}: {have[first - 1:first + 3]}")
    assert [m["seq"] for m in got] == list(range(1, count + 1)), "the numbers"
    return sum(m["redelivered"] > 0 for m in got)


@test
def three_hosts_find_each_other():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        numbers = {h["name"]: h["number"] for h in hosts["b"].json("hosts")["hosts"]}
        assert sorted(numbers.values()) == [1, 2, 3], numbers
        for victim in ("b", "a", "c"):
            hosts[victim].restart()
            until(all_know(hosts.hosts))
        after = {h["name"]: h["number"] for h in hosts["c"].json("hosts")["hosts"]}
        assert after == numbers, (after, numbers)
        links = hosts["a"].json("links")["links"]
        assert sorted(link["host"] for link in links) == ["b", "c"], links
        assert all(link["up"] and link["round_trip_ns"] > 0 for link in links), links


@test
def fixed_hosts_find_each_other():
    with Cluster(["a", "b"], server=None) as hosts:
        until(all_know(hosts.hosts))
        into = receive(hosts["b"], "1.2.0.1", 3)
        hosts["a"].tram("send", "--from", "1.1.0.1", "--to", "1.2.0.1", given=b"x\ny\nz\n")
        assert [m["text"] for m in texts(into)] == ["x", "y", "z"]
        # what the config places elsewhere may not be opened
        _, err, _ = hosts["a"].tram("recv", "--id", "1.2.0.9", "--count", "1", expect=None)
        assert "host b" in err, err


def through(hosts, faults, rounds, each):
    a, b = hosts["a"], hosts["b"]
    into = receive(b, "1.0.0.2", rounds * each)
    feed = Feed(a, "1.0.0.1", "1.0.0.2")
    for host, node in ((a, "1.0.0.1"), (b, "1.0.0.2")):  # who opens needs the daemon
        until(lambda host=host, node=node: f"node {node} is placed here" in host.said())
    for turn in range(rounds):
        feed.more(each)
        faults[turn % len(faults)](a, b)
    feed.end()
    return check_order(texts(into), rounds * each)


@test
def ten_thousand_messages_through_everything():
    dice = random.Random(5)

    def kill_sender(a, b):
        a.restart()

    def kill_receiver(a, b):
        b.restart()

    def kill_both(a, b):
        a.stop()
        b.restart()
        a.start()

    def pull(a, b):
        b.cut()
        rest(dice.random() / 2)
        b.mend()

    def pull_and_kill(a, b):
        a.cut()
        b.stop()
        rest(0.1)
        a.mend()
        b.start()

    def nothing(a, b):
        rest(0.05)

    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        marked = through(hosts, [nothing, kill_sender, kill_receiver, pull, kill_both,
                                 pull_and_kill], 30, 334)
        assert marked == 0, f"{marked} messages came marked, though nobody died with them"


@test
def what_runs_when_a_bus_becomes_a_host_is_placed_there():
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        b.stop(signal.SIGTERM)
        for name in ("cluster", "life", "hosts"):
            os.unlink(os.path.join(b.dir, "default", name))
        into = receive(b, "1.0.0.5", 2)
        until(lambda: b.has("1.0.0.5"))
        b.start()
        until(all_know(hosts.hosts))
        a.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.5", given=b"x\ny\n")
        assert [m["text"] for m in texts(into)] == ["x", "y"]
        _, err, code = a.tram("recv", "--id", "1.0.0.5", "--idle-exit", "1", expect=None)
        assert code == 0, (code, err)  # it ended there, and moved


@test
def without_the_host_server_all_that_is_connected_goes_on():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(c, "1.0.0.2", 4)
        b.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.2", given=b"x\ny\n")
        until(lambda: "1.0.0.1" in c.tram("ls", expect=None)[0])  # it is connected
        a.stop()
        b.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.2", given=b"z\n")
        _, err, code = b.tram("recv", "--id", "1.0.0.99", "--count", "1", expect=None)
        assert "directory" in err and code != 0, (code, err)
        b.restart()  # it knows by itself
        b.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.2", given=b"!\n")
        assert [m["text"] for m in texts(into)] == ["x", "y", "z", "!"]
        a.start()
        until(all_know(hosts.hosts))
        b.tram("recv", "--id", "1.0.0.99", "--idle-exit", "1")


@test
def names_are_seen_on_all_hosts():
    with Cluster(["a", "b", "c"], hosts={"c": ["allow-names = other/*"]}) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]

        def names(host):
            out, _, code = host.tram("ls", "services", "--json", expect=None)
            return sorted(s["name"] for s in json.loads(out)["services"]) if code == 0 else None

        first = a.run("tram", "pub", "svc://news", "1", stdin=subprocess.PIPE)
        until(lambda: len(names(b) or []) == 1 and len(names(c) or []) == 1)
        assert names(a) == names(b) == names(c), (names(a), names(b))
        second = c.run("tram", "pub", "svc://more", "1", stdin=subprocess.PIPE)  # not allowed to
        until(lambda: len(names(c) or []) == 2)
        a.restart()
        b.restart()
        until(all_know(hosts.hosts))
        until(lambda: len(names(a) or []) == 1 and len(names(b) or []) == 1)
        until(lambda: len(names(c) or []) == 2)
        assert "the config does not allow it" in a.said()
        a.cut()  # offline within the heartbeat's bound
        until(lambda: names(b) == [])
        a.mend()
        until(lambda: len(names(b) or []) == 1)
        first.kill()
        until(lambda: names(b) == [])
        second.kill()
        until(lambda: names(c) == [])


def sleeps_and_ticks(host):
    """How often the daemon slept, and its processor time in s."""
    pid = host.daemon.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        sleeps = next(int(line.split()[1]) for line in file if line.startswith("voluntary"))
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return sleeps, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test
def daemons_look_before_they_sleep():
    """Dense traffic finds them awake; at rest they sleep."""
    with Cluster(["a", "b"], extra="spin = 50ms") as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        into = receive(b, "1.0.0.2", 201)
        feed = Feed(a, "1.0.0.1", "1.0.0.2")
        feed.more(1)
        got = [into.stdout.readline()]
        before = sleeps_and_ticks(a)[0], sleeps_and_ticks(b)[0]
        for _ in range(200):
            feed.more(1)
            got.append(into.stdout.readline())
        after = sleeps_and_ticks(a)[0], sleeps_and_ticks(b)[0]
        feed.end()
        assert into.wait(PATIENCE) == 0
        check_order([json.loads(line) for line in got], 201)
        assert after[0] - before[0] < 100 and after[1] - before[1] < 100, (before, after)
        before = sleeps_and_ticks(a)
        until(lambda: sleeps_and_ticks(a)[0] > before[0] + 1)  # it does, at rest
        before = sleeps_and_ticks(a)
        rest(1)
        after = sleeps_and_ticks(a)
        assert after[1] - before[1] < 0.95 * SCALE, (before, after)  # 50 ms for each beat


@test
def without_a_descriptor_who_connects_waits():
    """It is said once, and takes no time; the link that is there goes on."""
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        limits = resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        other = subprocess.Popen(a.inside(sys.executable, stranger.__file__, "hello", b.address),
                                 stdout=subprocess.PIPE, text=True)
        until(lambda: "cannot accept a connection" in b.said())
        before = sleeps_and_ticks(b)[1]
        rest(1)
        assert sleeps_and_ticks(b)[1] - before < 0.15 * SCALE
        assert b.said().count("cannot accept a connection") == 1 and other.poll() is None
        resource.prlimit(b.daemon.pid, resource.RLIMIT_NOFILE, limits)
        assert other.communicate(timeout=PATIENCE)[0].strip(), "no greeting"
        assert all_know(hosts.hosts)()

if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    cluster.run_tests()
