#!/usr/bin/env python3
# test: timeout=60
"""The tool's verbs around services, beside a daemon, a typed server and a raw one."""

import json
import os
import select
import signal
import subprocess
import sys
import time

BUILD = os.environ["TRAM_BUILD"]
TRAM = os.environ["TRAM_BIN"]
SCALE = int(os.environ.get("TRAM_TIME_SCALE") or 1)
BIN = os.path.join(BUILD, "bin")
PATIENCE = str(10000 * SCALE)

complaints = []
running = []


def same(title, got, want):
    if got != want:
        complaints.append(f"{title}: {got!r}, not {want!r}")


def tram(*args, expect=0, given=None):
    done = subprocess.run([TRAM, *args], input=given, capture_output=True, timeout=30 * SCALE,
                          check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    if done.returncode != expect:
        complaints.append(f"tram {' '.join(args)}: exit code {done.returncode}, not {expect}: "
                          f"{out}{err}")
    return out, err


def start(name, *args, **more):
    process = subprocess.Popen([os.path.join(BIN, name), *args], **more)
    running.append(process)
    return process


def end(process, number=signal.SIGKILL):
    process.send_signal(number)
    process.wait(20 * SCALE)
    running.remove(process)


class Lines:
    """The lines that a process prints, as they come."""

    def __init__(self, *args):
        self.process = subprocess.Popen([TRAM, *args], stdout=subprocess.PIPE)
        running.append(self.process)
        self.rest = b""

    def next(self):
        until = time.monotonic() + 20 * SCALE
        while b"\n" not in self.rest:
            left = until - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"nothing came: {self.process.args}")
            self.rest += os.read(self.process.stdout.fileno(), 65536)
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()


def without_a_daemon():
    _, err = tram("ls", "services", expect=3)
    same("no daemon is said", "no daemon runs" in err, True)
    _, err = tram("call", "--raw", "hello", "0", expect=3)
    same("no daemon is said to a call", "no daemon runs" in err, True)
    _, err = tram("wait", "--timeout", "20", "hello", expect=5)
    same("not served", "not served yet" in err, True)


def lists():
    found = json.loads(tram("ls", "services", "--json")[0])
    same("services", [s["name"] for s in found["services"]], ["hello", "ranking"])
    same("a node", found["services"][1]["node"], "1.1.7.2")
    same("a program", found["services"][0]["program"], "service_hello_server"[:31])
    found = json.loads(tram("ls", "services", "--json", "svc://h*")[0])
    same("a pattern", [s["name"] for s in found["services"]], ["hello"])
    same("a table", tram("ls", "services")[0].split("\n")[1].split()[:2], ["hello", "1.1.7.1"])
    same("who asks is no client", json.loads(tram("ls", "clients", "--json")[0])["clients"], [])
    same("no events", json.loads(tram("ls", "events", "--json", "hello")[0])["events"], [])
    tram("ls", "clients", "nobody", expect=3)
    tram("ls", "services", "a b", expect=2)
    tram("ls", "services", "a", "b", expect=2)
    tram("ls", "nothing", expect=2)


def follows(ranking):
    lines = Lines("ls", "services", "--follow", "--json")
    same("what is there", len(json.loads(lines.next())["services"]), 2)
    end(ranking)
    change = json.loads(lines.next())
    same("offline", (change["event"], change["name"]), ("offline", "ranking"))
    tram("wait", "--gone", "--timeout", PATIENCE, "ranking")
    tram("wait", "--gone", "--timeout", "20", "hello", expect=5)
    start("typed_server")
    change = json.loads(lines.next())
    same("online", (change["event"], change["name"]), ("online", "ranking"))
    end(lines.process, signal.SIGINT)
    same("a signal ends it well", lines.process.returncode, 0)
    tram("wait", "--timeout", PATIENCE, "svc://ranking")


def clients():
    ping = Lines("ping", "--interval", "100", "--json", "ranking")
    ping.next()
    found = json.loads(tram("ls", "clients", "--json", "svc://ranking")[0])["clients"]
    same("a client", [(c["service"], c["program"], c["pid"]) for c in found],
         [("ranking", os.path.basename(TRAM), ping.process.pid)])
    lines = Lines("ls", "clients", "--follow", "--json", "r*")
    same("clients", len(json.loads(lines.next())["clients"]), 1)
    end(ping.process, signal.SIGINT)
    same("ping after a signal", ping.process.returncode, 0)
    same("a client that went", json.loads(lines.next())["event"], "gone")
    end(lines.process, signal.SIGINT)


