# SPDX-License-Identifier: MIT
"""Folders: terraform's own files under terraform's own lock, noticed at once, never damaged."""
import os
import time

import pytest

from agent import eventually
from states import lineage, padded, serial_of, state

NAME = "net/prod.tfstate"


@pytest.fixture
def pair(agent, places):
    """Two folders, one replicated to the other; polling alone would take a minute."""
    live, dr = places("local"), places("local")
    live.add(agent, "live", poll="60s")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    return live, dr


def test_change_is_noticed_at_once(agent, pair, terraform):
    live, dr = pair
    tf = terraform("tf", live.terraform(NAME))
    tf.init()
    agent.start()
    for i in range(4):
        tf.apply(text=f"round {i}", items=i + 1)
        eventually(lambda: dr.get(NAME) == live.get(NAME), 3, "inotify")
    new = state(1, lineage())
    live.put("new/folder/deep/x.tfstate", new)
    eventually(lambda: dr.get("new/folder/deep/x.tfstate") == new, 3, "a folder that was not there at the start")
    agent.stop()


def test_truncate_then_write_is_no_damage(agent, pair):
    """Terraform empties its file before it writes: what is read in between means nothing."""
    live, dr = pair
    line = lineage()
    live.put(NAME, state(1, line))
    agent.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    with open(live.path(NAME), "r+b") as f:
        f.truncate(0)
        time.sleep(0.7)
        body = state(2, line)
        f.write(body[:100])
        f.flush()
        time.sleep(0.4)
        f.write(body[100:])
    eventually(lambda: dr.get(NAME) == body)
    assert agent.quarantine() == []
    assert [v["serial"] for v in agent.versions(f"live:{NAME}")] == [2, 1]


def test_existing_file_is_written_in_place(agent, pair):
    live, dr = pair
    line = lineage()
    live.put(NAME, state(1, line))
    agent.sync()
    assert dr.path(NAME).stat().st_mode & 0o777 == 0o600
    os.chmod(dr.path(NAME), 0o640)
    before = dr.path(NAME).stat()
    for serial, resources in ((2, 30), (3, 16)):
        live.put(NAME, state(serial, line, resources=resources))
        agent.sync()
        assert dr.get(NAME) == live.get(NAME)
    after = dr.path(NAME).stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert sorted(p.name for p in dr.path(NAME).parent.iterdir()) == ["prod.tfstate"]


def test_a_write_that_breaks_off_is_repaired(agents, places, preload, workdir):
    """A disk that fails in the middle leaves half of a replica: it says so, and the next try writes over what is known as ours."""
    gate = workdir / "gate"
    live, dr, line = places("local"), places("local"), lineage()
    agent = agents(env=preload("torn_write") | {"TORN_WRITE": str(dr.path(NAME)), "TORN_GATE": str(gate)})
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    live.put(NAME, padded(1, line, 200_000))
    agent.sync()
    gate.touch()
    live.put(NAME, padded(2, line, 300_000))
    problem = agent.problem(agent.sync(code=1), NAME)
    assert "writing in place failed" in problem["message"] and "Input/output error" in problem["message"], problem
    assert dr.get(NAME) not in (live.get(NAME), padded(1, line, 200_000)) and dr.locks() == []
    gate.unlink()
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)
    assert agent.status()["verdict"] == "ok" and agent.json("check")["ok"]


def test_a_limit_of_the_size_of_files_tears_nothing(agent, pair):
    live, dr = pair
    line = lineage()
    live.put(NAME, padded(1, line, 200_000))
    agent.sync()
    before = dr.get(NAME)
    live.put(NAME, padded(2, line, 3_000_000))
    agent.prefix = ["env", "--default-signal=XFSZ", "prlimit", "--fsize=2000000"]
    problem = agent.problem(agent.sync(code=1), NAME)
    assert "File too large" in problem["message"] and "limit" in problem["hint"], problem
    assert dr.get(NAME) == before
    agent.prefix = []
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)


