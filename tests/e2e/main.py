#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""End-to-end tests against real programs, with a closing line 'N passed, N failed, N skipped'.

    main.py [--total FILE] [-j N] [PYTEST ARGUMENTS...]

Fetches the programs that are missing (tests/servers/install.py) and runs pytest, in N processes side by side over the
test files. --total appends the counts to FILE, as tests/run.py does."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "servers"))
import install  # noqa: E402

# Shares of the time that they take, beside 1 for each other file: all processes are to end together.
WEIGHTS = {"test_matrix.py": 22, "test_kill.py": 7, "test_migrate.py": 6, "test_errors.py": 5, "test_remote.py": 3, "test_restore.py": 3,
           "test_life.py": 3, "test_lease.py": 4, "test_wire.py": 3, "test_fail_nth.py": 2}

COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


def pytest_command(python, more):
    return [str(python), "-m", "pytest", "-q", "-rs", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), *more]


def deal(jobs):
    """The test files for each process, the heaviest first to whoever has least."""
    shares = [[] for _ in range(jobs)]
    weight = lambda path: WEIGHTS.get(path.name, 1)  # noqa: E731
    for path in sorted(HERE.glob("test_*.py"), key=lambda p: (-weight(p), p.name)):
        min(shares, key=lambda share: sum(map(weight, share))).append(path)
    return [[str(path) for path in share] for share in shares]


def run(python, jobs, more):
    """Runs pytest over everything, or over the files dealt out to `jobs` processes; the output of each is whole."""
    picked = any(pathlib.Path(a.split("::")[0]).exists() for a in more)
    running = []
    for share in [[]] if picked else filter(None, deal(jobs)):
        out = tempfile.TemporaryFile()
        running.append((subprocess.Popen(pytest_command(python, [*more, *share]), stdout=out,
                                         stderr=subprocess.STDOUT), out))
    totals = [0, 0, 0]
    for process, out in running:
        code = process.wait()
        out.seek(0)
        text = out.read().decode(errors="replace")
        sys.stdout.write(text)
        counts = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
        counts |= {what: int(n) for n, what in COUNT.findall(text.strip().splitlines()[-1] if text.strip() else "")}
        counts["failed"] += counts["error"]
        if code not in (0, 1, 5) or (code == 1 and not counts["failed"]):
            counts["failed"] += 1
            print(f"FAIL pytest ended with {code}")
        totals = [t + counts[w] for t, w in zip(totals, ("passed", "failed", "skipped"))]
    return totals


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--total")
    ap.add_argument("-j", type=int, default=1)
    args, more = ap.parse_known_args()
    installed = subprocess.run([sys.executable, str(HERE.parent / "servers" / "install.py")])
    if installed.returncode and os.environ.get("STATEFERRY_REQUIRE_SERVERS") == "1":
        print("FAIL a server is missing, and STATEFERRY_REQUIRE_SERVERS=1 wants them all")
    counts = run(install.find("pytest"), max(1, args.j), more)
    if args.total:
        with open(args.total, "a") as f:
            f.write("%d %d %d\n" % tuple(counts))
    print("%d passed, %d failed, %d skipped" % tuple(counts))
    return 1 if counts[1] or not counts[0] else 0


if __name__ == "__main__":
    sys.exit(main())
