"""A host that somebody took: it says what it likes on a link, in the frames of docs/PROTOCOL.md.

    stranger.py hello ADDRESS           the body of the HELLO of the daemon there, in hex
    stranger.py link ADDRESS HELLO      as the host of that HELLO, later in its life: what is said
                                        are the lines of stdin, TYPE CHANNEL SERIAL BODY; what comes
                                        are such lines on stdout
"""

import socket
import struct
import sys
import threading

PORT = 61001
HELLO, USE, PING, CONTROL, OPEN, REFUSED, CLOSE, HERE = 1, 2, 4, 6, 7, 9, 13, 15
LATER, ENDED = 7, 1


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


def main():
    with socket.create_connection((sys.argv[2], PORT)) as conn:
        if sys.argv[1] == "hello":
            print(take_frame(conn)[3].hex())
        else:
            link(conn, bytes.fromhex(sys.argv[3]))


if __name__ == "__main__":
    main()
