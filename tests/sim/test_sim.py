#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Seeds of the simulator as TAP: those that once failed, SIM_SEEDS (1-600), and whether a seed is the same run twice. SIM: the program."""
import os
import subprocess
import sys

SIM = os.environ.get("SIM", "build/sim/sim")
JOBS = str(os.cpu_count() or 1)
RUNS = [
    ("seeds that once failed", ["tests/sim/regressions"]),
    ("seeds " + os.environ.get("SIM_SEEDS", "1-600"), ["--table", os.environ.get("SIM_SEEDS", "1-600")]),
    ("the same seed is the same run", ["--twice", "1-25"]),
]


def main():
    failed = 0
    for n, (what, args) in enumerate(RUNS, 1):
        done = subprocess.run([SIM, "--jobs", JOBS, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        for line in done.stdout.splitlines():
            print("# " + line)
        failed += done.returncode != 0
        print(f"{'not ok' if done.returncode else 'ok'} {n} {what}", flush=True)
    print(f"1..{len(RUNS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
