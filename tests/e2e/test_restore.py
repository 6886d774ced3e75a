# SPDX-License-Identifier: MIT
"""Bringing a version back is the product: afterwards real terraform plans and applies as if nothing had been."""
import stat
import time

import pytest

from conftest import KINDS
from states import lineage, lineage_of, padded, serial_of, state

NAME = "net/prod.tfstate"
HELD = (b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
        b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')


@pytest.fixture
def history(agent, places, terraform):
    """Three applies (1, 2 and 6 resources), each seen by the agent and replicated."""
    def make(kind):
        live, dr = places(kind), places("s3" if kind != "s3" else "http")
        tf = terraform("tf", live.terraform(NAME))
        tf.init()
        live.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}))
        dr.add(agent, "dr")
        agent.replicate("out", "live", "dr")
        bodies = []
        for i, items in enumerate((1, 2, 6)):
            tf.apply(text=f"round {i}", items=items)
            agent.sync()
            bodies.append(live.get(NAME))
        return live, dr, tf, bodies
    return make


@pytest.mark.parametrize("kind", ["s3", "azurerm", "remote"])
def test_somebody_holds_the_lock(agent, places, kind):
    """Told at once, with who it is and what to do; nothing is written."""
    live, dr, name = places(kind), places("local"), "prod" if kind == "remote" else NAME
    if kind == "remote":
        live.prepare(name)
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    old, new = state(1, line := lineage()), state(2, line, text="new")
    for body in (old, new):
        live.put(name, body)
        agent.sync()
    live.lock(name, HELD)
    error = agent.json("restore", f"live:{name}@1", "--yes", code=11)["error"]
    assert "ann@desk" in error["message"] and f"stateferry unlock live:{name}" in error["hint"], error
    assert live.get(name) == new
    live.unlock(name)
    assert f"stateferry log live:{name}" in agent.json("restore", f"live:{name}@9", "--yes", code=1)["error"]["hint"]
    assert agent.json("restore", f"live:{name}@1", "--yes")["result"][0]["serial_after"] == 3


def with_serial(body, serial):
    """The same bytes with other digits in the serial."""
    return body.replace(b'"serial": %d,' % serial_of(body), b'"serial": %d,' % serial)


def ids(doc):
    return {i["attributes"]["id"] for r in doc["resources"] for i in r["instances"]}


@pytest.mark.parametrize("kind", KINDS)
def test_terraform_goes_on_after_a_restore(agent, history, kind):
    live, dr, tf, bodies = history(kind)
    first, top = tf.pull(), serial_of(bodies[2])
    plan = agent.json("restore", f"live:{NAME}@1", "--dry-run")["plan"]
    assert (plan[0]["serial_before"], plan[0]["serial_after"]) == (top, top + 1)
    assert live.get(NAME) == bodies[2]
    result = agent.json("restore", f"live:{NAME}@1", "--yes")["result"]
    assert (result[0]["serial_before"], result[0]["serial_after"]) == (top, top + 1)
    assert live.get(NAME) == with_serial(bodies[0], top + 1), "only the digits of the serial differ"
    assert live.locks() == []
    back = tf.pull()
    assert len(ids(back)) == 1 and ids(back) < ids(first)
    assert tf.plan("-detailed-exitcode", ok=(2,)).code == 2, "terraform sees what is missing now"
    tf.apply()
    assert serial_of(live.get(NAME)) > top + 1 and tf.unchanged()
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)
    serials = [serial_of(b) for b in (live.get(NAME), with_serial(bodies[0], top + 1), *reversed(bodies))]
    assert [v["serial"] for v in agent.versions(f"live:{NAME}")] == serials


def test_replicas_follow_a_restore_though_it_shrinks(agent, history):
    live, dr, _, bodies = history("s3")
    agent.call("restore", f"live:{NAME}@1", "--yes")
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and serial_of(dr.get(NAME)) == 4
    assert agent.json("status")["verdict"] == "ok" and agent.quarantine() == []


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_restore_of_a_state_too_large_for_memory(agent, places, kind):
    """Above 32 MiB a body is a file: its serial is raised there."""
    live, dr = places(kind), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    line = lineage()
    old = padded(9, line, 34 << 20)
    live.put(NAME, old)
    agent.sync()
    live.put(NAME, padded(99, line, 20_000))
    agent.sync(code=13)
    agent.call("quarantine", "release", f"live:{NAME}")
    plan = agent.json("restore", f"live:{NAME}@1", "--dry-run")["plan"][0]
    assert plan["serial_after"] == 100 and serial_of(live.get(NAME)) == 99
    result = agent.json("restore", f"live:{NAME}@1", "--yes")["result"][0]
    assert result["sha256"] == plan["sha256"] and result["serial_after"] == 100
    assert live.get(NAME) == old.replace(b'"serial": 9,', b'"serial": 100,', 1)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) == agent.cat(f"live:{NAME}")
    assert agent.json("check")["ok"]


