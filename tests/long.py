#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What "make check-long" adds to "make check", and the table of its last results, tests/RESULTS.md.

    long.py [PART...]       tidy valgrind fuzz crash sim sim-bugs store-kills kills leases agents fail wire; all of them unless named

FUZZ_SECONDS (60) for each target, CRASH_STATES (20000), SIM_SEEDS (1-20000), STORE_KILLS (1000), KILLS (300, for each of the kinds of
target), ROUNDS (60, for each of two), AGENT_ROUNDS (200), FAIL_ALLOCS (300, for each of two kinds of target). What a part has to say at
length goes into tests/RELIABILITY.md. A part that ran replaces its row; the others keep theirs, each with its own date and commit."""
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "RESULTS.md"
RELIABILITY = ROOT / "tests" / "RELIABILITY.md"
HEAD = """# Results of make check-long

The last run of each part, written by the run itself; `make check` is continuous integration's business and not in here.

| part | ended | commit | command | seconds | result | figures |
|---|---|---|---|---|---|---|
"""
JOBS = int(os.environ.get("JOBS") or os.cpu_count() or 1)
VALGRIND = ("valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect "
            "--num-callers=30 --child-silent-after-fork=yes")
# Minutes each, or nothing to see: a process that is killed, and measures of time and of memory.
NOT_UNDER_VALGRIND = {"store/test_kill", "base/test_secret"}
LAYERS = ("base", "conf", "store", "net", "sync")


def make(*args):
    subprocess.run(["make", "-s", f"-j{JOBS}", *args], cwd=ROOT, check=True)


def said(args, **env):
    """Whether it ended well, and what it printed, which is shown as well."""
    done = subprocess.run([str(a) for a in args], cwd=ROOT, env=os.environ | env, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    return done.returncode == 0, done.stdout


def closing(out):
    found = re.findall(r"^\d+ passed, \d+ failed, \d+ skipped$", out, re.M)
    return found[-1] if found else "no closing line"


def tidy():
    ok, out = said([sys.executable, "tests/run.py", "--timeout", "1800", "tests/lint/tidy.py"])
    return ok, closing(out)


def valgrind():
    """memcheck over unit tests; an error or a leak is a failure. Not fortified: it takes glibc's checked memmove for its memcpy."""
    make("O=build-valgrind", "CFLAGS=-O1 -g", "FORTIFY=", "tests")
    top = ROOT / "build-valgrind" / "unit"
    programs = [p for layer in LAYERS for p in sorted((top / layer).glob("test_*"))
                if os.access(p, os.X_OK) and p.is_file() and str(p.relative_to(top)) not in NOT_UNDER_VALGRIND]
    ok, out = said([sys.executable, "tests/run.py", "--timeout", "1800", "--jobs", JOBS, f"--prefix={VALGRIND}", *programs],
                   TEST_VALGRIND="1")
    return ok, f"{len(programs)} programs: {closing(out)}"


def fuzz_one(name, seconds):
    found = ROOT / "build-fuzz" / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([f"build-fuzz/fuzz/fuzz_{name}", f"-max_total_time={seconds}", "-print_final_stats=1",
                           f"-artifact_prefix=build-fuzz/found/{name}-", str(found), f"tests/fuzz/corpus/{name}"],
                          cwd=ROOT, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout)
    return name, done.returncode, int(runs[1]) if runs else 0, done.stdout


def fuzz():
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    names = sorted(p.stem[5:] for p in (ROOT / "tests" / "fuzz").glob("fuzz_*.c"))
    make("O=build-fuzz", "CC=clang", "CFLAGS=-O1 -g", "SAN=fuzzer-no-link,address,undefined",
         *(f"build-fuzz/fuzz/fuzz_{n}" for n in names))
    ok, figures = True, []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, code, runs, out in pool.map(lambda n: fuzz_one(n, seconds), names):
            good = code == 0 and runs > 0
            print(f"{'ok' if good else 'FAIL'} {name}: {runs} runs" + ("" if good else "\n" + out[-6000:]))
            ok, figures = ok and good, [*figures, f"{name} {runs}" + ("" if good else f" (ended with {code})")]
    return ok, f"{seconds} s each; inputs: " + ", ".join(figures)


