#!/usr/bin/env python3
# test: timeout=300 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""Several hosts, as network namespaces: they find each other; messages cross once and in order
while daemons are killed and cables pulled; a node is open on one host at most; the host server
restarts; names are seen on all hosts."""

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
from cluster import Cluster, Feed, all_know, ip, test, until  # noqa: E402

SCALE = cluster.SCALE
PATIENCE = int(os.environ.get("PATIENCE") or 60)


def receive(host, node, count):
    return host.run("tram", "recv", "--id", node, "--count", str(count), "--json",
                    stdout=subprocess.PIPE, text=True)


def texts(process):
    out, _ = process.communicate(timeout=PATIENCE * SCALE)
    return [json.loads(line) for line in out.splitlines()]


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


def rest(seconds):
    cluster.select_sleep(seconds * SCALE)


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
def a_node_is_open_once():
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        first = receive(hosts["a"], "1.0.0.7", 2)
        until(lambda: hosts["a"].has("1.0.0.7"))
        _, err, code = hosts["b"].tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code == 4 and "host a" in err and "tram" in err, (code, err)
        hosts["b"].tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"one\ntwo\n")
        assert [m["text"] for m in texts(first)] == ["one", "two"]


@test
def a_node_moves_with_what_waits_for_it():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(a, "1.0.0.7", 3)
        for host, source in ((a, "1.0.0.1"), (b, "1.0.0.2"), (c, "1.0.0.3")):
            host.tram("send", "--from", source, "--to", "1.0.0.7", given=b"first\n")
        assert len(texts(into)) == 3
        for host, source in ((a, "1.0.0.1"), (b, "1.0.0.2"), (c, "1.0.0.3")):
            host.tram("send", "--from", source, "--to", "1.0.0.7", given=b"second\nthird\n")
        for place in (b, c, a):
            into = receive(place, "1.0.0.7", 6)
            got = texts(into)
            assert sorted((m["from"], m["seq"], m["text"]) for m in got) == sorted(
                (source, seq, text) for source in ("1.0.0.1", "1.0.0.2", "1.0.0.3")
                for seq, text in ((got[0]["seq"], "second"), (got[0]["seq"] + 1, "third"))), got
            # nothing was in hand; that some had left for the host before is nothing to anybody
            assert all(m["redelivered"] == 0 for m in got), got
            for host, source in ((a, "1.0.0.1"), (b, "1.0.0.2"), (c, "1.0.0.3")):
                host.tram("send", "--from", source, "--to", "1.0.0.7", given=b"second\nthird\n")


def let_grow(host, size):
    """How far the files of that host's daemon may grow."""
    resource.prlimit(host.daemon.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@test
def a_move_that_can_not_be_noted():
    """Who gave it up has it again, and does not believe that the other one has it."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        a.stop()
        a.start(prepare=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        until(all_know(hosts.hosts))
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")  # it is placed there
        c.tram("recv", "--id", "1.0.0.2", "--idle-exit", "1")
        c.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"one\n")
        let_grow(a, os.stat(os.path.join(a.dir, "default", "directory")).st_size)
        _, err, code = c.tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code != 0 and "noted" in err, (code, err)
        until(lambda: "given up" in b.said())
        _, err, code = c.tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code != 0 and "noted" in err, (code, err)  # … and is so again
        into = receive(b, "1.0.0.7", 1)  # nobody has to note that
        assert [(m["text"], m["redelivered"]) for m in texts(into)] == [("one", 0)]
        c.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"two\n")
        _, err, code = c.tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code != 0 and "noted" in err, (code, err)
        let_grow(a, resource.RLIM_INFINITY)
        b.restart()  # what its files say of that holds, too
        until(all_know(hosts.hosts))
        until(lambda: b.tram("recv", "--id", "1.0.0.9", "--idle-exit", "1", expect=None)[2] == 0)
        into = receive(c, "1.0.0.7", 1)
        assert [(m["text"], m["redelivered"]) for m in texts(into)] == [("two", 0)]
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")


@test
def a_node_moves_to_a_host_that_never_heard_of_it():
    """Nobody stands in for it there yet: the opener is the first that has its directory."""
    with Cluster(["a", "b"]) as hosts:
        until(all_know(hosts.hosts))
        a, b = hosts["a"], hosts["b"]
        b.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1")  # it is placed there
        b.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"one\ntwo\n")
        into = receive(a, "1.0.0.7", 2)
        assert [m["text"] for m in texts(into)] == ["one", "two"]


@test
def a_sender_moves():
    """What it sends on its new host comes behind what it sent on the old one, though all links are
    up and nobody ends anything; to a receiver on a third host, and to one where it goes."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        for target, there in (("1.0.0.7", c), ("1.0.0.8", a)):
            for i, host in enumerate((b, a, b, a)):
                into = receive(there, target, 2)
                host.tram("send", "--from", "1.0.0.2", "--to", target,
                          given=f"{i} one\n{i} two\n".encode())
                assert [m["text"] for m in texts(into)] == [f"{i} one", f"{i} two"]


def apart(one, other, act):
    """A black hole between two hosts; `act`: replace, del."""
    for here, there in ((one, other), (other, one)):
        wrong = ("lladdr", "02:00:00:00:00:99") if act == "replace" else ()
        ip("neigh", act, there.address, *wrong, "dev", "eth0",
           *(("nud", "permanent") if wrong else ()), inside=here.space.pid)


@test
def what_a_sender_left_goes_first():
    """Its old host can't reach the receiver's when it moves, and its new one can. What it sends to
    others waits for nothing."""
    with Cluster(["a", "b", "c", "d"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c, d = (hosts[name] for name in "abcd")
        for i, killed in enumerate(([], [b], [c], [a, b, c])):
            target = f"1.0.0.{10 + i}"
            into = receive(c, target, 5)
            b.tram("send", "--from", "1.0.0.2", "--to", target, given=b"0\n")
            apart(b, c, "replace")
            b.tram("send", "--from", "1.0.0.2", "--to", target, given=b"1\n2\n")
            a.tram("send", "--from", "1.0.0.2", "--to", target, given=b"3\n4\n")
            for host in killed:
                host.stop()
            for host in killed:
                host.start()
            other = receive(d, f"1.0.0.{20 + i}", 1)
            until(lambda i=i: a.tram("send", "--from", "1.0.0.2", "--to", f"1.0.0.{20 + i}",
                                     given=b"other\n", expect=None)[2] == 0)
            assert [m["text"] for m in texts(other)] == ["other"]
            rest(2)
            assert into.poll() is None, texts(into)
            apart(b, c, "del")
            got = [m["text"] for m in texts(into)]
            assert got == ["0", "1", "2", "3", "4"], (killed, got)
            assert "cut short" not in c.said()


@test
def what_a_sender_left_for_a_node_there_goes_with_that():
    """Both were on a, and both move."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        for i, restart in enumerate(([], [a], [a, b, c])):
            sender, target = f"1.0.0.{2 + i}", f"1.0.0.{10 + i}"
            a.tram("send", "--from", sender, "--to", target, given=b"0\n")
            assert [m["text"] for m in texts(receive(a, target, 1))] == ["0"]
            a.tram("send", "--from", sender, "--to", target, given=b"1\n2\n")
            b.tram("send", "--from", sender, "--to", target, given=b"3\n4\n")
            for host in restart:
                host.restart()
            until(all_know(hosts.hosts))
            if i == 0:  # where they lie
                assert [m["text"] for m in texts(receive(a, target, 1))] == ["1"]
            got = [m["text"] for m in texts(receive(c, target, 3 if i == 0 else 4))]
            assert got == ["1", "2", "3", "4"][i == 0:], (i, got)


@test
def what_a_sender_left_on_a_forgotten_host_holds_nobody_up():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(c, "1.0.0.7", 2)
        until(lambda: c.has("1.0.0.7"))
        apart(b, c, "replace")
        b.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"left\n")
        a.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"1\n2\n")
        b.stop()
        rest(2)
        assert into.poll() is None, texts(into)
        until(lambda: a.tram("forget", "b", expect=None)[2] == 0)
        assert [m["text"] for m in texts(into)] == ["1", "2"]


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
def taken_over_and_fenced():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        first = receive(b, "1.0.0.7", 1000)
        until(lambda: b.has("1.0.0.7"))
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"one\n")
        b.cut()
        until(lambda: any(h["name"] == "b" and h["away"] for h in c.json("hosts")["hosts"]))
        _, err, code = c.tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code != 0 and "host b" in err and "unreachable" in err, (code, err)
        left = json.loads(c.tram("forget", "--list", "--json", "b")[0])
        assert left["host"] == "b", left
        mine = next(node for node in left["nodes"] if node["id"] == "1.0.0.7")
        assert mine["host"] == "b" and mine["waiting"] + mine["arrived"] >= 0, mine
        assert "1.0.0.7" in c.tram("forget", "--list", "b")[0]
        was = json.loads(c.tram("takeover", "--json", "1.0.0.7")[0])
        assert (was["id"], was["host"]) == ("1.0.0.7", "b") and was["epoch"] > 1, was
        assert "placed here" in c.tram("takeover", "1.0.0.7")[0]
        second = receive(c, "1.0.0.7", 1)
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"two\n")
        got = texts(second)
        assert got[0]["text"] in ("one", "two"), got
        b.mend()
        out, err = first.communicate(timeout=20 * SCALE)  # fenced
        assert first.returncode != 0, (first.returncode, out, err)


@test
def taken_over_and_back():
    """What was mirrored to it before it was taken away is not what it has now: some of it was
    consumed on the other host."""
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(b, "1.0.0.7", 1)
        a.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"0\n")
        assert len(texts(into)) == 1
        a.tram("send", "--from", "1.0.0.2", "--to", "1.0.0.7", given=b"1\n2\n3\n")
        until(lambda: a.json("trace", "--from", "1.0.0.2", "--to", "1.0.0.7")["arrived"] == 4)
        c.tram("takeover", "1.0.0.7")
        assert [m["text"] for m in texts(receive(c, "1.0.0.7", 2))] == ["1", "2"]
        until(lambda: a.json("trace", "--from", "1.0.0.2", "--to", "1.0.0.7")["consumed"] == 3)
        b.tram("takeover", "1.0.0.7")
        got = texts(receive(b, "1.0.0.7", 1))
        assert [(m["text"], m["redelivered"] > 0) for m in got] == [("3", True)], got


def away(host, name):
    return lambda: any(h["name"] == name and h["away"] for h in host.json("hosts")["hosts"])


@test
def a_lease_that_is_over_is_taken_over():
    with Cluster(["a", "b", "c"], extra=f"lease = {3000 * SCALE}ms") as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        first = receive(b, "1.0.0.7", 1000)
        until(lambda: b.has("1.0.0.7"))
        b.cut()
        until(away(c, "b"))
        # not before it is over, however often it is asked for
        _, err, code = c.tram("recv", "--id", "1.0.0.7", "--count", "1", expect=None)
        assert code != 0 and "host b" in err and "unreachable" in err, (code, err)
        until(lambda: c.tram("recv", "--id", "1.0.0.7", "--idle-exit", "1", expect=None)[2] == 0)
        second = receive(c, "1.0.0.7", 1)
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"two\n")
        assert texts(second)[0]["text"] == "two"
        b.mend()
        out, err = first.communicate(timeout=20 * SCALE)  # fenced
        assert first.returncode != 0, (first.returncode, out, err)


@test
def what_a_forgotten_host_had_is_listed():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        into = receive(b, "1.0.0.7", 1)
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"one\n")
        assert texts(into)[0]["text"] == "one"
        until(lambda: json.loads(c.tram("trace", "--from", "1.0.0.8", "--to", "1.0.0.7",
                                        "--json")[0])["consumed"] == 1)
        b.cut()
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"two\nthree\n")
        until(away(c, "b"))

        def listed():
            left = json.loads(c.tram("forget", "--list", "--json", "b")[0])["nodes"]
            return [n for n in left if n["id"] == "1.0.0.7" and n["waiting"] == 2]

        until(listed)
        assert any(h["name"] == "b" for h in c.json("hosts")["hosts"]), "it was only listed"
        _, _, code = a.tram("forget", "c", expect=None)
        assert code == 4, code  # that one is there
        out = c.tram("forget", "b")[0]
        assert "1.0.0.7" in out and "known here to be placed on host b" in out, out
        until(lambda: not any(h["name"] == "b" for h in c.json("hosts")["hosts"]))
        into = receive(c, "1.0.0.7", 2)  # what waited for it is delivered where it is opened
        assert [m["text"] for m in texts(into)] == ["two", "three"]


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
        assert into.wait(PATIENCE * SCALE) == 0
        check_order([json.loads(line) for line in got], 201)
        assert after[0] - before[0] < 100 and after[1] - before[1] < 100, (before, after)
        rest(1)
        before = sleeps_and_ticks(a)
        rest(1)
        after = sleeps_and_ticks(a)
        assert after[0] > before[0], "it never sleeps"
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
        assert other.communicate(timeout=PATIENCE * SCALE)[0].strip(), "no greeting"
        assert all_know(hosts.hosts)()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    cluster.run_tests()
