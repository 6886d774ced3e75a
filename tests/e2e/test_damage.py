# SPDX-License-Identifier: MIT
"""Whatever happens to a source, damage does not travel, is kept as evidence; a person may release what is a state."""
import hashlib
import json

import pytest

from agent import eventually
from conftest import KINDS
from hcl import Block
from states import lineage, state

NAME = "net/prod.tfstate"
LINE = lineage()
GOOD = state(5, LINE, resources=8)
HTML = b"<!DOCTYPE html>\n<html><body><h1>502 Bad Gateway</h1></body></html>\n"

# name -> (bytes, verdict); those of DAMAGED are no states, those of HELD are, and a person may release them.
DAMAGED = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "truncated": (GOOD[: len(GOOD) // 2], "damaged"),
    "html": (HTML, "damaged"),
    "json list": (b"[]\n", "damaged"),
    "json of something else": (b'{"kind": "List", "items": []}\n', "damaged"),
    "trailing bytes": (GOOD + b"{}", "damaged"),
    "zeros": (bytes(len(GOOD)), "damaged"),
}
HELD = {
    "rolled back": (state(3, LINE, resources=8), "older"),
    "swapped": (state(9, lineage(), resources=8), "unrelated"),
    "forked": (state(5, LINE, resources=8, text="other"), "fork"),
    "shrunk": (state(6, LINE, resources=2), "shrunk"),
    "emptied": (state(6, LINE, resources=0), "shrunk"),
}


@pytest.fixture
def setup(agent, places):
    """A source of one kind with two replicas of GOOD."""
    def make(kind):
        live, web, folder = places(kind), places("http"), places("local")
        live.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}))
        web.add(agent, "web")
        folder.add(agent, "folder")
        agent.replicate("out", "live", ["web", "folder"])
        live.put(NAME, GOOD)
        agent.sync()
        assert web.get(NAME) == folder.get(NAME) == GOOD
        return live, web, folder
    return make


def held_back(agent, verdict, body):
    """The one entry of the quarantine."""
    entries = agent.quarantine()
    assert [(e["backend"], e["name"], e["verdict"]) for e in entries] == [("live", NAME, verdict)]
    entry = entries[0]
    assert entry["size"] == len(body) and entry["reason"] and entry["hint"]
    assert entry["sha256"] == hashlib.sha256(body).hexdigest()
    return entry


# No state at an HTTP backend is an answer without bytes: see test_absence_is_not_replicated.
CASES = ([("s3", what) for what in [*DAMAGED, *HELD]] + [("local", w) for w in ["empty", "truncated", "html", *HELD]] +
         [("http", what) for what in ["blank", "truncated", "html", *HELD]])


@pytest.mark.parametrize("kind,what", CASES)
def test_damage_stays_where_it_is(agent, setup, kind, what):
    body, verdict = (DAMAGED | HELD)[what]
    live, web, folder = setup(kind)
    live.put(NAME, body)
    doc = agent.sync(code=13)
    assert agent.edge(doc, "out")["written"] == 0
    assert any(p["state"] == NAME and p["code"] == 13 and p["hint"] for p in doc["problems"])
    assert web.get(NAME) == folder.get(NAME) == GOOD
    status = agent.json("status", code=3)
    assert status["verdict"] == "behind" and any(p["state"] == NAME for p in status["problems"])
    entry = held_back(agent, verdict, body)
    assert agent.cat(f"live:{NAME}") == GOOD, "the head does not move"
    if body.strip():
        assert agent.cat(f"live:{NAME}@{entry['version']}") == body, "the evidence is kept"
    if what in DAMAGED:
        refused = agent.call("quarantine", "release", f"live:{NAME}", "--yes", code=13)
        assert "cat" in refused.err and "drop" in refused.err
    else:
        agent.call("quarantine", "release", f"live:{NAME}", "--yes")
    agent.sync(code=13 if what in DAMAGED else 0)
    after = GOOD if what in DAMAGED else body
    assert web.get(NAME) == folder.get(NAME) == after
    if what in HELD:
        assert agent.quarantine() == [] and agent.json("status")["verdict"] == "ok"


@pytest.mark.parametrize("what", ["empty", "html"])
def test_repair_needs_no_help(agent, setup, what):
    live, web, folder = setup("s3")
    live.put(NAME, DAMAGED[what][0])
    agent.sync(code=13)
    better = state(6, LINE, resources=8)
    live.put(NAME, better)
    agent.sync()
    assert web.get(NAME) == folder.get(NAME) == better
    assert agent.json("status")["verdict"] == "ok"
    assert [v["serial"] for v in agent.versions(f"live:{NAME}") if v["verdict"] in ("first", "advance")] == [6, 5]


