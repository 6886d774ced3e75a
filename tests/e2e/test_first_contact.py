# SPDX-License-Identifier: MIT
"""A target that already holds something: equal is adopted, older is kept and replaced, the rest waits for a person.
The same rules meet whoever changes a replica behind our back."""
import hashlib
import json

import pytest

from agent import eventually
from conftest import KINDS
from states import lineage, state

NAME = "net/prod.tfstate"
LINE = lineage()
HEAD = state(5, LINE, resources=6)

REPLACED = {
    "older": state(3, LINE, resources=6),
    "older by one and larger": state(4, LINE, resources=20),
    "nothing in it": state(1, lineage(), resources=0, outputs={}),
}
HELD = {
    "newer": state(9, LINE, resources=6),
    "forked": state(5, LINE, resources=6, text="other"),
    "unrelated": state(2, lineage(), resources=6),
    "unrelated with only outputs": state(2, lineage(), resources=0),
    "html": b"<html>no</html>",
    "truncated": HEAD[:300],
}


@pytest.fixture
def setup(agent, places):
    def make(kind):
        live, dr = places("local"), places(kind)
        live.add(agent, "live")
        dr.add(agent, "dr")
        agent.replicate("out", "live", "dr")
        live.put(NAME, HEAD)
        return live, dr
    return make


def kept(agent, body):
    """Whether the store has these bytes as a version of some state."""
    digest = hashlib.sha256(body).hexdigest()
    for backend, name in [(s["backend"], s["name"]) for s in agent.json("list")["states"]]:
        for v in agent.versions(f"{backend}:{name}"):
            if v["sha256"] == digest:
                return agent.cat(f"{backend}:{name}@{v['version']}") == body
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_equal_is_adopted(agent, setup, kind):
    _, dr = setup(kind)
    if kind == "s3":        # as `aws s3 cp` and rclone leave it
        dr.bucket.put(NAME, HEAD, content_type="application/octet-stream", x_amz_meta_mtime="1764000000.0")
    else:
        dr.put(NAME, HEAD)
    edge = agent.edge(agent.sync(), "out")
    assert (edge["written"], edge["unchanged"], edge["held"]) == (0, 1, 0)
    assert agent.replica("live", NAME, "dr")["status"] == "current"
    assert dr.writes(NAME) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", REPLACED)
def test_older_is_kept_then_replaced(agent, setup, kind, what):
    _, dr = setup(kind)
    dr.put(NAME, REPLACED[what])
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert dr.get(NAME) == HEAD
    assert kept(agent, REPLACED[what])
    assert dr.locks() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", HELD)
def test_everything_else_is_held_until_resolved(agent, setup, kind, what):
    _, dr = setup(kind)
    dr.put(NAME, HELD[what])
    doc = agent.sync(code=13)
    problem = agent.problem(doc, NAME)
    assert problem["code"] == 13 and "resolve" in problem["hint"]
    if what not in ("html", "truncated"):
        assert kept(agent, HELD[what]), "whoever decides can see it"
    assert dr.get(NAME) == HELD[what] and dr.writes(NAME) == []
    assert agent.replica("live", NAME, "dr")["status"] == "held"
    assert agent.json("status", code=3)["replicas"]["held"] == 1
    agent.sync(code=13)
    asked = agent.call("resolve", "out", NAME, "--overwrite", code=2)
    assert "--yes" in asked.err and dr.get(NAME) == HELD[what]
    agent.call("resolve", "out", NAME, "--overwrite", "--yes")
    agent.sync()
    assert dr.get(NAME) == HEAD and dr.locks() == []
    assert kept(agent, HELD[what])


def test_same_meaning_in_other_bytes_is_left(agent, setup):
    _, dr = setup("http")
    compact = json.dumps(json.loads(HEAD), separators=(",", ":")).encode()
    dr.put(NAME, compact)
    assert agent.edge(agent.sync(), "out")["written"] == 0
    replica = agent.replica("live", NAME, "dr")
    assert replica["status"] == "current" and "reencoded" in replica["flags"]
    assert dr.get(NAME) == compact


@pytest.mark.parametrize("kind", KINDS)
def test_dry_run_says_and_does_nothing(agent, setup, kind):
    _, dr = setup(kind)
    dr.put(NAME, REPLACED["older"])
    doc = agent.sync("--dry-run")
    assert agent.edge(doc, "out")["written"] == 1
    assert dr.get(NAME) == REPLACED["older"] and dr.writes(NAME) == [] and dr.locks() == []
    agent.sync()
    assert dr.get(NAME) == HEAD


@pytest.mark.parametrize("kind", KINDS)
def test_drift_is_seen_and_judged(agent, setup, kind):
    _, dr = setup(kind)
    agent.sync()
    dr.put(NAME, REPLACED["older"])
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert dr.get(NAME) == HEAD and kept(agent, REPLACED["older"])
    dr.delete(NAME)
    agent.sync()
    assert dr.get(NAME) == HEAD
    dr.put(NAME, HELD["unrelated"])
    agent.sync(code=13)
    assert dr.get(NAME) == HELD["unrelated"]
    assert agent.replica("live", NAME, "dr")["status"] == "held"
    dr.put(NAME, HEAD)
    agent.sync()
    assert agent.replica("live", NAME, "dr")["status"] == "current"


def test_terraform_on_the_replica_is_newer_and_held(agent, setup, terraform):
    """Somebody applied against the replica: that is the newest truth now, and nothing may overwrite it."""
    live, dr = setup("s3")
    agent.sync()
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    tf.apply(text="on the replica")
    theirs = dr.get(NAME)
    live.put(NAME, state(6, LINE, resources=7))
    agent.start()
    agent.replica_is("held", "live", NAME, "dr")
    agent.stop()
    assert dr.get(NAME) == theirs
    agent.call("resolve", "out", NAME, "--overwrite", "--yes")
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and kept(agent, theirs)


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_running_agent_repairs_a_replica(agent, setup, kind):
    _, dr = setup(kind)
    agent.start()
    eventually(lambda: dr.get(NAME) == HEAD)
    dr.put(NAME, REPLACED["older"])
    eventually(lambda: dr.get(NAME) == HEAD)
    dr.delete(NAME)
    eventually(lambda: dr.get(NAME) == HEAD)
    dr.put(NAME, HELD["unrelated"])
    agent.replica_is("held", "live", NAME, "dr")
    assert agent.status()["verdict"] == "behind" and dr.get(NAME) == HELD["unrelated"]
    dr.put(NAME, HEAD)
    agent.replica_is("current", "live", NAME, "dr")
    agent.stop()
