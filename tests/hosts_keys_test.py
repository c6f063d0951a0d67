#!/usr/bin/env python3
# test: timeout=90
"""Three hosts with keys, on loopback: who is let in, who is turned away and what the log says of
it, keys that are read again, and a host that is revoked. Ends with 77 where there is no TLS."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

BUILD = os.environ["TRAM_BUILD"]
TRAM = os.environ["TRAM_BIN"]
SCALE = int(os.environ.get("TRAM_TIME_SCALE") or 1)
WORK = os.path.join(os.environ["TRAM_DIR"], "w")
TRAMD = os.path.join(BUILD, "bin", "tramd")
NET = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"

complaints = []
hosts = {}


def keys(*args, ca="ca"):
    done = subprocess.run([TRAM, "keys", "--keys", os.path.join(WORK, ca), *args], cwd=WORK,
                          capture_output=True, text=True, check=False)
    if "built without" in done.stderr:
        print("skipped, because there is no TLS")
        sys.exit(77)
    if done.returncode != 0:
        complaints.append(f"tram keys {' '.join(args)}: {done.stderr}")


class Host:
    """A tramd with a bus, a config and a log of its own."""

    def __init__(self, number, name, bundle=None, cluster="plant", server=None):
        self.name, self.number = name, number
        self.dir = os.path.join(WORK, f"{name}-{number}")
        os.makedirs(self.dir, mode=0o700)
        self.bundle = os.path.join(self.dir, "host.keys")
        shutil.copy(os.path.join(WORK, bundle or f"{name}.keys"), self.bundle)
        os.chmod(self.bundle, 0o600)
        self.log = os.path.join(self.dir, "log")
        self.config = os.path.join(self.dir, "tramd.conf")
        self.seen = {}
        self.address = f"{NET}.{number}"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"[log]\nlevel = debug\nfile = {self.log}\n[cluster]\nname = {cluster}\n"
                       f"host = {name}\nhost-server = {server or 'here'}\n"
                       f"listen = {self.address}\nheartbeat = 200ms\nkeys = {self.bundle}\n"
                       f"port = 61801\nhost-server-port = 61800\n")
        self.start()

    def start(self):
        with open(self.log + ".stderr", "a", encoding="utf-8") as errors:
            self.process = subprocess.Popen([TRAMD, "--config", self.config, "--dir", self.dir],
                                            stderr=errors)
        hosts[f"{self.name}-{self.number}"] = self

    def text(self):
        """What it said since mark(): in its log, and before that was open."""
        text = ""
        for name in (self.log, self.log + ".stderr"):
            if os.path.exists(name):
                with open(name, encoding="utf-8") as file:
                    whole = file.read()
                if len(whole) < self.seen.get(name, 0):
                    self.seen[name] = 0 # it begins anew when the config is read again
                text += whole[self.seen.get(name, 0):]
        return text

    def has_said(self, pattern, seconds):
        """Wait until the log has it, behind what was seen before."""
        until = time.monotonic() + seconds * SCALE
        while not (said := re.search(pattern, self.text())) and time.monotonic() < until:
            select.select([], [], [], 0.02)
        return bool(said)

    def says(self, pattern, seconds=15):
        if not self.has_said(pattern, seconds):
            complaints.append(f"{self.name}: no '{pattern}' in\n{self.text()[-1500:]}")

    def mark(self):
        for name in (self.log, self.log + ".stderr"):
            if os.path.exists(name):
                self.seen[name] = os.path.getsize(name)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def end(self):
        self.process.kill()
        self.process.wait()


def hosts_join():
    keys("init", "plant")
    keys("host", "alpha", "beta", "gamma", "delta")
    keys("host", "--program", "robot")
    keys("init", "harbour", ca="other")
    keys("host", "--out", "foreign.keys", "beta", ca="other")
    alpha = Host(1, "alpha", server=None)
    alpha.says("joined the directory")
    server = f"alpha@{NET}.1"
    beta, gamma = Host(2, "beta", server=server), Host(3, "gamma", server=server)
    for one, other in ((alpha, "beta"), (alpha, "gamma"), (beta, "gamma"), (gamma, "beta")):
        one.says(f"host {other}: connected")
    return alpha, beta, gamma, server


def strangers_are_turned_away(alpha, server):
    alpha.mark()
    Host(4, "beta", "foreign.keys", cluster="harbour", server=f"{NET}.1")
    alpha.says(r"not signed by the CA of this cluster|of another cluster|unknown ca")
    robot = Host(5, "robot", server=server)
    robot.says("they are of program robot")
    posing = Host(6, "beta", "delta.keys", server=server)
    posing.says("they are of host delta .* the config says host beta")
    # Who is asked for is not who is there.
    wrong = Host(7, "delta", server=f"beta@{NET}.1")
    wrong.says("by its certificate it is host alpha, not beta")
    for name in ("beta-4", "robot-5", "beta-6", "delta-7"):
        hosts[name].end()


def nonsense_is_turned_away(alpha):
    for port in (61800, 61801):
        for words, why in ((b"GET / HTTP/1.1\r\n\r\n", "HTTP, not TLS"),
                           (b"\0" * 64, "no TLS|TLS: "), (b"TRAM hello", "no TLS|TLS: "),
                           (b"\x16\x03\x01\x02\x00\x01", "middle of the handshake")):
            alpha.mark()
            # Of too many that are turned away the log has one a second: those before may have been
            # many, on a slow machine.
            for _ in range(20):
                with socket.create_connection((f"{NET}.1", port)) as stranger:
                    stranger.sendall(words)
                    stranger.shutdown(socket.SHUT_WR)
                    if alpha.has_said(why, 1): # who is gone by then may be one that was reset
                        break
            else:
                complaints.append(f"{alpha.name}: no '{why}' in\n{alpha.text()[-1500:]}")


def keys_are_read_again(alpha, beta):
    keys("renew", "beta")
    beta.mark()
    shutil.copy(os.path.join(WORK, "beta.keys"), beta.bundle)
    beta.reload()
    beta.says("read again")
    alpha.mark()
    beta.end()
    alpha.says("host beta: the connection ended")
    beta.start()
    alpha.says("host beta: connected")
    with open(beta.bundle, "w", encoding="utf-8") as file:
        file.write("nothing\n")
    beta.mark()
    beta.reload()
    beta.says("what was read before still holds")


def who_is_revoked_goes(alpha, beta, gamma):
    for host in (alpha, beta, gamma):
        host.mark()
    keys("revoke", "gamma")
    shutil.copy(os.path.join(WORK, "ca", "revoked.crl"), beta.bundle + ".revoked")
    shutil.copy(os.path.join(WORK, "beta.keys"), beta.bundle)
    begun = time.monotonic()
    beta.reload()
    beta.says("list 2 of the revoked counts now")
    beta.says("host gamma: the connection ended.*certificate of gamma was revoked")
    alpha.says("list 2 of the revoked counts now")
    alpha.says("host gamma: the connection ended.*certificate of gamma was revoked")
    took = time.monotonic() - begun
    if took > 2 * SCALE:
        complaints.append(f"gamma was let in for {took:.1f} s")
    alpha.mark()
    alpha.says("turned away: .*certificate of gamma was revoked")
    gamma.says("it refuses our certificate: it was revoked")
    if not os.path.exists(alpha.bundle + ".revoked"):
        complaints.append("alpha does not keep the list")
    # And with a new key it may come again.
    keys("renew", "gamma")
    shutil.copy(os.path.join(WORK, "gamma.keys"), gamma.bundle)
    alpha.mark()
    gamma.reload()
    alpha.says("host gamma: connected")


def enter():
    """Go on in a network of our own, so that the ports are: where the kernel gives one."""
    if os.environ.get("TRAM_NETWORK"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *rights, "--net", "--"]
    try:
        probe = subprocess.run([*command, "ip", "link", "set", "lo", "up"], check=False,
                               capture_output=True).returncode
    except FileNotFoundError:
        return
    if probe == 0:
        os.environ["TRAM_NETWORK"] = "1"
        os.execvp("unshare", [*command, sys.executable, *sys.argv])


def main():
    enter()
    os.makedirs(WORK, mode=0o700)
    try:
        alpha, beta, gamma, server = hosts_join()
        if not complaints:
            strangers_are_turned_away(alpha, server)
            nonsense_is_turned_away(alpha)
            keys_are_read_again(alpha, beta)
            who_is_revoked_goes(alpha, beta, gamma)
    finally:
        for host in hosts.values():
            host.end()
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
