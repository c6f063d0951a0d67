#!/usr/bin/env python3
# test: timeout=240 label=notsan
# (notsan: as hosts_test.py)
"""Nodes that move between hosts, with what waits for them, and what they left behind as senders."""

import os
import resource
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import Cluster, all_know, apart, receive, rest, test, texts, until  # noqa: E402


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
            rest(0.5)
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
        rest(1)
        assert into.poll() is None, texts(into)
        until(lambda: a.tram("forget", "b", expect=None)[2] == 0)
        assert [m["text"] for m in texts(into)] == ["1", "2"]


if __name__ == "__main__":
    cluster.run_tests()
