# SPDX-License-Identifier: MIT
"""Locks and digests in a DynamoDB table, alone and beside lock objects, with real terraform as the other party."""
import hashlib
import itertools
import json

import pytest

from conftest import need
from servers import Dynalite, Ministack, Moto
from states import lineage, serial_of, state

NAME = "net/prod.tfstate"
STYLES = {"row": False, "both": True}
TABLES = itertools.count(1)


@pytest.fixture(scope="module")
def dynamo(tmp_path_factory):
    server = need("dynalite", lambda: Dynalite(tmp_path_factory.mktemp("dynalite")).start())
    yield server
    server.kill()


class Tabled:
    """A bucket on versitygw and a table of dynalite."""

    def __init__(self, bucket, dynamo):
        self.bucket, self.dynamo, self.table = bucket, dynamo, f"locks-{next(TABLES)}"
        dynamo.create(self.table)

    def args(self, both, key=None):
        args = self.bucket.backend(key, dynamodb_table=self.table, use_lockfile=both)
        args["endpoints"] |= {"dynamodb": f"http://127.0.0.1:{self.dynamo.port}"}
        return args

    def row(self, name, suffix=""):
        return self.dynamo.rows(self.table).get(f"{self.bucket.name}/{name}{suffix}")

    def sealed(self, name):
        return self.row(name, "-md5") == hashlib.md5(self.bucket.get(name)).hexdigest()

    def unlocked(self, name):
        return self.row(name) is None and self.bucket.locks() == []


@pytest.fixture
def tabled(bucket, dynamo):
    return Tabled(bucket, dynamo)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("style", STYLES)
def test_terraform_reads_what_we_write(agent, places, terraform, tabled, style):
    """Terraform fails on a digest that is not the one of the state: it reads our replica, and goes on with it."""
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", tabled.args(STYLES[style]), exclusive=False)
    agent.replicate("out", "live", ["dr"])
    line = lineage()
    for serial in (1, 2):
        live.put(NAME, state(serial, line))
        agent.sync()
        assert tabled.bucket.get(NAME) == state(serial, line) and tabled.sealed(NAME) and tabled.unlocked(NAME)
    tf = terraform("tf", ("s3", tabled.args(STYLES[style], NAME)))
    tf.init()
    assert tf.pull()["serial"] == 2
    tf.apply(text="by terraform")
    assert serial_of(tabled.bucket.get(NAME)) == 3 and tabled.sealed(NAME)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("style", STYLES)
def test_each_waits_for_the_other(agent, places, terraform, tabled, workdir, style):
    tf = terraform("tf", ("s3", tabled.args(STYLES[style], NAME)))
    tf.init()
    tf.apply(text="first")
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", tabled.args(STYLES[style]), lock_timeout="1s")
    agent.replicate("out", "live", ["dr"])
    before = tabled.bucket.get(NAME)
    live.put(NAME, state(serial_of(before) + 1, json.loads(before)["lineage"]))
    gate = workdir / "gate"
    run = tf.hold(gate, text="held")
    held = json.loads(tabled.row(NAME))
    agent.sync(code=11)
    assert tabled.bucket.get(NAME) == before and json.loads(tabled.row(NAME)) == held
    locks = agent.json("locks")["locks"]
    assert [(k["name"], k["id"]) for k in locks if k["backend"] == "dr"] == [(NAME, held["ID"])]
    agent.call("unlock", "--yes", f"dr:{NAME}", "no-such-id", code=13)
    tf.release(gate)
    run.done()
    assert tabled.unlocked(NAME) and tabled.sealed(NAME)


@pytest.mark.parametrize("style", STYLES)
def test_a_lock_left_behind_is_shown_and_broken(agent, places, tabled, style):
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", tabled.args(STYLES[style]), lock_timeout="1s")
    agent.replicate("out", "live", ["dr"])
    line = lineage()
    live.put(NAME, state(1, line))
    agent.sync()
    info = {"ID": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "Operation": "OperationTypeApply", "Info": "", "Who": "root@gone",
            "Version": "1.11.4", "Created": "2026-11-22T00:44:48.913724782Z", "Path": f"{tabled.bucket.name}/{NAME}"}
    tabled.dynamo.put(tabled.table, info["Path"], "Info", json.dumps(info))  # blanks: not as Go prints it
    live.put(NAME, state(2, line))
    agent.sync(code=11)
    assert serial_of(tabled.bucket.get(NAME)) == 1 and tabled.bucket.locks() == []
    agent.call("unlock", "--yes", f"dr:{NAME}", info["ID"])
    assert tabled.unlocked(NAME)
    agent.sync()
    assert serial_of(tabled.bucket.get(NAME)) == 2 and tabled.sealed(NAME)


