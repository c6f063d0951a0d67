#!/usr/bin/env python3
# test: timeout=120 label=notsan
# (notsan: three daemons and their faults take minutes there)
"""The tools on several hosts: tram trace finds a message wherever it is, and says what it waits
for; tram ping asks hosts; tram send and tram doctor know of the cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import cluster  # noqa: E402  (it lies there)
from cluster import Cluster, until  # noqa: E402

A, B = "1.0.0.1", "1.0.0.2"


def all_meet(hosts):
    def it():
        for host in hosts.hosts:
            out, _, code = host.tram("hosts", "--json", expect=None)
            if code != 0 or sum(h["up"] for h in json.loads(out)["hosts"]) != len(hosts.hosts):
                return False
        return True
    return it


def trace(host, *more):
    return json.loads(host.tram("trace", "--from", A, "--to", B, "--json", *more)[0])


def waits(host, word, *more):
    """Until it waits for that; what was said."""
    last = {}

    def it():
        last.update(trace(host, *more))
        return last if last["waiting_for"] == word else None

    try:
        return until(it)
    except AssertionError as error:
        raise AssertionError(f"{host.name}: not {word}: {last}") from error


def send(host, lines):
    return host.tram("send", "--from", A, "--to", B, given=lines)[1]


def receive(host, count):
    return host.run("tram", "recv", "--id", B, "--count", str(count), stdout=subprocess.PIPE,
                    text=True)


def counts(seen):
    return seen["sent"], seen["arrived"], seen["consumed"]


def a_message_is_found(hosts):
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    _, err, code = a.tram("trace", "--from", A, "--to", B, expect=None)
    assert code == 3 and "has sent nothing" in err, (code, err)

    said = send(a, b"one\n")
    assert "no host is known" in said and "never opened" not in said, said
    seen = waits(a, "place-unknown")
    assert counts(seen)[0] == 1, seen

    into = receive(b, 1)
    assert into.communicate(timeout=30)[0] == "one\n"
    seen = waits(a, "nothing")
    assert counts(seen) == (1, 1, 1), seen

    assert send(a, b"two\nthree\n") == "", "it is known where the receiver is"
    for host in (a, b, c):  # whoever is asked
        seen = waits(host, "receiver-down")
        assert counts(seen) == (3, 3, 1) and seen["seq"] == 2, seen
        assert (seen["sender_host"], seen["receiver_host"]) == ("a", "b"), seen
        rings = {view["host"]: view["ring"] for view in seen["hosts"] if "ring" in view}
        assert rings["a"] == "origin" and rings["b"] == "mirror", rings
    assert waits(c, "nothing", "--seq", "1")["seq"] == 1
    assert waits(c, "sender", "--seq", "9")["seq"] == 9
    text = b.tram("trace", "--from", A, "--to", B)[0]
    assert "3 sent, 3 arrived on b, 1 consumed, 2 wait" in text and "(receiver-down)" in text, text


def a_name_that_cannot_be_shown(hosts):
    """A process calls itself what it likes: the link between those who tell of it stays."""
    a, b = hosts["a"], hosts["b"]
    before = {link["host"]: link["connections"] for link in a.json("links")["links"]}
    odd = subprocess.Popen(b.inside("bash", "-c", 'exec -a "$0" "$@"', "od\x01d", cluster.TRAM,
                                    "recv", "--id", "1.0.0.9"),
                           env=b.environment(), stdout=subprocess.PIPE)
    b.running.append(odd)
    a.tram("send", "--from", "1.0.0.8", "--to", "1.0.0.9", given=b"one\n", expect=None)
    assert odd.stdout.readline() == b"one\n"
    seen = a.tram("trace", "--from", "1.0.0.8", "--to", "1.0.0.9", "--json")[0]
    assert "od?d" in seen, seen
    odd.kill()
    after = {link["host"]: link["connections"] for link in a.json("links")["links"]}
    assert before == after, (before, after)


def what_is_not_there_is_named(hosts):
    a, b = hosts["a"], hosts["b"]
    b.cut()
    send(a, b"four\n")
    seen = waits(a, "link-down", "--seq", "4")
    assert "no link from a to b" in seen["why"], seen
    assert any(view.get("silent") for view in seen["hosts"] if view["host"] == "b"), seen
    seen = trace(b)  # half of it is here
    assert seen["waiting_for"] == "receiver-down" and seen["arrived"] == 3, seen
    out, _, code = a.tram("doctor", "--json", expect=None)
    found = {f["check"]: f for f in json.loads(out)["findings"] if f["severity"] == "warning"}
    assert "host b" in found["link"]["what"] and "plain" in found["insecure"]["what"], found
    _, _, code = a.tram("ping", "--host", "b", "--count", "1", expect=None)
    assert code == 5, code
    b.mend()
    waits(a, "receiver-down", "--seq", "4")
    a.stop()
    send(a, b"five\n")
    assert waits(a, "no-daemon", "--seq", "5")["why"].endswith("to b")
    out, _, code = a.tram("doctor", "--json", expect=None)
    assert code == 1 and any(f["check"] == "hosts" and f["severity"] == "problem"
                             for f in json.loads(out)["findings"]), out
    seen = trace(b)
    assert seen["arrived"] == 4, seen
    a.start()
    until(all_meet(hosts))
    into = receive(b, 4)
    assert into.communicate(timeout=30)[0] == "two\nthree\nfour\nfive\n"
    assert counts(waits(a, "nothing")) == (5, 5, 5)


def shown_links(host):
    """The row of each link, and what is indented below it."""
    links = {}
    for line in host.tram("links")[0].splitlines()[1:]:
        if not line.startswith("  "):
            name, *row = line.split()
            links[name] = row, []
        else:
            links[name][1].append(line.strip())
    return links


def links_are_shown(hosts):
    """As text, all that JSON has of state, cipher, what came in vain and the last error."""
    a, b = hosts["a"], hosts["b"]
    b.cut()
    until(lambda: shown_links(a)["b"][0][0] == "down")
    row, below = shown_links(a)["b"]
    known = {link["host"]: link for link in a.json("links")["links"]}
    assert row[-1] == "-" and not any("version" in line for line in below), (row, below)
    assert known["b"]["error"] and below[-1].startswith("last error: "), (known, below)
    b.mend()
    until(all_meet(hosts))
    until(lambda: "clock" in shown_links(a)["b"][1][0])
    before = shown_links(a)
    known = {link["host"]: link for link in a.json("links")["links"]}
    assert sorted(before) == sorted(known) == ["b", "c"], (before, known)
    for name, (row, below) in before.items():
        link = known[name]
        assert row[0] == "up" and row[2] == "ms" and float(row[1]) > 0, row
        assert row[5:] == [str(link["backlog"]), str(link["connections"]), link["address"]], row
        cipher = f"{link['tls']} {link['cipher']}" if link["tls"] else "plain"
        assert below[0].startswith(f"version {link['version']}, {cipher}, clock "), (below, link)
        assert below[0].endswith(f" ms, retransmitted {link['retransmitted_bytes']} bytes, "
                                 f"duplicates dropped {link['dropped_bytes']} bytes"), below
        assert below[1:] == ([f"last error: {link['error']}"] if link["error"] else []), below
        assert "another connection" not in link["error"], link
    assert before["b"][1][1:], "what cut it stays"


def hosts_are_pinged(hosts):
    out = hosts["a"].tram("ping", "--hosts", "--count", "1", "--json")[0]
    seen = {line["host"]: line for line in map(json.loads, out.splitlines())}
    assert sorted(seen) == ["b", "c"], seen
    for line in seen.values():
        assert line["answered"] and 0 < line["link_ns"] <= line["time_ns"], line
        assert line["time_ns"] == line["here_ns"] + line["link_ns"] + line["daemons_ns"], line
    out = hosts["a"].tram("ping", "--host", "b", "--count", "2", "--interval", "1")[0]
    assert out.count("b: ") == 2 and "on the link" in out, out
    out, _, code = hosts["a"].tram("ping", "--host", "nobody", "--count", "1", expect=None)
    assert code == 5 and "no host of that name" in out, (code, out)


def top(host, *more):
    return json.loads(host.tram("top", "--hosts", "--json", "--count", "1", "--interval", "0.5",
                                *more)[0])


def all_buses_are_shown(hosts):
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    into = b.run("tram", "recv", "--id", "1.0.0.32", "--count", "1000000000",
                 stdout=subprocess.DEVNULL)
    lines = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    out = a.run("tram", "send", "--from", "1.0.0.31", "--to", "1.0.0.32", stdin=lines.stdout,
                stderr=subprocess.DEVNULL)
    seen = {}

    def flows():
        seen.update(top(c))
        return [r for r in seen["channels"] if r["to"] == "1.0.0.32" and (r["rate"] or 0) > 0]

    rows = until(flows)
    try:
        until(lambda: {r["host"] for r in flows()} == {"a", "b"}, 5)  # origin and mirror
    except AssertionError as error:
        raise AssertionError(f"not at both ends: {seen}") from error
    assert sorted(h["name"] for h in seen["hosts"]) == ["a", "b", "c"], seen["hosts"]
    assert all(h["silent"] == "" and h["left_channels"] == 0 for h in seen["hosts"]), seen["hosts"]
    assert rows[0]["host"] in "ab" and seen["channel_count"] >= 2, seen
    assert {r["host"] for r in top(c, "--filter", "a")["channels"]} == {"a"}
    by_host = [r["host"] for r in top(c, "--sort", "host")["channels"]]
    assert by_host == sorted(by_host), by_host
    assert len(top(c, "--rows", "1")["channels"]) == 1
    nodes = [n for n in top(c, "--nodes")["nodes"] if n["id"] == "1.0.0.32" and n["state"] == "up"]
    assert [n["host"] for n in nodes] == ["b"], nodes
    text = c.tram("top", "--hosts", "--batch", "--count", "1", "--interval", "0.5")[0]
    assert "HOST" in text and max(map(len, text.splitlines())) <= 80, text
    text = c.tram("top", "--hosts", "--nodes", "--batch", "--count", "1", "--interval", "0.5")[0]
    assert "HOST" in text and max(map(len, text.splitlines())) <= 80, text
    b.cut()
    until(lambda: any(h["name"] == "b" and h["silent"] for h in top(c)["hosts"]))
    assert "silent: b" in c.tram("top", "--hosts", "--batch", "--count", "1", "--interval",
                                 "0.5")[0]
    b.mend()
    for process in (lines, out, into):
        process.kill()
        process.wait()
    lines.stdout.close()
    out, err, code = one_host("top", "--hosts", "--batch", "--count", "1")
    assert code == 3 and "tramd" in err, (code, out, err)


def found(host, expect=None):
    out, _, code = host.tram("doctor", "--json", expect=expect)
    return json.loads(out)["findings"], code


def what_is_wrong_is_found():
    """Of keys, and of a node that lives on after it was taken over."""
    with Cluster(["a", "b", "c"], keys=True, days={"c": 5}) as hosts:
        until(all_meet(hosts))
        a, b, c = hosts["a"], hosts["b"], hosts["c"]
        for host, whose in ((c, "this host"), (a, "c")):
            keys = [f for f in found(host)[0] if f["check"] == "keys"]
            assert len(keys) == 1 and f"of {whose} ends in" in keys[0]["what"], keys
            assert keys[0]["severity"] == "warning" and "renew c" in keys[0]["do"], keys
        assert not [f for f in found(a)[0] if f["check"] in ("insecure", "versions", "places")]
        links_are_shown(hosts)
        assert "TLSv1.3 TLS_" in shown_links(c)["b"][1][0], shown_links(c)
        first = b.run("tram", "recv", "--id", "1.0.0.40", "--count", "9",
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: b.has("1.0.0.40"))
        first.send_signal(signal.SIGSTOP)  # it does not see that it is fenced
        a.tram("takeover", "1.0.0.40")
        second = a.run("tram", "recv", "--id", "1.0.0.40", "--count", "9",
                       stdout=subprocess.DEVNULL)

        def places():
            return [f for f in found(c)[0] if f["check"] == "places"]

        twice = until(places)
        assert "1.0.0.40 runs on hosts" in twice[0]["what"], twice
        assert twice[0]["severity"] == "problem" and found(c)[1] == 1, twice
        first.send_signal(signal.SIGCONT)
        until(lambda: not places())
        second.kill()
        subprocess.run([cluster.TRAM, "keys", "--keys", hosts.keys, "revoke", "c"], cwd=hosts.dir,
                       check=True, capture_output=True)
        shutil.copy(os.path.join(hosts.keys, "revoked.crl"), hosts.bundle(a) + ".revoked")
        a.daemon.send_signal(signal.SIGHUP)
        until(lambda: [f for f in found(c)[0] if f["check"] == "keys" and
                       "revoked" in f["what"] and f["severity"] == "problem"])


def one_host(*args, given=b""):
    """No cluster, no daemon."""
    folder = os.path.join(os.environ["TRAM_DIR"], "nobody")
    os.makedirs(folder, 0o700, exist_ok=True)
    done = subprocess.run([cluster.TRAM, *args], env={**os.environ, "TRAM_DIR": folder},
                          input=given, capture_output=True, timeout=30, check=False)
    return done.stdout.decode(), done.stderr.decode(), done.returncode


def one_host_is_enough():
    """No cluster, no daemon: the files say it."""
    folder = os.path.join(os.environ["TRAM_DIR"], "alone")
    os.mkdir(folder, 0o700)
    environment = {**os.environ, "TRAM_DIR": folder}

    def tram(*args, given=b"", expect=0):
        done = subprocess.run([cluster.TRAM, *args], env=environment, input=given,
                              capture_output=True, timeout=30, check=False)
        assert done.returncode == expect, (args, done)
        return done.stdout.decode()

    tram("trace", "--from", A, "--to", B, expect=3)
    tram("send", "--from", A, "--to", B, given=b"one\ntwo\n")
    seen = json.loads(tram("trace", "--from", A, "--to", B, "--json"))
    assert seen["waiting_for"] == "receiver-never" and counts(seen) == (2, 2, 0), seen
    tram("recv", "--id", B, "--count", "1")
    seen = json.loads(tram("trace", "--from", A, "--to", B, "--json"))
    assert seen["waiting_for"] == "receiver-down" and counts(seen) == (2, 2, 1), seen
    tram("recv", "--id", B, "--count", "1")
    assert "nothing" in tram("trace", "--from", A, "--to", B)
    tram("trace", "--from", A, expect=2)


cluster.enter()
one_host_is_enough()
with Cluster(["a", "b", "c"]) as three:
    until(all_meet(three))
    a_message_is_found(three)
    a_name_that_cannot_be_shown(three)
    what_is_not_there_is_named(three)
    links_are_shown(three)
    hosts_are_pinged(three)
    all_buses_are_shown(three)
passed = 6
if "built without TLS" not in one_host("keys", "show", "--keys", "/none")[1]:
    what_is_wrong_is_found()
    passed += 1
print(f"{passed} passed, 0 failed, 0 skipped")
