# SPDX-License-Identifier: MIT
"""The C benches of scanner and store, and the size of the program."""
import shutil

import measure
from table import at_least, at_most
from world import BUILD, find

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
# What the scan tells, asked of jq.
JQ_FACTS = "[.version, .serial, .lineage, .terraform_version, (.resources | length), ([.resources[].instances | length] | add)]"


def c_rows(table, name, *args):
    """A C bench prints rows of "name TAB value TAB unit"; their values by name."""
    out = measure.run([BUILD / "bench" / name, *args]).out.decode()
    rows = {}
    for line in out.splitlines():
        cells = line.split("\t")
        if len(cells) != 3:
            continue
        what, value, unit = cells
        rows[what] = float(value)
        budget = None
        if (what, unit) in AT_LEAST:
            budget = at_least(float(value), *AT_LEAST[what, unit])
        elif (what, unit) in AT_MOST:
            budget = at_most(float(value), *AT_MOST[what, unit])
        table.row(what.replace("_", " "), f"{value} {unit}", budget=budget)
    return rows


def jq(table, state, scan):
    """The same facts of the same bytes, by the tool that people would take."""
    program, why = find("jq")
    if not program:
        table.row("jq over the same state", "not measured", why)
        return
    cost = measure.run([program, "-c", JQ_FACTS, state])
    rate = state.stat().st_size / 1e6 / cost.wall
    table.row("jq over the same state", f"{rate:.0f} MB/s", f"the scan is {scan / rate:.0f} × as fast; jq took {cost.rss_mb:.0f} MB of memory")


def binary(world, table):
    stripped = world.folder() / "stateferry"
    shutil.copy(world.binary, stripped)
    measure.run(["strip", stripped])
    n = stripped.stat().st_size
    table.row("stripped binary", f"{n:,} bytes", budget=at_most(n, BINARY_MAX, "1 MB"))


def measure_all(world, table, quick):
    table.section("Scanner, store, size", "In one process, without network: `bench_scan` and `bench_store`, a state of 50 MB, histories of one state.")
    state = world.folder() / "large.tfstate"
    rows = c_rows(table, "bench_scan", state)
    jq(table, state, rows["scan alone"])
    state.unlink()
    c_rows(table, "bench_store", *(["commits"] if quick else []))
    binary(world, table)
