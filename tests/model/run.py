#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the models of this folder with spin: what must hold holds in every state, and each broken variant is violated. TAP, and a table.

Needs spin and a C compiler; each model says in its head what its variants are."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DEPTH = 2000000
SECONDS = 120

# model, definitions, does it hold
MODELS = [
    ("replica", [], True), ("replica", ["-DNOLEASE"], True), ("replica", ["-DWRITE=0"], False),
    ("replica", ["-DWRITE=1"], False), ("replica", ["-DWRITE=2"], False),
    ("lease", [], True), ("lease", ["-DFROM_ANSWER"], False), ("lease", ["-DFROM_ANY"], False), ("lease", ["-DNO_COUNTER"], False),
    ("lease", ["-DEXTENDS"], False), ("lease", ["-DEARLY"], False), ("lease", ["-DGIVE_LATE"], False),
    ("lease", ["-DUNCONDITIONAL"], False),
    ("unknown", [], True), ("unknown", ["-DBLIND"], False), ("unknown", ["-DSETTLE_EARLY"], False),
]


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def check(model, define, folder):
    """(errors, states, was every state reached)"""
    run(["spin", *define, "-a", str(HERE / f"{model}.pml")], folder)
    run(["cc", "-O2", "-w", "-DSAFETY", "-o", "pan", "pan.c"], folder)
    out = run(["./pan", f"-m{DEPTH}"], folder)
    errors = re.search(r"errors: (\d+)", out)
    states = re.search(r"(\d+) states, stored", out)
    if not errors or not states:
        raise RuntimeError(f"no verdict: {out[-500:]}")
    return int(errors[1]), int(states[1]), "max search depth too small" not in out and "Search not completed" not in out


def main():
    if not shutil.which("spin"):
        print("spin is missing: apt-get install spin", file=sys.stderr)
        return 1
    failed = 0
    for n, (model, define, holds) in enumerate(MODELS, 1):
        name = f"{model} {' '.join(define) or 'as it is'}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                errors, states, whole = check(model, define, folder)
                good = (errors == 0 and whole) if holds else errors > 0
                said = f"{'holds' if errors == 0 else 'violated'}, {states:,} states{'' if whole or errors else ', not all of them'}"
            except (RuntimeError, subprocess.TimeoutExpired) as e:
                good, said = False, str(e).replace("\n", " ")
        failed += not good
        print(f"{'ok' if good else 'not ok'} {n} {name}: {said}, should {'hold' if holds else 'be violated'}", flush=True)
    print(f"1..{len(MODELS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
