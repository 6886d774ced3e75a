# SPDX-License-Identifier: MIT
"""Terraform at a source, seen by its lock: whose it is, what came of it, and how closely such a state is followed."""
import datetime
import json
import os
import socket

import pytest

from agent import eventually
from conftest import need_tool
from states import lineage, state

NAME = "net/prod.tfstate"
SLOW_POLL = "20s"       # what happens sooner happened because of the lock


def watching(agent, place, names=(NAME,)):
    place.add(agent, "live", poll=SLOW_POLL, **({"states": list(names)} if place.kind == "http" else {}))
    replicating_to_folder(agent)


def replicating_to_folder(agent):
    agent.backend("local", "folder", dir=str(agent.folder / "replicas"), create=True)
    agent.replicate("out", "live", "folder", key="{path}")


def runs(agent, *args):
    return agent.json("runs", *args)["runs"]


# Where the listing shows a lock; the table of locks is asked when a change is seen, or a lock is known.
SHOWN = ["local", "s3", "gcs", "remote"]


def project(terraform, place, name):
    more = {"cli": place.cli} if place.kind == "remote" else {}
    return terraform("tf", place.terraform(name), **more)


@pytest.mark.parametrize("kind", SHOWN)
def test_what_terraform_writes_is_its_runs(agent, places, terraform, workdir, kind):
    live = places(kind)
    name = {"remote": "web", "gcs": "net/default.tfstate"}.get(kind, NAME)
    if kind == "remote":
        live.prepare(name)
    tf = project(terraform, live, name)
    tf.init()
    tf.apply()
    watching(agent, live)
    agent.start()
    first = eventually(lambda: agent.versions(f"live:{name}"))
    assert first[0]["run"] is None and runs(agent) == []
    gate = workdir / "gate"
    run = tf.hold(gate, text="second")
    [held] = eventually(lambda: runs(agent, f"live:{name}"), 25)
    assert held["ended"] is None and (held["first_serial"] is None or kind == "local"), "which is written after each step"
    if kind != "remote":        # that server tells its own, not terraform's
        assert "@" in held["who"] and held["operation"] == "OperationTypeApply"
    assert agent.states("live")[name]["lock"]["id"] == held["id"]
    tf.release(gate)
    assert run.done().code == 0
    [ended] = eventually(lambda: [r for r in runs(agent) if r["ended"]], 8, "the end is seen at once")
    newest = agent.versions(f"live:{name}")[0]
    assert newest["serial"] == tf.pull()["serial"] == ended["last_serial"] and ended["versions"] >= 1
    assert (newest["run"], newest["who"], newest["operation"]) == (held["id"], held["who"], held["operation"])
    assert ended["id"] == held["id"] and ended["last_version"] == newest["version"]
    assert agent.states("live")[name]["lock"] is None
    agent.stop()
    said = agent.call("runs").out + agent.call("log", f"live:{name}").out
    assert held["id"] in said and held["who"] in said


def test_a_lock_in_a_table_is_seen_when_something_changes(agent, places):
    live, line = places("s3-table"), lineage()
    live.put(NAME, state(1, line))
    live.add(agent, "live", poll="500ms")
    replicating_to_folder(agent)
    agent.start()
    eventually(lambda: agent.versions(f"live:{NAME}"))
    live.lock(NAME, b'{"ID":"t-1","Operation":"OperationTypeApply","Who":"ann@desk","Created":"2026-11-22T00:44:48Z"}')
    assert runs(agent) == []
    live.put(NAME, state(2, line))
    eventually(lambda: agent.versions(f"live:{NAME}")[0]["run"] == "t-1")
    live.put(NAME, state(3, line))
    live.unlock(NAME)
    [run] = eventually(lambda: [r for r in runs(agent) if r["ended"]])
    assert (run["who"], run["first_serial"], run["last_serial"]) == ("ann@desk", 2, 3)
    live.put(NAME, state(4, line))
    eventually(lambda: agent.versions(f"live:{NAME}")[0]["serial"] == 4)
    assert agent.versions(f"live:{NAME}")[0]["run"] is None
    agent.stop()


