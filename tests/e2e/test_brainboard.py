# SPDX-License-Identifier: MIT
"""Brainboard: its API says which architectures there are, their states lie in storage of one's own, and its runner is real terraform."""
import json
import os
import uuid

import pytest

from agent import eventually
from hcl import Block
from places import Arguments
from servers import FakeGcsInMemory
from states import lineage, serial_of, state

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def fresh(serial=1, line=None, text="text"):
    return state(serial, line or lineage(), text=text)


def to_folder(agent, places, **more):
    copy = places("local")
    copy.add(agent, "copy")
    agent.replicate("out", "live", "copy", **more)
    return copy


def told(doc):
    return {p["state"]: p for p in doc["problems"]}


def flags(agent, name):
    return next(s for s in agent.json("list", "live")["states"] if s["name"] == name)["flags"]


# --- finding --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["s3", "azurerm", "gcs"])
def test_forms_are_found_by_listing(agent, places, brainboard, kind):
    live = places(f"brainboard-{kind}")
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places, key="{alias}")
    forms = ["{}/terraform.tfstate", "{}/default.tfstate", "{}.tfstate"] + (["{}"] if kind != "gcs" else [])
    bodies = {}
    for n, form in enumerate(forms):
        id_ = brainboard.add(f"arch {n}", environment="prod" if n else "test")
        bodies[id_] = fresh()
        live.inner.put(form.format(id_.upper() if n == 0 else id_), bodies[id_])
    for decoy in ("{}.tflock", "{}/default.tflock", "{}-md5", "{}/a/b.tfstate", "x{}.tfstate"):
        live.inner.put(decoy.format(uuid.uuid4()), fresh())
    live.inner.put("prod/terraform.tfstate", fresh())
    managed = brainboard.add("not here")
    doc = agent.sync()
    assert agent.edge(doc, "out")["written"] == len(forms) and doc["problems"] == []
    for n, (id_, body) in enumerate(bodies.items()):
        assert copy.get(f"payments/{'prod' if n else 'test'}/arch {n}.tfstate") == body
        assert agent.cat(f"live:payments/{'prod' if n else 'test'}/arch {n}") == body
        assert flags(agent, id_) == []
    assert flags(agent, managed) == ["uncovered"]
    status = agent.status()
    assert (status["verdict"], status["uncovered"], status["replicas"]["current"]) == ("ok", 1, len(forms))
    assert "1 more uncovered" in agent.call("status").out
    edge = agent.edge(agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"], edge["bytes"]) == (0, 0, len(forms), 0)


def test_content_tells_a_state(agent, places, brainboard):
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places)
    id_ = brainboard.add("picture")
    live.inner.put(f"{id_}/diagram", PNG)
    doc = agent.sync(code=13)
    assert "no state" in told(doc)[id_]["message"] or "damaged" in told(doc)[id_]["message"]
    assert copy.get(f"{id_}.tfstate") is None


def test_two_objects_of_one_architecture(agent, places, brainboard):
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places)
    back = places("local")
    id_, line = brainboard.add("twice"), lineage()
    live.inner.put(id_, fresh(1, line))
    # times have whole seconds
    os.utime(live.bucket.server.folder / "data" / live.bucket.name / id_, (1_700_000_000, 1_700_000_000))
    live.inner.put(f"{id_}.tfstate", fresh(2, line))
    doc = agent.sync(code=3)
    assert serial_of(copy.get(f"{id_}.tfstate")) == 2
    assert "the newer one" in told(doc)[id_]["message"] and "key" in told(doc)[id_]["hint"]
    assert agent.status()["verdict"] == "behind"
    back.add(agent, "back")
    back.put(f"{id_}.tfstate", fresh(3, line))
    agent.replicate("in", "back", "live")
    agent.forget("replicate", "out")
    doc = agent.sync("in", code=None)
    assert "may be its state" in told(doc)[f"{id_}.tfstate"]["message"]
    agent.forget("backend", "live")
    live.form = "{uuid}.tfstate"
    live.add(agent, "live")
    agent.sync("in")
    assert serial_of(live.inner.get(f"{id_}.tfstate")) == 3 and serial_of(live.inner.get(id_)) == 1


