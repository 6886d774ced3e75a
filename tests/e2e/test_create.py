# SPDX-License-Identifier: MIT
"""create = true on each store, as somebody meets it who sets up a target: what is said before it is there, and what there is then."""
import pytest

from states import lineage, state

NAME = "net/prod.tfstate"
MISSING = "the first write makes it, for create = true is set"


def rename(place):
    """To a place that nobody made."""
    if place.kind == "gcs":
        place.bucket += "-new"
    elif place.kind == "azurerm":
        place.container += "-new"
    elif place.kind == "local":
        place.folder.rmdir()
    else:
        place.bucket.name += "-new"
    if place.kind == "s3-table":
        place.table += "-new"


@pytest.mark.parametrize("kind", ["local", "s3", "s3-table", "azurerm"])
def test_a_place_is_made(agent, places, kind):
    live, dr = places("local"), places(kind)
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    rename(dr)
    dr.add(agent, "dr", create=True)
    agent.replicate("out", "live", "dr")
    said = {c["name"]: c for c in agent.json("doctor", code=3)["checks"]}
    assert said["reach dr"]["status"] == "warn" and said["reach dr"]["hint"] == MISSING
    probed = agent.json("config", "check", "--probe")["backends"][1]
    assert probed["ok"] and "does not exist" in probed["error"]["message"] and probed["error"]["hint"] == MISSING
    would = agent.call("sync", "--dry-run")
    assert f"write {NAME} to dr" in would.out and "1 written" in would.out
    assert agent.json("doctor", code=3)["exit_code"] == 3, "nothing was made by a dry run"
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert dr.get(NAME) == live.get(NAME) and list(dr.locks()) == []
    assert agent.json("config", "check", "--probe")["ok"]
    assert agent.json("probe", "dr", code=None)["checks"]
    assert {c["name"]: c["status"] for c in agent.json("doctor")["checks"]}["reach dr"] == "ok"


@pytest.mark.deadline(120)
@pytest.mark.parametrize("lockfile", [False, True], ids=["row", "both"])
def test_a_lock_table_is_made(agent, places, terraform, lockfile):
    """The bucket is there and in use, its table is not: a dry run and a probe make none, the first lock does, and terraform goes on with it."""
    live, dr = places("local"), places("s3-table")
    live.add(agent, "live")
    line = lineage()
    live.put(NAME, state(2, line))
    dr.bucket.put(NAME, state(1, line))
    dr.table += "-new"
    dr.add(agent, "dr", create=True, use_lockfile=lockfile)
    agent.replicate("out", "live", "dr")
    assert "1 written" in agent.call("sync", "--dry-run").out
    lock = {c["name"]: c for c in agent.json("probe", "dr", code=None)["checks"]}["lock"]
    assert not lock["ok"] and "does not exist" in lock["detail"]
    assert dr.table not in dr.dynamo.call("ListTables")["TableNames"]
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert dr.get(NAME) == live.get(NAME) and list(dr.locks()) == []
    made = dr.dynamo.call("DescribeTable", TableName=dr.table)["Table"]
    assert made["KeySchema"] == [{"AttributeName": "LockID", "KeyType": "HASH"}], made
    assert made["AttributeDefinitions"] == [{"AttributeName": "LockID", "AttributeType": "S"}], made
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST", made
    tf = terraform("tf", dr.terraform(NAME))
    tf.init()
    assert tf.pull()["serial"] == 2
    tf.apply(text="by terraform")
    assert agent.edge(agent.sync(code=13), "out")["held"] == 1, "newer at the target"


@pytest.mark.parametrize("kind", ["local", "s3", "gcs", "azurerm"])
def test_a_place_that_nobody_shall_make(agent, places, kind):
    """Without it, the same sentence says that there is such an argument."""
    live, dr = places("local"), places(kind)
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    rename(dr)
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    problem = agent.sync(code=None)["problems"][0]
    assert "does not exist" in problem["message"] and "create = true" in problem["hint"] and problem["hint"] != MISSING
    assert {c["name"]: c["status"] for c in agent.json("doctor", code=None)["checks"]}["reach dr"] == "fail"
