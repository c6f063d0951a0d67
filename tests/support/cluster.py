"""Hosts for tests: network namespaces with veth on a bridge, each with a bus directory and a tramd
of its own. The test runs itself again in namespaces of its own (enter()), so that nothing of it is
seen outside, and no rights are needed where the kernel lets anybody have them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

BUILD = os.environ["TRAM_BUILD"]
BIN = os.path.join(BUILD, "bin")
TRAM = os.environ.get("TRAM_BIN") or os.path.join(BIN, "tram")
SCALE = int(os.environ.get("TRAM_TIME_SCALE") or 1)
PATIENCE = int(os.environ.get("PATIENCE") or 60) * SCALE


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def enter():
    """Go on in a network of our own."""
    if os.environ.get("TRAM_SERVICE") == "OFF":
        skip("this build has no services")
    if os.environ.get("TRAM_NETWORK"):
        return
    wanted = ["--net", "--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net",
                                                             "--mount"]
    for tool in ("ip", "nsenter", "unshare"):
        if subprocess.run(["sh", "-c", f"command -v {tool}"], stdout=subprocess.DEVNULL,
                          check=False).returncode != 0:
            skip(f"there is no {tool}")
    probe = subprocess.run(["unshare", *wanted, "ip", "link", "add", "tram0", "type", "bridge"],
                           capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        skip(f"the kernel gives no network of our own: {probe.stderr.strip()}")
    os.environ["TRAM_NETWORK"] = "1"
    os.execvp("unshare", ["unshare", *wanted, "--", sys.executable, *sys.argv])


def ip(*args, inside=None):
    command = ["ip", *args]
    if inside:
        command = ["nsenter", "-t", str(inside), "-n", *command]
    subprocess.run(command, check=True, capture_output=True)


def until(what, seconds=20, every=0.02):
    """Wait for it; what it gave."""
    end = time.monotonic() + seconds * SCALE
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what.__name__}")
        select_sleep(every)


def select_sleep(seconds):
    """Between two looks."""
    signal.sigtimedwait([], seconds)


def net(segment, number, family=4):
    """An address of that segment."""
    return f"10.9.{segment}.{number}" if family == 4 else f"fd00:9:{segment}::{number}"


class Host:
    def __init__(self, cluster, name, number, segments=(0,), family=4):
        self.cluster = cluster
        self.name = name
        self.number = number
        self.addresses = [net(segment, number, family) for segment in segments]
        self.address = self.addresses[0]
        self.dir = os.path.join(cluster.dir, name)
        os.mkdir(self.dir, 0o700)
        self.log = os.path.join(cluster.dir, f"{name}.log")
        self.config = os.path.join(cluster.dir, f"{name}.conf")
        self.daemon = None
        self.running = []
        self.space = subprocess.Popen(["unshare", "--net", "sleep", "100000"])
        mine = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{self.space.pid}/ns/net") != mine)
        self.ports = []
        for number_of, segment in enumerate(segments):
            self.join(f"eth{number_of}", segment)
        self.port = self.ports[0]
        ip("link", "set", "lo", "up", inside=self.space.pid)

    def join(self, interface, segment):
        """A cable to that segment's bridge, with an address of either family."""
        bridge, port = f"tram{segment}", f"tram-{self.name}{segment or ''}"
        if subprocess.run(["ip", "link", "show", bridge], capture_output=True,
                          check=False).returncode != 0:
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")
        ip("link", "add", port, "type", "veth", "peer", "name", interface, "netns",
           str(self.space.pid))
        ip("link", "set", port, "master", bridge, "up")
        ip("addr", "add", f"{net(segment, self.number)}/24", "dev", interface,
           inside=self.space.pid)
        ip("addr", "add", f"{net(segment, self.number, 6)}/64", "dev", interface, "nodad",
           inside=self.space.pid)
        ip("link", "set", interface, "up", inside=self.space.pid)
        self.ports.append(port)

    def environment(self):
        more = {"TRAM_KEYS": self.cluster.bundle(self),
                "LD_LIBRARY_PATH": os.path.join(BUILD, "lib")} if self.cluster.keys else {}
        return {**os.environ, "TRAM_DIR": self.dir, **more}

    def inside(self, *command):
        return ["nsenter", "-t", str(self.space.pid), "-n", *command]

    def configure(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, prepare=None, **environment):
        """`prepare` is called in the daemon's process, before it is that."""
        assert not self.daemon
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                self.inside(os.path.join(BIN, "tramd"), "--config", self.config),
                env={**self.environment(), **environment}, stderr=log, preexec_fn=prepare)
        return self

    def stop(self, number=signal.SIGKILL):
        if self.daemon:
            if number == signal.SIGKILL and os.environ.get("TRAM_COVERAGE") == "ON":
                self.daemon.send_signal(signal.SIGRTMAX)  # writes its counters, and kills itself
                with contextlib.suppress(subprocess.TimeoutExpired):  # it may be stopped
                    self.daemon.wait(1)
            self.daemon.send_signal(number)
            code = self.daemon.wait(20 * SCALE)
            self.daemon = None
            assert code == (0 if number == signal.SIGTERM else -number), (
                f"the daemon of {self.name} ended by {code}: {self.said()[-4000:]}")

    def restart(self):
        self.stop()
        self.start()

    def cut(self):
        ip("link", "set", self.port, "down")

    def mend(self):
        ip("link", "set", self.port, "up")

    def run(self, program, *args, **more):
        """A program on this host."""
        process = subprocess.Popen(self.inside(os.path.join(BIN, program), *args),
                                   env=self.environment(), **more)
        self.running.append(process)
        return process

    def tram(self, *args, given=None, expect=0, seconds=30):
        done = subprocess.run(self.inside(TRAM, *args), env=self.environment(), input=given,
                              capture_output=True, timeout=seconds * SCALE, check=False)
        out, err = done.stdout.decode(), done.stderr.decode()
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"{self.name}: tram {' '.join(args)}: {done.returncode}, not "
                                 f"{expect}: {out}{err}")
        return out, err, done.returncode

    def json(self, *args):
        return json.loads(self.tram(*args, "--json")[0])

    def has(self, node):
        """Is it open here? It is listed from the moment that its folder is there."""
        out, _, code = self.tram("ls", "--json", node, expect=None)
        return code == 0 and any(n["id"] == node and n["state"] == "up"
                                 for n in json.loads(out)["nodes"])

    def said(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()


class Cluster:
    """Hosts on one segment, or those that are said; `server`: who is the host server (None: the
    config lists them); `keys`: with a CA and certificates, `days`: that
    end after so many, by name."""

    def __init__(self, names, server="first", extra="", hosts=None, segments=None, family=4,
                 keys=False, days=None):
        self.dir = os.path.join(os.environ["TRAM_DIR"], f"cluster-{time.monotonic_ns()}")
        os.makedirs(self.dir, 0o700)
        ip("link", "set", "lo", "up")
        self.hosts = [Host(self, name, i + 1, (segments or {}).get(name, (0,)), family)
                      for i, name in enumerate(names)]
        self.server = names[0] if server == "first" else server
        self.keys = os.path.join(self.dir, "ca") if keys else None
        if keys:
            for words in (("init", "test"),
                          *(("host", "--days", str((days or {}).get(name, 365)), name)
                            for name in names)):
                subprocess.run([TRAM, "keys", "--keys", self.keys, *words], cwd=self.dir,
                               check=True, capture_output=True)
        for host in self.hosts:
            host.configure(self.text(host, extra, hosts or {}))

    def bundle(self, host):
        return os.path.join(self.dir, f"{host.name}.keys")

    def text(self, host, extra, hosts):
        first = next((h for h in self.hosts if h.name == self.server), None)
        lines = ["[log]", "level = debug", "[cluster]", "name = test", f"host = {host.name}",
                 f"listen = {' '.join(host.addresses)}",
                 f"keys = {self.bundle(host)}" if self.keys else "insecure = yes",
                 f"heartbeat = {200 * SCALE}ms"]
        if first:
            named = f"{first.name}@" if self.keys else ""
            where = "here" if host is first else " ".join(f"{named}{at}" for at in first.addresses)
            lines.append(f"host-server = {where}")
        lines.append(extra)
        for other in self.hosts:
            lines.append(f"[host {other.name}]")
            if not first:
                lines += [f"address = {' '.join(other.addresses)}",
                          f"allow-ids = 1.{other.number}.0.0/16"]
            lines += hosts.get(other.name, [])
        return "\n".join(lines) + "\n"

    def __getitem__(self, name):
        return next(host for host in self.hosts if host.name == name)

    def start(self):
        for host in self.hosts:
            host.start()
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *more):
        for host in self.hosts:
            if host.daemon and host.daemon.poll() is not None:
                died = host.daemon.returncode
                host.daemon = None
                if kind is None:
                    raise AssertionError(f"the daemon of {host.name} died: {died}")
                print(f"---- the daemon of {host.name} died: {died}", file=sys.stderr)
            if host.daemon:
                host.stop(signal.SIGTERM if kind is None else signal.SIGKILL)
            for process in [*host.running, host.space]:
                process.kill()
                process.wait()
            for port in host.ports:
                subprocess.run(["ip", "link", "del", port], capture_output=True, check=False)
        if kind is not None:
            for host in self.hosts:
                print(f"---- {host.name}", file=sys.stderr)
                lines = [line for line in host.said().splitlines() if ") is there" not in line]
                print("\n".join(lines[-60:]), file=sys.stderr)


