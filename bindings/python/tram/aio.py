# SPDX-License-Identifier: MIT
"""tram for asyncio: the node's one descriptor in the event loop. No thread, and nothing is looked
at again and again, but for what tram's own bounded re-look asks for.

    import tram.aio

    async with tram.aio.Node("bus", "1.0.0.2") as node:
        async for message in node:
            await node.send(message.from_, b"got it")

Waits are ended by asyncio: asyncio.timeout(), wait_for(), cancel(). What is cancelled did nothing:
a receive took no message, a send sent none.

A node belongs to one event loop. It has one receiver: what the next receive releases is what the
one before gave, so tasks that share the work use recv(hold=True)."""

import asyncio
import collections
from typing import (Any, AsyncIterator, Callable, Deque, Dict, Literal, Optional, Set, Union,
                    overload)

from . import _node
from ._errors import Again
from ._hands import Held
from ._values import AnyID, Event, EventType, Message, to_id

# Receives that found something at once, before other tasks get a turn.
_TURN = 64

# While a send waits for room, and messages wait that nobody receives, the descriptor says so all
# the time: then the room is looked for after 1 ms, 2, 4 … 32.
_PAUSE, _PAUSE_LONGEST = 0.001, 0.032


class Node:
    """A node in an event loop. The arguments are those of tram.Node."""

    def __init__(self, bus: Optional[str], id: AnyID, **options: Any) -> None:
        self._node = _node.Node(bus, id, **options)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._fd = self._node.fileno()
        self._reading = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._pause = 0.0
        self._turn = 0
        self._receivers: Set["asyncio.Future[None]"] = set()
        self._watchers: Set["asyncio.Future[None]"] = set()
        self._spaces: Dict[int, Set["asyncio.Future[None]"]] = {}
        self._lines: Dict[int, Any] = {}  # sends to a node that wait: their lock, and how many
        self._events: Deque[Event] = collections.deque()

    @property
    def sync(self) -> _node.Node:
        """The node itself, for the calls that do not wait: claim(timeout=0), done(), peer(),
        watch(), accepted() … Do not dispatch() there: that is done here."""
        return self._node

    @property
    def id(self) -> Any:
        return self._node.id

    @property
    def closed(self) -> bool:
        return self._node.closed

    def close(self) -> None:
        """As tram.Node.close(). Whoever waits gets ValueError; an `async for` ends."""
        if self._node.closed:
            return
        self._node.close()
        self._quiet()
        for waiters in (self._receivers, self._watchers, *self._spaces.values()):
            _wake(waiters)

    async def __aenter__(self) -> "Node":
        return self

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        try:
            self.close()
        except BufferError:
            if kind is None:
                raise

    def __repr__(self) -> str:
        return f"<tram.aio.Node {self._node.id}{', closed' if self.closed else ''}>"

    # ---- the descriptor ------------------------------------------------------------------------

    def _quiet(self) -> None:
        """Out of the loop: nobody waits."""
        if self._loop is not None and not self._loop.is_closed():
            if self._reading:
                self._loop.remove_reader(self._fd)
            if self._timer is not None:
                self._timer.cancel()
        self._reading = False
        self._timer = None

    def _arm(self, pause: float = 0.0) -> None:
        """Somebody waits: into the loop, and the node asleep."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        due: Optional[float] = pause
        if not pause:
            if not self._reading:
                loop.add_reader(self._fd, self._look)
                self._reading = True
            due = self._node.timeout()
        elif self._reading:
            loop.remove_reader(self._fd)
            self._reading = False
        if self._timer is not None:
            if due is not None and not pause and self._timer.when() <= loop.time() + due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = loop.call_later(due, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._look()

    def _look(self) -> None:
        """The descriptor is readable, or something is due: tell everybody whom it may concern. Who
        finds nothing waits again."""
        if self._node.closed:
            return
        for event in self._node.events():
            if event.type is EventType.SPACE:
                _wake(self._spaces.pop(event.peer, ()))
            else:
                self._events.append(event)
        if self._events:
            _wake(self._watchers)
        receivers = bool(self._receivers)
        _wake(self._receivers)
        if not self._watchers and not self._spaces:
            if not receivers:
                self._quiet()  # what is there is for nobody yet
            return
        if receivers or self._node.timeout() != 0:
            self._pause = 0.0
            self._arm()
            return
        self._pause = min(self._pause * 2, _PAUSE_LONGEST) or _PAUSE
        for peer in list(self._spaces):
            _wake(self._spaces.pop(peer))
        self._arm(self._pause)

    async def _wait(self, waiters: Set["asyncio.Future[None]"]) -> None:
        if self._node.closed:
            raise ValueError("the node is closed")
        future = asyncio.get_running_loop().create_future()
        waiters.add(future)
        try:
            self._arm(self._pause if waiters is not self._receivers else 0.0)
            await future
        finally:
            waiters.discard(future)
        if self._node.closed:
            raise ValueError("the node is closed")

    # ---- sending -------------------------------------------------------------------------------

    async def send(self, to: AnyID, data: Any = b"", tag: int = 0, *,
                   layer: Optional[bytes] = None, more: bool = False,
                   durable: bool = False) -> bool:
        """tram.Node.send(), which waits for room. Sends to one node keep their order, whichever
        task they are in. durable=True holds the event loop up while the disk is written."""
        to = to_id(to)
        if to not in self._lines:
            try:
                return self._node.send(to, data, tag, layer=layer, nowait=True, more=more,
                                       durable=durable)
            except Again:
                pass
        return await self._send(to, lambda: self._node.send(
            to, data, tag, layer=layer, nowait=True, more=more, durable=durable))

    async def sendv(self, to: AnyID, pieces: Any, tag: int = 0, *,
                    layer: Optional[bytes] = None, more: bool = False,
                   durable: bool = False) -> bool:
        """tram.Node.sendv(), which waits for room."""
        pieces = list(pieces)
        return await self._send(to_id(to), lambda: self._node.sendv(
            to, pieces, tag, layer=layer, nowait=True, more=more, durable=durable))

    async def forward(self, message: Union[Message, Held], to: AnyID, *, more: bool = False,
                      durable: bool = False) -> bool:
        """tram.Node.forward(), which waits for room."""
        return await self._send(to_id(to), lambda: self._node.forward(
            message, to, nowait=True, more=more, durable=durable))

    async def _send(self, to: int, call: Callable[[], bool]) -> bool:
        line = self._lines.get(to)
        if line is None:
            try:
                return call()
            except Again:
                line = self._lines[to] = [asyncio.Lock(), 0]
        line[1] += 1
        try:
            async with line[0]:
                while True:
                    try:
                        return call()
                    except Again:
                        await self._wait(self._spaces.setdefault(to, set()))
        finally:
            line[1] -= 1
            if line[1] == 0:
                del self._lines[to]
                self._spaces.pop(to, None)

    # ---- receiving -----------------------------------------------------------------------------

    @overload
    async def recv(self, *, hold: Literal[False] = False) -> Message: ...

    @overload
    async def recv(self, *, hold: Literal[True]) -> Held: ...

    async def recv(self, *, hold: bool = False) -> Any:
        """tram.Node.recv(): it, and all before it without hold, is released by the next receive."""
        if hold:
            return (await self.recv_batch(1, hold=True))[0]
        while True:
            message = self._node.try_recv()
            if message is None:
                self._turn = 0
                await self._wait(self._receivers)
                continue
            self._turn += 1
            if self._turn % _TURN == 0:
                await asyncio.sleep(0)
            return message

    async def recv_batch(self, max: int = 64, *, hold: bool = False) -> Any:
        """tram.Node.recv_batch()."""
        while True:
            try:
                messages = self._node.recv_batch(max, 0, hold=hold)
            except Again:
                self._turn = 0
                await self._wait(self._receivers)
                continue
            self._turn += 1
            if self._turn % _TURN == 0:
                await asyncio.sleep(0)
            return messages

    def __aiter__(self) -> "Node":
        return self

    async def __anext__(self) -> Message:
        if self._node.closed:
            raise StopAsyncIteration
        try:
            return await self.recv()
        except ValueError:
            if self._node.closed:
                raise StopAsyncIteration from None
            raise

    # ---- events --------------------------------------------------------------------------------

    async def event(self) -> Event:
        """The next event of watched peers and closed channels. (Those of room are for send().)"""
        while not self._events:
            await self._wait(self._watchers)
        return self._events.popleft()

    async def events(self) -> AsyncIterator[Event]:
        """async for event in node.events()"""
        while not self._node.closed:
            try:
                yield await self.event()
            except ValueError:
                if not self._node.closed:
                    raise


def _wake(waiters: Any) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(None)
