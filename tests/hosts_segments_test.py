#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: as hosts_test.py)
"""Hosts on several segments, IPv4 and IPv6: a is on both, b and c on one each. Links and direct
connections take the address of the own segment first; loopback of another host is never used;
tls:// across hosts; and clients are told how far a host is by now."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import Cluster, ip, net, until  # noqa: E402

PROGRAM = os.path.join(cluster.BUILD, "tests", "hosts_direct_prog")
LEAST_NS = 5_000     # no way there and back takes less,
FAR_NS = 10_000_000  # … nor that long by itself: half of it is told again
SEGMENTS = {"a": (1, 2), "b": (1,), "c": (2,)}


def bare(family, address):
    return f"[{address}]" if family == 6 else address


def linked(hosts):
    """a has links to both, and both to a."""
    def it():
        for host, others in (("a", "bc"), ("b", "a"), ("c", "a")):
            out, _, code = hosts[host].tram("links", "--json", expect=None)
            up = [link["host"] for link in json.loads(out)["links"] if link["up"]] if code == 0 \
                else []
            if not set(others) <= set(up):
                return False
        return True
    return it


def serve(host, name, *addresses):
    """Start a server; its addresses."""
    process = host.run(PROGRAM, f"svc://{name}", *addresses, stdout=subprocess.PIPE,
                       text=True)
    line = process.stdout.readline()
    assert line.startswith("serves "), line
    return process, line.split()[1:]


# ---- what a client is told --------------------------------------------------------------------

def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """Numbers and values of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        elif key & 7 == 0:
            value, at = varint(data, at)
        else:
            size = 4 if key & 7 == 5 else 8
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def frame(kind, body):
    whole = bytes([kind << 3 & 127 | 2 | (128 if kind > 15 else 0)]) + \
        (bytes([kind >> 4]) if kind > 15 else b"") + bytes([len(body)]) + body
    return struct.pack("<I", len(whole)) + whole


