#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Simulators with one deliberate mistake each (tests/sim/bugs): the seeds must find it out. TAP, and a table.

    bugs.py PROGRAM...            each is a simulator, named after its mistake
    bugs.py --make BUG SOURCE     writes the source with that mistake

A mistake is a file: what is wrong, the path of a source, and what is replaced in it by what, literally, between <<<<, ==== and >>>>.
SEEDS (2000) at most for each; JOBS seeds at once."""
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = int(os.environ.get("SEEDS", "2000"))
JOBS = os.environ.get("JOBS", str(os.cpu_count() or 1))


def make(bug, source):
    text = pathlib.Path(bug).read_text()
    path = text.splitlines()[1]
    body = (HERE.parents[1] / path).read_text()
    for old, new in re.findall(r"^<<<<\n(.*?)\n====\n(.*?)\n>>>>$", text, re.M | re.S):
        if old not in body:
            sys.exit(f"{bug}: {path} has no\n{old}\nany more: make the same mistake in what is there now")
        body = body.replace(old, new)
    pathlib.Path(source).write_text(body)


def found(program):
    """How many seeds it took, and which invariant was broken; None: nothing was found."""
    done = subprocess.run([program, "--first", "--jobs", JOBS, f"1-{SEEDS}"], capture_output=True, text=True, check=False)
    said = re.search(r"^seed (\d+): (.*)$", done.stdout, re.M)
    ran = re.search(r"^(\d+) seeds,", done.stdout, re.M)
    if not ran:
        raise RuntimeError(f"{program}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return (int(ran[1]), said[2].split(":")[0]) if said else None


def main():
    if sys.argv[1] == "--make":
        make(*sys.argv[2:])
        return 0
    rows, failed = [], 0
    for n, program in enumerate(sys.argv[1:], 1):
        name = pathlib.Path(program).name
        what = (HERE / "bugs" / f"{name}.bug").read_text().splitlines()[0]
        hit = found(program)
        failed += hit is None
        print(f"{'ok' if hit else 'not ok'} {n} {name}", flush=True)
        rows.append(f"| {name} | {what} | {hit[0] if hit else f'not in {SEEDS}'} | {hit[1] if hit else ''} |")
    print(f"1..{len(sys.argv) - 1}")
    print("| mistake | what it does | seeds | broken |\n|---|---|---|---|")
    print("\n".join(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