# --- writing, beside the runner ------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["s3", "s3-table", "azurerm"])
def test_runner_and_agent_share_the_lock(agent, places, terraform, brainboard, workdir, kind):
    live, dr = places("local"), places(f"brainboard-{kind}")
    id_ = brainboard.add("net")
    tf = terraform("runner", dr.terraform(id_), env=getattr(dr.inner, "env", None))
    tf.init()
    tf.apply(text="first")
    first = dr.get(id_)
    line = json.loads(first)["lineage"]
    live.add(agent, "live")
    dr.add(agent, "bb", key=False, lock_timeout="1s")
    agent.replicate("in", "live", "bb")
    live.put(f"{id_}.tfstate", state(serial_of(first) + 5, line))
    run = tf.hold(workdir / "gate", text="second")
    doc = agent.sync(code=11)
    assert "locked" in doc["problems"][0]["message"]
    holders = agent.json("locks", "bb")["locks"]
    assert [(x["name"], x["ours"]) for x in holders] == [(id_, False)]
    tf.release(workdir / "gate")
    assert run.done().code == 0
    tf.apply(text="third")
    serial = serial_of(dr.get(id_))
    live.put(f"{id_}.tfstate", state(serial + 5, line, text="fourth"))
    agent.sync()
    assert serial_of(dr.get(id_)) == serial + 5 and dr.locks() == []
    tf.vars.clear()
    assert tf.pull()["serial"] == serial + 5        # terraform takes it for its own
    tf.apply(text="fifth")
    assert serial_of(dr.get(id_)) > serial + 5 and dr.locks() == []


def test_a_storage_without_lock_is_not_written(agent, places, brainboard):
    live, dr = places("local"), places("brainboard-s3")
    id_ = brainboard.add("net")
    live.add(agent, "live")
    _, args = dr.inner.add(Arguments, "x")
    storage = Block("storage", "s3", **args | {"use_lockfile": False})
    agent.backend("brainboard", "bb", brainboard.backend() | {"key": "{uuid}"}, blocks=[storage])
    agent.replicate("in", "live", "bb")
    live.put(f"{id_}.tfstate", fresh())
    doc = agent.sync(code=None)
    assert "lock" in doc["problems"][0]["message"] and "exclusive" in doc["problems"][0]["hint"]
    assert dr.inner.get(id_) is None
    probed = agent.json("probe", "bb")
    assert probed["enforces"] is True and probed["writable"] is False, probed
    assert probed["write"] == doc["problems"][0]["message"] and probed["hint"] == doc["problems"][0]["hint"]
    assert "a write here is refused: bb: its storage has no lock" in agent.call("probe", "bb").out
    doctor = agent.call("doctor", code=None).out
    assert next(x for x in doctor.splitlines() if "probe bb" in x).startswith("warn"), doctor
    agent.forget("backend", "bb")
    agent.backend("brainboard", "bb", brainboard.backend() | {"key": "{uuid}", "exclusive": True}, blocks=[storage])
    agent.sync()
    assert dr.inner.get(id_) == live.get(f"{id_}.tfstate")
    assert "a write here is safe without a lock" in agent.call("probe", "bb").out


def test_one_storage_of_several_has_no_lock(agent, places, brainboard):
    """What lies in that one is refused, what lies in another is written; a probe tells it of that one."""
    live, dr, own = places("local"), places("brainboard-s3"), places("s3")
    here, there = brainboard.add("here"), brainboard.add("there")
    live.add(agent, "live")
    _, args = own.add(Arguments, "x")
    block = Block("architecture", there, key="{uuid}", blocks=[Block("storage", "s3", **args | {"use_lockfile": False})])
    dr.add(agent, "bb", blocks=[block])
    agent.replicate("in", "live", "bb")
    for id_ in (here, there):
        live.put(f"{id_}.tfstate", fresh())
    problem = agent.problem(agent.sync(code=3))
    assert problem["state"] == f"{there}.tfstate" and "has no lock" in problem["message"] and "exclusive" in problem["hint"]
    assert dr.get(here) is not None and own.bucket.keys() == []
    probed = agent.json("probe", "bb")
    assert probed["writable"] is False and "has no lock" in probed["write"], probed
    agent.forget("backend", "bb")
    dr.add(agent, "bb")
    agent.sync()
    assert "takes the lock, and preconditions are enforced" in agent.call("probe", "bb").out


