#!/usr/bin/env python3
# test: timeout=180 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""A storm over three hosts (network namespaces): while nodes on each send to nodes on the others,
cables are pulled, links flap, swallow, lose, narrow and are reset; daemons and nodes are stopped
and killed; receivers move. Everything has to come, in order, once (hosts_storm_prog.c).

    STORM_SEED=N    the faults of that seed (else one by the clock; it is said)
    STORM_FAULTS=N  so many (100)
    STORM_KIND=cuts|flaps|rest
                    instead (make soak): STORM_FAULTS cuts of 0.2 to 5 s, and when traffic is
                    back (if after more than 100 ms, what channels and hosts did until then); a
                    link that goes up and down every 200 ms for STORM_SECONDS (60), and what a
                    message costs; what a daemon does beside a dead one

What the kernel has no tool for is left out, by name."""

import datetime
import mmap
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import SCALE, Cluster, ip, until  # noqa: E402

SEED = int(os.environ.get("STORM_SEED") or time.time())
KIND = os.environ.get("STORM_KIND", "")
SECONDS = float(os.environ.get("STORM_SECONDS") or 60)
FAULTS = int(os.environ.get("STORM_FAULTS") or (100 if SCALE == 1 else 40))
PROG = os.path.join(cluster.BUILD, "tests", "hosts_storm_prog")
SENDERS = {"1.0.0.1": "b", "1.0.0.2": "c", "1.0.0.3": "a"}
RECEIVERS = {"1.0.0.11": "c", "1.0.0.12": "b"}
HEADER, CHAN = 512, 128
FIELDS = ("from", "to", "pace", "hold", "tried", "accepted", "handed", "unsure", "settled",
          "releasing", "repeats", "came", "late")


def number(text):
    return int.from_bytes(bytes(int(part) for part in text.split(".")), "big")


def rest(seconds):
    cluster.select_sleep(seconds)


class State:
    """The file that all of a storm share; struct state in hosts_storm_prog.c."""

    def __init__(self, path, pairs, pace_us):
        self.path = path
        self.pairs = pairs
        with open(path, "wb") as file:
            file.truncate(HEADER + 64 * CHAN)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        struct.pack_into("<Q", self.map, 32, SEED)
        for at, (source, target) in enumerate(pairs):
            self.put(at, "from", number(source))
            self.put(at, "to", number(target))
            self.put(at, "pace", pace_us)

    def put(self, at, field, value):
        struct.pack_into("<Q", self.map, HEADER + at * CHAN + 8 * FIELDS.index(field), value)

    def get(self, at, field):
        return struct.unpack_from("<Q", self.map, HEADER + at * CHAN + 8 * FIELDS.index(field))[0]

    def sum(self, field):
        return sum(self.get(at, field) for at in range(len(self.pairs)))

    def end(self, how):
        struct.pack_into("<Q", self.map, 0, how)

    def check(self):
        if struct.unpack_from("<Q", self.map, 8)[0]:
            text = self.map[64:HEADER].split(b"\0")[0].decode()
            raise AssertionError(text)

    def behind(self):
        return [f"{source} to {target}: accepted {self.get(at, 'accepted')}, "
                f"settled {self.get(at, 'settled')}"
                for at, (source, target) in enumerate(self.pairs)
                if self.get(at, "settled") < self.get(at, "accepted")]


class Storm:
    def __init__(self, hosts, dice):
        self.hosts = hosts
        self.dice = dice
        self.places = dict(SENDERS | RECEIVERS)
        self.nodes = {}
        self.back = []  # seconds from a mended network to traffic on all channels
        self.deaths = 0
        pairs = [(source, target) for source in SENDERS for target in RECEIVERS]
        self.state = State(os.path.join(hosts.dir, "state"), pairs, 2000 * SCALE)
        for node in self.places:
            self.start(node)

    def start(self, node):
        mode = "send" if node in SENDERS else "recv"
        host = self.hosts[self.places[node]]
        self.nodes[node] = subprocess.Popen(
            host.inside(PROG, mode, self.state.path, node), env=host.environment())

    def kill(self, node):
        self.deaths += 1
        self.nodes[node].kill()
        self.nodes[node].wait()

    def some_host(self):
        return self.dice.choice(self.hosts.hosts)

    def a_while(self, most=0.3):
        rest(self.dice.random() * most)

    def traffic(self, began):
        """Until something came on each channel, sent or not, since then."""
        end = time.monotonic() + 30 * SCALE
        chans = range(len(self.state.pairs))
        self.asked = []  # what the daemons said of slow ones while these were slow
        self.first = {}  # channel: ns from then to its first message, or the look that found it
        while min(self.state.get(at, "came") for at in chans) < began:
            self.note_first(began)
            if KIND == "cuts" and not self.asked and time.monotonic() > began / 1e9 + 0.07:
                self.ask(chans)
            self.state.check()
            if time.monotonic() > end:
                quiet = [self.state.pairs[at] for at in chans if self.state.get(at, "came") < began]
                for source, target in quiet:
                    for host in self.hosts.hosts:
                        out, err, _ = host.tram("trace", "--from", source, "--to", target,
                                                expect=None)
                        print(f"{host.name}: {out}{err}", flush=True)
                raise AssertionError(f"nothing came for 30 s: {quiet}")
            rest(0.002)
        self.note_first(began)
        return time.monotonic() - began / 1e9

    def note_first(self, began):
        for at in range(len(self.state.pairs)):
            came = self.state.get(at, "came")
            if came >= began:
                self.first.setdefault(at, came - began)

    def ask(self, chans):
        for at in chans:
            if at not in self.first:
                source, target = self.state.pairs[at]
                for host in self.hosts.hosts:
                    out, err, _ = host.tram("trace", "--from", source, "--to", target, expect=None)
                    self.asked.append(f"{host.name}: {out}{err}")

    # ---- faults ----

    def pull(self):
        host = self.some_host()
        host.cut()
        self.a_while()
        host.mend()

    def unplug(self):
        """As pull, but carrier stays, of which the kernel may tell a second late."""
        host = self.some_host()
        ip("link", "set", host.port, "nomaster")
        self.a_while(1)
        ip("link", "set", host.port, "master", "tram0")
        self.back.append(self.traffic(time.monotonic_ns()))

    def flap(self):
        host = self.some_host()
        for _ in range(3):
            host.cut()
            rest(0.1)
            host.mend()
            rest(0.1)

    def kill_daemon(self):
        self.some_host().restart()

    def kill_two_daemons(self):
        one, other = self.dice.sample(self.hosts.hosts, 2)
        one.stop()
        other.stop()
        self.a_while(0.1)
        other.start()
        one.start()

    def stop_daemon(self):
        daemon = self.some_host().daemon
        daemon.send_signal(signal.SIGSTOP)
        self.a_while(0.6)
        daemon.send_signal(signal.SIGCONT)

    def stop_node(self):
        node = self.nodes[self.dice.choice(list(self.nodes))]
        node.send_signal(signal.SIGSTOP)
        self.a_while(0.6)
        node.send_signal(signal.SIGCONT)

    def kill_sender(self):
        node = self.dice.choice(list(SENDERS))
        self.kill(node)
        self.start(node)

    def kill_receiver(self):
        node = self.dice.choice(list(RECEIVERS))
        self.kill(node)
        self.a_while(0.05)
        self.start(node)

    def kill_receiver_often(self):
        """Ten times in a second."""
        node = self.dice.choice(list(RECEIVERS))
        for _ in range(10):
            self.kill(node)
            self.start(node)
            rest(0.1)

    def move_receiver(self):
        node = self.dice.choice(list(RECEIVERS))
        self.kill(node)
        self.places[node] = self.dice.choice("abc")
        chans = [at for at, pair in enumerate(self.state.pairs) if pair[1] == node]
        for at in chans:  # what had left for the old host is not provably new: it may be marked
            self.state.put(at, "unsure", 1 << 62)
        self.start(node)
        self.traffic(time.monotonic_ns())
        for at in chans:
            self.state.put(at, "unsure", self.state.get(at, "tried"))

    def black_hole(self):
        one, other = self.dice.sample(self.hosts.hosts, 2)
        where = ("dev", "eth0")
        ip("neigh", "replace", other.address, "lladdr", "02:00:00:00:00:99", *where, "nud",
           "permanent", inside=one.space.pid)
        self.a_while(0.5)
        ip("neigh", "del", other.address, *where, inside=one.space.pid)

    def reset(self):
        one, other = self.dice.sample(self.hosts.hosts, 2)
        subprocess.run(one.inside("ss", "-K", "dst", other.address), check=True,
                       capture_output=True)

    def shape(self, *how):
        host = self.some_host()
        subprocess.run(host.inside("tc", "qdisc", "add", "dev", "eth0", "root", *how), check=True,
                       capture_output=True)
        self.a_while(0.5)
        subprocess.run(host.inside("tc", "qdisc", "del", "dev", "eth0", "root"), check=True,
                       capture_output=True)

    def narrow(self):
        self.shape("tbf", "rate", "2mbit", "burst", "8kb", "latency", "50ms")

    def lossy(self):
        self.shape("netem", "loss", "20%", "delay", "2ms")

    # ---- all of it ----

    def faults(self):
        """Those that this kernel has tools for."""
        all_of_them = [self.pull, self.unplug, self.flap, self.kill_daemon, self.kill_two_daemons,
                       self.stop_daemon, self.stop_node, self.kill_sender, self.kill_receiver,
                       self.kill_receiver_often, self.move_receiver, self.black_hole, self.reset,
                       self.narrow, self.lossy]
        found = []
        for fault in all_of_them:
            if fault in (self.reset, self.narrow, self.lossy):
                try:
                    fault()
                except (subprocess.CalledProcessError, OSError) as what:
                    print(f"left out: {fault.__name__}: {what}")
                    continue
            found.append(fault)
        return found

    def end(self):
        self.state.end(1)
        end = time.monotonic() + 30 * SCALE
        for node in self.nodes.values():
            while node.poll() is None and time.monotonic() < end:
                self.state.check()
                rest(0.01)
        behind = self.state.behind()
        self.state.end(2)
        for node in self.nodes.values():
            node.wait(20 * SCALE)
        self.state.check()
        assert not behind, f"30 s after the end of all faults: {behind}"

    def stop(self):
        for node in self.nodes.values():
            node.kill()
            node.wait()


def holds(host):
    """Descriptors and KiB of its daemon."""
    pid = host.daemon.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        size = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), size


def storm(hosts, dice):
    it = Storm(hosts, dice)
    counts = {}
    for at in range(len(it.state.pairs)):  # so that who is killed has one in hand, now and then
        it.state.put(at, "hold", 100)
    try:
        it.traffic(time.monotonic_ns())
        faults = it.faults()
        began = time.monotonic()
        for turn in range(FAULTS):
            fault = faults[turn] if turn < len(faults) else dice.choice(faults)
            counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
            if os.environ.get("STORM_VERBOSE"):
                print(f"{time.monotonic() - began:.2f} {fault.__name__}", flush=True)
            fault()
            it.a_while(0.1)
            it.state.check()
        spent = time.monotonic() - began
        it.traffic(time.monotonic_ns())
        it.end()
    except BaseException:
        print(f"seed {SEED}, after {counts}; {it.state.behind()}", flush=True)
        raise
    finally:
        it.stop()
    sent, again = it.state.sum("accepted"), it.state.sum("repeats")
    assert again <= it.deaths * len(it.state.pairs) // 2, f"{again} came again, {it.deaths} died"
    for host in hosts.hosts:
        fds, size = holds(host)
        assert fds < 120 and size < 64 << 10 << (4 if SCALE > 1 else 0), \
            f"the daemon of {host.name} holds {fds} descriptors, {size} KiB"
    back = sorted(it.back)
    print(f"seed {SEED}: {sum(counts.values())} faults of {len(counts)} kinds in {spent:.0f} s, "
          f"{sent} messages, {again} came again; after a cut traffic was back on all channels "
          f"within {statistics.median(back) * 1000:.0f} ms, at most {back[-1] * 1000:.0f} ms")


def all_know(hosts):
    def they_know_each_other():
        for host in hosts.hosts:
            out, _, code = host.tram("links", "--json", expect=None)
            if code != 0 or out.count('"up":true') + out.count('"up": true') < 2:
                return False
        return True

    return they_know_each_other


# ---- one kind, for long ----


def seconds_of(pid):
    """Of a core, so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def neighbours(hosts):
    """What the kernels know of each other's cards: a cut may end while one is asked for."""
    return [f"{host.name}: " + subprocess.run(host.inside("ip", "-4", "neigh"), check=True,
                                              capture_output=True, text=True).stdout.strip()
            for host in hosts.hosts]