@pytest.mark.parametrize("kind", ["azurerm", "harness"])
def test_locks_of_others(agent, places, kind):
    """As terraform leaves them there; what harness does not tell is not made up."""
    live, name, line = places(kind), "web" if kind == "harness" else NAME, lineage()
    if kind == "harness":
        live.prepare(name)
    live.put(name, state(1, line))
    live.add(agent, "live", poll="500ms")
    replicating_to_folder(agent)
    agent.start()
    eventually(lambda: agent.versions(f"live:{name}"))
    live.lock(name, b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
                    b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')
    if kind == "harness":       # its listing shows no lock
        live.put(name, state(2, line))
    [held] = eventually(lambda: runs(agent))
    assert ("ann@desk" == held["who"]) == (kind == "azurerm")
    live.unlock(name)
    eventually(lambda: runs(agent)[0]["ended"])
    agent.stop()


def test_a_run_of_the_servers_own(agent, places):
    """Terraform Cloud says itself which of its runs wrote a version."""
    live, line = places("remote"), lineage()
    live.prepare("web")
    live.put("web", state(1, line))
    live.server.workspaces["web"].versions[-1].run = "run-CZcmD7eagjhyX0vN"
    live.add(agent, "live")
    replicating_to_folder(agent)
    agent.sync()
    live.put("web", state(2, line))
    agent.sync()
    assert [v["run"] for v in agent.versions("live:web")] == [None, "run-CZcmD7eagjhyX0vN"]
    assert runs(agent) == []


def test_a_pass_sees_what_is_locked_while_it_looks(agent, places, terraform, workdir):
    live = places("s3")
    tf = project(terraform, live, NAME)
    tf.init()
    tf.apply()
    watching(agent, live)
    agent.sync()
    gate = workdir / "gate"
    run = tf.hold(gate, text="second")
    agent.sync("--dry-run")
    assert runs(agent) == []
    agent.sync()
    [held] = runs(agent)
    tf.release(gate)
    assert run.done().code == 0
    agent.sync()
    [ended] = runs(agent)
    assert ended["ended"] and agent.versions(f"live:{NAME}")[0]["run"] == held["id"]


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_what_a_killed_run_left_is_told_and_not_broken(agent, places, terraform, workdir, kind):
    live = places(kind)
    name = "net/default.tfstate" if kind == "gcs" else NAME
    tf = project(terraform, live, name)
    tf.init()
    tf.apply()
    live.add(agent, "live", poll="500ms", lock_timeout="2s")
    replicating_to_folder(agent)
    agent.start()
    run = tf.hold(workdir / "gate", text="killed")
    run.process.kill()
    run.process.wait()
    tf.release(workdir / "gate")        # its provisioner ends too
    told = eventually(lambda: [p for p in agent.status()["problems"] if p["kind"] == "lock"])[0]
    assert agent.status()["verdict"] == "ok" and told["state"] == name
    [lock] = agent.json("locks", "live")["locks"]
    assert lock["suspect"] and lock["patience_over"] and lock["patience_seconds"] == 2 and "held for" in lock["diagnosis"]
    assert socket.gethostname() in lock["who"] and "this host" in lock["diagnosis"], lock
    assert lock["who"] in told["cause"] and f"stateferry unlock live:{name} {lock['id']}" in told["next"]
    assert f"stateferry unlock live:{name} {lock['id']}" in agent.call("locks").out
    assert "lock" in tf.plan(ok=(1,)).out, "it is a person's to break"
    broken = agent.json("unlock", "--yes", f"live:{name}", lock["id"])
    newest = agent.versions(f"live:{name}")[0]
    assert broken["kept"] == {"state": f"live:{name}", "version": newest["version"]}
    eventually(lambda: runs(agent)[0]["ended"])
    assert agent.status()["problems"] == []
    assert tf.plan(ok=(0, 2))
    agent.stop()


def test_no_terraform_on_this_host(agent, places):
    """A lock that names this host, where none is running: told before any patience is over."""
    live = places("s3")
    live.put(NAME, state(1, lineage()))
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    live.lock(NAME, json.dumps({"ID": "t-1", "Operation": "OperationTypeApply", "Who": f"ann@{socket.gethostname()}", "Created": now}).encode())
    live.add(agent, "live")
    replicating_to_folder(agent)
    agent.prefix = [need_tool("unshare"), "--pid", "--fork", "--mount-proc", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    [lock] = agent.json("locks", "live")["locks"]
    assert lock["suspect"] and not lock["patience_over"] and "on this host, where no terraform is running" in lock["diagnosis"], lock


@pytest.mark.parametrize("kind", ["s3", "azurerm", "gcs", "s3-table", "http", "remote"])
def test_unlock_keeps_what_a_target_holds(agent, places, kind):
    live, dr = places("local"), places(kind)
    name = "web.tfstate" if kind == "remote" else NAME
    if kind == "remote":
        dr.prepare("web")
    live.add(agent, "live")
    dr.add(agent, "dr", lock_timeout="1s")
    agent.replicate("out", "live", "dr", **({"key": "{path}"} if kind == "remote" else {}))
    there, line = "web" if kind == "remote" else name, lineage()
    live.put(name, state(1, line))
    agent.sync()
    dr.put(there, state(4, line, text="of somebody"))
    dr.lock(there, b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
                   b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')
    held = dr.get(there)
    lock = "9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50" if kind == "http" else agent.json("locks", "dr")["locks"][0]["id"]
    kept = agent.json("unlock", "--yes", f"dr:{there}", lock)["kept"]
    assert list(dr.locks()) == [] and kept == {"state": f"live:{name}", "version": 2}
    assert agent.cat(f"live:{name}@2") == held
    assert agent.versions(f"live:{name}")[0]["head"] is False and agent.states("live")[name]["serial"] == 1
