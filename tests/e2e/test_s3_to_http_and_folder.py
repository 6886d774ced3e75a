# SPDX-License-Identifier: MIT
"""The main job: terraform applies, the agent brings every state to other places, byte for byte, never backwards."""
import re
import subprocess

import pytest

from agent import eventually
from conftest import ALL_S3, KINDS, need_tool
from places import HttpPlace
from servers import Versitygw
from states import lineage, serial_of, state

NAME = "net/prod.tfstate"
PAIRS = [(a, b) for a in KINDS for b in KINDS]


def ascending(serials):
    return serials == sorted(set(serials))


def source(agent, place, name=NAME):
    return place.add(agent, "live", **({"states": [name]} if place.kind == "http" else {}))


def test_agent_follows_terraform(agent, places, terraform):
    live, web, folder = places("s3"), places("http"), places("local")
    tf = terraform("tf", live.terraform(NAME))
    tf.init()
    source(agent, live)
    web.add(agent, "web")
    folder.add(agent, "folder")
    agent.replicate("out", "live", ["web", "folder"])
    agent.start()
    for i in range(6):
        tf.apply(text=f"round {i}", items=1 + i % 3)
    final = live.get(NAME)
    eventually(lambda: web.get(NAME) == final and folder.get(NAME) == final, what="both replicas are equal")
    agent.replica_is("current", "live", NAME, "web")
    serials = web.server.serials(NAME)
    assert ascending(serials) and serials[-1] == serial_of(final) == 6
    assert all(w[3] for w in web.server.state(NAME).writes), "a write without the lock"
    assert live.locks() == web.locks() == folder.locks() == []
    versions = agent.versions(f"live:{NAME}")
    assert versions[0]["head"] and versions[0]["serial"] == 6
    assert ascending([v["serial"] for v in reversed(versions)])
    for v in versions:
        assert serial_of(agent.cat(f"live:{NAME}@{v['version']}")) == v["serial"]
    assert agent.cat(f"live:{NAME}") == final
    status = agent.status()
    assert status["verdict"] == "ok" and status["agent"]["running"]
    assert status["replicas"].items() >= {"current": 2, "behind": 0, "held": 0, "failed": 0}.items()
    agent.stop()
    assert tf.unchanged()


