#!/usr/bin/env python3
# test: timeout=60
"""tramd from outside: arguments, exit codes, config files, signals, one for each bus, what it tells
systemd; and that the example, the unit files, the page and the completion go with it."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

TOP = os.environ["TRAM_SRC"]
BUILD = os.environ["TRAM_BUILD"]
DIR = os.environ["TRAM_DIR"]
TRAMD = os.path.join(BUILD, "bin", "tramd")
SCALE = int(os.environ.get("TRAM_TIME_SCALE") or 1)
BUS = os.path.join(DIR, "default")

os.environ["HOME"] = os.environ["XDG_CONFIG_HOME"] = os.path.join(DIR, "home")


def tramd(*args, expect=0, **more):
    done = subprocess.run([TRAMD, *args], capture_output=True, text=True, timeout=20 * SCALE,
                          check=False, **more)
    assert done.returncode == expect, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def conf(text, name="tramd.conf"):
    path = os.path.join(DIR, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Daemon:
    def __init__(self, *args, env=None):
        self.process = subprocess.Popen([TRAMD, *args], stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, **(env or {})))
        self.said = ""
        os.set_blocking(self.process.stderr.fileno(), False)

    def read(self):
        """What it has said since."""
        try:
            return os.read(self.process.stderr.fileno(), 65536).decode()
        except BlockingIOError:
            return ""

    def until(self, text):
        """Read what it says until that comes."""
        end = time.monotonic() + 20 * SCALE
        while text not in self.said:
            assert time.monotonic() < end, (text, self.said)
            select.select([self.process.stderr], [], [], 0.1)
            self.said += self.read()
        said, self.said = self.said, ""
        return said

    def end(self, number=signal.SIGTERM, expect=0):
        self.process.send_signal(number)
        code = self.process.wait(20 * SCALE)
        rest = self.read()
        self.process.stderr.close()
        assert code == expect, (code, rest)
        return self.said + rest


def arguments():
    assert tramd("--help").startswith("usage: tramd"), "help"
    with open(os.path.join(TOP, "include", "tram", "tram.h"), encoding="utf-8") as file:
        numbers = re.findall(r"#define TRAM_VERSION_\w+ (\d+)", file.read())
    assert tramd("--version") == "tramd " + ".".join(numbers) + "\n"
    assert "--nonsense" in tramd("--nonsense", expect=2)
    assert "--bus" in tramd("--bus", expect=2)
    assert "'extra'" in tramd("extra", expect=2)
    assert "no name for a bus" in tramd("--bus", "a/b", expect=1)
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert subprocess.run([TRAMD, "--help"], stdout=full, check=False).returncode == 1


def configs():
    assert tramd("--check-config") == "there is no config file\n"
    path = conf("[log]\nlevel = debug\n", "home/tram/tramd.conf")
    assert tramd("--check-config") == path + "\n"
    os.unlink(path)
    for text, line, why in (("[log]\nlevel = loud\n", 2, "none of error, warning, info, debug"),
                            ("\n[limits]\nqueue = 1\n", 3, "no size from 128K to 1G"),
                            ("[limits]\nconnections = 0\n", 2, "from 1 to 1000000"),
                            ("[daemon]\nidle = 5\n", 2, "no time from 100ms to 24h"),
                            ("[daemon]\nidle = 5s\nidle = 6s\n", 3, "twice"),
                            ("[nowhere]\n", 1, "no section 'nowhere'"),
                            ("[log]\nidle = 5s\n", 2, "no key 'idle' in [log]"),
                            ("idle = 5s\n", 1, "outside of sections"),
                            ("[log]\nlevel\n", 2, "neither")):
        path = conf(text)
        for more in (["--check-config"], []):
            said = tramd("--config", path, *more, expect=2)
            assert f"{path}, line {line}: " in said and why in said, said
    assert "No such file" in tramd("--config", "/nonexistent", "--check-config", expect=2)
    assert "directory" in tramd("--config", DIR, "--check-config", expect=2)


def example():
    """The example is good, has every key that there is, and each default."""
    path = os.path.join(TOP, "systemd", "tramd.conf")
    tramd("--config", path, "--check-config")
    with open(path, encoding="utf-8") as file:
        shown = file.read()
    with open(os.path.join(TOP, "src", "daemon", "settings.c"), encoding="utf-8") as file:
        known = re.findall(r'{ "(\w+)", "([\w-]+)", CONFIG', file.read())
    with open(os.path.join(TOP, "man", "man5", "tramd.conf.5"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    assert len(known) >= 9
    for section, key in known:
        assert f"[{section}]" in shown and re.search(rf"^#?{key} = ", shown, re.M), key
        value = re.search(rf"^{key} = (\S+)$", shown, re.M)
        about = page.split(f"\\fB{key}\\fR")
        assert len(about) > 1, f"tramd.conf(5) says nothing of {key}"
        if value: # each default has its place in the page, too
            assert f"Default: {value[1]}." in about[1].split(".TP")[0], f"{key} in tramd.conf(5)"


def one_for_each_bus():
    first = Daemon()
    first.until("serves " + BUS)
    said = tramd(expect=4)
    assert f"process {first.process.pid}" in said, said
    assert tramd("--auto") == ""
    other = Daemon("--bus", "other")
    other.until("serves " + os.path.join(DIR, "other"))
    other.end(signal.SIGINT)
    assert os.path.exists(os.path.join(BUS, "tramd.sock"))
    assert "signal 15" in first.end()
    assert not os.path.exists(os.path.join(BUS, "tramd.sock"))
    Daemon().end(signal.SIGKILL, -signal.SIGKILL)
    third = Daemon()
    third.until("serves")
    third.end()


def reload_config():
    path = conf("[log]\nlevel = info\n")
    daemon = Daemon("--config", path)
    daemon.until("serves")
    conf("[log]\nlevel = loud\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert f"{path}, line 2" in daemon.until("still holds")
    conf("[log]\nlevel = debug\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until("read again")
    with socket.socket(socket.AF_UNIX) as client: # what only debug says
        client.connect(os.path.join(BUS, "tramd.sock"))
        client.sendall(b"\4\0\0\0\x0a\2\x08\1")
        assert client.recv(4096)
        daemon.until(f"process {os.getpid()} ")
    log = os.path.join(DIR, "its.log")
    conf(f"[log]\nlevel = info\nfile = {log}\n")
    daemon.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20 * SCALE
    while not os.path.exists(log) or "read again" not in open(log, encoding="utf-8").read():
        assert time.monotonic() < end
        select.select([], [], [], 0.01)
    assert daemon.end() == ""


def told_to_systemd():
    path = os.path.join(DIR, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(20 * SCALE)
        daemon = Daemon("--journal", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        assert notify.recv(100) == b"READY=1"
        assert daemon.until("serves").startswith("<6>serves")
        assert notify.recv(100) == b"WATCHDOG=1"
        assert notify.recv(100) == b"WATCHDOG=1"
        daemon.process.send_signal(signal.SIGHUP)
        got = [notify.recv(100)]
        while got[-1] != b"READY=1":
            got.append(notify.recv(100))
        told = [one for one in got if one != b"WATCHDOG=1"]
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", told[0]), told
        daemon.end()
        while notify.recv(100) != b"STOPPING=1":
            pass
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("\0tramd-test-%d" % os.getpid())
        notify.settimeout(20 * SCALE)
        daemon = Daemon(env={"NOTIFY_SOCKET": "@tramd-test-%d" % os.getpid()})
        assert notify.recv(100) == b"READY=1"
        daemon.end()


def background():
    """--auto leaves nothing of ours open, and does not hold up who waits for its pipes."""
    path = conf("[daemon]\nidle = 200ms\n")
    assert tramd("--auto", "--config", path) == "" # returns, though the daemon runs
    log = os.path.join(BUS, "tramd.log")
    end = time.monotonic() + 20 * SCALE
    with socket.socket(socket.AF_UNIX) as client:
        while client.connect_ex(os.path.join(BUS, "tramd.sock")) != 0:
            assert time.monotonic() < end
            select.select([], [], [], 0.001)
    while not os.path.exists(log) or "nobody needs it" not in open(log, encoding="utf-8").read():
        assert time.monotonic() < end
        select.select([], [], [], 0.01)


def verify(kind, path):
    """What systemd says of a unit. A user's manager wants a directory, or looks at nothing."""
    return subprocess.run(["systemd-analyze", "verify", "--man=no", f"--{kind}", path],
                          capture_output=True, text=True, check=False,
                          env=dict(os.environ, XDG_RUNTIME_DIR=DIR))


