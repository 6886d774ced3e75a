#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is a store that loses something found out? As TAP: the explorer over stores that are careless, each of which must have
states that are bad. LMDB is opened with less durability than ours, or one line of the store is another one: that file alone is
compiled again, and takes the place of its original when the explorer is linked."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.path.relpath(os.environ.get("O", ROOT / "build"), ROOT)
EXPLORE = f"{BUILD}/crash/explore"
NOSYNC, NOMETASYNC = 0x10000, 0x40000       # of lmdb.h
FLAGS = {"nothing is flushed": NOSYNC, "the page that ends a commit is not flushed": NOMETASYNC}
MUTANTS = {  # name: (file, what stands there, what stands there instead, the explorer's test, states)
    "a batch is two commits": (
        "src/store/batch.c", "bool\nbatch_put(struct store_txn *t, struct batch *b)\n{\n\tfor (int rank = 0; rank < RANKS; rank++)\n",
        "static int\nsplit(struct store_txn *t)\n{\n\tstruct store *s = t->s;\n\tint rc = txn_commit(t);\n\n"
        "\tif (txn_begin(s, TXN_WRITE, t, NULL) != ERR_OK)\n\t\tabort();\n\treturn t->rc = rc;\n}\n\n"
        "bool\nbatch_put(struct store_txn *t, struct batch *b)\n{\n\tfor (int rank = 0; rank < RANKS; rank++)\n"
        "\t\tif (rank > 0 && t->dirty && split(t) != 0)\n\t\t\treturn false;\n\t\telse\n", "power_cuts", 300),
    "what a cut left of a large body stays": (
        "src/store/open.c", "(code = stage_sweep(s, &e)) == ERR_OK", "s != NULL", "large_body", 1500),
    "the host file is not flushed before it is named": (
        "src/store/host.c", " || fsync(fd) != 0)\n\t\trc = errno;", ")\n\t\trc = errno;", "power_cuts", 300),
    "the folder is not flushed after the host file was named": (
        "src/store/host.c", "if (rc == 0 && fsync(s->dirfd) != 0)", "if (false)", "power_cuts", 300),
}


def commands(target, changed):
    """What make would run for target if changed were newer."""
    done = subprocess.run(["make", "-s", "-n", f"O={BUILD}", "-W", changed, target], cwd=ROOT, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in done.stdout.splitlines() if f"-o {target}" in line]


def compiled(folder, file, was, becomes):
    """The explorer over a store in which that place of that file is another."""
    text = (ROOT / file).read_text()
    assert text.count(was) == 1, f"{file} has {text.count(was)} places that read {was!r}"
    source, obj, program = folder / "mutant.c", folder / "mutant.o", folder / "explore"
    source.write_text(text.replace(was, becomes))
    target = f"{BUILD}/{file[:-2]}.o"
    [compile_] = commands(target, file)
    [link] = commands(EXPLORE, "tests/crash/explore.c")
    subprocess.run([{file: str(source), target: str(obj)}.get(a, a) for a in compile_], cwd=ROOT, check=True)
    at = link.index(EXPLORE)
    subprocess.run([*link[:at], str(program), str(obj), *link[at + 1:]], cwd=ROOT, check=True)
    return program


def bad_states(program, test, states, **env):
    """(states, bad ones) that the explorer tells of."""
    done = subprocess.run([str(program), test], cwd=ROOT, env=os.environ | {"CRASH_STATES": str(states)} | env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"^# .*: (\d+) states, (\d+) bad;", done.stdout, re.M)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def cases():
    for name, flags in FLAGS.items():
        yield name, lambda folder, f=flags: bad_states(ROOT / EXPLORE, "power_cuts", 200, CRASH_FLAGS=hex(f))
    for name, (file, was, becomes, test, states) in MUTANTS.items():
        yield name, lambda folder, m=(file, was, becomes), t=test, n=states: bad_states(compiled(folder, *m), t, n)


def main():
    failed = n = 0
    for n, (name, run) in enumerate(cases(), 1):
        with tempfile.TemporaryDirectory() as folder:
            states, bad = run(pathlib.Path(folder))
        print(f"# {name}: {bad} of {states} states are bad")
        print(f"{'ok' if bad else 'not ok'} {n} {name}", flush=True)
        failed += not bad
    print(f"1..{n}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
