#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""clang-tidy over src/ as .clang-tidy says, one test for each folder, as TAP. $TIDY names the program,
$JOBS how many run side by side."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", '-DSF_VERSION="0"', "-Iinclude", "-Isrc"]


def tidy(program, path):
    """What it finds in one file; empty: nothing."""
    done = subprocess.run([program, "-quiet", str(path.relative_to(ROOT)), "--", *FLAGS], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode == 0:
        return ""
    return done.stdout + ("" if done.stdout else done.stderr)


def main():
    program = shutil.which(os.environ.get("TIDY", "clang-tidy"))
    files = sorted((ROOT / "src").rglob("*.c"))
    folders = sorted({f.parent for f in files})
    print(f"1..{len(folders)}")
    if not program:
        for n, folder in enumerate(folders, 1):
            print(f"ok {n} {folder.relative_to(ROOT)} # SKIP no clang-tidy here")
        return 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count() or 1))) as pool:
        found = dict(zip(files, pool.map(lambda f: tidy(program, f), files)))
    bad = 0
    for n, folder in enumerate(folders, 1):
        said = "".join(text for f, text in found.items() if f.parent == folder)
        if said:
            print("\n".join("# " + line for line in said.splitlines()))
            bad += 1
        print(f"{'not ok' if said else 'ok'} {n} {folder.relative_to(ROOT)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