def test_a_state_moves_into_the_folder_of_its_uuid(agent, places, terraform, brainboard):
    """The vendor's migration: a folder named by the UUID, the old state in it, then a plan."""
    old, bb = places("s3"), places("brainboard-azurerm")
    tf = terraform("project", old.terraform("prod/net.tfstate"))
    tf.init()
    tf.apply(text="ours", items=3)
    id_ = brainboard.add("net")
    old.add(agent, "old")
    bb.add(agent, "bb", key=False)
    agent.replicate("move", "old", "bb", blocks=[Block("state", "prod/net.tfstate", key=id_)])
    doc = agent.sync(code=None)
    assert "key" in doc["problems"][0]["hint"]      # never guessed
    agent.forget("backend", "bb")
    bb.add(agent, "bb")
    agent.sync()
    assert bb.get(id_) == old.get("prod/net.tfstate") and bb.locks() == []
    tf.env |= bb.inner.env
    tf.point_at(bb.terraform(id_))
    tf.call("init", "-no-color", "-input=false", "-reconfigure")
    assert tf.plan("-detailed-exitcode", ok=(0, 2)).code == 0


def test_one_architecture_has_storage_of_its_own(agent, places, brainboard):
    common, own, dr = places("brainboard-s3"), places("azurerm"), places("brainboard-s3")
    here, there, line = brainboard.add("here"), brainboard.add("there"), lineage()
    _, args = own.add(Arguments, "x")
    block = Block("architecture", there, blocks=[Block("storage", "azurerm", **args)])
    common.add(agent, "live", blocks=[block])
    copy = to_folder(agent, places)
    common.put(here, fresh())
    common.put(there, fresh(9, text="left behind"))
    own.put(f"{there}/terraform.tfstate", fresh(2, line))
    agent.sync()
    assert copy.get(f"{here}.tfstate") == common.get(here)
    assert copy.get(f"{there}.tfstate") == own.get(f"{there}/terraform.tfstate")
    # and the other way: its replica goes where that one's states are
    agent.forget("replicate", "out")
    copy.put(f"{there}.tfstate", fresh(7, line))
    copy.put(f"{here}.tfstate", state(7, json.loads(common.get(here))["lineage"]))
    agent.replicate("in", "copy", "live")
    agent.sync()
    assert serial_of(own.get(f"{there}/terraform.tfstate")) == 7 and serial_of(common.get(here)) == 7
    assert serial_of(common.get(there)) == 9        # nobody touches what is not in use
    assert own.locks() == [] and common.locks() == [] and dr.locks() == []


def test_http_storage_follows_the_uuid(agent, places, http_states, brainboard):
    """Nothing can be listed: the API says what there is. As a target its lock is tried before the first write."""
    server = http_states()
    args = server.backend("{name}")
    args = {k: v.replace("{name}", "{uuid}") for k, v in args.items()}
    agent.backend("brainboard", "live", brainboard.backend(), blocks=[Block("storage", "http", **args)])
    copy = to_folder(agent, places)
    one, two = brainboard.add("one"), brainboard.add("two")
    server.put(one, fresh())
    agent.sync()
    assert copy.get(f"{one}.tfstate") == server.body(one) and copy.get(f"{two}.tfstate") is None
    brainboard.stop()               # a cron job of tomorrow: names are known
    server.put(one, state(2, json.loads(server.body(one))["lineage"]))
    agent.sync(code=3)
    assert copy.get(f"{one}.tfstate") == server.body(one)
    brainboard.start()
    agent.forget("replicate", "out")
    agent.replicate("in", "copy", "live")
    copy.put(f"{two}.tfstate", fresh(4))
    agent.sync()
    assert server.body(two) == copy.get(f"{two}.tfstate") and server.locks() == {}
    assert len(server.requests("LOCK", two)) == 3       # one, a second that has to be refused, that of the write
    server.put(two, None)