def crash():
    """Power cuts, by tests/crash/explore, and whether it finds a careless store out."""
    make("O=build", "all", "tests")
    ok, out = said(["build/crash/explore"], CRASH_STATES=os.environ.get("CRASH_STATES", "20000"))
    counted = re.findall(r"^# (power cuts.*?: \d+ states, \d+ bad; \d+ records, \d+ batches)", out, re.M)
    caught, out = said([sys.executable, "tests/crash/test_explore_self.py"])
    careless = re.findall(r"^# (.*): (\d+) of (\d+) states are bad", out, re.M)
    said_ = "; ".join(counted + [f"{name}: {n} of {of} bad" for name, n, of in careless])
    lines = ["| store | bad states |", "|---|---|"] + [f"| ours, {c.partition(': ')[0]} | {c.partition(': ')[2]} |" for c in counted]
    return ok and caught and len(counted) == 2, said_, lines + [f"| careless: {name} | {n} of {of} |" for name, n, of in careless]


def sim():
    """Agents in virtual time, seed by seed."""
    make("O=build", "build/sim/sim")
    ok, out = said(["build/sim/sim", "--table", "--jobs", JOBS, "tests/sim/regressions", os.environ.get("SIM_SEEDS", "1-20000")])
    counted = re.search(r"^(\d+ seeds, \d+ failed.*)$", out, re.M)
    figures = counted[1] if counted else "nothing counted"
    met = ", ".join(f"{name} {n}" for name, n in re.findall(r"^  ([a-z-]+|servers \w+) +(\d+)$", out, re.M))
    return ok and bool(counted), figures, [f"{figures}.", "", f"What befell them: {met}."]


def sim_bugs():
    """The same on programs with one mistake each."""
    ok, out = said(["make", "-s", "sim-bugs"])
    found = re.findall(r"^\| ([a-z-]+) \| .*? \| (\d+|not in \d+) \|", out, re.M)
    return (ok and bool(found), "found after so many seeds: " + ", ".join(f"{name} {n}" for name, n in found),
            re.findall(r"^\|.*\|$", out, re.M))


def store_kills():
    make("O=build", "tests")
    ok, out = said(["build/unit/store/test_kill"], STORE_KILLS=os.environ.get("STORE_KILLS", "1000"))
    counted = re.search(r"^# (\d+ kills, \d+ versions acknowledged)", out, re.M)
    return ok and bool(counted), counted[1] if counted else "nothing counted"


def kills():
    """The agent itself, with a source that moves on, for each kind of target."""
    make("O=build", "all", "tests")
    ok, out = said([sys.executable, "tests/e2e/main.py", "-rP", "-k", "random_kills", "tests/e2e/test_kill.py"],
                   KILLS=os.environ.get("KILLS", "300"), STATEFERRY=str(ROOT / "build" / "stateferry"))
    rows = re.findall(r"^(\d+) kills, (\d+) changes, (\d+) acknowledged$", out, re.M)
    sums = [sum(map(int, column)) for column in zip(*rows)] or [0, 0, 0]
    return ok and bool(rows) and closing(out).startswith(f"{len(rows)} passed"), "%d kills, %d changes, %d writes acknowledged; " % tuple(sums) + closing(out)


def leases():
    """Take-overs between two agents, at every kind of target, and one after the other; and among fifty."""
    make("O=build", "all", "build/tools/provider_cli")
    ok, out = said([sys.executable, "tests/e2e/main.py", "-rP", "tests/e2e/test_lease.py", "tests/e2e/test_many_agents.py"], LEASES="all",
                   ROUNDS=os.environ.get("ROUNDS", "60"), STATEFERRY=str(ROOT / "build" / "stateferry"))
    return ok, "; ".join([*re.findall(r"^(?:local|s3) \w+: .*take-overs.*$", out, re.M), closing(out)])


def fail():
    """The nth call of a pass fails, each of them; of the allocations some."""
    make("O=build", "all")
    ok, out = said([sys.executable, "tests/e2e/main.py", "-rP", "tests/e2e/test_fail_nth.py"], FAIL="all",
                   STATEFERRY=str(ROOT / "build" / "stateferry"))
    rows_ = re.findall(r"^(\w+), (\w+), (once|for ever): (\d+) of (\d+) calls failed, (\d+) bad$", out, re.M)
    lines = ["| target | call | fails | calls that failed, of all in a pass | bad |", "|---|---|---|---|---|"]
    lines += [f"| {kind} | {call} | {ever} | {n} of {of} | {bad} |" for kind, call, ever, n, of, bad in sorted(rows_)]
    return ok and len(rows_) > 0, f"{sum(int(r[3]) for r in rows_)} calls failed, {sum(int(r[5]) for r in rows_)} bad; {closing(out)}", lines


