#!/usr/bin/env python3
# test: timeout=120 label=noasan,notsan
"""docs/TUTORIAL.md, TUTORIAL-SERVICES.md and TUTORIAL-HOSTS.md, each built and run from top to
bottom: its files are written, its commands are given to one shell, and what that says is compared
with what the page says it would.

    ```c NAME       a file; so is ```text NAME
    ```console      after "$ " a command; the lines behind it are its output, and [N] is its exit
                    code, if not 0. "…" stands for anything in a line.

noasan, notsan: its programs would have to be built so, too.
"""

import os
import re
import select
import shutil
import subprocess
import sys
import time

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("TRAM_BUILD") or os.path.join(TOP, "build")
LIMIT = 20 * int(os.environ.get("TRAM_TIME_SCALE") or 1)
DONE = "--- done "

# Each page, and the folder that it makes.
PAGES = (("TUTORIAL.md", "tutorial"), ("TUTORIAL-SERVICES.md", "services"),
         ("TUTORIAL-HOSTS.md", "hosts"))


def blocks(text):
    """(number of the line, kind, name, lines) of each code block."""
    found = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.fullmatch(r"```(\w*) ?(\S*)", line)
        if fence and found is None:
            found = (number, fence[1], fence[2], [])
        elif line == "```":
            yield found
            found = None
        elif found:
            found[3].append(line)


def commands(number, lines):
    """(number, command, lines of output) of a console block."""
    now = None
    for at, line in enumerate(lines, number + 1):
        if line.startswith("$ "):
            if now:
                yield now
            now = (at, line[2:], [])
        else:
            now[2].append(line)
    yield now


class Shell:
    def __init__(self, folder):
        self.folder = folder
        environment = dict(os.environ, LC_ALL="C.UTF-8")
        self.process = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True)

    def run(self, command):
        """Its output and its exit code as lines; None: it does not come back."""
        self.process.stdin.write(f"{command}\necho \"{DONE}$?\"\n".encode())
        self.process.stdin.flush()
        told, until = b"", time.monotonic() + LIMIT
        while not re.search(rb"(^|\n)" + DONE.encode() + rb"\d+\n$", told):
            if not select.select([self.process.stdout], [], [], until - time.monotonic())[0]:
                return None
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return None
            told += more
        lines = told.decode().split("\n")[:-1]
        code = lines.pop()[len(DONE):]
        if code != "0":
            lines.append(f"[{code}]")
        return lines

    def end(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def alike(got, want):
    """Blanks at the end of a line, and how many stand between words, are not compared."""
    if got is None or len(got) != len(want):
        return False
    for have, line in zip(got, want, strict=True):
        parts = [re.escape(part) for part in " ".join(line.split()).split("…")]
        if not re.fullmatch(".*".join(parts), " ".join(have.split())):
            return False
    return True


def show(lines):
    return "\n".join("    " + line for line in lines) if lines is not None else "    (it hangs)"


def run_page(text, inside, shell):
    """(lines that were compared, what was not as it says). Ends at the first."""
    folder, count = shell.folder, 0
    for number, kind, name, lines in blocks(text):
        if name:
            folder = os.path.join(shell.folder, inside)
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        elif kind == "console":
            for at, command, want in commands(number, lines):
                got = shell.run(command)
                if not alike(got, want):
                    return count, (f"line {at}: {command}\n  it says:\n{show(got)}\n"
                                   f"  the page says:\n{show(want)}")
                count += 1
    return count, None


def has_keys():
    """Was the tool built with TLS?"""
    tool = os.path.join(BUILD, "bin", "tram")
    done = subprocess.run([tool, "keys", "show"], capture_output=True, text=True, check=False)
    return "built without" not in done.stderr


def main():
    folder = os.path.join(os.environ["TRAM_DIR"], "tree")
    os.mkdir(folder)
    os.symlink(os.path.join(TOP, "include"), os.path.join(folder, "include"))
    os.symlink(BUILD, os.path.join(folder, "build"))
    compiler = shutil.which(os.environ.get("TRAM_CC") or "cc")
    if compiler:
        tools = os.path.join(os.environ["TRAM_DIR"], "tools")
        os.mkdir(tools)
        with open(os.path.join(tools, "cc"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {compiler} "$@"\n')
        os.chmod(file.name, 0o755)
        os.environ["PATH"] = tools + ":" + os.environ["PATH"]
    compared, failed = 0, 0
    for page, inside in PAGES:
        if page != "TUTORIAL.md" and os.environ.get("TRAM_SERVICE") == "OFF":
            continue
        if page == "TUTORIAL-HOSTS.md" and not has_keys():
            continue
        with open(os.path.join(TOP, "docs", page), encoding="utf-8") as file:
            text = file.read()
        shell = Shell(folder)
        try:
            count, wrong = run_page(text, inside, shell)
        finally:
            shell.end()
        compared += count
        if wrong:
            failed += 1
            print(f"{page}, {wrong}")
    print(f"{compared} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
