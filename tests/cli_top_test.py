#!/usr/bin/env python3
# test: timeout=120
"""tram top: figures of a flow that is known, as JSON and as tables; and the screen, on a terminal
of 80 columns: keys, sizes, and that the terminal gets its modes back whatever ends it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import forge  # noqa: E402
from terminal import SCALE, Terminal  # noqa: E402

TRAM = os.environ["TRAM_BIN"]
DIR = os.environ["TRAM_DIR"]
A, B, C = "1.0.0.1", "1.0.0.2", "1.0.0.3"
LONG = ("240.240.240.240", "250.250.250.250")
SECOND = 10**9


def tram(*args, data=None, expect=0):
    done = subprocess.run([TRAM, *args], input=data, capture_output=True, timeout=60)
    assert done.returncode == expect, (args, done.returncode, done.stderr)
    return done.stdout.decode()


def send(count, sender=A, receiver=B):
    tram("send", "--from", sender, "--to", receiver, data=b"12345678\n" * count)


def fresh():
    shutil.rmtree(os.path.join(DIR, "default"), ignore_errors=True)
    return os.path.join(DIR, "default")


class Watcher:
    """tram top --json, line by line."""

    def __init__(self, *args, interval="0.1"):
        self.process = subprocess.Popen([TRAM, "top", "--json", "--interval", interval, *args],
                                        stdout=subprocess.PIPE)

    def next(self):
        return json.loads(self.process.stdout.readline())

    def row(self, look, **ends):
        found = [c for c in look["channels"] if all(c[k] == v for k, v in ends.items())]
        return found[0] if found else None

    def until(self, wanted):
        """All looks up to the one that is wanted."""
        looks = []
        end = time.monotonic() + 20 * SCALE
        while not looks or not wanted(looks[-1]):
            assert time.monotonic() < end, looks[-1]
            looks.append(self.next())
        return looks

    def close(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(20 * SCALE)
        self.process.stdout.close()
        assert code == 0, code


def sum_of(looks, key, **ends):
    """What a rate comes to over several looks."""
    total = 0
    for look in looks:
        row = look if not ends else next(
            (c for c in look["channels"] if all(c[k] == v for k, v in ends.items())), None)
        if row and row[key] is not None:
            assert row[key] >= 0, row
            total += row[key] * look["interval_ns"] / SECOND
    return total


# --- figures --------------------------------------------------------------------------------------

def test_known_flow():
    fresh()
    send(100)
    watcher = Watcher()
    first = watcher.next()
    assert first["rate"] == 0 and first["waiting"] == 100, first
    assert (first["nodes_up"], first["nodes_down"], first["nodes_never"]) == (0, 1, 1), first
    row = watcher.row(first, to=B)
    assert row["state"] == "waiting" and row["waiting_bytes"] == 100 * 40, row
    assert 0 < row["memory"] == first["memory"] <= first["space"], row
    assert row["oldest_at_least"], row
    send(5000)
    looks = watcher.until(lambda look: look["waiting"] == 5100)
    for ends in ({}, {"from": A, "to": B}):
        assert abs(sum_of(looks, "rate", **ends) - 5000) < 1, sum_of(looks, "rate", **ends)
        assert abs(sum_of(looks, "bytes_rate", **ends) - 5000 * 40) < 5
    tram("recv", "--id", B, "--count", "5099", "--out", "/dev/null")
    looks = watcher.until(lambda look: look["waiting"] == 1)
    assert sum_of(looks, "rate") == 0
    assert abs(sum_of(looks, "consumed_rate", to=B) - 5099) < 1
    watcher.close()


def test_made_anew():
    """Counts that begin again are no negative rate, and none that counts what was before."""
    fresh()
    send(1000)
    watcher = Watcher()
    watcher.next()
    tram("rm", "--force", B)
    send(7)
    looks = watcher.until(lambda look: look["waiting"] == 7)
    assert abs(sum_of(looks, "rate", to=B) - 7) < 0.5, looks
    tram("rm", "--force", B)
    looks = watcher.until(lambda look: not look["channels"])
    assert looks[-1]["rate"] == 0 and looks[-1]["channel_count"] == 0
    send(3000)
    looks = watcher.until(lambda look: look["waiting"] == 3000)
    assert abs(sum_of(looks, "rate", to=B) - 3000) < 1
    shutil.rmtree(os.path.join(DIR, "default"))
    code = watcher.process.wait(20 * SCALE)
    watcher.process.stdout.close()
    assert code == 3, code


def test_damage_has_no_rate():
    bus = forge.Bus(fresh())
    bus.node(B)
    stream = forge.Stream(A, B)
    for _ in range(50):
        stream.put(b"x")
    bus.stream(stream)
    bus.head(A, B, ident=99)
    watcher = Watcher()
    assert watcher.next()["channels"][0]["state"] == "damaged"
    bus.head(A, B)
    looks = watcher.until(lambda look: look["channels"][0]["state"] == "waiting")
    assert looks[-1]["channels"][0]["rate"] is None, looks[-1]
    bus.stream(forge.Stream(A, B).put(b"y"))  # the same channel, and its counts go back
    looks = watcher.until(lambda look: look["waiting"] == 1)
    assert looks[-1]["channels"][0]["rate"] is None, looks[-1]
    assert watcher.until(lambda look: look["channels"][0]["rate"] == 0)
    watcher.close()


def test_ages():
    """By time stamp, if it is there; else at least as long as it was seen."""
    bus = forge.Bus(fresh())
    bus.node(B)
    now = time.time_ns()
    streams = {}
    for sender, ago in ((A, 3600), (C, None), (LONG[0], -3600)):
        streams[sender] = stream = forge.Stream(sender, B)
        for i in range(5):
            stream.put(b"m%d" % i, time_ns=now - (ago - i) * SECOND if ago else 0)
        bus.stream(stream)
        bus.head(sender, B, committed=stream.places[2], consumed=2)
    watcher = Watcher()
    look = watcher.next()
    stamped, unstamped, future = (watcher.row(look, **{"from": s}) for s in streams)
    assert 3597 <= stamped["oldest_s"] <= 3600 + 20 * SCALE and not stamped["oldest_at_least"]
    assert 0 < unstamped["oldest_s"] < 60 and unstamped["oldest_at_least"]
    assert future["oldest_s"] == 0, future
    assert look["oldest_s"] == stamped["oldest_s"]
    looks = watcher.until(lambda l: watcher.row(l, **{"from": C})["oldest_s"] >= 1)
    # It moves, but what waits was there when the watch began: still at least so old.
    bus.head(C, B, committed=streams[C].places[3], consumed=3)
    row = watcher.row(watcher.until(lambda l: watcher.row(l, **{"from": C})["waiting"] == 2)[-1],
                      **{"from": C})
    assert row["oldest_s"] >= 1 and row["oldest_at_least"], row
    # All of that is consumed, and one comes: it is young.
    streams[C].put(b"new")
    bus.head(C, B, committed=streams[C].places[5], consumed=5)
    bus.stream(streams[C])
    looks = watcher.until(lambda l: watcher.row(l, **{"from": C})["waiting"] == 1)
    assert (watcher.row(looks[-1], **{"from": C})["oldest_s"] or 0) < 1, looks[-1]
    watcher.close()
    table = tram("top", "--batch", "--count", "1", "--interval", "0.1", "--sort", "age")
    rows = [line.split() for line in table.split("\n\n")[1].splitlines()[1:]]
    assert [row[0] for row in rows][0] == A and rows[0][6] in ("59m", "60m"), table


def orders(wanted):
    """The first column of tables with these options, all at once."""
    runs = [(subprocess.Popen([TRAM, "top", "--batch", "--count", "1", "--interval", "0.1",
                               *args.split()], stdout=subprocess.PIPE, text=True), args, rows)
            for args, rows in wanted.items()]
    for process, args, rows in runs:
        table = process.communicate(timeout=60)[0]
        found = [line.split()[0] for line in table.split("\n\n")[1].splitlines()[1:]]
        assert found[:len(rows)] == rows and (rows or not found), (args, found, rows)


def test_sort_and_filter():
    fresh()
    for count, sender in ((10, A), (30, C), (20, "1.0.0.11"), (0, "2.0.0.1")):
        send(count, sender)
    send(5, B, A)
    last = "1.0.0.11"
    orders({
        "--sort backlog": [C, last, A, B],
        "--sort backlog --reverse": [B, A, last, C],
        "--sort from": [A, B, C, last],
        "--sort to": [B, A, C, last],
        "--sort to --rows 2": [B, A],
        f"--sort from --filter {A}": [A, B],
        "--sort from --filter 1.0.0.1?": [last],
        "--sort from --filter waiting": [A, B, C, last],
        "--filter 3.*": [],
        "--nodes --sort backlog": [B, A],
        "--nodes --filter never": [],
        "--nodes --filter tram --sort from": [A, B, C, last, "2.0.0.1"],
    })
    tram("recv", "--id", A, "--count", "5", "--out", "/dev/null")
    orders({"--active --sort from": [A, C, last]})
    nodes = json.loads(tram("top", "--json", "--nodes", "--count", "1", "--interval", "0.1"))
    assert {n["id"]: n["waiting"] for n in nodes["nodes"]}[B] == 60, nodes


def wide_bus():
    """The longest IDs and figures, and more channels than fit."""
    bus = forge.Bus(fresh())
    bus.node(LONG[1], program=b"\xc3\xa4\x1b[31m-a-long-program-name")
    stream = forge.Stream(*LONG, tail=2**63, count=2**57, base=0)
    bus.stream(stream)
    bus.head(*LONG, aside=3)
    for i in range(40):
        sender = f"1.0.{i}.1"
        bus.node(sender)
        bus.stream(forge.Stream(sender, B).put(b"x" * i))
        bus.head(sender, B)
    return bus


def test_tables_keep_to_80_columns():
    wide_bus()
    for args in ((), ("--nodes",)):
        table = tram("top", "--batch", "--count", "1", "--interval", "0.1", *args)
        for line in table.splitlines():
            assert len(line) <= 80 and line.isprintable(), (len(line), line)
        assert "\x1b" not in table and table.count("\n") > 40


def test_mistakes():
    fresh()
    assert tram("top", "--batch", expect=3) == ""
    send(1)
    for args in (("--sort", "size"), ("--interval", "0"), ("--interval", "nan"),
                 ("--interval", "1x"), ("--count", "0"), ("--filter", "x" * 70), ("x",)):
        assert tram("top", *args, expect=2) == ""


# --- the screen -----------------------------------------------------------------------------------

def top(*args, **more):
    return Terminal([TRAM, "top", "--interval", "0.2", *args], **more)


def rows_of(terminal):
    return [line for line in terminal.screen.lines()[7:-1] if line]


def test_screen():
    wide_bus()
    terminal = top("--sort", "from")
    terminal.shows("0 ")
    terminal.shows("q quit")
    assert terminal.screen.alternate and not terminal.screen.cursor
    lines = terminal.screen.lines()
    assert lines[0].startswith(f"bus default at {DIR}"[:50]) and "every 0.2 s" in lines[0], lines
    assert lines[1] == "nodes    0 up, 41 down, 1 never opened", lines
    assert lines[5].startswith("channels by from"), lines
    assert lines[6].split()[:3] == ["FROM", "TO", "MSG/S"], lines
    assert len(rows_of(terminal)) == 24 - 8 and rows_of(terminal)[0].startswith("1.0.0.1 ")
    terminal.type("r")
    terminal.until(lambda: rows_of(terminal)[0].startswith(LONG[0]))
    assert len(rows_of(terminal)[0]) == 79, rows_of(terminal)[0]  # 'sleeping' would be one more
    terminal.type("r\x1b[6~")  # a page down
    terminal.until(lambda: rows_of(terminal)[0].startswith("1.0.15.1 "))
    terminal.type("\x1bOF")  # end
    terminal.until(lambda: rows_of(terminal)[-1].startswith(LONG[0]))
    terminal.type("\x1b[A\x1b[A")
    terminal.until(lambda: rows_of(terminal)[-1].startswith("1.0.38.1 "))
    terminal.type("g\x1b[99~j")
    terminal.until(lambda: rows_of(terminal)[0].startswith("1.0.1.1 "))
    terminal.type("nG")
    terminal.shows("PROGRAM")
    terminal.shows("???[31m-a-")
    terminal.type("nB")
    terminal.shows("channels by backlog")
    terminal.type("s")
    terminal.shows("channels by age")
    terminal.type("h")
    terminal.shows("Any key goes back.")
    terminal.type("x")
    terminal.until(lambda: "Any key" not in terminal.screen.text())
    terminal.type("/1.0.7.x\x7f*\r")
    terminal.shows("(1 of 41) by age, filter 1.0.7.*")
    assert len(rows_of(terminal)) == 1
    terminal.type("/\x15nothing\x1b")  # thought better of it
    terminal.until(lambda: "filter (ID" not in terminal.screen.text())
    assert "filter 1.0.7.*" in terminal.screen.text()
    terminal.type("/\x15\r++p")
    terminal.shows("PAUSED")
    terminal.shows("every 1 s")
    assert "filter" not in terminal.screen.lines()[5]
    terminal.type("-q")
    assert terminal.end() == 0 and terminal.restored()
    terminal.close()


def test_screen_is_live():
    fresh()
    send(3)
    terminal = top()
    terminal.until(lambda: len(rows_of(terminal)) == 1 and rows_of(terminal)[0].split()[4] == "3")
    send(4)
    terminal.until(lambda: rows_of(terminal)[0].split()[4] == "7")
    terminal.type("p")
    terminal.shows("PAUSED")
    send(1)
    terminal.type("p")
    terminal.until(lambda: rows_of(terminal)[0].split()[4] == "8")
    # At rest a frame is the clock and what counts up: not the screen.
    before, title = terminal.screen.bytes, terminal.screen.lines()[0]
    terminal.until(lambda: terminal.screen.lines()[0] != title)
    assert terminal.screen.bytes - before < 1000, terminal.screen.bytes - before
    shutil.rmtree(os.path.join(DIR, "default"))
    terminal.shows("the bus is gone")
    send(2, A, C)
    terminal.until(lambda: rows_of(terminal)[0].split()[1:5:3] == [C, "2"])
    terminal.type("q")
    assert terminal.end() == 0 and terminal.restored()
    terminal.close()


def test_resize():
    wide_bus()
    terminal = top("--sort", "from")
    terminal.shows("q quit")
    for rows, columns in ((40, 120), (10, 80), (5, 40), (2, 10), (24, 80)):
        clears = terminal.screen.clears
        terminal.resize(rows, columns)
        terminal.until(lambda: terminal.screen.clears > clears)
        terminal.screen.crop(rows, columns)
        terminal.type("n")  # no character comes outside of the new size
        terminal.shows("NODE"[:columns] if rows > 6 else "")
        terminal.type("n")
        terminal.shows("FROM"[:columns] if rows > 6 else "")
        if rows > 8:
            assert len(rows_of(terminal)) == rows - 8, terminal.screen.text()
            assert terminal.screen.lines()[rows - 1].startswith("q quit"), terminal.screen.text()
    terminal.type("q")
    assert terminal.end() == 0 and terminal.restored()
    terminal.close()


def test_every_way_out():
    fresh()
    send(3)
    crash = [] if os.environ.get("TRAM_SANITIZER") else [signal.SIGSEGV]
    for number in [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, "\x03", *crash]:
        terminal = top()
        terminal.shows("q quit")
        assert not terminal.restored()
        if isinstance(number, str):
            terminal.type(number)
        else:
            terminal.kill(number)
        code = terminal.end()
        assert terminal.restored(), number
        expected = 0 if number in ("\x03", signal.SIGTERM, signal.SIGHUP) else -number
        assert code == expected, (number, code)
        terminal.close()


def test_stop_and_go_on():
    place = os.path.join(DIR, "b\u00fcs")  # of which a screen of ASCII shows two question marks
    os.mkdir(place, 0o700)
    tram("send", "--dir", place, "--from", A, "--to", B, data=b"x\n")
    terminal = top("--dir", place)
    terminal.shows("q quit")
    assert terminal.screen.lines()[0].startswith(f"bus default at {DIR}/b??s"[:52])
    terminal.type("\x1a")
    terminal.stopped()
    terminal.until(terminal.restored)
    terminal.kill(signal.SIGCONT)
    terminal.until(lambda: terminal.screen.alternate)
    terminal.shows("q quit")
    terminal.type("q")
    assert terminal.end() == 0 and terminal.restored()
    terminal.close()


def test_no_screen():
    fresh()
    send(3)
    for term in ("dumb", ""):
        terminal = top("--count", "2", term=term, rows=200)
        assert terminal.end() == 0
        assert terminal.screen.text().count("MSG/S") == 2, terminal.screen.text()
        assert not terminal.screen.alternate
        terminal.close()


def main():
    tests = [(name, value) for name, value in globals().items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    for name, test in tests:
        if wanted and name not in wanted:
            continue
        began = time.monotonic()
        test()
        print(f"ok {name} {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(wanted) or len(tests)} passed, 0 failed, 0 skipped")


if __name__ == "__main__":
    main()
