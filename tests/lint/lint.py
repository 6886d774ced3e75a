#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the compiler does not see, as TAP: includes that go up a layer, clocks and sockets past the loop, the licence line on top of each file, lines over 150
columns, words of unfinished work, and commands, options, arguments, metrics, exit codes and variables that the man page and the
program do not share; and that each deliberate mistake of the simulator can still be made."""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ABOVE = {"base": {"base"}, "loop": {"base", "loop"}, "conf": {"base", "conf"}, "store": {"base", "loop", "store"}}
ABOVE["net"] = ABOVE["loop"] | {"net"}
ABOVE["provider"] = ABOVE["net"] | {"conf", "provider"}
ABOVE["sync"] = ABOVE["provider"] | {"store", "sync"}
ABOVE["serve"] = ABOVE["sync"] | {"serve"}
ABOVE["daemon"] = ABOVE["serve"] | {"daemon"}
ABOVE["cli"] = ABOVE["daemon"] | {"cli"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|placeholder|not yet implemented)\b")
REACHES_OUT = re.compile(r"\b(clock_gettime|gettimeofday|time|nanosleep|usleep|sleep|getrandom|getentropy|random|rand|rand_r|"
                         r"arc4random\w*|psa_generate_random|rand_system|socket|connect|getaddrinfo)\(")
REAL = {"base/time.c", "base/rand.c", "loop/loop.c", "loop/loop_event.c",  # what the twins stand for
        "net/http_transfer_setup.c", "net/listen.c",                      # curl's sockets and those of the real server
        "store/apply.c", "store/open.c",                                  # the store's own thread, which a virtual loop does not have
        "provider/process.c"}                                             # a program that really runs
WIDTH = 150
TAB = 4


def sources(*folders, suffixes=(".c", ".h")):
    for folder in folders:
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in suffixes and p.is_file())


def layers():
    for path in sources("src", "include"):
        parts = path.relative_to(ROOT).parts
        if len(parts) < 3 or parts[1] not in ABOVE:
            continue
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
            if m and m.group(1) in ABOVE and m.group(1) not in ABOVE[parts[1]]:
                yield f"{path.relative_to(ROOT)}:{n} includes {m.group(1)}/"


def licence():
    for path in sources("src", "include", "tests", suffixes=(".c", ".h", ".py", ".sh")):
        if "golden" in path.parts or "corpus" in path.parts:
            continue
        if "SPDX-License-Identifier: MIT" not in "\n".join(path.read_text().splitlines()[:2]):
            yield f"{path.relative_to(ROOT)} has no licence line"


def width():
    for path in sources("src", "include"):
        for n, line in enumerate(path.read_text().splitlines(), 1):
            if len(line.expandtabs(TAB)) > WIDTH:
                yield f"{path.relative_to(ROOT)}:{n} is {len(line.expandtabs(TAB))} columns wide"


def unfinished():
    for path in sources("src", "include"):
        for n, line in enumerate(path.read_text().splitlines(), 1):
            if UNFINISHED.search(line):
                yield f"{path.relative_to(ROOT)}:{n}: {line.strip()}"


def twins():
    """Clocks, randomness and sockets come from the loop and the client, which tests replace. daemon and cli are beyond: no test's twin."""
    for path in sources("src"):
        name = path.relative_to(ROOT / "src").as_posix()
        if name in REAL or name.split("/")[0] in ("daemon", "cli"):
            continue
        text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), path.read_text(), flags=re.S)
        for n, line in enumerate(text.splitlines(), 1):
            for call in REACHES_OUT.findall(line):
                yield f"src/{name}:{n} calls {call}() past the loop"


def page():
    return (ROOT / "packaging/man/stateferry.1").read_text()


def section(name):
    return re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", page(), re.S | re.M).group(1)


def differ(what, has, says):
    """Names that the program has, and those that the page says something of."""
    if not has:
        yield f"found no {what} in src: has their form changed?"
    yield from (f"the man page does not know the {what} {name}" for name in sorted(has - says))
    yield from (f"the man page knows the {what} {name}, which the program does not have" for name in sorted(says - has))


def command_tables():
    """Options by name of their table, and of each command of this version its table (NULL: none)."""
    text = (ROOT / "src/cli/cli.c").read_text()
    options = {table: set(re.findall(r'^\t\{ "([a-z-]+)",', body, re.M))
               for table, body in re.findall(r"struct cli_option (\w+)\[\] = \{(.*?)\n\};", text, re.S)}
    body = re.search(r"struct cli_command cli_commands\[\] = \{(.*?)\n\};", text, re.S).group(1)
    return options, dict(re.findall(r'^\t\{ "([a-z]+)", "[^"\n]*", .*, (\w+), cli_\w+, -?\d+, -?\d+ \},', body, re.M))


