# SPDX-License-Identifier: MIT
"""Nodes."""

import ctypes
import errno
import math
import os
import select
import struct
import sys
import threading
import time
import warnings
import weakref
from ctypes import byref, c_uint64, c_void_p, create_string_buffer
from typing import Any, Callable, Iterable, Iterator, List, Literal, Optional, Union, overload

from . import _c
from ._errors import NotInHand, error_of
from ._hands import Claim, Held, nodes
from ._values import (ID, AnyID, Aside, Event, EventType, Message, Peer, PeerState, Way, _known,
                      to_id)

_EAGAIN, _ETIMEDOUT, _EBUSY = -errno.EAGAIN, -errno.ETIMEDOUT, -errno.EBUSY

# How long the main thread stays inside one call: signals are dealt with between two.
_SLICE, _SLICE_LONGEST = 20_000_000, 500_000_000

_msg = struct.Struct(_c.MSG_FORMAT)
_unpack = _msg.unpack_from
_Bytes = ctypes.POINTER(ctypes.c_char)

_send, _recv, _recv_batch = _c.hot.send, _c.hot.recv, _c.hot.recv_batch
_SMALL = 65536  # what is larger is copied without Python's lock
_new = tuple.__new__


def _ns(timeout: Optional[float]) -> int:
    """Seconds to nanoseconds, rounded up; None and what is too long have no end."""
    if timeout is None:
        return _c.FOREVER
    if timeout <= 0:
        return 0
    if timeout >= 9.2e9:
        return _c.FOREVER
    return math.ceil(timeout * 1e9)


def _path(path: Any) -> Optional[bytes]:
    return None if path is None else os.fsencode(path)


