# SPDX-License-Identifier: MIT
"""kill -9 at the worst moments: afterwards no lock of ours remains, the replica is right, nothing went backwards."""
import os
import random
import re
import threading
import time

import pytest

from agent import eventually
from places import replicating
from states import lineage, serial_of, state

NAME = "net/prod.tfstate"
KILLS = int(os.environ.get("KILLS", "12"))      # of each kind of target
SAID = re.compile(r": written .*?serial=(?P<serial>\d+) .*?sha256=(?P<sha256>\w+) .*\n")


@pytest.fixture
def setup(agent, places):
    """A folder as source, one replica of serial 1 at a target, serial 2 waiting to be written."""
    def make(kind, **more):
        live, dr, line = replicating(agent, places, kind, NAME, **more)
        agent.sync()
        live.put(NAME, state(2, line))
        return live, dr, line
    return make


def killed_at(agent, rule, command=("sync",)):
    """Runs until a request meets the rule, then kills. The request itself is still held."""
    process = agent.start_command(*command)
    rule.wait()
    process.kill()
    process.wait()


def right_afterwards(agent, live, dr):
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)
    assert dr.locks() == []
    assert agent.replica("live", NAME, "dr")["status"] == "current"
    assert agent.json("check")["ok"]
    serials = [e["serial"] for e in dr.writes(NAME) if e["status"] == 200]
    assert serials == sorted(serials), serials
    assert agent.edge(agent.sync(), "out")["written"] == 0


STEPS = ["lock", "read", "write", "unlock"]
REMOTE = ["s3", "http", "gcs", "azurerm"]


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("then", ["applied", "lost"])
def test_killed_in_the_middle(agent, setup, kind, step, then):
    """The request under way arrives after all, or never."""
    live, dr, _ = setup(kind)
    rule = getattr(dr, "on_" + step)(NAME, hold=True, drop="after" if then == "applied" else "before")
    killed_at(agent, rule)
    rule.release()
    time.sleep(0.2)
    right_afterwards(agent, live, dr)


@pytest.mark.parametrize("kind", REMOTE)
def test_killed_and_the_write_arrives_late(agent, setup, kind):
    """The old write reaches the server after the restarted agent has written something newer."""
    live, dr, line = setup(kind)
    rule = dr.on_write(NAME, hold=True)
    killed_at(agent, rule)
    live.put(NAME, state(3, line))
    agent.sync(code=None)
    rule.release()
    time.sleep(0.3)
    right_afterwards(agent, live, dr)
    assert serial_of(dr.get(NAME)) == 3


@pytest.mark.parametrize("kind", REMOTE)
def test_killed_and_the_lock_arrives_late(agent, setup, kind):
    """The lock that was on its way reaches the server after the next run found none and went on."""
    live, dr, _ = setup(kind)
    rule = dr.on_lock(NAME, hold=True)
    killed_at(agent, rule)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == []
    assert agent.json("locks", "dr")["locks"] == [], "what was looked for in vain is not told as held"
    rule.release()
    eventually(lambda: dr.locks() != [], 5, "the late lock is there")
    agent.sync()
    assert dr.locks() == []
    right_afterwards(agent, live, dr)


@pytest.mark.parametrize("kind", REMOTE)
def test_a_late_lock_is_looked_after_as_soon_as_it_is_met(agent, setup, kind):
    live, dr, line = setup(kind)
    rule = dr.on_lock(NAME, hold=True)
    killed_at(agent, rule)
    agent.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    rule.release()
    eventually(lambda: dr.locks() != [], 5, "the late lock is there")
    live.put(NAME, state(3, line))
    eventually(lambda: dr.get(NAME) == live.get(NAME) and dr.locks() == [], 25, "nobody waits for the next look in a minute")
    agent.stop()


def test_a_lock_that_was_repeated_arrives_twice(agent, setup):
    """The first request for the lock stays on its way until the repetition has been answered, used and released."""
    live, dr, _ = setup("s3", timeout="1s")
    rule = dr.on_lock(NAME, hold=True)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME) and dr.locks() == [] and rule.fired == 1
    rule.release()
    eventually(lambda: dr.locks() != [], 5, "the late lock is there")
    agent.sync()
    assert dr.locks() == []
    right_afterwards(agent, live, dr)


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_sync_beside_run_leaves_its_write_alone(agent, setup, kind):
    """An intent whose write is under way is none that a crash left behind: its lock stays, nobody writes beside it."""
    live, dr, _ = setup(kind)
    rule = dr.on_write(NAME, hold=True)
    agent.start()
    rule.wait()
    held = dr.locks()
    beside = agent.start_command("sync")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert dr.locks() == held != []
        time.sleep(0.02)
    rule.release()
    assert beside.wait(20) == 0
    assert len(dr.writes(NAME)) == 2, "the first contact and this one"
    agent.stop()
    right_afterwards(agent, live, dr)


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_killed_agent_in_the_background(agent, setup, kind):
    live, dr, line = setup(kind)
    rule = dr.on_write(NAME, hold=True, drop="before")
    agent.start()
    rule.wait()
    agent.kill()
    assert dr.locks() != []
    rule.release()
    agent.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME) and dr.locks() == [], 30)
    agent.stop()


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_sigterm_in_the_middle_leaves_no_lock(agent, setup, kind):
    live, dr, _ = setup(kind)
    slow = dr.on_write(NAME, delay=2.0)
    agent.start()
    slow.wait()
    agent.stop()
    assert dr.locks() == []
    right_afterwards(agent, live, dr)


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_sigterm_does_not_wait_for_a_write_that_hangs(agent, setup, kind):
    """It is given up in time to release the lock, and looked after by the next start."""
    live, dr, _ = setup(kind)
    stuck = dr.on_write(NAME, hold=True)
    agent.start()
    stuck.wait()
    begun = time.monotonic()
    agent.stop()
    assert time.monotonic() - begun < 10.5 and dr.locks() == []
    stuck.release()
    right_afterwards(agent, live, dr)


