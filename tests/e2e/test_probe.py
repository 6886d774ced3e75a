# SPDX-License-Identifier: MIT
"""probe, and config check --probe: what they reach, what they leave alone, how they end."""
import subprocess
import time

import pytest

from agent import eventually
from conftest import HTTP_PASSWORD
from places import HttpPlace
from states import lineage, state

NAME = "x.tfstate"


def failed(checks):
    return {c["name"] for c in checks if not c["ok"]}


def test_config_check_reaches_every_backend_and_writes_nowhere(agent, places, http_states, make_bucket):
    folder, server = places("local"), http_states(user="u", password=HTTP_PASSWORD)
    bucket = make_bucket()
    folder.add(agent, "folder")
    folder.put(NAME, state(1, lineage()))
    HttpPlace(server).add(agent, "web", states=[NAME])
    agent.backend("s3", "dr", bucket.backend())
    bucket.put(NAME, state(1, lineage()))
    doc = agent.json("config", "check", "--probe")
    assert doc["ok"] is True and {b["backend"] for b in doc["backends"]} == {"folder", "web", "dr"}
    for b in doc["backends"]:
        more = {"folder": ["lock"], "web": ["clock"], "dr": ["clock", "lock"]}[b["backend"]]
        assert [c["name"] for c in b["checks"]] == ["reach", "auth", "list", "read", *more] and failed(b["checks"]) == set(), b
    assert {e["method"] for e in server.requests()} == {"GET"}
    assert bucket.keys() == [NAME]

    server.password = "another"
    doc = agent.json("config", "check", "--probe", code=3)
    wrong = {b["backend"]: b for b in doc["backends"] if not b["ok"]}
    assert doc["ok"] is False and set(wrong) == {"web"}
    assert wrong["web"]["error"]["code"] == 12 and failed(wrong["web"]["checks"]) == {"auth", "read"}
    assert HTTP_PASSWORD not in str(doc)

    agent.forget("backend", "folder")
    agent.forget("backend", "dr")
    agent.json("config", "check", "--probe", code=12)
    server.stop()
    doc = agent.json("config", "check", "--probe", code=1)
    assert "reach" in failed(doc["backends"][0]["checks"])


@pytest.mark.parametrize("dialect", ["lock", "post-delete"])
def test_probe_of_an_http_backend_tries_its_lock(agent, http_states, dialect):
    server = http_states(dialect=dialect)
    HttpPlace(server).add(agent, "web", states=[NAME])
    doc = agent.json("probe", "web")
    checks = {c["name"]: c for c in doc["checks"]}
    assert checks["lock"]["ok"] and "refused to another" in checks["lock"]["detail"], checks["lock"]
    assert doc["enforces"] is False and failed(doc["checks"]) == {"create_only", "if_match", "racing_writes", "delete_create"}
    assert server.locks() == {} and server.body(NAME) is None


def lock_check(agent):
    return next(c for c in agent.json("probe", "web")["checks"] if c["name"] == "lock")


@pytest.mark.parametrize("dialect", ["lock", "post-delete"])
@pytest.mark.parametrize("there", [False, True])
def test_probe_of_one_address_tries_the_lock_of_the_state(agent, http_states, dialect, there):
    server = http_states(dialect=dialect)
    body = state(1, lineage()) if there else None
    if there:
        server.put(NAME, body)
    agent.backend("http", "web", server.backend(NAME))
    check = lock_check(agent)
    assert check["ok"] and check["detail"] == "held by one, refused to another, released; it was that of the state itself"
    assert server.locks() == {} and server.body(NAME) == body
    verbs = [e["method"] for e in server.requests() if e["method"] != "GET"]
    assert verbs == (["LOCK", "LOCK", "UNLOCK"] if dialect == "lock" else ["POST", "POST", "DELETE"])


def test_probe_of_one_address_leaves_a_strangers_lock(agent, http_states):
    server = http_states()
    agent.backend("http", "web", server.backend(NAME))
    server.state(NAME).lock = b'{"ID":"theirs","Operation":"OperationTypeApply","Who":"ann@laptop"}'
    check = lock_check(agent)
    assert check["ok"] and "somebody holds it now" in check["detail"] and "ann@laptop" in check["detail"]
    assert b"theirs" in server.state(NAME).lock


