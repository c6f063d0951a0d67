#!/usr/bin/env python3
"""Measures the floors, tram and other buses in one go, several rounds, and judges.

    make bench                       all of it, about ten minutes
    bench/run.py --quick             one short round
    bench/run.py --alone             before all others: for a machine where others work
    bench/run.py --only 'rtt|futex'  the jobs whose name matches
    bench/run.py --list              what there is

The machine is shared and noisy, and the two cores wander (see 'class' below), so absolute figures
say little: every target is a ratio of two jobs that ran close to each other in the same round, on
cores equally far apart. The median of these ratios is judged. Programs are looked for in
$TRAM_BUILD/bin (default build); peers that aren't built are left out, by name.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES_RTT = (("32", 32), ("1k", 1024), ("64k", 65536))
SIZES_STREAM = (("32", 32), ("256", 256), ("1k", 1024), ("64k", 65536))
PEERS = ("zmq", "unix", "pipe", "iceoryx")

# Cache line round trips that differ by less belong to one class.
CLASS_RATIO = 1.6


class Job:
    """A command whose last line is a JSON object. Its name is how targets speak of it."""

    def __init__(self, name, program, *args, quick=None, timeout=300):
        self.name = name
        self.program = program
        self.args = args
        self.quick = quick
        self.timeout = timeout
        self.results = {}  # round → JSON object
        self.error = None

    def command(self, bin_dir, quick):
        command = [os.path.join(bin_dir, self.program), *self.args, "--json"]
        if quick and self.quick:
            command += ["--count", str(self.quick)]
        return command

    def value(self, key, round_number=None):
        """The median over the rounds that count, or that of one round; None without."""
        if round_number is not None:
            result = self.results.get(round_number)
            return result.get(key) if result else None
        values = [result[key] for result in self.results.values() if key in result]
        return statistics.median(values) if values else None


def tram(name, verb, *args, **more):
    return Job(name, "tram", "bench", verb, *args, **more)


def rtt_jobs():
    for text, size in SIZES_RTT:
        yield tram(f"floor rtt {text}", "floor", "rtt", "--size", text, quick=20000)
        yield tram(f"tram rtt spin {text}", "rtt", "--spin", "--size", text, quick=20000)
        for peer in PEERS:
            yield Job(f"{peer} rtt spin {text}", f"peer-{peer}", "rtt", "--size", text, quick=5000)
        yield tram(f"floor futex {text}", "floor", "futex", "--size", text, quick=2000)
        yield tram(f"tram rtt sleep {text}", "rtt", "--sleep", "--size", text, quick=2000)
        for peer in PEERS:
            yield Job(f"{peer} rtt sleep {text}", f"peer-{peer}", "rtt", "--sleep", "--size", text,
                      quick=2000)
    yield tram("tram rtt default 32", "rtt", "--default", quick=20000)
    yield tram("tram rtt threads 32", "rtt", "--spin", "--threads", quick=20000)
    yield tram("tram wake sleep", "wake", "--sleep", quick=500)
    yield tram("tram wake default", "wake", "--default", quick=500)


def stream_jobs():
    for text, size in SIZES_STREAM:
        quick = 2000000 if size < 1000 else 500000 if size < 10000 else 20000
        for floor in ("each", "batch", "away"):
            yield tram(f"floor {floor} {text}", "floor", floor, "--size", text, quick=quick)
        yield tram(f"tram stream plain {text}", "stream", "--size", text, quick=quick)
        # Headers of large records lie far apart: a receiver does better to read each right away.
        batch, take = {32: (64, 16), 256: (64, 4), 1024: (64, 2)}.get(size, (4, 1))
        yield tram(f"tram stream batch {text}", "stream", "--size", text, "--batch", str(batch),
                   "--take", str(take), quick=quick)
        for peer in PEERS:
            yield Job(f"{peer} stream {text}", f"peer-{peer}", "stream", "--size", text,
                      quick=quick // 10)
        for peer in ("unix", "pipe"):
            yield Job(f"{peer} stream each {text}", f"peer-{peer}", "stream", "--each", "--size",
                      text, quick=quick // 20)
    yield tram("tram stream threads 32", "stream", "--threads", quick=2000000)


def other_jobs():
    yield tram("floor line", "floor", "line", quick=100000)
    yield tram("tram claim 1M", "rtt", "--claim", "--size", "1M", quick=200)
    yield tram("tram claim 64M", "rtt", "--claim", "--size", "64M", quick=200)
    yield tram("tram fanin 64", "fanin", "--senders", "64", quick=20000000)
    yield tram("tram first", "first", quick=200)
    yield tram("tram mix", "mix", quick=200000)
    yield tram("tram rpc spin 32", "rpc", "--spin", quick=20000)
    yield tram("tram rpc sleep 32", "rpc", "--sleep", quick=2000)
    yield tram("tram rpc async 64", "rpc", "--batch", "64", "--size", "64", quick=200000)
    yield tram("tram rpc async spin 64", "rpc", "--spin", "--batch", "64", "--size", "64",
               quick=200000)
    for peer in ("zmq", "sdbus"):
        yield Job(f"{peer} rpc spin 32", f"peer-{peer}", "rpc", quick=5000)
        yield Job(f"{peer} rpc sleep 32", f"peer-{peer}", "rpc", "--sleep", quick=2000)
    yield Job("zmq rpc async 64", "peer-zmq", "rpc", "--sleep", "--batch", "64", "--size", "64",
              quick=20000)  # its spinning would take the I/O thread's core
    yield Job("sdbus rpc async 64", "peer-sdbus", "rpc", "--batch", "64", "--size", "64",
              quick=20000)
    yield Job("tls", "../tests/tls_speed_prog", quick=2)  # beside plain TCP, in turns
    for readers in ("1", "4"):
        yield tram(f"floor fan {readers}", "floor", "fan", "--readers", readers, "--size", "256",
                   quick=1000000)
        yield tram(f"tram events {readers}", "events", "--readers", readers, quick=500000)
        yield tram(f"tram events batch {readers}", "events", "--readers", readers, "--batch", "16",
                   quick=500000)


def hosts_jobs():
    """Between two hosts: two daemons over loopback TCP, raw TCP and ZeroMQ tcp beside them."""
    for text, size in SIZES_STREAM:
        quick = 300000 if size < 10000 else 5000
        yield Job(f"tcp stream {text}", "peer-tcp", "stream", "--size", text, quick=quick)
        yield Job(f"hosts stream {text}", "peer-hosts", "stream", "--size", text, quick=quick)
        yield Job(f"zmq tcp stream {text}", "peer-zmq", "stream", "--tcp", "--size", text,
                  quick=quick)
    yield Job("hosts channels 1000", "peer-hosts", "stream", "--channels", "1000", "--size", "1k",
              quick=300000)
    for peer, more in (("tcp", ()), ("hosts", ()), ("zmq", ("--tcp",))):
        name = "zmq tcp" if more else peer
        yield Job(f"{name} rtt sleep 32", f"peer-{peer}", "rtt", "--sleep", *more, quick=2000)
        yield Job(f"{name} rtt spin 32", f"peer-{peer}", "rtt", *more, quick=2000)
    yield Job("hosts spin rtt spin 32", "peer-hosts", "rtt", "--sleep", "--spin-daemons",
              quick=2000)


# --- Running --------------------------------------------------------------------------------------

def go_first():
    """Our session gets (nearly) all that others want, too. Not real-time priority: peers with
    threads of their own would wait for themselves."""
    with open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write("-20")


def run_job(job, bin_dir, quick, alone):
    """The JSON object, or None with job.error set."""
    with subprocess.Popen(job.command(bin_dir, quick), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=alone,
                          preexec_fn=go_first if alone else None) as process:
        try:
            out, said = process.communicate(timeout=job.timeout)
        except BaseException as error:  # time-out, ^C: it cleans up after itself if it may
            process.terminate()
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            job.error = f"took longer than {job.timeout} s"
            return None
    try:
        result = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = said.strip().splitlines()
        job.error = said[-1] if said else f"exit code {process.returncode}"
        return None
    if process.returncode or not result.get("verified"):
        job.error = f"not verified, exit code {process.returncode}"
        return None
    return result


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run_rounds(jobs, rounds, bin_dir, quick, alone):
    started = time.monotonic()
    for number in range(rounds):
        for index, job in enumerate(jobs):
            spent = int(time.monotonic() - started)
            progress(f"{spent} s: round {number + 1}/{rounds}, {index + 1}/{len(jobs)}: {job.name}")
            result = run_job(job, bin_dir, quick, alone)
            if result:
                job.results[number] = result
    progress("")


# --- Classes --------------------------------------------------------------------------------------

def result_class(result):
    """Where it ran, before and after alike; None where nothing could be pinned."""
    before, after = result.get("class_ns", 0), result.get("class_after_ns", 0)
    if not before or not after or max(before, after) > CLASS_RATIO * min(before, after):
        return None
    return (before * after) ** 0.5


def class_clusters(values):
    """Sorted values, cut where the next one is far off."""
    clusters = []
    for value in sorted(values):
        if clusters and value <= clusters[-1][-1] * CLASS_RATIO:
            clusters[-1].append(value)
        else:
            clusters.append([value])
    return clusters


def keep_one_class(jobs):
    """Leaves the results of the commonest class; a job without one there keeps all, and is named.
    Returns (median of the class, results left out, names)."""
    found = [result_class(result) for job in jobs for result in job.results.values()]
    clusters = class_clusters([value for value in found if value])
    if not clusters:
        return 0, 0, []
    common = max(clusters, key=len)
    dropped, mixed = 0, []
    for job in jobs:
        inside = {number: result for number, result in job.results.items()
                  if common[0] <= (result_class(result) or 0) <= common[-1]}
        if inside:
            dropped += len(job.results) - len(inside)
            job.results = inside
        elif job.results:
            mixed.append(job.name)
    return statistics.median(common), dropped, mixed


def not_asleep(jobs):
    """Round trips that were to sleep, both ends each time, and did so less than half as often."""
    return [job for job in jobs if re.search(" (rtt|rpc) sleep| futex", job.name)
            if job.results and job.value("slept") < job.value("count")]


# --- Targets --------------------------------------------------------------------------------------

class Target:
    """`ours` against `theirs` (or an absolute bound). at_most: ratio <= bound, else >= bound."""

    def __init__(self, what, ours, theirs, key, bound, at_most, unit=1.0, their_key=None):
        self.what = what
        self.ours = ours
        self.theirs = theirs  # name, list of names of which the best counts, or None
        self.key = key
        self.their_key = their_key or key
        self.bound = bound
        self.at_most = at_most
        self.unit = unit

    def best_of_theirs(self, jobs, number):
        names = [self.theirs] if isinstance(self.theirs, str) else self.theirs
        values = [jobs[name].value(self.their_key, number) for name in names if name in jobs]
        values = [value for value in values if value]
        if not values:
            return None
        return max(values) if self.key.endswith("_per_s") else min(values)

    def ratio(self, jobs):
        """Median of the ratios of the rounds that have both; None if there is none."""
        ours = jobs.get(self.ours)
        if not ours or not ours.results:
            return None
        if self.theirs is None:
            return ours.value(self.key) * self.unit
        ratios = []
        for number in ours.results:
            mine, other = ours.value(self.key, number), self.best_of_theirs(jobs, number)
            if mine is not None and other:
                ratios.append(mine / other)
        if ratios:
            return statistics.median(ratios)
        other = self.best_of_theirs(jobs, None)
        return ours.value(self.key) / other if other else None

    def judge(self, jobs):
        value = self.ratio(jobs)
        asleep = not not_asleep([jobs[name] for name in (self.ours, self.theirs)
                                 if isinstance(name, str) and name in jobs])
        row = {"what": self.what, "bound": self.bound, "at_most": self.at_most, "value": value,
               "relative": self.theirs is not None}
        if value is None:
            row["verdict"] = "not measured"
        elif not asleep:
            row["verdict"] = "did not sleep"
        elif (value <= self.bound) if self.at_most else (value >= self.bound):
            row["verdict"] = "met"
        else:
            by = value / self.bound if self.at_most else self.bound / value if value else 0
            row["verdict"] = f"missed by {by:.2f}"
        return row


def latency_targets():
    for text, _ in SIZES_RTT:
        name = {"32": "32 B", "1k": "1 KiB", "64k": "64 KiB"}[text]
        yield Target(f"round trip spinning, {name}, p50 / ideal ring", f"tram rtt spin {text}",
                     f"floor rtt {text}", "p50_ns", 1.25, True)
        yield Target(f"round trip spinning, {name}, p99 / ideal ring", f"tram rtt spin {text}",
                     f"floor rtt {text}", "p99_ns", 2.0, True)
    yield Target("round trip asleep, 32 B, p50 / futex", "tram rtt sleep 32", "floor futex 32",
                 "p50_ns", 1.15, True)
    yield Target("asleep and idle: share of a core", "tram wake sleep", None, "idle_cpu_ns_per_s",
                 0.0005, True, unit=1e-9)
    yield Target("default waiting, dense: p50 / ideal ring", "tram rtt default 32",
                 "floor rtt 32", "p50_ns", 1.25, True)
    yield Target("default waiting, sparse: p50 / sleeping", "tram wake default",
                 "tram wake sleep", "p50_ns", 1.15, True)
    yield Target("first message to a new node, p50 in µs", "tram first", None, "p50_ns", 150, True,
                 unit=1e-3)
    yield Target("handing over in place, 64 MiB / 1 MiB, p50", "tram claim 64M", "tram claim 1M",
                 "p50_ns", 1.5, True)
    yield Target("threads: round trip / two processes, p50", "tram rtt threads 32",
                 "tram rtt spin 32", "p50_ns", 1.05, True)
    yield Target("request and reply spinning, 32 B, p50 / bare nodes", "tram rpc spin 32", None,
                 "over_bare", 3, True)
    yield Target("request and reply asleep, 32 B, p50 / futex", "tram rpc sleep 32",
                 "floor futex 32", "p50_ns", 1.3, True)
    yield Target("TLS 1.3, round trip of 32 B asleep / plain TCP", "tls", None, "sleep_ratio",
                 1.1, True)
    yield Target("request and reply asleep, 32 B, p50 / sd-bus", "tram rpc sleep 32",
                 "sdbus rpc sleep 32", "p50_ns", 1, True)


def rate_targets():
    yield Target("one to one plain, 32 B / ideal 1 MiB ring, each published",
                 "tram stream plain 32", "floor each 32", "msgs_per_s", 2.5, False)
    for text, size in SIZES_STREAM:
        name = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
        yield Target(f"one to one batched, {name} / best ideal ring", f"tram stream batch {text}",
                     [f"floor {floor} {text}" for floor in ("each", "batch", "away")],
                     "msgs_per_s", 0.8, False)
    yield Target("64 senders to one, 32 B, in all / one to one", "tram fanin 64",
                 "tram stream plain 32", "msgs_per_s", 0.7, False)
    yield Target("64 senders to one: the slowest one's share", "tram fanin 64", None,
                 "slowest_share", 0.5, False)
    yield Target("threads: one to one / two processes", "tram stream threads 32",
                 "tram stream plain 32", "msgs_per_s", 0.95, False)
    for text, bound in (("32", 10), ("256", 10), ("1k", 10), ("64k", 5)):
        yield Target(f"one to one batched, {text} / ZeroMQ ipc", f"tram stream batch {text}",
                     f"zmq stream {text}", "msgs_per_s", bound, False)
        yield Target(f"one to one plain, {text} / ZeroMQ ipc", f"tram stream plain {text}",
                     f"zmq stream {text}", "msgs_per_s", bound, False)
    for how, name in (("spinning", "tram rpc async spin 64"), ("waiting", "tram rpc async 64")):
        yield Target(f"64 asynchronous requests under way, 64 B, {how}, M/s", name, None,
                     "msgs_per_s", 4, False, unit=1e-6)
    yield Target("TLS 1.3, 64 KiB / plain TCP, bytes", "tls", None, "stream_ratio", 0.6, False)
    yield Target("events one to one, 256 B / the ring, one send each", "tram events 1",
                 "tram stream plain 256", "msgs_per_s", 0.6, False)
    yield Target("events one to four, 256 B, delivered / ideal ring read by four",
                 "tram events 4", "floor fan 4", "delivered_per_s", 0.6, False)
    yield Target("round trip spinning, 32 B, p50 / ZeroMQ ipc", "tram rtt spin 32",
                 "zmq rtt spin 32", "p50_ns", 0.02, True)


def hosts_targets():
    for text, size in SIZES_STREAM[:3]:
        name = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
        yield Target(f"between hosts, {name} / ZeroMQ tcp", f"hosts stream {text}",
                     f"zmq tcp stream {text}", "msgs_per_s", 1.5, False)
    yield Target("between hosts, 64 KiB / raw TCP", "hosts stream 64k", "tcp stream 64k",
                 "msgs_per_s", 0.8, False)
    yield Target("between hosts, 64 KiB / ZeroMQ tcp", "hosts stream 64k", "zmq tcp stream 64k",
                 "msgs_per_s", 1, False)
    yield Target("between hosts, 1,000 channels / one, 1 KiB", "hosts channels 1000",
                 "hosts stream 1k", "msgs_per_s", 0.7, False)
    yield Target("round trip between hosts, asleep, p50 / raw TCP", "hosts rtt sleep 32",
                 "tcp rtt sleep 32", "p50_ns", 2.6, True)
    yield Target("round trip between hosts, daemons spin, p50 / raw TCP", "hosts spin rtt spin 32",
                 "tcp rtt spin 32", "p50_ns", 4, True)


# --- Printing -------------------------------------------------------------------------------------

def table(head, rows):
    """A Markdown table with aligned columns; rows in which nothing was measured are left out."""
    rows = [row for row in rows if any(cell not in ("", "–") for cell in row[1:])]
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def short(value, digits=3):
    """Three significant digits."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e" in text else text