def test_an_interrupted_sync_does_not_wait_for_a_write_that_hangs(agent, setup):
    live, dr, _ = setup("http")
    stuck = dr.on_write(NAME, hold=True)
    process = agent.start_command("sync")
    stuck.wait()
    begun = time.monotonic()
    process.terminate()
    assert process.wait(20) == 130
    assert time.monotonic() - begun < 10.5 and dr.locks() == []
    stuck.release()
    right_afterwards(agent, live, dr)


def test_a_strangers_lock_is_left_alone_after_a_crash(agent, setup):
    live, dr, _ = setup("s3")
    rule = dr.on_write(NAME, hold=True, drop="before")
    killed_at(agent, rule)
    rule.release()
    time.sleep(0.2)
    ours = dr.get(NAME + ".tflock")
    stranger = ours.replace(b"stateferry@agent", b"someone@else").replace(b'"ID":"', b'"ID":"f')
    dr.lock(NAME, stranger)
    agent.forget("backend", "dr")
    dr.add(agent, "dr", lock_timeout="1s")
    agent.sync(code=11)
    assert dr.get(NAME + ".tflock") == stranger


def acknowledged(agent):
    """serial -> digest of what the agent said it wrote before it died: then it was a version on disk first. The line of
    `watch` is no such promise, it stands in the log before the commit."""
    return {int(m["serial"]): m["sha256"] for m in SAID.finditer(agent.said())}


def killed_once(agent, live, rng, serial, line, enough):
    """Starts the agent, lets the source move on under it, kills it, but not before it did enough; the last serial."""
    agent.start()
    end = time.monotonic() + rng.uniform(0.0, 0.3)
    while time.monotonic() < end or not enough():
        serial += 1
        live.put(NAME, state(serial, line, text=f"s{serial}"))
        time.sleep(rng.uniform(0.0, 0.06))
    agent.kill()
    return serial


@pytest.mark.deadline(120 + 2 * KILLS)
@pytest.mark.parametrize("kind", [*REMOTE, "local"])
def test_random_kills(agent, places, kind):
    """The agent is killed at random while a source moves on; what it acknowledged stays, the replica follows."""
    seed = int(os.environ.get("KILLS_SEED") or random.randrange(2**32))
    print(f"seed {seed}")
    rng = random.Random(seed)
    live, dr = places("local"), places(kind)
    live.add(agent, "live")
    dr.add(agent, "dr", lock_timeout="5s")
    agent.replicate("out", "live", "dr")
    line, serial, seen, written = lineage(), 0, {}, {}
    for n in range(KILLS):
        early = written or n < KILLS // 4       # on a busy machine it comes to nothing in so short a life
        serial = killed_once(agent, live, rng, serial, line, lambda: early or acknowledged(agent))
        written |= acknowledged(agent)
        if (body := dr.get(NAME)) is not None:
            assert serial_of(body) >= max(written, default=0), "the replica is behind what was acknowledged"
            seen[serial_of(body)] = body
    assert written, "nothing was acknowledged in all this time"
    right_afterwards(agent, live, dr)
    versions = {v["serial"]: v for v in agent.versions(f"live:{NAME}")}
    lost = sorted(written.keys() - versions.keys())
    assert not lost, f"acknowledged and lost: {lost}"
    for at, digest in written.items():
        assert versions[at]["sha256"].startswith(digest), f"serial {at} is another one now"
    for at, body in list(seen.items())[-20:]:
        assert agent.cat(f"live:{NAME}@{versions[at]['version']}") == body, "a version that was replicated is gone"
    print(f"{KILLS} kills, {serial} changes, {len(written)} acknowledged")


def test_one_owner_at_a_time(agent, setup):
    live, dr, _ = setup("http")
    slow = dr.on_write(NAME, hold=True)
    first = agent.start_command("sync")
    slow.wait()
    second = agent.call("sync", code=11)
    assert str(first.pid) in second.err
    assert agent.json("list")["states"], "other commands ask the owner"
    slow.release()
    assert first.wait(30) == 0
    agent.start()
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)


def test_run_waits_for_the_owner_to_go(agent, setup):
    live, dr, _ = setup("http")
    slow = dr.on_write(NAME, hold=True)
    first = agent.start_command("sync")
    slow.wait()

    def let_go():
        eventually(lambda: agent.process and "waiting for it to end" in agent.said())
        slow.release()
    threading.Thread(target=let_go, daemon=True).start()
    agent.start()       # which is: until it is ready
    assert first.wait(30) == 0
    assert f"in use by process {first.pid}: waiting for it to end" in agent.said()
    assert dr.get(NAME) == live.get(NAME)


def test_run_gives_up_on_an_owner_that_stays(agent, setup, preload):
    """After a minute, which its clock makes short. The owner's own clock is right."""
    _, dr, _ = setup("http")
    slow = dr.on_write(NAME, hold=True)
    first = agent.start_command("sync")
    slow.wait()
    agent.env |= preload("fast_clock") | {"FAST_CLOCK": "20"}
    done = agent.call("run", code=11)
    assert f"in use by process {first.pid}: waiting for it to end" in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("stateferry: ") and str(first.pid) in last, last
    slow.release()
    assert first.wait(30) == 0