def test_a_lock_that_refuses_nobody_fails(agent, http_states):
    server = http_states()
    agent.backend("http", "web", server.backend(NAME))
    server.rules.add("LOCK", nth=2, status=200)
    assert lock_check(agent) == {"name": "lock", "ok": False, "detail": "a second lock was granted while the first was held"}
    assert server.locks() == {}


@pytest.mark.parametrize("verb", ["LOCK", "UNLOCK"])
def test_killed_while_the_lock_of_a_state_is_tried(agent, places, http_states, verb):
    """It was noted before it was sent, so that the next pass releases it."""
    server, folder = http_states(), places("local")
    agent.backend("http", "web", server.backend(NAME))
    folder.add(agent, "folder")
    agent.replicate("out", "web", "folder")
    server.put(NAME, state(1, lineage()))
    rule = server.rules.add(verb, hold=True, drop="after" if verb == "LOCK" else "before")
    one = agent.start_command("probe", "web")
    rule.wait()
    one.kill()
    one.wait()
    rule.release()
    eventually(lambda: server.locks() != {})
    agent.sync()
    assert server.locks() == {}


def test_probe_without_a_lock_says_so(agent, http_states):
    server = http_states()
    agent.backend("http", "web", server.backend(NAME, locking=False))
    doc = agent.json("probe", "web")
    assert {"lock", "if_match"} <= failed(doc["checks"]) and "reach" not in failed(doc["checks"])
    assert {e["method"] for e in server.requests()} == {"GET"}


def test_probe_of_a_folder_leaves_nothing(agent, places):
    folder = places("local")
    folder.add(agent, "folder")
    folder.put(NAME, state(1, lineage()))
    before = sorted(folder.folder.rglob("*"))
    doc = agent.json("probe", "folder")
    assert failed(doc["checks"]) == set() and doc["enforces"] is True
    assert sorted(folder.folder.rglob("*")) == before


def test_target_is_probed_once_and_remembered(agent, places, make_bucket):
    """Without a lock the first write waits for a probe; the next ones know."""
    live, bucket = places("local"), make_bucket()
    live.add(agent, "live")
    agent.backend("s3", "dr", bucket.backend() | {"use_lockfile": False})
    agent.replicate("out", "live", "dr")
    line = lineage()
    live.put(NAME, state(1, line))
    live.put("y.tfstate", state(1, lineage()))
    would = agent.call("sync", "--dry-run").out
    assert would.count("would probe dr, then, if it enforces preconditions, write ") == 2 and bucket.keys() == []
    first = agent.edge(agent.sync(), "out")
    assert first["written"] == 2 and sorted(bucket.keys()) == [NAME, "y.tfstate"]
    live.put(NAME, state(2, line))
    second = agent.edge(agent.sync(), "out")
    assert second["written"] == 1 and second["requests"] <= 12 < 30 < first["requests"]


def test_probe_shows_how_far_it_came(agent, make_bucket):
    bucket = make_bucket()
    agent.backend("s3", "dr", bucket.backend() | {"secret_key": "another-secret"})
    doc = agent.json("probe", "dr", code=12)
    checks = {c["name"]: c for c in doc["checks"]}
    assert doc["error"]["code"] == 12 and doc["enforces"] is False
    assert checks["reach"]["ok"] and not checks["auth"]["ok"] and checks["lock"]["detail"] == "not tried"
    assert "reach" in agent.call("probe", "dr", code=12).out
    agent.forget("backend", "dr")
    agent.backend("s3", "dr", bucket.backend(), read_only=True)
    assert "config check --probe" in agent.json("probe", "dr", code=1)["error"]["hint"]


def test_killed_in_the_middle_of_a_probe(agent, places, make_bucket):
    """Nothing was written without the answer, and the next pass leaves nothing of the killed one."""
    live, bucket = places("local"), make_bucket()
    live.add(agent, "live")
    agent.backend("s3", "dr", bucket.backend() | {"use_lockfile": False})
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    for ms in range(10, 120, 10):
        one = subprocess.Popen(agent.command("sync"), cwd=agent.folder, env=agent.env, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        time.sleep(ms / 1000)
        one.kill()
        one.wait()
    agent.sync()
    assert bucket.keys() == [NAME] and bucket.get(NAME) == live.get(NAME)