def wire_table(cells):
    """One line for each request that changes something, one column for each fault."""
    faults = list(dict.fromkeys((c[3], c[4]) for c in cells))
    lines = ["| target | | request | " + " | ".join(f for f, _ in faults) + " |", "|---" * (3 + len(faults)) + "|",
             "| *expected* | | | " + " | ".join(f"*{expected}*" for _, expected in faults) + " |"]
    # The same request can come twice in a row, such as that which describes a lock and then forgets it.
    rows_ = [cells[i:i + len(faults)] for i in range(0, len(cells), len(faults))]
    return lines + [f"| {row[0][0]} | {row[0][1]} | `{row[0][2]}` | " + " | ".join(c[5] for c in row) + " |" for row in rows_]


def wire():
    """Each request that changes something at a target meets each fault of the network."""
    make("O=build", "all")
    with tempfile.NamedTemporaryFile("r") as f:
        ok, out = said([sys.executable, "tests/e2e/main.py", "tests/e2e/test_wire.py"], WIRE="all", WIRE_CELLS=f.name,
                       STATEFERRY=str(ROOT / "build" / "stateferry"))
        cells = [json.loads(line) for line in f]
    return ok and len(cells) > 0, f"{len(cells)} requests met a fault; {closing(out)}", wire_table(cells)


def agents():
    """Three agents that share edges, one fault in each round."""
    make("O=build", "all", "tests")
    ok, out = said([sys.executable, "tests/e2e/main.py", "-rP", "tests/e2e/test_agents.py"],
                   AGENT_ROUNDS=os.environ.get("AGENT_ROUNDS", "200"), STATEFERRY=str(ROOT / "build" / "stateferry"))
    counted = re.search(r"^\d+ rounds, .*$", out, re.M)
    taken = re.findall(r"^([a-z ]+), (\d+), ([\d.]+), ([\d.]+)$", out, re.M)
    lines = ["| fault | take-overs | p50 | max |", "|---|---|---|---|"]
    lines += [f"| `{fault}` | {n} | {p50} s | {most} s |" for fault, n, p50, most in taken]
    figures = counted[0] if counted else "nothing counted"
    return ok and bool(counted), f"{figures}; {closing(out)}", [*lines, "", figures + "."]


PARTS = {"tidy": tidy, "valgrind": valgrind, "fuzz": fuzz, "crash": crash, "sim": sim, "sim-bugs": sim_bugs,
         "store-kills": store_kills, "kills": kills, "leases": leases,
         "agents": agents, "fail": fail, "wire": wire}
SETTINGS = {"fuzz": "FUZZ_SECONDS", "crash": "CRASH_STATES", "sim": "SIM_SEEDS", "store-kills": "STORE_KILLS", "kills": "KILLS", "leases": "ROUNDS",
            "agents": "AGENT_ROUNDS", "fail": "FAIL_ALLOCS"}


def rows():
    """part -> its row, of the results that stand there."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {m[1]: line for line in lines if (m := re.match(r"\| (\S+) \| \d", line))}


def commit():
    """What is tested. Asked for before the first part: the table that it changes is no change of what is tested."""
    head = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return head.stdout.strip() or "-"


def record(part, head, ok, figures, seconds):
    setting = SETTINGS.get(part)
    given = f"{setting}={shlex.quote(os.environ[setting])} " if setting and setting in os.environ else ""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    found = rows() | {part: f"| {part} | {now} | {head} | `{given}make check-long PARTS={part}` "
                            f"| {seconds:.0f} | {'passed' if ok else 'FAILED'} | {figures} |"}
    TABLE.write_text(HEAD + "".join(found[p] + "\n" for p in PARTS if p in found))


def tell(part, head, lines):
    """Between the part's marks in tests/RELIABILITY.md."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    block = "\n".join([f"`make check-long PARTS={part}`, {now}, {head}:", "", *lines, ""])
    text, n = re.subn(rf"(<!-- {part}: [^\n]*-->\n).*?(<!-- end -->)", lambda m: f"{m[1]}\n{block}\n{m[2]}",
                      RELIABILITY.read_text(), count=1, flags=re.S)
    assert n == 1, f"{RELIABILITY} has no place for {part}"
    RELIABILITY.write_text(text)


def main():
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := [p for p in wanted if p not in PARTS]:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed, head = [], commit()
    for part in wanted:
        print(f"\n== {part}", flush=True)
        begun = datetime.datetime.now()
        try:
            ok, figures, *lines = PARTS[part]()
            if lines:
                tell(part, head, lines[0])
        except subprocess.CalledProcessError as e:
            ok, figures = False, f"did not build: {e.cmd[-1]}"
        record(part, head, ok, figures, (datetime.datetime.now() - begun).total_seconds())
        print(f"{part}: {'passed' if ok else 'FAILED'}: {figures}")
        failed += [] if ok else [part]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