@pytest.mark.parametrize("kind", ["remote", "cloud"])
def test_architectures_are_workspaces(agent, places, brainboard, tfe, kind):
    """One by a key of its own, one by its UUID; both ways."""
    one, two, line = brainboard.add("one"), brainboard.add("two"), lineage()
    prefix = "bb-" if kind == "remote" else ""
    agent.backend("brainboard", "live", brainboard.backend(), blocks=[
        Block("storage", kind, blocks=[Block("workspaces", prefix=prefix)] if prefix else [],
              **tfe.backend()[1] | {"api_base": f"http://127.0.0.1:{tfe.port}/api/v2/"}),
        Block("architecture", one, key="payments")])
    copy = to_folder(agent, places)
    for name in (prefix + "payments", prefix + two, prefix + "other", "stray"):
        tfe.put(name, fresh(1, line if "payments" in name else None))
    agent.sync()
    assert copy.get(f"{one}.tfstate") == tfe.body(prefix + "payments") and copy.get(f"{two}.tfstate") == tfe.body(prefix + two)
    agent.forget("replicate", "out")
    agent.replicate("in", "copy", "live")
    copy.put(f"{one}.tfstate", fresh(5, line))
    agent.sync()
    assert serial_of(tfe.body(prefix + "payments")) == 5 and tfe.locks() == {}
    assert tfe.token not in agent.call("config", "show").out


# --- the API ---------------------------------------------------------------------------------------------------------

def test_the_api_in_trouble_stops_nothing(agent, places, brainboard):
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places)
    id_, line = brainboard.add("net"), lineage()
    live.put(id_, fresh(1, line))
    agent.sync()
    for trouble in ("down", "expired", "page", "older"):
        serial = serial_of(copy.get(f"{id_}.tfstate")) + 1
        live.put(id_, fresh(serial, line))
        if trouble == "down":
            brainboard.stop()
        elif trouble == "page":
            brainboard.rules.add("GET", times=0, status=200, body=b"<html>sign in</html>")
        else:
            brainboard.spellings, brainboard.older_errors = (), trouble == "older"
        doc = agent.sync(code=3)
        problem = told(doc)[None if None in told(doc) else ""]
        assert brainboard.token not in json.dumps(doc) and problem["hint"], problem
        assert ("refuses the token" in problem["message"]) == (trouble in ("expired", "older")), problem
        assert serial_of(copy.get(f"{id_}.tfstate")) == serial
        assert "payments/prod/net" in json.dumps(agent.json("list", "live"))    # known from before
        if trouble == "down":
            brainboard.start()
        brainboard.rules.clear()
        brainboard.spellings = ("raw", "bearer")
    assert agent.edge(agent.sync(), "out")["failed"] == 0


def test_a_refused_token_is_no_auth(agent, places, brainboard):
    """Although the storage, whose credentials are good, shows what lies there."""
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    live.put(brainboard.add("net"), fresh())
    brainboard.spellings = ()
    doc = agent.json("config", "check", "--probe", code=12)
    checks = {c["name"]: c for c in doc["backends"][0]["checks"]}
    assert doc["backends"][0]["error"]["code"] == 12 and checks["reach"]["ok"] and checks["read"]["ok"]
    assert not checks["auth"]["ok"] and "Brainboard refuses the token" in checks["auth"]["detail"], checks
    assert not checks["list"]["ok"] and "1 state without what was refused" in checks["list"]["detail"], checks
    assert brainboard.token not in str(doc)
    for ok in (False, True):
        brainboard.spellings = ("raw",) if ok else ()
        [asked] = [c for c in agent.json("probe", "live")["checks"] if c["name"] == "inventory"]
        assert asked["ok"] is ok and ("refuses the token" in asked["detail"]) is not ok, asked


