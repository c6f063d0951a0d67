# SPDX-License-Identifier: MIT
"""The kill storm of the bindings: nodes in C++, Python and C that send, relay and receive, are
killed with -9 at random instants and start again on the same IDs; and an oracle that looks at every
message. The storm of the library itself is larger (tests/support/storm.c) and knows more; this one
asks whether a binding keeps what the library promises.

The oracle's memory is a file of 64-bit words that survives the processes; both ends of a channel
say there what they are about to do, and what became of it:

  sender     TRIED     the highest number of which a send was begun
             ACCEPTED  the highest number that a call said was accepted; so, at the next open,
                       ACCEPTED <= accepted() <= TRIED, and it goes on from there
  receiver   CALLING   a receive is under way: up to so many messages may be handed out unseen, and
                       those are the only ones that may come marked at first sight (MAYBE)
             a log     of each number: handed out, being released, released. What was released must
                       not come again; what was handed out must come again marked; nothing may be
                       skipped that was not released. SETTLED: all up to here are released

Tag, size and bytes of a message follow from seed, channel and number. In the end all is drained and
both ends of each channel are asked once more.

    lives.py ORACLE NODE        one life, in Python
"""

import mmap
import os
import random
import select
import signal
import subprocess
import sys
import time

ENDING, FAILED, PROGRESS = 3, 4, 5
ID, ROLE, RING, CALLING, ENDED = range(5)
(SENDER, RECEIVER, ORIGIN, TRIED, ACCEPTED, FINAL, HANDED, MAYBE, SETTLED, HANDOUTS,
 REPEATS) = range(11)
HEADER, NODE, MAX_NODES, MAX_CHANS, LOG = 16, 16, 32, 32, 4096
CHAN = 16 + LOG
IS_HANDED, RELEASING, RELEASED = 1, 2, 3
ROLES = {"sender": 0, "receiver": 1, "relay": 2}
MASK = (1 << 64) - 1


class Oracle:
    """The words, in this process. (Views of one memory: no word is ever torn.)"""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._map).cast("Q")

    @staticmethod
    def make(path):
        with open(path, "wb") as file:
            file.truncate(8 * (HEADER + NODE * MAX_NODES + CHAN * MAX_CHANS))
        return Oracle(path)

    def node(self, i):
        return self.words[HEADER + NODE * i:][:NODE]

    def chan(self, i):
        return self.words[HEADER + NODE * MAX_NODES + CHAN * i:][:CHAN]

    def nodes(self):
        return [self.node(i) for i in range(self.words[1])]

    def chans(self):
        return [self.chan(i) for i in range(self.words[2])]


def mix(a, b, c):
    x = (a * 0x9e3779b97f4a7c15 + b * 0xd6e8feb86659fd93 + c) & MASK
    for _ in range(2):
        x ^= x >> 32
        x = x * 0xd6e8feb86659fd93 & MASK
    return x ^ x >> 32


# ---- a life ------------------------------------------------------------------------------------

class In:
    def __init__(self, chan):
        self.chan = chan
        self.last = 0  # as far as this life has come


class Out:
    def __init__(self, chan, to, following):
        self.chan = chan
        self.to = to
        self.next = following


