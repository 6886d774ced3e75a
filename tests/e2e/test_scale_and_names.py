# SPDX-License-Identifier: MIT
"""Many states, a big state, and names that break careless programs."""
import os
import shutil
import threading

import pytest

from agent import SLOW
from conftest import KINDS
from servers import Ministack, Moto
from states import ODD_NAMES, lineage, lineage_of, padded, state

MOVE_MEMORY = 64 << 20      # private memory, stacks included: a body of 100 MB never lies there whole


def fill(bucket, names, body, threads=4):
    """Puts the same body under many names, quickly."""
    def work(share):
        client = bucket.server.client()
        for name in share:
            client.put(bucket.name, name, body)
    running = [threading.Thread(target=work, args=(names[i::threads],)) for i in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()


@pytest.mark.deadline(150)
def test_ten_thousand_states(agent, places):
    live, folder = places("s3"), places("local")
    names = [f"team-{i % 97}/app-{i}.tfstate" for i in range(10_000)]
    body = state(1, lineage(), resources=1)
    fill(live.bucket, names, body)
    agent.backend("s3", "live", live.bucket.backend(port=live.front.port), read_only=True)
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    edge = agent.edge(agent.sync(timeout=100), "out")
    assert (edge["seen"], edge["written"], edge["held"], edge["failed"]) == (10_000, 10_000, 0, 0)
    assert all(folder.get(name) == body for name in names)
    before = len(live.front.requests())
    edge = agent.edge(agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"]) == (0, 0, 10_000)
    asked = len(live.front.requests()) - before
    assert asked <= 20, f"{asked} requests for a pass without a change"
    live.put(names[1234], state(2, lineage(), resources=0, outputs={}))
    live.put(names[4321], (newer := state(2, lineage_of(body), resources=1)))
    agent.sync(code=3)
    assert folder.get(names[4321]) == newer and folder.get(names[1234]) == body
    assert agent.json("status", code=3)["replicas"].items() >= {"current": 9_999, "behind": 0, "held": 1, "failed": 0}.items()
    assert agent.json("check")["ok"]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("from_,to", [("local", "s3"), ("s3", "http"), ("http", "local")])
def test_a_state_of_100_mb(agent, places, from_, to):
    live, dr = places(from_), places(to)
    line = lineage()
    live.add(agent, "live", **({"states": ["big.tfstate"]} if from_ == "http" else {}))
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    body = padded(1, line, 100 << 20)
    live.put("big.tfstate", body)
    if SLOW == 1 and shutil.which("prlimit"):           # sanitizers need memory of their own
        agent.prefix = ["prlimit", f"--data={MOVE_MEMORY}"]
    agent.sync(timeout=60)
    agent.prefix = []
    assert dr.get("big.tfstate") == body and dr.locks() == []
    assert agent.cat("live:big.tfstate") == body


def test_too_big_a_state_is_one_clear_problem(agent, places):
    live, dr = places("s3"), places("local")
    live.add(agent, "live", max_state_size="1MiB")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    live.put("big.tfstate", padded(1, lineage(), 2 << 20))
    live.put("small.tfstate", state(1, lineage()))
    doc = agent.sync(code=3)
    assert "max_state_size" in agent.problem(doc, "big.tfstate")["message"]
    assert dr.get("big.tfstate") is None and dr.get("small.tfstate") == live.get("small.tfstate")


@pytest.mark.parametrize("from_,to", [("s3", "local"), ("local", "s3"), ("s3", "http"), ("http", "s3"),
                                      ("local", "local")])
def test_names(agent, places, from_, to):
    live, dr = places(from_), places(to)
    live.add(agent, "live", **({"states": ODD_NAMES} if from_ == "http" else {}))
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    bodies = {name: state(1, lineage(), text=f"{i}") for i, name in enumerate(ODD_NAMES)}
    for name, body in bodies.items():
        live.put(name, body)
    assert agent.edge(agent.sync(), "out")["written"] == len(ODD_NAMES)
    for name, body in bodies.items():
        assert dr.get(name) == body, name
        assert agent.cat(f"live:{name}") == body, name
    assert set(agent.states("live")) == set(ODD_NAMES)
    assert dr.locks() == []


@pytest.mark.parametrize("cls", [Ministack, Moto])
def test_names_that_cannot_be_used_are_said(agent, places, cls):
    live, folder = places("s3", cls=cls), places("local")
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    live.put("good.tfstate", state(1, lineage()))
    live.put("up/../../outside.tfstate", state(1, lineage()))
    live.put("empty//segment.tfstate", state(1, lineage()))
    if "up/../../outside.tfstate" not in live.bucket.keys():
        pytest.skip(f"{cls.name} is missing: keys with .. in them")
    doc = agent.sync(code=3)
    assert "up/../../outside.tfstate" in [p["state"] for p in doc["problems"]]
    assert folder.get("good.tfstate") == live.get("good.tfstate")
    assert not (folder.folder.parent / "outside.tfstate").exists()
    assert "good.tfstate" in agent.states("live")


def test_what_is_never_a_state(agent, places):
    live, folder = places("local"), places("local")
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    body = state(1, lineage())
    for name in (".terraform/terraform.tfstate", "a/.terraform/terraform.tfstate", "errored.tfstate",
                 ".terragrunt-cache/x/y.tfstate", "a/terraform.tfstate.backup", "a/.terraform.tfstate.lock.info",
                 "notes.txt"):
        live.put(name, body)
    live.put("a/terraform.tfstate", body)
    agent.sync()
    assert set(agent.states("live")) == {"a/terraform.tfstate"}
    assert [str(p.relative_to(folder.folder)) for p in folder.folder.rglob("*") if p.is_file()] == \
        ["a/terraform.tfstate"]


@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[2:])
def test_include_and_exclude(agent, places, kind):
    live, folder = places(kind), places("local")
    live.add(agent, "live", include=["prod/**"], exclude=["**/scratch.tfstate"])
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder", exclude=["prod/secret/*"])
    for name in ("prod/a.tfstate", "prod/x/b.tfstate", "prod/x/scratch.tfstate", "dev/c.tfstate",
                 "prod/secret/d.tfstate"):
        live.put(name, state(1, lineage()))
    agent.sync()
    assert set(agent.states("live")) == {"prod/a.tfstate", "prod/x/b.tfstate", "prod/secret/d.tfstate"}
    assert folder.get("prod/a.tfstate") and folder.get("prod/x/b.tfstate")
    assert folder.get("prod/secret/d.tfstate") is None and folder.get("dev/c.tfstate") is None


def test_two_names_of_one_file(agent, places):
    """A folder has "a//b" and "a/b" in one place: the one is held with the next step, the other is as it was."""
    live, folder = places("s3", cls=Ministack), places("local")
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    body = state(1, lineage())
    live.put("empty/segment.tfstate", body)
    live.put("empty//segment.tfstate", state(7, lineage()))
    problem = agent.problem(agent.sync(code=3), "empty//segment.tfstate")
    assert 'no folder of local is without a name' in problem["message"] and "key = ..." in problem["hint"]
    assert folder.get("empty/segment.tfstate") == body


def test_a_file_name_that_is_no_text(agent, places):
    live, folder = places("local"), places("local")
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    live.put("good.tfstate", state(1, lineage()))
    (live.folder / os.fsdecode(b"caf\xe9.tfstate")).write_bytes(state(1, lineage()))
    doc = agent.sync(code=3)
    assert ["not UTF-8" in p["message"] for p in doc["problems"]] == [True]
    assert [p.name for p in folder.folder.iterdir() if not p.name.startswith(".")] == ["good.tfstate"]