def tell_cut(it, length, mended, seen, logs):
    """What there is to say of a cut after which it took too long."""
    print(f"a cut of {length:.2f} s, mended at {mended}: traffic was back after "
          f"{it.back[-1] * 1000:.0f} ms")
    for at, (source, target) in enumerate(it.state.pairs):
        print(f"  {source} to {target}: {it.first[at] / 1e6:.0f} ms")
    print("\n".join(f"  {line}" for text in seen + it.asked for line in text.splitlines()))
    for host, size in zip(it.hosts.hosts, logs):
        print("\n".join(f"  {host.name}: {line}" for line in host.said()[size:].splitlines()),
              flush=True)


def cuts(hosts, dice):
    it = Storm(hosts, dice)
    try:
        it.traffic(time.monotonic_ns())
        for _ in range(FAULTS):
            host = it.some_host()
            length = 0.2 + dice.random() * 4.8
            logs = [len(other.said()) for other in hosts.hosts]
            ip("link", "set", host.port, "nomaster")
            rest(length)
            seen = neighbours(hosts)
            mended = datetime.datetime.now(datetime.timezone.utc).isoformat()
            ip("link", "set", host.port, "master", "tram0")
            it.back.append(it.traffic(time.monotonic_ns()))
            if it.back[-1] > 0.1:
                tell_cut(it, length, mended, seen, logs)
            it.a_while(0.6)
        it.end()
    finally:
        it.stop()
    back = sorted(it.back)
    print(f"seed {SEED}: {len(back)} cuts of 0.2 to 5 s; traffic was back on all channels after "
          f"{statistics.median(back) * 1000:.0f} ms, nine in ten within "
          f"{back[len(back) * 9 // 10] * 1000:.0f}, at most {back[-1] * 1000:.0f}")
    # (A second of ARP is in it, now and then.)
    assert statistics.median(back) < 0.1 * SCALE and back[-1] < 2 * SCALE, "that is too long"


