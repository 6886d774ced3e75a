#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs TAP programs, shows what failed, and ends with 'N passed, N failed, N skipped'.

    run.py [--timeout S] [--total FILE] [--prefix COMMAND] [--jobs N] PROGRAM...
    run.py --sum FILE          print the closing line over everything recorded in FILE

A program that ends without its plan line, by a signal, or not in time counts as one failure more.
--total appends each run's counts to FILE, so that several kinds of tests share one closing line."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

MEMORY = pathlib.Path("/dev/shm")
MEMORY_MIN = 2 << 30
LINE = re.compile(r"^(not )?ok \d+ (.*?)(\s+# SKIP.*)?$")


def environment(program):
    """Files of unit tests lie in memory, where a flush takes no time, unless they are the store's, which are about the disk."""
    wanted = "/unit/" in str(program) and "/unit/store/" not in str(program) and "TMPDIR" not in os.environ
    if wanted and os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_MIN:
        return os.environ | {"TMPDIR": str(MEMORY)}
    return None


def run(program, timeout, prefix=()):
    """(passed, failed, skipped) of one TAP program."""
    passed = failed = skipped = 0
    notes = []
    try:
        done = subprocess.run([*prefix, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              env=environment(program))
        out, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        out, code = (e.stdout or b"").decode(errors="replace"), f"no end after {timeout} s"
    plan = False
    for line in out.splitlines():
        m = LINE.match(line)
        if line.startswith("1.."):
            plan = True
        elif m and m.group(3):
            skipped += 1
            print(f"SKIP {program}: {m.group(2)} {' '.join(notes)}")
            notes = []
        elif m and m.group(1):
            failed += 1
            print(f"FAIL {program}: {m.group(2)}\n" + "\n".join("    " + n for n in notes))
            notes = []
        elif m:
            passed += 1
            notes = []
        else:
            notes.append(line)
    if not plan or (code != 0 and failed == 0):
        failed += 1
        print(f"FAIL {program}: ended with {code}\n" + "\n".join("    " + n for n in notes[-60:]))
    return passed, failed, skipped


def closing(counts):
    return "%d passed, %d failed, %d skipped" % counts


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--timeout", type=int, default=300)
    ap.add_argument("--total")
    ap.add_argument("--prefix", default="", help="the words before each program, such as valgrind and its options")
    ap.add_argument("--jobs", type=int, default=1)
    ap.add_argument("--sum")
    ap.add_argument("programs", nargs="*")
    args = ap.parse_args()
    if args.sum:
        rows = [tuple(map(int, l.split())) for l in pathlib.Path(args.sum).read_text().splitlines()]
        counts = tuple(map(sum, zip(*rows))) if rows else (0, 0, 0)
        print(closing(counts))
        return 1 if counts[1] or not counts[0] else 0
    with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) as pool:
        each = list(pool.map(lambda p: run(p, args.timeout, shlex.split(args.prefix)), args.programs))
    counts = tuple(map(sum, zip((0, 0, 0), *each)))
    if args.total:
        with open(args.total, "a") as f:
            f.write("%d %d %d\n" % counts)
    print(closing(counts))
    return 1 if counts[1] else 0


if __name__ == "__main__":
    sys.exit(main())
