#!/usr/bin/env python3
# test: timeout=120
"""tram doctor: each of its findings, provoked: by files made by hand, by limits, by a small tmpfs
in a mount namespace, by a root directory with other settings. Each has a figure, a reason and
something to do; and doctor changes nothing."""

import fcntl
import json
import os
import pwd
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import forge  # noqa: E402

TRAM = os.environ["TRAM_BIN"]
DIR = os.environ["TRAM_DIR"]
SANITIZER = bool(os.environ.get("TRAM_SANITIZER"))
BUS = os.path.join(DIR, "default")
A, B, C, E = "1.0.0.1", "1.0.0.2", "1.0.0.3", "240.1.2.3"
SECOND = 10**9
HOUR = 3600 * SECOND
QUIET = tempfile.mkdtemp(dir=DIR, prefix=".root-")  # a root where nothing is wrong


class Skip(Exception):
    pass


def run(*args, before=(), **more):
    """Findings, and the exit code."""
    done = subprocess.run([*before, TRAM, "doctor", "--json", *args], capture_output=True,
                          timeout=60, **more)
    assert done.returncode in (0, 1) and done.stderr == b"", (args, done.returncode, done.stderr)
    result = json.loads(done.stdout)
    assert result["fit"] == (done.returncode == 0), result
    for severity in ("problem", "warning", "note"):
        count = sum(1 + f["more"] for f in result["findings"] if f["severity"] == severity)
        assert result[severity + "s"] == count, (severity, count, result)
    for finding in result["findings"]:
        assert finding["what"], finding
        assert finding["severity"] == "ok" or finding["why"] or finding["check"] == "other", finding
    return result["findings"], done.returncode


def look(*args, **more):
    """The same, with a root where nothing is wrong."""
    return run("--root", QUIET, *args, **more)


def only(findings, check, *severities):
    found = [f for f in findings if f["check"] == check and f["severity"] in severities]
    assert len(found) == 1, (check, found, findings)
    return found[0]


def none(findings, check):
    found = [f for f in findings if f["check"] == check and f["severity"] != "ok"]
    assert not found, found


def says(finding, **parts):
    for key, text in parts.items():
        assert text in finding[key.rstrip("_")], (text, finding)


def fresh():
    shutil.rmtree(BUS, ignore_errors=True)
    return forge.Bus(BUS)


def picture(path):
    found = []
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            st = os.lstat(os.path.join(folder, name))
            found.append((folder, name, st.st_ino, st.st_size, st.st_mtime_ns, st.st_mode))
    return sorted(found)


# --- a sound bus, none, and what is printed -------------------------------------------------------

def test_nothing_wrong():
    bus = fresh()
    for node in (A, B):
        bus.node(node, opened_ns=time.time_ns(), closed_ns=time.time_ns())
    stream = forge.Stream(A, B)
    for _ in range(10):
        stream.put(b"x")
    bus.stream(stream)
    bus.head(A, B, committed=stream.tail, consumed=10)
    before = picture(DIR)
    findings, code = look()
    bad = [f for f in findings if f["severity"] not in ("ok", "note")]
    assert code == 0 and not [f for f in bad if f["check"] not in ("clock", "kernel")], bad
    says(only(findings, "bus", "ok"), what="2 nodes (0 up), 1 channels, 0 messages")
    for check in ("space", "descriptors", "mappings", "logind"):
        only(findings, check, "ok", "note", "warning")
    for check in ("backlog", "orphan", "leftover", "watch", "aside", "channel", "node"):
        none(findings, check)
    done = subprocess.run([TRAM, "doctor", "--root", QUIET], capture_output=True, text=True)
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"bus default at {BUS}\n"), done.stdout
    assert "\nfit: 0 problems, " in done.stdout, done.stdout
    assert picture(DIR) == before


