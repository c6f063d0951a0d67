# SPDX-License-Identifier: MIT
"""Errors: each is an OSError with the errno that the C function returned, negative there."""

import errno
import os
from typing import Any, Optional

from . import _c
from ._values import ID


class Error(OSError):
    """What a call of the library returned. `errno` is its code; `text` (and `strerror`) says what
    was wrong, and what to do; where they are known, `from_` and `to` name the channel, `pid` who
    holds the ID, `limit` what was exceeded. Otherwise these are None, or 0."""

    from_: Optional[ID] = None
    to: Optional[ID] = None
    pid: int = 0
    limit: int = 0

    @property
    def text(self) -> str:
        return str(self.strerror)


class Again(Error, BlockingIOError):
    """EAGAIN: the ring is full, or nothing is there, and the call should not wait."""


class TimedOut(Error, TimeoutError):
    """ETIMEDOUT: nothing came, or the ring stayed full, in that time."""


class Busy(Error):
    """EBUSY: another thread is inside a call on this node; or a claim on the channel is open."""


class Forked(Error, ChildProcessError):
    """ECHILD: the node was opened by the parent of this process."""


class InUse(Error):
    """EADDRINUSE: the ID is held; `pid` says by whom."""


class TooLarge(Error):
    """EMSGSIZE: larger than the ring may ever be, or than the buffer; `limit` has the number."""


class NoSpace(Error):
    """ENOSPC: the file system of the bus is full."""


class Gone(Error):
    """EHOSTUNREACH, ESTALE: the receiver is an ephemeral node that is gone, or was removed. ESTALE
    of a receive: somebody removed or replaced this node's lock; close it, and open it again."""


class Closed(Error):
    """ENOTRECOVERABLE, EBADMSG: the channel is closed, because one end wrote nonsense."""


class NotInHand(Error):
    """ENOENT of a release: the message is not in hand, or no longer."""


class Denied(Error, PermissionError):
    """EACCES, EPERM: the layout, or the modes of the directory, do not allow it."""


_BY_ERRNO = {
    errno.EAGAIN: Again, errno.ETIMEDOUT: TimedOut, errno.EBUSY: Busy, errno.ECHILD: Forked,
    errno.EADDRINUSE: InUse, errno.EMSGSIZE: TooLarge, errno.ENOSPC: NoSpace,
    errno.EHOSTUNREACH: Gone, errno.ESTALE: Gone, errno.ENOTRECOVERABLE: Closed,
    errno.EBADMSG: Closed, errno.EACCES: Denied, errno.EPERM: Denied,
}


def error_of(rc: int, handle: Any, kind: Optional[type] = None) -> Error:
    """The exception for what a call on the node `handle` (None: an open) returned."""
    code = -rc
    kind = kind or _BY_ERRNO.get(code, Error)
    raw = _c.quick.last_error(handle).contents
    if raw.code != rc:  # the library noted nothing for this one
        return kind(code, os.strerror(code))
    error = kind(code, raw.text.decode("utf-8", "replace"))
    sender, receiver = getattr(raw, "from"), raw.to
    error.from_ = ID(sender) if sender else None
    error.to = ID(receiver) if receiver else None
    error.pid = raw.pid
    error.limit = raw.limit
    return error