def pings():
    told = tram("ping", "--count", "3", "--interval", "1", "hello")[0].split("\n")
    same("pings", [line.split(":")[0].split(",")[0].split(" at ")[0] for line in told[:3]],
         ["hello"] * 3)
    same("the sum", told[3].startswith("3 of 3 answered"), True)
    tram("ping", "--count", "1", "nobody", expect=3)


def raw_calls():
    same("raw", tram("call", "--raw", "svc://hello", "0", "world")[0], "hello, world")
    same("raw input", tram("call", "--raw", "hello", "0", "-", given=b"you")[0], "hello, you")
    same("raw, nothing", tram("call", "--raw", "hello", "0")[0], "hello, ")
    told = json.loads(tram("call", "--hex", "--json", "shm://1.1.7.1/hello", "0", "796f 75")[0])
    same("hex", told, {"size": 10, "text": "hello, you"})
    tram("call", "--hex", "hello", "0", "7", expect=2)
    tram("call", "--raw", "hello", expect=2)
    tram("call", "hello", "Hello", "{}", expect=1)
    tram("call", "--raw", "nobody", "0", expect=3)
    tram("call", "--raw", "no body", "0", expect=2)


def typed_calls():
    same("Report", json.loads(tram("call", "ranking", "Report",
                                   '{"player": "ann", "points": "7"}')[0]), {"place": 1})
    tram("call", "ranking", "Report", '{"player": "bob", "points": 9}')
    best = {"scores": [{"player": "bob", "points": "9"}, {"player": "ann", "points": "7"}]}
    same("Best", json.loads(tram("call", "svc://ranking", "tram.example.Ranking.Best",
                                 '{"limit": 5}')[0]), best)
    same("Best of input", json.loads(tram("call", "ranking", "Ranking.Best", "-",
                                          given=b'{"limit": 5}')[0]), best)
    same("Best of nothing", json.loads(tram("call", "ranking", "Best")[0]), {"scores": []})
    told = json.loads(tram("call", "--hex", "--json", "ranking", "tram.example.Ranking.Best",
                           "0801")[0])
    same("typed in hex", told["size"], 9)
    _, err = tram("call", "ranking", "Report", f'{{"player": "{"x" * 99}"}}', expect=1)
    same("an error", "error 1: too many players, or too long a name" in err, True)
    _, err = tram("call", "--hex", "ranking", "tram.example.Ranking.Best", "08ff", expect=1)
    same("nonsense", "error -74" in err, True)
    tram("call", "ranking", "Worst", "{}", expect=3)
    _, err = tram("call", "ranking", "Best", '{"limit": "many"}', expect=2)
    same("bad JSON", "limit" in err, True)
    tram("call", "ranking", "Best", '{"limits": 1}', expect=2)
    tram("call", "ranking", "Best", "{", expect=2)


def stopped(ranking):
    ranking.send_signal(signal.SIGSTOP)
    tram("call", "--timeout", "50", "--raw", "ranking", "0", expect=5)
    tram("ping", "--count", "1", "--timeout", "50", "ranking", expect=5)
    tram("describe", "--timeout", "50", "ranking", expect=5)
    ranking.send_signal(signal.SIGCONT)


def events():
    sub = Lines("sub", "--count", "3", "--json", "weather")
    tram("pub", "--wait", "1", "--topic", "wind/north", "weather", "7", given=b"rain\nsun\n")
    tram("pub", "--wait", "1", "weather", "8", "storm")
    got = [json.loads(sub.next()) for _ in range(3)]
    same("events", [(e["number"], e["topic"], e["text"]) for e in got],
         [(7, "wind/north", "rain"), (7, "wind/north", "sun"), (8, "", "storm")])
    same("sub ends", sub.process.wait(20 * SCALE), 0)
    running.remove(sub.process)
    sub = Lines("sub", "--hz", "--bw", "--json", "weather")
    tram("pub", "--wait", "1", "weather", "7", given=b"rain\nsun\n")
    told = {"events": 0}
    while told["events"] < 2:
        told = json.loads(sub.next())
    same("rates", (told["events"], told["bytes"], told["hz"] > 0, told["bytes_per_s"] > 0),
         (2, 7, True, True))
    sub.process.kill()
    pub = Lines("pub", "--keep", "--linger", "20000", "kept", "7", "late")
    same("a value that was kept", tram("sub", "--initial", "1", "--count", "1", "--json", "kept")[0]
         .count('"late"'), 1)
    pub.process.kill()
    sub = Lines("sub", "--count", "1", "topic://chat")
    tram("pub", "--wait", "1", "topic://chat", "1", "hi")
    same("a topic", sub.next(), "1 - hi")
    same("sub of a topic ends", sub.process.wait(20 * SCALE), 0)
    running.remove(sub.process)
    listed_events()
    _, err = tram("pub", "hello", "1", "x", expect=4)
    same("a name that is held", "is served by service_hello_" in err, True)
    tram("pub", "--set", "hello", "1", "x", expect=1)
    tram("pub", "--set", "nobody", "1", "x", expect=3)
    tram("sub", "--timeout", "20", "nobody", expect=5)
    tram("sub", "--raw", "--json", "hello", expect=2)