class Feed:
    """A sender that is given numbered messages little by little, each with `size` bytes more."""

    def __init__(self, host, source, target, first=0, size=0):
        self.host, self.source, self.count = host, source, first
        self.fill = " " + "x" * size if size else ""
        self.process = host.run("tram", "send", "--from", source, "--to", target,
                                stdin=subprocess.PIPE)

    def more(self, count):
        lines = "".join(f"message {self.count + i}{self.fill}\n" for i in range(count))
        self.count += count
        self.process.stdin.write(lines.encode())
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60 * SCALE) == 0


def lose(host):
    """Its processes and its memory; what else it has is there again at once."""
    host.stop()
    for process in host.running:
        process.kill()
        process.wait()
    host.running.clear()
    shutil.rmtree(host.dir)
    os.mkdir(host.dir, 0o700)
    host.start()


def receive(host, node, count):
    """A node that is opened there, and ends when it has so many."""
    return host.run("tram", "recv", "--id", node, "--count", str(count), "--json",
                    stdout=subprocess.PIPE, text=True)


def texts(process):
    """What it received, once it has ended."""
    out, _ = process.communicate(timeout=PATIENCE)
    return [json.loads(line) for line in out.splitlines()]


def rest(seconds):
    select_sleep(seconds * SCALE)


