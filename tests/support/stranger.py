"""A host that somebody took: it says what it likes on a link, in the frames of docs/PROTOCOL.md.

    stranger.py hello ADDRESS           the body of the HELLO of the daemon there, in hex
    stranger.py link ADDRESS HELLO      as the host of that HELLO, later in its life: what is said
                                        are the lines of stdin, TYPE CHANNEL SERIAL BODY; what comes
                                        are lines on stdout, TYPE TURN CHANNEL SERIAL BODY
"""

import socket
import struct
import subprocess
import sys
import threading

PORT = 61001
HELLO, USE, PING, PONG, CONTROL, OPEN, STATE, REFUSED, DATA = 1, 2, 4, 5, 6, 7, 8, 9, 10
CLOSE, HERE = 13, 15
AWAY, STALE, LATER, PAST, ENDED = 2, 3, 7, 8, 1


def frame(kind, channel=0, serial=0, body=b""):
    """The kind may have the turn of the channel in its upper half."""
    return struct.pack("<IIII", kind, channel, len(body), serial) + body


def take(conn, size):
    got = b""
    while len(got) < size:
        more = conn.recv(size - len(got))
        if not more:
            sys.exit(0)
        got += more
    return got


def take_frame(conn):
    kind, _, turn, channel, size, serial = struct.unpack("<BBHIII", take(conn, 16))
    return kind, turn, channel, serial, take(conn, size)


def link(conn, hello):
    life = struct.unpack_from("<Q", hello, 16)[0] + 1
    conn.sendall(frame(HELLO, body=hello[:16] + struct.pack("<Q", life) + hello[24:]))
    assert take_frame(conn)[0] == HELLO
    conn.sendall(frame(USE, body=struct.pack("<Q", 1)))  # we have the greater name

    def say():
        for line in sys.stdin:
            kind, channel, serial, body = (line.split() + [""])[:4]
            conn.sendall(frame(int(kind), int(channel), int(serial), bytes.fromhex(body)))

    threading.Thread(target=say, daemon=True).start()
    while True:
        kind, turn, channel, serial, body = take_frame(conn)
        print(kind, turn, channel, serial, body.hex(), flush=True)
        if kind == PING:
            conn.sendall(frame(HERE))


# ---- bytes of protobuf messages ---------------------------------------------------------------

def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def fixed(number, size, value):
    return varint(number << 3 | (5 if size == 4 else 1)) + value.to_bytes(size, "little")


class Taken:
    """What somebody says who has taken that host, to another one: `cluster.Host`s of a test."""

    def __init__(self, host, to):
        program = [sys.executable, __file__]
        hello = subprocess.run(to.inside(*program, "hello", host.address), check=True,
                               capture_output=True, text=True).stdout.strip()
        host.stop()
        self.process = subprocess.Popen(host.inside(*program, "link", to.address, hello),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        host.running.append(self.process)
        self.turn = 0  # of the last frame that was heard

    def say(self, kind, channel=0, serial=0, body=b""):
        self.process.stdin.write(f"{kind} {channel} {serial} {body.hex()}\n")
        self.process.stdin.flush()

    def hear(self, kind):
        """The body of the next frame of that kind; None: the link ended before."""
        for line in self.process.stdout:
            words = (line.split() + [""])[:5]
            if int(words[0]) == kind:
                self.turn = int(words[1])
                return bytes.fromhex(words[4])
        return None

    def heard(self):
        """All that was said so far was taken."""
        self.say(PING, body=struct.pack("<QQ", 1, 0))
        return self.hear(PONG) is not None


def main():
    with socket.create_connection((sys.argv[2], PORT)) as conn:
        if sys.argv[1] == "hello":
            print(take_frame(conn)[-1].hex())
        else:
            link(conn, bytes.fromhex(sys.argv[3]))


if __name__ == "__main__":
    main()
