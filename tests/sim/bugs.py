#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Simulators with one deliberate mistake each (tests/sim/bugs): the seeds must find it out. TAP, and a table.

    bugs.py PROGRAM...      each is a simulator; its name is that of its patch, whose first line says what is wrong

SEEDS (2000) at most for each; JOBS seeds at once."""
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = int(os.environ.get("SEEDS", "2000"))
JOBS = os.environ.get("JOBS", str(os.cpu_count() or 1))


def found(program):
    """How many seeds it took, and what the failing one said; None: nothing was found."""
    done = subprocess.run([program, "--first", "--jobs", JOBS, f"1-{SEEDS}"], capture_output=True, text=True, check=False)
    said = re.search(r"^seed (\d+): (.*)$", done.stdout, re.M)
    ran = re.search(r"^(\d+) seeds,", done.stdout, re.M)
    if not ran:
        raise RuntimeError(f"{program}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return (int(ran[1]), said[2]) if said else None


def main():
    rows, failed = [], 0
    for n, program in enumerate(sys.argv[1:], 1):
        name = pathlib.Path(program).name
        what = (HERE / "bugs" / f"{name}.patch").read_text().splitlines()[0]
        hit = found(program)
        failed += hit is None
        print(f"{'ok' if hit else 'not ok'} {n} {name}", flush=True)
        rows.append(f"| {name} | {what} | {hit[0] if hit else f'not in {SEEDS}'} | {hit[1][:110] if hit else ''} |")
    print(f"1..{len(sys.argv) - 1}")
    print("| mistake | what it does | seeds | what was seen |\n|---|---|---|---|")
    print("\n".join(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
