"""Makes the files of a bus by hand, as layout version 2 has them: a second, independent writing of
the layout, and the way to files that no sane library would make."""

import os
import struct

DATA = 65536
ALIGN = 8
WINDOW = 512
RECORD = struct.Struct("<QIIIIII")
EXTENSION = struct.Struct("<Q16s")
LINK = 1
WIDE = 2

STREAM_MAGIC = 0x474E49524D415254
HEAD_MAGIC = 0x444145484D415254
DOOR_MAGIC = 0x524F4F444D415254

ARMED_ON, ARMED_CLOSED, ARMED_BROKEN, ARMED_FINAL, ARMED_EPOCH = 1, 2, 4, 16, 32


def number(text):
    a, b, c, d = (int(part) for part in text.split("."))
    return a << 24 | b << 16 | c << 8 | d


def span(size):
    return (RECORD.size + size + ALIGN - 1) & ~(ALIGN - 1)


class Stream:
    """One generation of a channel; records are put one after the other, as a producer does."""

    def __init__(self, sender, receiver, generation=0, capacity=65536, base=0, base_seq=0,
                 ident=0x1234, **words):
        self.sender, self.receiver, self.generation = sender, receiver, generation
        self.capacity, self.base, self.base_seq, self.ident = capacity, base, base_seq, ident
        self.data = bytearray(capacity)
        self.tail, self.last, self.seq = base, base, base_seq
        self.slot = 0
        self.words = words
        self.places = []

    def _store(self, position, octets):
        at = position % self.capacity
        first = octets[:self.capacity - at]
        self.data[at:at + len(first)] = first
        self.data[0:len(octets) - len(first)] = octets[len(first):]

    def put(self, payload=b"", tag=0, link=False, time_ns=0, forget=False):
        """forget: as a producer that began anew, and does not know the record before."""
        prev = 0 if forget else (self.tail - self.last) // ALIGN
        body = b"" if link else EXTENSION.pack(time_ns, b"layer".ljust(16, b"\0")) + payload
        header = RECORD.pack(self.seq + 1, len(body), prev, number(self.sender), tag,
                             LINK if link else WIDE, 0)
        self._store(self.tail, header + body)
        self.places.append(self.tail)
        self.last = self.tail
        self.tail += span(len(body))
        self.seq += 0 if link else 1
        self.slot ^= 1
        return self

    def octets(self):
        page = bytearray(DATA)
        values = {
            "magic": STREAM_MAGIC, "version": 2, "generation": self.generation,
            "from": number(self.sender), "to": number(self.receiver), "id": self.ident,
            "base": self.base, "base_seq": self.base_seq, "capacity": self.capacity,
            "made_ns": 1, "tail": self.tail | self.slot, "count": self.seq, "want": 0, "kept": 0,
        }
        values.update(self.words)
        struct.pack_into("<QIIIIQQQQQ", page, 0, *(values[name] for name in (
            "magic", "version", "generation", "from", "to", "id", "base", "base_seq", "capacity",
            "made_ns")))
        struct.pack_into("<Q", page, 256, values["tail"])
        struct.pack_into("<Q", page, 264 + 8 * (values["tail"] & 1), values["count"])
        struct.pack_into("<Q", page, 264 + 8 * (values["tail"] & 1 ^ 1), 0xDEAD)
        struct.pack_into("<QQ", page, 320, values["want"], values["kept"])
        return bytes(page + self.data)

    def name(self):
        more = f"+{self.generation}" if self.generation else ""
        return f"from-{self.sender}{more}"


def head(sender, receiver, ident=0x1234, committed=0, consumed=0, handed=None, freed=None, aside=0,
         armed=0, window=(), **words):
    page = bytearray(8192)
    handed = committed if handed is None else handed
    freed = committed if freed is None else freed
    struct.pack_into("<QIIIIQ", page, 0, words.get("magic", HEAD_MAGIC), words.get("version", 2), 0,
                     number(sender), number(receiver), ident)
    struct.pack_into("<Q", page, 128, freed)
    struct.pack_into("<Q", page, 192, armed)
    struct.pack_into("<QQQQQ", page, 256, committed | 1, 0xDEAD, consumed, handed, aside)
    for seq, attempts in window:
        struct.pack_into("<Q", page, 4096 + 8 * (seq % WINDOW), seq | attempts << 48)
    return bytes(page)


def door(node, pid=0, opens=1, opened_ns=1, closed_ns=0, program=b"forged", flags=0, **words):
    page = bytearray(448)
    struct.pack_into("<Q", page, 88, words.get("pid_namespace", 0))
    struct.pack_into("<Q", page, 328, words.get("gone", 0))
    struct.pack_into("<QIIIIQQQQ32s", page, 0, words.get("magic", DOOR_MAGIC),
                     words.get("version", 2), words.get("id", number(node)), pid, flags,
                     words.get("start", 0),
                     opened_ns, closed_ns, opens, program)
    return bytes(page)


def aside(sender, seq, payload, tag=0, attempts=5):
    return RECORD.pack(seq, len(payload), 0, number(sender), tag, 0, attempts) + payload


class Bus:
    def __init__(self, path):
        self.path = path
        os.makedirs(path, mode=0o700)

    def write(self, node, name, octets):
        folder = os.path.join(self.path, node)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(octets)

    def node(self, node, **words):
        folder = os.path.join(self.path, node)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not os.path.exists(os.path.join(folder, "lock")):
            os.mkfifo(os.path.join(folder, "lock"), 0o600)
        self.write(node, "door", door(node, **words))

    def stream(self, stream):
        self.write(stream.receiver, stream.name(), stream.octets())

    def head(self, sender, receiver, **words):
        self.write(receiver, f"head-{sender}", head(sender, receiver, **words))
