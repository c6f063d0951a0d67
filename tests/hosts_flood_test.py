#!/usr/bin/env python3
# test: timeout=120 label=notsan cpus=2
# (notsan: three daemons take minutes there)
"""Connections without end at the ports of a host server and of a daemon (61000, 61001): they say
nothing, they say it a byte at a time, or they stop in the middle; of a host that belongs to the
cluster, which has its share, and goes on. The daemon holds a bounded number of them, for a bounded
time, and little memory; hosts that are connected go on, and one that comes anew is let in.
Plain, and with keys, where they stop at any point of a handshake."""

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, all_know, test, until  # noqa: E402

PORTS = (61000, 61001)
GATE = 256 // 4  # so many of one host at a port (src/transport/gate.h)
MANY = 400


# ---- who floods, on another host -------------------------------------------------------------


def hello(port):
    """What a handshake begins with: TLS, or a frame of a link, or of the directory."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(here, there).do_handshake()
    except ssl.SSLWantReadError:
        pass
    plain = struct.pack("<BBHIII", 1, 0, 0, 0, 64, 0) + bytes(64) if port == 61001 else \
        struct.pack("<I", 200) + bytes(200)
    return there.read(), plain


def flood(address, until_then):
    """Many at each port, for so long; who is turned away comes again."""
    words = {port: hello(port) for port in PORTS}
    open_ones = []
    turn = 0
    while time.monotonic() < until_then:
        for port in PORTS:
            turn += 1
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((address, port))
            kind = words[port][turn // 2 % 2]
            # Nothing; a byte at a time; up to any point of it.
            open_ones.append([one, kind, [0, 1, turn % len(kind)][turn % 3], 0])
        for it in open_ones[-40:]:
            try:
                if it[3] < it[2]:
                    it[3] += it[0].send(it[1][it[3]:it[2]])
            except OSError:
                pass
        for it in open_ones[turn % 7::7]:
            try:
                if it[2] == 1 and it[3] < len(it[1]) - 1:
                    it[3] += it[0].send(it[1][it[3]:it[3] + 1])
            except OSError:
                pass
        while len(open_ones) > MANY * len(PORTS):
            open_ones.pop(0)[0].close()
    print(turn)


# ---- the test --------------------------------------------------------------------------------


def holds(host):
    """Descriptors of its daemon, and KiB."""
    pid = host.daemon.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        size = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), size


def pings(host, to, count):
    """How long each took, in ms; those without an answer are 1000."""
    out = host.tram("ping", "--host", to, "--count", str(count), "--interval", "20", "--json",
                    expect=None)[0]
    return sorted(line["time_ns"] / 1e6 if line["answered"] else 1000.0
                  for line in map(json.loads, out.splitlines()))


def others_go_on(keys):
    with Cluster(["a", "b", "c"], keys=keys) as hosts:
        until(all_know(hosts.hosts))
        a, b, c = (hosts[name] for name in "abc")
        before = holds(a)
        quiet = pings(b, "a", 20)
        seconds = 3 if SCALE == 1 else 4
        floods = subprocess.Popen(
            c.inside(sys.executable, os.path.abspath(__file__), "flood", a.address,
                     str(time.monotonic() + seconds)),
            env={**os.environ, "TRAM_NETWORK": "1"}, stdout=subprocess.PIPE, text=True)
        c.running.append(floods)
        most = [0, 0]
        until(lambda: holds(a)[0] > before[0] + GATE)
        ended = a.said().count("the connection ended")
        took = pings(b, "a", 50)
        into = b.run("tram", "recv", "--id", "1.0.0.2", "--count", "3", stdout=subprocess.PIPE)
        a.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.2", given=b"x\ny\nz\n")
        assert into.communicate(timeout=20 * SCALE)[0] == b"x\ny\nz\n"
        # (A link may go on in another connection: both ends dial, and one may come late.)
        assert a.said().count("the connection ended") == ended, "a link ended"
        b.restart()  # and comes anew
        began = time.monotonic()
        until(lambda: b.tram("links", "--json", expect=None)[0].count('"up":true') == 2)
        joined = time.monotonic() - began
        while floods.poll() is None:
            most = [max(pair) for pair in zip(most, holds(a))]
            cluster.select_sleep(0.02)
        turns = int(floods.communicate()[0])
        assert turns > 2 * MANY, f"no flood: {turns}"
        assert most[0] - before[0] <= 2 * GATE + 40, f"{most[0]} descriptors, {before[0]} before"
        # (What is freed under ASan is not had back soon.)
        assert os.environ.get("TRAM_SANITIZER") or most[1] - before[1] <= 20 << 10, \
            f"{most[1]} KiB, {before[1]} before"
        until(lambda: holds(a)[0] < before[0] + 20)
        lines = a.said().count("turned away")
        assert 0 < lines <= 300, f"{lines} lines about who was turned away"
        print(f"{'with keys' if keys else 'plain'}: {turns} connections; at most "
              f"{most[0] - before[0]} descriptors and {most[1] - before[1]} KiB more; a ping takes "
              f"{took[len(took) // 2]:.2f} ms ({quiet[len(quiet) // 2]:.2f} before), at most "
              f"{took[-1]:.1f}; a host was back after {joined * 1000:.0f} ms; {lines} lines")
        assert took[len(took) * 9 // 10] < 100 * SCALE, took


@test
def plain_hosts_go_on():
    others_go_on(False)


@test
def hosts_with_keys_go_on():
    if os.environ.get("TRAM_TLS") != "ON":
        print("no TLS in this build")
        return
    others_go_on(True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["flood"]:
        flood(sys.argv[2], float(sys.argv[3]))
    else:
        cluster.run_tests()
