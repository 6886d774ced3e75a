# SPDX-License-Identifier: MIT
"""How much a place is asked, counted on the wire: what README.md says is what it takes, and never more."""
import pathlib
import re

import pytest

from conftest import PLACES, PLATFORMS
from hcl import Block
from states import lineage, state

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
NAMES = [f"net/{n}.tfstate" for n in range(6)]
COSTS = ["each pass", "read", "written", "new"]


def promised():
    """kind -> {cost: requests}, from the table in README.md."""
    table = {}
    rows = README.read_text().partition("| requests |")[2].partition("\n\n")[0].splitlines()[2:]
    for row in rows:
        kind, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        kind = "s3-table" if "dynamodb_table" in kind else "gitlab" if "GitLab" in kind else kind.split(",")[0].strip("`")
        table[kind] = {cost: sum(int(re.match(r"\d+", n)[0]) * (len(NAMES) if "each state" in n else 1) for n in cell.split(" and "))
                       for cost, cell in zip(COSTS, cells)}
    return table


PROMISED = promised()


class Counted:
    """A place, what its backend needs more to be counted, and its requests."""

    def __init__(self, place, proxy):
        self.place, self.more = place, {}
        self.fronts = [place.front]
        if place.kind == "remote":
            place.server.limit = 0          # what is refused for the rate is asked again
        if place.kind == "s3-table":
            self.fronts.append(proxy(place.dynamo))
            self.more = {"endpoints": {kind: f"http://127.0.0.1:{front.port}" for kind, front in zip(("s3", "dynamodb"), self.fronts)}}
        self.before = 0

    def asked(self):
        """How much since this was called last."""
        before, self.before = self.before, sum(len(front.requests()) for front in self.fronts)
        return self.before - before


def there(kind, name):
    """On a platform a word, without folder and end."""
    return pathlib.Path(name).stem if kind in PLATFORMS else name


def tell(cell, kind, **costs):
    for cost, n in costs.items():
        cost = cost.replace("_", " ")
        cell("requests", kind, cost, str(n))
        assert n == PROMISED[kind][cost], cost


def test_every_place_is_in_the_table():
    assert sorted(PROMISED) == sorted(kind for kind in [*PLACES, *PLATFORMS] if kind != "local")


@pytest.mark.parametrize("kind", PROMISED)
def test_as_source(agent, places, proxy, cell, kind):
    live, folder = Counted(places(kind), proxy), places("local")
    live.place.add(agent, "live", **live.more, **({"states": NAMES} if kind == "http" else {}))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    names, line = [there(kind, name) for name in NAMES], lineage()
    for name in names:
        live.place.put(name, state(1, line if name == names[0] else lineage()))
    agent.sync()
    live.asked()
    agent.sync()
    idle = live.asked()
    live.place.put(names[0], state(2, line))
    agent.sync()
    tell(cell, kind, each_pass=idle, read=live.asked() - idle)
    assert folder.get(names[0] if kind not in PLATFORMS else f"{names[0]}.tfstate") == live.place.get(names[0])


@pytest.mark.parametrize("kind", PROMISED)
def test_as_target(agent, places, proxy, cell, kind):
    live, dr = places("local"), Counted(places(kind), proxy)
    new = "net/new.tfstate"
    live.add(agent, "live", blocks=[Block("state", name, alias=there(kind, name)) for name in [*NAMES, new]])
    dr.place.add(agent, "dr", **dr.more)
    if kind in PLATFORMS:
        dr.place.prepare(*(there(kind, name) for name in [*NAMES, new]))
    agent.replicate("out", "live", "dr", key="{alias}")
    line = lineage()
    for name in NAMES:
        live.put(name, state(1, line if name == NAMES[0] else lineage()))
    agent.sync()
    dr.asked()
    agent.sync()
    idle = dr.asked()
    live.put(NAMES[0], state(2, line))
    agent.sync()
    written = dr.asked() - idle
    live.put(new, state(1, lineage()))
    agent.sync()
    tell(cell, kind, each_pass=idle, written=written, new=dr.asked() - idle)
    assert dr.place.get(there(kind, new)) == live.get(new) and list(dr.place.locks()) == []
