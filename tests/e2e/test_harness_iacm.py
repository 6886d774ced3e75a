# SPDX-License-Identifier: MIT
"""Workspaces of Harness IaCM: the fake beside real terraform, and the agent beside both."""
import json

import pytest

import harness
from agent import eventually
from states import lineage, serial_of, state

TOKEN = {"TF_HTTP_PASSWORD": harness.TOKEN}


@pytest.fixture
def project(harnesses, terraform):
    """A workspace, and terraform on it with the block that Harness makes."""
    server = harnesses()
    server.add("vpc")
    tf = terraform("vpc", ("http", server.backend("vpc")), env=TOKEN)
    tf.init()
    return server, tf


def replicating(agent, server, folder, **more):
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "live", server.project(**more))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")


# --- the fake, judged by terraform ------------------------------------------------------------------------------------


def test_terraform_on_the_fake(project, terraform, workdir):
    server, one = project
    one.apply(text="first")
    assert one.unchanged() and one.pull()["serial"] == serial_of(server.body("vpc"))
    two = terraform("two", ("http", server.backend("vpc")), env=TOKEN)
    two.init()
    gate = workdir / "gate"
    run = one.hold(gate, text="held")
    refused = two.plan(ok=(1,))
    assert harness.INCIDENT in refused.out                  # an incident, shown as if it were the lock
    assert server.locks()["vpc"]["ID"] not in refused.out
    two.call("force-unlock", "-force", server.locks()["vpc"]["ID"], ok=(1,))
    assert list(server.locks()) == ["vpc"]
    one.release(gate)
    assert run.done().code == 0 and server.locks() == {}
    assert [e["status"] for e in server.requests("GET") if e["name"] == "vpc"][0] == 404


def test_a_wrong_token_is_refused(harnesses, terraform):
    server = harnesses()
    server.add("vpc")
    tf = terraform("vpc", ("http", server.backend("vpc")), env={"TF_HTTP_PASSWORD": "other"})
    assert "requires auth" in tf.call("init", "-no-color", "-input=false", ok=(1,)).out


# --- the agent --------------------------------------------------------------------------------------------------------


def test_a_project_is_backed_up_page_by_page(agent, harnesses, places):
    server, folder = harnesses(page=3), places("local")
    replicating(agent, server, folder)
    lines = {f"w{i}": lineage() for i in range(8)}
    server.add("empty")
    for name, line in lines.items():
        server.put(name, state(1, line))
    assert agent.edge(agent.sync(), "out")["written"] == 8
    for name in lines:
        assert folder.get(f"{name}.tfstate") == server.body(name)
    before = len(server.requests())
    assert agent.edge(agent.sync(), "out")["unchanged"] == 8
    asked = [e["target"] for e in server.requests()[before:]]
    assert sum("terraform-backend" in t for t in asked) == 1        # of what is known, the checksum is enough; "empty" has none
    server.put("w3", state(2, lines["w3"]))
    assert agent.edge(agent.sync(), "out")["written"] == 1


@pytest.mark.parametrize("what", ["backend.tf", ".terraform/terraform.tfstate", "words"])
def test_the_pipelines_own_files(agent, project, places, what):
    """from_file is the repository's backend block, or what init made of it; and the token is where terraform has it."""
    server, tf = project
    folder = places("local")
    tf.apply(items=2)
    agent.env |= TOKEN
    words = [f"{k}={v}" for k, v in server.backend("vpc").items()]
    agent.backend("harness", "live", {"from_file": words if what == "words" else str(tf.folder / what)})
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    agent.sync()
    assert folder.get("vpc.tfstate") == server.body("vpc")
    resolved = agent.call("config", "show").out
    assert harness.TOKEN not in resolved


def test_the_block_as_it_is(agent, project, places):
    """backend "http" with Harness's addresses works unchanged, locks too."""
    server, tf = project
    live = places("local")
    live.add(agent, "live")
    agent.env |= TOKEN
    agent.backend("http", "dr", {"from_file": str(tf.folder / "backend.tf")}, lock_timeout="1s")
    agent.replicate("out", "live", "dr")
    live.put("vpc.tfstate", state(1, lineage()))
    agent.sync()
    assert server.body("vpc") == live.get("vpc.tfstate") and server.locks() == {}


def test_a_target_under_its_lock(agent, harnesses, places, terraform):
    server, live = harnesses(), places("local")
    live.add(agent, "live")
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "dr", server.project(), lock_timeout="1s")
    agent.replicate("out", "live", "dr", key="{path}")
    line = lineage()
    live.put("vpc.tfstate", state(1, line))
    told = agent.problem(agent.sync(code=10))
    assert "no workspace vpc" in told["message"] and "never done from here" in told["hint"]
    server.add("vpc")
    agent.sync()
    assert server.body("vpc") == live.get("vpc.tfstate") and server.locks() == {}

    tf = terraform("vpc", ("http", server.backend("vpc")), env=TOKEN)      # goes on where the replica is
    tf.init()
    server.workspaces["vpc"].status = "provisioning"
    live.put("vpc.tfstate", state(2, line))
    told = agent.problem(agent.sync(code=11))
    assert "run in progress" in told["message"]
    server.workspaces["vpc"].status = "active"
    run = tf.asking(lambda: server.locks())
    told = agent.problem(agent.sync(code=11))
    assert "locked" in told["message"] and harness.INCIDENT in told["message"] and "Force Unlock" in told["hint"]
    shown = agent.json("locks")["locks"]
    assert [(k["backend"], k["name"], k["id"], k["ours"]) for k in shown] == [("dr", "vpc", "unnamed", False)]
    tf.refuse(run)
    agent.sync()
    assert serial_of(server.body("vpc")) == 2 and server.locks() == {}