def listed_events():
    """What servers keep, and who has subscribed to what."""
    sub = Lines("sub", "--topic", "wind/*", "--block", "--json", "station", "7")
    last = Lines("sub", "--json", "station")
    pub = subprocess.Popen([TRAM, "pub", "--wait", "2", "--keep", "--topic", "wind/north",
                            "--linger", "60000", "station", "7"], stdin=subprocess.PIPE)
    running.append(pub)
    pub.stdin.write(b"calm\nstorm\n")
    pub.stdin.flush()
    same("both come", [json.loads(sub.next())["text"] for _ in range(2)], ["calm", "storm"])
    same("to the other", [json.loads(last.next())["text"] for _ in range(2)], ["calm", "storm"])
    found = json.loads(tram("ls", "events", "--json", "station")[0])["events"]
    same("a kept value", found,
         [{"service": "station", "number": 7, "topic": "wind/north", "published": 2, "cached": 1,
           "size": 5, "text": "storm"}])
    want = {sub.process.pid: ["7 wind/* block, 0 behind, 0 missed"],
            last.process.pid: ["*, 0 behind, 0 missed"]}
    until = time.monotonic() + 20 * SCALE
    said = None
    while said != want and time.monotonic() < until:  # they print, and then say how far they are
        found = json.loads(tram("ls", "clients", "--json", "station")[0])["clients"]
        said = {c["pid"]: c["subscriptions"] for c in found}
    same("subscriptions", said, want)
    same("in a table", "events 7 wind/* block, 0 behind" in tram("ls", "clients", "station")[0],
         True)
    lines = Lines("ls", "events", "--follow", "--json", "station")
    same("what is there", json.loads(lines.next())["events"][0]["text"], "storm")
    pub.stdin.write(b"breeze\n")
    pub.stdin.flush()
    change = json.loads(lines.next())
    same("a change", (change["event"], change["published"], change["text"]),
         ("changed", 3, "breeze"))
    for each in (lines.process, sub.process, last.process):
        end(each, signal.SIGINT)
    pub.stdin.close()
    end(pub)


def removed(hello):
    """What a publisher that was killed leaves goes with its node."""
    sub = Lines("sub", "--durable", "log", "hello")
    until = time.monotonic() + 20 * SCALE
    while ("durable" not in tram("ls", "clients", "hello")[0]) and time.monotonic() < until:
        pass
    end(hello)
    end(sub.process)
    path = json.loads(tram("ls", "services", "--json")[0])["path"]

    def of_hello():
        names = os.listdir(os.path.join(path, "events"))
        return sorted("@" in name for name in names if name.startswith("1.1.7.1-"))

    same("a ring and a reader are left", of_hello(), [False, True])
    tram("rm", "--force", "1.1.7.1")
    same("they go with the node", of_hello(), [])


def described():
    text = tram("describe", "ranking")[0]
    same("a method", "tram.example.Ranking.Best(tram.example.Limit)" in text, True)
    same("the source", "  int64 points = 2;\n" in text, True)
    told = json.loads(tram("describe", "--json", "ranking")[0])
    number = 0x811c9dc5
    for byte in b"tram.example.Ranking.Report":
        number = (number ^ byte) * 0x01000193 & 0xffffffff
    same("a number", told["methods"][0]["number"], number)
    same("a comment", told["methods"][0]["comment"], "Add points to a player's.")
    same("nobody asks", told["clients"], 0)
    out, err = tram("describe", "hello")
    same("no descriptors", ("hello: node" in out, "gave no descriptors" in err), (True, True))
    tram("describe", "nobody", expect=3)


def main():
    if os.environ.get("TRAM_SERVICE") == "OFF":
        print("skipped: services are not built")
        return 77
    without_a_daemon()
    start("tramd", stderr=subprocess.DEVNULL)
    ranking = start("typed_server")
    hello = start("service_hello_server")
    for name in ("ranking", "hello"):
        tram("wait", "--timeout", PATIENCE, name)
    lists()
    raw_calls()
    pings()
    clients()
    if "left out: JSON" not in open(os.path.join(BUILD, "configure.log"), encoding="utf-8").read():
        typed_calls()
        described()
    events()
    stopped(ranking)
    follows(ranking)
    removed(hello)
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    try:
        code = main()
    finally:
        for process in running:
            process.kill()
            process.wait()
    sys.exit(code)