def test_apply_that_waits_for_our_lock_loses_nothing(agents, places, terraform, preload):
    agent = agents(env=preload("slow_sync") | {"SLOW_SYNC": "/dr.tfstate"})
    live, dr = places("local"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    one = terraform("one", live.terraform("dr.tfstate"))
    two = terraform("two", dr.terraform("dr.tfstate"))
    one.init()
    two.init()
    one.apply(items=2)
    agent.sync()
    one.apply(items=5)
    sync = agent.start_command("sync")
    eventually(lambda: dr.locks(), 20, "our lock")
    assert "lock" in two.plan("-var=items=5", ok=(1,)).out
    two.apply("-lock-timeout=30s", items=6)
    assert sync.wait(30) == 0
    final = two.pull()
    assert final["serial"] > serial_of(live.get("dr.tfstate"))
    ours = {i["attributes"]["id"] for r in one.pull()["resources"] for i in r["instances"]}
    theirs = {i["attributes"]["id"] for r in final["resources"] for i in r["instances"]}
    assert ours < theirs and len(theirs) == 6, "what the agent wrote is in what terraform wrote next"
    assert dr.locks() == []


def test_killed_while_a_snapshot_is_written_leaves_nothing_there(agents, places, preload):
    agent = agents(env=preload("slow_sync") | {"SLOW_SYNC": "/x.tfstate/"})
    live, dr = places("local"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.snapshot("history", "live", "dr")
    live.put("x.tfstate", state(1, lineage()))
    folder = dr.path("history/x.tfstate")
    sync = agent.start_command("sync")
    eventually(folder.exists, 20, "the write")
    time.sleep(0.5)
    assert sync.poll() is None
    sync.kill()
    sync.wait()
    assert list(folder.iterdir()) == []
    agent.sync()
    assert [p.name[:21] for p in folder.iterdir()] == ["00000000000000000001-"]


def test_terraform_workspaces_of_a_path(agent, places, terraform):
    live, dr = places("local"), places("local")
    tf = terraform("tf", ("local", {"path": str(live.folder / "terraform.tfstate"),
                                    "workspace_dir": str(live.folder / "terraform.tfstate.d")}))
    tf.init()
    tf.apply()
    tf.call("workspace", "new", "blue")
    tf.apply(text="in blue")
    agent.backend("local", "live", path=str(live.folder / "terraform.tfstate"),
                  workspace_dir=str(live.folder / "terraform.tfstate.d"))
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr", key="{workspace}")
    assert agent.edge(agent.sync(), "out")["written"] == 2
    assert dr.get("default.tfstate") == live.get("terraform.tfstate")
    assert dr.get("blue.tfstate") == live.get("terraform.tfstate.d/blue/terraform.tfstate")


def test_a_path_as_target_is_what_terraform_goes_on_with(agent, places, terraform):
    live, dr = places("s3"), places("local")
    one = terraform("one", live.terraform(NAME))
    one.init()
    one.apply(items=3)
    agent.backend("s3", "live", live.bucket.backend(NAME))
    agent.backend("local", "dr", path=str(dr.folder / "terraform.tfstate"))
    agent.replicate("out", "live", "dr")
    agent.sync()
    two = terraform("two", ("local", {"path": str(dr.folder / "terraform.tfstate")}))
    two.vars = one.vars
    two.init()
    assert two.unchanged()


def test_symlinks_do_not_lead_outside(agent, pair, workdir):
    live, dr = pair
    outside = workdir / "outside"
    outside.mkdir()
    (outside / "secret.tfstate").write_bytes(state(1, lineage()))
    (live.folder / "in").symlink_to(outside)
    (dr.folder / "out").symlink_to(outside)
    live.put("good.tfstate", state(1, lineage()))
    live.put("out/evil.tfstate", state(1, lineage()))
    agent.sync(code=3)
    assert dr.get("good.tfstate") == live.get("good.tfstate")
    assert not (dr.folder / "in").exists(), "a state from outside the tree was read"
    assert not (outside / "evil.tfstate").exists(), "a state was written outside the tree"


def test_target_file_that_is_a_symlink_outside(agent, pair, workdir):
    live, dr = pair
    victim = workdir / "victim.tfstate"
    victim.write_bytes(state(1, lineage()))
    before = victim.read_bytes()
    (dr.folder / "x.tfstate").symlink_to(victim)
    live.put("x.tfstate", state(7, lineage()))
    agent.call("sync", code=(1, 13))
    assert victim.read_bytes() == before


def test_folder_without_permission_is_one_clear_problem(agent, pair):
    if os.geteuid() == 0:
        live, dr = pair
        (dr.folder / "net").write_text("a file where a folder should be\n")
        live.put(NAME, state(1, lineage()))
        live.put("other.tfstate", state(1, lineage()))
        doc = agent.sync(code=3)
        assert "net" in agent.problem(doc, NAME)["message"]
        assert dr.get("other.tfstate") == live.get("other.tfstate")
        (dr.folder / "net").unlink()
    else:
        live, dr = pair
        live.put(NAME, state(1, lineage()))
        os.chmod(dr.folder, 0o500)
        agent.sync(code=12)
        os.chmod(dr.folder, 0o700)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)