@pytest.mark.parametrize("from_,to", PAIRS)
def test_sync_between_every_pair(agent, places, from_, to):
    live, dr = places(from_), places(to)
    line = lineage()
    source(agent, live)
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    for serial in (1, 2, 5):
        body = state(serial, line, text=f"round {serial}")
        live.put(NAME, body)
        edge = agent.edge(agent.sync(), "out")
        assert (edge["seen"], edge["changed"], edge["written"], edge["held"], edge["failed"]) == (1, 1, 1, 0, 0)
        assert dr.get(NAME) == body
    edge = agent.edge(agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"], edge["bytes"]) == (0, 0, 1, 0)
    assert live.locks() == dr.locks() == []
    assert [v["serial"] for v in agent.versions(f"live:{NAME}")] == [5, 2, 1]
    replica = agent.replica("live", NAME, "dr")
    assert replica["status"] == "current" and replica["serial"] == 5 and replica["flags"] == []
    assert agent.json("check")["ok"]


def test_every_write_to_s3_is_locked_and_conditional(agent, places):
    live, dr = places("local"), places("s3")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    line = lineage()
    for serial in (1, 2, 3):
        live.put(NAME, state(serial, line))
        agent.sync()
    puts = dr.writes(NAME)
    assert [e["serial"] for e in puts] == [1, 2, 3]
    assert puts[0]["headers"].get("if-none-match") == "*"
    assert all(e["headers"].get("if-match") for e in puts[1:])
    locked = False
    for e in dr.front.requests():
        lock = e["path"].endswith(f"{NAME}.tflock")
        if e["method"] == "PUT" and lock:
            assert e["headers"].get("if-none-match") == "*" and e["status"] == 200
            locked = True
        elif e["method"] == "DELETE" and lock:
            locked = False
        elif e["method"] == "PUT" and e["path"].endswith(NAME):
            assert locked, "a write without the lock"
    assert not locked


def test_newest_wins_when_the_target_is_slow(agent, places):
    live, web = places("local"), places("http")
    live.add(agent, "live")
    web.add(agent, "web")
    agent.replicate("out", "live", "web")
    line = lineage()
    slow = web.on_write(NAME, hold=True)
    live.put(NAME, state(1, line))
    agent.start()
    slow.wait()
    for serial in (2, 3, 4):
        live.put(NAME, state(serial, line))
        eventually(lambda s=serial: agent.versions(f"live:{NAME}")[0]["serial"] == s)
    slow.release()
    eventually(lambda: web.get(NAME) == live.get(NAME))
    assert web.server.serials(NAME) == [1, 4]
    assert [v["serial"] for v in agent.versions(f"live:{NAME}")] == [4, 3, 2, 1]


def test_a_slow_target_delays_nobody(agent, places):
    live, web, folder = places("local"), places("http"), places("local")
    live.add(agent, "live")
    web.add(agent, "web")
    folder.add(agent, "folder")
    agent.replicate("out", "live", ["web", "folder"])
    slow = web.on_write(NAME, hold=True)
    live.put(NAME, state(1, lineage()))
    agent.start()
    slow.wait()
    eventually(lambda: folder.get(NAME) == live.get(NAME))
    assert web.get(NAME) is None
    slow.release()
    eventually(lambda: web.get(NAME) == live.get(NAME))


@pytest.mark.parametrize("cls", ALL_S3)
def test_other_s3_servers_as_target(agent, places, terraform, cls):
    live, dr = places("local"), places("s3", cls=cls, versioning=cls.versioned)
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    line = lineage()
    bodies = [state(serial, line, text=f"t{serial}") for serial in (1, 2, 3)]
    for body in bodies:
        live.put(NAME, body)
        agent.sync()
        assert dr.get(NAME) == body
    assert dr.locks() == []
    if cls.versioned:
        assert len(dr.bucket.client.versions(dr.bucket.name, NAME)) == 3
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    assert tf.pull()["serial"] == 3


@pytest.mark.parametrize("cls", ALL_S3)
def test_probe_tells_what_a_server_enforces(agent, make_bucket, cls):
    bucket = make_bucket(cls)
    agent.backend("s3", "dr", bucket.backend())
    doc = agent.json("probe", "dr")
    checks = {c["name"]: c for c in doc["checks"]}
    assert doc["enforces"] is True and doc["reason"] is None
    assert {"reach", "auth", "list", "read", "create_only", "if_match", "racing_writes", "delete_create",
            "list_after_write", "checksum", "lock", "clock"} <= set(checks)
    lies = {"checksum"} if cls.__name__ == "Moto" else set()  # it stores what arrives with any checksum
    assert {name for name, c in checks.items() if not c["ok"]} == lies
    assert bucket.keys() == []


@pytest.mark.parametrize("dialect", ["lock", "post-delete"])
def test_http_dialects_and_mutual_tls(agent, places, http_states, certificates, dialect):
    live, web = places("local"), HttpPlace(http_states(dialect=dialect, tls=certificates, ascending=True, etag=False))
    live.add(agent, "live")
    web.add(agent, "web")
    agent.replicate("out", "live", "web")
    line = lineage()
    for serial in (1, 2):
        live.put(NAME, state(serial, line))
        agent.sync()
        assert web.get(NAME) == live.get(NAME)
    assert web.server.serials(NAME) == [1, 2] and web.locks() == []


def test_target_without_lock_needs_the_users_word(agent, places, http_states):
    live, server = places("local"), http_states()
    live.add(agent, "live")
    agent.backend("http", "web", server.backend("{name}", locking=False))
    agent.replicate("out", "live", "web")
    live.put(NAME, state(1, lineage()))
    doc = agent.sync(code=13)
    problem = agent.problem(doc)
    assert "exclusive" in problem["message"] + problem["hint"] and "probe" in problem["message"] + problem["hint"]
    assert server.body(NAME) is None and server.requests("POST") == []
    agent.forget("backend", "web")
    agent.backend("http", "web", server.backend("{name}", locking=False), exclusive=True)
    agent.sync()
    assert server.body(NAME) == live.get(NAME)


def test_workspaces_are_states(agent, places, terraform):
    live, folder = places("s3"), places("local")
    tf = terraform("tf", live.terraform("app.tfstate"))
    tf.init()
    tf.apply()
    tf.call("workspace", "new", "blue")
    tf.apply(text="in blue")
    agent.backend("s3", "live", live.bucket.backend("app.tfstate"))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder", key="{workspace}/app.tfstate")
    assert agent.edge(agent.sync(), "out")["written"] == 2
    assert folder.get("default/app.tfstate") == live.get("app.tfstate")
    assert folder.get("blue/app.tfstate") == live.get("env:/blue/app.tfstate")
    assert {s["workspace"] for s in agent.states("live").values()} == {"default", "blue"}


def test_missing_bucket_is_created_when_asked(agent, places, make_bucket):
    live, bucket = places("local"), make_bucket(create=False)
    live.add(agent, "live")
    agent.backend("s3", "dr", bucket.backend(), create=True)
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    agent.sync()
    assert bucket.get(NAME) == live.get(NAME)


@pytest.mark.parametrize("compress", ["none", "zstd"])
@pytest.mark.parametrize("kind", ["s3", "local"])
def test_snapshots_need_no_stateferry_to_be_read(agent, places, kind, compress):
    live, cold = places("local"), places(kind)
    live.add(agent, "live")
    cold.add(agent, "cold")
    agent.snapshot("history", "live", "cold", prefix="history/", compress=compress)
    line, bodies = lineage(), {}
    for serial in (1, 2, 3):
        bodies[serial] = state(serial, line, text=f"round {serial}")
        live.put(NAME, bodies[serial])
        agent.sync()
    if kind == "s3":
        keys = cold.bucket.keys()
    else:
        keys = [str(p.relative_to(cold.folder)) for p in cold.folder.rglob("*") if p.is_file()]
    tail = r"\.tfstate\.zst" if compress == "zstd" else r"\.tfstate"
    want = re.compile(r"history/net/prod(?:\.tfstate)?/(\d{20})-\d{8}T\d{6}Z-([0-9a-f]{12})" + tail)
    found = {int(m[1]): key for key in keys if (m := want.fullmatch(key))}
    assert sorted(found) == [1, 2, 3], keys
    for serial, key in found.items():
        body = cold.get(key)
        if compress == "zstd":
            body = subprocess.run([need_tool("zstd"), "-dc"], input=body, capture_output=True, check=True).stdout
        assert body == bodies[serial]
    assert agent.edge(agent.sync(), "history")["written"] == 0
    assert agent.states("live").keys() == {NAME}


def test_read_only_source_is_never_touched(agent, places):
    live, folder = places("s3", cls=Versitygw), places("local")
    live.add(agent, "live", read_only=True)
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    live.put(NAME, state(1, lineage()))
    agent.sync()
    assert folder.get(NAME) == live.get(NAME)
    assert {e["method"] for e in live.front.requests()} <= {"GET", "HEAD"}
    live.put(NAME, state(2, lineage()))
    refused = agent.call("restore", f"live:{NAME}@1", "--yes", code=None)
    assert refused.code not in (0, 2) and "read_only" in refused.err
    assert {e["method"] for e in live.front.requests()} <= {"GET", "HEAD"}