def test_restore_asks_first(agent, history):
    live, _, _, bodies = history("s3")
    refused = agent.call("restore", f"live:{NAME}@1", code=2)
    assert "--yes" in refused.err
    assert live.get(NAME) == bodies[2]
    agent.call("restore", f"live:{NAME}@99", "--yes", code=(1, 2))
    assert live.get(NAME) == bodies[2]


def test_restore_to_a_file(agent, history, workdir):
    _, _, _, bodies = history("local")
    out = workdir / "restored.tfstate"
    agent.call("restore", f"live:{NAME}@2", "--out", out)
    assert out.read_bytes() == bodies[1]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_restore_by_serial_and_by_time(agent, history):
    live, _, tf, bodies = history("s3")
    agent.call("restore", f"live:{NAME}@serial=2", "--yes")
    assert live.get(NAME) == with_serial(bodies[1], 4)
    time.sleep(1.1)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    tf.apply(text="a mistake", items=1)
    agent.sync(code=(0, 13))        # it loses more than half of what was there, perhaps
    agent.call("restore", f"live:{NAME}", "--at", at, "--yes")
    assert live.get(NAME) == with_serial(bodies[1], 6)


@pytest.mark.parametrize("kind", KINDS)
def test_disaster_the_source_is_gone(agent, places, history, terraform, kind):
    """Everything at the source is lost; an empty place elsewhere takes over with the bytes as they were."""
    live, _, tf, bodies = history(kind)
    live.delete(NAME)
    agent.sync(code=(0, 3, 13))
    new = places("s3" if kind != "s3" else "local")
    new.add(agent, "new")
    agent.call("restore", f"live:{NAME}", "--to", f"new:{NAME}", "--keep-serial", "--yes")
    assert new.get(NAME) == bodies[2]
    tf.point_at(new.terraform(NAME))
    tf.init("-reconfigure")
    assert tf.unchanged()
    tf.apply(text="life goes on")
    assert serial_of(new.get(NAME)) > serial_of(bodies[2]) and lineage_of(new.get(NAME)) == lineage_of(bodies[2])


def test_restore_waits_for_terraforms_lock(agent, history):
    live, _, tf, bodies = history("s3")
    agent.forget("backend", "live")
    live.add(agent, "live", lock_timeout="1s")
    run = tf.asking(live.locks)
    agent.call("restore", f"live:{NAME}@1", "--yes", code=11)
    assert live.get(NAME) == bodies[2]
    tf.refuse(run)
    agent.call("restore", f"live:{NAME}@1", "--yes")
    assert serial_of(live.get(NAME)) == 4 and live.locks() == []


def test_everything_at_once(agent, places):
    live = places("s3")
    live.add(agent, "live")
    folder = places("local")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    good = {f"s{i}.tfstate": state(10 + i, lineage(), resources=6) for i in range(5)}
    for name, body in good.items():
        live.put(name, body)
    agent.sync()
    time.sleep(1.1)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    for name, body in good.items():
        live.put(name, state(serial_of(body) + 1, lineage_of(body), resources=6, text="wrecked"))
    agent.sync()
    agent.call("restore", "--at", at, "--all", "--yes")
    for name, body in good.items():
        assert live.get(name) == with_serial(body, serial_of(body) + 2)
    agent.sync()
    assert all(folder.get(name) == live.get(name) for name in good)


def test_restore_while_the_agent_runs(agent, history):
    live, dr, tf, bodies = history("http")
    agent.start()
    agent.call("restore", f"live:{NAME}@1", "--yes")
    assert serial_of(live.get(NAME)) == 4
    agent.replica_is("current", "live", NAME, "dr")
    agent.stop()
    assert dr.get(NAME) == live.get(NAME)
    tf.apply()
    assert tf.unchanged()
