#!/usr/bin/env python3
# test: timeout=60 label=noasan,notsan
"""Completion: bash is asked as it asks (COMP_WORDS), zsh by typing into a terminal.

noasan, notsan: it runs the tool for its --help only. zsh is tried where it is installed.
"""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.environ.get("TRAM_BIN") or os.path.join(TOP, "build", "bin", "tram")
DIR = os.environ["TRAM_DIR"]
LIMIT = 20 * int(os.environ.get("TRAM_TIME_SCALE") or 1)

complaints = []


def same(title, got, want):
    if got != want:
        complaints.append(f"{title}: {got}, not {want}")


def help_of(*verb):
    text = subprocess.run([TOOL, *verb, "--help"], capture_output=True, text=True, check=True)
    return text.stdout


def options_of(text):
    return sorted(re.findall(r"^  (?:-., )?(--[a-z-]+)", text, re.M))


def verbs_of(text):
    return re.findall(r"^  (\w+)  +\S", text.split("Verbs")[1].split("\n\n")[0], re.M)


# --- bash -----------------------------------------------------------------------------------------

ASK = """
. "$1"
while IFS= read -r line; do
    IFS='|' read -ra COMP_WORDS <<<"$line|end"
    unset 'COMP_WORDS[-1]'
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "$2"
    echo "${COMPREPLY[*]}"
done
"""


def ask_bash(lines, name="tram"):
    """What bash offers for each line; its words are separated by '|', the last is being typed."""
    told = subprocess.run(["bash", "-c", ASK, "bash",
                           os.path.join(TOP, "completion", f"{name}.bash"), f"_{name}"],
                          input="".join(line + "\n" for line in lines), capture_output=True,
                          text=True, check=False, cwd=DIR)
    if told.stderr:
        complaints.append(f"bash says: {told.stderr}")
    return [line.split() for line in told.stdout.split("\n")[:-1]]


def try_bash():
    whole = help_of()
    readmes = [f"{TOP}/{name}" for name in os.listdir(TOP) if name.startswith("READ")]
    wanted = {
        f"{TOOL}|": verbs_of(whole),
        f"{TOOL}|--": options_of(whole) + ["--version"],
        f"{TOOL}|se": ["send"],
        f"{TOOL}|help|pur": ["purge"],
        f"{TOOL}|send|--from|": ["1.0.0.1", "1.0.0.22", "ephemeral"],
        f"{TOOL}|send|--to|1.0.0.2": ["1.0.0.22"],
        f"{TOOL}|recv|--id|=|": ["1.0.0.1", "1.0.0.22"],
        f"{TOOL}|recv|--id|=": ["1.0.0.1", "1.0.0.22"],
        f"{TOOL}|recv|--count|": [],
        f"{TOOL}|rm|1.0.0.1|1": ["1.0.0.1", "1.0.0.22"],
        f"{TOOL}|ls|1.0.0.2": ["1.0.0.22"],
        f"{TOOL}|--bus|": ["default", "else", "second"],
        f"{TOOL}|ls|--bus|=|s": ["second"],
        f"{TOOL}|--bus|second|ls|": ["9.0.0.1"],
        f"{TOOL}|--bus|=|second|recv|--id|": ["9.0.0.1"],
        f"{TOOL}|--dir|{DIR}/else|ls|": ["7.7.7.7"],
        f"{TOOL}|--dir|{DIR}/el": [f"{DIR}/else"],
        f"{TOOL}|dump|--where|": ["kept", "hand", "queued", "aside", "retry"],
        f"{TOOL}|top|--sort|": ["rate", "backlog", "age", "memory", "from", "to", "host"],
        f"{TOOL}|top|--filter|": [],
        f"{TOOL}|send|{TOP}/READ": readmes,
        f"{TOOL}|recv|--out|{TOP}/READ": readmes,
        f"{TOOL}|bench|": verbs_of(help_of("bench")),
        f"{TOOL}|nonsense|": [],
    }
    for verb in verbs_of(whole):
        wanted[f"{TOOL}|{verb}|--"] = options_of(help_of(verb))
    for line, got in zip(wanted, ask_bash(wanted), strict=True):
        want = wanted[line]
        same(f"bash: {line.replace(TOOL, 'tram')}", sorted(got), sorted(want))
    same("bash: a name that is a command was run", os.path.exists(f"{DIR}/spoilt"), False)
    return len(wanted)


def try_bash_daemon():
    """tramd, which has options only."""
    daemon = TOOL + "d"
    if not os.path.exists(daemon):
        return 0
    text = subprocess.run([daemon, "--help"], capture_output=True, text=True, check=True).stdout
    wanted = {
        f"{daemon}|": options_of(text),
        f"{daemon}|--c": ["--check-config", "--config"],
        f"{daemon}|--dir|{DIR}/el": [f"{DIR}/else"],
        f"{daemon}|--bus|": [],
    }
    for line, got in zip(wanted, ask_bash(wanted, "tramd"), strict=True):
        same(f"bash: {line.replace(daemon, 'tramd')}", sorted(got), sorted(wanted[line]))
    return len(wanted)


