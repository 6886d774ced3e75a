# SPDX-License-Identifier: MIT
"""What the world does: down, refusing, full, late, lying. One clear sentence each, and recovery without help."""
import os
import secrets
import signal

import pytest

from agent import eventually
from places import replicating
from states import lineage, padded, state

NAME = "net/prod.tfstate"


@pytest.fixture
def setup(agent, places):
    """A folder as source with serial 1, a target, nothing replicated yet."""
    def make(kind, **more):
        return replicating(agent, places, kind, NAME, **more)
    return make


def one_sentence(agent, code, *words):
    """A sync fails with that code, and says why in one sentence that has these words."""
    result = agent.call("--json", "sync", code=code)
    problems = result.json["problems"]
    assert problems, result.out
    text = problems[0]["message"]
    assert "\n" not in text and len(text) < 400
    for word in words:
        assert word.lower() in (text + " " + (problems[0]["hint"] or "")).lower(), f"{word!r} is not in {problems[0]}"
    plain = agent.call("sync", code=code)
    said = [line for line in plain.err.splitlines() if line.startswith("stateferry: ")]
    assert len(said) == 1, plain.err
    return problems[0]


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_target_down_for_a_while(agent, setup, kind):
    live, dr, line = setup(kind)
    agent.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    dr.stop()
    live.put(NAME, state(2, line))
    eventually(lambda: agent.status()["verdict"] == "failing")
    problem = agent.status()["problems"][0]
    # The state's, or the target's as a whole: whichever request was the first to meet a closed port.
    assert (problem["edge"] or problem["backend"]) in ("out", "dr") and "\n" not in problem["message"] and "127.0.0.1" in problem["message"]
    assert agent.replica("live", NAME, "dr")["status"] in ("failed", "unknown")
    live.put(NAME, state(3, line))
    dr.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME), 40)
    eventually(lambda: agent.status()["verdict"] == "ok")
    agent.stop()
    assert dr.locks() == []


def test_quiet_says_a_failure_once(agent, places):
    """On stderr, whether all failed or some: the result has it, too, and the log has nothing more."""
    for label, code in (("down", 1), ("up", 3)):
        place = places("http")
        place.add(agent, label, states=[NAME])
        place.put(NAME, state(1, lineage()))
        places("local").add(agent, f"copy-{label}")
        agent.replicate(f"out-{label}", label, f"copy-{label}")
        if label == "down":
            place.stop()
        said = agent.call("-q", "sync", code=code).err.splitlines()
        assert len(said) == 1 and said[0].startswith("stateferry: out-down") and "refused" in said[0], said


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_sync_while_the_target_is_down(agent, setup, kind):
    live, dr, _ = setup(kind)
    dr.stop()
    if kind == "s3":    # whose locks are asked for
        assert "no locks that could be seen" in agent.call("locks", "dr", code=1).out
    one_sentence(agent, 1, "127.0.0.1")
    assert agent.json("status", code=1)["verdict"] == "failing"
    dr.start()
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)


def test_one_of_two_targets_is_down(agent, places):
    live, web, dr = places("local"), places("http"), places("s3")
    live.add(agent, "live")
    web.add(agent, "web")
    dr.add(agent, "dr")
    agent.replicate("out", "live", ["web", "dr"])
    live.put(NAME, state(1, lineage()))
    web.stop()
    agent.sync(code=3)
    assert dr.get(NAME) == live.get(NAME)
    web.start()
    agent.sync()
    assert web.get(NAME) == live.get(NAME)


def test_source_down_for_a_while(agent, places):
    live, folder = places("s3"), places("local")
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    line = lineage()
    live.put(NAME, state(1, line))
    agent.start()
    eventually(lambda: folder.get(NAME) == live.get(NAME))
    live.stop()
    eventually(lambda: agent.status()["verdict"] == "failing")
    assert "gone" not in agent.states("live")[NAME]["flags"]
    live.put(NAME, state(2, line))
    live.start()
    eventually(lambda: folder.get(NAME) == live.get(NAME), 40)
    agent.stop()


def test_s3_server_is_killed_and_comes_back(agent, places, own_versitygw):
    live = places("local")
    client = own_versitygw.client()
    client.create_bucket("bucket-a")
    live.add(agent, "live")
    agent.backend("s3", "dr", own_versitygw.backend("bucket-a"))
    agent.replicate("out", "live", "dr")
    line = lineage()
    agent.start()
    for serial in range(1, 6):
        live.put(NAME, state(serial, line))
        if serial in (2, 4):
            own_versitygw.kill()
            own_versitygw.start()
    eventually(lambda: client.get("bucket-a", NAME) == live.get(NAME), 40)
    agent.stop()
    assert client.keys("bucket-a") == [NAME]