def entries(name):
    """What a section says of each command: the lines from its first .It to that of the next one, all of them together."""
    said, now = {}, ""
    for line in section(name).splitlines():
        m = re.match(r"\.It Cm ([a-z]+)\b", line)
        now = m.group(1) if m else now
        said[now] = said.get(now, "") + line + "\n"
    said.pop("", None)
    return said


def commands():
    options, has = command_tables()
    said = entries("COMMANDS")
    yield from differ("command", set(has), set(said))
    for name in set(has) & set(said):
        flags = {flag for flag in re.findall(r"\bFl -([a-z-]+)", said[name]) if flag not in ("json", "yes")}
        own = options.get(has[name], set()) - {"state", "yes"}  # the page tells of these once, for all commands
        yield from differ(f"option of {name},", own, flags) if own or flags else ()
    yield from differ("global option", options["global_options"], set(re.findall(r"\bFl -([a-z]+)", section("DESCRIPTION"))))
    for path in [ROOT / "README.md", ROOT / "NEWS.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "packaging").rglob("*"), *(ROOT / "conf").rglob("*.hcl")]:
        if path.is_file():
            text = "\n".join(re.findall(r"`([^`\n]+)`", path.read_text())) if path.suffix == ".md" else path.read_text()
            for name in re.findall(r"(?:^|[`$] ?|bin/|\.Dl )stateferry (?:-c \S+ |--json )?([a-z]+)\b(?! user)", text, re.M):
                if name not in has:
                    yield f"{path.relative_to(ROOT)} tells of \"stateferry {name}\", which is no command"


def metrics():
    text = (ROOT / "src/serve/metrics.c").read_text()
    yield from differ("metric", set(re.findall(r'metric_head\(&?\w+, "(\w+)"', text)) | set(re.findall(r'"stateferry_(\w+?)[ {%]', text)),
                      set(re.findall(r"^\.It Li (\w+)", section("METRICS"), re.M)))


def exit_codes():
    """Of errors, of a partly done command, and of nothing wrong."""
    text = (ROOT / "src/sync/pass_result.c").read_text()
    body = re.search(r"^err_exit\(.*?^\}", text, re.S | re.M).group(0)
    yield from differ("exit code", set(re.findall(r"return (\d+);", body)) | {"3"},
                      set(re.findall(r"^\.It (\d+)$", section("EXIT STATUS"), re.M)))


def variables():
    known = set(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", page()))
    for path in sources("src", suffixes=(".c",)):
        text = path.read_text()
        for name in re.findall(r'(?:\.env = |getenv\(|env_get\(\w+, |_env\([\w>, -]*)"([A-Z][A-Z0-9_]+)"', text) + \
                re.findall(r'"((?:AWS|TF|XDG|STATEFERRY)_[A-Z0-9_]+)"', text):
            if name not in known:
                yield f"{path.relative_to(ROOT)}: the man page does not know the variable {name}"


def declared():
    """Names of the tables of arguments, and in order the names that each declares."""
    for path in sources("src", suffixes=(".c",)):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for table, body in re.findall(r"struct conf_field (\w+)\[\] = \{(.*?)\n\};", text, re.S):
            yield table, re.findall(r'\{\s*(?:\.name = )?"(\w+)",\s*(?:\.type = )?CONF_', body)


def arguments():
    """A section of the page begins with a comment that names its table; it says something of each argument, and of no other."""
    text = page()
    sections = dict(re.findall(r'^\.\\" fields: (\w+)\n(.*?)(?=^\.S[hs] |^\.\\" fields: |\Z)', text, re.S | re.M))
    tables = dict(declared())
    if len(tables) < 8:
        yield f"found only {len(tables)} tables of arguments in src: has their form changed?"
    for table, names in tables.items():
        if table not in sections:
            yield f"the man page has no section for {table}"
            continue
        said = re.findall(r"^(?:\.It )?\.?Cm (\w+)(?: Pq.*| [,.])$", sections[table], re.M)
        yield from (f"the man page does not know {name} of {table}" for name in names if name not in said)
        yield from (f"the man page knows {name}, which {table} does not have" for name in said if name not in names)
        if not names:
            yield f"{table} declares nothing: has its form changed?"
    yield from (f"the man page describes {table}, which is gone" for table in sections if table not in tables)


def mistakes():
    """What a deliberate mistake of the simulator replaces is still there, so that it can be made."""
    for path in sorted((ROOT / "tests" / "sim" / "bugs").glob("*.bug")):
        done = subprocess.run([sys.executable, "tests/sim/bugs.py", "--make", path, os.devnull], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode:
            yield done.stderr.splitlines()[0]


def main():
    checks = [layers, twins, licence, width, unfinished, commands, arguments, metrics, exit_codes, variables, mistakes]
    failed = 0
    for n, check in enumerate(checks, 1):
        found = list(check())
        for line in found[:40]:
            print("#", line)
        failed += bool(found)
        print(f"{'not ok' if found else 'ok'} {n} {check.__name__}")
    print(f"1..{len(checks)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