def apart(one, other, act):
    """A black hole between two hosts; `act`: replace, del."""
    for here, there in ((one, other), (other, one)):
        wrong = ("lladdr", "02:00:00:00:00:99") if act == "replace" else ()
        ip("neigh", act, there.address, *wrong, "dev", "eth0",
           *(("nud", "permanent") if wrong else ()), inside=here.space.pid)


# ---- tests -----------------------------------------------------------------------------------


tests = []


def test(function):
    tests.append(function)
    return function


def all_know(hosts):
    """Each that runs has a link to each other one."""

    def it():
        for host in hosts:
            if not host.daemon:
                continue
            out, _, code = host.tram("hosts", "--json", expect=None)
            if code != 0:
                return False
            seen = json.loads(out)["hosts"]
            if len(seen) != len(hosts) or not all(h["up"] for h in seen):
                return False
        return True

    return it


def run_tests():
    """All, or those that the command line names, in a network of their own."""
    enter()
    wanted = sys.argv[1:]
    passed = failed = 0
    for function in tests:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
        except (AssertionError, subprocess.SubprocessError, OSError, ValueError) as what:
            lines = [frame.lineno for frame in traceback.extract_tb(what.__traceback__)]
            print(f"FAILED {function.__name__}, lines {lines}: {type(what).__name__}: {what}",
                  flush=True)
            failed += 1
        else:
            print(f"ok     {function.__name__}", flush=True)
            passed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
