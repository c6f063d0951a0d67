# SPDX-License-Identifier: MIT
"""The C side: libtram, its structs and its functions, as tram.h declares them.

tests/python_abi_test.py compares sizes and offsets with the C compiler's, and the functions with
those that the header declares. Functions are bound twice: `quick` keeps Python's lock during the
call, for those that do not wait; `free` gives it up, so that other threads run meanwhile.

`hot` has those of `quick` that are called per message without declared argument types: each of
those costs 90 ns. ctypes passes None, bytes and its own objects as what they are then, and an int
as a C int, sign-extended: whoever calls these has to see to it that it fits.
"""

import ctypes
import os
from ctypes import (POINTER, Structure, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t,
                    c_ssize_t, c_uint8, c_uint32, c_uint64, c_void_p)
from types import SimpleNamespace

FOREVER = -1
NO_SPIN = -2
NOWAIT = 0x01
MORE = 0x02
HOLD = 0x04
DURABLE = 0x08
STAGED = 1
OPEN_PREFAULT = 0x01
OPEN_LOCK = 0x02
OPEN_NO_SIGBUS = 0x04
OPEN_STAMP = 0x08
OPEN_DUMP = 0x10
ID_TEXT = 16


class tram_options(Structure):
    _fields_ = [("struct_size", c_size_t), ("dir", c_char_p), ("layout", c_char_p),
                ("ring_size", c_uint64), ("ring_max", c_uint64), ("keep", c_uint64),
                ("spin_ns", c_int64), ("attempts", c_uint32), ("mode", c_uint32),
                ("flags", c_uint32), ("reserved", c_uint32)]


class tram_meta(Structure):
    _fields_ = [("tag", c_uint32), ("reserved", c_uint32), ("layer", c_uint8 * 16)]


class tram_msg(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t), ("from", c_uint32), ("tag", c_uint32),
                ("seq", c_uint64), ("stream", c_uint64), ("time_ns", c_uint64),
                ("attempt", c_uint32), ("reserved", c_uint32), ("layer", c_uint8 * 16)]


# The same as one format: data, size, from, tag, seq, stream, time_ns, attempt, reserved, layer.
MSG_FORMAT = "@PNIIQQQII16s"


class tram_aside(Structure):
    _fields_ = [("from", c_uint32), ("tag", c_uint32), ("seq", c_uint64), ("size", c_uint64),
                ("attempts", c_uint32), ("reserved", c_uint32)]


class tram_event(Structure):
    _fields_ = [("type", c_int), ("peer", c_uint32), ("pid", c_int32), ("reserved", c_uint32)]


class tram_way(Structure):
    _fields_ = [("accepted", c_uint64), ("consumed", c_uint64), ("bytes", c_uint64),
                ("lost", c_uint64)]


class tram_peer(Structure):
    _fields_ = [("id", c_uint32), ("state", c_int), ("pid", c_int32), ("foreign_pid", c_int32),
                ("since_ns", c_uint64), ("program", c_char * 32), ("gone", c_uint64),
                ("to", tram_way), ("from", tram_way)]


class tram_error(Structure):
    _fields_ = [("code", c_int), ("from", c_uint32), ("to", c_uint32), ("pid", c_int32),
                ("limit", c_uint64), ("text", c_char * 240)]


class iovec(Structure):
    _fields_ = [("iov_base", c_void_p), ("iov_len", c_size_t)]


_node, _id, _flags, _ns = c_void_p, c_uint32, c_uint32, c_int64

