# SPDX-License-Identifier: MIT
"""The C benches of scanner and store, and the size of the program."""
import shutil

import measure
from table import at_least, at_most
from world import BUILD

# (row, unit) of a C bench -> limit and how it is said.
AT_LEAST = {("scan alone", "MB/s"): (450, "450 MB/s"), ("one pass as a share of the hash alone", "%"): (60, "60 %")}
AT_MOST = {
    ("store_frames_50k_100_versions", "percent of raw"): (1, "1 % of raw"),
    ("store_frames_50k_1000_versions", "percent of raw"): (1, "1 % of raw"),
    ("store_frames_50k_10000_versions", "percent of raw"): (1, "1 % of raw"),
    ("store_file_50k_10000_versions", "percent of raw"): (2, "2 % of raw"),
    ("store_read_any_50k_of_10000", "ms, mean of 200"): (5, "5 ms"),
    ("store_read_any_50k_of_10000", "ms, worst of 200"): (5, "5 ms"),
    ("store_put_100mb_peak", "MB anonymous"): (16, "16 MB"),
    ("store_load_100mb_peak", "MB anonymous"): (16, "16 MB"),
    ("store_open_10000_states", "ms"): (30, "30 ms (whole start)"),
}
BINARY_MAX = 1_000_000


def c_rows(table, name, *args):
    """A C bench prints rows of "name TAB value TAB unit"."""
    out = measure.run([BUILD / "bench" / name, *args]).out.decode()
    for line in out.splitlines():
        cells = line.split("\t")
        if len(cells) != 3:
            continue
        what, value, unit = cells
        budget = None
        if (what, unit) in AT_LEAST:
            budget = at_least(float(value), *AT_LEAST[what, unit])
        elif (what, unit) in AT_MOST:
            budget = at_most(float(value), *AT_MOST[what, unit])
        table.row(what.replace("_", " "), f"{value} {unit}", budget=budget)


def binary(world, table):
    stripped = world.folder() / "stateferry"
    shutil.copy(world.binary, stripped)
    measure.run(["strip", stripped])
    n = stripped.stat().st_size
    table.row("stripped binary", f"{n:,} bytes", budget=at_most(n, BINARY_MAX, "1 MB"))


def measure_all(world, table, quick):
    table.section("Scanner, store, size", "In one process, without network: `bench_scan` and `bench_store`, a state of 50 MB, histories of one state.")
    c_rows(table, "bench_scan")
    c_rows(table, "bench_store", *(["commits"] if quick else []))
    binary(world, table)
