# SPDX-License-Identifier: MIT
"""Terraform's lock and ours are the same lock: each waits for the other, nobody breaks anything unasked."""
import json
import os
import pty
import subprocess
import time

import pytest

from agent import eventually
from conftest import KINDS
from places import replicating
from states import serial_of, state

NAME = "net/prod.tfstate"
FOREIGN = (b'{"ID":"28199e1c-3fc0-5817-efb1-6ca623fe2f7d","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
           b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')


def replicated(agent, places, kind, **more):
    """A folder as source, one replica of serial 1 at the target already."""
    live, dr, line = replicating(agent, places, kind, NAME, **more)
    agent.sync()
    return live, dr, line


@pytest.mark.parametrize("kind", KINDS)
def test_our_write_waits_for_terraform(agent, places, terraform, kind):
    live, dr, line = replicated(agent, places, kind)
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    before = dr.get(NAME)
    run = tf.asking(dr.locks)
    live.put(NAME, state(2, line))
    agent.start()
    agent.replica_is("behind", "live", NAME, "dr")
    time.sleep(1)
    assert dr.get(NAME) == before
    status = agent.status()
    assert status["verdict"] == "behind"
    tf.refuse(run)
    eventually(lambda: dr.get(NAME) == live.get(NAME), what="the write happens once terraform is done")
    agent.stop()
    assert dr.locks() == []
    assert tf.pull()["serial"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_sync_gives_up_at_lock_timeout_and_names_the_holder(agent, places, terraform, kind):
    live, dr, line = replicated(agent, places, kind, lock_timeout="1s")
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    before = dr.get(NAME)
    run = tf.asking(dr.locks)
    live.put(NAME, state(2, line))
    begun = time.monotonic()
    doc = agent.sync(code=11)
    assert time.monotonic() - begun < 15
    problem = agent.problem(doc, NAME)
    assert problem["code"] == 11 and "OperationTypeApply" in problem["message"] + problem["hint"], problem
    assert dr.get(NAME) == before and dr.locks() != []
    if kind != "http":          # that protocol cannot read a lock
        held = agent.json("locks", "dr")["locks"]
        assert [(h["name"], h["operation"], h["ours"]) for h in held] == [(NAME, "OperationTypeApply", False)]
        assert held[0]["who"] and held[0]["age_seconds"] >= 0
    tf.refuse(run)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_terraform_waits_for_our_write(agent, places, terraform, kind):
    live, dr, line = replicated(agent, places, kind)
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    live.put(NAME, state(2, line))
    writing = dr.on_write(NAME, hold=True)
    sync = agent.start_command("sync")
    writing.wait()
    refused = tf.plan(ok=(1,))
    assert "lock" in refused.out
    if kind == "s3":
        assert "stateferry@" in refused.out and "force-unlock" in refused.out
    waiting = tf.start("plan", "-no-color", "-input=false", "-lock-timeout=30s", "-refresh=false")
    time.sleep(1.5)
    assert waiting.process.poll() is None
    writing.release()
    assert sync.wait(30) == 0
    assert waiting.done().code == 0
    assert tf.pull()["serial"] == 2 and dr.locks() == []


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_what_our_lock_says(agent, places, kind):
    live, dr, line = replicated(agent, places, kind)
    live.put(NAME, state(2, line))
    writing = dr.on_write(NAME, hold=True)
    sync = agent.start_command("sync")
    writing.wait()
    body = dr.get(NAME + ".tflock") if kind == "s3" else dr.server.state(NAME).lock
    lock = json.loads(body)
    assert list(lock) == ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
    assert lock["Operation"] == "stateferry" and lock["Who"] == "stateferry@agent"
    assert "out" in lock["Info"] and "force-unlock" in lock["Info"]
    assert lock["Path"] == (f"{dr.bucket.name}/{NAME}" if kind == "s3" else "")
    assert b"\n" not in body and b": " not in body.split(b'"Info"')[0]
    ours = agent.json("locks", "dr")["locks"]
    assert [(l["id"], l["ours"]) for l in ours] == [(lock["ID"], True)]
    writing.release()
    assert sync.wait(30) == 0


def test_terraform_at_the_source_is_not_disturbed(agent, places, terraform, workdir):
    live, folder = places("s3"), places("local")
    tf = terraform("tf", live.terraform(NAME))
    tf.init()
    tf.apply()
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    gate = workdir / "gate"
    run = tf.hold(gate, text="second")
    agent.sync()
    assert serial_of(folder.get(NAME)) == 1
    assert "locked" in agent.states("live")[NAME]["flags"] or agent.json("locks", "live")["locks"]
    tf.release(gate)
    assert run.done().code == 0
    agent.sync()
    assert folder.get(NAME) == live.get(NAME)
    assert {e["method"] for e in live.front.requests()} <= {"GET", "HEAD"}, "reading a source takes no lock"


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_lock_of_somebody_dead_is_told(agent, places, kind):
    """After lock_timeout the running agent waits on, and says for whom and what to do."""
    live, dr, line = replicated(agent, places, kind, lock_timeout="2s")
    dr.lock(NAME, FOREIGN)
    live.put(NAME, state(2, line))
    agent.start()
    eventually(lambda: agent.status()["problems"], 20)
    told = agent.status()
    assert told["verdict"] == "behind"
    problem = agent.problem(told)
    assert problem["kind"] == "locked" and problem["state"] == NAME and "ann@desk" in problem["message"]
    assert "stateferry unlock dr:" in problem["hint"]
    assert agent.replica("live", NAME, "dr")["error"] == problem["message"]
    agent.call("unlock", f"dr:{NAME}", json.loads(FOREIGN)["ID"], "--yes")
    eventually(lambda: dr.get(NAME) == live.get(NAME), 25)
    eventually(lambda: agent.status()["verdict"] == "ok")
    assert agent.replica("live", NAME, "dr")["error"] is None
    agent.stop()


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_held_lock_is_asked_for_on_its_own_schedule(agent, places, kind):
    """However often the target is looked at: 0, 1, 3, 7 s, as terraform does."""
    live, dr, line = replicated(agent, places, kind)
    dr.lock(NAME, FOREIGN)
    live.put(NAME, state(2, line))
    agent.start()
    time.sleep(5)
    asked = agent.said().count("waits for a lock")
    agent.stop()
    assert 1 <= asked <= 6, asked


@pytest.mark.parametrize("kind", ["s3", "http"])        # a local lock dies with its process
def test_unlock_breaks_a_foreign_lock_only_by_its_id(agent, places, kind):
    _, dr, _ = replicated(agent, places, kind)
    stranger = {"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "",
                "Who": "someone@gone", "Version": "1.11.4", "Created": "2026-11-24T10:00:00Z", "Path": ""}
    dr.lock(NAME, json.dumps(stranger, separators=(",", ":")).encode())
    refused = agent.call("unlock", f"dr:{NAME}", "99999999-2222-3333-4444-555555555555", "--yes", code=None)
    assert refused.code not in (0, 2) and dr.locks() != []
    asked = agent.call("unlock", f"dr:{NAME}", stranger["ID"], code=2)
    assert "--yes" in asked.err and dr.locks() != []
    shown = agent.call("unlock", f"dr:{NAME}", stranger["ID"], "--yes")
    assert "someone@gone" in shown.out + shown.err
    assert dr.locks() == []


def on_terminal(agent, answer, *args):
    """A command with a terminal to ask on: what it printed before it was answered, the rest, and how it ended."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(agent.command(*args), cwd=agent.folder, env=agent.env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = [b"", b""]
    for i in range(2):
        try:
            while b"Type \"" not in said[0] or i == 1:
                said[i] += os.read(ours, 4096)
        except OSError:         # the other side is closed: it has ended
            break
        if i == 0:
            os.write(ours, answer.encode() + b"\n")
    os.close(ours)
    return said[0].decode(), said[1].decode(), process.wait(30)


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_unlock_shows_the_lock_before_it_asks(agent, places, kind):
    _, dr, _ = replicated(agent, places, kind)
    stranger = {"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "",
                "Who": "someone@gone", "Version": "1.11.4", "Created": "2026-11-24T10:00:00Z", "Path": ""}
    dr.lock(NAME, json.dumps(stranger, separators=(",", ":")).encode())
    if kind == "http":          # nobody can ask that protocol; a refusal tells
        before, after, code = on_terminal(agent, "wrong-id", "unlock", f"dr:{NAME}", "wrong-id")
        assert "cannot show a lock" in before and "someone@gone" in after and code == 13
        assert [l["who"] for l in agent.json("locks", "dr")["locks"]] == ["someone@gone"]
    before, after, code = on_terminal(agent, "no", "unlock", f"dr:{NAME}", stranger["ID"])
    assert "someone@gone" in before and "nothing was done" in after and code == 2
    assert dr.locks() != []
    before, after, code = on_terminal(agent, stranger["ID"], "unlock", f"dr:{NAME}", stranger["ID"])
    assert "someone@gone" in before and "is unlocked" in after and code == 0
    assert dr.locks() == [] and agent.json("locks", "dr")["locks"] == []


def test_locked_and_unwritten_local_state_is_no_damage(agent, places, terraform, workdir):
    """terraform's first apply leaves a file of no bytes while it holds the lock."""
    live, folder = places("local"), places("local")
    tf = terraform("tf", live.terraform(NAME))
    tf.init()
    live.add(agent, "live")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    gate = workdir / "gate"
    run = tf.hold(gate, items=0)
    assert live.get(NAME) == b"", "this is how terraform does it"
    agent.sync()
    assert folder.get(NAME) is None and agent.quarantine() == []
    tf.release(gate)
    assert run.done().code == 0
    agent.sync()
    assert folder.get(NAME) == live.get(NAME)