def units():
    """The unit files are good, where systemd is there to say so."""
    if not shutil.which("systemd-analyze"):
        print("units: without systemd-analyze nobody looks at them")
        return
    for kind, name in (("system", "tramd@.service"), ("user", "tramd.service")):
        with open(os.path.join(TOP, "systemd", kind, name + ".in"), encoding="utf-8") as file:
            text = file.read().replace("@bindir@", os.path.dirname(TRAMD))
        assert "Type=notify" in text and "WatchdogSec=" in text
        assert "PrivateNetwork" not in text, f"{name}: no other host could be reached"
        for paths in re.findall(r"^ReadWritePaths=(.*)", text, re.M):
            assert "-/etc/tram" in paths.split(), f"{name}: the list of the revoked is not kept"
        for family in re.findall(r"^RestrictAddressFamilies=(.*)", text, re.M):
            assert {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"} <= set(family.split()), family
        name = name.replace("@", "@root")
        done = verify(kind, conf(text, name))
        assert done.returncode == 0 and not done.stderr, done.stderr
        for good, spoilt in (("WatchdogSec=", "WatchdogSecs="), (TRAMD, TRAMD + "-x"),
                             ("Type=notify", "Type=notifies")):
            assert verify(kind, conf(text.replace(good, spoilt), name)).stderr, (kind, spoilt)


def page():
    """tramd(8) has the options of --help, and the exit codes."""
    with open(os.path.join(TOP, "man", "man8", "tramd.8"), encoding="utf-8") as file:
        text = file.read().replace("\\-", "-")
    options = re.findall(r"^  (--[\w-]+(?: [A-Z]+)?)  ", tramd("--help"), re.M)
    assert len(options) == 11, options
    for option in options:
        words = option.split()
        shown = f"\\fB{words[0]}\\fR" + (f" \\fI{words[1]}\\fR" if words[1:] else "")
        assert shown in text, f"tramd(8) says nothing of {option}"
    for code in "0124":
        assert f".TP\n{code}\n" in text, code


if not os.path.exists(TRAMD):
    print("skipped: this build has no services")
    sys.exit(77)
for test in (arguments, configs, example, one_for_each_bus, reload_config, told_to_systemd,
             background, units, page):
    test()
    print("ok", test.__name__)
    shutil.rmtree(BUS, ignore_errors=True)
sys.exit(0)