class Node:
    """A node, held by this process: Node("bus", "1.0.0.1"). Closed at the end of a `with` block.

    What a call means is said in tram.h, with the function of its name. Time-outs are seconds: None
    waits for ever, 0 does not wait (Again), and after the time there is TimedOut. Errors are
    tram.Error, an OSError. A node may be handed from thread to thread, but is used by one at a
    time (Busy); calls that wait let other threads run. Ctrl-C ends a wait. In a forked child the
    node is of no use (Forked)."""

    __slots__ = ("_handle", "_id", "_one", "_bytes", "_fields", "_many", "_each", "_poll",
                 "_viewed", "__weakref__")

    def __init__(self, bus: Optional[str], id: AnyID, *,
                 dir: "Union[str, os.PathLike, None]" = None,
                 layout: "Union[str, os.PathLike, None]" = None, ring_size: int = 0,
                 ring_max: int = 0, keep: int = 0, spin: Optional[float] = None, attempts: int = 0,
                 mode: int = 0, prefault: bool = False, lock: bool = False, sigbus: bool = True,
                 stamp: bool = False, dump: bool = False) -> None:
        """Open the node `id` (EPHEMERAL: any free one) on a bus (None: $TRAM_BUS, else "default").

        dir        where buses lie; None: $TRAM_DIR, else /dev/shm/tram-UID
        layout     file of a static layout
        ring_size  bytes of a new ring, a power of two; 0: 4 MiB
        ring_max   how far a ring grows for a message that does not fit; 0: 1 GiB
        keep       bytes that stay for the post-mortem in a drained ring; 0: 64 KiB
        spin       seconds that a wait looks before it sleeps; None: 20 µs; math.inf: it never does
        attempts   hand-outs of a message before it is set aside; 0: 5
        mode       permissions of files made; 0: 0o600
        prefault, lock   rings that this node sends into have all of their memory, locked
        sigbus     False: no SIGBUS handler; a file cut short by a peer kills the process
        stamp      a time stamp in each message sent
        dump       rings may be in core dumps: tram_open(3)"""
        self._handle: Optional[c_void_p] = None
        spin_ns = 0 if spin is None else _ns(None if spin == math.inf else spin) or _c.NO_SPIN
        options = _c.tram_options(
            struct_size=ctypes.sizeof(_c.tram_options), dir=_path(dir), layout=_path(layout),
            ring_size=ring_size, ring_max=ring_max, keep=keep, spin_ns=spin_ns,
            attempts=attempts, mode=mode,
            flags=_c.OPEN_PREFAULT * prefault | _c.OPEN_LOCK * lock
            | _c.OPEN_NO_SIGBUS * (not sigbus) | _c.OPEN_STAMP * stamp
            | _c.OPEN_DUMP * dump)
        handle = c_void_p()
        rc = _c.free.open(None if bus is None else bus.encode(), ID(id), byref(options),
                          byref(handle))
        if rc < 0:
            raise error_of(rc, None)
        self._handle = handle
        self._id = ID(_c.quick.node_id(handle))
        # A message is received here; a pointer that lies there as well gives its bytes.
        self._one = create_string_buffer(_msg.size)
        self._bytes = _Bytes.from_buffer(self._one)
        self._fields = memoryview(self._one)
        self._many: Any = None
        self._each: Any = None
        self._poll: Any = None
        self._viewed: "weakref.WeakSet[Any]" = weakref.WeakSet()
        nodes.add(self)

    def close(self) -> None:
        """Flush what is staged and give the ID up. Nothing that is in hand is released: it comes
        again, marked. BufferError, and the node stays open, while views of messages are in use."""
        if self._handle is None:
            return
        for owner in list(self._viewed):
            owner._revoke()
        rc = _c.quick.flush(self._handle)
        if rc == _EBUSY:  # another thread is inside: the node would stay open, and nobody's
            raise error_of(rc, self._handle)
        handle, self._handle = self._handle, None
        _c.free.close(handle)

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            self.close()
        except BufferError:
            if kind is None:
                raise

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is None:
            return
        if not sys.is_finalizing():
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        try:
            self.close()
        except (BufferError, OSError):
            pass  # views outlive their node: it stays open rather than they show what is no more

    def __repr__(self) -> str:
        return f"<tram.Node {self._id}{'' if self._handle else ', closed'}>"

    @property
    def id(self) -> ID:
        """The node's own ID, which an ephemeral node learns this way."""
        return self._id

    @property
    def closed(self) -> bool:
        return self._handle is None

    @property
    def bus_path(self) -> str:
        """The directory of the node's bus."""
        path = _c.quick.bus_path(self._handle)
        if path is None:
            raise ValueError("the node is closed")
        return os.fsdecode(path)

    # ---- inside --------------------------------------------------------------------------------

    def _fail(self, rc: int, kind: Optional[type] = None) -> Any:
        if self._handle is None:
            raise ValueError("the node is closed")
        raise error_of(rc, self._handle, kind)

    def _check(self, rc: int, kind: Optional[type] = None) -> int:
        if rc < 0:
            self._fail(rc, kind)
        return rc

    def _sleep(self, ns: int) -> bool:
        """Sleep until there is work, a signal, or the time is over. False: there is work."""
        if self._poll is None:
            fd = self._check(_c.quick.fd(self._handle))
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        due = _c.quick.timeout(self._handle)
        if due == 0 or due < _c.FOREVER:
            return False
        if due == _c.FOREVER or 0 <= ns < due:
            due = ns
        self._poll.poll(None if due < 0 else -(-due // 1_000_000))
        return True

    def _wait(self, call: Callable[[int], int], ns: int, poll: bool) -> int:
        """A call that waits. In the main thread, where Python deals with signals, it waits in
        pieces: first inside the library, then, if the descriptor tells, in poll."""
        if ns == 0 or threading.current_thread() is not threading.main_thread():
            return call(ns)
        deadline = time.monotonic_ns() + ns if ns > 0 else 0
        left, piece = ns, _SLICE
        while True:
            rc = call(piece if left < 0 or left > piece else left)
            if rc != _ETIMEDOUT:
                return rc
            if ns > 0:
                left = deadline - time.monotonic_ns()
                if left <= 0:
                    return rc
            # Not to be had by this call: an event that nobody dispatches, say. Look less often.
            if not (poll and self._sleep(left)):
                piece = min(piece * 2, _SLICE_LONGEST) if poll else piece

    # ---- sending -------------------------------------------------------------------------------

    def send(self, to: AnyID, data: Any = b"", tag: int = 0, *, layer: Optional[bytes] = None,
             nowait: bool = False, more: bool = False, durable: bool = False,
             timeout: Optional[float] = None) -> bool:
        """Send bytes, or whatever has a contiguous buffer (bytearray, memoryview, array, numpy …),
        to a node. True: the message is accepted and will arrive. False: it is staged (more=True),
        see flush(). Waits for room: for ever, for `timeout` seconds, or not (nowait=True): Again,
        and an EventType.SPACE follows.

        tag, layer: 32 bits and 16 bytes of the application's own, which go with the message.
        durable: on the disk before it returns, if the bus lies on one."""
        if to.__class__ is not ID:
            to = to_id(to)
        if layer is None and not durable:
            flags = 3 if more else 1  # TRAM_NOWAIT: waiting is for below, without Python's lock
            if data.__class__ is bytes and len(data) <= _SMALL:
                rc = _send(self._handle, to, tag & 0xFFFFFFFF, data, len(data), flags)
            else:
                with _c.borrowed(data) as (address, size):
                    send = _c.quick.send if size <= _SMALL else _c.free.send
                    rc = send(self._handle, to, tag, address, size, flags)
            if rc >= 0:
                return rc == 0
            if rc != _EAGAIN or nowait or timeout == 0:
                self._fail(rc)
        with _c.borrowed(data) as (address, size):
            return self._gathered(to, tag, layer, _c.iovec(address, size), 1, nowait, more,
                                  durable, timeout)

    def sendv(self, to: AnyID, pieces: Iterable[Any], tag: int = 0, *,
              layer: Optional[bytes] = None, nowait: bool = False, more: bool = False,
              durable: bool = False, timeout: Optional[float] = None) -> bool:
        """The same, gathered from pieces: node.sendv(to, [header, body])."""
        borrowed: List[Any] = []
        try:
            for piece in pieces:
                borrowed.append(_c.borrowed(piece))
            vector = (_c.iovec * len(borrowed))()
            for entry, piece in zip(vector, borrowed):
                entry.iov_base, entry.iov_len = piece.__enter__()
            return self._gathered(to_id(to), tag, layer, vector, len(borrowed), nowait, more,
                                  durable, timeout)
        finally:
            for piece in borrowed:
                piece.__exit__()

    def _gathered(self, to: ID, tag: int, layer: Optional[bytes], pieces: Any, count: int,
                  nowait: bool, more: bool, durable: bool, timeout: Optional[float]) -> bool:
        meta = _c.meta(tag, layer)
        flags = _c.MORE * more | _c.DURABLE * durable
        handle = self._handle
        now = _c.free.sendv if durable else _c.quick.sendv
        rc = now(handle, to, meta, pieces, count, flags | _c.NOWAIT, 0)
        if rc == _EAGAIN and not nowait and timeout != 0:
            rc = self._wait(lambda ns: _c.free.sendv(handle, to, meta, pieces, count, flags, ns),
                            _ns(timeout), False)
        return self._check(rc) == 0

    def claim(self, to: AnyID, size: int, *, timeout: Optional[float] = None) -> Claim:
        """Room for `size` bytes in the ring to a node, to be written in place and committed."""
        to = to_id(to)
        data = c_void_p()
        if size < 0:
            raise ValueError("a negative size")
        rc = self._wait(lambda ns: _c.free.claim(self._handle, to, size, ns, byref(data)),
                        _ns(timeout), False)
        self._check(rc)
        return Claim(self, to, data.value or 0, size)

    def _committed(self, to: ID, meta: Any, size: int, flags: int) -> bool:
        commit = _c.free.commit if flags & _c.DURABLE else _c.quick.commit
        return self._check(commit(self._handle, to, meta, size, flags)) == 0

    def _aborted(self, to: ID) -> None:
        self._check(_c.quick.abort(self._handle, to))

    def forward(self, message: "Union[Message, Held]", to: AnyID, *, nowait: bool = False,
                more: bool = False, durable: bool = False,
                timeout: Optional[float] = None) -> bool:
        """Send a message on, with its tag and layer bytes. It stays in hand: who dies between the
        two sends it twice. One that is held goes from ring to ring."""
        to = to_id(to)
        if isinstance(message, Held):
            if message._node is not self:
                raise ValueError("it is not in the hands of this node")
            with _c.borrowed(message.view) as (address, size):
                return self._gathered(to, message.tag, message.layer, _c.iovec(address, size), 1,
                                      nowait, more, durable, timeout)
        with _c.borrowed(message.data) as (address, size):
            return self._gathered(to, message.tag, message.layer, _c.iovec(address, size), 1,
                                  nowait, more, durable, timeout)

    def flush(self) -> None:
        """Publish what was sent with more=True."""
        self._check(_c.quick.flush(self._handle))

    def accepted(self, to: AnyID) -> int:
        """How many messages the bus ever accepted from this node to `to`, those of its earlier
        processes included."""
        count = c_uint64()
        self._check(_c.quick.accepted(self._handle, to_id(to), byref(count)))
        return count.value

    # ---- receiving -----------------------------------------------------------------------------

    @overload
    def recv(self, timeout: Optional[float] = None, *, hold: Literal[False] = False) -> Message: ...

    @overload
    def recv(self, timeout: Optional[float] = None, *, hold: Literal[True]) -> Held: ...

    def recv(self, timeout: Optional[float] = None, *, hold: bool = False) -> Any:
        """Receive one message. It, and all that was received before without hold, is released by
        the next receive or by done(): process, then commit. Who dies or closes before gets it
        again, marked (message.again).

        hold=True gives the message in place, to be released by itself: see Held."""
        if hold:
            return self.recv_batch(1, timeout, hold=True)[0]
        rc = _recv(self._handle, self._one, 0)
        if rc < 0:
            self._await(rc, lambda ns: _c.free.recv(self._handle, self._one, ns), timeout)
        _, size, sender, tag, seq, stream, ns, attempt, _, layer = _unpack(self._fields)
        return _new(Message, (self._bytes[:size], _known.get(sender) or to_id(sender), tag, seq,
                              stream, ns, attempt, layer))

    def try_recv(self) -> Optional[Message]:
        """recv(0), but None when there is nothing."""
        rc = _recv(self._handle, self._one, 0)
        if rc < 0:
            if rc == _EAGAIN:
                return None
            self._fail(rc)
        _, size, sender, tag, seq, stream, ns, attempt, _, layer = _unpack(self._fields)
        return _new(Message, (self._bytes[:size], _known.get(sender) or to_id(sender), tag, seq,
                              stream, ns, attempt, layer))

    def _await(self, rc: int, call: Callable[[int], int], timeout: Optional[float]) -> int:
        """After a receive that did not wait and returned rc: wait."""
        ns = _ns(timeout)
        if rc == _EAGAIN and ns != 0:
            rc = self._wait(call, ns, True)
        return self._check(rc)

    @overload
    def recv_batch(self, max: int = 64, timeout: Optional[float] = None, *,
                   hold: Literal[False] = False) -> List[Message]: ...

    @overload
    def recv_batch(self, max: int = 64, timeout: Optional[float] = None, *,
                   hold: Literal[True]) -> List[Held]: ...

    def recv_batch(self, max: int = 64, timeout: Optional[float] = None, *,
                   hold: bool = False) -> Any:
        """Receive up to `max` messages, at least one; senders take turns. One that comes again
        comes alone. They are in hand together, and released together; hold=True: one by one."""
        if not 1 <= max <= 1 << 20:
            raise ValueError("max is not 1 to 1048576")
        if self._each is None or len(self._each) < max:
            self._many = create_string_buffer(max * _msg.size)
            self._each = [_Bytes.from_buffer(self._many, i * _msg.size) for i in range(max)]
        room, each = self._many, self._each
        flags = _c.HOLD if hold else 0
        rc = _recv_batch(self._handle, room, max, flags, 0)
        if rc < 0:
            rc = self._await(rc, lambda ns: _c.free.recv_batch(self._handle, room, max, flags, ns),
                             timeout)
        size = _msg.size
        raw = memoryview(room)[:rc * size]
        if hold:
            return [Held(self, bytes(raw[i * size:(i + 1) * size]), fields)
                    for i, fields in enumerate(_msg.iter_unpack(raw))]
        return [_new(Message, (pointer[:size], _known.get(sender) or to_id(sender), tag, seq,
                               stream, ns, attempt, layer))
                for pointer, (_, size, sender, tag, seq, stream, ns, attempt, _, layer)
                in zip(each, _msg.iter_unpack(raw))]

    def recv_into(self, buffer: Any, timeout: Optional[float] = None) -> "tuple[int, Message]":
        """Receive one message into a writable buffer of yours. Gives its size, and the message
        without data. TooLarge, whose limit is the size: it does not fit, and stays."""
        with _c.borrowed(buffer, True) as (address, capacity):
            rc = _c.quick.recv_copy(self._handle, address, capacity, self._one, 0)
            if rc < 0:
                self._await(rc, lambda ns: _c.free.recv_copy(self._handle, address, capacity,
                                                             self._one, ns), timeout)
        _, size, sender, tag, seq, stream, ns, attempt, _, layer = _unpack(self._fields)
        return size, Message(b"", to_id(sender), tag, seq, stream, ns, attempt, layer)

    def __iter__(self) -> "Iterator[Message]":
        return self

    def __next__(self) -> Message:
        """for message in node: waits for ever for each; ends when the node is closed."""
        if self._handle is None:
            raise StopIteration
        return self.recv()

    def done(self) -> None:
        """Release now what the next receive would."""
        self._check(_c.quick.done(self._handle))

    def _released(self, raw: bytes) -> None:
        self._check(_c.quick.release(self._handle, raw), NotInHand)

    # ---- messages set aside --------------------------------------------------------------------

    def aside(self) -> List[Aside]:
        """The messages that were handed out too often and set aside for this node."""
        room = 16
        while True:
            entries = (_c.tram_aside * room)()
            count = self._check(_c.quick.aside_list(self._handle, entries, room))
            if count <= room:
                return [Aside(ID(getattr(e, "from")), e.tag, e.seq, e.size, e.attempts)
                        for e in entries[:count]]
            room = count + 16

    def aside_retry(self, from_: AnyID, seq: int) -> None:
        """Hand it out once more: out of order, marked, and set aside again if not released."""
        self._check(_c.quick.aside_retry(self._handle, to_id(from_), seq))

    def aside_drop(self, from_: AnyID, seq: int) -> None:
        """Forget it."""
        self._check(_c.quick.aside_drop(self._handle, to_id(from_), seq))

    # ---- waiting, event loops ------------------------------------------------------------------

    def wait(self, timeout: Optional[float] = None) -> None:
        """Wait until there is a message, an event, or an error that a receive will tell."""
        self._check(self._wait(lambda ns: _c.free.wait(self._handle, ns), _ns(timeout), True))

    def fileno(self) -> int:
        """One descriptor for everything: readable while there is a message or an event. A turn of
        a loop: poll it for timeout() seconds; dispatch() until None; try_recv() until None. Read
        nothing from it, do not close it. tram.aio does this for asyncio."""
        return self._check(_c.quick.fd(self._handle))

    def timeout(self) -> Optional[float]:
        """How long to poll at most; None: no limit. Call it before each poll."""
        ns = _c.quick.timeout(self._handle)
        if ns < _c.FOREVER or self._handle is None:
            self._fail(ns)
        return None if ns == _c.FOREVER else ns / 1e9

    def dispatch(self) -> Optional[Event]:
        """Do what is due, and give one event, or None. Never waits."""
        raw = _c.tram_event()
        if self._check(_c.quick.dispatch(self._handle, byref(raw))) == 0:
            return None
        return Event(EventType(raw.type), ID(raw.peer), raw.pid)

    def events(self) -> Iterator[Event]:
        """The events that are there now."""
        while True:
            event = self.dispatch()
            if event is None:
                return
            yield event

    # ---- peers ---------------------------------------------------------------------------------

    def peer(self, id: AnyID) -> Peer:
        """About a peer, from the files: no round trip, and true at the moment of the look."""
        raw = _c.tram_peer()
        self._check(_c.quick.peer(self._handle, to_id(id), byref(raw)))
        to, from_ = (Way(way.accepted, way.consumed, way.bytes, way.lost)
                     for way in (raw.to, getattr(raw, "from")))
        return Peer(ID(raw.id), PeerState(raw.state), raw.pid, raw.since_ns,
                    raw.program.decode("utf-8", "replace"), raw.gone, to, from_, raw.foreign_pid)

    def watch(self, id: AnyID) -> None:
        """Events when `id` comes up or goes down; the first one at once if it is up."""
        self._check(_c.quick.watch(self._handle, to_id(id)))

    def unwatch(self, id: AnyID) -> None:
        """No more of these events, also of those not yet handed out."""
        self._check(_c.quick.unwatch(self._handle, to_id(id)))