def test_no_bus():
    shutil.rmtree(BUS, ignore_errors=True)
    findings, code = look()
    assert code == 0, findings
    says(only(findings, "directory", "note"), what="is not there yet", why="makes it")
    findings, code = look("--dir", os.path.join(DIR, "not-there"))
    assert code == 0, findings
    says(only(findings, "directory", "note"), what="where buses lie")
    only(findings, "space", "ok", "warning")
    assert not os.path.exists(BUS)


def test_text():
    bus = fresh()
    bus.node(A)
    bus.node(B, closed_ns=time.time_ns() - 2 * HOUR)
    for i in range(1, 9):
        stream = forge.Stream(f"1.0.1.{i}", B).put(b"x" * 100)
        bus.stream(stream)
        bus.node(f"1.0.1.{i}")
        bus.head(f"1.0.1.{i}", B)
    done = subprocess.run([TRAM, "doctor", "--root", QUIET], capture_output=True, text=True)
    text = done.stdout
    assert done.returncode == 0 and text.count("messages (160 B) from") == 5, text
    assert "and 3 more like this\n" in text and "warnings" in text, text
    assert "  or   drop them: tram purge --from 1.0.1.1 --to 1.0.0.2\n" in text, text
    for line in text.splitlines():
        assert len(line) <= 80 or line.split()[0] in ("do", "or", "bus"), line
    strict = subprocess.run([TRAM, "doctor", "--root", QUIET, "--strict"], capture_output=True)
    assert strict.returncode == 1 and b"NOT FIT: 0 problems" in strict.stdout, strict


# --- directories ----------------------------------------------------------------------------------

def test_directories():
    fresh()
    os.chmod(BUS, 0o755)
    findings, code = look()
    assert code == 1
    finding = only(findings, "directory", "problem")
    says(finding, what="open to others (mode 0755)", why="-EPERM", do=f"chmod 700 {BUS}")
    subprocess.run(finding["do"], shell=True, check=True)  # the command does it
    assert look()[1] == 0
    os.rename(BUS, BUS + "-real")
    os.symlink(BUS + "-real", BUS)
    findings, code = look()
    assert code == 1
    says(only(findings, "directory", "problem"), what="a symlink", do=f"rm {BUS}")
    os.unlink(BUS)
    os.rename(BUS + "-real", BUS)
    with open(os.path.join(DIR, "file"), "w"):
        pass
    findings, code = look("--bus", "file")
    assert code == 1
    says(only(findings, "directory", "problem"), what="no directory")


def test_other_users():
    if os.geteuid() != 0:
        raise Skip("not root")
    bus = fresh()
    bus.node(A)
    os.chown(os.path.join(BUS, A), 12345, 12345)
    findings, code = look()
    assert code == 1
    finding = only(findings, "owner", "problem")
    says(finding, what=f"node {A} belong to user 12345", do=f"chown -R 0 {BUS}/{A}")
    subprocess.run(finding["do"].split(", then ")[1].split(" (")[0], shell=True, check=True)
    assert look()[1] == 0
    os.chown(BUS, 12345, 12345)
    findings, code = look()
    assert code == 1
    says(only(findings, "directory", "problem"), what="belongs to user 12345")


# --- nodes ----------------------------------------------------------------------------------------

def hold(path):
    file = os.fdopen(os.open(path, os.O_RDWR), "rb", buffering=0)
    lock = struct.pack("hhlli", fcntl.F_WRLCK, 0, 0, 4, 0)  # type, whence, start, length, pid
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock.ljust(32, b"\0"))
    return file


def test_nodes():
    bus = fresh()
    bus.node(A, version=7)
    bus.node(B)
    bus.write(B, "door", b"nonsense")
    bus.node(E, flags=1, opened_ns=time.time_ns() - 5 * HOUR, program=b"worker")
    bus.node(C, pid=2**22 + 1, pid_namespace=12345, program=b"elsewhere")
    with hold(os.path.join(BUS, C, "lock")):
        findings, code = look()
    assert code == 1
    says(only(findings, "version", "problem"), what="door has layout version 7, this program reads",
         why="-EPROTO")
    says(only(findings, "node", "problem"), what=f"node {B}: door is cut short", do="tram rm")
    says(only(findings, "ephemeral", "note"), what=f"{E} died (worker, opened 5 h ago)",
         do=f"tram rm --force {E}")
    says(only(findings, "namespace", "note"), what=f"node {C} is up in another PID namespace",
         why="told at once")
    done = subprocess.run([TRAM, "rm", "--force", E])
    assert done.returncode == 0
    none(look()[0], "ephemeral")