@pytest.mark.deadline(120)
def test_a_wrong_digest_is_explained(agent, places, tabled):
    folder = places("local")
    agent.backend("s3", "live", tabled.args(False))
    folder.add(agent, "copy")
    agent.replicate("out", "live", ["copy"])
    line = lineage()
    tabled.bucket.put(NAME, state(1, line))
    tabled.dynamo.put(tabled.table, f"{tabled.bucket.name}/{NAME}-md5", "Digest", "0" * 32)
    doc = agent.sync(code=14)
    right = hashlib.md5(state(1, line)).hexdigest()
    assert right in agent.problem(doc)["hint"] and folder.get(NAME) is None
    assert tabled.row(NAME, "-md5") == "0" * 32
    tabled.dynamo.put(tabled.table, f"{tabled.bucket.name}/{NAME}-md5", "Digest", right)
    agent.sync()
    assert folder.get(NAME) == state(1, line)


@pytest.mark.parametrize("wrong,code,word", [("missing", 10, "does not exist"), ("key", 10, "LockID")])
def test_a_table_that_is_none(agent, places, tabled, dynamo, wrong, code, word):
    live = places("local")
    live.add(agent, "live")
    tabled.table = f"other-{wrong}"
    if wrong == "key":
        dynamo.create(tabled.table, "Id")
    agent.backend("s3", "dr", tabled.args(False))
    agent.replicate("out", "live", ["dr"])
    live.put(NAME, state(1, lineage()))
    doc = agent.sync(code=code)
    problem = agent.problem(doc)
    assert word in problem["message"] + problem["hint"] and tabled.bucket.keys() == []


@pytest.mark.deadline(120)
@pytest.mark.parametrize("cls,account", [(Ministack, "000000000000"), (Moto, "123456789012")], ids=["ministack", "moto"])
def test_one_server_for_all_and_a_role(agent, places, make_bucket, cls, account):
    """The bucket, the table and STS, whose shapes differ from the others'. Nothing is there at first."""
    bucket = make_bucket(cls, create=False)
    port = bucket.server.port
    url = f"http://127.0.0.1:{port}"
    table = Dynalite.__new__(Dynalite)
    table.port = port
    args = bucket.backend(dynamodb_table="locks", use_lockfile=True, create=True,
                          assume_role={"role_arn": f"arn:aws:iam::{account}:role/tfstate", "external_id": "x"},
                          allowed_account_ids=[account], skip_requesting_account_id=False)
    args["endpoints"] = {"s3": url, "dynamodb": url, "sts": url}
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", args)
    agent.replicate("out", "live", ["dr"])
    line = lineage()
    for serial in (1, 2):
        live.put(NAME, state(serial, line))
        agent.sync()
        assert bucket.get(NAME) == state(serial, line)
        assert table.rows("locks") == {f"{bucket.name}/{NAME}-md5": hashlib.md5(state(serial, line)).hexdigest()}
    checks = {c["name"]: c for c in agent.json("probe", "dr")["checks"]}
    assert checks["lock"]["ok"] and f"role arn:aws:iam::{account}:role/tfstate" in checks["auth"]["detail"]
    assert list(table.rows("locks")) == [f"{bucket.name}/{NAME}-md5"]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("newer", [False, True])
def test_killed_between_the_state_and_its_digest(agent, places, proxy, tabled, newer):
    """Then all readers fail, until the next agent completes it, or writes what came meanwhile."""
    front = proxy(tabled.dynamo)
    live = places("local")
    live.add(agent, "live")
    args = tabled.args(False)
    args["endpoints"]["dynamodb"] = f"http://127.0.0.1:{front.port}"
    agent.backend("s3", "dr", args)
    agent.replicate("out", "live", ["dr"])
    line = lineage()
    live.put(NAME, state(1, line))
    agent.sync()
    live.put(NAME, state(2, line))
    digest = front.rules.add("POST", nth=3, drop="before", hold=True)  # after the lock and the look at the old digest
    agent.start()
    digest.wait()
    agent.kill()
    digest.release()
    assert tabled.bucket.get(NAME) == state(2, line) and not tabled.sealed(NAME) and not tabled.unlocked(NAME)
    if newer:
        live.put(NAME, state(3, line))
    agent.sync()
    assert tabled.bucket.get(NAME) == state(3 if newer else 2, line)
    assert tabled.sealed(NAME) and tabled.unlocked(NAME)


@pytest.mark.deadline(120)
def test_half_of_our_lock_is_released_beside_another(agent, places, proxy, tabled):
    """The agent dies holding both locks; the object is broken and taken by somebody who does not know the table: the row is still ours."""
    front = proxy(tabled.dynamo)
    live = places("local")
    live.add(agent, "live")
    args = tabled.args(True)
    args["endpoints"]["dynamodb"] = f"http://127.0.0.1:{front.port}"
    agent.backend("s3", "dr", args, lock_timeout="1s")
    agent.replicate("out", "live", ["dr"])
    line = lineage()
    live.put(NAME, state(1, line))
    digest = front.rules.add("POST", nth=3, drop="before", hold=True)
    agent.start()
    digest.wait()
    agent.kill()
    digest.release()
    ours = json.loads(tabled.row(NAME))
    other = json.dumps(ours | {"ID": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "Who": "root@vm"}).encode()
    tabled.bucket.put(NAME + ".tflock", other)
    live.put(NAME, state(2, line))
    agent.sync(code=11)
    assert tabled.row(NAME) is None and tabled.bucket.get(NAME + ".tflock") == other
