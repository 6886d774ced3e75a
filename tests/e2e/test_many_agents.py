# SPDX-License-Identifier: MIT
"""Many agents share an edge: one writes, whoever of them goes, and each version is written once. A dozen; LEASES=all takes fifty."""
import os
import re

import pytest

from agent import eventually
from hcl import Block
from states import lineage, state

COUNT = 50 if os.environ.get("LEASES") == "all" else 12
NAMES = [f"net/{n}.tfstate" for n in range(5)]
ROUNDS = 4
TTL = "4s"
LAST = 90
WRITTEN = re.compile(r"replicate out (\S+): written .*?serial=(\d+) ")
pytestmark = pytest.mark.deadline(300)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_many(agents, places, kind):
    live, dr, line = places("local"), places(kind), {n: lineage() for n in NAMES}
    fleet = [agents(f"agent-{n}") for n in range(COUNT)]

    def change(serial):
        for name in NAMES:
            live.put(name, state(serial, line[name]))

    def is_current():
        return all(dr.get(name) == live.get(name) for name in NAMES)

    def holder():
        name = next(a for a in fleet if a.process).json("lease", "ls")["leases"][0]["name"]
        return next((a for a in fleet if a.process and a.name == name), None)

    change(1)
    for agent in fleet:
        live.add(agent, "live")
        dr.add(agent, "dr")
        agent.replicate("out", "live", "dr", blocks=[Block("lease", ttl=TTL)])
        agent.start(ready=LAST)
    eventually(is_current, LAST, "all is replicated")
    for n in range(ROUNDS):
        gone = eventually(holder, LAST, "somebody holds the lease")
        change(n + 2)
        if n % 2 == 0:
            gone.kill()
        else:
            gone.stop()
        eventually(is_current, LAST, f"another one goes on after {gone.name}")
    eventually(lambda: dr.locks() == [], LAST, "no lock is left")
    for agent in fleet:
        if agent.process:
            agent.stop()
    written = [m.groups() for agent in fleet for m in WRITTEN.finditer(agent.said())]
    assert len(written) == len(set(written)), "no version was written by two"
    assert len(written) > len(NAMES), written