def test_a_node_that_runs():
    fresh()
    receiver = subprocess.Popen([TRAM, "recv", "--id", B], stdout=subprocess.DEVNULL)
    wait = time.monotonic() + 20
    while not os.path.exists(os.path.join(BUS, B, "bell")) or "(1 up)" not in str(look()[0]):
        assert time.monotonic() < wait
    findings, code = look()
    receiver.terminate()
    receiver.wait()
    assert code == 0
    none(findings, "namespace")


def test_another_namespace():
    """For real: a node that is pid 1 of its own namespace."""
    fresh()
    space = ["unshare", "-pf"] if os.geteuid() == 0 else ["unshare", "-rpf"]
    receiver = subprocess.Popen([*space, "--mount-proc", "--kill-child", TRAM, "recv", "--id", B],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while "(1 up)" not in str(look()[0]):
        assert time.monotonic() < end
        if receiver.poll() is not None:
            raise Skip(f"no PID namespace here: {receiver.communicate()[1]}")
    findings, code = look()
    while not any(f["check"] == "namespace" for f in findings) and time.monotonic() < end:
        findings, code = look()  # its lock is held a moment before its door says where it runs
    receiver.kill()  # unshare takes no other signal while its child runs
    receiver.communicate()
    assert code == 0
    says(only(findings, "namespace", "note"), what=f"node {B} is up in another PID namespace, as "
         "pid 1 there (tram)")


# --- channels -------------------------------------------------------------------------------------

def one_channel(waiting=0, **head):
    bus = fresh()
    bus.node(A)
    bus.node(B)
    stream = forge.Stream(A, B)
    for _ in range(10):
        stream.put(b"x" * 8)
    bus.stream(stream)
    done = 10 - waiting
    bus.head(A, B, committed=stream.places[done] if waiting else stream.tail, consumed=done, **head)
    return bus


def test_damage():
    path = os.path.join(BUS, B, f"from-{A}")
    one_channel()
    os.truncate(path, 70000)
    findings, code = look()
    assert code == 1
    finding = only(findings, "channel", "problem")
    says(finding, what="is cut short: 70000 of", do=f"tram purge --from {A} --to {B}")
    one_channel()
    os.unlink(os.path.join(BUS, B, f"head-{A}"))
    findings, code = look()
    assert code == 1
    says(only(findings, "channel", "problem"), what="damaged: the receiver's words")
    one_channel(waiting=3, armed=forge.ARMED_BROKEN)
    findings, code = look()
    assert code == 1
    finding = only(findings, "channel", "problem")
    says(finding, what=f"channel {A} to {B} is broken", why="3 messages in it are not")
    subprocess.run([TRAM, *finding["do"].split("tram ")[1].split()], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    findings, code = look()
    assert code == 0, findings
    one_channel(armed=forge.ARMED_CLOSED)
    findings, code = look()
    assert code == 0
    says(only(findings, "channel", "warning"), what="removal of 1.0.0.2 was cut off")
    one_channel(version=3)
    says(only(look()[0], "version", "problem"), what="head has layout version 3")


def test_backlog():
    bus = one_channel(waiting=4)
    bus.node(B, opened_ns=time.time_ns() - 3 * HOUR)
    findings, code = look()
    assert code == 0
    says(only(findings, "backlog", "warning"), do=f"tram purge --from {A} --to {B}",
         what=f"4 messages (256 B) from {A} wait for {B}, which died, and was opened 3 h ago")
    bus.node(B, closed_ns=time.time_ns() - 30 * SECOND)
    says(only(look()[0], "backlog", "note"), what="closed 3")
    os.unlink(os.path.join(BUS, B, "door"))
    says(only(look()[0], "backlog", "warning"), what="was never opened")
    bus.node(B)
    with hold(os.path.join(BUS, B, "lock")):
        none(look()[0], "backlog")
    bus.write(B, f"aside-{A}-3", forge.aside(A, 3, b"x"))
    says(only(look()[0], "aside", "warning"), what=f"1 messages from {A}", do="tram retry --id")


def test_orphan():
    one_channel()
    shutil.rmtree(os.path.join(BUS, A))
    findings, code = look()
    assert code == 0
    finding = only(findings, "orphan", "note")
    says(finding, what=f"channel {A} to {B} has no sender", do=f"tram rm {A}")
    env = dict(os.environ, PATH=os.path.dirname(TRAM) + ":" + os.environ["PATH"])
    subprocess.run(finding["do"], shell=True, check=True, env=env)
    none(look()[0], "orphan")
    assert os.listdir(os.path.join(BUS, B)) != [] and not os.path.exists(
        os.path.join(BUS, B, f"from-{A}"))


def test_leftovers():
    bus = one_channel()
    bus.write(B, f".from-{C}", b"x" * 5000)
    bus.write(B, f".head-{C}", b"")  # new: somebody is at it
    bus.write(B, f"watch-{C}", b"")
    bus.write(B, f"watch-{A}", b"")
    bus.write(B, "core.123", b"y")
    long_ago = time.time() - 7200
    for name in (f".from-{C}", "core.123"):
        os.utime(os.path.join(BUS, B, name), (long_ago, long_ago))
    held = hold(os.path.join(BUS, A, "lock"))
    findings, code = look()
    assert code == 0
    left = sorted(f["what"] for f in findings if f["check"] == "leftover")
    assert left == [f"{B}/.from-{C} holds 8.0 KiB and is 2 h old",
                    f"{B}/core.123 holds 4.0 KiB and is 2 h old"], left
    finding = only(findings, "watch", "note")
    says(finding, what=f"{B}/watch-{C} is of a node that does not run")
    subprocess.run(finding["do"], shell=True, check=True)
    none(look()[0], "watch")
    held.close()


def test_leftovers_of_events():
    """Rings and readers are no node's; those of a publisher that is known are no leftovers."""
    one_channel()
    none(look()[0], "leftover")
    events = os.path.join(BUS, "events")
    os.mkdir(events, 0o700)
    for name, size in ((f"{A}-00c0ffee", 8192), (f"{A}-00c0ffee@{C}-00000001-2", 4096),
                       (f"{C}-00c0ffee", 8192), (f"{C}-00c0ffee@=log", 4096), ("core.123", 1)):
        with open(os.path.join(events, name), "wb") as file:
            file.write(b"x" * size)
        os.utime(file.name, (time.time() - 7200,) * 2)
    findings, code = look()
    assert code == 0
    left = {f["what"]: f for f in findings if f["check"] == "leftover"}
    assert sorted(left) == [f"events/{C}-00c0ffee holds 8.0 KiB and is 2 h old",
                            f"events/{C}-00c0ffee@=log holds 4.0 KiB and is 2 h old",
                            "events/core.123 holds 4.0 KiB and is 2 h old"], left
    for finding in left.values():
        subprocess.run(finding["do"], shell=True, check=True)
    none(look()[0], "leftover")
    assert sorted(os.listdir(events)) == [f"{A}-00c0ffee", f"{A}-00c0ffee@{C}-00000001-2"]


def test_other_buses():
    one_channel(waiting=2)
    subprocess.run(["cp", "-a", "--", BUS, os.path.join(DIR, "second")], check=True)
    findings, code = look()
    assert code == 0
    mine = [f for f in findings if f["check"] == "other" and DIR in f["what"]]
    assert len(mine) == 1, findings
    says(mine[0], what=f"{DIR}/second: 2 nodes (0 up), 2 messages wait", do="rm -r")
    shutil.rmtree(os.path.join(DIR, "second"))
    if os.geteuid() != 0:
        return
    theirs = "/dev/shm/tram-4294000001"
    shutil.rmtree(theirs, ignore_errors=True)
    try:
        os.mkdir(theirs, 0o700)
        subprocess.run(["cp", "-a", "--", BUS, os.path.join(theirs, "game")], check=True)
        os.chown(theirs, 54321, 54321)
        findings, _ = look()
        found = [f for f in findings if f["check"] == "other" and theirs in f["what"]]
        assert len(found) == 1, findings
        says(found[0], what=f"{theirs}/game of user 54321: 2 nodes")
    finally:
        shutil.rmtree(theirs)


# --- limits ---------------------------------------------------------------------------------------

def limited(which, soft):
    return lambda: resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))


