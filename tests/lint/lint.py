#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the compiler does not see, as TAP: includes that go up a layer, the licence line on top of each file, lines over 150
columns, words of unfinished work, and commands and arguments that the man page and the program do not share."""
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


def commands():
    page = ROOT / "packaging/man/stateferry.1"
    binary = os.environ.get("STATEFERRY")
    if not page.exists() or not binary:
        return
    text = page.read_text()
    listed = subprocess.run([binary, "help"], capture_output=True, text=True).stdout
    for name in re.findall(r"^  ([a-z]+)  ", listed, re.M):
        if not re.search(rf"\b{name}\b", text):
            yield f"the man page does not know the command {name}"


def declared():
    """Names of the tables of arguments, and in order the names that each declares."""
    for path in sources("src", suffixes=(".c",)):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for table, body in re.findall(r"struct conf_field (\w+)\[\] = \{(.*?)\n\};", text, re.S):
            yield table, re.findall(r'\{\s*(?:\.name = )?"(\w+)",\s*(?:\.type = )?CONF_', body)


def arguments():
    """A section of the page begins with a comment that names its table; it says something of each argument, and of no other."""
    text = (ROOT / "packaging/man/stateferry.1").read_text()
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


def main():
    checks = [layers, licence, width, unfinished, commands, arguments]
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