def times(job):
    if not job or not job.results:
        return "–"
    return " / ".join(short(job.value(key) / 1000) for key in ("p50_ns", "p99_ns"))


def rate(job):
    if not job or not job.results:
        return "–"
    text = short(job.value("msgs_per_s") / 1e6)
    if job.value("size") >= 65536:
        text += f" ({short(job.value('bytes_per_s') / 1e9)})"
    return text


def delivered(job):
    return short(job.value("delivered_per_s") / 1e6) if job and job.results else "–"


RTT_ROWS = (("ideal ring, spinning", "floor rtt {}"), ("**tram, spinning**", "tram rtt spin {}"),
            ("iceoryx, spinning", "iceoryx rtt spin {}"), ("pipe, spinning", "pipe rtt spin {}"),
            ("UNIX socket, spinning", "unix rtt spin {}"),
            ("ZeroMQ ipc, spinning", "zmq rtt spin {}"),
            ("futex, both sides sleep", "floor futex {}"),
            ("**tram, both sleep**", "tram rtt sleep {}"),
            ("iceoryx waitset", "iceoryx rtt sleep {}"), ("pipe, both sleep", "pipe rtt sleep {}"),
            ("UNIX socket, both sleep", "unix rtt sleep {}"),
            ("ZeroMQ ipc, both sleep", "zmq rtt sleep {}"))