# Result, then arguments.
FUNCTIONS = {
    "tram_id_parse": (c_int, c_char_p, POINTER(c_uint32)),
    "tram_id_format": (c_char_p, _id, c_char_p),
    "tram_open": (c_int, c_char_p, _id, POINTER(tram_options), POINTER(c_void_p)),
    "tram_close": (c_void_p, _node),
    "tram_node_id": (_id, _node),
    "tram_bus_path": (c_char_p, _node),
    "tram_send": (c_int, _node, _id, c_uint32, c_void_p, c_size_t, _flags),
    "tram_sendv": (c_int, _node, _id, POINTER(tram_meta), POINTER(iovec), c_int, _flags, _ns),
    "tram_claim": (c_int, _node, _id, c_size_t, _ns, POINTER(c_void_p)),
    "tram_commit": (c_int, _node, _id, POINTER(tram_meta), c_size_t, _flags),
    "tram_abort": (c_int, _node, _id),
    "tram_flush": (c_int, _node),
    "tram_accepted": (c_int, _node, _id, POINTER(c_uint64)),
    "tram_recv": (c_int, _node, c_void_p, _ns),
    "tram_recv_batch": (c_int, _node, c_void_p, c_int, _flags, _ns),
    "tram_recv_copy": (c_int, _node, c_void_p, c_size_t, c_void_p, _ns),
    "tram_release": (c_int, _node, c_void_p),
    "tram_done": (c_int, _node),
    "tram_forward": (c_int, _node, c_void_p, _id, _flags),
    "tram_aside_list": (c_int, _node, POINTER(tram_aside), c_int),
    "tram_aside_retry": (c_int, _node, _id, c_uint64),
    "tram_aside_drop": (c_int, _node, _id, c_uint64),
    "tram_fd": (c_int, _node),
    "tram_timeout": (c_int64, _node),
    "tram_dispatch": (c_int, _node, POINTER(tram_event)),
    "tram_wait": (c_int, _node, _ns),
    "tram_peer": (c_int, _node, _id, POINTER(tram_peer)),
    "tram_watch": (c_int, _node, _id),
    "tram_unwatch": (c_int, _node, _id),
    "tram_last_error": (POINTER(tram_error), _node),
}


def find_library() -> str:
    """$TRAM_LIBRARY, else beside the package, else where the system's loader looks."""
    given = os.environ.get("TRAM_LIBRARY")
    if given:
        return given
    for name in ("libtram.so.0", "libtram.so"):
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
        if os.path.exists(beside):
            return beside
    return "libtram.so.0"


def _bind(library):
    functions = {}
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
        functions[name[len("tram_"):]] = function
    return SimpleNamespace(**functions)


path = find_library()
try:
    quick = _bind(ctypes.PyDLL(path))
    free = _bind(ctypes.CDLL(path))
except OSError as error:
    raise ImportError(f"libtram is not found ({error}); install it, or set TRAM_LIBRARY to its "
                      "path") from error


def _bare(name):
    function = ctypes.PyDLL(path)[name]  # another one than getattr() gives, which is shared
    function.restype = c_int
    return function


hot = SimpleNamespace(send=_bare("tram_send"), recv=_bare("tram_recv"),
                      recv_batch=_bare("tram_recv_batch"))


# ---- memory that belongs to others -------------------------------------------------------------

class Py_buffer(Structure):
    _fields_ = [("buf", c_void_p), ("obj", c_void_p), ("len", c_ssize_t), ("itemsize", c_ssize_t),
                ("readonly", c_int), ("ndim", c_int), ("format", c_char_p), ("shape", c_void_p),
                ("strides", c_void_p), ("suboffsets", c_void_p), ("internal", c_void_p)]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.restype = c_int
_get_buffer.argtypes = (ctypes.py_object, POINTER(Py_buffer), c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.restype = None
_release_buffer.argtypes = (POINTER(Py_buffer),)


class borrowed:
    """The address and size of anything with a contiguous buffer, which is locked meanwhile:
    `with borrowed(data) as (address, size)`."""

    __slots__ = ("_buffer",)

    def __init__(self, data, writable=False):
        self._buffer = Py_buffer()
        _get_buffer(data, self._buffer, writable)  # PyBUF_SIMPLE, PyBUF_WRITABLE; raises

    def __enter__(self):
        return self._buffer.buf, self._buffer.len

    def __exit__(self, *_):
        _release_buffer(self._buffer)


class Window(ctypes.c_ubyte * (1 << 40)):
    """Memory at an address, of no particular size: from_address() looks at nothing. One class for
    all sizes, because ctypes makes a class for each. Lives as long as a view of it does: a weak
    reference to it tells whether there is one."""


def window(address: int, size: int) -> "tuple[Window, memoryview]":
    """The object that owns nothing, and a writable view of `size` bytes of it."""
    room = Window.from_address(address)
    return room, memoryview(room).cast("B")[:size]


def meta(tag: int, layer) -> tram_meta:
    made = tram_meta(tag=tag)
    if layer is not None:
        if len(layer) != 16:
            raise ValueError("layer is 16 bytes")
        made.layer[:] = layer
    return made
