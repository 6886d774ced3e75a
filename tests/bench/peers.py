#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures stateferry beside its peers in one run, against one real S3 server on loopback, and writes RESULTS.md.

    peers.py [--quick] [--only WORD] [--out FILE]

The program and the C benches are those of $O (make bench builds them). --quick: 1,000 states and fewer rounds, and prints only;
--only: the topics whose name contains WORD, prints only. No figure here fails anything: a budget that is missed is marked."""
import argparse
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import measure
import topic_c
import topic_history
import topic_latency
import topic_memory
from table import Table
from topic_pass import Scale
from world import ROOT, World, find

HERE = pathlib.Path(__file__).resolve().parent


def passes(world, table, quick):
    for count in (1000,) if quick else (1000, 10000):
        scale = Scale(world, table, count)
        scale.first()
        scale.unchanged()
        topic_memory.idle(world, table, scale)
    if count == 10000 or quick:
        topic_memory.start(world, table, scale)


TOPICS = {
    "pass": passes,
    "latency": topic_latency.measure_all,
    "large": topic_memory.large,
    "history": topic_history.measure_all,
    "c": topic_c.measure_all,
}


def version(program, *args):
    path, why = find(program)
    if not path:
        return f"{program}: {why}"
    out = subprocess.run([path, *args], capture_output=True, text=True).stdout
    return f"{program} {(re.search(r'v?[0-9]+[.][-0-9.A-Za-z]+', out) or ['?'])[0]}"


def head(seconds, load, missed):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    peers = ", ".join([version("rclone", "version"), version("mc", "--version"), version("restic", "version"),
                       "versitygw 1.8.0 as the server"])
    return "\n".join([
        "# Measured", "",
        "By `make bench`, in one run; `tests/bench/peers.py` wrote this page. No test depends on a figure here.", "",
        f"* {platform.machine()}, {os.cpu_count()} cores ({cpu[1] if cpu else 'unknown'}), Linux {platform.release()}, "
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}; load of the machine before the run {load:.1f}, the run took {seconds / 60:.0f} minutes",
        f"* stateferry at {commit}, mbedTLS build; {peers}; server and clients share the cores",
        f"* budgets missed: {len(missed)}" + "".join(f"\n  * {r.what}: {r.figure} ({r.budget})" for r in missed), ""])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--only", default="")
    ap.add_argument("--out", default=str(HERE / "RESULTS.md"))
    args = ap.parse_args()
    table, load, begun, broken = Table(), os.getloadavg()[0], time.monotonic(), 0
    for name, topic in TOPICS.items():
        if args.only not in name:
            continue
        try:
            with World() as world:
                topic(world, table, args.quick)
        except (measure.Failed, AssertionError, RuntimeError, OSError) as e:
            broken += 1
            table.row(f"topic {name}", "broke off", str(e).replace("\n", " ")[:300])
    if args.quick or args.only:
        print("nothing written: a full run writes", args.out)
    else:
        text = table.markdown(head(time.monotonic() - begun, load, table.missed()))
        pathlib.Path(args.out).write_text(text.rstrip() + "\n")
        print("written:", args.out)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