STREAM_ROWS = (("ideal ring of 1 MiB, each published", "floor each {}"),
               ("ideal ring of 4 MiB, in batches", "floor batch {}"),
               ("the same, consumer looks away 20 µs", "floor away {}"),
               ("**tram, one send and one receive each**", "tram stream plain {}"),
               ("**tram, in batches**", "tram stream batch {}"),
               ("UNIX socket, packed by hand", "unix stream {}"),
               ("UNIX socket, one write each", "unix stream each {}"),
               ("pipe, packed by hand", "pipe stream {}"),
               ("pipe, one write each", "pipe stream each {}"),
               ("ZeroMQ ipc", "zmq stream {}"), ("iceoryx", "iceoryx stream {}"))


def print_figures(jobs):
    rows = [[title] + [times(jobs.get(name.format(text))) for text, _ in SIZES_RTT]
            for title, name in RTT_ROWS]
    line = jobs.get("floor line")
    rows.insert(0, ["one cache line there and back", times(line), "", ""])
    print(table(["round trip, p50 / p99 µs", "32 B", "1 KiB", "64 KiB"], rows) + "\n")
    rows = [[title] + [rate(jobs.get(name.format(text))) for text, _ in SIZES_STREAM]
            for title, name in STREAM_ROWS]
    print(table(["one to one, M msg/s", "32 B", "256 B", "1 KiB", "64 KiB (GB/s)"], rows) + "\n")
    others = ("tram rtt default 32", "tram rtt threads 32", "tram wake sleep", "tram wake default",
              "tram first", "tram claim 1M", "tram claim 64M", "tram stream threads 32",
              "tram fanin 64", "tram mix")
    rows = [[name, times(jobs[name]), rate(jobs[name])] for name in others if name in jobs]
    print(table(["tram", "p50 / p99 µs", "M msg/s"], rows) + "\n")
    print_services(jobs)
    print_hosts(jobs)