def test_running_agent_holds_back_and_says_so(agent, setup):
    live, web, folder = setup("s3")
    agent.start()
    live.put(NAME, HTML)
    eventually(lambda: [e["verdict"] for e in agent.quarantine()] == ["damaged"])
    status = agent.status()
    assert status["verdict"] == "behind" and any(p["state"] == NAME for p in status["problems"])
    live.put(NAME, b"")
    eventually(lambda: {e["verdict"] for e in agent.quarantine()} >= {"empty"})
    assert web.get(NAME) == folder.get(NAME) == GOOD
    final = state(6, LINE, resources=9)
    live.put(NAME, final)
    eventually(lambda: web.get(NAME) == folder.get(NAME) == final)
    eventually(lambda: agent.status()["verdict"] == "ok")
    agent.stop()
    assert web.server.serials(NAME) == [5, 6]


def test_drop_removes_the_evidence(agent, setup):
    live, _, _ = setup("local")
    live.put(NAME, HTML)
    agent.sync(code=13)
    entry = held_back(agent, "damaged", HTML)
    live.put(NAME, GOOD)
    agent.sync()
    asked = agent.call("quarantine", "drop", f"live:{NAME}@{entry['version']}", code=2)
    assert "--yes" in asked.err
    agent.call("quarantine", "drop", f"live:{NAME}@{entry['version']}", "--yes")
    dropped = next(v for v in agent.versions(f"live:{NAME}") if v["version"] == entry["version"])
    assert dropped["dropped"], "its line stays as a record, its bytes are gone"
    assert "dropped" in agent.call("cat", f"live:{NAME}@{entry['version']}", code=1).err
    assert agent.json("check")["ok"]


def test_release_names_exactly_what_the_source_holds(agent, setup):
    live, web, _ = setup("local")
    live.put(NAME, HELD["rolled back"][0])
    agent.sync(code=13)
    old = held_back(agent, "older", HELD["rolled back"][0])
    live.put(NAME, HELD["swapped"][0])
    agent.sync(code=13)
    agent.call("quarantine", "release", f"live:{NAME}@{old['version']}", "--yes", code=13)
    agent.sync(code=13)
    assert web.get(NAME) == GOOD


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_truncated_answer_is_no_damage(agent, setup, kind):
    """The connection breaks in the middle of a read: a failed read, never a verdict."""
    live, web, folder = setup(kind)
    final = state(6, LINE, resources=8)
    live.put(NAME, final)
    live.on_read(NAME, truncate=100, times=0)
    agent.sync(code=(1, 3))
    assert agent.quarantine() == []
    assert web.get(NAME) == folder.get(NAME) == GOOD
    live.rules.clear()
    agent.sync()
    assert web.get(NAME) == folder.get(NAME) == final


@pytest.mark.parametrize("kind", [*KINDS, "http without bytes"])
def test_absence_is_not_replicated(agent, setup, kind):
    live, web, folder = setup(kind.split()[0])
    if kind in KINDS:
        live.delete(NAME)
    else:
        live.put(NAME, b"")
    agent.sync(code=(0, 3, 13))
    assert web.get(NAME) == folder.get(NAME) == GOOD
    assert "gone" in agent.states("live")[NAME]["flags"]
    assert agent.cat(f"live:{NAME}") == GOOD
    live.put(NAME, state(6, LINE, resources=8))
    agent.sync()
    assert "gone" not in agent.states("live")[NAME]["flags"]
    assert web.get(NAME) == folder.get(NAME) == live.get(NAME)


def test_error_listing_is_not_an_empty_source(agent, setup):
    live, web, folder = setup("s3")
    live.rules.add("GET", f"/{live.bucket.name}*", times=0, status=403,
                   body=b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
                   headers={"Content-Type": "application/xml"})
    agent.sync(code=12)
    assert "gone" not in agent.states("live")[NAME]["flags"]
    live.rules.clear()
    live.rules.add("GET", f"/{live.bucket.name}*", query="*list-type=2*", times=0, truncate=80)
    agent.sync(code=(1, 3))
    assert "gone" not in agent.states("live")[NAME]["flags"]
    assert web.get(NAME) == folder.get(NAME) == GOOD


def test_max_shrink_can_be_turned_off_for_one_state(agent, places):
    live, folder = places("local"), places("local")
    live.add(agent, "live", blocks=[Block("state", "free.tfstate", max_shrink="100%")])
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    for name in ("free.tfstate", "guarded.tfstate"):
        live.put(name, state(1, LINE, resources=10))
    agent.sync()
    for name in ("free.tfstate", "guarded.tfstate"):
        live.put(name, state(2, LINE, resources=1))
    agent.sync(code=3)
    assert json.loads(folder.get("free.tfstate"))["serial"] == 2
    assert json.loads(folder.get("guarded.tfstate"))["serial"] == 1
