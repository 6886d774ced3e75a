# SPDX-License-Identifier: MIT
"""Three agents share three edges, and one of them dies, hangs, is cut off, has no room: fleet.py. AGENT_ROUNDS rounds (4), one fault each;
check-long runs 200. AGENT_SEED repeats a run."""
import os
import random

import pytest

from conftest import SmallDisk, need
from fleet import CLOCK_OFF, FAULTS, TTL, Fleet

ROUNDS = int(os.environ.get("AGENT_ROUNDS", "4"))


@pytest.mark.deadline(120 + 25 * TTL * ROUNDS)
def test_agents_share_the_work(agents, workdir, preload):
    seed = int(os.environ.get("AGENT_SEED") or random.randrange(2**32))
    disk = need("a private mount", lambda: SmallDisk(workdir / "disk", "64m" if ROUNDS < 20 else "512m"))
    off = preload("shift_clock") | {"SHIFT_CLOCK": str(CLOCK_OFF)}
    fleet = need("a server", lambda: Fleet(workdir, agents, disk, off, seed))
    print(f"seed {seed}")
    try:
        for m in fleet.members:
            m.agent.start()
        faults = []
        for n in range(ROUNDS):
            faults = faults or fleet.rng.sample(FAULTS, len(FAULTS))
            fleet.round(faults.pop())
        fleet.last()
        print("\n".join(fleet.table()))
        print(f"{ROUNDS} rounds, {fleet.changes} changes, {fleet.versions} versions at the targets, {fleet.refused} writes refused by their "
              f"condition, ttl {TTL:g} s")
    finally:
        fleet.end()
        disk.end()