class Life:
    def __init__(self, oracle, index, tram):
        self.oracle = oracle
        self.words = oracle.words
        self.me = oracle.node(index)
        self.tram = tram
        self.dice = random.Random(mix(self.words[0], index, os.getpid()))
        self.autos = []
        self.node = self.open()
        self.ins, self.outs = {}, []
        for chan in oracle.chans():
            if chan[RECEIVER] == index:
                sender = oracle.node(chan[SENDER])[ID]
                self.ins[sender] = In(chan)
                chan[MAYBE] = max(chan[MAYBE], chan[HANDED] + self.me[CALLING])
            if chan[SENDER] == index:
                to = tram.ID(oracle.node(chan[RECEIVER])[ID])
                accepted = self.node.accepted(to)
                if not chan[ACCEPTED] <= accepted <= chan[TRIED]:
                    self.fail(chan, accepted, "accepted() is not between accepted and tried")
                chan[ACCEPTED] = accepted
                self.outs.append(Out(chan, to, accepted + 1))
        self.me[CALLING] = 0

    def open(self):
        end = time.monotonic() + 20 * float(os.environ.get("TRAM_TIME_SCALE", "1"))
        while True:
            try:
                return self.tram.Node(None, self.me[ID], ring_size=self.me[RING],
                                      ring_max=4 << 20, attempts=250)
            except self.tram.InUse:
                if time.monotonic() > end:
                    raise

    def fail(self, chan, seq, what):
        names = [str(self.tram.ID(self.oracle.node(chan[end])[ID])) for end in (SENDER, RECEIVER)]
        self.words[FAILED] = 1
        raise AssertionError(f"{names[0]} -> {names[1]}, message {seq}: {what}")

    def content(self, chan, seq):
        key = mix(self.words[0], chan[ORIGIN], seq)
        r = key % 100
        size = (key >> 8) % (300, 3000, 20000, 60000)[(r >= 70) + (r >= 95) + (r >= 99)]
        return key & 0xFFFFFFFF, (key.to_bytes(8, "little") * (size // 8 + 1))[:size]

    # ---- sending

    def sent(self, out, accepted):
        out.next += 1
        if accepted:
            out.chan[ACCEPTED] = out.next - 1
        self.words[PROGRESS] += 1

    def all_accepted(self):
        for out in self.outs:
            out.chan[ACCEPTED] = out.next - 1

    def step(self, out):
        tag, data = self.content(out.chan, out.next)
        more = self.dice.random() < 0.3
        out.chan[TRIED] = out.next
        way = self.dice.randrange(5)
        if way == 0:
            self.sent(out, self.node.send(out.to, data, tag, more=more))
        elif way == 1:
            while True:
                try:
                    return self.sent(out, self.node.send(out.to, bytearray(data), tag, more=more,
                                                         nowait=True))
                except self.tram.Again:
                    self.await_space(out)
        elif way == 2:
            cut = self.dice.randint(0, len(data))
            while True:
                try:
                    return self.sent(out, self.node.sendv(
                        out.to, [data[:cut], b"", memoryview(data)[cut:]], tag, more=more,
                        timeout=0.002))
                except self.tram.TimedOut:
                    pass
        elif way == 3:
            with self.node.claim(out.to, 100):
                pass  # given up
            self.sent(out, self.node.send(out.to, data, tag))
        else:
            with self.node.claim(out.to, len(data) + self.dice.randrange(1000)) as claim:
                claim.view[:len(data)] = data
                self.sent(out, claim.commit(len(data), tag, more=more))

    def await_space(self, out):
        poll = select.poll()
        poll.register(self.node, select.POLLIN)
        while True:
            due = self.node.timeout()
            poll.poll(None if due is None else due * 1000 + 1)
            for event in self.node.events():
                if event.type == self.tram.EventType.SPACE and event.peer == out.to:
                    return

    def finish_sending(self):
        self.node.flush()
        self.all_accepted()
        for out in self.outs:
            out.chan[FINAL] = out.next

    def sender(self):
        while not self.words[ENDING]:
            self.step(self.dice.choice(self.outs))
            if self.dice.random() < 0.05:
                self.node.flush()
                self.all_accepted()
        self.finish_sending()

    # ---- receiving

    def skipped(self, into, upto):
        """Numbers up to this did not come in this life: they may only be such as were released."""
        chan = into.chan
        for seq in range(max(into.last, chan[SETTLED]) + 1, upto + 1):
            entry = chan[16 + seq % LOG]
            if entry >> 2 != seq or entry & 3 < RELEASING:
                self.fail(chan, seq, "lost: it was not released, and did not come")
            chan[16 + seq % LOG] = seq << 2 | RELEASED

    def settle(self, chan):
        seq = chan[SETTLED]
        while chan[16 + (seq + 1) % LOG] == (seq + 1) << 2 | RELEASED:
            seq += 1
        chan[SETTLED] = seq

    def handed(self, message, data):
        into, seq = self.ins[message.from_], message.seq
        chan = into.chan
        if seq <= into.last:
            self.fail(chan, seq, "out of order")
        self.skipped(into, seq - 1)
        if seq > chan[HANDED]:
            if message.again and seq > chan[MAYBE]:
                self.fail(chan, seq, "marked, and nobody can have had it")
            chan[HANDED] = seq
        else:
            if seq <= chan[SETTLED] or chan[16 + seq % LOG] == seq << 2 | RELEASED:
                self.fail(chan, seq, "twice: it was released")
            if not message.again:
                self.fail(chan, seq, "twice, and not marked")
            chan[REPEATS] += 1
        if (message.tag, data) != self.content(chan, seq):
            self.fail(chan, seq, "other bytes than were sent")
        chan[16 + seq % LOG] = seq << 2 | IS_HANDED
        into.last = seq
        chan[HANDOUTS] += 1
        self.words[PROGRESS] += 1
        return chan, seq

    def mark(self, taken, state):
        for chan, seq in taken:
            chan[16 + seq % LOG] = seq << 2 | state
            if state == RELEASED:
                self.settle(chan)

    def calling(self, count, call, auto=True):
        """A receive of up to so many, which releases what came by itself before. It gives what came
        as a list; nothing by raising Again or TimedOut."""
        before = [(into, into.chan[ACCEPTED]) for into in self.ins.values()]
        self.mark(self.autos, RELEASING)
        self.me[CALLING] = count
        try:
            messages, truth = call(), False
        except self.tram.Again:
            messages, truth = [], True
        except self.tram.TimedOut:
            messages, truth = [], False
        self.mark(self.autos, RELEASED)
        self.autos = []
        if truth:  # all that had been accepted was here
            for into, accepted in before:
                self.skipped(into, accepted)
                self.settle(into.chan)
        taken = [self.handed(message, message.data) for message in messages]
        if auto:
            self.autos = taken
        self.me[CALLING] = 0
        return messages, taken

    def held(self):
        hands = []
        for _ in range(self.dice.randrange(8)):
            messages, taken = self.calling(1, lambda: [self.node.recv(0.001, hold=True)], False)
            hands += zip(messages, taken)
        self.dice.shuffle(hands)
        for message, taken in hands:
            self.mark([taken], RELEASING)
            message.release()
            self.mark([taken], RELEASED)

    def complete(self):
        """The senders have ended, and all that they sent was here."""
        if not self.words[ENDING]:
            return False
        return all(into.chan[FINAL] and max(into.last, into.chan[SETTLED]) + 1 >= into.chan[FINAL]
                   for into in self.ins.values())

    def finish_receiving(self):
        # Nothing: by that it is known what a life before released.
        self.calling(1, lambda: [self.node.recv(0)])
        self.mark(self.autos, RELEASING)
        self.node.done()
        self.mark(self.autos, RELEASED)
        self.autos = []

    def receiver(self):
        while True:
            way = self.dice.randrange(3)
            if way == 0:
                for turn in range(20):
                    if not self.calling(1, lambda: [self.node.recv(turn % 2 * 0.001)])[0]:
                        break
            elif way == 1:
                self.calling(16, lambda: self.node.recv_batch(16, 0.002))
            else:
                self.held()
            if self.complete():
                break
        self.finish_receiving()

    def relay(self):
        """Number n in becomes number n out: what was accepted already is not sent again."""
        out = self.outs[0]
        while not self.complete():
            for message in self.calling(1, lambda: [self.node.recv(
                    self.dice.choice((0, 0.001)))])[0]:
                if message.seq > out.next:
                    self.fail(out.chan, out.next, "skipped one that it did not send")
                if message.seq == out.next:
                    out.chan[TRIED] = out.next
                    self.sent(out, self.node.forward(message, out.to))
        self.finish_receiving()
        self.finish_sending()


def live(oracle, index):
    import tram
    life = Life(oracle, index, tram)
    {0: life.sender, 1: life.receiver, 2: life.relay}[life.me[ROLE]]()
    life.node.close()
    life.me[ENDED] = 1


# ---- the supervisor ----------------------------------------------------------------------------

class Storm:
    """nodes: (role, how), how being the program of its lives, None for Python; chans: (sender,
    receiver) as indices. A relay has one of each kind."""

    def __init__(self, seed, nodes, chans, check):
        self.dice = random.Random(seed)
        self.path = os.path.join(os.environ["TRAM_DIR"], f"oracle-{seed}")
        self.oracle = Oracle.make(self.path)
        self.words = self.oracle.words
        self.words[0], self.words[1], self.words[2] = seed, len(nodes), len(chans)
        self.how = [how for _, how in nodes]
        self.check = check
        self.pids = {}
        self.kills = self.lives = 0
        self.scale = float(os.environ.get("TRAM_TIME_SCALE", "1"))
        for i, (role, _) in enumerate(nodes):
            words = self.oracle.node(i)
            words[ID] = 1 << 24 | seed % 60000 << 8 | i + 1
            words[ROLE] = ROLES[role]
            words[RING] = self.dice.choice((65536, 131072, 1 << 20))
        for i, (sender, receiver) in enumerate(chans):
            chan = self.oracle.chan(i)
            chan[SENDER], chan[RECEIVER] = sender, receiver
            relayed = nodes[sender][0] == "relay"
            chan[ORIGIN] = next(c for c, (_, end) in enumerate(chans) if end == sender) \
                if relayed else i

    def start(self, i):
        self.lives += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if self.how[i]:
                    os.execv(self.how[i], [self.how[i], self.path, str(i)])
                live(self.oracle, i)
                code = 0
            except BaseException as error:  # whatever it is: the storm has failed
                import traceback
                self.words[FAILED] = 1
                traceback.print_exception(error)
                sys.stderr.flush()
            finally:
                os._exit(code)
        self.pids[pid] = i

    def reap(self):
        while self.pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            i = self.pids.pop(pid)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                self.start(i)
            elif status != 0 or not self.oracle.node(i)[ENDED]:
                print(f"node {i}: {os.waitstatus_to_exitcode(status)}", file=sys.stderr)
                self.words[FAILED] = 1

    def linger(self, seconds):
        """Let them run, and look after those that ended."""
        end = time.monotonic() + seconds
        while not self.words[FAILED]:
            self.reap()
            left = end - time.monotonic()
            if left <= 0:
                break
            select.select([], [], [], min(left, 0.002))
        assert not self.words[FAILED], "the storm failed"

    def kill_one(self):
        if self.pids:
            pid = self.dice.choice(sorted(self.pids))
            if self.dice.random() < 0.1:  # others see a holder that lives and does nothing
                os.kill(pid, signal.SIGSTOP)
                self.linger(self.dice.random() * 0.005)
            if pid in self.pids:
                os.kill(pid, signal.SIGKILL)  # not reaped yet: it is no other's number
                self.kills += 1

    def rage(self, kills, pause):
        for _ in range(kills):
            self.linger(self.dice.random() * pause)
            self.kill_one()

    def run(self, kills, pause):
        try:
            for i in range(len(self.how)):
                self.start(i)
            self.rage(kills, pause)
            # A slow machine may have killed all of them before they had opened their nodes.
            begun = time.monotonic()
            while not self.words[PROGRESS] and time.monotonic() - begun < 10 * self.scale:
                self.linger(0.01)
            self.words[ENDING] = 1
            self.rage(kills // 8, pause)
            moved, seen = time.monotonic(), None
            while self.pids:
                self.linger(0.002)
                if self.words[PROGRESS] != seen:
                    moved, seen = time.monotonic(), self.words[PROGRESS]
                assert time.monotonic() - moved < 10 * self.scale, "nothing moves"
            subprocess.run([self.check, self.path, "check"], check=True)
        finally:
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)
            for pid in self.pids:
                os.waitpid(pid, 0)
        chans = self.oracle.chans()
        accepted, repeats = (sum(c[word] for c in chans) for word in (ACCEPTED, REPEATS))
        print(f"    {self.kills} kills, {self.lives} lives, {accepted} accepted, "
              f"{repeats} came again")
        assert accepted > 0, "nothing was sent"


if __name__ == "__main__":
    live(Oracle(sys.argv[1]), int(sys.argv[2]))