def test_limits():
    bus = one_channel()
    findings, code = look(preexec_fn=limited(resource.RLIMIT_NOFILE, 40))
    assert code == 0
    says(only(findings, "descriptors", "warning"), what="40 a process",
         why=f"node {A} has 1 channels", do="ulimit -n 65536")
    for i in range(20):
        bus.stream(forge.Stream(f"1.0.3.{i}", B))
        bus.head(f"1.0.3.{i}", B)
    findings, code = look(preexec_fn=limited(resource.RLIMIT_NOFILE, 40))
    assert code == 1
    says(only(findings, "descriptors", "problem"), why=f"node {B} has 21 channels, so its process "
         "needs some 53")
    findings, code = look(preexec_fn=limited(resource.RLIMIT_FSIZE, 1 << 20))
    assert code == 1
    says(only(findings, "filesize", "problem"), what="1.0 MiB", why="SIGXFSZ")
    findings, _ = look(preexec_fn=limited(resource.RLIMIT_MEMLOCK, 65536))
    says(only(findings, "memlock", "note"), what="64.0 KiB", why="TRAM_OPEN_LOCK")
    if not SANITIZER:  # which takes terabytes of address space
        findings, code = look(preexec_fn=limited(resource.RLIMIT_AS, 1 << 30))
        assert code == 0
        says(only(findings, "address", "warning"), what="1.0 GiB", why="128 channels")


