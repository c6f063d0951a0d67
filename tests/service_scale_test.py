#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# test: timeout=60 label=notsan,noasan
"""1,000 endpoints and 200 services on one host (tests/service_scale_prog.c): in a few processes
with many ports each, and in many with few. What they hold is bounded closely; times by bounds that
are far from what a quiet machine does. notsan, noasan: they make processes several times as
large."""

import json
import os
import socket
import subprocess
import sys
import tempfile

SLOW = float(os.environ.get("TRAM_TIME_SCALE") or 1)
BUILD = os.environ["TRAM_BUILD"]

# processes, services and clients of each
RUNS = ((4, 50, 200), (200, 1, 4))


def patience(processes):
    """Not a figure to be proud of (those are in docs/PERFORMANCE.md): the machine may be busy."""
    return SLOW * (5 + 0.15 * processes)


def rules(processes, r):
    """(what, figure, most)"""
    peers = min(processes - 1, r["endpoints"] // processes * 2)  # at most: here and there
    yield "seconds until all are published", r["published_s"], patience(processes)
    yield "seconds until all know all names", r["named_s"], patience(processes)
    yield "seconds until all are answered", r["answered_s"], patience(processes)
    yield "descriptors of a process", r["descriptors"], 30 + 4 * peers
    yield "mappings of a process", r["mappings"], 100 + 8 * peers
    yield ("bytes of all processes", r["pss_bytes_all"],
           processes * (2 << 20) + r["endpoints"] * (16 << 10) +
           processes * r["services"] * 2048)
    yield ("bytes of the bus", r["bus_bytes"],
           (512 << 10) + processes * ((8 << 10) + 2 * peers * (24 << 10)))
    yield "bytes of the daemon", r["daemon_rss_bytes"], (8 << 20) + processes * (40 << 10)
    yield "descriptors of the daemon", r["daemon_descriptors"], 30 + 3 * processes


def start_daemon(folder):
    """tramd, when it says that it can be connected to."""
    path = os.path.join(folder, "ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(path)
        ready.settimeout(10 * SLOW)
        daemon = subprocess.Popen([os.path.join(BUILD, "bin", "tramd")],
                                  stderr=subprocess.DEVNULL,
                                  env=dict(os.environ, TRAM_DIR=folder, NOTIFY_SOCKET=path))
        ready.recv(4096)
    os.unlink(path)
    return daemon


def run(processes, services, clients):
    """True: all of it is as it should be."""
    with tempfile.TemporaryDirectory(dir=os.environ["TRAM_DIR"]) as folder:
        daemon = start_daemon(folder)
        try:
            done = subprocess.run(
                [os.path.join(BUILD, "tests", "service_scale_prog"), str(processes), str(services),
                 str(clients), str(daemon.pid)],
                env=dict(os.environ, TRAM_DIR=folder), stdout=subprocess.PIPE, text=True)
        finally:
            daemon.terminate()
            daemon.wait()
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        return False
    good = True
    for what, figure, most in rules(processes, json.loads(done.stdout)):
        if figure > most:
            print(f"{processes} processes: {what}: {figure:.6g}, at most {most:.6g}")
            good = False
    return good


if __name__ == "__main__":
    if os.environ.get("TRAM_SERVICE") == "OFF":
        print("the second layer is not built")
        sys.exit(77)
    RESULTS = [run(*sizes) for sizes in RUNS]
    print(f"scale: {len(RESULTS)} runs, {'' if all(RESULTS) else 'not '}all as they should be")
    sys.exit(0 if all(RESULTS) else 1)