@pytest.mark.parametrize("spelling", ["raw", "bearer"])
def test_spellings_and_rate(agent, places, brainboard, spelling):
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places, key="{alias}")
    brainboard.spellings, brainboard.embedded, brainboard.rate = (spelling,), False, 4
    for n in range(3):
        id_ = brainboard.add(f"a{n}", environment=f"e{n}")
        live.put(id_, fresh())
    agent.sync()
    assert [copy.get(f"payments/e{n}/a{n}.tfstate") is not None for n in range(3)] == [True] * 3


def test_selection(agent, places, brainboard):
    live = places("brainboard-s3")
    live.add(agent, "live", key=False, blocks=[Block("select", project="pay*", status="deployed")])
    copy = to_folder(agent, places)
    one, two, three = brainboard.add("one"), brainboard.add("two", status="WIP"), brainboard.add("three", project="other")
    for id_ in (one, two, three):
        live.put(id_, fresh())
    agent.sync()
    assert [copy.get(f"{x}.tfstate") is not None for x in (one, two, three)] == [True, False, False]
    brainboard.delete(one)
    live.put(one, state(2, json.loads(live.get(one))["lineage"]))
    agent.sync()
    assert copy.get(f"{one}.tfstate") == live.get(one)      # deleted there: its state is still looked after


def test_managed_storage_is_counted(agent, places, brainboard):
    id_ = brainboard.add("net")
    agent.backend("brainboard", "live", brainboard.backend(), blocks=[Block("storage", "managed")])
    to_folder(agent, places)
    agent.sync()
    assert flags(agent, id_) == ["uncovered"]
    assert agent.status()["uncovered"] == 1
    again = agent.call("sync")
    assert "1 states, 0 changed, 1 uncovered; 0 written" in again.out, "each pass tells it, however well it went"
    problem = next(s for s in agent.json("list")["states"])["problem"]
    assert "managed storage" in problem
    assert agent.call("log", id_).out == f"no version of it is kept: {problem}\n"
    assert agent.json("log", id_)["problem"] == problem
    status = agent.call("status", code=3)
    assert status.out.startswith("0 of 1 states covered, agent not running") and "stateferry list" in status.out, status.out


def test_managed_storage_is_no_target(agent, places, brainboard):
    """Refused before anything runs, with the reason and the way out; and so is a migration into it, and a probe."""
    src = places("local")
    src.add(agent, "src")
    src.put(f"{brainboard.add('net')}.tfstate", fresh())
    agent.backend("brainboard", "bb", brainboard.backend(), blocks=[Block("storage", "managed")])
    agent.replicate("in", "src", "bb")
    for command, code in ((["config", "check"], 10), (["sync"], 10), (["migrate", "src", "bb", "--yes"], 1), (["probe", "bb"], 1)):
        if command[0] == "migrate":
            agent.forget("replicate", "in")
        said = agent.call(*command, code=code).err
        assert "in its managed storage are out of reach" in said and "storage of their own" in said, said


def test_an_agent_follows_the_runner(agent, places, terraform, brainboard):
    live = places("brainboard-s3-table")
    id_ = brainboard.add("net")
    tf = terraform("runner", live.terraform(id_))
    tf.init()
    live.add(agent, "live", key=False)
    copy = to_folder(agent, places)
    agent.start()
    for n in range(4):
        tf.apply(text=f"round {n}", items=1 + n)
    eventually(lambda: copy.get(f"{id_}.tfstate") == live.get(id_), what="the copy is the state")
    eventually(lambda: agent.status()["verdict"] == "ok", what="all is well")
    agent.stop()
    assert live.locks() == [] and tf.unchanged()


