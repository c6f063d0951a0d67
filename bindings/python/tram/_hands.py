# SPDX-License-Identifier: MIT
"""What a program has in hand, in place: messages that are held, and room that was claimed. Both
are views of the ring's own memory, which must not be looked at when it is another's again."""

import os
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Optional

from . import _c
from ._values import ID, Message

if TYPE_CHECKING:
    from ._node import Node

#: All nodes, for a child.
nodes: "weakref.WeakSet[Node]" = weakref.WeakSet()


def _child() -> None:
    """In a forked child the rings are not mapped any more: no view may be followed there."""
    for node in list(nodes):
        for owner in list(node._viewed):
            if owner._view is not None:
                owner._view.release()
                owner._view = None


os.register_at_fork(after_in_child=_child)


class _InPlace:
    """Memory of a ring, and the one view that is given out of it."""

    __slots__ = ("_node", "_address", "_size", "_writable", "_view", "_window", "__weakref__")

    def __init__(self, node: "Node", address: int, size: int, writable: bool) -> None:
        self._node: "Optional[Node]" = node
        self._address = address
        self._size = size
        self._writable = writable
        self._view: Optional[memoryview] = None
        self._window: Any = None

    def __len__(self) -> int:
        return self._size

    @property
    def view(self) -> memoryview:
        """The bytes in place, not copied: valid until this is released. Using the view after that
        raises ValueError. Slices of it, and arrays made of it, keep it from being released
        (BufferError) as long as they exist: release or delete them first."""
        if self._view is None:
            if self._node is None:
                raise ValueError("it was released")
            room, view = _c.window(self._address, self._size)
            self._window = weakref.ref(room)
            self._view = view if self._writable else view.toreadonly()
            self._node._viewed.add(self)
        return self._view

    def _revoke(self) -> None:
        """Make an end of the view, or raise BufferError when there are views of it."""
        if self._view is None:
            return
        self._view.release()  # raises when something else took its buffer
        self._view = None
        if self._window() is None:
            return
        self._view = memoryview(self._window()).cast("B")[:self._size]
        if not self._writable:
            self._view = self._view.toreadonly()
        raise BufferError("slices of the view are still in use: release or delete them first")


class Held(_InPlace):
    """A message in place, which is in hand until release(), whatever else is received.

        with node.recv(hold=True) as message:
            work(message.view)

    The end of the block releases it, but not when that ends with an exception: then the message
    stays in hand, until release(), or to come again to the node's next process."""

    __slots__ = ("_raw", "from_", "tag", "seq", "stream", "time_ns", "attempt", "layer")

    def __init__(self, node: "Node", raw: bytes, fields: tuple) -> None:
        (address, size, sender, self.tag, self.seq, self.stream, self.time_ns, self.attempt, _,
         self.layer) = fields
        super().__init__(node, address, size, False)
        self.from_ = ID(sender)
        self._raw = raw

    @property
    def again(self) -> bool:
        """It was handed out before, to a process that did not release it."""
        return self.attempt > 1

    @property
    def data(self) -> bytes:
        """A copy of the bytes."""
        return bytes(self.view)

    def copy(self) -> Message:
        """The message, copied; this one stays in hand."""
        return Message(self.data, self.from_, self.tag, self.seq, self.stream, self.time_ns,
                       self.attempt, self.layer)

    def release(self) -> None:
        """Dealt with. Ends the view."""
        if self._node is None:
            raise ValueError("it was released")
        self._revoke()
        node, self._node = self._node, None
        node._released(self._raw)

    def leave(self) -> None:
        """Not dealt with: it stays in hand until the node is closed. Ends the view."""
        self._revoke()
        self._node = None

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self._node is None:
            return
        if kind is None:
            self.release()
            return
        try:
            self._revoke()
        except BufferError:
            pass  # of the frames of the exception; what ended the block matters more

    def __del__(self) -> None:
        if self._node is not None and self._node._handle and not sys.is_finalizing():
            warnings.warn(f"message {self.seq} of {self.from_} was never released",
                          ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = "" if self._node else ", released"
        return f"<Held {self.seq} from {self.from_}, {self._size} bytes, tag {self.tag}{state}>"


class Claim(_InPlace):
    """Room in the ring to one node, to be written in place.

        with node.claim("1.0.0.2", 1000) as claim:
            claim.view[:5] = b"hello"
            claim.commit(5)

    The end of the block gives it up if it was not committed. Nothing else can be sent to that
    node meanwhile."""

    __slots__ = ("to",)

    def __init__(self, node: "Node", to: ID, address: int, size: int) -> None:
        super().__init__(node, address, size, True)
        self.to = to

    def commit(self, size: Optional[int] = None, tag: int = 0, *,
               layer: Optional[bytes] = None, more: bool = False,
               durable: bool = False) -> bool:
        """Send the first `size` bytes of it (None: all). Ends the view. True: accepted; False:
        staged (more=True)."""
        if self._node is None:
            raise ValueError("the claim has ended")
        if size is None:
            size = self._size
        if not 0 <= size <= self._size:
            raise ValueError(f"{size} bytes of {self._size} that were claimed")
        meta = _c.meta(tag, layer)
        self._revoke()
        node, self._node = self._node, None
        return node._committed(self.to, meta, size, _c.MORE * more | _c.DURABLE * durable)

    def abort(self) -> None:
        """Give it up now. Ends the view."""
        if self._node is None:
            raise ValueError("the claim has ended")
        self._revoke()
        node, self._node = self._node, None
        node._aborted(self.to)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self._node is None:
            return
        try:
            self.abort()
        except BufferError:
            if kind is None:
                raise

    def __del__(self) -> None:
        if self._node is None or not self._node._handle or sys.is_finalizing():
            return
        try:
            self.abort()
        except (BufferError, OSError):
            pass  # somebody still writes there: it ends with its node

    def __repr__(self) -> str:
        return f"<Claim of {self._size} bytes to {self.to}{'' if self._node else ', ended'}>"
