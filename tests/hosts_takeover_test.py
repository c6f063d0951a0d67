#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: as hosts_test.py)
"""Nodes of a host that can't be reached: taken over by hand or by a lease, fenced, forgotten."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, all_know, receive, test, texts, until  # noqa: E402


@test
def taken_over_and_fenced():
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts.hosts))
        b, c = hosts["b"], hosts["c"]
        first = receive(b, "1.0.0.7", 1000)
        until(lambda: b.has("1.0.0.7"))
        c.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.7", given=b"one\n")
        b.cut()
        until(away(c, "b"))
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


if __name__ == "__main__":
    cluster.run_tests()
