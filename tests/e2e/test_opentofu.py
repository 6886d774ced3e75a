# SPDX-License-Identifier: MIT
"""OpenTofu as the other party: its states, its locks, and what it makes of our copies. Version 1.6
indents its states; what later ones write, in one line, is made here."""
import json
import signal

import pytest

from agent import eventually
from states import lineage, serial_of, state

NAME = "net/prod.tfstate"
KINDS = ["s3-table", "gcs", "http"]


def backend(place):
    """Without what OpenTofu knows from 1.10 on."""
    kind, args = place.terraform(NAME)
    return kind, {k: v for k, v in args.items() if k != "use_lockfile"}


def of_default(place):
    return "net/default.tfstate" if place.kind == "gcs" else NAME


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_source(agent, places, tofu, workdir, kind):
    live, folder = places(kind), places("local")
    name = of_default(live)
    live.add(agent, "live", **({"states": [name]} if kind == "http" else {}))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    one = tofu("one", backend(live))
    one.init()
    one.apply(items=3)
    agent.sync()
    first = live.get(name)
    assert folder.get(name) == first
    one.apply(items=2, text="second")
    agent.sync()
    assert folder.get(name) == live.get(name) and serial_of(live.get(name)) > serial_of(first)
    assert agent.cat(f"live:{name}@1") == first
    if kind != "http":
        one.call("workspace", "new", "dev")
        one.apply(items=1)
        agent.sync()
        assert len([n for n in agent.states("live") if "dev" in n]) == 1
        one.call("workspace", "select", "default")

    run = one.hold(workdir / "gate", text="held")
    if kind != "http":                                  # whose protocol shows no lock
        shown = agent.json("locks")["locks"]
        assert [(k["name"], k["operation"]) for k in shown] == [(name, "OperationTypeApply")]
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    (workdir / "gate").touch()
    left = json.loads(live.server.state(NAME).lock)["ID"] if kind == "http" else agent.json("locks")["locks"][0]["id"]
    agent.call("unlock", "--yes", f"live:{name}", left)
    assert list(live.locks()) == []
    one.apply(text="after the death")
    agent.sync()
    assert folder.get(name) == live.get(name)


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_target(agent, places, tofu, workdir, kind):
    """Tofu goes on from a copy, waits for nobody, and is waited for."""
    live, dr = places("local"), places(kind)
    name = of_default(dr)
    live.add(agent, "live")
    dr.add(agent, "dr", lock_timeout="30s")
    agent.replicate("out", "live", "dr")
    line = lineage()
    live.put(name, state(4, line, outputs={}, compact=True))
    agent.sync()
    there = tofu("there", backend(dr))
    there.init()
    assert dr.get(name) == live.get(name) and there.pull()["serial"] == 4
    run = there.hold(workdir / "gate", text="held")
    live.put(name, state(9, line, text="newer", outputs={}, compact=True))
    agent.start()
    eventually(lambda: "waits" in agent.said() or agent.status()["verdict"] != "ok", what="the agent waits for tofu")
    assert serial_of(dr.get(name)) == 4
    there.release(workdir / "gate")
    assert run.done().code == 0
    eventually(lambda: dr.get(name) == live.get(name), what="the newer state goes there once tofu let go")
    agent.stop()
    assert list(dr.locks()) == []
    assert 5 in [v["serial"] for v in agent.versions(f"live:{name}")], "what tofu wrote there is a version first"
    assert there.pull()["serial"] == 9
    there.apply(items=1)
    assert serial_of(dr.get(name)) == 10