# --- other settings -------------------------------------------------------------------------------

def root_with(**files):
    """A root directory with these files: etc__x stands for etc/x."""
    root = tempfile.mkdtemp(dir=DIR, prefix=".root-")
    for name, text in files.items():
        put(root, name.replace("__", "/"), text)
    return root


def put(root, name, text=""):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


MEMINFO = "MemTotal: 9 kB\nMemAvailable: {} kB\nCommitLimit: {} kB\nCommitted_AS: {} kB\n"


def test_settings():
    one_channel()
    point = "/dev/shm" if DIR.startswith("/dev/shm/") else DIR
    root = root_with(proc__self__mounts=f"proc /proc proc rw 0 0\nx {point} tmpfs rw,huge=always,"
                                        "size=1g 0 0\n",
                     proc__swaps="Filename Type\n/dev/sda2 partition 100 0 -2\n",
                     proc__meminfo=MEMINFO.format(500, 5000, 4000),
                     proc__sys__vm__overcommit_memory="2\n",
                     proc__sys__vm__max_map_count="900\n",
                     proc__sys__kernel__pid_max="300\n")
    put(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
    findings, code = run("--root", root)
    assert code == 1
    says(only(findings, "mappings", "problem"), what="900 a process", do="vm.max_map_count=")
    says(only(findings, "huge", "warning"), what=f"(always) at {point}", why="2 MiB",
         do=f"remount,huge=never {point}")
    says(only(findings, "swap", "note"), what="/dev/sda2")
    says(only(findings, "memory", "warning"), what="the machine has 500 KiB to give")
    says(only(findings, "overcommit", "warning"), what="3.9 MiB of 4.9 MiB")
    says(only(findings, "clock", "warning"), what="source hpet")
    says(only(findings, "processes", "warning"), what="up to 300")
    put(root, "sys/kernel/mm/transparent_hugepage/shmem_enabled", "always never [deny] force\n")
    none(run("--root", root)[0], "huge")
    put(root, "sys/kernel/mm/transparent_hugepage/shmem_enabled", "always never deny [force]\n")
    says(only(run("--root", root)[0], "huge", "warning"), what="(force)", do="echo advise >")


def test_cgroups():
    one_channel()
    root = root_with(proc__self__cgroup="0::/a.slice/b.service\n")
    base = "sys/fs/cgroup/"
    put(root, base + "memory.max", "max\n")
    put(root, base + "a.slice/memory.max", "104857600\n")
    put(root, base + "a.slice/memory.current", "52428800\n")
    put(root, base + "a.slice/b.service/memory.max", "max\n")
    put(root, base + "a.slice/b.service/pids.max", "100\n")
    put(root, base + "a.slice/b.service/pids.current", "90\n")
    findings, code = run("--root", root)
    assert code == 0
    says(only(findings, "cgroup", "warning"), what="is 100 MiB with 50.0 MiB used", why="is killed")
    says(only(findings, "processes", "warning"), what="90 of 100")
    put(root, base + "a.slice/b.service/pids.current", "100\n")
    findings, code = run("--root", root)
    assert code == 1
    only(findings, "processes", "problem")
    root = root_with(proc__self__cgroup="4:memory:/x\n3:cpu,pids:/\n")
    put(root, base + "memory/x/memory.limit_in_bytes", "1048576\n")
    put(root, base + "memory/x/memory.usage_in_bytes", "4096\n")
    says(only(run("--root", root)[0], "cgroup", "warning"), what="is 1.0 MiB with 4.0 KiB used")


# --- logind ---------------------------------------------------------------------------------------

def as_user(user, root):
    """As a user who is none of the system's, with a bus in /dev/shm."""
    place = tempfile.mkdtemp(dir="/dev/shm", prefix="tram-test-")
    program = os.open(TRAM, os.O_RDONLY)
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    os.chmod(DIR, 0o711)
    try:
        more = {}
        if os.geteuid() == 0:
            os.chown(place, user, user)
            more = {"user": user, "group": user, "extra_groups": []}
        done = subprocess.run([f"/proc/self/fd/{program}", "doctor", "--json", "--root", root,
                               "--dir", place], capture_output=True, timeout=60,
                              pass_fds=[program], **more)
        assert done.returncode == 0, done
        return json.loads(done.stdout)["findings"]
    finally:
        os.close(program)
        os.chmod(DIR, 0o700)
        shutil.rmtree(place)


def test_logind():
    if not os.path.isdir("/dev/shm") or 0 < os.geteuid() < 1000:
        raise Skip("needs /dev/shm, and root or no user of the system's")
    user = os.geteuid() or 23456
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    root = root_with()
    says(only(as_user(user, root), "logind", "ok"), what="does not run here")
    os.makedirs(os.path.join(root, "run/systemd/seats"))
    finding = only(as_user(user, root), "logind", "warning")
    says(finding, what=f"RemoveIPC is on (the default) for user {name}",
         do=f"loginctl enable-linger {name}")
    put(root, "usr/lib/systemd/logind.conf", "[Login]\nRemoveIPC=no\n")
    says(only(as_user(user, root), "logind", "ok"), what="/usr/lib/systemd/logind.conf")
    put(root, "etc/systemd/logind.conf", "#RemoveIPC=no\n[Login]\n #RemoveIPC=no\n")
    only(as_user(user, root), "logind", "warning")
    put(root, "etc/systemd/logind.conf", "[Other]\nRemoveIPC=no\n[Login]\n RemoveIPC = on \n")
    says(only(as_user(user, root), "logind", "warning"), what="(/etc/systemd/logind.conf)")
    put(root, "usr/lib/systemd/logind.conf.d/90-x.conf", "[Login]\nRemoveIPC=false\n")
    says(only(as_user(user, root), "logind", "ok"), what="/usr/lib/systemd/logind.conf.d/90-x.conf")
    put(root, "etc/systemd/logind.conf.d/95-y.conf", "[Login]\nRemoveIPC=yes\n")
    put(root, "etc/systemd/logind.conf.d/99-readme", "[Login]\nRemoveIPC=no\n")
    only(as_user(user, root), "logind", "warning")
    put(root, "etc/systemd/logind.conf.d/95-y.conf", "")
    only(as_user(user, root), "logind", "ok")
    put(root, "etc/systemd/logind.conf.d/90-x.conf", "[Login]\nRemoveIPC=1\n")  # hides the other
    only(as_user(user, root), "logind", "warning")
    put(root, f"var/lib/systemd/linger/{name}")
    says(only(as_user(user, root), "logind", "ok"), what="lingers")


def test_places():
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        findings, code = look("--dir", place)
        assert code == 0
        says(only(findings, "tmpfiles", "warning"), why="look old", do=f"echo 'x {place}'")
        findings, _ = look("--dir", os.path.basename(place), cwd="/tmp")  # wherever it leads
        only(findings, "tmpfiles", "warning")
        os.symlink(place, os.path.join(DIR, "link"))
        only(look("--dir", os.path.join(DIR, "link", "more"))[0], "tmpfiles", "warning")
        os.unlink(os.path.join(DIR, "link"))
    findings, _ = look("--dir", "/run/user/4242")
    says(only(findings, "logind", "warning"), what="below /run/user")


# --- a small tmpfs --------------------------------------------------------------------------------

def on_tmpfs(options, fill="true"):
    """On a tmpfs of its own, filled so."""
    place = os.path.join(DIR, "small")
    os.makedirs(place, exist_ok=True)
    script = (f"mount -t tmpfs -o mode=700,{options} none {place} || exit 99; "
              f"cd {place} && {fill}; exec {TRAM} doctor --json --root {QUIET} --dir {place}")
    space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run([*space, "bash", "-c", script], capture_output=True, timeout=60)
    if done.returncode not in (0, 1):
        raise Skip(f"no mount of a tmpfs here: {done.stderr}")
    return json.loads(done.stdout)["findings"], done.returncode


def test_space():
    findings, code = on_tmpfs("size=64m")
    assert code == 0
    says(only(findings, "space", "warning"), what="64.0 MiB free of 64.0 MiB",
         why="16 rings of 4 MiB", do="size=2g")
    findings, code = on_tmpfs("size=200m", "head -c 150M /dev/zero >big")
    assert code == 0
    says(only(findings, "space", "warning"), what="50.0 MiB free of 200 MiB", do="du -xsh")
    findings, code = on_tmpfs("size=64m", "head -c 62M /dev/zero >big")
    assert code == 1
    says(only(findings, "space", "problem"), what="2.0 MiB free", why="-ENOSPC")
    findings, code = on_tmpfs("size=200m,nr_inodes=500")
    assert code == 0
    says(only(findings, "inodes", "warning"), what="of 500 are free", do="nr_inodes=")
    findings, code = on_tmpfs("size=200m,nr_inodes=20", "touch 1 2 3 4 5 6 7 8")
    assert code == 1
    says(only(findings, "inodes", "problem"), why="4 inodes")
    findings, code = on_tmpfs("size=200m", "mount -o remount,ro .")
    assert code == 1
    only(findings, "readonly", "problem")


def test_mistakes():
    for args in (("x",), ("--wrong",), ("--root",)):
        assert subprocess.run([TRAM, "doctor", *args], capture_output=True).returncode == 2


def main():
    tests = [(name, value) for name, value in globals().items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    passed = skipped = 0
    for name, test in tests:
        if wanted and name not in wanted:
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok {name} {time.monotonic() - began:.1f} s", flush=True)
        except Skip as reason:
            skipped += 1
            print(f"skipped {name}: {reason}", flush=True)
    print(f"{passed} passed, 0 failed, {skipped} skipped")


if __name__ == "__main__":
    main()