@pytest.mark.parametrize("what", ["secret", "key id", "region"])
def test_wrong_s3_credentials(agent, places, make_bucket, what):
    live, bucket = places("local"), make_bucket()
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    wrong = {"secret": {"secret_key": "not-the-secret"}, "key id": {"access_key": "AKIANOBODYKNOWSTHIS1"},
             "region": {"region": "us-west-2"}}[what]
    agent.backend("s3", "dr", bucket.backend() | wrong)
    agent.replicate("out", "live", "dr")
    if what == "region":        # a client may learn the right one from the answer
        result = agent.call("--json", "sync", code=None)
        if result.code == 0:
            assert bucket.get(NAME) == live.get(NAME)
            return
        assert "eu-west-3" in result.json["problems"][0]["message"]
    else:
        one_sentence(agent, 12, "dr")
    assert bucket.keys() == []
    agent.forget("backend", "dr")
    agent.backend("s3", "dr", bucket.backend())
    agent.sync()
    assert bucket.get(NAME) == live.get(NAME)


def test_wrong_http_password(agent, places):
    live, web = places("local"), places("http")
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    agent.backend("http", "web", web.server.backend("{name}") | {"password": "not-the-one"})
    agent.replicate("out", "live", "web")
    one_sentence(agent, 12, "web")
    assert web.get(NAME) is None
    agent.forget("backend", "web")
    web.add(agent, "web")
    agent.sync()
    assert web.get(NAME) == live.get(NAME)


def test_missing_bucket(agent, places, make_bucket):
    live, bucket = places("local"), make_bucket(create=False)
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    agent.backend("s3", "dr", bucket.backend())
    agent.replicate("out", "live", "dr")
    one_sentence(agent, (1, 10), bucket.name, "create")
    bucket.client.create_bucket(bucket.name)
    agent.sync()
    assert bucket.get(NAME) == live.get(NAME)


def test_missing_source_bucket_is_an_error_not_nothing(agent, places, make_bucket):
    bucket, folder = make_bucket(create=False), places("local")
    agent.backend("s3", "live", bucket.backend())
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    one_sentence(agent, (1, 10), bucket.name)


def test_a_name_that_is_misspelt_is_told(agent, places):
    """Of a server that lists nothing: the protocol says of it no more than of a state that is yet to come."""
    live, folder = places("http"), places("local")
    live.put(NAME, state(1, lineage()))
    live.add(agent, "live", states=[NAME, "net/prdo.tfstate"])
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    said = [line for line in agent.call("sync").err.splitlines() if " warn " in line]
    assert len(said) == 1 and "net/prdo.tfstate: nothing is there" in said[0] and "misspelt" in said[0], said
    said = agent.json("locks")              # nor does it tell of a lock
    assert said["locks"] == [] and said["unseen"] == ["live"]
    assert agent.call("locks").out == "no locks that could be seen\n  live: its protocol does not show locks, one is known from a refusal alone\n"
    assert agent.call("locks", "folder").out == "no locks\n"
    live.delete(NAME)                       # what was there is gone, and flagged so
    said = agent.call("sync").err
    assert f"{NAME}: nothing is there" not in said and "gone" in agent.states("live")[NAME]["flags"]
    for other in ("harness", "brainboard-s3"):
        place = places(other)               # whose names come from a listing
        name = "new" if other == "harness" else "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f"
        place.prepare(name)
        place.add(agent, other)
        agent.replicate(f"out-{other}", other, "folder", key="{backend}/{name}")
        assert "nothing is there" not in agent.call("sync", f"out-{other}").err


@pytest.mark.parametrize("how", ["agent", "sync"])
def test_one_state_that_is_refused_is_no_good_status(agent, places, how):
    """The bucket answers, one object does not: its newest bytes are safe nowhere, and status has to say so."""
    live, dr = places("s3"), places("local")
    live.add(agent, "live", poll="300ms")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    lines = {name: lineage() for name in ("a.tfstate", "b.tfstate")}
    for name, line in lines.items():
        live.put(name, state(1, line))
    agent.sync()
    assert agent.status()["verdict"] == "ok"
    live.on_read("a.tfstate", status=403, times=0, body=b"<Error><Code>AccessDenied</Code></Error>")
    for name, line in lines.items():
        live.put(name, state(2, line))
    if how == "agent":
        agent.start()
        eventually(lambda: dr.get("b.tfstate") == live.get("b.tfstate"))
        eventually(lambda: agent.status()["verdict"] == "failing")
    else:
        agent.sync(code=3)
    problem = agent.problem(agent.json("status", code=1))
    assert problem["kind"] == "unread" and problem["backend"] == "live" and problem["code"] == 12, problem
    assert "a.tfstate" in problem["message"] and problem["hint"], problem
    live.rules.clear()
    if how == "agent":
        eventually(lambda: agent.status()["verdict"] == "ok")
        agent.stop()
    agent.sync()
    assert agent.status()["verdict"] == "ok" and dr.get("a.tfstate") == live.get("a.tfstate")


