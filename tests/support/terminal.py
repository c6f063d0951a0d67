"""A terminal for tests: a program on a pty, and the screen that its output makes. It knows the few
sequences that a plain ANSI screen needs; any other, and any character outside of the screen, is an
error."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

SCALE = float(os.environ.get("TRAM_TIME_SCALE", "1"))
SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, rows, columns):
        self.resize(rows, columns)
        self.alternate = False
        self.cursor = True
        self.bytes = self.writes = self.clears = 0
        self.pending = b""

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0

    def crop(self, rows, columns):
        """Smaller, or larger, with what is there; outside there must be nothing."""
        assert not any("".join(line[columns:]).strip() for line in self.cells), self.text()
        assert not any("".join(line).strip() for line in self.cells[rows:]), self.text()
        self.cells = [(line + [" "] * columns)[:columns] for line in self.cells[:rows]]
        self.cells += [[" "] * columns for _ in range(rows - len(self.cells))]
        self.rows, self.columns = rows, columns

    def lines(self):
        return ["".join(line).rstrip() for line in self.cells]

    def text(self):
        return "\n".join(self.lines())

    def feed(self, octets):
        self.bytes += len(octets)
        self.writes += 1
        data = self.pending + octets
        at = 0
        while at < len(data):
            if data[at] != 0x1b:
                self.put(data[at])
                at += 1
                continue
            found = SEQUENCE.match(data, at)
            if not found:
                break
            self.command(*(part.decode() for part in found.groups()))
            at = found.end()
        self.pending = data[at:]
        assert len(self.pending) < 16, self.pending

    def put(self, octet):
        if octet == 0x0d:
            self.column = 0
        elif octet == 0x0a:
            self.row = min(self.row + 1, self.rows - 1)
        else:
            assert 0x20 <= octet < 0x7f, f"character {octet:#x}"
            assert self.column < self.columns, f"beyond {self.columns} columns: {self.text()}"
            self.cells[self.row][self.column] = chr(octet)
            self.column += 1

    def command(self, private, numbers, letter):
        if private:
            assert letter in "hl" and numbers in ("25", "1049"), (numbers, letter)
            if numbers == "25":
                self.cursor = letter == "h"
            else:
                self.alternate = letter == "h"
        elif letter == "H":
            row, column = (int(n) for n in (numbers or "1;1").split(";"))
            assert row <= self.rows and column <= self.columns, numbers
            self.row, self.column = row - 1, column - 1
        elif letter == "K":
            assert self.column < self.columns, "erases its last character"
            self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
        elif letter == "J":
            assert numbers == "2"
            self.clears += 1
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        else:
            assert letter == "m", letter


class Terminal:
    """A program on a terminal of its own, whose foreground it is."""

    def __init__(self, command, rows=24, columns=80, term="xterm", **environment):
        env = dict(os.environ, TERM=term, **environment)
        self.screen = Screen(rows, columns)
        self.status = None
        ready, go = os.pipe()  # the child waits, so that it starts with the right size and modes
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.close(go)
            os.read(ready, 1)
            os.execvpe(command[0], command, env)
        self.size(rows, columns)
        self.before = termios.tcgetattr(self.master)
        os.close(go)
        os.close(ready)

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        """What is under way is for the old size, and goes when all is cleared; then crop()."""
        self.screen.crop(max(rows, self.screen.rows), max(columns, self.screen.columns))
        self.size(rows, columns)

    def modes(self):
        return termios.tcgetattr(self.master)

    def restored(self):
        return self.modes() == self.before and not self.screen.alternate and self.screen.cursor

    def read(self, seconds):
        """What comes within the time: False if nothing did, or the program ended."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            octets = os.read(self.master, 65536)
        except OSError:
            return False
        self.screen.feed(octets)
        return bool(octets)

    def until(self, there, seconds=10):
        end = time.monotonic() + seconds * SCALE
        while not there():
            assert time.monotonic() < end, f"in vain; the screen:\n{self.screen.text()}"
            self.read(0.05)

    def shows(self, text):
        self.until(lambda: text in self.screen.text())

    def type(self, text):
        os.write(self.master, text.encode())

    def kill(self, number):
        os.kill(self.pid, number)

    def stopped(self):
        def there():
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            return pid == self.pid and os.WIFSTOPPED(status)
        self.until(there)

    def end(self):
        """Waits for the end: the exit code, negative for a signal."""
        def there():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)
            return self.status is not None
        self.until(there)
        while self.read(0):
            pass
        return self.status

    def close(self):
        if self.status is None:
            self.kill(signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
