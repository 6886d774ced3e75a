# SPDX-License-Identifier: MIT
"""Failover is `from` and `to` swapped: nothing is copied that both sides have, and terraform goes on over there."""
import pytest

from agent import eventually
from states import lineage, lineage_of, serial_of, state

NAME = "net/prod.tfstate"


def edge(agent, from_, to):
    agent.forget("replicate", "out")
    agent.replicate("out", from_, to)


@pytest.mark.parametrize("kind", ["http", "local", "s3"])
def test_over_and_back(agent, places, terraform, kind):
    a, b = places("s3"), places(kind)
    tf = terraform("tf", a.terraform(NAME))
    tf.init()
    a.add(agent, "a")
    b.add(agent, "b", **({"states": [NAME]} if kind == "http" else {}))
    edge(agent, "a", "b")
    tf.apply(items=2)
    agent.sync()
    before = a.get(NAME)
    edge(agent, "b", "a")
    doc = agent.sync()
    assert agent.edge(doc, "out")["written"] == 0 and agent.edge(doc, "out")["held"] == 0
    tf.point_at(b.terraform(NAME))
    tf.init("-reconfigure")
    assert tf.unchanged()
    tf.apply(items=3)
    tf.apply(items=4)
    agent.sync()
    assert a.get(NAME) == b.get(NAME) and b.get(NAME) != before
    edge(agent, "a", "b")
    assert agent.edge(agent.sync(), "out")["written"] == 0
    tf.point_at(a.terraform(NAME))
    tf.init("-reconfigure")
    there = serial_of(a.get(NAME))
    tf.apply(items=5)
    agent.sync()
    assert a.get(NAME) == b.get(NAME) and serial_of(b.get(NAME)) == there + 1
    assert a.locks() == b.locks() == []


def test_over_by_a_reload(agent, places, terraform):
    a, b = places("s3"), places("local")
    tf = terraform("tf", a.terraform(NAME))
    tf.init()
    a.add(agent, "a")
    b.add(agent, "b")
    edge(agent, "a", "b")
    tf.apply()
    agent.start()
    eventually(lambda: b.get(NAME) == a.get(NAME))
    before = len(a.writes(NAME))
    edge(agent, "b", "a")
    agent.reload()
    tf.point_at(b.terraform(NAME))
    tf.init("-reconfigure")
    tf.apply(text="over there")
    eventually(lambda: a.get(NAME) == b.get(NAME) and serial_of(a.get(NAME)) > 1)
    assert len(a.writes(NAME)) > before
    agent.stop()


def test_a_bad_configuration_does_not_replace_a_good_one(agent, places):
    a, b = places("local"), places("local")
    a.add(agent, "a")
    b.add(agent, "b")
    edge(agent, "a", "b")
    agent.start()
    edge(agent, "a", "nowhere")
    agent.reload()
    eventually(lambda: "nowhere" in agent.said())
    edge(agent, "a", "b")
    a.put(NAME, state(1, lineage()))
    eventually(lambda: b.get(NAME) == a.get(NAME), what="the old configuration still works")
    agent.stop()


@pytest.mark.parametrize("kind", ["azurerm", "s3"])
def test_a_key_and_its_workspaces_over_a_bucket_and_back(agent, places, terraform, kind):
    """What a key names is what it was once the edge is turned round: nothing is written under another name."""
    a, b = places(kind), places("gcs")
    tf = terraform("tf", a.terraform(NAME), env=getattr(a, "env", None))
    tf.init()
    tf.apply(items=2)
    tf.call("workspace", "new", "dev")
    tf.apply(items=1)
    a.add(agent, "a", key=NAME)
    b.add(agent, "b")
    edge(agent, "a", "b")
    assert agent.edge(agent.sync(), "out")["written"] == 2
    advice = agent.json("config", "check")["advice"]
    assert ["not as default" in o["message"] and 'prefix = "net/prod"' in o["hint"] for o in advice] == [True]
    names = set(agent.states("a"))
    edge(agent, "b", "a")
    done = agent.edge(agent.sync(), "out")
    assert (done["written"], done["unchanged"], done["held"]) == (0, 2, 0)
    copy = next(name for name in agent.states("b") if "dev" in name)
    b.put(copy, state(9, lineage_of(b.get(copy)), text="over there"))
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert tf.pull()["serial"] == 9 and {n["name"] for n in agent.json("list", "a")["states"]} == names


def test_workspaces_of_a_bucket_by_the_advice(agent, places, terraform):
    """The recipe that config check gives: terraform goes on in every workspace over there."""
    a, b = places("azurerm"), places("gcs")
    tf = terraform("tf", a.terraform(NAME), env=a.env)
    tf.init()
    tf.apply(items=2)
    tf.call("workspace", "new", "dev")
    tf.apply(items=3)
    a.add(agent, "a", key=NAME)
    b.add(agent, "b", prefix="net/prod")
    agent.replicate("out", "a", "b", key="{workspace}.tfstate")
    agent.sync()
    assert agent.json("config", "check")["advice"] == []
    tf.point_at(b.terraform("net/prod/default.tfstate"))
    tf.init("-reconfigure")
    assert tf.unchanged()
    tf.call("workspace", "select", "default")
    tf.apply(items=2)
    assert tf.unchanged()
    edge(agent, "b", "a")
    done = agent.edge(agent.sync(), "out")
    assert (done["written"], done["held"]) == (0, 0), done
