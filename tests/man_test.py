#!/usr/bin/env python3
# test: timeout=180 label=noasan,notsan
"""The man pages against the header, the tool's --help and each other.

    tests/man_test.py                  first the rules on pages that were spoilt, then the pages
    tests/man_test.py --self-test      the former only

A rule is a function that takes the pages and yields what is wrong. noasan, notsan: it runs the tool
for its texts only. mandoc and groff are used where they are installed.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.environ.get("TRAM_SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.environ.get("TRAM_BIN") or os.path.join(TOP, "build", "bin", "tram")

# Pages of others that ours refer to.
ELSEWHERE = {"poll(2)", "fork(2)", "mlock(2)", "fdatasync(2)", "epoll(7)", "sd-bus(3)", "ssh(1)",
             "shm_overview(7)", "tmpfs(5)", "signal(7)", "proc(5)", "logind.conf(5)", "mmap(2)",
             "loginctl(1)", "unshare(1)", "pid_namespaces(7)", "core(5)", "madvise(2)",
             "getrlimit(2)", "docker(1)", "cgroups(7)", "ncurses(3)", "fsync(2)", "sysctl(8)",
             "systemd-journald(8)"}

# What each page of section 3 whose functions take a node has to name.
EVERYWHERE = {"-EINVAL", "-EBUSY", "-ECHILD"}

# In the header, and for nobody to read about.
SILENT = {"TRAM_TRAM_H", "TRAM_WORKER_H", "TRAM_SERVICE_H", "TRAM_PROTOBUF_H", "TRAM_API"}


# --- Pages ----------------------------------------------------------------------------------------

ESCAPES = (("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\-", "-"), ("\\(aq", "'"), ("\\(ga", "`"),
           ("\\(ha", "^"), ("\\(ti", "~"), ("\\(bu", "*"), ("\\(mc", "µ"), ("\\(mu", "×"),
           ("\\(lq", '"'), ("\\(rq", '"'), ("\\(en", "-"), ("\\&", ""), ("\\~", " "), ("\\e", "\\"))


def plain(text):
    for escape, character in ESCAPES:
        text = text.replace(escape, character)
    return text


def words_of(line):
    """The arguments of a macro."""
    return [a if a else b for a, b in re.findall(r'"([^"]*)"|(\S+)', line)]


def macro_text(line):
    """What a line of roff shows."""
    found = re.match(r"\.(\w+)\s*(.*)", line)
    if not found:
        return plain(line)
    name, rest = found.groups()
    if name in ("B", "I", "SH", "SS"):
        return plain(rest.strip('"'))
    if name in ("BI", "BR", "IR", "RB", "RI", "IB"):
        return plain("".join(words_of(rest)))
    if name == "OP":
        return "[" + plain(" ".join(words_of(rest))) + "]"
    if name == "SY":
        return plain(rest.strip('"'))
    return ""


class Page:
    """One file: its sections as lines of roff, and what is read out of them."""

    def __init__(self, path, text):
        self.path = path
        self.lines = text.split("\n")
        self.file, _, self.section = os.path.basename(path).rpartition(".")
        title = next((line for line in self.lines if line.startswith(".TH ")), ".TH ? ? ? ? ?")
        self.title = [plain(word) for word in words_of(title[4:])]
        self.sections = {}
        current = []
        for line in self.lines:
            if line.startswith(".SH "):
                current = self.sections.setdefault(plain(line[4:].strip('"')), [])
            else:
                current.append(line)

    def text(self, section):
        return "\n".join(macro_text(line) for line in self.sections.get(section, []))

    def all_text(self):
        return "\n".join(macro_text(line) for line in self.lines)

    def tags(self, section):
        """What is described in a section: the line behind each .TP."""
        lines = self.sections.get(section, [])
        return [macro_text(lines[i + 1]) for i in range(len(lines) - 1) if lines[i] == ".TP"]

    def names(self):
        return [name.strip() for name in self.text("NAME").split(" - ")[0].split(",")]

    def code(self):
        """The blocks between .EX and .EE: (section, text)."""
        for section, lines in self.sections.items():
            block = None
            for line in lines:
                if line == ".EX":
                    block = []
                elif line == ".EE":
                    yield section, plain("\n".join(block)) + "\n"
                    block = None
                elif block is not None:
                    block.append(line)


class Manual:
    def __init__(self, files, header, helps, further=""):
        self.header = header
        self.further = further  # headers of the second layer, one behind the other
        self.sources = {path: text for path, text in files.items() if path.endswith(".c")}
        self.helps = helps  # verb ("" is the tool) → its --help
        self.links = {}     # path → the path that it stands for
        self.pages = {}     # path → Page
        for path, text in sorted(files.items()):
            if path in self.sources:
                continue
            link = re.fullmatch(r"\.so (\S+)\n?", text)
            if link:
                self.links[path] = "man/" + link[1]
            else:
                self.pages[path] = Page(path, text)

    def page(self, name, section):
        path = f"man/man{section}/{name}.{section}"
        return self.pages.get(self.links.get(path, path))


# --- The header -----------------------------------------------------------------------------------

def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def squeeze(text):
    """One spelling, whatever the line breaks."""
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"\s*([(){};,*])\s*", r"\1", text)


def functions(header):
    """name → (prototype, the comment that is about it)."""
    found, about = {}, ""
    body = header[header.index('extern "C" {'):]
    tokens = re.finditer(r"(?P<blank>\n\n)|(?P<comment>/\*.*?\*/)"
                         r"|(?P<other>(?:TRAM_API)?[^;/\n]+(?:;|\n))", body, re.S)
    statement = ""
    for token in tokens:
        if token["comment"]:
            about = token["comment"]
        elif token["blank"]:
            about = ""
        else:
            statement += token["other"]
            if not statement.rstrip().endswith(";"):
                if not statement.lstrip().startswith("TRAM_API"):
                    statement = ""
                continue
            declared = re.match(r"\s*TRAM_API\s+([^;]*?\b(\w+)\s*\([^;]*\));", statement)
            if declared:
                found[declared[2]] = (squeeze(declared[1]), about)
            statement = ""
    return found


CODE = re.compile(r"-E[A-Z][A-Z0-9]+")

# Codes that the comment of a function names without saying that it returns them.
OTHERS = {("tram_open", "-ENOTRECOVERABLE")}


def error_codes(about, all_functions, seen=()):
    """The errors that a comment names, and those of functions whose errors it takes over."""
    codes = set(CODE.findall(about))
    for name in re.findall(r"Errors as (tram_\w+)\(\)", re.sub(r"\s*\n \*\s*", " ", about)):
        if name not in seen:
            codes |= error_codes(all_functions[name][1], all_functions, (*seen, name))
    return codes


def common_codes(header):
    """The list at the top of the header: what any function may return."""
    return set(CODE.findall(header.split("Errors that every function may")[1].split("#ifndef")[0]))


def constants(header):
    """Macros that are numbers or flags: name → value."""
    found = {}
    for name, value in re.findall(r"^#define (TRAM_\w+)(?:[ ]+([^\n]*?))?$",
                                  without_comments(header), re.M):
        if name not in SILENT and not name.endswith("_INIT"):
            found[name] = (value or "").strip()
    return found


def types(text):
    """struct and enum definitions: 'struct x' → [member, …]."""
    found = {}
    for kind, name, body in re.findall(r"\b(struct|enum) (\w+) \{(.*?)\};?", text, re.S):
        members = re.split(r"[;,]" if kind == "enum" else ";", without_comments(body))
        found[f"{kind} {name}"] = [squeeze(member) for member in members if member.strip()]
    return found


# --- Rules ----------------------------------------------------------------------------------------

def titles(manual):
    numbers = [constants(manual.header)["TRAM_VERSION_" + part] for part in ("MAJOR", "MINOR")]
    for page in manual.pages.values():
        want = [page.file.upper(), page.section]
        path = f"man/man{page.section}/{page.file}.{page.section}"
        if page.title[:2] != want or page.path != path:
            yield f"{page.path}: its title is {' '.join(page.title[:2])}"
        if not page.title[3].startswith("tram " + ".".join(numbers)):
            yield f"{page.path}: is of '{page.title[3]}', the header of {'.'.join(numbers)}"
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", page.title[2]):
            yield f"{page.path}: '{page.title[2]}' is no date"
        if not any(name.startswith(page.file) for name in page.names()):
            yield f"{page.path}: does not name itself"
        for name in page.names():
            if manual.page(name, page.section) is not page:
                yield f"{page.path}: {name}({page.section}) does not lead to it"
        for section in ("NAME", "DESCRIPTION", "SEE ALSO"):
            if section not in page.sections:
                yield f"{page.path}: no {section}"
    for path, target in manual.links.items():
        if target not in manual.pages:
            yield f"{path}: there is no {target}"


def prototypes(manual):
    declared = functions(manual.header)
    for name, (prototype, _) in declared.items():
        page = manual.page(name, 3)
        if not page:
            yield f"{name}: has no page in man/man3"
            continue
        shown = squeeze(page.text("SYNOPSIS"))
        if prototype + ";" not in shown:
            yield f"{page.path}: {name} is in the header: {prototype}"
    for page in manual.pages.values():
        if page.section == "3" and "#include <tram/tram.h>" in page.text("SYNOPSIS"):
            for name in re.findall(r"\b(tram_\w+)\(", page.text("SYNOPSIS")):
                if name not in declared:
                    yield f"{page.path}: the header has no {name}"
            for section in ("RETURN VALUE", "ERRORS", "EXAMPLES"):
                if section not in page.sections:
                    yield f"{page.path}: no {section}"
            if not any(name.startswith("THREADS") for name in page.sections):
                yield f"{page.path}: no THREADS"


def second_layer(manual):
    """Functions of its headers: each has a page with its prototype, its errors and all sections."""
    declared = functions(manual.further) if manual.further else {}
    for name, (prototype, about) in declared.items():
        page = manual.page(name, 3)
        if not page:
            yield f"{name}: has no page in man/man3"
            continue
        if prototype + ";" not in squeeze(page.text("SYNOPSIS")):
            yield f"{page.path}: {name} is in the header: {prototype}"
        told = set(CODE.findall(" ".join(page.tags("ERRORS"))))
        codes = error_codes(about, declared | functions(manual.header))
        if "Errors as" not in about and prototype.startswith("int"):
            for code in sorted(codes - told):
                yield f"{page.path}: {name} may return {code}, says the header"
        for section in ("RETURN VALUE", "ERRORS", "THREADS", "EXAMPLES"):
            if section not in page.sections:
                yield f"{page.path}: no {section}"
    for page in manual.pages.values():
        if page.section == "3" and "#include <tram/worker.h>" in page.text("SYNOPSIS"):
            for name in re.findall(r"\b(tram_\w+)\(", page.text("SYNOPSIS")):
                if name not in declared and not name.endswith("_fn"):
                    yield f"{page.path}: the header has no {name}"


def errors(manual):
    declared, common = functions(manual.header), common_codes(manual.header) - {"-EAGAIN"}
    overview = manual.page("tram", 7)
    for code in sorted(common ^ set(CODE.findall(" ".join(overview.tags("ERRORS"))))):
        yield f"{overview.path}: {code}: what any function may return is not what the header says"
    for page in manual.pages.values():
        own = [name for name in page.names() if page.section == "3" and name in declared]
        if not own:
            continue
        told = set(CODE.findall(" ".join(page.tags("ERRORS"))))
        known = common | EVERYWHERE
        for name in own:
            prototype, about = declared[name]
            codes = error_codes(about, declared) if prototype.startswith("int") else set()
            codes -= {code for function, code in OTHERS if function == name}
            known |= codes
            if re.match(r"int\w*\b", prototype) and "(tram_node*node" in prototype:
                codes = codes | EVERYWHERE
            for code in sorted(codes - told):
                yield f"{page.path}: {name} may return {code}, says the header"
        for code in sorted(told - known):
            yield f"{page.path}: the header knows nothing of {code}"


def values(manual):
    """Macros, structures and enumerations as in the header, each in some page, members named."""
    header = manual.header + manual.further
    real, shown = constants(header), set()
    real_types, shown_types = types(header), set()
    for page in manual.pages.values():
        text = page.text("SYNOPSIS")
        for name, value in re.findall(r"^#define (\w+) (.*)$", text, re.M):
            if real.get(name) != value.strip():
                yield f"{page.path}: {name} is {real.get(name)} in the header, not {value}"
        for name, members in types(text).items():
            shown_types.add(name)
            if real_types.get(name) != members:
                yield f"{page.path}: {name} has other members in the header"
            named = set(re.findall(r"\\f[BI](\w+)\\fR", "\n".join(page.lines)))
            for member in members:
                word = re.findall(r"\w+", member.split("[")[0].split("=")[0])
                for part in [w for w in word if w not in ("struct", "const")][-1:]:
                    if part not in named:
                        yield f"{page.path}: {name}: nothing is said of {part}"
        shown |= set(re.findall(r"\bTRAM_[A-Z_]+\b", page.all_text()))
    for name in sorted(set(real) - shown):
        yield f"{name}: is in no page"
    for name in sorted(set(real_types) - shown_types):
        yield f"{name}: is in the SYNOPSIS of no page"


def help_options(text):
    """The options that a --help describes, with what follows them: '--size N'."""
    found = set()
    for line in text.split("\n"):
        option = re.match(r"  (?:-\w, )?(--[a-z][\w-]*(?: [A-Z]+)?)(?:  |$)", line)
        if option:
            found.add(option[1])
    return found


def page_options(page):
    found = set()
    for tag in page.tags("OPTIONS"):
        found |= set(re.findall(r"--[a-z][\w-]*(?: [A-Z]+)?", tag))
    return found


def verbs(manual):
    listed = re.findall(r"^  (\w+)  +\S", manual.helps[""].split("Verbs")[1].split("\n\n")[0], re.M)
    for verb in ["", *listed]:
        name = "tram-" + verb if verb else "tram"
        page = manual.page(name, 1)
        if not page:
            yield f"{name}(1): there is no such page"
            continue
        have, want = page_options(page), help_options(manual.helps[verb])
        if not verb:
            want.add("--version")
        for option in sorted(want - have):
            yield f"{page.path}: 'tram {verb} --help' has {option}"
        for option in sorted(have - want - {"--help"}):
            yield f"{page.path}: 'tram {verb} --help' does not have {option}"
        for section in ("SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES"):
            if section not in page.sections:
                yield f"{page.path}: no {section}"
        if verb and f"tram-{verb}(1)" not in manual.page("tram", 1).all_text():
            yield f"man/man1/tram.1: does not name {name}(1)"
    for page in manual.pages.values():
        if page.section == "1" and page.file.startswith("tram-") and page.file[5:] not in listed:
            yield f"{page.path}: tram has no such verb"


def members(manual):
    """The members of a verb's JSON are in its page."""
    for path, text in manual.sources.items():
        page = manual.page("tram-" + os.path.basename(path)[:-2], 1)
        used = set(re.findall(r'\bjson_(?:member_\w+|key)\([^"]*"(\w+)"', text))
        used |= {"text", "base64"} if "json_member_payload" in text else set()
        for member in sorted(used if page else ()):
            if f"\\fI{member}\\fR" not in "\n".join(page.lines):
                yield f"{page.path}: nothing is said of {member} in the JSON"


