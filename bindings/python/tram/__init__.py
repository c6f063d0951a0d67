# SPDX-License-Identifier: MIT
"""tram: a message bus. Two IDs and one call.

    import tram

    with tram.Node("bus", "1.0.0.1") as node:
        node.send("1.0.0.2", b"hello", tag=7)

    with tram.Node("bus", "1.0.0.2") as node:
        for message in node:
            print(message.from_, message.data)

What send() accepted arrives once and in order, also when either end is killed in between. What a
receiver had in hand and did not release comes again, marked: message.again.

Messages are copied unless asked otherwise: recv(hold=True) and claim() give the ring's own memory
as memoryviews, which end with the release (Held, Claim). tram.aio is the same for asyncio.

Needs CPython and libtram: $TRAM_LIBRARY, a file beside this package, or the system's. No compiler.
"""

from ._errors import (Again, Busy, Closed, Denied, Error, Forked, Gone, InUse, NoSpace, NotInHand,
                      TimedOut, TooLarge)
from ._hands import Claim, Held
from ._node import Node
from ._values import (EPHEMERAL, ID, AnyID, Aside, Event, EventType, Message, Peer, PeerState, Way)

__version__ = "0.1.0"

__all__ = ["EPHEMERAL", "Again", "AnyID", "Aside", "Busy", "Claim", "Closed", "Denied", "Error",
           "Event", "EventType", "Forked", "Gone", "Held", "ID", "InUse", "Message", "NoSpace",
           "Node", "NotInHand", "Peer", "PeerState", "TimedOut", "TooLarge", "Way"]
