"""A host that somebody took: it says what it likes on a link, in the frames of docs/PROTOCOL.md.

    stranger.py hello ADDRESS           the body of the HELLO of the daemon there, in hex
    stranger.py link ADDRESS HELLO      as the host of that HELLO, later in its life: what is said
                                        are the lines of stdin, TYPE CHANNEL SERIAL BODY; what comes
                                        are such lines on stdout
"""

import socket
import struct
import subprocess
import sys
import threading

PORT = 61001
HELLO, USE, PING, PONG, CONTROL, OPEN, REFUSED, CLOSE, HERE = 1, 2, 4, 5, 6, 7, 9, 13, 15
AWAY, STALE, LATER, ENDED = 2, 3, 7, 1


def frame(kind, channel=0, serial=0, body=b""):
    return struct.pack("<BBHIII", kind, 0, 0, channel, len(body), serial) + body


def take(conn, size):
    got = b""
    while len(got) < size:
        more = conn.recv(size - len(got))
        if not more:
            sys.exit(0)
        got += more
    return got


def take_frame(conn):
    kind, _, _, channel, size, serial = struct.unpack("<BBHIII", take(conn, 16))
    return kind, channel, serial, take(conn, size)


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
        kind, channel, serial, body = take_frame(conn)
        print(kind, channel, serial, body.hex(), flush=True)
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

    def say(self, kind, channel=0, serial=0, body=b""):
        self.process.stdin.write(f"{kind} {channel} {serial} {body.hex()}\n")
        self.process.stdin.flush()

    def hear(self, kind):
        """The body of the next frame of that kind; None: the link ended before."""
        for line in self.process.stdout:
            words = (line.split() + [""])[:4]
            if int(words[0]) == kind:
                return bytes.fromhex(words[3])
        return None

    def heard(self):
        """All that was said so far was taken."""
        self.say(PING, body=struct.pack("<QQ", 1, 0))
        return self.hear(PONG) is not None


def main():
    with socket.create_connection((sys.argv[2], PORT)) as conn:
        if sys.argv[1] == "hello":
            print(take_frame(conn)[3].hex())
        else:
            link(conn, bytes.fromhex(sys.argv[3]))


if __name__ == "__main__":
    main()