def print_hosts(jobs):
    rows = [[title] + [rate(jobs.get(f"{name} stream {text}")) for text, _ in SIZES_STREAM] +
            [times(jobs.get(f"{name} rtt {mode} 32")) for mode in ("sleep", "spin")]
            for title, name in (("raw TCP, packed by hand", "tcp"),
                                ("**tram, mirrored by two daemons**", "hosts"),
                                ("**tram, daemons that spin**, nodes that sleep", "hosts spin"),
                                ("ZeroMQ tcp", "zmq tcp"))]
    many = jobs.get("hosts channels 1000")
    rows.append(["**tram, 1,000 channels**", "", "", rate(many), "", "", ""])
    print(table(["between hosts, M msg/s; round trip in µs", "32 B", "256 B", "1 KiB",
                 "64 KiB (GB/s)", "both sleep", "spinning"], rows) + "\n")


def print_services(jobs):
    rows = [[title, times(jobs.get(f"{peer} rpc spin 32")), times(jobs.get(f"{peer} rpc sleep 32")),
             rate(jobs.get(f"{peer} rpc async 64"))]
            for title, peer in (("**tram**", "tram"), ("ZeroMQ ipc, REQ/REP", "zmq"),
                                ("sd-bus, peer to peer", "sdbus"))]
    rows.insert(1, ["**tram**, spinning also there", "", "",
                    rate(jobs.get("tram rpc async spin 64"))])
    print(table(["request and reply, 32 B, p50 / p99 µs", "spinning", "both sleep",
                 "64 under way, 64 B, M/s"], rows) + "\n")
    rows = [[title] + [delivered(jobs.get(f"{name} {readers}")) for readers in (1, 4)]
            for title, name in (("ideal ring of 4 MiB, in batches", "floor fan"),
                                ("**tram, each published**", "tram events"),
                                ("**tram, 16 staged**", "tram events batch"))]
    print(table(["events, 256 B, M delivered/s", "to one", "to four"], rows) + "\n")