# --- zsh ------------------------------------------------------------------------------------------

START = r"""
PS1='' PS2='' RPS1=''
unsetopt beep zle_bracketed_paste 2>/dev/null
fpath=({top}/completion $fpath)
autoload -Uz compinit && compinit -u -D
zmodload zsh/zle
zstyle ':completion:*' list-prompt ''
LISTMAX=10000
tell() {{
    print -r -- "$BUFFER" >>{out}
    BUFFER=
}}
ready() print -r -- ready >>{out}
zle -N tell
zle -N zle-line-init ready
bindkey -e
bindkey '^Xq' tell
"""


class Zsh:
    """An interactive zsh with a terminal, into which one types."""

    def __init__(self):
        self.out = os.path.join(DIR, "zsh.out")
        start = os.path.join(DIR, ".zshrc")
        with open(start, "w", encoding="utf-8") as file:
            file.write(START.format(top=TOP, out=self.out))
        environment = dict(os.environ, ZDOTDIR=DIR, TERM="dumb", HOME=DIR,
                           PATH=os.path.dirname(TOOL) + ":" + os.environ["PATH"])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-d", "-i"], environment)
        self.seen = b""
        self.told = 1
        self.read_until(lambda: self.lines() == 1)

    def read_until(self, done):
        """Keep what it writes on the terminal, until that is so."""
        until = time.monotonic() + LIMIT
        while not done() and time.monotonic() < until:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    break
        return done()

    def lines(self):
        try:
            with open(self.out, encoding="utf-8") as file:
                return file.read().count("\n")
        except FileNotFoundError:
            return 0

    def type(self, text):
        """What the line becomes. None: it does not answer."""
        os.write(self.fd, text.encode() + b"\t\x18q")
        self.told += 1
        if not self.read_until(lambda: self.lines() == self.told):
            return None
        with open(self.out, encoding="utf-8") as file:
            return file.read().split("\n")[-2]

    def shown(self, text, patterns):
        """Those of the patterns that are not shown when it is asked for a list."""
        def missing():
            return [p for p in patterns if not re.search(p, self.seen.decode(errors="replace"))]

        self.seen = b""
        os.write(self.fd, text.encode() + b"\t")
        self.read_until(lambda: not missing())
        left = missing()
        self.type("")
        return left

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def try_zsh():
    if not shutil.which("zsh"):
        print("zsh is not installed: not tried")
        return 0
    wanted = (
        ("tram se", "tram send "),
        ("tram help pur", "tram help purge "),
        ("tram send --fr", "tram send --from "),
        ("tram recv --idl", "tram recv --idle-exit "),
        ("tram recv --id 1.0.0.2", "tram recv --id 1.0.0.22 "),
        ("tram recv --id=1.0.0.2", "tram recv --id=1.0.0.22 "),
        ("tram send --from e", "tram send --from ephemeral "),
        ("tram rm 1.0.0.2", "tram rm 1.0.0.22 "),
        ("tram --bus s", "tram --bus second "),
        ("tram --bus second ls ", "tram --bus second ls 9.0.0.1 "),
        ("tram --bus=second recv --id ", "tram --bus=second recv --id 9.0.0.1 "),
        (f"tram --dir {DIR}/else ls ", f"tram --dir {DIR}/else ls 7.7.7.7 "),
        ("tram dump --where q", "tram dump --where queued "),
        ("tram top --sort f", "tram top --sort from "),
        ("tram bench rt", "tram bench rtt "),
    )
    if os.path.exists(TOOL + "d"):
        wanted += (("tramd --che", "tramd --check-config "), ("tramd --jo", "tramd --journal "),
                   (f"tramd --dir={DIR}/el", f"tramd --dir={DIR}/else/"))
    zsh = Zsh()
    try:
        for typed, want in wanted:
            same(f"zsh: {typed}", zsh.type(typed), want)
        verbs = verbs_of(help_of())
        same("zsh: not shown", zsh.shown("tram ", [rf"\b{verb}\b +-- \w" for verb in verbs]), [])
        same("zsh: not shown", zsh.shown("tram send --", options_of(help_of("send"))), [])
    finally:
        zsh.end()
    return len(wanted) + 2


def main():
    for path in ("default/1.0.0.1", "default/1.0.0.22", "second/9.0.0.1", "else/default/7.7.7.7"):
        os.makedirs(os.path.join(DIR, path))
    os.makedirs(os.path.join(DIR, "$(touch spoilt)"))
    count = try_bash() + try_bash_daemon() + try_zsh()
    for complaint in complaints:
        print(complaint)
    print(f"{count - len(complaints)} passed, {len(complaints)} failed, 0 skipped")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
