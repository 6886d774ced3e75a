# SPDX-License-Identifier: MIT
"""From every kind of place to every other: odd names and workspaces, a foreign lock on each side, a damaged state, one that went
back in time, a throttled answer and an answer that is lost after the write happened. A folder gives no answers that could be throttled or
lost, hence its column "ok (files)": what a write there meets instead (a full disk, a kill between two calls) is in test_local.py and test_kill.py."""
import pytest

from conftest import BARE, BRAINBOARD, PLACES, PLATFORMS
from states import ODD_NAMES, lineage, serial_of, state

WORKSPACES = ["env:/staging/net.tfstate", "terraform.tfstate.d/dev/terraform.tfstate"]
NAMES = ODD_NAMES + WORKSPACES
FOREIGN = (b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
           b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')


@pytest.mark.deadline(120)
@pytest.mark.parametrize("from_,to", [pytest.param(f, t, id=f"{f}:{t}") for f in PLACES for t in PLACES])
def test_from_each_to_each(agent, places, cell, from_, to):
    names = [n for n in NAMES if "azurerm" not in (from_, to) or "\\" not in n]     # which is "/" there
    replicate(agent, places, cell, from_, to, names)


KEEPS = ["remote", "harness"]
SLOW_DOWN = dict.fromkeys(["s3", "s3-table", "brainboard-s3"], b"<Error><Code>SlowDown</Code></Error>")
WORDS = ["held_here", "held_there", "damaged", "back", "lost", "throttled", "web", "vpc-2"]
BESIDE = [(f, t) for f in PLATFORMS for t in [*PLACES, *PLATFORMS]] + [(f, t) for f in PLACES for t in PLATFORMS]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("from_,to", [pytest.param(f, t, id=f"{f}:{t}") for f, t in BESIDE])
def test_from_and_to_platforms(agent, places, cell, from_, to):
    replicate(agent, places, cell, from_, to, WORDS, key="{path}")


UUIDS = [f"9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e{n:02x}" for n in range(8)]
ASIDE = [(f, t) for f in BRAINBOARD for t in [*PLACES, *PLATFORMS, *BRAINBOARD]] + [(f, t) for f in [*PLACES, *PLATFORMS] for t in BRAINBOARD]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("from_,to", [pytest.param(f, t, id=f"{f}:{t}") for f, t in ASIDE])
def test_from_and_to_brainboard(agent, places, cell, from_, to):
    replicate(agent, places, cell, from_, to, UUIDS)


class Names:
    """What names are at a place: those of platforms, of Brainboard and of http need no end."""

    def __init__(self, place, words):
        self.place, self.ends = place, "" if "." not in words[0] and place.kind in [*BARE, *BRAINBOARD] else ".tfstate"

    def __call__(self, name):
        return name if name.endswith(".tfstate") else name + self.ends


def replicate(agent, places, cell, from_, to, names, **more):
    live, dr = places(from_), places(to)
    cell("from \\ to", from_, to, "ok" if dr.rules else "ok (files)")
    here, there = Names(live, names), Names(dr, names)
    held_here, held_there, damaged, back, lost, throttled = names[:6]
    if to in [*PLATFORMS, *BRAINBOARD]:
        dr.prepare(*names)
    live.add(agent, "live", **({"states": [here(n) for n in names]} if from_ == "http" else {}))
    dr.add(agent, "dr", lock_timeout="2s")
    agent.replicate("out", "live", "dr", **more)
    lines = {name: lineage() for name in names}

    def put(serial, *chosen, text="text"):
        for name in chosen or names:
            live.put(here(name), state(serial, lines[name], text=text))

    def equal(*but):
        return [n for n in names if n not in but and dr.get(there(n)) != live.get(here(n))] == []

    put(3)
    assert agent.edge(agent.sync(), "out")["written"] == len(names)
    assert equal()

    put(5)
    live.put(here(damaged), live.get(here(damaged))[:-100])
    put(2, back, text="went back")
    live.lock(here(held_here), FOREIGN)
    dr.lock(there(held_there), FOREIGN)
    if dr.rules:
        dr.on_write(there(lost), drop="after")
        dr.on_write(there(throttled), nth=2 if to == "http" else 1, status=503, headers={"Retry-After": "1"}, body=SLOW_DOWN.get(to, b"slow down"))
    doc = agent.sync(code=3)
    told = {p["state"]: p for p in doc["problems"]}
    kept = [held_there, damaged, back]
    assert set(told) == {here(n) for n in kept}, told
    assert ("locked" if to in PLATFORMS else "ann@desk") in told[here(held_there)]["message"]
    good = 5 if from_ in KEEPS else 3       # the newest that was there: it travels, if it can be read
    assert equal(*kept) and [serial_of(dr.get(there(n))) for n in kept] == [3, good, good]
    assert len(dr.locks()) == 1

    live.unlock(here(held_here))
    dr.unlock(there(held_there))
    put(6, damaged, back)
    edge = agent.edge(agent.sync(), "out")
    assert (edge["written"], edge["held"], edge["failed"]) == (3, 0, 0)
    assert equal()
    assert list(dr.locks()) == [] and list(live.locks()) == []
    assert agent.json("locks")["locks"] == []
    for name in names:
        assert dr.serials(there(name)) == sorted(dr.serials(there(name))), name
    edge = agent.edge(agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"]) == (0, 0, len(names))
    assert agent.json("check")["ok"]
