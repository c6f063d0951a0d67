#!/usr/bin/env python3
# test: timeout=120
"""tram ls and tram dump on files made by hand: what they say about sound ones, and that no file,
however wrong, makes them crash, hang or make things up."""

import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import forge  # noqa: E402

TRAM = os.environ["TRAM_BIN"]
DIR = os.environ["TRAM_DIR"]
A, B, C = "1.0.0.1", "1.0.0.2", "1.0.0.3"


def tram(*args, bus="b"):
    done = subprocess.run([TRAM, *args, "--bus", bus], capture_output=True, timeout=60)
    assert done.returncode in (0, 1, 3), (args, done.returncode, done.stderr)
    assert b"Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr.decode()


def fresh(name="b"):
    shutil.rmtree(os.path.join(DIR, name), ignore_errors=True)
    return forge.Bus(os.path.join(DIR, name))


def ls(*args):
    code, out, err = tram("ls", "--json", *args)
    assert code == 0, err
    return json.loads(out)


def channel(sender=A, receiver=B):
    found = [c for c in ls()["channels"] if (c["from"], c["to"]) == (sender, receiver)]
    assert len(found) == 1, found
    return found[0]


def dump(*args, expect=0, sender=A, receiver=B):
    code, out, err = tram("dump", "--from", sender, "--to", receiver, "--json", *args)
    assert code == expect, (code, err)
    return [json.loads(line) for line in out.splitlines()], err


def is_like(found, **expected):
    for name, value in expected.items():
        assert found[name] == value, (name, found[name], value, found)


# --- sound files ----------------------------------------------------------------------------------