def test_a_lock_that_was_left_is_broken_by_a_person(agent, project, places):
    server, tf = project
    replicating(agent, server, places("local"))
    tf.apply()
    server.state("vpc").lock = json.dumps({"ID": "gone"}).encode()
    agent.sync()
    agent.call("unlock", "--yes", "live:vpc", "gone", code=(1, 13))
    assert server.locks() != {}
    agent.call("unlock", "--yes", "live:vpc", "unnamed")
    assert server.locks() == {}
    agent.call("unlock", "--yes", "live:vpc", "unnamed", code=1)


@pytest.mark.parametrize("what", ["lock", "write", "unlock"])
def test_a_lost_answer(agent, harnesses, places, what):
    server, live = harnesses(), places("local")
    server.add("vpc")
    live.add(agent, "live")
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "dr", server.project(retry_wait_min=0, retry_wait_max=1))
    agent.replicate("out", "live", "dr", key="{path}")
    live.put("vpc.tfstate", state(1, lineage()))
    method, path = {"lock": ("POST", "*/lock"), "write": ("POST", "*/terraform-backend"), "unlock": ("DELETE", "*/lock")}[what]
    server.rules.add(method, path, drop="after")
    agent.sync(code=None)
    eventually(lambda: agent.sync(code=None) and server.body("vpc") == live.get("vpc.tfstate") and server.locks() == {})
    assert [w[0] for w in server.state("vpc").writes] == [1]


def test_killed_while_it_holds_the_lock(agent, harnesses, places):
    """The journalled body opens it again; the ID alone would not."""
    server, live = harnesses(), places("local")
    server.add("vpc")
    live.add(agent, "live")
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "dr", server.project())
    agent.replicate("out", "live", "dr", key="{path}")
    live.put("vpc.tfstate", state(1, lineage()))
    held = server.rules.add("POST", "*/terraform-backend", hold=True)
    process = agent.start_command("sync")
    held.wait()
    process.kill()
    process.wait()
    assert list(server.locks()) == ["vpc"]
    server.rules.clear()
    eventually(lambda: agent.sync(code=None) and server.locks() == {} and server.body("vpc") == live.get("vpc.tfstate"))


def test_pruned_states_are_told(agent, harnesses, places):
    server, live = harnesses(), places("local")
    server.add("vpc")
    server.workspaces["vpc"].prune = True
    live.add(agent, "live")
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "dr", server.project())
    agent.replicate("out", "live", "dr", key="{path}")
    live.put("vpc.tfstate", state(1, lineage()))
    told = agent.problem(agent.sync(code=13))
    assert "does not hold what was written" in told["message"] and "prune_sensitive_data" in told["message"]
    assert server.locks() == {}


def test_a_pasted_block_without_a_token(agent, project, places):
    """As terraform takes it, so that init may print it; what is missing is told when it is asked for."""
    server, tf = project
    tf.apply()
    agent.backend("harness", "live", {"from_file": str(tf.folder / "backend.tf")})
    places("local").add(agent, "folder")
    agent.replicate("out", "live", "folder")
    agent.call("config", "check")
    told = agent.problem(agent.sync(code=12))
    assert "none are configured" in told["message"] and "HARNESS_PLATFORM_API_KEY" in told["hint"] and "TF_HTTP_PASSWORD" in told["hint"]
    checks = {c["name"]: c for c in agent.json("config", "check", "--probe", code=3)["backends"][0]["checks"]}
    assert not checks["auth"]["ok"] and "credentials from" not in checks["auth"]["detail"]
    agent.env |= TOKEN
    agent.sync()


def test_what_is_wrong_is_said(agents, harnesses, places):
    server = harnesses()
    server.put("vpc", state(1, lineage()))
    agent = agents("expired")
    replicating(agent, server, places("local"))
    agent.env["HARNESS_PLATFORM_API_KEY"] = "pat.other"
    told = agent.problem(agent.sync(code=12))
    assert "401" in told["message"] and "expired" in told["hint"]
    del agent.env["HARNESS_PLATFORM_API_KEY"]
    assert "HARNESS_PLATFORM_API_KEY" in agent.call("sync", code=10).err
    agent = agents("misspelt")
    server.add("empty")
    replicating(agent, server, places("local"), workspaces=["vpc", "gone", "empty"])
    told = agent.problem(agent.sync(code=3), "gone")
    assert "no workspace gone" in told["message"] and "in Harness" in told["hint"]
    agent = agents("elsewhere")
    replicating(agent, server, places("local"), account_id="other")
    told = agent.problem(agent.sync(code=12))
    assert "account identifier mismatch" in told["message"] and "Access State" in told["hint"]


def test_probe(agent, harnesses):
    server = harnesses()
    server.put("vpc", state(1, lineage()))
    agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
    agent.backend("harness", "all", server.project())
    agent.backend("harness", "one", server.project(workspaces=["vpc"]))
    one = {c["name"]: c for c in agent.json("probe", "one", code=None)["checks"]}
    assert one["lock"]["ok"], one
    every = {c["name"]: c for c in agent.json("probe", "all", code=None)["checks"]}
    assert "not tried" in every["lock"]["detail"] and server.locks() == {}