def on_small_disk(agents, small_disk, live, web, **more):
    """An agent whose store lies there, and which replicates one to the other."""
    agent = agents()
    agent.prefix = small_disk.prefix
    agent.blocks[0].args["store"] = str(small_disk.folder / "store")
    live.add(agent, "live", **more)
    web.add(agent, "web")
    agent.replicate("out", "live", "web")
    return agent


def test_full_disk_under_the_store(agents, places, small_disk):
    live, web = places("local"), places("http")
    agent = on_small_disk(agents, small_disk, live, web)
    line = lineage()
    live.put(NAME, padded(1, line, 200_000))
    agent.sync()
    before = web.get(NAME)
    small_disk.fill()
    noise = {"noise": {"value": secrets.token_hex(1 << 20), "type": "string"}}
    live.put(NAME, state(2, line, resources=200, outputs=noise))
    result = agent.call("--json", "sync", code=1)
    text = result.out + result.err
    assert "space" in text or "disk" in text or "full" in text, text
    assert web.get(NAME) == before, "what is not kept is not replicated"
    small_disk.empty()
    agent.sync()
    assert web.get(NAME) == live.get(NAME)
    assert agent.json("check")["ok"]
    assert agent.cat(f"live:{NAME}") == live.get(NAME)


def test_an_agent_that_is_stopped_does_not_stop_its_callers(agent, setup):
    setup("http")
    agent.start()
    os.kill(agent.process.pid, signal.SIGSTOP)
    try:
        result = agent.call("--json", "status", code=None)
    finally:
        os.kill(agent.process.pid, signal.SIGCONT)
    assert result.json["error"]["kind"] == "timeout" and "has not answered" in result.json["error"]["message"], result.out
    assert agent.status()["agent"]["running"]


def test_full_disk_under_an_unlock(agents, places, small_disk):
    """What is to be kept before a lock is broken, and cannot be: the lock stays."""
    live, web = places("s3"), places("http")
    agent = on_small_disk(agents, small_disk, live, web)
    line = lineage()
    live.put(NAME, state(1, line))
    agent.sync()
    live.lock(NAME, b'{"ID":"t-1","Operation":"OperationTypeApply","Who":"ann@desk","Created":"2026-11-22T00:44:48Z"}')
    small_disk.fill()
    live.put(NAME, state(2, line, outputs={"noise": {"value": secrets.token_hex(1 << 20), "type": "string"}}))
    result = agent.call("--json", "unlock", f"live:{NAME}", "t-1", "--yes", code=1)
    assert "its lock stays" in result.json["error"]["message"], result.out
    assert live.locks() == [NAME + ".tflock"]
    small_disk.empty()
    kept = agent.json("unlock", f"live:{NAME}", "t-1", "--yes")["kept"]
    assert kept["version"] == 2 and live.locks() == []


def test_full_disk_under_the_spool(agents, places, small_disk):
    """A state that goes to a file on its way, and no room for that file: it stays where it is, and the others go on."""
    live, web = places("http"), places("http")
    agent = on_small_disk(agents, small_disk, live, web, states=[NAME, "small.tfstate"])
    line = lineage()
    live.put(NAME, padded(1, line, 40_000_000))
    live.put("small.tfstate", state(1, line))
    result = agent.call("--json", "sync", code=3)
    text = agent.problem(result.json)["message"]
    assert "No space left" in text or "nearly full" in text, text
    assert web.get(NAME) is None and web.get("small.tfstate") == live.get("small.tfstate")
    assert small_disk.shell(f"ls -A {small_disk.folder}/store").stdout.decode().split() == ["data.mdb", "host", "lock.mdb", "owner"]
    live.put(NAME, state(2, line))
    agent.sync()
    assert web.get(NAME) == live.get(NAME)
    assert agent.json("check")["ok"]