def exit_codes(manual):
    """What 'tram --help' says about exit codes is in tram(1); other pages name no others."""
    told = set(re.findall(r"(?:codes: |; )(\d)\b", re.sub(r"\s+", " ", manual.helps[""])))
    for page in manual.pages.values():
        have = set(page.tags("EXIT STATUS"))
        if page.file == "tram" and page.section == "1" and have != told:
            yield f"{page.path}: exit codes {sorted(have)}; --help has {sorted(told)}"
        elif have - told:
            yield f"{page.path}: exit codes {sorted(have - told)}, which tram(1) does not know"


def references(manual):
    for page in manual.pages.values():
        for name, section in re.findall(r"([\w.-]*\w)\((\d)\)", page.all_text()):
            if not manual.page(name, section) and f"{name}({section})" not in ELSEWHERE:
                yield f"{page.path}: there is no {name}({section})"
        for path in re.findall(r"\bdocs/\w+\.md\b", page.all_text()):
            if not os.path.exists(os.path.join(TOP, path)):
                yield f"{page.path}: there is no {path}"


def hyphens(manual):
    """In code a bare '-' is shown as a hyphen, which no shell and no compiler takes."""
    for page in manual.pages.values():
        inside = False
        for number, line in enumerate(page.lines, 1):
            inside = line == ".EX" or inside and line != ".EE"
            if inside and re.search(r"(?<!\\)[-'`^~]", line):
                yield f"{page.path}:{number}: a bare sign in code: {line}"
            if re.search(r"(^|[^\\\w])--?[a-zE]", line) and not line.startswith('.\\"'):
                yield f"{page.path}:{number}: a bare '-': {line}"


def programs(manual):
    """Every C program compiles; each page of section 3 has one."""
    compiler = os.environ.get("TRAM_CC") or "cc"
    with tempfile.TemporaryDirectory(dir=os.environ.get("TRAM_DIR")) as folder:
        jobs = []
        for page in manual.pages.values():
            blocks = [text for _, text in page.code() if "int main(" in text]
            if page.section == "3" and not blocks:
                yield f"{page.path}: no program"
            for number, text in enumerate(blocks):
                path = os.path.join(folder, f"{page.file}-{page.section}-{number}.c")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                jobs.append((page.path, subprocess.Popen(
                    [*compiler.split(), "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                     "-fsyntax-only", "-I", os.path.join(TOP, "include"), path],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
        for path, job in jobs:
            told = job.communicate()[0]
            if job.returncode != 0:
                yield f"{path}: its program does not compile:\n{told}"


RULES = (titles, prototypes, second_layer, errors, values, verbs, members, exit_codes,
         references, hyphens, programs)


def lint(manual):
    """What the formatters say; they are not asked about spoilt pages."""
    paths = [os.path.join(TOP, path) for path in manual.pages]
    for command in (["mandoc", "-T", "lint", "-W", "warning"],
                    ["groff", "-ww", "-man", "-Tutf8", "-z"]):
        if not shutil.which(command[0]):
            print(f"{command[0]} is not installed: not asked")
            continue
        told = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
        yield from (told.stdout + told.stderr).splitlines()


# --- The rules themselves -------------------------------------------------------------------------

# (file, what is replaced, by what, part of the complaint). "header" and "--help VERB" are files.
SPOILT = (
    ("man/man3/tram_open.3", ".TH TRAM_OPEN 3", ".TH TRAM_CLOSE 3", "its title is"),
    ("man/man3/tram_open.3", '"tram 0.', '"tram 9.', "is of 'tram 9."),
    ("man/man3/tram_open.3", "tram_node_id, ", "tram_node, ", "tram_node(3) does not lead to it"),
    ("man/man3/tram_close.3", "tram_open", "tram_opened", "there is no man/man3/tram_opened.3"),
    ("man/man3/tram_send.3", ", uint32_t \" tag", ", int \" tag", "tram_send is in the header"),
    ("man/man3/tram_recv.3", ".SH RETURN VALUE", ".SH RETURNED", "no RETURN VALUE"),
    ("header", "TRAM_API int tram_done(", "TRAM_API int tram_doing(", "tram_doing: has no page"),
    ("header", "TRAM_API int tram_done(", "TRAM_API int tram_doing(", "header has no tram_done"),
    ("man/man3/tram_send.3", "\\-EDEADLK", "\\-EAGAIN", "tram_send may return -EDEADLK"),
    ("man/man3/tram_claim.3", "\\-EMSGSIZE", "\\-EAGAIN", "tram_claim may return -EMSGSIZE"),
    ("man/man3/tram_fd.3", "\\-ECHILD", "\\-EBUSY", "tram_fd may return -ECHILD"),
    ("man/man3/tram_io_new.3", ", uint32_t \" events", ", int \" events", "tram_io_new is in the"),
    ("man/man3/tram_worker_post.3", "\\-EAGAIN", "\\-EDOM", "tram_worker_post may return -EAGAIN"),
    ("header", "-ENFILE, -EMFILE", "-ENFILE, -EDOM", "tram.7: -EDOM"),
    ("man/man3/tram_done.3", "tram_release", "tram_recv", "tram_done(3) does not lead to it"),
    ("man/man3/tram_recv.3", "\\-ENOBUFS", "\\-ENOBUFS, \\-EPIPE", "knows nothing of -EPIPE"),
    ("man/man3/tram_recv.3", "TRAM_HOLD 0x04u", "TRAM_HOLD 0x08u", "is 0x04u in the header"),
    ("man/man3/tram_recv.3", "uint32_t attempt;", "uint64_t attempt;", "other members"),
    ("header", "uint32_t attempt;", "uint32_t attempt;\n    uint32_t more;", "other members"),
    ("header", "#define TRAM_FOREVER", "#define TRAM_FOREVER INT64_C(-3)\n#define TRAM_NEW 1\n"
     "#define TRAM_F", "TRAM_NEW: is in no page"),
    ("man/man3/tram_peer.3", "\\fIgone\\fR", "\\fIlost\\fR", "nothing is said of gone"),
    ("man/man1/tram-send.1", "\\fB\\-\\-ring\\fR", "\\fB\\-\\-rung\\fR", "has --ring SIZE"),
    ("man/man1/tram-send.1", "\\fB\\-\\-ring\\fR", "\\fB\\-\\-rung\\fR", "not have --rung SIZE"),
    ("man/man1/tram-send.1", "\\-\\-ring\\fR \\fISIZE\\fR", "\\-\\-ring\\fR", "--ring SIZE"),
    ("--help recv", "  --sync ", "  --sink ", "has --sink"),
    ("--help ", "  purge ", "  purify ", "tram-purify(1): there is no such page"),
    ("--help ", "  purge ", "  purify ", "tram-purge.1: tram has no such verb"),
    ("man/man1/tram-ls.1", "\\fIaside_ever", "\\fIaside", "said of aside_ever"),
    ("src/cli/send.c", '"skipped"', '"passed"', "nothing is said of passed"),
    ("man/man1/tram-rm.1", ".TP\n4\n", ".TP\n8\n", "exit codes ['8']"),
    ("man/man7/tram.7", "tram_claim\\fR(3)", "tram_clam\\fR(3)", "there is no tram_clam(3)"),
    ("man/man1/tram-bench.1", "PERFORMANCE.md", "SPEED.md", "there is no docs/SPEED.md"),
    ("man/man1/tram-ls.1", "\ntram ls \\-\\-json", "\ntram ls --json", "a bare sign in code"),
    ("man/man3/tram_id.3", "    tram_id id = ", "    tram_idea id = ", "does not compile"),
    ("man/man3/tram_id.3", "int main(", "int mine(", "tram_id.3: no program"),
)


def spoil(manual_files, header, helps, sample):
    name, old, new, _ = sample
    files, helps = dict(manual_files), dict(helps)
    texts = {"header": header}
    if name.startswith("--help "):
        changed = helps[name[7:]].replace(old, new)
        if changed == helps[name[7:]]:
            return None
        helps[name[7:]] = changed
    else:
        text = header if name == "header" else files[name]
        changed = text.replace(old, new)
        if changed == text:
            return None
        if name == "header":
            texts["header"] = changed
        else:
            files[name] = changed
    return Manual(files, texts["header"], helps, read_second())


def check_rules(files, header, helps):
    used = set()
    for sample in SPOILT:
        manual = spoil(files, header, helps, sample)
        if not manual:
            yield f"sample {sample}: nothing was replaced"
            continue
        if sample[3] in ("does not compile", "tram_id.3: no program"):
            path = "man/man3/tram_id.3"
            manual.pages = {path: manual.pages[path]}
            rules = (programs,)
        else:
            rules = [rule for rule in RULES if rule is not programs]
        found = {rule for rule in rules
                 if any(sample[3] in complaint for complaint in rule(manual))}
        if not found:
            yield f"sample {sample}: nobody complained"
        used |= found
    for rule in RULES:
        if rule not in used:
            yield f"{rule.__name__} has no sample"


def read_tree():
    files = {}
    for top in ("man", os.path.join("src", "cli")):
        for path in glob.glob(os.path.join(TOP, top, "**", "*.*"), recursive=True):
            if top != "man" and not path.endswith(".c"):
                continue
            with open(path, encoding="utf-8") as file:
                files[os.path.relpath(path, TOP)] = file.read()
    with open(os.path.join(TOP, "include", "tram", "tram.h"), encoding="utf-8") as file:
        header = file.read()
    return files, header


def read_second():
    """The headers of the second layer that have pages."""
    text = ""
    for name in ("worker.h", "service.h", "protobuf.h"):
        with open(os.path.join(TOP, "include", "tram", name), encoding="utf-8") as file:
            text += file.read()
    return text


def read_helps():
    def ask(*words):
        return subprocess.run([TOOL, *words, "--help"], capture_output=True, text=True,
                              check=True).stdout

    helps = {"": ask()}
    for verb in re.findall(r"^  (\w+)  +\S", helps[""].split("Verbs")[1].split("\n\n")[0], re.M):
        helps[verb] = ask(verb)
    return helps


def main():
    files, header = read_tree()
    helps = read_helps()
    complaints = list(check_rules(files, header, helps))
    if "--self-test" not in sys.argv:
        manual = Manual(files, header, helps, read_second())
        complaints += [complaint for rule in RULES for complaint in rule(manual)]
        complaints += lint(manual)
    for complaint in complaints:
        print(complaint)
    pages = sum(path.startswith("man") for path in files)
    print(f"man: {len(complaints)} complaints, {pages} pages, {len(SPOILT)} samples")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