def price(it, act):
    """What a message costs while that goes on: us of a core, of daemons and nodes."""
    pids = [host.daemon.pid for host in it.hosts.hosts] + [node.pid for node in it.nodes.values()]
    spent, came = -sum(seconds_of(pid) for pid in pids), -it.state.sum("settled")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        act()
        it.state.check()
    it.traffic(time.monotonic_ns())
    spent += sum(seconds_of(pid) for pid in pids)
    came += it.state.sum("settled")
    return spent / came * 1e6, came


def flaps(hosts, dice):
    it = Storm(hosts, dice)

    def flap():
        hosts["b"].cut()
        rest(0.2)
        hosts["b"].mend()
        rest(0.2)

    try:
        it.traffic(time.monotonic_ns())
        quiet, _ = price(it, lambda: rest(0.2))
        flapping, came = price(it, flap)
        it.end()
    finally:
        it.stop()
    print(f"seed {SEED}: {SECONDS:.0f} s of flapping, {came} messages, each for {flapping:.0f} us "
          f"of a core, {flapping / quiet:.2f} times the {quiet:.0f} of an undisturbed one")
    assert flapping <= 2 * quiet, "a message costs too much while the link flaps"


def beside_dead(hosts, _):
    one, other = hosts["a"], hosts["b"]
    assert one.tram("send", "--from", "1.0.0.1", "--to", "1.0.0.11", expect=None, given=b"x\n")
    other.stop()
    for how, act in (("refuses", lambda: None), ("does not answer", other.cut)):
        act()
        rest(8)  # its back-off is at its end
        spent, began = seconds_of(one.daemon.pid), time.monotonic()
        rest(SECONDS)
        share = (seconds_of(one.daemon.pid) - spent) / (time.monotonic() - began)
        print(f"beside a dead host that {how}: {share * 100:.2f} % of a core")
        assert share < 0.01 * SCALE, "that is too much"


KINDS = {"": storm, "cuts": cuts, "flaps": flaps, "rest": beside_dead}


def main():
    cluster.enter()
    with Cluster(["a", "b", "c"]) as hosts:
        until(all_know(hosts))
        KINDS[KIND](hosts, random.Random(SEED))
    print("1 passed, 0 failed, 0 skipped")


main()