def print_targets(rows):
    shown = []
    for row in rows:  # those that were not measured, too
        sign = "≤" if row["at_most"] else "≥"
        times_sign = " ×" if row["relative"] else ""
        shown.append([row["what"], f"{sign} {short(row['bound'])}{times_sign}",
                      short(row["value"]) + (times_sign if row["value"] is not None else ""),
                      row["verdict"]])
    print(table(["target", "bound", "measured", "verdict"], shown) + "\n")


def machine():
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"model name\s*:\s*(.*)", file.read())
            model = found[1] if found else model
    except OSError:
        pass
    return {"processor": model, "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--alone", action="store_true", help="before all others")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--only", default="", help="jobs whose name matches")
    parser.add_argument("--list", action="store_true", help="name the jobs and end")
    parser.add_argument("--out", help="the JSON file (default BUILD/bench.json)")
    return parser.parse_args()


def main():
    args = arguments()
    build = os.path.join(ROOT, os.environ.get("TRAM_BUILD", "build"))
    bin_dir = os.path.join(build, "bin")
    jobs = [job for part in (rtt_jobs(), stream_jobs(), other_jobs(), hosts_jobs()) for job in part
            if re.search(args.only, job.name)]
    if args.list:
        print("\n".join(job.name for job in jobs))
        return 0
    missing = sorted({job.program for job in jobs
                      if not os.path.exists(os.path.join(bin_dir, job.program))})
    for program in missing:
        print(f"left out: {program} is not built")
    jobs = [job for job in jobs if job.program not in missing]
    run_rounds(jobs, args.rounds or (1 if args.quick else 3), bin_dir, args.quick,
               args.alone)

    raw = {job.name: list(job.results.values()) for job in jobs}
    class_ns, dropped, mixed = keep_one_class(jobs)
    by_name = {job.name: job for job in jobs}
    rows = [target.judge(by_name) for part in (latency_targets(), rate_targets(), hosts_targets())
            for target in part]
    if args.only:
        rows = [row for row in rows if row["value"] is not None]
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}; cache line "
          f"there and back {class_ns:.0f} ns;\n{dropped} results on cores at another distance "
          "left out\n")
    print_figures(by_name)
    print_targets(rows)
    for job in not_asleep(jobs):
        print(f"did not sleep each time: {job.name}")
    if mixed:
        print("on cores at another distance, or moved: " + ", ".join(mixed))
    failed = [job for job in jobs if job.error]
    for job in failed:
        print(f"failed: {job.name}: {job.error}")
    path = args.out or os.path.join(build, "bench.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"machine": about, "class_ns": class_ns, "targets": rows, "results": raw}, file,
                  indent=1)
    print(f"{sum(row['verdict'] == 'met' for row in rows)} of {len(rows)} targets met; all "
          f"results: {os.path.relpath(path)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