def test_probe_and_doctor(agent, places, brainboard):
    live, dr = places("local"), places("brainboard-s3")
    live.add(agent, "live")
    dr.add(agent, "bb")
    agent.replicate("in", "live", "bb")
    assert all(c["ok"] for c in agent.json("probe", "bb")["checks"])
    agent.call("config", "check", "--probe")
    brainboard.spellings = ()
    out = agent.call("config", "check", "--probe", code=3)
    assert "refuses the token" in out.out + out.err and brainboard.token not in out.out + out.err
    probed = {b["backend"]: b for b in agent.json("config", "check", "--probe", code=3)["backends"]}
    assert probed["live"]["ok"] and not probed["bb"]["ok"] and probed["bb"]["error"]["code"] == 12 and probed["bb"]["error"]["hint"]
    assert dr.inner.bucket.keys() == []


@pytest.mark.parametrize("kind", ["s3", "azurerm", "gcs"])
def test_a_missing_place_is_made(agent, places, brainboard, _session, kind):
    """That of all, and that of one architecture; not by a dry run."""
    live = places("local")
    live.add(agent, "live")
    common, own = str(uuid.uuid4()), str(uuid.uuid4())
    if kind == "gcs":
        server = _session(FakeGcsInMemory)
        args = [server.backend(bucket, project="acme") for bucket in (common, own)]
        read = lambda bucket, name: server.call("GET", f"/storage/v1/b/{bucket}/o/{name.replace('/', '%2F')}", alt="media")[1]
    elif kind == "azurerm":
        server = places("azurerm")
        args = [server.server.backend(container, port=server.front.port) for container in (common, own)]
        read = server.client.get
    else:
        server = places("s3")
        args = [server.bucket.server.backend(bucket) | {"use_lockfile": True} for bucket in (common, own)]
        read = server.bucket.client.get
    one, two = brainboard.add("one"), brainboard.add("two")
    agent.backend("brainboard", "bb", brainboard.backend() | {"key": "{uuid}/default.tfstate", "create": True}, blocks=[
        Block("storage", kind, **args[0]), Block("architecture", two, blocks=[Block("storage", kind, **args[1])])])
    agent.replicate("in", "live", "bb")
    for id_ in (one, two):
        live.put(f"{id_}.tfstate", fresh())
    assert "2 written" in agent.call("sync", "--dry-run").out
    assert agent.edge(agent.sync(), "in")["written"] == 2
    assert read(common, f"{one}/default.tfstate") == live.get(f"{one}.tfstate")
    assert read(own, f"{two}/default.tfstate") == live.get(f"{two}.tfstate")