def told(host):
    """A connection as a client has it, that watches all names: what it is told, by kind."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(20 * cluster.SCALE)
    link.connect(os.path.join(host.dir, "default", "tramd.sock"))
    link.sendall(frame(1, bytes([8, 1])) + frame(5, bytes([8, 7, 18, 1]) + b"*"))
    held = b""
    while True:
        while len(held) < 4 or len(held) < 4 + struct.unpack("<I", held[:4])[0]:
            more = link.recv(65536)
            assert more, "the daemon went"
            held += more
        size = struct.unpack("<I", held[:4])[0]
        yield from fields(held[4:4 + size])
        held = held[4 + size:]


def parties(host):
    """Who comes online: name, addresses, distance. None: all that are there have been told."""
    for kind, body in told(host):
        if kind == 21:
            yield None
        if kind != 19:
            continue
        party = list(fields(dict(fields(body))[2]))
        yield (dict(party)[1].decode(), [value.decode() for key, value in party if key == 8],
               dict(party).get(11, 0))


def known(host, name):
    """The addresses of a service beside shared memory, as a host knows them."""
    for party in parties(host):
        if party is None:
            return None
        if party[0] == name:
            return party[1]
    return None


def call(host, name, *more, expect=0):
    return host.tram("call", "--direct", "--raw", *more, f"svc://{name}", "0", "x", expect=expect)


def took(host, name):
    """The address by which a client there reaches it."""
    process = host.run(PROGRAM, f"svc://{name}", stdout=subprocess.PIPE, text=True)
    return process.communicate(timeout=30 * cluster.SCALE)[0].strip()


def own_segment_first(hosts, family):
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    if family == 4:  # the address of the other segment would be reached, too
        ip("route", "add", "default", "via", net(1, 1), inside=b.space.pid)
        ip("route", "add", "default", "via", net(2, 1), inside=c.space.pid)
    else:
        ip("-6", "route", "add", "default", "via", net(1, 1, 6), inside=b.space.pid)
        ip("-6", "route", "add", "default", "via", net(2, 1, 6), inside=c.space.pid)
    for turn in range(2):
        until(linked(hosts))
        for host, segment in ((b, 1), (c, 2)):
            if turn == 0:
                continue
            link = next(x for x in host.json("links")["links"] if x["host"] == "a")
            assert link["address"].startswith(bare(family, net(segment, 1, family)) + ":"), link
        if turn == 0:  # without haste: an address that is refused is followed by the next
            for host in (b, c, a):
                host.stop()
            for host in (a, b, c):
                host.start()
                until(lambda h=host: h.tram("hosts", expect=None)[2] == 0)
    into = c.run("tram", "recv", "--id", "1.0.0.3", "--count", "1", stdout=subprocess.PIPE,
                 text=True)
    until(lambda: c.has("1.0.0.3"))
    a.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.3", given=b"hello\n")
    assert into.communicate(timeout=30)[0] == "hello\n"

    scheme = "tls" if hosts.keys else "tcp"
    any_address = f"{scheme}://{bare(family, '::' if family == 6 else '0.0.0.0')}:0"
    listed = [f"{scheme}://{bare(family, net(segment, 1, family))}:0" for segment in (1, 2)]
    for name, addresses in (("any", [any_address]), ("listed", listed),
                            ("turned", listed[::-1])):
        process, at = serve(a, name, *addresses)
        for segment in (1, 2):
            assert any(bare(family, net(segment, 1, family)) in one for one in at), at
        for host, segment in ((b, 1), (c, 2)):
            until(lambda h=host, n=name: known(h, n) is not None)
            usable = known(host, name)
            assert len(usable) == 2, usable
            theirs = bare(family, net(segment, 1, family))
            got = took(host, name)
            assert re.match(rf"{scheme}://(a@)?{re.escape(theirs)}:", got), (name, host.name, got)
            assert call(host, name)[0].startswith(f"{scheme}://")
        process.kill()
        for host in (b, c):
            until(lambda h=host, n=name: known(h, n) is None)


def loopback_of_others_is_not_used(hosts, family):
    a, b = hosts["a"], hosts["b"]
    loop = bare(family, "::1" if family == 6 else "127.0.0.1")
    near = bare(family, net(1, 1, family))
    process, at = serve(a, "loop", f"tcp://{loop}:0", f"tcp://{near}:0")
    assert f"tcp://{loop}" in " ".join(at) and f"tcp://{near}" in " ".join(at), at
    port = next(one for one in at if loop in one).rsplit(":", 1)[1]
    # whoever is there on b: who connects to it would wait for an answer
    trap = b.run(sys.executable, "-c",
                 "import socket, sys\n"
                 f"s = socket.socket(socket.AF_INET{'6' if family == 6 else ''})\n"
                 f"s.bind(('{loop.strip('[]')}', {port}))\ns.listen()\nprint('there', flush=True)\n"
                 "s.accept()\nprint('trapped', flush=True)\n", stdout=subprocess.PIPE, text=True)
    assert trap.stdout.readline() == "there\n"
    until(lambda: known(b, "loop") is not None)
    assert [x for x in known(b, "loop") if loop in x] == [], known(b, "loop")
    assert [x for x in known(a, "loop") if loop in x], "on its own host it is of use"
    for _ in range(3):
        assert call(b, "loop")[0].startswith("tcp://"), "by the other one"
    only, _ = serve(a, "only", f"tcp://{loop}:0")
    until(lambda: known(b, "only") == [])
    _, err, code = call(b, "only", "--timeout", "1000", expect=None)
    assert code != 0, (code, err)
    trap.kill()
    assert trap.communicate()[0] == "", "somebody was trapped"
    process.kill()
    only.kill()


def distance_is_told_as_it_changes(hosts):
    a, b = hosts["a"], hosts["b"]
    process, _ = serve(a, "far", "tcp://127.0.0.1:0")
    until(lambda: known(b, "far") is not None)
    seen = (party for party in parties(b) if party and party[0] == "far")
    first = next(far for _, _, far in seen if 0 < far < FAR_NS)
    assert first > LEAST_NS, first
    slow = threading.Event()
    beat = 0.2 * cluster.SCALE
    step = beat / (int(beat / 0.15) + 0.5)

    def stutter():
        """The daemon there answers late: it runs for a moment in each step. What comes a heartbeat
        after its last answer waits for half of one, and never so long that the link is anew."""
        due = time.monotonic()
        while not slow.is_set():
            a.daemon.send_signal(signal.SIGSTOP)
            due = max(due + step, time.monotonic())
            slow.wait(due - time.monotonic())
            a.daemon.send_signal(signal.SIGCONT)
            slow.wait(0.004)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        farther = next(far for _, _, far in seen if far > max(2 * first, FAR_NS))
    finally:
        slow.set()
        thread.join()
    assert next(far for _, _, far in seen if 2 * far < farther)
    process.kill()


cluster.enter()
passed = 0
for its_family in (4, 6):
    with Cluster(["a", "b", "c"], segments=SEGMENTS, family=its_family) as three:
        until(linked(three))
        own_segment_first(three, its_family)
        loopback_of_others_is_not_used(three, its_family)
        if its_family == 4:
            distance_is_told_as_it_changes(three)
        passed += 2 + (its_family == 4)
has_tls = "built without TLS" not in subprocess.run(
    [cluster.TRAM, "keys", "show", "--keys", "/none"], capture_output=True, text=True,
    check=False).stderr
for its_family in (4, 6) if has_tls else ():
    with Cluster(["a", "b", "c"], segments=SEGMENTS, family=its_family, keys=True) as three:
        until(linked(three))
        assert all(link["tls"] == "TLSv1.3" for link in three["a"].json("links")["links"])
        own_segment_first(three, its_family)
        passed += 1
print(f"{passed} passed, 0 failed, 0 skipped")
