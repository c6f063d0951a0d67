# SPDX-License-Identifier: MIT
"""IDs, and what calls give back."""

import enum
from typing import NamedTuple, Union


class ID(int):
    """The ID of a node: ID("1.2.3.4"), or ID(0x01020304). An int that prints like an address."""

    __slots__ = ()

    def __new__(cls, value: "Union[str, int]") -> "ID":
        if isinstance(value, ID):
            return value
        if isinstance(value, str):
            value = _parse(value)
        if not 0 < value < 0xFFFFFFFF:
            raise ValueError(f"{value!r} is no ID of a node")
        return int.__new__(cls, value)

    def __str__(self) -> str:
        return f"{self >> 24}.{self >> 16 & 255}.{self >> 8 & 255}.{self & 255}"

    def __repr__(self) -> str:
        return f"ID('{self}')"


def _parse(text: str) -> int:
    value = 0
    parts = text.split(".")
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255):
            break
        value = value << 8 | int(part)
    else:
        if len(parts) == 4:
            return value
    raise ValueError(f"{text!r} is no ID of a node: four numbers of 0 to 255, 1.2.3.4")


AnyID = Union[str, int, ID]

#: To Node(): choose a free ID out of 240.0.0.0/4.
EPHEMERAL = ID(0xF0000000)

_known: "dict[AnyID, ID]" = {}


def to_id(value: AnyID) -> ID:
    """What stands for an ID, as one; remembered, because the same come again and again."""
    try:
        return _known[value]
    except KeyError:
        pass
    if len(_known) >= 65536:
        _known.clear()
    found = _known[value] = ID(value)
    return found


class Message(NamedTuple):
    """A received message, copied out of the ring. It is in hand until the next receive, or
    Node.done(), releases it: process, then commit."""

    data: bytes
    from_: ID
    tag: int
    seq: int          #: number in the channel, from 1, no gaps
    stream: int       #: (from_, stream, seq) is the same each time that a message comes
    time_ns: int      #: CLOCK_REALTIME of the send, or 0 (stamp=True of the sender)
    attempt: int      #: 1: the first time, provably; n: handed out n - 1 times before
    layer: bytes      #: 16 bytes of the layer above

    @property
    def again(self) -> bool:
        """It was handed out before, to a process that did not release it."""
        return self.attempt > 1


class EventType(enum.IntEnum):
    SPACE = 1    #: after Again: there is room again to `peer`, or an error to be told
    UP = 2       #: `peer`, watched, runs
    DOWN = 3     #: `peer`, watched, is gone
    CLOSED = 4   #: the channel from `peer` was closed: it wrote nonsense


class Event(NamedTuple):
    type: EventType
    peer: ID
    pid: int     #: of the peer, where it is known; else 0


class PeerState(enum.IntEnum):
    NEVER = 0
    DOWN = 1
    UP = 2


class Way(NamedTuple):
    """One channel."""

    accepted: int    #: messages ever accepted
    consumed: int    #: of these: released, or set aside
    bytes: int       #: waiting, headers included
    lost: int        #: accepted, but not on the disk when the machine stopped


class Peer(NamedTuple):
    id: ID
    state: PeerState
    pid: int         #: of the holder if up, else of the last one
    since_ns: int    #: CLOCK_REALTIME of its last open or, if it ended orderly, close
    program: str
    gone: int        #: messages it sent that went with a receiver: ephemeral, or by force
    to: Way
    from_: Way
    foreign_pid: int = 0    #: its pid, if it runs in another pid namespace; then pid is 0


class Aside(NamedTuple):
    """A message that was handed out too often, and set aside."""

    from_: ID
    tag: int
    seq: int
    size: int
    attempts: int