def test_nodes():
    bus = fresh()
    bus.node(A, opened_ns=5 * 10**18 // 3, program=b"sender")
    bus.node(B, opened_ns=2, closed_ns=3, opens=7, gone=17)
    os.makedirs(os.path.join(bus.path, C))
    os.makedirs(os.path.join(bus.path, "not-a-node"))
    os.makedirs(os.path.join(bus.path, "01.0.0.1"))
    with open(os.path.join(bus.path, "1.0.0.9"), "w") as file:
        file.write("a file is no node")
    is_like(ls(), bus="b", path=bus.path, channels=[])
    down, closed, never = ls()["nodes"]
    is_like(down, id=A, state="down", program="sender", opens=1, closed_ns=0)
    is_like(closed, id=B, state="down", opens=7, closed_ns=3, gone=17)
    is_like(never, id=C, state="never", opens=0)
    code, _, err = tram("ls", "9.9.9.9")
    assert code == 3 and "there is no node 9.9.9.9" in err, err


def test_up_is_told_by_the_lock():
    bus = fresh()
    bus.node(A, pid=4242)
    file = os.open(os.path.join(bus.path, A, "lock"), os.O_RDWR)
    # struct flock: type, whence, start, length, pid
    all_bytes = struct.pack("hhlli", fcntl.F_WRLCK, 0, 0, 4, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, all_bytes.ljust(32, b"\0"))
    is_like(ls()["nodes"][0], state="up", pid=4242)
    os.close(file)
    is_like(ls()["nodes"][0], state="down", pid=4242)


def test_waiting_and_kept():
    bus = fresh()
    bus.node(B)
    stream = forge.Stream(A, B)
    for i in range(10):
        stream.put(b"m%d" % i, tag=i, time_ns=100 + i)
    bus.stream(stream)
    bus.head(A, B, committed=stream.places[4], consumed=4, handed=stream.places[6],
             window=[(5, 2)])
    is_like(channel(), accepted=10, consumed=4, waiting=6, state="waiting", streams=1,
            waiting_bytes=stream.tail - stream.places[4], capacity=65536)
    records, _ = dump()
    assert [r["seq"] for r in records] == list(range(1, 11))
    assert [r["text"] for r in records] == ["m%d" % i for i in range(10)]
    assert [r["tag"] for r in records] == list(range(10))
    assert [r["time_ns"] for r in records] == list(range(100, 110))
    assert [r["where"] for r in records] == ["kept"] * 4 + ["in hand"] * 2 + ["queued"] * 4
    assert [r["attempts"] for r in records[4:7]] == [3, 1, 0], records
    assert [r["seq"] for r in dump("--where", "hand")[0]] == [5, 6]
    code, out, _ = tram("dump", "--from", A, "--to", B)
    assert code == 0 and b"in hand" in out and b"m9" in out


def test_all_consumed_is_found_by_search():
    bus = fresh()
    bus.node(B)
    stream = forge.Stream(A, B)
    for i in range(300):
        stream.put(bytes([i % 251]) * (i * 7 % 900))
    bus.stream(stream)
    bus.head(A, B, committed=stream.tail, consumed=300)
    is_like(channel(), state="idle", waiting=0)
    seqs = [r["seq"] for r in dump()[0]]
    assert seqs[-1] == 300 and seqs == list(range(seqs[0], 301)), seqs
    lapped = sum(stream.tail - place > stream.capacity for place in stream.places)
    assert seqs[0] == lapped + 1 > 1, (seqs[0], lapped)


def test_producers_that_forgot():
    bus = fresh()
    stream = forge.Stream(A, B)
    for i in range(30):
        stream.put(b"x" * i, forget=i % 10 == 0)
    bus.stream(stream)
    bus.head(A, B, committed=stream.places[25], consumed=25)
    assert [r["seq"] for r in dump()[0]] == list(range(1, 31))


def test_kept_and_punched():
    bus = fresh()
    stream = forge.Stream(A, B)
    for i in range(20):
        stream.put(b"%d" % i)
    stream.words["kept"] = stream.places[12] - 8
    bus.stream(stream)
    bus.head(A, B, committed=stream.tail, consumed=20)
    assert [r["seq"] for r in dump()[0]] == list(range(13, 21))


def test_generations():
    bus = fresh()
    first = forge.Stream(A, B).put(b"one").put(b"two").put(link=True)
    second = forge.Stream(A, B, generation=1, base=first.tail, base_seq=2, capacity=131072)
    second.put(b"three" * 15000).put(b"four").put(link=True)
    third = forge.Stream(A, B, generation=2, base=second.tail, base_seq=4, capacity=262144)
    third.put(b"five")
    for stream in (first, second, third):
        bus.stream(stream)
    for committed, consumed in ((0, 0), (first.places[1], 1), (first.tail, 2),
                                (second.places[1], 3), (second.tail, 4), (third.tail, 5)):
        bus.head(A, B, committed=committed, consumed=consumed)
        is_like(channel(), streams=3, accepted=5, consumed=consumed, waiting=5 - consumed)
        records, _ = dump()
        assert [r["seq"] for r in records] == [1, 2, 3, 4, 5], (consumed, records)
        assert [r["where"] for r in records] == ["kept"] * consumed + ["queued"] * (5 - consumed)
    assert records[2]["text"] == "three" * 15000
    os.unlink(os.path.join(bus.path, B, first.name()))
    assert [r["seq"] for r in dump()[0]] == [3, 4, 5]


def test_payloads():
    payloads = [b"", b"tab\tand line\n", "Grüße ☃ 🚋".encode(), b"\0\1\2", b"\xff\xfe", b"\x7f",
                b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x98", b'"\\/',
                b"\xf8"]
    bus = fresh()
    stream = forge.Stream(A, B)
    for payload in payloads:
        stream.put(payload)
    bus.stream(stream)
    records, _ = dump()
    for payload, record in zip(payloads, records):
        try:
            text = payload.decode("utf-8")
            printable = not any((ord(c) < 32 and c not in "\t\n\r") or c == "\x7f" for c in text)
        except UnicodeDecodeError:
            printable = False
        if printable:
            assert record["text"] == text and "base64" not in record, record
        else:
            import base64
            assert base64.b64decode(record["base64"]) == payload and "text" not in record, record
    records, _ = dump("--bytes", "3")
    assert records[1]["text"] == "tab" and records[1]["size"] == 13
    code, out, _ = tram("dump", "--from", A, "--to", B)
    assert code == 0 and out.count(b"\n") == len(payloads) + 1 and b"\0" not in out


def test_wrap():
    bus = fresh()
    stream = forge.Stream(A, B)
    while stream.tail < 5 * stream.capacity:
        stream.put(os.urandom(1000))
    bus.stream(stream)
    at = next(i for i in range(len(stream.places) - 1, 0, -1)
              if stream.tail - stream.places[i] > 50000)
    bus.head(A, B, committed=stream.places[at], consumed=at)
    records, _ = dump()
    assert records[-1]["seq"] == len(stream.places)
    assert sum(r["where"] == "queued" for r in records) == len(stream.places) - at


def test_aside():
    bus = fresh()
    bus.node(B)
    bus.stream(forge.Stream(A, B).put(b"1").put(b"2"))
    bus.head(A, B, aside=3, committed=64, consumed=1)
    bus.write(B, f"aside-{A}-1", forge.aside(A, 1, b"bad one", tag=9))
    bus.write(B, f"retry-{C}-20", forge.aside(C, 20, b"again", attempts=7))
    bus.write(B, f"aside-{A}-10", forge.aside(A, 10, b"cut short")[:-1])
    bus.write(B, f"aside-{A}-11", forge.aside(A, 12, b"misnamed"))
    is_like(channel(), aside=3, aside_ever=3)
    code, out, err = tram("dump", "--to", B, "--aside", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(r["from"], r["seq"], r["where"], r["attempts"], r["text"]) for r in found] == [
        (A, 1, "aside", 5, "bad one"), (C, 20, "retry", 7, "again")], found
    assert code == 1 and "2 messages could not be read" in err, err


def test_states():
    for words, stream_words, state in (
            (dict(), dict(), "waiting"), (dict(), dict(want=1), "waiting"),
            (dict(armed=forge.ARMED_EPOCH + forge.ARMED_BROKEN), dict(), "broken"),
            (dict(armed=forge.ARMED_EPOCH + forge.ARMED_CLOSED), dict(), "closed"),
            (dict(armed=forge.ARMED_EPOCH + forge.ARMED_FINAL), dict(), "closed")):
        bus = fresh()
        bus.stream(forge.Stream(A, B, **stream_words).put(b"x"))
        bus.head(A, B, **words)
        is_like(channel(), state=state)


def test_nothing_is_changed():
    bus = fresh()
    bus.node(A)
    bus.node(B)
    stream = forge.Stream(A, B).put(b"x").put(b"y")
    bus.stream(stream)
    bus.head(A, B, committed=64, consumed=1)

    def picture():
        seen = {}
        for folder, _, files in os.walk(bus.path):
            for name in files + ["."]:
                path = os.path.join(folder, name)
                stat = os.stat(path)
                octets = open(path, "rb").read() if name not in (".", "lock") else b""
                seen[path] = (octets, stat.st_mtime_ns, stat.st_blocks, stat.st_size, stat.st_mode)
        return seen

    before = picture()
    ls()
    dump()
    tram("dump", "--to", B, "--aside")
    tram("retry", "--id", B)
    assert picture() == before


# --- wrong files ----------------------------------------------------------------------------------

def test_wrong_streams():
    def make(**words):
        return forge.Stream(A, B, **words).put(b"hello").put(b"world")

    def cut(octets):
        return octets[:-1]

    wrongs = [
        (make(magic=0).octets(), "not complete"),
        (make(magic=1).octets(), "not what its name says"),
        (make(version=9).octets(), "layout version 9, this program reads 2"),
        (make(to=0x01020304).octets(), "another channel"),
        (make(capacity=65536, **{"from": 7}).octets(), "another channel"),
        (make(count=4096).octets(), "more messages are counted"),
        (make(base=8192).octets()[:DATA_CUT], "cut short"),
        (cut(make().octets()), "cut short"),
        (b"", "cut short"),
        (make(tail=2**64 - 8).octets(), None),
        (make(tail=2**63).octets(), None),
    ]
    for octets, text in wrongs:
        bus = fresh()
        bus.node(B)
        bus.write(B, f"from-{A}", octets)
        bus.head(A, B)
        found = channel()
        if text is not None:
            assert found["state"] == "damaged" and text in found["note"], (text, found)
            assert text in dump(expect=1)[1], text
        else:
            dump(expect=1)


DATA_CUT = 65536


def test_wrong_heads():
    for octets, text in ((forge.head(A, B, magic=5), "not what its name says"),
                         (forge.head(A, B, version=3), "layout version 3"),
                         (forge.head(C, B), "another channel"),
                         (forge.head(A, B)[:200], "cut short"),
                         (forge.head(A, B, ident=99), "different streams"),
                         (forge.head(A, B, committed=2**40, consumed=1), "more was consumed"),
                         (forge.head(A, B, committed=64, consumed=2**40), "more was consumed")):
        bus = fresh()
        bus.node(B)
        bus.stream(forge.Stream(A, B).put(b"hello").put(b"world"))
        bus.write(B, f"head-{A}", octets)
        found = channel()
        assert found["state"] == "damaged" and text in found["note"], (text, found)


def test_wrong_doors():
    for octets, text in ((forge.door(B, magic=5), "not what its name says"),
                         (forge.door(B, version=3), "layout version 3"),
                         (forge.door(B, id=1), "another node"), (b"TRAM", "cut short")):
        bus = fresh()
        bus.write(B, "door", octets)
        found = ls()["nodes"][0]
        assert found["state"] == "never" and text in found["note"], found


def test_things_that_are_no_files():
    bus = fresh()
    bus.node(B)
    os.mkfifo(os.path.join(bus.path, B, f"from-{A}"))
    os.mkdir(os.path.join(bus.path, B, f"head-{A}"))
    os.symlink("/etc/passwd", os.path.join(bus.path, B, f"from-{C}"))
    os.symlink(bus.path, os.path.join(bus.path, "1.0.0.4"))
    for sender in (A, C):
        found = channel(sender)
        assert found["state"] == "damaged" and "not a regular file" in found["note"], found
        dump(expect=1, sender=sender)
    assert [n["id"] for n in ls()["nodes"]] == [B]
    for name in ("from-", "from-1.2.3", "from-1.2.3.4x", "from-1.2.3.4+", "from-1.2.3.4+0",
                 "from-01.2.3.4", "aside-1.2.3.4", "aside-1.2.3.4-0", "head-1.2.3.4-1",
                 "from-0.0.0.0", "from-255.255.255.255", "aside-1.2.3.4-99999999999999999999"):
        bus.write(B, name, b"x")
    assert len(ls()["channels"]) == 2


def test_wrong_records():
    """A record that makes no sense ends the dump with what came before it."""
    for offset, value in ((0, 77), (8, 2**31), (16, 9), (24, 10)):
        bus = fresh()
        stream = forge.Stream(A, B)
        for i in range(5):
            stream.put(b"m%d" % i)
        octets = bytearray(stream.octets())
        struct.pack_into("<I", octets, forge.DATA + stream.places[3] + offset, value)
        bus.write(B, stream.name(), bytes(octets))
        bus.head(A, B)
        records, err = dump(expect=1)
        assert [r["seq"] for r in records] == [1, 2, 3], (offset, records)
        assert "makes no sense" in err, err


def test_noise():
    """Bits turned over anywhere: any answer is right, but for a crash, a hang or another node."""
    rounds = int(os.environ.get("TRAM_NOISE", "120"))
    dice = random.Random(20)
    for turn in range(rounds):
        bus = fresh()
        bus.node(B)
        stream = forge.Stream(A, B)
        for i in range(40):
            stream.put(b"m" * i)
        files = {
            stream.name(): bytearray(stream.octets()),
            f"head-{A}": bytearray(forge.head(A, B, committed=stream.places[20], consumed=20,
                                              handed=stream.places[30], window=[(21, 3)])),
            "door": bytearray(forge.door(B)),
            f"aside-{A}-3": bytearray(forge.aside(A, 3, b"aside")),
        }
        for name, octets in files.items():
            spots = {stream.name(): [range(0, 384), range(65536, 65536 + 2048)]}.get(
                name, [range(0, min(384, len(octets)))])
            for _ in range(dice.choice((0, 1, 1, 3, 20))):
                at = dice.choice(dice.choice(spots))
                octets[at] = dice.choice((0, 255, octets[at] ^ 1 << dice.randrange(8)))
            if dice.random() < 0.1:
                del octets[dice.randrange(len(octets)):]
            bus.write(B, name, bytes(octets))
        verbs = [("ls",), ("dump", "--from", A, "--to", B, "--json"),
                 ("dump", "--to", B, "--aside")]
        if turn % 8 == 0:
            verbs += [("doctor", "--json"),
                      ("top", "--json", "--count", "1", "--interval", "0.1")]
        for args in verbs:
            try:
                _, out, _ = tram(*args)
            except BaseException:
                print("turn", turn, args, file=sys.stderr)
                raise
            assert len(out) < 1 << 20, turn


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_") and (len(sys.argv) == 1 or name in sys.argv[1:]):
            test()
            print("ok", name)
