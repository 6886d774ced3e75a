# SPDX-License-Identifier: MIT
"""From every kind of place to every other: odd names and workspaces, a foreign lock on each side, a damaged state, one that went
back in time, a throttled answer and an answer that is lost after the write happened."""
import pytest

from conftest import PLACES
from states import ODD_NAMES, lineage, serial_of, state

WORKSPACES = ["env:/staging/net.tfstate", "terraform.tfstate.d/dev/terraform.tfstate"]
NAMES = ODD_NAMES + WORKSPACES
HELD_HERE, HELD_THERE, DAMAGED, BACK, LOST, THROTTLED = NAMES[:6]
FOREIGN = (b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
           b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')


def equal(names, live, dr, but=()):
    return [n for n in names if n not in but and dr.get(n) != live.get(n)] == []


@pytest.mark.deadline(120)
@pytest.mark.parametrize("from_,to", [pytest.param(f, t, id=f"{f}:{t}") for f in PLACES for t in PLACES])
def test_from_each_to_each(agent, places, cell, from_, to):
    cell("from \\ to", from_, to, "ok")
    live, dr = places(from_), places(to)
    names = [n for n in NAMES if "azurerm" not in (from_, to) or "\\" not in n]     # which is "/" there
    live.add(agent, "live", **({"states": names} if from_ == "http" else {}))
    dr.add(agent, "dr", lock_timeout="2s")
    agent.replicate("out", "live", "dr")
    lines = {name: lineage() for name in names}

    def put(serial, *chosen, text="text"):
        for name in chosen or names:
            live.put(name, state(serial, lines[name], text=text))

    put(3)
    assert agent.edge(agent.sync(), "out")["written"] == len(names)
    assert equal(names, live, dr)

    put(5)
    live.put(DAMAGED, live.get(DAMAGED)[:-100])
    put(2, BACK, text="went back")
    live.lock(HELD_HERE, FOREIGN)
    dr.lock(HELD_THERE, FOREIGN)
    if dr.rules:
        dr.on_write(LOST, drop="after")
        dr.on_write(THROTTLED, nth=2 if to == "http" else 1, status=503, headers={"Retry-After": "1"}, body=b"slow down")
    doc = agent.sync(code=3)
    told = {p["state"]: p for p in doc["problems"]}
    assert set(told) == {HELD_THERE, DAMAGED, BACK}, told
    assert "ann@desk" in told[HELD_THERE]["message"]
    kept = [HELD_THERE, DAMAGED, BACK]
    assert equal(names, live, dr, kept) and [serial_of(dr.get(n)) for n in kept] == [3, 3, 3]
    assert len(dr.locks()) == 1

    live.unlock(HELD_HERE)
    dr.unlock(HELD_THERE)
    put(6, DAMAGED, BACK)
    edge = agent.edge(agent.sync(), "out")
    assert (edge["written"], edge["held"], edge["failed"]) == (3, 0, 0)
    assert equal(names, live, dr)
    assert list(dr.locks()) == [] and list(live.locks()) == []
    assert agent.json("locks")["locks"] == []
    for name in names:
        assert dr.serials(name) == sorted(dr.serials(name)), name
    edge = agent.edge(agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"]) == (0, 0, len(names))
    assert agent.json("check")["ok"]