@pytest.mark.parametrize("there", [True, False], ids=["in place", "new name"])
def test_full_disk_under_a_target_folder(agents, places, small_disk, there):
    """What is there stays whole, nothing half-written appears, and once there is room it is written without help."""
    agent = agents()
    agent.prefix = small_disk.prefix
    live, line = places("local"), lineage()
    live.add(agent, "live")
    agent.backend("local", "dr", dir=str(small_disk.folder / "dr"), create=True)
    agent.replicate("out", "live", "dr")
    if there:
        live.put(NAME, padded(1, line, 200_000))
    agent.sync()

    def files():
        names = small_disk.shell(f"cd {small_disk.folder}/dr && find . -type f").stdout.decode().split()
        return {name: small_disk.shell(f"cat {small_disk.folder}/dr/{name}").stdout for name in names}

    before = files()
    assert len(before) == there
    small_disk.fill()
    live.put(NAME, padded(2, line, 2_000_000))
    problem = one_sentence(agent, 1, "no space left", NAME, "free space")
    assert problem["edge"] == "out" and files() == before
    assert agent.json("locks")["locks"] == []
    assert agent.status()["verdict"] == "failing"
    small_disk.empty()
    agent.sync()
    assert files() == {f"./{NAME}": live.get(NAME)}
    assert agent.status()["verdict"] == "ok" and agent.json("check")["ok"]


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_an_hour_off(agents, places, preload, hours):
    """S3 refuses requests that are 15 minutes off; its answer has the right time, and so the agent goes on."""
    agent = agents(env=preload("shift_clock") | {"SHIFT_CLOCK": str(hours * 3600)})
    live, dr = places("local"), places("s3")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []
    assert any(e["status"] == 403 for e in dr.front.requests()), "the server did mind"
    clock = next(c for c in agent.json("probe", "dr", code=None)["checks"] if c["name"] == "clock")
    assert not clock["ok"] and clock["detail"]


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize("status", [429, 503])
def test_throttling_is_waited_for(agent, setup, kind, status):
    live, dr, _ = setup(kind)
    slow = dict(status=status, headers={"Retry-After": "1"})
    if kind == "s3":
        slow["body"] = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    rules = [dr.on_lock(NAME, **slow), dr.on_write(NAME, times=2, **slow), dr.on_unlock(NAME, **slow)]
    agent.sync()
    assert [r.fired for r in rules] == [1, 2, 1]
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_server_that_wants_an_hour_of_rest_gets_its_lock_back(agent, setup, kind):
    """What Retry-After asks for is waited for within `timeout`; a lock of ours is not held meanwhile."""
    live, dr, line = setup(kind, timeout="1s")
    agent.sync()
    live.put(NAME, state(2, line))
    busy = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    dr.on_write(NAME, status=503 if kind == "s3" else 429, headers={"Retry-After": "3600"}, body=busy)
    result = agent.call("--json", "sync", code=1)
    assert result.seconds < 10 and len(result.json["problems"]) == 1
    assert dr.locks() == []
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []


FAULTS = {
    "lost request": {"drop": "before"},
    "lost answer": {"drop": "after"},
    "500, not applied": {"status": 500},
    "500, applied": {"status": 500, "applied": True},
    "502, applied": {"status": 502, "applied": True, "body": b"<html>bad gateway</html>"},
    "delivered twice": {"duplicate": True},
    "answer cut": {"truncate": 0},
}


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["lock", "write", "unlock"])
def test_unknown_outcomes_are_read_back(agent, setup, kind, fault, step):
    live, dr, line = setup(kind)
    agent.sync()
    live.put(NAME, state(2, line))
    before = len(dr.writes(NAME))
    rule = getattr(dr, "on_" + step)(NAME, **FAULTS[fault])
    first = agent.call("--json", "sync", code=(0, 1, 3))
    assert rule.fired == 1
    if first.code != 0:
        agent.sync()
    assert dr.get(NAME) == live.get(NAME)
    assert dr.locks() == []
    assert agent.replica("live", NAME, "dr")["status"] == "current"
    tried = len(dr.writes(NAME)) - before
    if step == "write" and fault in ("lost answer", "500, applied", "502, applied"):
        assert first.code == 0 and tried == 1, "reading back shows that it is ours: nothing to repeat"
    assert agent.edge(agent.sync(), "out")["written"] == 0


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_write_that_never_answers(agent, setup, kind):
    live, dr, _ = setup(kind, timeout="2s")
    stuck = dr.on_write(NAME, hold=True)
    result = agent.call("--json", "sync", code=(0, 1, 3), timeout=30)
    assert result.seconds < 20
    stuck.release()
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []
