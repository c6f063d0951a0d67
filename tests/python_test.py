#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,nomusl
"""The Python binding, feature by feature. (Not with a sanitized library: its run-time would have to
be loaded before python; not with musl's: this python is glibc's.)"""

import array
import errno
import gc
import math
import os
import pathlib
import pickle
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings

SRC, BUILD = os.environ["TRAM_SRC"], os.environ["TRAM_BUILD"]
PACKAGE = os.path.join(SRC, "bindings", "python")
sys.path.insert(0, PACKAGE)
os.environ.setdefault("TRAM_LIBRARY", os.path.join(BUILD, "lib", "libtram.so"))

import tram  # noqa: E402
from tram import Again, ID, TimedOut  # noqa: E402

SCALE = float(os.environ.get("TRAM_TIME_SCALE", "1"))
LEFT, RIGHT, THIRD = "1.0.0.1", "1.0.0.2", "1.0.0.3"
LATE = 10 * SCALE


class Case(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(os.path.join(os.environ["TRAM_DIR"], "default"), ignore_errors=True)
        self.before = set(os.listdir("/proc/self/fd"))
        self.nodes = []

    def tearDown(self):
        for node in self.nodes:
            node.close()
        gc.collect()
        self.assertEqual(set(os.listdir("/proc/self/fd")), self.before, "descriptors left open")

    def open(self, id, **options):
        node = tram.Node(None, id, **options)
        self.nodes.append(node)
        return node

    def two(self, **options):
        return self.open(LEFT, **options), self.open(RIGHT, **options)

    def child(self, body):
        """body() in a forked child: its exit status."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = body() or 0
            except BaseException as error:
                import traceback
                traceback.print_exception(error)
            finally:
                sys.stderr.flush()
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Values(Case):
    def test_ids(self):
        self.assertEqual(ID("1.2.3.4"), 0x01020304)
        self.assertEqual(str(ID(0x01020304)), "1.2.3.4")
        self.assertEqual(repr(ID("10.0.0.255")), "ID('10.0.0.255')")
        self.assertEqual(pickle.loads(pickle.dumps(ID(LEFT))), ID(LEFT))
        self.assertEqual(tram.EPHEMERAL, ID("240.0.0.0"))
        for wrong in ("", "1", "1.2.3", "1.2.3.4.", "1.2.3.256", "1.2.3.x", " 1.2.3.4", "1.2.3.４",
                      "0001.2.3.4", "0.0.0.0", "255.255.255.255", 0, 2**32 - 1, 2**32 + 5, -1):
            with self.assertRaises(ValueError, msg=repr(wrong)):
                ID(wrong)

    def test_errors_are_oserrors(self):
        self.assertTrue(issubclass(tram.Error, OSError))
        self.assertTrue(issubclass(tram.Again, BlockingIOError))
        self.assertTrue(issubclass(tram.TimedOut, TimeoutError))
        self.assertTrue(issubclass(tram.Forked, ChildProcessError))
        self.assertTrue(issubclass(tram.Denied, PermissionError))


class Messages(Case):
    def test_send_and_receive(self):
        left, right = self.two()
        self.assertTrue(left.send(RIGHT, b"hello", tag=7))
        message = right.recv()
        self.assertEqual((message.data, message.from_, message.tag, message.seq, message.attempt),
                         (b"hello", ID(LEFT), 7, 1, 1))
        self.assertEqual(str(message.from_), LEFT)
        self.assertFalse(message.again)
        self.assertEqual(message.time_ns, 0)
        left.send(ID(RIGHT), layer=bytes(range(16)))
        message = right.recv()
        self.assertEqual((message.data, message.layer), (b"", bytes(range(16))))
        with self.assertRaises(ValueError):
            left.send(RIGHT, b"", layer=b"short")
        with self.assertRaises(Again):
            right.recv(0)
        self.assertIsNone(right.try_recv())

    def test_whatever_has_bytes(self):
        left, right = self.two()
        numbers = array.array("I", [1, 2, 3])
        for data in (bytearray(b"abc"), memoryview(b"abc"), memoryview(b"xabcx")[1:4],
                     memoryview(bytearray(b"abc")).toreadonly()):
            left.send(RIGHT, data)
            self.assertEqual(right.recv().data, b"abc")
        left.send(RIGHT, numbers)
        self.assertEqual(right.recv().data, numbers.tobytes())
        left.sendv(RIGHT, [b"one", bytearray(b", two"), b"", memoryview(b", three")], 3)
        message = right.recv()
        self.assertEqual((message.data, message.tag), (b"one, two, three", 3))
        left.sendv(RIGHT, [])
        self.assertEqual(right.recv().data, b"")
        for wrong in ("text", 5, memoryview(b"abcdef")[::2]):
            with self.assertRaises((TypeError, BufferError)):
                left.send(RIGHT, wrong)
            with self.assertRaises((TypeError, BufferError)):
                left.sendv(RIGHT, [b"fine", wrong])
        locked = bytearray(b"abc")
        left.send(RIGHT, locked)
        locked.extend(b"def")  # nothing is locked any more
        self.assertEqual(right.recv().data, b"abc")

    def test_numpy(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        left, right = self.two()
        numbers = numpy.arange(1000, dtype="int32")
        left.send(RIGHT, numbers)
        with right.recv(hold=True) as message:
            got = numpy.frombuffer(message.view, dtype="int32")
            self.assertTrue((got == numbers).all())
            del got

    def test_iteration(self):
        left, right = self.two()
        for i in range(5):
            left.send(RIGHT, b"%d" % i)
        got = []
        for message in right:
            got.append(message.data)
            if len(got) == 5:
                break
        self.assertEqual(got, [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual(right.peer(LEFT).from_.consumed, 4)
        right.done()
        self.assertEqual(right.peer(LEFT).from_.consumed, 5)
        right.close()
        self.assertEqual(list(right), [])

    def test_batches(self):
        left, right = self.two()
        for i in range(100):
            left.send(RIGHT, b"m", tag=i)
        first = right.recv_batch()
        self.assertEqual([m.tag for m in first], list(range(64)))
        self.assertEqual(len(right.recv_batch(1000)), 36)
        with self.assertRaises(Again):
            right.recv_batch(4, 0)
        with self.assertRaises(ValueError):
            right.recv_batch(0)
        left.send(RIGHT, b"a")
        left.send(RIGHT, b"b")
        a, b = right.recv_batch(hold=True)
        self.assertEqual((a.data, b.data), (b"a", b"b"))
        b.release()
        self.assertEqual(right.peer(LEFT).from_.consumed, 100)
        a.release()
        self.assertEqual(right.peer(LEFT).from_.consumed, 102)

    def test_into_a_buffer(self):
        left, right = self.two()
        room = bytearray(8)
        left.send(RIGHT, b"12345", 4)
        size, message = right.recv_into(room)
        self.assertEqual((size, bytes(room[:5]), message.tag), (5, b"12345", 4))
        left.send(RIGHT, b"123456789")
        with self.assertRaises(tram.TooLarge) as caught:
            right.recv_into(room, 1)
        self.assertEqual(caught.exception.limit, 9)
        room.extend(b"x")
        self.assertEqual(right.recv_into(room)[0], 9)
        with self.assertRaises(BufferError):
            right.recv_into(b"read only", 0)
        with self.assertRaises(Again):
            right.recv_into(room, 0)

    def test_staged(self):
        left, right = self.two()
        self.assertFalse(left.send(RIGHT, b"1", more=True))
        self.assertFalse(left.sendv(RIGHT, [b"2"], more=True))
        self.assertIsNone(right.try_recv())
        self.assertEqual(left.accepted(RIGHT), 0)
        left.flush()
        self.assertEqual(left.accepted(RIGHT), 2)
        self.assertEqual(len(right.recv_batch()), 2)

    def test_durable(self):
        """On a bus in memory it says nothing; that it syncs is disk_test's to see."""
        left, right = self.two()
        self.assertTrue(left.send(RIGHT, b"1", durable=True))
        self.assertTrue(left.sendv(RIGHT, [b"2"], durable=True))
        with left.claim(RIGHT, 1) as claim:
            claim.view[:] = b"3"
            self.assertTrue(claim.commit(durable=True))
        self.assertEqual([m.data for m in right.recv_batch()], [b"1", b"2", b"3"])
        self.assertEqual(left.peer(RIGHT).to.lost, 0)

    def test_forwarded(self):
        left, right = self.two()
        third = self.open(THIRD)
        left.send(RIGHT, b"on", tag=3, layer=b"l" * 16)
        right.forward(right.recv(), THIRD)
        left.send(RIGHT, b"and on", tag=4)
        with right.recv(hold=True) as message:
            right.forward(message, THIRD)
        one, two = third.recv_batch()
        self.assertEqual((one.data, one.tag, one.layer, one.from_),
                         (b"on", 3, b"l" * 16, ID(RIGHT)))
        self.assertEqual((two.data, two.tag), (b"and on", 4))
        with self.assertRaises(ValueError):
            right.forward(message, THIRD)

    def test_stamp_and_ephemeral(self):
        left = self.open(tram.EPHEMERAL, stamp=True)
        right = self.open(RIGHT)
        left.send(RIGHT, b"x")
        message = right.recv()
        self.assertEqual(message.from_, left.id)
        self.assertLess(abs(message.time_ns - time.time_ns()), 60e9)
        left.close()
        with self.assertRaises(tram.Gone):
            right.send(message.from_, b"x")


class InPlace(Case):
    def test_held(self):
        left, right = self.two()
        for data in (b"aaa", b"bbb", b"ccc"):
            left.send(RIGHT, data, 5)
        held = right.recv(hold=True)
        self.assertEqual((bytes(held.view), held.data, len(held), held.tag, held.from_, held.seq),
                         (b"aaa", b"aaa", 3, 5, ID(LEFT), 1))
        self.assertEqual(right.recv().data, b"bbb")
        right.done()
        self.assertEqual(held.copy().data, b"aaa")
        with self.assertRaises(TypeError):
            held.view[0] = 1
        self.assertEqual(right.peer(LEFT).from_.consumed, 0)
        view = held.view
        held.release()
        self.assertEqual(right.peer(LEFT).from_.consumed, 2)
        for use in (lambda: view[0], lambda: bytes(view), lambda: held.view, lambda: held.data,
                    held.release, lambda: memoryview(view)):
            with self.assertRaises(ValueError):
                use()
        with right.recv(hold=True) as held:
            self.assertEqual(held.view.tobytes(), b"ccc")
            view = held.view
        with self.assertRaises(ValueError):
            view.tobytes()
        self.assertEqual(right.peer(LEFT).from_.consumed, 3)

    def test_slices_keep_it(self):
        left, right = self.two()
        left.send(RIGHT, b"abcdef")
        held = right.recv(hold=True)
        part = held.view[2:4]
        with self.assertRaises(BufferError):
            held.release()
        self.assertEqual((bytes(part), bytes(held.view)), (b"cd", b"abcdef"))
        with self.assertRaises(BufferError):
            right.close()
        self.assertFalse(right.closed)
        copied = memoryview(held.view)
        part.release()
        with self.assertRaises(BufferError):
            held.release()
        del copied
        held.release()
        self.assertEqual(right.peer(LEFT).from_.consumed, 1)
        left.send(RIGHT, b"abcdef")
        with self.assertRaises(BufferError):
            with right.recv(hold=True) as held:
                part = held.view[:3]
        with held.view[3:] as rest:
            self.assertEqual(bytes(rest), b"def")
        del part
        held.release()

    def test_an_exception_keeps_it_in_hand(self):
        left, right = self.two()
        left.send(RIGHT, b"bad")
        with self.assertRaises(KeyError):
            with right.recv(hold=True) as held:
                view = held.view
                raise KeyError
        with self.assertRaises(ValueError):
            bytes(view)
        self.assertEqual(right.peer(LEFT).from_.consumed, 0)
        right.close()
        right = self.open(RIGHT)
        message = right.recv()
        self.assertEqual((message.data, message.attempt, message.again), (b"bad", 2, True))

    def test_left_and_forgotten(self):
        left, right = self.two()
        left.send(RIGHT, b"1")
        left.send(RIGHT, b"2")
        held = right.recv(hold=True)
        held.leave()
        with self.assertRaises(ValueError):
            held.release()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            right.recv(hold=True)
            gc.collect()
        self.assertEqual([w.category for w in caught], [ResourceWarning])

    def test_no_view_survives_its_node(self):
        left, right = self.two()
        left.send(RIGHT, b"1")
        held = right.recv(hold=True)
        view = held.view
        right.close()
        with self.assertRaises(ValueError):
            view[0]
        held.leave()

    def test_claims(self):
        left, right = self.two()
        with left.claim(RIGHT, 100) as claim:
            self.assertEqual(len(claim.view), 100)
            claim.view[:8] = b"in place"
            with self.assertRaises(tram.Busy):
                left.send(RIGHT, b"x")
            with self.assertRaises(ValueError):
                claim.commit(101)
            view = claim.view
            self.assertTrue(claim.commit(8, tag=4, layer=b"x" * 16))
        with self.assertRaises(ValueError):
            view[0] = 1
        message = right.recv()
        self.assertEqual((message.data, message.tag, message.layer), (b"in place", 4, b"x" * 16))
        with left.claim(RIGHT, 100):
            pass
        claim = left.claim(RIGHT, 4)
        claim.view[:] = b"full"
        self.assertFalse(claim.commit(more=True))
        with self.assertRaises(KeyError):
            with left.claim(RIGHT, 4):
                raise KeyError
        claim = left.claim(RIGHT, 4)
        del claim  # given up
        claim = left.claim(RIGHT, 4)
        part = claim.view[1:]
        with self.assertRaises(BufferError):
            claim.commit()
        part[0:1] = b"o"
        part.release()
        claim.abort()
        left.send(RIGHT, b"last")
        self.assertEqual([m.data for m in right.recv_batch()], [b"full", b"last"])
        with self.assertRaises(ValueError):
            left.claim(RIGHT, -1)


class Failures(Case):
    def test_text_and_fields(self):
        left = self.open(LEFT, ring_size=65536, ring_max=65536)
        with self.assertRaises(tram.InUse) as caught:
            tram.Node(None, LEFT)
        error = caught.exception
        self.assertEqual((error.errno, error.pid), (errno.EADDRINUSE, os.getpid()))
        self.assertIn(LEFT, error.text)
        self.assertIn(LEFT, str(error))
        with self.assertRaises(tram.TooLarge) as caught:
            left.send(RIGHT, bytes(70000))
        error = caught.exception
        self.assertEqual((error.from_, error.to), (ID(LEFT), ID(RIGHT)))
        self.assertTrue(60000 < error.limit < 65536)
        with self.assertRaises(tram.Error) as caught:
            tram.Node("no/bus", RIGHT)
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        with self.assertRaises(tram.Error):
            tram.Node(None, RIGHT, ring_size=5)
        with self.assertRaises(tram.NotInHand):
            left._released(bytes(88))

    def test_a_full_ring(self):
        left = self.open(LEFT, ring_size=65536, ring_max=65536)
        right = self.open(RIGHT)
        with self.assertRaises(Again):
            while True:
                left.send(RIGHT, bytes(5000), nowait=True)
        with self.assertRaises(Again):
            left.send(RIGHT, bytearray(5000), timeout=0)
        with self.assertRaises(Again):
            left.claim(RIGHT, 5000, timeout=0)
        began = time.monotonic()
        with self.assertRaises(TimedOut):
            left.send(RIGHT, bytes(5000), timeout=0.05)
        self.assertGreaterEqual(time.monotonic() - began, 0.05)
        poll = select.poll()
        poll.register(left, select.POLLIN)
        self.assertEqual(list(left.events()), [])
        right.recv_batch()
        right.done()
        self.assertTrue(poll.poll(LATE * 1000))
        self.assertEqual([(e.type, e.peer) for e in left.events()],
                         [(tram.EventType.SPACE, ID(RIGHT))])
        left.send(RIGHT, bytes(5000), nowait=True)

    def test_a_closed_node(self):
        left, _ = self.two()
        left.close()
        left.close()
        for use in (lambda: left.send(RIGHT, b"x"), left.recv, lambda: left.recv(0), left.flush,
                    left.fileno, left.timeout, left.dispatch, lambda: left.claim(RIGHT, 1),
                    lambda: left.peer(RIGHT), lambda: left.bus_path, left.try_recv, left.wait):
            with self.assertRaises(ValueError):
                use()
        self.assertTrue(left.closed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tram.Node(None, THIRD)
            gc.collect()
        self.assertEqual([w.category for w in caught], [ResourceWarning])
        self.open(THIRD)

    def test_set_aside(self):
        left = self.open(LEFT)
        left.send(RIGHT, b"bad", 3)
        left.send(RIGHT, b"good")
        with tram.Node(None, RIGHT, attempts=1) as right:
            right.recv()
        right = self.open(RIGHT, attempts=1)
        self.assertEqual(right.recv().data, b"good")
        self.assertEqual(right.aside(), [tram.Aside(ID(LEFT), 3, 1, 3, 1)])
        right.aside_retry(LEFT, 1)
        message = right.recv(LATE)
        self.assertEqual((message.data, message.attempt), (b"bad", 2))
        right.done()
        self.assertEqual(right.aside(), [])
        with self.assertRaises(tram.Error):
            right.aside_drop(LEFT, 1)

    def test_fork(self):
        left, right = self.two()
        left.send(RIGHT, b"x")
        held = right.recv(hold=True)
        view = held.view

        def body():
            with self.assertRaises(tram.Forked):
                left.send(RIGHT, b"x")
            with self.assertRaises(tram.Forked):
                left.recv()
            with self.assertRaises(ValueError):
                view[0]  # not mapped here
            left.close()
            with tram.Node(None, THIRD) as mine:
                mine.send(RIGHT, b"from the child")

        self.assertEqual(self.child(body), 0)
        self.assertEqual(bytes(view), b"x")
        self.assertEqual(right.recv(LATE).data, b"from the child")
        held.release()


class Waiting(Case):
    def test_timeouts(self):
        _, right = self.two()
        for wait in (lambda t: right.recv(t), lambda t: right.recv_batch(4, t), right.wait,
                     lambda t: right.recv(t, hold=True)):
            for seconds in (0.001, 0.03, 0.12):
                began = time.monotonic()
                with self.assertRaises(TimedOut):
                    wait(seconds)
                self.assertGreaterEqual(time.monotonic() - began, seconds)
            for seconds in (0, -1, 0.0):
                with self.assertRaises(Again):
                    wait(seconds)

    def test_a_message_ends_a_wait(self):
        left, right = self.two()
        for pause in (0.005, 0.1, 0.1):
            timer = threading.Timer(pause, left.send, (RIGHT, b"late"))
            timer.start()
            self.assertEqual(right.recv(LATE).data, b"late")
            timer.join()
        timer = threading.Timer(0.1, left.send, (RIGHT, b"late"))
        timer.start()
        right.wait(LATE)
        self.assertEqual(right.recv(0).data, b"late")
        timer.join()

    def test_room_ends_a_wait(self):
        left = self.open(LEFT, ring_size=65536, ring_max=65536)
        right = self.open(RIGHT)
        with self.assertRaises(Again):
            while True:
                left.send(RIGHT, bytes(5000), nowait=True)
        timer = threading.Timer(0.1, lambda: (right.recv_batch(), right.done()))
        timer.start()
        self.assertTrue(left.send(RIGHT, bytes(5000), timeout=LATE))
        timer.join()

    def test_others_run_meanwhile(self):
        left, right = self.two()
        counted = [0]
        done = threading.Event()

        def count():
            while not done.is_set():
                counted[0] += 1
            left.send(RIGHT, b"now")

        thread = threading.Thread(target=count)
        timer = threading.Timer(0.1, done.set)
        thread.start()
        timer.start()
        self.assertEqual(right.recv(LATE).data, b"now")
        thread.join()
        timer.join()
        self.assertGreater(counted[0], 1000)

    def test_in_a_thread_and_busy(self):
        left, right = self.two()
        got = []
        thread = threading.Thread(target=lambda: got.append(right.recv(LATE)))
        thread.start()
        with self.assertRaises(tram.Busy):
            while True:  # as soon as the other one is inside
                right.flush()
        with self.assertRaises(tram.Busy):
            right.close()
        left.send(RIGHT, b"x")
        thread.join()
        self.assertEqual(got[0].data, b"x")

    def interrupted(self, wait):
        """wait() in a process that gets SIGINT while it waits."""
        ready, tell = os.pipe()

        def body():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            began = time.monotonic()
            try:
                os.write(tell, b"x")
                wait()
            except KeyboardInterrupt:
                return 0 if time.monotonic() - began < 2 * SCALE else 3
            return 2

        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = body()
            finally:
                os._exit(code)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        select.select([], [], [], 0.15)  # it is inside by then; earlier would be right as well
        os.kill(pid, signal.SIGINT)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def test_ctrl_c(self):
        def receiving():
            with tram.Node(None, LEFT) as node:
                node.recv()

        def iterating():
            with tram.Node(None, LEFT) as node:
                for _ in node:
                    pass

        def sending():
            with tram.Node(None, LEFT, ring_size=65536) as node:
                while True:
                    node.send(RIGHT, bytes(5000))

        for wait in (receiving, iterating, sending):
            self.interrupted(wait)

    def test_an_idle_wait_is_idle(self):
        _, right = self.two()
        with self.assertRaises(TimedOut):
            right.recv(0.05)
        before = os.times()
        with self.assertRaises(TimedOut):
            right.recv(0.5)
        after = os.times()
        self.assertLess(after.user + after.system - before.user - before.system, 0.1)

    def test_watches(self):
        left = self.open(LEFT)
        self.assertEqual(left.peer(RIGHT).state, tram.PeerState.NEVER)
        left.watch(RIGHT)
        with tram.Node(None, RIGHT):
            left.wait(LATE)
            self.assertEqual(list(left.events()),
                             [tram.Event(tram.EventType.UP, ID(RIGHT), os.getpid())])
            peer = left.peer(RIGHT)
            self.assertEqual((peer.state, peer.pid, peer.id),
                             (tram.PeerState.UP, os.getpid(), ID(RIGHT)))
            self.assertTrue(peer.program)
        left.wait(LATE)
        self.assertEqual(left.dispatch().type, tram.EventType.DOWN)
        left.unwatch(RIGHT)
        self.open(RIGHT)
        with self.assertRaises(TimedOut):
            left.wait(0.01)

    def test_options(self):
        path = pathlib.Path(os.environ["TRAM_DIR"]) / "elsewhere"
        node = self.open(LEFT, dir=path, keep=65536, spin=0, attempts=3, sigbus=False,
                         prefault=True)
        self.assertEqual(node.bus_path, str(path / "default"))
        self.open(RIGHT, dir=str(path), spin=math.inf)
        self.open(THIRD, spin=5e-6)
        with self.assertRaises(tram.Denied):  # its directory is open to others than that
            tram.Node(None, "1.0.0.9", dir=pathlib.Path("/tmp"), mode=0o600)
        with self.assertRaises(tram.Error):
            tram.Node(None, "1.0.0.9", layout="/nowhere")


class Finding(Case):
    """Where the library is looked for."""

    def python(self, code, package=PACKAGE, **env):
        clean = {k: v for k, v in os.environ.items() if k not in ("TRAM_LIBRARY", "PYTHONPATH")}
        return subprocess.run([sys.executable, "-c", code], env={**clean, "PYTHONPATH": package,
                                                                 **env},
                              capture_output=True, text=True)

    def test_beside_the_package_and_system(self):
        folder = os.path.join(os.environ["TRAM_DIR"], "package")
        shutil.copytree(PACKAGE, folder)
        code = "import tram, tram._c; print(tram._c.path)"
        library = os.path.realpath(os.environ["TRAM_LIBRARY"])
        self.assertEqual(self.python(code, TRAM_LIBRARY=library).stdout.strip(), library)
        beside = os.path.join(folder, "tram", "libtram.so.0")
        os.symlink(library, beside)
        self.assertEqual(self.python(code, folder).stdout.strip(), beside)
        os.unlink(beside)
        found = self.python(code, folder, LD_LIBRARY_PATH=os.path.dirname(library))
        self.assertEqual(found.stdout.strip(), "libtram.so.0")
        missing = self.python(code, folder, TRAM_LIBRARY="/nowhere/libtram.so")
        self.assertIn("TRAM_LIBRARY", missing.stderr)

    def test_typed(self):
        self.assertTrue(os.path.exists(os.path.join(PACKAGE, "tram", "py.typed")))


if __name__ == "__main__":
    unittest.main(verbosity=1)
