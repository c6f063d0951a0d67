#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=noasan,notsan,nomusl
"""tram.aio: thousands of messages, waits that are cancelled, loops that neither spin nor look again
and again. (Labels: see python_test.py.)"""

import asyncio
import os
import shutil
import sys
import time
import unittest

SRC, BUILD = os.environ["TRAM_SRC"], os.environ["TRAM_BUILD"]
sys.path.insert(0, os.path.join(SRC, "bindings", "python"))
os.environ.setdefault("TRAM_LIBRARY", os.path.join(BUILD, "lib", "libtram.so"))

import tram  # noqa: E402
import tram.aio  # noqa: E402
from tram import ID  # noqa: E402

SCALE = float(os.environ.get("TRAM_TIME_SCALE", "1"))
LEFT, RIGHT, THIRD = "1.0.0.1", "1.0.0.2", "1.0.0.3"
SMALL = {"ring_size": 65536, "ring_max": 65536}


async def turn():
    """Everybody else once."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


async def until(condition):
    async with asyncio.timeout(20 * SCALE):
        while not condition():
            await turn()


def cpu():
    times = os.times()
    return times.user + times.system


class Aio(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        shutil.rmtree(os.path.join(os.environ["TRAM_DIR"], "default"), ignore_errors=True)
        self.nodes = []

    async def asyncTearDown(self):
        for node in self.nodes:
            node.close()

    def open(self, id, **options):
        node = tram.aio.Node(None, id, **options)
        self.nodes.append(node)
        return node

    def count_looks(self, node):
        """How often the loop calls the node: a list that grows."""
        looks = []
        look = node._look

        def counted():
            looks.append(time.monotonic())
            look()
        node._look = counted
        return looks

    async def fill(self, node, to):
        while True:
            try:
                node.sync.send(to, bytes(5000), nowait=True)
            except tram.Again:
                return

    async def test_there_and_back(self):
        """An echo, and somebody with hundreds of questions open, through rings that are small."""
        asker, echo = self.open(LEFT, **SMALL), self.open(RIGHT, **SMALL)
        count = 5000

        async def answer():
            async for message in echo:
                await echo.send(message.from_, message.data, message.tag)
                if message.tag == count - 1:
                    echo.sync.done()
                    return

        async def ask():
            for i in range(count):
                await asker.send(RIGHT, b"%d" % i * 40, tag=i)

        async def check():
            for i in range(count):
                message = await asker.recv()
                self.assertEqual((message.tag, message.data), (i, b"%d" % i * 40))

        async with asyncio.timeout(30 * SCALE):
            await asyncio.gather(answer(), ask(), check())
        self.assertEqual(asker.sync.accepted(RIGHT), count)

    async def test_another_process(self):
        """From a process that blocks, thousands, and its end is seen."""
        node = self.open(LEFT)
        count = 20000
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with tram.Node(None, RIGHT, **SMALL) as sender:
                    for i in range(count):
                        sender.send(LEFT, b"x" * (i % 100), i)
                    code = 0
            finally:
                os._exit(code)
        node.sync.watch(RIGHT)
        seen = []

        async def watch():
            async for event in node.events():
                seen.append(event.type)
                if event.type is tram.EventType.DOWN:
                    return

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(30 * SCALE):
            for i in range(count):
                message = await node.recv()
                self.assertEqual((message.tag, len(message.data)), (i, i % 100))
            await watching
        self.assertEqual(seen[-1], tram.EventType.DOWN)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    async def test_cancelled_receives_take_nothing(self):
        left, right = self.open(LEFT), self.open(RIGHT)
        got = []
        for i in range(300):
            receive = asyncio.create_task(right.recv())
            await turn()
            if i % 3 != 1:
                await left.send(RIGHT, b"", tag=i)
            if i % 3 == 2:
                await turn()
            receive.cancel()
            try:
                got.append((await receive).tag)
            except asyncio.CancelledError:
                pass
        while (message := right.sync.try_recv()) is not None:
            got.append(message.tag)
        self.assertEqual(got, [i for i in range(300) if i % 3 != 1])
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(right.recv(), 0.01)
        self.assertEqual(right._receivers, set())

    async def test_cancelled_sends_send_nothing(self):
        left, right = self.open(LEFT, **SMALL), self.open(RIGHT)
        await self.fill(left, RIGHT)
        accepted = left.sync.accepted(RIGHT)
        sends = [asyncio.create_task(left.send(RIGHT, bytes(5000), i)) for i in range(20)]
        await until(lambda: left._lines.get(ID(RIGHT), (0, 0))[1] == 20)
        for send in sends[::2]:
            send.cancel()
        tags = []
        async with asyncio.timeout(20 * SCALE):
            while len(tags) < accepted + 10:
                tags.append((await right.recv()).tag)
            done = await asyncio.gather(*sends, return_exceptions=True)
        self.assertEqual([isinstance(d, asyncio.CancelledError) for d in done], [True, False] * 10)
        self.assertEqual(tags[accepted:], list(range(1, 20, 2)))  # in their order
        self.assertEqual((left._lines, left._spaces), ({}, {}))

    async def test_idle_is_idle(self):
        """Nothing to do for a while: only what tram itself has due calls the loop."""
        left, right = self.open(LEFT, **SMALL), self.open(RIGHT)
        await self.fill(left, RIGHT)
        looks = self.count_looks(left)
        waits = [asyncio.create_task(wait) for wait in
                 (left.recv(), left.send(RIGHT, bytes(5000)), left.event())]
        await asyncio.wait(waits, timeout=0.05)
        del looks[:]
        before = cpu()
        done, _ = await asyncio.wait(waits, timeout=0.7)
        self.assertFalse(done)
        self.assertLess(len(looks), 12)  # for memory that may be given back, each 100 ms
        self.assertLess(cpu() - before, 0.2)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        self.assertFalse(right._reading)

    async def test_room_while_messages_wait(self):
        """The descriptor says that there are messages, and nobody wants them: that must not make
        the loop spin, nor the send late."""
        left, right = self.open(LEFT, **SMALL), self.open(RIGHT)
        await self.fill(left, RIGHT)
        await right.send(LEFT, b"not wanted yet")
        looks = self.count_looks(left)
        send = asyncio.create_task(left.send(RIGHT, bytes(5000)))
        before = cpu()
        done, _ = await asyncio.wait([send], timeout=0.5)
        self.assertLess(len(looks), 40)
        self.assertLess(cpu() - before, 0.2)
        self.assertFalse(done)
        while right.sync.try_recv() is not None:
            pass
        began = time.monotonic()
        await asyncio.wait_for(send, 10 * SCALE)
        self.assertLess(time.monotonic() - began, SCALE)
        self.assertEqual((await left.recv()).data, b"not wanted yet")

    async def test_nobody_waits(self):
        """Messages that nobody asks for do not keep the loop busy."""
        left, right = self.open(LEFT), self.open(RIGHT)
        receive = asyncio.create_task(right.recv())
        await turn()
        for i in range(10):
            await left.send(RIGHT, b"%d" % i)
        self.assertEqual((await receive).data, b"0")
        looks = self.count_looks(right)
        right._quiet()
        right._arm()
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        self.assertLessEqual(len(looks), 2)
        self.assertEqual([m.data for m in await right.recv_batch()],
                         [b"%d" % i for i in range(1, 10)])

    async def test_others_get_their_turn(self):
        left, right = self.open(LEFT), self.open(RIGHT)
        for i in range(3000):
            await left.send(RIGHT)
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await turn()

        task = asyncio.create_task(other())
        for i in range(3000):
            await right.recv()
        task.cancel()
        self.assertGreater(turns, 20)

    async def test_shared_work(self):
        """Several tasks hold messages, and release them in any order."""
        left, right = self.open(LEFT), self.open(RIGHT)
        seen = []

        async def work():
            while True:
                with await right.recv(hold=True) as message:
                    for _ in range(message.tag % 5):
                        await turn()
                    seen.append(message.tag)

        workers = [asyncio.create_task(work()) for _ in range(5)]
        for i in range(200):
            await left.send(RIGHT, b"x", i)
        await until(lambda: len(seen) == 200)
        self.assertEqual(right.sync.peer(LEFT).from_.consumed, 200)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self.assertEqual(sorted(seen), list(range(200)))

    async def test_the_end(self):
        left, right = self.open(LEFT), self.open(RIGHT)
        third = self.open(THIRD)
        got = []

        async def go_on():
            async for message in right:
                got.append(message.data)

        loop, receive = asyncio.create_task(go_on()), asyncio.create_task(third.recv())
        events = asyncio.create_task(anext(third.events(), None))
        await left.sendv(RIGHT, [b"a", b"b"])
        await until(lambda: got)
        right.close()
        third.close()
        await asyncio.wait_for(loop, 10 * SCALE)
        self.assertEqual(got, [b"ab"])
        with self.assertRaises(ValueError):
            await receive
        self.assertIsNone(await events)
        with self.assertRaises(ValueError):
            await right.recv()
        await left.send(RIGHT, b"cd")
        async with tram.aio.Node(None, RIGHT) as again:
            await again.recv()
        async with tram.aio.Node(None, RIGHT) as again:
            message = await again.recv()
            self.assertEqual((message.data, message.attempt), (b"cd", 2))
            await again.forward(message, LEFT)
        self.assertEqual((await left.recv()).data, b"cd")


if __name__ == "__main__":
    unittest.main(verbosity=1)