def test_commands_take_uuid_and_alias(agent, places, terraform, brainboard):
    """restore, migrate, locks and unlock, as people use them."""
    old, bb = places("s3"), places("brainboard-azurerm")
    old.add(agent, "old")
    bb.add(agent, "bb")
    copy = places("local")
    copy.add(agent, "copy")
    agent.replicate("out", "bb", "copy")
    id_, line = brainboard.add("net"), lineage()
    old.put("prod/net.tfstate", fresh(3, line))
    error = agent.json("migrate", "old:prod/net.tfstate", "bb:payments/prod/nat", "--yes", code=1)["error"]
    assert "UUIDs" in error["message"] and "PROJECT" in error["hint"], error
    done = agent.call("migrate", "old:prod/net.tfstate", "bb:payments/prod/net", "--yes")   # no pass has listed it yet
    assert bb.get(id_) == old.get("prod/net.tfstate") and 'backend "azurerm"' in done.out
    assert f"{id_}/terraform.tfstate" in done.out and bb.inner.server.key not in done.out
    agent.sync()
    bb.put(id_, fresh(4, line, text="later"))
    agent.sync()
    brainboard.rename(id_, "network")
    agent.call("restore", "bb:payments/prod/network@1", "--yes")
    assert serial_of(bb.get(id_)) == 5 and "later" not in bb.get(id_).decode()
    other = brainboard.add("other")
    agent.call("restore", "bb:payments/prod/network@1", "--to", "bb:payments/prod/other", "--yes")
    assert bb.get(other) is not None and agent.json("log", f"bb:{id_.upper()}")["state"] == f"bb:{id_}"
    bb.delete(other)
    agent.sync()
    assert copy.get(f"{id_}.tfstate") == bb.get(id_) and bb.locks() == []
    bb.lock(id_, b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"runner@bb",'
                 b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')
    assert [x["name"] for x in agent.json("locks", "bb")["locks"]] == [id_]
    agent.call("unlock", f"bb:{id_}", "9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50", "--yes")
    assert bb.locks() == []
    doc = agent.call("doctor", code=None).out
    assert brainboard.token not in doc and "architectures of Brainboard in" in doc, doc


def test_names_that_are_nobodys_are_not_written(agent, places, brainboard):
    """A mistyped UUID is nobody's state; what is known goes on when nobody can be asked."""
    live, bb = places("local"), places("brainboard-s3")
    live.add(agent, "live")
    bb.add(agent, "bb")
    agent.replicate("in", "live", "bb")
    id_, line = brainboard.add("net"), lineage()
    wrong = id_[:-1] + ("0" if id_[-1] != "0" else "1")
    live.put(f"{id_.upper()}.tfstate", fresh(1, line))      # names of UUIDs have one form
    live.put(f"{wrong}.tfstate", fresh())
    doc = agent.sync(code=3)
    problem = told(doc)[f"{wrong}.tfstate"]
    assert "no architecture that Brainboard shows" in problem["message"] and "UUID" in problem["hint"], problem
    assert bb.inner.bucket.keys() == [f"{id_}/terraform.tfstate"]
    assert bb.inner.front.requests(part=wrong) == []
    brainboard.stop()
    live.put(f"{id_.upper()}.tfstate", fresh(2, line))
    problem = told(agent.sync(code=3))[f"{wrong}.tfstate"]
    assert "cannot be asked" in problem["message"], problem
    assert serial_of(bb.get(id_)) == 2
    error = agent.json("migrate", f"live:{wrong}.tfstate", f"bb:{wrong}", "--yes", code=1)["error"]
    assert "cannot be asked" in error["message"], error
    brainboard.start()
    brainboard.add("there now", id_=wrong)
    agent.sync()
    assert bb.get(wrong) == live.get(f"{wrong}.tfstate") and bb.locks() == []


def test_a_dry_run_says_what_the_run_does(agent, places, brainboard):
    old, bb = places("s3"), places("brainboard-azurerm")
    old.add(agent, "old")
    bb.add(agent, "bb", key=False)
    id_ = brainboard.add("net")
    old.put("prod/net.tfstate", fresh())
    agent.replicate("out", "old", "bb", blocks=[Block("state", "prod/net.tfstate", key=id_)])
    errors = [agent.json("migrate", "old:prod/net.tfstate", to, *how, code=1)["error"]
              for to in (f"bb:{id_}", "bb:payments/prod/net", f"bb:{uuid.uuid4()}") for how in (["--dry-run"], ["--yes"])]
    assert errors[0] == errors[1] and "nothing says under which name" in errors[0]["message"] and "key" in errors[0]["hint"], errors
    assert errors[2] | {"where": ""} == errors[0] | {"where": ""} and errors[2] == errors[3]
    assert errors[4] == errors[5] and "no architecture" in errors[4]["message"]
    assert bb.inner.client.names(bb.inner.container) == [] and bb.locks() == []
    bb.inner.put(f"{id_}.tfstate", old.get("prod/net.tfstate"))    # as Brainboard's first run leaves it
    done = agent.call("migrate", "old:prod/net.tfstate", f"bb:{id_}", "--dry-run")
    assert f"{id_}.tfstate" in done.out and "# where" not in done.out


def test_a_copy_inside_the_storage_is_refused(agent, places, brainboard):
    """It would be the state of an architecture again, beside the one that it is a copy of."""
    live = places("brainboard-s3")
    live.add(agent, "live", key=False)
    live.inner.add(agent, "dr")
    agent.replicate("out", "live", "dr", key="{uuid}/copy.tfstate")
    id_ = brainboard.add("net")
    live.put(id_, fresh())
    doc = agent.sync(code=None)
    assert "into itself" in doc["problems"][0]["message"]
    assert live.inner.bucket.keys() == [f"{id_}/terraform.tfstate"]
